"""`bmslink events`: what happened, as the service remembers it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from bmslink.cli import options as o
from bmslink.cli.looking_back import (
    Since,
    Socket,
    Until,
    ask,
    find_served,
    instant,
    running,
    say_what_lacks,
)

if TYPE_CHECKING:
    from bmslink.registry import ServiceAddress

__all__ = ["command"]

_MOST = 10_000
"""Events of one answer of the service."""


def command(
    ctx: typer.Context,
    pack: Annotated[
        str | None, typer.Argument(metavar="[PACK]", help="A served pack: its name; else all.")
    ] = None,
    since: Since = None,
    until: Until = None,
    severity: Annotated[
        str, typer.Option(metavar="info|warning|alarm|critical", help="At least so bad.")
    ] = "info",
    lasting: Annotated[bool, typer.Option("--open", help="Only what lasts now.")] = False,
    what: Annotated[
        str | None, typer.Option(metavar="KIND", help="Only of this kind: condition, change, …")
    ] = None,
    limit: Annotated[
        int, typer.Option(metavar="N", help="The newest so many, up to 10000.", min=1, max=_MOST)
    ] = 200,
    socket: Socket = None,
) -> None:
    """What happened to packs and service, the oldest first: conditions with since when and until
    when, what policies did, changes, links lost, restarts.

    An end with `?` was not seen: it was there at that time for the last time.
    """
    from bmslink.cli.loop import run
    from bmslink.cli.render.history import event_lines

    session = o.session_of(ctx)
    session.no_trace("events")
    query = {
        "since": instant(since),
        "until": instant(until),
        "severity": severity,
        "open": "1" if lasting else None,
        "what": what,
        "limit": str(limit),
    }
    addresses = running(socket)

    async def show() -> None:
        chosen: list[tuple[ServiceAddress, str | None]] = [(each, None) for each in addresses]
        if pack is not None:
            chosen = [await find_served(addresses, pack)]
        for address, name in chosen:
            found = await ask(address, "/api/v1/events", {**query, "pack": name})
            events = found.get("events") or []
            if session.json:
                for event in events:
                    session.record(event)
            elif events:
                session.print(*event_lines(events))
            else:
                session.say("Nothing of that kind happened.")
            say_what_lacks(session, found)
            if found.get("more"):
                session.say(_more(limit, str(events[0]["time"])))

    run(show())


def _more(limit: int, first: str) -> str:
    """That there are older events, and how to see them."""
    higher = f"--limit shows up to {_MOST}, and " if limit < _MOST else ""
    return (
        f"These are the newest {limit}; there are older ones: {higher}--until {first} shows "
        "those before."
    )
