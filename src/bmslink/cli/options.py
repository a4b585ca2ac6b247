"""Arguments and options that several commands share, and what they turn into."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from bmslink.cli.output import Session, open_new
from bmslink.errors import TargetError

if TYPE_CHECKING:
    from bmslink.device import Device

__all__ = [
    "Address",
    "Baudrate",
    "Count",
    "Line",
    "Protocol",
    "Target",
    "Targets",
    "Timeout",
    "Watch",
    "connect_all",
    "one_target",
    "session_of",
    "some_targets",
]

_LONGEST = 86400.0


def seconds(text: str | float) -> float:
    """A time in seconds, above 0 and at most a day (a default comes as a number)."""
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not 0 < value <= _LONGEST:
        raise typer.BadParameter(f"{text!r} is no number of seconds above 0 and up to 86400.")
    return value


def number(text: str | float) -> float:
    """A number (a default comes as one); whoever uses it knows what it may be."""
    try:
        return float(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no number.") from None


def whole(text: str | int) -> int:
    """A whole number, decimal or 0x hexadecimal (a default comes as a number)."""
    if isinstance(text, int):
        return text
    try:
        return int(text, 16) if text.lower().startswith("0x") else int(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no whole number.") from None


Target = Annotated[
    str | None, typer.Argument(metavar="[TARGET]", help="The pack; else BMSLINK_TARGET.")
]
Targets = Annotated[
    list[str] | None,
    typer.Argument(metavar="[TARGET]...", help="One or more packs; else BMSLINK_TARGET."),
]
Protocol = Annotated[
    str | None, typer.Option(metavar="NAME", help="What it speaks, e.g. jbd, jk02, daly-a5.")
]
Address = Annotated[
    int | None, typer.Option(parser=whole, metavar="N", help="Its address on a shared line.")
]
Baudrate = Annotated[int | None, typer.Option(parser=whole, metavar="N", help="Speed of the port.")]
Timeout = Annotated[
    float | None, typer.Option(parser=number, metavar="S", help="How long an answer may take, s.")
]
Watch = Annotated[
    float | None,
    typer.Option(parser=seconds, metavar="S", help="Go on, with a reading every S seconds."),
]
Count = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="End after N readings (tries count).")
]


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """The options that override what stands in a target."""

    protocol: str | None = None
    address: int | None = None
    baudrate: int | None = None
    timeout: float | None = None


def connect_all(session: Session, targets: Sequence[str], line: Line) -> list[Device]:
    """The packs at the targets, none opened yet, with the trace that --trace asked for."""
    from bmslink.cli.log import start_logging, wire_log
    from bmslink.device import Device, resolve

    start_logging(session)

    if session.trace is not None and len(targets) > 1:
        raise TargetError("--trace takes one line: name one target with it.")
    endpoints = [
        resolve(
            target,
            protocol=line.protocol,
            address=line.address,
            baudrate=line.baudrate,
            timeout=line.timeout,
        )
        for target in targets
    ]
    if len(endpoints) == 1:
        session.target = str(endpoints[0])
    if session.trace is None:
        return [Device(e, record=wire_log(session, str(e))) for e in endpoints]
    Device(endpoints[0])  # what is wrong with the target is said before a file is made
    return [Device(endpoints[0], record=open_new(session.trace, instead="name another file"))]
