"""The service: all packs of a file in one process, each a task of its own, for months.

```python
service = Service(load_plan(["sim://jbd", "sim://jk02"]))
async with asyncio.TaskGroup() as group:
    group.create_task(service.run())          # ends after stop()
    with service.feed.subscribe(kinds=["reading"]) as news:
        async for item in news: ...
```
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from bmslink.analysis import LifeFacts
from bmslink.board import Board
from bmslink.control.status import state_path
from bmslink.errors import TargetError
from bmslink.jsonable import plain
from bmslink.link.transport import Pin
from bmslink.moments import utc_now
from bmslink.named_banks import Banks
from bmslink.packs import find_pin
from bmslink.runtime.banks.keeper import BankKeeper
from bmslink.runtime.banks.kept import BankStore
from bmslink.runtime.clients.client_job import finish_changes
from bmslink.runtime.feed import Feed
from bmslink.runtime.history.keeper import HistoryKeeper
from bmslink.runtime.history.options import HistoryOptions
from bmslink.runtime.history.schema import HistoryError, require_usable
from bmslink.runtime.judging.disk import DiskQueue
from bmslink.runtime.judging.pack_memory import PackDisk, default_folder
from bmslink.runtime.life.boards import BoardsOfPacks
from bmslink.runtime.life.folder import LifeFolder
from bmslink.runtime.notify import notify, watchdog_interval
from bmslink.runtime.outputs.alerting import Alerting
from bmslink.runtime.pack_task import ServedPack
from bmslink.runtime.service_file import INTERVAL, PackPlan, ServicePlan
from bmslink.runtime.watching.conditions import Teller
from bmslink.runtime.watching.watcher import Watcher
from bmslink.storage.credentials import credential, read_pin
from bmslink.storage.journal import Journal
from bmslink.storage.state import StateFolder

__all__ = ["MakeBoard", "ReloadOutcome", "Service"]

_log = logging.getLogger(__name__)

_LAST_WORDS = 5.0
"""How long the end waits for the disk, s."""

_FINISHING = 60.0
"""How long a change that is under way may take to end when its pack is to end, s."""

MakeBoard = Callable[[PackPlan], Board]


@dataclass(frozen=True, slots=True)
class ReloadOutcome:
    """What a reload changed, by the names of packs."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    restarted: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {name: list(getattr(self, name)) for name in self.__slots__}


def make_board(plan: PackPlan) -> Board:
    """The board of a pack, with the pin that its name has; it is not opened."""
    return Board(plan.endpoint, pin=_pin_of(plan), named=plan.named, tell=_log.info, tapped=True)


def _require_usable(file: Path) -> None:
    """Whoever gives the file now can give another one: `TargetError`. One of bmslink.toml that
    cannot be used keeps no pack from being protected; an alarm says so."""
    try:
        require_usable(file)
    except HistoryError as error:
        raise TargetError(f"--history: {error}") from error


def _pin_of(plan: PackPlan) -> Pin:
    """The pin beside the name, else the one that systemd handed over as `pin.NAME`."""
    if plan.named is None:
        return find_pin(None)
    handed = credential(f"pin.{plan.named.name}")
    if plan.named.pin is None and handed is not None:
        return find_pin(None, read_pin(str(handed)))
    return find_pin(None, plan.named.pin)


