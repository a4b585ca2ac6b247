"""One pack under policies that act, alone: no board, no service, decisions by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from test_reconciler import decided

from bmslink.board import Board
from bmslink.control import Demand
from bmslink.control.act.actuator import Sent
from bmslink.control.act.ledger import Ledger
from bmslink.control.act.mandate import Mandate
from bmslink.control.act.store import LedgerStore, Loaded
from bmslink.model import Condition
from bmslink.runtime.acting.limit_sinks import LimitSinks, LineSink
from bmslink.runtime.acting.pack_actor import PackActor
from control_support import healthy

HELD, FREE = Demand.OPEN_NOW, Demand.FREE


class Switch:
    """An actuator that does what it is asked to."""

    name = "charge"

    def __init__(self, *, seldom_told: bool = False) -> None:
        self.on_now = self.obeys = True
        self.seldom_told = seldom_told
        self.sent: list[bool] = []
        self.looks = 0.0
        """How long it takes to look, s."""

    async def off(self, deadline: float) -> Sent:
        self.on_now = self.on_now and not self.obeys
        self.sent.append(False)
        return Sent(sent=True)

    async def on(self, deadline: float, against: Callable[[], str] = lambda: "") -> Sent:
        if why := against():
            return Sent(sent=False, error=why)
        self.on_now = True
        self.sent.append(True)
        return Sent(sent=True)

    async def state(self) -> bool:
        found = self.on_now
        await asyncio.sleep(self.looks)
        return found


class SlowStore(LedgerStore):
    """An on waits for it."""

    waits = 0.0

    async def saved(self, ledger: Ledger, now: float, *, patience: float = 2.0) -> bool:
        await asyncio.sleep(self.waits)
        return True


class Rig:
    """A pack, polled every two seconds."""

    def __init__(self, folder: Path, *, seldom_told: bool = False) -> None:
        self.switch = Switch(seldom_told=seldom_told)
        self.store = SlowStore("pack", folder)
        self.notes: list[dict[str, Any]] = []
        self.lines: list[dict[str, Any]] = []
        loop = asyncio.get_running_loop()
        self.board = SimpleNamespace(openings=1, joins=None, named=None, bank=None)
        self.actor = PackActor(
            cast(Board, self.board),
            Mandate(enforce=True, host_power="other", able=frozenset({"charge"})),
            {"charge": self.switch},
            self.store,
            Loaded(Ledger.new("pack", loop.time()), ""),
            note=lambda event, **data: self.notes.append(data),
            tell=lambda what, text, **data: None,
            sinks=LimitSinks([LineSink(self.lines.append)]),
        )

    async def poll(self, demand: Demand, count: int = 1, **told: Any) -> None:
        for _ in range(count):
            loop = asyncio.get_running_loop()
            shown = {} if self.switch.seldom_told else {"charge_switch": self.switch.on_now}
            shown["charging_allowed"] = self.switch.on_now
            reading = healthy(**{**shown, **told})
            self.actor.hear(decided(demand), reading, loop.time())
            await asyncio.sleep(2.0)

    async def until_it_acts(self) -> None:
        for _ in range(100):
            if self.actor._tasks:
                return
            await self.poll(FREE)
        raise AssertionError("nothing was begun")

    @property
    def errors(self) -> list[str]:
        return [note["error"] for note in self.notes if "error" in note]

    async def taken(self) -> None:
        """Off, read back, and a moment before it is given back."""
        await self.poll(FREE, 3)
        await self.poll(HELD, 3)
        assert self.switch.sent == [False]
        await self.poll(FREE, 27)
        assert self.switch.sent == [False]


async def test_an_on_that_waited_too_long_does_not_leave(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    await rig.taken()
    rig.store.waits = 11.0
    await rig.poll(FREE, 10)
    assert rig.switch.sent == [False]
    assert rig.errors == ["It waited too long."]


class Gate:
    """The other packs of a bank, which let this one join, or not."""

    def __init__(self) -> None:
        self.why, self.heard = "", 0

    def why_not(self, switch: object, *, opened: bool = False) -> str:
        return self.why

    def began(self, switch: object) -> None:
        self.heard += 1


async def test_an_on_asks_the_other_packs_of_its_bank_and_once_more_when_it_leaves(
    tmp_path: Path,
) -> None:
    rig = Rig(tmp_path)
    gate = rig.board.joins = Gate()
    gate.why = "Too much would flow."
    await rig.taken()
    await rig.poll(FREE, 20)
    assert (rig.switch.sent, gate.heard) == ([False], 0)
    gate.why, rig.store.waits = "", 3.0
    await rig.until_it_acts()
    assert gate.heard == 1  # the others wait for it
    gate.why = "Too much would flow."
    await rig.poll(FREE, 3)
    assert (rig.switch.sent, rig.errors) == ([False], ["Too much would flow."])


async def test_a_protection_that_came_meanwhile_keeps_an_on_back(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    await rig.taken()
    rig.store.waits = 3.0
    await rig.until_it_acts()
    await rig.poll(FREE, 3, protections=(Condition.CELL_OVERVOLTAGE,))
    assert rig.switch.sent == [False]
    assert rig.errors == ["The BMS's own protection closes that path by now."]


async def test_what_was_asked_before_an_off_is_not_its_read_back(tmp_path: Path) -> None:
    """A board that tells its switches seldom is asked; an answer that is on its way when the off
    goes out is older than it."""
    rig = Rig(tmp_path, seldom_told=True)
    await rig.poll(FREE, 3)
    await asyncio.sleep(10.0)
    rig.switch.on_now, rig.switch.looks = False, 3.0  # an app was there, for a moment
    await rig.poll(FREE)
    rig.switch.on_now, rig.switch.obeys = True, False
    await rig.poll(HELD)
    assert rig.switch.sent == [False]
    await rig.poll(HELD, 3, charging_allowed=None)
    assert not any(note["what"] == "read_back" for note in rig.notes)


async def test_limits_last_ten_seconds_or_two_and_a_half_polls(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    await rig.poll(FREE, 3)
    assert rig.lines[-1]["ttl"] == 10.0


@pytest.mark.parametrize("conducts", [True, False])
async def test_a_path_that_conducts_is_on_whatever_was_asked(
    tmp_path: Path, conducts: bool
) -> None:
    """An app switched on what we had read back as off; the answer of before does not hide it."""
    rig = Rig(tmp_path, seldom_told=True)
    await rig.poll(FREE, 3, charging_allowed=True)
    await rig.poll(HELD, 5, charging_allowed=False)
    assert rig.actor.ledger.charge.confirmed
    rig.switch.looks = 1000.0  # it does not answer any more
    sent = len(rig.switch.sent)
    await rig.poll(HELD, 3, charging_allowed=conducts)
    assert (len(rig.switch.sent) > sent) is conducts
