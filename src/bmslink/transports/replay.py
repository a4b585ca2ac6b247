"""A recorded session as a byte source: `replay:///path/session.jsonl?speed=10`.

It begins with its first piece, and answers come with their recorded delays. A request moves the
recording to where the same request was sent next, so a client that asks faster or slower than the
recorded one gets each answer once, in order. A device that streams by itself goes on streaming
meanwhile. Where only answers were recorded, each request brings the next one at once. After the
last piece the link is lost: the recording is over.
"""

from __future__ import annotations

import asyncio

from bmslink.capture import Piece, open_capture
from bmslink.errors import LinkClosed, TargetError
from bmslink.transport import Endpoint, OnData, OnLost, Transport

__all__ = ["ReplayTransport"]

_ANSWERING = 2.0
"""Bytes that come later than this after a request were not asked for: the device streams, s."""


class ReplayTransport(Transport):
    """Plays a capture file."""

    def __init__(self, endpoint: Endpoint) -> None:
        speed = endpoint.number("speed", 1.0)
        if not speed or speed < 0:
            raise TargetError(f"speed must be above 0, in target {endpoint}.")
        self._path = endpoint.place
        self._speed = self.streaming_clock = speed
        self._pieces: list[Piece] = []
        self._requests: frozenset[bytes] = frozenset()
        self._streams = False
        self._next = 0
        self._asked = 0  # behind the last request that the client sent too
        self._hurry = False
        self._player: asyncio.Task[None] | None = None
        self._on_data: OnData | None = None
        self._on_lost: OnLost | None = None

    async def open(self, on_data: OnData, on_lost: OnLost) -> None:
        await self.close()
        _, pieces = open_capture(self._path)
        self._pieces = list(pieces)
        self._requests = frozenset(p.data for p in self._pieces if p.sent)
        self._streams = _streams(self._pieces)
        self._next = self._asked = 0
        self._on_data, self._on_lost = on_data, on_lost
        if any(p.t is not None for p in self._pieces):
            self._play()

    async def close(self) -> None:
        self._on_data = self._on_lost = None
        if self._player is not None:
            self._player.cancel()
            self._player = None

    async def write(self, data: bytes) -> None:
        if self._on_lost is None:
            raise self._over()
        for index in range(self._asked, len(self._pieces)):
            piece = self._pieces[index]
            if piece.sent and piece.data == data:
                self._next = self._asked = index + 1
                self._play()
                return
        if not self._requests:
            self._hurry = True
            self._play()
        elif data in self._requests and self._player is None:
            self._end()

    def _play(self) -> None:
        if self._player is not None:
            self._player.cancel()
        self._player = asyncio.create_task(self._run())

    async def _run(self) -> None:
        """Deliver from `_next` on, until the end or until the client has to ask."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        clock = self._pieces[self._next - 1].t if self._next else None
        delivered = False
        while self._next < len(self._pieces):
            piece = self._pieces[self._next]
            if self._waits(piece, delivered=delivered):
                self._player = None
                return
            if piece.t is not None:
                if clock is not None and not self._hurry:
                    due += (piece.t - clock) / self._speed
                clock = piece.t
            await asyncio.sleep(max(0.0, due - loop.time()))
            self._next += 1
            if not piece.sent and self._on_data is not None:
                self._hurry = False
                delivered = True
                for part in piece.parts():
                    self._on_data(part)
        self._end()

    def _waits(self, piece: Piece, *, delivered: bool) -> bool:
        """Whether nothing is played from this piece on before the next request."""
        if piece.sent:
            # The client follows the recording: it will ask for this too, in its own time.
            return piece.t is None or (self._asked > 0 and not self._streams)
        return piece.t is None and delivered and not self._requests

    def _end(self) -> None:
        on_lost, self._on_lost = self._on_lost, None
        if on_lost is not None:
            on_lost(self._over())

    def _over(self) -> LinkClosed:
        return LinkClosed(
            f"The recording {self._path} is over and holds no further answer to what is asked; "
            f"`bmslink decode {self._path}` shows what it holds."
        )


def _streams(pieces: list[Piece]) -> bool:
    """Whether the recorded device speaks without being asked."""
    asked = None
    for piece in pieces:
        if piece.t is None:
            continue
        if piece.sent:
            asked = piece.t
        elif asked is not None and piece.t - asked > _ANSWERING:
            return True
    return False
