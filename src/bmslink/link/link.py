"""One question at a time over one transport.

`Link` joins a framer to a transport: it sends a request, waits for the frames that answer it,
repeats what was lost, and keeps the quiet times a BMS needs.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Generic, TypeVar

from bmslink.errors import LinkClosed, LinkTimeout
from bmslink.link.counters import AnswerTally, LinkCounters
from bmslink.link.framer import Drop, Frame, Framer, SkippedBytes, Value
from bmslink.link.timing import Timing
from bmslink.link.transport import Transport
from bmslink.link.turns import Turns, yield_turn

__all__ = ["Drop", "Frame", "Framer", "Link", "SkippedBytes", "Timing", "Value"]

F = TypeVar("F", bound=Frame)

_log = logging.getLogger(__name__)

_BY_WIRE = ("wrong baud rate, protocol or wiring", "is the BMS awake, wired (TX to RX)")
_BY_RADIO = ("wrong protocol", "is the board behind the Bluetooth module awake")
_MOST = 256
"""Frames that wait or make one answer; a device that never stops must not fill the memory."""
_RECENT = 2048
"""Bytes that are kept to see what they look like where none of them was a frame."""
_OUTAGE = 2
_PAUSE = 3
"""A pause of so many timeouts between two answers may be long enough to plug in another board."""
_PATIENCE = 10
"""An answer of many frames may take this many times the timeout of one."""


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
        self._news = asyncio.Event()
        self._lost: Exception | None = None
        self._open = False
        self._awake = False
        self._last_byte = -1e9
        self._heard = 0
        self._question: F | None = None
        self._tries: list[float] = []  # when the question was sent, as long as nothing answers it
        self._late_until = -1e9
        self._missed = 0
        self.outages: int = 0
        """How often at least two tries in a row, of whatever questions, got no answer before one
        did: long enough to put the plug into another board."""
        self.pauses: int = 0
        """How often there was a pause as long between two answers, also where nothing was asked."""
        self._answer_at = -1e9
        self.prompt: bool = False
        """Whether the last answer came to the first try."""
        self.counters: LinkCounters = LinkCounters()
        """How good this link is, since it was made."""

    async def open(self) -> None:
        """Open the transport; raises what it raises."""
        self._lost = None
        self._awake = False
        self._answer_at = -1e9
        self._tries = []
        self.framer.reset()
        self._frames.clear()
        await self.transport.open(self._on_data, self._on_lost)
        self._open = True
        self.counters.openings += 1

    async def close(self) -> None:
        """Close the transport; may be called twice. A call that waits gets `LinkClosed`."""
        self._open = False
        self._news.set()
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
            self.received_at = datetime.now(UTC)
            self.received += len(frames)
            self._frames.extend(frames)
        self._news.set()

    def _on_lost(self, error: Exception | None) -> None:
        self._lost = error or LinkClosed("The other side closed the connection.")
        self._news.set()

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
        self, frame: F, match: Callable[[F], bool], *, timeout: float | None = None
    ) -> F:
        """Send one frame and give back the first frame that `match`es."""
        return (await self.collect(frame, match, lambda got: True, timeout=timeout))[0]

    async def collect(
        self,
        frame: F,
        match: Callable[[F], bool],
        complete: Callable[[list[F]], bool],
        *,
        timeout: float | None = None,
        quiet: float | None = None,
        retries: int | None = None,
    ) -> list[F]:
        """Send one frame and gather matching frames until `complete(them)`.

        Each frame may take `timeout`; with `quiet`, silence of that length after at least one
        frame ends the answer as well (for devices that never say how many there are).
        Raises `LinkTimeout` after the retries, `LinkClosed` when the line is gone.
        """
        wait = self.timing.timeout if timeout is None else timeout
        if retries is None:
            retries = self.timing.retries if self._awake else self.timing.wake_retries
        tally = AnswerTally(self._heard)
        left = retries + 1
        while left:
            yield_turn()
            async with self._turns, self.transport.turn() as heard:
                self._last_byte = max(self._last_byte, heard)
                self._begin(frame, wait)
                while left:
                    left -= 1
                    got = await self._try(frame, match, complete, wait, quiet, tally)
                    if got and (complete(got) or quiet is not None):
                        self.prompt = left == retries
                        self._answered()
                        return got
                    tally.got = max(tally.got, len(got))
                    tries = retries + 1
                    _log.info("%s: no answer to try %d of %d.", self.name, tries - left, tries)
                    if self._outranked():
                        break
        raise self._timeout(tally)

    def _outranked(self) -> bool:
        """Whether somebody more urgent waits for this link, or for a line that it shares."""
        return self._turns.outranked() or self.transport.outranked()

    async def _try(
        self,
        frame: F,
        match: Callable[[F], bool],
        complete: Callable[[list[F]], bool],
        wait: float,
        quiet: float | None,
        tally: AnswerTally,
    ) -> list[F]:
        """Send it once and gather what comes."""
        sent = await self._send_after_gap(frame)
        self._tries.append(self._last_byte)
        self.counters.requests += 1
        if not tally.asked:  # what came before was the end of another answer
            tally.start, tally.asked = self._heard, True
        got = await self._gather(match, complete, wait, quiet, tally, sent)
        if got and (complete(got) or quiet is not None):
            self.counters.answered(asyncio.get_running_loop().time() - self._tries[-1])
        else:
            self._missed += 1
            self.counters.timeouts += 1
        return got

    def _heard_answer(self) -> None:
        now = asyncio.get_running_loop().time()
        self.pauses += now - self._answer_at > _PAUSE * self.timing.timeout
        self._answer_at, self._awake = now, True

    @property
    def breaks(self) -> int:
        """Grows with everything in which another board may have taken the place of the one that
        spoke: outages, pauses, also one that lasts until now."""
        pause = asyncio.get_running_loop().time() - self._answer_at
        return self.outages + self.pauses + (pause > _PAUSE * self.timing.timeout)

    def _begin(self, question: F, wait: float) -> None:
        """A question will be sent; how long the answers to the one before may still come."""
        if question == self._question:
            recent = asyncio.get_running_loop().time() - _PATIENCE * wait
            self._tries = [sent for sent in self._tries if sent > recent]
            return
        if self._tries and self.timing.anonymous:
            self._late_until = self._tries[-1] + 2 * wait
        self._question, self._tries = question, []

    def _answered(self) -> None:
        """An answer came. If it was that to the first try, the others will be just as late."""
        self.outages += self._missed >= _OUTAGE
        self._missed = 0
        self._heard_answer()
        if len(self._tries) > 1 and self.timing.anonymous:
            slow = asyncio.get_running_loop().time() - self._tries[0]
            self._late_until = self._tries[-1] + slow + self.timing.gap
        self._tries = []

    async def _send_after_gap(self, frame: F) -> bytes:
        loop = asyncio.get_running_loop()
        self._check()
        # A late answer that is still coming in starts the gap anew, but a line that others keep
        # busy is never quiet: do not wait for that.
        latest = loop.time() + self.timing.gap + self.timing.timeout
        while True:
            now = loop.time()
            until = max(min(self._last_byte + self.timing.gap, latest), self._late_until)
            if until <= now:
                break
            await asyncio.sleep(until - now)
            self._check()
        self.framer.reset()
        self._frames.clear()
        data = self.framer.encode(frame)
        self.framer.expect(frame)
        await self.transport.write(data)
        self._last_byte = loop.time()
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
        heard = self._heard - tally.start
        if tally.got:
            return LinkTimeout(f"The answer stopped after {tally.got} frame(s).", "other")
        if tally.others and tally.echoes == tally.others:
            return LinkTimeout(
                "Only our own request came back: the adapter echoes, and the BMS is silent.",
                "other",
            )
        own = "" if self.address is None else f", none from address {self.address} (--address)"
        if tally.others:
            return LinkTimeout(
                f"Only other frames came ({tally.others}){own}; another master or device may "
                "share the line.",
                "other",
            )
        line = self.transport.line()
        garbled, awake = _BY_RADIO if line and line.name.startswith("ble://") else _BY_WIRE
        if heard:
            return LinkTimeout(f"{heard} bytes came, but no valid frame: {garbled}.", "garbage")
        asked = "and is this its protocol"
        if self.address is not None:
            asked = f"and are this its protocol and {self.address} its address (--address)"
        elif self.addressed and garbled is _BY_WIRE[0]:
            asked = "is this its protocol, and has it an address of its own (--address)"
        return LinkTimeout(f"No answer: {awake}, {asked}?", "silence")

    async def send(self, frame: F) -> None:
        """Send a frame that has no answer of its own (a streaming protocol's trigger)."""
        yield_turn()
        async with self._turns, self.transport.turn(listens=True):
            self._check()
            await self.transport.write(self.framer.encode(frame))
            self._last_byte = asyncio.get_running_loop().time()
            self.counters.requests += 1

    async def next_frame(self, match: Callable[[F], bool], timeout: float) -> F:
        """The next matching frame of a device that streams by itself; others are dropped."""
        tally = AnswerTally(self._heard)
        deadline = asyncio.get_running_loop().time() + timeout
        while await self._news_until(deadline, asked=False):
            frame = self._frames.popleft()
            if match(frame):
                self.counters.answers += 1
                self._heard_answer()
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
        """Inside, nobody else asks or sends here, nor on a line that is shared."""
        async with self._turns, self.transport.turn(listens=True):
            self._check()
            yield

    def stir(self) -> None:
        """Whoever waits here looks again whether somebody else needs the board."""
        self._news.set()

    def discard(self) -> None:
        """Drop the frames that wait (a streaming protocol wants the newest)."""
        self._frames.clear()
