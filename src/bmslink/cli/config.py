"""`bmslink config`: whole configurations as files.

Whole configurations as files. A profile is a TOML file in V, A, °C and s that fits every vendor; a
backup holds the raw bytes of one board. Every write is planned first, shown, agreed to, journalled,
read back, and set back as a whole if anything differs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from bmslink.cli import change as c
from bmslink.cli import config_files as files
from bmslink.cli import options as o
from bmslink.cli.config_apply import apply
from bmslink.cli.config_changes import journal, resume, undo, verify
from bmslink.cli.config_diff import diff
from bmslink.cli.connection import ConnectionOptions, connect_all, connect_one
from bmslink.cli.output import DONE, exit_code, identified
from bmslink.cli.several import at_once, worst
from bmslink.errors import BmsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bmslink.board import Board
    from bmslink.cli.output import Session
    from bmslink.config import Plan

__all__ = ["COMMANDS"]

File = Annotated[str, typer.Argument(metavar="FILE", help="The profile.")]
BackupFile = Annotated[str, typer.Argument(metavar="FILE", help="The backup.")]


def backup(
    ctx: typer.Context,
    target: o.Target = None,
    *,
    output: o.OutputOptions,
    connection: ConnectionOptions,
) -> None:
    """Save everything that a pack holds, as raw bytes.

    With its identity, the values and a checksum; `restore` writes it back.
    """
    from bmslink.cli.loop import run_open
    from bmslink.config.files.backup import backup_text, make_backup, save_backup
    from bmslink.places import where

    session = o.session_of(ctx)
    device = connect_one(session, target, connection)
    identity, table = run_open(device, files.look)
    made = make_backup(str(device.target), identity, table, where(device).to_dict())
    path = output.output or files.backup_name(made)
    if path == "-":
        files.give(session, backup_text(made), output)
        return
    save_backup(made, path, overwrite=output.force)
    if session.json:
        session.record({**identified(device.target), "path": path, "sha256": made.sha256})
    else:
        session.print(f"{len(made.values)} settings of {device.target.label} are in {path}.")


def export(
    ctx: typer.Context,
    target: o.Target = None,
    own: Annotated[
        bool,
        typer.Option("--own", help="Include what belongs to this board alone (its address, …)."),
    ] = False,
    *,
    output: o.OutputOptions,
    connection: ConnectionOptions,
) -> None:
    """Write the settings of a pack as a profile.

    Includes the chemistry of its cells if it is stated; settings that other boards may lack are
    optional in it.
    """
    from bmslink.cli.loop import run_open
    from bmslink.config.files.profile import profile_of
    from bmslink.config.records.history import stated_chemistry

    session = o.session_of(ctx)
    device = connect_one(session, target, connection)
    identity, table = run_open(device, files.look)
    title = " ".join(x for x in (identity.vendor, identity.model, identity.firmware) if x)
    cells = stated_chemistry(device, identity, table)
    text = profile_of(table, title=title, own=own, chemistry=cells)
    files.give(session, text, output, target=device.target)


def presets(
    ctx: typer.Context,
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Which; else all.")] = None,
    target: Annotated[
        str | None, typer.Argument(metavar="[TARGET]", help="The pack it is made for.")
    ] = None,
    cells: Annotated[
        int | None,
        typer.Option(parser=o.whole, metavar="N", help="Cells in series; else the pack's, or 16."),
    ] = None,
    capacity: Annotated[
        float | None, typer.Option(parser=o.number, metavar="AH", help="Capacity of the pack, Ah.")
    ] = None,
    *,
    output: o.OutputOptions,
    connection: ConnectionOptions,
) -> None:
    """List the presets, or write one as a profile to start from.

    With a TARGET it is fitted to that pack: its settings, number of cells and capacity, and the
    currents that its board is rated for.
    """
    from bmslink.config.files.presets import PRESETS, fitted_preset, preset, preset_values

    session = o.session_of(ctx)
    if target is None:
        session.no_trace("config presets")
    if name is None:
        for each, what in PRESETS.items():
            if session.json:
                session.record({"name": each, "for": what})
            else:
                session.print(f"{each:10}{what}")
        return
    if target is None:
        files.give(session, preset(name, 16 if cells is None else cells, capacity), output)
        return
    from bmslink.cli.loop import run_open

    preset_values(name, 16 if cells is None else cells, capacity)  # before anything is opened
    device = connect_one(session, target, connection)
    identity, table, reading = run_open(device, files.look_live)
    text = fitted_preset(
        name, table, identity, reading, named=device.named, cells=cells, capacity=capacity
    )
    files.give(session, text, output, target=device.target)


def plan(
    ctx: typer.Context,
    file: File,
    targets: o.Targets = None,
    switches: c.Switches = False,
    *,
    options: c.PlanOptions,
    connection: ConnectionOptions,
) -> None:
    """Show what a profile would change, and every check.

    In the order of writing, with every byte; nothing is changed. Exit code 3 if a check fails; with
    several packs, which are read at the same time, the worst exit code.
    """
    from bmslink.cli.loop import run
    from bmslink.config import draft
    from bmslink.config.files.profile import load_profile

    session = o.session_of(ctx)
    profile = load_profile(file)
    devices = connect_all(session, targets, connection)

    made: dict[int, Plan | BmsError] = {}

    async def look(place: int) -> None:
        try:
            async with devices[place] as device:
                made[place] = await draft(
                    device,
                    profile,
                    switches=switches,
                    waive=options.waived(),
                    chemistry=options.chemistry,
                )
        except BmsError as error:
            made[place] = error

    run(at_once(range(len(devices)), devices.__getitem__, look))
    codes = [_show_planned(session, devices, place, made[place]) for place in range(len(devices))]
    if code := worst(codes):
        raise typer.Exit(code)


def _show_planned(
    session: Session, devices: Sequence[Board], place: int, made: Plan | BmsError
) -> int:
    """Show the plan of one of the packs, or why there is none; its exit code. What stops the only
    one is raised."""
    session.target = devices[place].target
    try:
        if isinstance(made, BmsError):
            raise made
        c.show_plan(session, made)
        c.stop_if_blocked(made)
    except BmsError as error:
        if len(devices) == 1:
            raise
        files.failed(session, devices[place].target, error)
        return exit_code(error)
    return DONE


def restore(
    ctx: typer.Context,
    file: BackupFile,
    target: o.Target = None,
    clone: Annotated[
        bool, typer.Option("--clone", help="Allow another board of the same kind.")
    ] = False,
    *,
    options: c.ChangeOptions,
    connection: ConnectionOptions,
) -> None:
    """Restore a pack from a backup.

    Byte for byte, as far as it may be written, with the same checks as for a profile. Switches stay
    as they are.
    """
    from bmslink.cli.loop import run_open
    from bmslink.config.files.backup import load_backup

    session = o.session_of(ctx)
    kept = load_backup(file)
    device = connect_one(session, target, connection)

    async def write(device: Board) -> None:
        waive = ("clone",) if clone else ()
        command = f"config restore {file}"
        await c.change(session, device, {}, options, command=command, raw=kept, waive=waive)

    run_open(device, write)


COMMANDS = {
    "backup": backup,
    "export": export,
    "presets": presets,
    "plan": plan,
    "apply": apply,
    "restore": restore,
    "undo": undo,
    "resume": resume,
    "verify": verify,
    "diff": diff,
    "journal": journal,
}
"""`bmslink config WORD` -> what it does."""
