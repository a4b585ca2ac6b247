"""One simulated board, the disk, and the programs that act on it, one after the other: what
`crash_acting` kills, and how it is judged. The truth is the board's own memory of frames."""

from __future__ import annotations

import asyncio
import math
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import msgspec

import bmslink
from acting_world import POLL, TRIP, decision_for
from bmslink.board import Board
from bmslink.control.act.ledger import Ledger, save_ledger
from bmslink.control.act.messages import (
    EmergencyStop,
    PersonOff,
    PersonOn,
    Request,
    ResetStop,
)
from bmslink.control.act.store import LedgerStore, kept_ledger
from bmslink.control.decide.decision import Decision, PolicyVerdict
from bmslink.control.decide.policy import Demand, Mode, Severity
from bmslink.control.presets import preset
from bmslink.errors import LinkClosed
from bmslink.model import Switch
from bmslink.runtime.acting import start
from bmslink.runtime.acting.acting_side import ActingSide
from bmslink.simulation.transport import make_device, name_device
from mortal_loop import Died, MortalLoop

__all__ = ["FREE", "WHO", "Act", "Bench", "Outcome", "bench_of"]

WHO = "anna"
_GONE = 2.0
"""s until the program is started again."""
_DISK = 0.25
"""s that a write takes: longer than a frame waits for its turn."""
_MINUTE = 60.0
FREE: Mapping[str, Demand] = {}


@lru_cache
def _text() -> str:
    text = preset("lfp", "solar", cells=4, capacity=100.0)
    text = text.replace('mode = "shadow"', 'mode = "enforce"')
    return text.replace('chemistry = "lfp"', 'chemistry = "lfp"\nhost_power = "other"')


class SlowDisk(LedgerStore):
    """The ledger's file, written a moment later by the loop: what was not written when the program
    died is lost."""

    _waiting: dict[str, Any] | None = None

    def save(self, ledger: Ledger, now: float) -> Future[bool]:
        """Soon."""
        if self._waiting is None:
            asyncio.get_running_loop().call_later(_DISK, self._flush)
        self._waiting = save_ledger(ledger, now)
        done = Future[bool]()
        done.set_result(True)
        return done

    def _flush(self) -> None:
        if self._waiting is not None:
            self.trouble = self._write(self._waiting)
        self._waiting = None

    async def saved(self, ledger: Ledger, now: float, *, patience: float = 2.0) -> bool:
        """Before an on."""
        self.save(ledger, now)
        await asyncio.sleep(_DISK + 0.001)
        return not self.trouble


@dataclass(frozen=True)
class Act:
    """One step of a scenario, then some polls."""

    demand: Mapping[str, Demand] | None = None
    """What the policies want from now on; `None`: as before."""
    ask: Request | None = None
    polls: int = 1
    every: float = POLL
    approve: bool = False
    armed: bool = True
    """Whether the program may be killed in it."""


# -- the truth -----------------------------------------------------------------------------------


@dataclass
class Outcome:
    """What came of one run."""

    broken: list[str] = field(default_factory=list)
    points: list[int] = field(default_factory=list)
    """The callbacks at which it may be killed."""
    died: bool = False
    left: bool = False
    """Something is off in the end that only a person gives back: its off was not on the disk."""


