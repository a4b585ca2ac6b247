"""The service through weeks of faults: no missed recovery, no growth.

    python tools/soak_service.py weeks [--days 28] [--seed 1]
    python tools/soak_service.py minutes [--minutes 30] [--seed 1]

`weeks` is virtual time: packs behind ports of this process are pulled, exchanged, muted and
disturbed, the disk fills, the wall clock is set, and the service is thrown away without a last word
and begun again on the same state. `minutes` is real: two services in processes of their own on
pseudo-terminals, one of them killed (SIGKILL) every minute, the other one never.
Ends with 1 where a pack was not read again in time, or the memory grew by more than 5 MB.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import random
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any, Self
from unittest.mock import patch

import bmslink.link.link as link_module
from bmslink.link.transport import parse_target
from bmslink.runtime.service import Service
from bmslink.runtime.service_file import PackPlan, PolicyFile, ServicePlan, load_plan
from bmslink.simulation.terminal import Terminal
from bmslink.simulation.transport import SimDevice, SimLine, make_device
from bmslink.storage.journal import Journal
from bmslink.storage.state import StateFolder
from plugs import Plug, plugged_board
from virtual_time import virtual_run

PACKS = (("jbd", 120.0), ("jbd", 300.0), ("daly-a5", 600.0), ("jk-nw", 900.0))
"""Protocol and s between readings, for the weeks."""
SLOW = 0.01
"""s that pass for a simulated pack per second: its physics would cost more than all the rest."""
PORTS = ("jbd", "jbd", "daly-a5", "jk02")
LONGEST_BACK = 90.0
"""How long after a fault a pack may take until it is read again, beside its interval, s."""
GROWTH = 5.0
"""MB."""
POLICY = 'schema = 2\n[battery]\nchemistry = "lfp"\ncells = 16\ncapacity = "100 Ah"\n'


class WallClock:
    """The wall clock of this process, which can be set."""

    def __init__(self) -> None:
        self.shift = 0.0
        real, clock = time.time, self

        class Shifted(datetime):
            @classmethod
            def now(cls, tz: tzinfo | None = None) -> Self:
                return super().now(tz) + timedelta(seconds=clock.shift)

        patch.object(time, "time", lambda: real() + clock.shift).start()
        patch.object(link_module, "datetime", Shifted).start()

    def step(self, rng: random.Random) -> None:
        """Set it, an hour at the end of summer or a year by mistake."""
        self.shift += rng.choice([3600.0, -3600.0, 5.0, -5.0, 365 * 86400.0, -365 * 86400.0])
        self.shift = max(-20 * 365 * 86400.0, min(self.shift, 20 * 365 * 86400.0))
        os.environ["TZ"] = rng.choice(["UTC", "Europe/Berlin", "Australia/Lord_Howe"])
        time.tzset()


class Disk:
    """A disk that has no room while it is `full`."""

    def __init__(self) -> None:
        self.full = False
        self.refused = 0

    def check(self) -> None:
        """`OSError` while it is full."""
        if self.full:
            self.refused += 1
            raise OSError(28, "No space left on device")


class FullFolder(StateFolder):
    """States on such a disk."""

    def __init__(self, folder: Path, disk: Disk) -> None:
        super().__init__(folder)
        self._disk = disk

    def save(self, name: str, values: Mapping[str, Any], before: Mapping[str, Any] | None) -> None:
        self._disk.check()
        super().save(name, values, before)


class FullJournal(Journal):
    """A journal on such a disk."""

    def __init__(self, folder: Path, disk: Disk) -> None:
        super().__init__(folder)
        self._disk = disk

    def append(self, event: str, **data: Any) -> None:
        self._disk.check()
        super().append(event, **data)


def memory() -> float:
    """What this process has in memory now, MB."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


# ------------------------------------------------------------------------------- virtual weeks


