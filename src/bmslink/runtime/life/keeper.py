"""The lives of the batteries of a service: one record for each board, whatever its pack is called.

It is fed by the watcher, after the one counter of charge and energy has heard the reading. What is
remembered goes into the history together with that counter, so that a kill counts nothing twice.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from bmslink.analysis import BatteryLife, Counted, LifeFacts
from bmslink.analysis.life import NewerRecord
from bmslink.config.identity.fingerprint import fingerprint_of
from bmslink.errors import UsageError
from bmslink.model import Reading
from bmslink.runtime.watching.energy import EnergyTotals

__all__ = ["BoardOfPack", "LifeKeeper", "LifeRow", "counted_of", "without_pack"]

_log = logging.getLogger(__name__)

ABOUT = "about"
"""The part of a record that says whose it is."""
_PACK, _WHO = "pack", "who"


class LifeRow(NamedTuple):
    """One part of a record, as it is stored."""

    board: str
    part: str
    data: str
    """JSON."""


@dataclass(frozen=True, slots=True)
class BoardOfPack:
    """Which board a pack has."""

    key: str
    """Its serial number, or its place where it has none."""
    who: Mapping[str, Any] | None
    """As in the journal; `None`: it does not say."""
    chemistry: str | None = None
    """What the cells are made of, where somebody says it."""
    capacity: float | None = None
    """Nominal, Ah, where readings may not say it."""


@dataclass
class _Record:
    life: BatteryLife
    pack: str
    who: Mapping[str, Any] | None
    heard: bool = True
    written: dict[str, str] = field(default_factory=dict)


def counted_of(totals: EnergyTotals) -> Counted:
    """The one counter, as the estimators take it."""
    return Counted(
        totals.charge_in, totals.charge_out, totals.energy_in, totals.energy_out,
        totals.known, totals.unknown,
    )  # fmt: skip


class LifeKeeper:
    """Of one service. Nothing is counted before what was stored is known (`give`): the counter
    goes on meanwhile, and what it counted is taken over then."""

    def __init__(self) -> None:
        self.board_of: Callable[[str], BoardOfPack | None] = lambda name: None
        """The board of a pack; `None`: not known yet."""
        self.complete = False
        """All that was ever stored has been given: another board is a new one."""
        self.elsewhere = False
        """Of a board that is not in what was given it is looked up elsewhere first."""
        self.new_counter = False
        """The counter began anew with this process: it is not kept by itself."""
        self.wanted: set[str] = set()
        """Boards of which it is to be looked up what was stored."""
        self._records: dict[str, _Record] = {}
        self._stored: dict[str, Mapping[str, str]] = {}
        self._looked: set[str] = set()
        self._boards: dict[str, str] = {}
        """Pack -> board."""
        self._disowned: dict[str, str] = {}
        """Board -> what is to be written of whose it is: another one is on its pack now."""
        self._unwritten: set[str] = set()
        """Boards of which what was stored is not where changes are written to."""
        self._newer: set[str] = set()
        """Boards whose record a later version wrote: it is left as it is."""

    # -- what was stored -------------------------------------------------------------------------

    def give(self, stored: Mapping[str, Mapping[str, str]], *, kept: bool = True) -> None:
        """What was stored of boards, part by part; of one without parts, that nothing was.
        `kept`: it is where the changes are written to; else all of it is written there."""
        for board, parts in stored.items():
            self.wanted.discard(board)
            self._looked.add(board)
            if parts and board not in self._records:
                self._stored[board] = parts
                if not kept:
                    self._unwritten.add(board)

    def rewrite(self) -> None:
        """What was written is gone: all is written again."""
        for record in self._records.values():
            record.written, record.heard = {}, True

    def changes(self) -> list[LifeRow]:
        """What has changed since it was written (`wrote`)."""
        rows = []
        for board, record in self._records.items():
            if not record.heard:
                continue
            about = json.dumps({_PACK: record.pack, _WHO: record.who}, default=str)
            for part, data in {**record.life.save(), ABOUT: about}.items():
                if record.written.get(part) != data:
                    rows.append(LifeRow(board, part, data))
            record.heard = False
        rows += [LifeRow(board, ABOUT, about) for board, about in self._disowned.items()]
        return rows

    def wrote(self, rows: Iterable[LifeRow]) -> None:
        """These are on the disk."""
        for row in rows:
            if row.board in self._records:
                self._records[row.board].written[row.part] = row.data
            self._disowned.pop(row.board, None)

    def failed(self, rows: Iterable[LifeRow]) -> None:
        """These are not: they are tried again."""
        for row in rows:
            if row.board in self._records:
                self._records[row.board].heard = True

    # -- readings --------------------------------------------------------------------------------

    def hear(self, pack: str, clock: float, reading: Reading, totals: EnergyTotals | None) -> None:
        """A reading that the counter of this pack has heard."""
        board = self.board_of(pack)
        if board is None or totals is None or board.key in self._newer:
            return
        record = self._records.get(board.key)
        if record is None or self._boards.get(pack) != board.key or _another(record.who, board.who):
            record = self._begin(pack, board)
            if record is None:
                return
        record.heard = True
        record.life.chemistry, record.life.capacity = board.chemistry, board.capacity
        record.life.hear(clock, reading, counted_of(totals))

    def _begin(self, pack: str, board: BoardOfPack) -> _Record | None:
        """The record of a board that is on this pack from now on; `None`: it is not known yet
        whether there is one."""
        if board.key not in self._looked and (self.elsewhere or not self.complete):
            self.wanted.add(board.key)
            return None
        record = self._records.get(board.key)
        if record is None or _another(record.who, board.who):
            record = self._restored(board)
        if record is None:
            return None
        before = self._boards.get(pack, board.key)
        if record.pack != pack or before != board.key:  # this counter has counted for another one
            record.life.leave_counter()
            record.pack = pack
        for key, other in self._records.items():
            if other.pack == pack and key != board.key:  # what is counted now is not its own
                other.life.leave_counter()
                other.pack, other.heard = "", True
        for key, parts in self._stored.items():
            if _about(parts).get(_PACK) == pack and key != board.key:
                self._stored[key] = without_pack(parts)
                self._disowned[key] = self._stored[key][ABOUT]
        record.who = board.who or record.who
        self._records[board.key], self._boards[pack] = record, board.key
        self._disowned.pop(board.key, None)
        return record

    def _restored(self, board: BoardOfPack) -> _Record | None:
        """The record as it was stored, or a new one; `None`: it is not to be touched."""
        parts = self._stored.pop(board.key, None)
        if parts is None:
            return _Record(BatteryLife(board.chemistry), "", board.who)
        about = _about(parts)
        if _another(about.get(_WHO), board.who):  # the same place, but another board
            return _Record(BatteryLife(board.chemistry), "", board.who)
        try:
            life = BatteryLife.restore(parts, board.chemistry)
        except NewerRecord as error:
            _log.warning("%s It is left as it is, and nothing is recorded of %s.", error, board.key)
            self._newer.add(board.key)
            return None
        except UsageError as error:
            _log.warning("%s It begins anew.", error)
            return _Record(BatteryLife(board.chemistry), "", board.who)
        if self.new_counter:
            life.new_counter()
        written = {} if board.key in self._unwritten else dict(parts)
        return _Record(life, str(about.get(_PACK, "")), board.who, written=written)

    # -- what is known ---------------------------------------------------------------------------

    def facts(self, pack: str, totals: EnergyTotals | None) -> LifeFacts | None:
        """Of the board that this pack has; `None`: nothing yet."""
        board = self.board_of(pack)
        record = None if board is None else self._records.get(board.key)
        if record is None or record.pack != pack:
            return None
        return record.life.facts(None if totals is None else counted_of(totals))


def _another(known: object, now: Mapping[str, Any] | None) -> bool:
    """Whether a board is surely not the one that a record is of."""
    if known is now or not isinstance(known, Mapping) or now is None:
        return False
    return bool(fingerprint_of(known).differs(fingerprint_of(now)))


def without_pack(parts: Mapping[str, str]) -> dict[str, str]:
    """A record whose counter is not that of its pack any more."""
    return {**parts, ABOUT: json.dumps({**_about(parts), _PACK: ""})}


def _about(parts: Mapping[str, str]) -> dict[str, Any]:
    try:
        found = json.loads(parts.get(ABOUT, "{}"))
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
