"""What the packs say, for whoever listens: readings, events, limits, each listener at its own pace.

A listener has a bounded queue. Nobody waits for a slow one: it loses the oldest of what waits for
it, and is told how many those were.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Self

from bmslink.control.banks.decision import BankDecision
from bmslink.control.decide.decision import Decision
from bmslink.events import PackEvent
from bmslink.model import Reading
from bmslink.moments import iso, utc_now
from bmslink.runtime.watching.lasting import LastingConditions

__all__ = ["KINDS", "Feed", "FeedItem", "Kind", "PackEvent", "Subscription"]

Kind = Literal["reading", "event", "limits"]
KINDS: tuple[Kind, ...] = ("reading", "event", "limits")

FeedData = Reading | PackEvent | Decision | BankDecision
"""What a piece of news carries. The limits of a bank name no pack, and say which bank it is."""

_SIZE = 256
"""Items that wait for one listener."""


@dataclass(frozen=True, slots=True)
class FeedItem:
    """One piece of news."""

    kind: Kind
    pack: str
    """The name of the pack; empty: of the service."""
    time: datetime
    """When it was published, UTC; for show only."""
    data: FeedData
    clock: float = 0.0
    """The same by the clock of the loop, s: durations are of this one."""

    def to_dict(self) -> dict[str, Any]:
        """For JSON: the keys of what it carries, and `kind`, `pack` and `time`: when a reading was
        received, or anything else was published."""
        about = {"kind": self.kind, "pack": self.pack, "time": iso(self.time)}
        told = self.data.to_dict()
        return {**about, **told} if self.kind == "reading" else {**told, **about}


class Subscription:
    """One listener. `async for item in subscription` until it is closed; also a context manager."""

    def __init__(
        self, feed: Feed, kinds: frozenset[Kind], packs: frozenset[str] | None, size: int
    ) -> None:
        self._feed = feed
        self._kinds = kinds
        self._packs = packs
        self._waiting: deque[FeedItem] = deque(maxlen=size)
        self._news = asyncio.Event()
        self._closed = False
        self.own = False
        """Whether it is a part of the service itself, and not counted as a listener."""
        self.lost = 0
        """How many items were dropped since `take_lost` was called last."""

    def take_lost(self) -> int:
        """How many items this listener lost since it asked last."""
        lost, self.lost = self.lost, 0
        return lost

    def wants(self, item: FeedItem) -> bool:
        """Whether it asked for such news. News of the service itself go to all."""
        named = self._packs is None or not item.pack or item.pack in self._packs
        return item.kind in self._kinds and named

    def put(self, item: FeedItem) -> None:
        """Called by the feed."""
        if len(self._waiting) == self._waiting.maxlen:
            self.lost += 1
        self._waiting.append(item)
        self._news.set()

    async def get(self) -> FeedItem | None:
        """The next item; `None` once it is closed and nothing waits any more."""
        while not self._waiting:
            if self._closed:
                return None
            self._news.clear()
            await self._news.wait()
        return self._waiting.popleft()

    def close(self) -> None:
        """No more items; may be called twice."""
        self._closed = True
        self._news.set()
        self._feed.forget(self)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> FeedItem:
        item = await self.get()
        if item is None:
            raise StopAsyncIteration
        return item

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *about: object) -> None:
        self.close()


class Feed:
    """Hands every piece of news to all who asked for its kind and pack."""

    def __init__(self, now: Callable[[], datetime] = utc_now) -> None:
        self.now = now
        """The calendar, UTC: for show, and for what is stored."""
        self._listeners: set[Subscription] = set()
        self.lasting = LastingConditions()
        """Which conditions last, and since when."""

    def __len__(self) -> int:
        return sum(not listener.own for listener in self._listeners)

    def subscribe(
        self,
        *,
        kinds: Collection[Kind] = KINDS,
        packs: Collection[str] | None = None,
        size: int = _SIZE,
        own: bool = False,
    ) -> Subscription:
        """A new listener for these kinds, of these packs (`None`: all), with so much room; `own`:
        a part of the service itself."""
        names = None if packs is None else frozenset(packs)
        listener = Subscription(self, frozenset(kinds), names, size)
        listener.own = own
        self._listeners.add(listener)
        return listener

    def publish(self, kind: Kind, pack: str, data: FeedData) -> None:
        """Hand it on; waits for nobody."""
        if not self._listeners:
            return
        clock = asyncio.get_running_loop().time()
        item = FeedItem(kind, pack, self.now(), data, clock)
        for listener in self._listeners:
            if listener.wants(item):
                listener.put(item)

    def forget(self, listener: Subscription) -> None:
        """Called by a listener that is closed."""
        self._listeners.discard(listener)

    def close(self) -> None:
        """The service ends: so do all listeners."""
        for listener in tuple(self._listeners):
            listener.close()
