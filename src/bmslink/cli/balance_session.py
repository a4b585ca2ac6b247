"""How `bmslink balance session` runs: with our own line, or watched where a service has it."""

from __future__ import annotations

import asyncio
import json
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import typer

from bmslink.cli import change as c
from bmslink.cli.outfile import write_text
from bmslink.cli.output import FOUND, UNVERIFIED, Session, identified
from bmslink.errors import GateError

if TYPE_CHECKING:
    from bmslink.board import Board
    from bmslink.control.sessions.kept import KeptSession
    from bmslink.control.sessions.options import SessionOptions
    from bmslink.runtime.acting.limit_sinks import LimitSink
    from bmslink.runtime.sessions.session import BalanceSession

__all__ = ["SessionWish", "here", "show_report", "there", "watched"]

_EVERY = 60.0
"""s between two lines of progress."""


@dataclass(frozen=True, slots=True)
class SessionWish:
    """What `balance session` was asked for."""

    shown: Session
    options: SessionOptions
    sink_command: str | None
    interval: float
    yes: bool
    dry_run: bool
    resume: bool
    restore: bool
    detach: bool


def show_report(
    shown: Session,
    board: Board,
    report: dict[str, Any],
    output: str | None,
    *,
    set_back: bool = False,
) -> None:
    """The report, where it was asked for; the exit code by what it says. `set_back`: nothing more
    was asked for than that."""
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
    if not report["done"] and not set_back:
        raise typer.Exit(FOUND)


def _show_looked(shown: Session, board: Board, looked: dict[str, Any]) -> None:
    from bmslink.cli.render import balance as render

    if shown.json:
        shown.record({**identified(board.target), "balance": looked})
    else:
        shown.print(*render.checks(looked["checks"]), *render.plan(looked))


async def _agreed(wish: SessionWish, board: Board, looked: dict[str, Any]) -> bool:
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


async def here(wish: SessionWish, board: Board) -> dict[str, Any] | None:
    """Run it with our own line; its report, or nothing after a dry run."""
    from bmslink.control.sessions.kept import SessionStore
    from bmslink.runtime.acting.start import pack_key
    from bmslink.runtime.sessions.host import DirectHost
    from bmslink.runtime.sessions.session import BalanceSession

    host = DirectHost(
        board, interval=wish.interval, sinks=_sinks(wish), tell=partial(_told, wish.shown),
        waive=frozenset(wish.options.waive),
    )  # fmt: skip
    balance = BalanceSession(host, wish.options, on_moment=_Progress(wish.shown, board))
    try:
        if wish.resume or wish.restore:
            key = pack_key(board, await board.identify())
            kept = SessionStore().load(key) or SessionStore().at(board.target)
            if kept is None:
                raise GateError("There is nothing to do: no balancing session of it is open.")
            balance.take_up(kept)
        elif not await _agreed(wish, board, (await balance.prepare()).to_dict()):
            return None
        return await _run_here(wish, balance)
    finally:
        await host.close()


async def _run_here(wish: SessionWish, balance: BalanceSession) -> dict[str, Any]:
    from bmslink.runtime.sessions.session import RestoreError

    try:
        report = await (balance.restore() if wish.restore else balance.run())
    except asyncio.CancelledError:
        wish.shown.complain(_after_interrupt(balance))
        raise
    except RestoreError as error:
        wish.shown.complain(str(error))
        raise typer.Exit(UNVERIFIED) from None
    return report.to_dict()


def _after_interrupt(balance: BalanceSession) -> str:
    """What became of the settings, by what is still kept."""
    from bmslink.control.sessions.kept import SessionStore
    from bmslink.runtime.sessions.setting_back import what_remains

    kept = balance.kept
    if kept is None:
        return "Interrupted: nothing was sent."
    if SessionStore().load(kept.pack) is None:
        return "Interrupted: what the session had set was set back."
    return what_remains(kept, shlex.quote(kept.name or kept.target), None)


def _sinks(wish: SessionWish) -> list[LimitSink]:
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


async def there(
    wish: SessionWish, board: Board, ask: Callable[[dict[str, Any]], Any]
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
        return await watched(wish.shown, ask)
    except asyncio.CancelledError:
        word = shlex.quote(board.target.word)
        wish.shown.complain(
            f"Interrupted here only: the service goes on. `bmslink balance cancel {word}` ends it."
        )
        raise


async def watched(shown: Session, ask: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
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
