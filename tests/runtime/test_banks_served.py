"""Banks under the service: the file, the limits that are told and carried out, and the gate before
a pack joins others."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, cast

import pytest
from asgi_support import ask
from bank_service import NAMES, Bench, Nobody, bank_file, three, write

import bmslink
from acting_support import approve, policy_text
from bmslink import config
from bmslink.cli.render.service import status
from bmslink.config.switching.switches import switch
from bmslink.control.banks.decision import BankCode, BankDecision, BankLimit, BankReason
from bmslink.errors import GateError, TargetError
from bmslink.model import Command, Switch
from bmslink.packs import load_packs
from bmslink.runtime.acting.limit_sinks import LimitSinks, LineSink
from bmslink.runtime.api.app import make_app
from bmslink.runtime.banks.told import BankTeller
from bmslink.runtime.feed import PackEvent
from bmslink.runtime.jobs import PackJobs
from bmslink.runtime.service import Service
from bmslink.runtime.service_file import load_plan
from bmslink.runtime.watching.conditions import Teller
from bmslink.service_forms import SwitchRequest
from served_support import until

CHARGE_ON, CHARGE_OFF = Command(Switch.CHARGE, on=True), Command(Switch.CHARGE, on=False)


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return bank_file(tmp_path, monkeypatch)


WRONG = {
    'packs = ["left", "midlle"]': (r"line 11: \[banks.house\] packs: there is no pack 'midlle'",
                                  "Did you mean middle"),
    'packs = ["left"]': ("line 11: .*packs: a bank has 2 to 64 packs, not 1", ""),
    'packs = ["left", "left"]': ("line 11: .*'left' is named twice", ""),
    "connection": ("line 10: .*'connection' is missing", 'connection = "parallel" or "series"'),
    "packs": ("line 10: .*'packs' is missing", r'packs = \["left", "right"\]'),
    "connection = true": ("line 12: .*connection: expected one of parallel, series", ""),
    "resistance = { left = 12 }": ("line 13: .*left cannot have 12 Ω", "0.012"),
    'connection = "serial"': ("line 12: .*connection", "parallel, series"),
    'conection = "parallel"': ("unknown key 'conection'", "connection"),
    'apart = ["up"]': ("apart: 'up' is no pack of this bank", "left, middle"),
    "resistance = { left = -1 }": ("resistance", ""),
    "sink_command = '\"'": ("line 13: .*sink_command", "no command"),
}  # fmt: skip


@pytest.mark.parametrize("line", WRONG)
def test_what_is_wrong_with_a_bank_is_said_with_its_line(file: Path, line: str) -> None:
    write(file, three()[:2])
    key = line.partition(" ")[0].replace("conection", "connection")
    lines = [line if each.startswith(key) and n > 9 else each
             for n, each in enumerate(file.read_text().splitlines())]  # fmt: skip
    if "=" not in line:  # it is left out
        lines = [each for each in lines if each != line]
    elif line not in lines:
        lines.append(line)
    file.write_text("\n".join(lines) + "\n")
    with pytest.raises(TargetError) as raised:
        load_plan()
    for words in filter(None, WRONG[line]):
        assert raised.match(words), str(raised.value)


def test_a_pack_is_in_one_bank_and_a_bank_of_one_kind_of_packs(file: Path) -> None:
    packs = three()
    write(file, packs)
    whole = file.read_text()
    again = '[banks.shed]\npacks = ["left", "right"]\nconnection = "series"\n'
    file.write_text(whole + again)
    with pytest.raises(TargetError, match="'left' is in the bank 'house' already"):
        load_plan()
    for text in ('[banks]\npacks = ["left", "right"]',):
        file.write_text(text + "\n" + whole[: whole.index("[banks")])
        with pytest.raises(TargetError, match=r"with its own name: \[banks.house\]"):
            load_plan()
    file.write_text(whole.replace("[banks.house]", "[banks.left]"))
    with pytest.raises(TargetError, match="a pack has that name"):
        load_plan()
    other = file.with_name("other.toml")
    for cells, chemistry in ((8, "lfp"), (4, "nmc")):
        other.write_text(policy_text("jbd", cells=cells).replace('"lfp"', f'"{chemistry}"'))
        if chemistry == "nmc":
            battery = 'chemistry = "nmc"\ncells = 4\ncapacity = "100 Ah"\n'
            other.write_text(f"schema = 2\n[battery]\n{battery}")
        file.write_text(whole.replace("[packs.right]", '[packs.right]\npolicies = "other.toml"'))
        with pytest.raises(TargetError, match="packs in parallel are alike"):
            load_plan()
    carried = whole.replace('"parallel"', '"parallel"\nsink_command = "carry"')
    file.write_text(carried.replace("[packs.left]", '[packs.left]\nsink_command = "own"'))
    with pytest.raises(TargetError, match="left has one too"):
        load_plan()
    file.write_text(carried.replace("parallel", "series"))
    with pytest.raises(TargetError, match="only reported"):
        load_plan()
    file.write_text(carried)
    assert [plan.carried_by for plan in load_plan().packs] == ["house"] * 3
    assert load_packs()["left"].bank == "house"


async def test_a_bank_is_reckoned_told_and_asked_for(file: Path) -> None:
    packs = three()
    write(file, packs)
    async with Bench(packs).running() as bench:
        found = await bench.get("/api/v1/banks/house")
        assert (found["ccl"]["code"], found["ccl"]["kind"]) == ("share", "protect")
        assert 100 <= found["ccl"]["value"] <= 150  # three times 50 A, as far as shares are known
        assert (found["cvl"]["value"], found["cvl"]["code"]) == (13.8, "phase")
        assert found["capacity"] == 300
        assert [each["fresh"] for each in found["packs"]] == [True] * 3
        assert (await bench.get("/api/v1/banks"))["banks"][0]["bank"] == "house"
        assert (await bench.get("/api/v1/status"))["banks"][0]["ccl"] == found["ccl"]
        own = (await bench.get("/api/v1/packs/left"))["bank"]
        assert (own["bank"], own["ccl"], own["cvl"]) == ("house", found["ccl"]["value"], 13.8)
        text = (await ask(make_app(bench.service), "GET", "/metrics")).body.decode()
        assert 'bmslink_bank_limit_volts{bank="house",limit="cvl"} 13.8' in text
        shown = "\n".join(status({"banks": [bench.bank.status()]}, "here"))
        assert "bank house (parallel): 13." in shown
        assert f"charge {found['ccl']['value']:g} A (share): " in shown
        assert "left 33% (23% to 46%, capacity)" in shown
        missing = await bench.get("/api/v1/banks/shed")
        assert missing["hint"] == "There are: house."
        assert bench.limits[-1].to_dict()["ccl"] == found["ccl"]
        # a cell of one pack is high: the bank falls with it, and says which pack and why
        packs[1].set_cell_voltage(2, 3.45)
        await asyncio.sleep(15)
        lowered = await bench.get("/api/v1/banks/house")
        assert lowered["ccl"]["value"] < found["ccl"]["value"] / 1.5
        assert lowered["ccl"]["pack"] == "middle"
        assert any("by" not in text and "middle may take" in text for text in bench.told("limit"))
        count = len(bench.limits)
        await asyncio.sleep(30)
        assert len(bench.limits) - count <= 3


async def test_a_pack_that_is_lost_counts_until_a_person_says_that_it_is_apart(file: Path) -> None:
    packs = three()
    write(file, packs, more="[history]")
    async with Bench(packs).running() as bench:
        packs[2].fault("silent")
        await asyncio.sleep(60)
        history = bench.service.history
        assert history is not None
        assert bench.limits
        assert all(isinstance(each, PackEvent) for each in history._events)
        for resolution in ("raw", "minute"):
            told = await bench.get(f"/api/v1/history?pack=house&resolution={resolution}")
            stored = [dict(zip(told["fields"], row, strict=True)) for row in told["rows"]]
            assert all(each["voltage"] > 13 and each["cvl"] for each in stored)
            assert stored[-1]["ccl"] < 60
            assert resolution != "raw" or max(each["ccl"] for each in stored) > 100
        assert "house" in (await bench.get("/api/v1/history?pack=hause"))["error"]
        events = (await bench.get("/api/v1/events?pack=house"))["events"]
        assert {each["what"] for each in events} == {"limit", "trouble"}
        assert all(each["bank"] == "house" for each in events)
        found = bench.bank.status()
        assert (found["ccl"]["code"], found["ccl"]["pack"]) == ("vanished", "right")
        assert found["ccl"]["value"] < 60
        assert "right is not heard and may conduct still" in bench.told("trouble")[0]
        write(file, packs, 'apart = ["right"]', more="[history]")
        outcome = await bench.service.reload()
        assert outcome.kept == NAMES
        assert not outcome.remarks
        await asyncio.sleep(60)
        found = bench.bank.status()
        assert (found["trouble"], found["ccl"]["pack"] != "right") == ([], True)
        assert found["ccl"]["value"] > 60
        assert any("It is over" in text for text in bench.told("trouble"))


async def test_the_limits_of_a_bank_are_carried_out_while_all_of_its_packs_act(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packs = three()[:2]
    write(file, packs, 'sink_command = "carry"', pack="enforce = true")
    await approve(packs[0], policy_text("jbd"))
    said: list[dict[str, Any]] = []
    bench = Bench(packs)
    bench.bank.sinks = LimitSinks([LineSink(said.append)], {"bank": "house"})
    async with bench.running(20):
        left = bench.service.packs["left"].judge
        assert left.enforcing
        assert not said
        assert "those of middle do not" in bench.bank.status()["sink_trouble"]
        now = asyncio.get_running_loop().time()
        assert left.acting.sinks.alive(now) == {"charge": False, "discharge": False}
        await approve(packs[1], policy_text("jbd"))
        await until(lambda: bool(said) and said[-1]["ccl"] > 60, 60)
        assert (said[-1]["bank"], said[-1]["ttl"]) == ("house", 10.0)
        # the sink of the bank is what limits each pack: a curve opens no FET
        now = asyncio.get_running_loop().time()
        assert left.acting.sinks.alive(now) == {"charge": True, "discharge": True}
        assert left.policies is not None
        assert left.policies.engine.plan.policies is not None
        packs[0].set_cell_voltage(2, 3.45)
        await asyncio.sleep(5)
        assert said[-1]["ccl"] < 50
        assert packs[0].truth().charge_switch
        with monkeypatch.context() as patched:  # a mistake of ours: nothing more is said
            patched.setattr("bmslink.runtime.banks.served_bank.Member", None)
            await asyncio.sleep(2)
            count = len(said)
            await asyncio.sleep(8)
            assert len(said) == count
            now = asyncio.get_running_loop().time()  # so policies open FETs by themselves
            assert left.acting.sinks.alive(now) == {"charge": False, "discharge": False}


async def test_a_person_is_refused_where_too_much_would_flow(file: Path) -> None:
    packs = three()
    write(file, packs)
    packs[2].set_soc(2.0)
    async with Bench(packs).running() as bench:
        right = bench.service.packs["right"]
        jobs = PackJobs(right)
        off = SwitchRequest(switch="charge", on=False)
        assert (await jobs.switch(Nobody(), off))["result"] == "done"
        await asyncio.sleep(3)
        on = SwitchRequest(switch="charge", on=True)
        sent = packs[2].counters["commands"]
        for wish in (on, SwitchRequest(switch="charge", on=True, dry_run=True)):
            with pytest.raises(GateError, match=r"V below the packs beside it: about \d+ A") as no:
                await jobs.switch(Nobody(), wish)
            assert no.value.checks[0].waiver == "join"
        assert packs[2].counters["commands"] == sent
        waived = SwitchRequest(switch="charge", on=True, waive=["join"])
        assert (await jobs.switch(Nobody(), waived))["result"] == "done"
        # the other way nothing can flow in, and the others wait while one joins
        with pytest.raises(GateError, match="right is being switched on, and one pack joins"):
            await PackJobs(bench.service.packs["left"]).switch(Nobody(), on)
        await asyncio.sleep(10)
        assert (await PackJobs(bench.service.packs["left"]).switch(Nobody(), on))["result"] == (
            "done"
        )


async def test_policies_give_nothing_back_while_too_much_would_flow(file: Path) -> None:
    packs = three()[:2]
    write(file, packs, pack="enforce = true")
    for pack in packs:
        await approve(pack, policy_text("jbd"))
    async with Bench(packs).running(70) as bench:
        packs[0].set_cell_voltage(2, 3.58)
        await until(lambda: packs[0].truth().charge_switch is False, 20)
        packs[0].set_cell_voltage(2, None)
        packs[0].set_soc(2.0)
        await asyncio.sleep(200)
        assert packs[0].truth().charge_switch is False
        waits = bench.service.packs["left"].status()["acting"]["switches"]["charge"]["given_back"]
        assert "It waits: left has" in waits
        packs[0].set_soc(60.0)
        await until(lambda: packs[0].truth().charge_switch is True, 120)


async def test_without_a_service_nobody_knows_what_would_flow(file: Path) -> None:
    packs = three(protocol="jk02")
    write(file, packs)
    for target in ("left", packs[0].target):  # by its name, and by its place
        async with bmslink.connect(target) as device:
            for refused in (
                device.switch("charge", True),
                config.rehearse_switch(device, CHARGE_ON),
            ):
                with pytest.raises(GateError, match="in the bank house, and what would flow"):
                    await refused
            assert (await device.switch("charge", False)).result == "done"
            plan = await device.plan({"charge_switch": True})
            assert [check.name for check in plan.blocked] == ["join"]
            assert (await switch(device, CHARGE_ON, waive=["join"])).result == "done"
            assert (await device.switch("balance", True)).result in ("done", "nothing")


async def test_a_pack_that_is_served_without_its_name_is_in_its_bank_all_the_same(
    file: Path,
) -> None:
    packs = three(protocol="jk02")
    write(file, packs)
    bench = Bench(packs)
    bench.service = Service(load_plan([packs[0].target]))
    async with bench.running():
        (served,) = bench.service.packs.values()
        await PackJobs(served).switch(Nobody(), SwitchRequest(switch="charge", on=False))
        with pytest.raises(GateError, match="in the bank house"):
            await PackJobs(served).switch(Nobody(), SwitchRequest(switch="charge", on=True))
        assert bench.bank.status()["failed"] == "None of its packs is served here."


async def test_a_reload_puts_a_pack_into_a_bank_and_another_board_is_none_of_it(
    file: Path,
) -> None:
    packs = three()
    write(file, packs, banked=2)
    async with Bench(packs).running() as bench:
        right = bench.service.packs["right"]
        assert right.board.joins is None
        before = bench.bank.status()["ccl"]["value"]
        write(file, packs)
        await bench.service.reload()
        assert right.board.joins is not None
        assert bench.service.banks.of("right") is bench.bank
        await asyncio.sleep(20)
        joined = bench.bank.status()["ccl"]["value"]
        assert joined > before
        right.known.other = "another serial number"
        await asyncio.sleep(3)
        found = bench.bank.status()["packs"][2]
        assert (found["fresh"], found["conducts"]["charge"]) == (False, None)
        assert bench.bank.status()["ccl"]["value"] < joined  # what it takes is not known


async def test_a_mistake_with_a_bank_is_its_own(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packs = three()
    write(file, packs)
    async with Bench(packs).running() as bench:
        with monkeypatch.context() as patched:
            patched.setattr("bmslink.runtime.banks.served_bank.Member", None)
            await asyncio.sleep(5)
            assert bench.bank.decision is None
            assert len(bench.told("trouble")) == 1
            assert all(pack.health.state == "ok" for pack in bench.service.packs.values())
            assert bench.service.packs["left"].board.joins is not None
        await asyncio.sleep(5)
        assert bench.bank.decision is not None
        assert bench.bank.failed == ""


def test_what_binds_is_told_once_it_has_lasted() -> None:
    said: list[str] = []

    def tell(what: str, text: str, **about: Any) -> None:
        said.append(f"{what} {about['key']} {about.get('by')} {about.get('over', False)}")

    teller = BankTeller("house", cast(Teller, tell))

    def bound(policy: str, pack: str) -> BankDecision:
        why = BankReason(BankCode.SHARE, 20.0, pack, "why", policy)
        return BankDecision(
            bank="house", connection="parallel", time=0.0, ccl=BankLimit(20.0, (why,))
        )

    for second in range(60):  # another one every five seconds: nothing to tell
        teller.hear(bound("charge_cold_derate", f"p{second // 5 % 2}"), second)
    assert said == []
    for second in range(60, 90):
        teller.hear(bound("charge_cold_derate", "p1"), second)
    assert said == ["limit bank/house/ccl p1 False"]
    for second in range(90, 120):
        teller.hear(bound("rating", "p1"), second)
    assert said[1:] == ["limit bank/house/ccl None True"]
