"""`bmslink replay`: a recorded device for other software to talk to."""

from __future__ import annotations

from typing import Annotated

import typer

from bmslink.cli import options as o
from bmslink.cli.serving import ListenOptions, announce, run_server

__all__ = ["command"]


def command(
    ctx: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE", help="A capture file.")],
    *,
    listen: ListenOptions,
    speed: Annotated[
        float, typer.Option(parser=o.number, metavar="X", help="Recorded seconds per second.")
    ] = 1.0,
    loop: Annotated[bool, typer.Option("--loop", help="Begin again at the end.")] = False,
    protocol: o.Protocol = None,
) -> None:
    """Serve a recorded device to other software; prints `ready TARGET` when it can be talked to.

    Each request gets its next recorded answer; a device that sends unasked plays by itself. Runs
    until it is interrupted (exit code 130; 0 after SIGTERM). Each TCP connection gets the recording
    from the beginning; a pseudo-terminal is one line, and its baud rate does not matter. At the
    end, without --loop, the last answers are repeated, and a stream falls silent.
    """
    from bmslink.simulation.replay.recorded import Recording
    from bmslink.simulation.replay.responder import serve_recording

    session = o.session_of(ctx)
    session.no_trace("replay")
    run_server(
        serve_recording(
            Recording(file, protocol),
            pty=listen.pty,
            tcp=listen.tcp,
            speed=speed,
            loop=loop,
            announce=lambda target: announce(session, target),
            tell=session.say,
        )
    )
