"""`bmslink control offload`: the board's own settings for what a policy file protects."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bmslink.cli import change as c
from bmslink.cli import options as o
from bmslink.cli.connection import ConnectionOptions, connect_one
from bmslink.cli.output import identified

if TYPE_CHECKING:
    from bmslink.board import Board

__all__ = ["offload"]


def offload(
    ctx: typer.Context,
    target: Annotated[str, typer.Argument(metavar="TARGET", help="The pack.")],
    policies: Annotated[str, typer.Argument(metavar="POLICY", help="The policy file.")],
    *,
    options: c.ChangeOptions,
    connection: ConnectionOptions,
) -> None:
    """Set the board's own limits from a policy file, so that it protects without this program.

    A limit only ever becomes stricter; one that protects as much stays. Shows what the board can
    hold and what it cannot, then the plan, and asks. Every value is read back.
    """
    from bmslink.cli.config_files import look_live
    from bmslink.cli.loop import run_open
    from bmslink.cli.render import control as render
    from bmslink.control.files import load_policies
    from bmslink.control.offload import offload_to

    session = o.session_of(ctx)
    chosen = load_policies(Path(policies))
    command = f"control offload {target} {policies}"

    async def work(device: Board) -> None:
        identity, table, reading = await look_live(device)
        found = offload_to(
            chosen, identity, table, reading,
            named=device.named, untested="untested" in options.waived(),
        )  # fmt: skip
        if session.json:
            session.record({**identified(device.target), "offload": found.to_dict()})
        else:
            session.print(*render.offload(found))
        found.require_any()
        if not found.wanted:
            session.say("Nothing was sent: the board holds all of it that it can hold.")
            return
        await c.change(session, device, found.wanted, options, command=command)

    run_open(connect_one(session, target, connection), work)
