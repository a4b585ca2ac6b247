"""Every road that switches a pack on asks whether it may join the others of its bank."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from bank_service import Bench, Nobody, bank_file, three, write

from acting_support import approve, policy_text
from bmslink import config
from bmslink.board import Board
from bmslink.errors import GateError
from bmslink.link.transport import parse_target
from bmslink.model import Command, Switch
from bmslink.packs import load_packs
from bmslink.runtime.acting.drill import Drill
from bmslink.runtime.acting.people import ActingWish
from bmslink.runtime.acting.start import EnforcedPack, begin_acting
from bmslink.runtime.banks.beside import asks_bank
from bmslink.runtime.jobs import PackJobs
from bmslink.runtime.pack_task import ServedPack
from bmslink.service_forms import ChangeRequest, DrillRequest, SwitchRequest
from bmslink.testing import SimulatedPack
from served_support import until

ON = Command(Switch.CHARGE, on=True)
Road = Callable[[ServedPack, list[str]], Awaitable[Any]]
LITTLE, FAR = 40.0, 2.0
"""%: a tenth of a volt below packs at 60 %, which is 20 A; and two volts."""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return bank_file(tmp_path, monkeypatch)


async def _asked(pack: ServedPack, waive: list[str]) -> Any:
    return await PackJobs(pack).switch(
        Nobody(), SwitchRequest(switch="charge", on=True, waive=waive)
    )


async def _rehearsed(pack: ServedPack, waive: list[str]) -> Any:
    wish = SwitchRequest(switch="charge", on=True, waive=waive, dry_run=True)
    return await PackJobs(pack).switch(Nobody(), wish)


async def _planned(pack: ServedPack, waive: list[str]) -> Any:
    async with pack.turn() as board:
        plan = await config.draft(board, {"charge_switch": True}, waive=waive)
        return await config.apply(board, plan)


async def _as_a_setting(pack: ServedPack, waive: list[str]) -> Any:
    wish = ChangeRequest(wanted={"charge_switch": True}, waive=waive)
    jobs = PackJobs(pack)
    wish.fingerprint = (await jobs.plan(Nobody(), wish))["fingerprint"]
    return await jobs.apply(Nobody(), wish)


async def _by_the_library(pack: ServedPack, waive: list[str]) -> Any:
    async with pack.turn() as board:
        return await config.switch(board, ON, waive=waive)


async def _beside_policies(pack: ServedPack, waive: list[str]) -> Any:
    assert pack.identity is not None
    await pack.judge.acting.begin_for_people(pack.identity)
    await asyncio.sleep(3)  # it sees how the switch is
    try:
        return await pack.judge.acting.person_on(Switch.CHARGE, "test", waive)
    finally:
        await pack.judge.acting.rest()


async def _by_a_wish(pack: ServedPack, waive: list[str]) -> Any:
    assert pack.identity is not None
    await pack.judge.acting.begin_for_people(pack.identity)
    await asyncio.sleep(3)  # it sees how the switch is
    try:
        wish = ActingWish(do="on", switch="charge", waive=tuple(waive))
        return await pack.judge.acting.do(wish, "test", pack.identity)
    finally:
        await pack.judge.acting.rest()


SETTINGS: list[Road] = [_asked, _rehearsed, _as_a_setting, _planned, _by_the_library]
COMMANDS: list[Road] = [_asked, _rehearsed, _by_the_library, _beside_policies, _by_a_wish]


async def _switched_off(bench: Bench, packs: list[SimulatedPack], soc: float) -> None:
    for pack in bench.service.packs.values():
        await until(lambda: bench.bank._joining is None)
        if pack.name == "right":
            await PackJobs(pack).switch(Nobody(), SwitchRequest(switch="charge", on=False))
    packs[-1].set_soc(soc)
    await asyncio.sleep(10)  # all are read anew, and no poll that a busy machine delayed counts


@pytest.mark.parametrize(("protocol", "roads"), [("jk02", SETTINGS), ("jbd", COMMANDS)])
async def test_every_road_of_a_person_asks(file: Path, protocol: str, roads: list[Road]) -> None:
    packs = three(protocol=protocol)
    file.with_name("lfp.toml").write_text(policy_text(protocol))
    write(file, packs)
    async with Bench(packs).running(20) as bench:
        pack, right = bench.service.packs["right"], packs[2]
        for road in roads:
            await _switched_off(bench, packs, FAR)
            sent = right.counters["commands"]
            with pytest.raises(GateError, match=r"right has \d.* below the packs beside it"):
                await road(pack, [])
            assert right.truth().charge_switch is False, road
            assert right.counters["commands"] == sent, road
            # the same where little flows, and where a person says so
            for soc, waive in ((LITTLE, []), (FAR, ["join"])):
                await _switched_off(bench, packs, soc)
                bench.bank._joining = None
                await road(pack, waive)
                if road is _rehearsed:
                    continue
                await asyncio.sleep(3)
                assert right.truth().charge_switch is True, road
                joining = bench.bank._joining
                assert joining is not None, road
                assert joining[0] == "right", road
                bench.bank._joining = None


async def test_a_reset_after_an_emergency_stop_gives_nothing_back_while_too_much_would_flow(
    file: Path,
) -> None:
    packs = three()[:2]
    write(file, packs, pack="enforce = true")
    for each in packs:
        await approve(each, policy_text("jbd"))
    async with Bench(packs).running(70) as bench:
        left, charge = bench.service.packs["left"], packs[0]
        await left.act(ActingWish(do="stop"), "test")
        await until(lambda: charge.truth().charge_switch is False, 20)
        charge.set_soc(FAR)
        await left.act(ActingWish(do="reset"), "test")
        await asyncio.sleep(120)
        assert charge.truth().charge_switch is False
        waits = left.status()["acting"]["switches"]["charge"]["given_back"]
        assert "It waits: left has" in waits
        assert "and left may take 50 A of charge current" in waits  # not the 0 of an open FET
        charge.set_soc(LITTLE)
        await until(lambda: charge.truth().charge_switch is True, 120)


class _Gate:
    """Lets a pack that is open join so many seconds after it was asked first."""

    def __init__(self, pack: SimulatedPack, after: float) -> None:
        self.pack, self.after = pack, after
        self.first: float | None = None
        self.told: list[str] = []
        self.looks = 0

    def why_not(self, switch: Switch, *, opened: bool = False) -> str:
        assert opened
        if self.pack.truth().charge_switch:
            return ""
        now = asyncio.get_running_loop().time()
        self.first = now if self.first is None else self.first
        return "" if now - self.first >= self.after else "Too much would flow."

    async def freshen(self) -> None:
        self.looks += 1

    def began(self, switch: Switch) -> None:
        self.told.append(switch)


async def test_a_drill_closes_no_switch_that_may_not_join(file: Path) -> None:
    packs = three()
    write(file, packs)
    right, named = packs[2], load_packs()["right"]
    async with Board(parse_target(right.target), named=named) as board:
        with pytest.raises(GateError, match="might not be switched on again: This pack is in the"):
            await Drill(board, switches=[Switch.CHARGE]).prepare()
        await Drill(board, switches=[Switch.CHARGE], waive=["join"]).prepare()
        for after, passed in ((15.0, True), (math.inf, False)):
            gate = board.joins = _Gate(right, after)
            drill = Drill(board, switches=[Switch.CHARGE])
            await drill.prepare()
            (row,) = (await drill.run()).rows
            assert (row.result == "passed", row.restored) == (passed, passed)
            assert right.truth().charge_switch is passed
            assert gate.told == ["charge"] * passed
            assert gate.looks > 2
        assert "Too much would flow" in row.why
    async with Bench(packs).running(20) as bench:
        jobs = PackJobs(bench.service.packs["middle"])
        request = DrillRequest(switches=["charge"], agreed=["charge"])
        (row,) = (await jobs.drill(Nobody(), request))["switches"]
        assert row["result"] == "passed"
        packs[0].fault("silent")  # nobody would know whether it may be switched on again
        await asyncio.sleep(20)
        with pytest.raises(GateError, match="The voltage of left is not known now"):
            await jobs.drill(Nobody(), request)


async def test_who_turns_nothing_on_keeps_nobody_waiting(file: Path) -> None:
    packs = three(protocol="jk02")
    file.with_name("lfp.toml").write_text(policy_text("jk02"))
    write(file, packs)
    async with Bench(packs).running(20) as bench:
        left = bench.service.packs["left"]
        for name in ("charge", "balance"):  # it is on already; and no current joins by a balancer
            await PackJobs(left).switch(Nobody(), SwitchRequest(switch=name, on=True))
            assert bench.bank._joining is None
    packs = three()
    file.with_name("lfp.toml").write_text(policy_text("jbd"))
    write(file, packs)
    async with Bench(packs).running(20) as bench:
        left, right = bench.service.packs["left"], bench.service.packs["right"]
        for each in (right, left):
            await PackJobs(each).switch(Nobody(), SwitchRequest(switch="charge", on=False))
        await asyncio.sleep(3)
        await _asked(left, [])
        with pytest.raises(GateError, match=r"one pack joins at a time: right may in \d+ s"):
            await _asked(right, [])


async def test_what_acts_without_a_service_knows_of_the_bank_by_the_place(file: Path) -> None:
    packs = three()[:2]
    write(file, packs)

    def ignore(*about: Any, **more: Any) -> None: ...

    async with Board(parse_target(packs[0].target)) as board:
        found = await begin_acting(
            board, await board.identify(), "", "", note=ignore, tell=ignore, interval=1.0,
            enforce=False,
        )  # fmt: skip
        assert isinstance(found, EnforcedPack)
        assert "This pack is in the bank house" in asks_bank(board, ignore)("charge")
        assert asks_bank(board, ignore)("balance") == ""
        await found.close()
