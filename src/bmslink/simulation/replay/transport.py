"""`replay:///path/session.jsonl?speed=10`: a recorded device as a target.

It is asked by meaning, in the same way as `bmslink replay` serves it to other software. A
recording that has nothing new for a question which it has answered before is over: the link is
lost, so that what watches it ends.
"""

from __future__ import annotations

from bmslink.errors import LinkClosed, TargetError
from bmslink.link.transport import Endpoint, OnData, OnLost, Transport
from bmslink.simulation.replay.recorded import Recording
from bmslink.simulation.replay.responder import Player, RecordedLine

__all__ = ["ReplayTransport"]


class ReplayTransport(Transport):
    """Plays a capture file. Query keys: `speed`, recorded seconds per second; `from`, where in
    the recording it begins, s."""

    def __init__(self, endpoint: Endpoint) -> None:
        speed = endpoint.number("speed", 1.0)
        if not speed or speed < 0:
            raise TargetError(f"speed must be above 0, in target {endpoint}.")
        self._begin = endpoint.number("from", 0.0) or 0.0
        if self._begin < 0:
            raise TargetError(f"from must be 0 or more, in target {endpoint}.")
        self._path = endpoint.place
        self._protocol = endpoint.protocol
        self._speed = self.streaming_clock = speed
        self._player: Player | None = None
        self._line: RecordedLine | None = None
        self._on_lost: OnLost | None = None

    async def open(self, on_data: OnData, on_lost: OnLost) -> None:
        await self.close()
        player = self._player = Player(Recording(self._path, self._protocol), over=self._end)
        if self._begin:
            player.begin_at(self._begin)
        self._on_lost = on_lost
        self._line = RecordedLine(player, on_data, speed=self._speed)

    @property
    def position(self) -> tuple[float, float]:
        """Where in the recording it is, and how long that is, s."""
        if self._player is None:
            return self._begin, self._begin
        return self._player.here, self._player.recording.tape.length

    async def close(self) -> None:
        self._on_lost = None
        if self._line is not None:
            self._line.close()
            self._line = None

    async def write(self, data: bytes) -> None:
        if self._on_lost is None or self._line is None:
            raise self._over()
        self._line.receive(data)

    def _end(self) -> None:
        on_lost, self._on_lost = self._on_lost, None
        if on_lost is not None:
            on_lost(self._over())

    def _over(self) -> LinkClosed:
        return LinkClosed(
            f"The recording {self._path} is over and holds no further answer to what is asked; "
            f"`bmslink decode {self._path}` shows what it holds."
        )
