"""From a plain command into asyncio and back, whatever ends it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from bmslink.cli.output import TerminalLostError, Terminated
from bmslink.cli.streams import is_terminal

if TYPE_CHECKING:
    from bmslink.board import Board

__all__ = ["on_signals", "run", "run_open"]

T = TypeVar("T")

_LOOK = 1.0  # s between two looks whether the terminal is still there


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end; everything it opened is closed when this returns.

    Ctrl-C raises `KeyboardInterrupt`, SIGTERM and SIGHUP `Terminated` (SIGHUP not under `nohup`,
    which has it ignored), the loss of the terminal that stdout is `TerminalLostError` (not every
    terminal says so by SIGHUP). An exception in a callback of the loop (a disk that is full while
    recording) ends the program too, instead of passing unseen.
    """
    ends: list[BaseException] = []
    try:
        with asyncio.Runner() as runner:
            return runner.run(_supervised(main, ends))
    except asyncio.CancelledError:
        raise (ends[0] if ends else Terminated()) from None


def run_open(device: Board, work: Callable[[Board], Coroutine[Any, Any, T]]) -> T:
    """Open a pack, do the work with it, and close it whatever ends it; as `run` does."""

    async def opened() -> T:
        async with device:
            return await work(device)

    return run(opened())


async def _supervised(main: Coroutine[Any, Any, T], ends: list[BaseException]) -> T:
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()

    def end(reason: BaseException) -> None:
        ends.append(reason)
        # a lost terminal says so twice, a service manager sends two signals: what the first one
        # began, perhaps setting a pack back, is not to be cut off by the second
        if task is not None and len(ends) == 1:
            task.cancel()

    def on_exception(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if isinstance(error, BaseException):
            end(error)

    loop.set_exception_handler(on_exception)
    stop = partial(end, Terminated())
    on_signals(term=stop, hangup=stop)
    if is_terminal(sys.stdout):
        _watch_terminal(sys.stdout.fileno(), end)
    return await main


def on_signals(*, term: Callable[[], None], hangup: Callable[[], None]) -> None:
    """What SIGTERM and SIGHUP do from now on, as far as they can be heard; a SIGHUP that is
    ignored (`nohup`) stays so."""
    loop = asyncio.get_running_loop()
    with contextlib.suppress(NotImplementedError, RuntimeError):  # Windows; not the main thread
        loop.add_signal_handler(signal.SIGTERM, term)
        if sys.platform != "win32" and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            loop.add_signal_handler(signal.SIGHUP, hangup)


def _watch_terminal(fd: int, end: Callable[[BaseException], None]) -> None:
    loop = asyncio.get_running_loop()

    def look() -> None:
        if os.isatty(fd):
            loop.call_later(_LOOK, look)
        else:
            end(TerminalLostError())

    look()
