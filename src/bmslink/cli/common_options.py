"""The options of every command: kept in the session, wherever on the command line they are."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer

__all__ = ["find_word", "with_common_options"]

_TRACE = "--trace"
_WITH_VALUE = frozenset({_TRACE})


def _keep(ctx: typer.Context, param: typer.CallbackParam, value: Any) -> None:
    if not value or ctx.resilient_parsing or param.name is None:
        return
    if param.name == "verbosity":
        value += ctx.obj.verbosity
    setattr(ctx.obj, param.name, value)


def _show_version(ctx: typer.Context, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from bmslink import __version__

        ctx.obj.print(f"bmslink {__version__}")
        raise typer.Exit


_kept: Callable[..., Any] = functools.partial(
    typer.Option, callback=_keep, expose_value=False, show_default=False
)


def _options(
    *,
    json: Annotated[
        bool, _kept("--json", help="Print one JSON object per line on stdout, nothing else.")
    ] = False,
    quiet: Annotated[
        bool, _kept("--quiet", help="Print only errors on stderr, no progress or remarks.")
    ] = False,
    verbosity: Annotated[
        int,
        _kept(
            "-v", "--verbose", count=True, help="Log to stderr what happens; -vv in more detail."
        ),
    ] = 0,
    trace: Annotated[
        str | None,
        _kept(
            _TRACE, metavar="FILE", help="Record every byte in both directions in a capture file."
        ),
    ] = None,
    debug: Annotated[bool, _kept("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            is_eager=True,
            expose_value=False,
            callback=_show_version,
            help="Show the version and exit.",
        ),
    ] = False,
) -> None:
    """What `with_common_options` adds: typer reads the signature."""


_COMMON = tuple(inspect.signature(_options, eval_str=True).parameters.values())


def with_common_options(command: Callable[..., None]) -> Callable[..., None]:
    """The command as typer has to see it: its own options, then those of every command.

    It is called by keyword, as typer calls. Raises `ValueError` where two options share a name.
    """
    own = inspect.signature(command, eval_str=True).parameters
    keyword = inspect.Parameter.KEYWORD_ONLY
    shown = [*(each.replace(kind=keyword) for each in own.values()), *_COMMON]

    @functools.wraps(command)
    def alone(**values: object) -> None:
        command(**{name: value for name, value in values.items() if name in own})

    alone.__dict__["__signature__"] = inspect.Signature(shown)
    alone.__annotations__ = {each.name: each.annotation for each in shown}
    return alone


def find_word(arguments: Sequence[str], start: int = 0) -> int | None:
    """Where the first word is that is neither a common option nor the value of one.

    That is where typer looks for a command. Whether the options before it are right is typer's
    business.
    """
    place = start
    while place < len(arguments):
        word = arguments[place]
        if word == "--":
            return place + 1 if place + 1 < len(arguments) else None
        if len(word) < 2 or word[0] != "-":
            return place
        place += 2 if word in _WITH_VALUE else 1
    return None
