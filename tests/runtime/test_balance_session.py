"""A balancing session with our own line: refused before anything is sent, set back at every end."""

from __future__ import annotations

import asyncio
import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import bmslink
import crash_session
from bmslink import config
from bmslink.board import Board
from bmslink.config.outcome import Outcome
from bmslink.control.sessions.kept import SessionStore
from bmslink.control.sessions.options import SessionOptions
from bmslink.errors import GateError, UsageError, VerifyError
from bmslink.link.transport import parse_target
from bmslink.model import Command, Identity, Switch
from bmslink.runtime.acting.direct import do_directly
from bmslink.runtime.acting.limit_sinks import LineSink
from bmslink.runtime.acting.mailbox import ask_run, run_at
from bmslink.runtime.acting.people import ActingWish
from bmslink.runtime.sessions.host import DirectHost
from bmslink.runtime.sessions.looking import Looked
from bmslink.runtime.sessions.session import BalanceSession, RestoreError
from bmslink.storage.journal import Journal
from bmslink.testing import SimulatedPack
from cli_support import Cli
from served_support import until

STOP = ActingWish(do="stop", why="fire")


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("STATE", "JOURNAL", "RUNTIME"):
        monkeypatch.setenv(f"BMSLINK_{name}", str(tmp_path / name.lower()))


def _pack(protocol: str = "jk-modbus", **more: Any) -> SimulatedPack:
    about: dict[str, Any] = {
        "cells": 8, "capacity": 20.0, "soc": 97.0, "imbalance": 60.0, "load": "supply:4:28.2",
        "speed": 20.0,
    }  # fmt: skip
    return SimulatedPack(protocol, **{**about, **more})


async def _balance(pack: SimulatedPack, **more: Any) -> dict[str, Any]:
    async with bmslink.connect(pack.target) as device:
        options = {"chemistry": "lfp", "capacity": 20.0, "interval": 1.0}
        return await device.balance_session(**{**options, **more})


def _sent() -> bool:
    return any(record["event"] == "begin" for record in Journal().records())


# -- before --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("about", "asked", "told"),
    [
        ({}, {"chemistry": None}, "Nobody says what the cells are"),
        ({"protocol": "jk04"}, {}, "does not say how much current flows"),
        ({"soc": 90.0}, {"top": 3.37}, "balancing means something from"),
    ],
)
async def test_it_is_refused_before_anything_is_sent(
    about: dict[str, Any], asked: dict[str, Any], told: str
) -> None:
    with pytest.raises(GateError, match=told):
        await _balance(_pack(**about), **asked)
    assert not _sent()


async def test_a_cold_a_dead_and_a_protected_pack_are_refused() -> None:
    pack = _pack(load="idle")
    pack.set_temperature("cell_1", -2.0)
    with pytest.raises(GateError, match="-2 to 25 °C: below 3 °C they are not charged"):
        await _balance(pack)
    pack.set_temperature("cell_1", None)
    pack.set_cell_voltage(3, 0.0)
    with pytest.raises(GateError, match=r"cell 3 shows 0\.000 V, which no cell has"):
        await _balance(pack)
    assert not _sent()


async def test_a_stop_that_holds_refuses_it() -> None:
    pack = _pack(load="idle")
    async with bmslink.connect(pack.target) as device:
        await do_directly(device.board, ActingWish(do="stop", why="fire"), "ben")
    with pytest.raises(GateError, match="ben stopped the pack"):
        await _balance(pack)


async def test_wrong_options_are_told_before_anything_is_asked() -> None:
    for asked, told in (({"target": 1.0}, "target is 0.003 to 0.05 V"), ({"toop": 3.5}, "toop")):
        with pytest.raises(UsageError, match=told):
            await _balance(_pack(), **asked)


def test_a_dry_run_shows_the_plan_and_sends_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    pack = _pack("jbd")
    found = Cli(capsys).hurried(
        "balance", "session", pack.target, "--chemistry", "lfp", "--dry-run", "--json"
    )
    assert found.code == 0, found.err
    looked = json.loads(found.out)["balance"]
    assert looked["plan"]["settings"] == {"balance_delta": 0.005}
    assert looked["change"]["frames"]
    assert not looked["refused"]
    assert not _sent()


