"""Who a pack is and how it is set, looked at now and then between readings."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path

import pytest
from test_service import Bench, plan_of

from bmslink.config import apply, draft


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BMSLINK_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("BMSLINK_JOURNAL", str(tmp_path / "journal"))


@pytest.mark.parametrize("protocol", ["jk02", "jk-nw", "daly-a5", "daly-p81"])
async def test_settings_are_looked_at_in_pieces_and_no_reading_is_late_for_them(
    protocol: str,
) -> None:
    bench = Bench(plan_of("a", protocol, interval=4.0, slow_interval=60.0))
    bench.plugs["a"].insert(protocol)
    async with bench.running():
        pack = bench.service.packs["a"]
        await asyncio.sleep(180)
        assert pack.known.settings is not None and pack.known.settings.values()
        async with pack.turn() as board:
            whole = await board.settings()
        still = {row.key for row in whole.map.settings if not row.live}
        seen, now = pack.known.settings.values(), whole.values()
        assert {key: seen[key] for key in still} == {key: now[key] for key in still}
        times = bench.times("a")
        assert max(b - a for a, b in itertools.pairwise(times)) <= 5.5
        assert "settings_changed" not in bench.what("a")


async def test_a_setting_that_somebody_changed_is_told() -> None:
    bench = Bench(plan_of("a", "jk02", slow_interval=30.0))
    bench.plugs["a"].insert("jk02")
    async with bench.running():
        pack = bench.service.packs["a"]
        await asyncio.sleep(60)
        async with pack.turn() as board:
            outcome = await apply(board, await draft(board, {"cell_ovp": 3.6}))
            assert outcome.result == "done"
        await asyncio.sleep(60)
        assert bench.what("a").count("settings_changed") == 1
        assert pack.known.settings is not None and pack.known.settings.values()["cell_ovp"] == 3.6


async def test_a_board_that_tells_them_only_in_factory_mode_is_left_alone() -> None:
    bench = Bench(plan_of("a", "jbd", slow_interval=30.0))
    plug = bench.plugs["a"]
    plug.insert("jbd")
    plug.remembers = True
    async with bench.running():
        await asyncio.sleep(100)
        assert bench.service.packs["a"].known.settings is None
        assert {data[1] for _, data in plug.sent} == {0xA5}, "nothing is written"


async def test_packs_do_not_all_look_at_once() -> None:
    bench = Bench(*(plan_of(f"p{n}", "jk-nw", interval=5.0) for n in range(12)))
    for plug in bench.plugs.values():
        plug.insert("jk-nw")
    seen: dict[str, float] = {}
    async with bench.running():
        loop = asyncio.get_running_loop()
        for _ in range(110):
            await asyncio.sleep(1)
            for name, pack in bench.service.packs.items():
                if pack.known.settings is not None:
                    seen.setdefault(name, loop.time())
    assert len(seen) == 12
    assert max(seen.values()) - min(seen.values()) > 30


async def test_a_look_that_made_way_does_not_begin_again_at_once() -> None:
    """A switch of a JK that is held off is asked for with every reading. Each time the look began
    anew by forgetting who answers, and for ten minutes no other switch could be set."""
    bench = Bench(plan_of("a", "jk02", slow_interval=30.0))
    bench.plugs["a"].insert("jk02")
    async with bench.running():
        pack = bench.service.packs["a"]
        await asyncio.sleep(20)
        driver = pack.board.driver
        forgets = 0
        forget = driver.forget

        def counted() -> None:
            nonlocal forgets
            forgets += 1
            forget()

        driver.forget = counted
        for _ in range(100):
            async with pack.turn() as board:
                await board.settings()
            await asyncio.sleep(0.4)
        assert forgets <= 8
