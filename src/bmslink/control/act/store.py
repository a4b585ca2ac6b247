"""The ledgers on the disk: one file a pack, replaced as a whole.

A thread of its own writes, so that a disk that hangs keeps nobody waiting: who switches off does
not ask it at all, and who switches on waits for it, but not for ever.
"""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from bmslink.control.act.ledger import Ledger, LedgerDamaged, load_ledger, save_ledger
from bmslink.control.status import state_path
from bmslink.storage.state import DamagedState, StateFolder, UnwritableState

__all__ = ["KeptLedger", "LedgerStore", "Loaded", "kept_ledger"]

_PATIENCE = 2.0
"""How long an enable waits for the disk, s."""


class Loaded(NamedTuple):
    """A ledger at the start of a program."""

    ledger: Ledger
    trouble: str
    """Why the saved one could not be used, in a sentence; empty: it was, or there was none."""


class KeptLedger(NamedTuple):
    """The ledger of a pack as it lies on the disk, for who only looks."""

    ledger: Ledger | None
    """With times before 0, s before it was saved; `None`: there is none, or it is damaged."""
    saved: datetime | None
    """When; `None`: not known."""
    trouble: str
    """Why it cannot be read, in a sentence."""


def kept_ledger(pack: str, folder: Path | None = None) -> KeptLedger:
    """Read the ledger of a pack and leave its file as it is."""
    try:
        found = StateFolder(folder or state_path() / "ledgers").look(pack)
        if found is None:
            return KeptLedger(None, None, "")
        return KeptLedger(load_ledger(found, pack, 0.0), _moment(found.get("saved")), "")
    except (DamagedState, LedgerDamaged) as error:
        return KeptLedger(None, None, str(error))


def _moment(told: object) -> datetime | None:
    try:
        found = datetime.fromisoformat(str(told))
    except ValueError:
        return None
    return found if found.tzinfo is not None else None


class LedgerStore:
    """Reads and writes the ledger of one pack: in the user's state folder, or where BMSLINK_STATE
    says."""

    def __init__(self, pack: str, folder: Path | None = None) -> None:
        self._states = StateFolder(folder or state_path() / "ledgers")
        self.file: Path = self._states.path(pack)
        self.trouble: str = ""
        """Why the last ledger is not on the disk, in a sentence; empty: it is, or it is being
        written."""
        self._pack = pack
        self._change = threading.Condition()
        self._next: tuple[dict[str, Any], Future[bool]] | None = None
        self._thread: threading.Thread | None = None
        self._closed = False

    @property
    def well(self) -> bool:
        """Whether ledgers can be written: without that nothing is switched on."""
        return not self.trouble

    def load(self, now: float) -> Loaded:
        """The ledger as it was saved. One that is damaged is put aside, and an empty one begins:
        what was switched off from here is then no longer known, so nobody gives it back but a
        person."""
        try:
            saved = self._states.load(self._pack)
            if saved is None:
                return Loaded(Ledger.new(self._pack, now), "")
            return Loaded(load_ledger(saved, self._pack, now), "")
        except DamagedState as error:
            return self._without(str(error), now)
        except LedgerDamaged as error:
            return self._without(f"{error} It is {self._states.put_aside(self._pack)} now.", now)

    def _without(self, why: str, now: float) -> Loaded:
        told = (
            f"{why} What bmslink switched off is not known any more: only a person gives it back."
        )
        return Loaded(Ledger.new(self._pack, now), told)

    def save(self, ledger: Ledger, now: float) -> Future[bool]:
        """Have it written, and wait for nothing: the result says whether it is on the disk. One
        that was not begun yet is left out, because the newer one holds all of it; both then have
        the same result."""
        data = save_ledger(ledger, now)
        with self._change:
            done = Future[bool]() if self._next is None else self._next[1]
            self._next = (data, done)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, daemon=True)
                self._thread.start()
            self._change.notify()
        return done

    async def saved(self, ledger: Ledger, now: float, *, patience: float = _PATIENCE) -> bool:
        """The same before something is switched on: whether it is on the disk within `patience`
        s."""
        done = self.save(ledger, now)
        try:
            return await asyncio.get_running_loop().run_in_executor(None, done.result, patience)
        except TimeoutError:
            self.trouble = self._late(patience)
            return False

    def close(self) -> bool:
        """Nothing more will be saved; what is being written is finished if the disk lets it.
        Whether all is on the disk: `trouble` says why not."""
        with self._change:
            self._closed = True
            self._change.notify()
        if self._thread is not None:
            self._thread.join(_PATIENCE)
            if self._thread.is_alive():
                self.trouble = self._late(_PATIENCE)
        return self.well

    def _late(self, patience: float) -> str:
        return f"{self.file} was not written within {patience:g} s."

    def _work(self) -> None:
        while True:
            with self._change:
                while self._next is None:
                    if self._closed:
                        return
                    self._change.wait()
                data, done = self._next
                self._next = None
            trouble = self._write(data)
            self.trouble = trouble
            done.set_result(not trouble)

    def _write(self, data: dict[str, Any]) -> str:
        try:
            self._states.save(self._pack, data, None)
        except UnwritableState as error:
            return f"{error} Nothing is switched on until it can."
        return ""
