"""`bmslink control status --orphans`: what bmslink switched off and has not given back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from bmslink.cli.connection import ConnectionOptions, connect_one
from bmslink.cli.output import FOUND, Session, identified

if TYPE_CHECKING:
    from bmslink.board import Board

__all__ = ["show_orphans"]


def show_orphans(session: Session, target: str, connection: ConnectionOptions) -> None:
    """Ask the board, the ledger and the journal. Exit code 5: something is off."""
    from bmslink.cli.loop import run_open
    from bmslink.cli.render import acting as render
    from bmslink.runtime.acting.orphans import Orphans, orphans

    device = connect_one(session, target, connection)

    async def work(board: Board) -> Orphans:
        return await orphans(board)

    found = run_open(device, work)
    if session.json:
        session.record({**identified(device.target), **found.to_dict()})
    else:
        for sentence in found.trouble:
            session.complain(sentence)
        session.print(*render.orphans(found))
    if found.rows:
        raise typer.Exit(FOUND)
