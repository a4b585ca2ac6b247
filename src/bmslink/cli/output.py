"""What goes to stdout and stderr, and which exit code an error means.

Results go to stdout, as JSON lines or for people; everything else is a sentence on stderr. But for
`streams`, on which this is built, nothing else in the program writes to either of them: here text
from outside loses the characters that steer a terminal.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from bmslink.cli.render.clean import clean, clean_lines
from bmslink.cli.streams import (
    ClosedPipeError,
    drop,
    folded,
    progress_line,
    to_stderr,
    to_stdout,
)
from bmslink.errors import (
    BmsError,
    GateError,
    RollbackError,
    SettingError,
    TargetError,
    UsageError,
    VerifyError,
)
from bmslink.jsonable import to_json

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.text import Text

    from bmslink.link.transport import Endpoint

__all__ = [
    "Session",
    "TerminalLostError",
    "Terminated",
    "about",
    "exit_code",
    "identified",
    "lines_of",
    "to_json",
]

DONE, FAILED, USAGE, REFUSED, UNVERIFIED, FOUND, INTERRUPTED = 0, 1, 2, 3, 4, 5, 130

_CODES: tuple[tuple[type[BaseException], int], ...] = (
    (TargetError, USAGE),
    (UsageError, USAGE),
    (GateError, REFUSED),
    (SettingError, REFUSED),
    (VerifyError, UNVERIFIED),
    (RollbackError, UNVERIFIED),
    (BaseException, FAILED),
)


class TerminalLostError(Exception):
    """The terminal we write to is gone: the program ends, and nobody is left to report it to."""


class Terminated(KeyboardInterrupt):
    """The program was asked to end (SIGTERM, or SIGHUP from a terminal that was closed)."""


def exit_code(error: BaseException) -> int:
    """The exit code of an error, by its class."""
    return next(code for kind, code in _CODES if isinstance(error, kind))


@dataclass(slots=True)
class Session:
    """The options that work everywhere, and the way out for everything a command says.

    As a context manager it lets no exception through.
    """

    json: bool = False
    quiet: bool = False
    verbosity: int = 0
    debug: bool = False
    trace: str | None = None
    target: Endpoint | str | None = None
    """The one target of the command, for the sentence that says what failed."""
    code: int = DONE
    """The exit code, once the `with` block is over."""
    _console: Console | None = field(default=None, repr=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        """Turn whatever ended the block into a sentence and an exit code."""
        if error is not None:
            self.code = self.fail(error)
        progress_line.clear()
        return True

    @property
    def console(self) -> Console:
        """The terminal (or file, or pipe) that stdout is."""
        if self._console is None:
            from rich.console import Console

            # without colours bold and dim go too: NO_COLOR means plain text
            self._console = Console(
                color_system=None if os.environ.get("NO_COLOR") else "auto",
                highlight=False,
                markup=False,
                emoji=False,
            )
        return self._console

    @property
    def ascii(self) -> bool:
        """Whether stdout cannot show more than ASCII."""
        name = (getattr(sys.stdout, "encoding", None) or "ascii").lower().replace("-", "")
        return not name.startswith("utf")

    def no_trace(self, command: str) -> None:
        """`TargetError` if --trace was given to a command that has nothing to trace."""
        if self.trace is not None:
            raise TargetError(
                "capture records every byte already; leave --trace away."
                if command == "capture"
                else f"{command} talks to no pack, so --trace has nothing to record."
            )

    def record(self, values: Mapping[str, Any], *, latest: str = "") -> None:
        """One JSON line on stdout. `latest`: where lines wait, it takes the place of the one before
        that is called so."""
        to_stdout(clean(to_json(values)), latest=latest)

    def show(self, renderable: RenderableType) -> None:
        """Something for people, on stdout; where that is no terminal, one line of text stays one
        line."""
        from rich.console import Console
        from rich.text import Text

        from bmslink.cli.render.fit import Prose
        from bmslink.cli.render.plain import Plain

        buffer = io.StringIO()
        console = Console(
            file=buffer,
            width=self.console.width,
            force_terminal=self.console.is_terminal,
            color_system="auto" if self.console.color_system else None,
            legacy_windows=False,
            highlight=False,
            markup=False,
            emoji=False,
        )
        if isinstance(renderable, Text) and self.console.is_terminal:
            renderable = Prose(renderable)
        console.print(Plain(renderable), soft_wrap=isinstance(renderable, Text))
        to_stdout("\n".join(line.rstrip() for line in buffer.getvalue().split("\n")[:-1]))

    def print(self, *lines: str) -> None:
        """Lines for people on stdout, at once; on a terminal none is longer than that is wide.

        A line end inside of one comes from outside and would forge the next: it is a space.
        Raises `ClosedPipeError` when nobody reads them.
        """
        to_stdout("\n".join(folded(line, sys.stdout) for line in lines))

    def write(self, *lines: str) -> None:
        """The same lines as they are, for programs and files."""
        to_stdout("\n".join(map(clean, lines)))

    def say(self, sentence: str) -> None:
        """A remark on stderr, unless --quiet."""
        if not self.quiet:
            self.complain(sentence)

    def complain(self, sentence: str) -> None:
        """A sentence on stderr."""
        to_stderr(f"{folded(f'bmslink: {sentence}', sys.stderr)}\n")

    def progress(self, text: str) -> None:
        """A line on the terminal behind stderr that the next one overwrites, unless --quiet, and
        that is gone before anything else appears."""
        if not self.quiet:
            progress_line.show(clean(text))

    def finish(self) -> None:
        """Write what typer left in the buffer (help texts); `ClosedPipeError` as in `print`."""
        if sys.stdout is None:
            return
        try:
            sys.stdout.flush()
        except OSError:
            drop(sys.stdout)
            raise ClosedPipeError from None

    def fail(self, error: BaseException) -> int:
        """Say what went wrong; gives back the exit code."""
        error = _innermost(error)
        if isinstance(error, ClosedPipeError):
            return DONE
        if isinstance(error, KeyboardInterrupt):
            return INTERRUPTED
        if isinstance(error, TerminalLostError):
            return FAILED
        if isinstance(error, SystemExit):  # typer's way out of a completion, and of a closed pipe
            if error.__context__ is None:
                return int(error.code or 0)
            drop(sys.stdout)
            return DONE
        self.show_traceback(error)
        usage = getattr(error, "format_message", None)
        if usage is not None:
            return self._wrong_usage(error, usage())
        if isinstance(error, BmsError):
            self.complain(about(self.target, error))
            return exit_code(error)
        if isinstance(error, OSError) and error.strerror:
            place = f"{error.filename}: " if error.filename else ""
            self.complain(f"{place}{error.strerror}.")
            return FAILED
        what = " ".join(f"{type(error).__name__}: {error}".split())
        self.complain(f"Internal error ({what}); run with --debug to see where, and report it.")
        return FAILED

    def show_traceback(self, error: BaseException) -> None:
        """Where it happened, with --debug."""
        if self.debug:
            import traceback

            to_stderr(clean_lines("".join(traceback.format_exception(error))))

    def _wrong_usage(self, error: BaseException, message: str) -> int:
        ctx = getattr(error, "ctx", None)
        if type(error).__name__ == "NoArgsIsHelpError":
            to_stderr(clean_lines(f"{message}\n"))
            return USAGE
        where = f" See {ctx.command_path} --help." if ctx is not None else ""
        end = "" if message.endswith((".", "?")) else "."
        self.complain(f"{message}{end}{where}")
        return int(getattr(error, "exit_code", USAGE))


def lines_of(shown: RenderableType, width: int) -> list[Text]:
    """What is made for a terminal of this width, line by line, with its styles."""
    from rich.console import Console
    from rich.text import Text

    console = Console(
        file=io.StringIO(), width=width, markup=False, emoji=False, highlight=False,
        legacy_windows=False,
    )  # fmt: skip
    lines = console.render_lines(shown, pad=False)
    return [Text.assemble(*((s.text, s.style or "") for s in line)) for line in lines]


def about(target: Endpoint | str | None, error: BmsError) -> str:
    """What happened, and on which target unless the sentence says so itself."""
    sentence = str(error)
    if target is None or isinstance(error, TargetError):
        return sentence
    name = "" if isinstance(target, str) else target.name
    said = str(target) in sentence
    shown = name if said else target if isinstance(target, str) else target.label
    return f"{shown}: {sentence}" if shown and shown not in sentence else sentence


def identified(target: Endpoint) -> dict[str, Any]:
    """What a JSON object says of the pack that it is about; `name` where it has one."""
    return {"target": str(target), **({"name": target.name} if target.name else {})}


def _innermost(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
