"""What changes a Daly board: clock and charge, FETs, and who asks."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from bmslink.errors import SettingError
from bmslink.link.gatt import SeenDevice
from bmslink.model import Adjustment, Command, Identity, Switch
from bmslink.protocols.common.rtu import RTUFrame
from bmslink.protocols.daly.a5.driver import DalyA5
from bmslink.protocols.daly.registers.d2 import DalyD2
from bmslink.protocols.daly.registers.p81 import DalyP81
from bmslink.protocols.daly.settings import moment_bytes, moment_of
from register_support import Blocks, Board, captured_blocks, run
from script_support import Scripted, drive

ASK_CLOCK, CLOCK = "a540610800000000000000004e", "a5016108160c0d151d27000097"
ASK_PACK, PACK = "a540900800000000000000007d", "a501900802100000756f03bcf3"  # mpp-soc-others
MOMENT = datetime(2022, 12, 13, 21, 29, 39).astimezone()
# daly-a5-uart-setrtcsoc-tx: 2022-12-13 21:29:39 and 30.0 %
SET_BOTH = "a5402108160c0d151d27012cc3"


def test_clock_and_charge_go_out_in_one_frame() -> None:
    """Whichever is not set is read first and sent along."""

    async def use(driver: DalyA5, board: Scripted) -> None:
        async def sent(wish: Adjustment) -> str:
            step = await driver.clock_soc.command(wish)
            assert (step.what, step.once) == ("clock and charge", False)
            return driver.link.framer.encode(step.frame).hex()

        assert await sent(Adjustment(clock=MOMENT, soc=30.0)) == SET_BOTH
        assert board.frames == []
        assert await sent(Adjustment(soc=30.0)) == SET_BOTH
        assert board.frames == [ASK_CLOCK]
        assert await sent(Adjustment(clock=MOMENT)) == "a5402108160c0d151d2703bc55"  # 95.6 %
        assert board.frames == [ASK_CLOCK, ASK_PACK]
        assert await driver.clock_soc.clock() == MOMENT

    drive(DalyA5, {ASK_CLOCK: CLOCK, ASK_PACK: PACK}, use)


def test_a_charge_without_a_clock_to_set_along_is_refused() -> None:
    async def use(driver: DalyA5, board: Scripted) -> None:
        assert await driver.clock_soc.clock() is None
        with pytest.raises(SettingError, match="set both"):
            await driver.clock_soc.command(Adjustment(soc=30.0))
        assert set(board.frames) == {ASK_CLOCK}

    drive(DalyA5, {}, use)


@pytest.mark.parametrize("soc", [-0.1, 100.1])
def test_no_board_is_told_an_impossible_charge(soc: float) -> None:
    async def use(driver: DalyA5, board: Scripted) -> None:
        with pytest.raises(SettingError, match="0 to 100 %"):
            await driver.clock_soc.command(Adjustment(clock=MOMENT, soc=soc))

    drive(DalyA5, {}, use)


def test_fets_are_switched_as_the_app_does() -> None:
    """daly-a5-ble-mos-commands-tx, through a module: the host is 80 there."""
    frames = {
        Command(Switch.CHARGE, False): "a580da08000000000000000007",
        Command(Switch.CHARGE, True): "a580da08010000000000000008",
        Command(Switch.DISCHARGE, False): "a580d908000000000000000006",
        Command(Switch.DISCHARGE, True): "a580d908010000000000000007",
    }
    status = "a58094080000000000000000c1"

    async def use(driver: DalyA5, board: Scripted) -> None:
        await driver.start()
        assert board.frames == [status]  # not as a PC first
        for command, frame in frames.items():
            step = await driver.switches.command(command)
            assert driver.link.framer.encode(step.frame).hex() == frame
        with pytest.raises(SettingError, match="nothing proves how this protocol"):
            await driver.switches.command(Command(Switch.BALANCE, False))

    answers = {status: "a50194080e0200000000003a8c"}
    drive(DalyA5, answers, use, peer=SeenDevice(address="A4:C1:37:00:11:22"))


def test_bytes_that_are_no_moment() -> None:
    assert moment_of(moment_bytes(MOMENT)) == MOMENT
    assert moment_bytes(MOMENT) == bytes.fromhex("160c0d151d27")
    for nonsense in (bytes(6), b"\xff" * 8, b"\x16\x0c", b""):
        assert moment_of(nonsense) is None
    summer = datetime(2022, 7, 1, 12).astimezone()
    assert moment_of(moment_bytes(summer)) - summer == timedelta(0)


# ------------------------------------------------------------------------------ the register maps

STATUS, VERSIONS, CLOCK_REGISTERS = (0x00, 0x3E), (0xA9, 0x20), (0xD4, 3)


def d2_blocks() -> Blocks:
    return captured_blocks(DalyD2, "daly-d2-balancer-btsnoop")


def patched(block: bytes, register: int, value: int) -> bytes:
    (frame,) = DalyD2.make_framer().feed(block)
    data = bytearray(frame.data)
    data[2 * register : 2 * register + 2] = value.to_bytes(2, "big")
    return DalyD2.make_framer().encode(RTUFrame(unit=frame.unit, shape="data", data=bytes(data)))


def test_off_asks_for_the_versions_only() -> None:
    async def use(driver: DalyD2, board: Board) -> None:
        found = await driver.settings.find_switch_map(None)
        assert board.asked == [VERSIONS]
        assert "30_231111_200B" in found.evidence
        assert await driver.settings.find_switch_map(Identity(firmware="1")) is not found
        driver.settings.own_map = found
        assert await driver.settings.find_switch_map(None) is found
        assert board.asked == [VERSIONS]

    run(DalyD2, d2_blocks(), use)


def test_p81_off_asks_for_the_versions_only() -> None:
    async def use(driver: DalyP81, board: Board) -> None:
        assert (await driver.settings.find_switch_map(None)).name == "daly-p81"
        assert len(set(board.asked)) == 1
        assert {0x17F, 0x186} <= {r for first, n in board.asked for r in range(first, first + n)}

    run(DalyP81, {}, use)


def test_between_two_questions_for_as_much_something_else_is_asked() -> None:
    """An answer names no register: a late one would pass for the next question's."""
    blocks = d2_blocks()
    same = {(0x80, 0x20): blocks[VERSIONS]}

    async def use(driver: DalyD2, board: Board) -> None:
        await driver.ask_bytes(*VERSIONS)
        await driver.ask_bytes(*VERSIONS)
        assert board.asked == [VERSIONS] * 2
        await driver.ask_bytes(0x80, 0x20)
        assert board.asked[2:] == [STATUS, (0x80, 0x20)]

    run(DalyD2, blocks | same, use)


