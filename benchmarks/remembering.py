"""What a history costs: bytes written a day, processor time, and the time of an answer."""

from __future__ import annotations

import asyncio
import json
import random
import sqlite3
import statistics
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from bmslink.model import Reading
from bmslink.runtime.feed import Feed
from bmslink.runtime.history.columns import encode
from bmslink.runtime.history.days import columns_in
from bmslink.runtime.history.file import Batch, HistoryFile, StoredRow
from bmslink.runtime.history.keeper import HistoryKeeper
from bmslink.runtime.history.merging import HOUR, MINUTE
from bmslink.runtime.history.options import HistoryOptions
from bmslink.runtime.history.query import HistoryQuery, find_history
from bmslink.runtime.history.schema import COUNTERS, to_millis
from bmslink.runtime.watching.conditions import Teller
from bmslink.runtime.watching.energy import EnergyTotals
from bmslink.runtime.watching.watcher import Watcher

PACKS, EVERY = 16, 5
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


class Written(NamedTuple):
    """What a day costs, extrapolated."""

    asked: float
    """MB that the process wrote."""
    disk: float
    """MB that reached the disk, as far as the kernel counts it there."""
    kept: float
    """MB that the file grew by."""


def written(folder: Path, hours: int) -> Written:
    """Batches of a minute, 16 packs every 5 s, with all that is done once an hour."""
    file = HistoryFile(folder / "written.db", HistoryOptions(raw_days=1))
    file.open(BEGIN)
    readings = [_readings(number) for number in range(PACKS)]
    now = BEGIN
    for _ in range(hours * 60):
        now = _minute(file, readings, now)
    while now < BEGIN + timedelta(days=2):  # what comes next drops the first day
        file.write(Batch(now, [StoredRow(to_millis(now), "pack0", {"voltage": 52000})]))
        now += timedelta(hours=1)
        file.maintain(now)
    before, size = _counters(), file.size()
    for _ in range(hours * 60):
        now = _minute(file, readings, now)
    asked, disk = (after - b for after, b in zip(_counters(), before, strict=True))
    days = hours / 24
    grown = file.size() - size
    file.close()
    return Written(asked / days / 1e6, disk / days / 1e6, grown / days / 1e6)


def _minute(file: HistoryFile, readings: list[Iterator[Reading]], now: datetime) -> datetime:
    rows, totals = [], {}
    for step in range(0, 60, EVERY):
        millis = to_millis(now) + step * 1000
        for number, each in enumerate(readings):
            rows.append(StoredRow(millis + number * 7, f"pack{number}", encode(next(each), None)))
    end = now + timedelta(seconds=60)
    for number in range(PACKS):
        counted = (end - BEGIN).total_seconds() * (number + 1) * 1.37
        totals[f"pack{number}"] = EnergyTotals(BEGIN, end, counted, counted, counted, counted, 1, 1)
    file.write(Batch(end, rows, (), totals, [*totals.items()]))
    if end.minute == 0:
        file.maintain(end)
    return end


def _readings(seed: int) -> Iterator[Reading]:
    """A pack of 16 cells that behaves like one: values wander by the digit that its BMS sends."""
    chance = random.Random(seed)
    cells, current, soc, warm = [3.3] * 16, 10.0, 55.0, [22.0] * 4
    while True:
        cells = [round(min(3.5, max(3.1, v + chance.choice((-1, 0, 1)) / 1000)), 3) for v in cells]
        current = round(min(90, max(-90, current + chance.uniform(-2, 2))), 2)
        soc = round(min(99, max(1, soc + current / 1e4)), 1)
        warm = [round(w + chance.choice((-1, 0, 0, 0, 1)) / 10, 1) for w in warm]
        yield Reading(
            voltage=round(sum(cells), 2), current=current, soc=soc, soh=99.0,
            remaining_capacity=round(soc * 2.8, 3), full_capacity=280.0, nominal_capacity=280.0,
            cycles=44, cycle_capacity=12320.5, cell_voltages=tuple(cells), balancing_active=False,
            balancing_cells=(), charge_switch=True, discharge_switch=True, charging_allowed=True,
            discharging_allowed=True, heater=False, conditions_known=True,
            temperatures=dict(zip(("cell_1", "cell_2", "mosfet", "board"), warm, strict=True)),
        )  # fmt: skip


