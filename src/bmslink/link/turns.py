"""Who is next on a line: the most urgent of those who wait, and among equals the first.

Switching off goes before every command, a command before every poll. It never breaks into an
exchange, because a half-heard question helps nobody, but it waits for no other exchange than the
one in progress: the next one goes at the frame boundary. However many commands come, polls are not
kept waiting for ever: what protects a pack lives on them.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from enum import IntEnum
from types import TracebackType
from typing import NamedTuple

from bmslink.errors import BmsError

__all__ = ["Preempted", "Preemption", "Turns", "Urgency", "preemptible", "urgency", "yield_turn"]


class Urgency(IntEnum):
    """How long something may wait; the smallest goes first."""

    OFF = 0
    """Switching a current off."""
    COMMAND = 1
    """What somebody asked for, and everything that says nothing else."""
    POLL = 2
    """What is asked again and again anyway."""


_LONGEST = 5.0
"""Polls that have waited so long, s, go before commands, though never before switching off."""

_URGENCY: ContextVar[Urgency] = ContextVar("urgency", default=Urgency.COMMAND)


@contextmanager
def urgency(value: Urgency) -> Iterator[None]:
    """All that this task sends inside is so urgent; it may become more urgent inside, never less
    than it was."""
    token = _URGENCY.set(value)
    try:
        yield
    finally:
        _URGENCY.reset(token)


class _Waiter(NamedTuple):
    turn: asyncio.Future[None]
    since: float
    """s of the loop's clock."""


class Turns:
    """A lock that goes to the most urgent of those who wait."""

    def __init__(self) -> None:
        self._held = False
        self._waiting: tuple[deque[_Waiter], ...] = tuple(deque() for _ in Urgency)

    def locked(self) -> bool:
        """Whether somebody has it."""
        return self._held

    def outranked(self) -> bool:
        """Whether somebody waits who is more urgent than this task."""
        return any(self._waiting[: _URGENCY.get()])

    @asynccontextmanager
    async def taken(self, *, urgent: bool = False, again: bool = False) -> AsyncIterator[None]:
        """One turn. `urgent`: it switches a current off, whatever this task does otherwise.
        `again`: it was given up for somebody more urgent, so it is the first of its equals."""
        await self.acquire(Urgency.OFF if urgent else None, again=again)
        try:
            yield
        finally:
            self.release()

    async def acquire(self, value: Urgency | None = None, *, again: bool = False) -> None:
        """Wait for the turn; `value` is how urgent it is, if not as this task is."""
        if not self._held:
            self._held = True
            return
        waiting = self._waiting[_URGENCY.get() if value is None else value]
        loop = asyncio.get_running_loop()
        mine = _Waiter(loop.create_future(), loop.time())
        if again:
            waiting.appendleft(mine)
        else:
            waiting.append(mine)
        try:
            await mine.turn
        except BaseException:
            if mine in waiting:
                waiting.remove(mine)
            elif mine.turn.done() and not mine.turn.cancelled():  # it was handed over just now
                self.release()
            raise

    def release(self) -> None:
        """Hand it to the next one."""
        offs, commands, polls = self._waiting
        late = bool(polls) and asyncio.get_running_loop().time() - polls[0].since > _LONGEST
        for waiting in (offs, polls, commands) if late else self._waiting:
            while waiting:
                if not (next_one := waiting.popleft().turn).done():
                    next_one.set_result(None)
                    return
        self._held = False

    async def __aenter__(self) -> None:
        await self.acquire()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()


class Preempted(BmsError):
    """A poll was given up between two of its questions, because somebody else needs the board."""


class Preemption:
    """Asks a poll to end at the next frame boundary."""

    def __init__(self) -> None:
        self.asked = False
        self.since: float | None = None
        """When the first of the polls was given up since one came to its end, s."""


_PREEMPTION: ContextVar[Preemption | None] = ContextVar("preemption", default=None)


@contextmanager
def preemptible(preemption: Preemption) -> Iterator[None]:
    """What this task asks inside may end with `Preempted`, between two questions."""
    token = _PREEMPTION.set(preemption)
    try:
        yield
        preemption.since = None
    except Preempted:
        if preemption.since is None:
            preemption.since = asyncio.get_running_loop().time()
        raise
    finally:
        _PREEMPTION.reset(token)


def yield_turn(*, urgent: bool = False) -> None:
    """Called where nothing is under way on the line: raises `Preempted` where that was asked, and
    polls did not all end like that for long; never for what is `urgent`, whoever sends it."""
    found = _PREEMPTION.get()
    if urgent or found is None or not found.asked:
        return
    if found.since is None or asyncio.get_running_loop().time() - found.since < _LONGEST:
        raise Preempted("Somebody else needs the board: this poll is repeated afterwards.")
