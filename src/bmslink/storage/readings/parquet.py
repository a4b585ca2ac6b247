"""`.parquet`, by DuckDB. A reading waits as a line in `FILE.parquet.part`, where it is on the disk
at once, and is taken into the file with many others, or at the end.

What a kill leaves in the part is taken in when the file is opened the next time; each part has a
number, which the file remembers, so that nothing is taken in twice. Needs the extra `parquet`.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from string import Template
from typing import Any

from bmslink.errors import TargetError, UsageError
from bmslink.jsonable import dumps
from bmslink.model import Reading
from bmslink.storage.atomic import draft_of, require_regular
from bmslink.storage.readings.lines import CUT, Appended
from bmslink.storage.readings.rows import from_row, kind_of, ordered, require_ours, to_row

__all__ = ["ParquetTable", "is_parquet", "parquet_readings"]

_ROWS, _SHARE = 5000, 0.1
"""So many readings wait at most, or as many as this share of those that are in the file: a file
is written as a whole, so a long one is written seldom."""
_TYPES = {
    "text": "VARCHAR", "time": "TIMESTAMPTZ", "real": "DOUBLE", "integer": "BIGINT",
    "flag": "BOOLEAN",
}  # fmt: skip
_PART = "bmslink_part"
_NEW = Template(
    "SELECT * EXCLUDE (bmslink_part) "
    "FROM read_json($part, format = 'newline_delimited', columns = {$columns}) "
    "WHERE bmslink_part IS NULL"
)
_AND_OLD = Template("SELECT * FROM read_parquet($old) UNION ALL BY NAME $rows")
_COPY = Template(
    "COPY ($rows) TO $draft "
    "(FORMAT parquet, COMPRESSION zstd, KV_METADATA {bmslink_part: '$number'})"
)
_ROWS_OF = 'SELECT * REPLACE (epoch_us("time") AS "time") FROM read_parquet(?)'
_AT_ONCE = 1000
_GLOB = re.compile(r"([*?\[])")


def is_parquet(start: bytes) -> bool:
    """Whether a file that begins so is such a file."""
    return start.startswith(b"PAR1")


class ParquetTable:
    """See above."""

    def __init__(self, path: Path) -> None:
        require_regular(path)
        self._base = _connect()
        self._path = path
        self.remarks: list[str] = []
        self._number, self._rows, self._columns = _inside(self._base, path)
        self._part = Appended(_part_of(path))
        self._waiting = 0
        self._wanted: set[str] = set()
        self._closed = False
        try:
            if self._part.cut_to_lines():
                self.remarks.append(CUT)
            self._take_over()
        except BaseException:
            self._part.close()
            raise

    def _take_over(self) -> None:
        """What an earlier run has left."""
        if self._part.size:
            number, columns, rows = _look(self._part.path)
            if number > self._number and rows:
                self._waiting, self._wanted = rows, columns
                self._fold(number)
                self.remarks.append(f"{rows} readings of a run that was killed are taken in.")
            self._part.cut(0)

    def write(self, readings: Sequence[Reading]) -> None:
        """See `LogFile`."""
        rows = [to_row(reading) for reading in readings]
        text = "".join(f"{dumps(row)}\n" for row in rows)
        if not self._part.size:
            text = dumps({_PART: self._number + 1}) + "\n" + text
        self._part.add(text.encode())
        self._waiting += len(rows)
        self._wanted.update(name for row in rows for name in row)
        if not self._rows or self._waiting >= max(_ROWS, _SHARE * self._rows):
            with contextlib.suppress(OSError):  # they are on the disk all the same
                self._fold(self._number + 1)

    def _fold(self, number: int) -> None:
        """Take the part into the file. `OSError`, and nothing is changed then."""
        new = [name for name in ordered(self._wanted) if name not in self._columns]
        kinds = {name: _TYPES[kind_of(name) or "text"] for name in ordered(self._wanted)}
        columns = ", ".join(f"'{n}': '{kind}'" for n, kind in {_PART: "BIGINT", **kinds}.items())
        rows = _NEW.substitute(part=_literal(_only(self._part.path)), columns=columns)
        if self._rows:
            rows = _AND_OLD.substitute(old=_literal(_only(self._path)), rows=rows)
        mode = os.fstat(self._part.handle).st_mode & 0o777
        with draft_of(self._path, mode=mode) as draft:
            _run(self._base, _COPY.substitute(rows=rows, draft=_literal(str(draft)), number=number))
        self._number, self._rows = number, self._rows + self._waiting
        self._columns += new
        self._waiting, self._wanted = 0, set()
        self._part.cut(0)

    def close(self) -> None:
        """See `LogFile`."""
        if self._closed:
            return
        self._closed = True
        try:
            if self._waiting:
                self._fold(self._number + 1)
            self._part.path.unlink()
        finally:
            self._part.close()
            self._base.close()


def parquet_readings(path: Path) -> Iterator[Reading | UsageError]:
    """The readings of a file and of its part, or why a row is none. Raises `TargetError`."""
    base = _connect()
    number, rows, _ = _inside(base, path)
    if rows:
        found = _run(base, _ROWS_OF, [_only(path)])
        names = [each[0] for each in found.description]
        while batch := found.fetchmany(_AT_ONCE):
            for values in batch:
                row = dict(zip(names, values, strict=True))
                if row["time"] is not None:
                    row["time"] = datetime.fromtimestamp(row["time"] / 1e6, UTC)
                yield _reading(row)
    part = _part_of(path)
    if part.exists() and _look(part)[0] > number:
        with part.open("rb") as file:
            for line in file:
                with contextlib.suppress(ValueError):
                    row = json.loads(line)
                    if _PART not in row:
                        yield _reading(row)


def _reading(row: dict[str, Any]) -> Reading | UsageError:
    try:
        return from_row(row)
    except (UsageError, ValueError, TypeError) as error:
        return UsageError(f"No reading: {error}.")


def _part_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.part")


def _look(part: Path) -> tuple[int, set[str], int]:
    """The number of a part, the columns of its rows, and how many there are."""
    number, columns, rows = 0, set[str](), 0
    with part.open("rb") as file:
        for line in file:
            try:
                row = json.loads(line)
            except ValueError:
                continue
            if not isinstance(row, dict):
                continue
            if _PART in row:
                number = row[_PART] if isinstance(row[_PART], int) else 0
            else:
                rows += 1
                columns.update(name for name in row if kind_of(name) is not None)
    return number, columns, rows


def _inside(base: Any, path: Path) -> tuple[int, int, list[str]]:
    """The number of the last part that a file took in, its rows, and its columns."""
    if not path.exists() or not path.stat().st_size:
        return 0, 0, []
    place = [_only(path)]
    try:
        pairs = _run(base, "SELECT key, value FROM parquet_kv_metadata(?)", place).fetchall()
        found = _run(base, "SELECT * FROM read_parquet(?) LIMIT 0", place).description
        (rows,) = _run(base, "SELECT count(*) FROM read_parquet(?)", place).fetchone()
    except OSError as exc:
        raise TargetError(f"{path} cannot be read as Parquet: {exc}. Nothing was written.") from exc
    columns = [each[0] for each in found]
    require_ours(columns, path)
    number = next((int(value) for key, value in pairs if key == _PART.encode()), 0)
    return number, rows, columns


def _connect() -> Any:
    """DuckDB in this process, with little memory. Raises `TargetError` where it is missing."""
    if find_spec("duckdb") is None:
        raise TargetError("Parquet needs DuckDB: install it with `pip install 'bmslink[parquet]'`.")
    import duckdb

    base = duckdb.connect(":memory:")
    base.execute("SET threads = 1")
    base.execute("SET memory_limit = '256MB'")
    base.execute("SET temp_directory = ''")
    return base


def _run(base: Any, statement: str, values: Sequence[object] = ()) -> Any:
    import duckdb

    try:
        return base.execute(statement, values)
    except duckdb.Error as exc:
        raise OSError(str(exc).partition("\n")[0]) from exc


def _literal(text: str) -> str:
    """A text in SQL, where it cannot be a parameter."""
    return "'" + text.replace("'", "''") + "'"


def _only(path: Path) -> str:
    """A path where a pattern may be: it means itself."""
    return _GLOB.sub(r"[\1]", str(path))
