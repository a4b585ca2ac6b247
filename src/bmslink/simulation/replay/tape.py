"""What a device said and was asked, kept as bytes and numbers.

Each part of a recording has an index. An object for each would take ten times the memory, and a
recording of a day has a million of them.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from math import isnan, nan
from typing import NamedTuple

__all__ = ["Tape", "TapePart"]

_MOST_QUESTIONS = 512  # whose places are kept once they were looked up
_DIGEST = 8
"""Bytes by which a question is known: two different ones look alike once in 10^19."""


class TapePart(NamedTuple):
    """Bytes that the device said at once."""

    time: float | None
    """s since the recording began."""
    data: bytes
    ends: bool
    """Whether they are the last of a frame."""


class Tape:
    """Parts that the device said, and requests, in their order. Grows at its end only."""

    def __init__(self, data: bytearray | None = None) -> None:
        """`data` are bytes that another tape holds already; this one marks parts of them."""
        self.data = bytearray() if data is None else data
        """All bytes of the device."""
        self._times = array("d")
        self._starts = array("Q")
        self._lengths = array("I")
        self._ends = bytearray()
        self._requests = array("Q")
        self._questions = array("Q")
        self._places: dict[str, Sequence[int]] = {}

    def __len__(self) -> int:
        """How many parts and requests it holds."""
        return len(self._times)

    def say(self, time: float | None, data: bytes) -> None:
        """The device said this; it may go on."""
        start = len(self.data)
        self.data += data
        self.mark(time, start, len(data), ends=False)

    def mark(self, time: float | None, start: int, length: int, *, ends: bool = True) -> None:
        """The device said these bytes of `data`."""
        self._times.append(nan if time is None else time)
        self._starts.append(start)
        self._lengths.append(length)
        self._ends.append(ends)

    def end(self) -> None:
        """What was said last ends a frame."""
        if self._ends:
            self._ends[-1] = True

    def ask(self, time: float | None, question: str) -> None:
        """The device was asked."""
        self.end()
        self._requests.append(len(self))
        self._questions.append(_digest(question))
        self.mark(time, len(self.data), 0)

    @property
    def asked(self) -> bool:
        """Whether it holds any request."""
        return bool(self._requests)

    def time(self, index: int) -> float | None:
        """When a part was said, or a request was made; `None` at the end, and where it has none."""
        time = self._times[index] if index < len(self._times) else nan
        return None if isnan(time) else time

    @property
    def length(self) -> float:
        """The time of the last part that has one, s; 0 where none has."""
        return max((time for time in self._times if not isnan(time)), default=0.0)

    def frame_at(self, seconds: float) -> int:
        """The index of the first part or request from then on that begins a frame or follows one;
        where nothing comes so late, that of the last."""
        late = (n for n, time in enumerate(self._times) if time >= seconds)
        index = next(late, max(0, len(self) - 1))
        while 0 < index < len(self) - 1 and not self._ends[index - 1]:
            index += 1
        return index

    def places(self, question: str) -> Sequence[int]:
        """Behind which requests the answers to a question begin, in order."""
        found = self._places.get(question)
        if found is None:
            wanted = _digest(question)
            asked = zip(self._requests, self._questions, strict=True)
            found = array("Q", (index + 1 for index, digest in asked if digest == wanted))
            if len(self._places) < _MOST_QUESTIONS:
                self._places[question] = found
        return found

    def request_from(self, start: int) -> int:
        """The next request from an index on; where there is none, the end."""
        following = bisect_left(self._requests, start)
        return self._requests[following] if following < len(self._requests) else len(self)

    def says_from(self, start: int) -> bool:
        """Whether the device says anything from an index on."""
        requests = len(self._requests) - bisect_left(self._requests, start)
        return len(self) - start > requests

    def parts(self, start: int = 0, stop: int | None = None) -> Iterator[TapePart]:
        """What the device says from an index on, requests left out."""
        following = self.request_from(start)
        for index in range(start, len(self) if stop is None else stop):
            if index == following:
                following = self.request_from(index + 1)
                continue
            begin = self._starts[index]
            data = bytes(self.data[begin : begin + self._lengths[index]])
            yield TapePart(self.time(index), data, bool(self._ends[index]))

    def at(self, start: int) -> int | None:
        """The index of the part that begins there in `data`; no part may be empty."""
        index = bisect_left(self._starts, start)
        return index if index < len(self) and self._starts[index] == start else None

    def stretches(self, pause: float) -> Iterator[tuple[int, int]]:
        """From where to where in `data` the device spoke without a longer pause, s; requests in
        between are not looked at."""
        begin, latest = 0, nan
        for start, time in zip(self._starts, self._times, strict=True):
            if time - latest > pause:
                yield begin, start
                begin = start
            latest = time
        yield begin, len(self.data)


def _digest(question: str) -> int:
    return int.from_bytes(blake2b(question.encode(), digest_size=_DIGEST).digest(), "big")
