"""Whoever has the board while a session runs: this program itself, or a service."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Protocol, runtime_checkable

from bmslink import config
from bmslink.board import Board
from bmslink.config.outcome import Outcome
from bmslink.config.records.on_loan import changing_for_session
from bmslink.control.act.store import kept_ledger
from bmslink.control.decide.decision import Decision
from bmslink.control.sessions.kept import KeptSession
from bmslink.control.sessions.wishes import ChargeWish, alone
from bmslink.errors import GateError
from bmslink.link.transport import WrappedTransport
from bmslink.model import Command, Reading, Switch
from bmslink.polling import Trouble, readings
from bmslink.runtime.acting.direct import do_directly
from bmslink.runtime.acting.limit_sinks import LimitSink, LimitSinks, LineSink
from bmslink.runtime.acting.mailbox import read_mail
from bmslink.runtime.acting.people import ActingWish
from bmslink.storage.journal import Journal

__all__ = ["DirectHost", "SessionHost", "pace_of", "sim_sinks"]

_STOP_EVERY = 5.0
"""s between two looks whether somebody stopped the pack."""


class SessionHost(Protocol):
    """What a session needs of it."""

    interval: float
    """s between two readings."""

    @property
    def pace(self) -> float:
        """Seconds of the pack per second here."""

    @property
    def owner(self) -> str:
        """`service`: it goes on after a restart; `command`."""

    @property
    def limited(self) -> bool:
        """Whether limits reach somebody."""

    @property
    def trouble(self) -> str:
        """What is wrong with that, in sentences."""

    def listen(self) -> None:
        """Be reached by people who stop the pack, from now on."""

    def turn(self, what: str) -> AbstractAsyncContextManager[Board]:
        """The board for a command, `what` in a few words."""

    async def moment(self) -> Reading | str:
        """The next reading, or why there is none."""

    async def switch(self, on: bool) -> Outcome:
        """Set the balancer's switch, inside no turn."""

    async def stopped(self, kept: KeptSession) -> str:
        """Who stopped the pack; empty: nobody."""

    def decision(self) -> Decision | None:
        """What policies decided last."""

    def held_off(self, switch: Switch) -> str:
        """Who holds a switch off, in words; empty: nobody that is known here."""

    def publish(self, kept: KeptSession, wish: ChargeWish, lasts: float) -> None:
        """Say the limits, for so many seconds unless others come."""

    def withdraw(self) -> None:
        """Say no limit of the session any more."""

    def news(self, what: str, text: str, *, alarm: bool = False) -> None:
        """Publish news."""


@runtime_checkable
class _TakesLimits(Protocol):
    """A transport to a simulated pack, whose charger obeys."""

    @property
    def pace(self) -> float:
        """Seconds of the pack per second here."""

    def take_limits(self, line: dict[str, Any]) -> None:
        """Obey them from now on."""


def pace_of(board: Board) -> float:
    """Seconds of the pack per second here: 1, but for a simulated one that is in a hurry."""
    transport = _simulated(board)
    return 1.0 if transport is None else transport.pace


def _simulated(board: Board) -> _TakesLimits | None:
    """The transport to a simulated pack, below whatever records or shares its line."""
    transport = board.link.transport
    while isinstance(transport, WrappedTransport):
        transport = transport.inner
    return transport if isinstance(transport, _TakesLimits) else None


def sim_sinks(board: Board) -> list[LimitSink]:
    """The charger of a simulated pack in this process, which obeys what it is told."""
    transport = _simulated(board)
    return [] if transport is None else [LineSink(transport.take_limits)]


