"""`bmslink events`: what happened, as the board itself and the service remember it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bmslink.cli import options as o
from bmslink.cli.connection import ConnectionOptions, connect_one
from bmslink.cli.looking_back import (
    Since,
    Socket,
    Until,
    ask,
    find_served,
    instant,
    running,
    what_lacks,
)
from bmslink.errors import BmsError, TargetError, UsageError
from bmslink.events import EventSeverity

if TYPE_CHECKING:
    from bmslink.board import Board
    from bmslink.cli.output import Session
    from bmslink.past import BoardPast
    from bmslink.registry import ServiceAddress

__all__ = ["command"]

_MOST = 10_000
"""Events of one answer of the service."""
_NEWEST, _OF_BOARD = 200, 50
"""How many are shown, and how many a board is asked for one by one, where nobody says."""
_BOARD_MOST = 1000


@dataclass(slots=True)
class _Seen:
    """What the services told."""

    events: list[Mapping[str, Any]] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


def command(
    ctx: typer.Context,
    target: Annotated[
        str | None,
        typer.Argument(
            metavar="[TARGET]", help="One pack: what its board remembers too; else all."
        ),
    ] = None,
    since: Since = None,
    until: Until = None,
    severity: Annotated[
        str, typer.Option(metavar="info|warning|alarm|critical", help="At least so bad.")
    ] = "info",
    lasting: Annotated[bool, typer.Option("--open", help="Only what lasts now.")] = False,
    what: Annotated[
        str | None,
        typer.Option(metavar="KIND", help="Only of this kind, as the service tells them apart."),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(metavar="N", help="The newest so many, up to 10000 (200).", min=1, max=_MOST),
    ] = None,
    seen: Annotated[
        bool, typer.Option("--seen", help="Only what the service saw; the board is not asked.")
    ] = False,
    board: Annotated[
        bool, typer.Option("--board", help="Only what the board itself remembers.")
    ] = False,
    samples: Annotated[
        bool, typer.Option("--samples", help="Also what the board's log measured, hour by hour.")
    ] = False,
    socket: Socket = None,
    *,
    connection: ConnectionOptions,
) -> None:
    """What happened, the oldest first. With a TARGET its board is asked what it remembers (logs,
    counters, what it reports now), which only reads, and what the service saw of it stands beside.

    Without one: all that the service saw of packs and of itself, conditions with since when and
    until when, what policies did, changes, links lost, restarts. An end with `?` was not seen: it
    was there at that time for the last time.
    """
    from bmslink.cli.loop import run, run_open
    from bmslink.cli.past_view import PastView
    from bmslink.cli.render.history import event_lines

    session = o.session_of(ctx)
    if (seen or what is not None) and (board or samples):
        raise UsageError(
            "--board and --samples are of the board, --seen and --what of the service."
        )
    query = {
        "since": instant(since),
        "until": instant(until),
        "severity": severity,
        "open": "1" if lasting else None,
        "what": what,
        "limit": str(limit or _NEWEST),
    }
    view = PastView(
        since=query["since"],
        until=query["until"],
        severity=EventSeverity.of(severity),
        lasting=lasting,
        limit=limit or _NEWEST,
        samples=samples,
    )
    device = None
    if target is not None and not seen and what is None:
        device = _board(session, target, connection, fallback=not board)
    if device is None:
        session.no_trace("events")
        if board:
            raise UsageError("Name a TARGET: its board is asked what it remembers.")
        found = run(_service(running(socket), target, query, limit or _NEWEST))
        if session.json:
            for event in found.events:
                session.record({"source": "bmslink", **event})
        elif found.events:
            session.print(*event_lines(found.events))
        else:
            session.say("Nothing of that kind happened.")
        for sentence in found.remarks:
            session.say(sentence)
        return
    served = _Seen() if board else _seen_of(device, query, limit or _NEWEST)

    async def remembered(opened: Board) -> BoardPast:
        return await opened.past(min(limit or _OF_BOARD, _BOARD_MOST))

    try:
        told = run_open(device, remembered)
    except BmsError:
        view.show(session, served.events, None)
        raise
    view.show(session, served.events, told)
    for sentence in served.remarks:
        session.say(sentence)


def _board(
    session: Session,
    target: str,
    connection: ConnectionOptions,
    *,
    fallback: bool,
) -> Board | None:
    """The board to ask; `None` where only a service may know such a pack, by its name."""
    from bmslink import registry

    served = registry.served_pack(target)  # its names go before those of vendors
    try:
        return connect_one(session, target if served is None else served.target, connection)
    except TargetError:
        if not fallback or not registry.services():
            raise
        return None


def _seen_of(device: Board, query: Mapping[str, Any], limit: int) -> _Seen:
    """What the service that owns the pack's line saw of it; nothing where none does."""
    from bmslink.cli.loop import run
    from bmslink.served_board import ServedBoard

    if not isinstance(device, ServedBoard):
        return _Seen()
    served = device.served
    try:
        return run(_events(served.service, served.name, query, limit))
    except BmsError as error:  # no history is kept there: the board remembers all the same
        return _Seen(remarks=[str(error)])


async def _service(
    addresses: Sequence[ServiceAddress], pack: str | None, query: Mapping[str, Any], limit: int
) -> _Seen:
    """What the services saw, of one pack or of all."""
    chosen: list[tuple[ServiceAddress, str | None]] = [(each, None) for each in addresses]
    if pack is not None:
        chosen = [await find_served(addresses, pack)]
    found = _Seen()
    for address, name in chosen:
        part = await _events(address, name, query, limit)
        found.events += part.events
        found.remarks += part.remarks
    return found


async def _events(
    address: ServiceAddress, name: str | None, query: Mapping[str, Any], limit: int
) -> _Seen:
    found = await ask(address, "/api/v1/events", {**query, "pack": name})
    events = list(found.get("events") or [])
    remarks = [*what_lacks(found)]
    if found.get("more"):
        remarks.append(_more(limit, str(events[0]["time"])))
    return _Seen(events, remarks)


def _more(limit: int, first: str) -> str:
    """That there are older events, and how to see them."""
    higher = f"--limit shows up to {_MOST}, and " if limit < _MOST else ""
    return (
        f"These are the newest {limit}; there are older ones: {higher}--until {first} shows "
        "those before."
    )
