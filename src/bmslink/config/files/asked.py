"""What is asked of one board: which values it can take, what is left out, and what follows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from bmslink.config.files.profile import Profile
from bmslink.errors import FrameError, SettingError
from bmslink.protocols.common.settings_map import SettingsMap, SettingsSnapshot
from bmslink.protocols.names import no_name
from bmslink.settings.followers import Wish, follow
from bmslink.settings.setting import Evidence, Setting, Value

__all__ = ["Asked", "Ceilings", "ask", "by_reason", "encode", "unable"]

Ceilings = Mapping[str, float]
"""Limit of a current -> the most that the pack is rated for, A."""


@dataclass(slots=True)
class Asked:
    """What was asked, taken apart."""

    values: Mapping[str, object]
    """All of it, in this board's units, without what is left out."""
    possible: dict[str, object] = field(default_factory=dict)
    wrong: dict[str, str] = field(default_factory=dict)
    """Key -> why its value cannot be meant."""
    unsupported: dict[str, str] = field(default_factory=dict)
    """Key -> why this board cannot do what the change cannot be without."""
    left_out: dict[str, str] = field(default_factory=dict)
    """Key -> why it stays as it is, where the change can be made without."""
    follows: dict[str, str] = field(default_factory=dict)
    """Key -> the setting that its value follows, or `rating`."""

    @property
    def nothing(self) -> bool:
        """Whether something is asked, and this board can do nothing of it."""
        left = self.unsupported.keys() | self.left_out.keys()
        return bool(self.values) and not self.values.keys() - left


def ask(
    table: SettingsSnapshot,
    wanted: Mapping[str, object] | Profile,
    *,
    switches: bool = False,
    switched_off: Mapping[str, str] | None = None,
    untested: bool = False,
    cells: int | None = None,
    ceilings: Ceilings | None = None,
) -> Asked:
    """Take apart what is asked of a board.

    What a profile has under `[optional]` is left out where this board cannot do it, and yields
    where it does not go with the rest; what belongs to a limit that changes follows it. Of values
    by name only a warning follows that would come after its protection. `untested`: what only a
    document knows is written. `cells` in series; 0 or `None`: unknown.
    """
    found = _values(wanted, table.map, switches, switched_off or {})
    optional = wanted.optional if isinstance(wanted, Profile) else frozenset[str]()
    _sort(table, found, optional, untested=untested)
    if not table.map.read_only_reason:
        profile = isinstance(wanted, Profile)
        _follow(table, found, optional, profile=profile, cells=cells or 0, ceilings=ceilings or {})
    return found


def _values(
    wanted: Mapping[str, object] | Profile,
    settings: SettingsMap,
    switches: bool,
    switched_off: Mapping[str, str],
) -> Asked:
    """The values in this board's units, and the switches of a profile that are left out: why."""
    if not isinstance(wanted, Profile):
        return Asked(wanted)
    found, missing = wanted.wanted(settings, switches=True)
    values = {**found, **{key: wanted.settings[key] for key in missing}}
    left = {}
    for key in sorted(wanted.switches):
        if not switches:
            left[key] = "a profile sets no switch without --switches"
        elif values[key] is True and key in switched_off:
            left[key] = (
                f"a person switched it off ({switched_off[key]}), and only `bmslink switch` "
                "switches it on again"
            )
    kept = {key: value for key, value in values.items() if key not in left}
    return Asked(kept, left_out=left)


def _sort(
    table: SettingsSnapshot, found: Asked, optional: frozenset[str], *, untested: bool
) -> None:
    """What can be encoded, what cannot be meant, and what this board cannot do."""
    for key, value in found.values.items():
        if not isinstance(key, str):
            raise SettingError(f"Settings are asked for by their names, not by {key!r}.")
        setting = table.map.by_key.get(key)
        if setting is None and (why := no_name(key)):
            found.wrong[key] = why[:1].upper() + why[1:]
        elif (why := unable(table, key)) and not _holds(table, setting, value):
            (found.left_out if key in optional else found.unsupported)[key] = why
        elif setting is None or not setting.writable:  # it is read-only, and as wanted already
            continue
        elif key in optional and setting.evidence == Evidence.DOCUMENT and not untested:
            found.left_out[key] = "only a document says how it is written (--untested)"
        else:
            try:
                found.possible[key] = setting.check(value)
            except SettingError as error:
                found.wrong[key] = str(error)


def unable(table: SettingsSnapshot, key: str) -> str:
    """Why a setting of a board cannot be set; empty where it can."""
    setting = table.map.by_key.get(key)
    if setting is None:
        return f"{table.map.name} has no such setting"
    if setting.slot not in table.image:
        return "the board does not answer for it"
    return "" if setting.writable else f"read-only: {setting.reason or 'nothing proves it'}"


def _holds(table: SettingsSnapshot, setting: Setting | None, value: object) -> bool:
    """Whether a board holds a value already."""
    if setting is None or setting.slot not in table.image:
        return False
    return table.values()[setting.key] == value


def _follow(
    table: SettingsSnapshot,
    found: Asked,
    optional: frozenset[str],
    *,
    profile: bool,
    cells: int,
    ceilings: Ceilings,
) -> None:
    """Add what follows to what is possible."""
    rows = [
        row
        for row in table.map.settings
        if row.writable and row.kind == "number" and row.evidence != Evidence.DOCUMENT
        if row.key not in found.wrong  # it is named, so it moves with nothing
    ]
    held = table.values()
    wish = Wish(
        values=_numbers(found.possible),
        held=_numbers({row.key: held[row.key] for row in rows}),
        optional=optional,
        unnamed=profile,
        cells=cells,
        caps=ceilings,
        nearest=lambda key, value: _nearest(table.map.setting(key), value),
    )
    for key, (value, leader) in follow(wish).items():
        found.possible[key] = value
        found.follows[key] = leader if leader != key else "rating"


def _numbers(values: Mapping[str, object]) -> dict[str, float]:
    return {
        key: float(value)
        for key, value in values.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }


def _nearest(row: Setting, value: float) -> float:
    low, high = row.minimum, row.maximum
    value = value if low is None else max(low, value)
    return row.nearest(value if high is None else min(high, value))


def encode(table: SettingsSnapshot, asked: Asked) -> dict[int, bytes]:
    """The new bytes; what the board could not hold as meant moves to `wrong`."""
    if table.map.read_only_reason:
        return {}
    for key in list(asked.possible):
        try:
            one = table.map.encode(table.image, {key: asked.possible[key]})
        except (SettingError, FrameError) as error:
            why = str(error)
        else:
            held = table.map.decode({**table.image, **one})[key]
            if _close(table.map.setting(key), asked.possible[key], held):
                continue
            why = f"{key} = {asked.possible[key]} would be stored as {held}."
        asked.wrong[key] = why
        del asked.possible[key]
    return table.map.encode(table.image, asked.possible)


def _close(setting: Setting, asked: object, held: Value | None) -> bool:
    if isinstance(asked, float) and isinstance(held, float):
        return abs(asked - held) <= setting.step / 2 + 1e-9
    return asked == held


def by_reason(reasons: Mapping[str, str]) -> Iterable[tuple[str, list[str]]]:
    """Why -> the settings of which it is said."""
    found: dict[str, list[str]] = {}
    for key, why in reasons.items():
        found.setdefault(why, []).append(key)
    return found.items()
