"""What all protocols share: what a driver refuses by itself, dry runs, and the map of settings."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from construct import Bytes, BytesInteger, Int16ub, Struct

import bmslink.protocols as protocols
from bmslink.errors import FrameError, LinkTimeout, SettingError, TargetError, UsageError
from bmslink.model import Command, Identity, Switch
from bmslink.protocols import load_driver
from bmslink.protocols.abilities import (
    can_adjust,
    can_switch,
    clock_soc_of,
    is_setting,
    settings_of,
    switches_of,
)
from bmslink.protocols.common.fields import parse_value
from bmslink.protocols.common.settings_map import (
    SeenSettings,
    SettingsMap,
    SettingsSnapshot,
    Slot,
    WriteCommand,
    check_writable,
    silence_means_absent,
    some_of,
)
from bmslink.protocols.daly.a5.driver import DalyA5, DalyFrame
from bmslink.protocols.daly.sinowealth import DalySinowealth
from bmslink.protocols.names import no_name, vendor_names
from bmslink.protocols.parts import SettingsAccess, Switches
from bmslink.settings.setting import Evidence, Setting
from script_support import Scripted, drive

# ---------------------------------------------------------------------------------- the drivers


def test_a_protocol_is_loaded_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_driver("daly-a5") is DalyA5
    with pytest.raises(TargetError, match="Unknown protocol 'frob'; known: jk02, jk-nw"):
        load_driver("frob")
    monkeypatch.setitem(protocols.DRIVERS, "frob", "pathlib:Path")
    with pytest.raises(TypeError, match="pathlib:Path is no driver"):
        load_driver("frob")


def test_a_layout_of_one_value_is_read_whole_or_refused() -> None:
    """A layout that nothing has met: what is made of one is kept."""
    layout = BytesInteger(3)
    for _ in range(2):
        assert parse_value(layout, b"\1\2\3", "a word") == 0x010203
    with pytest.raises(FrameError, match="a word of 2 bytes does not fit"):
        parse_value(layout, b"\1\2", "a word")


def test_a_protocol_without_proof_writes_and_switches_nothing() -> None:
    """Every road to a frame that changes something is closed until a driver opens it."""

    async def use(driver: DalySinowealth, board: Scripted) -> None:
        assert (driver.settings, driver.switches, driver.clock_soc) == (None, None, None)
        for part in (settings_of, switches_of, clock_soc_of):
            with pytest.raises(SettingError, match="nothing proves"):
                part(driver)
        for able in (
            *(can_switch(driver, switch) for switch in Switch),
            *(can_adjust(driver, what) for what in ("clock", "soc")),
        ):
            assert (able.supported, able.reason.partition(" how ")[0]) == (False, "nothing proves")
        assert not any(is_setting(driver, switch) for switch in Switch)
        assert driver.every_map() == ()
        assert board.frames == []

    drive(DalySinowealth, {}, use)


def test_a_protocol_with_proof_has_its_parts() -> None:
    async def use(driver: DalyA5, board: Scripted) -> None:
        assert settings_of(driver) is driver.settings
        assert switches_of(driver) is driver.switches
        assert clock_soc_of(driver) is driver.clock_soc
        assert can_switch(driver, Switch.DISCHARGE).supported
        assert can_adjust(driver, "soc").supported
        assert board.frames == []

    drive(DalyA5, {}, use)


class Unopened(SettingsAccess[DalyFrame]):
    """A part that opens nothing."""

    async def find_map(self, identity: Identity) -> SettingsMap:
        return MAP

    async def fetch(self, slots: Sequence[Slot]) -> dict[int, bytes]:
        return {slot.address: bytes(2) for slot in slots}

    def _make_write(self, slot: Slot, data: bytes) -> WriteCommand[DalyFrame]:
        return WriteCommand(frame=DalyFrame(data=data), answer=None, what="it")


async def test_every_part_is_closed_until_a_driver_opens_it() -> None:
    part, switches = Unopened(), Switches[DalyFrame]("daly-a5")
    with pytest.raises(SettingError, match="not asked yet which settings it has"):
        part.write_command(LEVEL, bytes(4))
    with pytest.raises(SettingError, match="No switch is a setting"):
        await part.find_switch_map(None)
    assert part.likely_map(Identity()) is None
    assert await part.fetch_again([LEVEL]) == {2: bytes(2)}
    part.own_map = await part.find_map(Identity())
    with pytest.raises(SettingError, match="level"):  # whatever a dialect would make of it
        part.write_command(LEVEL, bytes.fromhex("000b0000"))
    assert part.write_command(LEVEL, bytes.fromhex("00050000")).frame.data == b"\0\5\0\0"
    for road in (
        switches.command(Command(Switch.CHARGE, True)),
        switches.off_command(Switch.CHARGE, lambda switch: None),
    ):
        with pytest.raises(SettingError, match="nothing proves"):
            await road
    with pytest.raises(SettingError, match="charge cannot be switched: nothing proves"):
        switches.require(Switch.CHARGE)


def test_a_dry_run_keeps_changes_and_sends_questions() -> None:
    """daly-a5-ble-mos-commands-tx as a PC sends it; another task's change goes out."""
    status, off = "a5409408000000000000000081", "a540da080000000000000000c7"
    on = "a540da080100000000000000c8"

    async def use(driver: DalyA5, board: Scripted) -> None:
        change = await driver.switches.command(Command(Switch.CHARGE, True))
        inside = asyncio.Event()

        async def another() -> None:
            await inside.wait()
            assert not driver.dry
            await driver.perform(await driver.switches.command(Command(Switch.CHARGE, False)))

        meanwhile = asyncio.ensure_future(another())
        with driver.collecting() as kept:
            assert driver.dry
            inside.set()
            assert not await driver.perform(change)  # nothing acknowledged it
            await driver.ask(0x94)
            await meanwhile
        assert not driver.dry
        assert [frame.hex() for frame in kept] == [on]
        assert sorted(board.frames) == [status, off]

    answers = {status: "a50194080e0200000000003a8c", off: "a501da08000000000000000088"}
    drive(DalyA5, answers, use)


