"""How acting begins while polls, people and a disk that hangs are at it at the same time."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

import bmslink
from acting_support import EnforcedBench, approve, policy_text
from bmslink.errors import GateError, VerifyError
from bmslink.runtime.acting import acting_side, start
from bmslink.runtime.acting.acting_side import ActingSide
from bmslink.runtime.acting.people import ActingWish
from bmslink.testing import SimulatedPack


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BMSLINK_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("BMSLINK_JOURNAL", str(tmp_path / "journal"))


async def test_a_poll_and_a_person_begin_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What this program holds itself is no other program."""
    pack = SimulatedPack("jbd", cells=4)
    await approve(pack, policy_text("jbd"))
    prepare, begun = start.prepare, asyncio.Event()

    async def slowly(*args: Any, **more: Any) -> Any:
        begun.set()
        await asyncio.sleep(1.0)
        return await prepare(*args, **more)

    monkeypatch.setattr(start, "prepare", slowly)
    async with EnforcedBench(pack, policy_text("jbd")).running() as bench:
        await bench.until(begun.is_set, 10)
        assert not bench.served.judge.enforcing
        with pytest.raises(GateError, match="Nothing is stopped or latched"):
            await bench.served.judge.do(ActingWish(do="reset"), "anna")
        await bench.until(lambda: bench.served.judge.enforcing, 10)
        assert not bench.said("standing")


async def test_a_disk_that_keeps_the_beginning_stops_no_poll_and_no_stop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pack = SimulatedPack("jbd", cells=4)
    never, begun = asyncio.Event(), asyncio.Event()

    async def hangs(*_: object, **more: object) -> None:
        begun.set()
        await never.wait()

    monkeypatch.setattr(acting_side, "begin_acting", hangs)
    async with EnforcedBench(pack, policy_text("jbd")).running() as bench:
        await bench.until(begun.is_set, 10)
        await asyncio.sleep(20)
        assert bench.served.status()["age"] < 3.0
        stop = asyncio.create_task(bench.served.act(ActingWish(do="stop"), "anna"))
        await bench.until(lambda: not (bench.on("charge") or bench.on("discharge")), 1)
        await bench.until(lambda: not bench.on("balance"), 2)  # one bit of a word
        await asyncio.sleep(5)
        assert bench.served.status()["age"] < 3.0
        with pytest.raises(VerifyError, match=r"Off was sent .* its disk does not answer"):
            await stop


async def test_what_begins_after_its_end_does_not_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk had kept it for longer than the end waits: the pack is free for another program."""
    pack, text = SimulatedPack("jbd", cells=4), policy_text("jbd")
    await approve(pack, text)
    prepare = start.prepare

    async def slowly(*args: Any, **more: Any) -> Any:
        await asyncio.sleep(20.0)
        return await prepare(*args, **more)

    monkeypatch.setattr(start, "prepare", slowly)
    async with bmslink.connect(pack.target).board as board:
        side = ActingSide(
            board, text, "p.toml", enforce=True, interval=1.0, target=pack.target,
            note=lambda *_, **__: None, tell=lambda *_, **__: None,
        )  # fmt: skip
        identity = await board.identify()
        beginning = asyncio.create_task(side.begin(identity))
        await asyncio.sleep(1.0)
        await side.close()
        assert not await beginning
        assert side.actor is None
        lock = start.lock_acting(start.pack_key(board, identity))
        assert lock is not None
        os.close(lock)