def _counters() -> tuple[int, int]:
    """Bytes that this process wrote, and of those what the kernel counts for the disk."""
    path = Path("/proc/self/io")
    if not path.exists():
        return 0, 0
    found = dict(line.split(": ") for line in path.read_text().splitlines())
    return int(found["wchar"]), int(found["write_bytes"])


def share_of_core(folder: Path, hours: float) -> float:
    """Processor time of keeping a history, as a share of one core: from the reading to the disk,
    with conditions and counters, without polling."""

    async def main() -> float:
        loop = asyncio.get_running_loop()
        feed = Feed(lambda: BEGIN + timedelta(seconds=loop.time()))
        watcher = Watcher(feed, lambda name: EVERY)
        keeper = HistoryKeeper(
            folder / "share.db", HistoryOptions(), feed, watcher, Teller("", feed)
        )
        tasks = [
            asyncio.create_task(watcher.run(watcher.subscribe())),
            asyncio.create_task(keeper.run(keeper.subscribe())),
        ]
        steps = round(hours * 3600 / EVERY)
        made = [[next(each) for each in map(_readings, range(PACKS))] for _ in range(100)]
        begin = time.process_time()
        for step in range(steps):
            for number, reading in enumerate(made[step % 100]):
                feed.publish("reading", f"pack{number}", reading)
            await asyncio.sleep(EVERY)
        spent = time.process_time() - begin
        feed.close()
        await keeper.close(5)
        await asyncio.gather(*tasks)
        return spent / (steps * EVERY)

    sys.path.insert(0, str(Path(__file__).parent.parent / "tools"))
    from virtual_time import virtual_run

    return virtual_run(main())


STATES = ("none", "written", "full disk", "held by another program", "hangs")
"""What a history is like while an off is sent; `none`: there is none."""


def delays(folder: Path, rounds: int) -> dict[str, list[float]]:
    """ms from a decision until the task that sends its frame runs, with each kind of history in
    turn: the decision, what it tells, and sixteen readings go to the feed in between."""
    found: dict[str, list[float]] = {state: [] for state in STATES}

    async def main() -> None:
        arms = [_Arm(folder, state) for state in STATES]
        for arm in arms:
            await arm.begin()
        made = [[next(each) for each in map(_readings, range(PACKS))] for _ in range(20)]
        for number in range(rounds):
            for arm in arms:
                for pack, reading in enumerate(made[number % 20]):
                    arm.feed.publish("reading", f"pack{pack}", reading)
                await asyncio.sleep(0.02)
                found[arm.state].append(await arm.off(number))
        for arm in arms:
            await arm.end()

    usual = sys.getswitchinterval()
    sys.setswitchinterval(0.0005)  # as `bmslink serve` does
    asyncio.run(main())
    sys.setswitchinterval(usual)
    return found


class _Arm:
    """A feed with a history in some state."""

    def __init__(self, folder: Path, state: str) -> None:
        self.state, self.feed = state, Feed()
        self._path = folder / f"{state.replace(' ', '-')}.db"
        self._watcher = Watcher(self.feed, lambda name: EVERY)
        self._tell = Teller("pack0", self.feed)
        self._keeper: HistoryKeeper | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._other: sqlite3.Connection | None = None
        self._goes = threading.Event()
        self._hanging: asyncio.Task[bool] | None = None

    async def begin(self) -> None:
        """It is in its state."""
        self._tasks.append(asyncio.create_task(self._watcher.run(self._watcher.subscribe())))
        if self.state == "none":
            return
        keeper = self._keeper = HistoryKeeper(
            self._path, HistoryOptions(interval=0), self.feed, self._watcher, self._tell
        )
        self._tasks.append(asyncio.create_task(keeper.run(keeper.subscribe())))
        await asyncio.sleep(0.2)
        await keeper.ask(lambda store: None)  # it is open
        if self.state == "held by another program":
            self._other = sqlite3.connect(self._path, isolation_level=None)
            self._other.execute("BEGIN IMMEDIATE")
        if self.state == "hangs":
            self._hanging = asyncio.create_task(keeper.ask(lambda store: self._goes.wait(600)))
        if self.state == "full disk":
            await keeper.ask(lambda store: store.execute("PRAGMA max_page_count = 1").fetchone())

    async def off(self, number: int) -> float:
        """ms from a decision to its frame."""
        sent: asyncio.Future[float] = asyncio.get_running_loop().create_future()

        async def send() -> None:
            sent.set_result(time.perf_counter())

        begin = time.perf_counter()
        self._tell("policy", f"It trips for the time {number}.", alarm=True, key=f"policy/{number}")
        task = asyncio.create_task(send())
        found = await sent - begin
        await task
        return found * 1e3

    async def end(self) -> None:
        """All ends."""
        self._goes.set()
        if self._other is not None:
            self._other.close()
        self.feed.close()
        if self._keeper is not None:
            await self._keeper.close(5)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, *filter(None, [self._hanging]), return_exceptions=True)


