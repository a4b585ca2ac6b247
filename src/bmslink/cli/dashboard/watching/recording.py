"""A recording as a target: where it is, from where it goes on, and how fast."""

from __future__ import annotations

from bmslink.board import Board
from bmslink.errors import LinkClosed
from bmslink.link.transport import Endpoint, WrappedTransport
from bmslink.simulation.replay.transport import ReplayTransport

__all__ = ["Recorded"]


class Recorded:
    """Turns a recording back, on, faster and slower: each is the same target with other keys."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._speed = endpoint.number("speed", 1.0) or 1.0
        self._here = endpoint.number("from", 0.0) or 0.0
        self._length: float | None = None
        self.turned = False
        """A person turned it, and it has to be opened anew."""

    def endpoint(self) -> Endpoint:
        """The target that goes on from where it is to be."""
        self.turned = False
        return self._endpoint.with_query(**{"from": f"{self._here:g}", "speed": f"{self._speed:g}"})

    def look(self, board: Board) -> tuple[float, float, float]:
        """Where it is, how long it is (s), and its speed."""
        transport = _replay(board)
        if transport is not None and not self.turned:
            self._here, self._length = transport.position
        return self._here, self._length or 0.0, self._speed

    def turn(self, *, by: float = 0.0, speed: float | None = None) -> None:
        """Go on so many seconds later or earlier, or at another speed."""
        end = self._here + by if self._length is None else self._length
        self._here = max(0.0, min(self._here + by, end))
        self._speed = speed or self._speed
        self.turned = True


def _replay(board: Board) -> ReplayTransport | None:
    try:
        transport = board.link.transport
    except LinkClosed:
        return None
    while isinstance(transport, WrappedTransport):
        transport = transport.inner
    return transport if isinstance(transport, ReplayTransport) else None
