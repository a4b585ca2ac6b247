"""What the commands of `bmslink config` do with files, and with several packs."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bmslink.cli import options as o
from bmslink.cli.output import about
from bmslink.errors import BmsError, FrameError, SettingError, TargetError

if TYPE_CHECKING:
    from bmslink.cli.output import Session
    from bmslink.config import CutOff
    from bmslink.config.backup import Backup
    from bmslink.config.compare import Side
    from bmslink.device import Device
    from bmslink.model import Identity
    from bmslink.protocols.settings import SettingsMap, Slot, Table

__all__ = [
    "backup_name",
    "check_backup",
    "decided_at",
    "give",
    "look",
    "one_by_one",
    "place",
    "sides",
    "tell",
]


def give(session: Session, text: str, path: str | None, *, force: bool) -> None:
    """A text on stdout, or into a file that is not there yet."""
    if path is None:
        session.print(text.rstrip("\n"))
        return
    there = Path(path)
    if there.exists() and not force:
        raise TargetError(f"{path} exists already; --force overwrites it.")
    try:
        there.write_text(text, encoding="utf-8")
    except OSError as exc:
        raise TargetError(f"{path} cannot be written: {exc.strerror or exc}.") from exc
    if session.json:
        session.record({"path": path})
    else:
        session.print(f"{path} is written.")


def tell(session: Session, found: CutOff, *, back: bool) -> None:
    """What was cut off and how far it came, before anybody is asked to end it."""
    from bmslink.cli.render import journal as render
    from bmslink.cli.render.text import clean

    session.say(found.sentence)
    if not session.json:
        for line in render.what(found.begin, found.stands):
            session.print(clean(f"  {line}"))
    if back:
        session.say("Setting it back had begun already, so that is what is finished.")
    if found.odd:
        session.say(found.odd)


def backup_name(made: Backup) -> str:
    """`jbd-SP04S034-2026-11-22T101500.json`, of safe characters only."""
    named = made.serial_number or made.model or ""
    name = "".join(ch if ch.isalnum() or ch in "-." else "_" for ch in named)[:40]
    moment = made.time[:19].replace(":", "")
    return "-".join(part for part in (made.protocol, name, moment) if part) + ".json"


def check_backup(kept: Backup, identity: Identity, found: SettingsMap, *, clone: bool) -> None:
    """`SettingError` unless the backup is of this board (or, with `clone`, of its like)."""
    if kept.map != found.name:
        raise SettingError(
            f"The backup was made with the settings map {kept.map}, this board has {found.name}: "
            "make a profile of what you want from it instead."
        )
    for address, raw in kept.image().items():
        slot = found.by_address.get(address)
        if slot is not None and not _fits(slot, raw):
            raise SettingError(f"The backup is damaged: slot {address:02X} has {len(raw)} bytes.")
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


def _fits(slot: Slot, raw: bytes) -> bool:
    try:
        return len(slot.clean(raw)) == len(raw)
    except FrameError:
        return False


def sides(session: Session, names: Sequence[str], line: o.Line) -> list[Side]:
    """The sides of a comparison: a file if there is one of that name, else a pack."""
    from bmslink.cli.loop import run

    live = [name for name in names if not _is_file(name)]
    if not live:
        session.no_trace("config diff with files only")
    devices = dict(zip(live, o.connect_all(session, live, line) if live else (), strict=True))
    found = []
    for name in names:
        if name in devices:
            session.target = name
            found.append(run(_board(name, devices[name])))
        else:
            found.append(_file(name))
    return found


def _is_file(name: str) -> bool:
    if "://" in name:
        return False
    file = Path(name)
    if file.suffix in (".toml", ".json") and not file.exists():
        raise TargetError(f"There is no file {name}.")
    return file.is_file()


def _file(name: str) -> Side:
    from bmslink.config.backup import load_backup
    from bmslink.config.compare import side_of_backup, side_of_profile
    from bmslink.config.profile import load_profile

    if Path(name).suffix == ".toml":
        return side_of_profile(name, load_profile(name))
    return side_of_backup(name, load_backup(name))


async def _board(name: str, device: Device) -> Side:
    from bmslink.config.compare import side_of_table

    _identity, table = await look(device)
    return side_of_table(name, table)


async def look(device: Device) -> tuple[Identity, Table]:
    """Who a pack is and what stands in it."""
    async with device:
        identity = await device.identify()
        return identity, await device.settings(await device.settings_map(identity))


def place(target: str) -> str:
    """Where a target is, as the journal names it."""
    from bmslink.config import place_of
    from bmslink.packs import named
    from bmslink.transport import parse_target

    return place_of(parse_target(named(target)))


def decided_at(record: Mapping[str, Any], where: str) -> bool:
    """Whether `control run` wrote it of the pack there; it names packs as they were given."""
    try:
        return record.get("event") == "decision" and place(str(record.get("target"))) == where
    except BmsError:  # a name that is no longer known
        return False


def one_by_one(
    session: Session, devices: list[Device], act: Callable[[Device], Coroutine[Any, Any, None]]
) -> list[BmsError]:
    """What failed; where there are several packs it is told at once and the next one follows."""
    from bmslink.cli.loop import run

    errors = []
    for device in devices:
        target = str(device.target)
        session.target = target
        try:
            run(act(device))
        except BmsError as error:
            errors.append(error)
            if len(devices) > 1:
                if session.json:
                    session.record({"target": target, "error": str(error)})
                session.complain(about(target, error))
    return errors