class Weeks:
    """Packs, their ports and what happens to them."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.rng = random.Random(seed)
        (folder / "policy.toml").write_text(POLICY)
        file = PolicyFile.load(folder / "policy.toml")
        self.plans = []
        self.plugs: dict[str, Plug] = {}
        self.homes: dict[str, SimDevice] = {}
        for number, (protocol, interval) in enumerate(PACKS):
            name = f"pack{number}"
            target = f"{protocol}+serial:///dev/{name}"
            plan = PackPlan(name, target, parse_target(target), interval, 3600.0, file)
            self.plans.append(plan)
            self.plugs[name] = Plug(f"/dev/{name}")
            self.homes[name] = self.plugs[name].insert(
                protocol, cells=16, seed=number + 1, speed=SLOW
            )
        self.disk, self.clock, self.folder = Disk(), WallClock(), folder
        self.faults = self.kills = self.readings = 0
        self.findings: list[str] = []
        self.grown: list[float] = []
        self.service = self._service()
        self.serving: asyncio.Task[None] | None = None

    def _service(self) -> Service:
        return Service(
            ServicePlan(tuple(self.plans)),
            make=lambda plan: plugged_board(plan, self.plugs[plan.name]),
            folder=FullFolder(self.folder / "packs", self.disk),
            journal=FullJournal(self.folder / "journal", self.disk),
        )

    async def kill(self) -> None:
        """Throw the service away: nothing that it says at its end reaches the disk."""
        self.kills += 1
        full, self.disk.full = self.disk.full, True
        if self.serving is not None:
            self.serving.cancel()
            await asyncio.gather(self.serving, return_exceptions=True)
        self.disk.full = full
        self.service = self._service()
        self.serving = asyncio.create_task(self.service.run())

    async def trouble(self, name: str) -> None:
        """One fault of one pack, from its beginning to its end."""
        self.faults += 1
        plug, home = self.plugs[name], self.homes[name]
        lasts = self.rng.choice([5.0, 60.0, 600.0, 3600.0])
        kind = self.rng.choice(["pull", "other", "silent", "noise", "corrupt", "late:0.4", "cut"])
        if kind == "pull":
            plug.pull()
        elif kind == "other":
            plug.pull()
            plug.insert(PACKS[int(name[-1])][0], cells=12, seed=99, speed=SLOW)
        else:
            home.faults.enable(kind)
        await asyncio.sleep(lasts)
        if kind in ("pull", "other"):
            plug.pull()
            plug.device = home
        else:
            home.faults.disable(kind.partition(":")[0])
        interval = next(plan.interval for plan in self.plans if plan.name == name)
        await asyncio.sleep(LONGEST_BACK + 2 * interval)
        pack = self.service.packs[name]
        age = pack.status()["age"]
        if pack.health.state != "ok" or age is None or age > 2 * interval + 30:
            at = asyncio.get_running_loop().time() / 86400
            why = f"{pack.health.state}, {age} s old, {pack.health.error}"
            self.findings.append(f"day {at:.2f}: {name} after {kind} of {lasts:g} s: {why}")

    async def around(self) -> None:
        """What happens to all of them."""
        while True:
            await asyncio.sleep(self.rng.uniform(0.5, 4) * 3600)
            self.clock.step(self.rng)
            self.disk.full = self.rng.random() < 0.2
            if not self.service.healthy:
                self.findings.append("a task does not turn")

    async def count(self) -> None:
        """Readings, across all lives of the service."""
        while True:
            with self.service.feed.subscribe(kinds=["reading"]) as news:
                async for _ in news:
                    self.readings += 1
            await asyncio.sleep(1)

    async def live(self, days: float) -> None:
        """Live so many days."""
        await self.kill()
        beside = [asyncio.create_task(self.around()), asyncio.create_task(self.count())]
        loop = asyncio.get_running_loop()
        for day in range(int(days)):
            while loop.time() < (day + 1) * 86400:
                await asyncio.sleep(self.rng.uniform(0.2, 2) * 3600)
                troubles = self.rng.sample([*self.plugs], self.rng.choice([1, 1, 2, 4]))
                await asyncio.gather(*map(self.trouble, troubles))
                if self.rng.random() < 0.15:
                    await self.kill()
                    await asyncio.sleep(700)
            self.grown.append(memory())
            if day % 7 == 6:
                print(f"day {day + 1}: {self.summary()}", flush=True)
        for task in beside:
            task.cancel()
        self.service.stop()
        if self.serving is not None:
            await self.serving

    def summary(self) -> str:
        """In one line."""
        return (
            f"{self.readings} readings, {self.faults} faults, {self.kills} kills, "
            f"{self.disk.refused} refused writes, {len(self.findings)} findings, "
            f"{self.grown[-1]:.1f} MB"
        )

    def growth(self) -> float:
        """MB from the second day to the last, each the lowest of two."""
        calm = self.grown[1:]
        return min(calm[-2:]) - min(calm[:2]) if len(calm) > 3 else 0.0


def weeks(days: float, seed: int, folder: Path) -> bool:
    """Virtual time."""
    soak = Weeks(folder, seed)
    begun = time.process_time()
    virtual_run(soak.live(days))
    print(f"{days:g} days in {time.process_time() - begun:.0f} s of CPU: {soak.summary()}")
    print(f"growth {soak.growth():.1f} MB (target {GROWTH:g})")
    for finding in soak.findings[:50]:
        print(finding)
    return not soak.findings and soak.growth() <= GROWTH


# -------------------------------------------------------------------------------- real minutes


async def child(folder: Path) -> None:
    """A service in a process of its own: a line for each reading, faults of its own."""
    rng, clock = random.Random(os.getpid()), WallClock()
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    service = Service(load_plan([], folder / "bmslink.toml"))

    async def listen() -> None:
        due = 0.0
        with service.feed.subscribe(kinds=["reading"]) as news:
            async for item in news:
                now = asyncio.get_running_loop().time()
                told: dict[str, object] = {"pack": item.pack, "cpu": time.process_time()}
                if now >= due:
                    told["memory"], due = memory(), now + 5
                print(json.dumps(told), flush=True)

    async def stir() -> None:
        while True:
            await asyncio.sleep(rng.uniform(5, 20))
            clock.step(rng)
            full = rng.random() < 0.3
            limit = 0 if full else resource.RLIM_INFINITY
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))

    async with asyncio.TaskGroup() as group:
        group.create_task(service.run())
        group.create_task(listen())
        group.create_task(stir())


class Port:
    """A pseudo-terminal with a simulated pack; remembers when it was asked last."""

    def __init__(self, place: Path, protocol: str, seed: int) -> None:
        self.place, self.protocol = place, protocol
        self.home = make_device(protocol, cells=16, seed=seed)
        self.asked = 0.0
        self._terminal: Terminal | None = None
        self._line: SimLine | None = None

    def insert(self, device: SimDevice) -> None:
        """Plug it in."""
        self._terminal = terminal = Terminal(self.place)
        self._line = line = SimLine(device, terminal.write, client_rate=lambda: terminal.rate)

        def hear(data: bytes) -> None:
            self.asked = time.monotonic()
            line.receive(data)

        terminal.listen(hear)

    @property
    def plugged(self) -> bool:
        """Whether there is something in it."""
        return self._line is not None

    def pull(self) -> None:
        """Take it out."""
        if self._line is not None and self._terminal is not None:
            self._line.close()
            self._terminal.close()
        self._line = self._terminal = None


class Household:
    """A service in a process of its own, and its ports."""

    def __init__(self, folder: Path, seed: int) -> None:
        folder.mkdir()
        self.folder = folder
        self.rng = random.Random(seed)
        self.ports = {
            f"pack{n}": Port(folder / f"port{n}", protocol, n + 1)
            for n, protocol in enumerate(PORTS)
        }
        lines = ["[service]", 'policies = "policy.toml"', "slow_interval = 30"]
        for name, port in self.ports.items():
            lines += [f"[packs.{name}]", f'target = "{port.protocol}+serial://{port.place}"']
            port.insert(port.home)
        (folder / "bmslink.toml").write_text("\n".join(lines))
        (folder / "policy.toml").write_text(POLICY)
        self.heard: dict[str, float] = {}
        self.memory: list[tuple[float, float]] = []
        self.restarts: list[float] = []
        self.first: list[float] = []
        """CPU time of each process at its first reading, s."""
        self.findings: list[str] = []
        self.faults = 0
        self.process: asyncio.subprocess.Process | None = None
        self.reader: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin the service."""
        env = {
            **os.environ,
            "BMSLINK_STATE": str(self.folder / "state"),
            "BMSLINK_JOURNAL": str(self.folder / "journal"),
        }
        self.process = await asyncio.create_subprocess_exec(
            sys.executable,
            __file__,
            "child",
            str(self.folder),
            stdout=asyncio.subprocess.PIPE,
            env=env,
        )
        self.reader = asyncio.create_task(self._read(self.process))

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        first = True
        while process.stdout is not None and (line := await process.stdout.readline()):
            told = json.loads(line)
            if first:
                self.first.append(told["cpu"])
            first = False
            self.heard[told["pack"]] = time.monotonic()
            if "memory" in told:
                self.memory.append((time.monotonic(), told["memory"]))
            del self.memory[:-20_000]

    async def kill(self) -> None:
        """SIGKILL, and begin again at once; how long until every port was asked again."""
        if self.process is None:
            return
        if self.process.returncode is not None:
            self.findings.append(f"the service ended by itself ({self.process.returncode})")
        with suppress(ProcessLookupError):
            self.process.kill()
        await self.process.wait()
        killed = time.monotonic()
        await self.start()
        while not all(p.asked > killed for p in self.ports.values() if p.plugged):
            await asyncio.sleep(0.01)
            if time.monotonic() - killed > 30:
                self.findings.append("after a kill a port was not asked within 30 s")
                return
        self.restarts.append(time.monotonic() - killed)

    async def trouble(self) -> None:
        """One fault of one port."""
        name = self.rng.choice([*self.ports])
        port, self.faults = self.ports[name], self.faults + 1
        lasts = self.rng.choice([0.5, 3.0, 20.0])
        kind = self.rng.choice(["pull", "other", "silent", "noise", "corrupt"])
        if kind in ("pull", "other"):
            port.pull()
            if kind == "other":
                port.insert(make_device(port.protocol, cells=12, seed=99))
            await asyncio.sleep(lasts)
            port.pull()
            port.insert(port.home)
        else:
            port.home.faults.enable(kind)
            await asyncio.sleep(lasts)
            port.home.faults.disable(kind)
        ended = time.monotonic()
        while self.heard.get(name, 0.0) <= ended:
            await asyncio.sleep(0.1)
            if time.monotonic() - ended > 60:
                self.findings.append(f"{name} was not read within 60 s after {kind} of {lasts} s")
                return

    async def live(self, until: float, *, kills: bool) -> None:
        """Until that moment."""
        await self.start()
        killing = asyncio.create_task(self._kill_each_minute()) if kills else None
        await asyncio.sleep(10)
        while time.monotonic() < until:
            await self.trouble()
            await asyncio.sleep(self.rng.uniform(1, 10))
        if killing is not None:
            killing.cancel()
        if self.process is not None:
            with suppress(ProcessLookupError):
                self.process.kill()
            await self.process.wait()
        for port in self.ports.values():
            port.pull()

    async def _kill_each_minute(self) -> None:
        while True:
            await asyncio.sleep(60)
            await self.kill()

    def growth(self, begun: float) -> float:
        """MB between the fifth minute and the end, each the median of a minute."""

        def around(moment: float) -> float:
            near = sorted(m for t, m in self.memory if abs(t - moment) <= 60)
            return near[len(near) // 2] if near else 0.0

        early = around(begun + 300)
        return around(self.memory[-1][0] - 60) - early if early else 0.0


async def minutes(length: float, seed: int, folder: Path) -> bool:
    """Real time."""
    begun = time.monotonic()
    until = begun + 60 * length
    killed, steady = Household(folder / "killed", seed), Household(folder / "steady", seed + 1)
    await asyncio.gather(killed.live(until, kills=True), steady.live(until, kills=False))
    again = sorted(killed.restarts) or [0.0]
    print(f"{length:g} minutes: {killed.faults + steady.faults} faults, {len(again)} kills")
    print(
        f"SIGKILL to polling again: median {again[len(again) // 2]:.2f} s, longest {again[-1]:.2f}"
    )
    growth = steady.growth(begun)
    print(f"growth of the one that was never killed: {growth:.1f} MB (target {GROWTH:g})")
    findings = killed.findings + steady.findings
    for finding in findings[:50]:
        print(finding)
    return not findings and growth <= GROWTH


def main() -> int:
    """Soak; 0 where nothing was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["weeks", "minutes", "child"])
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--days", type=float, default=28)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    if chosen.what == "child":
        asyncio.run(child(chosen.folder))
        return 0
    with tempfile.TemporaryDirectory() as name:
        folder = chosen.folder or Path(name)
        os.environ["BMSLINK_STATE"] = str(folder / "state")
        os.environ["BMSLINK_JOURNAL"] = str(folder / "journal")
        if chosen.what == "weeks":
            return not weeks(chosen.days, chosen.seed, folder)
        return not asyncio.run(minutes(chosen.minutes, chosen.seed, folder))


if __name__ == "__main__":
    raise SystemExit(main())
