"""The readings of each day are a table of their own.

What is too old is dropped with its table, which writes a few pages; to delete as many rows writes
each of their pages twice. A reading is keyed by (time, pack), because that writes the fewest pages:
all packs of a minute lie together.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Sequence

from bmslink.runtime.history.columns import column_of

__all__ = ["DAY", "columns_in", "create_day", "day_name", "day_tables", "raw_columns", "readings"]

DAY = 86_400_000
"""ms"""


def day_name(day: int) -> str:
    """The table of a day, counted from 1970."""
    return f"readings_{day}"


def day_tables(connection: sqlite3.Connection) -> list[int]:
    """The days that have readings, the newest first."""
    found = connection.execute("SELECT name FROM sqlite_master WHERE name GLOB 'readings_[0-9]*'")
    return sorted((int(name.removeprefix("readings_")) for (name,) in found), reverse=True)


def create_day(connection: sqlite3.Connection, day: int, columns: Collection[str]) -> None:
    """Make the table of a day, unless it is there."""
    values = "".join(f", {name} INTEGER" for name in columns)
    connection.execute(
        f"CREATE TABLE IF NOT EXISTS {day_name(day)} (time INTEGER NOT NULL, "
        f"pack INTEGER NOT NULL{values}, PRIMARY KEY (time, pack)) WITHOUT ROWID"
    )


def columns_in(connection: sqlite3.Connection, table: str) -> set[str]:
    """The names of the columns that a table has."""
    return {name for _, name, *_ in connection.execute(f"PRAGMA table_info({table})")}


def raw_columns(connection: sqlite3.Connection) -> set[str]:
    """The columns that readings of any day have."""
    return {name for name in columns_in(connection, "minutes") if column_of(name) is not None}


def readings(
    connection: sqlite3.Connection,
    columns: Sequence[str],
    since: int,
    until: int,
    pack: int | None = None,
) -> str:
    """What to select from for the readings of a time (ms): `time`, `pack` and these columns."""
    mine = "" if pack is None else f" AND pack = {pack:d}"
    parts = []
    for day in sorted(day_tables(connection)):
        if (day + 1) * DAY <= since or day * DAY >= until:
            continue
        there = columns_in(connection, day_name(day))
        values = [name if name in there else f"NULL AS {name}" for name in columns]
        parts.append(
            f"SELECT {', '.join(['time', 'pack', *values])} FROM {day_name(day)} "
            f"WHERE time >= {since:d} AND time < {until:d}{mine}"
        )
    nothing = ", ".join(["0 AS time", "0 AS pack", *(f"NULL AS {name}" for name in columns)])
    return f"({' UNION ALL '.join(parts) or f'SELECT {nothing} WHERE 0'})"
