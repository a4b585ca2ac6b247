"""Listens to the feed of a service, and publishes what follows from it as events.

It is a listener like any other: nothing that reads, decides or sends waits for it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from functools import partial

from bmslink.control.decide.decision import Decision
from bmslink.events import PackEvent
from bmslink.model import Reading
from bmslink.runtime.acting.contained import contained
from bmslink.runtime.feed import Feed, FeedItem, Subscription
from bmslink.runtime.life.keeper import LifeKeeper
from bmslink.runtime.watching.energy import EnergyTotals, longest_step
from bmslink.runtime.watching.watch import PackWatch
from bmslink.runtime.watching.wording import Settings

__all__ = ["Watcher"]

_log = logging.getLogger(__name__)

_ROOM = 8192
"""Items that may wait: some seconds of a thousand packs."""
_REPLACED = "replaced"
_PATIENCE = 2.0
"""s to learn what lasted before a restart; what is learnt later is told later."""


class Watcher:
    """Watches all packs of a service, by their names."""

    def __init__(
        self,
        feed: Feed,
        interval: Callable[[str], float],
        settings: Callable[[str], Settings] = lambda name: {},
    ) -> None:
        """`interval`: s between two readings of a pack of this name; `settings`: what is known of
        the settings of its board."""
        self._feed = feed
        self._interval = interval
        self._settings = settings
        self._watches: dict[str, PackWatch] = {}
        self._replaced: set[str] = set()
        self.lives = LifeKeeper()
        """The lives of the batteries, fed after the counter of charge and energy."""

    def watch(self, name: str) -> PackWatch:
        """What is known of a pack; its counters survive a reload."""
        if name not in self._watches:
            lasting, settings = self._feed.lasting.of(name), partial(self._settings, name)
            self._watches[name] = PackWatch(name, lasting, settings)
        found = self._watches[name]
        found.meter.longest = longest_step(self._interval(name))
        return found

    def energy(self, name: str) -> EnergyTotals | None:
        """What was counted of a pack up to now; `None`: it was never read."""
        clock = asyncio.get_running_loop().time()
        return self.watch(name).meter.totals(clock, self._feed.now())

    def all_energy(self) -> dict[str, EnergyTotals]:
        """The same of every pack that was read."""
        now, clock = self._feed.now(), asyncio.get_running_loop().time()
        found = {name: each.meter.totals(clock, now) for name, each in self._watches.items()}
        return {name: totals for name, totals in found.items() if totals is not None}

    def take_marks(self) -> list[tuple[str, EnergyTotals]]:
        """What was counted of each pack at the ends of the minutes since they were taken last."""
        found = [(name, mark) for name, each in self._watches.items() for mark in each.meter.marks]
        for each in self._watches.values():
            each.meter.marks.clear()
        return found

    def subscribe(self) -> Subscription:
        """Begin to listen: what is published from now on is not missed."""
        return self._feed.subscribe(size=_ROOM, own=True)

    async def run(self, news: Subscription) -> None:
        """Listen until the feed is closed. A mistake with one item ends nothing."""
        with news:
            await self._feed.lasting.known(_PATIENCE)
            async for item in news:
                with contained(partial(_mistaken, item.pack)):
                    for event in [*self._follows(item)] if item.pack else ():
                        self._feed.publish("event", event.pack, event)

    def _follows(self, item: FeedItem) -> Iterable[PackEvent]:
        watch, data = self.watch(item.pack), item.data
        if isinstance(data, Reading):
            if item.pack in self._replaced:  # another board's current is not this pack's
                return ()
            events = [*watch.heard(data, item.clock, data.time or item.time)]
            with contained(partial(_mistaken, item.pack)):
                totals = watch.meter.totals(item.clock, data.time or item.time)
                self.lives.hear(item.pack, item.clock, data, totals)
            return events
        if isinstance(data, Decision):
            return watch.decided(data, item.clock, item.time)
        if not isinstance(data, PackEvent):  # the limits of a bank
            return ()
        if data.key == "state":
            replaced = data.what == _REPLACED and data.until is None
            (self._replaced.add if replaced else self._replaced.discard)(item.pack)
        watch.told(data, item.clock)
        return ()


def _mistaken(pack: str, error: BaseException) -> None:
    _log.error("bmslink made a mistake while it watched %s.", pack, exc_info=error)
