"""What of a board nobody changes, so that it is known again on another port, or after a restart.

A serial number is that, where there is one. Many boards have none: then the model, the cells and
what the maker set at the factory (calibration, shunt, production date, wiring) have to do. Two
boards of one batch can still be equal in all of it: equal fingerprints without a serial number mean
"perhaps", never "certainly". The firmware is left out, because an update leaves the board the same
one, and so is everything that people change or that counts up.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from bmslink.model import Identity
from bmslink.protocols.common.settings_map import RawSettings, SettingsMap, SettingsSnapshot
from bmslink.settings.setting import Setting, Value

__all__ = ["Fingerprint", "fingerprint", "fingerprint_of", "lasting"]

_KEYS = frozenset({"cell_count"})
"""Settings that belong to how a pack is built, though a board may let them be changed."""
_MOVING = frozenset({"daly_operating_mode", "jk_calibrating", "jbd_cycle_count"})
"""What a board keeps among its own data and changes by itself."""
_TOLD = 4
"""A text shorter than this is no beginning of a longer one."""
_TEXTS = ("serial_number", "model", "hardware")


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Of one board. What is `None` or missing, the board did not tell."""

    vendor: str | None = None
    model: str | None = None
    hardware: str | None = None
    serial_number: str | None = None
    cell_count: int | None = None
    map: str | None = None
    """The name of the settings map; values of two maps are not compared."""
    settings: Mapping[str, Value] = field(default_factory=dict)
    """Key -> value of what nobody changes."""

    @property
    def certain(self) -> bool:
        """Whether it names one board of all: it has a serial number.

        One character again and again (`00000000`) is what a board holds that was never given one.
        """
        return len(set(self.serial_number or "")) > 1

    def equal_serial(self, other: Fingerprint) -> bool:
        """Whether both tell the same serial number: they are one board for certain."""
        makers = {self.vendor, other.vendor} - {None}
        return self.certain and self.serial_number == other.serial_number and len(makers) < 2

    def differs(self, other: Fingerprint) -> str:
        """How two boards differ, in words; empty where they are equal in all that both tell.

        Names may be cut short in one of the two: boards and bridges truncate them.
        """
        if self.vendor and other.vendor and self.vendor != other.vendor:
            return f"vendor {other.vendor}, not {self.vendor}"
        if self.equal_serial(other):
            return ""
        for name in _TEXTS:
            mine, yours = getattr(self, name), getattr(other, name)
            if mine and yours and not _same_text(mine, yours):
                return f"{name.replace('_', ' ')} {yours}, not {mine}"
        if None not in (self.cell_count, other.cell_count) and self.cell_count != other.cell_count:
            return f"{other.cell_count} cells, not {self.cell_count}"
        if self.map == other.map:
            for key in self.settings.keys() & other.settings.keys():
                if self.settings[key] != other.settings[key]:
                    return f"{key} {other.settings[key]}, not {self.settings[key]}"
        return ""

    def like(self, other: Fingerprint) -> bool:
        """Whether both may be one board: nothing differs, and enough was told to say so.

        Enough is a serial number in both, or model or hardware together with the cells or with
        something the maker set.
        """
        if self.differs(other):
            return False
        if self.equal_serial(other):
            return True
        named = any(getattr(self, n) and getattr(other, n) for n in ("model", "hardware"))
        built = self.cell_count is not None and other.cell_count is not None
        shared = self.map == other.map and bool(self.settings.keys() & other.settings.keys())
        return (named and (built or shared)) or (built and shared)

    def without(self, keys: Collection[str]) -> Fingerprint:
        """The fingerprint without what a change is about to alter."""
        kept = {key: value for key, value in self.settings.items() if key not in keys}
        cells = None if "cell_count" in keys else self.cell_count
        return replace(self, settings=kept, cell_count=cells)

    def to_dict(self) -> dict[str, Any]:
        """Its JSON object."""
        return asdict(self) | {"settings": dict(self.settings)}

    @classmethod
    def from_dict(cls, found: object) -> Fingerprint:
        """From a JSON object; what it does not hold in the right form counts as not told."""
        told = found if isinstance(found, Mapping) else {}
        texts = {
            name: told[name]
            for name in ("vendor", *_TEXTS, "map")
            if isinstance(told.get(name), str) and told[name]
        }
        cells, settings = told.get("cell_count"), told.get("settings")
        whole = isinstance(cells, int) and not isinstance(cells, bool)
        values = settings if isinstance(settings, Mapping) else {}
        return cls(
            **texts,
            cell_count=cells if whole else None,
            settings={
                str(key): value
                for key, value in values.items()
                if isinstance(value, (bool, int, float, str))
            },
        )


def lasting(row: Setting) -> bool:
    """Whether nobody changes this setting of a board once it is built."""
    if row.live or row.key in _MOVING:
        return False
    return row.key in _KEYS or (row.own and not row.writable)


def fingerprint(identity: Identity, table: SettingsSnapshot | None = None) -> Fingerprint:
    """Of a board as it was just read; without its settings it says less."""
    known = {name: getattr(identity, name) for name in ("vendor", *_TEXTS, "cell_count")}
    return fingerprint_of(known, *(() if table is None else (table.map, table.image)))


def fingerprint_of(
    pack: Mapping[str, Any], settings: SettingsMap | None = None, image: RawSettings | None = None
) -> Fingerprint:
    """Of a board as it is on record: `pack` holds `vendor`, `model`, `serial_number`, …

    `image` are its bytes as they stood then, with the map that they belong to.
    """
    plain = Fingerprint.from_dict({k: v for k, v in pack.items() if k not in ("map", "settings")})
    if settings is None or image is None:
        return plain
    values = settings.decode(image)
    found: dict[str, Value] = {}
    for row in settings.settings:
        value = values[row.key]
        if lasting(row) and value is not None:
            found[row.key] = value
    return replace(plain, map=settings.name, settings=found)


def _same_text(one: str, other: str) -> bool:
    short, long = sorted((one.strip(), other.strip()), key=len)
    return short == long or (len(short) >= _TOLD and long.startswith(short))
