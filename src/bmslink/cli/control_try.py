"""`bmslink control backtest` and `decode`: policies tried on a recording, and why they decide."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bmslink.cli import options as o
from bmslink.cli.connection import ConnectionOptions, connect_one
from bmslink.cli.option_groups import OptionGroup
from bmslink.cli.output import Session
from bmslink.errors import TargetError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bmslink.control.backtest.logs import Entry, Log, SkippedLines
    from bmslink.control.backtest.report import BacktestReport
    from bmslink.control.decide.policy import PolicySet
    from bmslink.model import Reading

__all__ = ["InstallationOptions", "Policies", "backtest", "explain", "say_in_force"]

_LOOKS, _APART = 3, 1.0  # readings of a live pack, and s between them

LogFile = Annotated[
    str,
    typer.Argument(
        metavar="LOG",
        help="What `bmslink log` or `capture` wrote, or `bmslink read --watch --json` printed.",
    ),
]
Policies = Annotated[
    str,
    typer.Option(
        "--policies", metavar="FILE", help="The policy file; `bmslink control presets` writes one."
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class InstallationOptions(OptionGroup):
    """What is known of the pack and of what is connected to it."""

    settings: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="What `bmslink settings show --json` said of the pack."),
    ] = None
    sink: Annotated[
        bool,
        typer.Option(
            "--sink",
            help="Something obeys the limits: a limit of 0 does not open a switch as well.",
        ),
    ] = False

    def known(self) -> dict[str, float] | None:
        """The settings of the pack; `None` where no file was named."""
        from bmslink.control.settings import load_settings

        return None if self.settings is None else load_settings(Path(self.settings))


@dataclass(frozen=True, slots=True, kw_only=True)
class LogOptions(OptionGroup):
    """How a recording tells the time."""

    interval: Annotated[
        float | None,
        typer.Option(parser=o.seconds, metavar="S", help="Time between readings that have none."),
    ] = None
    speed: Annotated[
        float,
        typer.Option(parser=o.number, metavar="X", help="How much faster the recorded pack lived."),
    ] = 1.0


def backtest(
    ctx: typer.Context,
    log: LogFile,
    policies: Policies,
    compare: Annotated[
        list[str] | None,
        typer.Option("--compare", metavar="FILE", help="Another policy file, side by side."),
    ] = None,
    *,
    installation: InstallationOptions,
    timing: LogOptions,
    protocol: o.Protocol = None,
) -> None:
    """Try policies on a recording: what they would have done, when and why.

    Everything that is not off counts as if it acted. The recorded pack was not limited: what
    would have followed from a decision is not in the log.
    """
    from bmslink.cli.render import backtest as render
    from bmslink.control.backtest.backtest import backtest as try_on
    from bmslink.control.files import load_policies

    session = o.session_of(ctx)
    session.no_trace("control backtest")
    files = [policies, *(compare or ())]
    sets = [load_policies(Path(file)) for file in files]
    say_in_force(session, dict(zip(files, sets, strict=True)))
    known = installation.known()
    source = _log(log, protocol, timing)
    found = try_on(_noticed(session, source, dict(zip(files, sets, strict=True))), sets, known,
                   sink=installation.sink)  # fmt: skip
    _say_skipped(session, log, source.skipped)
    for reports in found:
        if session.json:
            for file, report in zip(files, reports, strict=True):
                session.record({"policies": file, **report.to_dict()})
        else:
            _show(session, reports, files)
    if not session.json:
        session.print(render.NOTE)


def _show(session: Session, reports: list[BacktestReport], files: list[str]) -> None:
    from bmslink.cli.render import backtest as render
    from bmslink.cli.render.text import glyphs

    for line in render.head(reports[0]):
        session.print(line)
    session.print("")
    session.show(render.table(reports, files, glyphs(ascii_only=session.ascii)))
    for report, name in zip(reports, render.names(files), strict=True):
        session.print("")
        for line in render.story(report, name):
            session.print(line)
    session.print("")


def explain(
    ctx: typer.Context,
    policies: Policies,
    source: Annotated[
        str | None,
        typer.Argument(metavar="[LOG_OR_TARGET]", help="A recording, or a pack to ask now."),
    ] = None,
    at: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="2026-01-31T06:30:00Z, or +SECONDS after the beginning."),
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Those that are content, and those at rest, as well.")
    ] = False,
    *,
    installation: InstallationOptions,
    timing: LogOptions,
    connection: ConnectionOptions,
) -> None:
    """Show why a moment is judged as it is: the reasons behind every permit and limit.

    A recording is followed from its beginning to the moment (without --at: to its end); a pack is
    read three times, a second apart.
    """
    from bmslink.cli.render import explain as render
    from bmslink.control.backtest.explain import explain_log, explain_readings
    from bmslink.control.files import load_policies

    session = o.session_of(ctx)
    known = installation.known()
    chosen = load_policies(Path(policies))
    say_in_force(session, {policies: chosen})
    place = o.one_target(source)
    if Path(place).is_file():
        session.no_trace("control explain on a recording")
        moment, after = _moment(at)
        log = _log(place, connection.protocol, timing)
        noticed = _noticed(session, log, {policies: chosen})
        found = explain_log(noticed, chosen, known, at=moment, after=after, sink=installation.sink)
        _say_skipped(session, place, log.skipped)
    else:
        if at is not None:
            raise TargetError(f"--at is for recordings, and {place} is no file.")
        readings = _look(session, place, connection)
        found = [explain_readings(readings, chosen, known, poll=_APART, sink=installation.sink)]
    for number, each in enumerate(found):
        if session.json:
            session.record(each.to_dict())
        else:
            session.print(*([""] if number else []), *render.tree(each, every=every))


def say_in_force(session: Session, files: Mapping[str, PolicySet]) -> None:
    """Say of files of an older version that today's defaults are in force."""
    from bmslink.control.check import in_force

    for file, policies in files.items():
        if sentence := in_force(policies, file):
            session.say(sentence)


