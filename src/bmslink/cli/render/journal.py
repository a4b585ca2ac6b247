"""What was changed, for people: a line for each change, and what it changed below it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from bmslink.cli.render.clean import clean
from bmslink.config.records.edits import adjusted, changes_of, edits_of, value_in_words
from bmslink.config.records.moment import local

__all__ = ["course", "lines", "what"]


def lines(records: Iterable[Mapping[str, Any]]) -> list[str]:
    """The changes, oldest first."""
    return [clean(line) for begin, end in changes_of(records) for line in _change(begin, end)]


def _change(begin: Mapping[str, Any], end: Mapping[str, Any] | None) -> Iterator[str]:
    how = "cut off" if end is None else str(end.get("outcome"))
    when = local(begin.get("time"))
    by = f" by {begin['user']}" if begin.get("user") else ""
    command = f" ({begin['command']})" if begin.get("command") else ""
    yield f"{when}{by}{command}: {how}"
    name = f"{begin['name']} " if isinstance(begin.get("name"), str) else ""
    yield f"  {name}{begin.get('target')}{_pack(begin.get('pack'))}"
    yield from (f"  {line}" for line in what(begin))
    waived = begin.get("waived")
    if isinstance(waived, list) and waived:
        yield f"  waived: {', '.join(map(str, waived))}"
    why = (end or {}).get("why") or (end or {}).get("sentence")
    if why and how != "done":
        yield f"  {why}"


def _pack(pack: object) -> str:
    if not isinstance(pack, dict):
        return ""
    told = [str(pack[k]) for k in ("vendor", "model", "firmware", "serial_number") if pack.get(k)]
    return f" ({' '.join(told)})" if told else ""


def what(begin: Mapping[str, Any], stands: Mapping[str, Any] | None = None) -> Iterator[str]:
    """What a change is about, a line each; with what the board holds now where that is known."""
    if "switch" in begin:
        yield f"{begin['switch']} {'on' if begin.get('on') else 'off'}"
    if clock_or_charge := adjusted(begin):
        yield clock_or_charge
    for edit in edits_of(begin):
        old, new = (value_in_words(edit.get(k), edit.get("unit")) for k in ("old", "new"))
        key = str(edit.get("key"))
        held = (stands or {}).get(key)
        now = "" if held is None else f", now {value_in_words(held, edit.get('unit'))}"
        yield f"{key} {old} > {new}{now}"


def course(notes: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """What was recorded after the beginning, a line each."""
    for note in notes:
        when = local(note.get("time"))[11:19]
        slot = note.get("slot")
        place = f" slot {slot:02X}" if isinstance(slot, int) else ""
        held = note.get("new") or note.get("found") or note.get("why") or ""
        yield f"{when} {note.get('event')}{place} {held}".rstrip()
