"""What changes beside a switch, and another board that answers after it, on hostile boards."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

import bmslink
from bmslink.board import Board as OurBoard
from bmslink.cli import app
from bmslink.config import Outcome, resume, switch
from bmslink.errors import UsageError
from bmslink.model import Command, Switch
from bmslink.storage.journal import Journal
from hostile.board import Board, Effect, Quirk, Unit
from hostile.line import BOARDS, Port, reachable
from hostile.quirks import parse
from support import virtual_run

PLACE = "127.0.0.1:47002"
OFF, ON = Command(Switch.CHARGE, False), Command(Switch.CHARGE, True)
FOREIGN = "foreign-master=register:cell_uvp,add:20"
ALL = sorted(BOARDS)


def run(board: Board, act: Callable[[OurBoard], Awaitable[Outcome]]) -> Outcome:
    async def main() -> Outcome:
        async with bmslink.connect(f"{board.name}+tcp://{PLACE}").board as device:
            return await act(device)

    with reachable(PLACE, Port(board)):
        return virtual_run(main())


def hostile(dialect: str, *quirks: str) -> Board:
    return BOARDS[dialect](*(parse(quirk) for quirk in quirks))


@pytest.mark.parametrize("dialect", ALL)
@pytest.mark.parametrize("quirk", ["", FOREIGN])
def test_what_was_read_before_off_is_compared_after_it(
    dialect: str, quirk: str, tmp_path: Path
) -> None:
    board = hostile(dialect, *filter(None, [quirk]))

    async def act(device: OurBoard) -> Outcome:
        table = await device.settings()
        before = board.requests
        outcome = await switch(device, OFF, waive=("untested",), journal=Journal(tmp_path))
        assert board.writes == 1
        assert board.requests > before + 1
        now = (await device.settings()).values()
        changed = {key for key, value in table.values().items() if now[key] != value}
        assert changed - {"charge_switch"} == ({"cell_uvp"} if quirk else set())
        return outcome

    outcome = run(board, act)
    assert outcome.result == ("unproven" if quirk else "done")
    assert ("cell_uvp 2." in outcome.sentence) is bool(quirk)
    assert ("Nothing was set back" in outcome.sentence) is bool(quirk)
    assert not any("not looked at" in note for note in outcome.notes)


@pytest.mark.parametrize("dialect", ALL)
def test_off_says_that_nothing_was_read_before(dialect: str, tmp_path: Path) -> None:
    async def act(device: OurBoard) -> Outcome:
        return await switch(device, OFF, waive=("untested",), journal=Journal(tmp_path))

    outcome = run(hostile(dialect), act)
    assert outcome.result == "done"
    assert any("not looked at" in note for note in outcome.notes)


@pytest.mark.parametrize("dialect", ALL)
def test_settings_that_cannot_be_read_again_are_in_doubt(
    dialect: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def act(device: OurBoard) -> Outcome:
        await device.settings()

        async def deaf(*_: object) -> None:
            raise bmslink.errors.FrameError("The line is disturbed.")

        read = device.settings

        async def settings(
            found: bmslink.protocols.common.settings_map.SettingsMap | None = None,
        ) -> object:
            return await (deaf() if found is device.driver.settings.own_map else read(found))

        monkeypatch.setattr(device, "settings", settings)
        return await switch(device, OFF, waive=("untested",), journal=Journal(tmp_path))

    outcome = run(hostile(dialect), act)
    assert outcome.result == "unproven"
    assert "is not known: The line is disturbed." in outcome.sentence


class Exchanged(Quirk):
    """Right after the answer to a write another board is on the line, where it is so already."""

    def attach(self, board: Board) -> None:
        board.units.append(
            Unit(board.factory(), {name: f"{text}?" for name, text in board.identity().items()})
        )

    def written(self, board: Board, effect: Effect) -> None:
        for address, word in board.words(effect.register, effect.data):
            board.units[1].memory[address] = word
        board.later(0.1, lambda: setattr(board, "at", 1))


@pytest.mark.parametrize(
    ("dialect", "command"), [*((dialect, OFF) for dialect in ALL), ("jbd", ON)]
)
def test_a_switch_counts_where_the_board_that_was_asked_shows_it(
    dialect: str, command: Command, tmp_path: Path
) -> None:
    board = BOARDS[dialect](Exchanged())

    async def act(device: OurBoard) -> Outcome:
        await device.identify()
        return await switch(device, command, waive=("untested",), journal=Journal(tmp_path))

    outcome = run(board, act)
    assert outcome.result == "unproven"
    assert "not the board from before" in outcome.sentence


def test_on_goes_to_no_board_that_came_since(tmp_path: Path) -> None:
    board = hostile("jbd", "swaps=hangs_up:no,seconds:0.3,different:yes")
    board.unit.memory[board.register("fets")] = b"\0\1"

    async def act(device: OurBoard) -> Outcome:
        return await switch(device, ON, journal=Journal(tmp_path))

    outcome = run(board, act)
    assert [write.unit for write in board.log if write.by == "asked"] == [0]
    assert outcome.result == "unproven"
    assert "another board" in outcome.sentence


@pytest.mark.parametrize("different", ["yes", "no"])
def test_off_is_sent_again_to_the_board_that_was_asked_only(different: str, tmp_path: Path) -> None:
    """A pack that is known, and a line that is silent for longer than a second."""
    board = hostile("jbd", f"swaps=hangs_up:no,seconds:2.5,different:{different}")

    async def act(device: OurBoard) -> Outcome:
        device.link.timing = bmslink.link.link.Timing(timeout=2.0)
        await device.identify()
        return await switch(device, OFF, journal=Journal(tmp_path))

    outcome = run(board, act)
    units = {write.unit for write in board.log if write.by == "asked"}
    assert units == ({0} if different == "yes" else {0, 1})
    assert outcome.result == ("unproven" if different == "yes" else "done")


# ----------------------------------------------------------------------------------- one rule


def test_a_switch_has_no_waiver_that_a_setting_asks_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    board = hostile("jk-modbus")

    async def act(device: OurBoard) -> Outcome:
        for command in (OFF, ON):
            for wrong in ("jk_port_rs485", "untestd", "--untested", ""):
                with pytest.raises(UsageError, match="no waiver"):
                    await switch(device, command, waive=(wrong,), journal=Journal(tmp_path))
                with pytest.raises(UsageError, match="no waiver"):
                    await resume(device, waive=(f"{wrong}x",), journal=Journal(tmp_path))
        assert not board.requests
        return await switch(device, OFF, waive=("untested",), journal=Journal(tmp_path))

    assert run(board, act).result == "done"
    argv = ["switch", "sim://jk-modbus", "charge", "off", "--yes", "--waive", "jk_port_rs485"]
    assert app.main(argv) == 2
    assert "no waiver" in capsys.readouterr().err
