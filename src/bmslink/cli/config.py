"""`bmslink config`: whole configurations as files.

Whole configurations as files. A profile is a TOML file in V, A, °C and s that fits every vendor; a
backup holds the raw bytes of one board. Every write is planned first, shown, agreed to, journalled,
read back, and set back as a whole if anything differs.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bmslink.cli import changing as c
from bmslink.cli import options as o
from bmslink.errors import BmsError, GateError, SettingError, TargetError

if TYPE_CHECKING:
    from bmslink.cli.output import Session
    from bmslink.config.backup import Backup
    from bmslink.config.compare import Side
    from bmslink.config.profile import Profile
    from bmslink.device import Device
    from bmslink.model import Identity
    from bmslink.protocols.settings import Table

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
    """Keep what stands in a pack: who it is, every setting as raw bytes, and a checksum."""
    from bmslink.cli.loop import run
    from bmslink.config.backup import make_backup, save_backup

    session = o.session_of(ctx)
    device = c.open_one(session, target, _line(protocol, address, baudrate, timeout))
    identity, table = run(_look(device))
    made = make_backup(str(device.target), identity, table)
    path = output or _backup_name(made)
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
    """Write the settings of a pack as a profile, for this pack or for others."""
    from bmslink.cli.loop import run
    from bmslink.config.profile import profile_of

    session = o.session_of(ctx)
    device = c.open_one(session, target, _line(protocol, address, baudrate, timeout))
    identity, table = run(_look(device))
    title = " ".join(x for x in (identity.vendor, identity.model, identity.firmware) if x)
    _give(session, profile_of(table, title=title, own=own), output, force=force)


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
    _give(session, preset(name, cells, capacity), output, force=force)


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
    """Show what a profile would change, in which order, every byte, and every check."""
    from bmslink.cli.loop import run
    from bmslink.config import draft
    from bmslink.config.profile import load_profile

    session = o.session_of(ctx)
    profile = load_profile(file)
    devices = _connect(session, targets, _line(protocol, address, baudrate, timeout))

    async def look(device: Device) -> bool:
        async with device:
            wanted, missing = await _wanted(device, profile)
            made = await draft(
                device,
                wanted | missing,
                waive=c.waivers(waive, untested=untested),
                chemistry=chemistry,
            )
            c.show_plan(session, made)
            return bool(made.blocked)

    stopped = [device for device in devices if run(look(device))]
    if stopped:
        raise GateError("The checks above stand in the way; nothing was sent.")


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
    """Write a profile to one pack or several, one after the other; the first failure ends it."""
    from bmslink.cli.loop import run
    from bmslink.config.profile import load_profile

    session = o.session_of(ctx)
    profile = load_profile(file)
    devices = _connect(session, targets, _line(protocol, address, baudrate, timeout))

    async def write(device: Device) -> None:
        async with device:
            wanted, missing = await _wanted(device, profile)
            await c.change(
                session,
                device,
                wanted | missing,
                waive=c.waivers(waive, untested=untested),
                chemistry=chemistry,
                yes=yes,
                dry_run=dry_run,
            )

    for number, device in enumerate(devices):
        session.target = str(device.target)
        try:
            run(write(device))
        except BmsError:
            left = [str(d.target) for d in devices[number + 1 :]]
            if left:
                session.say(f"Not begun: {', '.join(left)}.")
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
    """Set a pack back to what a backup holds, byte for byte where it may be written."""
    from bmslink.cli.loop import run
    from bmslink.config.backup import load_backup

    session = o.session_of(ctx)
    kept = load_backup(file)
    device = c.open_one(session, target, _line(protocol, address, baudrate, timeout))

    async def write(device: Device) -> None:
        async with device:
            identity = await device.identify()
            found = await device.settings_map(identity)
            _check_backup(kept, identity, found.name, clone=clone)
            await c.change(
                session,
                device,
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
    from bmslink.config import resume as end
    from bmslink.config import unfinished

    session = o.session_of(ctx)
    if rollback and keep:
        raise TargetError("--rollback or --keep, not both.")
    device = c.open_one(session, target, _line(protocol, address, baudrate, timeout))

    async def go_on(device: Device) -> None:
        async with device:
            found = await unfinished(device)
            if found is not None:
                session.say(found)
                how = "Set it back on" if rollback else "Give it up on" if keep else "Finish it on"
                await c.agree(session, f"{how} {device.target}?", yes=yes)
            outcome = await end(device, rollback=rollback, keep=keep, waive=set(waive or ()))
            c.show_outcome(session, device, outcome)

    run(go_on(device))


def diff(
    ctx: typer.Context,
    sides: Annotated[
        list[str], typer.Argument(metavar="A B...", help="Packs, backups or profiles.")
    ],
    protocol: o.Protocol = None,
    address: o.Address = None,
    baudrate: o.Baudrate = None,
    timeout: o.Timeout = None,
) -> None:
    """Compare packs, backups and profiles; exit code 5 where anything differs."""
    from bmslink.cli.render import config, text
    from bmslink.config.compare import compare

    session = o.session_of(ctx)
    if len(sides) < 2:
        raise TargetError("Compare what with what? Name two packs or files.")
    line = _line(protocol, address, baudrate, timeout)
    found = [_side(session, name, line) for name in sides]
    ignore = {key for side in found for key in side.ignored}
    result = compare(found, ignore=sorted(ignore))
    names = [side.name for side in found]
    if session.json:
        for each in result:
            session.record(each.to_dict(names))
    elif result:
        glyphs = text.glyphs(ascii_only=session.ascii)
        session.show(config.differences(result, names, glyphs))
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
    """Show what was changed, when, by whom, and how it ended."""
    from bmslink.cli.render import journal as render
    from bmslink.journal import Journal

    session = o.session_of(ctx)
    session.no_trace("config journal")
    kept = Journal()
    if session.json:
        wanted = {r.get("id") for r in kept.records() if target in (None, r.get("target"))}
        for record in kept.records():
            if target is None or record.get("id") in wanted:
                session.record(record)
        return
    lines = render.lines(kept.records(), target)
    if not lines:
        session.say(f"Nothing was changed yet; the journal is in {kept.folder}.")
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


async def _look(device: Device) -> tuple[Identity, Table]:
    async with device:
        identity = await device.identify()
        return identity, await device.settings(await device.settings_map(identity))


async def _wanted(device: Device, profile: Profile) -> tuple[dict[str, object], dict[str, object]]:
    """The values of a profile in this board's units, and those that it does not have."""
    found = await device.settings_map(await device.identify())
    wanted, missing = profile.wanted(found)
    return dict(wanted), {key: profile.settings[key] for key in missing}


