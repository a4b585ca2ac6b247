"""`bmslink control approve`: a person lets a policy file act on a pack."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bmslink.cli import change as c
from bmslink.cli import options as o
from bmslink.cli.connection import ConnectionOptions, connect_one

if TYPE_CHECKING:
    from bmslink.board import Board
    from bmslink.model import Identity

__all__ = ["approve"]


def approve(
    ctx: typer.Context,
    target: Annotated[str, typer.Argument(metavar="TARGET", help="The pack.")],
    policies: Annotated[str, typer.Argument(metavar="POLICY", help="The policy file.")],
    *,
    yes: c.Yes = False,
    connection: ConnectionOptions,
) -> None:
    """Let a policy file act on a pack, once: `control run --enforce`, or a service with
    enforce = true for that pack, then acts.

    It shows what the file may do and asks. The pack is asked who it is, and nothing is sent that
    changes it. A file that is changed afterwards only watches until it is approved as well; the
    approved one is kept and goes on acting.
    """
    from bmslink.cli.loop import run_open
    from bmslink.cli.render import control as render
    from bmslink.control.files import load_policies
    from bmslink.runtime.acting.start import (
        approve_policies,
        pack_key,
        powers,
        read_policy_text,
        require_host_power,
    )
    from bmslink.storage.journal import actor_name

    session = o.session_of(ctx)
    chosen = load_policies(Path(policies))
    text = read_policy_text(Path(policies))
    require_host_power(chosen, policies)
    where = str(Path(policies).resolve())
    device = connect_one(session, target, connection)

    async def ask(board: Board) -> Identity:
        identity = await board.identify()
        if not session.json:
            session.print(*render.powers(chosen, powers(chosen), pack_key(board, identity)))
        await c.agree(session, f"Let {policies} act on it?", yes=yes, done="approved")
        approval = approve_policies(board, identity, text, where, actor_name())
        if session.json:
            session.record(
                {
                    "approved": approval.pack,
                    "sha256": approval.digest,
                    "by": approval.by,
                    "time": approval.time,
                    "may": {k: [row.name for row in v] for k, v in powers(chosen).items()},
                }
            )
        else:
            session.print(f"Approved for {approval.pack}, by {approval.by}.")
        return identity

    run_open(device, ask)
