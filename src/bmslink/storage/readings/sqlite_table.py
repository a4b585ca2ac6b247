"""`.db`: a table `readings` in an SQLite file, which other programs can read meanwhile."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path
from string import Template
from typing import Any

from bmslink.errors import CaptureError, TargetError, UsageError
from bmslink.model import Reading
from bmslink.storage.atomic import require_regular
from bmslink.storage.readings.rows import Row, from_row, kind_of, ordered, require_ours, to_row

__all__ = ["SqliteTable", "is_sqlite", "sqlite_readings"]

_MAGIC = b"SQLite format 3\0"
_PATIENCE = 5.0  # s for others that write
_INSERT = Template("INSERT INTO readings ($names) VALUES ($marks)")
_TYPES = {"text": "TEXT", "time": "TEXT", "real": "REAL", "integer": "INTEGER", "flag": "INTEGER"}


def is_sqlite(start: bytes) -> bool:
    """Whether a file that begins so is one of SQLite."""
    return start.startswith(_MAGIC)


class SqliteTable:
    """See above."""

    def __init__(self, path: Path) -> None:
        require_regular(path)
        self.remarks: list[str] = []
        self._path = path
        self._base: sqlite3.Connection | None = sqlite3.connect(
            path, timeout=_PATIENCE, isolation_level=None, check_same_thread=False
        )
        try:
            self._columns = self._known(self._base)
            self._base.execute("PRAGMA journal_mode=WAL")
            self._base.execute("PRAGMA synchronous=FULL")
        except BaseException:
            self._base.close()
            raise

    def _known(self, base: sqlite3.Connection) -> list[str]:
        tables = [name for (name,) in base.execute("SELECT name FROM sqlite_master")]
        if not tables:
            return []
        if "readings" not in tables:
            raise TargetError(
                f"{self._path} holds other tables ({', '.join(tables)[:60]}): name another file. "
                "Nothing was written."
            )
        columns = [row[1] for row in base.execute("PRAGMA table_info(readings)")]
        require_ours(columns, self._path)
        return columns

    def write(self, readings: Sequence[Reading]) -> None:
        """See `LogFile`."""
        base = self._base
        if base is None:
            raise OSError("the file is closed")
        rows = [to_row(reading) for reading in readings]
        try:
            base.execute("BEGIN IMMEDIATE")
            try:
                columns = self._with(base, ordered(name for row in rows for name in row))
                for row in rows:
                    _insert(base, row)
                base.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    base.execute("ROLLBACK")
                raise
        except sqlite3.Error as exc:
            raise OSError(str(exc)) from exc
        self._columns = columns

    def _with(self, base: sqlite3.Connection, wanted: Sequence[str]) -> list[str]:
        """The columns, with those that are new."""
        new = [name for name in wanted if name not in self._columns]
        if not self._columns:
            base.execute(f"CREATE TABLE readings ({', '.join(map(_column, new))})")
        else:
            for name in new:
                base.execute(f"ALTER TABLE readings ADD COLUMN {_column(name)}")
        return [*self._columns, *new]

    def close(self) -> None:
        """See `LogFile`."""
        base, self._base = self._base, None
        if base is not None:
            base.close()


def _column(name: str) -> str:
    return f'"{name}" {_TYPES[kind_of(name) or "text"]}'


def _insert(base: sqlite3.Connection, row: Row) -> None:
    names = ", ".join(f'"{name}"' for name in row)  # ours, by `kind_of`
    marks = ", ".join("?" * len(row))
    base.execute(_INSERT.substitute(names=names, marks=marks), [*row.values()])


def sqlite_readings(path: Path) -> Iterator[Reading | UsageError]:
    """The readings of a file, in the order in which they came, or why a row is none.

    Raises `CaptureError` for a file that is damaged or holds none."""
    try:
        yield from _rows(path)
    except sqlite3.Error as exc:
        raise CaptureError(f"{path} cannot be read: {exc}.", str(path)) from exc


def _rows(path: Path) -> Iterator[Reading | UsageError]:
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as base:
        found = base.execute("SELECT * FROM readings ORDER BY rowid")
        columns = [each[0] for each in found.description]
        flags = {name for name in columns if kind_of(name) == "flag"}
        for values in found:
            row: dict[str, Any] = dict(zip(columns, values, strict=True))
            for name in flags:
                row[name] = None if row[name] is None else bool(row[name])
            try:
                yield from_row(row)
            except (UsageError, ValueError, TypeError) as error:
                yield UsageError(f"No reading: {error}.")