def test_nobody_agreed(capsys: pytest.CaptureFixture[str]) -> None:
    pack = _pack()
    found = Cli(capsys).hurried("balance", "session", pack.target, "--chemistry", "lfp")
    assert found.code == 3
    assert "--yes agrees beforehand" in found.err
    assert not _sent()


# -- ends ----------------------------------------------------------------------------------------


async def test_whoever_interrupts_it_gets_everything_back() -> None:
    pack = _pack()
    before = pack.settings
    task = asyncio.ensure_future(_balance(pack))
    await until(lambda: pack.settings["balance_delta"] == 0.005, 200)
    task.cancel()
    await asyncio.sleep(0.5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert pack.settings == before
    assert not [*SessionStore().all()]


async def test_a_setting_of_somebody_else_is_left_and_said() -> None:
    pack = _pack()
    task = asyncio.ensure_future(_balance(pack))
    await until(lambda: pack.settings["balance_delta"] == 0.005, 200)
    await asyncio.sleep(20)
    with pack._device.lock:  # an app
        pack._device.pack.settings["balance_delta"] = 0.02
        pack._device.pack.settings["cell_ovp"] = 3.6
    (kept,) = SessionStore().all()
    SessionStore().cancel(kept, "ben")
    report = await task
    assert report["result"] == "cancelled"
    assert report["text"] == "ben cancelled it."
    assert not report["set_back"]["restored"]
    (left,) = report["set_back"]["left"]
    assert left.startswith("balance_delta is 0.02: somebody else set it. It was 0.01 before")
    assert report["set_back"]["changed_elsewhere"] == ["cell_ovp is 3.6, and was 3.65"]
    assert pack.settings["balance_delta"] == 0.02


async def test_one_that_could_not_begin_does_not_claim_to_have_changed_anything(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Between the plan and the change a protection began."""
    pack = _pack("daly-a5", load="idle")
    before = pack.settings

    async def looked(session: BalanceSession) -> Looked:
        found = await prepare(session)
        pack.fault("condition:cell_overvoltage")
        return found

    prepare = BalanceSession.prepare
    monkeypatch.setattr(BalanceSession, "prepare", looked)
    report = await _balance(pack)
    assert report["result"] == "failed"
    assert "Nothing was sent." in report["text"]
    assert (report["writes"], report["set_back"]["settings"]) == (0, [])
    assert pack.settings == before


async def test_a_board_that_cannot_be_reached_is_set_back_later() -> None:
    pack = _pack()
    before = pack.settings
    task = asyncio.ensure_future(_balance(pack))
    await until(lambda: pack.settings["balance_delta"] == 0.005, 200)
    await asyncio.sleep(20)
    pack.fault("silent")
    (kept,) = SessionStore().all()
    SessionStore().cancel(kept, "ben")
    with pytest.raises(RestoreError, match=r"balance_delta = 0.005 \(was 0.01\).* --restore"):
        await task
    (kept,) = SessionStore().all()
    assert kept.end is not None
    with pytest.raises(GateError, match="was cut off"):
        pack.repair("silent")
        await _balance(pack)
    assert pack.settings != before


def test_one_that_was_killed_is_told_and_set_back(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Killed: its file is there, and the board holds what it set."""
    pack, cli = _pack(), Cli(capsys)
    before = pack.settings
    looked = cli.hurried("balance", "status", pack.target)
    assert "none is known" in looked.out

    async def killed() -> None:
        task = asyncio.ensure_future(_balance(pack))
        await until(lambda: pack.settings["balance_delta"] == 0.005, 200)
        (kept,) = SessionStore().all()
        (tmp_path / "kept").write_text(kept.id)
        pack.fault("silent")
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        pack.repair("silent")

    from virtual_time import virtual_run

    virtual_run(killed())
    assert pack.settings != before
    found = cli.hurried("read", pack.target)
    assert "was cut off" in found.err
    shown = cli.hurried("balance", "status", pack.target)
    assert shown.code == 5
    assert "balance_delta is 0.005 meanwhile, and 0.01 otherwise." in shown.out
    found = cli.hurried("balance", "session", pack.target, "--restore")
    assert found.code == 0, (found.out, found.err)
    assert "Everything the session set is read back as it was." in found.out
    assert pack.settings == before


async def _cut_off(pack: SimulatedPack) -> None:
    """A session that was killed: its file is there, and the board holds what it set."""
    task = asyncio.ensure_future(_balance(pack))
    await until(lambda: pack.settings["balance_delta"] == 0.005, 200)
    await asyncio.sleep(20)
    pack.fault("silent")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    pack.repair("silent")


@pytest.mark.parametrize("protocol", ["jk-modbus", "jbd", "daly-a5"])
async def test_nothing_else_is_set_before_a_session_is_set_back(protocol: str) -> None:
    pack = _pack(protocol)
    before = pack.settings
    async with bmslink.connect(pack.target) as device:
        table = await device.board.settings()
        backup = config.make_backup(pack.target, await device.identify(), table)
    await _cut_off(pack)
    async with bmslink.connect(pack.target) as device:
        for raw, wanted in ((None, {"cell_ovp": 3.63}), (backup, {})):
            plan = await config.draft(device, wanted, raw=raw, chemistry="lfp")
            (failed,) = [check for check in plan.blocked if check.name == "session"]
            assert "balance session" in failed.sentence
            assert "--restore` sets it back" in failed.sentence
            with pytest.raises(GateError, match="was cut off"):
                await config.apply(device, plan)
        with pytest.raises(GateError, match="was cut off"):
            await config.undo(device)
        with pytest.raises(UsageError, match="Nothing waives the check session"):
            await config.draft(device, {"cell_ovp": 3.63}, waive=["session"])
        if protocol != "daly-a5":
            pack._device.pack.switch(Switch.BALANCE, on=False)  # an app
            with pytest.raises(GateError, match="was cut off"):
                await config.switch(device, Command(Switch.BALANCE, True))
            pack._device.pack.switch(Switch.BALANCE, on=True)
        if protocol == "jk-modbus":  # what no session touches is a person's
            await config.switch(device, Command(Switch.CHARGE, False))
            done = await config.switch(device, Command(Switch.CHARGE, True), waive=["load"])
            assert done.result == "done"
    assert pack.settings != before
    async with bmslink.connect(pack.target) as device:
        session = BalanceSession(DirectHost(device.board, interval=1.0))
        session.take_up(next(SessionStore().all()))
        await session.restore()
        assert pack.settings == before
        assert not (await config.draft(device, {"balance_delta": 0.02})).blocked


async def test_the_balancer_that_was_off_is_on_meanwhile_and_off_again() -> None:
    pack = _pack("jbd")
    pack._device.pack.switch(Switch.BALANCE, on=False)
    report = await _balance(pack)
    assert report["done"]
    assert pack.truth().balance_switch is False
    assert {row["key"]: row["restored"] for row in report["set_back"]["settings"]} == {
        "balance_delta": True,
        "balance_switch": True,
    }


async def test_what_was_cut_off_before_it_was_set_is_set_when_it_goes_on() -> None:
    pack = _pack()
    before = pack.settings
    task = asyncio.ensure_future(_balance(pack))
    await until(lambda: any(SessionStore().all()), 200)
    (kept,) = SessionStore().all()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert pack.settings == before
    SessionStore().save(kept)  # as if it had been killed there
    async with bmslink.connect(pack.target) as device:
        host = DirectHost(device.board, interval=1.0)
        session = BalanceSession(host)
        session.take_up(kept)
        running = asyncio.ensure_future(session.run())
        await until(lambda: pack.settings["balance_delta"] == 0.005, 200)
        report = await running
        await host.close()
    assert report.done
    assert pack.settings == before


@pytest.mark.slow
@pytest.mark.parametrize(
    ("protocol", "awaits"),
    [("jk-modbus", 2500), ("jk02", 1100), ("daly-a5", 2300), ("jbd", 5100)],
)
def test_killed_at_an_await(protocol: str, awaits: int) -> None:
    """A sample; `tools/crash_session.py` takes every await of every dialect."""
    chosen = {*random.Random(protocol).sample(range(60, awaits), 8)}
    found = dict(crash_session.every(protocol, chosen.__contains__))
    assert len(found) >= 5
    assert not {point: each.broken for point, each in found.items() if each.broken}


# -- reached from elsewhere ------------------------------------------------------------------------


async def _running(pack: SimulatedPack) -> asyncio.Task[dict[str, Any]]:
    """A session at the top, and what elsewhere knows of it."""
    task = asyncio.ensure_future(_balance(pack))
    await until(lambda: pack.settings["balance_delta"] == 0.005, 200)
    await asyncio.sleep(20)
    found = run_at(parse_target(pack.target))
    assert found is not None
    assert (found.target, found.session) == (pack.target, True)
    return task


@pytest.mark.parametrize("protocol", ["jk-modbus", "jbd", "daly-a5"])
async def test_a_stop_from_elsewhere_reaches_it(protocol: str) -> None:
    pack = _pack(protocol)
    before = pack.settings
    task = await _running(pack)
    loop = asyncio.get_running_loop()
    began = loop.time()
    asked = asyncio.ensure_future(ask_run(pack.target, STOP, "ben", answers=30.0))
    await until(lambda: not pack.truth().charging_allowed, 5)
    assert loop.time() - began <= 1.5, "the off waits for nothing of the session"
    (done,) = await asked
    assert "emergency stop by ben" in done
    report = await task
    assert (report["result"], report["text"]) == ("stopped", "ben stopped the pack.")
    assert report["set_back"]["restored"]
    assert report["set_back"]["changed_elsewhere"] == []
    assert not pack.truth().charging_allowed
    assert not pack.truth().discharging_allowed
    after = pack.settings
    assert {key: after[key] for key in before} == before
    assert run_at(parse_target(pack.target)) is None


async def test_a_stop_that_is_not_read_back_is_said() -> None:
    pack = _pack()
    task = await _running(pack)
    pack.fault("command_no_effect:charge")
    with pytest.raises(VerifyError, match="charge did not read back as off"):
        await ask_run(pack.target, STOP, "ben", answers=30.0)
    report = await task
    assert report["result"] == "stopped"


async def test_an_off_from_elsewhere_reaches_it_and_an_on_is_refused() -> None:
    pack = _pack("jbd")
    before = pack.settings
    task = await _running(pack)
    async with bmslink.connect(pack.target) as device:
        with pytest.raises(GateError, match="a balancing session has the pack"):
            await config.switch(device, Command(Switch.CHARGE, True))
        outcome = await config.switch(device, Command(Switch.CHARGE, False))
    assert outcome.result == "done"
    assert "the balancing session of the pack sent it" in outcome.sentence
    assert not pack.truth().charging_allowed
    report = await task
    assert report["result"] == "switched"
    assert pack.settings == before
    with pytest.raises(GateError, match="Charging is switched off"):
        await _balance(pack)


async def _set_back(pack: SimulatedPack) -> dict[str, Any]:
    async with bmslink.connect(pack.target) as device:
        host = DirectHost(device.board, interval=1.0)
        session = BalanceSession(host)
        session.take_up(next(SessionStore().all()))
        try:
            return (await session.restore()).to_dict()
        finally:
            await host.close()


@pytest.mark.parametrize("protocol", ["jk-modbus", "daly-a5"])
async def test_what_somebody_sets_after_setting_back_was_cut_off_is_theirs(protocol: str) -> None:
    pack = _pack(protocol)
    await _cut_off(pack)
    task = asyncio.ensure_future(_set_back(pack))
    await until(lambda: pack.settings["balance_delta"] == 0.01, 200)
    pack.fault("silent")  # what was written cannot be read back
    with pytest.raises(RestoreError):
        await task
    pack.repair("silent")
    with pack._device.lock:  # an app
        pack._device.pack.settings["balance_delta"] = 0.02
    report = await _set_back(pack)
    (left,) = report["set_back"]["left"]
    assert left.startswith("balance_delta is 0.02: somebody else set it.")
    assert pack.settings["balance_delta"] == 0.02
    assert not [*SessionStore().all()]
    async with bmslink.connect(pack.target) as device:
        assert await config.unfinished(device) is None


async def test_a_cycle_that_the_board_counts_meanwhile_is_no_change_of_settings() -> None:
    pack = _pack("jbd")
    task = asyncio.ensure_future(_balance(pack))
    await until(lambda: pack.settings["balance_delta"] == 0.005, 200)
    body = pack._device.pack
    with pack._device.lock:  # before the write is proven
        body._throughput += 1.5 * body.capacity
    report = await task
    assert report["done"], report["text"]
    assert report["set_back"]["changed_elsewhere"] == []


async def test_a_serial_number_that_arrives_cut_short_is_asked_for_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """At the beginning, where a session would be kept under it, and at the end."""
    pack, cut = _pack("daly-a5"), [True, False, False]
    before = pack.settings
    identify = Board.identify

    async def answered(board: Board) -> Identity:
        found = await identify(board)
        short = (found.serial_number or "")[:7]
        return replace(found, serial_number=short) if cut and cut.pop(0) else found

    monkeypatch.setattr(Board, "identify", answered)
    task = asyncio.ensure_future(_balance(pack))
    await until(lambda: pack.settings["balance_delta"] == 0.005, 200)
    (kept,) = SessionStore().all()
    assert kept.pack == "Daly SIM64298310"
    await asyncio.sleep(20)
    SessionStore().cancel(kept, "ben")
    cut[:] = [True, True]
    report = await task
    assert report["set_back"]["restored"]
    assert pack.settings == before


async def test_another_board_at_its_place_is_not_touched() -> None:
    pack = _pack("daly-a5")
    await _cut_off(pack)
    (kept,) = SessionStore().all()
    SessionStore().save(kept.with_(pack="Daly 1"))
    with pytest.raises(RestoreError, match=r"Daly SIM64298310 answers, and .* is of Daly 1"):
        async with bmslink.connect(pack.target) as device:
            session = BalanceSession(DirectHost(device.board, interval=1.0))
            session.take_up(kept.with_(pack="Daly 1"))
            await session.restore()
    assert pack.settings["balance_delta"] == 0.005


async def test_a_charger_that_hears_nothing_is_said_once() -> None:
    pack, told = _pack(), list[str]()
    async with bmslink.connect(pack.target) as device:
        stuck = [0.0]
        sink = LineSink(lambda line: None, lambda: stuck[0])
        host = DirectHost(
            device.board, interval=1.0, sinks=[sink],
            tell=lambda what, text, alarm: told.append(what),
        )  # fmt: skip
        session = BalanceSession(host, SessionOptions(chemistry="lfp", capacity=20.0))
        await session.prepare()
        task = asyncio.ensure_future(session.run())
        await until(lambda: pack.settings["balance_delta"] == 0.005, 200)
        await asyncio.sleep(5)
        assert "charger" not in told
        stuck[0] = 3600.0
        await asyncio.sleep(10)
        session.cancel("ben")
        await task
        await host.close()
    assert told.count("charger") == 1


async def test_that_the_balancer_is_switched_is_on_the_disk_before_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It was on and good: only heat makes the session switch it, in the middle."""
    pack, kept_then = _pack("jk-modbus"), list[bool]()
    switch = DirectHost.switch

    async def seen(host: DirectHost, on: bool) -> Outcome:
        kept_then.append(next(SessionStore().all()).switched)
        return await switch(host, on)

    monkeypatch.setattr(DirectHost, "switch", seen)
    task = asyncio.ensure_future(_balance(pack))
    await until(lambda: pack.settings["balance_delta"] == 0.005, 200)
    assert not next(SessionStore().all()).switched
    await until(lambda: bool(pack.truth().balancing_active), 200)
    pack.set_temperature("mosfet", 72.0)
    await until(lambda: pack.truth().balance_switch is False, 200)
    pack.set_temperature("mosfet", None)
    report = await task
    assert report["done"]
    assert kept_then[0] is True
    assert pack.truth().balance_switch is True
    assert {row["key"]: row["restored"] for row in report["set_back"]["settings"]} == {
        "balance_delta": True,
        "balance_switch": True,
    }
