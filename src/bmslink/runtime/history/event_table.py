"""The table of events: one row for each condition, with since when and until when, and for each
thing that happened. What comes and goes quickly is one row with a count."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from bmslink.events import EventSeverity, PackEvent
from bmslink.jsonable import dumps
from bmslink.runtime.history.schema import from_millis, to_millis
from bmslink.runtime.watching.lasting import SEEN_OVER, UNSEEN, SeenCondition

__all__ = [
    "MOST_EVENTS",
    "EventQuery",
    "close_open",
    "find_events",
    "put_event",
    "require_bounded",
    "unseen_ends",
]

_QUICK = 60_000
"""ms: what comes again sooner than this after it was over is told as one, with a count."""
_AWAY = 30 * 86_400_000
"""ms that the service may have been away for a condition to be told as the same one."""
_MOST = 200_000
"""Rows that are kept; the oldest go first."""
MOST_EVENTS = 10_000
"""Of one answer."""
_SEVERITIES = tuple(EventSeverity)
_NAMES = (
    *("id", "time", "pack", "what", "severity", "key", "text", "since", "until", "until_known"),
    *("data", "count", "run"),
)


@dataclass(frozen=True, slots=True)
class EventQuery:
    """Which events are asked for."""

    pack: str | None = None
    """Its name, or that of a bank; `None`: of all, and of the service."""
    since: datetime | None = None
    """What lasted or happened at this time or later."""
    until: datetime | None = None
    """What began before this time."""
    severity: EventSeverity = EventSeverity.INFO
    """At least so bad."""
    open: bool = False
    """Only conditions that last."""
    kinds: tuple[str, ...] = ()
    """Only of these kinds; none: of all."""
    limit: int = 1000
    """The newest so many."""


def put_event(connection: sqlite3.Connection, event: PackEvent, run: int) -> None:
    """Store an event: a new row, or a change of the one that it goes on with or ends."""
    if not event.key:
        _put_moment(connection, event, run)
        return
    there = _row(connection, "pack = ? AND key = ? AND since IS NOT NULL", event.pack, event.key)
    if event.until is not None:
        _put_end(connection, event, there, run)
    else:
        _put_beginning(connection, event, there, run)


def _put_end(
    connection: sqlite3.Connection, event: PackEvent, there: dict[str, Any] | None, run: int
) -> None:
    """A condition is over. One that began before its row was closed is that of the row: nobody had
    seen its end then, or what is known of it already is better."""
    lasting = there is not None and there["until"] is None
    if there is None or not (lasting or to_millis(event.since or event.time) <= there["until"]):
        _insert(connection, event, run)
    elif lasting or not there["until_known"]:
        more = {name: event.data[name] for name in (UNSEEN, SEEN_OVER) if name in event.data}
        until = to_millis(event.until or event.time)
        _end(connection, there["id"], until, known=event.until_known)
        if more:
            data = dumps({**_data(there), **more})
            connection.execute("UPDATE events SET data = ? WHERE id = ?", (data, there["id"]))


def _put_beginning(
    connection: sqlite3.Connection, event: PackEvent, there: dict[str, Any] | None, run: int
) -> None:
    """A condition begins, or goes on."""
    lasting = there is not None and there["until"] is None
    if there is None or there["what"] != event.what:
        if there is not None and lasting:
            _end(connection, there["id"], to_millis(event.since or event.time), known=True)
        _insert(connection, event, run)
    elif lasting:
        _change(connection, there["id"], event, there["count"], _data(there))
    elif (seen_again := _goes_on(there, event, run)) is not None:
        if event.what == "condition":  # its text has the value that was measured when it began
            event = replace(event, text=there["text"], data={**event.data, **_measured(there)})
        _change(connection, there["id"], event, *seen_again)
    else:
        _insert(connection, event, run)


def _measured(there: Mapping[str, Any]) -> dict[str, Any]:
    """What was measured when a condition began."""
    data = _data(there)
    return {name: data[name] for name in ("measured", "value", "threshold") if name in data}


def _goes_on(
    there: Mapping[str, Any], event: PackEvent, run: int
) -> tuple[int, dict[str, Any]] | None:
    """Whether a condition that was over is told as the same one: its count and what is known."""
    away = to_millis(event.time) - there["until"]
    data = _data(there)
    if not there["until_known"] and there["run"] != run and 0 <= away <= _AWAY:
        data["unseen_seconds"] = round(data.get("unseen_seconds", 0) + away / 1000, 3)
        return there["count"], data
    if there["until_known"] and 0 <= away <= _QUICK:
        return there["count"] + 1, data
    return None


def _put_moment(connection: sqlite3.Connection, event: PackEvent, run: int) -> None:
    there = _row(connection, "pack = ? AND key = '' AND what = ?", event.pack, event.what)
    now = to_millis(event.time)
    if there is None or there["text"] != event.text:
        _insert(connection, event, run)
        return
    last = there["until"] or there["time"]
    if not 0 <= now - last <= _QUICK:
        _insert(connection, event, run)
        return
    connection.execute(
        "UPDATE events SET count = count + 1, since = time, until = ? WHERE id = ?",
        (now, there["id"]),
    )


def _row(connection: sqlite3.Connection, where: str, *given: str) -> dict[str, Any] | None:
    found = connection.execute(
        f"SELECT {', '.join(_NAMES)} FROM events WHERE {where} ORDER BY id DESC LIMIT 1", given
    ).fetchone()
    return None if found is None else dict(zip(_NAMES, found, strict=True))


def _data(row: Mapping[str, Any]) -> dict[str, Any]:
    found = json.loads(row["data"])
    return found if isinstance(found, dict) else {}


def _insert(connection: sqlite3.Connection, event: PackEvent, run: int) -> None:
    connection.execute(
        f"INSERT INTO events ({', '.join(_NAMES[1:])}) VALUES ({', '.join('?' * 12)})",
        (
            to_millis(event.time),
            event.pack,
            event.what,
            event.severity.rank,
            event.key,
            event.text,
            None if event.since is None else to_millis(event.since),
            None if event.until is None else to_millis(event.until),
            int(event.until_known),
            dumps(event.data),
            event.count,
            run,
        ),
    )


def _end(connection: sqlite3.Connection, number: int, until: int, *, known: bool) -> None:
    connection.execute(
        "UPDATE events SET until = max(?, since), until_known = ? WHERE id = ?",
        (until, int(known), number),
    )


def _change(
    connection: sqlite3.Connection,
    number: int,
    event: PackEvent,
    count: int,
    data: Mapping[str, Any],
) -> None:
    """It lasts (again)."""
    connection.execute(
        "UPDATE events SET until = NULL, until_known = 1, text = ?, severity = max(severity, ?), "
        "count = ?, data = ? WHERE id = ?",
        (event.text, event.severity.rank, count, dumps({**data, **event.data}), number),
    )


def close_open(connection: sqlite3.Connection, until: int) -> None:
    """Nobody looks any more from then on: what lasts was seen last at this time, ms."""
    connection.execute(
        "UPDATE events SET until = max(?, since), until_known = 0 "
        "WHERE until IS NULL AND since IS NOT NULL",
        (until,),
    )


def unseen_ends(connection: sqlite3.Connection, now: int) -> list[SeenCondition]:
    """Conditions that lasted when the service ended, and of which nothing was seen since: when they
    were seen last is their end in the table. `now` in ms."""
    found = connection.execute(
        f"SELECT {', '.join(_NAMES)} FROM events WHERE id IN (SELECT max(id) FROM events "
        "WHERE since IS NOT NULL AND key != '' GROUP BY pack, key) AND until_known = 0 "
        "AND until > ? ORDER BY id",
        (now - _AWAY,),
    ).fetchall()
    ends = [_event(row) for row in found]
    return [
        SeenCondition(event, event.until)
        for event in ends
        if event.until is not None and SEEN_OVER not in event.data
    ]


def require_bounded(connection: sqlite3.Connection, most: int = _MOST) -> None:
    """Drop the oldest events where there are too many."""
    connection.execute("DELETE FROM events WHERE id <= (SELECT max(id) FROM events) - ?", (most,))


def find_events(connection: sqlite3.Connection, query: EventQuery) -> list[PackEvent]:
    """The events that are asked for, the oldest first; the newest of them where `limit` is less."""
    where, given = ["severity >= ?"], [query.severity.rank]
    more: list[Any] = [*given]
    if query.pack is not None:
        where.append("(pack = ? OR (pack = '' AND json_extract(data, '$.bank') = ?))")
        more += [query.pack] * 2
    if query.since is not None:
        where.append("(coalesce(until, time) >= ? OR (until IS NULL AND since IS NOT NULL))")
        more.append(to_millis(query.since))
    if query.until is not None:
        where.append("coalesce(since, time) < ?")
        more.append(to_millis(query.until))
    if query.open:
        where.append("since IS NOT NULL AND until IS NULL")
    if query.kinds:
        where.append(f"what IN ({', '.join('?' * len(query.kinds))})")
        more += query.kinds
    found = connection.execute(
        f"SELECT {', '.join(_NAMES)} FROM events WHERE {' AND '.join(where)} "
        "ORDER BY time DESC, id DESC LIMIT ?",
        (*more, query.limit),
    ).fetchall()
    return [_event(row) for row in reversed(found)]


def _event(row: Sequence[Any]) -> PackEvent:
    found = dict(zip(_NAMES, row, strict=True))
    return PackEvent(
        what=found["what"],
        text=found["text"],
        severity=_SEVERITIES[found["severity"]],
        pack=found["pack"],
        time=from_millis(found["time"]),
        key=found["key"],
        since=None if found["since"] is None else from_millis(found["since"]),
        until=None if found["until"] is None else from_millis(found["until"]),
        until_known=bool(found["until_known"]),
        count=found["count"],
        data=_data(found),
    )
