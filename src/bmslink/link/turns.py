"""Who may speak next: one at a time, in the order they came, but whoever is urgent goes first.

What switches a current off is urgent. It never breaks into an exchange, because a half-heard
question helps nobody, but it waits for no other exchange than the one in progress.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

__all__ = ["Turns"]


class Turns:
    """A lock that is handed to the next in line, the urgent ones before all others."""

    def __init__(self) -> None:
        self._taken = False
        self._urgent: deque[asyncio.Future[None]] = deque()
        self._others: deque[asyncio.Future[None]] = deque()

    @property
    def hurried(self) -> bool:
        """Whether somebody urgent waits."""
        return bool(self._urgent)

    @asynccontextmanager
    async def taken(self, *, urgent: bool = False, again: bool = False) -> AsyncIterator[None]:
        """One turn. `again`: it was given up for somebody urgent, so it is the next one of the
        others."""
        await self._take(urgent, again)
        try:
            yield
        finally:
            self._hand_on()

    async def _take(self, urgent: bool, again: bool) -> None:
        if not self._taken:
            self._taken = True
            return
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue = self._urgent if urgent else self._others
        if again:
            queue.appendleft(place)
        else:
            queue.append(place)
        try:
            await place
        except asyncio.CancelledError:
            if place.cancelled():
                queue.remove(place)
            else:  # it was handed over in the same moment
                self._hand_on()
            raise

    def _hand_on(self) -> None:
        for queue in (self._urgent, self._others):
            while queue:
                place = queue.popleft()
                if not place.done():
                    place.set_result(None)
                    return
        self._taken = False
