"""Routes that look back: the history of a pack, and the events of all."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from sqlite3 import Connection

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bmslink.errors import UsageError
from bmslink.events import EventSeverity, kinds_of
from bmslink.jsonable import dumps
from bmslink.moments import utc_now
from bmslink.runtime.api.answers import Refusal, answer_text
from bmslink.runtime.api.requests import service_of
from bmslink.runtime.history.event_table import MOST_EVENTS, EventQuery, find_events
from bmslink.runtime.history.query import (
    MOST_ROWS,
    RESOLUTIONS,
    HistoryQuery,
    Resolution,
    default_since,
    find_history,
    require_pack,
)
from bmslink.runtime.history.schema import HistoryError
from bmslink.runtime.history.when import moment

__all__ = ["ROUTES"]

_HISTORY = {"pack", "since", "until", "resolution", "field", "limit"}
_EVENTS = {"pack", "since", "until", "severity", "open", "what", "limit"}
_HINT = "Times are like 2h (ago), yesterday, 2026-01-31 or 2026-01-31T06:30Z; days are of UTC."


async def history(request: Request) -> Response:
    """Readings of a pack over a time, as fine as the time is short. `?pack=NAME`, `since`, `until`,
    `resolution`, `field` (repeatable), `limit`."""
    given = _given(request, _HISTORY)
    name = given.get("pack", "")
    if not name:
        raise Refusal(400, "Which pack is meant is not said.", "?pack=NAME names it.")
    until = _time(given, "until") or utc_now()
    query = HistoryQuery(
        pack=name,
        since=_time(given, "since") or default_since(until),
        until=until,
        resolution=_resolution(given.get("resolution", "auto")),
        fields=tuple(request.query_params.getlist("field")),
        limit=_limit(given, 5000, MOST_ROWS),
    )
    _require_forward(query.since, query.until)
    served = _served(request)

    def found(store: Connection) -> str:
        require_pack(store, name, served)
        return _dumps_rows({**find_history(store, query).to_dict(), **_trouble(request)})

    return await _ask(request, found)


async def events(request: Request) -> Response:
    """What happened, the oldest first. `?pack=NAME`, `since`, `until`, `severity`, `open=1`,
    `what`, `limit`; `more`: there are older ones."""
    given = _given(request, _EVENTS)
    query = EventQuery(
        pack=given.get("pack"),
        since=_time(given, "since"),
        until=_time(given, "until"),
        severity=_severity(given.get("severity", "info")),
        open=_flag(given.get("open", "0")),
        kinds=_kinds(given.get("what")),
        limit=_limit(given, 1000, MOST_EVENTS),
    )

    _require_forward(query.since, query.until)
    served = _served(request)

    def found(store: Connection) -> str:
        if query.pack is not None:
            require_pack(store, query.pack, served)
        rows = find_events(store, replace(query, limit=query.limit + 1))
        shown = [each.to_dict() for each in rows[-query.limit :]]
        more = len(rows) > query.limit
        return dumps({"schema": 1, "events": shown, "more": more, **_trouble(request)})

    return await _ask(request, found)


def _served(request: Request) -> list[str]:
    """The names of packs and banks."""
    service = service_of(request)
    return [*service.packs, *service.banks.banks]


ROUTES = (Route("/api/v1/history", history), Route("/api/v1/events", events))


async def _ask(request: Request, question: Callable[[Connection], str]) -> Response:
    """The text of an answer, made by the thread of the history, so that no pack waits for it."""
    keeper = service_of(request).history
    if keeper is None:
        raise Refusal(
            404,
            "This service keeps no history.",
            "[history] in bmslink.toml, or `bmslink serve --history FOLDER`, has it keep one.",
        )
    try:
        return answer_text(await keeper.ask(question))
    except UsageError as error:
        raise Refusal(400, str(error)) from error
    except HistoryError as error:
        raise Refusal(503, str(error), headers={"retry-after": "10"}) from error


def _trouble(request: Request) -> dict[str, str]:
    """Why what came last is not in an answer, if it is not: the disk is full."""
    keeper = service_of(request).history
    error = "" if keeper is None else str(keeper.status()["error"])
    return {"trouble": error} if error else {}


def _dumps_rows(values: dict[str, object]) -> str:
    """The JSON of an answer with rows of plain values; a part at a time, so that the thread of the
    loop gets its turn in between."""
    rows = values.pop("rows")
    if not isinstance(rows, list):
        raise TypeError("rows is a list")
    pieces = (rows[n : n + _AT_ONCE] for n in range(0, len(rows), _AT_ONCE))
    parts = (json.dumps(each, allow_nan=False, separators=_SEPARATORS)[1:-1] for each in pieces)
    return f'{dumps({"schema": 1, **values})[:-1]},"rows":[{",".join(parts)}]}}'


_AT_ONCE, _SEPARATORS = 64, (",", ":")


def _given(request: Request, known: set[str]) -> dict[str, str]:
    """The parameters of the request. An unknown one is refused: without it, too much is shown."""
    for name in request.query_params:
        if name not in known:
            raise Refusal(
                400, f"Unknown parameter {name[:64]!r}.", f"Known are: {', '.join(sorted(known))}."
            )
    return dict(request.query_params)


def _time(given: dict[str, str], name: str) -> datetime | None:
    if name not in given:
        return None
    try:
        return moment(given[name], utc_now(), UTC)
    except UsageError as error:
        raise Refusal(400, f"{name}: {error}", _HINT) from error


def _resolution(text: str) -> Resolution:
    for each in RESOLUTIONS:
        if each == text:
            return each
    raise Refusal(
        400, f"There is no resolution {text[:40]!r}.", f"There are {', '.join(RESOLUTIONS)}."
    )


def _severity(text: str) -> EventSeverity:
    try:
        return EventSeverity.of(text)
    except UsageError as error:
        raise Refusal(400, str(error)) from error


def _kinds(text: str | None) -> tuple[str, ...]:
    try:
        return () if text is None else kinds_of(text)
    except UsageError as error:
        raise Refusal(400, str(error)) from error


def _require_forward(since: datetime | None, until: datetime | None) -> None:
    """A time that ends before it begins is a slip: its answer would look as if nothing happened."""
    until = until or utc_now()
    if since is not None and since > until:
        raise Refusal(
            400,
            f"Nothing can lie between {since:%Y-%m-%d %H:%M:%S} and {until:%Y-%m-%d %H:%M:%S} UTC.",
            "The time begins after it ends (or after now).",
        )


def _flag(text: str) -> bool:
    if text not in ("0", "1", "true", "false"):
        raise Refusal(400, f"open is 1 or 0, not {text[:40]!r}.")
    return text in ("1", "true")


def _limit(given: dict[str, str], usual: int, most: int) -> int:
    text = given.get("limit", str(usual))
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= most):
        raise Refusal(400, f"limit is a number from 1 to {most}.")
    return int(text)
