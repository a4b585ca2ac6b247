"""`bmslink monitor`: the live full-screen dashboard."""

from __future__ import annotations

import sys

import typer

from bmslink.cli import options as o
from bmslink.cli.connection import ConnectionOptions, connect_all
from bmslink.cli.streams import is_terminal
from bmslink.errors import TargetError

__all__ = ["command"]


def command(
    ctx: typer.Context,
    targets: o.Targets = None,
    *,
    connection: ConnectionOptions,
) -> None:
    """Watch one or more packs live; q quits.

    Values that are no longer confirmed are marked STALE and dimmed. replay:///FILE shows a
    recording, sim://jbd a simulated pack.
    """
    session = o.session_of(ctx)
    session.verbosity = 0  # the screen is the dashboard's; --trace records what happens
    names = o.some_targets(targets)
    if session.json:
        raise TargetError("monitor is for people; `bmslink read --watch 1 --json` is for programs.")
    if not is_terminal(sys.stdout) or session.console.is_dumb_terminal:
        raise TargetError(
            "monitor needs a terminal that can move its cursor; "
            f"`bmslink read --watch 1 {names[0]}` works everywhere."
        )
    from bmslink.cli.dashboard import dashboard
    from bmslink.cli.loop import run
    from bmslink.cli.render.text import glyphs

    devices = connect_all(session, names, connection, may_ask=False)
    run(dashboard(session, devices, glyphs(ascii_only=session.ascii)))
