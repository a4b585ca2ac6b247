"""Captured bytes into readings, offline: `bmslink.decode` and the `decode` command.

A source is hex text, raw bytes, or a capture file with directions and times. The frames of one
poll merge into one reading; what no frame explains is reported, never guessed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from bmslink.arguments import checked
from bmslink.errors import FrameError, TargetError
from bmslink.link.capture import CaptureHeader, Piece, is_capture, moment, open_capture, reading
from bmslink.link.framer import Frame, Framer, bites
from bmslink.model import Reading
from bmslink.protocols import DRIVERS, load_driver
from bmslink.protocols.base import Assembler, Driver, Options, Record
from bmslink.protocols.recognition import recognise

__all__ = ["Event", "FrameEvent", "Skip", "decode", "explain", "parse_hex"]


@dataclass(frozen=True, slots=True)
class FrameEvent:
    """One whole frame and what it says; `values` is ready for JSON."""

    offset: int
    protocol: str
    kind: str
    role: str
    values: Mapping[str, Any]
    hex: str
    sent: bool = False
    time: datetime | None = None


@dataclass(frozen=True, slots=True)
class Skip:
    """Bytes that gave nothing: `reason` is `noise`, `checksum`, `truncated` or a sentence."""

    offset: int
    length: int
    reason: str
    hex: str
    sent: bool = False


Event = FrameEvent | Reading | Skip
OnProgress = Callable[[str, float], None]
"""Gets what is being done, and how much of it is done, 0 to 1."""

_DECODING = "Decoding"
_LARGEST = 64 << 20
"""Bytes of a file that is no capture (those are read line by line)."""
_JUDGED = 256 << 10
"""Bytes by whose look the protocol is found: all protocols read them, so that a file of noise takes
seconds, however long it is."""
_TEXT = re.compile(rb"[\t-\r -~]*\Z")
"""What a person may have written; no protocol here makes frames of such bytes alone."""
_SHOWN = 512
"""Bytes kept of a stream in which nothing was found."""
_LONGEST_NAME = 1024


def parse_hex(text: str) -> bytes:
    """Hex text to bytes: spaces, line ends, `0x`, `:`, `-` and `,` are fine."""
    with suppress(ValueError):
        return bytes.fromhex(text)  # digits and spaces; the rest takes ten times as long
    digits = re.sub(r"0[xX]|[\s:,-]", "", text)
    try:
        return bytes.fromhex(digits)
    except ValueError:
        bad = re.search(r"[^0-9A-Fa-f]", digits)
        why = f"it holds {bad[0]!r}" if bad else "a digit is missing or too many"
        raise TargetError(f"This is no hex text: {why}.") from None


@checked(TargetError)
def decode(source: bytes | str | os.PathLike[str], protocol: str | None = None) -> list[Reading]:
    """The readings in captured bytes, a hex string, or a file (a `Path`).

    Without `protocol` the one that explains most of the first 256 KiB is taken. Raises
    `FrameError` when not one valid frame is found, `CaptureError` for a damaged capture file,
    `TargetError` for text that is no hex or an unknown protocol.
    """
    if isinstance(source, str):
        source = _hex_or_hint(source)
    elif isinstance(source, os.PathLike):
        source = Path(source)
    return [event for event in explain(source, protocol) if isinstance(event, Reading)]


def _hex_or_hint(text: str) -> bytes:
    try:
        return parse_hex(text)
    except TargetError as error:
        if not (re.search(r"[./\\]", text) and len(text) < _LONGEST_NAME):
            raise
        raise TargetError(
            f"{error} To decode a file give a path: decode(Path({text!r}))."
        ) from None


def _no_progress(doing: str, done: float) -> None:
    """Nobody wants to know."""


def explain(
    source: bytes | Path,
    protocol: str | None = None,
    *,
    variant: str | None = None,
    on_progress: OnProgress = _no_progress,
) -> Iterator[Event]:
    """Frames, readings and skipped bytes in the order in which they end.

    `on_progress` is called often. Raises as `decode` does; `FrameError` comes at the end, after
    the skips.
    """
    if isinstance(source, Path):
        with reading(source) as file:
            start, size = file.read(1), os.fstat(file.fileno()).st_size
            content = b"" if is_capture(start) else start + file.read(_LARGEST)
        if is_capture(start):
            yield from _explain_capture(source, size, protocol, variant, on_progress)
            return
        if len(content) > _LARGEST:
            raise FrameError(f"{source} is larger than {_LARGEST >> 20} MiB: decode it in parts.")
        source = parse_hex(content.decode()) if _TEXT.match(content) else content
    pieces = [Piece(dir="rx", hex=bite.hex()) for bite in bites(bytes(source))]
    known = _counted(pieces, on_progress) if protocol else pieces
    yield from _decoded(known, None, protocol, variant, on_progress)


def _explain_capture(
    path: Path, size: int, protocol: str | None, variant: str | None, on_progress: OnProgress
) -> Iterator[Event]:
    doing = _DECODING
    header, pieces = open_capture(path, on_read=lambda read: on_progress(doing, read / size))
    protocol = protocol or header.protocol
    if not protocol:
        doing = "Reading"
    variant = variant or header.variant or None
    yield from _decoded(pieces, header, protocol, variant, on_progress)


def _counted(pieces: list[Piece], on_progress: OnProgress) -> Iterator[Piece]:
    """The pieces, one after the other, while they are decoded."""
    for number, piece in enumerate(pieces):
        on_progress(_DECODING, number / len(pieces))
        yield piece


def explain_pieces(
    header: CaptureHeader,
    pieces: Iterable[Piece],
    protocol: str | None = None,
    *,
    variant: str | None = None,
) -> Iterator[Event]:
    """The same for a capture that is already open."""
    return _decoded(pieces, header, protocol or header.protocol, variant or header.variant or None)


def _decoded(
    pieces: Iterable[Piece],
    header: CaptureHeader | None,
    protocol: str | None,
    variant: str | None,
    on_progress: OnProgress = _no_progress,
) -> Iterator[Event]:
    """The events of a stream, whose protocol is looked for if it is not known."""
    if protocol:
        yield from Stream(protocol, Options(variant=variant)).run(pieces, header)
        return
    pieces = list(pieces)
    judged = list(_first(pieces, _JUDGED))
    name, _, damaged = recognise(
        b"".join(p.data for p in judged),
        lambda done: on_progress("Looking for the protocol", done),
    )
    if name:
        yield from Stream(name, Options(variant=variant)).run(_counted(pieces, on_progress), header)
        return
    if not damaged:
        yield from _unknown(judged, sum(len(p.data) for p in pieces))
        return
    try:  # says what is skipped, as the protocol of which it nearly is
        yield from Stream(damaged[0], Options(variant=variant)).run(
            _counted(judged, on_progress), header
        )
    except FrameError as error:
        also = f" It may also be {' or '.join(damaged[1:])}." if damaged[1:] else ""
        raise FrameError(f"{error}{also}") from error


def _first(pieces: Iterable[Piece], most: int) -> Iterator[Piece]:
    """The pieces up to so many bytes; one that is longer is cut."""
    for piece in pieces:
        if most <= 0:
            return
        fits = len(piece.data) <= most
        yield piece if fits else Piece(t=piece.t, dir=piece.dir, hex=piece.data[:most].hex())
        most -= len(piece.data)


def _unknown(pieces: list[Piece], whole: int) -> Iterator[Skip]:
    for sent in (False, True):
        data = b"".join(p.data for p in pieces if p.sent is sent)
        shown = data
        for name in DRIVERS:  # whose passwords may be in it, nobody knows
            shown = load_driver(name).make_codec(Options()).scrub_noise(shown)
        if data:
            yield Skip(0, len(data), "noise", shown[:_SHOWN].hex(), sent)
    total = sum(len(p.data) for p in pieces)
    where = f"{total} bytes"
    if total < whole:
        where = f"the first {total} of {whole} bytes; --protocol looks at all of them"
    raise FrameError(f"No valid frame of any known protocol ({', '.join(DRIVERS)}) in {where}.")


class Stream:
    """Both directions of one link, decoded. `at_once`: see `Assembler`."""

    def __init__(self, protocol: str, options: Options, *, at_once: bool = False) -> None:
        driver: type[Driver[Any]] = load_driver(protocol)
        self.protocol = protocol
        self.codec = driver.make_codec(options)
        self.assembler = Assembler(self.codec, at_once=at_once)
        self.framers: dict[bool, Framer[Any]] = {s: driver.make_framer() for s in (False, True)}
        self.idle = driver.timing.idle
        self.frames = 0

    def run(self, pieces: Iterable[Piece], header: CaptureHeader | None) -> Iterator[Event]:
        latest: dict[bool, float | None] = {False: None, True: None}
        total = 0
        time: datetime | None = None
        for piece in pieces:
            before = latest[piece.sent]
            framer = self.framers[piece.sent]
            if before is not None and piece.t is not None and piece.t - before > self.idle:
                yield from self._events(framer.flush(), piece.sent, time)
            latest[piece.sent] = piece.t
            time = moment(header, piece) if header else None
            total += len(piece.data)
            yield from self.take(piece.data, piece.sent, time)
        yield from self.finish(time)
        if not self.frames:
            bad = sum(framer.bad_frames for framer in self.framers.values())
            but = f", but {bad} with a wrong checksum: bytes changed or were lost" if bad else ""
            raise FrameError(f"No valid {self.protocol} frame in {total} bytes{but}.")

    def take(self, data: bytes, sent: bool, time: datetime | None) -> Iterator[Event]:
        """What the next bytes of one direction complete."""
        yield from self._events(self.framers[sent].feed(data), sent, time)

    def finish(self, time: datetime | None) -> Iterator[Event]:
        """What is left when the line has fallen silent: half a frame is given up."""
        for sent, framer in self.framers.items():
            yield from self._events(framer.flush(), sent, time)
            yield from self._skips(framer, sent)
        last = self.assembler.finish()
        if last is not None:
            yield last

    def _events(self, frames: list[Any], sent: bool, time: datetime | None) -> Iterator[Event]:
        if frames:
            yield from self._skips(self.framers[sent], sent)
        for frame in frames:
            self.frames += 1
            if sent:
                yield from self._events(self.framers[False].expect(frame), False, time)
            try:
                record = self.codec.decode(frame, sent=sent)
            except FrameError as exc:
                shown = (self.codec.scrub(frame) or frame.raw).hex()
                yield Skip(frame.offset, len(frame.raw), str(exc), shown, sent)
                continue
            closed = self.assembler.add(record, time)
            if closed is not None:
                yield closed
            yield self._frame_event(frame, record, sent, time)

    def _skips(self, framer: Framer[Any], sent: bool) -> Iterator[Event]:
        while framer.skipped:
            run = framer.skipped.popleft()
            clean = self.codec.scrub_noise(run.data)
            yield Skip(run.offset, run.length, run.reason, clean.hex(), sent)

    def _frame_event(
        self, frame: Frame, record: Record, sent: bool, time: datetime | None
    ) -> FrameEvent:
        values: Mapping[str, Any] = record.values
        if record.role == "reading":
            values = self.codec.reading([record]).to_dict()
            values = {
                k: v for k, v in values.items() if v not in (None, [], {}) and k != "protocol"
            }
        elif record.role == "identity":
            identity = self.codec.identity([record]).to_dict()
            values = {k: v for k, v in identity.items() if v not in (None, [], {}, "")}
        return FrameEvent(
            frame.offset,
            self.protocol,
            record.kind,
            record.role,
            {k: jsonable(v) for k, v in values.items()},
            (self.codec.scrub(frame) or frame.raw).hex(),  # passwords are never shown
            sent,
            time,
        )


def jsonable(value: Any) -> Any:
    """Bytes become hex, containers are walked; the rest is JSON already."""
    if isinstance(value, (bytes, bytearray)):
        return value.hex()
    if isinstance(value, Mapping):
        return {str(k): jsonable(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [jsonable(v) for v in value]
    return value
