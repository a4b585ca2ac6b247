"""Which conditions last, of each pack and of the service, also from before a restart.

Who publishes an event asks here since when its condition holds. What is known from before a restart
comes from the history, or from the state of the alerts, a moment after the service began: until
somebody sees such a condition again, or its end, it is *carried*.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from bmslink.events import EventSeverity, PackEvent
from bmslink.jsonable import plain

__all__ = ["SEEN_OVER", "UNSEEN", "LastingConditions", "OpenConditions", "SeenCondition"]

_MOST_ENDED = 256
UNSEEN = "unseen_seconds"
"""Among the data of an event: for how long nobody looked while its condition held."""
SEEN_OVER = "seen_over"
"""The same: when it was seen that it is over, where nobody saw it end."""


@dataclass(frozen=True, slots=True)
class SeenCondition:
    """A condition that lasts."""

    event: PackEvent
    """Its beginning."""
    seen: datetime
    """When it was known to hold last, UTC."""


@dataclass(slots=True)
class _Held:
    event: PackEvent
    carried: datetime | None = None
    """Not seen since a restart: when it was seen last."""
    unseen: float = 0.0
    """s for which nobody looked."""


class OpenConditions:
    """Those of one pack (an empty name: of the service); makes its events."""

    def __init__(self, pack: str) -> None:
        self._pack = pack
        self._open: dict[str, _Held] = {}
        self._ended: dict[str, PackEvent] | None = {}
        """Ends of what was not known to last, until it is known what lasted before a restart."""

    def __contains__(self, key: object) -> bool:
        return key in self._open

    def __iter__(self) -> Iterator[PackEvent]:
        return iter([held.event for held in self._open.values()])

    def carried(self, key: str) -> datetime | None:
        """When a condition was seen last that is only known from before a restart; else `None`."""
        held = self._open.get(key)
        return None if held is None else held.carried

    def all_carried(self) -> list[PackEvent]:
        """All of these."""
        return [held.event for held in self._open.values() if held.carried is not None]

    def seen(self, now: datetime) -> list[SeenCondition]:
        """All, and when they were known to hold last."""
        return [SeenCondition(held.event, held.carried or now) for held in self._open.values()]

    def event(
        self,
        what: str,
        text: str,
        severity: EventSeverity = EventSeverity.INFO,
        *,
        key: str = "",
        over: bool = False,
        time: datetime,
        data: Mapping[str, Any] | None = None,
    ) -> PackEvent:
        """An event. With a `key` a condition begins or goes on, or is `over`; one of another `what`
        under the same key takes its place. The end of what did not last is no end."""
        made = PackEvent(what, text, severity, self._pack, time, data=data or {})
        if not key:
            return made
        if over:
            return self._over(replace(made, key=key))
        held = self._open.get(key)
        if held is None or held.event.what != what:
            held = self._open[key] = _Held(replace(made, key=key, since=time))
        if held.carried is not None:
            held.unseen += max(0.0, (time - held.carried).total_seconds())
            held.carried = None
        more = {UNSEEN: round(held.unseen, 3)} if held.unseen else {}
        began = held.event.since
        held.event = replace(made, key=key, since=began, data={**made.data, **more})
        return held.event

    def _over(self, made: PackEvent) -> PackEvent:
        held = self._open.pop(made.key, None)
        if held is None:
            if self._ended is not None and len(self._ended) < _MOST_ENDED:
                self._ended[made.key] = made
            return replace(made, key="")
        return _end(made, held)

    def resume(self, event: PackEvent, seen: datetime) -> PackEvent | None:
        """What lasted before a restart, and when that was known last. Its end, where that was seen
        already."""
        held = self._open.get(event.key)
        before = _Held(
            replace(event, until=None, until_known=True), seen, float(event.data.get(UNSEEN, 0))
        )
        if held is None:
            if ended := (self._ended or {}).pop(event.key, None):
                return _end(ended, before)
            self._open[event.key] = before
        elif held.event.what == event.what and event.since is not None:
            first = held.event.since or event.since
            if held.carried is not None:
                held.carried = max(held.carried, seen)
            elif event.since < first:
                held.unseen += max(0.0, (first - seen).total_seconds())
            held.event = replace(held.event, since=min(first, event.since))
        return None

    def settle(self) -> None:
        """All is known that lasted before a restart."""
        self._ended = None


def _end(made: PackEvent, held: _Held) -> PackEvent:
    more = {UNSEEN: round(held.unseen, 3)} if held.unseen else {}
    ended = replace(made, since=held.event.since, until=made.time, data={**made.data, **more})
    if held.carried is None:
        return ended
    told = replace(ended, data={**ended.data, SEEN_OVER: plain(made.time)})
    return told.over(made.time, held.carried, known=False)


class LastingConditions:
    """Those of all packs of a service."""

    def __init__(self) -> None:
        self._of: dict[str, OpenConditions] = {}
        self._awaited: set[str] = set()
        self._news = asyncio.Event()

    def of(self, pack: str) -> OpenConditions:
        """Those of one pack; an empty name: of the service."""
        if pack not in self._of:
            self._of[pack] = OpenConditions(pack)
        return self._of[pack]

    def __iter__(self) -> Iterator[PackEvent]:
        for each in self._of.values():
            yield from each

    def all_carried(self) -> list[PackEvent]:
        """All that nobody has seen since a restart."""
        return [event for each in self._of.values() for event in each.all_carried()]

    def seen(self, now: datetime) -> list[SeenCondition]:
        """All of them, and when they were known to hold last: `now`, unless they are carried."""
        return [found for each in self._of.values() for found in each.seen(now)]

    def expect(self, source: str) -> None:
        """Something will say what lasted before a restart."""
        self._awaited.add(source)

    def resume(self, source: str, conditions: Iterable[SeenCondition]) -> list[PackEvent]:
        """It says so; where it knows nothing, too. Ends that were seen before, to be published."""
        found = [self.of(each.event.pack).resume(each.event, each.seen) for each in conditions]
        self._awaited.discard(source)
        if not self._awaited:
            for each in self._of.values():
                each.settle()
            self._news.set()
        return [event for event in found if event is not None]

    async def known(self, patience: float) -> None:
        """Wait until all have said so, at most so many s."""
        if self._awaited:
            try:
                async with asyncio.timeout(patience):
                    await self._news.wait()
            except TimeoutError:
                return
