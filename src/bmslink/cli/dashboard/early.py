"""The first frame, written before the application is loaded: a person sees at once that it runs,
and which packs it is about. The application draws over it a moment later."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from shutil import get_terminal_size
from typing import TYPE_CHECKING

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
    with silent_keys():
        _write(_ENTER + "\r\n".join(line.plain.rstrip() for line in lines))
        try:
            yield
        except BaseException:
            _write(_LEAVE)
            raise


def _write(text: str) -> None:
    with contextlib.suppress(OSError, ValueError):  # the terminal is gone: the application tells
        sys.stdout.write(text)
        sys.stdout.flush()
