"""The store itself: one SQLite file, written by one thread.

A batch is written whole or not at all, and may be written again: a row that is there already is
not stored twice.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from bmslink.events import PackEvent
from bmslink.runtime.history.columns import Row, column_of
from bmslink.runtime.history.days import DAY, columns_in, create_day, day_name, raw_columns
from bmslink.runtime.history.event_table import close_open, put_event, require_bounded, unseen_ends
from bmslink.runtime.history.merging import HOUR, drop_old, make_room, merge
from bmslink.runtime.history.options import HistoryOptions
from bmslink.runtime.history.schema import (
    COUNTERS,
    DamagedHistory,
    HistoryError,
    from_millis,
    is_damage,
    open_history,
    put_aside,
    to_millis,
    transaction,
)
from bmslink.runtime.life.keeper import LifeRow
from bmslink.runtime.watching.energy import EnergyTotals
from bmslink.runtime.watching.lasting import SeenCondition

__all__ = ["Batch", "HistoryFile", "RunBefore", "StoredRow", "find_lives"]

_MOST_COLUMNS = 300
"""Cells and probes of all packs together."""
_LARGEST_LOG = 64 << 20
"""Bytes of what a reader that holds the file keeps from being put in its place."""
_TRIES = 1000
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class StoredRow:
    """One reading of a pack."""

    time: int
    """ms since 1970, UTC."""
    pack: str
    values: Row


@dataclass(frozen=True, slots=True)
class Batch:
    """What is written together."""

    now: datetime
    rows: Sequence[StoredRow] = ()
    events: Sequence[PackEvent] = ()
    totals: Mapping[str, EnergyTotals] = field(default_factory=dict)
    """Of each pack, up to its latest row: what a restart goes on from."""
    marks: Sequence[tuple[str, EnergyTotals]] = ()
    """The same at the ends of minutes, with the name of the pack."""
    lives: Sequence[LifeRow] = ()
    """What has changed of the lives of batteries, up to the same reading as `totals`."""


@dataclass(frozen=True, slots=True)
class RunBefore:
    """How the service ended before."""

    clean: bool
    """It was stopped; else it was killed, or the power was cut."""
    alive: datetime
    """When it wrote last."""
    lasting: Sequence[SeenCondition] = ()
    """Conditions that lasted then."""


class HistoryFile:
    """The file at a path. Used by one thread; everything raises `HistoryError`."""

    def __init__(self, path: Path, options: HistoryOptions) -> None:
        self.path = path
        self._options = options
        self._connection: sqlite3.Connection | None = None
        self._packs: dict[str, int] = {}
        self._columns: set[str] = set()
        self._days: dict[int, set[str]] = {}
        """Day -> the columns of its table, where they are known."""
        self._inode = 0
        self._run = 0

    @property
    def is_open(self) -> bool:
        """Whether it was opened."""
        return self._connection is not None

    def open(self, now: datetime) -> str:
        """Open the file, made where there is none. One that is damaged is set aside; then in words
        where it is, else empty."""
        aside = ""
        try:
            connection = open_history(self.path)
        except DamagedHistory as error:
            aside = self._set_aside(str(error), now)
            connection = open_history(self.path)
        with self._in_words():
            self._packs = {
                name: number for number, name in connection.execute("SELECT id, name FROM packs")
            }
            self._columns, self._days = raw_columns(connection), {}
            self._inode = self.path.stat().st_ino
        self._connection = connection
        return aside

    def _set_aside(self, why: str, now: datetime) -> str:
        self.close()
        try:
            aside = put_aside(self.path, now)
        except OSError as error:
            raise HistoryError(f"{why} It cannot be set aside: {error}.") from error
        return f"{why} It is {aside.name} now, and a new one was begun."

    def close(self) -> None:
        """May be called twice."""
        if self._connection is not None:
            with suppress(sqlite3.Error):
                self._connection.close()
        self._connection = None
        self._run = 0

    # -- runs ------------------------------------------------------------------------------------

    def begin_run(self, now: datetime) -> RunBefore | None:
        """The service begins: what lasted when it ended was seen last then. How it ended; `None`:
        it never ran with this file."""
        with self._changing() as connection:
            before = connection.execute(
                "SELECT alive, ended FROM runs ORDER BY id DESC LIMIT 1"
            ).fetchone()
            if before is not None:
                close_open(connection, before[1] or before[0])
            lasting = unseen_ends(connection, to_millis(now))
            self._run = self._new_run(connection, to_millis(now))
        if before is None:
            return None
        alive, ended = before
        return RunBefore(ended is not None, from_millis(ended or alive), lasting)

    def _new_run(self, connection: sqlite3.Connection, now: int) -> int:
        found = connection.execute("INSERT INTO runs (began, alive) VALUES (?, ?)", (now, now))
        return found.lastrowid or 0

    def end_run(self, now: datetime) -> None:
        """The service ends as it should."""
        with self._changing() as connection:
            connection.execute(
                "UPDATE runs SET alive = ?, ended = ? WHERE id = ?",
                (to_millis(now), to_millis(now), self._run),
            )
            close_open(connection, to_millis(now))

    def totals(self) -> dict[str, EnergyTotals]:
        """What was counted of each pack, up to what was written last."""
        names = ", ".join(f"t.{name}" for name in COUNTERS)
        query = f"SELECT p.name, t.since, t.until, {names} FROM totals t JOIN packs p ON id = pack"
        return self.ask(
            lambda connection: {
                name: EnergyTotals(from_millis(since), from_millis(until), *counted)
                for name, since, until, *counted in connection.execute(query)
            }
        )

    def lives(self) -> dict[str, dict[str, str]]:
        """What was stored of each battery's life: by board, then by part."""
        return self.ask(find_lives)

    # -- writing ---------------------------------------------------------------------------------

    def write(self, batch: Batch) -> None:
        """Write a batch, whole or not at all."""
        self._require_short_log()
        with self._changing() as connection:
            if not self._run:
                self._run = self._new_run(connection, to_millis(batch.now))
            self._put_rows(connection, batch.rows)
            for hour in {row.time // HOUR for row in batch.rows}:
                connection.execute("INSERT OR IGNORE INTO unmerged VALUES (?)", (hour,))
            for event in batch.events:
                put_event(connection, event, self._run)
            for name, totals in (*batch.marks, *batch.totals.items()):
                self._put_counters(connection, name, totals)
            for name, totals in batch.totals.items():
                self._put_totals(connection, name, totals)
            connection.executemany("INSERT OR REPLACE INTO life VALUES (?, ?, ?)", batch.lives)
            connection.execute(
                "UPDATE runs SET alive = ? WHERE id = ?", (to_millis(batch.now), self._run)
            )

    def _put_rows(self, connection: sqlite3.Connection, rows: Sequence[StoredRow]) -> None:
        """Rows of one day with the same columns together."""
        alike: dict[tuple[int, tuple[str, ...]], list[StoredRow]] = {}
        for row in rows:
            alike.setdefault((row.time // DAY, tuple(row.values)), []).append(row)
        for (day, columns), group in alike.items():
            names = [name for name in columns if self._has_column(connection, day, name)]
            insert = (
                f"INSERT INTO {day_name(day)} ({', '.join(['time', 'pack', *names])}) "
                f"VALUES ({', '.join('?' * (len(names) + 2))}) ON CONFLICT DO NOTHING"
            )
            values = [
                (row.time, self._pack(connection, row.pack), *(row.values[name] for name in names))
                for row in group
            ]
            if connection.executemany(insert, values).rowcount != len(values):
                for each in values:
                    self._put_beside(connection, day, insert, names, each)

    def _put_beside(
        self,
        connection: sqlite3.Connection,
        day: int,
        insert: str,
        names: Sequence[str],
        row: tuple[int, ...],
    ) -> None:
        """One row, where there are others of the same time: it was written before, or the clock was
        set back, and then the other stays."""
        time, pack, *values = row
        for millis in range(time, time + _TRIES):
            if connection.execute(insert, (millis, pack, *values)).rowcount:
                return
            there = connection.execute(
                f"SELECT {', '.join(['pack', *names])} FROM {day_name(day)} "
                "WHERE time = ? AND pack = ?",
                (millis, pack),
            ).fetchone()
            if [*there[1:]] == values:
                return

    def _has_column(self, connection: sqlite3.Connection, day: int, name: str) -> bool:
        """Whether a column is there, made where it may be."""
        if day not in self._days:
            create_day(connection, day, sorted(self._columns))
            self._days[day] = columns_in(connection, day_name(day))
        if name in self._days[day]:
            return True
        column = column_of(name)
        if column is None or (name not in self._columns and len(self._columns) >= _MOST_COLUMNS):
            return False
        tables = [(day_name(day), [name])]
        if name not in self._columns:
            merged = [name, f"{name}_min", f"{name}_max"] if column.extremes else [name]
            tables += [("minutes", merged), ("hours", merged)]
        for table, names in tables:
            for each in names:
                connection.execute(f"ALTER TABLE {table} ADD COLUMN {each} INTEGER")
        self._columns.add(name)
        self._days[day].add(name)
        return True

    def _pack(self, connection: sqlite3.Connection, name: str) -> int:
        if name not in self._packs:
            found = connection.execute("INSERT INTO packs (name) VALUES (?)", (name,))
            self._packs[name] = found.lastrowid or 0
        return self._packs[name]

    def _put_counters(
        self, connection: sqlite3.Connection, name: str, totals: EnergyTotals
    ) -> None:
        counted = [getattr(totals, each) for each in COUNTERS]
        connection.execute(
            f"INSERT OR REPLACE INTO counters VALUES ({', '.join('?' * (len(counted) + 2))})",
            (to_millis(totals.until), self._pack(connection, name), *counted),
        )

    def _put_totals(self, connection: sqlite3.Connection, name: str, totals: EnergyTotals) -> None:
        counted = [getattr(totals, each) for each in COUNTERS]
        times = [to_millis(totals.since), to_millis(totals.until)]
        connection.execute(
            f"INSERT OR REPLACE INTO totals VALUES ({', '.join('?' * (len(counted) + 3))})",
            (self._pack(connection, name), *times, *counted),
        )

    # -- now and then ----------------------------------------------------------------------------

    def maintain(self, now: datetime) -> str:
        """Once an hour: minutes and hours of what is over, and nothing too old or too much. What
        had to go for want of room, in words; else empty."""
        self._require_same_file()
        with self._in_words():
            connection = self._live()
            merge(connection, to_millis(now))
            drop_old(connection, self._options, to_millis(now))
            require_bounded(connection)
            dropped = make_room(connection, self._options.max_size * 1_000_000)
            self._days = {}
        if dropped is None:
            return ""
        return (
            f"The history has its largest size ({self._options.max_size} MB): what is older than "
            f"{from_millis(dropped):%Y-%m-%d %H:%M} UTC was dropped. Minutes, hours and events "
            "stay as long as there is room; max_size of [history] gives more."
        )

    def ask(self, question: Callable[[sqlite3.Connection], T]) -> T:
        """What a function finds."""
        with self._in_words():
            return question(self._live())

    def size(self) -> int:
        """Bytes on the disk, the log included."""
        total = 0
        for ending in ("", "-wal"):
            with suppress(OSError):
                total += Path(f"{self.path}{ending}").stat().st_size
        return total

    # -- what may be wrong -----------------------------------------------------------------------

    def _live(self) -> sqlite3.Connection:
        if self._connection is None:
            raise HistoryError(f"{self.path} is not open.")
        return self._connection

    @contextmanager
    def _changing(self) -> Iterator[sqlite3.Connection]:
        """Inside, all is changed or nothing, also of what is remembered of the file."""
        self._require_same_file()
        packs, columns, run = dict(self._packs), set(self._columns), self._run
        try:
            with self._in_words(), transaction(self._live()):
                yield self._live()
        except BaseException:
            self._packs, self._columns, self._run = packs, columns, run
            self._days = {}
            raise

    @contextmanager
    def _in_words(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            if is_damage(error):
                raise DamagedHistory(f"{self.path} is damaged ({error}).") from error
            raise HistoryError(f"{self.path} cannot be used now: {error}.") from error
        except OSError as error:
            raise HistoryError(f"{self.path} cannot be used now: {error}.") from error

    def _require_same_file(self) -> None:
        """`HistoryError` where somebody took the file away or put another in its place."""
        try:
            same = self.path.stat().st_ino == self._inode
        except OSError:
            same = False
        if not same and self._connection is not None:
            self.close()
            raise HistoryError(f"{self.path} was taken away; it is made anew.")

    def _require_short_log(self) -> None:
        """`HistoryError` while a reader keeps so much from being put in its place that the log
        would fill the disk."""
        log = Path(f"{self.path}-wal")
        with self._in_words():
            if not log.exists() or log.stat().st_size <= _LARGEST_LOG:
                return
            busy, _, _ = self._live().execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if busy:
            raise HistoryError(
                f"Another program has held {self.path} open for reading for long: nothing is "
                "written until it lets go."
            )

    def replace_damaged(self, why: str, now: datetime) -> str:
        """Set the file aside and begin a new one; in words."""
        told = self._set_aside(why, now)
        self.open(now)
        return told


def find_lives(connection: sqlite3.Connection) -> dict[str, dict[str, str]]:
    """What is stored of each battery's life: by board, then by part."""
    found: dict[str, dict[str, str]] = {}
    there = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'life'").fetchone()
    if not there:  # a file of an earlier version that is only looked at
        return found
    for board, part, data in connection.execute("SELECT board, part, data FROM life"):
        found.setdefault(board, {})[part] = data
    return found
