"""Daly A5: framing, quirks by capture, hostile bytes, and the driver against a scripted board."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bmslink.errors import FrameError, LinkTimeout, TargetError
from bmslink.link.link import Link
from bmslink.model import Condition, Reading
from bmslink.protocols.base import Options, Record
from bmslink.protocols.common.fields import build, parse
from bmslink.protocols.daly.a5.driver import (
    DalyA5,
    DalyA5Codec,
    DalyA5Framer,
    DalyFrame,
    can_frame,
    read_request,
)
from bmslink.protocols.daly.a5.layouts import FAILURES
from bmslink.protocols.daly.a5.reading import first_number
from bmslink.protocols.daly.settings import PARAMETERS, WRITES
from scripted import ScriptedTransport
from support import virtual_run

PACK = bytes.fromhex("a501900802100000753001f4ea")  # daly-a5-uart-14s-pctool-session
STATUS = bytes.fromhex("a50194080e0100000200002073")
REQUEST = bytes.fromhex("a540900800000000000000007d")


def frames(data: bytes) -> list[DalyFrame]:
    framer = DalyA5Framer()
    return framer.feed(data) + framer.flush()


def frame(data_id: int, text: str, address: int = 1) -> DalyFrame:
    return DalyFrame(address=address, id=data_id, data=bytes.fromhex(text))


def answer(data_id: int, text: str, address: int = 1) -> bytes:
    return DalyA5Framer().encode(frame(data_id, text, address))


def reading(
    *parts: tuple[int, str], codec: DalyA5Codec | None = None, sign: Any = "auto"
) -> Reading:
    """One poll of the payloads given as (id, hex)."""
    codec = codec or DalyA5Codec(Options(current_sign=sign))
    return codec.reading([codec.decode(frame(data_id, text)) for data_id, text in parts])


# ------------------------------------------------------------------------------- framing


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (read_request(0x90), "a540900800000000000000007d"),
        (read_request(0x95, 0x80), "a58095080000000000000000c2"),
        (read_request(0xDA, 0x80, bytes.fromhex("0100000000000000")), "a580da08010000000000000008"),
        (frame(0x21, "160c0d151d27012c", 0x40), "a5402108160c0d151d27012cc3"),
        (frame(0x90, "02100000753001f4"), PACK.hex()),
    ],
)
def test_encode(made: DalyFrame, text: str) -> None:
    assert DalyA5Framer().encode(made).hex() == text
    (again,) = frames(bytes.fromhex(text))
    assert (again.address, again.id, again.data) == (made.address, made.id, made.data)


@pytest.mark.parametrize(
    "made", [DalyFrame(id=256), DalyFrame(address=-1), DalyFrame(data=bytes(7))]
)
def test_what_cannot_be_a_frame_is_not_encoded(made: DalyFrame) -> None:
    with pytest.raises(FrameError):
        DalyA5Framer().encode(made)


def test_only_a_frame_that_is_right_but_for_its_sum_counts_as_damaged() -> None:
    framer = DalyA5Framer()
    assert framer.feed(b"noise" + b"\xa5\x01\x90\x07" + bytes(9)) == []
    assert framer.bad_frames == 0
    assert framer.feed(PACK[:-1] + b"\x00" + STATUS)[0].raw == STATUS
    assert framer.bad_frames == 1
    assert [(s.reason, s.length) for s in framer.skipped] == [("noise", 18), ("checksum", 13)]


def test_a_wrong_length_byte_is_no_frame_whatever_its_sum() -> None:
    for length in (7, 9):
        body = PACK[:3] + bytes([length]) + PACK[4:-1]
        assert frames(body + bytes([sum(body) & 255]) + STATUS)[0].raw == STATUS


def test_the_start_marks_inside_data_split_nothing() -> None:
    data = answer(0x90, "a501a501900800a5")
    assert [f.raw for f in frames(data + PACK)] == [data, PACK]


def test_foreign_memory_between_frames_is_dropped_byte_by_byte() -> None:
    """daly-a5-powermon-ble-205b: a cut frame 1, then frames of which each is found."""
    lost = bytes.fromhex("a5019508010c8f0c7f0ca5019508020c8b0c900c7400f8")
    assert [f.data[0] for f in frames(lost + bytes.fromhex("a5a80040") + PACK)] == [2, 2]


def test_byte_by_byte() -> None:
    framer = DalyA5Framer()
    found = [f for b in b"\xa5" + PACK + STATUS for f in framer.feed(bytes([b]))]
    assert [(f.raw, f.offset) for f in found] == [(PACK, 1), (STATUS, 14)]
    assert framer.pending == 0


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
@example(b"\xa5\x01\x95\x08")
@example(b"\xa5\xa5\xa5")
def test_any_bytes(junk: bytes) -> None:
    """Nothing but our own errors, and the frame behind the junk is found."""
    framer, codec = DalyA5Framer(), DalyA5Codec()
    found = framer.feed(junk) + framer.feed(PACK) + framer.flush()
    assert framer.pending == 0
    records = []
    for one in found:
        try:
            records.append(codec.decode(one))
        except FrameError:
            continue
    codec.reading(records).to_dict()
    if b"\xa5" not in junk:
        assert found[-1].raw == PACK


# ------------------------------------------------------------------------------- meaning

EVERY_ID = st.sampled_from(
    [*range(0x90, 0x9B), 0xD8, 0xD9, 0xDA, 0x21, *PARAMETERS, *WRITES]
) | st.integers(0, 255)


@pytest.mark.slow
@settings(max_examples=500, deadline=None)
@given(st.lists(st.tuples(EVERY_ID, st.binary(min_size=8, max_size=8), st.booleans()), max_size=12))
def test_any_payload_builds_again_and_explains_or_is_refused(
    payloads: list[tuple[int, bytes, bool]],
) -> None:
    codec = DalyA5Codec()
    records: list[Record] = []
    for data_id, data, sent in payloads:
        made = DalyFrame(id=data_id, data=data)
        payload = codec.payload(made, sent=sent)
        if payload is not None:
            assert payload.layout.build(payload.layout.parse(data)) == data
        try:
            record = codec.decode(made, sent=sent)
        except FrameError:
            continue
        assert (record.part is None) == (record.role != "reading")
        assert not (sent and record.role != "request")
        records.append(record)
    result = codec.reading(records)
    assert len(result.cell_voltages) <= 51
    assert all(v is None or 0 <= v <= 5 for v in result.cell_voltages)
    assert all(t is None or -40 < t < 215 for t in result.temperatures.values())
    codec.identity(records).to_dict()


def test_data_that_is_not_eight_bytes_is_refused() -> None:
    for data in (bytes(7), bytes(9), b""):
        with pytest.raises(FrameError):
            DalyA5Codec().decode(DalyFrame(id=0x90, data=data))


def test_an_echo_is_a_request_and_never_an_answer() -> None:
    (echo,) = frames(REQUEST)
    assert not echo.is_answer
    record = DalyA5Codec().decode(echo)
    assert (record.role, record.part, record.values) == ("request", None, {"id": 0x90})
    assert frames(PACK)[0].is_answer


@pytest.mark.parametrize(
    ("current", "state", "sign", "expected", "said"),
    [
        ("74f5", 2, "auto", -5.9, "reported"),  # daly-a5-ble-16s-tomatensaus
        ("7566", 1, "auto", 5.4, "reported"),  # daly-can-8s-249
        ("7545", 2, "auto", -2.1, "inverted"),  # daly-a5-mpp-16s-session
        ("74f5", 1, "auto", 5.9, "inverted"),
        ("7545", 0, "auto", 2.1, "assumed"),
        ("7545", 3, "auto", 2.1, "assumed"),  # no such state
        ("7538", 2, "auto", -0.8, "inverted"),
        ("7531", 1, "auto", 0.1, "reported"),
        ("7530", 1, "auto", 0.0, "assumed"),  # nothing flows, nothing is told
        ("753a", 2, "auto", -1.0, "inverted"),
        ("7545", 2, "normal", 2.1, "configured"),
        ("7545", 1, "inverted", -2.1, "configured"),
    ],
)
def test_the_state_of_the_same_poll_decides_the_sign_of_the_current(
    current: str, state: int, sign: str, expected: float, said: str
) -> None:
    parts = ((0x90, f"02140000{current}0378"), (0x93, f"0{state}0101780003cb40"))
    found = reading(*parts, sign=sign)
    assert found.current == expected
    assert found.raw["current_sign"] == said
    assert reading(*reversed(parts), sign=sign).current == expected


def test_without_a_state_the_sign_is_assumed() -> None:
    found = reading((0x90, "0214000075450378"))
    assert (found.current, found.raw["current_sign"]) == (2.1, "assumed")


def test_an_inverted_zero_is_plain_zero() -> None:
    found = reading((0x90, "0214000075300378"), sign="inverted")
    assert str(found.current) == "0.0"


def test_a_board_that_boots_says_nothing() -> None:
    zeros = "0000000000000000"
    found = reading((0x90, zeros), (0x93, zeros), (0x94, zeros))
    said = (found.voltage, found.current, found.soc, found.remaining_capacity, found.cycles)
    assert said == (None,) * 5
    assert (found.charging_allowed, found.discharging_allowed) == (None, None)
    assert found.raw == {"booting": True}
    awake = reading((0x90, zeros), (0x93, "0001010000000000"))  # it knows its FETs already
    assert (awake.soc, awake.charging_allowed) == (None, True)


@pytest.mark.parametrize(
    ("payload", "field"),
    [
        ("ffff0000753001f4", "voltage"),
        ("02100000ffff01f4", "current"),
        ("021000000000ffff", "current"),
        ("02100000753003e9", "soc"),
    ],
)
def test_impossible_values_are_unknown_and_stay_visible(payload: str, field: str) -> None:
    found = reading((0x90, payload), (0x94, "1001000000000000"))
    assert getattr(found, field) is None
    assert field in found.raw


def test_a_low_pack_voltage_is_believed_when_the_cells_agree() -> None:
    pack, counts = (0x90, "0041000075300000"), (0x94, "0300000000000000")
    cells = (0x95, "01087608980876" + "00")  # 2.166, 2.2, 2.166 V
    assert reading(pack, counts, cells).voltage == 6.5
    assert reading(pack, counts).voltage is None
    assert reading(pack, counts, (0x95, "0108760898ffff00")).voltage is None


def test_a_mosfet_byte_that_is_neither_on_nor_off_is_unknown() -> None:
    found = reading((0x93, "00020100000003e8"))
    assert (found.charging_allowed, found.discharging_allowed) == (None, True)
    assert found.raw["charge_mosfet"] == 2


# -- cells

SIXTEEN = (0x94, "1001000002000000")
CELLS = [
    (0x95, "010d110d120d1c54"),  # daly-a5-mindfreeze-16s-a
    (0x95, "020d080d1d0d1454"),
    (0x95, "030d1c0d1e0d1454"),
    (0x95, "040d120d0f0d1c54"),
    (0x95, "050d0b0d140d1554"),
    (0x95, "060d170d140d1554"),
]
VOLTS = reading(SIXTEEN, *CELLS).cell_voltages


def test_cells_are_cut_at_the_announced_count() -> None:
    """Slots 17 and 18 hold residue of cells 14 and 15."""
    assert len(VOLTS) == 16
    assert VOLTS[0] == 3.345
    assert VOLTS[15] == 3.351
    assert len(reading((0x94, "0e01000002000000"), *CELLS).cell_voltages) == 14


def test_without_a_count_residue_and_padding_are_not_cells() -> None:
    found = reading(*CELLS)
    assert found.cell_voltages == VOLTS
    assert found.raw == {"cell_count": "assumed", "residue": [3.348, 3.349]}
    padded = reading(*CELLS[:2], (0x95, "030d1c0d1e000054"), (0x95, "0400000000000054"))
    assert padded.cell_voltages == VOLTS[:8]
    assert padded.raw == {"cell_count": "assumed"}


def test_a_flat_pack_that_pads_with_zeros_loses_no_cell() -> None:
    """8S: cell 8 is as high as cell 5, and still a cell."""
    flat = [(0x95, "010ce40ce40ce400"), (0x95, "020ce40ce40ce400"), (0x95, "030ce40ce4000000")]
    assert reading(*flat).cell_voltages == (3.3,) * 8


def test_order_and_repetition_of_frames_do_not_matter() -> None:
    assert reading(SIXTEEN, *reversed(CELLS)).cell_voltages == VOLTS
    assert reading(*CELLS, *CELLS, SIXTEEN).cell_voltages == VOLTS


@pytest.mark.parametrize("lost", range(6))
def test_a_lost_frame_is_three_unknown_cells_and_shifts_nothing(lost: int) -> None:
    found = reading(SIXTEEN, *(c for i, c in enumerate(CELLS) if i != lost)).cell_voltages
    assert found == tuple(None if i // 3 == lost else v for i, v in enumerate(VOLTS))


def test_frames_may_count_from_zero_as_the_documents_say() -> None:
    documents = [(i, f"{int(text[:2], 16) - 1:02x}{text[2:]}") for i, text in CELLS]
    codec = DalyA5Codec()
    assert reading(SIXTEEN, *documents, codec=codec).cell_voltages == VOLTS
    later = reading(SIXTEEN, *documents[1:], codec=codec).cell_voltages
    assert later == (None, None, None, *VOLTS[3:])


def test_one_stray_frame_zero_shifts_no_cell() -> None:
    """Waking boards answer zeros, and an 8-bit sum lets junk through: once is no proof."""
    codec = DalyA5Codec()
    stray = (0x95, "00000000000000ff")
    assert reading(SIXTEEN, stray, *CELLS, codec=codec).cell_voltages == VOLTS
    assert reading(SIXTEEN, *CELLS, codec=codec).cell_voltages == VOLTS
    without_last = (*VOLTS[:15], None)
    assert reading(SIXTEEN, stray, *CELLS[:-1], codec=codec).cell_voltages == without_last


def test_where_the_first_frame_cannot_be_told_no_cell_is_claimed() -> None:
    stray = (0x95, "00000000000000ff")
    found = reading(SIXTEEN, stray, *CELLS[:3])
    assert found.cell_voltages == (None,) * 16
    temperatures = reading((0x94, "1008000000000000"), (0x96, "003d3d3d3d3d3d3d"))
    assert temperatures.temperatures == {}


@pytest.mark.parametrize(
    ("numbers", "needed", "known", "first"),
    [
        ({1, 2, 3}, 3, None, 1),
        ({0, 1, 2}, 3, None, 0),
        ({0, 1, 2, 3}, 3, None, 1),  # a stray 0
        ({0, 1, 2, 3}, 3, 0, 1),
        ({0, 1, 2}, 3, 1, 1),  # a stray 0, and the last one lost
        ({1, 2}, 3, None, 1),
        ({1, 2}, 3, 0, 0),  # the first one lost
        ({0, 2}, 3, None, None),
        (set(range(16)), 6, None, 0),  # always sixteen
        (set(range(1, 17)), 6, None, 1),
        (set(range(17)), 6, None, 1),
        ({0, 1}, None, None, 0),
        ({1, 2}, None, None, 1),
    ],
)
def test_from_where_frames_are_counted(
    numbers: set[int], needed: int | None, known: int | None, first: int | None
) -> None:
    assert first_number(numbers, needed, known) == first


@pytest.mark.parametrize("number", [17, 0xA8, 0xFF])
def test_impossible_frame_numbers_are_refused(number: int) -> None:
    with pytest.raises(FrameError, match="frame number"):
        DalyA5Codec().decode(frame(0x95, f"{number:02x}0d110d120d1c54"))


def test_a_dead_cell_is_a_value_and_an_impossible_one_is_not() -> None:
    found = reading((0x94, "0300000000000000"), (0x95, "01000013890ce400"))
    assert found.cell_voltages == (0.0, None, 3.3)
    assert found.min_cell_voltage == 0.0
    assert found.faults == (Condition.VOLTAGE_SENSE,)


@pytest.mark.parametrize("count", ["00", "31", "ff"])
def test_an_impossible_count_announces_nothing(count: str) -> None:
    codec = DalyA5Codec()
    codec.decode(frame(0x94, f"{count}ff000000000000"))
    assert (codec.memory.cell_count, codec.memory.sensor_count) == (None, None)
    assert codec.identity([codec.decode(frame(0x94, f"{count}00000000000000"))]).cell_count is None


# -- temperatures


def test_missing_probes_are_unknown_and_padding_is_absent() -> None:
    counts = (0x94, "0804000000000000")
    found = reading(counts, (0x96, "013bff0029000000"), (0x96, "0200000000000000"))
    assert found.temperatures == {
        "sensor_1": 19.0,
        "sensor_2": None,
        "sensor_3": None,
        "sensor_4": 1.0,
    }


def test_a_sensor_whose_frame_is_lost_is_unknown() -> None:
    found = reading((0x94, "0808000000000000"), (0x96, "013b3b3b3b3b3b3b"))
    assert found.temperatures["sensor_8"] is None
    assert found.temperatures["sensor_7"] == 19.0
    assert reading((0x94, "0808000000000000")).temperatures == {}


def test_without_a_count_sensors_end_at_the_padding() -> None:
    """daly-a5-powermon-uart-interleaved: the last byte is residue, and no seventh sensor."""
    assert reading((0x96, "0137000000000030")).temperatures == {"sensor_1": 15.0}
    assert reading((0x96, "0137ff3700000000")).temperatures == {
        "sensor_1": 15.0,
        "sensor_2": None,
        "sensor_3": 15.0,
    }


EXTREMES = (0x91, "0cb5020cb2010003")  # daly-a5-uart-esphome-12445
NEWER_PACK = (0x90, "00820000753001f3")
HEAT = (0x92, "3d013b024a450200")  # 21 and 19 °C, MOSFET 34 °C, board 29 °C, spread 2 K


def test_newer_boards_send_mosfet_and_board_temperature() -> None:
    assert reading(NEWER_PACK, EXTREMES, HEAT).temperatures == {"mosfet": 34.0, "board": 29.0}


@pytest.mark.parametrize(
    "parts",
    [
        # daly-a5-uart-14s-pctool-session: 91 ends with the SOC word, 92 with the end of 91
        [(0x90, "02100000753001f4"), (0x91, "0ec8050e9c0901f4"), (0x92, "3d013d019c0901f4")],
        [NEWER_PACK, (0x91, "0cb5020cb201ffff"), HEAT],  # not supported, as on CAN
        [(0x90, "0082000075300003"), EXTREMES, HEAT],  # 0.3 %, 3 mV: it could be either
        [NEWER_PACK, EXTREMES, (0x92, "3d013b024a450700")],  # its own spread is wrong
        [NEWER_PACK, EXTREMES, (0x92, "3d013b02ff00ff00")],  # no such probes
        [HEAT],
    ],
)
def test_what_may_be_residue_is_no_temperature(parts: list[tuple[int, str]]) -> None:
    assert reading(*parts).temperatures == {}


# -- 97 and 98


def test_balancing_is_known_but_not_of_which_cells() -> None:
    """daly-a5-ble-16s-tomatensaus-charged: cells 1 and 9, or cell 1: firmwares differ."""
    found = reading((0x97, "0101000000000000"))
    assert (found.balancing_active, found.balancing_cells) == (True, None)
    assert found.raw == {"balancing": "010100000000"}
    quiet = reading((0x97, "0000000000000001"))
    assert (quiet.balancing_active, quiet.balancing_cells) == (False, ())
    assert quiet.raw == {"balancing_reserved": "0001"}
    assert reading().balancing_active is None


FAILURE_CASES = [
    (0, 0, "alarms", Condition.CELL_OVERVOLTAGE),
    (0, 1, "protections", Condition.CELL_OVERVOLTAGE),
    (0, 2, "alarms", Condition.CELL_UNDERVOLTAGE),
    (0, 7, "protections", Condition.PACK_UNDERVOLTAGE),
    (1, 0, "alarms", Condition.CHARGE_OVERTEMPERATURE),
    (1, 3, "protections", Condition.CHARGE_UNDERTEMPERATURE),
    (1, 5, "protections", Condition.DISCHARGE_OVERTEMPERATURE),
    (1, 6, "alarms", Condition.DISCHARGE_UNDERTEMPERATURE),
    (2, 1, "protections", Condition.CHARGE_OVERCURRENT),
    (2, 2, "alarms", Condition.DISCHARGE_OVERCURRENT),
    (2, 4, "alarms", Condition.SOC_HIGH),
    (2, 6, "alarms", Condition.SOC_LOW),
    (3, 1, "protections", Condition.CELL_DELTA),
    (3, 2, "alarms", Condition.TEMPERATURE_DELTA),
    (4, 1, "faults", Condition.MOSFET_OVERTEMPERATURE),
    (4, 3, "faults", Condition.TEMPERATURE_SENSE),
    (4, 4, "faults", Condition.CHARGE_MOSFET),
    (4, 7, "faults", Condition.DISCHARGE_MOSFET),
    (5, 0, "faults", Condition.AFE),
    (5, 1, "faults", Condition.VOLTAGE_SENSE),
    (5, 2, "faults", Condition.TEMPERATURE_SENSE),
    (5, 3, "faults", Condition.EEPROM),
    (5, 4, "faults", Condition.CLOCK),
    (5, 5, "faults", Condition.PRECHARGE),
    (5, 7, "faults", Condition.COMMUNICATION),
    (6, 0, "faults", Condition.CURRENT_SENSE),
    (6, 1, "faults", Condition.VOLTAGE_SENSE),
    (6, 2, "protections", Condition.SHORT_CIRCUIT),
    (6, 3, "faults", Condition.OTHER),
    (6, 4, "alarms", Condition.SOFTWARE_LOCK),
]


@pytest.mark.parametrize(("byte", "bit", "where", "condition"), FAILURE_CASES)
def test_failure_bits(byte: int, bit: int, where: str, condition: Condition) -> None:
    data = bytearray(8)
    data[byte] = 1 << bit
    found = reading((0x98, data.hex()))
    lists = {"alarms": found.alarms, "protections": found.protections, "faults": found.faults}
    assert lists.pop(where) == (condition,)
    assert not any(lists.values())
    assert found.raw == {"failure_bits": data[:7].hex()}


def test_unknown_failure_bits_and_codes_stay_visible() -> None:
    found = reading((0x98, "000000f00000e007"))
    assert (found.alarms, found.protections, found.faults) == ((), (), ())
    assert found.raw["failure_bits_unknown"] == ["3.4", "3.5", "3.6", "3.7", "6.5", "6.6", "6.7"]
    assert found.raw["fault_code"] == 7
    assert len(FAILURES) + 7 == 56


# -- everything else


def test_a_switch_answers_with_its_state_and_residue() -> None:
    """daly-a5-uart-dsgmos-off: cell voltages of an earlier answer fill bytes 1 to 7."""
    record = DalyA5Codec().decode(frame(0xD9, "000d130d210d17c0"))
    assert (record.kind, record.role, record.values) == ("discharge_switch", "ack", {"on": False})
    asked = DalyA5Codec().decode(frame(0xDA, "0100000000000000", 0x80))
    assert (asked.kind, asked.role, asked.values) == ("charge_switch", "request", {"on": True})


def test_setting_the_clock_sets_the_charge() -> None:
    """daly-a5-uart-setrtcsoc-tx."""
    codec = DalyA5Codec()
    record = codec.decode(frame(0x21, "160c0d151d27012c", 0x40), sent=True)
    assert (record.kind, record.role) == ("write", "request")
    assert list(record.values.values()) == [0x21, 22, 12, 13, 21, 29, 39, 30.0]
    accepted = codec.decode(frame(0x21, "0100000000000000"))
    assert (accepted.role, accepted.values) == ("ack", {"id": 0x21, "accepted": 1})


def test_a_write_has_the_layout_of_what_it_writes() -> None:
    values = parse(PARAMETERS[0x59].layout, bytes.fromhex("0dde0e420af009c4"), "limits")
    assert values == {
        "cell_ovp_warning": 3.55,
        "cell_ovp": 3.65,
        "cell_uvp_warning": 2.8,
        "cell_uvp": 2.5,
    }
    data = build(PARAMETERS[WRITES[0x19]].layout, values, "limits")
    record = DalyA5Codec().decode(DalyFrame(address=0x40, id=0x19, data=data))
    assert (record.role, record.values) == ("request", {"id": 0x19, **values})


def test_current_limits_count_from_30000_in_both_directions() -> None:
    values = parse(PARAMETERS[0x5B].layout, bytes.fromhex("6d607148791879e0"), "limits")
    assert list(values.values()) == [200.0, 100.0, 100.0, 120.0]


def test_temperature_limits_have_an_offset_and_their_difference_has_none() -> None:
    heat = parse(PARAMETERS[0x5C].layout, bytes([105, 110, 40, 35, 105, 110, 20, 15]), "limits")
    assert list(heat.values()) == [65, 70, 0, -5, 65, 70, -20, -25]
    spread = parse(PARAMETERS[0x5E].layout, bytes.fromhex("01f403200a0f0000"), "limits")
    assert spread["temperature_delta_warning"] == 10
    assert spread["temperature_delta"] == 15


def test_the_extended_levels_stand_behind_each_other() -> None:
    names = {i: next(iter(parse(PARAMETERS[i].layout, bytes(8), "x"))) for i in range(0x70, 0x8B)}
    assert names[0x70] == "daly_level_1_cell_ovp"
    assert names[0x78] == "daly_level_1_temperature_delta"
    assert names[0x7B] == "daly_level_2_discharge_ocp"
    assert names[0x8A] == "daly_level_3_temperature_delta"
    heat = parse(PARAMETERS[0x73].layout, bytes([105, 50, 100, 20, 110, 30, 90, 10]), "x")
    assert list(heat.values()) == [65, 5.0, 60, 2.0, 70, 3.0, 50, 1.0]
    slow = parse(PARAMETERS[0x70].layout, bytes.fromhex("0e4200640d4800c8"), "x")
    assert list(slow.values()) == [3.65, 1.0, 3.4, 2.0]


@pytest.mark.parametrize(
    ("read", "write"), [(0x50, 0x10), (0x61, 0x21), (0x65, 0x22), (0x6A, 0x27), (0x8B, 0x4B)]
)
def test_write_ids(read: int, write: int) -> None:
    assert WRITES[write] == read
    assert PARAMETERS[read].write == write


def test_every_write_id_is_unambiguous() -> None:
    assert len(WRITES) == sum(p.write is not None for p in PARAMETERS.values())
    assert not WRITES.keys() & PARAMETERS.keys()
    assert PARAMETERS[0x62].write is PARAMETERS[0x63].write is None


def test_identity() -> None:
    codec = DalyA5Codec()
    parts = [
        (0x94, "1001000000000000"),
        (0x63, "01444c2d424d532d"),  # daly-a5-uart-hwversion
        (0x63, "025233322d303145"),
        (0x62, "0131315f32343035"),
        (0x62, "0231385f4b303054"),
        (0x62, "03312e3030000000"),  # a second processor's
        (0x54, "3230323230383130"),
        (0x57, "0141424300000000"),
        (0x53, "010116080affff0a"),  # daly-can-params-heezes
    ]
    records = [codec.decode(frame(i, text)) for i, text in parts]
    identity = codec.identity(records)
    assert identity.hardware == "DL-BMS-R32-01E"
    assert identity.firmware == "11_240518_K00T"
    assert (identity.serial_number, identity.cell_count) == ("ABC", 16)
    assert (identity.vendor, identity.chemistry) == ("Daly", "nmc")
    old = codec.identity([r for r in records if r.values.get("id") == 0x54])
    assert (old.firmware, old.hardware) == ("20220810", None)


def test_the_cell_count_may_come_from_the_topology() -> None:
    codec = DalyA5Codec()
    assert codec.identity([codec.decode(frame(0x51, "020c0c0001010000"))]).cell_count == 24
    assert codec.identity([codec.decode(frame(0x51, "03ffffff00000000"))]).cell_count is None


def test_health_is_disputed_and_stays_out_of_the_reading() -> None:
    codec = DalyA5Codec()
    record = codec.decode(frame(0x9A, "03e803e803e80000"))
    assert (record.role, record.part, record.values["soh"]) == ("other", None, 100.0)


def test_can_frames_carry_the_same_bytes() -> None:
    """daly-can-8s-249."""
    made = can_frame(0x18904002, bytes.fromhex("010d00007566032b"))
    assert (made.address, made.id, made.is_answer) == (2, 0x90, True)
    assert not can_frame(0x18900140, bytes(8)).is_answer
    assert DalyA5Codec().decode(made).values["current"] == 5.4
    for can_id, data in ((0x161E0080, bytes(8)), (0x18904002, bytes(7))):
        with pytest.raises(FrameError):
            can_frame(can_id, data)


# ------------------------------------------------------------------------------- driver

Board = Callable[[DalyFrame], Iterable[bytes]]

POLL: dict[int, list[str]] = {
    0x90: ["02120000750e039a"],
    0x91: ["0d1e0a0d0b01039a"],
    0x92: ["3d013d01000000ad"],
    0x93: ["0201019e0003eaf8"],
    0x94: [SIXTEEN[1]],
    0x95: [text for _, text in CELLS],
    0x96: ["013d000000000000", "0200000000000000"],
    0x97: ["0000000000000000"],
    0x98: ["0000000000000000"],
}


class Script(ScriptedTransport):
    """A line to a board that answers as scripted, 20 ms after each request."""

    def __init__(self, board: Board) -> None:
        super().__init__()
        self.board = board
        self.asked: list[DalyFrame] = []

    def heard(self, data: bytes) -> None:
        (request,) = frames(data)
        self.asked.append(request)
        for number, piece in enumerate(self.board(request)):
            self.say(piece, after=0.02 + 0.0135 * number)

    @property
    def ids(self) -> list[int]:
        return [request.id for request in self.asked]


def answering(
    changes: dict[int, list[str]] | None = None, host: int = 0x40, board: int = 1
) -> Board:
    script = POLL | (changes or {})

    def answers(request: DalyFrame) -> list[bytes]:
        if request.address != host:
            return []
        return [answer(request.id, text, board) for text in script.get(request.id, [])]

    return answers


def run(board: Board, use: Callable[[DalyA5, Script], Any], options: Options | None = None) -> Any:
    async def main() -> Any:
        script = Script(board)
        link = Link(script, DalyA5.make_framer(), DalyA5.timing)
        driver = DalyA5(link, options or Options())
        await link.open()
        await driver.start()
        return await use(driver, script)

    return virtual_run(main())


async def read(driver: DalyA5, script: Script) -> Reading:
    return await driver.read()


def test_read_asks_for_one_poll() -> None:
    async def two(driver: DalyA5, script: Script) -> tuple[Reading, list[int]]:
        await driver.read()
        script.asked.clear()
        return await driver.read(), script.ids

    found, ids = run(answering(), two)
    assert found.cell_voltages == VOLTS
    assert (found.voltage, found.current, found.soc) == (53.0, -3.4, 92.2)
    assert found.temperatures == {"sensor_1": 21.0}
    assert found.remaining_capacity == 256.76
    assert ids == [0x94, 0x90, 0x93, 0x95, 0x96, 0x97, 0x98]


def test_requests_keep_their_distance() -> None:
    async def gaps(driver: DalyA5, script: Script) -> list[float]:
        await driver.read()
        return [b - a for a, b in zip(script.times, script.times[1:], strict=False)]

    assert min(run(answering(), gaps)) >= 0.12


def test_where_92_is_live_it_stays_in_the_poll() -> None:
    async def ids_of_second(driver: DalyA5, script: Script) -> Any:
        first = await driver.read()
        script.asked.clear()
        return first.temperatures, (await driver.read()).temperatures, script.ids

    newer = {0x90: [NEWER_PACK[1]], 0x91: [EXTREMES[1]], 0x92: [HEAT[1]]}
    first, second, ids = run(answering(newer), ids_of_second)
    assert first == second == {"sensor_1": 21.0, "mosfet": 34.0, "board": 29.0}
    assert ids == [0x94, 0x90, 0x92, 0x93, 0x95, 0x96, 0x97, 0x98]


def test_a_board_that_answers_only_the_phone() -> None:
    async def hosts(driver: DalyA5, script: Script) -> Any:
        script.asked.clear()
        await driver.read()
        first = {f.address for f in script.asked}
        script.asked.clear()
        await driver.start()
        return first, [f.address for f in script.asked]

    assert run(answering(host=0x80), hosts) == ({0x80}, [0x80])


def test_a_board_that_answers_nobody() -> None:
    with pytest.raises(LinkTimeout) as caught:
        run(lambda request: [], read)
    assert caught.value.heard == "silence"


def test_only_our_own_echo_comes_back() -> None:
    with pytest.raises(LinkTimeout) as caught:
        run(lambda request: [DalyA5Framer().encode(request)], read)
    assert caught.value.heard == "other"


def test_an_echo_before_each_answer() -> None:
    plain = answering()

    def echoing(request: DalyFrame) -> list[bytes]:
        return [DalyA5Framer().encode(request), *plain(request)]

    assert run(echoing, read).cell_voltages == VOLTS


def test_a_board_by_its_number() -> None:
    """Two boards on one RS485 pair: board 3 is asked through 42, and only it is believed."""
    third = answering(host=0x42, board=3)
    second = answering({0x90: ["0100000075300000"]}, host=0x42, board=2)

    def both(request: DalyFrame) -> list[bytes]:
        return [*second(request), *third(request)]

    assert run(both, read, Options(address=3)).voltage == 53.0
    with pytest.raises(LinkTimeout):
        run(second, read, Options(address=3))


@pytest.mark.parametrize("address", [0, 25, 255])
def test_impossible_addresses(address: int) -> None:
    with pytest.raises(TargetError):
        run(answering(), read, Options(address=address))


def test_late_answers_of_other_ids_are_passed_over() -> None:
    """daly-a5-powermon-uart-interleaved: other answers stand between the frames."""
    plain = answering()

    def interleaved(request: DalyFrame) -> list[bytes]:
        stale = answer(0x93 if request.id != 0x93 else 0x90, "0000000000000000")
        return [piece for own in plain(request) for piece in (stale, b"\x7b", own)]

    found = run(interleaved, read)
    assert found.cell_voltages == VOLTS
    assert found.charging_allowed is True


def test_frames_of_an_older_answer_give_way_to_the_newer() -> None:
    """daly-a5-mpp516-outofsync and daly-a5-powermon-uart-interleaved: the last frames of the
    answer before stand in front, so all numbers are there before the new ones came."""
    stale = ["040c000c000c0000", "050c000c000c0000", "060c000c000c0000"]
    board = answering({0x95: [*stale, *POLL[0x95]]})

    async def second(driver: DalyA5, script: Script) -> list[Reading]:
        return [await driver.read(), await driver.read()]

    assert [r.cell_voltages for r in run(board, second)] == [VOLTS, VOLTS]


def test_lost_frames_are_asked_for_again() -> None:
    asked: list[int] = []

    def lossy(request: DalyFrame) -> list[bytes]:
        asked.append(request.id)
        cells = POLL[0x95]
        return answering({0x95: cells if asked.count(0x95) > 1 else cells[:2] + cells[3:]})(request)

    assert run(lossy, read).cell_voltages == VOLTS
    assert asked.count(0x95) == 2


def test_frames_that_stay_lost_are_unknown_cells() -> None:
    cells = POLL[0x95]
    found = run(answering({0x95: cells[:4] + cells[5:]}), read)
    assert found.cell_voltages == (*VOLTS[:12], None, None, None, VOLTS[15])


def test_frames_counted_from_zero() -> None:
    cells = [f"{int(text[:2], 16) - 1:02x}{text[2:]}" for text in POLL[0x95]]
    board = answering({0x95: cells})

    async def ids(driver: DalyA5, script: Script) -> Any:
        return await driver.read(), script.ids.count(0x95)

    found, asked = run(board, ids)
    assert found.cell_voltages == VOLTS
    assert asked == 1


def test_sixteen_frames_are_waited_for_but_only_as_long_as_they_come() -> None:
    """daly-a5-mpp-16s-session: some boards always send 16; a request in between would collide."""
    padding = [f"{n:02x}00000000000000" for n in range(7, 17)]
    board = answering({0x95: POLL[0x95] + padding})

    async def duration(driver: DalyA5, script: Script) -> Any:
        await driver.read()
        start = len(script.asked)
        found = await driver.read()
        cells = script.ids.index(0x95, start)
        return found, script.times[cells + 1] - script.times[cells]

    found, seconds = run(board, duration)
    assert found.cell_voltages == VOLTS
    assert seconds == pytest.approx(0.02 + 15 * 0.0135 + 0.12)


def test_garbage_frame_numbers_are_not_taken_into_the_answer() -> None:
    board = answering({0x95: ["ff00000000000000", *POLL[0x95]]})
    assert run(board, read).cell_voltages == VOLTS


def test_silent_ids_are_asked_rarely() -> None:
    async def count(driver: DalyA5, script: Script) -> Any:
        for _ in range(2):
            found = await driver.read()
        first = script.ids.count(0x97)
        script.asked.clear()
        await driver.read()
        third = list(script.ids)
        script.asked.clear()
        for _ in range(47):
            await driver.read()
        return first, found, third, script.ids.count(0x97)

    first, found, third, later = run(answering({0x97: [], 0x91: [], 0x92: []}), count)
    assert first == 4
    assert third == [0x94, 0x90, 0x93, 0x95, 0x96, 0x98]
    assert found.balancing_active is None
    assert later == 2


def test_one_lost_answer_costs_one_value_once() -> None:
    board = answering()
    lost = iter([True, True])

    def lossy(request: DalyFrame) -> Iterable[bytes]:
        return [] if request.id == 0x97 and next(lost, False) else board(request)

    async def two(driver: DalyA5, script: Script) -> list[bool | None]:
        return [(await driver.read()).balancing_active for _ in range(2)]

    assert run(lossy, two) == [None, False]


def test_an_id_that_answered_before_is_asked_again_after_a_loss() -> None:
    board = answering()
    gone: list[bool] = []

    def sometimes(request: DalyFrame) -> Iterable[bytes]:
        return [] if request.id == 0x97 and gone else board(request)

    async def three(driver: DalyA5, script: Script) -> list[bool | None]:
        found = [(await driver.read()).balancing_active]
        gone.append(True)
        found.append((await driver.read()).balancing_active)
        gone.clear()
        return [*found, (await driver.read()).balancing_active]

    assert run(sometimes, three) == [False, None, False]


def test_silence_about_failures_is_no_health() -> None:
    """An empty list of alarms would be a claim, so the poll fails."""
    with pytest.raises(LinkTimeout):
        run(answering({0x98: []}), read)


def test_a_board_that_wakes_up_is_asked_again_for_its_cells() -> None:
    asked: list[int] = []

    def waking(request: DalyFrame) -> Iterable[bytes]:
        asked.append(request.id)
        zeros = {0x94: ["0000000000000000"]} if asked.count(0x94) < 4 else {}
        return answering(zeros)(request) if len(asked) > 2 else []

    assert run(waking, read).cell_voltages == VOLTS


def test_a_board_that_never_announces_cells_has_none() -> None:
    found = run(answering({0x94: ["0000000000000000"]}), read)
    assert (found.cell_voltages, found.temperatures, found.voltage) == ((), {}, 53.0)


def test_identify_bears_silence() -> None:
    async def identify(driver: DalyA5, script: Script) -> Any:
        return await driver.identify(), script.ids

    strings = {0x63: ["01444c2d424d532d", "025233322d303145"], 0x53: ["010116080affff0a"]}
    identity, ids = run(answering(strings), identify)
    assert (identity.hardware, identity.cell_count) == ("DL-BMS-R32-01E", 16)
    assert (identity.firmware, identity.serial_number) == (None, None)
    assert identity.chemistry == "nmc"
    assert {0x62, 0x63, 0x54, 0x57, 0x53, 0x51} <= set(ids)
    silent, _ = run(answering(), identify)
    assert (silent.hardware, silent.chemistry, silent.cell_count) == (None, None, 16)


def test_garbage_is_no_sign_that_an_id_is_not_known() -> None:
    board = answering()

    def noisy(request: DalyFrame) -> Iterable[bytes]:
        return [b"\x55\x55\x55"] if request.id == 0x97 else board(request)

    async def asked(driver: DalyA5, script: Script) -> int:
        for _ in range(5):
            await driver.read()
        return script.ids.count(0x97)

    assert run(noisy, asked) == 10  # each time, with one repetition
