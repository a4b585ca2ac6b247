"""Whether outputs that fail delay an off: from the decision to its frame.

    nice -n -15 python benchmarks/off_beside.py [--times N]

One process, as a service has it: a pack that acts, 15 others whose readings come every 5 s, and
what listens to them (energy, history, alerts). In turns an off goes out with nothing beside it, and
with everything beside it and failing: a webhook that hangs, and a history whose disk is full, or
whose file another program holds. They take turns, so that a busy machine disturbs both alike; where
other programs keep all cores busy, `chrt -f 10` instead of `nice` keeps them out. The exit code is
5 where the 99th percentiles differ by more than 1 ms.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import resource
import signal
import socket
import sqlite3
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

from rich.console import Console
from rich.table import Table

import bmslink
from bmslink.control import Battery, Engine, Mode
from bmslink.control.act.actuators import prepare
from bmslink.control.act.ledger import Ledger
from bmslink.control.act.mandate import Mandate
from bmslink.control.act.store import LedgerStore, Loaded
from bmslink.control.decide.catalogue import default_policies
from bmslink.events import EventSeverity
from bmslink.model import Reading
from bmslink.outputs.alerts.options import AlertOptions, ReceiverOptions
from bmslink.outputs.alerts.webhook import Webhook
from bmslink.runtime.acting.pack_actor import PackActor
from bmslink.runtime.feed import Feed
from bmslink.runtime.history.keeper import HistoryKeeper
from bmslink.runtime.history.options import HistoryOptions
from bmslink.runtime.judging.disk import DiskQueue
from bmslink.runtime.outputs.alert_memory import AlertMemory
from bmslink.runtime.outputs.alerting import Alerting
from bmslink.runtime.watching.conditions import Teller
from bmslink.runtime.watching.watcher import Watcher
from bmslink.storage.state import StateFolder
from bmslink.testing import SimulatedPack
from off import at

_MOST = 0.001  # s
_OTHERS, _INTERVAL = 15, 5.0
_VOLTS = 3.947
_BATTERY = Battery(
    chemistry="lfp", cells=16, capacity=100.0, charge_current=50, discharge_current=100
)


class NoDisk(LedgerStore):
    """What acts keeps nothing: its own disk is another measurement."""

    def _write(self, data: dict[str, Any]) -> str:
        return ""


class Bench:
    """One pack whose cell goes beyond its limit, again and again."""

    def __init__(self, board: Any, charge: Any, reading: Reading, folder: Path) -> None:
        self._board, self._charge, self._folder = board, charge, folder
        self._good = reading
        cells = [_VOLTS, *reading.cell_voltages[1:]]
        self._bad = dataclasses.replace(reading, cell_voltages=tuple(cells))

    async def off(self, feed: Feed) -> float:
        """s from the decision to the first byte of the off."""
        loop = asyncio.get_running_loop()
        tell = Teller("van", feed)
        mandate = Mandate(
            enforce=True, host_power="other", able=frozenset({"charge"}), capacity=100.0
        )
        actor = PackActor(
            self._board, mandate, {"charge": self._charge}, NoDisk("pack", self._folder),
            Loaded(Ledger.new("pack", loop.time()), ""), note=lambda event, **data: None, tell=tell,
        )  # fmt: skip
        engine = Engine(default_policies(_BATTERY), acting=(Mode.ENFORCE, Mode.SHADOW))
        written: asyncio.Queue[float] = asyncio.Queue()
        write = self._board.link.transport.write

        async def writing(data: bytes) -> None:
            written.put_nowait(time.perf_counter())
            await write(data)

        decided = 0.0
        with patch.object(self._board.link.transport, "write", writing):
            for number in range(12):
                reading = self._good if number < 3 else self._bad
                now = loop.time() + number
                feed.publish("reading", "van", reading)
                decision = engine.step(reading, now)
                decided = time.perf_counter()
                feed.publish("limits", "van", decision)
                if decision.events:
                    tell("policy", "A cell is beyond its limit.", alarm=True)
                actor.hear(decision, reading, now)
                if actor.ledger.charge.order is not None:
                    break
                await asyncio.sleep(0.005)  # who listens has heard it before the next one comes
            first = await written.get()
        await actor.close()
        return first - decided


@contextlib.asynccontextmanager
async def beside(folder: Path, hung: str, reading: Reading, *, full: bool) -> AsyncIterator[Feed]:
    """A feed with all that listens to it, and fails."""
    feed = Feed()
    watcher = Watcher(feed, lambda name: _INTERVAL)
    tell = Teller("", feed)
    place = folder / "history.db"
    keeper = HistoryKeeper(place, HistoryOptions(), feed, watcher, tell)
    receiver = ReceiverOptions(webhook=hung, severity=EventSeverity.INFO)
    options = AlertOptions(to={"hung": receiver}, delay=0.0)
    disk = DiskQueue()
    memory = AlertMemory(StateFolder(folder / "state"), "benchmark", disk)
    alerting = Alerting(options, {"hung": Webhook(hung)}, feed, tell, memory=memory)
    outputs: list[Any] = [watcher, keeper, alerting]
    tasks = [asyncio.create_task(each.run(each.subscribe())) for each in outputs]
    tasks.append(asyncio.create_task(_others(feed, reading)))
    tasks.append(asyncio.create_task(disk.run()))
    await asyncio.sleep(2)  # the file is made
    with _full_disk() if full else _held(place):
        yield feed
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _others(feed: Feed, reading: Reading) -> None:
    for number in range(1 << 30):
        feed.publish("reading", f"pack{number % _OTHERS}", reading)
        await asyncio.sleep(_INTERVAL / _OTHERS)


@contextlib.contextmanager
def _full_disk() -> Iterator[None]:
    """Files of this process may grow no more."""
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)


@contextlib.contextmanager
def _held(place: Path) -> Iterator[None]:
    with contextlib.closing(sqlite3.connect(place, isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        holder.execute("SELECT count(*) FROM packs").fetchall()
        yield


async def measure(times: int, *, full: bool) -> tuple[list[float], list[float]]:
    """s of each off: with nothing beside it, and with everything."""
    alone: list[float] = []
    beset: list[float] = []
    pack = SimulatedPack("jbd", cells=16)
    with tempfile.TemporaryDirectory() as name, socket.create_server(("127.0.0.1", 0)) as hung:
        folder = Path(name)
        board = bmslink.connect(f"{pack.target}&gap=0").board
        async with board:
            charge = (await prepare(board, waive=["untested"])).actuators["charge"]
            reading = await board.read()
            bench = Bench(board, charge, reading, folder)
            url = f"http://127.0.0.1:{hung.getsockname()[1]}/"
            async with beside(folder, url, reading, full=full) as feed:
                nothing = Feed()
                for number in range(times):
                    turns = [(alone, nothing), (beset, feed)]
                    for found, each in turns if number % 2 else reversed(turns):
                        found.append(await bench.off(each))
                        await asyncio.sleep(0.05)
    return alone, beset


def main() -> int:
    """Measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=300)
    wish = parser.parse_args()
    table = Table(title="Decision to frame, ms", title_justify="left")
    for column in ("beside it", "p50 alone", "p50 beset", "p99 alone", "p99 beset", "more at p99"):
        table.add_column(column, justify="left" if column == "beside it" else "right")
    met = True
    for full, title in ((True, "hung webhook, full disk"), (False, "hung webhook, held database")):
        alone, beset = asyncio.run(measure(wish.times, full=full))
        more = at(beset, 0.99) - at(alone, 0.99)
        met &= more <= _MOST
        values = at(alone, 0.5), at(beset, 0.5), at(alone, 0.99), at(beset, 0.99), more
        table.add_row(title, *(f"{1000 * value:.2f}" for value in values))
    Console(width=100).print(table)
    return 0 if met else 5


if __name__ == "__main__":
    sys.exit(main())
