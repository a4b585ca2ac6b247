"""A pack that a running service owns: programs get through it what they get without it."""

from __future__ import annotations

import asyncio
import inspect
import json
import os
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

import bmslink
from bmslink import config
from bmslink.board import Board
from bmslink.cli.app import main
from bmslink.config.files.profile import parse_profile
from bmslink.errors import (
    BmsError,
    GateError,
    LinkClosed,
    LinkTimeout,
    PortBusy,
    SettingError,
    TargetError,
    UsageError,
)
from bmslink.link.transport import parse_target
from bmslink.model import Command, Switch
from bmslink.protocols import DRIVERS
from bmslink.registry import Announcement
from bmslink.runtime.api.sockets import local_socket
from bmslink.served_board import ServedBoard
from bmslink.served_changes import ServedChanges
from bmslink.storage.journal import Journal
from served_support import served, serving, until, writing

JBD = "sim://jbd?gap=0&cells=4"


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BMSLINK_STATE", str(tmp_path / "state"))


@pytest.mark.parametrize("protocol", DRIVERS)
async def test_every_protocol_shows_the_same_through_a_service(protocol: str) -> None:
    target = f"sim://{protocol}?gap=0&cells=8"
    async with served(target) as service:
        own = next(iter(service.packs.values())).board
        async with bmslink.connect(target) as device:
            assert isinstance(device.board, ServedBoard)
            assert await device.inspect() == await own.inspect()
            reading = await device.read()
            assert (reading.protocol, len(reading.cell_voltages)) == (protocol, 8)
            assert (await device.read()).time > reading.time
            try:
                held = await own.settings()
            except SettingError as why:
                with pytest.raises(SettingError) as told:
                    await device.settings()
                assert str(told.value) == str(why)
                return
            shown, direct = await device.settings(), bmslink.Settings(held)
            still = [row.key for row in held.map.settings if not row.live]
            assert [shown[key].to_dict() for key in still] == [
                direct[key].to_dict() for key in still
            ]


async def test_a_tenfold_jbd_board_too() -> None:
    """Its registers have other layouts than those of most."""
    target = f"{JBD}&capacity=1000"
    async with served(target), bmslink.connect(target) as device:
        assert (await device.settings())["nominal_capacity"].value == 1000


async def test_a_change_is_planned_shown_and_done_by_the_service() -> None:
    async with served(JBD) as service, bmslink.connect(JBD) as device:
        own = next(iter(service.packs.values())).board
        direct = await config.draft(own, {"cell_ovp": 3.6})
        plan = await device.plan({"cell_ovp": 3.6})
        assert plan.to_dict() == direct.to_dict()
        outcome = await device.apply(plan)
        assert outcome.result == "done"
        assert (await device.settings())["cell_ovp"].value == 3.6
        (begun,) = [r for r in Journal().records() if r["event"] == "begin"]
        assert begun["peer"]["pid"]
        assert (await device.verify()).result == "holds"
        undone = await device.undo()
        assert undone.result == "done"
        assert (await device.settings())["cell_ovp"].value == 3.65
        assert (await device.resume()).result == "nothing"


async def test_a_profile_and_a_backup_go_over_whole() -> None:
    text = 'schema = 1\n[settings]\ncell_ovp = "3600 mV"\n[optional]\njk_smart_sleep = 1\n'
    async with served(JBD), bmslink.connect(JBD) as device:
        identity = await device.identify()
        backup = config.make_backup(
            str(device.target), identity, (await device.settings()).snapshot
        )
        plan = await device.plan(parse_profile(text))
        assert [edit.new for change in plan.changes for edit in change.edits] == [3.6]
        assert (await device.apply(plan)).result == "done"
        back = await device.plan({}, raw=backup)
        assert (await device.apply(back)).result == "done"
        assert (await device.settings())["cell_ovp"].value == 3.65


