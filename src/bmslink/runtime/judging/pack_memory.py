"""What a program that runs for months remembers of a pack: which board, what its policies knew.

The state of the policies belongs to the board. One with a serial number takes it along to another
port or name; of the others only the place says which is meant.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from bmslink.board import Board
from bmslink.config import open_change
from bmslink.config.identity.fingerprint import Fingerprint, fingerprint, fingerprint_of
from bmslink.config.identity.known_as import pack_of
from bmslink.control.status import state_path
from bmslink.errors import BmsError, TargetError
from bmslink.link.transport import parse_target
from bmslink.model import Identity
from bmslink.places import place_of
from bmslink.runtime.judging.disk import DiskQueue
from bmslink.storage.journal import Journal
from bmslink.storage.state import DamagedState, StateFolder

__all__ = [
    "SAVED_AT_ONCE",
    "SAVED_EVERY",
    "MemoryPlace",
    "PackDisk",
    "PackMemory",
    "Seat",
    "board_name",
    "cut_off_text",
    "default_folder",
    "known_of",
    "policies_name",
    "who_answers",
]

SAVED_AT_ONCE, SAVED_EVERY = 30, 10.0
"""States that are saved at once when a restriction changes, and s for each one more."""
_FEW = 10.0
"""s between two states of policies that hold something down."""
_QUIET = 60.0
"""The same where nothing is held down."""


_LOOKS, _APART = 3, 0.3
"""How often, and how far apart (s), it is asked who answers where that differs: a text may have
arrived cut short."""


async def who_answers(board: Board, expected: Fingerprint | None) -> tuple[Identity, str]:
    """Who answers, and in words how it differs from the board that is expected; the firmware may
    be another. Nothing that the driver remembers of the board before counts. Raises what
    `Board.identify` raises."""
    for left in reversed(range(_LOOKS)):
        board.driver.forget()
        identity = await board.identify()
        other = "" if expected is None else expected.differs(fingerprint(identity))
        if not other or not left:
            break
        await asyncio.sleep(_APART)
    return identity, other


async def cut_off_text(board: Board, identity: Identity) -> str:
    """What the journal says of a change of this board that was cut off; empty: nothing."""
    try:
        return await asyncio.to_thread(open_change, board, identity) or ""
    except BmsError as error:
        return str(error)


def board_name(identity: Identity, target: str) -> str:
    """What is kept of a board is kept under this name: it has its serial number in it, and where
    it has none its place (`target`)."""
    known = fingerprint(identity)
    which = known.serial_number if known.certain else target
    return f"{identity.protocol} {identity.vendor} {which}"


def policies_name(identity: Identity, target: str) -> str:
    """What the policies of a board know is kept under this name, however its place is written."""
    with suppress(TargetError):  # what is no target is its own name
        target = place_of(parse_target(target))
    return _policies_at(identity, target)


def _policies_at(identity: Identity, place: str) -> str:
    return f"policies {board_name(identity, place)}"


def known_of(found: Mapping[str, Any] | None, identity: Identity) -> dict[str, Any] | None:
    """What the policies knew, out of what is kept; `None`: nothing, or it is of another board."""
    if found is None:
        return None
    saved, pack = found.get("engine"), found.get("pack")
    other = isinstance(pack, Mapping) and fingerprint_of(pack).differs(fingerprint(identity))
    return saved if isinstance(saved, dict) and not other else None


def default_folder() -> StateFolder:
    """Where the states of packs are."""
    return StateFolder(state_path() / "packs")


@dataclass(frozen=True, slots=True)
class PackDisk:
    """Where what packs leave on the disk goes."""

    queue: DiskQueue
    folder: StateFolder
    journal: Journal


class Seat(Protocol):
    """Where a pack is looked for."""

    @property
    def name(self) -> str:
        """For people."""

    @property
    def target(self) -> str:
        """Its place."""


@dataclass(frozen=True, slots=True)
class MemoryPlace:
    """One without a section in the service file."""

    name: str
    target: str


class PackMemory:
    """Of one pack."""

    def __init__(self, plan: Seat, disk: PackDisk, tell: Callable[[str], None]) -> None:
        """`tell` hears, in a sentence, that something cannot be read or written; once, until it
        can be again."""
        self.expected: Fingerprint | None = None
        """The board that is meant; `None`: whichever answers."""
        self._recalling: asyncio.Task[None] | None = None
        self._plan = plan
        self._folder, self._queue = disk.folder, disk.queue
        self._tell = tell
        self._unwritten = False
        self._seat = f"seat {plan.name} {plan.target}"
        self._name = ""
        self._loaded: dict[str, Any] | None = None
        self._saved_at: float | None = None

    async def recall(self, within: float) -> bool:
        """Learn which board was here before, as far as it was ever known; whether that was read
        within so many seconds. The next call waits for the same look."""
        if self._recalling is None:
            self._recalling = asyncio.create_task(self._recall())
        done, _ = await asyncio.wait([self._recalling], timeout=within)
        return bool(done)

    async def _recall(self) -> None:
        pack = (await self._load(self._seat) or {}).get("pack")
        self.expected = fingerprint_of(pack) if isinstance(pack, Mapping) else None

    @staticmethod
    def differs(expected: Fingerprint, identity: Identity) -> str:
        """How a board differs from the one that is expected, in words."""
        return expected.differs(fingerprint(identity))

    def expect(self, identity: Identity) -> None:
        """This board is the one that is meant from now on, after a restart too."""
        seat = {"name": self._plan.name, "target": self._plan.target, "pack": pack_of(identity)}
        self._put(self._seat, seat, None)
        self.expected = fingerprint(identity)

    async def take(self, identity: Identity) -> dict[str, Any] | None:
        """What the policies knew of this board; from now on it is saved as its state, and never
        before it was read. The disk is read in a thread."""
        target = self._plan.target
        name, self._name = policies_name(identity, target), ""
        found = await self._load(name)
        if found is None and (before := _policies_at(identity, target)) != name:
            found = await self._load(before)  # earlier versions went by how the target is written
        self._name, self._loaded, self._saved_at = name, found, None
        return known_of(found, identity)

    def save(
        self,
        now: float,
        state: Callable[[], dict[str, Any]],
        identity: Identity,
        *,
        active: bool,
        at_once: bool,
    ) -> None:
        """Save what the policies know, if it is time or `at_once`. `active`: they hold something
        down. `now` in s of the loop's clock."""
        due = _FEW if active else _QUIET
        early = self._saved_at is not None and now - self._saved_at < due
        if not self._name or (early and not at_once):
            return
        self._saved_at = now
        values = {"name": self._plan.name, "pack": pack_of(identity), "engine": state()}
        self._put(self._name, values, self._loaded)

    async def _load(self, name: str) -> dict[str, Any] | None:
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._queue.thread, self._folder.load, name)
        except DamagedState as error:
            self._tell(f"{error} What was known of {self._plan.name} is lost.")
            return None

    def _put(self, name: str, values: Mapping[str, Any], before: dict[str, Any] | None) -> None:
        write = partial(self._folder.save, name, values, before)
        self._queue.put(write, key=name, ended=self._ended)

    def _ended(self, error: str) -> None:
        if error and not self._unwritten:
            self._tell(error)
        self._unwritten = bool(error)
