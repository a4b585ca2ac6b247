"""What changes a JK board: which registers it has, what it takes, and its clock."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bmslink import connect
from bmslink.config import apply, draft
from bmslink.errors import LinkTimeout, SettingError
from bmslink.link.capture import open_capture
from bmslink.model import Adjustment, Identity, Switch
from bmslink.protocols.common.settings_map import Slot
from bmslink.protocols.jk.jk02.driver import JK02, JK02Codec, JK02Framer
from bmslink.protocols.jk.jk02.framing import command
from bmslink.protocols.jk.jk04.driver import JK04
from bmslink.protocols.jk.map import TABLE_BYTES, info_bytes, jk_map
from bmslink.protocols.jk.modbus.settings import modbus_map
from bmslink.protocols.jk.nw.driver import JKNW
from bmslink.protocols.jk.nw.map import nw_map
from bmslink.protocols.jk.settings import INFO_ROWS
from bmslink.settings.setting import Evidence
from bmslink.storage.journal import Journal
from script_support import Scripted, drive
from support import FIXTURES


def captured(name: str, kind: str) -> bytes:
    _, pieces = open_capture(FIXTURES / "jk02" / f"{name}.jsonl")
    return next(p.data for p in pieces if p.kind == kind)


PB = "sess-jk02-32s-pb2a16s20p-15.41-heating"
OLD = "sess-jk02-24s-b1a20s15p-10.07"
ACK = captured(PB, "ack").hex()
ASK_INFO, ASK_SETTINGS = (JK02Framer().encode(command(n)).hex() for n in (0x97, 0x96))


def answers(name: str) -> dict[str, str]:
    return {
        ASK_INFO: captured(name, "device_info").hex() + ACK,
        ASK_SETTINGS: captured(name, "settings").hex() + ACK,
    }


# ----------------------------------------------------------------------- which registers it has


def test_registers_at_their_unused_value_are_not_had_by_old_boards() -> None:
    """24S: 0.6 V for a smart sleep, 0 V for what is not built in."""
    (frame,) = JK02Framer().feed(captured(OLD, "settings"))
    found = jk_map("24s", "10.07", frame.data, b"")
    lacks = {row.key for row in found.settings if row.reason == "this board does not have it"}
    assert lacks == {
        "jk_smart_sleep_voltage",
        "full_charge_voltage",
        "empty_voltage",
        "jk_request_charge_voltage",
        "float_voltage",
    }
    assert {row.reason for row in found.settings if row.key not in lacks} == {""}
    every = jk_map("24s", "10.07", b"\xff" * TABLE_BYTES, b"")
    assert {row.reason for row in every.settings} == {""}


@pytest.mark.parametrize(
    ("variant", "firmware", "commands", "why"),
    [
        ("32s", "15.41", bytes(32), "the board does not say which registers may be written"),
        ("32s", None, b"\xff" * 32, "the board does not say which firmware it has"),
        ("24s", "H", b"", "the board does not say which firmware it has"),
        ("32s", "15.41", b"\xff" * 32, ""),
    ],
)
def test_a_board_that_does_not_say_what_it_takes_is_read_only(
    variant: str, firmware: str | None, commands: bytes, why: str
) -> None:
    assert jk_map(variant, firmware, b"\xff" * TABLE_BYTES, commands).read_only_reason == why


def test_modbus_offers_what_the_native_map_does_at_its_own_registers() -> None:
    native = jk_map("32s", "15.41", b"\xff" * TABLE_BYTES, b"\xff" * 32)
    found = modbus_map("15.41", b"\xff" * TABLE_BYTES, b"\xff" * 32)
    in_info = {row.key for row in INFO_ROWS}
    assert native.by_key.keys() - in_info == found.by_key.keys()
    assert in_info <= native.by_key.keys()
    # one board refused it, and only a document has it
    for key in ("discharge_utp", "discharge_utp_release"):
        assert native.setting(key).evidence == Evidence.APP
        assert found.setting(key).evidence == Evidence.DOCUMENT
    # neighbours in one register share a slot
    assert found.setting("discharge_utp").slot == found.setting("discharge_utp_release").slot
    one = found.by_address[found.setting("cell_ovp").slot]
    assert one.layout.sizeof() == 4


@pytest.mark.parametrize(
    ("firmware", "lacks"),
    [
        ("14.20", {"jk_uart2_protocol", "jk_uart3_protocol", "jk_rebulk_soc"}),
        ("15.41", {"jk_uart2_protocol", "jk_uart3_protocol", "jk_rebulk_soc"}),
        (
            "19.10",
            {
                *("jk_uart2_protocol", "jk_uart3_protocol"),
                *("jk_dry1_trigger", "jk_dry2_trigger", "jk_float_time"),
            },
        ),
    ],
)
async def test_settings_in_the_device_info(firmware: str, lacks: set[str], tmp_path: Path) -> None:
    """Offered where the board says that it takes them, shown as it has them, written untested."""
    async with connect(f"sim://jk02?firmware={firmware}&seed=1").board as device:
        table = await device.settings()
        had = {row.key for row in INFO_ROWS} & table.map.by_key.keys()
        assert had == {row.key for row in INFO_ROWS} - lacks
        values = table.values()
        assert (values["jk_can_protocol"], values["jk_buzzer_trigger"]) == ("pylon", "off")
        assert values["jk_request_charge_time"] == 1.0

        journal = Journal(tmp_path)
        wish = {"jk_request_charge_time": 2.5, "jk_buzzer_trigger": "cell_uvp"}
        plan = await draft(device, wish, chemistry="lfp", journal=journal)
        assert [check.name for check in plan.blocked] == ["tested"]
        assert "only a document says how" in plan.blocked[0].sentence
        plan = await draft(device, wish, chemistry="lfp", journal=journal, waive={"untested"})
        assert (await apply(device, plan, journal=journal)).result == "done"
        now = (await device.settings()).values()
        assert {key: now[key] for key in wish} == wish
        assert {k: v for k, v in now.items() if k not in wish} == {
            k: v for k, v in values.items() if k not in wish
        }

        port = await draft(device, {"jk_can_protocol": "deye"}, journal=journal, waive={"untested"})
        assert "supported" in [check.name for check in port.blocked]


def test_the_device_info_of_a_real_board() -> None:
    """`sess-jk02-32s-pb2a16s20p-15.41-heating`: what a write would send, out of the record."""
    (frame,) = JK02Framer().feed(captured(PB, "device_info"))
    found = {row.key: info_bytes(row.at, frame.data) for row in INFO_ROWS}
    values = {key: raw.hex() for key, raw in found.items() if raw is not None}
    assert values == {
        "jk_uart1_protocol": "0e00",
        "jk_can_protocol": "0000",
        "jk_uart2_protocol": "0100",
        "jk_buzzer_trigger": "0900",
        "jk_dry1_trigger": "0800",
        "jk_dry2_trigger": "0000",
        "jk_request_charge_time": "0a",
        "jk_float_time": "08",
        "jk_uart3_protocol": "0000",
        "jk_rebulk_soc": "00",
    }
    assert info_bytes(0x04, frame.data) is None


# ------------------------------------------------------------------------------------ the driver


def test_nothing_is_offered_before_the_kind_of_board_is_known() -> None:
    async def use(driver: JK02, board: Scripted) -> None:
        assert driver.settings.likely_map(Identity()) is None
        with pytest.raises(SettingError, match="24S or a 32S board is not known"):
            await driver.settings.find_map(Identity())
        found = await driver.settings.find_map(Identity(variant="32s", firmware="15.41"))
        assert (found.name, driver.settings.shipped()) == ("jk02-32s", found)
        assert await driver.settings.find_switch_map(None) is found
        await driver.start()  # another link, perhaps another board
        driver.settings.own_map = jk_map("24s", "10.07", b"\xff" * TABLE_BYTES, b"")
        with pytest.raises(SettingError, match="which kind it is"):
            driver.settings.shipped()  # what is a delay on one calibrates the other

    drive(JK02, answers(PB), use)


def test_off_asks_only_who_it_is() -> None:
    async def use(driver: JK02, board: Scripted) -> None:
        found = await driver.settings.find_switch_map(None)
        assert (found.name, board.frames) == ("jk02-32s", [ASK_INFO])
        assert driver.settings.shipped() is found

    drive(JK02, answers(PB), use)


def test_off_on_a_jk04_asks_who_it_is_once() -> None:
    _, pieces = open_capture(next((FIXTURES / "jk04").glob("sess-*.jsonl")))
    frames = JK02Framer()
    info = next(
        p.data for p in pieces if p.dir == "rx" and [f.code for f in frames.feed(p.data)] == [3]
    )

    async def use(driver: JK04, board: Scripted) -> None:
        found = await driver.settings.find_switch_map(None)
        assert [row.key for row in found.settings if row.is_switch] == ["balance_switch"]
        assert board.frames == [ASK_INFO]
        assert driver.settings.shipped() is found
        driver.settings.own_map = found
        board.frames.clear()
        assert await driver.settings.find_switch_map(None) is found
        assert board.frames == []

    drive(JK04, {ASK_INFO: info.hex() + ACK}, use)


def test_a_write_is_repeated_until_it_is_acknowledged_three_times_at_most() -> None:
    async def use(driver: JK02, board: Scripted) -> None:
        table = await driver.settings.find_map(Identity(variant="32s", firmware="15.41"))
        slot = table.by_address[table.setting("charge_switch").slot]
        await driver.settings.fetch([slot])
        board.frames.clear()
        step = driver.settings.write_command(slot, bytes(4))
        start = asyncio.get_running_loop().time()
        with pytest.raises(LinkTimeout):
            await driver.perform(step)
        assert len(board.frames) == 3
        assert {frame[8:20] for frame in board.frames} == {"1d0400000000"}
        assert asyncio.get_running_loop().time() - start == pytest.approx(3.0, abs=0.1)
        board.answers[board.frames[0]] = ACK
        assert await driver.perform(step)
        assert len(board.frames) == 4

    drive(JK02, answers(PB), use)


# ------------------------------------------------------------------------------------ its clock


def test_the_clock_is_that_of_boards_that_name_its_register() -> None:
    live = captured(PB, "cell_info")
    seconds = 186_592_319  # since 2020, by the standard time of the place
    assert seconds.to_bytes(4, "little") in live

    async def use(driver: JK02, board: Scripted) -> None:
        assert not driver.clock_soc.can("clock").supported
        await driver.start()
        assert driver.clock_soc.can("clock").supported
        assert not driver.clock_soc.can("soc").supported
        with pytest.raises(SettingError, match="count it themselves"):
            await driver.clock_soc.command(Adjustment(soc=50.0))
        asyncio.get_running_loop().call_later(0.2, board.deliver, live)
        told = await driver.clock_soc.clock()
        assert told is not None
        assert told.timestamp() == datetime(2020, 1, 1, tzinfo=UTC).timestamp() + seconds + (
            time.timezone
        )
        step = await driver.clock_soc.command(Adjustment(clock=told))
        assert (step.frame.code, int.from_bytes(step.frame.data, "little")) == (0x6C, seconds)

    drive(JK02, answers(PB), use)


def test_old_boards_tell_no_clock() -> None:
    async def use(driver: JK02, board: Scripted) -> None:
        await driver.start()
        assert not driver.clock_soc.can("clock").supported
        asyncio.get_running_loop().call_later(0.2, board.deliver, captured(OLD, "cell_info"))
        assert await driver.clock_soc.clock() is None

    drive(JK02, answers(OLD), use)


# -------------------------------------------------------------------------------------- secrets


def test_a_damaged_device_info_keeps_no_password() -> None:
    """Nobody knows where its passwords have moved: all behind the versions is blanked."""
    whole = captured(PB, "device_info")
    damaged = whole[:60] + whole[61:]
    clean = JK02Codec().scrub_noise(b"noise" + damaged + damaged)
    kept = 5 + len(damaged) + 46
    assert len(clean) == 5 + 2 * len(damaged)
    assert clean[: 5 + 46] == b"noise" + whole[:46]
    assert clean[len(damaged) + 6 : kept] == whole[1:46]  # the first is blanked for a whole record
    assert not any(clean[kept:])
    assert not any(clean[5 + 46 : 6 + len(damaged)])
    assert JK02Codec().scrub_noise(b"harmless") == b"harmless"


# ------------------------------------------------------------------------------- the 4E 57 port


def test_the_port_with_tags_writes_its_two_switches_only() -> None:
    """nw-write-*: AB is charging, AC discharging."""

    async def use(driver: JKNW, board: Scripted) -> None:
        assert await driver.settings.find_switch_map(None) is nw_map()
        slots = nw_map().by_address
        for tag, raw, sent in (
            (0xAB, b"\0", "4e57001400000000020300ab000000000068000001d1"),
            (0xAC, b"\1", "4e57001400000000020300ac010000000068000001d3"),
        ):
            step = driver.settings.write_command(slots[tag], raw)
            assert driver.link.framer.encode(step.frame).hex() == sent
            assert step.answer is None
        other = slots[0x8E]
        with pytest.raises(SettingError, match="not one that is ever written"):
            driver.settings.write_command(Slot(address=0x8E, layout=other.layout), bytes(2))
        assert not driver.switches.can(Switch.BALANCE).supported
        assert board.frames == []

    drive(JKNW, {}, use)