def _give(session: Session, text: str, path: str | None, *, force: bool) -> None:
    """A text on stdout, or into a file that is not there yet."""
    if path is None:
        session.print(text.rstrip("\n"))
        return
    place = Path(path)
    if place.exists() and not force:
        raise TargetError(f"{path} exists already; --force overwrites it.")
    try:
        place.write_text(text, encoding="utf-8")
    except OSError as exc:
        raise TargetError(f"{path} cannot be written: {exc.strerror or exc}.") from exc
    if session.json:
        session.record({"path": path})
    else:
        session.print(f"{path} is written.")


def _backup_name(made: Backup) -> str:
    """`jbd-SP04S034-2026-11-22T101500.json`, of safe characters only."""
    named = made.serial_number or made.model or ""
    name = "".join(ch if ch.isalnum() or ch in "-." else "_" for ch in named)[:40]
    moment = made.time[:19].replace(":", "")
    return "-".join(part for part in (made.protocol, name, moment) if part) + ".json"


def _check_backup(kept: Backup, identity: Identity, name: str, *, clone: bool) -> None:
    if kept.map != name:
        raise SettingError(
            f"The backup was made with the settings map {kept.map}, this board has {name}: "
            "make a profile of what you want from it instead."
        )
    same = (
        kept.serial_number == identity.serial_number
        and kept.model == identity.model
        and kept.firmware == identity.firmware
    )
    if not same and not clone:
        raise SettingError(
            f"The backup is of another board or firmware ({kept.model or '?'}, "
            f"{kept.firmware or '?'}, {kept.serial_number or 'no serial number'}); "
            "--clone writes it all the same."
        )


def _side(session: Session, name: str, line: o.Line) -> Side:
    """One side of a comparison: a file if there is one of that name, else a pack."""
    from bmslink.cli.loop import run
    from bmslink.config.backup import load_backup
    from bmslink.config.compare import side_of_backup, side_of_profile, side_of_table
    from bmslink.config.profile import load_profile

    path = Path(name)
    if "://" not in name and path.is_file():
        if path.suffix == ".toml":
            return side_of_profile(name, load_profile(path))
        return side_of_backup(name, load_backup(path))
    device = o.connect_all(session, [name], line)[0]
    _identity, table = run(_look(device))
    return side_of_table(name, table)
