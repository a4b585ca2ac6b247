"""`bmslink control drill`: the proof that the switches of a pack obey."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bmslink.cli import change as c
from bmslink.cli import options as o
from bmslink.cli.connection import ConnectionOptions, connect_one
from bmslink.cli.output import UNVERIFIED, identified
from bmslink.model import Switch

if TYPE_CHECKING:
    from bmslink.board import Board

__all__ = ["drill"]


def drill(
    ctx: typer.Context,
    target: Annotated[str, typer.Argument(metavar="TARGET", help="The pack.")],
    policies: Annotated[
        str | None,
        typer.Argument(metavar="[POLICY]", help="Says host_power; else the approved file does."),
    ] = None,
    only: Annotated[
        list[Switch] | None,
        typer.Option(help="This switch alone (repeatable); else all that can be drilled."),
    ] = None,
    *,
    waiving: c.WaiveOptions,
    yes: c.Yes = False,
    connection: ConnectionOptions,
) -> None:
    """Switch each switch of a pack at rest once off and on, and measure how long it takes.

    Asks first: whatever the pack feeds is without power for a moment. Discharge is left out unless
    the policy file says host_power = "other". Whatever ends the drill, it switches on again what
    it switched off. Exit code 4: something did not obey, or is not on again.
    """
    from bmslink.cli.loop import run_open
    from bmslink.cli.render import acting as render
    from bmslink.control.files import load_policies
    from bmslink.runtime.acting.drill import Drill

    session = o.session_of(ctx)
    power = None if policies is None else load_policies(Path(policies)).battery.host_power
    device = connect_one(session, target, connection)

    async def work(board: Board) -> None:
        plan = Drill(board, switches=only or (), host_power=power, waive=waiving.waived())
        await plan.prepare()
        for why in plan.left.values():
            session.say(why)
        names = " and ".join(plan.tried)
        await c.agree(session, f"Switch {names} off and on again on {board.target.label}?", yes=yes)
        report = await c.under_way(session, board, plan.run())
        if session.json:
            session.record({**identified(board.target), "drill": report.to_dict()})
        else:
            session.print(*render.drill(report))
        if not report.passed:
            raise typer.Exit(UNVERIFIED)

    run_open(device, work)
