"""What the journal tells of one pack: who switched what off, and which bytes stood in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from bmslink.config.restoring import Stood
from bmslink.journal import Journal, Open
from bmslink.model import Switch
from bmslink.setting import SWITCHES

__all__ = ["stood", "switched_off"]

_IN_VAIN = ("nothing sent", "refused")
"""How a change ended that reached nothing."""


def _of_pack(
    journal: Journal, place: str, pack: Mapping[str, Any]
) -> Iterator[tuple[Mapping[str, Any], list[Mapping[str, Any]]]]:
    """Every change of a pack, oldest first: its beginning and its other records."""
    begun: dict[str, tuple[Mapping[str, Any], list[Mapping[str, Any]]]] = {}
    for record in journal.records():
        name = record.get("id")
        if not isinstance(name, str):
            continue
        if record["event"] == "begin" and Open(name, record).concerns(place, pack):
            begun[name] = (record, [])
        elif name in begun:
            begun[name][1].append(record)
    yield from begun.values()


def switched_off(journal: Journal, place: str, pack: Mapping[str, Any]) -> dict[str, str]:
    """The switches of a pack that a person switched off and not on again: key -> when, in UTC."""
    found: dict[str, str] = {}
    for begin, notes in _of_pack(journal, place, pack):
        if any(note.get("outcome") in _IN_VAIN for note in notes if note["event"] == "end"):
            continue
        for key, on in _switched(begin):
            if on:
                found.pop(key, None)
            else:
                found[key] = f"{str(begin.get('time'))[:16].replace('T', ' ')} UTC"
    return found


def _switched(begin: Mapping[str, Any]) -> Iterator[tuple[str, bool]]:
    """Switch -> on or off, of what a change was begun for by name."""
    if begin.get("switch") in list(Switch):
        yield f"{begin['switch']}_switch", begin.get("on") is True
    changes = begin.get("changes")
    for change in changes if isinstance(changes, list) else ():
        edits = change.get("settings") if isinstance(change, dict) else None
        for edit in edits if isinstance(edits, list) else ():
            if not isinstance(edit, dict) or edit.get("key") not in SWITCHES:
                continue
            if edit.get("new") is False:
                yield edit["key"], False
            elif edit.get("asked") is True:  # a restore of old asked for nothing by name
                yield edit["key"], True


def stood(journal: Journal, place: str, pack: Mapping[str, Any], settings_map: str) -> Stood:
    """The bytes that a board held by our records: slot -> all that were ever read from it."""
    found: dict[int, set[bytes]] = {}
    for begin, notes in _of_pack(journal, place, pack):
        if begin.get("map") != settings_map:
            continue
        image = begin.get("image")
        for slot, raw in image.items() if isinstance(image, dict) else ():
            _take(found, slot, 16, raw)
        for note in notes:
            if note["event"] in ("stored", "side effect", "differs"):
                _take(found, note.get("slot"), 10, note.get("found"))
    return found


def _take(found: dict[int, set[bytes]], slot: object, base: int, raw: object) -> None:
    """Add what a record says, if it says anything."""
    try:
        found.setdefault(int(str(slot), base), set()).add(bytes.fromhex(str(raw)))
    except ValueError:
        return
