"""`bmslink switch`: charging, discharging and balancing, on or off."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from bmslink.cli import changing as c
from bmslink.cli import options as o
from bmslink.errors import TargetError
from bmslink.model import Command, Switch

if TYPE_CHECKING:
    from bmslink.device import Device

__all__ = ["command"]

Words = Annotated[
    list[str],
    typer.Argument(metavar="[TARGET] charge|discharge|balance on|off", help="What to switch."),
]


def command(
    ctx: typer.Context,
    words: Words,
    untested: c.Untested = False,
    waive: c.Waive = None,
    yes: c.Yes = False,
    dry_run: c.DryRun = False,
    protocol: o.Protocol = None,
    address: o.Address = None,
    baudrate: o.Baudrate = None,
    timeout: o.Timeout = None,
) -> None:
    """Switch charging, discharging or balancing, and read back what came of it.

    Switching can cut the load, or whatever powers this computer: it asks first. A board with an
    active protection ignores the command; that is said, with exit code 1.
    """
    from bmslink.cli.loop import run

    session = o.session_of(ctx)
    target, wish = _parse(words)
    line = o.Line(protocol=protocol, address=address, baudrate=baudrate, timeout=timeout)
    device = c.open_one(session, target, line)

    async def act(device: Device) -> None:
        from bmslink.config import rehearse_switch, switch

        async with device:
            if dry_run:
                frames = await rehearse_switch(device, wish)
                for frame in frames:
                    if session.json:
                        session.record({"frame": frame.hex()})
                    else:
                        session.print(frame.hex(" "))
                session.say("A dry run: nothing was changed.")
                return
            question = f"Switch {wish.switch} {'on' if wish.on else 'off'} on {device.target}?"
            await c.agree(session, question, yes=yes)
            work = switch(device, wish, waive=c.waivers(waive, untested=untested))
            outcome = await c.under_way(session, device, work)
            c.show_outcome(session, device, outcome)
            if outcome.result == "ignored":
                raise typer.Exit(1)

    run(act(device))


def _parse(words: list[str]) -> tuple[str | None, Command]:
    if len(words) not in (2, 3):
        raise TargetError("Write `switch TARGET charge off`: what to switch, and how.")
    *target, what, state = words
    if what not in list(Switch) or state not in ("on", "off"):
        raise TargetError(f"{what!r} {state!r}: switched are charge, discharge, balance; on, off.")
    if not target and not os.environ.get("BMSLINK_TARGET"):
        raise TargetError("Which pack? Name a TARGET or set BMSLINK_TARGET.")
    return (target[0] if target else None), Command(Switch(what), state == "on")
