"""Comparing what packs, backups and profiles hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bmslink.config.backup import Backup
from bmslink.config.profile import Profile, Quantity
from bmslink.protocols.settings import Table
from bmslink.setting import Value

__all__ = [
    "Difference",
    "Side",
    "compare",
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


def compare(sides: Sequence[Side], *, ignore: Sequence[str] = ()) -> list[Difference]:
    """What differs between the sides, in the order of the first side that has it.

    A setting that one side does not have is a difference, unless a side only says part: then
    only its settings count.
    """
    keys: dict[str, None] = {}
    for side in sides:
        keys.update(dict.fromkeys(side.values))
    partial = [side for side in sides if side.partial]
    found = []
    for key in keys:
        if key in ignore or any(key not in side.values for side in partial):
            continue
        values = tuple(side.values.get(key) for side in sides)
        if all(_same(values[0], value) for value in values[1:]):
            continue
        shown = tuple(_show(side, key) for side in sides)
        found.append(Difference(key=key, values=values, shown=shown))
    return found


def side_of_table(name: str, table: Table) -> Side:
    """A board as it stands now."""
    rows = table.map.settings
    return Side(
        name=name,
        values={k: v for k, v in table.values().items() if v is not None},
        units={row.key: row.unit for row in rows},
        ignored=frozenset(row.key for row in rows if row.live or row.own),
    )


def side_of_backup(name: str, backup: Backup) -> Side:
    """A board as it stood then."""
    values = {k: v for k, v in backup.values.items() if v is not None}
    return Side(name=name, values=values, units={})


def side_of_profile(name: str, profile: Profile) -> Side:
    """What a file asks for."""
    values: dict[str, Value | None] = {}
    units: dict[str, str] = {}
    for key, value in profile.settings.items():
        if isinstance(value, Quantity):
            base, number = value.plain()
            values[key], units[key] = number, base
        else:
            values[key] = value
    return Side(name=name, values=values, units=units, partial=True)


def _same(one: Value | None, other: Value | None) -> bool:
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, int | float) and isinstance(other, int | float):
        return abs(one - other) <= _SAME
    return one == other


def _show(side: Side, key: str) -> str | None:
    value = side.values.get(key)
    if value is None:
        return None
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, str):
        return value
    return f"{value:.6g} {side.units.get(key, '')}".rstrip()
