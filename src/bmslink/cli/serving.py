"""What `simulate` and `replay` share: where a device is served, and how serving begins and ends."""

from __future__ import annotations

from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from bmslink.cli.option_groups import OptionGroup
from bmslink.cli.output import Session, Terminated

__all__ = ["ListenOptions", "announce", "run_server"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenOptions(OptionGroup):
    """Where other software reaches the device."""

    pty: Annotated[
        str | None, typer.Option(metavar="LINK", help="Serve a pseudo-terminal, linked here.")
    ] = None
    tcp: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Serve a TCP port; 0 is any free one.")
    ] = None


def announce(session: Session, target: str) -> None:
    """The line that other programs wait for."""
    from bmslink.cli.render import simulate

    if session.json:
        session.record({"ready": target})
    else:
        session.write(simulate.ready(target))


def run_server(serving: Coroutine[Any, Any, None]) -> None:
    """Serve until it is over; SIGTERM is how a server ends, and no failure."""
    from bmslink.cli.loop import run

    try:
        run(serving)
    except Terminated:
        return
