"""`bmslink read`: one reading, or one every S seconds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from bmslink.cli import options as o
from bmslink.cli.connection import ConnectionOptions, connect_all
from bmslink.cli.output import FAILED, Session, about, exit_code, identified

if TYPE_CHECKING:
    from bmslink.board import Board
    from bmslink.errors import BmsError
    from bmslink.link.transport import Endpoint
    from bmslink.model import Reading

__all__ = ["command", "read_all"]

_CONDITIONS = 4
"""The conditions are mostly shorter than their title by so many characters."""


def command(
    ctx: typer.Context,
    targets: o.Targets = None,
    watch: o.Watch = None,
    count: o.Count = None,
    *,
    connection: ConnectionOptions,
) -> None:
    """Read one or more packs, once or every S seconds.

    --count without --watch reads every second. While watching, bmslink reports silence and goes on,
    and reopens a lost link.
    """
    session = o.session_of(ctx)
    interval = watch if watch is not None or count is None else 1.0
    read_all(session, connect_all(session, targets, connection), interval, count)


def read_all(
    session: Session, devices: list[Board], interval: float | None, count: int | None = None
) -> None:
    """Read packs and put out what they say, once or every `interval` seconds; raises the exit code
    where one failed."""
    from bmslink.cli.loop import run

    report = ReadingOutput(session, [d.target for d in devices], watching=interval is not None)
    run(_read_all(devices, report, interval, count))
    if report.failed:
        raise typer.Exit(report.code)


async def _read_all(
    devices: list[Board], report: ReadingOutput, interval: float | None, count: int | None
) -> None:
    import asyncio

    from bmslink.cli.open_change import warn
    from bmslink.errors import BmsError
    from bmslink.polling import poll

    async def follow(index: int, device: Board) -> None:
        try:
            if interval is None:
                async with device:
                    report.tell(index, await device.read())
                    warn(report.session, device)
            else:
                warned = False

                async def greet(device: Board) -> None:
                    nonlocal warned
                    if not warned:
                        warn(report.session, device)
                    warned = True

                await poll(
                    device,
                    lambda news: report.tell(index, news),
                    interval=interval,
                    count=count,
                    greet=greet,
                )
        except BmsError as error:
            report.tell(index, error)

    async with asyncio.TaskGroup() as group:
        for index, device in enumerate(devices):
            group.create_task(follow(index, device))


class ReadingOutput:
    """Puts each reading or error out as it comes."""

    def __init__(self, session: Session, targets: list[Endpoint], *, watching: bool) -> None:
        self.session = session
        self.targets = targets
        self.watching = watching
        self.failed = False
        self.code = FAILED
        self._begun = False

    def tell(self, index: int, news: Reading | BmsError) -> None:
        """A reading or an error of the target with this index."""
        if isinstance(news, Exception):
            self._error(index, news)
        elif self.session.json:
            self.session.record(news.to_dict())
        else:
            self._show(index, news)

    def _error(self, index: int, error: BmsError) -> None:
        self.failed = True
        several = len(self.targets) > 1
        if not several and not self.watching:
            self.code = exit_code(error)
        if self.session.json and (several or self.watching):
            self.session.record({**identified(self.targets[index]), "error": str(error)})
        self.session.show_traceback(error)
        self.session.complain(about(self.targets[index], error))

    def _show(self, index: int, reading: Reading) -> None:
        from bmslink.cli.render import read, text

        g = text.glyphs(ascii_only=self.session.ascii)
        if not self.watching:
            self.session.show(read.block(reading, g))
            return
        several = len(self.targets) > 1
        console = self.session.console
        narrow = console.is_terminal and console.width < len(read.HEADER) - _CONDITIONS
        if not self._begun:
            self._begun = True
            for n, target in enumerate(self.targets, 1):
                self.session.print(f"#{n} {target.label}" if several else target.label)
            if not narrow:
                self.session.print(("   " if several else "") + read.HEADER)
        label = f"#{index + 1:<2}" if several else ""
        self.session.show((read.brief if narrow else read.line)(reading, g, label))
