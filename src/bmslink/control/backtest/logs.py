"""Recordings to try policies on: what `log` writes, the lines of `read --json`, or a capture file.

Read as a stream, in constant memory, in the order of the file. What is no reading is skipped and
counted; only a file without any reading is an error.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

import msgspec

from bmslink.decoding import Skip, explain_pieces
from bmslink.errors import CaptureError, FrameError, TargetError, UsageError
from bmslink.link.capture import FORMAT, CaptureHeader, Piece, open_capture, reading
from bmslink.model import Reading
from bmslink.storage.readings.read_log import table_readings, unpacked

__all__ = ["Entry", "Log", "SkippedLines", "written"]

_LONGEST_LINE = 1 << 16
_EARLIEST, _LATEST = 0.0, 32503680000.0  # the years 1970 to 3000, s
_FASTEST = 10_000.0
_UNDATED = 366 * 86400.0  # s: nobody logged in 1970
_CONDITION_KEYS = (b'"alarms"', b'"protections"', b'"faults"')
_UNREADABLE = (msgspec.MsgspecError, ValueError, RecursionError)


class Entry(msgspec.Struct, frozen=True):
    """One reading of a log."""

    target: str
    time: float
    """Seconds since 1970, UTC; since the beginning where the log does not say when that was."""
    reading: Reading


class SkippedLines(msgspec.Struct):
    """What a log held besides readings."""

    damaged: int = 0
    """Lines that are no JSON, or whose values cannot be; stretches of bytes that are no frame."""
    foreign: int = 0
    """Lines of something else."""
    untimed: int = 0
    """Readings without a time."""
    errors: int = 0
    """Lines that say that the pack could not be read."""


class _Other(msgspec.Struct):
    """What a line that is no reading may be."""

    error: str = ""
    format: str = ""
    protocol: str = ""


_NULL, _UNTOLD = b"null", re.compile(rb'"(alarms|protections|faults)":\s*null')
"""The conditions of a board that tells none; between such quotes it is a key and no text."""
_as_reading = msgspec.json.Decoder(Reading).decode
_as_other = msgspec.json.Decoder(_Other).decode
_as_any = msgspec.json.Decoder().decode


class Log:
    """A log file; iterate over it once. `skipped` counts as it goes.

    `interval` (s) is the time between readings where the log has none; `speed` is how many seconds
    of the pack passed in one of the log (a simulation may have run faster).
    """

    def __init__(
        self,
        path: Path,
        *,
        protocol: str | None = None,
        interval: float | None = None,
        speed: float = 1.0,
    ) -> None:
        """`TargetError` for a speed that cannot be."""
        if not 0 < speed <= _FASTEST:
            raise TargetError(f"speed must be above 0 and at most {_FASTEST:g}, not {speed:g}.")
        self.path = path
        self.skipped = SkippedLines()
        self._protocol = protocol
        self._interval = interval
        self._speed = speed
        self._start: float | None = None
        self._counts: dict[str, int] = {}

    def __iter__(self) -> Iterator[Entry]:
        """The readings in the order of the file.

        Raises `CaptureError` for a capture that is damaged, `FrameError` if there is no reading,
        `TransportError` for a file that cannot be read.
        """
        found = False
        for target, item in self._source():
            moment = self._moment(target, item)
            if moment is None:
                self.skipped.untimed += 1
                continue
            found = True
            yield Entry(target, moment, item)
        if not found:
            raise FrameError(self._nothing())

    def _moment(self, target: str, item: Reading) -> float | None:
        if self._interval is not None:
            count = self._counts[target] = self._counts.get(target, -1) + 1
            return count * self._interval * self._speed
        told = item.time
        if told is None or told.tzinfo is None:
            return None
        moment = told.timestamp()
        if not _EARLIEST <= moment <= _LATEST:
            return None
        if self._start is None:
            self._start = moment
        return self._start + (moment - self._start) * self._speed

    def _nothing(self) -> str:
        if self.skipped.untimed:
            return (
                f"The readings in {self.path} have no time; say how far they are apart with "
                "--interval SECONDS."
            )
        return (
            f"{self.path} holds no reading; what `bmslink log TARGET -o FILE` and `bmslink capture "
            "TARGET -o FILE` write can be used, and what `bmslink read TARGET --watch 1 --json` "
            "prints."
        )

    def _source(self) -> Iterator[tuple[str, Reading]]:
        with reading(self.path) as packed, unpacked(packed) as file:
            table = None if file is not packed else table_readings(self.path, file)
            if table is not None:
                yield from self._rows(table)
            elif file is packed and _is_capture(file):
                yield from self._capture()
            else:
                yield from self._lines(file)

    # -- what `log` writes -----------------------------------------------------------------------

    def _rows(self, table: Iterator[Reading | UsageError]) -> Iterator[tuple[str, Reading]]:
        for item in table:
            if isinstance(item, UsageError) or not _says_something(item):
                self.skipped.damaged += 1
            else:
                yield item.target or str(self.path), item

    # -- the lines of `read --json` --------------------------------------------------------------

    def _lines(self, file: IO[bytes]) -> Iterator[tuple[str, Reading]]:
        while line := file.readline(_LONGEST_LINE):
            if len(line) >= _LONGEST_LINE and not line.endswith(b"\n"):
                self.skipped.damaged += 1
                while (rest := file.readline(_LONGEST_LINE)) and not rest.endswith(b"\n"):
                    continue
                continue
            item = self._reading(line)
            if item is not None:
                yield item.target or str(self.path), item

    def _reading(self, line: bytes) -> Reading | None:
        found: Reading | None
        try:
            plain, untold = _UNTOLD.subn(rb'"\1":[]', line) if _NULL in line else (line, 0)
            found = _as_reading(plain)
            told = not untold and all(name in line for name in _CONDITION_KEYS)
            object.__setattr__(found, "conditions_known", told)  # nobody else has it yet
        except _UNREADABLE:
            found = _other_reading(line)
        if found is not None and found.protocol and _says_something(found):
            return found
        if line.strip():
            self._count(line)
        return None

    def _count(self, line: bytes) -> None:
        try:
            other = _as_other(line)
        except _UNREADABLE:
            self.skipped.damaged += 1
            return
        if other.error:
            self.skipped.errors += 1
        elif other.protocol:  # a reading, but for something in it that cannot be
            self.skipped.damaged += 1
        else:
            self.skipped.foreign += 1

    # -- a capture file --------------------------------------------------------------------------

    def _capture(self) -> Iterator[tuple[str, Reading]]:
        header, pieces = open_capture(self.path)
        target = header.target or str(self.path)
        started = header.started or datetime(1970, 1, 1, tzinfo=UTC)
        header = msgspec.structs.replace(header, started=started)
        try:
            yield from self._decoded(target, header, pieces)
        except FrameError as exc:
            raise CaptureError(f"{self.path}: {exc}", str(self.path)) from exc

    def _decoded(
        self, target: str, header: CaptureHeader, pieces: Iterator[Piece]
    ) -> Iterator[tuple[str, Reading]]:
        for event in explain_pieces(header, pieces, self._protocol):
            if isinstance(event, Reading):
                if _says_something(event):
                    yield target, event
            elif isinstance(event, Skip):
                self.skipped.damaged += 1


def _is_capture(file: IO[bytes]) -> bool:
    first = file.readline(_LONGEST_LINE)
    file.seek(0)
    try:
        return _as_other(first).format == FORMAT
    except _UNREADABLE:
        return False


def written(time: float) -> str | float:
    """A time of a log for JSON: ISO 8601 UTC; seconds where the log has no date."""
    if not _UNDATED <= time <= _LATEST:
        return round(time, 3)
    moment = datetime.fromtimestamp(time, UTC).isoformat(timespec="milliseconds")
    return moment.replace("+00:00", "Z")


def _says_something(found: Reading) -> bool:
    return bool(found.cell_voltages) or found.voltage is not None


def _other_reading(line: bytes) -> Reading | None:
    """A reading of a version that knows more conditions, or of a board that tells none."""
    try:
        return Reading.from_dict(_as_any(line))
    except (*_UNREADABLE, UsageError):
        return None
