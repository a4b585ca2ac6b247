"""Daly D2 computes a warning anew when its limit is written. No state on the way contradicts
itself all the same."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from bmslink import connect
from bmslink.config import apply, draft, resume
from bmslink.config.order import backwards
from bmslink.errors import VerifyError
from bmslink.protocols.daly.registers.map import RECOMPUTED
from bmslink.simulation.boards.daly_d2 import DalyD2Responder
from bmslink.storage.journal import Journal
from config_faults import Killed, World, equal

ROUND = 9.0
"""What a round of writes and proof takes at least, s."""
D2 = "sim://daly-d2?cells=16&chemistry=lfp&load=idle&soc=50"


@pytest.fixture
def states(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, float]]:
    """What the board holds after each write that it takes."""
    found: list[dict[str, float]] = []
    store = DalyD2Responder._write

    def write(self: DalyD2Responder, register: int, words: list[int]) -> bool:
        done = store(self, register, words)
        values = self._values()
        names = {*RECOMPUTED, *(each.key for each in RECOMPUTED.values())}
        found.append({name: values[name] for name in names})
        return done

    monkeypatch.setattr(DalyD2Responder, "_write", write)
    return found


def safe(held: Mapping[str, Any], key: str) -> bool:
    """Whether a warning comes before its limit."""
    warning, limit = held[f"{key}_warning"], held[key]
    return bool(warning >= limit) if key.endswith("uvp") else bool(warning <= limit)


@pytest.mark.parametrize(
    ("wanted", "writes"),
    [
        ({"cell_ovp": 3.5}, 2),  # past its warning of 3.55 V, which follows
        ({"cell_ovp": 3.5, "cell_ovp_warning": 3.4}, 2),
        ({"cell_uvp": 3.0}, 2),
        ({"cell_uvp": 2.9, "cell_uvp_warning": 3.0}, 2),
        ({"pack_ovp": 56.0, "pack_ovp_warning": 55.0}, 2),
        ({"pack_uvp": 46.0}, 2),
        ({"charge_ocp": 50}, 2),
        ({"discharge_ocp": 60, "discharge_ocp_warning": 30}, 2),
        ({"cell_ovp": 3.5, "cell_uvp": 3.0, "charge_ocp": 40}, 6),
        ({"cell_ovp": 3.68, "cell_ovp_warning": 3.66}, 2),  # wider
    ],
)
async def test_a_limit_is_set_past_its_warning_in_two_writes(
    wanted: dict[str, float], writes: int, states: list[dict[str, float]], tmp_path: Path
) -> None:
    journal = Journal(tmp_path)
    async with connect(D2).board as device:
        before = (await device.settings()).values()
        plan = await draft(device, wanted, journal=journal)
        assert not plan.blocked, plan.blocked
        assert (await apply(device, plan, journal=journal)).result == "done"
        after = (await device.settings()).values()
    assert len(plan.frames) == len(states) == writes
    for key, value in wanted.items():
        assert after[key] == pytest.approx(value)
    for key in {key.removesuffix("_warning") for key in wanted}:
        way = [before[key], *(state[key] for state in states)]
        assert way in (sorted(way), sorted(way, reverse=True)), f"{key} went to and fro: {way}"
        assert all(safe(state, key) for state in states), states


async def test_setting_back_ends_with_the_warnings_as_they_were(
    states: list[dict[str, float]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit first: written the other way round, the board would move the warning again."""
    journal = Journal(tmp_path)
    async with connect(D2).board as device:
        before = (await device.settings()).values()
        plan = await draft(device, {"cell_ovp": 3.5, "cell_uvp": 3.0}, journal=journal)
        again = DalyD2Responder._write

        def stuck(self: DalyD2Responder, register: int, words: list[int]) -> bool:
            return (register == 0x8D and words == [3300]) or again(self, register, words)

        monkeypatch.setattr(DalyD2Responder, "_write", stuck)
        with pytest.raises(VerifyError, match="Everything was set back"):
            await apply(device, plan, journal=journal)
        after = (await device.settings()).values()
        settings = plan.table.map
    assert after == before
    assert all(safe(state, key) for state in states for key in ("cell_ovp", "cell_uvp")), states
    assert backwards(settings, [0x8C, 0x8B, 0x8E, 0x8D]) == [0x8E, 0x8C, 0x8D, 0x8B]


async def test_frames_are_numbered_and_tied_to_their_rows(tmp_path: Path) -> None:
    async with connect("sim://jbd?load=idle&cells=16").board as device:
        plan = await draft(device, {"cell_ovp": 3.6, "cell_uvp": 2.9}, journal=Journal(tmp_path))
    told = plan.to_dict()
    assert [each["hex"] for each in told["numbered_frames"]] == told["frames"]
    assert [each["number"] for each in told["numbered_frames"]] == [1, 2, 3, 4]
    by_number = {each["number"]: each["keys"] for each in told["numbered_frames"]}
    assert by_number[1] == by_number[4] == []  # factory mode, entered and left
    for change in told["changes"]:
        for row in change["settings"]:
            assert row["frame"] == change["frame"]
            assert row["key"] in by_number[row["frame"]]


async def test_a_warning_that_is_to_stay_is_written_again_behind_its_limit(
    states: list[dict[str, float]], tmp_path: Path
) -> None:
    """Else it would be found astray, and cost another round of proof."""
    journal = Journal(tmp_path)
    async with connect(D2).board as device:
        plan = await draft(device, {"cell_ovp": 3.62}, journal=journal)
        assert [change.keys for change in plan.changes] == [("cell_ovp",), ("cell_ovp_warning",)]
        loop = asyncio.get_running_loop()
        begun = loop.time()
        outcome = await apply(device, plan, journal=journal)
        assert loop.time() - begun < 2 * ROUND
    assert (outcome.result, outcome.notes) == ("done", [])
    assert outcome.sentence.startswith("1 setting written")
    assert [state["cell_ovp_warning"] for state in states] == [pytest.approx(3.57), 3.55]


@pytest.mark.parametrize("wish", [{"cell_ovp": 3.5}, {"cell_ovp": 3.62}, {"cell_uvp": 3.0}])
@pytest.mark.parametrize("after", [0, 1])
@pytest.mark.parametrize("back", [False, True])
async def test_a_change_that_was_cut_off_is_ended_without_a_question(
    wish: dict[str, object], after: int, back: bool, tmp_path: Path
) -> None:
    """What the board computed anew meanwhile is neither the old nor the new value."""
    world = World("daly-d2", tmp_path)
    plan = await world.plan(wish)
    device = world.device()
    await device.open()

    def dying() -> None:
        world.dead = world.writes > after

    world.on_write = dying
    with suppress(Killed):
        await apply(device, plan, journal=world.journal)
    world.recover()
    world.on_write = lambda: None
    async with world.device() as device:
        outcome = await resume(device, rollback=back, journal=world.journal)
    assert outcome.result == ("rolled back" if back else "done")
    expected = {**plan.table.image, **({} if back else plan.goal)}
    assert equal(await world.table(), expected)
