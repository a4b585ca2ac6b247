"""Minutes and hours, made of readings; and what is too old, or too much, taken away."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from bmslink.runtime.history.columns import SHARE, StoredColumn, column_of
from bmslink.runtime.history.days import DAY, day_name, day_tables, raw_columns, readings
from bmslink.runtime.history.options import HistoryOptions
from bmslink.runtime.history.schema import COUNTERS, transaction

__all__ = ["HOUR", "MINUTE", "drop_old", "make_room", "merge", "merged_rows", "used_bytes"]

MINUTE, HOUR = 60_000, 3_600_000
"""ms"""
_LEVELS = {"minutes": MINUTE, "hours": HOUR}
_ROOM = 0.95
"""Of the largest size: down to this is made room, so that it is not made again at once."""

Bucket = tuple[int, int]
"""Pack and beginning, ms."""


def merge(connection: sqlite3.Connection, now: int) -> int:
    """Make minutes and hours of every hour that is over and was written to; how many hours."""
    hours = connection.execute(
        "SELECT hour FROM unmerged WHERE hour < ? ORDER BY hour", (now // HOUR,)
    ).fetchall()
    for (hour,) in hours:
        with transaction(connection):
            for table, size in _LEVELS.items():
                _store(connection, table, hour * HOUR, size)
            connection.execute("DELETE FROM unmerged WHERE hour = ?", (hour,))
    return len(hours)


def _store(connection: sqlite3.Connection, table: str, start: int, size: int) -> None:
    names, rows = merged_rows(connection, size, start, start + HOUR)
    # An hour of which readings were dropped meanwhile is never replaced by less.
    changes = ", ".join(f"{name} = excluded.{name}" for name in names[2:])
    connection.executemany(
        f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))}) "
        f"ON CONFLICT (pack, time) DO UPDATE SET {changes} WHERE excluded.readings >= readings",
        rows,
    )


def merged_rows(
    connection: sqlite3.Connection, size: int, start: int, end: int, pack: int | None = None
) -> tuple[list[str], list[tuple[int | float | None, ...]]]:
    """The readings of a time, merged into pieces of `size` ms: the names of the columns (`pack`,
    `time`, `readings`, the counters, all others), and the rows."""
    columns = _columns(connection)
    names, terms = [*_terms(columns)], [*_terms(columns).values()]
    source = readings(connection, [column.name for column in columns], start, end, pack)
    found = connection.execute(
        f"SELECT pack, time - time % {size} AS begin, count(*), {', '.join(terms)} "
        f"FROM {source} GROUP BY pack, begin"
    ).fetchall()
    bits = _bits(connection, columns, size, source)
    counted = _counted(connection, size, start, end, pack)
    nothing = (None,) * len(COUNTERS)
    rows = []
    for number, begin, count, *values in found:
        for name, stored in bits.get((number, begin), {}).items():
            values[names.index(name)] = stored
        rows.append((number, begin, count, *counted.get((number, begin), nothing), *values))
    return ["pack", "time", "readings", *COUNTERS, *names], rows


def _columns(connection: sqlite3.Connection) -> list[StoredColumn]:
    found = (column_of(name) for name in sorted(raw_columns(connection)))
    return [column for column in found if column is not None]


def _terms(columns: Sequence[StoredColumn]) -> dict[str, str]:
    """StoredColumn of a merged row -> how it is made."""
    terms: dict[str, str] = {}
    for column in columns:
        name = column.name
        if column.kind == "flag":
            terms[name] = f"CAST(round(avg({name}) * {SHARE}) AS INTEGER)"
        elif column.merged == "avg":
            terms[name] = f"CAST(round(avg({name})) AS INTEGER)"
        else:
            terms[name] = f"{column.merged}({name})"
        if column.extremes:
            terms |= {f"{name}_{each}": f"{each}({name})" for each in ("min", "max")}
    return terms


def _bits(
    connection: sqlite3.Connection,
    columns: Sequence[StoredColumn],
    size: int,
    source: str,
) -> dict[Bucket, dict[str, int]]:
    """Conditions that were there at any time of a piece; most have none."""
    names = [column.name for column in columns if column.kind in ("conditions", "cells")]
    found: dict[Bucket, dict[str, int]] = {}
    any_of = " OR ".join(f"{name} > 0" for name in names)
    query = f"SELECT pack, time - time % {size}, {', '.join(names)} FROM {source} WHERE {any_of}"
    for number, begin, *values in connection.execute(query):
        bits = found.setdefault((number, begin), {})
        for name, value in zip(names, values, strict=True):
            if value:
                bits[name] = bits.get(name, 0) | value
    return found


def _counted(
    connection: sqlite3.Connection, size: int, start: int, end: int, pack: int | None
) -> dict[Bucket, tuple[float, ...]]:
    """The counters at the end of each piece: they never fall, so the highest are the last."""
    highest = ", ".join(f"max({name})" for name in COUNTERS)
    mine = "" if pack is None else f"AND pack = {pack:d} "
    query = (
        f"SELECT pack, time - time % {size} AS begin, {highest} FROM counters "
        f"WHERE time >= ? AND time < ? {mine}GROUP BY pack, begin"
    )
    return {
        (number, begin): tuple(values)
        for number, begin, *values in connection.execute(query, (start, end))
    }


# ------------------------------------------------------------------------------ what is dropped


def drop_old(connection: sqlite3.Connection, options: HistoryOptions, now: int) -> None:
    """Drop readings and minutes that are older than is wanted, beside the day that it is now.

    Age is counted in days (hours) that have readings, not by the clock: one that was set wrong for
    an hour must not cost what was stored before. Days that are still to come do not count.
    """
    days = [day for day in day_tables(connection) if day <= now // DAY]
    kept, dropped = days[: options.raw_days + 1], days[options.raw_days + 1 :]
    for day in dropped:
        with transaction(connection):
            connection.execute(f"DROP TABLE {day_name(day)}")
            connection.execute("DELETE FROM counters WHERE time < ?", (kept[-1] * DAY,))
    for (pack,) in connection.execute("SELECT id FROM packs").fetchall():
        oldest = connection.execute(
            "SELECT time FROM hours WHERE pack = ? ORDER BY time DESC LIMIT 1 OFFSET ?",
            (pack, options.minute_days * 24 - 1),
        ).fetchone()
        if oldest is not None:
            with transaction(connection):
                connection.execute(
                    "DELETE FROM minutes WHERE pack = ? AND time < ?", (pack, oldest[0])
                )


def used_bytes(connection: sqlite3.Connection) -> int:
    """How much of the file is in use; what was dropped is used again."""
    size, pages, free = (
        connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("page_size", "page_count", "freelist_count")
    )
    return int(size * (pages - free))


def make_room(connection: sqlite3.Connection, largest: int) -> int | None:
    """Where the file is larger than `largest` bytes, drop the oldest readings (days, of the last
    one hours), then the oldest minutes; hours and events stay. The time before which something was
    dropped, ms; `None`: there is room."""
    dropped: int | None = None
    if used_bytes(connection) <= largest:
        return None
    while used_bytes(connection) > largest * _ROOM:
        with transaction(connection):
            end = _drop_oldest(connection)
        if end is None:
            break
        dropped = max(end, dropped or 0)
    return dropped


def _drop_oldest(connection: sqlite3.Connection) -> int | None:
    days = day_tables(connection)
    if len(days) > 1:
        connection.execute(f"DROP TABLE {day_name(days[-1])}")
        return (days[-1] + 1) * DAY
    table, step = (day_name(days[0]), HOUR) if days else ("minutes", DAY)
    (oldest,) = connection.execute(f"SELECT min(time) FROM {table}").fetchone()
    if oldest is None and days:
        connection.execute(f"DROP TABLE {table}")
        return days[0] * DAY
    if oldest is None:
        return None
    end = int(oldest - oldest % HOUR + step)
    connection.execute(f"DELETE FROM {table} WHERE time < ?", (end,))
    return end
