"""Whether a pack still holds what its last change wrote.

Boards forget: some seconds after a write, with the next restart, or because an app or a second
master wrote something else. Nothing is written here, and a record that does not verify is not
relied on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any, Literal

from bmslink.arguments import checked
from bmslink.board import Board, on_board
from bmslink.config.checks.check import refuse
from bmslink.config.identity.fingerprint import Fingerprint, fingerprint
from bmslink.config.records.edits import edits_of
from bmslink.config.records.moment import local
from bmslink.config.records.open_changes import cut_off, regards, said_of, under_way
from bmslink.places import Place, where
from bmslink.protocols.common.settings_map import SettingsSnapshot
from bmslink.settings.setting import Value
from bmslink.storage.journal import Journal, Open, on_disk

__all__ = ["Deviation", "Verification", "verify"]

_ROW = {"done": "new", "rolled back": "old"}
"""Outcome -> the side of a change that the board was left with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deviation:
    """One setting that is not as it was left."""

    key: str
    """Which setting."""
    unit: str
    """Of both values."""
    written: Value | None
    """What our change left."""
    now: Value | None
    """`None`: the board does not tell it any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What came of comparing."""

    result: Literal["holds", "differs", "open", "nothing"]
    """`open`: a change was cut off, so nothing is certain. `nothing`: no change is on record."""
    sentence: str
    """The same for people."""
    transaction: str = ""
    """The change in the journal that it is about."""
    time: str = ""
    """When the change was begun, UTC."""
    checked: tuple[str, ...] = ()
    """The settings that were compared."""
    differences: tuple[Deviation, ...] = ()
    """What differs from it."""

    @property
    def fine(self) -> bool:
        """Whether nothing was found."""
        return self.result in ("holds", "nothing")

    def to_dict(self) -> dict[str, Any]:
        """Its JSON object."""
        return asdict(self)


@dataclass(slots=True)
class _Change:
    """A change on record that ended."""

    begin: Mapping[str, Any]
    outcome: str = ""
    edits: list[Mapping[str, Any]] = field(default_factory=list)


@on_board
@checked()
async def verify(device: Board, *, journal: Journal | None = None) -> Verification:
    """Read the settings of an open device and compare them with what its last change left.

    Raises `GateError` while another program changes them, `JournalError`, `SettingError` where the
    settings of this board are not known, and what reading raises.
    """
    journal = journal or Journal()
    async with device.conversation():
        identity = await device.identify()
        table = await device.settings(await device.settings_map(identity))
    if cut := await cut_off(journal, device, identity):
        if busy := await on_disk(partial(under_way, journal, device, identity)):
            raise refuse(f"Nothing was sent. {busy}", "lock")
        return Verification(
            result="open",
            sentence=said_of(cut, device, identity),
            transaction=cut[0].id,
            time=str(cut[0].begin.get("time", "")),
        )
    here = fingerprint(identity, table)
    last = await on_disk(lambda: _last(journal, where(device), here))
    if last is None:
        return Verification(
            result="nothing", sentence="No change of this pack's settings is on record."
        )
    if last.outcome == "kept":
        return Verification(
            result="nothing",
            sentence="The last change of this pack was given up, so nothing says what should hold.",
            transaction=str(last.begin.get("id")),
            time=str(last.begin.get("time")),
        )
    return _compare(last, table)


def _compare(last: _Change, table: SettingsSnapshot) -> Verification:
    values, side = table.values(), _ROW[last.outcome]
    expected = {str(e.get("key")): (e.get(side), str(e.get("unit") or "")) for e in last.edits}
    found = tuple(
        Deviation(key=key, unit=unit, written=value, now=values.get(key))
        for key, (value, unit) in expected.items()
        if values.get(key) != value
    )
    when = local(last.begin.get("time"))
    which = f"that the change of {when} {'wrote' if side == 'new' else 'set back'}"
    count, many = len(expected), "s" * (len(expected) != 1)
    sentence = f"The board still holds the {count} setting{many} {which}."
    if found:
        names = ", ".join(each.key for each in found[:3])
        more = f" and {len(found) - 3} more" if len(found) > 3 else ""
        sentence = f"{len(found)} of the {count} setting{many} {which} differ now: {names}{more}."
    return Verification(
        result="differs" if found else "holds",
        sentence=sentence,
        transaction=str(last.begin.get("id")),
        time=str(last.begin.get("time")),
        checked=tuple(expected),
        differences=found,
    )


def _last(journal: Journal, here: Place, board: Fingerprint) -> _Change | None:
    """The last change of this pack that left settings behind: by serial number or place, and by
    the fingerprint alone only where neither finds one."""
    sure = likely = None
    for change in _changes(journal):
        by = regards(Open("", change.begin), here, board)
        if by == "place" and _print_of(change).without({"cell_count"}).differs(board):
            continue  # another board took its place
        if by in ("serial number", "place"):
            sure = change
        elif by == "print":
            likely = change
    return sure or likely


def _print_of(change: _Change) -> Fingerprint:
    """Who it was, without its settings: a board that lost them all is still the same one."""
    return Fingerprint.from_dict(change.begin.get("pack"))


def _changes(journal: Journal) -> Iterator[_Change]:
    """In the order in which they ended."""
    begun: dict[str, _Change] = {}
    for record in journal.records():
        name = record.get("id")
        if not isinstance(name, str):
            continue
        if record["event"] == "begin":
            begun[name] = _Change(record, edits=list(edits_of(record)))
        elif record["event"] == "end" and (change := begun.get(name)) is not None:
            change.outcome = str(record.get("outcome"))
            if change.edits and change.outcome in (*_ROW, "kept"):
                yield change