class Bench:
    """One board and the programs that act on it, one after the other."""

    def __init__(self, protocol: str, folder: Path) -> None:
        cells = None if protocol == "jk04" else 4
        self.device = make_device(protocol, cells=cells, load="idle")
        self.target = f"{protocol}+sim://?pack={name_device(self.device)}"
        self.folder, self.lives = folder, 0
        self.names = tuple(s for s in Switch if self.shows(s) is not None)
        self.demand: Mapping[str, Demand] = FREE
        self.approved = self.stop = False
        self.person: set[str] = set()
        self.allowed: dict[str, float] = {}
        """Until when a person's on may go out."""
        self.ours: dict[str, float] = {}
        """Switch -> when a frame of ours moved it to off."""
        self.began = self.time = 0.0
        self.key = ""
        self.outcome = Outcome()
        around = self.device.pack.around
        self._obey = around.command
        self._now: Callable[[], float] = time.monotonic
        self.ear = patch.object(around, "command", self._commanded)
        self.ear.start()

    def shows(self, name: str) -> bool | None:
        """How a switch really is; `None`: there is none."""
        found: bool | None = self.device.pack.truth().to_dict()[f"{name}_switch"]
        return found

    def state(self, number: int) -> Path:
        """The disk of that life."""
        return self.folder / str(number)

    def _commanded(self, wishes: Mapping[Switch, bool]) -> None:
        """A frame that sets switches has come."""
        before = {name: self.shows(name) for name in self.names}
        self._obey(wishes)
        moved = {name: on for name, on in wishes.items() if before[name] is not on}
        now = self._now()
        if not self.approved and not self.person and not self.stop:
            self.broke("A10", f"{moved} is sent before anything is approved")
        if len(moved) > 1:
            self.broke("A5", f"one frame moves {moved}")
        for name, on in moved.items():
            if on:
                self._judge_on(str(name), now)
                self.ours.pop(name, None)
            else:
                self._judge_off(str(name))
                self.ours[name] = now

    def _judge_off(self, name: str) -> None:
        held = self.demand.get(name, Demand.FREE) >= Demand.OPEN
        if not (held or self.stop or name in self.person):
            self.broke("A4", f"{name} off is sent, and nothing wants it")

    def _judge_on(self, name: str, now: float) -> None:
        if self.stop:
            self.broke("stop", f"{name} on is sent during a stop")
        if now <= self.allowed.get(name, -1.0):
            return
        if name not in self.ours:
            self.broke("A1", f"{name} on is sent, and we did not switch it off")
        elif now - self.ours[name] < _MINUTE:
            self.broke("A7", f"{name} on is sent {now - self.ours[name]:.1f} s after the off")
        if now - self.began < _MINUTE:
            self.broke("A3", f"{name} on is sent {now - self.began:.1f} s after the start")
        if name in self.person:
            self.broke("A11", f"{name} on is sent over a person's off")
        if self.demand.get(name, Demand.FREE) != Demand.FREE:
            self.broke("A4", f"{name} on is sent under a violation")

    def broke(self, law: str, text: str) -> None:
        """A law does not hold."""
        self.outcome.broken.append(f"{law}: {text}")

    # -- one life of the program -----------------------------------------------------------------

    def begin(self, now: float, *, dies_at: float = math.inf) -> bool:
        """A program starts; whether it lives still."""
        self.loop = MortalLoop(now)
        self.loop.dies_at = dies_at
        self.began, self._now = now, self.loop.time
        self.program = _Program(self, self.loop)
        return self._run(self.program.begin())

    def do(self, act: Act) -> bool:
        """Something happens, and is polled; whether it lives still."""
        first = self.loop.callbacks
        alive = self._run(self.program.do(act))
        if act.armed and not self.lives:
            self.outcome.points += range(first + 1, self.loop.callbacks + 1)
        return alive

    def end(self) -> None:
        """All is well again, and what must be true then is judged."""
        self.loop.dies_at = math.inf
        self._run(self.program.end())
        self.bury()

    def _run(self, work: Coroutine[Any, Any, None]) -> bool:
        with patch.dict(os.environ, BMSLINK_STATE=str(self.state(self.lives))):
            try:
                self.loop.run(work)
            except Died:
                self.outcome.died = True
                self.bury()
                self._judge_disk()
                return False
        return True

    def bury(self) -> None:
        """The program is gone. What the disk holds is there for the next one."""
        self.time = self.loop.time() + _GONE
        here, self.lives = self.state(self.lives), self.lives + 1
        shutil.copytree(here, self.state(self.lives))
        with patch.dict(os.environ, BMSLINK_STATE=str(here)):
            self.program.bury()

    def _judge_disk(self) -> None:
        """What the disk holds after a death: it can be read, and claims nothing. What a person
        wanted in the last moment may not be on it."""
        if not self.key:
            return
        kept = kept_ledger(self.key, self.state(self.lives) / "ledgers")
        if kept.trouble:
            self.broke("A2", kept.trouble)
        ledger = kept.ledger
        self.stop = ledger is not None and ledger.stop is not None
        for name in self.names:
            record = None if ledger is None else ledger.record(name)
            if record is not None and record.person:
                self.person.add(name)
            else:
                self.person.discard(name)
            if record is None or not (record.own and record.confirmed):
                continue
            on_is_out = record.order is not None and record.order.on  # it is written before
            if name not in self.ours and not on_is_out:
                self.broke("A2", f"the disk holds {name} as ours, and we never switched it off")


