"""What boards seldom do: branches of decoders and drivers that no capture takes."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from unittest.mock import patch

import pytest
from construct import Bytes, Int16ub, Struct
from test_daly_a5 import reading as daly_reading
from test_jk_changes import ACK, ASK_INFO, PB, answers

import bmslink.protocols as protocols
from bmslink import connect
from bmslink.board import board_of
from bmslink.errors import LinkTimeout, Refused, SettingError
from bmslink.model import Adjustment, Identity, Reading
from bmslink.protocols import load_driver
from bmslink.protocols.base import Record, WriteCommand
from bmslink.protocols.common.rows import Row
from bmslink.protocols.common.rtu import RTUFrame
from bmslink.protocols.common.settings_map import SettingsMap, Slot
from bmslink.protocols.daly.a5.driver import DalyA5
from bmslink.protocols.daly.registers.d2 import DalyD2
from bmslink.protocols.jbd import settings as jbd_settings
from bmslink.protocols.jbd.up.driver import JBDUP, JBDUPCodec
from bmslink.protocols.jbd.up.framing import WRITE, UPFrame
from bmslink.protocols.jk.jk02 import writing as jk02_writing
from bmslink.protocols.jk.jk02.driver import JK02, JK02Codec
from bmslink.protocols.jk.jk02.framing import JK02Frame, JK02Framer
from bmslink.protocols.jk.map import TABLE_BYTES, slot_bytes, writable
from bmslink.protocols.jk.modbus.codec import JKModbusCodec
from bmslink.settings.setting import Setting
from script_support import Scripted, drive


def test_a_driver_of_another_package_is_taken_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocols, "is_protocol", lambda name: name == "acme")
    monkeypatch.setattr(protocols, "load_plugin", lambda group, name, kind: DalyA5)
    assert load_driver("acme") is DalyA5


@pytest.mark.parametrize(
    ("raw", "told"), [(b"AB\0CD", "AB"), (b"A\xb0\0\0\0", "A°"), (b"\0\0\0\0\0", "")]
)
def test_a_text_in_a_setting_ends_at_its_first_nul(raw: bytes, told: str) -> None:
    name = Setting(key="name", title="Name", slot=1, name="name", kind="text")
    slots = (Slot(address=1, layout=Struct("name" / Bytes(5))),)
    table = SettingsMap(name="made-up", evidence="", slots=slots, settings=(name,))
    assert table.decode({1: raw}) == {"name": told}


def test_more_cells_than_there_can_be_stay_raw_and_count_as_none() -> None:
    found = daly_reading((0x94, "ff20000000000000"))
    assert (found.raw["cell_count"], found.raw["sensor_count"]) == (255, 32)
    assert not found.cell_voltages


def test_up_writes_are_explained_by_what_is_written_and_what_is_unknown_is_kept() -> None:
    codec = JBDUPCodec()
    unknown = UPFrame(function=WRITE, start=0x4321, end=0x4323, data=b"\1\2")
    assert codec.payload(unknown, sent=True) is None
    said = codec.decode(unknown, sent=True)
    assert (said.role, said.values["data"]) == ("request", "0102")
    other = codec.decode(UPFrame(function=0x55, start=0, end=2, data=b"\3\4"))
    assert (other.values["function"], other.values["data"]) == (0x55, "0304")


def test_settings_of_up_packs_have_a_map_and_no_write() -> None:
    async def use(driver: JBDUP, board: Scripted) -> None:
        (slot, *_) = driver.settings.shipped().slots
        with pytest.raises(SettingError, match="proves how setting"):
            driver.settings._make_write(slot, bytes(2))

    drive(JBDUP, {}, use)


async def test_factory_mode_that_may_be_open_is_left_however_entering_it_went() -> None:
    async with connect("sim://jbd?cells=4&load=idle").board as device:
        told: list[str] = []
        perform = board_of(device).driver.perform

        async def deaf(step: WriteCommand[Any]) -> bool:
            told.append(step.what)
            if step.what == "factory mode":
                raise LinkTimeout("No answer.")
            return await perform(step)

        with patch.object(board_of(device).driver, "perform", deaf), pytest.raises(LinkTimeout):
            await device.settings()
        assert told == ["factory mode", "the end of factory mode"]
        await board_of(device).driver.settings.leave_session()  # nothing is open any more


async def test_damage_is_no_silence_of_a_daly_register() -> None:
    async with connect("sim://daly-d2?load=idle").board as device:
        whole = await board_of(device).settings()
    async with connect("sim://daly-d2?load=idle").board as device:
        ask, damaged = board_of(device).driver.ask_bytes, []

        async def garbled(*question: Any, **more: Any) -> bytes:
            if more.get("retries") == 0:
                damaged.append(question)
                raise LinkTimeout("Bytes, but no frame.", "garbage")
            data: bytes = await ask(*question, **more)
            return data

        with patch.object(board_of(device).driver, "ask_bytes", garbled):
            assert (await board_of(device).settings()).image == whole.image
        assert damaged
        assert not board_of(device).driver.settings._absent


def test_a_row_without_a_scale_counts_nothing_tenfold() -> None:
    with pytest.raises(TypeError, match="cell_ovp has no scale"):
        jbd_settings._tenfold(Row(1, "cell_ovp", Int16ub))


def test_a_register_that_is_in_no_record_has_no_bytes() -> None:
    for variant in ("24s", "32s"):
        assert slot_bytes(variant, 0xEE, bytes(TABLE_BYTES)) is None
        assert 0xEE not in writable(variant)
        assert writable(variant)[0x1D] == 4  # the charge switch


def test_nothing_live_is_no_reading_of_jk_modbus() -> None:
    settings = Record("settings", "settings", {"address": 1})
    assert JKModbusCodec().reading([settings]) == Reading(protocol="jk-modbus")
    assert JKModbusCodec().reading([]) == Reading(protocol="jk-modbus")


def test_a_log_says_nothing_of_who_a_jk02_board_is() -> None:
    codec = JK02Codec()
    (frame,) = (f for f in _records(answers(PB)[ASK_INFO]) if f.code == 3)
    info = codec.decode(frame)
    known = codec.identity([info])
    assert known.model
    assert codec.identity([info, Record("logbook", "log", {})]) == known


def _records(said: str) -> list[JK02Frame]:
    return [*JK02Framer().feed(bytes.fromhex(said))]


async def _refused(driver: JK02, board: Scripted) -> None:
    await driver.start()
    table = await driver.settings.find_map(Identity(variant="32s", firmware="15.41"))
    slot = table.by_address[table.setting("charge_switch").slot]
    await driver.settings.fetch([slot])
    step = driver.settings.write_command(slot, bytes(4))
    board.answers[JK02Framer().encode(step.frame).hex()] = ACK
    info, *acks = [step.answer and step.answer(f) for f in _records(answers(PB)[ASK_INFO] + ACK)]
    assert info is False
    assert acks and all(acks)
    with pytest.raises(Refused, match=f"refuses {step.what}: no reason given"):
        await driver.perform(step)


def test_any_board_may_refuse_and_its_word_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    decode = JK02Codec.decode

    def refusing(codec: JK02Codec, frame: Any, **more: Any) -> Record:
        found = decode(codec, frame, **more)
        return Record("ack", "refusal", {}) if found.role == "ack" else found

    monkeypatch.setattr(JK02Codec, "decode", refusing)
    drive(JK02, answers(PB), _refused)


def _with_info(change: dict[int, bytes]) -> dict[str, str]:
    """The answers of a board whose info record holds something else at these offsets."""
    said = answers(PB)
    raw = bytearray.fromhex(said[ASK_INFO])
    for at, data in change.items():
        raw[at : at + len(data)] = data
    raw[299] = sum(raw[:299]) & 0xFF
    return said | {ASK_INFO: raw.hex()}


def test_a_32s_board_that_does_not_name_the_clock_takes_none() -> None:
    async def use(driver: JK02, board: Scripted) -> None:
        await driver.start()
        assert not driver.clock_soc.can("clock").supported

    drive(JK02, _with_info({150: bytes(32)}), use)


def test_without_a_layout_the_clock_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    async def use(driver: JK02, board: Scripted) -> None:
        await driver.start()
        monkeypatch.setattr(jk02_writing, "write_layout", lambda *_: None)
        with pytest.raises(SettingError):
            await driver.clock_soc.command(Adjustment(clock=datetime(2026, 5, 3, tzinfo=UTC)))

    drive(JK02, answers(PB), use)


def test_what_a_daly_board_would_not_acknowledge_is_not_sent() -> None:
    async def use(driver: DalyD2, board: Scripted) -> None:
        frame = RTUFrame(unit=0xD2, function=6, shape="write", register=0xA5, count=1)
        step = WriteCommand(frame=frame, answer=None, what="a switch")
        assert await driver.exchange(step) is None
        assert board.frames == []

    drive(DalyD2, {}, use)


def test_off_needs_to_know_which_kind_of_board_it_is() -> None:
    async def use(driver: JK02, board: Scripted) -> None:
        with pytest.raises(SettingError, match="24S or a 32S"):
            await driver.settings.find_switch_map(None)

    drive(JK02, _with_info({30: b"??\0\0\0\0\0\0"}), use)
