"""The tables of the store, their versions, and how a file is opened.

Times are whole milliseconds since 1970 in UTC, so no zone and no summer time is in them. Readings
are in a table for each day (`days`). Minutes and hours are written rarely and asked for pack by
pack, so they are keyed by (pack, time).
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from bmslink.errors import BmsError
from bmslink.runtime.history.columns import FIXED
from bmslink.storage.atomic import update_handle

__all__ = [
    "COUNTERS",
    "VERSION",
    "DamagedHistory",
    "ForeignHistory",
    "HistoryError",
    "NewerHistory",
    "from_millis",
    "is_damage",
    "is_history",
    "looked_at",
    "open_history",
    "put_aside",
    "require_usable",
    "to_millis",
    "transaction",
]

APPLICATION = 0x424D534C
"""Marks a SQLite file as ours: BMSL."""
COUNTERS = ("charge_in", "charge_out", "energy_in", "energy_out", "known", "unknown")
"""As, As, J, J, s, s: as in `EnergyTotals`, as REAL."""
_WAIT = 2.0
"""s that another program may hold the file before a write is given up for now."""
_PAGE = 4096
_LARGEST_LOG = 8 << 20
"""Bytes that the write-ahead log keeps when it is empty."""


class HistoryError(BmsError):
    """The store cannot be read or written now: a full disk, another program that holds it."""


class DamagedHistory(HistoryError):
    """The file is damaged."""


class NewerHistory(HistoryError):
    """The file is of a later version of bmslink."""


class ForeignHistory(HistoryError):
    """The file is a database of another program."""


def to_millis(moment: datetime) -> int:
    """A time as the store has it."""
    return round(moment.timestamp() * 1000)


def from_millis(millis: int) -> datetime:
    """A time of the store, UTC."""
    return datetime.fromtimestamp(millis / 1000, UTC)


def _first() -> Iterator[str]:
    """Version 1."""
    fixed = "".join(f", {name} INTEGER" for name in FIXED)
    extremes = "".join(
        f", {name}_min INTEGER, {name}_max INTEGER" for name, c in FIXED.items() if c.extremes
    )
    counters = ", ".join(f"{name} REAL" for name in COUNTERS)
    yield "CREATE TABLE packs (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE)"
    for table in ("minutes", "hours"):
        yield (
            f"CREATE TABLE {table} (pack INTEGER NOT NULL, time INTEGER NOT NULL, "
            f"readings INTEGER NOT NULL, {counters}{fixed}{extremes}, "
            "PRIMARY KEY (pack, time)) WITHOUT ROWID"
        )
    yield (
        "CREATE TABLE counters (time INTEGER NOT NULL, pack INTEGER NOT NULL, "
        f"{counters}, PRIMARY KEY (time, pack)) WITHOUT ROWID"
    )
    yield (
        "CREATE TABLE totals (pack INTEGER PRIMARY KEY, since INTEGER NOT NULL, "
        f"until INTEGER NOT NULL, {counters})"
    )
    yield "CREATE TABLE unmerged (hour INTEGER PRIMARY KEY)"
    yield (
        "CREATE TABLE events (id INTEGER PRIMARY KEY, time INTEGER NOT NULL, pack TEXT NOT NULL, "
        "what TEXT NOT NULL, severity INTEGER NOT NULL, key TEXT NOT NULL, text TEXT NOT NULL, "
        "since INTEGER, until INTEGER, until_known INTEGER NOT NULL, data TEXT NOT NULL)"
    )
    yield "CREATE INDEX events_by_time ON events (time)"
    yield (
        "CREATE TABLE runs (id INTEGER PRIMARY KEY, began INTEGER NOT NULL, "
        "alive INTEGER NOT NULL, ended INTEGER)"
    )


def _second() -> Iterator[str]:
    """Version 2: events that come and go quickly are one row with a count, found by their key."""
    yield "ALTER TABLE events ADD COLUMN count INTEGER NOT NULL DEFAULT 1"
    yield "ALTER TABLE events ADD COLUMN run INTEGER"
    yield "CREATE INDEX events_by_key ON events (pack, key, what)"


def _third() -> Iterator[str]:
    """Version 3: the lives of batteries, by board and part, as JSON."""
    yield (
        "CREATE TABLE life (board TEXT NOT NULL, part TEXT NOT NULL, data TEXT NOT NULL, "
        "PRIMARY KEY (board, part)) WITHOUT ROWID"
    )


_VERSIONS = (_first, _second, _third)
"""What makes each version of the one before it. A published one never changes."""
VERSION = len(_VERSIONS)
_TABLES = {
    **dict.fromkeys(("packs", "minutes", "hours", "counters", "totals", "unmerged"), 1),
    **dict.fromkeys(("events", "runs"), 1),
    "life": 3,
}
"""Each table, and the version that it came with."""


def open_history(path: Path, *, version: int = VERSION) -> sqlite3.Connection:
    """Open the file of a store, made or brought to this version where needed; for one thread.

    Raises `DamagedHistory`, `NewerHistory`, `ForeignHistory`, and `HistoryError` where it cannot be
    opened.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not path.exists():
            os.close(update_handle(path, mode=0o640))
        found = sqlite3.connect(path, timeout=_WAIT, isolation_level=None, check_same_thread=False)
    except FileExistsError as error:
        raise HistoryError(
            f"{path.parent} is a file, and no folder for {path.name}; a file for the history has "
            "a name that ends in .db."
        ) from error
    except (OSError, sqlite3.Error) as error:
        why = getattr(error, "strerror", None) or error
        raise HistoryError(f"{path} cannot be opened: {why}.") from error
    try:
        with _in_words(path):
            _prepare(found, path, version)
    except BaseException:
        found.close()
        raise
    return found


