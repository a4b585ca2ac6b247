"""The alerts of a service: its events, by the rules of each receiver, to the threads that send."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple

from bmslink.control.audit import Budget
from bmslink.errors import BmsError
from bmslink.events import OUTPUT, PackEvent
from bmslink.outputs.alerts.options import AlertOptions
from bmslink.outputs.alerts.receivers import make_receiver
from bmslink.outputs.alerts.rules import AlertRule
from bmslink.outputs.alerts.sender import AlertSender, Deliver
from bmslink.runtime.acting.contained import contained
from bmslink.runtime.feed import Feed, FeedItem, Subscription
from bmslink.runtime.judging.pack_memory import PackDisk
from bmslink.runtime.outputs.alert_memory import AlertMemory, packed
from bmslink.runtime.service_file import ServicePlan
from bmslink.runtime.watching.conditions import Teller
from bmslink.runtime.watching.lasting import SeenCondition

__all__ = ["Alerting"]

_log = logging.getLogger(__name__)
_SOURCE = "alerts"
_ROOM = 2048
_PATIENCE = 2.0
"""s to learn what was sent before a restart; then it may be sent once more."""
_AT_ONCE, _EVERY = 6, 10.0
"""Times that conditions are saved at once, and s for each one more: one that chatters must not wear
out a flash card."""
_SOON = 0.05
"""s until what changed is saved: what an event made the policies send goes out first."""
_ALIVE = 300.0
"""s after which it is saved again when something lasts that was seen last."""
_FORGOTTEN = 600.0
"""s after a restart until what the service had told of itself, and does not tell again, is over."""
_TESTED = 20.0
"""s after which a test that was not answered counts as failed."""


class _ReceiverLine(NamedTuple):
    rule: AlertRule
    sender: AlertSender


class Alerting:
    """All receivers. It listens like any other client; nothing waits for it."""

    def __init__(
        self,
        options: AlertOptions,
        receivers: dict[str, Deliver],
        feed: Feed,
        tell: Teller,
        *,
        wall: Callable[[], datetime] = datetime.now,
        memory: AlertMemory | None = None,
        served: Collection[str] | None = None,
    ) -> None:
        """`wall`: the time of the day, where this machine is; `memory`: what survives a restart;
        `served`: the packs that there are (`None`: any)."""
        self._feed, self._tell, self._wall = feed, tell, wall
        self._memory, self._served = memory, served
        self._budget = Budget(_AT_ONCE, _EVERY)
        self._changes = 0
        self._stale = self._recalled = False
        self._recalling: asyncio.Task[None] | None = None
        self._keeping: asyncio.TimerHandle | None = None
        self._saved = 0.0
        self._began: float | None = None
        if memory is not None:
            feed.lasting.expect(_SOURCE)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lines = {
            name: _ReceiverLine(
                AlertRule(options, options.to[name]),
                AlertSender(name, deliver, partial(self._trouble, name), gone=self._gone),
            )
            for name, deliver in receivers.items()
        }

    @classmethod
    def of(
        cls, plan: ServicePlan, feed: Feed, tell: Teller, disk: PackDisk | None = None
    ) -> Alerting | None:
        """As the file of a service says; `None` where it says nothing. `disk`: where it remembers
        what was sent. Raises `TargetError`."""
        options = plan.section(AlertOptions)
        if options is None or not options.to:
            return None
        receivers = {
            name: make_receiver(name, each, plan.beside, plan.path)
            for name, each in options.to.items()
        }
        memory = None if disk is None else AlertMemory(disk.folder, _name_of(plan), disk.queue)
        served = [pack.name for pack in plan.packs]
        return cls(options, receivers, feed, tell, memory=memory, served=served)

    def subscribe(self) -> Subscription:
        """Begin to listen: what is published from now on is not missed."""
        self._loop = asyncio.get_running_loop()
        return self._feed.subscribe(kinds=["event"], size=_ROOM, own=True)

    async def run(self, news: Subscription) -> None:
        """Listen until the feed is closed. A mistake with one item ends nothing."""
        with news:
            await self._begin()
            while True:
                try:
                    async with asyncio.timeout(self._wait()):
                        item = await news.get()
                except TimeoutError:
                    self._look(None)
                    continue
                self._look(item)
                if item is None:
                    return

    def _look(self, item: FeedItem | None) -> None:
        clock = asyncio.get_running_loop().time()
        for line in self._lines.values():
            with contained(_mistaken):
                if item is not None and isinstance(item.data, PackEvent):
                    line.rule.hear(item.data, clock)
                for alert in line.rule.due(clock, self._wall()):
                    line.sender.put(alert)
        with contained(_mistaken):
            self._stale = self._stale or (item is not None and bool(getattr(item.data, "key", "")))
            self._keep_if_needed(clock)
            self._forget(clock)

    def _wait(self) -> float | None:
        """s until it is looked again; `None`: when something happens."""
        clock, wall, least = asyncio.get_running_loop().time(), self._wall(), float("inf")
        for line in self._lines.values():
            with contained(_mistaken):
                least = min(least, line.rule.wait(clock, wall))
        if self._memory is not None and any(True for _ in self._feed.lasting):
            least = min(least, _EVERY if self._stale else _ALIVE)
        return None if least == float("inf") else least

    # -- over a restart --------------------------------------------------------------------------

    async def _begin(self) -> None:
        """Learn what was sent before a restart; where the disk is slow, that is learnt later."""
        self._began = asyncio.get_running_loop().time()
        if self._memory is not None:
            self._recalling = asyncio.create_task(self._recall(self._memory))
            await asyncio.wait({self._recalling}, timeout=_PATIENCE)

    async def _recall(self, memory: AlertMemory) -> None:
        """Go on from what was sent before a restart."""
        found = await memory.load()
        clock, now = asyncio.get_running_loop().time(), self._feed.now()
        lasting = [*found.conditions]
        known = {(each.event.pack, each.event.key) for each in lasting}
        for name, line in self._lines.items():
            with contained(_mistaken):
                for alert in found.waiting.get(name, ()):
                    line.sender.put(alert)
                sent = line.rule.restore(found.rules.get(name, {}), clock, now)
                lasting += [
                    SeenCondition(event, found.alive or event.time)
                    for event in sent
                    if (event.pack, event.key) not in known
                ]
        for event in self._feed.lasting.resume(_SOURCE, lasting):
            self._feed.publish("event", event.pack, event)
        self._end_carried(lambda each: bool(each.pack) and not self._serves(each.pack))
        self._recalled = True

    def _serves(self, pack: str) -> bool:
        return self._served is None or pack in self._served

    def _forget(self, clock: float) -> None:
        """What the service itself has not spoken of since a restart is over."""
        if self._began is not None and clock - self._began >= _FORGOTTEN:
            self._began = None
            self._end_carried(lambda each: not each.pack)

    def _end_carried(self, which: Callable[[PackEvent], bool]) -> None:
        now, text = self._feed.now(), "After a restart nothing says that it lasts."
        for event in filter(which, self._feed.lasting.all_carried()):
            found = self._feed.lasting.of(event.pack).event(
                event.what, text, key=event.key, over=True, time=now, data=event.data
            )
            self._feed.publish("event", event.pack, found)

    def _keep_if_needed(self, clock: float) -> None:
        """Save what changed: what is sent at once, else now and then."""
        if self._memory is None:
            return
        changes = sum(line.rule.changes for line in self._lines.values())
        sent, self._changes = changes != self._changes, changes
        due = clock - self._saved >= _ALIVE
        if sent or due or (self._stale and self._budget.take(clock)):
            self._keep_soon()

    def _keep_soon(self) -> None:
        if self._keeping is None and self._loop is not None and not self._loop.is_closed():
            self._keeping = self._loop.call_later(_SOON, self._keep)

    def _keep(self) -> None:
        self._keeping = None
        if self._memory is not None and self._recalled:
            self._stale, self._saved = False, asyncio.get_running_loop().time()
            self._memory.save(self._packed(), self._kept)

    def _packed(self) -> Callable[[], dict[str, Any]]:
        clock, now = asyncio.get_running_loop().time(), self._feed.now()
        receivers = {
            name: (line.rule.saved(clock, now), line.sender.waiting())
            for name, line in self._lines.items()
        }
        return partial(packed, self._feed.lasting.seen(now), receivers, now)

    def _kept(self, error: str) -> None:
        key = f"{OUTPUT}/alerts"
        if error and key not in self._tell:
            self._tell(OUTPUT, error, alarm=True, key=key)
        elif not error and key in self._tell:
            self._tell(OUTPUT, "What was sent is remembered again.", key=key, over=True)

    def _gone(self) -> None:
        """Called by a sender's thread: an alert waits no longer."""
        if self._memory is not None and self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._keep_soon)

    # -- receivers -------------------------------------------------------------------------------

    def _trouble(self, name: str, trouble: str) -> None:
        """Called by a sender's thread."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._tell_trouble, name, trouble)

    def _tell_trouble(self, name: str, trouble: str) -> None:
        text = (
            f"Alerts to {name} do not arrive: {trouble}. They are sent again and again."
            if trouble
            else f"Alerts to {name} arrive again."
        )
        key = f"{OUTPUT}/alerts.{name}"
        self._tell(OUTPUT, text, alarm=bool(trouble), key=key, over=not trouble)

    def status(self) -> list[dict[str, Any]]:
        """Each receiver; plain values."""
        return [line.sender.status() for line in self._lines.values()]

    async def test(self) -> dict[str, str]:
        """Send a test to each: why it did not arrive, or an empty text."""

        async def one(sender: AlertSender) -> str:
            try:
                async with asyncio.timeout(_TESTED):
                    return await asyncio.wrap_future(sender.test())
            except TimeoutError:
                return f"no answer after {_TESTED:g} s"

        names = [*self._lines]
        found = await asyncio.gather(*(one(line.sender) for line in self._lines.values()))
        return dict(zip(names, found, strict=True))

    async def close(self, patience: float) -> None:
        """Give what waits so many s to arrive."""
        if self._keeping is not None:
            self._keeping.cancel()
        ends = (asyncio.to_thread(line.sender.close, patience) for line in self._lines.values())
        await asyncio.gather(*ends)
        if self._memory is not None and self._recalled:
            saving = asyncio.to_thread(self._memory.save_now, self._packed())
            with suppress(BmsError, TimeoutError):
                await asyncio.wait_for(saving, patience)


def _name_of(plan: ServicePlan) -> str:
    """What tells services of one user apart: their file and what they were asked to serve."""
    targets, _ = plan.asked
    return "\n".join([str(plan.path or ""), *targets])


def _mistaken(error: BaseException) -> None:
    _log.error("bmslink made a mistake with an alert.", exc_info=error)
