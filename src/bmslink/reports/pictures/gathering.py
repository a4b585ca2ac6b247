"""All sources of one picture: files, and packs that a running service remembers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from bmslink.errors import UsageError
from bmslink.events import PackEvent
from bmslink.moments import utc_now
from bmslink.reports.pictures.rows import hear_events, hear_page, step_of
from bmslink.reports.pictures.sources import Sources, fine_enough, now_of, recording_of
from bmslink.runtime.history.when import moment

__all__ = ["Ask", "FindServed", "gather"]

Ask = Callable[[str, Mapping[str, str | Sequence[str] | None]], Awaitable[Mapping[str, Any]]]
"""Asks a service: the path and the parameters of a route -> its answer."""
FindServed = Callable[[str], Awaitable[tuple[Ask, str]]]
"""The service that serves or remembers a pack, and the pack's name there; it raises where there is
none."""
_DAY = timedelta(days=1)
_PAGE, _EVENTS = "5000", "10000"


async def gather(
    sources: Sequence[str],
    find_served: FindServed,
    *,
    since: str | None = None,
    until: str | None = None,
    only: Sequence[str] = (),
) -> Sources:
    """What sources say, within a time as people write it. Where all of them are files, `2h` and
    `yesterday` count from their last reading; where a service is asked, from now.

    Raises `UsageError` where nothing is left to draw, and what reading and asking raise.
    """
    files: list[tuple[Path, str | None]] = []
    packs: list[str] = []
    for source in sources:
        found = recording_of(source)
        if found is None:
            packs.append(source)
        else:
            files.append(found)
    now = utc_now()
    if not packs and (_moves(since) or _moves(until)):
        now = now_of(files) or now
    start = None if since is None else moment(since, now)
    end = None if until is None else moment(until, now)
    if start is not None and end is not None and start >= end:
        raise UsageError(f"{since} is not before {until}: there is no time between them.")
    gathered = Sources(start, end, only)
    for path, protocol in files:
        gathered.add_file(path, protocol)
    for pack in packs:
        ask, name = await find_served(pack)
        await _hear_served(gathered, ask, name, start or (end or now) - _DAY, end or now)
    if not any(len(track.values) for track in gathered.tracks.values()):
        raise UsageError(_nothing(gathered))
    return gathered


def _moves(text: str | None) -> bool:
    """Whether a time depends on when it is said."""
    if text is None:
        return False
    one, other = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 3, tzinfo=UTC)
    return moment(text, one) != moment(text, other)


def _nothing(gathered: Sources) -> str:
    if gathered.only and not gathered.tracks:
        there = ", ".join(gathered.seen[:20]) or "no pack"
        return f"There is nothing of {', '.join(gathered.only)[:80]!r} there; there is: {there}."
    return "There is no reading in that time: leave --since and --until away to see all."


async def _hear_served(
    gathered: Sources, ask: Ask, name: str, since: datetime, until: datetime
) -> None:
    level = fine_enough(since, until)
    track = gathered.track(name, name, step_of(level))
    if track is None:
        return
    start = since.isoformat()
    while True:
        page = await ask(
            "/api/v1/history",
            {"pack": name, "since": start, "until": until.isoformat(), "resolution": level,
             "limit": _PAGE},
        )  # fmt: skip
        hear_page(track, page)
        if page.get("trouble"):
            gathered.notes.append(f"What came last is not stored, and not drawn: {page['trouble']}")
        if not page.get("next"):
            break
        start = str(page["next"])
    told = await ask(
        "/api/v1/events",
        {"pack": name, "since": since.isoformat(), "until": until.isoformat(), "limit": _EVENTS},
    )
    events = [PackEvent.from_dict(each) for each in told.get("events") or ()]
    hear_events(track, events, until)
