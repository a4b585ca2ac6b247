"""From the command line to the screen: what is wrong with a target is said before it appears, and
nothing is opened before it is there."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from bmslink.cli.connection import ConnectionOptions, trace_of
from bmslink.cli.dashboard.desk import Desk
from bmslink.cli.dashboard.drawing import draw
from bmslink.cli.dashboard.early import early_frame, size
from bmslink.cli.dashboard.model.pack import WatchedPack
from bmslink.cli.dashboard.watching.place import NamedPlace
from bmslink.cli.output import Session, TerminalLostError
from bmslink.cli.render.text import Glyphs, glyphs
from bmslink.cli.streams import is_terminal
from bmslink.errors import TargetError

if TYPE_CHECKING:
    from bmslink.cli.dashboard.app import Dashboard
    from bmslink.cli.dashboard.behind import Behind

__all__ = ["show"]

_FEW_SIGNS = ("linux", "vt", "ansi", "cons", "screen.linux")
"""Terminals whose fonts lack the finer blocks and braille, whatever the locale says."""
_LAST = 3.0
"""s that giving the terminal back may take."""


def show(session: Session, names: Sequence[str], options: ConnectionOptions) -> None:
    """Show the packs until a person quits."""
    gc.disable()  # nothing of what is imported now goes away again
    places = _places(session, names, options)
    packs = [
        WatchedPack(name=place.endpoint.name or str(place.endpoint), target=str(place.endpoint))
        for place in places
    ]
    g = glyphs(ascii_only=session.ascii or os.environ.get("TERM", "").startswith(_FEW_SIGNS))
    clock = datetime.now().astimezone()
    lines = draw(Desk(packs, keys=is_terminal(sys.stdin)), *size(), 0.0, clock, g)
    with early_frame(lines):
        app = _application(places, packs, g)
    gc.freeze()
    gc.enable()
    from bmslink.cli.loop import run

    run(_run(session, app))


def _application(
    places: Sequence[NamedPlace], packs: Sequence[WatchedPack], g: Glyphs
) -> Dashboard:
    from bmslink.cli.dashboard.app import Dashboard

    def behind(desk: Desk, draw: Callable[[], None]) -> Behind:
        from bmslink.cli.dashboard.behind import Behind

        return Behind(desk, places, g, draw)

    keys = is_terminal(sys.stdin)
    if sys.platform == "win32":
        return Dashboard(packs, g, behind, keys=keys)
    from bmslink.cli.dashboard.driver import TerminalDriver

    return Dashboard(packs, g, behind, driver_class=TerminalDriver)


async def _run(session: Session, app: Dashboard) -> None:
    """Until a person quits, or this is cancelled: textual would take that for quitting, so it has a
    task of its own, and gives the terminal back before anything else ends."""
    if not is_terminal(sys.stdout):
        raise TerminalLostError  # while this was loaded
    running = asyncio.ensure_future(app.run_async())
    try:
        await asyncio.shield(running)
    except asyncio.CancelledError:
        app.exit()
        await asyncio.wait({running}, timeout=_LAST)
        raise
    finally:
        await app.stop()
        for sentence in app.left_behind():
            session.complain(sentence)
    if app.failure is not None:
        raise app.failure


def _places(session: Session, names: Sequence[str], options: ConnectionOptions) -> list[NamedPlace]:
    from bmslink.cli.verbosity import start_logging
    from bmslink.packs import find_pack, find_pin
    from bmslink.storage.credentials import read_pin

    start_logging(session)
    if session.trace is not None and len(names) > 1:
        raise TargetError("--trace takes one line: name one target with it.")
    given = read_pin(options.pin_file) if options.pin_file is not None else None
    places = [
        NamedPlace(endpoint, find_pin(name, given, None), find_pack(name), trace_of(session))
        for name in names
        for endpoint in options.endpoints(name)
    ]
    if len(places) == 1:
        session.target = places[0].endpoint
    return places
