"""`bmslink history`: what the service stored of a pack."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bmslink.cli import options as o
from bmslink.cli.looking_back import (
    Since,
    Socket,
    Until,
    ask,
    find_served,
    instant,
    local,
    running,
    say_what_lacks,
)
from bmslink.cli.output import Session
from bmslink.errors import UsageError

if TYPE_CHECKING:
    from bmslink.registry import ServiceAddress

__all__ = ["command"]

_PAGE = 5000
"""Rows of one answer."""
_SHOWN = ("main",)
"""Fields for people, unless others are asked for."""


def command(
    ctx: typer.Context,
    pack: Annotated[str, typer.Argument(metavar="PACK", help="A served pack: its name.")],
    since: Since = "1d",
    until: Until = None,
    resolution: Annotated[
        str,
        typer.Option(
            metavar="raw|minute|hour|auto", help="How fine; auto: as fine as the time is short."
        ),
    ] = "auto",
    field: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Only this field or group (cells, temperatures, limits, switches, conditions, "
            "energy, main); repeatable.",
        ),
    ] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    socket: Socket = None,
) -> None:
    """Show what the service stored about a pack: readings, minutes or hours.

    For a minute or an hour, a value is the mean, NAME_min and NAME_max are its extremes, and a
    switch is the share of the time that it was on. `charged_energy` and the like are counters, in
    Wh and Ah: subtract two of them to get what flowed in between.
    """
    from bmslink.cli.loop import run

    session = o.session_of(ctx)
    session.no_trace("history")
    if session.json and as_csv:
        raise UsageError("--json and --csv are two forms of the same; name one.")
    people = not session.json and not as_csv
    query = {
        "since": instant(since),
        "until": instant(until) or instant("now"),
        "resolution": resolution,
        "field": field or (list(_SHOWN) if people else None),
    }
    addresses = running(socket)

    async def show() -> None:
        address, name = await find_served(addresses, pack)
        pages = _pages(session, address, {**query, "pack": name})
        if people:
            await _show(session, pages, whole=field is not None)
        elif as_csv:
            await _write_table(session, pages)
        else:
            await _write_lines(session, pages)

    run(show())


async def _pages(
    session: Session, address: ServiceAddress, query: Mapping[str, Any]
) -> AsyncIterator[dict[str, Any]]:
    """The answers, one after another; all have the fields of the first."""
    more = {**query, "limit": str(_PAGE)}
    while True:
        page = await ask(address, "/api/v1/history", more)
        yield page
        if not page.get("next"):
            say_what_lacks(session, page)
            return
        fields = [*page["fields"][1:]]
        more = {**more, "since": page["next"], "resolution": page["resolution"], "field": fields}


async def _show(session: Session, pages: AsyncIterator[dict[str, Any]], *, whole: bool) -> None:
    from bmslink.cli.render.history import table

    async for page in pages:
        if not page["rows"]:
            session.say(
                f"Nothing is stored of {page['pack']} from {local(page['since'])} "
                f"to {local(page['until'])}."
            )
            return
        session.show(table(page, whole=whole))


async def _write_table(session: Session, pages: AsyncIterator[dict[str, Any]]) -> None:
    headed = False
    async for page in pages:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        if not headed:
            writer.writerow(page["fields"])
        headed = True
        writer.writerows([_flat(value) for value in row] for row in page["rows"])
        if lines := text.getvalue().splitlines():
            session.write(*lines)


def _flat(value: object) -> object:
    if isinstance(value, list):
        return " ".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else value


async def _write_lines(session: Session, pages: AsyncIterator[dict[str, Any]]) -> None:
    async for page in pages:
        about = {"pack": page["pack"], "resolution": page["resolution"]}
        for row in page["rows"]:
            session.record({**about, **dict(zip(page["fields"], row, strict=True))})
