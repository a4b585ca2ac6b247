"""What a file of readings can do, whatever its format, and which format a name means."""

from __future__ import annotations

import importlib
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from bmslink.errors import TargetError
from bmslink.model import Reading

__all__ = ["FORMATS", "LogFile", "open_log"]

FORMATS = {
    ".jsonl": "bmslink.storage.readings.lines:LoggedLines",
    ".jsonl.gz": "bmslink.storage.readings.packed_lines:PackedLines",
    ".csv": "bmslink.storage.readings.csv_table:CsvTable",
    ".db": "bmslink.storage.readings.sqlite_table:SqliteTable",
    ".parquet": "bmslink.storage.readings.parquet:ParquetTable",
}
"""The end of a name -> the class that writes such a file, loaded when it is needed."""


class LogFile(Protocol):
    """A file of readings that is open for more. One thread at a time."""

    remarks: list[str]
    """What a person should know of what was there already."""

    def __init__(self, path: Path) -> None:
        """Open it, or make it. Raises `TargetError` for a file of something else, `OSError`."""

    def write(self, readings: Sequence[Reading]) -> None:
        """Add readings. They are on the disk when this returns; where it raises `OSError`, none
        of them is, and it may be tried again."""

    def close(self) -> None:
        """May be called twice. Raises `OSError`."""


def open_log(path: Path) -> LogFile:
    """The file of this name, in the format that its end means. Raises `TargetError`."""
    name = path.name.lower()
    end = max((e for e in FORMATS if name.endswith(e)), key=len, default=None)
    if end is None:
        raise TargetError(f"{path} should end in one of {', '.join(FORMATS)}: that is its format.")
    module, _, kind = FORMATS[end].partition(":")
    make: type[LogFile] = getattr(importlib.import_module(module), kind)
    try:
        return make(path)
    except TargetError:
        raise
    except (OSError, ValueError, sqlite3.Error) as exc:
        why = getattr(exc, "strerror", None) or exc
        raise TargetError(f"{path} cannot be written: {why}.") from exc
