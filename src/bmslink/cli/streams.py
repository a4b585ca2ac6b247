"""The two streams of the program: whole lines, cleaned of what steers a terminal, or nothing."""

from __future__ import annotations

import contextlib
import math
import os
import select
import shutil
import sys
from collections.abc import Iterator
from typing import IO

from bmslink.cli.later_output import LaterOutput, writable_later
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
    "to_screen",
    "to_stderr",
    "to_stdout",
    "waiting_for_stdout",
    "written_later",
]

_LAST_WORDS = 1.0
"""How long the end waits for what is not written yet, s."""


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


class _Later:
    """The streams that a thread writes now."""

    out: LaterOutput | None = None
    err: LaterOutput | None = None
    lasts = False
    """What runs goes on where nobody reads it any more."""


_later = _Later()


@contextlib.contextmanager
def written_later(*, lasts: bool) -> Iterator[None]:
    """Inside, nothing waits for stdout or stderr: a thread writes, and lines that do not fit are
    left out and counted. `lasts`: a reader that has gone is no reason to end."""
    if writable_later(sys.stdout):
        _later.out = LaterOutput(sys.stdout)
        _later.out.on_flow = _left_out
    if writable_later(sys.stderr):
        _later.err = LaterOutput(sys.stderr)
    _later.lasts = lasts
    try:
        yield
    finally:
        out, err, _later.out, _later.err = _later.out, _later.err, None, None
        for later, stream in ((out, sys.stdout), (err, sys.stderr)):
            if later is not None and not later.close(_LAST_WORDS):
                drop(stream)  # the end must not wait for it either


def _left_out(count: int) -> None:
    to_stderr(f"bmslink: {count} lines are left out here: nobody read them in time.\n")


def waiting_for_stdout() -> float:
    """For how long stdout has not taken a line, s; infinite: it never will."""
    if _later.out is None:
        return 0.0
    return math.inf if _later.out.error is not None else _later.out.stuck


def to_stdout(text: str, *, latest: str = "") -> None:
    """A line or a block on stdout, cleaned already. `latest`: where lines are written later, only
    the newest that is called so waits."""
    progress_line.clear()
    if sys.stdout is None:
        raise ClosedPipeError
    try:
        if _later.out is not None:
            _later.out.put(text + "\n", latest=latest)
            return
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        drop(sys.stdout)
        if not _later.lasts or _later.out is None:
            raise ClosedPipeError from None
    except OSError as exc:
        drop(sys.stdout)
        if _later.lasts and _later.out is not None:
            return
        raise OSError(exc.errno, exc.strerror, "standard output") from exc


def to_screen(text: str) -> None:
    """What draws on the terminal that stdout is, cleaned already; nothing where it is gone."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sys.stdout.write(text)
        sys.stdout.flush()


def to_stderr(text: str) -> None:
    """Text on stderr; nothing where nobody reads it."""
    progress_line.clear()
    if sys.stderr is None:
        return
    try:
        if _later.err is not None:
            _later.err.put(text)
            return
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