# ------------------------------------------------------------------------------ maps of settings


BITS = Slot(address=1, layout=Struct("word" / Int16ub))
LEVEL = Slot(address=2, layout=Struct("level" / Int16ub, "reserved" / Bytes(2)))
LOST = Slot(address=3, layout=Struct("calibration" / Int16ub))
MAP = SettingsMap(
    name="made-up",
    evidence="",
    slots=(BITS, LEVEL, LOST),
    settings=(
        Setting(
            key="balance_switch",
            title="Balancer",
            slot=1,
            name="word",
            bit=2,
            kind="switch",
            evidence=Evidence.CAPTURE,
        ),
        Setting(
            key="level",
            title="Level",
            slot=2,
            minimum=1,
            maximum=10,
            step=1,
            evidence=Evidence.CAPTURE,
        ),
        Setting(
            key="calibration",
            title="Calibration",
            slot=3,
            minimum=1,
            maximum=10,
            step=1,
            reason="it calibrates",
            evidence=Evidence.CAPTURE,
        ),
    ),
)


@pytest.mark.parametrize(
    ("address", "data", "why"),
    [
        (9, "0001", "is not one that is ever written"),
        (3, "0001", "is not one that is ever written"),
        (2, "0005", "is 4 bytes long, not 2"),
        (2, "00050001", "bytes without a meaning must be 0"),
        (2, "000b0000", "level"),
        (1, "0005", "may not be written beside what is set"),
    ],
)
def test_bytes_that_may_not_be_written(address: int, data: str, why: str) -> None:
    seen = SeenSettings()
    seen.add({1: bytes.fromhex("0002"), 2: bytes.fromhex("00030000")})
    with pytest.raises(SettingError, match=why):
        check_writable(MAP, address, bytes.fromhex(data), seen)


