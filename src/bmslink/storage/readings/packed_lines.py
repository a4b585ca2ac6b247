"""`.jsonl.gz`: the lines of `read --json`, packed, and a whole gzip file after each of them.

Behind each line comes the end of a gzip file; the next line is written over it. So whoever reads
the file, at whatever moment and with whatever program, finds it whole; only a plug that is pulled
in the middle of a write cuts it, within the last line.
"""

from __future__ import annotations

import contextlib
import io
import os
import struct
import zlib
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from bmslink.errors import TargetError
from bmslink.model import Reading
from bmslink.storage.atomic import draft_of
from bmslink.storage.readings.lines import CUT, Appended, json_lines, require_readings

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

__all__ = ["PackedLines", "Unpacked", "is_packed"]

_MAGIC = b"\x1f\x8b"
_HEAD = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
_LAST = b"\x03\x00"  # a block that is the last one, and empty
_FLUSHED = b"\x00\x00\xff\xff" + _LAST
_TRAILER = 8  # bytes: checksum and length
_PIECE = 1 << 16
_GZIP = zlib.MAX_WBITS | 16


def is_packed(start: bytes) -> bool:
    """Whether a file that begins so is packed by gzip."""
    return start.startswith(_MAGIC)


class PackedLines:
    """See above."""

    def __init__(self, path: Path) -> None:
        self._end = Appended(path)
        self.remarks: list[str] = []
        try:
            if self._end.size and not is_packed(self._end.read(0, 2)):
                raise TargetError(
                    f"{path} is not packed by gzip: name another file. Nothing was written."
                )
            with path.open("rb") as file:
                require_readings(Unpacked(file).read(_PIECE), path)
            if not self._sound():
                self._mend()
        except BaseException:
            self._end.close()
            raise
        self._packer = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)
        self._sum = self._length = 0
        self._begun = False

    def _sound(self) -> bool:
        """Whether the file ends as this class ends it, or is whole."""
        size = self._end.size
        if not size:
            return True
        end = self._end.read(max(0, size - _TRAILER - len(_FLUSHED)), _TRAILER + len(_FLUSHED))
        if end.startswith(_FLUSHED):
            return True
        last = b"\n"
        with self._end.path.open("rb") as file:
            found = Unpacked(file)
            while piece := found.read(_PIECE):
                last = piece[-1:]
        return not found.torn and last == b"\n"

    def _mend(self) -> None:
        """Write what can still be read into a new file, and put that in the place of this one."""
        path = self._end.path
        mode = os.fstat(self._end.handle).st_mode & 0o777
        with (
            draft_of(path, mode=mode, suffix=".jsonl.gz") as name,
            closing(PackedLines(name)) as draft,
            path.open("rb") as file,
        ):
            found, rest = Unpacked(file), b""
            while piece := found.read(_PIECE):
                whole, end, rest = (rest + piece).rpartition(b"\n")
                draft.add(whole + end)
        self._end.close()
        self._end = Appended(path)
        self.remarks.append(CUT)

    def write(self, readings: Sequence[Reading]) -> None:
        """See `LogFile`."""
        self.add(json_lines(readings))

    def add(self, lines: bytes) -> None:
        """Lines as bytes."""
        packer = self._packer.copy()
        data = packer.compress(lines) + packer.flush(zlib.Z_SYNC_FLUSH)
        checksum = zlib.crc32(lines, self._sum)
        length = self._length + len(lines)
        tail = _LAST + struct.pack("<II", checksum, length & 0xFFFFFFFF)
        if self._begun:
            self._end.add_over(len(tail), data + tail)
        else:
            self._end.add(_HEAD + data + tail)
        self._packer, self._sum, self._length, self._begun = packer, checksum, length, True

    def close(self) -> None:
        """See `LogFile`."""
        self._end.close()


class Unpacked(io.RawIOBase):
    """A packed file to read, as far as it can be read: a cut is an end, and `torn` says so."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._unpacker = zlib.decompressobj(_GZIP)
        self._waiting = b""
        self._inside = False
        self.torn = False
        """Whether it ended in the middle of something; known at the end."""

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Fill a buffer as far as one piece goes; 0 at the end."""
        view = memoryview(buffer).cast("B")
        while not self.torn:
            if self._unpacker.eof:  # the next one follows
                self._waiting = self._unpacker.unused_data
                self._unpacker, self._inside = zlib.decompressobj(_GZIP), False
            self._waiting = self._waiting or self._file.read(_PIECE)
            if not self._waiting:
                self.torn = self._inside
                return 0
            self._inside = True
            if data := self._unpack(len(view)):
                view[: len(data)] = data
                return len(data)
        return 0

    def _unpack(self, most: int) -> bytes:
        before = self._unpacker.copy()
        try:
            data = self._unpacker.decompress(self._waiting, most)
        except zlib.error:
            self.torn = True
            return _before_the_damage(before, self._waiting, most)
        self._waiting = self._unpacker.unconsumed_tail
        return data


def _before_the_damage(unpacker: Any, data: bytes, most: int) -> bytes:
    """What a piece gives up to the byte that cannot be: zlib keeps that to itself."""
    found = bytearray()
    with contextlib.suppress(zlib.error):
        for place in range(len(data)):
            found += unpacker.decompress(data[place : place + 1])
    return bytes(found[:most])
