"""Settings through the service: as quick as alone, and what acts on a pack has its readings."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from bmslink.board import Board
from bmslink.errors import SettingError
from bmslink.link.transport import parse_target
from bmslink.runtime.judging.pack_judge import PackJudge
from bmslink.served_board import ServedBoard, board_at
from bmslink.survey import survey
from served_support import served, until

MORE = 0.05
"""s that the service may add."""


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BMSLINK_STATE", str(tmp_path / "state"))


async def took(board: Board) -> float:
    """s from opening until the settings are there."""
    begun = asyncio.get_running_loop().time()
    async with board:
        await survey(board)
    return asyncio.get_running_loop().time() - begun


@pytest.mark.parametrize("protocol", ["jbd", "jk02", "daly-a5"])
async def test_the_service_adds_no_time_to_a_look_at_settings(protocol: str) -> None:
    alone = await took(Board(parse_target(f"sim://{protocol}?seed=2")))
    found: list[float] = []
    async with served(f"sim://{protocol}?seed=1"):
        for _ in range(5):
            await asyncio.sleep(3.63)  # at any moment between two polls
            board = board_at(parse_target(f"sim://{protocol}?seed=1"))
            assert isinstance(board, ServedBoard)
            found.append(await took(board))
    assert sum(found) / len(found) <= alone + MORE, (alone, found)


async def test_policies_that_act_have_a_reading_in_the_middle_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(PackJudge, "enforcing", property(lambda self: True))
    async with served("sim://jbd?seed=1") as service:
        (pack,) = service.packs.values()
        heard: list[float] = []
        hear: Callable[..., None] = pack.hear

        def note(reading: object, now: float) -> None:
            heard.append(now)
            hear(reading, now)

        monkeypatch.setattr(pack, "hear", note)
        loop = asyncio.get_running_loop()
        await until(lambda: bool(heard))
        begun = loop.time()
        await took(board_at(parse_target("sim://jbd?seed=1")))
        times = [begun, *(at for at in heard if at > begun), loop.time()]
        gaps = [later - earlier for earlier, later in pairwise(times)]
        # 2 s, one piece and one reading
        assert max(gaps) < 3.5, gaps
        assert loop.time() - begun > 3


async def test_some_settings_of_a_served_pack_by_name() -> None:
    async with served("sim://jbd?seed=1"), board_at(parse_target("sim://jbd?seed=1")) as board:
        identity, table = await survey(board, ["cell_ovp"])
        assert identity.protocol == "jbd"
        assert table.values()["cell_ovp"] is not None
        assert len(table.image) == 1
        with pytest.raises(SettingError, match="cell_owp"):
            await survey(board, ["cell_owp"])
