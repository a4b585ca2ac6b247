"""One question at a time over one transport.

`Link` joins a framer to a transport: it sends a request, waits for the frames that answer it,
repeats what was lost, and keeps the quiet times a BMS needs.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime
from typing import Generic, TypeVar

from bmslink.errors import LinkClosed, LinkTimeout
from bmslink.link.answers import AnswerTally, LateAnswers, Overheard
from bmslink.link.counters import Continuity, LinkCounters
from bmslink.link.framer import Drop, Frame, Framer, SkippedBytes, Value
from bmslink.link.timing import Timing
from bmslink.link.transport import Transport
from bmslink.link.turns import Turns, yield_turn
from bmslink.moments import utc_now

__all__ = ["Drop", "Frame", "Framer", "Link", "SkippedBytes", "Timing", "Value"]

F = TypeVar("F", bound=Frame)

_log = logging.getLogger(__name__)

_MOST = 256
"""Frames that wait or make one answer; a device that never stops must not fill the memory."""
_RECENT = 2048
"""Bytes that are kept to see what they look like where none of them was a frame."""
_PATIENCE = 10
"""An answer of many frames may take this many times the timeout of one."""
_LOOK = 0.02  # s: who waits longer than the quiet time looks so often whether a turn is urgent


class Link(Generic[F]):
    """One transport, one framer, one question at a time."""

    def __init__(
        self,
        transport: Transport,
        framer: Framer[F],
        timing: Timing,
        *,
        name: str = "link",
        address: int | None = None,
        addressed: bool = False,
    ) -> None:
        """`name` is what the log calls it; `address` the one that all requests carry, if the
        target names one: it may be why nobody answers. `addressed`: boards of this protocol can
        have another one than is asked where no address is named."""
        self.name = name
        self.address = address
        self.addressed = addressed
        self.transport = transport
        self.framer = framer
        self.timing = timing
        self.recent: bytes = b""
        """The bytes that came last."""
        self.received_at: datetime | None = None
        """When the last frame was completed, UTC."""
        self.received: int = 0
        """How many frames came."""
        self._frames: deque[F] = deque(maxlen=_MOST)
        self._turns = Turns()
        self._overheard: Overheard[F] = Overheard()
        self._news = asyncio.Event()
        self._lost: Exception | None = None
        self._open = self._awake = False
        self._last_byte = -1e9
        self._heard = 0
        self._late: LateAnswers[F] = LateAnswers()
        self.continuity: Continuity = Continuity()
        """Whether another board may have taken the place of the one that spoke."""
        self.counters: LinkCounters = LinkCounters()
        """How good this link is, since it was made."""

    async def open(self) -> None:
        """Open the transport; raises what it raises."""
        self._lost = None
        self._awake = False
        self.continuity.answered_at = -1e9
        self._late.forget()
        self.framer.reset()
        self._frames.clear()
        await self.transport.open(self._on_data, self._on_lost)
        self._open = True
        self.counters.openings += 1

    async def close(self) -> None:
        """Close the transport; may be called twice. A call that waits gets `LinkClosed`."""
        self._open = False
        self._news.set()
        self._overheard.end()
        await self.transport.close()

    def _on_data(self, data: bytes) -> None:
        self._last_byte = asyncio.get_running_loop().time()
        self._heard += len(data)
        self.recent = (self.recent + data)[-_RECENT:]
        before, begun = self.framer.skipped_bytes, self.framer.pending > 0
        frames = self.framer.feed(data)
        if frames or not begun:  # who waits knows already that a frame has begun
            self._take(frames)
        if skipped := self.framer.skipped_bytes - before:
            _log.debug("%s: %d bytes belong to no frame.", self.name, skipped)

    def _take(self, frames: list[F]) -> None:
        if frames:
            # how much only: a password may be in them
            _log.debug("%s: frames of %s bytes came.", self.name, [len(f.raw) for f in frames])
            self.received_at = utc_now()
            self.received += len(frames)
            self._frames.extend(frames)
            self._overheard.hear(frames)
        self._news.set()

    def _on_lost(self, error: Exception | None) -> None:
        self._lost = error or LinkClosed("The other side closed the connection.")
        self._news.set()
        self._overheard.end()

    def _check(self) -> None:
        if self._lost is not None:
            raise LinkClosed(str(self._lost)) from self._lost
        if not self._open:
            raise LinkClosed("The link is not open: use the device inside its `with` block.")

    def alive(self) -> None:
        """`LinkClosed` where nothing can be sent any more."""
        self._check()

    async def _news_until(self, deadline: float, *, asked: bool = True) -> bool:
        """Wait for bytes; False when the deadline passed. A silent line gives up half a frame.
        `asked`: a question is under way, whose answer nothing cuts off."""
        loop = asyncio.get_running_loop()
        while not self._frames:
            self._check()
            if not asked:
                yield_turn()
            now = loop.time()
            until = deadline
            if self.framer.pending:
                until = min(deadline, self._last_byte + self.timing.idle)
                if now >= until:
                    self._take(self.framer.flush())
                    continue
            if now >= deadline:
                return False
            self._news.clear()
            alarm = loop.call_at(until, self._news.set)
            try:
                await self._news.wait()
            finally:
                alarm.cancel()
        return True

    async def request(
        self,
        frame: F,
        match: Callable[[F], bool],
        *,
        timeout: float | None = None,
        urgent: bool = False,
    ) -> F:
        """Send one frame and give back the first frame that `match`es."""
        got = await self.collect(frame, match, lambda got: True, timeout=timeout, urgent=urgent)
        return got[0]

    async def collect(
        self,
        frame: F,
        match: Callable[[F], bool],
        complete: Callable[[list[F]], bool],
        *,
        timeout: float | None = None,
        quiet: float | None = None,
        retries: int | None = None,
        urgent: bool = False,
        leaving: Callable[[], None] | None = None,
    ) -> list[F]:
        """Send one frame and gather matching frames until `complete(them)`.

        Each frame may take `timeout`; with `quiet`, silence of that length after at least one
        frame ends the answer as well (for devices that never say how many there are). `urgent`:
        it goes out as soon as the try that is in progress is over, and does not wait for late
        answers, so its own answer must name what it answers. `leaving` is called when the first
        byte is about to go out. Raises `LinkTimeout` after the retries, `LinkClosed` when the line
        is gone.
        """
        yield_turn(urgent=urgent)
        async with AsyncExitStack() as held:
            await held.enter_async_context(self._turn(urgent=urgent))
            wait = self.timing.timeout if timeout is None else timeout
            if retries is None:
                retries = self.timing.retries if self._awake else self.timing.wake_retries
            tally = AnswerTally(self._heard)
            late = LateAnswers[F]() if urgent else self._late  # it goes between, and leaves those
            late.begin(frame, wait, self.timing)
            for attempt in range(retries + 1):
                while not (sent := await self._send_after_gap(frame, urgent, leaving)):
                    await held.aclose()
                    yield_turn()
                    await held.enter_async_context(self._turn(again=True))
                    late.begin(frame, wait, self.timing)
                late.sent(asked_at := self._last_byte)
                self.counters.requests += 1
                if attempt == 0:  # what came before was the end of another answer
                    tally.start = self._heard
                got = await self._gather(match, complete, wait, quiet, tally, sent)
                if got and (complete(got) or quiet is not None):
                    self._awake = True
                    self.continuity.answered(self.timing.timeout, prompt=attempt == 0)
                    self.counters.answered(self.continuity.answered_at - asked_at)
                    late.answered(self.timing)
                    return got
                self.continuity.missed += 1
                self.counters.timeouts += 1
                tally.got = max(tally.got, len(got))
                _log.info("%s: no answer to try %d of %d.", self.name, attempt + 1, retries + 1)
                if attempt < retries:
                    yield_turn(urgent=urgent)
            raise self._timeout(tally)

    @asynccontextmanager
    async def _turn(
        self, *, urgent: bool = False, again: bool = False, listens: bool = False
    ) -> AsyncIterator[None]:
        """The line for us alone. A shared line comes first: who waits there must not keep
        somebody urgent of the same pack behind it."""
        async with (
            self.transport.turn(listens=listens, urgent=urgent, again=again) as heard,
            self._turns.taken(urgent=urgent, again=again),
        ):
            self._last_byte = max(self._last_byte, heard)
            yield

    def _outranked(self) -> bool:
        """Whether somebody more urgent waits for this link, or for a line that it shares."""
        return self._turns.outranked() or self.transport.outranked()

    @property
    def breaks(self) -> int:
        """Grows with everything in which another board may have taken the place of the one that
        spoke: outages, pauses, also one that lasts until now."""
        return self.continuity.breaks(self.timing.timeout)

    async def _quiet(self, until: float, *, urgent: bool) -> bool:
        """Wait for the quiet time, and `until` then; False: somebody urgent goes first."""
        loop = asyncio.get_running_loop()
        self._check()
        # A late answer that is still coming in starts the gap anew, but a line that others keep
        # busy is never quiet: do not wait for that.
        latest = loop.time() + self.timing.gap + self.timing.timeout
        while urgent or not self._outranked():
            now = loop.time()
            quiet = min(self._last_byte + self.timing.gap, latest)
            if max(quiet, until) <= now:
                return True
            # beyond the quiet time, which all have to keep, somebody urgent may come
            await asyncio.sleep(quiet - now if quiet > now else min(until - now, _LOOK))
            self._check()
        return False

    async def _send_after_gap(
        self, frame: F, urgent: bool, leaving: Callable[[], None] | None
    ) -> bytes:
        """What was sent; nothing where somebody urgent goes first."""
        if not await self._quiet(-math.inf if urgent else self._late.until, urgent=urgent):
            return b""
        self.framer.reset()
        self._frames.clear()
        self.framer.expect(frame)
        return await self._write(frame, leaving)

    async def _write(self, frame: F, leaving: Callable[[], None] | None) -> bytes:
        data = self.framer.encode(frame)
        if leaving is not None:
            leaving()
        await self.transport.write(data)
        self._last_byte = asyncio.get_running_loop().time()
        return data

    async def _gather(
        self,
        match: Callable[[F], bool],
        complete: Callable[[list[F]], bool],
        wait: float,
        quiet: float | None,
        tally: AnswerTally,
        sent: bytes,
    ) -> list[F]:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + wait
        latest = loop.time() + _PATIENCE * wait
        got: list[F] = []
        while len(got) < _MOST and await self._news_until(deadline):
            frame = self._frames.popleft()
            if not match(frame):
                tally.others += 1
                tally.echoes += frame.raw == sent
                continue
            got.append(frame)
            if complete(got):
                break
            deadline = min(loop.time() + (wait if quiet is None else quiet), latest)
        return got

    def _timeout(self, tally: AnswerTally) -> LinkTimeout:
        line = self.transport.line()
        return tally.timeout(
            heard=self._heard - tally.start,
            radio=bool(line and line.name.startswith("ble://")),
            address=self.address,
            addressed=self.addressed,
        )

    async def send(
        self,
        frame: F,
        *,
        urgent: bool = False,
        leaving: Callable[[], None] | None = None,
    ) -> None:
        """Send a frame that has no answer of its own (a streaming protocol's trigger)."""
        yield_turn(urgent=urgent)
        async with self._turn(listens=True, urgent=urgent):
            await self._quiet(-math.inf, urgent=True)
            await self._write(frame, leaving)
            self.counters.requests += 1

    async def send_aside(
        self,
        frame: F,
        match: Callable[[F], bool],
        timeout: float,
        leaving: Callable[[], None] | None = None,
    ) -> F:
        """Send a frame at once into a stream that somebody else may be reading, and give back the
        first frame that `match`es; whoever reads the stream gets it as well."""
        tally = AnswerTally(self._heard)
        with self._overheard.waiting(match) as found:
            await self.send(frame, urgent=True, leaving=leaving)
            await asyncio.wait([found], timeout=timeout)
            self._check()
            if found.done():
                return found.result()
        self.counters.timeouts += 1
        raise self._timeout(tally)

    async def next_frame(self, match: Callable[[F], bool], timeout: float) -> F:
        """The next matching frame of a device that streams by itself; others are dropped."""
        tally = AnswerTally(self._heard)
        deadline = asyncio.get_running_loop().time() + timeout
        while await self._news_until(deadline, asked=False):
            frame = self._frames.popleft()
            if match(frame):
                self.counters.answers += 1
                self._awake = True
                self.continuity.spoke(self.timing.timeout)
                return frame
            tally.others += 1
        self.counters.timeouts += 1
        raise self._timeout(tally)

    async def calm(self, quiet: float) -> None:
        """Wait until nothing came for so many seconds, and drop what came: what was late is over.

        A line that others keep busy is waited for ten times as long, and no longer.
        """
        loop = asyncio.get_running_loop()
        begun = loop.time()
        while (until := min(max(self._last_byte, begun) + quiet, begun + _PATIENCE * quiet)) > (
            loop.time()
        ):
            await asyncio.sleep(until - loop.time())
            self._check()
        self.framer.reset()
        self._frames.clear()

    @asynccontextmanager
    async def exclusive(self) -> AsyncIterator[None]:
        """Inside, nobody else asks or sends here, nor on a shared line."""
        async with self._turn(listens=True):
            self._check()
            yield

    def stir(self) -> None:
        """Whoever waits here looks again whether somebody else needs the board."""
        self._news.set()

    def discard(self) -> None:
        """Drop the frames that wait (a streaming protocol wants the newest)."""
        self._frames.clear()
