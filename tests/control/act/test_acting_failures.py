"""What each failure does (docs/acting.md), on every dialect that can switch: the rows that
`test_acting_boards.py` does not have."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_acting_boards import DIALECTS, FREE, HELD, acting

import bmslink
from bmslink.control import Demand
from bmslink.errors import GateError
from bmslink.runtime.acting.acting_side import ActingSide
from bmslink.runtime.acting.direct import do_directly
from bmslink.runtime.acting.orphans import orphans
from bmslink.runtime.acting.people import ActingWish
from bmslink.testing import SimulatedPack

SWITCH_FETS = [name for name in DIALECTS if name != "jk04"]


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BMSLINK_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("BMSLINK_JOURNAL", str(tmp_path / "journal"))


@pytest.mark.parametrize("protocol", SWITCH_FETS)
async def test_a_sink_that_dies_opens_the_switch_at_once(protocol: str) -> None:
    async with acting(protocol) as program:
        program.alive = {"charge": True}
        program.pack.disobey_limits()
        program.pack.set_load(50.0)
        await program.cycles(FREE, 3)
        assert await program.cycles(Demand.OPEN, 1) == [], "it waits for the current to fall"
        program.alive = {}
        assert await program.cycles(Demand.OPEN, 1) == [False]
        assert "sink_lost" in program.said
        await program.cycles(Demand.OPEN, 4)
        assert not program.on


@pytest.mark.parametrize("protocol", SWITCH_FETS)
async def test_an_emergency_is_answered_once_though_we_stand_down(protocol: str) -> None:
    async with acting(protocol) as program:
        program.pack.second_host(10.0)
        await program.cycles(Demand.OPEN, 40)
        assert "stand_down" in program.said
        assert program.on
        assert await program.cycles(HELD, 40) == [False], "once, whoever switches on again"
        assert program.on


@pytest.mark.parametrize("protocol", SWITCH_FETS)
async def test_a_board_that_restarts_under_an_off_that_was_not_read_back(protocol: str) -> None:
    """It obeys nothing, restarts, and obeys again: it is off as soon as it shows."""
    async with acting(protocol) as program:
        program.pack.advance(3600.0)
        program.pack.ignore_commands()
        await program.cycles(HELD, 20)
        assert program.on
        program.pack.repair("command_ignored")
        program.pack.reboot(forgets=True)
        await program.cycles(HELD, 35)
        assert not program.on
        assert "stand_down" not in program.said


@pytest.mark.parametrize("protocol", DIALECTS)
async def test_two_programs_on_one_machine(protocol: str) -> None:
    """One acts, the other one says so and sends nothing."""
    pack = SimulatedPack(protocol, cells=None if protocol == "jk04" else 4)

    def side(board: bmslink.board.Board) -> ActingSide:
        return ActingSide(
            board, "", "", enforce=False, interval=1.0, note=lambda event, **data: None,
            tell=lambda what, text, **data: None, target=pack.target, waive=["untested"],
        )  # fmt: skip

    async with (
        bmslink.connect(pack.target).board as first,
        bmslink.connect(pack.target).board as second,
    ):
        one, other = side(first), side(second)
        await one.begin_for_people(await first.who())
        with pytest.raises(GateError, match="Another program on this machine acts"):
            await other.begin_for_people(await second.who())
        await other.close()
        await one.close()
        assert pack.counters["commands"] == 0
        await other.begin_for_people(await second.who())
        await other.close()


@pytest.mark.parametrize("protocol", DIALECTS)
async def test_a_host_that_never_returns(protocol: str) -> None:
    """Who it was that switched off, and how it goes on without us, can be asked afterwards."""
    name = "balance" if protocol == "jk04" else "charge"
    pack = SimulatedPack(protocol, cells=None if protocol == "jk04" else 4)
    async with bmslink.connect(pack.target).board as board:
        wish = ActingWish(do="off", switch=name)
        await do_directly(board, wish, "anna", waive=["untested"])
    assert pack.truth().to_dict()[f"{name}_switch"] is False
    async with bmslink.connect(pack.target).board as board:
        (row,) = (await orphans(board)).rows
        assert (row.switch, row.by, row.shown, row.source) == (name, "person", False, "ledger")
        assert row.command == f"bmslink switch '{pack.target}' {name} on"


@pytest.mark.parametrize("protocol", DIALECTS)
async def test_an_off_is_verified_within_two_polls(protocol: str) -> None:
    async with acting(protocol) as program:
        assert await program.cycles(HELD, 1) == [False]
        await program.cycles(HELD, 2)
        assert "read_back" in program.said
        assert not program.on
