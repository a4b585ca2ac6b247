"""Arguments and options that several commands share, and what they turn into."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from bmslink.cli.outfile import open_new
from bmslink.cli.output import Session
from bmslink.errors import BmsError, TargetError

if TYPE_CHECKING:
    from bmslink.device import Device
    from bmslink.transport import Endpoint, Pin

__all__ = [
    "Address",
    "Baudrate",
    "Count",
    "Line",
    "PinFile",
    "Protocol",
    "Target",
    "Targets",
    "Timeout",
    "Watch",
    "connect_all",
    "one_target",
    "pin_for_scan",
    "session_of",
    "some_targets",
]

_log = logging.getLogger(__name__)

_LONGEST = 86400.0
_LONGEST_PIN_FILE = 1024


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
PinFile = Annotated[
    str | None,
    typer.Option(
        "--pin-file", metavar="FILE", help="Its Bluetooth pin stands in FILE; else BMSLINK_PIN."
    ),
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
    pin_file: str | None = None


def _pin_of(path: str) -> str:
    """The first line of a file that holds a pin; no message repeats what stands there."""
    from pathlib import Path

    try:
        with Path(path).open("rb") as file:
            text = file.read(_LONGEST_PIN_FILE).decode().lstrip("\ufeff")
    except (OSError, ValueError) as exc:  # ValueError: no text, or a name no file can have
        why = exc.strerror if isinstance(exc, OSError) else "it holds no pin"
        raise TargetError(f"The pin file {path} cannot be read: {why}.") from None
    pin = text.partition("\n")[0].strip()
    if not pin:
        raise TargetError(f"The pin file {path} holds no pin: its first line is empty.")
    return pin


def pin_for_scan(path: str | None) -> Pin:
    """The pin from --pin-file or BMSLINK_PIN; a scan asks nobody."""
    from bmslink.transport import Pin

    return Pin(_pin_of(path) if path is not None else os.environ.get("BMSLINK_PIN") or None)


def _ask_pin(what: str) -> str | None:
    """Ask at the terminal; `None` where nobody can answer."""
    from bmslink.cli.asking import secret

    return secret(what)


def _settle(session: Session, endpoints: list[Endpoint], pins: Sequence[Pin]) -> None:
    """Find the protocols of the targets that do not say them; of several, one that cannot be
    found now is left to its opening."""
    from bmslink.cli.loop import run
    from bmslink.device import settled
    from bmslink.discovery import detect

    async def ask(index: int) -> None:
        try:
            endpoints[index] = await detect(endpoints[index], pin=pins[index], tell=session.say)
        except BmsError:
            if len(endpoints) == 1:
                raise

    for index, endpoint in enumerate(endpoints):
        if not settled(endpoint):
            run(ask(index))


def connect_all(
    session: Session, targets: Sequence[str], line: Line, *, may_ask: bool = True
) -> list[Device]:
    """The packs at the targets, none opened yet, with the trace that --trace asked for. `may_ask`:
    a question for a pin would not stand in the middle of something else."""
    from bmslink.cli.log import start_logging, wire_log
    from bmslink.device import Device, resolve
    from bmslink.packs import find_pack, find_pin

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
    given = _pin_of(line.pin_file) if line.pin_file is not None else None
    pins = [find_pin(target, given, _ask_pin if may_ask else None) for target in targets]
    named = [find_pack(target) for target in targets]
    if len(endpoints) == 1 or not may_ask:  # else each as it is opened: one may fail alone
        _settle(session, endpoints, pins)
    if len(endpoints) == 1:
        session.target = str(endpoints[0])
    tell = session.say if may_ask else _log.info
    if session.trace is None:
        return [
            Device(e, record=wire_log(session, str(e)), pin=pin, tell=tell, named=pack)
            for e, pin, pack in zip(endpoints, pins, named, strict=True)
        ]
    Device(endpoints[0])  # what is wrong with the target is said before a file is made
    record = open_new(session.trace, instead="name another file")
    return [Device(endpoints[0], record=record, pin=pins[0], named=named[0])]
