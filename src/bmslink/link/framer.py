"""From bytes to whole, checked frames: pure, resynchronising by itself."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Generic, Self, TypeVar, final

from msgspec import Struct, structs

__all__ = ["Drop", "Frame", "Framer", "SkippedBytes", "Value", "bites"]


class Value(Struct, frozen=True, gc=False):
    """An immutable value that is made many times a second: a frozen dataclass would take ten
    times as long to make. It holds plain values, never one that leads back to it, so the search
    for reference cycles passes it over (`gc`)."""

    def replace(self, **changes: Any) -> Self:
        """The same with other values for the fields that are named."""
        return structs.replace(self, **changes)


class Frame(Value, frozen=True, kw_only=True):
    """What every protocol's frame has: the bytes it came in, and where they were."""

    raw: bytes = b""
    offset: int = 0
    """Position of the first byte in the stream since the framer was made."""


F = TypeVar("F", bound=Frame)

_BITE = 4096
"""Bytes a framer looks at in one go: searching a megabyte again after every dropped byte would
take time with its square."""


def bites(data: bytes) -> Iterator[bytes]:
    """Bytes in pieces that a framer takes at once: fed one by one, they give the same frames, and
    those of a megabyte need not all be there at the same time."""
    return (data[start : start + _BITE] for start in range(0, len(data) or 1, _BITE))


@final
class Drop(Struct, frozen=True, gc=False):
    """A framer's verdict: the first `count` bytes are not (part of) a frame, because `reason`."""

    count: int
    reason: str = "noise"
    size: int = 0
    """How long the frame would have been that failed its checksum."""


@dataclass(slots=True)
class SkippedBytes:
    """A run of bytes that were thrown away. `reason` is `noise`, `checksum`, `truncated`, …"""

    offset: int
    data: bytes
    reason: str
    length: int


class Framer(ABC, Generic[F]):
    """Cuts a byte stream into checked frames. Feed it anything, in pieces of any size.

    A subclass says only what is at the front of the buffer (`cut`); finding the next frame
    after junk, counting what was lost and bounding memory is done here, the same for all.
    """

    longest: int = 512
    """No frame is longer: what waits for more bytes than this is dropped."""

    def __init__(self) -> None:
        self._buffer = b""
        self.position: int = 0
        """Bytes of the stream that are dealt with."""
        self.skipped: deque[SkippedBytes] = deque(maxlen=1000)
        """The latest runs of bytes that belonged to no frame."""
        self.skipped_bytes: int = 0
        self.bad_frames: int = 0
        """How many frames failed their checksum."""
        self.bad_bytes: int = 0
        """How many bytes lie in such frames, each counted once."""
        self._bad_end = 0

    @abstractmethod
    def cut(self, buffer: bytes) -> F | Drop | None:
        """The frame at the front (its `raw` is what it takes), a `Drop`, or `None`: need more."""

    @abstractmethod
    def encode(self, frame: F) -> bytes:
        """The bytes of a frame, checksum included; `raw` and `offset` are not looked at."""

    def expect(self, request: F) -> list[F]:
        """A request goes out on this line: what only it explains may come next.

        Gives back the frames that this ends. Most answers explain themselves and end by
        themselves, so by default it does nothing.
        """
        return []

    @property
    def pending(self) -> int:
        """Bytes that wait for the rest of their frame."""
        return len(self._buffer)

    def reset(self) -> None:
        """Forget a half-received frame."""
        self._skip(self._buffer, "truncated")
        self._buffer = b""

    def feed(self, data: bytes) -> list[F]:
        """Take bytes, give back the frames they complete."""
        if len(data) > _BITE:
            return [frame for bite in bites(data) for frame in Framer.feed(self, bite)]
        buffer = self._buffer + data
        frames: list[F] = []
        while buffer:
            verdict = self.cut(buffer)
            if verdict is None:
                if len(buffer) <= self.longest:
                    break
                verdict = Drop(1, "truncated")
            if type(verdict) is Drop:  # isinstance takes four times as long to say no
                taken = max(1, verdict.count)
                if verdict.size:
                    self._count_bad(self.position + verdict.size)
                self._skip(buffer[:taken], verdict.reason)
            else:
                frames.append(verdict)
                taken = len(verdict.raw)
                self.position += taken
            buffer = buffer[taken:]
        self._buffer = buffer
        return frames

    def flush(self) -> list[F]:
        """The line fell silent: what waits is no frame, so look for frames behind its start."""
        frames = Framer.feed(self, b"")
        while self._buffer:
            self._skip(self._buffer[:1], "truncated")
            self._buffer = self._buffer[1:]
            frames += Framer.feed(self, b"")
        return frames

    def _count_bad(self, end: int) -> None:
        self.bad_bytes += max(0, end - max(self.position, self._bad_end))
        self._bad_end = max(self._bad_end, end)

    def _skip(self, data: bytes, reason: str) -> None:
        if not data:
            return
        last = self.skipped[-1] if self.skipped else None
        touching = last is not None and last.offset + last.length == self.position
        if last is not None and touching and reason in ("noise", last.reason):
            last.data += data[: max(0, self.longest - len(last.data))]
            last.length += len(data)
        else:
            self.skipped.append(
                SkippedBytes(self.position, data[: self.longest], reason, len(data))
            )
        self.position += len(data)
        self.skipped_bytes += len(data)
        self.bad_frames += reason == "checksum"
