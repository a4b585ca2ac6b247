"""`bmslink control run` and `status`: policies over live packs, and what they say now."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bmslink.cli import options as o
from bmslink.cli.connection import ConnectionOptions, connect_all
from bmslink.cli.control_try import InstallationOptions, Policies, say_in_force
from bmslink.cli.output import FAILED, FOUND
from bmslink.errors import GateError

if TYPE_CHECKING:
    from bmslink.board import Board
    from bmslink.runtime.supervisor import PackSupervisor

__all__ = ["run", "status"]


def run(
    ctx: typer.Context,
    policies: Policies,
    targets: o.Targets = None,
    shadow: Annotated[
        bool, typer.Option("--shadow", help="Decide and tell; nothing is sent that changes a pack.")
    ] = False,
    watch: o.Watch = None,
    count: o.Count = None,
    *,
    installation: InstallationOptions,
    connection: ConnectionOptions,
) -> None:
    """Judge live packs and tell each change of a decision, with its reason.

    In shadow everything that is not off counts as if it acted, and nothing follows: the packs are
    only read, every second or every --watch S seconds. What changes is also written to the
    journal, and `control status` shows what holds now. A lost link is opened again.
    """
    from bmslink.cli.control_printer import Printer
    from bmslink.cli.loop import run as run_loop
    from bmslink.control.files import load_policies
    from bmslink.runtime.supervisor import PackSupervisor, StatusBoard

    session = o.session_of(ctx)
    chosen = load_policies(Path(policies))
    say_in_force(session, {policies: chosen})
    known = installation.known()
    names = o.some_targets(targets)
    if not shadow:
        raise GateError(
            "control run acts in shadow only in this version: it decides and tells, and sends "
            "nothing. Say so with --shadow."
        )
    devices = connect_all(session, names, connection)
    interval = 1.0 if watch is None else watch
    why = {"policies": policies, "sha256": _hash(policies)}
    places = [str(device.target) for device in devices]
    printer = Printer(session, [device.target for device in devices])
    board = StatusBoard(printer, policies, places, interval)
    for pack, device in zip(board.packs, devices, strict=True):
        pack.name = device.target.name or None
    supervisors = [
        PackSupervisor(
            printer, board, index, chosen, known, why, interval=interval, sink=installation.sink
        )
        for index in range(len(devices))
    ]
    if session.json and chosen.as_shipped:
        session.record(
            {"policies": policies, "as_shipped": [e.to_dict() for e in chosen.as_shipped]}
        )
    if not session.json:
        session.print(f"{policies}, in shadow: nothing is sent that changes a pack.")
    try:
        run_loop(_follow(devices, supervisors, interval, count))
    finally:
        board.remove()
    if any(supervisor.failed for supervisor in supervisors):
        raise typer.Exit(FAILED)


def _hash(path: str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


async def _follow(
    devices: list[Board],
    supervisors: list[PackSupervisor],
    interval: float,
    count: int | None,
) -> None:
    import asyncio

    async with asyncio.TaskGroup() as group:
        for device, supervisor in zip(devices, supervisors, strict=True):
            group.create_task(supervisor.follow(device, interval, count))


def status(ctx: typer.Context) -> None:
    """Show what every running `control run` says now.

    Exit code 0: all run; 1: one has ended without a word, or hangs; 5: there is none.
    """
    from bmslink.cli.render import control_run as render
    from bmslink.control.status import as_json, runs

    session = o.session_of(ctx)
    session.no_trace("control status")
    found, now = runs(), time.time()
    for path in found.damaged:
        session.complain(f"{path} is no state of a `control run`; remove it.")
    for each in found.runs:
        if session.json:
            session.record(as_json(each, now))
        else:
            session.print(*render.run(each, now))
    if not found.runs:
        session.say("No `control run` is running; it leaves its state for this command.")
        raise typer.Exit(FOUND)
    if not session.json:
        session.print(render.LINK_DEAD)
    if any(each.gone(now) for each in found.runs):
        raise typer.Exit(FAILED)