class DirectHost:
    """This program has the line, and nothing else acts on the pack."""

    owner: str = "command"

    def __init__(
        self,
        board: Board,
        *,
        interval: float,
        sinks: Sequence[LimitSink] = (),
        tell: Callable[[str, str, bool], None] = lambda what, text, alarm: None,
        journal: Journal | None = None,
        waive: frozenset[str] = frozenset(),
    ) -> None:
        """`board` is open. `interval` in s between two readings."""
        self.board = board
        self.interval = interval
        self._sinks = LimitSinks([*sinks, *sim_sinks(board)], {"target": str(board.target)})
        self._tell, self._journal, self._waive = tell, journal or Journal(), waive
        self._items: AsyncGenerator[Reading | Trouble, None] | None = None
        self._task: asyncio.Task[None] | None = None
        self._stop, self._looked = "", -_STOP_EVERY
        self._mail: asyncio.Task[None] | None = None

    def listen(self) -> None:
        """Take what people ask from elsewhere: nobody else has the line."""
        if self._mail is None:
            mail = read_mail(str(self.board.target), self._asked, reads_back=True)
            self._mail = asyncio.create_task(mail)

    async def _asked(self, wish: ActingWish, who: str) -> list[str]:
        """A stop, or an off: at once, whatever the session is at. Raises `GateError` for all
        else."""
        if wish.do not in ("stop", "off"):
            raise GateError(
                "Nothing was sent: a balancing session has the pack, and `bmslink balance cancel` "
                "ends it."
            )
        with changing_for_session():
            if wish.do == "off":
                command = Command(Switch(wish.switch), False)
                waive = self._waive & {"untested"}
                return [(await config.switch(self.board, command, waive=waive)).sentence]
            self._stop = who or "Somebody"
            self._sinks.end()
            return (await do_directly(self.board, wish, who)).done

    @property
    def pace(self) -> float:
        """Seconds of the pack per second here."""
        return pace_of(self.board)

    @property
    def limited(self) -> bool:
        """Whether limits reach somebody."""
        return bool(self._sinks)

    @property
    def trouble(self) -> str:
        """What is wrong with that."""
        return self._sinks.trouble

    @asynccontextmanager
    async def turn(self, what: str) -> AsyncIterator[Board]:
        """The board: nothing else asks it here."""
        del what
        if not self.board.opened:
            await self.board.reopen()
        yield self.board

    async def moment(self) -> Reading | str:
        """The next reading; a lost link is opened again."""
        if self._items is None:
            self._items = readings(self.board, interval=self.interval, opened=True)
        item = await anext(self._items)
        return str(item.error) if isinstance(item, Trouble) else item

    async def switch(self, on: bool) -> Outcome:
        """By the road of `bmslink switch`."""
        command = Command(Switch.BALANCE, on)
        return await config.switch(self.board, command, waive=self._waive, journal=self._journal)

    async def stopped(self, kept: KeptSession) -> str:
        """By the ledger on the disk."""
        now = asyncio.get_running_loop().time()
        if now - self._looked >= _STOP_EVERY:
            self._looked = now
            found = (await asyncio.to_thread(kept_ledger, kept.pack)).ledger
            if found is not None and found.stop is not None:
                self._stop = found.stop.who or "Somebody"
        return self._stop

    def decision(self) -> Decision | None:
        """No policies here."""
        return None

    def held_off(self, switch: Switch) -> str:
        """Nothing acts here."""
        del switch
        return ""

    def publish(self, kept: KeptSession, wish: ChargeWish, lasts: float) -> None:
        """To the sinks."""
        if self._task is None and self._sinks:
            self._task = asyncio.create_task(self._sinks.run())
        limits = alone(wish, dcl=kept.dcl, dvl=kept.dvl)
        if limits is None:
            self._sinks.end()
            return
        self._sinks.publish(limits, asyncio.get_running_loop().time(), lasts=lasts)

    def withdraw(self) -> None:
        """Limits end with their ttl."""
        self._sinks.end()

    def news(self, what: str, text: str, *, alarm: bool = False) -> None:
        """To whoever began it."""
        self._tell(what, text, alarm)

    async def close(self) -> None:
        """No more readings."""
        self._sinks.end()
        for task in filter(None, (self._task, self._mail)):
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        if self._items is not None:
            await self._items.aclose()
