"""One pack, read for ever: what `control run` and the service have in common."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager, nullcontext
from typing import Protocol

from bmslink.board import Board
from bmslink.errors import BmsError, LinkClosed
from bmslink.model import Reading
from bmslink.polling import Trouble, readings

__all__ = ["BetweenPolls", "LatestReading", "PackListener", "follow", "in_time"]

_LATE = 1.5  # times the interval
_YOUNG = 2.0
"""How old a reading may be that is judged once more, by what has just begun to act, s."""
_MOMENT = 2.0
"""How long a poll waits for what began between two of them, s."""


class PackListener(Protocol):
    """Who hears a pack. Times are seconds of the loop's clock."""

    def hear(self, reading: Reading, now: float) -> None:
        """A reading."""

    def miss(self, error: BmsError, now: float, *, lost: bool) -> None:
        """A reading that did not come. `lost`: the link is gone, and is opened again."""

    def beat(self, now: float, *, late: bool) -> None:
        """Called every interval, whatever the pack does. `late`: nothing was heard for longer."""


async def follow(
    board: Board,
    listener: PackListener,
    *,
    interval: float,
    count: int | None = None,
    read: Callable[[], Awaitable[Reading]] | None = None,
    between: Callable[[], Awaitable[None]] | None = None,
    before_close: Callable[[], Awaitable[None]] | None = None,
    opened: bool = False,
    opening: float | None = None,
    opening_turn: Callable[[], AbstractAsyncContextManager[None]] = nullcontext,
    spread: Callable[[], float] = lambda: 1.0,
) -> None:
    """Read until cancelled, or `count` times, or to the end of a recording; the board is closed
    then, after `before_close`. A missing port is waited for. `between` runs after each try; the
    others as in `readings`.
    """
    loop = asyncio.get_running_loop()
    heard = loop.time()

    async def keep_beat() -> None:
        while True:
            await asyncio.sleep(interval)
            now = loop.time()
            listener.beat(now, late=now - heard > _LATE * interval)

    async with asyncio.TaskGroup() as group:
        beat = group.create_task(keep_beat())
        try:
            async with aclosing(
                readings(
                    board,
                    interval=interval,
                    count=count,
                    patient=True,
                    read=read,
                    opened=opened,
                    opening=opening,
                    opening_turn=opening_turn,
                    spread=spread,
                )
            ) as items:
                async for item in items:
                    now = loop.time()
                    if isinstance(item, Trouble):
                        listener.miss(item.error, now, lost=item.lost)
                    else:
                        heard = now
                        listener.hear(item, now)
                    if between is not None:
                        await between()
        except BmsError as error:  # a recording that cannot be played
            listener.miss(error, loop.time(), lost=True)
        finally:
            beat.cancel()
            try:
                if before_close is not None:
                    await before_close()
            finally:
                await board.close()


@asynccontextmanager
async def in_time(seconds: float) -> AsyncIterator[None]:
    """Inside, a reading is made; one that never ends is a link that is gone."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as late:
        if isinstance(late, BmsError):
            raise
        raise LinkClosed(f"No reading was whole after {seconds:g} s.") from late


class LatestReading:
    """The one that what begins to act begins with: an off that is due does not wait for the next.
    Times are s of the loop's clock."""

    def __init__(self) -> None:
        self._reading: Reading | None = None
        self._at = 0.0

    def heard(self, reading: Reading | None, now: float) -> None:
        """A reading, or that there is none now."""
        self._reading, self._at = reading, now

    def young(self, now: float) -> Reading | None:
        """It, while nothing says that it is over."""
        return self._reading if now - self._at <= _YOUNG else None


class BetweenPolls:
    """Work that goes between two polls, and on beside them where it takes longer: a disk that hangs
    stops no reading."""

    def __init__(self, work: Callable[[], Awaitable[None]]) -> None:
        self._work = work
        self._task: asyncio.Task[None] | None = None

    async def step(self) -> None:
        """Begin it, or go on with what has begun, for 2 s at most. Raises what it raises."""
        if self._task is None:
            self._task = asyncio.create_task(self._do())
        task = self._task
        await asyncio.wait({task}, timeout=_MOMENT)
        if task.done():
            self._task = None
            task.result()

    async def _do(self) -> None:
        await self._work()

    async def end(self) -> None:
        """It is given up."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task}, timeout=_MOMENT)
