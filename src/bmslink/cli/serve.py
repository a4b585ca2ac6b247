"""`bmslink serve`: the service, which polls packs for months and lets other programs through."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bmslink.cli import options as o
from bmslink.cli.loop import on_signals
from bmslink.cli.output import Session
from bmslink.cli.serving import run_server
from bmslink.cli.streams import written_later
from bmslink.cli.verbosity import start_logging
from bmslink.errors import BmsError, TargetError

if TYPE_CHECKING:
    from bmslink.runtime.api.hosting import Listening
    from bmslink.runtime.feed import FeedItem
    from bmslink.runtime.service import Service
    from bmslink.runtime.service_file import ServicePlan

__all__ = ["command"]

_SWITCH = 0.0005
"""s that the loop waits at most for a thread that computes, where Python's own value is 0.005: what
is written to the disk must not delay a frame."""


def command(
    ctx: typer.Context,
    targets: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[TARGET]...", help="What to serve [default: all packs of bmslink.toml]."
        ),
    ] = None,
    config: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Use this file instead of the usual bmslink.toml."),
    ] = None,
    system: Annotated[
        bool,
        typer.Option("--system", help="Serve the whole machine: members of its group may use it."),
    ] = False,
    loopback: Annotated[
        bool,
        typer.Option(
            "--loopback", help="Listen on a loopback port with a token instead of a local socket."
        ),
    ] = False,
    history: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|FOLDER", help="Store readings, energy and events here (SQLite)."
        ),
    ] = None,
) -> None:
    """Read packs until it is stopped, and let other programs in; prints `ready` and its socket.

    Stops cleanly on SIGTERM (exit code 0) and Ctrl-C (130); SIGHUP reads the file again. Other
    commands find a served pack automatically. `bmslink service install` sets it up with systemd.
    """
    from bmslink.runtime.api.hosting import host
    from bmslink.runtime.service import Service
    from bmslink.runtime.service_file import load_plan

    session = o.session_of(ctx)
    if session.trace is not None:
        raise TargetError("serve records nothing; `bmslink capture` records a served pack too.")
    start_logging(session)
    plan = load_plan(targets or (), None if config is None else Path(config))
    if history is not None:
        plan = _with_history(plan, history)
    for remark in plan.remarks:
        session.say(remark)

    sys.setswitchinterval(_SWITCH)

    async def serve() -> None:
        service = Service(plan)
        _on_signals(session, service)
        async with asyncio.TaskGroup() as group:
            announced = asyncio.Event()
            telling = group.create_task(_tell(session, service, announced))

            def ready(listening: Listening) -> None:
                _ready(session, service, listening)
                announced.set()

            await host(
                service,
                system=system,
                loopback=loopback or sys.platform == "win32",
                ready=ready,
            )
            telling.cancel()

    with _telling_people(session), written_later(lasts=True):
        run_server(serve())


def _with_history(plan: ServicePlan, place: str) -> ServicePlan:
    """The plan with a history at this place; the file's own [history] says the rest."""
    from bmslink.runtime.history.options import HistoryOptions

    return plan.with_section(HistoryOptions.at(place, plan.section(HistoryOptions)))


@contextlib.contextmanager
def _telling_people(session: Session) -> Iterator[None]:
    """What happens to the packs is worth a line, without -v too."""
    log = logging.getLogger("bmslink.runtime")
    if not session.json and not session.quiet and session.verbosity == 0:
        log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.setLevel(logging.NOTSET)


def _ready(session: Session, service: Service, listening: Listening) -> None:
    from bmslink.cli.render.service import ready

    if session.json:
        session.record({"ready": listening.at, "packs": [*service.packs], **listening.to_dict()})
    else:
        session.write(ready(listening))
        session.say(
            f"Serves {', '.join(service.packs)}. Other commands find them by themselves; "
            "`bmslink service status` shows how they are."
        )


async def _tell(session: Session, service: Service, announced: asyncio.Event) -> None:
    """Events as they come, for programs; people read the log. Programs wait for the line with
    `ready`, and packs may be read before: what happens earlier comes after that line."""
    with service.feed.subscribe(kinds=["event"]) as news:
        await announced.wait()
        async for item in news:
            if session.json:
                session.record(_event(item))


def _event(item: FeedItem) -> dict[str, object]:
    return {"event": item.data.to_dict(), "pack": item.pack or None, "time": item.time}


def _on_signals(session: Session, service: Service) -> None:
    """SIGTERM ends it, SIGHUP reads the file again; Ctrl-C is what it is for every command."""
    loop = asyncio.get_running_loop()
    reloads: set[asyncio.Task[None]] = set()

    def reload() -> None:
        task = loop.create_task(_reload(session, service))
        reloads.add(task)
        task.add_done_callback(reloads.discard)

    on_signals(term=service.stop, hangup=reload)


async def _reload(session: Session, service: Service) -> None:
    """A file with a mistake changes nothing; the log says what became of it."""
    with contextlib.suppress(BmsError):
        outcome = await service.reload()
        for remark in outcome.remarks:
            session.say(remark)
