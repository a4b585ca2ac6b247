"""The keyboard: of a full-screen program, and what was typed before a question."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from typing import IO

__all__ = ["forget_typed", "keyboard", "when_resized", "when_suspended"]

_TICK = 0.1


if sys.platform == "win32":
    import msvcrt

    @contextlib.contextmanager
    def keyboard(on_key: Callable[[str], None]) -> Iterator[None]:
        """Call `on_key` for each key that is pressed; the console needs no mode for this."""

        async def look() -> None:
            while True:
                while msvcrt.kbhit():
                    on_key(msvcrt.getwch())
                await asyncio.sleep(_TICK)

        task = asyncio.get_running_loop().create_task(look())
        try:
            yield
        finally:
            task.cancel()

    def forget_typed(_stream: IO[str]) -> bool:
        """Throw away what was typed and not yet read; whether that could be done."""
        while msvcrt.kbhit():
            msvcrt.getwch()
        return True

else:
    import termios
    import tty

    @contextlib.contextmanager
    def keyboard(on_key: Callable[[str], None]) -> Iterator[None]:
        """Call `on_key` for each key that is pressed; Ctrl-C and Ctrl-Z still send signals."""
        loop = asyncio.get_running_loop()
        fd = sys.stdin.fileno()
        before = termios.tcgetattr(fd)

        def read() -> None:
            try:
                data = os.read(fd, 1024)
            except OSError:
                data = b""
            if not data:  # the terminal is gone
                loop.remove_reader(fd)
            for key in data.decode("latin-1"):
                on_key(key)

        tty.setcbreak(fd, termios.TCSANOW)
        loop.add_reader(fd, read)
        try:
            yield
        finally:
            loop.remove_reader(fd)
            with contextlib.suppress(termios.error):  # the terminal is gone
                termios.tcsetattr(fd, termios.TCSANOW, before)

    def forget_typed(stream: IO[str]) -> bool:
        """Throw away what was typed and not yet read; whether that could be done."""
        try:
            if not _in_background(stream.fileno()):
                termios.tcflush(stream, termios.TCIFLUSH)
        except (OSError, ValueError, termios.error):  # the terminal is gone
            return False
        return True

    def _in_background(fd: int) -> bool:
        """Whether what is typed goes to another program; to touch it would stop us."""
        try:
            return os.tcgetpgrp(fd) != os.getpgrp()
        except OSError:  # it is not the terminal that we belong to
            return False


@contextlib.contextmanager
def _on_signal(name: str, action: Callable[[], None]) -> Iterator[None]:
    number = getattr(signal, name, None)
    if number is None:  # Windows
        yield
        return
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(number, action)
    try:
        yield
    finally:
        loop.remove_signal_handler(number)


def when_resized(action: Callable[[], None]) -> contextlib.AbstractContextManager[None]:
    """Call `action` when the window changes its size."""
    return _on_signal("SIGWINCH", action)


def when_suspended(
    leave: Callable[[], None], come_back: Callable[[], None]
) -> contextlib.AbstractContextManager[None]:
    """On Ctrl-Z call `leave`, stop like any program, and on `fg` call `come_back`."""

    def suspend() -> None:
        leave()
        if sys.platform != "win32":
            os.kill(os.getpid(), signal.SIGSTOP)
        come_back()

    return _on_signal("SIGTSTP", suspend)
