"""JK Modbus: the map, what answers mean, and the driver against a board that does as it is told."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable, Coroutine
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from construct import Array
from hypothesis import given, settings
from hypothesis import strategies as st

from bmslink.decoding import explain_pieces
from bmslink.errors import BmsError, FrameError, LinkTimeout, Refused, SettingError, TargetError
from bmslink.link.capture import CaptureHeader, Piece, Writer, open_capture
from bmslink.link.link import Link
from bmslink.model import Condition, Identity, Reading
from bmslink.protocols.base import Options
from bmslink.protocols.common.rtu import MODBUS_SHAPES, RTUFrame, RTUFramer
from bmslink.protocols.jk.jk02.driver import JK02Codec, JK02Framer
from bmslink.protocols.jk.modbus.driver import (
    FLAGS_READ,
    IDENTITY_READS,
    LIVE_READS,
    SWITCHES_READ,
    JKModbus,
    JKModbusCodec,
    read_request,
)
from bmslink.protocols.jk.modbus.map import ACTIONS, ARMING, INFO, LIVE, SETTINGS, chunk_layout
from scripted import ScriptedTransport
from support import FIXTURES, virtual_run

BUS = "jk-pb-bus-pb2a16s20p-15.41-addr3"
ARM = bytes.fromhex("0110162600010200 00d697")


def native(kind: str, name: str = BUS) -> bytes:
    """A record as it was captured on the bus of such boards."""
    _, pieces = open_capture(FIXTURES / "jk-bus" / f"{name}.jsonl")
    return next(p.data for p in pieces if p.kind == kind)


# Where numbers stand in the native records: (first byte, size, how many). Written down once more
# here, from the vendor's field list, so that the map is compared with something.
NUMBERS = {
    "settings": [(6, 4, 66), (270, 4, 3), (282, 2, 1)],
    "cell_info": [
        *((6, 2, 32), (70, 4, 1), (74, 2, 2), (80, 2, 33), (146, 4, 4), (162, 2, 2), (166, 4, 1)),
        *((170, 2, 1), (174, 4, 4), (192, 2, 1), (194, 4, 1), (200, 2, 7), (218, 2, 4)),
        *((230, 2, 4), (246, 4, 2), (254, 2, 4), (262, 4, 3), (278, 2, 1)),
    ],
    "device_info": [(38, 4, 2), (182, 2, 1), (238, 4, 7)],
}


def registers(kind: str, name: str = BUS) -> bytes:
    """The same record as Modbus registers, byte 6 first, with half a register at the end."""
    data = bytearray(native(kind, name))
    for start, size, count in NUMBERS[kind]:
        for at in range(start, start + size * count, size):
            data[at : at + size] = data[at : at + size][::-1]
    return bytes(data[6:-1]) + b"\0"


TABLES = {0x1000: "settings", 0x1200: "cell_info", 0x1400: "device_info"}
MEMORY = {base: registers(kind) for base, kind in TABLES.items()}


def answer(register: int, count: int, unit: int = 1) -> RTUFrame:
    base = register & 0xFE00
    data = MEMORY[base][register - base : register - base + 2 * count]
    return RTUFrame(unit=unit, shape="data", data=data)


def exchange(codec: JKModbusCodec, register: int, count: int, unit: int = 1) -> Any:
    codec.decode(RTUFrame(unit=unit, register=register, count=count), sent=True)
    return codec.decode(answer(register, count, unit))


def expected() -> Reading:
    """The reading of the native record, with its settings."""
    codec = JK02Codec("32s")
    records = []
    for kind in ("settings", "cell_info"):
        (frame,) = JK02Framer().feed(native(kind))
        records.append(codec.decode(frame))
    return codec.reading(records)


def plain(reading: Reading) -> Reading:
    """Without what tells the two protocols apart."""
    raw = {k: v for k, v in reading.raw.items() if k not in ("address", "variant")}
    return replace(reading, protocol="", raw=raw)


# ------------------------------------------------------------------------------------ map


@pytest.mark.parametrize(
    ("table", "name", "start"),
    [
        (LIVE, "cell_voltages", 0x000),
        (LIVE, "voltage", 0x090),  # register 1290
        (LIVE, "current", 0x098),
        (LIVE, "soc", 0x0A7),  # the low byte of register 12A6
        (SETTINGS, "cell_ovp", 0x00C),
        (SETTINGS, "charge_switch", 0x070),
        (SETTINGS, "balance_switch", 0x078),
        (SETTINGS, "jk_switches", 0x114),
        (SETTINGS, "jk_heating_start", 0x116),
        (SETTINGS, "discharge_utp", 0x122),
        (INFO, "serial_number", 0x050),
        (INFO, "settings_password", 0x070),
    ],
)
def test_registers_named_by_the_sources_stand_there(table: Any, name: str, start: int) -> None:
    assert {f.name: f.start for f in table.fields}[name] == start


def test_the_captured_heads_of_answers() -> None:
    """`jk-modbus-fc03-fragments`: the source prints the first bytes, and what they mean."""
    _, pieces = open_capture(FIXTURES / "jk-modbus" / "jk-modbus-fc03-fragments.jsonl")
    heads = [p.data[3:] for p in pieces if not p.sent]
    assert chunk_layout(LIVE, 0, 6).parse(heads[0]).cell_voltages == [3.341, 3.342, 3.341]
    assert chunk_layout(INFO, 0, 6).parse(heads[1]).part_0 == b"JK_PB2"


def test_cut_fields_have_no_name() -> None:
    layout = chunk_layout(LIVE, 3, 8)  # half a cell, three cells, half a cell
    found = layout.parse(bytes.fromhex("0d0d0e0d0d0d0e0d"))
    assert found.cell_voltages_3 == [3.342, 3.341, 3.342]
    assert [k for k in found if not k.startswith(("part_", "_"))] == ["cell_voltages_3"]
    assert layout.build(found).hex() == "0d0d0e0d0d0d0e0d"
    assert [k for k in chunk_layout(LIVE, 0x292, 4).parse(bytes(4)) if k != "_io"] == ["part_658"]


def test_no_field_is_read_in_two_pieces_and_no_two_answers_are_of_one_length() -> None:
    for field in LIVE.fields:
        whole = field.wire.subcon if isinstance(field.wire, Array) else field.wire
        for edge in (read.offset for read in LIVE_READS if field.start < read.offset < field.end):
            assert (edge - field.start) % whole.sizeof() == 0, field.name
    assert [a.offset + 2 * a.registers for a in LIVE_READS[:-1]] == [
        b.offset for b in LIVE_READS[1:]
    ]
    for poll in ((SWITCHES_READ, *LIVE_READS), (*IDENTITY_READS, SWITCHES_READ, FLAGS_READ)):
        assert all(a.registers != b.registers for a, b in pairwise((*poll, *poll)))


def test_passwords_are_never_asked_for() -> None:
    secret = [range(f.start, f.end) for f in INFO.fields if "password" in f.name]
    assert len(secret) == 2
    for offset, count in IDENTITY_READS:
        assert not any(set(range(offset, offset + 2 * count)) & set(s) for s in secret)


# ------------------------------------------------------------------------------------ meaning


@pytest.mark.parametrize("size", [1, 5, 16, 32, 122])
def test_any_pieces_give_the_native_reading(size: int) -> None:
    codec = JKModbusCodec()
    for at in range(0, 146, size):
        exchange(codec, 0x1000 + 2 * at, min(size, 146 - at), unit=3)
    records = [
        exchange(codec, 0x1200 + 2 * at, min(size, 146 - at), unit=3) for at in range(0, 146, size)
    ]
    found = codec.reading(records)
    assert (found.protocol, found.raw["address"]) == ("jk-modbus", 3)
    if size == 1:  # a u32 in two registers is of two moments: never remembered
        found = replace(
            found,
            nominal_capacity=280.0,
            charge_switch=True,
            discharge_switch=True,
            balance_switch=True,
        )
    assert plain(found) == plain(expected())


def test_what_was_not_read_is_unknown() -> None:
    codec = JKModbusCodec()
    found = codec.reading([exchange(codec, 0x1290, 6)])
    assert (found.voltage, found.current) == (52.695, 0.0)
    empty = replace(found, voltage=None, current=None)
    assert empty == Reading(protocol="jk-modbus", raw={"address": 1, "current_sign": "reported"})
    found = codec.reading([exchange(codec, 0x1200, 32)])
    assert (found.cell_voltages, found.faults) == ((), ())  # how many there are was not read


def test_without_cells_the_mask_alone_is_no_fault() -> None:
    codec = JKModbusCodec()
    found = codec.reading([exchange(codec, 0x1240, 31)])
    assert (found.cell_voltages, found.faults) == ((), ())
    both = [exchange(codec, 0x1240, 31), exchange(codec, 0x1200, 32)]
    assert len(codec.reading(both).cell_voltages) == 16


def test_an_open_wire_is_a_fault_here_too() -> None:
    codec = JKModbusCodec()
    records = [exchange(codec, 0x1200, 32), exchange(codec, 0x1240, 31)]
    records[0].values["data"] = bytes(2) + records[0].values["data"][2:]
    found = codec.reading(records)
    assert found.cell_voltages[0] == 0
    assert found.faults == (Condition.VOLTAGE_SENSE,)


def test_packs_on_one_line_do_not_mix() -> None:
    codec = JKModbusCodec()
    one, two = exchange(codec, 0x1290, 6, unit=1), exchange(codec, 0x12A6, 1, unit=2)
    assert codec.reading([one, two]) == codec.reading([two])
    stream = []
    framer = RTUFramer(MODBUS_SHAPES)
    for unit in (1, 2):
        for register, count in ((0x1290, 6), (0x12A6, 1)):
            stream.append(framer.encode(RTUFrame(unit=unit, register=register, count=count)))
            stream.append(framer.encode(answer(register, count, unit)))
    header = CaptureHeader(format="", version=1, protocol="jk-modbus")
    events = explain_pieces(header, [Piece(dir="rx", hex=data.hex()) for data in stream])
    found = [e for e in events if isinstance(e, Reading)]
    assert [(r.raw["address"], r.voltage, r.soc) for r in found] == [
        (1, 52.695, 55.0),
        (2, 52.695, 55.0),
    ]


def test_who_it_is() -> None:
    codec = JKModbusCodec()
    records = [exchange(codec, 0x1400 + r.offset, r.registers) for r in IDENTITY_READS]
    records += [
        exchange(codec, 0x1000 + r.offset, r.registers) for r in (SWITCHES_READ, FLAGS_READ)
    ]
    records.append(exchange(codec, 0x1200 + LIVE_READS[-1].offset, LIVE_READS[-1].registers))
    found = codec.identity(records)
    assert (found.vendor, found.model, found.hardware) == ("JK", "JK_PB2A16S20P", "15A")
    assert (found.firmware, found.serial_number) == ("15.41", "01234567890")
    assert (found.cell_count, found.chemistry, found.variant) == (16, "lfp", "v1.1")


def test_the_maps_are_told_apart_by_what_the_board_says_it_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    codec = JKModbusCodec()
    assert exchange(codec, 0x1116, 1).values == {
        "jk_heating_start": None,  # what 1116 means is not known yet
        "jk_heating_stop": None,
        "variant": None,
    }
    found = exchange(codec, 0x1114, 7).values
    assert (found["variant"], found["jk_heating_start"], found["jk_heating_stop"]) == (
        "v1.1",
        0,
        10,
    )
    assert exchange(codec, 0x1116, 1).values["jk_heating_stop"] == 10  # it is remembered
    assert exchange(codec, 0x1116, 1, unit=2).values["jk_heating_stop"] is None
    old = registers("settings", "jk-pb-bus-pb2a16s15p-15.10")
    monkeypatch.setitem(MEMORY, 0x1000, old)
    assert old[0x116:0x118] != bytes(2)
    found = exchange(codec, 0x1114, 7).values
    assert (found["variant"], found["jk_heating_start"]) == ("v1.0", None)
    with pytest.raises(FrameError, match=r"v1\.0 map, known was v1\.1"):
        exchange(JKModbusCodec("v1.1"), 0x1114, 7)
    with pytest.raises(TargetError, match=r"v1\.0, v1\.1"):
        JKModbusCodec("v2")


def test_answers_must_fit_their_request() -> None:
    codec = JKModbusCodec()
    with pytest.raises(FrameError, match="without its request"):
        codec.decode(answer(0x1200, 4))
    codec.decode(RTUFrame(register=0x1200, count=4))
    for wrong in (answer(0x1200, 3), answer(0x1200, 5), answer(0x1200, 4, unit=2)):
        with pytest.raises(FrameError, match="asked were 8 from address 1"):
            codec.decode(wrong)
    assert codec.decode(answer(0x1200, 4)).role == "reading"


@pytest.mark.parametrize(
    ("code", "meaning"), [(1, "function"), (2, "register"), (3, "count"), (4, "CRC"), (9, "not")]
)
def test_exceptions_have_a_meaning(code: int, meaning: str) -> None:
    record = JKModbusCodec().decode(RTUFrame(function=0x83, shape="exception", code=code))
    assert (record.role, record.values["status"]) == ("refusal", code)
    assert meaning in record.values["meaning"]


def write(register: int, data: bytes) -> RTUFrame:
    count = len(data) // 2
    return RTUFrame(function=0x10, shape="write_many", register=register, count=count, data=data)


def test_the_arming_frame_is_named_and_cannot_be_made() -> None:
    (frame,) = RTUFramer(MODBUS_SHAPES).feed(ARM)
    record = JKModbusCodec().decode(frame, sent=True)
    assert (record.kind, record.role) == ("firmware_arming", "request")
    assert "boot loader" in record.values["danger"]
    for register in (ARMING, *ACTIONS, 0x1622, 0x162E):
        with pytest.raises(TargetError, match="cannot be read"):
            read_request(1, register, 1)


def test_only_reads_can_be_asked_for() -> None:
    request = read_request(1, 0x1200, 10)
    assert RTUFramer(MODBUS_SHAPES).encode(request).hex() == "01031200000ac0b5"
    for address, register, count in (
        *((0, 0x1200, 1), (16, 0x1200, 1), (-1, 0x1200, 1)),
        *((1, 0x1201, 1), (1, 0x0FFE, 1), (1, 0x1600, 1), (1, 0x1200, 0), (1, 0x1200, 33)),
    ):
        with pytest.raises(TargetError):
            read_request(address, register, count)


def test_writes_of_others_are_explained() -> None:
    codec = JKModbusCodec()
    record = codec.decode(write(0x1078, bytes(4)))
    assert (record.role, record.values["balance_switch"]) == ("request", 0)
    assert codec.decode(write(0x160E, bytes(4))).values["v1.0"] == "set the clock"
    assert codec.decode(write(0x160E, bytes(4))).values["v1.1"] == "LTO preset"
    assert codec.decode(write(0x1620, bytes(2))).kind == "trigger"
    hidden = codec.decode(write(0x1470, b"secret" + bytes(10)))
    assert "secret" not in repr(hidden)


class _Kept(io.BytesIO):
    """A file that can be read after it was closed."""

    def close(self) -> None:
        self.flush()


def test_passwords_never_reach_a_recording() -> None:
    kept = {"password": b"hunter22", "settings_password": b"swordfsh", "passcode": b"4711"}
    table = bytearray(MEMORY[0x1400])
    table[56:64], table[112:120] = kept["password"], kept["settings_password"]
    table[80:96] = b"40705491867\0" + kept["passcode"]
    framer = RTUFramer(MODBUS_SHAPES)
    file = _Kept()
    writer = Writer(
        file,
        CaptureHeader.now(protocol="jk-modbus", target=""),
        framer=JKModbus.make_framer,
        scrub=JKModbusCodec().scrub,
    )
    for at, count in ((0, 32), (64, 32), (90, 3), (112, 8)):
        data = bytes(table[at : at + 2 * count])
        writer.write("tx", framer.encode(RTUFrame(register=0x1400 + at, count=count)))
        writer.write("rx", framer.encode(RTUFrame(shape="data", data=data)))
    writer.write("tx", framer.encode(write(0x1470, kept["settings_password"])))
    writer.write("rx", framer.encode(RTUFrame(shape="data", data=kept["password"])))  # of nothing
    writer.close()
    recorded = file.getvalue().decode()
    assert b"JK_PB2A16S20P".hex() in recorded
    assert b"40705491867".hex() in recorded
    for secret in kept.values():
        assert secret.hex() not in recorded
        assert secret[2:4].hex() + secret[4:].hex() not in recorded


@settings(max_examples=300, deadline=None)
@given(
    st.integers(0, 0xFFFF),
    st.integers(0, 126),
    st.binary(max_size=252),
    st.sampled_from([1, 2]),
)
def test_any_answer_to_any_request(register: int, count: int, data: bytes, unit: int) -> None:
    codec = JKModbusCodec()
    codec.decode(RTUFrame(register=register, count=count))
    data = data[: 2 * count].ljust(2 * count, b"\xff")
    frame = RTUFrame(unit=unit, shape="data", data=data)
    try:
        payload = codec.payload(frame)
        if payload is not None:
            assert payload.layout.build(payload.layout.parse(payload.data)) == payload.data
        record = codec.decode(frame)
        if record.role in ("reading", "identity", "settings"):
            codec.reading([record])
            codec.identity([record])
    except BmsError:
        pass
    clean = codec.scrub(frame)
    assert clean is None or len(clean) == len(data) + 5


# ------------------------------------------------------------------------------------ driver


Script = Callable[["Board", RTUFrame], list[RTUFrame]]


class Board(ScriptedTransport):
    """A slave that answers by a function, and remembers when it was asked for what."""

    def __init__(self, script: Script) -> None:
        super().__init__()
        self.script = script
        self.asked: list[tuple[float, int, int]] = []
        self.framer = RTUFramer(MODBUS_SHAPES)
        self.answered_at = float("-inf")

    def heard(self, data: bytes) -> None:
        for frame in self.framer.feed(data):
            assert (frame.unit, frame.function, frame.shape) == (1, 3, "read")
            self.asked.append((now(), frame.register, frame.count))
            self.answer(*self.script(self, frame))

    def answer(self, *frames: RTUFrame, after: float = 0.02) -> None:
        self.say(*(self.framer.encode(f) for f in frames), after=after)

    def deliver(self, data: bytes) -> None:
        self.answered_at = now() if data else self.answered_at
        super().deliver(data)


def now() -> float:
    return asyncio.get_running_loop().time()


def usual(board: Board, frame: RTUFrame) -> list[RTUFrame]:
    return [answer(frame.register, frame.count)]


def run(script: Script, test: Callable[[JKModbus, Board], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        board = Board(script)
        link: Link[RTUFrame] = Link(board, JKModbus.make_framer(), JKModbus.timing)
        await link.open()
        driver = JKModbus(link, Options())
        await driver.start()
        await test(driver, board)
        await link.close()

    virtual_run(main())


def test_one_poll() -> None:
    async def test(driver: JKModbus, board: Board) -> None:
        assert plain(await driver.read()) == plain(expected())
        assert [a[1:] for a in board.asked] == [
            (0x106C, 10),
            *((0x1200, 32), (0x1240, 31), (0x127E, 30), (0x12BA, 29), (0x12F4, 24)),
        ]
        assert all(b[0] - a[0] >= 0.0499 for a, b in pairwise(board.asked))

    run(usual, test)


@pytest.mark.parametrize("deaf", [0.001, 0.05, 0.2, 0.38])
def test_the_turnaround_is_learned_and_kept(deaf: float) -> None:
    def script(board: Board, frame: RTUFrame) -> list[RTUFrame]:
        heard = now() - board.answered_at >= deaf
        return usual(board, frame) if heard else []

    async def test(driver: JKModbus, board: Board) -> None:
        for _ in range(2):
            await driver.read()
        learned = driver.link.timing.gap
        assert max(0.03, deaf) <= learned < max(0.031, 2 * deaf)
        board.asked.clear()
        await driver.start()
        await driver.read()
        assert len(board.asked) == 6  # nothing was lost any more
        assert driver.link.timing.gap == learned

    run(script, test)


def test_a_board_that_is_gone_teaches_nothing() -> None:
    def script(board: Board, frame: RTUFrame) -> list[RTUFrame]:
        return usual(board, frame) if len(board.asked) <= 6 else []

    async def test(driver: JKModbus, board: Board) -> None:
        await driver.read()
        for _ in range(5):
            await asyncio.sleep(5)
            with pytest.raises(LinkTimeout):
                await driver.read()
        assert driver.link.timing.gap == 0.03

    run(script, test)


def test_a_table_that_ends_early_costs_one_refusal() -> None:
    def script(board: Board, frame: RTUFrame) -> list[RTUFrame]:
        if frame.register + 2 * frame.count > 0x1200 + 244 and frame.register >= 0x1200:
            return [RTUFrame(function=0x83, shape="exception", code=2)]
        return usual(board, frame)

    async def test(driver: JKModbus, board: Board) -> None:
        first, second = await driver.read(), await driver.read()
        assert len(board.asked) == 6 + 5
        assert first == second
        assert (first.voltage, first.heater, len(first.cell_voltages)) == (52.695, None, 16)
        assert set(first.temperatures) == {"cell_1", "cell_2", "mosfet"}

    run(script, test)


@pytest.mark.parametrize("code", [1, 2, 3, 4])
def test_a_refusal_is_told_with_its_meaning(code: int) -> None:
    def script(board: Board, frame: RTUFrame) -> list[RTUFrame]:
        return [RTUFrame(function=0x83, shape="exception", code=code)]

    async def test(driver: JKModbus, board: Board) -> None:
        with pytest.raises(Refused, match=rf"106C.*\(exception {code}\)") as caught:
            await driver.read()
        assert caught.value.status == code
        assert len(board.asked) == (4 if code == 4 else 1)  # 4: the line spoiled the question

    run(script, test)


def test_a_question_that_was_damaged_on_its_way_is_asked_again() -> None:
    def script(board: Board, frame: RTUFrame) -> list[RTUFrame]:
        if len(board.asked) == 3:
            return [RTUFrame(function=0x83, shape="exception", code=4)]
        return usual(board, frame)

    async def test(driver: JKModbus, board: Board) -> None:
        assert plain(await driver.read()) == plain(expected())
        assert board.asked[2][1:] == board.asked[3][1:] == (0x1240, 31)
        assert driver.link.timing.gap == 0.03

    run(script, test)


def test_other_units_stale_and_short_answers_are_passed_over() -> None:
    stale: list[RTUFrame] = []

    def script(board: Board, frame: RTUFrame) -> list[RTUFrame]:
        right = answer(frame.register, frame.count)
        noise = [
            *stale,
            right.replace(unit=2, data=bytes(2 * frame.count)),
            right.replace(data=right.data[:-2]),
            RTUFrame(unit=2, function=0x83, shape="exception", code=2),
            RTUFrame(function=0x90, shape="exception", code=2),
            RTUFrame(register=frame.register, count=frame.count),  # an echo
        ]
        stale[:] = [right.replace(data=bytes(2 * frame.count))]
        return [*noise, right]

    async def test(driver: JKModbus, board: Board) -> None:
        for _ in range(2):
            assert plain(await driver.read()) == plain(expected())
        assert len(board.asked) == 12

    run(script, test)


@pytest.mark.parametrize("address", [0, 16, 255])
def test_addresses_that_are_never_asked(address: int) -> None:
    link: Link[RTUFrame] = Link(Board(usual), JKModbus.make_framer(), JKModbus.timing)
    with pytest.raises(TargetError, match="master" if address == 0 else "0 to 15"):
        JKModbus(link, Options(address=address))


def test_a_refused_tail_for_another_reason_is_told() -> None:
    """Only "no such register" means that a table ends there."""

    def script(board: Board, frame: RTUFrame) -> list[RTUFrame]:
        if frame.register == 0x12F4:
            return [RTUFrame(unit=1, function=0x83, shape="exception", code=3)]
        return usual(board, frame)

    async def test(driver: JKModbus, board: Board) -> None:
        with pytest.raises(Refused):
            await driver.read()

    run(script, test)


def test_live_values_without_the_mask_tell_no_cell_count() -> None:
    codec = JKModbusCodec()
    said = exchange(codec, 0x12BA, 29)
    assert codec.identity([said]).cell_count is None


def test_the_mask_of_connected_cells_tells_their_number() -> None:
    codec = JKModbusCodec()
    assert codec.identity([exchange(codec, 0x1240, 31)]).cell_count == 16


def test_its_flags_say_which_settings_it_has() -> None:
    """Asked twice, in other lengths, and it must say the same."""

    async def test(driver: JKModbus, board: Board) -> None:
        found = await driver.settings.find_map(Identity(firmware="15.41"))
        assert (found.name, driver.settings.shipped()) == ("jk-modbus", found)
        assert [a[1:] for a in board.asked] == [
            (0x1118, 5),
            (0x1490, 16),
            (0x1114, 7),
            (0x1490, 17),
        ]
        await driver.settings.fetch([found.by_address[found.setting("cell_ovp").slot]])
        assert await driver.settings.find_switch_map(None) is found

    run(usual, test)


def test_flags_that_differ_from_one_question_to_the_next_are_not_believed() -> None:
    def script(board: Board, frame: RTUFrame) -> list[RTUFrame]:
        (said,) = usual(board, frame)
        late = (frame.register, frame.count) == (0x1114, 7)
        return [said.replace(data=said.data[:-1] + b"\x55") if late else said]

    async def test(driver: JKModbus, board: Board) -> None:
        with pytest.raises(FrameError, match="Twice asked"):
            await driver.settings.find_map(Identity(firmware="15.41"))
        with pytest.raises(SettingError):
            driver.settings.shipped()

    run(script, test)


def test_a_board_without_flags_offers_no_settings() -> None:
    def script(board: Board, frame: RTUFrame) -> list[RTUFrame]:
        return [RTUFrame(unit=1, shape="data", data=bytes(2 * frame.count))]

    async def test(driver: JKModbus, board: Board) -> None:
        with pytest.raises(SettingError, match="does not say which settings it has"):
            await driver.settings.find_map(Identity(firmware="15.41"))

    run(script, test)


def test_between_two_questions_for_as_much_something_else_is_asked() -> None:
    """An answer names no register: a late one would pass for the next question's."""

    async def test(driver: JKModbus, board: Board) -> None:
        for offset in (0x00, 0x20):
            await driver.ask_bytes(SETTINGS, offset, 5)
        for offset in (0x00, 0x20):
            await driver.ask_bytes(SETTINGS, offset, SWITCHES_READ.registers)
        asked = [a[1:] for a in board.asked]
        assert asked[:3] == [(0x1000, 5), (0x106C, 10), (0x1020, 5)]
        assert asked[3] == (0x1000, 10)
        assert asked[4][1] != 10
        assert asked[5] == (0x1020, 10)
        assert len(asked) == 6

    run(usual, test)
