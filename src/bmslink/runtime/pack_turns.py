"""Who may use the board of a served pack now: switching off, then commands, then polls."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from typing import Literal

from bmslink.board import Board
from bmslink.config import switch
from bmslink.config.checks.check import refuse
from bmslink.config.outcome import Outcome
from bmslink.errors import LinkClosed, PortBusy
from bmslink.link.turns import Preemption, Turns, Urgency, preemptible, urgency
from bmslink.model import Command, Switch

__all__ = ["Aside", "PackTurns"]

Aside = Literal["lent", "released"]


class PackTurns:
    """Of one pack."""

    def __init__(self, name: str, board: Board) -> None:
        self.open = asyncio.Event()
        """Set while the link is open."""
        self.off_asked = asyncio.Event()
        """Set when somebody switches off: whoever has the line aside gives it back at once."""
        self.aside: Aside | None = None
        """Whether somebody else has the line."""
        self.why_aside = ""
        """Who has it, and until when, in a sentence."""
        self.error = ""
        """Why the pack cannot be reached, for messages."""
        self._name = name
        self._board = board
        self._turns = Turns()
        self._preemption = Preemption()
        self._offs = 0
        self._no_offs = asyncio.Event()
        self._no_offs.set()

    @property
    def busy(self) -> bool:
        """Whether a poll or a command has the board."""
        return self._turns.locked() or self._offs > 0

    @asynccontextmanager
    async def command(self, patience: float) -> AsyncIterator[Board]:
        """The board for one command: polls wait, and one that is under way ends at the next frame
        boundary. Raises `LinkClosed` where it is not reachable within `patience` seconds,
        `PortBusy` while somebody else has the line."""
        self.require_ours()
        with urgency(Urgency.COMMAND):
            self._interrupt()
            async with self._turns:
                await self.require_open(patience)
                yield self._board

    def require_ours(self) -> None:
        """`PortBusy` while somebody else has the line."""
        if self.aside is not None:
            raise PortBusy(self.why_aside)

    @asynccontextmanager
    async def give(self, aside: Aside, why: str, patience: float) -> AsyncIterator[Board]:
        """The board while somebody else has its line, `why` in a sentence; `released`: the link is
        closed inside."""
        async with self.command(patience) as board:
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

    async def offs_done(self) -> None:
        """Wait until nothing is being switched off."""
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
