"""Text files of readings: whole lines at the end of a file, each on the disk before the next."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

from bmslink.errors import TargetError
from bmslink.jsonable import to_json
from bmslink.model import Reading
from bmslink.storage.atomic import update_handle
from bmslink.storage.chain import take

__all__ = ["Appended", "LoggedLines", "busy", "json_lines", "require_readings"]

_PIECE = 1 << 16


class Appended:
    """The end of a file, to which only this program appends."""

    def __init__(self, path: Path) -> None:
        """Raises `OSError`, and `TargetError` where another program has it."""
        self.path = path
        self.handle = update_handle(path)
        try:
            take(self.handle)
            if not os.path.samestat(path.stat(), os.fstat(self.handle)):
                raise OSError  # it was replaced since
        except OSError:
            os.close(self.handle)
            raise busy(path) from None
        self.size = os.fstat(self.handle).st_size

    def read(self, start: int, length: int) -> bytes:
        """Bytes of it, as far as there are any."""
        os.lseek(self.handle, start, os.SEEK_SET)
        return os.read(self.handle, length)

    def cut(self, size: int) -> None:
        """Forget what is behind."""
        os.ftruncate(self.handle, size)
        self.size = size

    def add(self, data: bytes) -> None:
        """Append, and wait for the disk; all of it or, with `OSError`, nothing."""
        self.add_over(0, data)

    def add_over(self, length: int, data: bytes) -> None:
        """The same over so many of its last bytes, in one write."""
        start = self.size - length
        old = self.read(start, length) if length else b""
        try:
            self._put(start, data)
        except OSError:
            os.ftruncate(self.handle, start)
            self._put(start, old)
            raise
        self.size = start + len(data)

    def _put(self, start: int, data: bytes) -> None:
        os.lseek(self.handle, start, os.SEEK_SET)
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self.handle, rest) :]
        os.fsync(self.handle)

    def cut_to_lines(self) -> bool:
        """Take away what a cut left of a last line; whether there was such a thing."""
        whole, size = 0, self.size
        while size and not whole:
            start = max(0, size - _PIECE)
            found = _whole_lines(self.read(start, size - start))
            whole, size = (start + found if found else 0), start
        if whole == self.size:
            return False
        self.cut(whole)
        return True

    def close(self) -> None:
        """May be called twice."""
        if self.handle >= 0:
            handle, self.handle = self.handle, -1
            os.close(handle)


def _whole_lines(text: bytes) -> int:
    """How much of a text is whole lines. What was never written reads as 0 after a power cut."""
    end = text.rfind(b"\n") + 1
    while end and b"\0" in text[text.rfind(b"\n", 0, end - 1) + 1 : end]:
        end = text.rfind(b"\n", 0, end - 1) + 1
    return end


def busy(path: Path) -> TargetError:
    """What to raise where another program writes the same file."""
    return TargetError(f"Another program writes {path}: name another file, or end that one.")


def json_lines(readings: Sequence[Reading]) -> bytes:
    """The lines of `read --json`."""
    return "".join(f"{to_json(reading.to_dict())}\n" for reading in readings).encode()


def require_readings(start: bytes, path: Path) -> None:
    """Raises `TargetError` where a file that begins so has lines of something else, as a capture
    has. One whose first line was cut off is none of those."""
    first, end, _ = start.lstrip().partition(b"\n")
    if not first or (not end and first.startswith(b'{"schema":')):
        return
    try:
        found = json.loads(first)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or "target" not in found or "format" in found:
        raise TargetError(
            f"{path} holds something else than readings: name another file. Nothing was written."
        )


CUT = "The last line was cut off by a kill or a power cut, and is removed."


class LoggedLines:
    """`.jsonl`: the lines of `read --json`."""

    def __init__(self, path: Path) -> None:
        self._end = Appended(path)
        self.remarks: list[str] = []
        try:
            require_readings(self._end.read(0, _PIECE), path)
            if self._end.cut_to_lines():
                self.remarks.append(CUT)
        except BaseException:
            self._end.close()
            raise

    def write(self, readings: Sequence[Reading]) -> None:
        """See `LogFile`."""
        self._end.add(json_lines(readings))

    def close(self) -> None:
        """See `LogFile`."""
        self._end.close()
