"""From a plain command into asyncio and back, whatever ends it."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Coroutine
from typing import Any, TypeVar

from bmslink.cli.output import Terminated

__all__ = ["run"]

T = TypeVar("T")


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end; everything it opened is closed when this returns.

    Ctrl-C raises `KeyboardInterrupt`, SIGTERM `Terminated`. An exception in a callback of the
    loop (a disk that is full while recording) ends the program too, instead of passing unseen.
    """
    ends: list[BaseException] = []
    try:
        with asyncio.Runner() as runner:
            return runner.run(_supervised(main, ends))
    except asyncio.CancelledError:
        raise (ends[0] if ends else Terminated()) from None


async def _supervised(main: Coroutine[Any, Any, T], ends: list[BaseException]) -> T:
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()

    def end(reason: BaseException) -> None:
        ends.append(reason)
        if task is not None:
            task.cancel()

    def on_exception(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if isinstance(error, BaseException):
            end(error)

    loop.set_exception_handler(on_exception)
    with contextlib.suppress(NotImplementedError, RuntimeError):  # Windows; not the main thread
        loop.add_signal_handler(signal.SIGTERM, end, Terminated())
    return await main
