"""`bmslink control emergency-stop`, `reset`, `override`, `resume`: what a person says to what acts.

Who has the pack does it: the service, a running `control run`, or else this program on its board.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from bmslink.cli import options as o
from bmslink.cli.connection import ConnectionOptions, connect_one

if TYPE_CHECKING:
    from bmslink.cli.output import Session
    from bmslink.link.transport import Endpoint
    from bmslink.runtime.acting.people import ActingWish

__all__ = ["emergency_stop", "override", "reset", "resume"]

_TAKEN = 3.0
"""How long the service may take to say that it has the wish, s."""
_RUN_TAKES = 5.0
"""The same for a `control run`, s."""
_MOMENT, _STOP_TAKEN = 0.3, 2.0
"""For an emergency stop: how long the disk may take to say whether a run has the pack, and
that run to take it, s. Then this program sends it itself."""
_READS_BACK = 20.0
"""How long whatever has the port may take to do it, s."""
Target = Annotated[str, typer.Argument(metavar="TARGET", help="The pack.")]
Why = Annotated[str, typer.Option(metavar="TEXT", help="Why, for the journal.")]


def emergency_stop(
    ctx: typer.Context,
    target: Target,
    why: Why = "",
    untested: Annotated[
        bool, typer.Option("--untested", help="Also set switches that nobody has tried on a board.")
    ] = False,
    *,
    connection: ConnectionOptions,
) -> None:
    """Switch charging, discharging and balancing off, at once and without a question.

    It stays so until `control reset`, over restarts too: whatever watches the pack switches off
    again what is switched on. Exit code 4: sent, and not read back.
    """
    _carry(ctx, target, connection, {"do": "stop", "why": why, "untested": untested})


def reset(
    ctx: typer.Context,
    target: Target,
    policy: Annotated[
        str | None,
        typer.Argument(metavar="[POLICY]", help="Only this latched policy; else all, and a stop."),
    ] = None,
    *,
    connection: ConnectionOptions,
) -> None:
    """End an emergency stop, and let go of what waits for a person. By itself it sends nothing.

    What was switched off from here is given back by its own rules, where policies act on the pack;
    else switch it on with `bmslink switch`.
    """
    _carry(ctx, target, connection, {"do": "reset", "policy": policy or ""})


def override(
    ctx: typer.Context,
    target: Target,
    policy: Annotated[str, typer.Argument(metavar="POLICY", help="What is set aside.")],
    minutes: Annotated[
        float, typer.Option("--minutes", parser=o.number, metavar="N", help="At most 60.")
    ] = 10.0,
    why: Why = "",
    *,
    connection: ConnectionOptions,
) -> None:
    """Set a policy aside for a while, when you know better. Never an emergency.

    It ends by itself: when its time is over, when the data are old, at a new alarm, at a restart.
    """
    wish = {"do": "override", "policy": policy, "minutes": minutes, "why": why}
    _carry(ctx, target, connection, wish)


def resume(
    ctx: typer.Context,
    target: Target,
    switch: Annotated[
        str | None, typer.Argument(metavar="[SWITCH]", help="charge or discharge; else both.")
    ] = None,
    *,
    connection: ConnectionOptions,
) -> None:
    """End a stand-down: policies may switch again what somebody else switched on against them.

    By itself it sends nothing.
    """
    _carry(ctx, target, connection, {"do": "resume", "switch": switch or ""})


def _carry(
    ctx: typer.Context,
    target: str,
    connection: ConnectionOptions,
    values: dict[str, Any],
) -> None:
    from bmslink.cli.loop import run
    from bmslink.runtime.acting.people import ActingWish

    session = o.session_of(ctx)
    wish = ActingWish.of(values)
    wish.request("")  # what cannot be asked is refused before anybody is asked
    done = run(_do(session, target, connection, wish))
    if session.json:
        session.record({"done": done})
    else:
        session.print(*done)


async def _do(
    session: Session,
    target: str,
    connection: ConnectionOptions,
    wish: ActingWish,
) -> list[str]:
    from bmslink.errors import GateError, LinkTimeout, PortBusy
    from bmslink.runtime.acting.direct import do_directly
    from bmslink.runtime.acting.mailbox import ask_run, run_soon
    from bmslink.served_board import ServedBoard
    from bmslink.storage.journal import actor_name

    device = connect_one(session, target, connection)
    if isinstance(device, ServedBoard):
        device.introduce(session.say)
    endpoint, who = device.target, actor_name()
    served = await _by_service(endpoint, wish)
    if served is not None:
        return served
    stop = wish.do == "stop"
    run = run_soon(endpoint, _MOMENT if stop else _RUN_TAKES)
    if run is not None:
        try:
            patience = _STOP_TAKEN if stop else _RUN_TAKES
            return await ask_run(run.target, wish, who, patience=patience, answers=run.answers)
        except LinkTimeout as error:
            session.say(str(error))
    try:
        async with device:
            found = await do_directly(device, wish, who, progress=session.say)
    except (GateError, PortBusy) as error:
        if not stop:
            raise
        # whatever acts on it, even if it has left no status, is asked before this gives up
        try:
            return await ask_run(str(endpoint), wish, who, answers=_READS_BACK)
        except LinkTimeout:
            raise error from None
    return found.done


async def _by_service(endpoint: Endpoint, wish: ActingWish) -> list[str] | None:
    """What the service did that has the pack; `None`: none has it."""
    from urllib.parse import quote

    from bmslink.registry import find
    from bmslink.service_client import ServiceClient
    from bmslink.service_errors import error_of

    served = find(endpoint)
    if served is None:
        return None
    client = ServiceClient(served.service, str(endpoint))
    path = f"/api/v1/packs/{quote(served.name, safe='')}/acting"
    # in lines, with signs of life: reading an off back may take longer than an answer may
    found = await client.end_of(path, wish.to_dict(), first=_TAKEN, progress=lambda *_: None)
    if "error" in found:
        raise error_of(found)
    done = found.get("done")
    inner = done.get("done") if isinstance(done, dict) else None
    return [str(text) for text in inner] if isinstance(inner, list) else []
