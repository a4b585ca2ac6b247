"""What the commands of `bmslink config` do with files, and with several packs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bmslink.cli.outfile import on_stdout, write_text
from bmslink.cli.output import about, identified
from bmslink.errors import BmsError

if TYPE_CHECKING:
    from bmslink.board import Board
    from bmslink.cli.options import OutputOptions
    from bmslink.cli.output import Session
    from bmslink.config import CutOff
    from bmslink.config.files.backup import Backup
    from bmslink.link.transport import Endpoint
    from bmslink.model import Identity, Reading
    from bmslink.protocols.common.settings_map import SettingsSnapshot

__all__ = [
    "backup_name",
    "failed",
    "give",
    "look",
    "look_live",
    "show_cut_off",
    "tell",
]


def give(
    session: Session, text: str, options: OutputOptions, target: Endpoint | None = None
) -> None:
    """A profile on stdout, or into a file that is not there yet; `target`: the pack it is of."""
    path = options.output
    if path is None and session.json:
        session.record({**(identified(target) if target else {}), "profile": text})
        return
    if path is None or on_stdout(path):
        session.write(*text.rstrip("\n").split("\n"))
        return
    write_text(path, text, force=options.force)
    if session.json:
        session.record({"path": path})
    else:
        session.print(f"{path} is written.")


def tell(session: Session, found: CutOff, *, back: bool) -> None:
    """What was cut off and how far it came, before anybody is asked to end it."""
    from bmslink.cli.render import journal as render

    session.say(found.sentence)
    if not session.json:
        for line in render.what(found.begin, found.stands):
            session.print(f"  {line}")
    if back:
        session.say("Setting it back had begun already, so that is what is finished.")
    if found.odd:
        session.say(found.odd)


def show_cut_off(session: Session, target: Endpoint, found: CutOff | None) -> None:
    """All that is on record of a change that was cut off; a person decides by it."""
    from bmslink.cli.render import journal as render
    from bmslink.cli.render.clean import clean

    if session.json:
        session.record(
            {**identified(target), "open_change": None if found is None else found.to_dict()}
        )
        return
    if found is None:
        session.print("No change of this pack was cut off.")
        return
    session.print(clean(found.sentence))
    if found.old:
        session.print("An earlier version wrote it down, without a check of what it says.")
    if found.damage:
        session.print("What follows is what can still be read; nothing of it is proven.")
    for line in (*render.what(found.begin, found.stands), *render.course(found.notes)):
        session.print(clean(f"  {line}"))


def backup_name(made: Backup) -> str:
    """`jbd-SP04S034-2026-11-22T101500.json`, of safe characters only."""
    named = made.serial_number or made.model or ""
    name = "".join(ch if ch.isalnum() or ch in "-." else "_" for ch in named)[:40]
    moment = made.time[:19].replace(":", "")
    return "-".join(part for part in (made.protocol, name, moment) if part) + ".json"


async def look(device: Board) -> tuple[Identity, SettingsSnapshot]:
    """Who an open pack is, and its settings."""
    from bmslink.survey import survey

    return await survey(device)


async def look_live(device: Board) -> tuple[Identity, SettingsSnapshot, Reading]:
    """The same with a reading."""
    return (*await look(device), await device.read())


def failed(session: Session, target: Endpoint | str, error: BmsError) -> None:
    """Tell that one of several packs failed."""
    if session.json:
        which = {"target": target} if isinstance(target, str) else identified(target)
        session.record({**which, "error": str(error)})
    session.show_traceback(error)
    session.complain(about(target, error))
