"""`bmslink life --from`: the same life out of every format that `log` writes, and out of a history
as a kill leaves it."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from bmslink.cli.app import main
from bmslink.model import Reading
from bmslink.runtime.feed import Feed
from bmslink.runtime.history.keeper import HistoryKeeper
from bmslink.runtime.history.options import HistoryOptions
from bmslink.runtime.life.keeper import BoardOfPack
from bmslink.runtime.watching.conditions import Teller
from bmslink.runtime.watching.watcher import Watcher
from bmslink.storage.readings.log_file import FORMATS, open_log

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def started(*words: str) -> tuple[int, str, str]:
        code = main(["life", *words])
        return code, *capsys.readouterr()

    return started


def _reading(second: float, amps: float, volts: float, nominal: float | None) -> Reading:
    return Reading(
        time=BEGAN + timedelta(seconds=second), target="sim://jbd", protocol="jbd", name="van",
        voltage=4 * volts, current=amps, soc=50.0, nominal_capacity=nominal,
        cell_voltages=(volts,) * 4, temperatures={"sensor_1": 25.0},
    )  # fmt: skip


def _emptied(nominal: float | None = 100.0) -> Iterator[Reading]:
    """From full to empty at 0.3 C, and a little back."""
    clock = 0.0
    for seconds, amps, volts in (
        (600, 2.0, 3.46), (11_400, -30.0, 3.25), (120, -30.0, 2.80), (1200, 30.0, 3.2),
    ):  # fmt: skip
        for _ in range(seconds // 60):
            clock += 60.0
            yield _reading(clock, amps, volts, nominal)


def _log(path: Path, nominal: float | None = 100.0) -> str:
    file = open_log(path)
    file.write([*_emptied(nominal)])
    file.close()
    return str(path)


@pytest.mark.parametrize("end", FORMATS)
def test_every_format_of_a_log_gives_the_same_life(tmp_path: Path, run: Run, end: str) -> None:
    log = _log(tmp_path / f"log{end}")
    code, out, _ = run("--from", log, "--chemistry", "lfp", "--json")
    life = json.loads(out)["life"]
    assert code == 0 and json.loads(out)["pack"] == "van"
    now = life["capacity"]["now"]
    assert now["evidence"] == 1
    assert now["value"] == pytest.approx(96 / 0.985, abs=0.5)
    assert life["throughput"]["known_seconds"] == 13_320 - 60
    assert life["throughput"]["discharged_capacity"] == pytest.approx(96.0, abs=0.5)


def test_a_log_that_does_not_say_the_capacity_can_be_helped(tmp_path: Path, run: Run) -> None:
    log = _log(tmp_path / "log.csv", None)
    code, out, _ = run("--from", log, "--chemistry", "lfp")
    assert code == 0 and "does not report its nominal capacity" in out and "--capacity" in out
    code, out, _ = run("--from", log, "--capacity", "100")
    assert code == 0 and "set `chemistry` of the pack" in out
    code, out, _ = run("--from", log, "--chemistry", "lfp", "--capacity", "100")
    assert code == 0 and "(1 pass)" in out and "± " in out
    assert "as of 2026-01-01 03:42 UTC" in out
    assert "not proven" not in out
    code, out, error = run("--from", log, "other")
    assert code == 2 and not out and "van" in error


def test_a_chemistry_that_nobody_judged_is_said_to_be_unproven(tmp_path: Path, run: Run) -> None:
    """A pack of LTO cells: what is found of it may be right."""
    file = open_log(tmp_path / "log.jsonl")
    volts = {3.46: 2.60, 3.25: 2.30, 2.80: 1.95, 3.2: 2.2}
    readings = [*_emptied()]
    file.write([
        replace(each, cell_voltages=(volts[each.cell_voltages[0] or 0],) * 4) for each in readings
    ])  # fmt: skip
    file.close()
    words = ("--from", str(tmp_path / "log.jsonl"), "--chemistry", "lto")
    code, out, _ = run(*words)
    assert code == 0 and "(1 pass)" in out and "judged for LFP, not for lto" in out
    assert json.loads(run(*words, "--json")[1])["life"]["capacity"]["judged"] is False


def test_what_goes_only_with_a_file_is_refused_without_one(run: Run) -> None:
    for words in (["van", "--capacity", "100"], ["van", "--chemistry", "lfp"], []):
        code, out, error = run(*words)
        assert code == 2 and not out and error.count("\n") == 1


async def test_a_history_after_a_kill_has_the_life_up_to_its_last_minute(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is checkpointed yet: all but the first page is in the file beside it."""
    path, killed = tmp_path / "history.db", tmp_path / "killed.db"
    loop = asyncio.get_running_loop()
    feed = Feed(lambda: BEGAN + timedelta(seconds=loop.time()))
    watcher = Watcher(feed, lambda name: 10.0)
    watcher.lives.board_of = lambda name: BoardOfPack("jbd 1", None, "lfp", 100.0)
    keeper = HistoryKeeper(path, HistoryOptions(), feed, watcher, Teller("", feed))
    tasks = [
        asyncio.create_task(watcher.run(watcher.subscribe())),
        asyncio.create_task(keeper.run(keeper.subscribe())),
    ]
    await asyncio.sleep(0.1)
    for _ in range(20):
        feed.publish("reading", "van", _reading(loop.time(), -36.0, 3.3, 100.0))
        await asyncio.sleep(10)
    for end in ("", "-wal"):  # what a kill leaves
        shutil.copy(f"{path}{end}", f"{killed}{end}")
    feed.close()
    await keeper.close(5)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    asked = partial(main, ["life", "--from", str(killed), "van", "--json"])
    assert await loop.run_in_executor(None, asked) == 0
    flow = json.loads(capsys.readouterr().out)["life"]["throughput"]
    assert 120 <= flow["known_seconds"] <= 190 and flow["unknown_seconds"] == 0
    assert flow["discharged_capacity"] == pytest.approx(flow["known_seconds"] * 36 / 3600)
    refused = partial(main, ["life", "--from", str(killed), "--chemistry", "lfp"])
    assert await loop.run_in_executor(None, refused) == 2
    assert "knew then" in capsys.readouterr().err
