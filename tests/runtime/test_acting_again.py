"""Started again after a kill: how soon an off is sent that is due; nothing counts twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

import bmslink
from acting_support import EnforcedBench, approve, policy_text
from bmslink.board import Board
from bmslink.control.backtest.playback import make_engine
from bmslink.control.decide.policy import Mode
from bmslink.control.files import parse_policies
from bmslink.runtime.judging.pack_policies import in_words
from bmslink.runtime.pack_loop import LatestReading
from bmslink.testing import SimulatedPack
from cli_support import Cli


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BMSLINK_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("BMSLINK_JOURNAL", str(tmp_path / "journal"))


@asynccontextmanager
async def killed(protocol: str) -> AsyncIterator[tuple[SimulatedPack, str]]:
    """A cell violates, and charging was off until somebody switched it on after the kill."""
    pack = SimulatedPack(protocol, cells=4)
    text = policy_text(protocol)
    await approve(pack, text)
    async with EnforcedBench(pack, text).running() as bench:
        await bench.until(lambda: bench.served.judge.enforcing, 30)
        await asyncio.sleep(5)
        pack.set_cell_voltage(2, 3.58)
        await bench.until(lambda: not bench.on("charge"), 30)
        await asyncio.sleep(15)
    pack.set_switch("charge", True)
    yield pack, text


@pytest.fixture
def readings(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """When readings were asked for."""
    read, times = Board.read, []

    async def counted(board: Board) -> bmslink.Reading:
        times.append(asyncio.get_running_loop().time())
        return await read(board)

    monkeypatch.setattr(Board, "read", counted)
    return times


@pytest.mark.parametrize("protocol", ["jk02", "jbd"])
async def test_an_off_that_is_due_waits_for_no_second_reading(
    protocol: str, readings: list[float]
) -> None:
    """The reading that was made before it was known what acts is enough."""
    async with killed(protocol) as (pack, text):
        readings.clear()
        async with EnforcedBench(pack, text).running() as bench:
            await bench.until(lambda: not bench.on("charge"), 10)
            assert len(readings) == 1


async def test_what_was_not_known_before_waits_for_it(readings: list[float]) -> None:
    """One reading confirms nothing, though it is judged twice."""
    pack = SimulatedPack("jbd", cells=4)
    await approve(pack, policy_text("jbd"))
    pack.set_cell_voltage(2, 3.58)
    async with EnforcedBench(pack, policy_text("jbd")).running() as bench:
        await bench.until(lambda: not bench.on("charge"), 10)
        assert len(readings) == 2


def test_nor_does_that_of_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pack = SimulatedPack("jbd", cells=4)
    file = tmp_path / "p.toml"
    file.write_text(policy_text("jbd"))
    cli = Cli(capsys)
    assert cli.hurried("control", "approve", pack.target, str(file), "--yes").code == 0
    pack.set_cell_voltage(2, 3.58)
    run = ("control", "run", pack.target, "--policies", str(file), "--enforce", "--count")
    assert cli.hurried(*run, "1").code == 0
    assert pack.truth().charge_switch, "one reading confirms nothing, though it is judged twice"
    assert cli.hurried(*run, "20").code == 0
    assert not pack.truth().charge_switch
    pack.set_switch("charge", True)
    assert cli.hurried(*run, "1").code == 0
    assert not pack.truth().charge_switch


def test_what_is_old_is_not_judged_once_more() -> None:
    latest, reading = LatestReading(), bmslink.Reading()
    latest.heard(reading, 10.0)
    assert latest.young(12.0) is reading
    assert latest.young(12.1) is None
    latest.heard(None, 10.0)
    assert latest.young(10.0) is None


def test_a_run_opens_a_pack_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It looks for the consent, and goes on with the same link; refused, it leaves none open."""
    pack = SimulatedPack("jbd", cells=4)
    file = tmp_path / "p.toml"
    file.write_text(policy_text("jbd"))
    opened, closed = Board.open, Board.close
    calls: list[str] = []

    async def opens(board: Board) -> None:
        calls.append("open")
        await opened(board)

    async def closes(board: Board) -> None:
        calls.append("close")
        await closed(board)

    monkeypatch.setattr(Board, "open", opens)
    monkeypatch.setattr(Board, "close", closes)
    cli = Cli(capsys)
    run = ("control", "run", pack.target, "--policies", str(file), "--enforce", "--count", "2")
    assert cli.hurried(*run).code == 3
    assert calls == ["open", "close"]
    assert cli.hurried("control", "approve", pack.target, str(file), "--yes").code == 0
    calls.clear()
    assert cli.hurried(*run).code == 0
    assert calls.count("open") == 1
    assert calls[-1] == "close"


async def test_a_reading_counts_once_over_a_change_of_engines() -> None:
    pack = SimulatedPack("jbd", cells=4)
    pack.set_cell_voltage(2, 3.58)
    policies = parse_policies(policy_text("jbd"), Path("p.toml"))
    async with bmslink.connect(pack.target).board as board:
        reading = await board.read()
    before = make_engine(policies, None, poll=1.0, sink=False)
    before.step(reading, 0.0)
    for counted, count in ((True, 1), (False, 2)):
        after = make_engine(policies, None, poll=1.0, sink=False, acting=(Mode.ENFORCE,))
        after.load(before.save(), 0.0)
        decision = after.step(reading, 0.1, counted=counted)
        assert not decision.stale
        (state,) = (state for rule, state in after.rules if rule.name == "cell_overvoltage")
        assert state.count == count


async def test_that_cells_are_not_balanced_is_no_line_of_the_status() -> None:
    """Not before anything is permitted, either."""
    pack = SimulatedPack("daly-a5", cells=4)
    policies = parse_policies(policy_text("daly-a5"), Path("p.toml"))
    engine = make_engine(policies, None, poll=1.0, sink=False)
    async with bmslink.connect(pack.target).board as board:
        for second in range(2):
            decision = engine.step(await board.read(), float(second))
    assert {v.policy for v in decision.verdicts if v.state == "tripped"} >= {"balance_delta"}
    assert not [text for text in in_words(decision, engine, shadow=False) if "balance" in text]
