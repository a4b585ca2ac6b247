"""Switching off from the dashboard: the road of `bmslink switch`, begun with the key.

What the screen thinks of the link decides nothing. It is tried at once; where that cannot be, the
link is opened anew and it is tried again, for a while, and said how that ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime

from bmslink.cli.dashboard.watching.follower import PackFollower
from bmslink.config import Outcome
from bmslink.device import Device
from bmslink.errors import BmsError, GateError, LinkClosed, RollbackError, TransportError
from bmslink.events import EventSeverity

__all__ = ["switch_off"]

_TRY_FOR = 30.0
"""How long it is tried, s; one try that was begun by then goes on to its end."""
_AGAIN = (TransportError, RollbackError)
"""The link, or what came of it: off twice is off. Anything else is an answer."""
Say = Callable[[str, str], None]


async def switch_off(follower: PackFollower, name: str, say: Say) -> None:
    """Send it, and say what came of it. Nothing that is read or drawn is waited for."""
    pack, clock = follower.pack, datetime.now().astimezone()
    if name in follower.switching:
        say(f"{pack.name}: {name} off is being tried already.", "bold red")
        follower.hurry()
        return
    follower.switching.append(name)
    severity = EventSeverity.ALARM
    try:
        outcome = await _tried(follower, name, say)
        done = " ".join([outcome.sentence, *outcome.notes])
        severity = EventSeverity.INFO if outcome.result == "done" else severity
    except BmsError as error:
        done = str(error)
    finally:
        follower.switching.remove(name)
    style = "bold green" if severity is EventSeverity.INFO else "bold red"
    pack.tell("switch_here", f"{name} off, from here: {done}", clock, severity)
    say(f"{pack.name}: {done}", style)
    follower.hurry()


async def _tried(follower: PackFollower, name: str, say: Say) -> Outcome:
    """Again and again until it was answered, or the time is over: then with what kept it."""
    pack, loop = follower.pack, asyncio.get_running_loop()
    until, perhaps = loop.time() + _TRY_FOR, False
    board = follower.reachable()
    why: BmsError | None = None
    while True:
        if pack.other:
            raise GateError(
                "Nothing was switched: another board answers here. Look at it, then a accepts it.",
                [],
            )
        board = board or await follower.by_a_run()
        if board is not None:
            try:
                return await Device(board).switch(name, False)
            except _AGAIN as error:
                why, perhaps = error, perhaps or isinstance(error, RollbackError)
        left = until - loop.time()
        if left <= 0:
            raise _given_up(name, why or LinkClosed(pack.error or "Nothing answers."), perhaps)
        say(
            f"{pack.name}: {name} off is not out yet. The link is opened anew and it is tried again"
            f" for {left:.0f} s: {why or pack.error or 'the link is not open.'}",
            "bold red",
        )
        board = await follower.reopened(left)


def _given_up(name: str, why: BmsError, perhaps: bool) -> BmsError:
    sent = "may have been sent, and nothing proves that it took" if perhaps else "was NOT sent"
    return TransportError(f"{name} off {sent}, tried for {_TRY_FOR:.0f} s: {why} x tries again.")
