"""What the journal says of a pack: changes that were cut off, and who may write to it now.

A change belongs to a pack by its serial number, else by its place, else by its fingerprint. The
fingerprint alone proves nothing, because boards of one batch are equal: there a person is asked.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any, Literal

from bmslink.board import Board, on_board
from bmslink.config.checks.check import refuse
from bmslink.config.identity.fingerprint import Fingerprint, fingerprint
from bmslink.config.identity.known_as import pack_of
from bmslink.config.identity.locks import held_by_another, is_held
from bmslink.config.records.moment import local
from bmslink.model import Identity
from bmslink.places import Place, place_of, recorded_place, where
from bmslink.protocols.common.settings_map import SettingsSnapshot
from bmslink.storage.journal import Journal, JournalError, Open, Transaction, on_disk, refusing

__all__ = [
    "begin",
    "belongs",
    "blocks_of",
    "concerned",
    "cut_off",
    "left_behind",
    "lock_names",
    "may_be_written_from",
    "open_change",
    "other_road",
    "regards",
    "said_of",
    "said_of_twin",
    "under_way",
]

_LATELY = 60.0
"""For so long a board that answered elsewhere is known to be another one, s."""
_answered: dict[str, tuple[Place, Fingerprint, float]] = {}
"""Where boards answered in this process, and when (seconds since 1970)."""


@dataclass(frozen=True, slots=True)
class _Here:
    """The board that is asked about."""

    place: Place
    print: Fingerprint
    read: bool
    """Whether its settings were read: only then it can be distinguished from others of its kind."""


def _here(device: Board, identity: Identity, table: SettingsSnapshot | None) -> _Here:
    here = _Here(where(device), fingerprint(identity, table), table is not None)
    _answered[str(here.place)] = (here.place, here.print, time.time())
    return here


def lock_names(device: Board, identity: Identity) -> list[str]:
    """By what a pack is held: every name of its place, and who it is if it tells."""
    names = [place_of(device.target), *where(device).names]
    if fingerprint(identity).certain:
        names.append(f"{identity.vendor} {identity.serial_number}")
    return names


async def begin(
    journal: Journal,
    device: Board,
    identity: Identity,
    changes: Sequence[Mapping[str, Any]],
    table: SettingsSnapshot | None = None,
    **why: Any,
) -> Transaction:
    """Begin a change of this board in the journal: on the disk when this returns. Raises
    `JournalRefusal`, also where the disk hangs; what it writes later is closed again then."""

    def write() -> Transaction:
        here = _here(device, identity, table)
        edits = [each for change in changes for each in change.get("settings", ())]
        told = here.print.without({edit["key"] for edit in edits})
        return journal.begin(
            place_of(device.target),
            pack_of(identity),
            changes,
            place=here.place.to_dict(),
            fingerprint=told.to_dict(),
            **({"name": device.target.name} if device.target.name else {}),
            **why,
        )

    def close(transaction: Transaction) -> None:
        transaction.close("nothing sent", why="The disk was too late.")

    with refusing():
        return await on_disk(write, late=close)


async def blocks_of(
    journal: Journal, device: Board, identity: Identity, table: SettingsSnapshot | None = None
) -> dict[str, str]:
    """The checks that fail because of the journal, and why; with `table` also `twin`.

    A change that another program is making at this moment is `lock`, not `unfinished`.
    """
    try:
        return await on_disk(partial(_blocks, journal, device, identity, table))
    except JournalError as error:
        return {"journal": str(error)}


def _blocks(
    journal: Journal, device: Board, identity: Identity, table: SettingsSnapshot | None
) -> dict[str, str]:
    try:
        journal.probe()
        found = _regarding(journal, _here(device, identity, table))
    except JournalError as error:
        return {"journal": str(error)}
    mine = [cut for cut, by in found if by != "print"]
    if mine and (busy := under_way(journal, device, identity)):
        return {"lock": busy}
    if mine:
        return {"unfinished": said_of(mine, device, identity)}
    like = [cut for cut, by in found if by == "print" and not _elsewhere(journal, cut)]
    if like:
        more = f"`bmslink config resume {device.target.word} --show` says more"
        return {
            "twin": f"{_twin(like[0])} If it is that board, {more}; if it is another one, say so."
        }
    return {}


def under_way(journal: Journal, device: Board, identity: Identity) -> str:
    """Who else is changing this pack at this moment, in a sentence; empty: nobody."""
    return held_by_another(journal.folder / "locks", lock_names(device, identity))


def _twin(cut: Open) -> str:
    return (
        f"A change was cut off at {cut.about.get('target')} ({_when(cut)}), and this board looks "
        "the same and has no serial number."
    )


def said_of_twin(cut: Open, device: Board) -> str:
    """What was cut off at another place on a board that looks the same, and what to do next."""
    damaged, how = "", "` finishes it or sets it back"
    if cut.damage:
        damaged, how = f" Its record is damaged: {cut.damage}.", " --keep` gives it up"
    resume = f"`bmslink config resume {device.target.word} --waive place{how}"
    return f"{_twin(cut)}{damaged} If it is that board, {resume}."


@on_board
def open_change(
    device: Board, identity: Identity | None = None, *, journal: Journal | None = None
) -> str | None:
    """What was cut off earlier on the pack of an open device, in a sentence; `None`: nothing.

    Nothing is asked of the device, so without its identity only the place tells; a change that is
    being made at this moment is none. Raises `JournalError` where the journal cannot be read.
    """
    journal = journal or Journal()
    cuts = journal.unfinished(quick=True)
    if not cuts:
        return None
    here, who = where(device), identity or Identity(protocol=device.driver.name)
    board = fingerprint(who)
    mine = [cut for cut in cuts if regards(cut, here, board) in ("serial number", "place")]
    if not mine or is_held(journal.folder / "locks", here.names):
        return None
    return said_of(mine, device, who)


@on_board
def left_behind(device: Board, *, journal: Journal | None = None) -> str:
    """What a change leaves behind that was interrupted a moment ago, in a sentence.

    A journal that cannot be read may hold it: `resume` will know, or say why not.
    """
    here = where(device)
    try:
        cuts = (journal or Journal()).unfinished(quick=True)
        begun = any(recorded_place(each.begin).same(here) for each in cuts)
    except JournalError:
        begun = True
    if not begun:
        return "Interrupted before anything was sent."
    return (
        f"Interrupted in the middle of a change: `bmslink config resume {device.target.word}` "
        "finishes it or sets it back; until then nothing else is written to this pack."
    )


def said_of(cuts: Sequence[Open], device: Board, identity: Identity) -> str:
    """What was cut off, and what to do next."""
    damaged = next((cut for cut in cuts if cut.damage), None)
    if damaged is None:
        road = other_road(cuts[0], identity) or device.target.word
        return (
            f"A change of this pack was cut off ({_when(cuts[0])}): `bmslink config resume {road}` "
            "finishes it or sets it back."
        )
    which = f"A change ({_when(damaged)})" if damaged.begin else "A change"
    whose = "of this pack" if damaged.about else "of this pack or another one"
    return (
        f"{which} {whose} may have been cut off: {damaged.damage}. "
        f"`bmslink config resume {device.target.word} --show` says what is left of it, and "
        "`--keep` gives it up."
    )


def _when(cut: Open) -> str:
    return local(cut.begin.get("time"))


async def cut_off(
    journal: Journal, device: Board, identity: Identity, table: SettingsSnapshot | None = None
) -> list[Open]:
    """The changes of this pack that were cut off, damaged ones first, else oldest first.

    With `table` also those of a board that looks the same, last. Raises `JournalRefusal`.
    """
    with refusing("Nothing was sent."):
        found = await on_disk(lambda: _regarding(journal, _here(device, identity, table)))
    found.sort(key=lambda each: (each[1] == "print", not each[0].damage))
    return [cut for cut, _by in found]


async def concerned(journal: Journal, device: Board, identity: Identity) -> bool:
    """Whether any change that was cut off is of this board, or may be as far as can be told
    without its settings. A journal that cannot be read concerns nobody: who writes will say so."""

    def look() -> bool:
        here = _Here(where(device), fingerprint(identity), read=False)
        cuts = journal.unfinished()
        return any(regards(cut, here.place, here.print) or _alike(cut, here) for cut in cuts)

    try:
        return await on_disk(look)
    except JournalError:
        return False


def _alike(cut: Open, here: _Here) -> bool:
    """Whether only the settings could tell two boards apart."""
    then = _print(cut)
    return not (then.certain or here.print.certain or then.differs(here.print))


By = Literal["serial number", "place", "print", ""]


def _regarding(journal: Journal, here: _Here) -> list[tuple[Open, By]]:
    found = ((cut, regards(cut, here.place, here.print)) for cut in journal.unfinished())
    return [(cut, by) for cut, by in found if by and (by != "print" or here.read)]


def regards(cut: Open, place: Place, board: Fingerprint) -> By:
    """By what a change that was cut off belongs to this pack; empty: it does not."""
    about = cut.about
    if cut.damage and not about:
        return "place"  # nobody can say any more which pack it was
    then = _print(cut)
    if not then.serial_number and isinstance(serial := about.get("serial_number"), str):
        then = replace(then, serial_number=serial)
    if then.equal_serial(board):
        return "serial number"
    if then.certain and board.certain and then.differs(board):
        return ""
    if recorded_place(about if cut.damage else cut.begin).same(place):
        return "place"
    if then.certain or board.certain:
        return ""
    return "print" if then.like(board) else ""


def belongs(cut: Open, target: str, pack: Mapping[str, Any]) -> bool:
    """The same for a pack of which only its target and who it is are known."""
    place = recorded_place({"target": target})
    return regards(cut, place, Fingerprint.from_dict(pack)) in ("serial number", "place")


def _elsewhere(journal: Journal, cut: Open) -> bool:
    """Whether the board of a change is known to be at its own place now: then it is not this one.

    Its change is being made there at this moment, or it answered there a moment ago.
    """
    place, now = recorded_place(cut.begin), time.time()
    if is_held(journal.folder / "locks", place.names):
        return True
    last = max(_seconds(record) for record in (cut.begin, *cut.notes))
    return any(
        at.same(place) and last < heard and now - heard < _LATELY and _print(cut).like(board)
        for at, board, heard in _answered.values()
    )


def _seconds(record: Mapping[str, Any]) -> float:
    """When a record was written; one that does not say may be of this moment."""
    try:
        return datetime.fromisoformat(str(record.get("time"))).timestamp()
    except (ValueError, OverflowError, OSError):
        return time.time()


def _print(cut: Open) -> Fingerprint:
    return Fingerprint.from_dict(cut.begin.get("fingerprint") or cut.begin.get("pack"))


def may_be_written_from(
    cut: Open,
    device: Board,
    identity: Identity,
    *,
    keep: bool,
    agreed: bool,
    waive: Collection[str],
) -> None:
    """`GateError` for a record that must not be written from, or not without a person's word."""
    target = device.target
    if cut.damage and not keep:
        raise refuse(f"Nothing was sent. {said_of([cut], device, identity)}", "journal")
    by = regards(cut, where(device), fingerprint(identity))
    if by in ("", "print") and "place" not in waive:
        raise refuse(
            f"Nothing was sent: the change was begun at {cut.about.get('target')}, and this board "
            "only looks the same; it has no serial number. Make sure that it is the same board.",
            "place",
            "place",
        )
    if cut.old and not (agreed or keep):
        raise refuse(
            "Nothing was sent: an earlier version wrote down this change, without a check. "
            f"`bmslink config resume {target} --show` says what it was; --yes agrees to it.",
            "old",
        )


def other_road(cut: Open, identity: Identity) -> str:
    """The target that a change was begun over where its protocol was another one; or empty.

    A pack with two ports keeps its settings at other addresses on each.
    """
    pack, place = cut.begin.get("pack"), cut.begin.get("target")
    began = pack.get("protocol") if isinstance(pack, dict) else None
    if not isinstance(began, str) or began == identity.protocol or not isinstance(place, str):
        return ""
    return place if "+" in place.partition("://")[0] else f"{began}+{place}"