class Service:
    """All packs that one process serves."""

    def __init__(
        self,
        plan: ServicePlan,
        *,
        make: MakeBoard = make_board,
        folder: StateFolder | None = None,
        journal: Journal | None = None,
    ) -> None:
        """`make` makes a board of a pack's plan; `folder` keeps what must survive a restart."""
        self.plan = plan
        self.feed = Feed()
        self.tell = Teller("", self.feed)
        """Publishes an event of the service itself."""
        self.watcher = Watcher(self.feed, self._interval_of, self._settings_of)
        """What follows from readings: conditions, bound limits, energy."""
        self.history: HistoryKeeper | None = self._keeper(plan)
        """What is kept on the disk; `None`: nothing is."""
        self._disk = PackDisk(DiskQueue(), folder or default_folder(), journal or Journal())
        self.banks = BankKeeper(lambda: self._packs, self.feed, self.tell, self._bank_store())
        """Packs that are wired together, and their limits."""
        self.alerting = Alerting.of(plan, self.feed, self.tell, self._disk)
        """Who is told what happens; `None`: nobody is."""
        self.began = utc_now()
        """For show only."""
        self._make = make
        self._packs: dict[str, ServedPack] = {}
        self.banks.change_to(plan.section(Banks))
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._stopping = asyncio.Event()
        self._reloading = asyncio.Lock()
        self._started = time.monotonic()
        self.watcher.lives.board_of = BoardsOfPacks(self._served).of
        for each in plan.packs:
            self._packs[each.name] = self._serve(each, make(each))

    def _serve(self, plan: PackPlan, board: Board, *, accept: bool = False) -> ServedPack:
        sink = self.banks.sink_of(plan.name) if plan.carried_by else None
        pack = ServedPack(plan, board, self.feed, self._disk, accept=accept, sink=sink)
        pack.neighbours = self._all
        self.banks.attach(pack)
        pack.judge.life = partial(self.life, plan.name)
        return pack

    def _keeper(self, plan: ServicePlan) -> HistoryKeeper | None:
        options = plan.section(HistoryOptions)
        if options is None:
            return None
        file = options.file(plan.beside("."), state_path())
        if options in plan.given:
            _require_usable(file)
        return HistoryKeeper(file, options, self.feed, self.watcher, self.tell)

    def _served(self, name: str) -> ServedPack | None:
        return self._packs.get(name)

    def life(self, name: str) -> LifeFacts | None:
        """The life of the battery that a pack has, up to now; `None`: nothing is known of it."""
        return self.watcher.lives.facts(name, self.watcher.energy(name))

    def _interval_of(self, name: str) -> float:
        return self._packs[name].plan.interval if name in self._packs else INTERVAL

    def _settings_of(self, name: str) -> Mapping[str, Any]:
        return self._packs[name].settings if name in self._packs else {}

    def _all(self) -> Iterable[ServedPack]:
        return self._packs.values()

    @property
    def packs(self) -> Mapping[str, ServedPack]:
        """The packs by their names, in the order of the file."""
        return MappingProxyType(self._packs)

    @property
    def healthy(self) -> bool:
        """Whether every pack's task turns. A pack that is silent or gone is no hang."""
        now = asyncio.get_running_loop().time()
        return not any(self._ended(name) or pack.stuck(now) for name, pack in self._packs.items())

    def _ended(self, name: str) -> bool:
        task = self._tasks.get(name)
        return task is not None and task.done()

    def status(self) -> dict[str, Any]:
        """All that is known; plain values."""
        return {**self.about(), "packs": [pack.status() for pack in self._packs.values()]}

    def about(self) -> dict[str, Any]:
        """The same without the packs."""
        return {
            "schema": 1,
            "config": None if self.plan.path is None else str(self.plan.path),
            "began": plain(self.began),
            "uptime": round(time.monotonic() - self._started, 1),
            "healthy": self.healthy,
            "shadow": not any(pack.judge.enforcing for pack in self._packs.values()),
            "remarks": list(self.plan.remarks),
            "listeners": len(self.feed),
            "history": None if self.history is None else self.history.status(),
            "outputs": [] if self.alerting is None else self.alerting.status(),
        }

    # -- running ---------------------------------------------------------------------------------

    async def run(self) -> None:
        """Serve until `stop` is called, or cancelled."""
        history = self.history
        keeping = [] if history is None else [history.run(history.subscribe())]
        alerting = self.alerting
        if alerting is not None:
            keeping.append(alerting.run(alerting.subscribe()))
        beside = [
            *map(asyncio.create_task, keeping),
            asyncio.create_task(self._feed_watchdog()),
            asyncio.create_task(self._disk.queue.run()),
            asyncio.create_task(self.watcher.run(self.watcher.subscribe())),
            asyncio.create_task(self.banks.run()),
        ]
        lives = self._life_folder(keeps=history is None)
        beside.append(asyncio.create_task(lives.run()))
        try:
            for name in self._packs:
                self._start(name)
            await self._stopping.wait()
        finally:
            notify("STOPPING=1")
            await finish_changes(_FINISHING)
            await self._end(*self._tasks)
            self.tell("service_ended", "The service ends.")
            self.feed.close()
            self.banks.save()
            if history is None:
                lives.save()
            await self._disk.queue.flush(_LAST_WORDS)
            if history is not None:
                await history.close(_LAST_WORDS)
            if alerting is not None:
                await alerting.close(_LAST_WORDS)
            for task in beside:
                task.cancel()
            self._disk.queue.close()

    def _bank_store(self) -> BankStore:
        tell = partial(self.tell, "trouble", alarm=True)
        return BankStore(self._disk.folder, self._disk.queue, tell)

    def _life_folder(self, *, keeps: bool) -> LifeFolder:
        tell, disk = partial(self.tell, "trouble", alarm=True), self._disk
        return LifeFolder(self.watcher.lives, disk.folder, disk.queue, tell, keeps=keeps)

    def ready(self) -> None:
        """The sockets are bound: tell systemd."""
        notify(f"READY=1\nSTATUS=serving {len(self._packs)} packs")

    def stop(self) -> None:
        """End `run` soon; may be called twice, and from a signal handler of the loop."""
        self._stopping.set()

    def _start(self, name: str) -> None:
        pack = self._packs[name]
        pack.turned = asyncio.get_running_loop().time()
        self._tasks[name] = asyncio.create_task(pack.run(), name=f"pack {name}")

    async def _end(self, *names: str) -> None:
        tasks = [task for name in names if (task := self._tasks.pop(name, None)) is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        now = asyncio.get_running_loop().time()
        for name in names:
            if name in self._packs:
                await self._packs[name].balance.close()
                self._packs[name].judge.save_now(now)
                await self._packs[name].judge.close()

    async def _feed_watchdog(self) -> None:
        interval = watchdog_interval()
        while interval is not None:
            if self.healthy:
                notify("WATCHDOG=1")
            await asyncio.sleep(interval)

    # -- another configuration -------------------------------------------------------------------

    async def reload(self) -> ReloadOutcome:
        """Read the file again; only packs of which something changed are begun anew, and those
        where another board answers: that is how a person confirms it.

        Raises `TargetError` for a file with anything wrong; then all goes on as before.
        """
        async with self._reloading:
            notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")
            try:
                loop = asyncio.get_running_loop()
                plan = await loop.run_in_executor(self._disk.queue.thread, self.plan.read_again)
                return await self._change_to(plan)
            except TargetError as error:
                said = f"Nothing was changed: {error}"
                self.tell("reload_refused", said, alarm=True)
                raise TargetError(said) from error
            finally:
                self.ready()

    async def _change_to(self, plan: ServicePlan) -> ReloadOutcome:
        new = {each.name: each for each in plan.packs}
        old = {name: pack.plan for name, pack in self._packs.items()}
        restarted = tuple(
            name
            for name in new.keys() & old.keys()
            if new[name] != old[name] or self._packs[name].health.state == "replaced"
        )
        removed = tuple(name for name in old if name not in new)
        added = tuple(name for name in new if name not in old)
        made = {name: self._make(new[name]) for name in (*added, *restarted)}
        await finish_changes(_FINISHING)
        await self._end(*removed, *restarted)
        await self._disk.queue.flush(_LAST_WORDS)  # what is begun anew reads what was saved
        packs = {
            name: self._serve(each, made[name], accept=name in restarted)
            if name in made
            else self._packs[name]
            for name, each in new.items()
        }
        remarks = list(plan.remarks)
        lost = _protection_lost(old, new)
        if plan.options != self.plan.options:
            remarks.append("[service] says another socket, tcp or token_file: restart for that.")
        if _but_banks(plan) != _but_banks(self.plan):
            remarks.append("What else is kept or sent (as in [history]) changes with a restart.")
        self._packs, self.plan = packs, plan
        self.banks.change_to(plan.section(Banks))
        for name in made:
            self._start(name)
        kept = tuple(name for name in new if name not in made)
        outcome = ReloadOutcome(added, removed, restarted, kept, (*lost, *remarks))
        said = " ".join([f"Read again: {_counts(outcome)}.", *lost])
        self.tell("reload", said, alarm=bool(lost), **outcome.to_dict())
        return outcome


def _protection_lost(old: Mapping[str, PackPlan], new: Mapping[str, PackPlan]) -> list[str]:
    """What protected a pack and is in the file no more, in sentences: a slip of the pen, or a file
    that is being written, must not go unnoticed."""
    found: list[str] = []
    for name, before in old.items():
        after = new.get(name)
        if after is None:
            acted = ", and its policies do not act any more" if before.enforce else ""
            found.append(f"{name} is in the file no more: it is not read any more{acted}.")
        elif before.policies is not None and after.policies is None:
            found.append(f"{name} has no policies in the file any more: nothing watches it.")
        elif before.enforce and not after.enforce:
            found.append(f"{name} has no enforce = true any more: its policies only watch.")
    return found


def _but_banks(plan: ServicePlan) -> list[object]:
    """The further sections that change with a restart only."""
    return [each for each in plan.sections if not isinstance(each, Banks)]


def _counts(outcome: ReloadOutcome) -> str:
    names = ("added", "removed", "restarted", "kept")
    return ", ".join(f"{len(getattr(outcome, name))} {name}" for name in names)
