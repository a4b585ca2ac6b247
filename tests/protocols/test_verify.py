"""Whether a pack still holds what its last change wrote, and who hears of one that was cut off."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from bmslink.cli import open_change as standing
from bmslink.config import Verification, apply, draft, left_behind, open_change, resume, verify
from bmslink.config.records.moment import local
from bmslink.link.transport import parse_target
from bmslink.storage.journal import Journal
from cli_support import QUICK, Cli
from config_faults import WISHES, World


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    return Cli(capsys)


async def change(world: World, wanted: dict[str, Any], target: str = "") -> None:
    async with world.device() as device:
        if target:
            device.target = parse_target(target)
        plan = await draft(device, wanted, waive=["rules", "chemistry"], journal=world.journal)
        await apply(device, plan, journal=world.journal)


async def look(world: World, target: str = "") -> Verification:
    async with world.device() as device:
        if target:
            device.target = parse_target(target)
        writes = world.writes
        found = await verify(device, journal=world.journal)
        assert world.writes == writes
        return found


async def cut_short(world: World) -> None:
    reached = asyncio.Event()
    world.on_write = reached.set
    task = asyncio.ensure_future(change(world, dict(WISHES["jbd"])))
    await reached.wait()
    task.cancel()
    await asyncio.wait([task])
    world.on_write = lambda: None


async def test_what_a_board_forgets_is_found(tmp_path: Path) -> None:
    world = World("jbd", tmp_path)
    assert (await look(world)).result == "nothing"
    await change(world, {"cell_ovp": 3.6, "charge_otp": 54.0})
    found = await look(world)
    assert (found.result, found.checked) == ("holds", ("cell_ovp", "charge_otp"))
    world.pack.settings["cell_ovp"] = 3.65  # as boards do some seconds later, or restarted
    world.node = world.node.line()
    found = await look(world)
    assert (found.result, found.fine) == ("differs", False)
    (one,) = found.differences
    assert (one.key, one.unit, one.written, one.now) == ("cell_ovp", "V", 3.6, 3.65)
    assert "1 of the 2 settings" in found.sentence
    assert f"the change of {local(found.time)} wrote" in found.sentence
    await change(world, {"charge_otp": 53.0})  # the last change counts
    assert (await look(world)).result == "holds"


async def test_of_a_change_that_was_set_back_the_old_values_count(tmp_path: Path) -> None:
    world = World("jbd", tmp_path)
    await cut_short(world)
    found = await look(world)
    assert (found.result, found.fine) == ("open", False)
    assert "config resume" in found.sentence
    async with world.device() as device:
        await resume(device, rollback=True, journal=world.journal)
    assert (await look(world)).result == "holds"


async def test_what_was_given_up_says_nothing_of_what_should_hold(tmp_path: Path) -> None:
    world = World("jbd", tmp_path)
    await change(world, {"cell_ovp": 3.6})
    await cut_short(world)
    async with world.device() as device:
        await resume(device, keep=True, journal=world.journal)
    found = await look(world)
    assert (found.result, "given up" in found.sentence) == ("nothing", True)


async def test_the_place_counts_before_the_likeness(tmp_path: Path) -> None:
    """Two equal boards: each is compared with its own change, and one that moved with what fits."""

    a, b = World("jbd", tmp_path), World("jbd", tmp_path)
    await change(a, {"cell_ovp": 3.6}, "jbd+serial:///dev/ttyA")
    assert (await look(a, "jbd+serial:///dev/ttyC")).result == "holds"
    await change(b, {"cell_ovp": 3.58}, "jbd+serial:///dev/ttyB")
    assert (await look(a, "jbd+serial:///dev/ttyA")).result == "holds"
    assert (await look(b, "jbd+serial:///dev/ttyB")).result == "holds"


def test_the_command_says_it_with_its_exit_code(cli: Cli) -> None:
    assert cli("config", "verify", QUICK).code == 0
    assert cli("settings", "set", QUICK, "cell_ovp=3.6", "--yes").code == 0
    done = cli("config", "verify", QUICK)  # a simulated board forgets with the end of its process
    assert done.code == 5
    assert "cell_ovp" in done.out
    (told,) = cli("config", "verify", QUICK, "--json").objects
    assert told["result"] == "differs"
    assert told["differences"] == [{"key": "cell_ovp", "unit": "V", "written": 3.6, "now": 3.65}]


def test_reading_warns_of_an_open_change_of_this_pack_only(cli: Cli) -> None:
    told = cli("info", QUICK, "--json")
    assert (told.err, told.objects[0]["open_change"]) == ("", None)
    target = str(parse_target(QUICK))
    Journal().begin(target, {"vendor": "JBD"}, [])
    for words in (("read",), ("read", "--count", "2", "--watch", "0.01"), ("info",)):
        done = cli(*words, QUICK, "--json")
        assert done.code == 0
        assert done.err.count("was cut off") == 1
        assert done.objects
    assert "was cut off" in cli("info", QUICK, "--json").objects[0]["open_change"]
    assert cli("read", f"{QUICK}&seed=9").err == ""


async def test_a_warning_asks_the_pack_nothing_and_survives_a_journal_that_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World("jbd", tmp_path / "j")
    await cut_short(world)
    monkeypatch.setenv("BMSLINK_JOURNAL", str(tmp_path / "j"))
    async with world.device() as device:
        asked = device.link.received
        for journal in (None, Journal(tmp_path / "j")):  # what a script calls
            assert "was cut off" in (open_change(device, journal=journal) or "")
            assert "in the middle of a change" in left_behind(device, journal=journal)
        other = Journal(tmp_path / "other")
        assert open_change(device, journal=other) is None
        assert left_behind(device, journal=other) == "Interrupted before anything was sent."
        assert "was cut off" in (standing.open_change(device) or "")
        assert device.link.received == asked
        monkeypatch.setenv("BMSLINK_JOURNAL", str(tmp_path / "j" / "nothing"))
        assert standing.open_change(device) is None
        (tmp_path / "x").mkdir()
        (tmp_path / "x" / "2026-01.jsonl").mkdir()
        monkeypatch.setenv("BMSLINK_JOURNAL", str(tmp_path / "x"))
        assert standing.open_change(device) is None
        assert "in the middle of a change" in left_behind(device)
