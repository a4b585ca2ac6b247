"""A recorded device: what was recorded, and which of it answers a request. Pure.

A request is compared by what it asks, as the protocol's codec explains it, not by its bytes: who
asks and what stands in padding makes no difference.

Where only answers were recorded, the simulated device of the same protocol is asked as well:
recorded frames that say the same kind of thing as its answer are the ones that fit.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bmslink.capture import Piece, open_capture
from bmslink.errors import CaptureError, FrameError, TargetError
from bmslink.link import Frame
from bmslink.protocols import load_driver
from bmslink.protocols.base import Driver, Options, Record
from bmslink.protocols.daly_a5_codec import HOST_APP, HOST_PC
from bmslink.simulation.pack import Pack
from bmslink.simulation.responder import make_responder, responder_class
from bmslink.transport import parse_target

__all__ = ["Listener", "Recording", "Step"]

_MOST_QUESTIONS = 512  # different ones that are looked up in a recording without requests

_SAME_ASKER: dict[str, dict[int, int]] = {"daly-a5": {HOST_APP: HOST_PC}}
"""Addresses in requests that say who asks: the phone and the PC get the same answers."""
_WHICH = ("id", "register")
"""Values that say which thing a frame is about."""


@dataclass(frozen=True, slots=True)
class Step:
    """A request, or bytes of the device up to the end of a frame; each piece with its time."""

    parts: tuple[tuple[float | None, bytes], ...]
    question: str | None = None

    @property
    def time(self) -> float | None:
        """When it began."""
        return self.parts[0][0]


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
            record = self._codec.explain(frame, sent=True)
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

    Raises what `open_capture` raises; `TargetError` where the protocol is not known, `FrameError`
    where the file holds not one frame of it, `CaptureError` where it holds no answers.
    """

    def __init__(self, path: Path | str, protocol: str | None = None) -> None:
        header, lines = open_capture(path)
        pieces = list(lines)
        self.protocol = protocol or header.protocol
        if not self.protocol:
            raise TargetError(f"{path} does not say what was spoken; give --protocol.")
        self.driver: type[Driver[Any]] = load_driver(self.protocol)
        self.options = Options(variant=header.variant or None)
        self.address = _address(header.target)
        self._asked: dict[str, list[int]] = {}
        self._fitter: _Fitter | None = None
        if all(p.sent for p in pieces):
            raise CaptureError(f"{path} holds no answers: there is nothing to serve.", str(path))
        self.steps = list(self._steps(pieces))
        for index, step in enumerate(self.steps):
            if step.question is not None:
                self._asked.setdefault(step.question, []).append(index + 1)
        if not self._asked:
            self._serve_answers(path, pieces)

    @property
    def has_requests(self) -> bool:
        """Whether it is known what was asked."""
        return self._fitter is None

    def listener(self) -> Listener:
        """Understands the requests on one line."""
        return Listener(self.driver, self.options)

    def places(self, frame: Frame, question: str) -> Sequence[int]:
        """The steps with which the answers to a request begin, in order."""
        if self._fitter is None:
            return self._asked.get(question, ())
        return list(self._fitter.runs(frame, question))

    def answer(self, start: int, question: str) -> Sequence[Step]:
        """The steps that answer a request, from one of its places on."""
        if self._fitter is not None:
            return self.steps[start : start + self._fitter.known[question][start]]
        end = start
        while end < len(self.steps) and self.steps[end].question is None:
            end += 1
        return self.steps[start:end]

    def _steps(self, pieces: Iterable[Piece]) -> Iterator[Step]:
        listener, framer = self.listener(), self.driver.make_framer()
        waiting: list[tuple[float | None, bytes]] = []
        for piece in pieces:
            if piece.sent:
                if waiting:
                    yield Step(tuple(waiting))
                    waiting = []
                for _, question in listener.hear(piece.data, piece.t):
                    yield Step(((piece.t, b""),), question)
                continue
            waiting += [(piece.t, part) for part in piece.parts()]
            framer.feed(piece.data)
            if not framer.pending and waiting:
                yield Step(tuple(waiting))
                waiting = []
        if waiting:
            yield Step(tuple(waiting))

    def _serve_answers(self, path: Path | str, pieces: Iterable[Piece]) -> None:
        found = list(self._frames(pieces))
        if not found:
            raise FrameError(f"{path} holds no valid {self.protocol} frame; see --protocol.")
        self.steps = [Step(((time, frame.raw),)) for time, frame in found]
        self._fitter = _Fitter(self, [frame for _, frame in found])

    def _frames(self, pieces: Iterable[Piece]) -> Iterator[tuple[float | None, Frame]]:
        """The frames of the device, each with the time at which it was complete."""
        framer = self.driver.make_framer()
        latest: float | None = None
        for piece in pieces:
            if piece.sent:
                continue
            pause = 0.0 if latest is None or piece.t is None else piece.t - latest
            if pause > self.driver.timing.idle:
                yield from ((latest, frame) for frame in framer.flush())
            latest = piece.t
            yield from ((latest, frame) for frame in framer.feed(piece.data))
        yield from ((latest, frame) for frame in framer.flush())


class _Fitter:
    """Finds out which recorded frames could be the answer to a request that was not recorded."""

    def __init__(self, recording: Recording, frames: list[Frame]) -> None:
        self._recording = recording
        self._frames = frames
        pack = Pack(cells=responder_class(recording.protocol).default_cells)
        self._simulated = make_responder(recording.protocol, pack, address=recording.address)
        self.known: dict[str, dict[int, int]] = {}
        """Per question: where its answers begin, and of how many frames they are."""

    def runs(self, frame: Frame, question: str) -> Mapping[int, int]:
        """Where answers to a request begin, and of how many frames each is."""
        if question not in self.known:
            if len(self.known) >= _MOST_QUESTIONS:
                return {}
            self.known[question] = self._search(frame)
        return self.known[question]

    def _search(self, request: Frame) -> dict[int, int]:
        expected = self._expected(request)
        # an acknowledgement of something that nobody recorded would be a lie
        if all(record.role in ("ack", "refusal") for record in expected):
            return {}
        explain = _Explainer(self._recording, request)
        runs: dict[int, int] = {}
        seen: dict[tuple[str, str | None], str] = {}
        start = 0
        for index, frame in enumerate(self._frames):
            record = explain(frame)
            if record is None or not any(_alike(record, e) for e in expected):
                seen = {}
                continue
            name = record.kind, record.part
            if not seen or name in seen:
                seen, start = {}, index
            seen[name] = record.role
            if set(seen.values()) != {"ack"}:
                runs[start] = index + 1 - start
        return runs

    def _expected(self, request: Frame) -> list[Record]:
        """What the simulated device answers."""
        answers = self._simulated.line().receive(request.raw)
        framer = self._recording.driver.make_framer()
        frames = framer.feed(b"".join(answer.data for answer in answers)) + framer.flush()
        explain = _Explainer(self._recording, request)
        return [record for frame in frames if (record := explain(frame)) is not None]


class _Explainer:
    """Explains frames as answers to one request."""

    def __init__(self, recording: Recording, request: Frame) -> None:
        self._codec = recording.driver.make_codec(recording.options)
        self._request = request

    def __call__(self, frame: Frame) -> Record | None:
        try:
            self._codec.explain(self._request, sent=True)
            return self._codec.explain(frame)
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
