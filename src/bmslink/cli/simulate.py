"""`bmslink simulate`: a simulated pack for other software to talk to."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import signal
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import CancelledError
from typing import Annotated

import typer

from bmslink.cli import options as o
from bmslink.cli.output import Session, Terminated
from bmslink.errors import TargetError

__all__ = ["command"]

_LONGEST_LINE = 4096
_BACKGROUND = 1.0  # s between two looks whether the terminal is ours again


def _number(text: str | float) -> float:
    try:
        return float(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no number.") from None


def command(
    ctx: typer.Context,
    protocol: Annotated[
        str | None, typer.Argument(metavar="PROTOCOL", help="What it speaks, e.g. jbd or jk02.")
    ] = None,
    pty: Annotated[
        str | None, typer.Option(metavar="LINK", help="Serve a pseudo-terminal, linked here.")
    ] = None,
    tcp: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Serve a TCP port; 0 is any free one.")
    ] = None,
    cells: Annotated[int, typer.Option(parser=o.whole, metavar="N", help="Cells in series.")] = 16,
    chemistry: Annotated[
        str, typer.Option(metavar="NAME", help="lfp, nmc, lto or na-ion.")
    ] = "lfp",
    soc: Annotated[
        float, typer.Option(parser=_number, metavar="PERCENT", help="Charge at the start.")
    ] = 60.0,
    seed: Annotated[
        int, typer.Option(parser=o.whole, metavar="N", help="Another seed, another pack.")
    ] = 1,
    address: o.Address = None,
    firmware: Annotated[
        str | None, typer.Option(metavar="VERSION", help="The firmware it claims to run.")
    ] = None,
    speed: Annotated[
        float, typer.Option(parser=_number, metavar="X", help="Its seconds per second.")
    ] = 1.0,
    load: Annotated[
        str, typer.Option(metavar="LOAD", help="cycle, idle, or amps (positive charges).")
    ] = "cycle",
    fault: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME[:ARG]", help="What goes wrong; `list` names them."),
    ] = None,
) -> None:
    """Simulate a pack that other software can talk to; prints `ready TARGET` when it can.

    Runs until it is interrupted (exit code 130; 0 after SIGTERM). Commands on standard input
    change the pack; `help` lists them. The end of the input changes nothing.
    """
    from bmslink.cli.loop import run
    from bmslink.cli.render import simulate
    from bmslink.simulation.serve import serve
    from bmslink.simulation.wire import FAULTS

    session = o.session_of(ctx)
    session.no_trace("simulate")
    if fault and "list" in fault:
        _list_faults(session, FAULTS)
        return
    if protocol is None:
        from bmslink.simulation.responder import RESPONDERS

        raise TargetError(f"Which protocol? Simulated are: {', '.join(RESPONDERS)}.")

    def announce(target: str) -> None:
        if session.json:
            session.record({"ready": target})
        else:
            session.print(simulate.ready(target))

    try:
        run(
            serve(
                protocol,
                pty=pty,
                tcp=tcp,
                cells=cells,
                chemistry=chemistry,
                soc=soc,
                seed=seed,
                address=address,
                firmware=firmware,
                speed=speed,
                faults=fault or (),
                load=load,
                announce=announce,
                commands=_lines(),
                reply=lambda text: _reply(session, text),
            )
        )
    except Terminated:
        return  # to be ended is how a server ends


def _list_faults(session: Session, known: dict[str, str]) -> None:
    from bmslink.cli.render import simulate

    if session.json:
        for name, what in known.items():
            session.record({"fault": name, "does": what})
    else:
        session.show(simulate.faults(known))


def _reply(session: Session, text: str) -> None:
    if not session.json:
        session.print(text)
        return
    try:
        values = json.loads(text)
    except ValueError:
        values = None
    session.record(values if isinstance(values, dict) else {"reply": text})


async def _lines() -> AsyncIterator[str]:
    """The lines of standard input, until it ends."""
    if hasattr(signal, "SIGTTIN"):  # reading a terminal from the background would stop us
        signal.signal(signal.SIGTTIN, signal.SIG_IGN)
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[str | None] = asyncio.Queue(maxsize=100)

    def put(line: str | None) -> None:
        asyncio.run_coroutine_threadsafe(queue.put(line), loop).result()

    threading.Thread(target=_read_stdin, args=(put,), daemon=True).start()
    while (line := await queue.get()) is not None:
        yield line


def _read_stdin(put: Callable[[str | None], None]) -> None:
    """Read standard input in a thread of its own: any kind of it, without holding its lock."""
    waiting = b""
    try:
        fd = sys.stdin.fileno()
        while data := _read_some(fd):
            *lines, waiting = (waiting + data).split(b"\n")
            for line in lines:
                put(line[:_LONGEST_LINE].decode(errors="replace"))
            waiting = waiting[:_LONGEST_LINE]
        if waiting:
            put(waiting.decode(errors="replace"))
        put(None)
    except (OSError, ValueError, AttributeError, RuntimeError, CancelledError):
        return  # there is no standard input, or nobody listens any more


def _read_some(fd: int) -> bytes:
    while True:
        try:
            return os.read(fd, 4096)
        except OSError as exc:
            # a program in the background may not read its terminal; it may come back
            if exc.errno != errno.EIO or not os.isatty(fd):
                raise
            time.sleep(_BACKGROUND)
