"""The keyboard: of a screen that is not there yet, and what was typed before a question."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import IO

__all__ = ["forget_typed", "silent_keys"]

if sys.platform == "win32":
    import msvcrt

    @contextlib.contextmanager
    def silent_keys() -> Iterator[None]:
        """What is typed inside waits; the console does not show it before it is read."""
        yield

    def forget_typed(_stream: IO[str]) -> bool:
        """Throw away what was typed and not yet read; whether that could be done."""
        while msvcrt.kbhit():
            msvcrt.getwch()
        return True

else:
    import termios
    import tty

    @contextlib.contextmanager
    def silent_keys() -> Iterator[None]:
        """What is typed inside waits to be read, and is not shown; Ctrl-C still interrupts."""
        try:
            fd = sys.stdin.fileno()
            before = termios.tcgetattr(fd)
        except (OSError, ValueError, termios.error):  # stdin is no terminal
            yield
            return
        tty.setcbreak(fd, termios.TCSANOW)
        try:
            yield
        finally:
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
