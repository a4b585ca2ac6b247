"""`bmslink config` after a change: what became of it, what is on record, what still holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from bmslink.cli import change as c
from bmslink.cli import config_files as files
from bmslink.cli import options as o
from bmslink.cli.connection import ConnectionOptions, connect_one
from bmslink.cli.output import FOUND, identified
from bmslink.errors import TargetError

if TYPE_CHECKING:
    from bmslink.board import Board

__all__ = ["journal", "resume", "undo", "verify"]


def undo(
    ctx: typer.Context,
    target: o.Target = None,
    keep_changed: Annotated[
        bool,
        typer.Option("--keep-changed", help="Keep what somebody else changed since."),
    ] = False,
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help="Also set back what somebody else changed since."),
    ] = False,
    *,
    options: c.ChangeOptions,
    connection: ConnectionOptions,
) -> None:
    """Go back to what was set before the last change.

    Whatever made it: settings set, config apply, config restore, or an earlier undo (which redoes
    the change). It makes the same checks, shows which change it undoes, and asks. Switches stay as
    they are.
    """
    from bmslink.cli.loop import run_open
    from bmslink.config import Undo

    session = o.session_of(ctx)
    if keep_changed and overwrite:
        raise TargetError("--keep-changed, --overwrite: only one of them.")
    device = connect_one(session, target, connection)

    async def go_back(device: Board) -> None:
        waive = ("unchanged",) if overwrite else ()
        source = Undo(keep_changed=keep_changed)
        await c.change(session, device, {}, options, command="config undo", raw=source, waive=waive)

    run_open(device, go_back)


def resume(
    ctx: typer.Context,
    target: o.Target = None,
    rollback: Annotated[
        bool, typer.Option("--rollback", help="Set it back instead of finishing it.")
    ] = False,
    keep: Annotated[
        bool,
        typer.Option(
            "--keep", help="Send nothing: discard the record, whatever the board holds now."
        ),
    ] = False,
    show: Annotated[
        bool, typer.Option("--show", help="Only show the record and what the pack holds.")
    ] = False,
    waive: c.Waive = None,
    yes: c.Yes = False,
    *,
    connection: ConnectionOptions,
) -> None:
    """Finish a change that was cut off, or set it back.

    --show sends nothing; exit code 5 if there is such a change. A damaged record can only be
    discarded, with --keep.
    """
    from bmslink.cli.loop import run_open
    from bmslink.config import cut_off_change
    from bmslink.config import resume as end
    from bmslink.config.checks.check import require_waivers

    session = o.session_of(ctx)
    if rollback + keep + show > 1:
        raise TargetError("--show, --rollback, --keep: only one of them.")
    device = connect_one(session, target, connection)
    waived = require_waivers(waive or ())

    async def go_on(device: Board) -> bool:
        found = await cut_off_change(device)
        if show:
            files.show_cut_off(session, device.target, found)
            return found is not None
        if found is not None:
            back = rollback or found.back
            files.tell(session, found, back=back and not rollback and not keep)
            if found.elsewhere and "place" not in waived and c.can_ask(session):
                await c.agree(session, f"Is it the board of {found.elsewhere}?", yes=False)
                waived.add("place")
            how = "Give it up on" if keep else "Set it back on" if back else "Finish it on"
            await c.agree(session, f"{how} {device.target.label}?", yes=yes)
        odd = found.odd if found is not None else ""
        work = end(
            device,
            rollback=rollback,
            keep=keep,
            agreed=True,
            waive=waived,
            confirm=lambda told: yes or told == odd,  # that was agreed to just now
        )
        outcome = await c.under_way(session, device, work)
        c.show_outcome(session, device, outcome)
        return False

    if run_open(device, go_on):
        raise typer.Exit(FOUND)


def verify(
    ctx: typer.Context,
    target: o.Target = None,
    *,
    connection: ConnectionOptions,
) -> None:
    """Check that a pack still holds what its last change wrote.

    Sends nothing. Exit code 5 if anything differs, or if that change was cut off.
    """
    from bmslink.cli.loop import run_open
    from bmslink.cli.render import config
    from bmslink.config import verify as look

    session = o.session_of(ctx)
    device = connect_one(session, target, connection)

    found = run_open(device, look)
    if session.json:
        session.record({**identified(device.target), **found.to_dict()})
    else:
        session.print(found.sentence)
        if found.differences:
            session.show(config.verification(found.differences))
    if not found.fine:
        raise typer.Exit(FOUND)


def journal(
    ctx: typer.Context,
    target: Annotated[
        str | None, typer.Argument(metavar="[TARGET]", help="Show only this pack.")
    ] = None,
) -> None:
    """Show what was changed, when, by whom, and how.

    With --json, every record in full.
    """
    from bmslink.cli.render import journal as render
    from bmslink.config.records.history import records_of
    from bmslink.storage.journal import Journal

    session = o.session_of(ctx)
    session.no_trace("config journal")
    kept = Journal()
    records = list(kept.records()) if target is None else records_of(kept, target)
    if damaged := kept.damaged():
        session.say(
            f"{damaged} lines of the journal do not verify and are left out."
            if damaged > 1
            else "One line of the journal does not verify and is left out."
        )
    if session.json:
        for record in records:
            session.record(record)
        return
    lines = render.lines(records)
    if not lines:
        session.say(f"Nothing was changed yet; the journal is in {kept.folder}.")
    decisions = sum(record.get("event") == "decision" for record in records)
    if decisions:
        session.say(f"`control run` left {decisions} decisions in it as well; --json shows them.")
    for each in lines:
        session.print(each)
