"""Who else has a line of the service for a while: a vendor's tool, or a phone."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from bmslink.places import Place

__all__ = ["Guest", "Guests"]


class _OnALine(Protocol):
    @property
    def place(self) -> Place: ...


class Guest(Protocol):
    """Somebody who has the line of a pack."""

    @property
    def place(self) -> Place:
        """Of the pack."""

    @property
    def sentence(self) -> str:
        """Why nothing can be asked of the pack now."""

    def give_way(self) -> None:
        """Something is switched off: the line comes back at once. Raises `GateError` where that
        cannot be."""


class Guests:
    """All guests of a service. A line has one; the packs on it are blind meanwhile."""

    def __init__(self) -> None:
        self._all: list[Guest] = []
        self._changed = asyncio.Event()

    def of(self, pack: _OnALine) -> Guest | None:
        """Who has the line of a pack."""
        return next((each for each in self._all if each.place.same_line(pack.place)), None)

    def add(self, guest: Guest) -> None:
        """It has the line from now on."""
        self._all.append(guest)

    def remove(self, guest: Guest) -> None:
        """The line is back."""
        self._all.remove(guest)
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def give_way(self, pack: _OnALine) -> None:
        """Have the line of a pack back for switching off; raises what the guest raises."""
        if (guest := self.of(pack)) is not None:
            guest.give_way()

    async def gone(self, pack: _OnALine) -> None:
        """Wait until nobody has the line of a pack."""
        while self.of(pack) is not None:
            await self._changed.wait()
