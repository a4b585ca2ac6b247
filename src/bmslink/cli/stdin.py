"""The lines of standard input for an asyncio program, whatever kind of input it is."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import CancelledError

__all__ = ["first_line", "lines", "stay_in_background"]

_LONGEST_LINE = 4096
_BACKGROUND = 1.0  # s between two looks whether the terminal is ours again


def stay_in_background() -> None:
    """See to it that a program in the background waits for its terminal. Main thread only."""
    if hasattr(signal, "SIGTTIN"):  # reading a terminal from the background would stop us
        signal.signal(signal.SIGTTIN, signal.SIG_IGN)


async def lines() -> AsyncIterator[str]:
    """The lines of standard input, until it ends."""
    stay_in_background()
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[str | None] = asyncio.Queue(maxsize=100)

    def put(line: str | None) -> None:
        if loop.is_closed():
            raise CancelledError
        asyncio.run_coroutine_threadsafe(queue.put(line), loop).result()

    threading.Thread(target=_read_stdin, args=(put,), daemon=True).start()
    while (line := await queue.get()) is not None:
        yield line


def _read_stdin(put: Callable[[str | None], None]) -> None:
    """Read standard input in a thread of its own: any kind of it, without holding its lock."""
    waiting = b""
    try:
        fd = sys.stdin.fileno()
        while data := _read_some(fd):
            *lines, waiting = (waiting + data).split(b"\n")
            for line in lines:
                put(line[:_LONGEST_LINE].decode(errors="replace"))
            waiting = waiting[:_LONGEST_LINE]
        if waiting:
            put(waiting.decode(errors="replace"))
        put(None)
    except (OSError, ValueError, AttributeError, RuntimeError, CancelledError):
        return  # there is no standard input, or nobody listens any more


def first_line(fd: int, *, back: Callable[[], object]) -> str:
    """The next line of a terminal with its "\\n", if it has one, and nothing behind it; "" at the
    end of input.

    `back` is called before it is read again, when it was another program's for a while.
    """
    typed = b""
    try:
        while b"\n" not in typed and (data := _read_some(fd, back)):
            typed = (typed + data)[-_LONGEST_LINE:]
    except OSError:  # the terminal is gone
        return ""
    return b"".join(typed.partition(b"\n")[:2]).decode(errors="replace")


def _read_some(fd: int, back: Callable[[], object] = lambda: None) -> bytes:
    while True:
        try:
            return os.read(fd, 4096)
        except OSError as exc:
            # a program in the background may not read its terminal; it may come back
            if exc.errno != errno.EIO or not os.isatty(fd):
                raise
            time.sleep(_BACKGROUND)
            back()
