"""From the command line to the screen: what is wrong with a target is said before it appears, and
nothing is opened before it is there."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from bmslink.cli.connection import ConnectionOptions, trace_of
from bmslink.cli.dashboard.model.pack import WatchedPack
from bmslink.cli.dashboard.watching.place import Place
from bmslink.cli.output import Session
from bmslink.cli.render.text import glyphs
from bmslink.cli.streams import is_terminal
from bmslink.errors import TargetError

if TYPE_CHECKING:
    from bmslink.cli.dashboard.app import Dashboard
    from bmslink.cli.dashboard.behind import Behind
    from bmslink.cli.dashboard.desk import Desk

__all__ = ["dashboard", "show"]


def show(session: Session, names: Sequence[str], options: ConnectionOptions) -> None:
    """Show the packs until a person quits."""
    places = _places(session, names, options)
    gc.disable()  # nothing of what is imported now goes away again
    try:
        from bmslink.cli.dashboard.app import Dashboard
    finally:
        gc.enable()
    from bmslink.cli.loop import run

    run(_run(session, dashboard(session, places, Dashboard)))


def dashboard(session: Session, places: Sequence[Place], kind: type[Dashboard]) -> Dashboard:
    """The application over these packs."""
    packs = [
        WatchedPack(name=place.endpoint.name or str(place.endpoint), target=str(place.endpoint))
        for place in places
    ]
    g = glyphs(ascii_only=session.ascii)

    def behind(desk: Desk, draw: Callable[[], None]) -> Behind:
        from bmslink.cli.dashboard.behind import Behind

        return Behind(desk, places, g, draw)

    keys = is_terminal(sys.stdin)
    if sys.platform == "win32":
        return kind(packs, g, behind, keys=keys)
    from bmslink.cli.dashboard.driver import TerminalDriver

    return kind(packs, g, behind, driver_class=TerminalDriver)


async def _run(session: Session, app: Dashboard) -> None:
    try:
        await app.run_async()
    finally:
        await app.stop()
        for sentence in app.left_behind():
            session.complain(sentence)
    if app.failure is not None:
        raise app.failure


def _places(session: Session, names: Sequence[str], options: ConnectionOptions) -> list[Place]:
    from bmslink.cli.log import start_logging
    from bmslink.packs import find_pack, find_pin, read_pin

    start_logging(session)
    if session.trace is not None and len(names) > 1:
        raise TargetError("--trace takes one line: name one target with it.")
    given = read_pin(options.pin_file) if options.pin_file is not None else None
    places = [
        Place(endpoint, find_pin(name, given, None), find_pack(name), trace_of(session))
        for name in names
        for endpoint in options.endpoints(name)
    ]
    if len(places) == 1:
        session.target = places[0].endpoint
    return places
