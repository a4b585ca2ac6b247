"""`bmslink control offload`: the trips of a policy file as the BMS's own limits."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bmslink.cli import change as c
from bmslink.cli import options as o
from bmslink.cli.connection import ConnectionOptions, connect_one

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
    """Write where the policies stop into the BMS's own limits, so that it protects without us.

    Only limits that become stricter by it are written, and only of policies of mode enforce, with
    the plan, the checks, the question and the proof of every change of settings (`settings set`);
    `config undo` takes it back.
    """
    from bmslink.cli.loop import run_open
    from bmslink.control.files import load_policies
    from bmslink.control.offload import offload_settings

    session = o.session_of(ctx)
    chosen = load_policies(Path(policies))
    device = connect_one(session, target, connection)

    async def write(device: Board) -> None:
        async with device.conversation():
            found = await device.settings_map(await device.identify())
            wanted = offload_settings(chosen, (await device.settings(found)).values())
            if wanted:
                command = f"control offload {target} {policies}"
                await c.change(session, device, wanted, options, command=command, settings=found)
                return
        if session.json:
            session.record({"changes": []})
        else:
            session.print(
                "Nothing to write: the board's own limits are as strict as the policies that are "
                "enforced, or it has none of them."
            )

    run_open(device, write)
