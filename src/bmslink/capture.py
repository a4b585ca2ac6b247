"""The capture file: every byte both ways, with times, one JSON object per line.

The first line is the header, each further line a piece of the stream as it was delivered:

```
{"format":"bmslink-capture","version":1,"protocol":"jbd","started":"2026-01-02T03:04:05Z"}
{"t":0.0,"dir":"tx","hex":"dda50300fffd77"}
{"t":0.021,"dir":"rx","hex":"dd03001b..."}
```

`t` is seconds since `started`, or null where the source gave no times. What a fixture knows more
(hardware, source, published values, the kind of each piece) stands in the same objects.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any, Literal, Protocol

import msgspec

from bmslink.errors import CaptureError, PortDenied, PortNotFound, TransportError
from bmslink.link import Frame, Framer
from bmslink.transport import OnData, OnLost, Transport

__all__ = ["CaptureHeader", "Piece", "Recorder", "Scrubber", "Writer", "open_capture"]

FORMAT = "bmslink-capture"


class CaptureHeader(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The first line of a capture file."""

    format: str
    version: int
    id: str = ""
    protocol: str = ""
    variant: str = ""
    hardware: str = ""
    firmware: str = ""
    transport: str = ""
    target: str = ""
    started: datetime | None = None
    source: str = ""
    """Where a fixture comes from: `owner/repo:path`."""
    published: dict[str, Any] = {}
    """Values the source itself gives for these bytes, in its own words."""
    notes: str = ""
    edited: bool | str = False
    """Bytes were changed (a name, serial number or password blanked)."""
    extra: dict[str, Any] = {}

    @classmethod
    def now(cls, *, protocol: str, target: str) -> CaptureHeader:
        """The header of a recording that begins now."""
        started = datetime.now(UTC)
        return cls(format=FORMAT, version=1, protocol=protocol, target=target, started=started)