class _Program:
    """One life."""

    def __init__(self, bench: Bench, loop: MortalLoop) -> None:
        self.bench, self.loop = bench, loop
        self.board: Board = bmslink.connect(bench.target).board
        self.side = ActingSide(
            self.board, _text(), "p.toml", enforce=True, interval=POLL,
            note=lambda event, **data: None, tell=lambda what, text, **data: None,
            target=bench.target, waive=["untested"],
        )  # fmt: skip

    async def begin(self) -> None:
        """It opens the port. After a death what is held is off within some polls."""
        bench = self.bench
        await self.board.open()
        if not bench.lives:
            return
        for _ in range(5):
            await self._poll()
        actor = self.side.actor
        able = frozenset(bench.names) if actor is None else actor.mandate.able
        for name in able & frozenset(bench.names):
            acts = actor is None or name in actor.mandate.actuators  # policies: not on balancing
            held = acts and bench.demand.get(name, Demand.FREE) >= Demand.OPEN and bench.approved
            if (held or bench.stop or name in bench.person) and bench.shows(name):
                bench.broke("A3", f"{name} is on five polls after the restart, and held")

    async def do(self, act: Act) -> None:
        """What an act says."""
        bench, now = self.bench, self.loop.time()
        if act.demand is not None:
            bench.demand = act.demand
        if act.approve:
            identity = await self.board.identify()
            bench.approved = True
            await asyncio.to_thread(
                start.approve_policies, self.board, identity, _text(), "p.toml", WHO
            )
        request = act.ask
        actor = self.side.actor
        if request is not None and actor is not None:
            remarks = actor.ask(request, now)
            refused = any(remark.what == "refused" for remark in remarks)
            if isinstance(request, PersonOff):
                bench.person.add(request.actuator)
            elif isinstance(request, PersonOn):
                if not refused:
                    bench.person.discard(request.actuator)
                    bench.allowed[request.actuator] = now + 15.0
            elif isinstance(request, EmergencyStop):
                bench.stop = True
            elif isinstance(request, ResetStop):
                bench.stop = False
        for _ in range(act.polls):
            await self._poll(act.every)

    async def _poll(self, every: float = POLL) -> None:
        begun = self.loop.time()
        identity = await self.board.who()
        self.bench.key = start.pack_key(self.board, identity)
        await self.side.begin(identity)
        reading = await self.board.read()
        self.side.hear(_decision(self.bench.demand), reading, self.loop.time())
        await asyncio.sleep(max(0.0, begun + every - self.loop.time()))

    async def end(self) -> None:
        """All is well again: what is ours comes back, and nothing else."""
        bench = self.bench
        bench.demand = FREE
        if bench.stop:
            await self.do(Act(ask=ResetStop(WHO), polls=1))
        for _ in range(16):
            await self._poll(10.0)
        actor = self.side.actor
        for name in bench.names:
            if bench.shows(name) or name in bench.person:
                continue
            record = None if actor is None else actor.ledger.record(name)
            if actor is None or not actor.mandate.enforce:  # nothing gives it back
                continue
            if record is not None and record.own and record.prior is True:
                bench.broke("given back", f"{name} is ours, and is never switched on again")
            bench.outcome.left = True

    def bury(self) -> None:
        """Put away what is left of it: nothing of it reaches the board."""
        transport = self.board.link.transport

        async def refuse(_data: bytes) -> None:
            raise LinkClosed("It is dead.")

        async def close() -> None:
            await self.side.close()
            await transport.close()

        with patch.object(transport, "write", refuse):
            self.loop.bury(close())


@lru_cache
def _decided(wanted: tuple[Demand, ...]) -> Decision:
    made = decision_for(wanted, False)
    trip = PolicyVerdict(TRIP, Mode.ENFORCE, Severity.TRIP, "tripped", TRIP)
    return msgspec.structs.replace(made, verdicts=(*made.verdicts, trip))


def _decision(demand: Mapping[str, Demand]) -> Decision:
    return _decided(tuple(demand.get(name, Demand.FREE) for name in ("charge", "discharge")))


@contextmanager
def bench_of(protocol: str, *, approved: bool = True) -> Iterator[Bench]:
    """A board and a disk; `approved`: a person has let the policies act."""
    with tempfile.TemporaryDirectory() as folder, patch.object(start, "LedgerStore", SlowDisk):
        bench = Bench(protocol, Path(folder))
        bench.state(0).mkdir()
        if approved:
            bench.begin(0.0)
            bench.do(Act(approve=True, polls=0))
            bench.bury()
            bench.outcome, bench.lives = Outcome(), 0
            shutil.rmtree(bench.state(0))
            bench.state(1).rename(bench.state(0))
        try:
            yield bench
        finally:
            bench.ear.stop()
