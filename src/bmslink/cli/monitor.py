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
    """Watch one or more packs live, those in trouble first; Enter zooms, ? helps, q quits.

    Old values are marked and dimmed. replay:///FILE shows a recording, sim://jbd a simulated pack.
    Without a terminal it prints a line a second, as `read --watch 1` does.
    """
    session = o.session_of(ctx)
    names = o.some_targets(targets)
    if session.json:
        raise TargetError("monitor is for people; `bmslink read --watch 1 --json` is for programs.")
    if not is_terminal(sys.stdout) or session.console.is_dumb_terminal:
        from bmslink.cli.read import read_all

        read_all(session, connect_all(session, names, connection), 1.0)
        return
    session.verbosity = 0  # the screen is the dashboard's; --trace records what happens
    from bmslink.cli.dashboard.start import show

    show(session, names, connection)