async def test_what_was_not_agreed_to_is_not_done() -> None:
    async with served(JBD) as service, bmslink.connect(JBD) as device:
        (pack,) = service.packs.values()
        plan = await device.plan({"cell_ovp": 3.6})
        async with pack.turn() as own:  # somebody else changes it meanwhile
            assert (await config.apply(own, await config.draft(own, {"cell_ovp": 3.7}))).result
        before = len([*Journal().records()])
        with pytest.raises(GateError, match="Plan again") as refused:
            await device.apply(plan)
        assert [check.name for check in refused.value.checks] == ["unchanged"]
        assert len([*Journal().records()]) == before
        seen = []
        outcome = await device.apply(plan, confirm=lambda new: seen.append(new) or True)
        assert outcome.result == "done"
        assert seen[0].changes[0].edits[0].old == 3.7


async def test_a_refusal_comes_back_as_the_same_error() -> None:
    async with served(JBD), bmslink.connect(JBD) as device:
        plan = await device.plan({"cell_ovp": 9.9})
        assert [check.name for check in plan.blocked] == ["limits"]
        with pytest.raises(GateError, match="Nothing was sent"):
            await device.apply(plan)
        with pytest.raises(UsageError, match="no waiver"):
            await device.plan({"cell_ovp": 3.6}, waive=["all"])
        with pytest.raises(GateError, match="no clock"):
            await device.set_clock()
        with pytest.raises(UsageError, match="leave `journal` out"):
            await device.plan({"cell_ovp": 3.6}, journal=Journal())
        with pytest.raises(PortBusy, match="service lend"):
            device.board.link.alive()


async def test_a_client_that_dies_does_not_stop_a_change() -> None:
    async with served(JBD) as service:
        (pack,) = service.packs.values()
        with service.feed.subscribe(kinds=["event"]) as news:
            async with bmslink.connect(JBD) as device:
                plan = await device.plan({"cell_ovp": 3.6})
                client = asyncio.create_task(device.apply(plan))
                await until(writing)
                client.cancel()
                await asyncio.gather(client, return_exceptions=True)
                assert "service" in config.left_behind(device)
            async with asyncio.timeout(120):
                async for item in news:
                    if item.data.what == "change":
                        break
        assert item.data.data["result"] == "done"
        assert (await pack.board.settings()).values()["cell_ovp"] == 3.6


async def test_the_service_ends_only_when_the_change_has_ended() -> None:
    async with served(JBD) as service, bmslink.connect(JBD) as device:
        plan = await device.plan({"cell_ovp": 3.6})
        client = asyncio.create_task(device.apply(plan))
        await until(writing)
        service.stop()
        assert (await client).result == "done"


async def test_a_service_that_comes_in_the_place_of_another_is_found() -> None:
    async with served(JBD):
        device = bmslink.connect(JBD)
        await device.open()
    with pytest.raises(LinkClosed, match="does not listen any more"):
        await device.read()
    async with served(JBD, socket="other.sock"):
        await device.reopen()
        assert (await device.read()).voltage


async def _every_method(device: bmslink.Device) -> dict[str, Any]:
    """What each public method of a device comes to, as far as two equal boards must agree."""
    found: dict[str, Any] = {}

    async def note(name: str, work: Any, show: Any) -> Any:
        try:
            result = await work
        except BmsError as error:
            found[name] = type(error).__name__, str(error).partition(" (")[0]
            return None
        found[name] = show(result)
        return result

    def ended(outcome: Any) -> Any:
        return outcome.result, outcome.sentence

    def edits(plan: Any) -> Any:
        return [str(edit) for change in plan.changes for edit in change.edits], len(plan.frames)

    await note("open", device.open(), lambda it: it)
    await note("identify", device.identify(), lambda it: it.serial_number)
    await note("inspect", device.inspect(), lambda it: it.capabilities)
    await note("read", device.read(), lambda it: len(it.cell_voltages))
    async with aclosing(device.stream(0.5)) as readings:
        await note("stream", anext(readings), lambda it: it.protocol)
    await note("clock", device.clock(), lambda it: it is None)
    await note("past", device.past(), lambda it: (len(it.counters), it.missing, it.now))
    await note("settings", device.settings(), lambda it: it["cell_ovp"].value)
    plan = await note("plan", device.plan({"cell_ovp": 3.6}, waive=["untested"]), edits)
    await note("draft", device.draft({"cell_ovp": 3.6}, waive=["untested"]), edits)
    if plan is not None:
        await note("apply", device.apply(plan, confirm=lambda _: True), ended)
    await note("verify", device.verify(), lambda it: it.result)
    await note("plan_undo", device.plan_undo(waive=["untested"]), edits)
    await note("undo", device.undo(waive=["untested"]), ended)
    await note("resume", device.resume(confirm=lambda _: False), ended)
    await note("balance_session", device.balance_session(top=1.6), lambda it: it["result"])
    await note("switch", device.switch("charge", False, waive=["untested"]), ended)
    await note("set_clock", device.set_clock(waive=["untested"]), lambda it: it.result)
    await note("set_soc", device.set_soc(50, waive=["untested"]), ended)
    await note("reopen", device.reopen(), lambda it: it)
    await note("close", device.close(), lambda it: it)
    return found


