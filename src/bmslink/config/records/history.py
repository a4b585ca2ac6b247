"""What our records tell of one pack: who switched what off, which bytes were in it, what its last
change was, and whether a backup was made at its place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from bmslink.board import Board
from bmslink.config.checks.cells import cells_of
from bmslink.config.checks.check import refuse
from bmslink.config.files.backup import Backup
from bmslink.config.identity.fingerprint import Fingerprint, fingerprint
from bmslink.config.records.edits import edits_of
from bmslink.config.records.last_change import LastChange, chemistry_of
from bmslink.config.records.moment import local
from bmslink.config.records.open_changes import By, regards
from bmslink.config.restore import Stood
from bmslink.errors import TargetError
from bmslink.link.transport import parse_target
from bmslink.model import Identity, Switch
from bmslink.packs import named
from bmslink.places import Place, recorded_place, where
from bmslink.protocols.common.settings_map import SettingsSnapshot
from bmslink.settings.setting import SWITCHES
from bmslink.storage.journal import Journal, JournalError, Open

__all__ = ["ChangeHistory", "made_here", "records_of", "stated_chemistry"]

_IN_VAIN = ("nothing sent", "refused")
"""How a change ended that reached nothing."""
_LEFT = ("done", "kept")
"""How a change ended that left something behind."""


def made_here(backup: Backup, device: Board) -> bool:
    """Whether a backup was made where this device is."""
    told = {"target": backup.target, **({"place": backup.place} if backup.place else {})}
    return recorded_place(told).same(where(device))


def stated_chemistry(
    device: Board, identity: Identity, table: SettingsSnapshot, journal: Journal | None = None
) -> str | None:
    """What the cells of a pack are, as a change of it would be judged; `None` where nobody states
    it, or two contradict each other."""
    try:
        past = ChangeHistory(journal or Journal(), device, identity, table).chemistry()
    except JournalError:  # what stops a change need not stop a file from being written
        past = None
    found = cells_of(table, identity, None, named=device.named, recorded=past)
    return None if found.contradictions else found.chemistry


def records_of(journal: Journal, target: str) -> list[Mapping[str, Any]]:
    """The records of what was done to the pack at a target or name, however either was written
    then; decisions of `control run` included.

    Raises `TargetError` for a target that cannot be, `JournalError` as `Journal.records`.
    """
    place = where(parse_target(named(target)))
    records = list(journal.records())
    ids = {r["id"] for r in records if "id" in r and _began_at(r).same(place)}
    decided: dict[str, bool] = {}
    for record in records:
        told = str(record.get("target"))
        if record.get("event") == "decision" and told not in decided:
            decided[told] = _is_at(told, place)
    return [
        record
        for record in records
        if record.get("id") in ids
        or (record.get("event") == "decision" and decided[str(record.get("target"))])
    ]


def _began_at(record: Mapping[str, Any]) -> Place:
    """Where a change was begun, by its first record or by one that repeats it."""
    about = record.get("about")
    return recorded_place(
        record if "target" in record else about if isinstance(about, dict) else {}
    )


def _is_at(target: str, place: Place) -> bool:
    """Whether a target or name, as it was given then, is that of the pack at a place."""
    try:
        return where(parse_target(named(target))).same(place)
    except TargetError:  # a name that is no longer known
        return False


@dataclass(slots=True)
class _Past:
    """One change that was made, or begun."""

    begin: Mapping[str, Any]
    by: By
    """By what it belongs to this pack."""
    other: str
    """How the board that it was of differs from this one, in words."""
    sound: bool
    """Its records verify."""
    notes: list[Mapping[str, Any]] = field(default_factory=list)

    @property
    def proven(self) -> bool:
        """Its records verify, and it was of this very board."""
        return self.sound and self.by != "print" and not self.other

    @property
    def left_settings(self) -> bool:
        """It was about settings, and is over without being set back."""
        return bool(self.begin.get("changes")) and any(
            note["event"] == "end" and note.get("outcome") in _LEFT for note in self.notes
        )


class ChangeHistory:
    """The changes of one pack by the journal. Raises `JournalError` where it cannot be read."""

    def __init__(
        self, journal: Journal, device: Board, identity: Identity, table: SettingsSnapshot
    ) -> None:
        self._map = table.map.name
        here, place = fingerprint(identity, table), where(device)
        self._changes: dict[str, _Past] = {}
        for line in journal.lines():
            name = line.record.get("id")
            if line.state not in ("sound", "old") or not isinstance(name, str):
                continue
            sound = line.state == "sound"
            if line.record["event"] == "begin":
                then = Fingerprint.from_dict(
                    line.record.get("fingerprint") or line.record.get("pack")
                )
                if by := regards(Open(name, line.record), place, here):
                    self._changes[name] = _Past(line.record, by, then.differs(here), sound)
            elif (past := self._changes.get(name)) is not None:
                past.notes.append(line.record)
                past.sound = past.sound and sound

    def switched_off(self) -> dict[str, str]:
        """The switches that a person switched off and not on again: key -> when, local time."""
        found: dict[str, str] = {}
        for past in self._changes.values():
            if any(each.get("outcome") in _IN_VAIN for each in past.notes):
                continue
            for key, on in _switched(past.begin):
                if not on:
                    found[key] = local(past.begin.get("time"))
                elif past.proven:
                    found.pop(key, None)
        return found

    def chemistry(self) -> str | None:
        """What the cells are, as it was stated with the last change of this board that was made;
        `None` where nobody did, or where it was waived that something contradicted it."""
        found = None
        for past in self._changes.values():
            done = any(note.get("outcome") == "done" for note in past.notes)
            if past.proven and done:
                found = chemistry_of(past.begin) or found
        return found

    def last(self) -> LastChange:
        """The last change of its settings that left something behind.

        By serial number or place, and by the fingerprint alone only where neither finds one.
        Raises `GateError` where there is none, or only of another board that was here.
        """
        found = [past for past in self._changes.values() if past.left_settings]
        mine = [past for past in found if not past.other]
        sure = [past for past in mine if past.by != "print"]
        if not mine and found:
            raise refuse(
                f"Nothing was sent: the last change here was of another board, this one has "
                f"{found[-1].other}. No change of this board is on record.",
                "identity",
            )
        if not mine:
            raise refuse(
                "Nothing was sent: no change of this pack's settings is on record, so there is "
                "nothing to undo. `bmslink config journal` shows what is.",
                "journal",
            )
        past = (sure or mine)[-1]
        return LastChange(begin=past.begin, sound=past.sound, twin=past.by == "print")

    def stood(self) -> Stood:
        """The bytes that this board held: slot -> all that were ever read from it."""
        found: dict[int, set[bytes]] = {}
        for past in self._changes.values():
            if not past.proven or past.begin.get("map") != self._map:
                continue
            image = past.begin.get("image")
            for slot, raw in image.items() if isinstance(image, dict) else ():
                _take(found, slot, 16, raw)
            for note in past.notes:
                if note["event"] in ("stored", "side effect", "differs"):
                    _take(found, note.get("slot"), 10, note.get("found"))
        return found


def _switched(begin: Mapping[str, Any]) -> Iterator[tuple[str, bool]]:
    """Switch -> on or off, of what a change was begun for by name."""
    if begin.get("switch") in list(Switch):
        yield Switch(begin["switch"]).key, begin.get("on") is True
    for edit in edits_of(begin):
        if edit.get("key") not in list(SWITCHES):
            continue
        if edit.get("new") is False:
            yield edit["key"], False
        elif edit.get("asked") is True:  # a restore of old asked for nothing by name
            yield edit["key"], True


def _take(found: dict[int, set[bytes]], slot: object, base: int, raw: object) -> None:
    """Add what a record says, if it says anything."""
    try:
        found.setdefault(int(str(slot), base), set()).add(bytes.fromhex(str(raw)))
    except ValueError:
        return
