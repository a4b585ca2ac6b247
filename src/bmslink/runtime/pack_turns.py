"""Who may use the board of a served pack now: switching off, then commands, then polls."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from bmslink.board import Board
from bmslink.config import switch
from bmslink.config.checks.check import refuse
from bmslink.config.outcome import Outcome
from bmslink.errors import LinkClosed, PortBusy
from bmslink.jsonable import plain
from bmslink.link.link import Link
from bmslink.link.turns import Preemption, Turns, Urgency, preemptible, urgency
from bmslink.model import Command, Switch
from bmslink.storage.journal import actor_name

__all__ = ["Aside", "Doing", "PackTurns"]

Aside = Literal["lent", "released"]
_LINES = ("serial", "tcp", "rfc2217")
"""Where a line can be open though no board answers."""
_ASKED = "it is asked"


@dataclass(frozen=True, slots=True)
class Doing:
    """A command that has the board."""

    what: str
    """`a change is written`, …"""
    who: str
    """Who asked for it."""
    began: float
    """s of the loop's clock."""
    since: datetime
    """For show only."""

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"what": self.what, "who": self.who, "since": plain(self.since)}

    def sentence(self) -> str:
        """For people."""
        lasts = asyncio.get_running_loop().time() - self.began
        return f"It is not being polled: {self.what} for {self.who} ({lasts:.0f} s so far)."


class PackTurns:
    """Of one pack."""

    def __init__(self, name: str, board: Board) -> None:
        self.open = asyncio.Event()
        """Set while the link is open."""
        self.off_asked = asyncio.Event()
        """Set when somebody switches off: whoever has the line aside gives it back at once."""
        self.on_off: Callable[[], None] = lambda: None
        """Is called when somebody switches off, before anything is sent."""
        self.aside: Aside | None = None
        """Whether somebody else has the line."""
        self.why_aside = ""
        """Who has it, and until when, in a sentence."""
        self.doing: Doing | None = None
        """The command that has the board now."""
        self.error = ""
        """Why the pack cannot be reached, for messages."""
        self._name = name
        self._board = board
        self._turns = Turns()
        self._opening = asyncio.Lock()
        self._preemption = Preemption()
        self._offs = 0
        self._no_offs = asyncio.Event()
        self._no_offs.set()

    @property
    def busy(self) -> bool:
        """Whether a poll or a command has the board."""
        return self._turns.locked() or self._offs > 0

    @asynccontextmanager
    async def command(self, patience: float, what: str = _ASKED) -> AsyncIterator[Board]:
        """The board for one command, `what` in a few words: polls wait, and one that is under way
        ends at the next frame boundary. Raises `LinkClosed` where it is not reachable within
        `patience` seconds, `PortBusy` while somebody else has the line."""
        async with self._taken():
            await self.require_open(patience)
            async with self._doing(what):
                yield self._board

    @asynccontextmanager
    async def _taken(self) -> AsyncIterator[None]:
        """The turn of a command."""
        self.require_ours()
        with urgency(Urgency.COMMAND):
            self._interrupt()
            async with self._turns:
                yield

    @asynccontextmanager
    async def _doing(self, what: str) -> AsyncIterator[None]:
        """Inside, it can be told what has the board."""
        now = asyncio.get_running_loop().time()
        self.doing = Doing(what, actor_name(), now, datetime.now(UTC))
        try:
            yield
        finally:
            self.doing = None

    @asynccontextmanager
    async def line(self, patience: float) -> AsyncIterator[Board]:
        """The board with its line, which is all that somebody else needs of it. Where it was not
        open, because nothing answers there, the line alone is opened, and closed afterwards.
        Raises `LinkClosed` where it is a link to a radio module, or its protocol is not known, and
        what opening it raises."""
        async with self._taken():
            if self.open.is_set() or self._board.target.scheme not in _LINES:
                await self.require_open(patience)
                yield self._board
                return
            async with self._opening:  # one that is under way ends first
                if self.open.is_set():
                    yield self._board
                    return
                link = self._line()
                await link.open()
                try:
                    yield self._board
                finally:
                    await link.close()

    def _line(self) -> Link[Any]:
        try:
            return self._board.link
        except LinkClosed:
            raise LinkClosed(
                f"The protocol of {self._name} is not known yet, so neither is the speed of its "
                f"line: write it before the target in bmslink.toml, as in jbd+{self._board.target}."
            ) from None

    @asynccontextmanager
    async def opening(self) -> AsyncIterator[None]:
        """Around opening the link: not while somebody else has the line."""
        async with self._opening:
            yield

    def require_ours(self) -> None:
        """`PortBusy` while somebody else has the line."""
        if self.aside is not None:
            raise PortBusy(self.why_aside)

    @asynccontextmanager
    async def give(self, aside: Aside, why: str, patience: float) -> AsyncIterator[Board]:
        """The board while somebody else has its line, `why` in a sentence; `released`: the link is
        closed inside."""
        taken = self.line(patience) if aside == "lent" else self.command(patience)
        async with taken as board:
            await self.offs_done()  # one that has begun would wait for the end of this
            self.aside, self.why_aside = aside, why
            self.off_asked.clear()
            try:
                if aside == "released":
                    await board.link.close()
                yield board
            finally:
                self.aside = None

    async def switch_off(self, name: Switch, waive: Collection[str]) -> Outcome:
        """Switch off, before everything else, and read back."""
        async with self.off():
            return await switch(self._board, Command(name, on=False), waive=waive)

    @asynccontextmanager
    async def off(self) -> AsyncIterator[Board]:
        """The board for switching off: what is sent inside goes before everything else. Raises
        `GateError` while a phone has the link."""
        self.off_asked.set()
        self.on_off()
        if self.aside == "released":
            raise refuse(f"Nothing was sent. {self.why_aside}", "released")
        self._offs += 1
        self._no_offs.clear()
        try:
            with urgency(Urgency.OFF):
                self._interrupt()
                yield self._board
        finally:
            self._offs -= 1
            if not self._offs:
                self._no_offs.set()

    @property
    def switching_off(self) -> bool:
        """Whether something is being switched off now."""
        return self._offs > 0

    async def offs_done(self) -> None:
        """Wait until nothing is being switched off; another may begin as one ends."""
        while self._offs:
            await self._no_offs.wait()

    @asynccontextmanager
    async def poll(self) -> AsyncIterator[None]:
        """The turn for a poll: what is asked inside may end with `Preempted`."""
        with urgency(Urgency.POLL):
            while True:
                await self._no_offs.wait()
                await self._turns.acquire()
                if not self._offs:
                    break
                self._turns.release()  # while this waited, somebody began to switch off
            try:
                self._preemption.asked = False
                with preemptible(self._preemption):
                    yield
            finally:
                self._turns.release()

    def _interrupt(self) -> None:
        """End a poll that is under way, at the next frame boundary."""
        self._preemption.asked = True
        try:
            self._board.link.stir()
        except LinkClosed:  # its protocol is not known yet: nothing is under way
            return

    async def require_open(self, patience: float) -> None:
        """Wait for the link; raises `LinkClosed`."""
        try:
            async with asyncio.timeout(patience):
                await self.open.wait()
        except TimeoutError:
            why = f" {self.error}" if self.error else ""
            raise LinkClosed(f"{self._name} cannot be reached now.{why}") from None
