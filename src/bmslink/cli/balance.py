"""`bmslink balance`: the cells of a pack brought together at the top, and all set back."""

from __future__ import annotations

import asyncio
import json
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bmslink.cli import change as c
from bmslink.cli import options as o
from bmslink.cli.connection import ConnectionOptions, connect_one
from bmslink.cli.option_groups import OptionGroup
from bmslink.cli.outfile import open_new, write_text
from bmslink.cli.output import FOUND, UNVERIFIED, Session, identified
from bmslink.errors import GateError, UsageError

if TYPE_CHECKING:
    from bmslink.board import Board
    from bmslink.control.sessions.kept import KeptSession
    from bmslink.control.sessions.options import SessionOptions
    from bmslink.runtime.acting.limit_sinks import LimitSink
    from bmslink.runtime.sessions.host import DirectHost
    from bmslink.runtime.sessions.session import BalanceSession

__all__ = ["COMMANDS"]

_EVERY = 60.0
"""s between two lines of progress."""
_LOOK = 1.0
Number = Callable[[str], float]


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
        bool, typer.Option("--untested", help="Write what no recording proves (waives 'untested').")
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
    wish = _Wish(shown, options, sink_command, interval, yes, dry_run, resume, restore, detach)

    async def work(board: Board) -> None:
        there = board.elsewhere("balance")
        if there is not None and sink_command is not None:
            raise UsageError("Its service says the limits: sink_command of its section is used.")
        report = await (_here(wish, board) if there is None else _there(wish, board, there))
        if report is not None:
            _show_report(shown, board, report, output)

    run_open(device, work)


@dataclass(frozen=True, slots=True)
class _Wish:
    shown: Session
    options: SessionOptions
    sink_command: str | None
    interval: float
    yes: bool
    dry_run: bool
    resume: bool
    restore: bool
    detach: bool


def _show_report(shown: Session, board: Board, report: dict[str, Any], output: str | None) -> None:
    from bmslink.cli.render import balance as render

    lines = [*render.report(report)]
    if shown.json:
        shown.record({**identified(board.target), "report": report})
    else:
        shown.print("", *lines)
    if output is not None:
        text = json.dumps({"schema": 1, "report": report}, indent=1) + "\n"
        human = "\n".join(lines) + "\n"
        write_text(output, text if output.endswith(".json") else human, force=True)
    if not report["set_back"]["restored"] or report["set_back"]["left"]:
        raise typer.Exit(UNVERIFIED)
    if not report["done"]:
        raise typer.Exit(FOUND)


def _show_looked(shown: Session, board: Board, looked: dict[str, Any]) -> None:
    from bmslink.cli.render import balance as render

    if shown.json:
        shown.record({**identified(board.target), "balance": looked})
    else:
        shown.print(*render.checks(looked["checks"]), *render.plan(looked))


async def _agreed(wish: _Wish, board: Board, looked: dict[str, Any]) -> bool:
    """Whether it is to begin. Raises `GateError` where it is refused or declined."""
    _show_looked(wish.shown, board, looked)
    if looked["refused"]:
        names = ", ".join(looked["refused"])
        raise GateError(f"Nothing was sent: refused by {names}, see above.")
    if wish.dry_run:
        _show_frames(wish.shown, looked)
        wish.shown.say(c.DRY_RUN)
        return False
    question = f"Balance {board.target.label} like this?"
    await c.agree(wish.shown, question, yes=wish.yes)
    return True


def _show_frames(shown: Session, looked: dict[str, Any]) -> None:
    change = looked.get("change")
    if shown.json or not isinstance(change, dict):
        return
    for frame in change.get("frames", ()):
        shown.write(str(frame.get("hex", frame) if isinstance(frame, dict) else frame))


# ------------------------------------------------------------------------- in this program itself


async def _here(wish: _Wish, board: Board) -> dict[str, Any] | None:
    """Run it with our own line."""
    from bmslink.control.sessions.kept import SessionStore
    from bmslink.places import place_of
    from bmslink.runtime.sessions.host import DirectHost
    from bmslink.runtime.sessions.session import BalanceSession

    host = DirectHost(
        board, interval=wish.interval, sinks=_sinks(wish), tell=partial(_told, wish.shown),
        waive=frozenset(wish.options.waive),
    )  # fmt: skip
    balance = BalanceSession(host, wish.options, on_moment=_Progress(wish.shown, board))
    try:
        if wish.resume or wish.restore:
            place, name = str(place_of(board.target)), board.target.name or ""
            kept = SessionStore().at(place, name)
            if kept is None:
                raise GateError("There is nothing to do: no balancing session of it is open.")
            balance.take_up(kept)
        elif not await _agreed(wish, board, (await balance.prepare()).to_dict()):
            return None
        return await _run_here(wish, board, host, balance)
    finally:
        await host.close()