@pytest.mark.parametrize("protocol", ["jbd", "jk02", "daly-a5"])
async def test_every_method_of_a_device_does_the_same_through_a_service(protocol: str) -> None:
    target = f"sim://{protocol}?cells=8&seed=4&gap=0"
    directly = await _every_method(bmslink.connect(target))
    async with served(target):
        through = await _every_method(bmslink.connect(target))
    assert through == directly
    methods = {name for name, _ in inspect.getmembers(bmslink.Device, inspect.isroutine)}
    assert {name for name in methods if not name.startswith("_")} - {*through} <= {"apply"}


def test_all_that_config_does_on_a_board_is_done_by_the_service() -> None:
    functions = {name: inspect.unwrap(getattr(config, name)) for name in config.__all__}
    names = [
        name
        for name, function in functions.items()
        if inspect.isfunction(function) and "device" in [*inspect.signature(function).parameters]
    ]
    changes = ServedChanges.__new__(ServedChanges)
    for name in names:
        assert changes.function(name), name
    assert len(names) == 14


async def test_off_goes_at_once_and_on_by_its_gates() -> None:
    async with served(JBD) as service, bmslink.connect(JBD) as device:
        frames = await config.rehearse_switch(device, Command(Switch.CHARGE, False))
        assert [frame[2] for frame in frames] == [0xE1]
        assert (await device.switch("charge", False)).result == "done"
        assert (await device.read()).charging_allowed is False
        assert (await device.switch("charge", True)).result == "done"
        with pytest.raises(UsageError):
            await device.switch("charge", False, waive=["nonsense"])
        assert service.healthy


async def test_a_service_that_hangs_says_what_to_do_about_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with served(JBD) as service, bmslink.connect(JBD) as device:
        (pack,) = service.packs.values()
        pid = device.board.served.service.pid

        async def hang(*args: object, **more: object) -> None:
            await asyncio.sleep(1000)

        monkeypatch.setattr("bmslink.runtime.api.changes._request", hang)
        with pytest.raises(LinkTimeout, match=f"kill -9 {pid}"):
            await device.switch("discharge", False)
        assert pack.health.state == "ok"


async def test_two_protocols_or_another_address_of_a_place_are_told_apart(
    tmp_path: Path,
) -> None:
    async with served(JBD) as service, bmslink.connect(JBD) as device:
        board = device.board
        board.target = bmslink.target.resolve("daly-a5+sim://")
        with pytest.raises(TargetError, match="speaks jbd there, not daly-a5"):
            await board.open()
        assert service.healthy


ROADS = ("ask", "look", "plan", "apply", "resume", "switch", "adjustment", "adjust")


@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize(
    "wish",
    [
        {"frame": "dd5ae102"},
        {"what": "everything", "switch": "all", "on": False},
        {"what": 3, "switch": "charge", "on": "no"},
        {"wanted": {"cell_ovp": [3.6]}, "on": 0},
        {"profile": 3, "backup": {"slots": {}}, "agreed_to": 5, "clock": "soon"},
        {"undo": {"since": "x"}, "waive": "all", "soc": "full"},
        {"waive": ["all"], "switch": "charge", "on": True, "clock": "2026-05-01T12:00"},
    ],
)
async def test_wishes_that_make_no_sense_are_refused_and_nothing_is_sent(
    road: str, wish: dict[str, object]
) -> None:
    async with served(JBD) as service, bmslink.connect(JBD) as device:
        (pack,) = service.packs.values()
        sent: list[bytes] = []
        with pack.board.tap.listening(lambda way, data: sent.append(data) if way == "tx" else None):
            client = device.board._client
            status, found = await client.ask("POST", f"/api/v1/packs/jbd/{road}", wish)
        assert 400 <= status < 500, found
        assert found["error"]
        assert "mistake" not in found["error"]
        assert not [frame for frame in sent if frame[1] == 0x5A and frame[2] not in (0, 1)]


