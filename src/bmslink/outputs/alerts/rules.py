"""Which events one receiver is sent, and when. Pure: time is given, and nothing is sent here.

A condition is sent when it has lasted for its delay, and once more when it is over and has not come
back for a while. What is critical is sent at once, in quiet hours and above the limit too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal
from uuid import uuid4

from bmslink.events import OUTPUT, EventSeverity, PackEvent
from bmslink.jsonable import plain
from bmslink.moments import utc_now
from bmslink.outputs.alerts.options import AlertOptions, ReceiverOptions

__all__ = ["Alert", "AlertRule"]

State = Literal["begun", "over", "event", "held_back", "test"]
_HOUR = 3600.0
_NAMED = 5
"""Alerts that were held back and are named; the others are counted."""
_MOST_OPEN = 4096
_LOOK = 60.0  # s between two looks at the time of day


@dataclass(frozen=True, slots=True)
class Alert:
    """One message."""

    state: State
    severity: EventSeverity
    title: str
    text: str
    event: PackEvent | None = None
    time: datetime = field(default_factory=utc_now)
    id: str = field(default_factory=lambda: uuid4().hex)
    """The same where it is sent once more, because nobody confirmed it."""

    @classmethod
    def test(cls) -> Alert:
        """What the test command sends."""
        return cls("test", EventSeverity.INFO, "bmslink: a test", "This is a test of the alerts.")

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "state": self.state,
            "severity": self.severity.value,
            "title": self.title,
            "text": self.text,
            "time": plain(self.time),
            "id": self.id,
            "event": None if self.event is None else self.event.to_dict(),
        }


@dataclass(slots=True)
class _Lasting:
    """A condition that lasts, or has just ended."""

    event: PackEvent
    began: float
    sent: EventSeverity | None = None
    """As how bad it was sent."""
    silent: bool = False
    """It was held back: so is its end."""
    gone: float | None = None
    ended: PackEvent | None = None


class AlertRule:
    """Of one receiver. Clocks are in s, of one that is never set."""

    def __init__(self, options: AlertOptions, receiver: ReceiverOptions) -> None:
        self._options, self._receiver = options, receiver
        self._delay = options.delay if receiver.delay is None else receiver.delay
        self._severities = receiver.severity.at_least()
        self._kinds = receiver.all_kinds
        self._open: dict[tuple[str, str], _Lasting] = {}
        self._moments: list[PackEvent] = []
        self._room = float(options.most_per_hour)
        self._filled = 0.0
        self._held: list[str] = []
        self._more = 0

    # -- events ----------------------------------------------------------------------------------

    def hear(self, event: PackEvent, clock: float) -> None:
        """Something happened."""
        key = event.pack, event.key
        known = self._open.get(key) if event.key else None
        if known is not None:
            self._go_on(known, key, event, clock)
        elif event.until is None and self._wants(event):
            if not event.key:
                self._moments.append(event)
            elif len(self._open) < _MOST_OPEN:
                self._open[key] = _Lasting(event, clock)

    def _wants(self, event: PackEvent) -> bool:
        receiver = self._receiver
        return (
            event.what != OUTPUT
            and event.severity in self._severities
            and (not self._kinds or event.what in self._kinds)
            and (not receiver.packs or not event.pack or event.pack in receiver.packs)
        )

    def _go_on(self, known: _Lasting, key: tuple[str, str], event: PackEvent, clock: float) -> None:
        if event.until is None:
            known.gone = known.ended = None
            if event.severity.rank >= known.event.severity.rank:
                known.event = event
        elif known.sent is None:
            del self._open[key]  # gone before it was sent
        elif known.gone is None:
            known.gone, known.ended = clock, event

    # -- what is to be sent ----------------------------------------------------------------------

    def due(self, clock: float, local: datetime) -> list[Alert]:
        """What is to be sent now. `local`: the time on the wall."""
        quiet = self._options.is_quiet(local.time())
        self._refill(clock)
        found: list[Alert] = []
        for event in self._moments if not quiet else [*filter(_critical, self._moments)]:
            self._moments.remove(event)
            self._send(found, _alert("event", event))
        for key, each in [*self._open.items()]:
            if not quiet or _critical(each.event):
                self._look(found, key, each, clock)
        if self._more and self._room >= 1 and not quiet:
            found.append(self._held_back())
        return found

    def _look(self, found: list[Alert], key: tuple[str, str], each: _Lasting, clock: float) -> None:
        if each.gone is not None and each.ended is not None:
            if clock - each.gone >= self._options.settle:
                del self._open[key]
                if self._receiver.over and not each.silent:
                    self._send(found, _over(each.event, each.ended))
            return
        worse = each.sent is None or each.sent.rank < each.event.severity.rank
        if worse and clock - each.began >= self._delay_of(each.event):
            each.sent = each.event.severity
            each.silent = not self._send(found, _alert("begun", each.event))

    def _delay_of(self, event: PackEvent) -> float:
        return 0.0 if _critical(event) else self._delay

    def _send(self, found: list[Alert], alert: Alert) -> bool:
        """Send it, unless there were too many already; whether it is sent."""
        if self._room < 1 and alert.severity is not EventSeverity.CRITICAL:
            self._more += 1
            if len(self._held) < _NAMED:
                self._held.append(alert.text)
            return False
        self._room = max(0.0, self._room - 1)
        found.append(alert)
        return True

    def _refill(self, clock: float) -> None:
        most = self._options.most_per_hour
        self._room = min(float(most), self._room + (clock - self._filled) * most / _HOUR)
        self._filled = clock

    def _held_back(self) -> Alert:
        self._room -= 1
        number, named = self._more, " ".join(self._held)
        self._more, self._held = 0, []
        title = f"bmslink: {number} more alert{'s were' if number > 1 else ' was'} held back"
        return Alert("held_back", EventSeverity.WARNING, title, f"{named} …" * bool(named))

    def wait(self, clock: float, local: datetime) -> float:
        """s after which there may be something to send, if nothing happens before."""
        times = [_LOOK] if self._moments or self._more else []
        for each in self._open.values():
            if each.gone is not None:
                times.append(each.gone + self._options.settle - clock)
            elif each.sent is None:
                times.append(each.began + self._delay_of(each.event) - clock)
        if not times:
            return math.inf
        least = _LOOK if self._options.is_quiet(local.time()) else 0.01
        return max(least, min(times))


def _critical(event: PackEvent) -> bool:
    return event.severity is EventSeverity.CRITICAL


def _alert(state: State, event: PackEvent) -> Alert:
    where = event.pack or "service"
    return Alert(
        state, event.severity, f"{where}: {event.severity.value}", f"{where}: {event.text}", event
    )


def _over(event: PackEvent, ended: PackEvent) -> Alert:
    """The end of a condition, as bad as it was."""
    where = event.pack or "service"
    lasted = (
        f", after {(ended.until - event.since).total_seconds():.0f} s"
        if ended.until is not None and event.since is not None
        else ""
    )
    text = f"{where}: {ended.text} It was: {event.text}"
    return Alert("over", event.severity, f"{where}: over again{lasted}", text, ended)
