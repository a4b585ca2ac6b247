"""What changes a Daly board: clock and charge, FETs, and who asks."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from bmslink.errors import SettingError
from bmslink.link.gatt import Seen
from bmslink.model import Adjustment, Command, Switch
from bmslink.protocols.daly.a5.driver import DalyA5
from bmslink.protocols.daly.settings import moment_bytes, moment_of
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
            step = await driver.adjust_step(wish)
            assert (step.what, step.once) == ("clock and charge", False)
            return driver.link.framer.encode(step.frame).hex()

        assert await sent(Adjustment(clock=MOMENT, soc=30.0)) == SET_BOTH
        assert board.sent == []
        assert await sent(Adjustment(soc=30.0)) == SET_BOTH
        assert board.sent == [ASK_CLOCK]
        assert await sent(Adjustment(clock=MOMENT)) == "a5402108160c0d151d2703bc55"  # 95.6 %
        assert board.sent == [ASK_CLOCK, ASK_PACK]
        assert await driver.clock() == MOMENT

    drive(DalyA5, {ASK_CLOCK: CLOCK, ASK_PACK: PACK}, use)


def test_a_charge_without_a_clock_to_set_along_is_refused() -> None:
    async def use(driver: DalyA5, board: Scripted) -> None:
        assert await driver.clock() is None
        with pytest.raises(SettingError, match="set both"):
            await driver.adjust_step(Adjustment(soc=30.0))
        assert set(board.sent) == {ASK_CLOCK}

    drive(DalyA5, {}, use)


@pytest.mark.parametrize("soc", [-0.1, 100.1])
def test_no_board_is_told_an_impossible_charge(soc: float) -> None:
    async def use(driver: DalyA5, board: Scripted) -> None:
        with pytest.raises(SettingError, match="0 to 100 %"):
            await driver.adjust_step(Adjustment(clock=MOMENT, soc=soc))

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
        assert board.sent == [status]  # not as a PC first
        for command, frame in frames.items():
            step = await driver.switch_step(command)
            assert driver.link.framer.encode(step.frame).hex() == frame
        with pytest.raises(SettingError, match="nothing proves how this protocol"):
            await driver.switch_step(Command(Switch.BALANCE, False))

    answers = {status: "a50194080e0200000000003a8c"}
    drive(DalyA5, answers, use, peer=Seen(address="A4:C1:37:00:11:22"))


def test_bytes_that_are_no_moment() -> None:
    assert moment_of(moment_bytes(MOMENT)) == MOMENT
    assert moment_bytes(MOMENT) == bytes.fromhex("160c0d151d27")
    for nonsense in (bytes(6), b"\xff" * 8, b"\x16\x0c", b""):
        assert moment_of(nonsense) is None
    summer = datetime(2022, 7, 1, 12).astimezone()
    assert moment_of(moment_bytes(summer)) - summer == timedelta(0)
