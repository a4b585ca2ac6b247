"""The one place that asks a person at the terminal.

What was typed before a question was shown is no answer to it: it is thrown away first.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import threading
from collections.abc import Callable

from bmslink.cli.render.clean import clean
from bmslink.cli.stdin import first_line, stay_in_background
from bmslink.cli.streams import ask, end_line, is_terminal
from bmslink.cli.terminal import forget_typed

__all__ = ["answer", "can_ask", "secret"]


def can_ask() -> bool:
    """Whether somebody can read a question and answer it."""
    return is_terminal(sys.stdin) and is_terminal(sys.stderr)


async def answer(question: str) -> str:
    """Ask, and give back the line that is typed from then on; "" where none can be read."""
    loop = asyncio.get_running_loop()
    found: asyncio.Future[str] = loop.create_future()

    def hand_over(line: str) -> None:
        if not found.done():
            found.set_result(line)

    if not forget_typed(sys.stdin):
        return ""  # what was typed ahead may still be there
    ask(f"{question} ")
    stay_in_background()
    threading.Thread(target=_read, args=(loop, hand_over), daemon=True).start()
    line = ""
    try:
        line = await found
    finally:
        if not line.endswith("\n"):  # Ctrl-D, Ctrl-C: nobody ended the line of the question
            end_line()
    return line.rstrip("\n")


def _read(loop: asyncio.AbstractEventLoop, hand_over: Callable[[str], None]) -> None:
    """In a thread of its own: one line and not more, so that the next question gets its own."""
    line = first_line(sys.stdin.fileno(), back=lambda: forget_typed(sys.stdin))
    with contextlib.suppress(RuntimeError):  # the question is over, and so is the loop
        loop.call_soon_threadsafe(hand_over, line)


def secret(what: str) -> str | None:
    """Ask without showing what is typed; `None` where nobody can answer."""
    if not can_ask() or not forget_typed(sys.stdin):
        return None
    import getpass

    ours = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # Ctrl-C ends the question at once
    try:
        return getpass.getpass(f"{clean(what)}: ").strip() or None
    except EOFError:
        end_line()
        return None
    except KeyboardInterrupt:
        end_line()
        raise
    finally:
        signal.signal(signal.SIGINT, ours)
