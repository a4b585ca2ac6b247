"""`bmslink capture`: record every byte both ways, with times."""

from __future__ import annotations

import contextlib
import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from bmslink.cli import contribute as give
from bmslink.cli import options as o
from bmslink.cli.connection import ConnectionOptions, connect_one
from bmslink.cli.outfile import on_stdout, open_new
from bmslink.cli.output import FAILED, Session, about, identified
from bmslink.cli.streams import end_line, is_terminal
from bmslink.errors import BmsError, LinkTimeout, TransportError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bmslink.board import Board
    from bmslink.model import Reading

__all__ = ["command"]

_INTERVAL = 1.0
_SELDOM = 5.0  # s between two lines of progress where they cannot overwrite each other


def command(
    ctx: typer.Context,
    output: Annotated[str, typer.Option("-o", "--output", metavar="FILE", help="Where to record.")],
    target: o.Target = None,
    seconds: Annotated[
        float | None, typer.Option(parser=o.seconds, metavar="S", help="End after S seconds.")
    ] = None,
    count: o.Count = None,
    watch: Annotated[
        float, typer.Option(parser=o.seconds, metavar="S", help="Read every S seconds [1].")
    ] = _INTERVAL,
    force: o.Force = False,
    contribution: Annotated[
        bool,
        typer.Option(
            "--contribute", help="Make a file to give away: names and numbers replaced, checked."
        ),
    ] = False,
    shown: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE",
            help="With --contribute, what the vendor's app shows: voltage=53.2; repeatable.",
        ),
    ] = None,
    *,
    connection: ConnectionOptions,
) -> None:
    """Keep reading a pack, and record every byte in both directions with its time.

    Stops after --seconds or --count, or with Ctrl-C; the file is complete in each case. Passwords
    are blanked. `decode FILE` shows the readings in it, and replay:///FILE plays it back as a pack.

    --contribute records 30 s for the project: serial numbers, names and addresses are replaced in
    the frames, and the result is checked before it is written. It asks what the vendor's app shows
    at the same time.
    """
    from bmslink.cli.loop import run

    session = o.session_of(ctx)
    session.no_trace("capture")
    if contribution:
        length = seconds if seconds or count else give.RECORDED
        _contribute(session, target, connection, output, shown or (), force, (length, count, watch))
        return
    if shown:
        raise UsageError("--shown goes with --contribute.")
    device = connect_one(session, target, connection, record=lambda: open_new(output, force=force))
    tally = _CaptureTally(session, device, output)
    try:
        run(_record(device, tally, interval=watch, seconds=seconds, count=count))
    finally:
        tally.finish()
    if not tally.readings:
        session.complain(
            f"{device.target.label}: no reading came; the file holds what was said instead."
        )
        raise typer.Exit(FAILED)


def _contribute(
    session: Session,
    target: str | None,
    connection: ConnectionOptions,
    output: str,
    shown: Sequence[str],
    force: bool,
    how: tuple[float | None, int | None, float],
) -> None:
    """Record in memory, ask what the app shows, and write what may be given away."""
    from bmslink.app_values import read_shown
    from bmslink.cli.loop import run

    given = read_shown(shown)
    give.ready_to_write(output, force=force)
    kept = give.Kept()
    device = connect_one(session, target, connection, record=lambda: kept)
    tally = _CaptureTally(session, device, "-")
    seconds, count, interval = how
    try:
        run(_record(device, tally, interval=interval, seconds=seconds, count=count))
    finally:
        tally.finish()
    if not tally.readings:
        session.complain(f"{device.target.label}: no reading came, and nothing was written.")
        raise typer.Exit(FAILED)
    said = run(give.what_the_app_shows(session, given))
    give.contribute(session, device, kept.getvalue(), output, shown=said, force=force)


async def _record(
    device: Board,
    tally: _CaptureTally,
    *,
    interval: float,
    seconds: float | None,
    count: int | None,
) -> None:
    import asyncio

    from bmslink.polling import poll

    async def greet(device: Board) -> None:
        try:
            await device.identify()
        except BmsError as error:
            if isinstance(error, TransportError) and not isinstance(error, LinkTimeout):
                raise
            tally.tell(error)

    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await poll(device, tally.tell, interval=interval, count=count, greet=greet)


class _CaptureTally:
    """Counts what is recorded, and says so on stderr."""

    def __init__(self, session: Session, device: Board, path: str) -> None:
        self.session = session
        self.device = device
        self.path = path
        self.readings = 0
        self.errors = 0
        self._live = is_terminal(sys.stderr)
        self._said = float("-inf")

    @property
    def recorded(self) -> tuple[int, int]:
        """Pieces and bytes in the file."""
        return self.device.recorded

    def tell(self, news: Reading | BmsError) -> None:
        """A reading came, or an error."""
        from bmslink.cli.render.capture import progress

        if isinstance(news, BmsError):
            self.errors += 1
            self.session.say(about(self.device.target, news))
            return
        self.readings += 1
        text = progress(*self.recorded, self.readings, self.errors)
        if self._live and not self.session.quiet:
            self.session.progress(text)
        elif time.monotonic() - self._said >= _SELDOM:
            self._said = time.monotonic()
            self.session.say(text)

    def finish(self) -> None:
        """Say what the file holds."""
        from bmslink.cli.render.capture import summary

        pieces, size = self.recorded
        if self._live and self.readings and not self.session.quiet:
            end_line()
        if not pieces or on_stdout(self.path):  # nothing may stand behind a recording
            return
        if self.session.json:
            self.session.record(
                {
                    **identified(self.device.target),
                    "file": self.path,
                    "pieces": pieces,
                    "bytes": size,
                    "readings": self.readings,
                    "errors": self.errors,
                }
            )
        else:
            self.session.show(summary(self.path, pieces, size, self.readings, self.errors))
