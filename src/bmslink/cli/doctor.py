"""`bmslink doctor`: what is wrong with a link, a pack, its settings or this computer."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from bmslink.cli import options as o
from bmslink.cli.connection import ConnectionOptions
from bmslink.cli.output import FOUND, Session

if TYPE_CHECKING:
    from bmslink.link.transport import Pin
    from bmslink.reports.doctor import Examination

__all__ = ["command"]


def command(
    ctx: typer.Context,
    target: Annotated[
        str | None,
        typer.Argument(
            metavar="[TARGET]",
            help="The pack; without one (and without BMSLINK_TARGET) this computer and all packs "
            "of bmslink.toml.",
        ),
    ] = None,
    explain: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Say more about a check or a condition, and end."),
    ] = None,
    bundle: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Also write all of it into a zip for a bug report, without secrets.",
        ),
    ] = None,
    force: o.Force = False,
    *,
    connection: ConnectionOptions,
) -> None:
    """Find out what is wrong: with the link, the board, the battery, its settings, this computer.

    It only reads. Each finding says what it is, why it matters, and how to mend it; what was found
    right, and what could not be looked at, comes after. Exit code 5: something was found that is
    more than a note.
    """
    session = o.session_of(ctx)
    if explain is not None:
        _explain(session, explain)
        return
    from bmslink.cli.loop import run
    from bmslink.cli.verbosity import start_logging
    from bmslink.storage.credentials import read_pin

    start_logging(session)
    word = target or os.environ.get("BMSLINK_TARGET")
    if word is None:
        session.no_trace("doctor without a TARGET")
    if bundle is not None:
        from bmslink.reports.doctor.bundle.files import may_be_written

        may_be_written(bundle, force=force)
    pin = read_pin(connection.pin_file) if connection.pin_file is not None else None
    examination = run(_look(session, word, connection, pin))
    if session.trace is not None and word is not None:
        from bmslink.cli.outfile import open_new

        with open_new(session.trace, instead="name another file") as file:
            for line in examination.packs[0].capture.splitlines(keepends=True):
                file.write(line)
    _show(session, examination)
    if bundle is not None:
        from bmslink.reports.doctor.bundle.files import write_bundle

        path = write_bundle(bundle, examination, force=force, secrets=[pin] if pin else [])
        session.say(f"{path} holds all of it for a bug report. Look through it before you send it.")
    if examination.trouble:
        raise typer.Exit(FOUND)


async def _look(
    session: Session, word: str | None, connection: ConnectionOptions, given: str | None
) -> Examination:
    from bmslink.packs import find_pack, find_pin
    from bmslink.reports.doctor.examine import examine_all, examine_host

    if word is None:
        return await examine_host(tell=session.progress)
    endpoints = connection.endpoints(word)
    pin: Pin = find_pin(word, given)
    return await examine_all(endpoints, named=find_pack(word), pin=pin, tell=session.progress)


def _show(session: Session, examination: Examination) -> None:
    if session.json:
        session.record(examination.to_dict())
        return
    from bmslink.cli.render import doctor as render

    for line in render.lines(examination, quiet=session.quiet):
        if line.whole:
            session.write(line.text)
        else:
            session.print(line.text)


def _explain(session: Session, name: str) -> None:
    from bmslink.reports.doctor.explain import explain

    found = explain(name)
    if session.json:
        session.record(found._asdict())
        return
    from bmslink.cli.render import doctor as render

    session.print(*render.explained(found))
