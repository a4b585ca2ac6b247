"""`bmslink config`: whole configurations as files.

Whole configurations as files. A profile is a TOML file in V, A, °C and s that fits every vendor; a
backup holds the raw bytes of one board. Every write is planned first, shown, agreed to, journalled,
read back, and set back as a whole if anything differs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from bmslink.cli import changing as c
from bmslink.cli import config_files as files
from bmslink.cli import options as o
from bmslink.cli.output import exit_code
from bmslink.errors import BmsError, TargetError

if TYPE_CHECKING:
    from bmslink.cli.output import Session
    from bmslink.config.profile import Profile
    from bmslink.device import Device
    from bmslink.protocols.settings import SettingsMap

__all__ = ["COMMANDS"]

File = Annotated[str, typer.Argument(metavar="FILE", help="The profile.")]
BackupFile = Annotated[str, typer.Argument(metavar="FILE", help="The backup.")]
Out = Annotated[
    str | None, typer.Option("--output", "-o", metavar="FILE", help="Write it to this file.")
]
FOUND = 5


def backup(
    ctx: typer.Context,
    target: o.Target = None,
    output: Out = None,
    force: c.Force = False,
    protocol: o.Protocol = None,
    address: o.Address = None,
    baudrate: o.Baudrate = None,
    timeout: o.Timeout = None,
) -> None:
    """Keep all that stands in a pack, as raw bytes.

    With who it is, the values and a checksum; `restore` takes it back.
    """
    from bmslink.cli.loop import run
    from bmslink.config.backup import make_backup, save_backup

    session = o.session_of(ctx)
    device = c.open_one(session, target, _line(protocol, address, baudrate, timeout))
    identity, table = run(files.look(device))
    made = make_backup(str(device.target), identity, table)
    path = output or files.backup_name(made)
    save_backup(made, path, overwrite=force)
    if session.json:
        session.record({"target": made.target, "path": path, "sha256": made.sha256})
    else:
        session.print(f"{len(made.values)} settings of {device.target} are in {path}.")


def export(
    ctx: typer.Context,
    target: o.Target = None,
    output: Out = None,
    own: Annotated[
        bool, typer.Option("--own", help="With what belongs to this one board (its address, …).")
    ] = False,
    force: c.Force = False,
    protocol: o.Protocol = None,
    address: o.Address = None,
    baudrate: o.Baudrate = None,
    timeout: o.Timeout = None,
) -> None:
    """Write the settings of a pack as a profile."""
    from bmslink.cli.loop import run
    from bmslink.config.profile import profile_of

    session = o.session_of(ctx)
    device = c.open_one(session, target, _line(protocol, address, baudrate, timeout))
    identity, table = run(files.look(device))
    title = " ".join(x for x in (identity.vendor, identity.model, identity.firmware) if x)
    files.give(session, profile_of(table, title=title, own=own), output, force=force)


def presets(
    ctx: typer.Context,
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Which; else all.")] = None,
    cells: Annotated[int, typer.Option(parser=o.whole, metavar="N", help="Cells in series.")] = 16,
    capacity: Annotated[
        float | None, typer.Option(parser=o.number, metavar="AH", help="Capacity of the pack, Ah.")
    ] = None,
    output: Out = None,
    force: c.Force = False,
) -> None:
    """List the presets, or write one as a profile to begin with."""
    from bmslink.config.presets import PRESETS, preset

    session = o.session_of(ctx)
    session.no_trace("config presets")
    if name is None:
        for each, what in PRESETS.items():
            if session.json:
                session.record({"name": each, "for": what})
            else:
                session.print(f"{each:10}{what}")
        return
    files.give(session, preset(name, cells, capacity), output, force=force)


def plan(
    ctx: typer.Context,
    file: File,
    targets: o.Targets = None,
    untested: c.Untested = False,
    waive: c.Waive = None,
    chemistry: c.Chemistry = None,
    protocol: o.Protocol = None,
    address: o.Address = None,
    baudrate: o.Baudrate = None,
    timeout: o.Timeout = None,
) -> None:
    """Show what a profile would change, and every check.

    In the order of writing, and with every byte; nothing is changed. Exit code 3 where a check
    stands in the way.
    """
    from bmslink.config import draft
    from bmslink.config.profile import load_profile

    session = o.session_of(ctx)
    profile = load_profile(file)
    devices = _connect(session, targets, _line(protocol, address, baudrate, timeout))

    async def look(device: Device) -> None:
        async with device:
            found = await device.settings_map(await device.identify())
            made = await draft(
                device,
                _wanted(found, profile),
                waive=c.waivers(waive, untested=untested),
                chemistry=chemistry,
                settings=found,
            )
            c.show_plan(session, made)
            c.stop_if_blocked(made)

    errors = files.one_by_one(session, devices, look)
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise typer.Exit(max(exit_code(error) for error in errors))


def apply(
    ctx: typer.Context,
    file: File,
    targets: o.Targets = None,
    untested: c.Untested = False,
    waive: c.Waive = None,
    chemistry: c.Chemistry = None,
    yes: c.Yes = False,
    dry_run: c.DryRun = False,
    protocol: o.Protocol = None,
    address: o.Address = None,
    baudrate: o.Baudrate = None,
    timeout: o.Timeout = None,
) -> None:
    """Write a profile to one pack or several.

    Shows the plan and asks. Every value is read back, and everything is set back if one is not as
    planned. Several packs follow each other; the first failure ends it.
    """
    from bmslink.cli.loop import run
    from bmslink.config.profile import load_profile

    session = o.session_of(ctx)
    profile = load_profile(file)
    devices = _connect(session, targets, _line(protocol, address, baudrate, timeout))

    async def write(device: Device) -> None:
        async with device:
            found = await device.settings_map(await device.identify())
            await c.change(
                session,
                device,
                found,
                _wanted(found, profile),
                waive=c.waivers(waive, untested=untested),
                chemistry=chemistry,
                yes=yes,
                dry_run=dry_run,
            )

    for number, device in enumerate(devices):
        session.target = str(device.target)
        try:
            run(write(device))
        except (BmsError, KeyboardInterrupt):
            left = [str(d.target) for d in devices[number + 1 :]]
            if left:
                session.complain(f"Not begun: {', '.join(left)}.")
            raise


def restore(
    ctx: typer.Context,
    file: BackupFile,
    target: o.Target = None,
    clone: Annotated[
        bool, typer.Option("--clone", help="Onto another board of the same kind.")
    ] = False,
    untested: c.Untested = False,
    waive: c.Waive = None,
    chemistry: c.Chemistry = None,
    yes: c.Yes = False,
    dry_run: c.DryRun = False,
    protocol: o.Protocol = None,
    address: o.Address = None,
    baudrate: o.Baudrate = None,
    timeout: o.Timeout = None,
) -> None:
    """Set a pack back to what a backup holds.

    Byte for byte, where it may be written; it passes the same checks as a profile.
    """
    from bmslink.cli.loop import run
    from bmslink.config.backup import load_backup

    session = o.session_of(ctx)
    kept = load_backup(file)
    device = c.open_one(session, target, _line(protocol, address, baudrate, timeout))

    async def write(device: Device) -> None:
        async with device:
            identity = await device.identify()
            found = await device.settings_map(identity)
            files.check_backup(kept, identity, found, clone=clone)
            await c.change(
                session,
                device,
                found,
                {},
                raw=kept.image(),
                waive=c.waivers(waive, untested=untested),
                chemistry=chemistry,
                yes=yes,
                dry_run=dry_run,
            )

    run(write(device))


def resume(
    ctx: typer.Context,
    target: o.Target = None,
    rollback: Annotated[
        bool, typer.Option("--rollback", help="Set it back instead of finishing it.")
    ] = False,
    keep: Annotated[
        bool, typer.Option("--keep", help="Send nothing: declare over what stands now.")
    ] = False,
    waive: c.Waive = None,
    yes: c.Yes = False,
    protocol: o.Protocol = None,
    address: o.Address = None,
    baudrate: o.Baudrate = None,
    timeout: o.Timeout = None,
) -> None:
    """Finish a change that was cut off, or set it back."""
    from bmslink.cli.loop import run
    from bmslink.config import cut_off_change
    from bmslink.config import resume as end

    session = o.session_of(ctx)
    if rollback and keep:
        raise TargetError("--rollback or --keep, not both.")
    device = c.open_one(session, target, _line(protocol, address, baudrate, timeout))

    async def go_on(device: Device) -> None:
        async with device:
            found = await cut_off_change(device)
            if found is not None:
                back = rollback or found.back
                files.tell(session, found, back=back and not rollback and not keep)
                how = "Give it up on" if keep else "Set it back on" if back else "Finish it on"
                await c.agree(session, f"{how} {device.target}?", yes=yes)
            odd = found.odd if found is not None else ""
            work = end(
                device,
                rollback=rollback,
                keep=keep,
                waive=set(waive or ()),
                confirm=lambda told: yes or told == odd,  # that was agreed to just now
            )
            outcome = await c.under_way(session, device, work)
            c.show_outcome(session, device, outcome)

    run(go_on(device))


def diff(
    ctx: typer.Context,
    sides: Annotated[
        list[str],
        typer.Argument(metavar="A [B]...", help="Packs, backups, profiles; B else BMSLINK_TARGET."),
    ],
    protocol: o.Protocol = None,
    address: o.Address = None,
    baudrate: o.Baudrate = None,
    timeout: o.Timeout = None,
) -> None:
    """Compare packs, backups and profiles.

    Exit code 5 where anything differs. A profile counts for what it says only; what a board does
    not have is named on stderr (all of it with -v).
    """
    from bmslink.cli.render import config, text
    from bmslink.config.compare import compare, lacking

    session = o.session_of(ctx)
    names = list(sides)
    if len(names) == 1:
        names.append(o.one_target(None))
    if len(set(names)) < len(names):
        raise TargetError("One of them is named twice.")
    found = files.sides(session, names, _line(protocol, address, baudrate, timeout))
    result = compare(found)
    if session.json:
        for each in result:
            session.record(each.to_dict(names))
    elif result:
        glyphs = text.glyphs(ascii_only=session.ascii)
        session.show(config.differences(result, names, glyphs))
    for name, keys in lacking(found).items():
        few = ", ".join(keys[:3]) + (f" and {len(keys) - 3} more" if len(keys) > 3 else "")
        told = ", ".join(keys) if session.verbosity else few
        session.say(f"Not compared, for {name} does not have it: {told}.")
    if not result:
        session.say("No difference.")
        return
    raise typer.Exit(FOUND)


def journal(
    ctx: typer.Context,
    target: Annotated[
        str | None, typer.Argument(metavar="[TARGET]", help="Only what was done to this pack.")
    ] = None,
) -> None:
    """Show what was changed, when, by whom, and how.

    With --json every record of it.
    """
    from bmslink.cli.render import journal as render
    from bmslink.journal import Journal

    session = o.session_of(ctx)
    session.no_trace("config journal")
    kept = Journal()
    place = None if target is None else files.place(target)
    records = list(kept.records())
    if place is not None:
        wanted = {r["id"] for r in records if r.get("target") == place and "id" in r}
        records = [r for r in records if r.get("id") in wanted or files.decided_at(r, place)]
    if session.json:
        for record in records:
            session.record(record)
        return
    lines = render.lines(records, place)
    if not lines:
        session.say(f"Nothing was changed yet; the journal is in {kept.folder}.")
    decisions = sum(record.get("event") == "decision" for record in records)
    if decisions:
        session.say(f"`control run` left {decisions} decisions in it as well; --json shows them.")
    for each in lines:
        session.print(each)


COMMANDS = {
    "backup": backup,
    "export": export,
    "presets": presets,
    "plan": plan,
    "apply": apply,
    "restore": restore,
    "resume": resume,
    "diff": diff,
    "journal": journal,
}
"""`bmslink config WORD` -> what it does."""


# ------------------------------------------------------------------------------------- parts


def _line(
    protocol: str | None, address: int | None, baudrate: int | None, timeout: float | None
) -> o.Line:
    return o.Line(protocol=protocol, address=address, baudrate=baudrate, timeout=timeout)


def _connect(session: Session, targets: list[str] | None, line: o.Line) -> list[Device]:
    return o.connect_all(session, o.some_targets(targets), line)


def _wanted(found: SettingsMap, profile: Profile) -> dict[str, object]:
    """The values of a profile in this board's units; what it does not have as it stands there."""
    wanted, missing = profile.wanted(found)
    return {**wanted, **{key: profile.settings[key] for key in missing}}
