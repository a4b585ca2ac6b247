"""A change that was cut off: what it was, and what the board holds now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from bmslink.arguments import checked
from bmslink.board import Board, on_board
from bmslink.config.checks.check import refuse
from bmslink.config.identity.fingerprint import fingerprint
from bmslink.config.records.edits import edits_of
from bmslink.config.records.open_changes import (
    blocks_of,
    concerned,
    cut_off,
    regards,
    said_of,
    said_of_twin,
    under_way,
)
from bmslink.config.records.record import neither, read
from bmslink.errors import BmsError, SettingError
from bmslink.model import Identity
from bmslink.places import where
from bmslink.protocols.common.settings_map import SettingsSnapshot
from bmslink.settings.setting import Value
from bmslink.storage.journal import Journal, Open, on_disk

__all__ = [
    "CutOff",
    "cut_off_change",
    "going_back",
    "settings_to_compare",
    "settings_where_any",
    "unfinished",
]


def going_back(cut: Open) -> bool:
    return any(note.get("event") == "rollback" for note in cut.notes)


@dataclass(frozen=True, slots=True, kw_only=True)
class CutOff:
    """A change that was cut off."""

    sentence: str
    """What happened and what to do next."""
    begin: Mapping[str, Any]
    """The journal's record of it."""
    back: bool
    """Setting it back had begun: it cannot be finished any more."""
    damage: str
    """What of its records does not verify: then it can only be given up. Empty: all do."""
    old: bool
    """An earlier version wrote it, without a check."""
    elsewhere: str
    """The target it was begun at, where only the fingerprint says that it is this board."""
    notes: Sequence[Mapping[str, Any]]
    """What was recorded after its beginning."""
    stands: Mapping[str, Value | None]
    """Key -> what the board holds now, of the settings that it is about."""
    odd: str = ""
    """The settings that hold neither their old nor their new value, in a sentence."""

    def to_dict(self) -> dict[str, Any]:
        """Its JSON object."""
        return {name: getattr(self, name) for name in self.__slots__}


@on_board
@checked()
async def cut_off_change(device: Board, journal: Journal | None = None) -> CutOff | None:
    """The oldest change of this pack that was cut off, and what is there now; nothing is sent.

    Raises `GateError` while another program is making that change.
    """
    journal = journal or Journal()
    identity = await device.identify()
    table = await settings_to_compare(journal, device, identity)
    found = await cut_off(journal, device, identity, table)
    if not found:
        return None
    if busy := await on_disk(partial(under_way, journal, device, identity)):
        raise refuse(f"Nothing was sent. {busy}", "lock")
    cut, values = found[0], {} if table is None else table.values()
    same = table is not None and cut.begin.get("map") == table.map.name
    about = {
        edit["key"]
        for edit in (edits_of(cut.begin) if same else ())
        if isinstance(edit.get("key"), str)
    }
    odd = ""
    if table and about and not cut.damage:
        with suppress(BmsError):  # a record that does not fit this board; `resume` says so
            odd = neither(table.map, read(table.map, cut.begin), table.image)
    mine = regards(cut, where(device), fingerprint(identity, table)) != "print"
    return CutOff(
        sentence=said_of(found, device, identity) if mine else said_of_twin(cut, device),
        begin=cut.begin,
        back=going_back(cut),
        damage=cut.damage,
        old=cut.old,
        elsewhere="" if mine else str(cut.about.get("target")),
        notes=cut.notes,
        stands={key: value for key, value in values.items() if key in about},
        odd=odd,
    )


async def settings_where_any(device: Board, identity: Identity) -> SettingsSnapshot | None:
    """The settings, where this board has any; else only its switches can be changed."""
    try:
        return await device.settings(await device.settings_map(identity))
    except SettingError:
        return None


async def settings_to_compare(
    journal: Journal, device: Board, identity: Identity
) -> SettingsSnapshot | None:
    """The settings, where a change that was cut off may be of this board; where none can be,
    reading them would only take time."""
    if not await concerned(journal, device, identity):
        return None
    return await settings_where_any(device, identity)


@on_board
@checked()
async def unfinished(device: Board, journal: Journal | None = None) -> str | None:
    """What of this pack was cut off, in a sentence; `None`: nothing."""
    identity = await device.identify()
    found = await blocks_of(journal or Journal(), device, identity)
    return found.get("unfinished")
