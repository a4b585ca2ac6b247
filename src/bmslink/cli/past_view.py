"""What of a board's past is shown, beside what the service saw of the pack."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from bmslink.cli.output import Session
from bmslink.events import EventSeverity
from bmslink.past import BoardEvent, BoardPast

__all__ = ["PastView", "by_our_clock", "clock_off", "without_doubles"]

_CLOCK_OFF = 300.0
"""s; a board's clock that is so far off is no help."""
_APART = 120.0
"""s that the two logs of a board may date the same event apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PastView:
    """What somebody wants to see."""

    since: str | None
    until: str | None
    """ISO 8601; of entries that nobody can date all are shown, unless one of these is given."""
    severity: EventSeverity
    lasting: bool
    limit: int
    samples: bool

    def show(
        self, session: Session, seen: Sequence[Mapping[str, Any]], told: BoardPast | None
    ) -> None:
        """Print it: one table of both, then counters, what is now, and what is missing."""
        if session.json:
            for line in self._lines(seen, told):
                session.record(line)
            return
        from bmslink.cli.render import past

        events = [] if told is None else self._wanted(without_doubles(by_our_clock(told)))
        table = past.event_table(seen, events, self.limit, ascii_only=session.ascii)
        if table is not None:
            session.show(table)
        if told is None:
            return
        if told.samples and self.samples:
            session.show(past.sample_table(self._wanted(told.samples)))
        session.print(*past.now_lines(self._severe(told.now or ()), known=told.now is not None))
        if not self.lasting:
            session.print(*past.counter_lines(told.counters), *past.missing_lines(told.missing))
        off = clock_off(told)
        if off is not None and any(event.time_source == "clock" for event in told.events):
            session.say(past.clock_remark(off))

    def _lines(
        self, seen: Sequence[Mapping[str, Any]], told: BoardPast | None
    ) -> Iterator[dict[str, Any]]:
        """Everything, both logs of the board included; `what` names the kind of line."""
        yield from ({"source": "bmslink", **event} for event in seen)
        if told is None:
            return
        place = {"source": "board", "target": told.target, "name": told.name, "read": told.time}
        kinds: list[tuple[str, Iterable[BoardEvent]]] = [("past", self._wanted(told.events))]
        if self.samples:
            kinds.append(("sample", self._wanted(told.samples)))
        kinds.append(("now", self._severe(told.now or ())))
        for what, events in kinds:
            for event in events:
                yield _line(place, what, event.to_dict())
        if self.lasting:
            return
        for counter in told.counters:
            yield _line(place, "counter", counter.to_dict())
        for lacking, reason in told.missing.items():
            yield _line(place, "missing", {"name": lacking, "text": reason})

    def _severe(self, events: Iterable[BoardEvent]) -> list[BoardEvent]:
        return [event for event in events if event.severity.rank >= self.severity.rank]

    def _wanted(self, events: Iterable[BoardEvent]) -> list[BoardEvent]:
        if self.lasting:
            return []
        first, last = map(_moment, (self.since, self.until))
        found = [event for event in self._severe(events) if _within(event.time, first, last)]
        return found[-self.limit :]


def _line(place: Mapping[str, Any], what: str, values: Mapping[str, Any]) -> dict[str, Any]:
    told = {("event" if key == "name" else key): value for key, value in values.items()}
    return {**place, "what": what, **told}


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _within(time: datetime | None, first: datetime | None, last: datetime | None) -> bool:
    if time is None:
        return first is None and last is None
    return (first is None or time >= first) and (last is None or time <= last)


def by_our_clock(told: BoardPast) -> list[BoardEvent]:
    """The events, where the board's clock is wrong by as much as it is now: reckoned then."""
    off = clock_off(told)
    if off is None:
        return list(told.events)
    return [
        replace(event, time=event.time - off, time_source="reckoned")
        if event.time_source == "clock" and event.time is not None
        else event
        for event in told.events
    ]


def clock_off(told: BoardPast) -> timedelta | None:
    """How far the board's clock is ahead; `None` where it is right, or not known."""
    if told.clock is None or told.time is None:
        return None
    off = told.clock - told.time
    return off if abs(off.total_seconds()) > _CLOCK_OFF else None


def without_doubles(events: Iterable[BoardEvent]) -> list[BoardEvent]:
    """Without the entries of one log that another log of the board has too, with more of it."""
    known = [(event.code, event.time) for event in events if event.values and event.time]
    return [event for event in events if event.values or not _known(event, known)]


def _known(event: BoardEvent, others: Iterable[tuple[int | None, datetime]]) -> bool:
    return event.time is not None and any(
        code == event.code and abs((time - event.time).total_seconds()) <= _APART
        for code, time in others
    )
