"""The service and every fault that an owner's year brings, in virtual time on simulated packs."""

from __future__ import annotations

import asyncio
import itertools
import json
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bmslink.control.decide.catalogue import default_policies
from bmslink.link.transport import parse_target
from bmslink.runtime.feed import PackEvent
from bmslink.runtime.service import Service
from bmslink.runtime.service_file import PackPlan, PolicyFile, ServicePlan
from bmslink.storage.state import StateFolder
from control_support import LFP
from plugs import Plug, plugged_board
from served_support import until
from service_support import serving


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BMSLINK_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("BMSLINK_JOURNAL", str(tmp_path / "journal"))


POLICIES = PolicyFile("lfp.toml", "0" * 64, default_policies(LFP))


def plan_of(name: str, protocol: str = "jbd", **more: Any) -> PackPlan:
    target = f"{protocol}+serial:///dev/{name}"
    return PackPlan(name=name, target=target, endpoint=parse_target(target), **more)


class Bench:
    """A service whose packs are behind ports of this test."""

    def __init__(self, *plans: PackPlan, shares: bool = False) -> None:
        self.plugs = {plan.name: Plug(f"/dev/{plan.name}") for plan in plans}
        if shares:
            one = next(iter(self.plugs.values()))
            self.plugs = dict.fromkeys(self.plugs, one)
        self.events: list[tuple[str, str]] = []
        self.told: list[PackEvent] = []
        self.readings: list[tuple[float, str]] = []
        self.service = Service(ServicePlan(plans), make=lambda plan: self.board(plan, shares))

    def board(self, plan: PackPlan, shares: bool) -> Any:
        plug = self.plugs.setdefault(plan.name, Plug(f"/dev/{plan.name}"))
        return plugged_board(plan, plug, shares=shares)

    async def _listen(self) -> None:
        loop = asyncio.get_running_loop()
        with self.service.feed.subscribe(size=100_000) as news:
            async for item in news:
                if isinstance(item.data, PackEvent):
                    self.events.append((item.pack, item.data.what))
                    self.told.append(item.data)
                elif item.kind == "reading":
                    self.readings.append((loop.time(), item.pack))

    def what(self, name: str) -> list[str]:
        return [what for pack, what in self.events if pack == name]

    def times(self, name: str) -> list[float]:
        return [time for time, pack in self.readings if pack == name]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Bench]:
        async with serving(self.service, self._listen):
            yield self


def permitted(bench: Bench, name: str) -> bool:
    decision = bench.service.packs[name].decision
    return decision is not None and decision.discharge.allowed


async def test_a_port_that_is_missing_at_the_start_is_waited_for_and_the_pack_is_blind() -> None:
    bench = Bench(plan_of("a", policies=POLICIES))
    async with bench.running():
        pack = bench.service.packs["a"]
        await asyncio.sleep(100)
        assert (pack.health.state, pack.reading) == ("lost", None)
        assert "There is no port /dev/a" in pack.health.error
        assert pack.decision is not None and pack.decision.stale
        assert pack.decision.limits.dcl.value == pack.decision.limits.ccl.value == 0
        assert bench.service.healthy, "a missing port is no hang"
        bench.plugs["a"].insert("jbd")
        await asyncio.sleep(45)
        assert pack.health.state == "ok"
        assert permitted(bench, "a")
    told = bench.what("a")
    assert (told[0], told.count("lost"), told.count("ok")) == ("lost", 1, 1)


async def test_a_pulled_cable_is_opened_again_with_longer_and_longer_pauses() -> None:
    bench = Bench(plan_of("a"), plan_of("b"))
    for plug in bench.plugs.values():
        plug.insert("jbd")
    async with bench.running():
        await asyncio.sleep(10)
        device = bench.plugs["a"].device
        bench.plugs["a"].pull()
        await asyncio.sleep(200)
        assert bench.service.packs["a"].health.state == "lost"
        bench.plugs["a"].device = device
        await asyncio.sleep(40)
        assert bench.service.packs["a"].health.state == "ok"
        link = bench.service.packs["a"].status()["health"]["link"]
    assert link["openings"] == 2
    assert link["requests"] - 1 <= link["answers"] > 20
    assert len(bench.times("b")) > 240, "the other pack noticed nothing"
    assert bench.what("b") == ["ok"]


