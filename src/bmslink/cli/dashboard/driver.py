"""The terminal of the dashboard: stdout, and keys also where stdin is something else.

Writing happens in a thread with all the room it needs: a terminal that is slow, stopped or gone
never holds up what is behind the screen. Not for Windows, whose driver is textual's own.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import termios
import threading
from collections import deque
from typing import TYPE_CHECKING, Any, cast

from textual.drivers.linux_driver import LinuxDriver

if TYPE_CHECKING:
    from textual.app import App

__all__ = ["TerminalDriver"]

_LAST = 2.0
"""s that a terminal has at the end to take what is left."""


class _Screen(io.TextIOBase):
    """Takes text at once and writes it in a thread."""

    def __init__(self, file: Any) -> None:
        super().__init__()
        self._file = file
        self._pieces: deque[str] = deque()
        self._news = threading.Condition()
        self._writing = False
        threading.Thread(target=self._run, daemon=True, name="bmslink-screen").start()

    def fileno(self) -> int:
        return int(self._file.fileno())

    def isatty(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def write(self, text: str, /) -> int:
        with self._news:
            self._pieces.append(text)
            self._news.notify_all()
        return len(text)

    def flush(self) -> None:
        return

    @property
    def backlog(self) -> bool:
        """Whether the terminal has not taken everything yet."""
        return self._writing or bool(self._pieces)

    def drain(self) -> None:
        """Wait until everything is written, for as long as a terminal may take."""
        with self._news:
            self._news.wait_for(lambda: not self.backlog, _LAST)

    def _run(self) -> None:
        while True:
            with self._news:
                self._news.wait_for(lambda: bool(self._pieces))
                text, self._writing = "".join(self._pieces), True
                self._pieces.clear()
            with contextlib.suppress(OSError, ValueError):  # the terminal is gone
                self._file.write(text)
                self._file.flush()
                with contextlib.suppress(termios.error):  # a serial line is done when it is out
                    termios.tcdrain(self._file.fileno())
            with self._news:
                self._writing = False
                self._news.notify_all()


class TerminalDriver(LinuxDriver):
    """textual's driver, with these differences."""

    def __init__(self, app: App[Any], **more: Any) -> None:
        super().__init__(app, **more)
        self.screen = _Screen(sys.__stdout__)
        self._file = cast(Any, self.screen)
        self._keys: int | None = None
        if not self.input_tty:
            with contextlib.suppress(OSError):
                self._keys = self.fileno = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY)
                self.input_tty = True

    @property
    def backlog(self) -> bool:
        """Whether the terminal has not taken everything yet: then nothing more is drawn."""
        return self.screen.backlog

    def run_input_thread(self) -> None:
        """Keys, as long as there is a terminal that they come from."""
        if not self.input_tty:
            self.exit_event.wait()
            return
        with contextlib.suppress(OSError, ValueError):  # the terminal is gone
            super().run_input_thread()

    def close(self) -> None:
        """Also what is still to be written."""
        super().close()
        self.screen.drain()
        if self._keys is not None:
            os.close(self._keys)
            self._keys = None
