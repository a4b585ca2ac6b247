"""`.csv`: a table with a header.

A text that is empty because there is nothing is `none`, so that it differs from one that the BMS
does not give.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from bmslink.errors import TargetError, UsageError
from bmslink.model import Reading
from bmslink.storage.atomic import draft_of
from bmslink.storage.readings.lines import CUT, Appended
from bmslink.storage.readings.rows import (
    Kind,
    Row,
    Value,
    from_row,
    kind_of,
    ordered,
    require_ours,
    to_row,
)

__all__ = ["CsvTable", "csv_readings", "is_csv"]

_LONGEST_HEADER = 1 << 14
_NOTHING = "none"
_FIRST = b"target,"


def is_csv(start: bytes) -> bool:
    """Whether a file that begins so is such a table."""
    return _FIRST.strip(b",") in start.partition(b"\n")[0].strip().split(b",")


class CsvTable:
    """See above. A new column is added at the end, by a new file in the place of the old."""

    def __init__(self, path: Path) -> None:
        self._end = Appended(path)
        self.remarks: list[str] = []
        self._columns: list[str] = []
        try:
            if self._end.size:
                self._columns = self._header()
                if self._end.cut_to_lines():
                    self.remarks.append(CUT)
        except BaseException:
            self._end.close()
            raise

    def _header(self) -> list[str]:
        first, end, _ = self._end.read(0, _LONGEST_HEADER).partition(b"\n")
        if not end and first.startswith(_FIRST):  # cut off before the first reading
            self._end.cut(0)
            self.remarks.append(CUT)
            return []
        columns = next(csv.reader([first.decode("utf-8-sig", "replace").strip()]), [])
        require_ours(columns, self._end.path)
        return columns

    def write(self, readings: Sequence[Reading]) -> None:
        """See `LogFile`."""
        rows = [to_row(reading) for reading in readings]
        names = ordered(name for row in rows for name in row)
        new = [name for name in names if name not in self._columns]
        if not self._columns:
            self._end.add(_line(new) + b"".join(_row(new, row) for row in rows))
            self._columns = new
            return
        if new:
            self._widen(new)
        self._end.add(b"".join(_row(self._columns, row) for row in rows))

    def _widen(self, new: list[str]) -> None:
        path, columns = self._end.path, [*self._columns, *new]
        mode = os.fstat(self._end.handle).st_mode & 0o777
        with (
            draft_of(path, mode=mode) as draft,
            draft.open("r+b") as out,
            path.open("rb") as file,
        ):
            file.readline()
            out.write(_line(columns))
            for line in file:
                if line.count(b'"') % 2:
                    raise TargetError(f"{path} has a text of several lines; name another file.")
                out.write(line.rstrip(b"\r\n") + b"," * len(new) + b"\n")
        self._end.close()
        self._end = Appended(path)
        self._columns = columns

    def close(self) -> None:
        """See `LogFile`."""
        self._end.close()


def _row(columns: Sequence[str], row: Row) -> bytes:
    return _line([_text(row.get(name)) for name in columns])


def _text(value: Value) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return _NOTHING if value == "" else str(value)


def _line(fields: Sequence[str]) -> bytes:
    out = _CsvLine()
    csv.writer(out, lineterminator="\n").writerow(fields)
    return out.text.encode()


class _CsvLine:
    """What csv writes to."""

    text = ""

    def write(self, text: str) -> None:
        """One row."""
        self.text = text


def csv_readings(file: IO[bytes]) -> Iterator[Reading | UsageError]:
    """The readings of a table, or why a row is none."""
    lines = (line.decode("utf-8-sig", "replace") for line in iter(file.readline, b""))
    rows = csv.reader(lines)
    columns = next(rows, [])
    kinds = {name: kind for name in columns if (kind := kind_of(name)) is not None}
    for row in rows:
        try:
            if len(row) != len(columns):
                raise UsageError("This is no reading: it has another number of columns.")
            named = zip(columns, row, strict=True)
            yield from_row({n: _value(kinds[n], v) for n, v in named if n in kinds})
        except (UsageError, ValueError) as error:
            yield error if isinstance(error, UsageError) else UsageError(f"No reading: {error}.")


def _value(kind: Kind, text: str) -> Value:
    if text == "":
        return None
    if kind == "real":
        return float(text)
    if kind == "integer":
        return int(float(text))
    if kind == "flag":
        return text.lower() in ("true", "1")
    return "" if text == _NOTHING else text