def _log(path: str, protocol: str | None, timing: LogOptions) -> Log:
    from bmslink.control.backtest.logs import Log
    from bmslink.protocols import load_driver

    if protocol is not None:
        load_driver(protocol)
    return Log(Path(path), protocol=protocol, interval=timing.interval, speed=timing.speed)


def _noticed(session: Session, log: Log, files: Mapping[str, PolicySet]) -> Iterator[Entry]:
    """The log; what does not fit a policy file is said once for each pack."""
    from bmslink.control.check import Level, check_pack

    seen: set[str] = set()
    for entry in log:
        reading = entry.reading
        if entry.target not in seen and reading.cell_voltages and reading.temperatures:
            seen.add(entry.target)
            for file, policies in files.items():
                for finding in check_pack(reading, policies):
                    if finding.level >= Level.WARNING:
                        session.say(f"{entry.target}, {file}: {finding.text}")
        yield entry


_BEFORE_ZONE = re.compile(r"\s+(?=[+-]\d{4}$)")
"""Times are shown with a space there."""


def _moment(text: str | None) -> tuple[float | None, float | None]:
    """`--at`: seconds since 1970, or seconds after the beginning."""
    if text is None:
        return None, None
    if text.startswith("+"):
        return None, o.number(text[1:])
    try:
        moment = datetime.fromisoformat(_BEFORE_ZONE.sub("", text))
        return moment.timestamp(), None  # without a zone: by the local clock, as it is shown
    except (ValueError, OverflowError):
        raise TargetError(
            f"--at is a time like 2026-01-31T06:30:00Z or +3600, not {text[:40]!r}."
        ) from None


def _look(
    session: Session, target: str, connection: ConnectionOptions
) -> list[tuple[float, Reading]]:
    import asyncio

    from bmslink.cli.loop import run

    device = connect_one(session, target, connection)

    async def look() -> list[tuple[float, Reading]]:
        loop = asyncio.get_running_loop()
        found, start = [], time.time() - loop.time()
        async with device:
            for number in range(_LOOKS):
                if number:
                    await asyncio.sleep(_APART)
                reading = await device.read()
                found.append((start + loop.time(), reading))
        return found

    return run(look())


def _say_skipped(session: Session, path: str, skipped: SkippedLines) -> None:
    parts = [
        f"{count} {what}"
        for count, what in (
            (skipped.damaged, "damaged"),
            (skipped.foreign, "of something else"),
            (skipped.untimed, "without a time"),
            (skipped.errors, "that say that the pack did not answer"),
        )
        if count
    ]
    if parts:
        session.say(f"{path}: skipped {', '.join(parts)}.")
