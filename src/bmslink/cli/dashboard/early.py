"""The first frame, written before the application is loaded: a person sees at once that it runs,
and which packs it is about. The application draws over it a moment later."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator, Sequence
from shutil import get_terminal_size
from typing import TYPE_CHECKING

from bmslink.cli.output import Terminated
from bmslink.cli.streams import to_screen
from bmslink.cli.terminal import silent_keys

if TYPE_CHECKING:
    from rich.text import Text

__all__ = ["early_frame", "size"]

_ENTER, _LEAVE = "\x1b[?1049h\x1b[?25l\x1b[H", "\x1b[?1049l\x1b[?25h"


def size() -> tuple[int, int]:
    """Columns and lines of the terminal."""
    found = get_terminal_size()
    return found.columns, found.lines


@contextlib.contextmanager
def early_frame(lines: Sequence[Text]) -> Iterator[None]:
    """Show these lines, without colours, while the application is loaded inside. What is typed
    meanwhile waits for it, and is not shown. Where that fails, the screen is as before."""
    _end_by_signal()
    with silent_keys():
        to_screen(_ENTER + "\r\n".join(line.plain.rstrip() for line in lines))
        try:
            yield
        except BaseException:
            to_screen(_LEAVE)
            raise


def _end_by_signal() -> None:
    """Until the loop listens to signals, one of them ends it as Ctrl-C does."""

    def end(*_about: object) -> None:
        raise Terminated

    names = ("SIGTERM", "SIGHUP")
    for number in [getattr(signal, name) for name in names if hasattr(signal, name)]:
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup
            signal.signal(number, end)
