"""Arguments and options that several commands share, and what they turn into."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import typer

from bmslink.arguments import decimal_comma
from bmslink.cli.option_groups import OptionGroup
from bmslink.cli.output import Session
from bmslink.errors import TargetError

__all__ = [
    "Count",
    "Force",
    "OutputOptions",
    "PinFile",
    "Protocol",
    "Target",
    "Targets",
    "Watch",
    "addresses",
    "number",
    "one_target",
    "seconds",
    "session_of",
    "some_targets",
    "whole",
]

_LONGEST = 86400.0
_ADDRESSES = re.compile(r"[0-9A-Fa-fxX]+(?:[-,][0-9A-Fa-fxX]+)*")


def seconds(text: str | float) -> float:
    """A time in seconds, above 0 and at most a day (a default comes as a number)."""
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not 0 < value <= _LONGEST:
        raise typer.BadParameter(
            f"{text!r} is no number of seconds above 0 and up to 86400.{decimal_comma(str(text))}"
        )
    return value


def number(text: str | float) -> float:
    """A number (a default comes as one); the caller knows what it may be."""
    try:
        return float(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no number.{decimal_comma(str(text))}") from None


def whole(text: str | int) -> int:
    """A whole number, decimal or 0x hexadecimal (a default comes as a number)."""
    if isinstance(text, int):
        return text
    try:
        return int(text, 16) if text.lower().startswith("0x") else int(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no whole number.") from None


def addresses(text: str) -> str:
    """An address, a range (1-4) or a list of them (1,3), as a target has it."""
    if not _ADDRESSES.fullmatch(text):
        raise typer.BadParameter(f"{text!r} is no address, and no range of them like 1-4.")
    return text if set(text) & set("-,") else str(whole(text))


Target = Annotated[
    str | None, typer.Argument(metavar="[TARGET]", help="The pack [default: BMSLINK_TARGET].")
]
Targets = Annotated[
    list[str] | None,
    typer.Argument(metavar="[TARGET]...", help="One or more packs [default: BMSLINK_TARGET]."),
]
Protocol = Annotated[
    str | None, typer.Option(metavar="NAME", help="Its protocol, e.g. jbd, jk02, daly-a5.")
]
PinFile = Annotated[
    str | None,
    typer.Option(
        "--pin-file",
        metavar="FILE",
        help="File with its Bluetooth PIN [default: BMSLINK_PIN].",
    ),
]
Watch = Annotated[
    float | None,
    typer.Option(parser=seconds, metavar="S", help="Keep reading, every S seconds."),
]
Count = Annotated[
    int | None,
    typer.Option(min=1, metavar="N", help="Stop after N readings, failed ones included."),
]

Force = Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputOptions(OptionGroup):
    """Where a result goes instead of to standard output."""

    output: Annotated[
        str | None, typer.Option("--output", "-o", metavar="FILE", help="Write to this file.")
    ] = None
    force: Force = False


def session_of(ctx: typer.Context) -> Session:
    """The session that `main` began."""
    session = ctx.obj
    return session if isinstance(session, Session) else Session()


def some_targets(given: Sequence[str] | None) -> list[str]:
    """The targets of a command; `TargetError` where there is none."""
    targets = list(given or ())
    if not targets and os.environ.get("BMSLINK_TARGET"):
        targets = [os.environ["BMSLINK_TARGET"]]
    if not targets:
        raise TargetError(
            "Which pack? Name a TARGET or set BMSLINK_TARGET; "
            "sim://jbd is a simulated one that needs no hardware."
        )
    return targets


def one_target(given: str | None) -> str:
    """The target of a command that takes one."""
    return some_targets([given] if given is not None else None)[0]