@pytest.mark.parametrize(("cells", "asked"), [(32, False), (33, True), (48, True)])
def test_cells_behind_the_32nd_are_asked_for_where_there_are_some(cells: int, asked: bool) -> None:
    blocks = d2_blocks()
    blocks[STATUS] = patched(blocks[STATUS], 0x31, cells)

    async def use(driver: DalyD2, board: Board) -> None:
        await driver.read()
        assert ((0x47, 16) in board.asked) == asked

    run(DalyD2, blocks, use)


def test_a_register_board_takes_a_clock_and_no_charge() -> None:
    """daly-d2-balancer-btsnoop: three registers at once, without a byte count."""
    moment = datetime(2024, 11, 7, 9, 52, 28).astimezone()

    async def use(driver: DalyD2, board: Board) -> None:
        step = await driver.clock_soc.command(Adjustment(clock=moment))
        assert DalyD2.make_framer().encode(step.frame).hex() == "d21000d40003180b0709341cf7d8"
        with pytest.raises(SettingError, match="nobody has recorded its register"):
            await driver.clock_soc.command(Adjustment(soc=30.0))
        assert await driver.clock_soc.clock() == moment
        assert board.asked == [CLOCK_REGISTERS]

    clock = RTUFrame(unit=0xD2, shape="data", data=bytes.fromhex("180b0709341c"))
    run(DalyD2, {CLOCK_REGISTERS: DalyD2.make_framer().encode(clock)}, use)
