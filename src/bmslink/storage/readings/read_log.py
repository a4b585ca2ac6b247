"""Files of readings to read, whatever their names: their first bytes say what they are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import IO

from bmslink.errors import UsageError
from bmslink.model import Reading
from bmslink.storage.readings.csv_table import csv_readings, is_csv
from bmslink.storage.readings.packed_lines import Unpacked, is_packed
from bmslink.storage.readings.parquet import is_parquet, parquet_readings
from bmslink.storage.readings.sqlite_table import is_sqlite, sqlite_readings

__all__ = ["table_readings", "unpacked"]

_START = 1 << 14


def table_readings(path: Path, file: IO[bytes]) -> Iterator[Reading | UsageError] | None:
    """The readings of an open file that is a table, or why a row is none; `None` for other files.

    Raises `CaptureError` for a damaged one, `TargetError` for one of something else.
    """
    start = file.read(_START)
    file.seek(0)
    if is_sqlite(start):
        return sqlite_readings(path)
    if is_parquet(start):
        return parquet_readings(path)
    return csv_readings(file) if is_csv(start) else None


@contextmanager
def unpacked(file: IO[bytes]) -> Iterator[IO[bytes]]:
    """A file as it is, or unpacked where it is packed by gzip."""
    start = file.read(2)
    file.seek(0)
    if is_packed(start):
        with BufferedReader(Unpacked(file)) as reader:
            yield reader
    else:
        yield file
