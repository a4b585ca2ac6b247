"""`bmslink info`: who the pack is."""

from __future__ import annotations

import typer

from bmslink.cli import options as o
from bmslink.cli.connection import ConnectionOptions, connect_one
from bmslink.cli.output import identified

__all__ = ["command"]


def command(
    ctx: typer.Context,
    target: o.Target = None,
    *,
    connection: ConnectionOptions,
) -> None:
    """Ask a pack who it is: vendor, model, hardware, firmware, serial number, cells.

    Also shows what can be written to it; for that, its settings are read.
    """
    from bmslink.board import Board
    from bmslink.cli.loop import run_open
    from bmslink.cli.open_change import open_change, open_session
    from bmslink.model import Identity

    session = o.session_of(ctx)
    device = connect_one(session, target, connection)

    async def ask(device: Board) -> tuple[Identity, str | None]:
        identity = await device.inspect()
        return identity, open_change(device, identity)

    identity, cut_off = run_open(device, ask)
    for sentence in (cut_off, open_session(device)):
        if sentence:
            session.complain(sentence)
    if session.json:
        session.record({**identity.to_dict(), "open_change": cut_off, **identified(device.target)})
        return
    from bmslink.cli.render import info, text

    session.print(device.target.label)
    session.show(info.table(identity, text.glyphs(ascii_only=session.ascii)))
