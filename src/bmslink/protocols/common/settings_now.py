"""The settings of a board with their values, as programs and `settings show` see them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from bmslink.errors import SettingError
from bmslink.protocols.common.settings_map import SettingsSnapshot
from bmslink.settings.groups import group_of
from bmslink.settings.nearest import or_nearest
from bmslink.settings.packed import words_of
from bmslink.settings.setting import Setting, Value

__all__ = ["SettingNow", "Settings", "numbers_in"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingNow:
    """One setting, and what the board holds of it."""

    setting: Setting
    """Its row: limits, kind, danger, evidence."""
    value: Value | None
    """In its unit; `None`: the board does not say."""
    raw: bytes | None
    """The bytes it was read from, with their neighbours."""
    writable: bool
    """Whether it may be written at all."""
    reason: str
    """Why it is not writable, or what writing it takes."""

    @property
    def key(self) -> str:
        """Its name: `cell_ovp`."""
        return self.setting.key

    @property
    def title(self) -> str:
        """For people."""
        return self.setting.title

    @property
    def unit(self) -> str:
        """V, A, °C, s, …; empty where it has none."""
        return self.setting.unit

    @property
    def minimum(self) -> float | None:
        """The least that may be written."""
        return self.setting.minimum

    @property
    def maximum(self) -> float | None:
        """The most that may be written."""
        return self.setting.maximum

    @property
    def choices(self) -> list[str] | None:
        """The words it may be set to; `None` where it is a number, a switch or text."""
        return list(self.setting.choices.values()) or None

    def __str__(self) -> str:
        return "-" if self.value is None else self.setting.show(self.value)

    def to_dict(self) -> dict[str, Any]:
        """The JSON object that `settings show --json` prints."""
        return {
            "key": self.key,
            "title": self.title,
            "value": self.value,
            "unit": self.unit,
            "minimum": self.minimum,
            "maximum": self.maximum,
            "choices": self.choices,
            "writable": self.writable,
            "reason": self.reason,
            "danger": str(self.setting.danger),
            "evidence": str(self.setting.evidence),
            "raw": None if self.raw is None else self.raw.hex(),
            "group": str(group_of(self.key)),
            "words": words_of(self.key, self.value) or None,
        }


class Settings(Mapping[str, SettingNow]):
    """All settings of a board, as read at one time: `settings["cell_ovp"].value`.

    A name that this board does not have raises `SettingError` with the nearest that it has;
    `settings.get(name)` gives `None` then. The order is that of the vendor's table.
    """

    def __init__(self, snapshot: SettingsSnapshot) -> None:
        """`Device.settings` calls this."""
        self.snapshot = snapshot
        """What was read, with its raw bytes."""
        self._values = snapshot.values()

    def __getitem__(self, key: str) -> SettingNow:
        row = self.snapshot.map.by_key.get(key)
        if row is None:
            near = or_nearest(str(key), self.snapshot.map.by_key)
            raise _NoSetting(f"This board has no setting {str(key)[:40]!r}.{near}")
        writable, reason = _writable(self.snapshot, row)
        return SettingNow(
            setting=row,
            value=self._values[key],
            raw=self.snapshot.raw(key),
            writable=writable,
            reason=reason,
        )

    def __iter__(self) -> Iterator[str]:
        return iter(self.snapshot.map.by_key)

    def __len__(self) -> int:
        return len(self.snapshot.map.by_key)

    def to_dict(self) -> dict[str, Value | None]:
        """Key -> value, of all."""
        return dict(self._values)

    def numbers(self) -> dict[str, float]:
        """Key -> value in its unit, of those that are numbers: what `bmslink.control` takes."""
        return numbers_in(self._values)


def numbers_in(values: Mapping[str, Value | None]) -> dict[str, float]:
    """Key -> value in its unit, of those that are numbers."""
    return {
        key: float(value)
        for key, value in values.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }


class _NoSetting(SettingError, KeyError):
    """A mapping says so with a `KeyError`."""

    __str__ = SettingError.__str__


def _writable(table: SettingsSnapshot, row: Setting) -> tuple[bool, str]:
    """Whether it may be written, and why not (or what it takes)."""
    if table.map.read_only_reason:
        return False, table.map.read_only_reason
    if row.slot not in table.image:
        return False, "the board does not answer for it"
    if not row.writable:
        return False, row.reason or "nothing proves how it is written"
    if table.map.untested_reason:
        return True, f"with --untested: {table.map.untested_reason}"
    if row.evidence == "document":
        return True, "with --untested: known from a document only"
    return True, ""
