"""A recorded device: what was recorded, and which of it answers a request. Pure.

A request is compared by what it asks, as the protocol's codec explains it, not by its bytes: who
asks and what stands in padding makes no difference.

Where only answers were recorded, the simulated device of the same protocol is asked as well:
recorded frames that say the same kind of thing as its answer are the ones that fit.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bmslink.errors import CaptureError, FrameError, TargetError
from bmslink.link.capture import Piece, open_capture
from bmslink.link.framer import Frame, bites
from bmslink.link.transport import parse_target
from bmslink.protocols import load_driver
from bmslink.protocols.base import Driver, Options, Record
from bmslink.protocols.daly.a5.codec import HOST_APP, HOST_PC
from bmslink.simulation.pack.pack import Pack
from bmslink.simulation.replay.tape import Tape, TapePart
from bmslink.simulation.responder import make_responder, responder_class

__all__ = ["Listener", "Recording"]

_BITE = 4096  # bytes that are looked for frames at once
_MOST_QUESTIONS = 512  # different ones that are looked up in a recording without requests

_SAME_ASKER: dict[str, dict[int, int]] = {"daly-a5": {HOST_APP: HOST_PC}}
"""Addresses in requests that say who asks: the phone and the PC get the same answers."""
_WHICH = ("id", "register")
"""Values that say which thing a frame is about."""


class Listener:
    """Turns the requests on a line into questions: texts that are equal if they ask the same."""

    def __init__(self, driver: type[Driver[Any]], options: Options) -> None:
        self._hosts = _SAME_ASKER.get(driver.name, {})
        self._framer = driver.make_framer()
        self._codec = driver.make_codec(options)
        self._idle = driver.timing.idle
        self._latest: float | None = None

    def hear(self, data: bytes, now: float | None) -> list[tuple[Frame, str]]:
        """The requests that these bytes complete, and what they ask."""
        frames: list[Frame] = []
        if now is not None and self._latest is not None and now - self._latest > self._idle:
            frames += self._framer.flush()
        self._latest = now
        frames += self._framer.feed(data)
        return [(frame, self._question(frame)) for frame in frames]

    def _question(self, frame: Frame) -> str:
        try:
            record = self._codec.decode(frame, sent=True)
        except FrameError:
            return frame.raw.hex()
        device: Any = getattr(frame, "address", getattr(frame, "unit", None))
        values = sorted(record.values.items())
        return repr((record.kind, self._hosts.get(device, device), values))

    def shown(self, frame: Frame) -> str:
        """A request for people, without its secrets."""
        return (self._codec.scrub(frame) or frame.raw).hex(" ")


class Recording:
    """A capture file, ready to be asked.

    The file is read once, a line at a time; what is kept of it takes about half its size. Raises
    what `open_capture` raises; `TargetError` where the protocol is not known, `FrameError` where
    the file holds not one frame of it, `CaptureError` where it holds no answers.
    """

    def __init__(self, path: Path | str, protocol: str | None = None) -> None:
        header, pieces = open_capture(path)
        self.protocol = protocol or header.protocol
        if not self.protocol:
            raise TargetError(f"{path} does not say what was spoken; give --protocol.")
        self.driver: type[Driver[Any]] = load_driver(self.protocol)
        self.options = Options(variant=header.variant or None)
        self.address = _address(header.target)
        self._fitter: _Fitter | None = None
        self.tape = self._taped(pieces)
        """What there is to play: the session, or the frames where no request was recorded."""
        if not self.tape:
            raise CaptureError(f"{path} holds no answers: there is nothing to serve.", str(path))
        if not self.tape.asked:
            self._fitter = _Fitter(self.driver, self.options, self.address, self.tape)
            self.tape = self._fitter.tape
            if not self.tape:
                raise FrameError(f"{path} holds no valid {self.protocol} frame; see --protocol.")

    @property
    def has_requests(self) -> bool:
        """Whether it is known what was asked."""
        return self._fitter is None

    def listener(self) -> Listener:
        """Understands the requests on one line."""
        return Listener(self.driver, self.options)

    def places(self, frame: Frame, question: str) -> Sequence[int]:
        """The indices on the tape at which the answers to a request begin, in order."""
        if self._fitter is None:
            return self.tape.places(question)
        return self._fitter.runs(frame, question).starts

    def answer(self, start: int, question: str) -> Iterator[TapePart]:
        """What answers a request, from one of its places on."""
        if self._fitter is not None:
            return self.tape.parts(start, start + self._fitter.known[question].length(start))
        return self.tape.parts(start, self.tape.request_from(start))

    def _taped(self, pieces: Iterable[Piece]) -> Tape:
        """The whole session; empty if the device says nothing in it."""
        tape, listener, framer = Tape(), self.listener(), self.driver.make_framer()
        said = False
        for piece in pieces:
            if piece.sent:
                tape.end()
                for bite in bites(piece.data):
                    for _, question in listener.hear(bite, piece.t):
                        tape.ask(piece.t, question)
                continue
            said = True
            for part in piece.parts():
                tape.say(piece.t, part)
                for bite in bites(part):
                    framer.feed(bite)
            if not framer.pending:
                tape.end()
        tape.end()
        return tape if said else Tape()


@dataclass(slots=True)
class _Runs:
    """Where answers to a question begin, in order, and of how many frames each is."""

    starts: array[int] = field(default_factory=lambda: array("Q"))
    lengths: array[int] = field(default_factory=lambda: array("Q"))

    def note(self, start: int, length: int) -> None:
        """An answer, or the latest one with more frames."""
        if self.starts and self.starts[-1] == start:
            self.lengths[-1] = length
        else:
            self.starts.append(start)
            self.lengths.append(length)

    def length(self, start: int) -> int:
        """Of how many frames the answer is that begins there."""
        return self.lengths[bisect_left(self.starts, start)]


class _Fitter:
    """Finds out which recorded frames could be the answer to a request that was not recorded."""

    def __init__(
        self, driver: type[Driver[Any]], options: Options, address: int | None, said: Tape
    ) -> None:
        self._driver = driver
        self._options = options
        self._said = said
        self.tape = Tape(said.data)
        """The frames, each with the time at which it was complete."""
        for time, frame in self._timed_frames():
            self.tape.mark(time, frame.offset, len(frame.raw))
        pack = Pack(cells=responder_class(driver.name).default_cells)
        self._simulated = make_responder(driver.name, pack, address=address)
        self.known: dict[str, _Runs] = {}

    def runs(self, frame: Frame, question: str) -> _Runs:
        """The answers to a request."""
        if question not in self.known:
            if len(self.known) >= _MOST_QUESTIONS:
                return _Runs()
            self.known[question] = self._search(frame)
        return self.known[question]

    def _timed_frames(self) -> Iterator[tuple[float | None, Frame]]:
        """The frames of the device, each with the time at which it was complete."""
        framer = self._driver.make_framer()
        latest: float | None = None
        for part in self._said.parts():
            pause = 0.0 if latest is None or part.time is None else part.time - latest
            if pause > self._driver.timing.idle:
                yield from ((latest, frame) for frame in framer.flush())
            latest = part.time
            for bite in bites(part.data):
                yield from ((latest, frame) for frame in framer.feed(bite))
        yield from ((latest, frame) for frame in framer.flush())

    def _frames(self) -> Iterator[Frame]:
        """The same frames, made anew: to keep them would take ten times their bytes.

        Longer pieces take half the time of the recorded ones. Where frames are hidden in junk
        the cuts may make a difference, so what counts is where a frame begins.
        """
        framer = self._driver.make_framer()
        for begin, end in self._said.stretches(self._driver.timing.idle):
            for start in range(begin, end, _BITE):
                yield from framer.feed(bytes(self._said.data[start : min(start + _BITE, end)]))
            yield from framer.flush()

    def _search(self, request: Frame) -> _Runs:
        expected = self._expected(request)
        runs = _Runs()
        # an acknowledgement of something that nobody recorded would be a lie
        if all(record.role in ("ack", "refusal") for record in expected):
            return runs
        decode = _AnswerDecoder(self._driver, self._options, request)
        seen: dict[tuple[str, str | None], str] = {}
        start = 0
        for frame in self._frames():
            record = decode(frame)
            index = self.tape.at(frame.offset)
            if index is None or record is None or not any(_alike(record, e) for e in expected):
                seen = {}
                continue
            name = record.kind, record.part
            if not seen or name in seen:
                seen, start = {}, index
            seen[name] = record.role
            if set(seen.values()) != {"ack"}:
                runs.note(start, index + 1 - start)
        return runs

    def _expected(self, request: Frame) -> list[Record]:
        """What the simulated device answers."""
        answers = self._simulated.line().receive(request.raw)
        framer = self._driver.make_framer()
        frames = framer.feed(b"".join(answer.data for answer in answers)) + framer.flush()
        decode = _AnswerDecoder(self._driver, self._options, request)
        return [record for frame in frames if (record := decode(frame)) is not None]


class _AnswerDecoder:
    """Decodes frames as answers to one request."""

    def __init__(self, driver: type[Driver[Any]], options: Options, request: Frame) -> None:
        self._codec = driver.make_codec(options)
        self._request = request

    def __call__(self, frame: Frame) -> Record | None:
        try:
            self._codec.decode(self._request, sent=True)
            return self._codec.decode(frame)
        except FrameError:
            return None


def _alike(found: Record, expected: Record) -> bool:
    """Whether two records are about the same thing."""
    if found.kind != expected.kind:
        return False
    if any(found.values.get(k) != expected.values.get(k) for k in _WHICH):
        return False
    names, others = (record.values.keys() - set(_WHICH) for record in (found, expected))
    return not names or not others or not names.isdisjoint(others)


def _address(target: str) -> int | None:
    """The address in the target that was recorded."""
    try:
        return parse_target(target).integer("address")
    except TargetError:
        return None