def test_bytes_that_may_be_written() -> None:
    """A value within its limits, one that the board held before, and the bit of a switch alone."""
    seen = SeenSettings()
    seen.add({1: bytes.fromhex("0002"), 2: bytes.fromhex("00630000")})
    check_writable(MAP, 2, bytes.fromhex("000a0000"), seen)
    check_writable(MAP, 2, bytes.fromhex("00630000"), seen)
    check_writable(MAP, 1, bytes.fromhex("0006"), seen)
    check_writable(MAP, 1, bytes.fromhex("0002"), seen)
    with pytest.raises(SettingError, match="stays as it was read"):
        check_writable(
            MAP, 1, bytes.fromhex("0006"), SeenSettings()
        )  # never read: its neighbours are unknown


def test_what_a_slot_held_is_kept_sixteen_times() -> None:
    seen = SeenSettings()
    for value in range(20):
        seen.add({2: value.to_bytes(2, "big")})
    seen.add({2: (10).to_bytes(2, "big")})  # again: now it is the latest
    assert [int.from_bytes(raw, "big") for raw in seen.all(2)] == [
        *(n for n in range(4, 20) if n != 10),
        10,
    ]
    assert (seen.latest(2), seen.latest(3)) == (b"\0\x0a", None)
    with seen.vouching({3: b"\0\1"}):
        assert seen.all(3) == [b"\0\1"]
    assert seen.all(3) == []


def test_a_field_or_a_setting_that_is_not_there() -> None:
    with pytest.raises(SettingError, match="Setting 02 has no field height"):
        LEVEL.encode(bytes(4), {"height": 1})
    with pytest.raises(UsageError, match=r"This board \(made-up\) has no setting 'height'"):
        MAP.setting("height")
    table = SettingsSnapshot(map=MAP, image={2: bytes.fromhex("00030000")})
    assert (table.raw("level"), table.raw("balance_switch")) == (b"\0\3\0\0", None)
    assert table.values() == {"balance_switch": None, "level": 3, "calibration": None}
    with pytest.raises(SettingError, match="calibration is read-only: it calibrates"):
        MAP.encode({3: bytes(2)}, {"calibration": 2})
    with pytest.raises(SettingError, match="the board does not answer for it"):
        MAP.encode({}, {"level": 2})


def test_images_that_mean_the_same() -> None:
    """Bytes without a meaning make no difference, a slot that only one has does."""
    one = {1: b"\0\4", 2: bytes.fromhex("00030000")}
    assert MAP.differing(one, one | {2: bytes.fromhex("0003ffff")}) == []
    assert MAP.differing(one, one | {2: bytes.fromhex("00040000")}) == [2]
    assert MAP.differing(one, {2: one[2]}) == [1]


def test_silence_alone_means_that_a_setting_is_not_there() -> None:
    with silence_means_absent():
        raise LinkTimeout("nothing", heard="silence")
    for heard in ("garbage", "other"):
        with pytest.raises(LinkTimeout), silence_means_absent():
            raise LinkTimeout("something", heard=heard)
    with pytest.raises(LinkTimeout, match="answers for none"):
        some_of([LEVEL], {})
    assert some_of([], {}) == {}
    assert some_of([LEVEL], {2: b"x"}) == {2: b"x"}


# ------------------------------------------------------------------------------ names of settings


@pytest.mark.parametrize(
    ("key", "near"),
    [
        ("cell_ovp", None),
        ("cell_ovpp", "cell_ovp"),
        ("jk_smart_sleep_voltage", None),
        ("daly_boards", None),
        ("daly_board", "daly_boards"),
        ("qqqqqqqq", ""),
    ],
)
def test_a_slip_of_the_pen_is_the_name_of_no_setting(key: str, near: str | None) -> None:
    """`None`: some board has it; otherwise what is proposed instead."""
    said = no_name(key)
    if near is None:
        assert said == ""
    else:
        expected = f"no BMS has a setting {key!r}."
        assert said == (f"{expected} Did you mean {near}?" if near else expected)


def test_every_protocol_lends_its_names() -> None:
    """One that only this vendor's map has, each."""
    one_each = {
        "jk_smart_sleep_voltage",  # jk02, jk-modbus
        "jk_calibrating",  # jk-nw
        "daly_nominal_cell_voltage",  # daly-a5
        "daly_balance_stop_voltage",  # daly-p81
    }
    assert one_each <= vendor_names()
    assert not {"cell_ovp", "charge_switch"} & vendor_names()
