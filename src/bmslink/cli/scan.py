"""`bmslink scan`: find packs over Bluetooth and on serial ports."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated

import typer

from bmslink.cli import options as o
from bmslink.cli.output import FAILED, FOUND, Session
from bmslink.errors import BmsError, TargetError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bmslink.discovery.scan import Found

__all__ = ["command"]


def command(
    ctx: typer.Context,
    ble: Annotated[
        bool, typer.Option("--ble", help="Search only Bluetooth, unless --serial is given too.")
    ] = False,
    serial: Annotated[
        bool, typer.Option("--serial", help="Search only serial ports, unless --ble is given too.")
    ] = False,
    port: Annotated[
        list[str] | None,
        typer.Option(metavar="P", help="Search this port or gateway instead of all (repeatable)."),
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option(
            parser=o.seconds,
            metavar="S",
            help="Listen to adverts for S seconds [8], and search each port no longer [all, 25].",
        ),
    ] = None,
    connect: Annotated[
        bool,
        typer.Option("--connect", help="Connect if the advertisement does not tell the protocol."),
    ] = False,
    protocol: Annotated[
        str | None, typer.Option(metavar="NAME", help="Search only this protocol or vendor.")
    ] = None,
    pin_file: o.PinFile = None,
    add: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Name the pack that is found in bmslink.toml."),
    ] = None,
) -> None:
    """Find packs over Bluetooth and on serial ports, and print targets to paste.

    Each port is listened to for 3 s; where somebody else speaks, nothing is sent. Then it is asked
    by reading only: at 115200 baud jk-nw, jk02, jk-modbus and jk-bus 1 to 15, at 9600 baud
    daly-d2, daly-p81 and daly-a5 1 to 15, jbd plain and at 0 to 4, jbd-up 1 to 16, jk-modbus 1 to
    15, daly-sinowealth. --port 'serial:///dev/ttyUSB0?baudrate=19200' asks all but jk-bus at
    another speed, ?address=20 at another address. Exit code 5: nothing was found.

    With --add NAME, `bmslink read NAME` is enough from then on. Where several packs are found, it
    asks which one; without a terminal it adds none.
    """
    from bmslink.cli.loop import run
    from bmslink.cli.verbosity import start_logging
    from bmslink.discovery.scan import scan
    from bmslink.packs import find_pin, require_free
    from bmslink.storage.credentials import read_pin

    session = o.session_of(ctx)
    if session.trace is not None:
        raise TargetError("scan talks to many lines; name one target with capture to record it.")
    if add is not None:
        require_free(add)
    start_logging(session)
    results: list[Found] = []
    failure: BmsError | None = None
    try:
        run(
            scan(
                ble=ble,
                serial=serial,
                ports=port or (),
                protocol=protocol,
                timeout=timeout,
                connect=connect,
                pin=find_pin(None, None if pin_file is None else read_pin(pin_file)),
                on_found=results.append,
                on_progress=session.say,
            )
        )
    except TargetError:
        raise
    except BmsError as error:
        failure = error
    except KeyboardInterrupt:
        _show(session, results)
        raise
    _show(session, results)
    if add is not None and any(one.protocol for one in results):
        _add(session, add, results)
    if failure is not None:
        raise failure
    closed = port and any(one.protocol is None and not one.tried for one in results)
    if closed:
        raise typer.Exit(FAILED)
    if not any(one.protocol for one in results):
        session.say("No pack was found.")
        raise typer.Exit(FOUND)


def _add(session: Session, name: str, results: Sequence[Found]) -> None:
    """Name the one pack that is meant."""
    from bmslink.cli.packs import added
    from bmslink.discovery.scan import by_confidence, meant

    packs = meant(by_confidence(results)) or [one for one in results if one.protocol]
    if len(packs) > 1:
        packs = [_which(session, name, packs)]
    added(session, name, packs[0].target)


def _which(session: Session, name: str, packs: Sequence[Found]) -> Found:
    """Ask which pack is meant; `TargetError` where nobody can say it."""
    from bmslink.cli.asking import answer, can_ask
    from bmslink.cli.loop import run

    listed = ", ".join(one.target for one in packs)
    if session.json or not can_ask():
        raise TargetError(
            f"{len(packs)} packs were found, and none was added: name one with `bmslink packs add "
            f"{name} TARGET`. They are {listed}."
        )
    for number, one in enumerate(packs, 1):
        session.complain(f"{number}: {one.target}{f' ({one.name})' if one.name else ''}")
    told = run(answer(f"Which one is {name}? [1-{len(packs)}]")).strip()
    if told not in map(str, range(1, len(packs) + 1)):
        raise TargetError(f"{told[:20]!r} is none of them, and none was added. They are {listed}.")
    return packs[int(told) - 1]


def _show(session: Session, results: Sequence[Found]) -> None:
    from bmslink.cli.render import scan as render
    from bmslink.discovery.scan import by_confidence

    for one in by_confidence(results):
        if session.json:
            session.record(dataclasses.asdict(one))
        else:
            session.print(*render.block(one))
