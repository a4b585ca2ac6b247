"""Publishes and logs what happens."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from bmslink.events import EventSeverity
from bmslink.runtime.feed import Feed

__all__ = ["Teller"]

_log = logging.getLogger(__name__)


class Teller:
    """Publishes and logs what happens to one pack (an empty name: to the service)."""

    def __init__(self, pack: str, feed: Feed) -> None:
        self._pack, self._feed = pack, feed

    def __contains__(self, key: object) -> bool:
        """Whether a condition of this key lasts."""
        return key in self._feed.lasting.of(self._pack)

    def __call__(
        self,
        what: str,
        text: str,
        *,
        alarm: bool = False,
        key: str = "",
        over: bool = False,
        severity: EventSeverity | None = None,
        **data: Any,
    ) -> None:
        """Something happened; with a `key`, a condition begins or is over. `severity`: where
        `alarm` does not say it. `data`: plain values."""
        loud = alarm and what != "policy"
        line = f"{self._pack}: {text}" if self._pack else text
        (_log.warning if loud else _log.info)("%s", line)
        if severity is None:
            severity = _severity_of(what, data, alarm=alarm)
        event = self._feed.lasting.of(self._pack).event(
            what, text, severity, key=key, over=over, time=self._feed.now(), data=data
        )
        self._feed.publish("event", self._pack, event)


def _severity_of(what: str, data: Mapping[str, Any], *, alarm: bool) -> EventSeverity:
    """How bad an event is that is told as an alarm, or not."""
    if what == "acting" and data.get("change") in _EMERGENCIES:
        return EventSeverity.CRITICAL
    return EventSeverity.ALARM if alarm else EventSeverity.INFO


_EMERGENCIES = ("stopped", "withdrawn", "flows_on")