class Piece(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A run of bytes in one direction: `rx` comes from the BMS, `tx` goes to it."""

    t: float | None = None
    dir: Literal["rx", "tx"]
    hex: str
    kind: str = ""
    checksum_ok: bool | None = None
    """True: a whole valid frame; False: must be refused; null: not a whole frame, or not known."""
    chunks: list[int] = []
    """Lengths of the notifications it came in."""
    note: str = ""
    extra: dict[str, Any] = {}

    @property
    def data(self) -> bytes:
        """The bytes."""
        return bytes.fromhex(self.hex)

    @property
    def sent(self) -> bool:
        """True for bytes that went to the BMS."""
        return self.dir == "tx"

    def parts(self) -> Iterator[bytes]:
        """The bytes in the pieces in which they were delivered."""
        data, start = self.data, 0
        for length in self.chunks or [len(data)]:
            yield data[start : start + length]
            start += length
        if start < len(data):
            yield data[start:]


_decode_header = msgspec.json.Decoder(CaptureHeader).decode
_decode_piece = msgspec.json.Decoder(Piece).decode


def is_capture(start: bytes) -> bool:
    """Whether a file that begins so claims to be a capture file."""
    return start.lstrip()[:1] == b"{"


def open_capture(path: Path | str) -> tuple[CaptureHeader, Iterator[Piece]]:
    """Read a capture file lazily; `CaptureError` names the first line that is wrong."""
    lines = _lines(Path(path))
    number, first = next(lines, (1, b""))
    try:
        header = _decode_header(first)
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise _damaged(path, number, f"this is no capture header: {exc}") from exc
    if header.format != FORMAT or header.version != 1:
        raise _damaged(path, number, f"not a {FORMAT} file of version 1")
    return header, _pieces(path, lines)


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    try:
        with path.open("rb") as file:
            for number, line in enumerate(iter(lambda: file.readline(1 << 22), b""), 1):
                if not line.endswith(b"\n"):
                    raise _damaged(path, number, "the file is cut off in this line")
                if line.strip():
                    yield number, line
    except FileNotFoundError as exc:
        raise PortNotFound(f"There is no file {path}.") from exc
    except PermissionError as exc:
        raise PortDenied(f"You may not read {path}.") from exc
    except OSError as exc:
        if isinstance(exc, TransportError):
            raise
        raise TransportError(f"{path} cannot be read: {exc.strerror}.") from exc


def _pieces(path: Path | str, lines: Iterator[tuple[int, bytes]]) -> Iterator[Piece]:
    latest = float("-inf")
    for number, line in lines:
        try:
            piece = _decode_piece(line)
            if not piece.data and piece.hex:
                raise ValueError("no hex bytes")
        except (msgspec.DecodeError, UnicodeDecodeError, ValueError) as exc:
            raise _damaged(path, number, str(exc)) from exc
        if sum(piece.chunks) > len(piece.data) or min(piece.chunks, default=1) < 1:
            raise _damaged(path, number, "`chunks` do not fit the bytes")
        if piece.t is not None:
            if not latest <= piece.t < 1e10:
                raise _damaged(path, number, "time runs backwards: lines were moved or edited")
            latest = piece.t
        yield piece


def _damaged(path: Path | str, line: int, why: str) -> CaptureError:
    return CaptureError(f"{path}, line {line}: {why}.", str(path), line)


class Scrubber(Protocol):
    """Removes secrets: gets a frame, gives back bytes of the same length, or `None` to keep it."""

    def __call__(self, frame: Any, /) -> bytes | None: ...


class Writer:
    """Appends pieces to a capture file, each line whole before the next.

    With a framer and a scrubber, bytes wait until their frame is complete, so that a password
    inside it never reaches the file, however the frame was cut.
    """

    def __init__(
        self,
        file: IO[bytes],
        header: CaptureHeader,
        *,
        framer: Callable[[], Framer[Any]] | None = None,
        scrub: Scrubber | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._file = file
        self._clock = clock
        self._start = clock()
        self._scrub = scrub
        self._framers = {d: framer() for d in ("rx", "tx")} if framer and scrub else {}
        self._fed = {"rx": 0, "tx": 0}
        self._waiting: deque[tuple[str, int, float, bytearray]] = deque()
        self.pieces = 0
        self.bytes = 0
        self._line(header)

    def _line(self, item: msgspec.Struct) -> None:
        self._file.write(msgspec.json.encode(item) + b"\n")
        self._file.flush()

    def write(self, direction: Literal["rx", "tx"], data: bytes) -> None:
        """Take one piece as it was delivered."""
        stamp = round(self._clock() - self._start, 6)
        self._waiting.append((direction, self._fed[direction], stamp, bytearray(data)))
        self._fed[direction] += len(data)
        framer = self._framers.get(direction)
        if framer is not None:
            self._clean(direction, framer.feed(data))
        self._release(everything=False)

    def _clean(self, direction: str, frames: list[Any]) -> None:
        for frame in frames:
            clean = self._scrub(frame) if self._scrub else None
            if clean is None:
                continue
            for side, start, _, data in self._waiting:
                if side != direction:
                    continue
                for i in range(max(start, frame.offset), min(start + len(data), _end(frame))):
                    data[i - start] = clean[i - frame.offset]

    def _release(self, *, everything: bool) -> None:
        while self._waiting:
            direction, start, stamp, data = self._waiting[0]
            framer = self._framers.get(direction)
            if framer and not everything and start + len(data) > framer.position:
                break
            self._waiting.popleft()
            self.pieces += 1
            self.bytes += len(data)
            side: Literal["rx", "tx"] = "rx" if direction == "rx" else "tx"
            self._line(Piece(t=stamp, dir=side, hex=data.hex()))

    def close(self) -> None:
        """Write what still waits for the end of its frame, and close the file."""
        for direction, framer in self._framers.items():
            self._clean(direction, framer.flush())
        self._release(everything=True)
        self._file.close()


def _end(frame: Frame) -> int:
    return frame.offset + len(frame.raw)


class Recorder(Transport):
    """Any transport, with every byte written down."""

    def __init__(self, inner: Transport, writer: Writer) -> None:
        self.inner = inner
        self.writer = writer

    async def open(self, on_data: OnData, on_lost: OnLost) -> None:
        def record(data: bytes) -> None:
            self.writer.write("rx", data)
            on_data(data)

        await self.inner.open(record, on_lost)

    async def close(self) -> None:
        await self.inner.close()

    async def write(self, data: bytes) -> None:
        self.writer.write("tx", data)
        await self.inner.write(data)


def moment(header: CaptureHeader, piece: Piece) -> datetime | None:
    """When a piece was received, UTC; `None` where the file does not say."""
    if header.started is None or piece.t is None:
        return None
    return header.started.astimezone(UTC) + timedelta(seconds=piece.t)