async def test_another_board_pauses_the_policies_until_a_person_confirms_it() -> None:
    bench = Bench(plan_of("a", "jk02", policies=POLICIES))
    first = bench.plugs["a"].insert("jk02", seed=1)
    async with bench.running():
        pack = bench.service.packs["a"]
        await asyncio.sleep(20)
        assert permitted(bench, "a")
        bench.plugs["a"].pull()
        bench.plugs["a"].insert("jk02", seed=2)
        await asyncio.sleep(60)
        assert pack.health.state == "replaced"
        assert "serial number" in pack.health.error
        assert pack.decision is not None and pack.decision.stale, "policies pause"
        assert pack.reading is not None and pack.status()["age"] < 2, "it is read all the same"
        bench.plugs["a"].pull()
        bench.plugs["a"].device = first
        await asyncio.sleep(60)
        assert pack.health.state == "ok" and not pack.known.other
        bench.plugs["a"].pull()
        bench.plugs["a"].insert("jk02", seed=2)
        await asyncio.sleep(60)
        assert pack.confirm() and not pack.confirm()
        await asyncio.sleep(20)
        assert permitted(bench, "a")
    told = [what for what in bench.what("a") if what.startswith("board_")]
    assert told == ["board_replaced", "board_back", "board_replaced", "board_confirmed"]


async def test_another_board_after_a_restart_of_the_service_is_found_too() -> None:
    for seed, state in ((1, "ok"), (2, "replaced"), (1, "ok")):
        bench = Bench(plan_of("a", "jk02"))
        bench.plugs["a"].insert("jk02", seed=seed)
        async with bench.running():
            await asyncio.sleep(20)
            assert bench.service.packs["a"].health.state == state


@pytest.mark.parametrize("protocol", ["jk02", "jbd", "daly-a5"])
async def test_another_board_behind_the_same_adapter_is_found_before_it_is_judged(
    protocol: str,
) -> None:
    bench = Bench(plan_of("a", protocol, policies=POLICIES))
    plug = bench.plugs["a"]
    first = plug.insert(protocol, cells=16, seed=1)
    async with bench.running():
        pack = bench.service.packs["a"]
        await asyncio.sleep(20)
        judged = []
        assert pack.judge.policies is not None
        step = pack.judge.policies.step
        pack.judge.policies.step = lambda reading, now: judged.append(reading) or step(reading, now)
        first.faults.enable("silent")
        await asyncio.sleep(15)
        plug.exchange(protocol, cells=14, seed=2)
        judged.clear()
        await asyncio.sleep(60)
        assert pack.health.state == "replaced"
        assert pack.status()["age"] <= 2
        assert not judged


