"""What goes wrong while switches are set, on every dialect: real frames, a simulated board, the
ledger and the reconciler, polled as a program does."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from test_reconciler import decided

import bmslink
from bmslink.board import Board
from bmslink.control import Demand
from bmslink.control.act.actuator import Actuator
from bmslink.control.act.actuators import prepare
from bmslink.control.act.facts import facts_of
from bmslink.control.act.ledger import Ledger, load_ledger, save_ledger
from bmslink.control.act.mandate import Mandate
from bmslink.control.act.numbers import ActingNumbers
from bmslink.control.act.reconciler import reconcile
from bmslink.control.decide.decision import Decision
from bmslink.errors import BmsError, LinkClosed
from bmslink.model import Switch
from bmslink.testing import SimulatedPack
from support import WHOLE_SWEEP

DIALECTS = ("jk02", "jk04", "jk-modbus", "jk-nw", "jbd", "daly-a5", "daly-d2", "daly-p81")
QUICK = ActingNumbers(after_start=10.0, min_off=20.0, enable_apart=20.0)
HELD, FREE = Demand.OPEN_NOW, Demand.FREE


class Acting:
    """One pack under a program that acts."""

    def __init__(self, pack: SimulatedPack, device: Board, name: str) -> None:
        self.pack, self.device, self.name = pack, device, name
        self.others = {s: pack.truth().to_dict()[s.key] for s in Switch if s != name}
        self.actuators: dict[str, Actuator] = {}
        self.mandate = Mandate(
            enforce=True, host_power="other", actuators=frozenset({name}), able=frozenset({name})
        )
        self.ledger = Ledger.new("pack", self.now)
        self.sent: list[bool] = []
        self.said: list[str] = []
        self.greeted = False
        self.disk = True
        self.numbers = QUICK
        self.alive: dict[str, bool] = {}
        """Whether something carries limits to the charger."""

    @property
    def now(self) -> float:
        return asyncio.get_running_loop().time()

    @property
    def on(self) -> bool:
        """How the switch really is."""
        found: bool = self.pack.truth().to_dict()[f"{self.name}_switch"]
        return found

    async def greet(self) -> None:
        prepared = await prepare(self.device, waive=["untested"], remembered=self._remembered)
        self.actuators = dict(prepared.actuators)
        self.greeted = True

    def _remembered(self, switch: Switch) -> bool | None:
        return self.ledger.remembered(switch)

    async def cycle(self, demand: Demand, *requests: Any) -> None:
        """One poll and what follows from it; two seconds in all."""
        begun = self.now
        reading = states = None
        try:
            reading = await self.device.read()
            if self.device.driver.name.startswith("jk0"):  # its switches are told seldom
                states = {self.name: await self.actuators[self.name].state()}
        except BmsError:
            pass
        decision = self._decision(demand, stale=reading is None)
        facts = reading and facts_of(reading, decision, states=states, greeted=self.greeted)
        self.greeted = self.greeted and reading is None
        result = reconcile(
            self.ledger, decision, facts, self.alive, self.now, mandate=self.mandate,
            numbers=self.numbers, requests=requests, disk=self.disk,
        )  # fmt: skip
        if self.alive:
            self.pack.set_limits(ccl=0.0 if demand >= Demand.ZERO else 100.0)
        self.ledger = result.ledger
        self.said += [remark.what for remark in result.remarks]
        for command in result.commands:
            actuator = self.actuators[command.actuator]
            sent = await (actuator.on if command.on else actuator.off)(self.now + 1.5)
            if sent.sent is not False:
                self.sent.append(command.on)
            self.ledger = self.ledger.heard_of(command.actuator, command.id, sent)
        await asyncio.sleep(max(0.0, begun + 2.0 - self.now))
        truth = self.pack.truth().to_dict()
        assert {s: truth[s.key] for s in self.others} == self.others, "the others stay as they were"

    def _decision(self, demand: Demand, *, stale: bool) -> Decision:
        if self.name == "balance":
            made = decided(demand, stale=stale)
            return msgspec.structs.replace(made, balance=made.charge, charge=made.discharge)
        return decided(**{self.name: demand}, stale=stale)

    async def cycles(self, demand: Demand, count: int) -> list[bool]:
        """So many; gives back what was sent."""
        before = len(self.sent)
        for _ in range(count):
            await self.cycle(demand)
        return self.sent[before:]

    def restart(self) -> None:
        """The program is killed, and begins with what the disk holds."""
        self.ledger = load_ledger(save_ledger(self.ledger, self.now), "pack", self.now)


@asynccontextmanager
async def acting(protocol: str) -> AsyncIterator[Acting]:
    pack = SimulatedPack(protocol, cells=4 if protocol != "jk04" else None)
    name = "balance" if protocol == "jk04" else "charge"
    async with bmslink.connect(pack.target).board as device:
        program = Acting(pack, device, name)
        await program.greet()
        assert not await program.cycles(FREE, 4), "nothing is wanted, nothing is sent"
        yield program


@pytest.mark.parametrize("protocol", DIALECTS)
async def test_taken_read_back_and_given_back_once(protocol: str) -> None:
    """Also over the death of the program; with a full disk it is given back only afterwards."""
    async with acting(protocol) as program:
        assert await program.cycles(HELD, 6) == [False]
        assert not program.on
        assert "read_back" in program.said
        program.restart()
        program.disk = False
        assert await program.cycles(HELD, 3) == []
        assert await program.cycles(FREE, 20) == []
        assert not program.on
        program.disk = True
        assert await program.cycles(FREE, 12) == [True]
        assert program.on
        assert "given_back" in program.said


@pytest.mark.parametrize("protocol", DIALECTS)
async def test_a_dead_link_queues_nothing(protocol: str) -> None:
    async with acting(protocol) as program:
        program.device.link._on_lost(LinkClosed("The plug was pulled."))
        assert await program.cycles(HELD, 3) == []
        await program.device.reopen()
        await program.greet()
        assert await program.cycles(FREE, 5) == [], "what was wanted then is not wanted now"
        assert program.on


@pytest.mark.parametrize("protocol", DIALECTS)
async def test_a_board_that_restarts_and_forgets_is_reminded_once(protocol: str) -> None:
    async with acting(protocol) as program:
        program.pack.advance(3600.0)
        await program.cycles(HELD, 6)
        program.pack.reboot(forgets=True)
        assert await program.cycles(HELD, 12) == [False]
        assert not program.on
        assert "stand_down" not in program.said
        program.pack.reboot()
        assert await program.cycles(HELD, 6) == [], "this one remembered"


@pytest.mark.parametrize("protocol", [name for name in DIALECTS if name != "jk04"])
async def test_against_a_second_host_we_stand_down(protocol: str) -> None:
    async with acting(protocol) as program:
        program.pack.second_host(10.0)
        trip = Demand.OPEN
        sent = await program.cycles(trip, 40)
        assert "stand_down" in program.said
        assert not any(sent), "never an on"
        assert len(sent) <= 3
        assert await program.cycles(trip, 10) == []


@pytest.mark.parametrize("protocol", DIALECTS)
async def test_what_an_app_switched_off_is_not_ours_to_give_back(protocol: str) -> None:
    async with acting(protocol) as program:
        program.pack.fault(f"app:{program.name}:off")
        await program.cycles(FREE, 5)
        assert await program.cycles(HELD, 3) in ([], [False])
        assert await program.cycles(FREE, 25) == []
        assert not program.on
        assert "foreign_off" in program.said


@pytest.mark.parametrize("protocol", DIALECTS)
async def test_commands_without_effect(protocol: str) -> None:
    """Ignored, or acknowledged for nothing: said, and tried again until the board obeys."""
    async with acting(protocol) as program:
        program.pack.ignore_commands(acknowledged=True)
        sent = await program.cycles(HELD, 8)
        assert program.on
        assert sent.count(False) >= 3
        assert "no_effect" in program.said
        program.pack.repair("command_no_effect")
        program.pack.ignore_commands()
        await program.cycles(HELD, 2)
        program.pack.repair("command_ignored")
        await program.cycles(HELD, 35)
        assert not program.on
        assert "read_back" in program.said


@pytest.mark.parametrize("protocol", DIALECTS)
async def test_a_late_effect_is_ours(protocol: str) -> None:
    async with acting(protocol) as program:
        program.pack.delay_commands(5.0)
        sent = await program.cycles(HELD, 10)
        assert not program.on
        assert set(sent) == {False}
        assert "read_back" in program.said
        assert "foreign_off" not in program.said
        program.pack.repair("command_late")
        assert await program.cycles(FREE, 16) == [True]


@pytest.mark.parametrize("alternator", [False, True])
@pytest.mark.parametrize("protocol", [name for name in DIALECTS if name != "jk04"])
async def test_it_opens_without_current_where_a_sink_obeys(protocol: str, alternator: bool) -> None:
    """Limits go to zero first; an alternator, which follows slowly, is waited for longer."""
    async with acting(protocol) as program:
        pack, program.alive = program.pack, {"charge": True}
        program.mandate = msgspec.structs.replace(
            program.mandate, alternator=alternator, capacity=100.0
        )
        if alternator:
            pack.set_alternator(60.0)
        else:
            pack.set_load(50.0)
        await program.cycles(FREE, 4)
        assert (pack.truth().current or 0.0) > 40.0
        assert await program.cycles(Demand.OPEN, 8) == [False]
        assert not program.on
        assert (pack.counters["opened_under_load"], pack.counters["load_dumps"]) == (0, 0)
        assert ("pre_alarm" in program.said) is alternator


@pytest.mark.parametrize("protocol", ["jk02", "jbd", "daly-a5"])
async def test_a_charger_that_disobeys_is_cut_off_in_time(protocol: str) -> None:
    """Who obeys no limit does not keep the switch closed."""
    async with acting(protocol) as program:
        program.alive = {"charge": True}
        program.pack.disobey_limits()
        program.pack.set_load(50.0)
        await program.cycles(FREE, 3)
        assert await program.cycles(Demand.OPEN, 4) == [False]
        assert program.pack.counters["opened_under_load"] == 1


@pytest.mark.slow
@pytest.mark.sweep
@pytest.mark.parametrize("alternator", [False, True])
async def test_many_trips_under_load(alternator: bool) -> None:
    """At any current and at any moment between two polls: fifty, and in `make soak` two hundred."""
    dice = random.Random(7)
    often = msgspec.structs.replace(QUICK, enables_an_hour=10**6, writes_a_day=10**6)
    async with acting("daly-a5") as program:
        pack, program.alive, program.numbers = program.pack, {"charge": True}, often
        program.mandate = msgspec.structs.replace(
            program.mandate, alternator=alternator, capacity=100.0
        )
        for _ in range(200 if WHOLE_SWEEP else 50):
            pack.set_soc(50.0)
            amps = dice.uniform(5.0, 90.0)
            if alternator:
                pack.set_alternator(amps)
            else:
                pack.set_load(amps)
            await asyncio.sleep(dice.uniform(0.0, 8.0))
            await program.cycles(FREE, 2)
            assert await program.cycles(Demand.OPEN, 8) == [False]
            assert not program.on
            assert await program.cycles(FREE, 12) == [True]
        assert pack.counters["load_dumps"] == 0
        assert pack.counters["opened_under_load"] <= (2 if WHOLE_SWEEP else 1)
