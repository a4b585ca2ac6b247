"""What the journal knows of switches: what a person switched off stays off.

An unfinished change does not keep anybody from switching off. Instead it is marked, so that
finishing it or setting it back leaves the switch as the person left it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from bmslink.config.records.open_changes import belongs
from bmslink.model import Switch
from bmslink.storage.journal import Journal, Open

__all__ = ["confirmed", "last_commands", "mark_off", "marked_off"]

_MARK = "off"


def mark_off(journal: Journal, place: str, pack: Mapping[str, Any], switch: Switch) -> int:
    """Mark every unfinished change of this pack that is not marked yet; how many those are.

    Raises `JournalError`.
    """
    count = 0
    for cut in journal.unfinished():
        command = "switch" in cut.begin or "adjust" in cut.begin
        if cut.id and not command and belongs(cut, place, pack) and switch not in marked_off(cut):
            journal.reopen(cut).note(_MARK, switch=str(switch))
            count += 1
    return count


def marked_off(cut: Open) -> frozenset[Switch]:
    """The switches that somebody turned off since a change was begun: neither finishing it nor
    setting it back turns them on."""
    names = [note.get("switch") for note in cut.notes if note.get("event") == _MARK]
    return frozenset(switch for switch in Switch if switch.value in names)


def confirmed(journal: Journal, place: str, pack: Mapping[str, Any]) -> dict[Switch, bool]:
    """How the commands that were read back left the switches. Raises `JournalError`."""
    latest: dict[Switch, bool] = {}
    for begin, outcome in _commands(journal, place, pack):
        if outcome == "done":
            latest |= _told(begin.get("others")) | _told({begin.get("switch"): begin.get("on")})
    return latest


def last_commands(
    journal: Journal, place: str, pack: Mapping[str, Any]
) -> dict[Switch, dict[str, Any]]:
    """The last command to each switch that may have taken effect: its `on`, `time` and `user`. An
    on counts only if it was read back. Raises `JournalError`."""
    latest: dict[Switch, dict[str, Any]] = {}
    for begin, outcome in _commands(journal, place, pack):
        name, on = begin.get("switch"), begin.get("on")
        if name in list(Switch) and (outcome == "done" if on else outcome != "refused"):
            latest[Switch(name)] = begin
    return latest


def _told(states: object) -> dict[Switch, bool]:
    """What a record says of switches; what it cannot mean is passed over."""
    if not isinstance(states, dict):
        return {}
    return {s: states[s.value] for s in Switch if isinstance(states.get(s.value), bool)}


def _commands(
    journal: Journal, place: str, pack: Mapping[str, Any]
) -> Iterator[tuple[dict[str, Any], str]]:
    """The switch commands to this pack, oldest first, and how each ended."""
    begun: dict[str, dict[str, Any]] = {}
    ended: dict[str, str] = {}
    for record in journal.records():
        name = record.get("id")
        if not isinstance(name, str):
            continue
        if record["event"] == "begin" and "switch" in record:
            begun[name] = dict(record)
        elif name in begun and record["event"] == "switch":  # what the frame says beside
            begun[name].setdefault("others", record.get("others"))
        elif name in begun and record["event"] == "end":
            ended[name] = str(record.get("outcome"))
            if isinstance(record.get("pack"), dict):  # who it is was asked after the frame
                begun[name]["pack"] = record["pack"]
    for name, begin in begun.items():
        if belongs(Open(name, begin), place, pack):
            yield begin, ended.get(name, "")