async def test_a_mistake_in_one_pack_is_only_its_own_and_it_starts_anew(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bench = Bench(plan_of("a", policies=POLICIES), plan_of("b"))
    for plug in bench.plugs.values():
        plug.insert("jbd")
    async with bench.running():
        await asyncio.sleep(10)
        pack = bench.service.packs["a"]
        assert pack.judge.policies is not None
        engine = pack.judge.policies.engine
        engine.step = lambda *_, **__: 1 / 0
        await asyncio.sleep(10)
        assert pack.health.failures >= 1
        del engine.step
        await asyncio.sleep(40)
        assert pack.health.state == "ok"
        assert bench.service.healthy
    assert "ZeroDivisionError" in caplog.text
    assert bench.what("b") == ["ok"]
    assert len(bench.times("b")) >= 58


async def test_a_silent_pack_is_no_hang_and_a_task_that_stopped_is_one() -> None:
    bench = Bench(plan_of("a"))
    bench.plugs["a"].insert("jbd").faults.enable("silent")
    async with bench.running():
        await asyncio.sleep(600)
        assert bench.service.packs["a"].health.state == "silent"
        assert bench.service.healthy
        bench.plugs["a"].opening = 1e9
        bench.service.packs["a"].board.link.open = lambda: asyncio.sleep(1e9)
        bench.plugs["a"].pull()
        await asyncio.sleep(600)
        assert bench.service.healthy, "an opening that hangs is given up"
        bench.service._tasks["a"].cancel()
        await asyncio.sleep(1)
        assert not bench.service.healthy


async def test_a_command_goes_first_at_the_next_frame_boundary() -> None:
    """A Daly is asked eight questions a poll, 1.2 s of it: a command does not wait for that."""
    bench = Bench(plan_of("a", "daly-a5", interval=1.3))
    plug = bench.plugs["a"]
    plug.insert("daly-a5")
    async with bench.running():
        await asyncio.sleep(10)
        plug.remembers = True
        worst = 0.0
        loop = asyncio.get_running_loop()
        for _ in range(20):
            await asyncio.sleep(3.37)
            asked = loop.time()
            async with bench.service.packs["a"].turn() as board:
                worst = max(worst, loop.time() - asked)
                begun = len(plug.sent)
                await board.identify()
                assert all(b[2] in IDENTITY for _, b in plug.sent[begun:]), "no poll in between"
        assert worst <= 0.2
        await asyncio.sleep(5)
        assert bench.service.packs["a"].health.state == "ok"


async def test_commands_without_end_do_not_blind_the_policies() -> None:
    bench = Bench(plan_of("a", "daly-a5", interval=2.0, policies=POLICIES))
    bench.plugs["a"].insert("daly-a5", cells=16)
    async with bench.running():
        await asyncio.sleep(20)

        async def hammer() -> None:
            while True:
                async with bench.service.packs["a"].turn() as board:
                    await board.identify()

        hammers = [asyncio.create_task(hammer()) for _ in range(3)]
        await asyncio.sleep(120)
        for each in hammers:
            each.cancel()
        times = [time for time in bench.times("a") if time > 20]
        assert max(b - a for a, b in itertools.pairwise(times)) <= 10
        decision = bench.service.packs["a"].decision
        assert decision is not None and decision.discharge.allowed


IDENTITY = {0x50, 0x51, 0x53, 0x54, 0x57, 0x62, 0x63, 0x94, 0x5F}


async def test_off_goes_before_commands_and_polls() -> None:
    bench = Bench(plan_of("a", "daly-a5"))
    plug = bench.plugs["a"]
    plug.insert("daly-a5")
    async with bench.running():
        await asyncio.sleep(10)
        plug.remembers = True
        pack, loop = bench.service.packs["a"], asyncio.get_running_loop()

        async def command() -> None:
            async with pack.turn() as board:
                await board.settings()

        commands = [asyncio.create_task(command()) for _ in range(3)]
        await asyncio.sleep(0.5)
        asked, before = loop.time(), len(plug.sent)
        outcome = await pack.switch_off("charge")
        assert outcome.result == "done"
        later = plug.sent[before:]
        first = next(number for number, (_, data) in enumerate(later) if data[2] == 0xDA)
        assert first <= 1, "one frame was in progress at most"
        assert later[first][0] - asked <= 0.2
        await asyncio.gather(*commands)


async def test_a_silent_pack_starves_nobody_on_its_line_and_off_does_not_wait_for_it() -> None:
    plans = [plan_of(f"p{n}", interval=2.0) for n in (1, 2, 3)]
    plans = [
        replace(plan, endpoint=parse_target(f"jk-modbus+serial:///dev/bus?address={n}"))
        for n, plan in enumerate(plans, 1)
    ]
    bench = Bench(*plans, shares=True)
    plug = bench.plugs["p1"]
    plug.insert("jk-modbus", address=[1, 2])
    async with bench.running():
        await asyncio.sleep(100)
        assert bench.service.packs["p3"].health.state == "silent"
        for name in ("p1", "p2"):
            assert len(bench.times(name)) >= 40, name
        plug.remembers = True
        waits = []
        loop = asyncio.get_running_loop()
        for number in range(8):
            await asyncio.sleep(3.1 + number * 0.37)
            asked, before = loop.time(), len(plug.sent)
            await bench.service.packs["p1"].switch_off("charge" if number % 2 else "discharge")
            waits.append(next(t for t, b in plug.sent[before:] if b[:2] == b"\1\x10") - asked)
        assert max(waits) <= 0.75, "the try in progress, and the gap"
        device = plug.device
        assert device is not None
        plug.insert("jk-modbus", address=[1, 2, 3])
        bench.plugs["p1"].users[0].lose()
        await asyncio.sleep(60)  # it was silent for long, so it rests up to half a minute
        assert bench.service.packs["p3"].health.state == "ok"


async def test_many_packs_open_in_parallel() -> None:
    bench = Bench(*(plan_of(f"p{n}", "jk02") for n in range(50)))
    for plug in bench.plugs.values():
        plug.insert("jk02")
    async with bench.running():
        await asyncio.sleep(5)
        assert {pack.health.state for pack in bench.service.packs.values()} == {"ok"}


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="a time zone is set otherwise there")
async def test_the_clock_is_set_and_summer_ends_and_nothing_notices(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bench = Bench(plan_of("a", policies=POLICIES))
    bench.plugs["a"].insert("jbd")
    steps = [3600.0, -7200.0, 86400.0 * 365, -86400.0 * 365]
    shift = 0.0
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + shift)
    async with bench.running():
        await asyncio.sleep(30)
        for step in steps:
            shift += step
            monkeypatch.setenv("TZ", "Europe/Berlin" if step > 0 else "UTC")
            time.tzset()
            await asyncio.sleep(30)
            assert permitted(bench, "a")
            assert bench.service.packs["a"].status()["age"] <= 1
    times = bench.times("a")
    assert max(b - a for a, b in itertools.pairwise(times)) <= 1.01
    assert bench.what("a").count("ok") == 1
    time.tzset()


