"""The 81/51 dialect: units, meanings, the K-type faults, and the driver."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bmslink.decoding import decode
from bmslink.errors import FrameError, LinkTimeout, TargetError
from bmslink.link.capture import open_capture
from bmslink.model import Condition, Reading
from bmslink.protocols.base import Assembler, Options, Record
from bmslink.protocols.common.fields import parse
from bmslink.protocols.common.rtu import READ, WRITE, WRITE_MANY, RTUFrame, crc16
from bmslink.protocols.daly.registers.codec import DalyRegisterCodec
from bmslink.protocols.daly.registers.framing import MAX_BOARD, P81Framer, read_request
from bmslink.protocols.daly.registers.layouts import block_layout, block_values
from bmslink.protocols.daly.registers.p81 import (
    FLAGS,
    LEVELS,
    P81_TABLE,
    STATES,
    DalyP81,
    read_faults,
)
from register_support import Board, captured_blocks, run
from support import FIXTURES

ESS = "daly-p81-ess-01"
BLOCKS = captured_blocks(DalyP81, ESS)
CELLS, REST, OLD_REST, UPTIME = (0x00, 0x40), (0x40, 0x3F), (0x41, 0x3E), (0xA4, 0x0A)
VERSIONS, SETTINGS = (0x178, 0x4A), (0x100, 0x51)


def pieces(name: str) -> list[bytes]:
    return [p.data for p in open_capture(FIXTURES / "daly-p81" / f"{name}.jsonl")[1]]


def frame(data: bytes) -> RTUFrame:
    (found,) = P81Framer().feed(data)
    return found


def codec(**options: object) -> DalyRegisterCodec:
    return DalyP81.make_codec(Options(**options))


def words_of(*blocks: tuple[int, int]) -> dict[int, int]:
    return {
        register: word
        for first, count in blocks
        for register, word in enumerate(frame(BLOCKS[first, count]).words, first)
    }


LIVE = words_of(CELLS, OLD_REST) | {0x40: 3312}
"""The live registers of the captured board."""


def answer(words: list[int], unit: int = 0x51) -> RTUFrame:
    data = b"".join(word.to_bytes(2, "big") for word in words)
    return frame(P81Framer().encode(RTUFrame(unit=unit, shape="data", data=data)))


def block(made: DalyRegisterCodec, first: int, count: int, words: dict[int, int]) -> Record:
    made.decode(read_request(0x81, first, count), sent=True)
    return made.decode(answer([words.get(r, 0xFFFF) for r in range(first, first + count)]))


def poll(changes: dict[int, int] | None = None, **options: object) -> Reading:
    made = codec(**options)
    words = LIVE | (changes or {})
    return made.reading([block(made, *part, words) for part in (CELLS, REST)])


# ---------------------------------------------------------------------------------- frames


def test_bare_bytes_are_recognised() -> None:
    (reading,) = decode(b"".join(pieces(ESS)))
    assert (reading.protocol, reading.voltage) == ("daly-p81", 53.0)


def test_requests_are_those_that_were_captured() -> None:
    sent = [p for p in pieces(ESS) if p[0] == 0x81]
    made = [P81Framer().encode(read_request(0x81, *part)) for part in BLOCKS]
    assert made == sent
    assert P81Framer().encode(read_request(0x81, 0, 0x40)).hex() == "8103000000405bfa"


@pytest.mark.parametrize("board", [1, 2, MAX_BOARD])
def test_units(board: int) -> None:
    ask, say = 0x80 + board, 0x50 + board
    encode = P81Framer().encode
    many = {"function": WRITE_MANY, "register": 0x140, "count": 1}
    for good in (
        RTUFrame(unit=ask, count=3),
        RTUFrame(unit=say, shape="data", data=b"\0\1"),
        RTUFrame(unit=ask, function=WRITE, shape="write", register=0x121, count=1),
        RTUFrame(unit=say, function=WRITE, shape="write", register=0x121, count=1),
        RTUFrame(unit=ask, shape="write_bare", data=b"\1\2", **many),
        RTUFrame(unit=say, shape="written", **many),
    ):
        assert frame(encode(good)).replace(raw=b"", offset=0) == good
    for bad in (
        RTUFrame(unit=say, count=3),  # boards do not ask
        RTUFrame(unit=ask, shape="data", data=b"\0\1"),
        RTUFrame(unit=say, shape="data", data=b"\0\1\2"),
        RTUFrame(unit=say, shape="data"),
        RTUFrame(unit=say, shape="write_bare", data=b"\1\2", **many),
        RTUFrame(unit=ask, function=0x04, count=3),
    ):
        framer = P81Framer()
        assert framer.feed(encode(bad)) + framer.flush() == []


@pytest.mark.parametrize("unit", [0x01, 0x50, 0x50 + MAX_BOARD + 1, 0x80, 0x99, 0xD2])
def test_other_units_are_noise(unit: int) -> None:
    framer = P81Framer()
    assert framer.feed(framer.encode(RTUFrame(unit=unit, count=3))) + framer.flush() == []


def test_an_acknowledgement_is_eight_bytes_whatever_its_count_says() -> None:
    done = bytes.fromhex("51100f05aaaa2193")
    framer = P81Framer()
    assert [f.shape for f in framer.feed(done + done)] == ["written", "written"]
    made = codec()
    made.decode(frame(bytes.fromhex("81100f05000200000000876a")), sent=True)
    assert made.decode(frame(done)) == Record("written", "ack", {"register": 0xF05})


def test_the_event_journal_is_refused() -> None:
    body = bytes((0x51, READ, 0x85)) + bytes(0x85)  # 133 bytes: no whole registers
    raw = body + crc16(body).to_bytes(2, "little")
    framer = P81Framer()
    assert framer.feed(raw) + framer.flush() == []


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=400), st.booleans())
def test_any_bytes_are_survived(data: bytes, sent: bool) -> None:
    framer, made = P81Framer(), codec()
    for found in framer.feed(data) + framer.flush():
        made.decode(found, sent=sent)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from([CELLS, REST, OLD_REST, UPTIME, VERSIONS, SETTINGS]), st.data())
def test_any_registers_are_a_reading_or_none(part: tuple[int, int], data: st.DataObject) -> None:
    made = codec()
    payload = data.draw(st.binary(min_size=2 * part[1], max_size=2 * part[1]))
    made.decode(read_request(0x81, *part), sent=True)
    record = made.decode(RTUFrame(unit=0x51, shape="data", data=payload))
    reading = made.reading([record])
    made.identity([record])
    assert all(v is None or 0 <= v <= 5 for v in reading.cell_voltages)
    assert reading.soh is None
    if reading.voltage is not None:
        assert 1 <= reading.voltage <= 240


# -------------------------------------------------------------------------------- layouts


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 0x260), st.integers(1, 126), st.data())
def test_every_block_goes_both_ways(register: int, count: int, data: st.DataObject) -> None:
    payload = data.draw(st.binary(min_size=2 * count, max_size=2 * count))
    layout = block_layout(P81_TABLE, register, count)
    assert layout.sizeof() == 2 * count
    assert layout.build(parse(layout, payload, "block")) == payload


def test_names_mean_one_thing() -> None:
    names = [row.name for row in P81_TABLE.rows]
    # 101 and 116 hold again what 3C and 3A say
    assert {n for n in names if names.count(n) > 1} == {"cell_count", "soc"}


def test_sleep_counts_tens_of_seconds() -> None:
    assert block_values(P81_TABLE, 0x115, b"\x01\x68") == {"sleep_delay": 3600}
    assert block_values(P81_TABLE, 0x115, b"\xff\xff") == {"sleep_delay": None}
    layout = block_layout(P81_TABLE, 0x115, 1)
    assert layout.build({"sleep_delay": 65520}) == b"\x19\x98"


def test_dangerous_and_doubtful_registers_have_no_name() -> None:
    for register in (0xF0, 0x111, 0x12E, 0x16A, 0x16F, 0x1C3, 0x1E9):
        assert list(block_values(P81_TABLE, register, b"\0\1")) == [f"reserved_{register:02X}"]


# -------------------------------------------------------------------------------- readings


def test_a_reading_of_the_captured_board() -> None:
    reading = poll()
    assert (reading.voltage, reading.current, reading.soc) == (53.0, -8.9, 86.4)
    assert reading.raw["current_sign"] == "reported"
    assert reading.raw["power"] == 471
    assert reading.raw["clock"] == "2026-06-02T20:02:33"
    assert reading.temperatures["mosfet"] == 24.0
    assert reading.temperatures["board"] == 30.0
    assert reading.temperatures["heater"] is None
    assert reading.heater is False
    assert reading.faults == (Condition.PARALLEL_COMMUNICATION,)
    # registers whose meaning is uncertain are there to be looked at
    assert reading.raw["registers"]["6A"] == "74be"
    assert reading.raw["registers"]["60"] == "7530"
    assert reading.raw["old_alarm_words"] == [0, 0, 0x80, 0]


def test_the_seconds_counter_is_no_state_of_health() -> None:
    for seconds in (0, 100, 182):
        reading = poll({0x3B: seconds})
        assert reading.soh is None
        assert reading.raw["heartbeat"] == seconds


def test_uptime() -> None:
    made = codec()
    record = block(made, *UPTIME, words_of(UPTIME))
    reading = made.reading([record])
    assert reading.uptime == 127687.0
    assert reading.raw["lifetime_uptime"] == 167551
    assert made.reading([block(made, *UPTIME, {})]).uptime is None


@pytest.mark.parametrize(
    ("state", "current", "words", "active"),
    [
        (0, 30000, (0, 0, 0), False),
        (7, 0, (0, 0, 0), None),
        (1, 30000, (0, 0, 0), None),
        (1, 30500, (0, 0, 0), True),
        (2, 0, (0x0100, 0, 0), True),
        (0xFFFF, 0xFFFF, (0xFFFF, 0xFFFF, 0xFFFF), None),
    ],
)
def test_balancing(state: int, current: int, words: tuple[int, ...], active: bool | None) -> None:
    reading = poll({0x4D: state, 0x4E: current} | dict(enumerate(words, 0x4F)))
    assert reading.balancing_active is active
    assert reading.balancing_cells == (() if active is False else None)
    known = current not in (0, 0xFFFF)
    assert reading.balance_current == ((current - 30000) / 1000 if known else None)


@pytest.mark.parametrize(
    ("register", "word", "field"),
    [
        (0x39, 0, "current"),
        (0x38, 0, "voltage"),
        (0x3A, 1001, "soc"),
        (0x52, 4, "charging_allowed"),
        (0x55, 2, "heater"),
    ],
)
def test_what_cannot_be_is_unknown(register: int, word: int, field: str) -> None:
    reading = poll({register: word})
    assert getattr(reading, field) is None
    assert list(reading.raw["implausible"].values()) == [word]
    assert getattr(poll({register: 0xFFFF}), field) is None


def test_lists_are_cut_at_the_announced_counts() -> None:
    reading = poll({0x3C: 14, 0x3D: 2, 0x03: 0, 0x31: 0xFF})
    assert len(reading.cell_voltages) == 14
    assert reading.cell_voltages[3] == 0.0
    assert Condition.VOLTAGE_SENSE in reading.faults
    assert reading.temperatures["sensor_2"] is None
    assert "sensor_3" not in reading.temperatures


def test_another_split_of_the_same_registers() -> None:
    """patagonaa/esphome-daly-hkms-bms reads the cells, 30-47, 48-5C and 6D-73."""
    made = codec()
    assembler = Assembler(made)
    for first, count in ((0x00, 0x10), (0x30, 0x18), (0x48, 0x15), (0x6D, 7)):
        assert assembler.add(block(made, first, count, LIVE)) is None
    reading = assembler.finish()
    whole = poll()
    assert reading is not None
    for name in (
        "voltage",
        "current",
        "soc",
        "cycles",
        "cell_voltages",
        "temperatures",
        "charging_allowed",
        "faults",
    ):
        assert getattr(reading, name) == getattr(whole, name), name


# --------------------------------------------------------------------------------- faults


def faults(byte: int, value: int) -> Reading:
    words = [0] * 7
    words[byte // 2] = value << 8 * (byte % 2)
    return poll(dict(enumerate(words, 0x6D)))


@pytest.mark.parametrize(("place", "entry"), LEVELS.items(), ids=lambda p: str(p)[:20])
def test_levels(place: tuple[int, int], entry: tuple[Condition, bool]) -> None:
    byte, low = place
    condition, trips = entry
    assert faults(byte, 0).alarms == ()
    for level in (1, 2, 3):
        reading = faults(byte, level << low)
        tripped = trips and level > 1
        assert reading.alarms == (() if tripped else (condition,))
        assert reading.protections == ((condition,) if tripped else ())
        assert reading.faults == ()
        assert "fault_bits_unknown" not in reading.raw
    assert faults(byte, 5 << low).raw["fault_bits_unknown"] == [f"{byte}.{low}=5"]


@pytest.mark.parametrize(("place", "entry"), FLAGS.items(), ids=str)
def test_flags(place: tuple[int, int], entry: tuple[str, Condition]) -> None:
    byte, bit = place
    severity, condition = entry
    reading = faults(byte, 1 << bit)
    lists = {
        "alarm": reading.alarms,
        "protection": reading.protections,
        "fault": reading.faults,
    }
    assert lists.pop(severity) == (condition,)
    assert set(lists.values()) == {()}


def test_every_bit_is_explained_or_kept() -> None:
    for byte in range(14):
        for bit in range(8):
            reading = faults(byte, 1 << bit)
            shown = (
                *reading.alarms,
                *reading.protections,
                *reading.faults,
                *reading.raw.get("states", ()),
                *reading.raw.get("fault_bits_unknown", ()),
            )
            assert shown, f"{byte}.{bit}"
            assert (
                reading.raw["fault_bits"]
                == bytes(1 << bit if n == byte else 0 for n in range(14)).hex()
            )
    assert faults(8, 1).raw["fault_bits_unknown"] == ["8.0"]


def test_states_are_no_faults() -> None:
    for (byte, bit), name in STATES.items():
        reading = faults(byte, 1 << bit)
        assert reading.raw["states"] == [name]
        assert reading.protections == reading.faults == ()
        assert set(reading.alarms) <= {Condition.SOFTWARE_LOCK}
    assert read_faults([None] * 7) == ([], {})


@pytest.mark.parametrize("absent", range(7))
def test_an_absent_fault_word_is_not_one_without_a_fault(absent: int) -> None:
    assert poll({0x6D + absent: 0}).conditions_known
    assert poll({0x6D + absent: 0xFFFF}).conditions_known == (absent == 4)  # 71 means nothing


# ------------------------------------------------------------------------- settings, identity


def test_settings_of_the_captured_board() -> None:
    values = codec().decode(frame(BLOCKS[SETTINGS])).values
    expected = {
        "nominal_capacity": 314.0,
        "sleep_delay": None,
        "cell_ovp_warning": 3.45,
        "cell_ovp": 3.55,
        "cell_ovp_release": 3.4,
        "cell_ovp_delay": 5.0,
        "pack_uvp_warning": 45.6,
        "charge_ocp_warning": 160.0,
        "charge_ocp": 200.0,
        "charge_ocp_delay": 1.0,
        "daly_level_3_charge_ocp": 300.0,
        "discharge_ocp": 200.0,
        "charge_otp": 55.0,
        "balance_start_voltage": 3.4,
        "balance_delta": 0.02,
        "balance_current": 1.0,
        "charge_switch": 1,
        "daly_production_date": "2026-03-26",
    }
    assert {name: values[name] for name in expected} == expected
    assert "123456" not in str(values)
    assert "313233" not in str(values)


def test_identity() -> None:
    made = codec()
    identity = made.identity([made.decode(frame(BLOCKS[part])) for part in (VERSIONS, CELLS)])
    assert identity.firmware == "41_260321_0323"
    assert identity.model == "ESS-DL-BMS"
    assert identity.hardware == "ESS41_0323"
    assert identity.serial_number == "210XX000000001"
    assert (identity.cell_count, identity.chemistry) == (16, None)


def test_the_password_is_never_recorded() -> None:
    made = codec()
    assert made.scrub(read_request(0x81, *SETTINGS)) is None
    clean = made.scrub(frame(BLOCKS[SETTINGS]))
    assert clean is not None
    assert b"123456" in BLOCKS[SETTINGS]
    assert clean == P81Framer().encode(frame(clean))
    assert frame(clean).words[0x26:0x29] == [0, 0, 0]
    assert sum(a != b for a, b in zip(clean[:-2], BLOCKS[SETTINGS][:-2], strict=True)) == 6


def test_writes_of_the_vendor_tool() -> None:
    made = codec()
    said = [made.decode(frame(p), sent=True) for p in pieces("daly-p81-bmstool-writes")]
    assert {r.role for r in said} == {"request"}
    assert said[0].values == {"register": 0x121, "charge_switch": 1}
    assert said[3].values == {"register": 0x122, "discharge_switch": 0}
    assert said[4].values == {"register": 0xF6, "balance_switch": 1}
    many = made.decode(frame(pieces("daly-p81-app-writes")[0]), sent=True)
    assert many.values == {"register": 0x140, "charge_ocp_warning": 25.6, "charge_ocp": 32.0}


def test_boards_are_not_mixed() -> None:
    made = codec()
    made.decode(read_request(0x81, *CELLS), sent=True)
    other = P81Framer().encode(frame(BLOCKS[CELLS]).replace(unit=0x52))
    assert made.payload(frame(other)) is None
    assert made.decode(frame(other)) == Record("other_board", "other", {"board": 2})
    assert made.decode(frame(BLOCKS[CELLS])).role == "reading"
    second = codec(address=2)
    assert second.decode(frame(BLOCKS[CELLS])).kind == "other_board"
    assert second.decode(frame(other)).role == "reading"


@settings(max_examples=200, deadline=None)
@given(
    st.integers(0, 0xFFFF),
    st.integers(0, 0xFFFF),
    st.binary(max_size=252),
    st.sampled_from([(READ, "data"), (WRITE, "write"), (WRITE_MANY, "write_bare")]),
    st.sampled_from([0x81, 0x51, 0x52]),
)
def test_any_frame_is_explained_or_refused(
    register: int, count: int, data: bytes, kind: tuple[int, str], unit: int
) -> None:
    made = codec()
    made.decode(read_request(0x81, register, len(data) // 2), sent=True)
    found = RTUFrame(
        unit=unit, function=kind[0], shape=kind[1], register=register, count=count, data=data
    )
    try:
        record = made.decode(found)
    except FrameError:
        return
    made.reading([record])
    made.identity([record])
    made.scrub(found)


# --------------------------------------------------------------------------------- driver


def block_frame(first: int, count: int, unit: int = 0x51) -> bytes:
    words = LIVE | words_of(UPTIME)
    return P81Framer().encode(
        answer([words.get(r, 0xFFFF) for r in range(first, first + count)], unit)
    )


NEW = BLOCKS | {REST: block_frame(*REST)}


def test_a_poll() -> None:
    async def test(driver: DalyP81, board: Board) -> None:
        reading = await driver.read()
        assert (reading.voltage, reading.uptime) == (53.0, 127687.0)
        assert board.asked == [CELLS, REST, UPTIME]
        assert all(b - a >= 0.15 for a, b in zip(board.times, board.times[1:], strict=False))

    run(DalyP81, NEW, test)


def test_state_and_power_come_in_one_answer_with_the_lowest_cell() -> None:
    first, count = REST
    assert {0x40, 0x48, 0x58} <= set(range(first, first + count))
    made = codec()
    values = block(made, *REST, LIVE).values
    assert (values["state"], values["power"], values["min_cell_voltage"]) == (2, 471, 3.312)


def test_a_board_that_knows_only_the_captured_split() -> None:
    async def test(driver: DalyP81, board: Board) -> None:
        assert (await driver.read()).cycles == 7
        assert board.asked == [CELLS, *[REST] * 4, OLD_REST, UPTIME]
        board.asked.clear()
        assert (await driver.read()).cycles == 7
        assert board.asked == [CELLS, OLD_REST, UPTIME]

    run(DalyP81, BLOCKS, test)


def test_once_answered_the_longer_block_is_kept() -> None:
    async def test(driver: DalyP81, board: Board) -> None:
        await driver.read()
        del board.blocks[REST]
        board.asked.clear()
        with pytest.raises(LinkTimeout):
            await driver.read()
        assert OLD_REST not in board.asked

    run(DalyP81, NEW, test)


def test_identify() -> None:
    async def test(driver: DalyP81, board: Board) -> None:
        identity = await driver.identify()
        assert (identity.model, identity.cell_count) == ("ESS-DL-BMS", 16)
        assert board.asked == [CELLS, VERSIONS]  # the settings hold the password

    run(DalyP81, NEW, test)


def test_an_echo_or_another_board_is_no_answer() -> None:
    other = block_frame(*CELLS, unit=0x52)

    async def test(driver: DalyP81, board: Board) -> None:
        assert (await driver.read()).voltage == 53.0
        board.blocks = {}
        with pytest.raises(LinkTimeout, match="Only other frames"):
            await driver.read()

    run(DalyP81, NEW, test, lambda request, reply: [request.raw, other, reply])


def test_another_board_is_asked_by_its_address() -> None:
    blocks = {CELLS: block_frame(*CELLS, unit=0x53), REST: block_frame(*REST, unit=0x53)}

    async def test(driver: DalyP81, board: Board) -> None:
        assert (await driver.read()).voltage == 53.0
        assert (driver.asking, driver.answering) == (0x83, 0x53)

    run(DalyP81, blocks, test, options=Options(address=3))


@pytest.mark.parametrize("address", [0, MAX_BOARD + 1, 255])
def test_addresses_that_no_board_has(address: int) -> None:
    async def test(driver: DalyP81, board: Board) -> None:
        raise AssertionError

    with pytest.raises(TargetError, match="1 to 24"):
        run(DalyP81, {}, test, options=Options(address=address))


def test_a_board_that_wakes_up_is_asked_again_for_its_cells() -> None:
    empty = P81Framer().encode(
        RTUFrame(unit=0x51, function=3, shape="data", data=bytes(2 * CELLS[1]))
    )
    waking = iter([empty])

    def reply(request: RTUFrame, said: bytes) -> list[bytes]:
        asleep = (request.register, request.count) == CELLS and next(waking, None)
        return [asleep or said]

    async def test(driver: DalyP81, board: Board) -> None:
        assert len((await driver.read()).cell_voltages) == 16
        assert board.asked[:2] == [CELLS, CELLS]

    run(DalyP81, NEW, test, reply)


def test_a_board_that_never_announces_cells_is_read_as_it_is() -> None:
    empty = P81Framer().encode(
        RTUFrame(unit=0x51, function=3, shape="data", data=bytes(2 * CELLS[1]))
    )

    async def test(driver: DalyP81, board: Board) -> None:
        assert (await driver.read()).cell_voltages == ()
        assert board.asked.count(CELLS) == 3

    run(DalyP81, NEW | {CELLS: empty}, test)
