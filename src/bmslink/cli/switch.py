"""`bmslink switch`: charging, discharging and balancing, on or off."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from bmslink.cli import change as c
from bmslink.cli import options as o
from bmslink.cli.connection import ConnectionOptions, connect_one
from bmslink.errors import TargetError
from bmslink.model import Command, Switch

if TYPE_CHECKING:
    from bmslink.board import Board

__all__ = ["command"]

Words = Annotated[
    list[str],
    typer.Argument(metavar="[TARGET] charge|discharge|balance on|off", help="What to switch."),
]


def command(
    ctx: typer.Context,
    words: Words,
    *,
    waiving: c.WaiveOptions,
    yes: c.Yes = False,
    dry_run: c.DryRun = False,
    connection: ConnectionOptions,
) -> None:
    """Switch charging, discharging or balancing, and read back the result.

    Switching can cut power to the load, or to this computer, so it asks first. Off is then sent at
    once. If the new state is not read back (a board with an active protection ignores commands), it
    says so, with exit code 4.
    """
    from bmslink.cli.loop import run as run_loop
    from bmslink.cli.loop import run_open
    from bmslink.runtime.acting.mailbox import run_soon

    session = o.session_of(ctx)
    target, wish = _parse(words)
    device = connect_one(session, target, connection)

    async def act(device: Board) -> None:
        from bmslink.config import rehearse_switch, switch

        if dry_run:
            for frame in await rehearse_switch(device, wish, waive=waiving.waived()):
                if session.json:
                    session.record({"frame": frame.hex()})
                else:
                    session.write(frame.hex(" "))
            session.say(c.DRY_RUN)
            return
        await c.agree(session, f"Switch {wish} on {device.target.label}?", yes=yes)
        outcome = await c.under_way(session, device, switch(device, wish, waive=waiving.waived()))
        c.show_outcome(session, device, outcome)

    served = device.elsewhere("switch") is not None
    if dry_run or served or run_soon(device.target) is None:
        run_open(device, act)
    else:  # the run has the line, and switches
        run_loop(act(device))


def _parse(words: list[str]) -> tuple[str | None, Command]:
    if len(words) not in (2, 3):
        raise TargetError("Write `bmslink switch TARGET charge off`: what to switch, and how.")
    *target, what, state = words
    if what not in list(Switch) or state not in ("on", "off"):
        raise TargetError(
            f"{what!r} {state!r}: choose charge, discharge or balance, then on or off."
        )
    if not target and not os.environ.get("BMSLINK_TARGET"):
        raise TargetError("Which pack? Name a TARGET or set BMSLINK_TARGET.")
    return (target[0] if target else None), Command(Switch(what), state == "on")
