"""Comparing what packs, backups and profiles hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bmslink.config.checks.plausible import believe
from bmslink.config.files.backup import Backup
from bmslink.config.files.profile import Profile
from bmslink.errors import SettingError, UsageError
from bmslink.protocols.common.settings_map import SettingsSnapshot
from bmslink.settings.setting import Value
from bmslink.settings.units import NumberWithUnit

__all__ = [
    "Difference",
    "Side",
    "compare",
    "compared",
    "lacking",
    "side_of_backup",
    "side_of_profile",
    "side_of_table",
]

_SAME = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One thing that is compared."""

    name: str
    values: Mapping[str, Value | None]
    """What it has; `None` is not known."""
    units: Mapping[str, str]
    partial: bool = False
    """It says something about its own settings only, as a profile does."""
    ignored: frozenset[str] = frozenset()
    """What changes by itself, and what belongs to this one board."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A setting that is not the same on all sides."""

    key: str
    values: tuple[Value | None, ...]
    shown: tuple[str | None, ...]

    def to_dict(self, names: Sequence[str]) -> dict[str, Any]:
        """Its JSON object."""
        return {"key": self.key, "values": dict(zip(names, self.values, strict=True))}


def compare(sides: Sequence[Side]) -> list[Difference]:
    """What differs between the sides, in the order of the first side that has it.

    What a map lacks is no difference (`lacking` names it, `compared` the rest). A value that a
    board should have and does not tell is one. What changes by itself or belongs to one board is
    left out. `UsageError` for a profile's value that no board can have (A where V belongs).
    """
    found = []
    for key in compared(sides):
        having = [side for side in sides if key in side.values]
        unit = next((side.units[key] for side in _boards_first(having) if key in side.units), "")
        _require_kind(having, key)
        values = tuple(_in(unit, side, key) for side in sides)
        told = [value for side, value in zip(sides, values, strict=True) if side in having]
        if all(_same(told[0], value) for value in told[1:]):
            continue
        shown = tuple(_show(side, key, unit) for side in sides)
        found.append(Difference(key=key, values=values, shown=shown))
    return found


_TWO = 2


def compared(sides: Sequence[Side]) -> list[str]:
    """What at least two sides have, and every profile among them."""
    return [
        key
        for key in _keys(sides)
        if sum(key in side.values for side in sides) >= _TWO
        and all(key in side.values for side in sides if side.partial)
    ]


def _keys(sides: Sequence[Side]) -> list[str]:
    ignored = {key for side in sides for key in side.ignored}
    return list(dict.fromkeys(k for side in sides for k in side.values if k not in ignored))


def lacking(sides: Sequence[Side]) -> dict[str, list[str]]:
    """Side -> what it lacks, of what others have: of the profiles if there are any."""
    asked = [side for side in sides if side.partial]
    keys = [k for k in _keys(sides) if all(k in side.values for side in asked)]
    found = {side.name: [key for key in keys if key not in side.values] for side in sides}
    return {name: missing for name, missing in found.items() if missing}


def side_of_table(name: str, table: SettingsSnapshot) -> Side:
    """A board as it is now; `FrameError` where it was read as what no board can hold."""
    believe(table)
    rows = table.map.settings
    return Side(
        name=name,
        values=table.values(),
        units={row.key: row.unit for row in rows if row.unit},
        ignored=frozenset(row.key for row in rows if row.live or row.own),
    )


def side_of_backup(name: str, backup: Backup) -> Side:
    """A board as it was then."""
    return Side(name=name, values=backup.values, units=backup.units, ignored=frozenset(backup.own))


def side_of_profile(name: str, profile: Profile) -> Side:
    """What a file asks for."""
    values: dict[str, Value | None] = {}
    units: dict[str, str] = {}
    for key, value in profile.settings.items():
        if isinstance(value, NumberWithUnit):
            values[key], units[key] = value.value, value.unit
        else:
            values[key] = value
    return Side(name=name, values=values, units=units, partial=True)


def _boards_first(sides: Sequence[Side]) -> list[Side]:
    """A number without a unit is meant in the board's own."""
    return sorted(sides, key=lambda side: side.partial)


def _in(unit: str, side: Side, key: str) -> Value | None:
    """A side's value in this unit. Of two boards that is as it is where it makes no sense; of a
    profile it is a `UsageError`, as where it is applied."""
    value = side.values.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or key not in side.units:
        return value
    try:
        return NumberWithUnit(float(value), side.units[key]).to(unit)
    except SettingError as error:
        if side.partial:
            raise UsageError(f"{side.name}: {key}: {error}") from error
        return f"{value:.6g} {side.units[key]}"


def _kind(value: Value) -> str:
    if isinstance(value, bool):
        return "on or off"
    return "a text" if isinstance(value, str) else "a number"


def _require_kind(having: Sequence[Side], key: str) -> None:
    """`UsageError` where a profile has a text for what is a number on a board, and the like."""
    boards = (side.values[key] for side in having if not side.partial)
    held = next((value for value in boards if value is not None), None)
    if held is None:
        return
    for side in having:
        value = side.values[key]
        if side.partial and value is not None and _kind(value) != _kind(held):
            raise UsageError(f"{side.name}: {key} is {_kind(held)}, not {value!r}.")


def _same(one: Value | None, other: Value | None) -> bool:
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, int | float) and isinstance(other, int | float):
        return abs(one - other) <= _SAME
    return one == other


def _show(side: Side, key: str, unit: str) -> str | None:
    if key not in side.values:
        return None
    value = _in(unit, side, key)
    if value is None:
        return "unknown"
    if isinstance(value, bool):
        return "on" if value else "off"
    return value if isinstance(value, str) else f"{value:.6g} {unit}".rstrip()
