"""Switching off from the dashboard: the road of `bmslink switch`, begun with the key."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from bmslink.cli.dashboard.watching.follower import PackFollower
from bmslink.device import Device
from bmslink.errors import BmsError
from bmslink.events import EventSeverity
from bmslink.model import Command, Switch
from bmslink.runtime.acting.mailbox import run_of, switch_by_run
from bmslink.storage.journal import actor_name

__all__ = ["switch_off"]


async def switch_off(follower: PackFollower, name: str, say: Callable[[str, str], None]) -> None:
    """Send it, and say what came of it. Nothing that is read or drawn is waited for."""
    pack, board, clock = follower.pack, follower.board, datetime.now().astimezone()
    say(f"{pack.name}: {name} off is sent, and read back ...", "bold red")
    target = str(follower.endpoint if board is None else board.target)
    done, severity = "", EventSeverity.ALARM
    try:
        if run_of(target):
            shown = await switch_by_run(target, Command(Switch(name), False), actor_name())
            if shown is not None:
                done = f"{name} is off: read back." if shown else f"{name} off is not read back."
                severity = EventSeverity.INFO if shown else severity
        if not done:
            outcome = await Device(follower.opened()).switch(name, False)
            done = " ".join([outcome.sentence, *outcome.notes])
            severity = EventSeverity.INFO if outcome.result == "done" else severity
    except BmsError as error:
        done = str(error)
    style = "bold green" if severity is EventSeverity.INFO else "bold red"
    pack.tell("switch_here", f"{name} off, from here: {done}", clock, severity)
    say(f"{pack.name}: {done}", style)
    follower.hurry()