async def test_a_program_of_any_kind_plans_and_applies() -> None:
    async with served(JBD), bmslink.connect(JBD) as device:
        client, path = device.board._client, "/api/v1/packs/jbd"
        wish = {"wanted": {"cell_ovp": 3.6}}
        _, shown = await client.ask("POST", f"{path}/plan", wish)
        assert shown["done"]["plan"]["changes"][0]["settings"][0]["old"] == 3.65
        agreed = {**wish, "fingerprint": shown["done"]["fingerprint"]}
        _, ended = await client.ask("POST", f"{path}/apply", agreed)
        assert ended["done"]["result"] == "done"
        status, _ = await client.ask("POST", f"{path}/apply", agreed)  # it has been done
        assert status == 409


async def test_a_plan_of_another_fingerprint_is_not_done() -> None:
    async with served(JBD), bmslink.connect(JBD) as device:
        for wish in (
            {"wanted": {"cell_ovp": 3.6}},
            {"wanted": {"cell_ovp": 3.6}, "fingerprint": "x"},
        ):
            status, found = await device.board._client.ask("POST", "/api/v1/packs/jbd/apply", wish)
            assert (status, found["kind"]) == (409, "GateError")
        assert not [r for r in Journal().records() if r["event"] == "begin"]


def test_plain_scripts_and_commands_go_through_it_too(capsys: pytest.CaptureFixture[str]) -> None:
    with serving(JBD) as service:
        with bmslink.blocking.connect(JBD) as device:
            assert device.identify().vendor == "JBD"
            first, second = (reading for reading, _ in zip(device.stream(0.0), "12", strict=False))
            assert second.time > first.time
            assert device.plan({"cell_ovp": 3.6}).frames
        assert main(["read", JBD, JBD, "--json"]) == 0
        told = capsys.readouterr()
        assert told.err.count("asked through the service") == 2
        assert [json.loads(line)["protocol"] for line in told.out.splitlines()] == ["jbd", "jbd"]
        service.until(lambda: service.pack.health.state == "ok")
        assert main(["settings", "set", JBD, "cell_ovp=9", "--yes"]) == 3
        assert main(["settings", "set", JBD, "no_such=9", "--yes"]) == 2
        assert main(["settings", "set", JBD, "cell_ovp=3.6"]) == 3  # nobody is there to agree
    capsys.readouterr()
    assert main(["read", JBD]) == 0  # directly, now that nobody owns it
    assert capsys.readouterr().err == ""


async def test_scan_asks_nothing_where_a_service_owns_the_line(tmp_path: Path) -> None:
    port, folder = tmp_path / "port", Path(os.environ["BMSLINK_RUNTIME"])
    with local_socket(folder / "s.sock"):
        entry = Announcement(folder / "s.sock", folder=folder)
        entry.update([("house", parse_target(f"jbd+serial://{port}"))])
        (found,) = await bmslink.scan(ports=[str(port)])
        (other,) = await bmslink.scan(ports=[str(port)], protocol="jk")
        entry.withdraw()
    assert (found.target, found.protocol) == (f"jbd+serial://{port}", "jbd")
    assert (found.name, found.confidence) == ("house", 0.95)
    assert "serves it as house" in found.why
    assert (other.protocol, other.confidence, other.why) == (None, 0.0, found.why)


async def test_resume_with_nothing_cut_off_reads_no_settings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def asked(*_: object) -> None:
        raise AssertionError("nothing needs to be compared")

    monkeypatch.setattr(Board, "settings", asked)
    async with served(JBD), bmslink.connect(JBD) as device:
        assert (await device.resume(confirm=lambda _: True)).result == "nothing"
