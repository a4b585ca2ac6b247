"""What is asked of the store: rows of one pack over a time, as fine as the time is short."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

from bmslink.arguments import did_you_mean
from bmslink.errors import UsageError
from bmslink.jsonable import plain
from bmslink.moments import iso, utc_now
from bmslink.runtime.history.columns import FIXED, SHARE, StoredColumn, Value, column_of, decode
from bmslink.runtime.history.days import DAY, columns_in, day_tables, raw_columns, readings
from bmslink.runtime.history.merging import HOUR, MINUTE, merged_rows
from bmslink.runtime.history.schema import from_millis, to_millis

__all__ = [
    "GROUPS",
    "MOST_ROWS",
    "RESOLUTIONS",
    "HistoryAnswer",
    "HistoryQuery",
    "Resolution",
    "default_since",
    "find_history",
    "require_pack",
]

Resolution = Literal["raw", "minute", "hour", "auto"]
RESOLUTIONS: tuple[Resolution, ...] = ("raw", "minute", "hour", "auto")
_TABLES = {"minute": "minutes", "hour": "hours"}
_SIZES = {"minute": MINUTE, "hour": HOUR}
_RAW, _MINUTES = timedelta(hours=2), timedelta(days=3)
"""Up to such a span `auto` means raw, or minutes: about 1500 to 4300 rows."""
MOST_ROWS = 20_000
"""Of one answer."""
_COUNTED = {
    "charged_capacity": ("charge_in", 3600.0),
    "discharged_capacity": ("charge_out", 3600.0),
    "charged_energy": ("energy_in", 3600.0),
    "discharged_energy": ("energy_out", 3600.0),
    "known_seconds": ("known", 1.0),
    "unknown_seconds": ("unknown", 1.0),
}
"""Field -> the counter that it shows, and its divisor: Ah, Wh, s, as counted by then."""
GROUPS: Mapping[str, re.Pattern[str]] = {
    "cells": re.compile(r"cell_voltage_\d+"),
    "temperatures": re.compile(r"temperature_.+"),
    "limits": re.compile(r"cvl|ccl|dcl|dvl|\w+_permitted"),
    "switches": re.compile(r"\w+_switch|\w+_allowed|heater|balancing_active"),
    "conditions": re.compile("alarms|protections|faults"),
    "energy": re.compile("|".join(_COUNTED)),
    "main": re.compile(
        r"voltage|current|power|soc|min_cell_voltage|max_cell_voltage|temperature_[^_]+(_\d+)?"
        "|alarms|protections|faults"
    ),
}
"""Names for several fields at once."""


@dataclass(frozen=True, slots=True)
class HistoryQuery:
    """Which rows are asked for."""

    pack: str
    since: datetime
    until: datetime
    resolution: Resolution = "auto"
    fields: tuple[str, ...] = ()
    """Names of fields or of groups of them; none: all that have a value."""
    limit: int = 5000
    """At most so many rows, the first ones."""

    @property
    def level(self) -> str:
        """`raw`, `minute` or `hour`."""
        if self.resolution != "auto":
            return self.resolution
        span = self.until - self.since
        if span <= _RAW:
            return "raw"
        fits = span <= timedelta(minutes=self.limit)
        return "minute" if span <= _MINUTES and fits else "hour"


@dataclass(frozen=True, slots=True)
class HistoryAnswer:
    """Rows of a pack."""

    pack: str
    since: datetime
    until: datetime
    resolution: str
    fields: tuple[str, ...] = ()
    rows: Sequence[tuple[Any, ...]] = field(default=(), repr=False)
    """Each begins with its time, ms since 1970; then the fields."""
    next: datetime | None = None
    """Where the next answer begins, if there are more rows than were asked for."""

    def to_dict(self) -> dict[str, Any]:
        """For JSON; plain values."""
        return {
            "pack": self.pack,
            "since": plain(self.since),
            "until": plain(self.until),
            "resolution": self.resolution,
            "fields": ["time", *self.fields],
            "rows": [[_iso(row[0]), *row[1:]] for row in self.rows],
            "next": plain(self.next),
        }


def _iso(millis: int) -> str:
    return iso(from_millis(millis))


@dataclass(frozen=True, slots=True)
class _Field:
    """One field of the answer."""

    name: str
    column: str
    term: str
    """How SQL gives it."""
    shown: Callable[[Any], Value] | None = None
    """What becomes of it then; `None`: it is right as it is."""


def find_history(connection: sqlite3.Connection, query: HistoryQuery) -> HistoryAnswer:
    """The rows that are asked for. Raises `UsageError` for a field that there is none of."""
    level = query.level
    found = connection.execute("SELECT id FROM packs WHERE name = ?", (query.pack,)).fetchone()
    answer = HistoryAnswer(query.pack, query.since, query.until, level)
    if found is None:
        _require_known(query.fields, ())
        return answer
    fields = _wanted(query.fields, [*_fields(connection, level)])
    since, until = to_millis(query.since), to_millis(query.until)
    if level in _SIZES:
        since -= since % _SIZES[level]
    limit = max(1, min(query.limit, MOST_ROWS))
    if not query.fields:
        fields = _filled(connection, level, found[0], (since, until), fields)
    rows = _rows(connection, level, found[0], since, until, fields, limit + 1)
    following = from_millis(rows[limit][0]) if len(rows) > limit else None
    del rows[limit:]
    rows = _shown(fields, rows)
    return HistoryAnswer(
        query.pack, query.since, query.until, level,
        tuple(each.name for each in fields), rows, following,
    )  # fmt: skip


def _shown(fields: Sequence[_Field], rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """The rows with what SQL cannot give: flags and lists."""
    changed = [(n, each.shown) for n, each in enumerate(fields, 1) if each.shown is not None]
    if not changed:
        return rows
    found = []
    for row in rows:
        values = [*row]
        for number, shown in changed:
            if values[number] is not None:
                values[number] = shown(values[number])
        found.append(tuple(values))
    return found


def _rows(
    connection: sqlite3.Connection,
    level: str,
    pack: int,
    since: int,
    until: int,
    fields: Sequence[_Field],
    limit: int,
) -> list[tuple[Any, ...]]:
    terms = ", ".join(["time", *(each.term for each in fields)])
    if level == "raw":
        return _raw(connection, pack, since, until, [each.column for each in fields], terms, limit)
    found = connection.execute(
        f"SELECT {terms} FROM {_TABLES[level]} WHERE pack = ? AND time >= ? AND time < ? "
        "ORDER BY time LIMIT ?",
        (pack, since, until, limit),
    ).fetchall()
    fresh = {row[0]: row for row in _fresh(connection, level, pack, since, until, terms)}
    if not fresh:
        return found
    merged = {row[0]: row for row in found} | fresh
    return [merged[time] for time in sorted(merged)][:limit]


def _raw(
    connection: sqlite3.Connection,
    pack: int,
    since: int,
    until: int,
    columns: Sequence[str],
    terms: str,
    limit: int,
) -> list[tuple[Any, ...]]:
    """Readings, a day at a time: within one they are in their order already."""
    found: list[tuple[Any, ...]] = []
    for day in reversed(day_tables(connection)):
        start, end = max(since, day * DAY), min(until, (day + 1) * DAY)
        if start < end and len(found) < limit:
            source = readings(connection, columns, start, end, pack)
            found += connection.execute(
                f"SELECT {terms} FROM {source} ORDER BY time LIMIT ?", (limit - len(found),)
            )
    return found


def _fresh(
    connection: sqlite3.Connection, level: str, pack: int, since: int, until: int, terms: str
) -> Iterator[tuple[Any, ...]]:
    """Rows of the hours that are not merged yet, made for this question alone."""
    hours = connection.execute(
        "SELECT hour FROM unmerged WHERE hour >= ? AND hour < ? ORDER BY hour",
        (since // HOUR, -(-until // HOUR)),
    ).fetchall()
    for (hour,) in hours:
        size = _SIZES[
            level
        ]  # the last piece is whole, as a stored one: its counters are at its end
        start, end = max(since, hour * HOUR), min(-(-until // size) * size, (hour + 1) * HOUR)
        names, rows = merged_rows(connection, size, start, end, pack)
        # The same terms as for what is stored, so that both are shown in one way.
        values = ", ".join(f"? AS {name}" for name in names)
        for row in rows:
            yield from connection.execute(f"SELECT {terms} FROM (SELECT {values})", row)


def _fields(connection: sqlite3.Connection, level: str) -> Iterator[_Field]:
    """All fields of a table, in the order of people: first those that every pack has."""
    there = raw_columns(connection) if level == "raw" else columns_in(connection, _TABLES[level])
    merged = level != "raw"
    names = [*FIXED, *sorted((n for n in there if n not in FIXED and column_of(n)), key=_natural)]
    for name in names:
        column = column_of(name)
        if column is None or name not in there:
            continue
        yield _field(name, column, merged=merged)
        for ending in ("_min", "_max"):
            if f"{name}{ending}" in there:
                yield _field(f"{name}{ending}", column, merged=merged)
    if merged:
        for name, (counter, unit) in _COUNTED.items():
            yield _Field(name, counter, f"round({counter} / {unit}, 6)")


def _field(name: str, column: StoredColumn, *, merged: bool) -> _Field:
    if column.kind == "flag":
        term = f"{name} / {SHARE}.0" if merged else name
        return _Field(name, name, term, None if merged else bool)
    if column.kind == "number":
        term = name if column.scale == 1 else f"{name} / {column.scale}.0"
        return _Field(name, name, term)
    return _Field(name, name, name, lambda stored: decode(column, stored, merged=merged))


def _natural(name: str) -> list[tuple[int, str]]:
    """For sorting: cell 2 comes before cell 10."""
    return [(int(part or 0), "") if part.isdigit() else (0, part) for part in _NUMBER.split(name)]


_NUMBER = re.compile(r"(\d+)")


def _wanted(asked: Sequence[str], there: Sequence[_Field]) -> list[_Field]:
    """The fields that are asked for, in the order of the table."""
    if not asked:
        return [*there]
    _require_known(asked, [each.name for each in there])
    return [
        each
        for each in there
        if each.name in asked or any(n in GROUPS and GROUPS[n].fullmatch(each.name) for n in asked)
    ]


def _require_known(asked: Collection[str], there: Collection[str]) -> None:
    for name in asked:
        base = re.sub("_(min|max)$", "", name)
        if name in there or name in GROUPS or name in _COUNTED or column_of(base) is not None:
            continue
        known = [*GROUPS, *(there or FIXED)]
        raise UsageError(
            f"There is no field {name[:60]!r}.{did_you_mean(name, known)} Groups of fields are "
            f"{', '.join(GROUPS)}; without any, all are given."
        )


def _filled(
    connection: sqlite3.Connection,
    level: str,
    pack: int,
    span: tuple[int, int],
    fields: Sequence[_Field],
) -> list[_Field]:
    """The fields that have a value anywhere in a time."""
    since, until = span
    values = [each.column for each in fields if each.name not in _COUNTED]
    table = _TABLES.get(level, "minutes")
    fresh = max(since, _unmerged_since(connection))
    base = sorted({name for name in values if column_of(name) is not None})
    there: set[str] = set()
    for names, source in (
        (values, f"{table} WHERE pack = {pack:d} AND time > {since - HOUR:d} AND time < {until:d}"),
        (base, readings(connection, base, fresh, until, pack)),
    ):
        counts = ", ".join(["count(*)", *(f"count({name})" for name in names)])
        _, *found = connection.execute(f"SELECT {counts} FROM {source}").fetchone()
        there |= {name for name, count in zip(names, found, strict=True) if count}
    return [
        each
        for each in fields
        if each.name in _COUNTED or each.column in there or each.column[:-4] in there
    ]


def _unmerged_since(connection: sqlite3.Connection) -> int:
    """From when on minutes and hours may be missing, ms."""
    (hour,) = connection.execute("SELECT min(hour) FROM unmerged").fetchone()
    return 1 << 62 if hour is None else int(hour) * HOUR


def require_pack(connection: sqlite3.Connection, name: str, served: Collection[str] = ()) -> None:
    """`UsageError` for a name that neither the store nor the service knows."""
    stored = [each for (each,) in connection.execute("SELECT name FROM packs ORDER BY name")]
    known = list(dict.fromkeys([*served, *stored]))
    told = "SELECT 1 FROM events WHERE pack = ? LIMIT 1"  # also one that was never read
    if name not in known and not (name and connection.execute(told, (name,)).fetchone()):
        raise UsageError(
            f"There is no history of {name[:60]!r}.{did_you_mean(name, known)} There is of: "
            f"{', '.join(known[:20]) or 'no pack'}."
        )


def default_since(until: datetime | None = None) -> datetime:
    """Where the history begins that is shown without a time: a day ago."""
    return (until or utc_now()) - timedelta(days=1)
