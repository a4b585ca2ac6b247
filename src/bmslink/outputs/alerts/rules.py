"""Which events one receiver is sent, and when. Pure: time is given, and nothing is sent here.

A condition is sent when it has lasted for its delay, and once more when it is over and has not come
back for a while. What is critical is sent at once, in quiet hours and above the limit too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from bmslink.errors import UsageError
from bmslink.events import OUTPUT, EventSeverity, PackEvent
from bmslink.jsonable import plain
from bmslink.outputs.alerts.message import Alert, alert_of, over_again
from bmslink.outputs.alerts.options import AlertOptions, ReceiverOptions

__all__ = ["Alert", "AlertRule"]

_HOUR = 3600.0
_NAMED = 5
"""Alerts that were held back and are named; the others are counted."""
_MOST_OPEN, _MOST_KEPT = 4096, 1000
_LOOK = 60.0  # s between two looks at the time of day


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
        self.changes = 0
        """How often something changed that a restart must not forget: what is sent."""

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
                self.changes += 1
            elif len(self._open) < _MOST_OPEN:
                since = event.since or event.time  # what goes on after a restart has lasted already
                lasted = max(0.0, (event.time - since).total_seconds())
                self._open[key] = _Lasting(event, clock - lasted)

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
            worse = event.severity.rank - known.event.severity.rank
            if worse > 0 or (worse == 0 and event.what != "condition"):
                known.event = event  # else it is said what was measured when it began
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
            self.changes += 1
            self._send(found, alert_of(event))
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
                self.changes += 1
                if self._receiver.over and not each.silent:
                    self._send(found, over_again(each.event, each.ended))
            return
        worse = each.sent is None or each.sent.rank < each.event.severity.rank
        if worse and clock - each.began >= self._delay_of(each.event):
            self.changes += 1
            each.sent = each.event.severity
            each.silent = not self._send(found, alert_of(each.event))

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
        self.changes += 1
        number, named = self._more, " ".join(self._held)
        self._more, self._held = 0, []
        title = f"bmslink: {number} more alert{'s were' if number > 1 else ' was'} held back"
        return Alert("held_back", EventSeverity.WARNING, title, f"{named} …" * bool(named))

    # -- over a restart --------------------------------------------------------------------------

    def saved(self, clock: float, now: datetime) -> Callable[[], dict[str, Any]]:
        """What a restart must not forget: what was sent and lasts, and what is still to be sent.
        It is made where the result is called, which takes longer than a command may wait. `now`:
        the calendar, UTC."""
        sent = [replace(each) for each in self._open.values() if each.sent is not None]
        rest = {"held": [*self._held], "more": self._more, "room": self._room, "at": plain(now)}
        return partial(_saved, sent, [*self._moments], rest, clock, now)

    def restore(self, values: Mapping[str, Any], clock: float, now: datetime) -> list[PackEvent]:
        """Go on from what `saved` gave before a restart: what was sent is not sent again. The
        conditions that were not over then. What cannot be read is left out."""
        with suppress(*_UNREADABLE):
            away = max(0.0, (now - datetime.fromisoformat(values["at"])).total_seconds())
            self._room, self._filled = float(values["room"]), clock - away
            self._held, self._more = [*map(str, values["held"])], int(values["more"])
        for each in _listed(values.get("moments")):
            with suppress(*_UNREADABLE):
                self._moments.append(PackEvent.from_dict(each))
        for each in _listed(values.get("lasting")):
            with suppress(*_UNREADABLE):
                known = _restored(each, clock, now)
                self._open[known.event.pack, known.event.key] = known
        return [each.event for each in self._open.values() if each.gone is None]

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


_UNREADABLE = (UsageError, TypeError, ValueError, KeyError, AttributeError, OverflowError)


def _listed(found: Any) -> list[Any]:
    return found if isinstance(found, list) else []


def _saved(
    sent: list[_Lasting],
    moments: list[PackEvent],
    rest: Mapping[str, Any],
    clock: float,
    now: datetime,
) -> dict[str, Any]:
    def wall(then: float | None) -> datetime | None:
        return None if then is None else now - timedelta(seconds=clock - then)

    sent.sort(key=lambda each: each.event.severity.rank, reverse=True)
    lasting = [
        {
            "event": each.event.to_dict(),
            "sent": str(each.sent),
            "silent": each.silent,
            "gone": plain(wall(each.gone)),
            "ended": None if each.ended is None else each.ended.to_dict(),
        }
        for each in sent[:_MOST_KEPT]
    ]
    told = [event.to_dict() for event in moments[:_MOST_KEPT]]
    return {**rest, "lasting": lasting, "moments": told}


def _restored(values: Mapping[str, Any], clock: float, now: datetime) -> _Lasting:
    event = PackEvent.from_dict(values["event"])
    known = _Lasting(event, clock, EventSeverity.of(values["sent"]), bool(values["silent"]))
    if values["ended"] is not None:
        since = datetime.fromisoformat(values["gone"])
        known.gone = clock - max(0.0, (now - since).total_seconds())
        known.ended = PackEvent.from_dict(values["ended"])
    return known