async def _run_here(
    wish: _Wish, board: Board, host: DirectHost, balance: BalanceSession
) -> dict[str, Any]:
    from bmslink.runtime.sessions.session import RestoreError

    del host
    try:
        report = await (balance.restore() if wish.restore else balance.run())
    except asyncio.CancelledError:
        wish.shown.complain("Interrupted: what the session had set was set back, see above.")
        raise
    except RestoreError as error:
        wish.shown.complain(str(error))
        raise typer.Exit(UNVERIFIED) from None
    del board
    return report.to_dict()


def _sinks(wish: _Wish) -> list[LimitSink]:
    from bmslink.cli.streams import waiting_for_stdout
    from bmslink.runtime.acting.limit_sinks import CommandSink, LineSink

    if wish.sink_command is None:
        return []
    if wish.sink_command == "-":
        return [LineSink(partial(wish.shown.record, latest="limits"), waiting_for_stdout)]
    return [CommandSink(wish.sink_command)]


def _told(shown: Session, what: str, text: str, alarm: bool) -> None:
    if shown.json:
        shown.record({"event": "balance", "what": what, "text": text, "alarm": alarm})
    elif alarm:
        shown.complain(text)
    else:
        shown.print(text)


class _Progress:
    """A line now and then."""

    def __init__(self, shown: Session, board: Board) -> None:
        self._shown, self._board, self._next = shown, board, 0.0

    def __call__(self, kept: KeptSession) -> None:
        from bmslink.control.sessions.report import status_of

        now = asyncio.get_running_loop().time()
        if now < self._next:
            return
        self._next = now + _EVERY
        _show_status(self._shown, status_of(kept, None, running=True))


def _show_status(shown: Session, found: dict[str, Any]) -> None:
    from bmslink.cli.render import balance as render

    session = found.get("session")
    if shown.json:
        shown.record({"balance": found})
    elif isinstance(session, dict):
        shown.print(render.line(session))


# ------------------------------------------------------------------------------- by the service


async def _there(
    wish: _Wish, board: Board, ask: Callable[[dict[str, Any]], Any]
) -> dict[str, Any] | None:
    """Have the service do it, and watch."""
    if wish.resume or wish.restore:
        await ask({"do": "restore" if wish.restore else "resume"})
    else:
        options = wish.options.to_dict()
        looked = await ask({"do": "plan", "options": options})
        if not await _agreed(wish, board, looked):
            return None
        agreed = looked["plan"]["agreement"]
        await ask({"do": "start", "options": options, "agreed": agreed})
    if wish.detach:
        word = shlex.quote(board.target.word)
        wish.shown.say(f"The service balances it. `bmslink balance watch {word}` shows how far.")
        return None
    try:
        return await _watched(wish.shown, ask)
    except asyncio.CancelledError:
        word = shlex.quote(board.target.word)
        wish.shown.complain(
            f"Interrupted here only: the service goes on. `bmslink balance cancel {word}` ends it."
        )
        raise


async def _watched(shown: Session, ask: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    """Show how it is until it has ended; its report. Raises `BmsError` where it ended without."""
    from bmslink.runtime.sessions.calling import report_when_over

    phase, due = "", 0.0

    def show(found: dict[str, Any]) -> None:
        nonlocal phase, due
        session, now = found["session"], asyncio.get_running_loop().time()
        if session["phase"] != phase or now >= due:
            phase, due = session["phase"], now + _EVERY
            _show_status(shown, found)

    return await report_when_over(ask, show)


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
        there = board.elsewhere("balance")
        found: dict[str, Any] = await there({"do": "status"}) if there is not None else {}
        return found

    return run_open(device, work)


def _kept_status(device: Board) -> dict[str, Any]:
    from bmslink.control.sessions.kept import SessionStore
    from bmslink.control.sessions.report import status_of
    from bmslink.places import place_of
    from bmslink.runtime.sessions.session import is_running

    place, name = str(place_of(device.target)), device.target.name or ""
    store = SessionStore()
    kept = store.at(place, name)
    running = kept is not None and is_running(kept.pack)
    return status_of(kept, store.report(place, name), running=running)


def cancel(ctx: typer.Context, target: Target = None, *, connection: ConnectionOptions) -> None:
    """End the balancing session of a pack: everything is set back, by whoever runs it."""
    from bmslink.cli.loop import run_open
    from bmslink.control.sessions.kept import SessionStore
    from bmslink.places import place_of
    from bmslink.runtime.sessions.session import is_running
    from bmslink.storage.journal import actor_name

    shown = o.session_of(ctx)
    device = connect_one(shown, target, connection)
    if device.elsewhere("balance") is not None:

        async def work(board: Board) -> None:
            there = board.elsewhere("balance")
            if there is not None:
                await there({"do": "cancel"})

        run_open(device, work)
    else:
        store = SessionStore()
        kept = store.at(str(place_of(device.target)), device.target.name or "")
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
        there = board.elsewhere("balance")
        return await _watched(shown, there or from_disk)

    if device.elsewhere("balance") is not None:
        report = run_open(device, work)
    else:
        report = run(_watched(shown, from_disk))
    _show_report(shown, device, report, None)


COMMANDS = {"session": session, "status": status, "cancel": cancel, "watch": watch}
