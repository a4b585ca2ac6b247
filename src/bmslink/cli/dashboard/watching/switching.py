"""Switching off from the dashboard: the road of `bmslink switch`, begun with the key."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from bmslink.cli.dashboard.watching.follower import PackFollower
from bmslink.device import Device
from bmslink.errors import BmsError
from bmslink.events import EventSeverity

__all__ = ["switch_off"]


async def switch_off(follower: PackFollower, name: str, say: Callable[[str, str], None]) -> None:
    """Send it, and say what came of it. Nothing that is read or drawn is waited for."""
    pack, clock = follower.pack, datetime.now().astimezone()
    severity = EventSeverity.ALARM
    try:
        outcome = await Device(follower.opened()).switch(name, False)
        done = " ".join([outcome.sentence, *outcome.notes])
        severity = EventSeverity.INFO if outcome.result == "done" else severity
    except BmsError as error:
        done = str(error)
    style = "bold green" if severity is EventSeverity.INFO else "bold red"
    pack.tell("switch_here", f"{name} off, from here: {done}", clock, severity)
    say(f"{pack.name}: {done}", style)
    follower.hurry()
