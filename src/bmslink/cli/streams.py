"""The two streams of the program: whole lines, cleaned of what steers a terminal, or nothing."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import sys
from typing import IO

from bmslink.cli.render.clean import clean

__all__ = [
    "ClosedPipeError",
    "ProgressLine",
    "ask",
    "drop",
    "end_line",
    "folded",
    "is_terminal",
    "progress_line",
    "takes",
    "to_stderr",
    "to_stdout",
]


class ClosedPipeError(BrokenPipeError):
    """Nobody reads our output any more; that is no failure and nothing is said about it."""


def ask(text: str) -> None:
    """A question on stderr; the answer is typed behind it."""
    to_stderr(f"{folded(text, sys.stderr).rstrip()} ")


def end_line() -> None:
    """What follows on stderr begins on a new line; a line of progress stays."""
    progress_line.shown = False
    to_stderr("\n")


def is_terminal(stream: object) -> bool:
    """Whether a person sits at this stream (it may be closed, or replaced by a test)."""
    isatty = getattr(stream, "isatty", None)
    try:
        return bool(isatty and isatty())
    except ValueError:  # closed
        return False


def folded(line: str, stream: object) -> str:
    """A line from which what steers a terminal is gone, in as many as the terminal needs."""
    line = clean(line)
    if not is_terminal(stream):
        return line
    from bmslink.cli.render.fold import fold

    return "\n".join(fold(line, shutil.get_terminal_size().columns))


class ProgressLine:
    """The line on the terminal behind stderr that is gone before anything else appears."""

    def __init__(self) -> None:
        self.shown = False

    def show(self, text: str) -> None:
        """Show this instead; nothing where the terminal takes nothing at the moment: who is
        stopped by Ctrl-S must not stop a change."""
        if not takes(sys.stderr):
            return
        self.shown = False
        to_stderr(f"\r{text}\x1b[K")
        self.shown = bool(text)

    def clear(self) -> None:
        """Make room for something else."""
        if self.shown:
            self.shown = False
            to_stderr("\r\x1b[K")


progress_line = ProgressLine()


def takes(stream: IO[str] | None) -> bool:
    """Whether a terminal takes more now; taken for granted where that cannot be asked."""
    if stream is None:
        return False
    try:
        return bool(select.select([], [stream], [], 0)[1])
    except (OSError, ValueError, TypeError, AttributeError):  # Windows; a test's stream
        return True


def to_stdout(text: str) -> None:
    """A line or a block on stdout, cleaned already."""
    progress_line.clear()
    if sys.stdout is None:
        raise ClosedPipeError
    try:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        drop(sys.stdout)
        raise ClosedPipeError from None
    except OSError as exc:
        drop(sys.stdout)
        raise OSError(exc.errno, exc.strerror, "standard output") from exc


def to_stderr(text: str) -> None:
    """Text on stderr; nothing where nobody reads it."""
    progress_line.clear()
    if sys.stderr is None:
        return
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except OSError:
        drop(sys.stderr)


def drop(stream: IO[str]) -> None:
    """Send what is still buffered nowhere, or Python complains about it at exit."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
