"""What changes a JBD board: factory mode, the locks of its FETs, its registers, its module."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from bmslink.errors import LinkTimeout, PortDenied, Refused, SettingError
from bmslink.link.gatt import SeenDevice
from bmslink.model import Command, Identity, Switch
from bmslink.protocols.base import Options
from bmslink.protocols.common.settings_map import Slot
from bmslink.protocols.jbd.auth import hardware_address
from bmslink.protocols.jbd.driver import JBD
from bmslink.protocols.jbd.map import balance_map, jbd_map
from bmslink.protocols.jbd.settings import REGISTERS
from bmslink.protocols.jbd.up.driver import JBDUP
from bmslink.protocols.jbd.writing import _to_its_end
from script_support import Scripted, drive

ASK_BASIC = "dda50300fffd77"
# jbd-syssi-readme-softlock: charging is locked by command (protection 1000, state 02)
CHARGE_LOCKED = "dd03001d060b000001ed01f400002c7c00000000100080630204030ba00b9d0b98fa5577"
# the same with a protection (1001) and both FETs off
BOTH_OFF = "dd03001d060b000001ed01f400002c7c00000000100180630004030ba00b9d0b98fa5677"
# jbd-syssi-sp04s034-btsnoop-balancer-2: nothing is locked
FREE = "dd03001d0534000068c96d6000002c7c00000000000080600304030b6d0b6d0b69fab677"
ENTER, ENTERED = "dd5a00025678ff3077", "dd000000000077"
LEAVE, LEFT = "dd5a01020000fffd77", "dd010000000077"
ASK_24, CLOSED_24, TOLD_24 = "dda52400ffdc77", "dd248100ff7f77", "dd240002006cff9277"


def frame_of(answer: Any, driver: JBD) -> str:
    return driver.link.framer.encode(answer.frame).hex()


def test_a_lock_of_the_other_fet_is_kept() -> None:
    """E1 sets both locks at once: discharging off keeps charging locked, on frees its own only."""

    async def use(driver: JBD, board: Scripted) -> None:
        step = await driver.switches.command(Command(Switch.DISCHARGE, False))
        assert frame_of(step, driver) == "dd5ae1020003ff1a77"
        assert step.others == {Switch.CHARGE: False}
        step = await driver.switches.command(Command(Switch.DISCHARGE, True))
        assert frame_of(step, driver) == "dd5ae1020001ff1c77"  # sp04s034-mos
        step = await driver.switches.command(Command(Switch.CHARGE, True))
        assert frame_of(step, driver) == "dd5ae1020000ff1d77"
        step = await driver.switches.off_command(Switch.DISCHARGE, lambda switch: None)
        assert (frame_of(step, driver), step.doubt) == ("dd5ae1020003ff1a77", "")

    drive(JBD, {ASK_BASIC: CHARGE_LOCKED}, use)


def test_no_lock_is_made_of_a_protection() -> None:
    async def use(driver: JBD, board: Scripted) -> None:
        step = await driver.switches.command(Command(Switch.CHARGE, False))
        assert frame_of(step, driver) == "dd5ae1020001ff1c77"

    free = bytearray.fromhex(FREE)
    # protection 0001 and charging off by it (state 02): the checksum does not change
    free[21], free[24] = free[21] + 1, free[24] - 1
    assert free.hex()[40:44] == "0001"
    drive(JBD, {ASK_BASIC: free.hex()}, use)


@pytest.mark.parametrize(
    ("remembered", "sent", "doubt"),
    [
        (True, "dd5ae1020001ff1c77", ""),
        (False, "dd5ae1020003ff1a77", ""),
        (None, "dd5ae1020003ff1a77", "Whether discharge was locked as well does not show"),
    ],
)
def test_a_protection_hides_the_locks(remembered: bool | None, sent: str, doubt: str) -> None:
    """Switching on is refused then; off is not, and leaves the other FET as it was last left."""

    async def use(driver: JBD, board: Scripted) -> None:
        with pytest.raises(Refused, match="cannot be told now"):
            await driver.switches.command(Command(Switch.CHARGE, True))
        step = await driver.switches.off_command(Switch.CHARGE, {Switch.DISCHARGE: remembered}.get)
        assert frame_of(step, driver) == sent
        assert step.doubt.startswith(doubt)
        assert bool(step.doubt) == bool(doubt)

    drive(JBD, {ASK_BASIC: BOTH_OFF}, use)


def test_off_waits_for_no_board_that_refuses_to_tell() -> None:
    """An error for 03 tells no locks: both are locked where nothing is remembered."""

    async def use(driver: JBD, board: Scripted) -> None:
        step = await driver.switches.off_command(Switch.DISCHARGE, lambda switch: None)
        assert frame_of(step, driver) == "dd5ae1020003ff1a77"
        assert "charge was locked as well" in step.doubt

    drive(JBD, {ASK_BASIC: "dd038000ff8077"}, use)


def test_factory_mode_is_entered_and_left() -> None:
    async def use(driver: JBD, board: Scripted) -> None:
        async with driver.settings.session(writing=False):
            assert board.frames == [ASK_24, ENTER]
        assert board.frames == [ASK_24, ENTER, LEAVE]
        board.frames.clear()
        with pytest.raises(ValueError, match="trouble"):
            async with driver.settings.session(writing=True):
                raise ValueError("trouble")
        assert board.frames[:2] == [ASK_24, ENTER]
        assert set(board.frames[2:]) == {"dd5a01022828ffad77"}  # nobody answers for it here

    drive(JBD, {ASK_24: CLOSED_24, ENTER: ENTERED, LEAVE: LEFT}, use)


def test_factory_mode_that_was_left_open_is_closed_first(caplog: pytest.LogCaptureFixture) -> None:
    async def use(driver: JBD, board: Scripted) -> None:
        async with driver.settings.session(writing=False):
            assert board.frames == [ASK_24, LEAVE, ENTER]
        assert "factory mode was left open" in caplog.text

    drive(JBD, {ASK_24: TOLD_24, ENTER: ENTERED, LEAVE: LEFT}, use)


def test_a_board_that_says_nothing_of_its_registers_is_entered_all_the_same() -> None:
    async def use(driver: JBD, board: Scripted) -> None:
        async with driver.settings.session(writing=False):
            assert set(board.frames[:-1]) == {ASK_24}
            assert board.frames[-1] == ENTER

    drive(JBD, {ENTER: ENTERED, LEAVE: LEFT}, use)


def test_factory_mode_that_cannot_be_left(caplog: pytest.LogCaptureFixture) -> None:
    """After reading it is logged; after writing nothing is permanent, and that is an error."""

    async def use(driver: JBD, board: Scripted) -> None:
        async with driver.settings.session(writing=False):
            pass
        assert "factory mode could not be left" in caplog.text
        with pytest.raises(LinkTimeout):
            async with driver.settings.session(writing=True):
                pass

    drive(JBD, {ASK_24: CLOSED_24, ENTER: ENTERED}, use)


def test_a_register_that_the_firmware_lacks_is_absent() -> None:
    slots = [Slot(address=n, layout=REGISTERS[n]) for n in (0x24, 0x2F)]

    async def use(driver: JBD, board: Scripted) -> None:
        board.answers["dda52f00ffd177"] = "dd2f8000ff8077"
        assert await driver.settings.fetch(slots) == {0x24: bytes.fromhex("006c")}
        assert driver.settings.seen.latest(0x24) == bytes.fromhex("006c")
        board.answers["dda52f00ffd177"] = "dd2f8100ff7f77"  # closed: factory mode was not entered
        with pytest.raises(Refused):
            await driver.settings.fetch(slots)

    drive(JBD, {ASK_24: TOLD_24}, use)


def test_behind_an_address_nothing_is_changed_and_no_name_is_asked() -> None:
    async def use(driver: JBD, board: Scripted) -> None:
        able = driver.switches.can(Switch.CHARGE)
        assert (able.supported, able.reason) == (
            False,
            "behind an address JBD boards tell live values only",
        )
        for refused in (
            driver.settings.find_map(Identity()),
            driver.settings.find_switch_map(None),
            driver.switches.command(Command(Switch.CHARGE, False)),
            driver.switches.off_command(Switch.CHARGE, lambda switch: None),
        ):
            with pytest.raises(SettingError, match="ehind an address"):
                await refused
        with pytest.raises(SettingError, match="Behind an address"):
            driver.settings.write_command(Slot(address=0x24, layout=REGISTERS[0x24]), bytes(2))
        assert board.frames == []

    drive(JBD, {}, use, Options(address=1))


def test_the_map_for_off_is_that_of_one_bit() -> None:
    async def use(driver: JBD, board: Scripted) -> None:
        found = await driver.settings.find_switch_map(
            Identity(protocol="jbd", firmware="80", cell_count=4)
        )
        assert ([row.key for row in found.settings], found.read_only_reason) == (
            ["balance_switch"],
            "",
        )
        assert board.frames == []
        assert driver.settings.shipped() is found
        driver.settings.own_map = jbd_map(Identity(), {})
        assert await driver.settings.find_switch_map(None) is driver.settings.own_map

    drive(JBD, {}, use)


@pytest.mark.parametrize(
    ("words", "live", "why"),
    [
        ({}, None, "does not answer for the registers that say how it counts"),
        ({0x2D: "0006", 0x2F: "0005"}, None, "register 2F says 5 cells, the board reports 4"),
        ({0x2D: "0006", 0x2F: "0004"}, None, ""),
        ({0x2D: "0006", 0x2F: "0004"}, False, ""),
        ({0x2D: "0006", 0x2F: "0004"}, True, "count singly, the live values count tenfold"),
    ],
)
def test_registers_that_contradict_the_board_lock_the_map(
    words: dict[int, str], live: bool | None, why: str
) -> None:
    identity = Identity(protocol="jbd", firmware="80", cell_count=4)
    found = jbd_map(identity, {n: bytes.fromhex(raw) for n, raw in words.items()}, live)
    assert why in found.read_only_reason
    assert bool(found.read_only_reason) == bool(why)
    assert balance_map(identity).read_only_reason == ""


MODULE = SeenDevice(address="A4:C1:37:00:11:22")
HELLO = "ffaa15063030303030303b"


def test_a_module_that_asks_for_no_password_is_read_once_it_was_greeted() -> None:
    async def use(driver: JBD, board: Scripted) -> None:
        await driver.start()
        board.after[HELLO] = {ASK_BASIC: FREE}  # until then it is silent
        assert (await driver.identify()).cell_count == 4
        assert board.frames.count(HELLO) == 1

    drive(JBD, {HELLO: "ffaa15010218"}, use, peer=MODULE)


@pytest.mark.parametrize(
    ("answer", "why"),
    [("ffaa15010117", r"refuses us \(status 01\)"), ("ffaa15010016", "wants its password")],
)
def test_a_module_that_does_not_let_us_in(answer: str, why: str) -> None:
    async def use(driver: JBD, board: Scripted) -> None:
        await driver.start()
        with pytest.raises(PortDenied, match=why):
            await driver.read()
        assert set(board.frames) == {ASK_BASIC, HELLO}

    drive(JBD, {HELLO: answer}, use, peer=MODULE)


def test_a_wire_has_no_address_of_a_module() -> None:
    async def use(driver: JBD, board: Scripted) -> None:
        assert hardware_address(driver.link) is None

    drive(JBD, {}, use)


def test_behind_a_master_an_up_board_shows_no_settings() -> None:
    async def use(driver: JBDUP, board: Scripted) -> None:
        relayed = Identity(variant="relayed")
        assert driver.settings.likely_map(relayed) is None
        with pytest.raises(SettingError, match="ask it on its own line"):
            await driver.settings.find_map(relayed)
        assert board.frames == []

    drive(JBDUP, {}, use)


async def test_what_leaves_factory_mode_runs_to_its_end() -> None:
    """However often it is cancelled; what it raised is raised where nobody cancelled."""

    done = []

    async def leave() -> None:
        await asyncio.sleep(1)
        done.append("left")

    task = asyncio.ensure_future(_to_its_end(leave()))
    for _ in range(3):
        await asyncio.sleep(0.1)
        task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert done == ["left"]

    async def fail() -> None:
        raise LinkTimeout("silence")

    with pytest.raises(LinkTimeout, match="silence"):
        await _to_its_end(fail())