async def test_a_full_disk_stops_nothing_and_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = True

    def save(self: StateFolder, *about: Any) -> None:
        if full:
            raise OSError(28, "No space left on device")
        return saved(self, *about)

    saved = StateFolder.save
    monkeypatch.setattr(StateFolder, "save", save)
    (tmp_path / "journal").write_text("no folder")
    bench = Bench(plan_of("a", policies=POLICIES))
    bench.plugs["a"].insert("jbd")
    async with bench.running():
        await asyncio.sleep(200)
        assert len(bench.times("a")) >= 195
        assert bench.what("a").count("trouble") == 2, "the state once, the journal once"
        full = False
        (tmp_path / "journal").unlink()
        await asyncio.sleep(100)
        assert list((tmp_path / "state" / "packs").glob("*.json"))


@pytest.mark.real_time
async def test_a_disk_that_hangs_keeps_no_pack_from_being_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And its policies judge nothing before they know what they knew."""
    back = threading.Event()

    def load(self: StateFolder, name: str) -> dict[str, Any] | None:
        back.wait(30)
        return loaded(self, name)

    loaded = StateFolder.load
    monkeypatch.setattr(StateFolder, "load", load)
    bench = Bench(plan_of("a", interval=0.1, policies=POLICIES))
    bench.plugs["a"].insert("jbd")
    try:
        async with bench.running():
            pack = bench.service.packs["a"]
            await until(lambda: len(bench.times("a")) >= 5, 10)
            assert pack.decision is not None and pack.decision.stale
            assert not pack.judge.begun
            back.set()
            await until(lambda: permitted(bench, "a"), 10)
            assert bench.what("a").count("trouble") == 1
    finally:
        back.set()


async def test_rules_about_balancing_alone_wear_out_no_flash_card(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    saves = []

    def save(self: StateFolder, name: str, *about: Any) -> None:
        saves.append(name)
        return saved(self, name, *about)

    saved = StateFolder.save
    monkeypatch.setattr(StateFolder, "save", save)
    bench = Bench(plan_of("a", policies=POLICIES))
    pack = bench.plugs["a"].insert("jbd").pack
    async with bench.running():
        await asyncio.sleep(120)
        decision = bench.service.packs["a"].decision
        assert decision is not None and decision.verdicts
        assert all(verdict.policy.startswith("balance") for verdict in decision.verdicts)
        saves.clear()
        await asyncio.sleep(600)
        assert len([name for name in saves if name.startswith("policies")]) <= 12, "one a minute"
        pack.set_temperature("cell_1", 58.0)
        await asyncio.sleep(60)
        saves.clear()
        await asyncio.sleep(100)
        assert len([name for name in saves if name.startswith("policies")]) >= 9, "one in 10 s"


@pytest.mark.slow
async def test_a_restart_raises_no_limit_sooner_than_no_restart(tmp_path: Path) -> None:
    """Killed in the middle of a trip: what was withdrawn is withdrawn after the restart."""
    bench = Bench(plan_of("a", "jk02", policies=POLICIES))
    device = bench.plugs["a"].insert("jk02", load="idle")
    async with bench.running():
        await asyncio.sleep(20)
        assert permitted(bench, "a")
        device.pack.set_temperature("cell_1", 80.0)
        await asyncio.sleep(30)
        tripped = bench.service.packs["a"].decision
        assert tripped is not None and not tripped.discharge.allowed
        held = {r.policy for r in tripped.discharge.reasons}
        files = {path: path.read_bytes() for path in (tmp_path / "state" / "packs").iterdir()}
        device.pack.set_temperature("cell_1", None)
    for path, data in files.items():
        path.write_bytes(data)  # as a kill at that moment would have left them
    again = Bench(plan_of("a", "jk02", policies=POLICIES))
    again.plugs["a"].device = device
    async with again.running():
        await asyncio.sleep(5)
        after = again.service.packs["a"].decision
        assert after is not None and not after.discharge.allowed
        assert held & {r.policy for r in after.discharge.reasons}
        device.pack.set_temperature("cell_1", None)
        await asyncio.sleep(4000)
    for run, change in ((bench, "trip"), (again, "tripped")):
        lasting = {each.key: each for each in run.told if each.open and each.what == "policy"}
        policy = min(held & {key.removeprefix("policy/") for key in lasting})
        assert lasting[f"policy/{policy}"].data["change"] == change
    over = [each for each in again.told if each.key and each.until and each.what == "policy"]
    assert {each.severity for each in over} == {"info"}
    opened = {each.key for each in again.told if each.open}
    assert opened & {each.key for each in over}
    assert all(each.since for each in over if each.key in opened), "an end says since when"


async def test_that_cells_are_not_balanced_is_no_alarm_and_a_trip_is_one() -> None:
    bench = Bench(plan_of("a", "jk02", policies=POLICIES))
    device = bench.plugs["a"].insert("jk02", load="idle")
    async with bench.running():
        await asyncio.sleep(120)
        ordinary = [each for each in bench.told if each.what == "policy"]
        loud = {each.data["policy"] for each in ordinary if each.severity != "info"}
        assert loud == {"silent_probe"} < {each.data["policy"] for each in ordinary}
        bench.told.clear()
        device.pack.set_temperature("cell_1", 58.0)
        await asyncio.sleep(60)
        warned = {str(each.severity) for each in bench.told if each.what == "policy" and each.open}
        device.pack.set_temperature("cell_1", 85.0)
        await asyncio.sleep(60)
        worse = {str(each.severity) for each in bench.told if each.what == "policy" and each.open}
    assert "warning" in warned
    assert {"alarm", "critical"} <= worse


async def test_a_damaged_state_is_said_and_put_aside(tmp_path: Path) -> None:
    for _ in range(2):
        bench = Bench(plan_of("a", policies=POLICIES))
        bench.plugs["a"].insert("jbd")
        async with bench.running():
            await asyncio.sleep(20)
            assert permitted(bench, "a")
        files = [*(tmp_path / "state" / "packs").glob("*.json")]
        assert len(files) == 3, "what policies know, the board, and what lasts"
        for path in files:
            path.write_bytes(path.read_bytes()[:-20])
    assert bench.what("a").count("trouble") >= 1
    assert [*(tmp_path / "state" / "packs").glob("*.damaged")]


async def test_keys_of_a_newer_version_survive_in_the_state(tmp_path: Path) -> None:
    for _ in range(2):
        bench = Bench(plan_of("a", policies=POLICIES))
        bench.plugs["a"].insert("jbd")
        async with bench.running():
            await asyncio.sleep(20)
        for path in (tmp_path / "state" / "packs").glob("*.json"):
            values = json.loads(path.read_text())
            if "engine" in values:
                assert values.get("ledger", "first") == ("kept" if _ else "first")
                path.write_text(json.dumps({**values, "ledger": "kept"}))