def require_usable(path: Path) -> None:
    """`HistoryError` where nothing could be stored at a path: another program's file, a name in a
    folder that cannot be. One that is damaged is usable (it is set aside), and one that another
    program holds will be."""
    with suppress(DamagedHistory):
        found = open_history(path)
        try:
            with _in_words(path), transaction(found):
                pass
        except HistoryError as error:
            if "locked" not in str(error):
                raise
        finally:
            found.close()


def _prepare(found: sqlite3.Connection, path: Path, version: int) -> None:
    (there,) = found.execute("PRAGMA user_version").fetchone()
    (whose,) = found.execute("PRAGMA application_id").fetchone()
    if there > VERSION and whose == APPLICATION:
        raise NewerHistory(
            f"{path} is of a later version of bmslink ({there}, this one knows {VERSION}): "
            "nothing is stored. Install that version, or name another file."
        )
    tables = found.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if tables and whose != APPLICATION:
        raise ForeignHistory(
            f"{path} is a database of another program: it is left as it is, and nothing is stored. "
            "Name another file."
        )
    if not tables:
        found.execute(f"PRAGMA page_size = {_PAGE}")
    found.execute("PRAGMA journal_mode = WAL")
    found.execute("PRAGMA synchronous = FULL")  # a commit a minute: it survives a cut of power
    found.execute("PRAGMA secure_delete = OFF")  # where it is on, dropping a day writes zeros
    found.execute(f"PRAGMA journal_size_limit = {_LARGEST_LOG}")
    if there < version:
        with transaction(found):
            for statements in _VERSIONS[there:version]:
                for statement in statements():
                    found.execute(statement)
            found.execute(f"PRAGMA user_version = {version}")
            found.execute(f"PRAGMA application_id = {APPLICATION}")
    names = {name for (name,) in found.execute("SELECT name FROM sqlite_master")}
    tables = {name for name, since in _TABLES.items() if since <= max(there, version)}
    if missing := tables - names:
        raise DamagedHistory(f"{path} lacks its table {min(missing)}.")
    for table in tables:
        found.execute(f"SELECT 1 FROM {table} LIMIT 1")


@contextmanager
def _in_words(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        kind = DamagedHistory if is_damage(error) else HistoryError
        raise kind(f"{path} cannot be opened: {error}.") from error


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Inside, all is done or nothing."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def is_history(path: Path) -> bool:
    """Whether a file is the store of a service."""
    try:
        with path.open("rb") as file:
            start = file.read(72)
    except OSError:
        return False
    if not start.startswith(b"SQLite format 3\0"):
        return False
    if start[68:72] == APPLICATION.to_bytes(4, "big"):
        return True
    # A young one, or one that was killed, may have all but its first page in the file beside it.
    if not path.with_name(f"{path.name}-wal").exists():
        return False
    with suppress(HistoryError), looked_at(path) as connection:
        return bool(connection.execute("PRAGMA application_id").fetchone()[0] == APPLICATION)
    return False


@contextmanager
def looked_at(path: Path) -> Iterator[sqlite3.Connection]:
    """The store, only to be read, as it is: of any version. Raises `HistoryError`."""
    try:
        found = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=_WAIT)
        try:
            yield found
        finally:
            found.close()
    except sqlite3.Error as error:
        raise HistoryError(f"{path} cannot be read: {error}.") from error


_DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def is_damage(error: sqlite3.Error) -> bool:
    """Whether an error says that the file itself is wrong, and not the disk or another program."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is not None:
        return code & 0xFF in _DAMAGE
    return False


def put_aside(path: Path, now: datetime) -> Path:
    """Rename a damaged file, and what belongs to it, so that a new one can take its place."""
    stamp = f"{now.astimezone(UTC):%Y%m%dT%H%M%SZ}"
    aside = path.with_name(f"{path.name}.damaged-{stamp}")
    number = 1
    while aside.exists():
        number += 1
        aside = path.with_name(f"{path.name}.damaged-{stamp}-{number}")
    path.rename(aside)
    for ending in ("-wal", "-shm"):
        beside = path.with_name(path.name + ending)
        if beside.exists():
            beside.rename(aside.with_name(aside.name + ending))
    return aside
