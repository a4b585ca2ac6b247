"""What acts on a pack, killed for good (SIGKILL) over and over, with violations under way.

    python tools/soak_kill_acting.py [--kills 50] [--boards 4] [--seed 1] [--protocol NAME ...]

Simulated boards live behind pseudo-terminals of this process, every byte at the board's speed. On
every second one `bmslink control run --enforce` acts, on the others `bmslink serve`. A cell goes
beyond its limit, the program is killed at a random moment (before the off, in it, after it, while
it gives back) and started again at once; meanwhile somebody may have switched on in an app. Then
what violates must be off, and ledger and board must agree. Counted are wrong enables: a switch that
goes on though we did not switch it off, or while something violates, or within a minute of the
start or of the off. The time is that from the kill to the next off (where one was due), or to the
next question.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from unittest.mock import patch

import bmslink
from bmslink.control.act.ledger import Ledger
from bmslink.control.act.store import kept_ledger
from bmslink.control.presets import preset
from bmslink.model import Switch
from bmslink.runtime.acting.start import approve_policies, pack_key
from bmslink.simulation.terminal import Terminal
from bmslink.simulation.transport import SimLine, make_device

__all__ = ["Kills", "soak"]

PROTOCOLS = ("jk-nw", "jbd", "daly-a5", "jk-modbus")
WITHIN = 3.0
"""s from the kill until it acts again."""
_CELLS = 4
_MINUTE = 60.0
_PATIENCE = 20.0
"""s within which something must have happened, or it never does."""
_LOOK = 0.02
_NO_BYTECODE = "PYTHONDONTWRITEBYTECODE"
"""Who sets this compiles the program at each start, which no user does."""
_VIOLATIONS = {"charge": (2, 3.58), "discharge": (3, 2.85)}
"""Path -> a cell and its voltage, beyond what the policy file below allows and within what the
simulated BMS does."""


def policy_text() -> str:
    """The preset for LFP, with everything enforced, before the BMS acts itself."""
    text = preset("lfp", "solar", cells=_CELLS, capacity=100.0)
    for old, new in (
        ('mode = "shadow"', 'mode = "enforce"'),
        ('ov_warning = "3.66 V"', 'ov_warning = "3.50 V"'),
        ('ov_trip = "3.70 V"', 'ov_trip = "3.55 V"'),
        ('ov_critical = "3.75 V"', 'ov_critical = "3.62 V"'),
        ('uv_trip = "2.70 V"', 'uv_trip = "2.90 V"'),
        ('chemistry = "lfp"', 'chemistry = "lfp"\nhost_power = "other"'),
    ):
        if old not in text:
            raise RuntimeError(f"the preset no longer says {old}")
        text = text.replace(old, new)
    return text


@dataclass
class Kills:
    """What came of it."""

    kills: int = 0
    took: list[float] = field(default_factory=list)
    """s from the kill to the next off that was due."""
    asked: list[float] = field(default_factory=list)
    """s from the kill to the next question, whatever was due."""
    offs: int = 0
    given_back: int = 0
    findings: list[str] = field(default_factory=list)

    def add(self, other: Kills) -> None:
        """Those of another board."""
        self.kills += other.kills
        self.took += other.took
        self.asked += other.asked
        self.offs += other.offs
        self.given_back += other.given_back
        self.findings += other.findings


class Board:
    """A simulated board, what acts on it, and what it was sent."""

    def __init__(self, folder: Path, protocol: str, rng: random.Random, *, served: bool) -> None:
        self.folder, self.rng, self.served, self.protocol = folder, rng, served, protocol
        self.found = Kills()
        self.device = make_device(protocol, cells=_CELLS, load="idle")
        self.terminal = Terminal(folder / "bms")
        self.line = SimLine(
            self.device, self.terminal.write, client_rate=lambda: self.terminal.rate, pace=True
        )
        self.terminal.listen(self._hear)
        self.target = f"{protocol}+serial://{folder}/bms"
        self.heard = asyncio.Event()
        self.violating: set[str] = set()
        self.ours: dict[str, float] = {}
        """Switch -> when we switched it off."""
        self.process: asyncio.subprocess.Process | None = None
        self.begun = 0.0
        self.key = ""
        around = self.device.pack.around
        self._obey = around.command
        patch.object(around, "command", self._commanded).start()

    def _hear(self, data: bytes) -> None:
        self.heard.set()
        self.line.receive(data)

    def on(self, name: str) -> bool:
        """How a switch really is."""
        found: bool = self.device.pack.truth().to_dict()[f"{name}_switch"]
        return found

    def _commanded(self, wishes: Mapping[Switch, bool]) -> None:
        before = {name: self.on(name) for name in wishes}
        self._obey(wishes)
        now = time.monotonic()
        for name, on in wishes.items():
            if before[name] is on:
                continue
            if not on:
                self.found.offs += 1
                self.ours[name] = now
                continue
            self.found.given_back += 1
            since, alive = now - self.ours.pop(name, now), now - self.begun
            if since < _MINUTE or alive < _MINUTE or name in self.violating:
                self.find(f"{name} on {since:.1f} s after the off, {alive:.1f} s after the start")

    def find(self, text: str) -> None:
        """Something is wrong."""
        self.found.findings.append(f"{self.protocol}, kill {self.found.kills}: {text}")

    def violate(self, name: str, *, begins: bool) -> None:
        """A cell goes beyond its limit, or comes back."""
        cell, volts = _VIOLATIONS[name]
        self.device.tick()
        self.device.pack.set_cell_voltage(cell, volts if begins else None)
        self.violating.add(name) if begins else self.violating.discard(name)

    def app(self, name: str) -> None:
        """Somebody switches on by hand."""
        self.device.tick()
        self.device.pack.switch(Switch(name), True)
        self.ours.pop(name, None)

    # -- what acts -------------------------------------------------------------------------------

    @property
    def environment(self) -> dict[str, str]:
        """Where it keeps everything."""
        places = {
            "RUNTIME": "r",
            "JOURNAL": "j",
            "STATE": "s",
            "CONFIG": "bmslink.toml",
        }
        return {f"BMSLINK_{key}": str(self.folder / name) for key, name in places.items()}

    async def approve(self) -> None:
        """A person does, once."""
        text = policy_text()
        (self.folder / "p.toml").write_text(text)
        (self.folder / "bmslink.toml").write_text(
            f'[packs.p]\ntarget = "{self.target}"\n'
            f'policies = "{self.folder / "p.toml"}"\nenforce = true\n'
        )
        async with bmslink.connect(self.target) as device:
            identity = await device.identify()
            self.key = pack_key(device.board, identity)
            approve_policies(device.board, identity, text, "p.toml", "anna")

    async def begin(self) -> None:
        """The program starts."""
        run = ("control", "run", "--enforce", "--policies", str(self.folder / "p.toml"))
        words = ("serve",) if self.served else (*run, self.target)
        self.begun = time.monotonic()
        kept = {key: value for key, value in os.environ.items() if key != _NO_BYTECODE}
        with (self.folder / "said").open("ab") as said:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "bmslink", *words, "--quiet",
                env={**kept, **self.environment}, stdin=asyncio.subprocess.DEVNULL,
                stdout=said, stderr=said, start_new_session=True,
            )  # fmt: skip

    async def kill(self) -> None:
        """For good, and again from the start."""
        process, self.process = self.process, None
        if process is None:
            return
        if process.returncode is not None:
            self.find(f"it ended by itself with {process.returncode}")
        else:
            process.send_signal(signal.SIGKILL)
        self.found.kills += 1
        await process.wait()

    async def end(self) -> None:
        """The board goes too."""
        if self.process is not None and self.process.returncode is None:
            self.process.kill()
            await self.process.wait()
        self.line.close()
        self.terminal.close()

    # -- one life --------------------------------------------------------------------------------

    async def one(self) -> None:
        """Something violates, or what did comes back; the program is killed; it goes on."""
        rng = self.rng
        name = rng.choice(tuple(_VIOLATIONS))
        if name in self.violating or not self.on(name):
            await self._come_back(name)
        else:
            self.violate(name, begins=True)
            await asyncio.sleep(rng.choice((0.0, 1.5, 3.0)) + rng.uniform(0.0, 1.5))
        killed = time.monotonic()
        await self.kill()
        if self.violating and rng.random() < 0.5:
            self.app(rng.choice(sorted(self.violating)))
        due = {path for path in self.violating if self.on(path)}
        self.heard.clear()
        await self.begin()
        await self._acts_again(killed, due)
        await self._agrees()

    async def _come_back(self, name: str) -> None:
        """It ends, and in every second life the program lives until it gives back, or nearly."""
        self.violate(name, begins=False)
        alive = time.monotonic() - self.begun
        if self.rng.random() < 0.6:
            wait = max(_MINUTE - alive, 60.0) + self.rng.uniform(0.0, 6.0)
            await asyncio.sleep(wait)
        else:
            await asyncio.sleep(self.rng.uniform(0.0, 3.0))

    async def _acts_again(self, killed: float, due: set[str]) -> None:
        try:
            await asyncio.wait_for(self.heard.wait(), _PATIENCE)
            self.found.asked.append(time.monotonic() - killed)
        except TimeoutError:
            self.find("it does not ask any more")
        for _ in range(round(_PATIENCE / _LOOK)):
            if not any(self.on(path) for path in due):
                break
            await asyncio.sleep(_LOOK)
        for path in due:
            if self.on(path):
                self.find(f"{path} is on {_PATIENCE:g} s after the kill, though it violates")
        if due:
            self.found.took.append(time.monotonic() - killed)

    async def _agrees(self) -> None:
        """The ledger shows the switches as they are, and calls nothing ours that is not."""
        for _ in range(round(_PATIENCE / _LOOK)):
            if not (why := self._differs()):
                return
            await asyncio.sleep(_LOOK)
        self.find(why)

    def _differs(self) -> str:
        kept = kept_ledger(self.key, self.folder / "s" / "ledgers")
        ledger: Ledger | None = kept.ledger
        if ledger is None:
            return kept.trouble or "there is no ledger"
        for name in _VIOLATIONS:
            record = ledger.record(name)
            if record.seen is not self.on(name):
                return f"{name} is {self.on(name)}, and the ledger has seen {record.seen}"
            if record.own and (self.on(name) or name not in self.ours):
                return f"the ledger calls the off of {name} ours"
        return ""


async def _board(number: int, kills: int, seed: int, protocol: str, folder: Path) -> Kills:
    board = Board(folder, protocol, random.Random(f"{seed} {number}"), served=number % 2 == 1)
    os.environ.update(board.environment)
    try:
        await board.approve()
        await board.begin()
        await asyncio.sleep(2.0)
        for _ in range(kills):
            await board.one()
    finally:
        await board.end()
    return board.found


async def soak(
    kills: int, boards: int, seed: int, folder: Path, protocols: tuple[str, ...] = PROTOCOLS
) -> Kills:
    """So many kills, on several boards at a time: most of a life is waiting."""
    found, each = Kills(), -(-kills // boards)
    work = []
    for number in range(boards):
        protocol = protocols[number % len(protocols)]
        await asyncio.to_thread((folder / str(number)).mkdir)
        one = partial(_board, number, each, seed, protocol, folder / str(number))
        work.append(asyncio.create_task(one()))
        await asyncio.sleep(3.0 if boards > 1 else 0.0)  # each approves where its state is
    for task in work:
        found.add(await task)
    return found


def _main() -> int:
    parser = argparse.ArgumentParser(description="Kill what acts, for good.")
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--boards", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--protocol", nargs="+", default=PROTOCOLS)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(
            soak(asked.kills, asked.boards, asked.seed, Path(folder), tuple(asked.protocol))
        )
    for name, times in (("the next off that was due", found.took), ("a question", found.asked)):
        if times:
            ordered = sorted(times)
            half, most = ordered[len(ordered) // 2], ordered[-1]
            late = sum(each > WITHIN for each in ordered)
            print(f"{len(ordered)} times from the kill to {name}: half within {half:.2f} s, all "
                  f"within {most:.2f} s, {late} later than {WITHIN:g} s")  # fmt: skip
    print(f"{found.kills} kills, {found.offs} offs, {found.given_back} given back, "
          f"{len(found.findings)} findings")  # fmt: skip
    for text in found.findings:
        print(f"  {text}")
    return bool(found.findings)


if __name__ == "__main__":
    sys.exit(_main())
