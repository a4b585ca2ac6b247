"""Comparing what packs, backups and profiles hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bmslink.config.checks.plausible import believe
from bmslink.config.files.backup import Backup
from bmslink.config.files.profile import Profile, in_words
from bmslink.errors import SettingError, UsageError
from bmslink.protocols.common.settings_map import SettingsSnapshot
from bmslink.settings.catalogue import CATALOGUE
from bmslink.settings.setting import Value
from bmslink.settings.units import NumberWithUnit

__all__ = [
    "MISSING",
    "Difference",
    "Side",
    "compare",
    "compared",
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
    recorded: bool = False
    """It was written down earlier: what it lacks may not have been known then."""
    optional: frozenset[str] = frozenset()
    """What a profile asks only of boards that have it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A setting, and what each side has of it."""

    key: str
    unit: str
    """Of the values; empty: they have none."""
    values: tuple[Value | None, ...]
    """`None`: it is not known there, or the side has no such setting."""
    missing: tuple[bool, ...]
    """Whether the side lacks it."""
    shown: tuple[str | None, ...]
    """In words; `None`: a profile says nothing of it."""
    differs: bool = True
    """Whether it is not the same on all sides."""

    def to_dict(self, names: Sequence[str]) -> dict[str, Any]:
        """Its JSON object."""
        return {
            "key": self.key,
            "unit": self.unit,
            "values": dict(zip(names, self.values, strict=True)),
            "missing": [name for name, gone in zip(names, self.missing, strict=True) if gone],
            "differs": self.differs,
        }


def compare(sides: Sequence[Side], *, whole: bool = False) -> list[Difference]:
    """Every setting that is not the same on all sides, in the order of the first side that has it;
    `whole`: those that are as well.

    A board that has no such setting, or does not tell its value, differs from one that does, but
    for what a profile says is optional. What a backup lacks is missing there and no difference: an
    earlier version did not know it. A profile counts for what it says; between profiles alone,
    what one of them does not say is missing there. What changes by itself or belongs to one board
    is left out. `UsageError` for a profile's value that no board can have (A where V belongs).
    """
    found = (_compare(sides, key) for key in _keys(sides))
    return [each for each in found if whole or each.differs]


def _compare(sides: Sequence[Side], key: str) -> Difference:
    sides = _choosing(sides, key)
    having = [side for side in sides if key in side.values]
    unit = _unit(having, key)
    _require_kind(having, key)
    values = tuple(_in(unit, side, key) for side in sides)
    told = [value for side, value in zip(sides, values, strict=True) if side in having]
    silent = any(not side.partial for side in sides)
    missing = tuple(side not in having and not (side.partial and silent) for side in sides)
    return Difference(
        key=key,
        unit=unit,
        values=values,
        missing=missing,
        shown=tuple(
            MISSING if gone else _show(side, key, unit)
            for side, gone in zip(sides, missing, strict=True)
        ),
        differs=_lacked(sides, having, missing, key)
        or not all(_same(told[0], value) for value in told[1:]),
    )


def _choosing(sides: Sequence[Side], key: str) -> Sequence[Side]:
    """The sides with `on` and `off` of a profile as words, where boards hold a word."""
    if not any(isinstance(side.values.get(key), str) for side in sides if not side.partial):
        return sides
    return [
        replace(side, values={**side.values, key: in_words(value)})
        if isinstance(value := side.values.get(key), bool) and side.partial
        else side
        for side in sides
    ]


def _lacked(
    sides: Sequence[Side], having: Sequence[Side], missing: Sequence[bool], key: str
) -> bool:
    """Whether a side lacks what it should have: what is on another board, in a profile that asks
    it of every board, or, between profiles alone, in the other one."""
    lacking = [
        side for side, gone in zip(sides, missing, strict=True) if gone and not side.recorded
    ]
    if all(not side.partial for side in lacking):
        return bool(lacking) and any(key not in side.optional for side in having)
    return bool(lacking)


MISSING = "missing"
"""What is shown of a side that has no such setting."""
_TWO = 2


def compared(sides: Sequence[Side]) -> list[str]:
    """What at least two sides have."""
    return [k for k in _keys(sides) if sum(k in side.values for side in sides) >= _TWO]


def _keys(sides: Sequence[Side]) -> list[str]:
    ignored = {key for side in sides for key in side.ignored}
    return list(dict.fromkeys(k for side in sides for k in side.values if k not in ignored))


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
    return Side(
        name=name,
        values=backup.values,
        units=backup.units,
        ignored=frozenset(backup.own),
        recorded=True,
    )


def side_of_profile(name: str, profile: Profile) -> Side:
    """What a file asks for."""
    values: dict[str, Value | None] = {}
    units: dict[str, str] = {}
    for key, value in profile.settings.items():
        if isinstance(value, NumberWithUnit):
            values[key], units[key] = value.value, value.unit
        else:
            values[key] = value
    return Side(name=name, values=values, units=units, partial=True, optional=profile.optional)


def _unit(having: Sequence[Side], key: str) -> str:
    """The setting's own unit, in which a number without one is meant: as the boards have it, else
    as all have it."""
    boards = [side.units[key] for side in having if key in side.units and not side.partial]
    if boards:
        return boards[0]
    if key in CATALOGUE:
        return CATALOGUE[key].unit
    return next((side.units[key] for side in having if key in side.units), "")


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
