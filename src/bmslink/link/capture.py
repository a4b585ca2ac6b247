"""The capture file: every byte both ways, with times, one JSON object per line.

The first line is the header, each further line a piece of the stream as it was delivered:

```
{"format":"bmslink-capture","version":1,"protocol":"jbd","started":"2026-01-02T03:04:05Z"}
{"t":0.0,"dir":"tx","hex":"dda50300fffd77"}
{"t":0.021,"dir":"rx","hex":"dd03001b..."}
```

`t` is seconds since `started`, or null where the source gave no times. What a fixture knows more
(hardware, source, published values, the kind of each piece) is in the same objects.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import IO, Annotated, Any, Literal, Protocol

import msgspec

from bmslink.errors import BmsError, CaptureError, PortDenied, PortNotFound, TransportError
from bmslink.link.link import Framer

__all__ = [
    "CaptureHeader",
    "Piece",
    "Scrubber",
    "Writer",
    "from_bytes",
    "lines_of",
    "open_capture",
]

Direction = Literal["rx", "tx"]
_DIRECTIONS: tuple[Direction, ...] = ("rx", "tx")
HALF_FRAME = 2.0
"""Seconds after which half a frame is written as it is."""

FORMAT = "bmslink-capture"
_LONGEST_LINE = 1 << 22
_FOREVER = 1e10
_UNREADABLE = (msgspec.DecodeError, ValueError, RecursionError)
"""What a hostile line makes the decoders raise; a UnicodeDecodeError is a ValueError."""


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
    started: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
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
    dir: Direction
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


def open_capture(
    path: Path | str, *, on_read: Callable[[int], None] | None = None
) -> tuple[CaptureHeader, Iterator[Piece]]:
    """Read a capture file lazily; `CaptureError` names the first line that is wrong.

    `on_read` gets how many bytes of the file are read, again and again.
    """
    lines = _lines(Path(path), on_read)
    number, first = next(lines, (1, b""))
    try:
        header = _decode_header(first)
    except _UNREADABLE as exc:
        raise _damaged(path, number, f"this is no capture header: {_why(exc)}") from exc
    if header.format != FORMAT or header.version != 1:
        raise _damaged(path, number, f"not a {FORMAT} file of version 1")
    if header.started is not None and not 1970 <= header.started.year < 3000:
        raise _damaged(path, number, f"started in the year {header.started.year}")
    return header, _pieces(path, lines)


@contextmanager
def reading(path: Path) -> Iterator[IO[bytes]]:
    """A file to read; whatever the system says against it becomes one of our errors."""
    try:
        with path.open("rb") as file:
            yield file
    except BmsError:
        raise
    except (FileNotFoundError, ValueError) as exc:  # ValueError: a name no file can have
        raise PortNotFound(f"There is no file {path}.") from exc
    except PermissionError as exc:
        raise PortDenied(f"You may not read {path}.") from exc
    except OSError as exc:
        raise TransportError(f"{path} cannot be read: {exc.strerror}.") from exc


def _lines(path: Path, on_read: Callable[[int], None] | None) -> Iterator[tuple[int, bytes]]:
    read = 0
    with reading(path) as file:
        for number in count(1):
            line = file.readline(_LONGEST_LINE)
            if not line:
                return
            read += len(line)
            if on_read is not None:
                on_read(read)
            if len(line) >= _LONGEST_LINE:
                raise _damaged(path, number, "the line is too long for a capture file")
            if not line.endswith(b"\n"):
                raise _damaged(path, number, "the file is cut off in this line")
            if line.strip():
                yield number, line


def _pieces(path: Path | str, lines: Iterator[tuple[int, bytes]]) -> Iterator[Piece]:
    latest = -_FOREVER
    for number, line in lines:
        try:
            piece = _decode_piece(line)
        except _UNREADABLE as exc:
            raise _damaged(path, number, _why(exc)) from exc
        try:
            length = len(piece.data)
        except ValueError as exc:
            raise _damaged(path, number, "`hex` holds something that is no hex") from exc
        if piece.hex and not length:
            raise _damaged(path, number, "`hex` is blank")
        if sum(piece.chunks) > length or min(piece.chunks, default=1) < 1:
            raise _damaged(path, number, "`chunks` do not fit the bytes")
        if piece.t is not None:
            if not -_FOREVER < piece.t < _FOREVER:
                raise _damaged(path, number, f"{piece.t:g} is no time in seconds")
            if piece.t < latest:
                raise _damaged(path, number, "time runs backwards: lines were moved or edited")
            latest = piece.t
        yield piece


def _why(exc: Exception) -> str:
    """What msgspec says of its schema is plain; what Python says of its internals is not.

    From 0.23 on msgspec has words of its own for what is no UTF-8.
    """
    said = str(exc) if isinstance(exc, msgspec.DecodeError) else "UTF-8"
    return "it is no JSON text in UTF-8" if "UTF-8" in said else said


def _damaged(path: Path | str, line: int, why: str) -> CaptureError:
    shown = "".join(c if c.isprintable() else "?" for c in why[:200])  # may quote the line
    return CaptureError(f"{path}, line {line}: {shown}.", str(path), line)


def from_bytes(recorded: bytes) -> tuple[CaptureHeader, list[Piece]]:
    """What a `Writer` wrote, out of memory."""
    head, *lines = recorded.splitlines()
    header = msgspec.json.decode(head, type=CaptureHeader)
    return header, [msgspec.json.decode(line, type=Piece) for line in lines]


def lines_of(header: CaptureHeader, pieces: Iterable[Piece]) -> bytes:
    """The file that holds these."""
    return b"".join(msgspec.json.encode(item) + b"\n" for item in (header, *pieces))


class Scrubber(Protocol):
    """Removes secrets: gets a frame, gives back bytes of the same length, or `None` to keep it."""

    def __call__(self, frame: Any, /) -> bytes | None: ...


class Writer:
    """Appends pieces to a capture file, each line whole before the next.

    With a framer and a scrubber, bytes wait until their frame is complete, so that a password
    inside it never reaches the file, however the frame was cut. In bytes that are no valid frame,
    `scrub_noise` blanks what may be a password. A request that never became complete is blanked
    whole. Raises `TransportError` when the file takes no more.
    """

    def __init__(
        self,
        file: IO[bytes],
        header: CaptureHeader,
        *,
        framer: Callable[[], Framer[Any]] | None = None,
        scrub: Scrubber | None = None,
        scrub_noise: Callable[[bytes], bytes] = bytes,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._file = file
        self._clock = clock
        self._start = clock()
        self._scrub = scrub
        self._scrub_noise = scrub_noise
        self._framers = {d: framer() for d in _DIRECTIONS} if framer and scrub else {}
        self._fed = dict.fromkeys(_DIRECTIONS, 0)
        self._waiting: deque[_Waiting] = deque()
        self.pieces = 0
        self.bytes = 0
        self._line(header)

    def _line(self, item: msgspec.Struct) -> None:
        try:
            self._file.write(msgspec.json.encode(item) + b"\n")
            self._file.flush()
        except OSError as exc:
            raise TransportError(f"The recording cannot be written: {exc.strerror}.") from exc

    def write(self, direction: Direction, data: bytes) -> None:
        """Take one piece as it was delivered."""
        now = round(self._clock() - self._start, 6)
        self._waiting.append(_Waiting(direction, self._fed[direction], now, bytearray(data)))
        self._fed[direction] += len(data)
        framer = self._framers.get(direction)
        if framer is not None:
            self._clean(direction, framer.feed(data))
        self._release()
        # Half a frame whose rest was lost must not hold back what comes after it for ever.
        if self._waiting and now - self._waiting[0].time > HALF_FRAME:
            self._give_up(self._waiting[0].direction)
            self._release()

    def _clean(self, direction: Direction, frames: list[Any]) -> None:
        skipped = self._framers[direction].skipped
        while skipped:
            run = skipped.popleft()
            data = self._held(direction, run.offset, run.length)
            harmless = self._scrub_noise(data)
            if harmless != data:
                self._overwrite(direction, run.offset, harmless, "possible password blanked")
        for frame in frames:
            clean = self._scrub(frame) if self._scrub else None
            if clean is not None:
                self._overwrite(direction, frame.offset, clean, "password blanked")

    def _held(self, direction: Direction, offset: int, length: int) -> bytes:
        """Bytes of the stream that wait, by their position."""
        pieces = [p for p in self._waiting if p.direction == direction]
        first = pieces[0].start if pieces else offset
        data = b"".join(bytes(p.data) for p in pieces)
        return data[offset - first : offset - first + length]

    def _overwrite(self, direction: Direction, offset: int, clean: bytes, note: str) -> None:
        end = offset + len(clean)
        for piece in self._waiting:
            first, last = max(piece.start, offset), min(piece.start + len(piece.data), end)
            if piece.direction == direction and first < last:
                piece.data[first - piece.start : last - piece.start] = clean[
                    first - offset : last - offset
                ]
                piece.note = note

    def _give_up(self, direction: Direction) -> None:
        """Nothing more comes to what waits: it is no frame."""
        framer = self._framers[direction]
        if direction == "tx":
            blank = bytes(framer.pending)
            self._overwrite(direction, framer.position, blank, "half a request blanked")
        self._clean(direction, framer.flush())

    def _release(self) -> None:
        while self._waiting:
            piece = self._waiting[0]
            framer = self._framers.get(piece.direction)
            if framer and piece.start + len(piece.data) > framer.position:
                break
            self._waiting.popleft()
            self.pieces += 1
            self.bytes += len(piece.data)
            self._line(
                Piece(t=piece.time, dir=piece.direction, hex=piece.data.hex(), note=piece.note)
            )

    def close(self) -> None:
        """Write what still waits for the end of its frame, and close the file."""
        try:
            for direction in self._framers:
                self._give_up(direction)
            self._release()
        finally:
            self._file.close()


@dataclass(slots=True)
class _Waiting:
    """A piece that is not in the file yet."""

    direction: Direction
    start: int
    time: float
    data: bytearray
    note: str = ""


def moment(header: CaptureHeader, piece: Piece) -> datetime | None:
    """When a piece was received, UTC; `None` where the file does not say."""
    if header.started is None or piece.t is None:
        return None
    return header.started.astimezone(UTC) + timedelta(seconds=piece.t)
