"""Keeps the history of a service: listens to its feed, and has a thread write once a minute.

The loop only makes rows of numbers and puts them into a bounded buffer; everything that touches the
disk is done by one thread. A disk that is full or hangs, and another program that holds the file,
cost the oldest of what waits, and which time that was is told.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from sqlite3 import Connection
from typing import Any, TypeVar

from bmslink.control.audit import Budget
from bmslink.control.banks.decision import BankDecision
from bmslink.control.decide.decision import Decision
from bmslink.errors import BmsError
from bmslink.events import PackEvent
from bmslink.jsonable import plain
from bmslink.model import Reading
from bmslink.runtime.acting.contained import contained
from bmslink.runtime.feed import Feed, FeedItem, Subscription
from bmslink.runtime.history.columns import Row, encode, encode_bank
from bmslink.runtime.history.file import Batch, HistoryFile, RunBefore, StoredRow
from bmslink.runtime.history.options import HistoryOptions
from bmslink.runtime.history.schema import (
    DamagedHistory,
    ForeignHistory,
    HistoryError,
    NewerHistory,
    from_millis,
    to_millis,
)
from bmslink.runtime.watching.conditions import Teller
from bmslink.runtime.watching.energy import EnergyTotals
from bmslink.runtime.watching.lasting import SeenCondition
from bmslink.runtime.watching.watcher import Watcher

__all__ = ["COMMIT_EVERY", "HistoryKeeper"]

_log = logging.getLogger(__name__)

COMMIT_EVERY = 60.0
"""s between two writes: what a kill may cost."""
MAINTAIN_EVERY = 3600.0
_SOURCE = "history"
_ROOM = 8192
"""Items of the feed that may wait, rows of readings that may wait to be written."""
_EVENTS = 2048
_AT_ONCE, _EVERY = 6, 10.0
"""Writes at once because of events, and s for each one more: a chattering condition must not wear
out a flash card."""
_SOON = 0.25
"""s after an event until it is written: what it made the policies send goes out first, and events
that come together are written together."""
_FRESH = 5.0
"""s: what is older than that is written before a question is answered."""
_QUESTIONS = 8
"""Questions that may wait."""
_HANGS = 30.0
"""s after which a write that has not ended is told."""
_ANSWER = 10.0
"""s that an answer may take."""
_CHANGES = (
    *("alarms", "protections", "faults", "charge_switch", "discharge_switch", "balance_switch"),
    *("charging_allowed", "discharging_allowed", "charge_permitted", "discharge_permitted"),
)
"""A reading in which one of them is new is stored, however soon it comes."""
T = TypeVar("T")


class HistoryKeeper:
    """Of one service. `run` until its feed is closed, then `close`."""

    def __init__(
        self,
        path: Path,
        options: HistoryOptions,
        feed: Feed,
        watcher: Watcher,
        tell: Teller,
    ) -> None:
        self._file = HistoryFile(path, options)
        self._options, self._feed, self._watcher = options, feed, watcher
        self._tell, self._now = tell, feed.now
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="history")
        feed.lasting.expect(_SOURCE)
        self._rows: deque[StoredRow] = deque()
        self._events: deque[PackEvent] = deque()
        self._marks: deque[tuple[str, EnergyTotals]] = deque(maxlen=_ROOM)
        self._latest: dict[str, tuple[float, Row]] = {}
        self._decisions: dict[str, Decision] = {}
        self._banks: dict[str, tuple[float, tuple[object, ...]]] = {}
        """When a row of a bank was stored last, and what bound its limits then."""
        self._lost: tuple[int, int, int] | None = None
        """Rows that were dropped: how many, from when, until when (ms)."""
        self._urgent = asyncio.Event()
        self._budget = Budget(_AT_ONCE, _EVERY)
        self._writing = asyncio.Lock()
        self._written = 0.0
        self._maintained = 0.0
        self._questions = 0
        self._error = ""
        self._resumed = False
        self._not_ours = self._ending = False
        self._writer: asyncio.Task[None] | None = None
        self._listener: asyncio.Task[Any] | None = None
        self._asked: asyncio.Task[None] | None = None
        self._size = 0
        self.lost = 0
        """Rows that were never written, since it began."""

    @property
    def path(self) -> Path:
        """The file."""
        return self._file.path

    def status(self) -> dict[str, Any]:
        """For people and programs."""
        return {
            "path": str(self.path),
            "written": not self._error,
            "error": self._error,
            "waiting": len(self._rows),
            "lost": self.lost,
            "size": self._size,
        }

    # -- listening -------------------------------------------------------------------------------

    def subscribe(self) -> Subscription:
        """Begin to listen: what is published from now on is not missed."""
        return self._feed.subscribe(size=_ROOM, own=True)

    async def run(self, news: Subscription) -> None:
        """Keep what comes, until the feed is closed; `close` writes the rest."""
        self._listener = asyncio.current_task()
        self._writer = asyncio.create_task(self._write_on())
        with news:
            async for item in news:
                with contained(partial(_mistaken, item.pack)):
                    self._take(item)
                if missed := news.take_lost():
                    self._forget(missed, to_millis(item.time), to_millis(item.time))
                if self._hangs(item.clock) and not self._error:
                    self._fail(f"the disk has not answered for {_HANGS:g} s.")

    def _hangs(self, clock: float) -> bool:
        return self._writing.locked() and clock - self._written > _HANGS

    def _take(self, item: FeedItem) -> None:
        data = item.data
        if isinstance(data, Decision):
            self._decisions[item.pack] = data
        elif isinstance(data, Reading):
            self._take_reading(item, data)
        elif isinstance(data, BankDecision):
            self._take_bank(item, data)
        elif isinstance(data, PackEvent):
            self._events.append(data)
            if len(self._events) > _EVENTS:
                self._events.popleft()
            if self._budget.take(item.clock):
                self._urgent.set()

    def _take_reading(self, item: FeedItem, reading: Reading) -> None:
        row = encode(reading, self._decisions.get(item.pack))
        before, latest = self._latest.get(item.pack, (float("-inf"), {}))
        soon = item.clock - before < self._options.interval * 0.99
        if soon and all(row.get(name) == latest.get(name) for name in _CHANGES):
            return
        if not soon:
            before = item.clock
        self._latest[item.pack] = before, row
        self._put(StoredRow(to_millis(reading.time or item.time), item.pack, row))

    def _take_bank(self, item: FeedItem, decision: BankDecision) -> None:
        """A row under the name of the bank; at once where a limit is bound otherwise."""
        before, bound = self._banks.get(decision.bank, (float("-inf"), ()))
        soon = item.clock - before < self._options.interval * 0.99
        if soon and bound == decision.bound:
            return
        self._banks[decision.bank] = before if soon else item.clock, decision.bound
        self._put(StoredRow(to_millis(item.time), decision.bank, encode_bank(decision)))

    def _put(self, row: StoredRow) -> None:
        self._rows.append(row)
        while len(self._rows) > _ROOM:
            lost = self._rows.popleft()
            self._forget(1, lost.time, lost.time)

    def _forget(self, rows: int, since: int, until: int) -> None:
        self.lost += rows
        count, first, last = self._lost or (0, since, until)
        self._lost = count + rows, min(first, since), max(last, until)

    # -- writing ---------------------------------------------------------------------------------

    async def _write_on(self) -> None:
        loop = asyncio.get_running_loop()
        self._maintained = loop.time() - MAINTAIN_EVERY
        await self._write()
        while not self._ending:
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, self._written + COMMIT_EVERY - loop.time())):
                    await self._urgent.wait()
                    await asyncio.sleep(_SOON)
            self._urgent.clear()
            await self._write()
            if loop.time() - self._maintained >= MAINTAIN_EVERY:
                await self._maintain()
        with suppress(HistoryError):
            await self._in_thread(partial(self._file.end_run, self._now()))
        await self._in_thread(self._file.close)

    async def _in_thread(self, job: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, job)

    async def _write(self) -> None:
        """Write what waits; what goes wrong is told once, and tried again later."""
        async with self._writing:
            self._written = asyncio.get_running_loop().time()
            if self._not_ours:
                return
            try:
                await self._open()
                await self._write_batch()
            except (NewerHistory, ForeignHistory) as error:
                self._not_ours = True
                self._fail(str(error))
            except DamagedHistory as error:
                await self._replace(str(error))
            except HistoryError as error:
                self._fail(str(error))
            else:
                self._succeed()

    async def _open(self) -> None:
        if self._file.is_open:
            return
        now = self._now()
        aside = await self._in_thread(partial(self._file.open, now))
        self._watcher.lives.rewrite()
        if aside:
            self._tell("history_damaged", aside, alarm=True)
        if self._resumed:
            return
        before = await self._in_thread(partial(self._file.begin_run, now))
        totals = await self._in_thread(self._file.totals)
        self._resumed = True
        self._resume(() if before is None else before.lasting)
        for name, found in totals.items():
            self._watcher.watch(name).meter.resume(found)
        self._watcher.lives.give(await self._in_thread(self._file.lives))
        self._watcher.lives.complete = True
        self._tell("service_began", _began(before), clean=None if before is None else before.clean)

    def _resume(self, lasting: Sequence[SeenCondition] = ()) -> None:
        """What lasted before the service began, as far as it can be known from here."""
        for event in self._feed.lasting.resume(_SOURCE, lasting):
            self._feed.publish("event", event.pack, event)

    async def _write_batch(self) -> None:
        """All that waits now, and the counters as they are now: together, or not at all."""
        rows, events = [*self._rows], [*self._events]
        totals = self._watcher.all_energy()
        self._marks.extend(self._watcher.take_marks())
        marks = [*self._marks]
        lives = self._watcher.lives.changes()
        batch = Batch(self._now(), rows, events, totals, marks, lives)
        try:
            await self._in_thread(partial(self._file.write, batch))
        except BaseException:
            self._watcher.lives.failed(lives)
            raise
        self._watcher.lives.wrote(lives)
        for written, waiting in (
            (rows, self._rows), (events, self._events), (marks, self._marks),
        ):  # fmt: skip
            # Some of them may have been dropped meanwhile for want of room.
            done = {id(each) for each in written}
            while waiting and id(waiting[0]) in done:
                waiting.popleft()
        self._size = await self._in_thread(self._file.size)

    def _fail(self, error: str) -> None:
        if not self._resumed:
            self._resume()
        if error != self._error:
            text = f"The history is not written: {error}"
            self._tell("trouble", text, alarm=True, key="history")
        self._error = error

    def _succeed(self) -> None:
        if self._error or "history" in self._tell:
            self._tell("trouble", "The history is written again.", key="history", over=True)
        self._error = ""
        if self._lost is not None:
            count, since, until = self._lost
            self._lost = None
            self._tell(
                "history_gap",
                f"{count} readings from {_clock(since)} to {_clock(until)} UTC were not stored.",
                alarm=True, rows=count, first=plain(from_millis(since)),
                last=plain(from_millis(until)),
            )  # fmt: skip

    async def _replace(self, why: str) -> None:
        """The file is damaged: begin a new one; what waits is written there."""
        try:
            told = await self._in_thread(partial(self._file.replace_damaged, why, self._now()))
            self._tell("history_damaged", told, alarm=True)
            self._watcher.lives.rewrite()
            await self._write_batch()
        except HistoryError as error:
            self._fail(str(error))
        else:
            self._succeed()

    async def _maintain(self) -> None:
        """Minutes, hours, and room."""
        async with self._writing:
            self._maintained = asyncio.get_running_loop().time()
            if self._error:
                return
            try:
                told = await self._in_thread(partial(self._file.maintain, self._now()))
            except DamagedHistory as error:
                await self._replace(str(error))
            except HistoryError as error:
                self._fail(str(error))
            else:
                if told:
                    self._tell("history_full", told)

    # -- questions -------------------------------------------------------------------------------

    async def ask(self, question: Callable[[Connection], T]) -> T:
        """What a function finds in the store, what was heard until now included. Raises
        `HistoryError` where the disk is too slow, and what the function raises."""
        if self._questions >= _QUESTIONS:
            raise HistoryError("The history has too many questions to answer; ask again later.")
        self._questions += 1
        try:
            async with asyncio.timeout(_ANSWER):
                await self._write_for_question()
                return await self._in_thread(partial(self._file.ask, question))
        except TimeoutError as error:
            if isinstance(error, BmsError):
                raise
            raise HistoryError(f"{self.path} does not answer: the disk is slow.") from error
        finally:
            self._questions -= 1

    async def _write_for_question(self) -> None:
        age = asyncio.get_running_loop().time() - self._written
        if (self._rows or self._events) and age > _FRESH:
            # What is begun is ended, also when nobody waits for the answer any more.
            self._asked = asyncio.create_task(self._write())
            await asyncio.shield(self._asked)

    # -- the end ---------------------------------------------------------------------------------

    async def close(self, within: float) -> None:
        """The service ends: write the rest, at most so many seconds."""
        if self._listener is not None:
            await asyncio.wait({self._listener}, timeout=within)
        self._ending = True
        self._urgent.set()
        if self._writer is not None:
            await asyncio.wait({self._writer}, timeout=within)
            self._writer.cancel()
            await asyncio.gather(self._writer, return_exceptions=True)
        self._thread.shutdown(wait=False, cancel_futures=True)


def _mistaken(pack: str, error: BaseException) -> None:
    _log.error("bmslink made a mistake while it kept the history of %s.", pack, exc_info=error)


def _clock(millis: int) -> str:
    return f"{from_millis(millis):%Y-%m-%d %H:%M:%S}"


def _began(before: RunBefore | None) -> str:
    if before is None:
        return "The service began; its history is new."
    if before.clean:
        return f"The service began again; it was stopped at {before.alive:%Y-%m-%d %H:%M:%S} UTC."
    return (
        "The service began again; it was killed, or the power was cut, after "
        f"{before.alive:%Y-%m-%d %H:%M:%S} UTC."
    )
