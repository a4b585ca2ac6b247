"""Events of one pack, and which of its conditions last: an end says since when it held."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from bmslink.events import EventSeverity, PackEvent
from bmslink.runtime.feed import Feed

__all__ = ["OpenConditions", "Teller"]

_log = logging.getLogger(__name__)


class OpenConditions:
    """Makes the events of one pack (an empty name: of the service)."""

    def __init__(self, pack: str) -> None:
        self._pack = pack
        self._open: dict[str, tuple[str, datetime]] = {}

    def __contains__(self, key: object) -> bool:
        return key in self._open

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
        under the same key takes its place."""
        if not key:
            return PackEvent(what, text, severity, self._pack, time, data=data or {})
        since: datetime | None = time
        if over:
            since = self._open.pop(key, (what, None))[1]
        elif key in self._open and self._open[key][0] == what:
            since = self._open[key][1]
        else:
            self._open[key] = (what, time)
        return PackEvent(
            what, text, severity, self._pack, time, key, since, time if over else None,
            data=data or {},
        )  # fmt: skip


class Teller:
    """Publishes and logs what happens to one pack (an empty name: to the service)."""

    def __init__(self, pack: str, feed: Feed) -> None:
        self._pack, self._feed = pack, feed
        self._told = OpenConditions(pack)

    def __call__(
        self,
        what: str,
        text: str,
        *,
        alarm: bool = False,
        key: str = "",
        over: bool = False,
        **data: Any,
    ) -> None:
        """Something happened; with a `key`, a condition begins or is over. `data`: plain values."""
        loud = alarm and what != "policy"
        line = f"{self._pack}: {text}" if self._pack else text
        (_log.warning if loud else _log.info)("%s", line)
        severity = _severity_of(what, data, alarm=alarm)
        event = self._told.event(
            what, text, severity, key=key, over=over, time=self._feed.now(), data=data
        )
        self._feed.publish("event", self._pack, event)


def _severity_of(what: str, data: Mapping[str, Any], *, alarm: bool) -> EventSeverity:
    """How bad an event is that is told as an alarm, or not."""
    if what == "acting" and data.get("change") in _EMERGENCIES:
        return EventSeverity.CRITICAL
    return EventSeverity.ALARM if alarm else EventSeverity.INFO


_EMERGENCIES = ("stopped", "withdrawn", "flows_on")
