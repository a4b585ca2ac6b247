"""`bmslink balance`: the cells of a pack brought together at the top, and all set back."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bmslink.cli import change as c
from bmslink.cli import options as o
from bmslink.cli.balance_session import SessionWish, here, show_report, there, watched
from bmslink.cli.connection import ConnectionOptions, connect_one
from bmslink.cli.option_groups import OptionGroup
from bmslink.cli.outfile import open_new
from bmslink.cli.output import FOUND, identified
from bmslink.errors import GateError, UsageError

if TYPE_CHECKING:
    from bmslink.board import Board
    from bmslink.control.sessions.options import SessionOptions

__all__ = ["COMMANDS"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedFor(OptionGroup):
    """What a session is to do."""

    target_delta: Annotated[
        float | None,
        typer.Option(parser=o.number, metavar="MV", help="Done within so many mV (10)."),
    ] = None
    top: Annotated[
        float | None,
        typer.Option(parser=o.number, metavar="V", help="Hold the highest cell here, or lower."),
    ] = None
    current: Annotated[
        float | None,
        typer.Option(parser=o.number, metavar="A", help="Charge with so much until then."),
    ] = None
    capacity: Annotated[
        float | None,
        typer.Option(parser=o.number, metavar="AH", help="Where the board does not say it."),
    ] = None
    chemistry: Annotated[
        str | None, typer.Option(metavar="NAME", help="lfp, nmc, lto or na-ion. Never guessed.")
    ] = None
    supply: Annotated[
        float | None,
        typer.Option(
            parser=o.number,
            metavar="V",
            help="A constant-voltage supply set to this by hand: nobody obeys limits.",
        ),
    ] = None
    hours: Annotated[
        float | None,
        typer.Option(parser=o.number, metavar="H", help="End after so many hours (48)."),
    ] = None
    untested: Annotated[
        bool,
        typer.Option(
            "--untested", help="Allow writes that no recording proves (waives 'untested')."
        ),
    ] = False
    waive: c.Waive = None

    def options(self) -> SessionOptions:
        """For the session. Raises `UsageError`, `TargetError`."""
        from bmslink.config.checks.check import require_waivers
        from bmslink.control.sessions.options import SessionOptions
        from bmslink.settings.chemistry import chemistry

        waive = {*(self.waive or ()), *(("untested",) if self.untested else ())}
        return SessionOptions(
            target=None if self.target_delta is None else self.target_delta / 1000,
            top=self.top, current=self.current, capacity=self.capacity, supply=self.supply,
            chemistry=None if self.chemistry is None else chemistry(self.chemistry).name,
            hours=self.hours, waive=tuple(sorted(require_waivers(waive))),
        )  # fmt: skip


Target = Annotated[str | None, typer.Argument(metavar="TARGET", help="The pack.")]


def session(
    ctx: typer.Context,
    target: Target = None,
    *,
    asked: AskedFor,
    sink_command: Annotated[
        str | None,
        typer.Option(
            metavar="COMMAND",
            help="Gets the charge limits as JSON lines; - writes them here (--json).",
        ),
    ] = None,
    interval: Annotated[
        float, typer.Option(parser=o.seconds, metavar="S", help="Between two readings.")
    ] = 5.0,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show checks, plan and frames; send nothing.")
    ] = False,
    yes: c.Yes = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a session that was cut off.")
    ] = False,
    restore: Annotated[
        bool, typer.Option("--restore", help="Set back what a session left, and end it.")
    ] = False,
    detach: Annotated[
        bool, typer.Option("--detach", help="Leave it to the service once it has begun.")
    ] = False,
    output: Annotated[
        str | None, typer.Option("--output", "-o", metavar="FILE", help="The report, also there.")
    ] = None,
    connection: ConnectionOptions,
) -> None:
    """Bring the cells of a pack together at the top of charge, and set everything back.

    Looks first, shows the plan, asks. Then the highest cell is held at the top while the board
    balances, for hours; a cloud, the night or a lost link is waited for. Whatever ends it (also
    Ctrl-C), every setting is set back and read back. A served pack is balanced by its service, and
    this only watches. Exit code 0: balanced; 5: it ended before that; 4: not all is set back.
    """
    from bmslink.cli.loop import run_open

    shown = o.session_of(ctx)
    if resume and restore:
        raise UsageError("--resume goes on and --restore sets back: name one.")
    if sink_command == "-" and not shown.json:
        raise UsageError("--sink-command - writes JSON lines: give --json as well.")
    options = asked.options()
    if output is not None:
        open_new(output, instead="name another file").close()
    device = connect_one(shown, target, connection)
    wish = SessionWish(
        shown, options, sink_command, interval, yes, dry_run, resume, restore, detach
    )

    async def work(board: Board) -> None:
        owned = board.elsewhere("balance")
        if owned is not None and sink_command is not None:
            raise UsageError("Its service says the limits: sink_command of its section is used.")
        report = await (here(wish, board) if owned is None else there(wish, board, owned))
        if report is not None:
            show_report(shown, board, report, output, set_back=restore)

    run_open(device, work)


# --------------------------------------------------------------------------- status, cancel, watch


def status(ctx: typer.Context, target: Target = None, *, connection: ConnectionOptions) -> None:
    """How the balancing session of a pack is, or what the last one came to. Exit code 5: one was
    cut off, and is to be resumed or set back."""
    from bmslink.cli.render import balance as render

    shown = o.session_of(ctx)
    device = connect_one(shown, target, connection)
    found = _ask_status(device)
    if shown.json:
        shown.record({**identified(device.target), "balance": found})
    else:
        shown.print(*render.status(found))
    if found["state"] == "cut off":
        raise typer.Exit(FOUND)


def _ask_status(device: Board) -> dict[str, Any]:
    """From the service that has the pack, else from the disk; the pack is not asked."""
    from bmslink.cli.loop import run_open

    if device.elsewhere("balance") is None:
        return _kept_status(device)

    async def work(board: Board) -> dict[str, Any]:
        owned = board.elsewhere("balance")
        found: dict[str, Any] = {} if owned is None else await owned({"do": "status"})
        return found

    return run_open(device, work)


def _kept_status(device: Board) -> dict[str, Any]:
    from bmslink.control.sessions.kept import SessionStore
    from bmslink.control.sessions.report import status_of
    from bmslink.runtime.sessions.open_sessions import is_running

    store = SessionStore()
    kept = store.at(device.target)
    running = kept is not None and is_running(kept.pack)
    return status_of(kept, store.report(device.target), running=running)


def cancel(ctx: typer.Context, target: Target = None, *, connection: ConnectionOptions) -> None:
    """End the balancing session of a pack. The program that runs it sets everything back."""
    from bmslink.cli.loop import run_open
    from bmslink.control.sessions.kept import SessionStore
    from bmslink.runtime.sessions.open_sessions import is_running
    from bmslink.storage.journal import actor_name

    shown = o.session_of(ctx)
    device = connect_one(shown, target, connection)
    if device.elsewhere("balance") is not None:

        async def work(board: Board) -> None:
            owned = board.elsewhere("balance")
            if owned is not None:
                await owned({"do": "cancel"})

        run_open(device, work)
    else:
        store = SessionStore()
        kept = store.at(device.target)
        if kept is None or not is_running(kept.pack):
            more = "" if kept is None else " One was cut off: --restore of `session` sets it back."
            raise GateError(f"No balancing session of it runs.{more}")
        store.cancel(kept, actor_name())
    shown.say("It ends with the next reading, and sets everything back.")


def watch(ctx: typer.Context, target: Target = None, *, connection: ConnectionOptions) -> None:
    """Show how the balancing session of a pack goes on, until it has ended."""
    from bmslink.cli.loop import run, run_open

    shown = o.session_of(ctx)
    device = connect_one(shown, target, connection)

    async def from_disk(_: dict[str, Any]) -> dict[str, Any]:
        return await asyncio.to_thread(_kept_status, device)

    async def work(board: Board) -> dict[str, Any]:
        return await watched(shown, board.elsewhere("balance") or from_disk)

    if device.elsewhere("balance") is not None:
        report = run_open(device, work)
    else:
        report = run(watched(shown, from_disk))
    show_report(shown, device, report, None)


COMMANDS = {"session": session, "status": status, "cancel": cancel, "watch": watch}
