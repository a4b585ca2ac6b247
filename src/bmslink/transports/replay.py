"""A recorded session as a byte source: `replay:///path/session.jsonl?speed=10`.

Recorded answers are delivered with their recorded delays. A request that stands further on in the
recording moves it there, so a client that asks faster or slower than the one that was recorded
gets each answer once, in order. After the last piece the link is lost: the recording is over.
"""

from __future__ import annotations

import asyncio

from bmslink.capture import Piece, open_capture
from bmslink.errors import LinkClosed, TargetError
from bmslink.transport import Endpoint, OnData, OnLost, Transport

__all__ = ["ReplayTransport"]


class ReplayTransport(Transport):
    """Plays a capture file."""

    def __init__(self, endpoint: Endpoint) -> None:
        speed = endpoint.number("speed", 1.0)
        if not speed or speed < 0:
            raise TargetError(f"speed must be above 0, in target {endpoint}.")
        self._path = endpoint.place
        self._speed = self.streaming_clock = speed
        self._pieces: list[Piece] = []
        self._requests: frozenset[str] = frozenset()
        self._next = 0
        self._player: asyncio.Task[None] | None = None
        self._on_data: OnData | None = None
        self._on_lost: OnLost | None = None

    async def open(self, on_data: OnData, on_lost: OnLost) -> None:
        _, pieces = open_capture(self._path)
        self._pieces = list(pieces)
        self._requests = frozenset(p.hex.lower() for p in self._pieces if p.sent)
        self._next = 0
        self._on_data, self._on_lost = on_data, on_lost
        if any(p.t is not None for p in self._pieces):
            self._play()

    async def close(self) -> None:
        if self._player is not None:
            self._player.cancel()
            self._player = None
        self._on_data = self._on_lost = None

    async def write(self, data: bytes) -> None:
        if self._on_data is None or (self._player is not None and self._player.done()):
            raise LinkClosed(f"The recording {self._path} is over.")
        text = data.hex()
        for index in range(self._next, len(self._pieces)):
            piece = self._pieces[index]
            if piece.sent and piece.hex.lower() == text:
                self._next = index + 1
                self._play()
                return
        if text in self._requests:
            self._end()
        elif not self._requests:
            self._play()  # only answers were recorded: each request gets the next one

    def _play(self) -> None:
        if self._player is not None:
            self._player.cancel()
        self._player = asyncio.create_task(self._run())

    async def _run(self) -> None:
        """Deliver from `_next` on, until the end or, without times, until the next request."""
        clock = self._pieces[self._next - 1].t if self._next else None
        delivered = False
        while self._next < len(self._pieces):
            piece = self._pieces[self._next]
            if piece.t is None and (piece.sent or (delivered and not self._requests)):
                self._player = None
                return
            if piece.t is not None:
                if clock is not None and piece.t > clock:
                    await asyncio.sleep((piece.t - clock) / self._speed)
                clock = piece.t
            else:
                await asyncio.sleep(0)
            self._next += 1
            if not piece.sent and self._on_data is not None:
                for part in piece.parts():
                    self._on_data(part)
                delivered = True
        self._end()

    def _end(self) -> None:
        if self._on_lost is not None:
            self._on_lost(LinkClosed(f"The recording {self._path} is over."))
