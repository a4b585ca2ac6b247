"""`bmslink control run` and `status`: policies over live packs, and what they say now."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bmslink.cli import options as o
from bmslink.cli.connection import ConnectionOptions, connect_all
from bmslink.cli.control_enforce import ActingRun
from bmslink.cli.control_orphans import show_orphans
from bmslink.cli.control_try import InstallationOptions, Policies, say_in_force
from bmslink.cli.output import FAILED, FOUND
from bmslink.cli.streams import written_later
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
    enforce: Annotated[
        bool,
        typer.Option(
            "--enforce", help="Act: what a person approved (`bmslink control approve TARGET FILE`)."
        ),
    ] = False,
    watch: o.Watch = None,
    count: o.Count = None,
    sink_command: Annotated[
        str | None,
        typer.Option(
            metavar="COMMAND",
            help="With --enforce: gets the limits as JSON lines; - writes them here (--json).",
        ),
    ] = None,
    untested: Annotated[
        bool, typer.Option("--untested", help="Also set switches that nobody has tried on a board.")
    ] = False,
    *,
    installation: InstallationOptions,
    connection: ConnectionOptions,
) -> None:
    """Judge live packs and tell each change of a decision, with its reason.

    In shadow everything that is not off counts as if it acted, and nothing follows: the packs are
    only read, every second or every --watch S seconds. With --enforce the policies of mode enforce
    act: they switch charging or discharging off, read that back, and give back what they took.
    What changes is also written to the journal, and `control status` shows what holds now. A lost
    link is opened again.
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
    if shadow is enforce:
        raise GateError(
            "Nothing was sent. Say --shadow (decide and tell, and change nothing) or --enforce "
            "(what `bmslink control approve TARGET FILE` approved acts)."
        )
    devices = connect_all(session, names, connection)
    interval = 1.0 if watch is None else watch
    places = [str(device.target) for device in devices]
    printer = Printer(session, [device.target for device in devices], shadow=shadow)
    if enforce:
        acts = ActingRun(session, printer, chosen, policies, sink_command, untested=untested)
    queue = acts.queue if enforce else None
    board = StatusBoard(printer, policies, places, interval, shadow=shadow, queue=queue)
    for pack, device in zip(board.packs, devices, strict=True):
        pack.name = device.target.name or None

    def supervisors() -> list[PackSupervisor]:
        return [
            PackSupervisor(
                printer, board, index, chosen, known, _why(policies),
                interval=interval, sink=installation.sink or sink_command is not None,
                enforcing=acts.pack(index, device, interval) if enforce else None,
            )
            for index, device in enumerate(devices)
        ]  # fmt: skip

    async def follow() -> bool:
        if session.json and chosen.as_shipped:
            session.record(
                {"policies": policies, "as_shipped": [e.to_dict() for e in chosen.as_shipped]}
            )
        if not session.json:
            session.print(
                f"{policies}, in shadow: nothing is sent that changes a pack."
                if shadow
                else f"{policies} acts, as far as it was approved."
            )
        return await _follow(devices, supervisors(), interval, count)

    try:
        board.claim()
        with written_later(lasts=enforce):
            failed = run_loop(acts.around(devices, follow) if enforce else follow())
    finally:
        board.remove()
    if failed:
        raise typer.Exit(FAILED)


def _why(policies: str) -> dict[str, str]:
    return {"policies": policies, "sha256": _hash(policies)}


def _hash(path: str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


async def _follow(
    devices: list[Board],
    supervisors: list[PackSupervisor],
    interval: float,
    count: int | None,
) -> bool:
    """Follow all packs; whether one of them failed."""
    import asyncio

    async with asyncio.TaskGroup() as group:
        for device, supervisor in zip(devices, supervisors, strict=True):
            group.create_task(supervisor.follow(device, interval, count))
    return any(supervisor.failed for supervisor in supervisors)


def status(
    ctx: typer.Context,
    orphans: Annotated[
        str | None,
        typer.Option(
            metavar="TARGET", help="What bmslink switched off on this pack and holds off still."
        ),
    ] = None,
    *,
    connection: ConnectionOptions,
) -> None:
    """Show what every running `control run` says now.

    With --orphans TARGET it shows instead which switches of that pack are off: since when, by whom
    and why, and the command that switches each on without any service.

    Exit code 0: all run; 1: one has ended without a word, or hangs; 5: there is none, or (with
    --orphans) something is off.
    """
    from bmslink.cli.render import control_run as render
    from bmslink.control.status import as_json, runs
    from bmslink.registry import services

    session = o.session_of(ctx)
    if orphans is not None:
        show_orphans(session, orphans, connection)
        return
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
    if services():
        session.say("A service runs: `bmslink service status` says what acts on its packs.")
    if not found.runs:
        raise typer.Exit(FOUND)
    if not session.json:
        session.print(render.LINK_DEAD)
    if any(each.gone(now) for each in found.runs):
        raise typer.Exit(FAILED)
