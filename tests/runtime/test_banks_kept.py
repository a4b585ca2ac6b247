"""What the service keeps of its banks: through a stop, a kill, and files that are wrong."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from bank_service import Bench, bank_file, three, write

from bmslink.control.banks.memory import BankMemory, KeptShare
from bmslink.runtime.acting.limit_sinks import LimitSinks, LineSink
from bmslink.runtime.judging.pack_memory import default_folder
from bmslink.testing import SimulatedPack


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return bank_file(tmp_path, monkeypatch)


async def _learned(bench: Bench) -> BankMemory:
    """The bank, after `left` was seen to take half of everything."""
    now = asyncio.get_running_loop().time()
    kept: BankMemory = bench.bank.remember(now)
    board = kept.packs["left"].board
    share = KeptShare(board=board, capacity=100.0, conductance=2.0, factor=1.06, steps=9)
    bench.bank.recall(BankMemory(shares={"left": share}))
    await asyncio.sleep(3)
    return kept


def _sources(bench: Bench) -> list[str]:
    found = bench.bank.status()["packs"]
    return [each["shares"]["charge"]["source"] for each in found]


KNOWN = ["steps", "capacity", "capacity"]


async def test_shares_are_kept_over_a_stop_and_a_kill(file: Path) -> None:
    packs = three()
    write(file, packs)
    async with Bench(packs).running() as bench:
        await _learned(bench)
        copy = _file().read_bytes()
    async with Bench(packs).running() as bench:
        assert _sources(bench) == KNOWN
    _file().write_bytes(copy)  # as a kill leaves it
    async with Bench(packs).running() as bench:
        assert _sources(bench) == KNOWN
        assert bench.bank.status()["packs"][0]["shares"]["charge"]["likely"] == 0.5
        # what people say of the bank changes; what was learned stays, and no limit jumps
        before = bench.bank.decision.ccl.value
        write(file, packs, "resistance = { right = 0.02 }")
        await bench.service.reload()
        await asyncio.sleep(2)
        assert _sources(bench)[0] == "steps"
        assert bench.bank.decision.ccl.value <= before + 1


async def test_another_board_inherits_nothing(file: Path) -> None:
    packs = three("jk02")
    write(file, packs)
    async with Bench(packs).running() as bench:
        await _learned(bench)
    packs[0] = SimulatedPack("jk02", seed=77, cells=4, load=0.0)
    write(file, packs)
    async with Bench(packs).running() as bench:
        assert _sources(bench)[0] == "capacity"


@pytest.mark.parametrize("text", ["{", "[]", '{"schema": 1}', '{"schema": 1, "memory": 3}', "",
                                  '{"schema": 1, "memory": {"shares": {"left": {}}}}'])  # fmt: skip
async def test_a_file_that_is_wrong_is_told_and_costs_nothing_else(file: Path, text: str) -> None:
    packs = three()
    write(file, packs)
    _file().parent.mkdir(parents=True, exist_ok=True)
    _file().write_text(text)
    async with Bench(packs).running() as bench:
        assert set(_sources(bench)) == {"capacity"}
        assert bench.bank.decision.ccl.value > 0
        await asyncio.sleep(2)
        assert '"memory"' in _file().read_text()  # written anew
    said = [each.data.text for each in bench.news if hasattr(each.data, "text")]
    assert sum("shares of the bank house is lost" in each for each in said) == 1


async def test_a_mistake_with_what_is_kept_ends_nothing_that_is_carried_out(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packs = three()[:2]
    write(file, packs, 'sink_command = "carry"')

    def mistake(*given: object) -> None:
        raise RuntimeError("ours")

    monkeypatch.setattr("bmslink.runtime.banks.kept.BankStore.load", mistake)
    bench = Bench(packs)
    bench.bank.sinks = LimitSinks([LineSink(print)], {"bank": "house"})
    async with bench.running(10):
        (task,) = bench.service.banks._tasks.values()
        assert not task.done()
        assert bench.bank.decision.ccl.value > 0


async def test_a_disk_that_is_full_is_told_once(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packs = three()[:2]
    write(file, packs)

    def full(*given: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr("bmslink.storage.state.replace_file", full)
    async with Bench(packs).running(150) as bench:
        assert bench.bank.decision.ccl.value > 0
        said = [each.data.text for each in bench.news if hasattr(each.data, "text")]
        assert sum("shares of a bank is not kept" in each for each in said) == 1


def _file() -> Path:
    return default_folder().path("bank house")
