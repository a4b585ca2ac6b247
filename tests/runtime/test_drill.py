"""`control drill` and what a killed one leaves behind, on simulated boards of every vendor."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

import bmslink
from acting_support import VENDORS, approve, enforced, policy_text
from bmslink.control.act.store import LedgerStore
from bmslink.errors import GateError
from bmslink.model import Command, Switch
from bmslink.runtime.acting.direct import do_directly
from bmslink.runtime.acting.drill import Drill, DrillReport
from bmslink.runtime.acting.orphans import Orphans, orphans
from bmslink.runtime.acting.people import ActingWish
from bmslink.runtime.acting.start import lock_acting
from bmslink.served_board import ServedBoard
from bmslink.storage.journal import Journal, JournalError
from bmslink.testing import SimulatedPack
from cli_support import Cli
from served_support import served, until


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BMSLINK_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("BMSLINK_JOURNAL", str(tmp_path / "journal"))


def _resting(protocol: str) -> SimulatedPack:
    pack = SimulatedPack(protocol, cells=4)
    pack.set_load(0)
    return pack


def _on(pack: SimulatedPack) -> dict[str, bool | None]:
    truth = pack.truth()
    return {"charge": truth.charge_switch, "discharge": truth.discharge_switch}


async def _drill(pack: SimulatedPack, power: str | None = "other", **more: Any) -> DrillReport:
    async with bmslink.connect(pack.target) as device:
        drill = Drill(device.board, host_power=power, **more)
        await drill.prepare()
        return await drill.run()


async def _orphans(pack: SimulatedPack) -> Orphans:
    async with bmslink.connect(pack.target) as device:
        return await orphans(device.board)


@pytest.mark.parametrize("protocol", VENDORS)
async def test_each_switch_is_measured_and_left_as_it_was(protocol: str):
    pack = _resting(protocol)
    report = await _drill(pack)
    rows = {row.switch: row for row in report.rows}
    assert report.passed
    for name in ("charge", "discharge"):
        assert rows[name].result == "passed"
        assert rows[name].off_s is not None
        assert 0 < rows[name].off_s < 3
        assert rows[name].restored is True
    assert _on(pack) == {"charge": True, "discharge": True}
    ends = [r for r in Journal().records() if r["event"] == "drill" and r["phase"] == "end"]
    assert {r["switch"]: r["result"] for r in ends}["charge"] == "passed"
    assert not (await _orphans(pack)).rows


async def test_a_drill_whose_end_cannot_be_written_says_so(monkeypatch: pytest.MonkeyPatch):
    pack, append = _resting("jbd"), Journal.append

    def full(journal: Journal, event: str, **data: Any) -> None:
        if data.get("phase") == "end":
            raise JournalError("The disk is full.")
        append(journal, event, **data)

    monkeypatch.setattr(Journal, "append", full)
    (row,) = (await _drill(pack, switches=[Switch.CHARGE])).rows
    assert (row.result, row.restored) == ("passed", True)
    assert "The disk is full. So the journal does not say that the drill of charge is" in row.note
    assert (await _orphans(pack)).rows == ()


@pytest.mark.parametrize("protocol", VENDORS)
async def test_a_killed_drill_is_found_and_said(protocol: str, monkeypatch: pytest.MonkeyPatch):
    pack = _resting(protocol)

    async def killed(*_: object) -> None:
        raise OSError("killed")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="killed"):
        patch.setattr(Drill, "_end", killed)
        await _drill(pack, switches=[Switch.CHARGE])
    assert _on(pack) == {"charge": False, "discharge": True}
    (row,) = (await _orphans(pack)).rows
    assert (row.switch, row.by, row.shown, row.source) == ("charge", "drill", False, "journal")
    assert row.since is not None
    assert row.command == f"bmslink switch '{pack.target}' charge on"
    with pytest.raises(GateError, match=r"a drill by .* ended before it was on again"):
        await _drill(pack)
    async with bmslink.connect(pack.target) as device:
        await device.switch(Command(Switch.CHARGE, True))
    assert not (await _orphans(pack)).rows
    assert (await _drill(pack, switches=[Switch.CHARGE])).passed


@pytest.mark.parametrize("protocol", VENDORS)
async def test_who_ends_it_twice_gets_the_switch_back(protocol: str):
    pack = _resting(protocol)
    task = asyncio.ensure_future(_drill(pack))
    for _ in range(10_000):
        if not _on(pack)["charge"]:
            break
        await asyncio.sleep(0.01)
    assert not task.done()
    task.cancel()
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert _on(pack) == {"charge": True, "discharge": True}
    assert not (await _orphans(pack)).rows


async def test_a_board_that_ignores_it_fails():
    pack = _resting("jbd")
    pack.ignore_commands("charge", acknowledged=True)
    rows = (await _drill(pack, switches=[Switch.CHARGE])).rows
    assert (rows[0].result, rows[0].off_s, rows[0].restored) == ("failed", None, True)
    assert "the board never showed it" in rows[0].why


async def test_one_that_obeys_late_is_still_switched_on():
    """The off takes effect after the drill gave it up."""
    pack = _resting("jbd")
    pack.delay_commands(12.0)
    report = await _drill(pack, switches=[Switch.CHARGE])
    await asyncio.sleep(60)
    assert not report.passed
    assert _on(pack)["charge"] is True


async def test_what_refuses():
    pack = _resting("jbd")
    with pytest.raises(GateError, match='host_power is "pack"'):
        await _drill(pack, "pack", switches=[Switch.DISCHARGE])
    with pytest.raises(GateError, match="nobody says what feeds this computer"):
        await _drill(pack, None, switches=[Switch.DISCHARGE])
    left = {row.switch: row.result for row in (await _drill(pack, "pack")).rows}
    assert left == {"discharge": "left_out", "charge": "passed", "balance": "passed"}
    await approve(pack, policy_text("jbd", host_power="other"))  # then the file says it
    assert (await _drill(pack, None, switches=[Switch.DISCHARGE])).passed
    assert pack.counters["opened_under_load"] == 0
    pack.set_load(-20.0)
    with pytest.raises(GateError, match=r"discharging with 20\.0 A"):
        await _drill(pack)
    pack.set_load(20.0)
    with pytest.raises(GateError, match=r"charging with 20\.0 A"):
        await _drill(pack)
    pack.set_load(0)
    pack.set_condition("cell_overvoltage", "protection")
    with pytest.raises(GateError, match="the BMS protects"):
        await _drill(pack)
    pack.set_condition("cell_overvoltage", None)
    pack.set_switch("charge", False)
    with pytest.raises(GateError, match="charge is off"):
        await _drill(pack, switches=[Switch.CHARGE])


async def test_nothing_else_may_act_meanwhile():
    pack = _resting("jbd")
    async with bmslink.connect(pack.target) as device:
        drill = Drill(device.board, host_power="other")
        await drill.prepare()
        lock = lock_acting(drill.key)
        assert lock is not None
        before = pack.counters["commands"]
        with pytest.raises(GateError, match="another program on this machine acts"):
            await drill.run()
    assert pack.counters["commands"] == before


@pytest.mark.parametrize("protocol", VENDORS)
async def test_what_policies_hold_off_is_an_orphan_when_the_host_is_gone(protocol: str):
    async with enforced(protocol) as bench:
        bench.pack.set_cell_voltage(2, 3.58)
        await bench.until(lambda: not bench.on("charge"), 30)
        await bench.until(lambda: bench.switch("charge")["command"]["read_back"], 5)
    pack = bench.pack
    (sent,) = [r for r in Journal().records() if r.get("what") == "command" and r["on"] is False]
    about = {key: sent[key] for key in ("what", "actuator", "on", "id")}
    Journal().append("acting", **about, target="sim://other", why="another pack's first order")
    (row,) = (await _orphans(pack)).rows
    assert (row.switch, row.by, row.source, row.shown) == ("charge", "policy", "ledger", False)
    assert "at or above 3.550 V" in row.why
    assert row.since == sent["time"]
    pack.set_load(0)
    with pytest.raises(GateError, match="charge is held off by"):
        await _drill(pack)
    assert row.command == (
        f"bmslink control reset '{pack.target}' && bmslink switch '{pack.target}' charge on"
    )
    async with bmslink.connect(pack.target) as device:
        await do_directly(device.board, ActingWish(do="reset"), "anna")
        await device.switch(Command(Switch.CHARGE, True))
    pack.set_cell_voltage(2, None)
    assert (await _drill(pack, switches=[Switch.CHARGE])).passed  # a person gave it back
    pack.set_switch("charge", False)
    ledger = next(LedgerStore("x").file.parent.glob("*.json"))
    ledger.unlink()  # a new machine, or a disk that lost it: the journal says it
    (row,) = (await _orphans(pack)).rows
    assert (row.by, row.source) in {("policy", "journal"), ("unknown", "board")}


def test_the_commands(capsys: pytest.CaptureFixture[str]):
    cli = Cli(capsys)
    quick = "sim://jbd?gap=0&cells=4&load=0"
    declined = cli("control", "drill", quick)
    assert (declined.code, "nobody was there to agree" in declined.err) == (3, True)
    assert "nobody says what feeds this computer" in declined.err
    (found,) = cli("control", "drill", quick, "--only", "charge", "--yes", "--json").objects
    assert found["drill"]["passed"] is True
    assert found["drill"]["switches"][0]["switch"] == "charge"
    clear = cli("control", "status", "--orphans", quick)
    assert (clear.code, "holds nothing off" in clear.out) == (0, True)


async def test_a_served_pack_is_drilled_by_its_service() -> None:
    """Asked for as without one: first what would be switched, then it; and what is off is told by
    the ledger and the journal of the service."""
    pack = SimulatedPack("jbd", cells=4, load=0.0)
    async with served(pack.target) as service, bmslink.connect(pack.target) as device:
        assert isinstance(device.board, ServedBoard)
        plan = Drill(device.board)
        await plan.prepare()
        assert plan.tried == ("charge", "balance")
        assert "host_power" in plan.left["discharge"]
        report = await plan.run()
        assert report.passed
        assert [row.result for row in report.rows] == ["left_out", "passed", "passed"]
        assert pack.counters["commands"] == 4
        assert not (await orphans(device.board)).rows
        served_pack = next(iter(service.packs.values()))
        await served_pack.act(ActingWish(do="stop"), "anna")
        found = (await orphans(device.board)).rows
        assert {(row.by, row.source) for row in found} == {("emergency stop", "ledger")}
        assert all(row.command.startswith("bmslink control reset ") for row in found)
        with pytest.raises(GateError, match="it was stopped"):
            await Drill(device.board).prepare()
        await served_pack.act(ActingWish(do="reset"), "bob")
        for row in (await orphans(device.board)).rows:
            said = "emergency stop by anna, which was reset since"
            assert (row.by, row.why) == ("emergency stop", said)
            assert row.command.startswith("bmslink switch ")


async def test_an_off_ends_a_drill_of_a_service_and_is_not_undone_by_it() -> None:
    pack = SimulatedPack("jbd", cells=4, load=0.0)
    async with served(pack.target) as service, bmslink.connect(pack.target) as device:
        plan = Drill(device.board, switches=[Switch.CHARGE])
        await plan.prepare()
        running = asyncio.create_task(plan.run())
        await until(lambda: not pack.truth().charge_switch)  # the drill has switched it off
        await next(iter(service.packs.values())).act(ActingWish(do="stop", why="smoke"), "anna")
        report = await running
        assert not report.passed
        assert "Somebody switched off meanwhile" in report.rows[0].why
        await asyncio.sleep(30)
        assert not pack.truth().charge_switch
        assert not pack.truth().discharge_switch
