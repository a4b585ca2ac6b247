"""A pack as it was named on the command line, and how its board is made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from bmslink.board import Board
    from bmslink.link.transport import Endpoint, Pin
    from bmslink.packs import NamedPack

__all__ = ["NamedPlace"]


@dataclass(slots=True)
class NamedPlace:
    """A pack that was named on the command line."""

    endpoint: Endpoint
    pin: Pin
    named: NamedPack | None
    record: Callable[[], IO[bytes]] | None = None

    def board(self, endpoint: Endpoint) -> Board:
        """Its board, not opened yet; asked through a service where one owns the line now."""
        from bmslink.served_board import board_at

        record, self.record = self.record, None  # a recording goes on over one board only
        return board_at(
            endpoint,
            record=record() if record is not None else None,
            pin=self.pin,
            named=self.named,
            tapped=True,
        )