class Answers(NamedTuple):
    """How long the chart of a day takes out of a year, ms."""

    size: float
    """MB of the file."""
    some: list[float]
    """Five values a minute."""
    all: list[float]
    """All values of each minute."""
    year: list[float]
    """A year in hours, five values."""


def answers(folder: Path, days: int, times: int) -> Answers:
    """A generated year of minutes of 16 packs, and random days of it."""
    file = HistoryFile(folder / "year.db", HistoryOptions())
    file.open(BEGIN)
    first = [
        StoredRow(to_millis(BEGIN) - HOUR, f"pack{n}", encode(next(_readings(n)), None))
        for n in range(PACKS)
    ]
    file.write(Batch(BEGIN, first))
    file.ask(lambda store: _generate(store, days))
    found = Answers(file.size() / 1e6, [], [], [])
    chance = random.Random(3)
    some = ("voltage", "current", "soc", "min_cell_voltage", "max_cell_voltage")
    for _ in range(times):
        since = BEGIN + timedelta(minutes=chance.randrange((days - 1) * 1440))
        pack = f"pack{chance.randrange(PACKS)}"
        day, year = timedelta(days=1), timedelta(days=days)
        found.some.append(_answer(file, HistoryQuery(pack, since, since + day, "auto", some)))
        found.all.append(_answer(file, HistoryQuery(pack, since, since + day)))
        found.year.append(_answer(file, HistoryQuery(pack, BEGIN, BEGIN + year, "hour", some)))
    file.close()
    return found


def _generate(store: sqlite3.Connection, days: int) -> None:
    for table, size in (("minutes", MINUTE), ("hours", HOUR)):
        names = sorted(columns_in(store, table) - {"pack", "time", "readings", *COUNTERS})
        values = ", ".join(f"abs(n * 7919 + {len(name)}) % 400 + 3000" for name in names)
        columns = ", ".join(["pack", "time", "readings", *COUNTERS, *names])
        counters = ", ".join(f"n * {1.37 + k}" for k in range(len(COUNTERS)))
        store.execute("PRAGMA synchronous = OFF")
        store.execute(
            f"INSERT INTO {table} ({columns}) WITH RECURSIVE series(n) AS (SELECT 0 UNION ALL "
            f"SELECT n + 1 FROM series WHERE n < ?) SELECT 1, ? + n * {size}, 12, {counters}, "
            f"{values} FROM series",
            (days * 86_400_000 // size - 1, to_millis(BEGIN)),
        )
        rest = columns.removeprefix("pack, ")
        for pack in range(2, PACKS + 1):
            store.execute(
                f"INSERT INTO {table} ({columns}) SELECT {pack}, {rest} FROM {table} WHERE pack = 1"
            )


def _answer(file: HistoryFile, query: HistoryQuery) -> float:
    """ms from the question to the text."""
    begin = time.perf_counter()
    text = json.dumps(file.ask(lambda store: find_history(store, query)).to_dict())
    spent = (time.perf_counter() - begin) * 1e3
    if len(text) < 1000:
        raise RuntimeError("there is nothing in the answer")
    return spent


def at(values: list[float], share: float) -> float:
    """The value that so many are not above."""
    return sorted(values)[round(share * (len(values) - 1))]


def worst(values: list[float]) -> str:
    """Median and highest."""
    return f"{statistics.median(values):.0f} ({max(values):.0f})"
