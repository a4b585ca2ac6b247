"""The alerts of a service: its events, by the rules of each receiver, to the threads that send."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple

from bmslink.events import OUTPUT, PackEvent
from bmslink.outputs.alerts.options import AlertOptions
from bmslink.outputs.alerts.receivers import make_receiver
from bmslink.outputs.alerts.rules import AlertRule
from bmslink.outputs.alerts.sender import AlertSender, Deliver
from bmslink.runtime.acting.contained import contained
from bmslink.runtime.feed import Feed, FeedItem, Subscription
from bmslink.runtime.service_file import ServicePlan
from bmslink.runtime.watching.conditions import Teller

__all__ = ["Alerting"]

_log = logging.getLogger(__name__)
_ROOM = 2048
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
    ) -> None:
        """`wall`: the time of the day, where this machine is."""
        self._feed, self._tell, self._wall = feed, tell, wall
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lines = {
            name: _ReceiverLine(
                AlertRule(options, options.to[name]),
                AlertSender(name, deliver, partial(self._trouble, name)),
            )
            for name, deliver in receivers.items()
        }

    @classmethod
    def of(cls, plan: ServicePlan, feed: Feed, tell: Teller) -> Alerting | None:
        """As the file of a service says; `None` where it says nothing. Raises `TargetError`."""
        options = plan.section(AlertOptions)
        if options is None or not options.to:
            return None
        receivers = {
            name: make_receiver(name, each, plan.beside, plan.path)
            for name, each in options.to.items()
        }
        return cls(options, receivers, feed, tell)

    def subscribe(self) -> Subscription:
        """Begin to listen: what is published from now on is not missed."""
        self._loop = asyncio.get_running_loop()
        return self._feed.subscribe(kinds=["event"], size=_ROOM, own=True)

    async def run(self, news: Subscription) -> None:
        """Listen until the feed is closed. A mistake with one item ends nothing."""
        with news:
            while True:
                try:
                    async with asyncio.timeout(self._wait()):
                        item = await news.get()
                except TimeoutError:
                    self._look(None)
                    continue
                if item is None:
                    self._look(None)
                    return
                self._look(item)

    def _look(self, item: FeedItem | None) -> None:
        for line in self._lines.values():
            with contained(_mistaken):
                clock = asyncio.get_running_loop().time()
                if item is not None and isinstance(item.data, PackEvent):
                    line.rule.hear(item.data, clock)
                for alert in line.rule.due(clock, self._wall()):
                    line.sender.put(alert)

    def _wait(self) -> float | None:
        """s until it is looked again; `None`: when something happens."""
        clock, wall, least = asyncio.get_running_loop().time(), self._wall(), float("inf")
        for line in self._lines.values():
            with contained(_mistaken):
                least = min(least, line.rule.wait(clock, wall))
        return None if least == float("inf") else least

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
        ends = (asyncio.to_thread(line.sender.close, patience) for line in self._lines.values())
        await asyncio.gather(*ends)


def _mistaken(error: BaseException) -> None:
    _log.error("bmslink made a mistake with an alert.", exc_info=error)
