"""`bmslink log`: readings into a file, for weeks, without a service."""

from __future__ import annotations

import contextlib
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bmslink.cli import options as o
from bmslink.cli.connection import ConnectionOptions, connect_all
from bmslink.cli.output import FAILED, Session, about
from bmslink.cli.streams import end_line, is_terminal
from bmslink.errors import BmsError

if TYPE_CHECKING:
    from bmslink.board import Board
    from bmslink.model import Reading
    from bmslink.storage.readings.writer import LogWriter

__all__ = ["command"]

_INTERVAL = 5.0
_SELDOM = 3600.0  # s between two lines of progress where they cannot overwrite each other


def command(
    ctx: typer.Context,
    output: Annotated[
        str,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE",
            help="Where to: its end (.jsonl .jsonl.gz .csv .db .parquet) is the format.",
        ),
    ],
    targets: o.Targets = None,
    watch: Annotated[
        float, typer.Option(parser=o.seconds, metavar="S", help="Read every S seconds.")
    ] = _INTERVAL,
    seconds: Annotated[
        float | None, typer.Option(parser=o.seconds, metavar="S", help="End after S seconds.")
    ] = None,
    count: o.Count = None,
    *,
    connection: ConnectionOptions,
) -> None:
    """Keep reading packs, and append each reading to a file.

    An existing file is continued. Each reading is on the disk before the next one comes, so a power
    cut loses one at most. Stops after --seconds or --count, or with Ctrl-C. `control backtest`
    tries policies on such a file.
    """
    from bmslink.cli.loop import run
    from bmslink.storage.readings.log_file import open_log
    from bmslink.storage.readings.writer import LogWriter

    session = o.session_of(ctx)
    devices = connect_all(session, targets, connection)
    file = open_log(Path(output))
    for remark in file.remarks:
        session.say(f"{output}: {remark}")
    tally = _LogTally(session, devices, output, LogWriter(file))
    try:
        run(_log(devices, tally, interval=watch, seconds=seconds, count=count))
    finally:
        tally.finish()
    if tally.failed:
        raise typer.Exit(FAILED)


async def _log(
    devices: list[Board],
    tally: _LogTally,
    *,
    interval: float,
    seconds: float | None,
    count: int | None,
) -> None:
    import asyncio

    from bmslink.polling import poll

    async def follow(index: int, device: Board) -> None:
        try:
            await poll(device, lambda news: tally.tell(index, news), interval=interval, count=count)
        except BmsError as error:
            tally.tell(index, error)
            tally.ended.add(index)

    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds), asyncio.TaskGroup() as group:
            for index, device in enumerate(devices):
                group.create_task(follow(index, device))


class _LogTally:
    """Hands readings to the file, counts them, and says so on stderr."""

    def __init__(
        self, session: Session, devices: list[Board], path: str, writer: LogWriter
    ) -> None:
        self.session = session
        self.devices = devices
        self.path = path
        self.writer = writer
        self.readings = self.errors = 0
        self.ended: set[int] = set()
        """Packs of which no more is to be expected, because they cannot be opened."""
        self.failed = False
        self._heard: set[int] = set()
        self._errors: dict[int, str] = {}
        self._trouble = ""
        self._live = is_terminal(sys.stderr)
        self._said = float("-inf")

    def tell(self, index: int, news: Reading | BmsError) -> None:
        """A reading came, or an error."""
        if isinstance(news, BmsError):
            self.errors += 1
            if self._errors.get(index) != str(news):  # a pack may sleep all night
                self._errors[index] = str(news)
                self.session.show_traceback(news)
                self.session.complain(about(self.devices[index].target, news))
            return
        self._errors.pop(index, None)
        self.readings += 1
        self._heard.add(index)
        self.writer.put(news)
        self._complain()
        if self._live and not self.session.quiet:
            self.session.progress(self._progress())
        elif time.monotonic() - self._said >= _SELDOM:
            self._said = time.monotonic()
            self.session.say(self._progress())

    def _complain(self) -> None:
        trouble, self._trouble = self._trouble, self.writer.trouble
        if self._trouble and self._trouble != trouble:
            self.session.complain(
                f"{self.path} cannot be written: {self._trouble}. It is tried again and again."
            )

    def _progress(self) -> str:
        text = _counted(self.readings, "reading")
        return f"{text}, {_counted(self.errors, 'error')}" if self.errors else text

    def finish(self) -> None:
        """Write the rest, and say what was added to the file."""
        missing = self.writer.close()
        if self._live and self.readings and not self.session.quiet:
            end_line()
        if missing or self.writer.trouble:
            self.session.complain(
                f"{self.path}: {_counted(missing, 'reading')} could not be written: "
                f"{self.writer.trouble}."
            )
        self.failed = bool(
            missing or self.writer.trouble or self.ended or len(self._heard) < len(self.devices)
        )
        if self.session.json:
            self.session.record(
                {
                    "file": self.path,
                    "readings": self.writer.written,
                    "packs": len(self._heard),
                    "errors": self.errors,
                }
            )
        else:
            self.session.print(f"{self.path}: {_counted(self.writer.written, 'reading')} added.")


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
