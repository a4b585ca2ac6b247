"""The D2 dialect: frames, which registers an answer holds, what they mean, and the driver."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bmslink.decoding import decode
from bmslink.errors import FrameError, LinkTimeout, TargetError
from bmslink.link.capture import open_capture
from bmslink.model import Condition, Reading
from bmslink.protocols.base import Options, Record
from bmslink.protocols.common.fields import parse
from bmslink.protocols.common.rtu import READ, WRITE, WRITE_MANY, RTUFrame, crc16
from bmslink.protocols.daly.registers.codec import Block, DalyRegisterCodec
from bmslink.protocols.daly.registers.d2 import D2_TABLE, DalyD2, read_failures
from bmslink.protocols.daly.registers.framing import D2_UNIT, D2Framer, read_request
from bmslink.protocols.daly.registers.layouts import (
    RegisterMap,
    block_fields,
    block_layout,
    block_values,
    date,
    forward,
    number,
    plain_text,
)
from register_support import Board, captured_blocks, run
from support import FIXTURES

BLUE = "daly-d2-blue16s-2"


def pieces(name: str) -> list[bytes]:
    return [p.data for p in open_capture(FIXTURES / "daly-d2" / f"{name}.jsonl")[1]]


def frame(data: bytes) -> RTUFrame:
    (found,) = D2Framer().feed(data)
    return found


def answer(words: list[int]) -> RTUFrame:
    data = b"".join(word.to_bytes(2, "big") for word in words)
    return frame(D2Framer().encode(RTUFrame(unit=D2_UNIT, shape="data", data=data)))


def codec(**options: object) -> DalyRegisterCodec:
    return DalyD2.make_codec(Options(**options))


def status(changes: dict[int, int] | None = None) -> list[int]:
    """The 62 live registers of a captured pack, some of them changed."""
    words = frame(pieces(BLUE)[0]).words[:62]
    for register, word in (changes or {}).items():
        words[register] = word
    return words


def poll(changes: dict[int, int] | None = None, **options: object) -> Reading:
    made = codec(**options)
    return made.reading([made.decode(answer(status(changes)))])


def asked(made: DalyRegisterCodec, register: int, count: int, *, sent: bool = True) -> Record:
    return made.decode(read_request(D2_UNIT, register, count), sent=sent)


# ---------------------------------------------------------------------------------- frames


def test_bare_bytes_are_recognised() -> None:
    """Although the Modbus of other boards looks alike."""
    for name in ("daly-d2-8s-noalarm", BLUE):
        (reading,) = decode(b"".join(pieces(name)))
        assert reading.protocol == "daly-d2"


def test_requests_are_those_that_were_captured() -> None:
    for register, count, text in (
        (0x00, 0x3E, "d2030000003ed7b9"),
        (0x00, 0x50, "d203000000505655"),
        (0x00, 0x7E, "d2030000007ed649"),
        (0x80, 0x29, "d20300800029965f"),
        (0x80, 0x70, "d203008000705665"),
        (0xA9, 0x20, "d20300a900208791"),
        (0xC9, 0x03, "d20300c90003c656"),
        (0x3E, 0x09, "d203003e0009f7a3"),
    ):
        assert D2Framer().encode(read_request(D2_UNIT, register, count)).hex() == text


def test_glued_answers_are_split_by_their_length() -> None:
    glued = max(pieces("daly-d2-balancer-btsnoop")[40:80], key=lambda p: p.count(b"\xd2\x03"))
    assert len(glued) == 91
    framer = D2Framer()
    assert [len(f.data) for f in framer.feed(glued)] == [18, 34, 24]
    assert framer.skipped_bytes == 0


def test_text_and_frames_of_the_other_dialects_are_skipped() -> None:
    request = D2Framer().encode(read_request(D2_UNIT, 0, 0x3E))
    for other in (
        b"AT+VER=?\r\n",
        b"HLK-B40(b.2.02.1202305041115)\r\n",
        bytes.fromhex("a54002080000000000000000ef"),
        bytes.fromhex("81100f05000200000000876a"),
        bytes.fromhex("51100f05aaaa2193"),
    ):
        framer = D2Framer()
        assert framer.feed(other) + framer.flush() == []
        assert [f.raw for f in framer.feed(other + request)] == [request]


def test_an_answer_has_at_least_one_whole_register() -> None:
    for data in (b"", b"\0", b"\0\1\2"):
        body = bytes((D2_UNIT, READ, len(data))) + data
        raw = body + crc16(body).to_bytes(2, "little")
        framer = D2Framer()
        assert framer.feed(raw) + framer.flush() == []


@pytest.mark.parametrize("register", [0x00, 0xFF, 0x100, 0x200, 0x24B])
def test_a_request_is_told_from_an_answer(register: int) -> None:
    raw = D2Framer().encode(read_request(D2_UNIT, register, 5))
    assert frame(raw).shape == "read"
    assert answer([0x1234]).shape == "data"


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=400), st.booleans())
def test_any_bytes_are_survived(data: bytes, sent: bool) -> None:
    framer, made = D2Framer(), codec()
    for found in framer.feed(data) + framer.flush():
        made.decode(found, sent=sent)


@settings(max_examples=300, deadline=None)
@given(
    st.integers(0, 0xFFFF),
    st.integers(0, 0xFFFF),
    st.binary(max_size=252),
    st.sampled_from([(READ, "data"), (WRITE, "write"), (WRITE_MANY, "write_bare")]),
    st.booleans(),
)
def test_any_frame_is_explained_or_refused(
    register: int, count: int, data: bytes, kind: tuple[int, str], sent: bool
) -> None:
    function, shape = kind
    made = codec()
    asked(made, register, len(data) // 2)
    found = RTUFrame(
        unit=D2_UNIT,
        function=function,
        shape=shape,
        register=register,
        count=count,
        data=data,
    )
    for _ in range(2):
        try:
            record = made.decode(found, sent=sent)
        except FrameError:
            continue
        if record.part:
            made.reading([record])
        made.identity([record])
        made.scrub(found)


# ------------------------------------------------------------------------- whose answer is it


def test_an_answer_belongs_to_what_was_asked() -> None:
    made = codec()
    asked(made, 0x3E, 9)
    record = made.decode(answer(frame(pieces("daly-d2-balancer-3e")[1]).words))
    assert (record.role, record.part) == ("reading", "003e")
    assert "block" not in record.values


def test_answers_to_pipelined_requests_come_in_order() -> None:
    made = codec()
    for register, count in ((0x63, 0x1C), (0xCC, 2), (0x3E, 9), (0xDF, 0x11), (0x57, 0x0C)):
        asked(made, register, count)
    assert made.decode(answer([0xFFFF] * 0x1C)).values["register"] == 0x63
    assert made.decode(answer([0x1406, 0x0C00])).values == {"daly_production_date": "2020-06-12"}
    assert made.decode(answer([0] * 9)).part == "003e"
    assert made.decode(answer([0xFFFF] * 0x11)).values["register"] == 0xDF
    assert made.decode(answer([0] * 0x0C)).values["register"] == 0x57


def test_a_later_answer_means_that_the_earlier_ones_were_lost() -> None:
    made = codec()
    asked(made, 0xCC, 2)
    asked(made, 0x80, 0x29)
    made.decode(answer([0] * 0x29))
    asked(made, 0xD0, 2)
    assert made.decode(answer([1, 2])).values["register"] == 0xD0


def test_two_open_questions_of_one_length_are_not_guessed() -> None:
    made = codec()
    asked(made, 0xCC, 2)
    asked(made, 0xA5, 2)
    record = made.decode(answer([0, 1]))
    assert (record.role, record.values["could_be"]) == ("other", ["00CC", "00A5"])
    assert made.decode(answer([0, 1])).values == {"charge_switch": 0, "discharge_switch": 1}


def test_a_repeated_request_is_one_question() -> None:
    made = codec()
    asked(made, 0xCC, 2)
    asked(made, 0xCC, 2)
    asked(made, 0xCC, 2, sent=False)  # the adapter echoes
    assert made.decode(answer([0x1406, 0x0C00])).role == "settings"
    asked(made, 0xA5, 2)
    assert made.decode(answer([1, 1])).values["charge_switch"] == 1


@pytest.mark.parametrize(
    ("count", "kind"),
    [
        (62, "status"),
        (80, "status"),
        (126, "status"),
        (9, "status"),
        (41, "settings"),
        (112, "settings"),
        (32, "versions"),
    ],
)
def test_an_answer_to_no_known_request_is_inferred_from_its_length(count: int, kind: str) -> None:
    record = codec().decode(answer([0] * count))
    assert (record.kind, record.values["block"]) == (kind, "inferred")


@pytest.mark.parametrize("count", [1, 2, 5, 61, 63, 125])
def test_other_lengths_are_not(count: int) -> None:
    made = codec()
    found = answer([7] * count)
    assert made.payload(found) is None
    record = made.decode(found)
    assert (record.kind, record.role) == ("registers", "other")
    assert record.values == {"data": "0007" * count, "could_be": []}


def test_a_write_and_its_echo() -> None:
    made = codec()
    write = frame(bytes.fromhex("d20600a60001bb8a"))
    assert made.decode(write, sent=True) == Record(
        "write", "request", {"register": 0xA6, "discharge_switch": 1}
    )
    assert made.decode(write).role == "ack"
    clock = frame(bytes.fromhex("d21000d40003180b0709341cf7d8"))
    assert made.decode(clock, sent=True).values == {
        "register": 0xD4,
        "daly_clock": "2024-11-07T09:52:28",
    }
    done = frame(D2Framer().encode(clock.replace(shape="written", data=b"")))
    assert made.decode(done) == Record("written", "ack", {"register": 0xD4})


# -------------------------------------------------------------------------------- layouts


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 0x120), st.integers(1, 126), st.data())
def test_every_block_goes_both_ways(register: int, count: int, data: st.DataObject) -> None:
    payload = data.draw(st.binary(min_size=2 * count, max_size=2 * count))
    layout = block_layout(D2_TABLE, register, count)
    assert layout.sizeof() == 2 * count
    assert layout.build(parse(layout, payload, "block")) == payload


def test_what_lies_in_a_block() -> None:
    names = [f.name for f in block_fields(D2_TABLE, 0x1E, 4)]
    assert names == ["cell_voltages_from_31", "temperatures"]
    assert [f.name for f in block_fields(D2_TABLE, 0x42, 5)] == [
        "mosfet_temperature",
        "board_temperature",
        "reserved_44",
    ]
    assert [f.name for f in block_fields(D2_TABLE, 0xD5, 2)] == ["reserved_D5"]  # half a clock


def test_a_table_has_no_overlaps() -> None:
    with pytest.raises(ValueError, match="date and word overlap"):
        RegisterMap(number(2, "word"), date(1, "date"))


def test_names_mean_one_thing() -> None:
    names = [row.name for row in D2_TABLE.rows]
    assert {n for n in names if names.count(n) > 1} == {"soc"}  # register A7 mirrors 2A


def test_a_limit_on_the_wrong_side_of_zero_is_flagged() -> None:
    made = codec()
    block = pieces("daly-d2-105ah-settings")[1]
    values = made.decode(frame(block)).values
    assert (values["charge_ocp"], values["discharge_ocp"]) == (10.0, 16.0)
    assert values["discharge_ocp_warning"] is None
    assert values["implausible"] == {"discharge_ocp_warning": 29840}


def test_settings_of_a_full_read_out() -> None:
    values = codec().decode(frame(pieces("daly-d2-rabdo-1")[0])).values
    expected = {
        "nominal_capacity": 310.0,
        "chemistry": 0,
        "sleep_delay": 3600,
        "cell_ovp_warning": 3.5,
        "cell_ovp": 3.6,
        "cell_uvp": 2.5,
        "pack_ovp": 57.5,
        "pack_uvp": 41.0,
        "charge_ocp": 200.0,
        "discharge_ocp": 200.0,
        "charge_otp": 65.0,
        "charge_utp": -35.0,
        "discharge_utp_warning": -30.0,
        "temperature_delta": 15,
        "balance_start_voltage": 3.4,
        "balance_delta": 0.02,
        "charge_switch": 1,
        "soc": 4.9,
        "reserved_A8": "0057",
    }
    assert {name: values[name] for name in expected} == expected
    assert block_values(D2_TABLE, 0x8A, b"\xff\xff") == {"sleep_delay": None}  # never
    assert block_values(D2_TABLE, 0x93, b"\x75\x30") == {"charge_ocp_warning": 0.0}
    assert str(block_values(D2_TABLE, 0x93, b"\x75\x30")["charge_ocp_warning"]) == "0.0"
    with pytest.raises(FrameError, match="odd"):
        block_values(D2_TABLE, 0x80, b"\0\1\2")


@pytest.mark.parametrize(
    ("sent", "meant"),
    [
        ("B002_111132_03", "30_231111_200B"),
        ("E303-032DG-SMB", "BMS-GD230-303E"),
        ("3.1V-KT42R-BHJ", "JHB-R24TK-V1.3"),
        ("401012", "210104"),
        ("204012", "210402"),
        ("210402", "210402"),
        ("211012", "211012"),  # a date both ways: kept as sent
        ("11_240518_K00T", "11_240518_K00T"),
        ("BMS", "BMS"),
        ("SH39F003", "SH39F003"),
        ("999999", "999999"),
        ("", ""),
        (None, None),
    ],
)
def test_strings_that_are_sent_back_to_front(sent: str | None, meant: str | None) -> None:
    assert forward(sent) == meant


def test_padding_of_strings() -> None:
    assert plain_text(b"BMS\0\0\0") == "BMS"
    assert plain_text(b"    20260326\0\0") == "20260326"
    assert plain_text(b"A\0B\xff\xff ") == "A"
    assert plain_text(b"\0\xff  \xff\0") is None


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        ("14030600", "2020-03-06"),
        ("00000000", None),
        ("ffffffff", None),
        ("140d0600", None),
        ("180b0709341c", "2024-11-07T09:52:28"),
        ("180b0718341c", None),
        ("180b0709343c", None),
    ],
)
def test_dates_and_clocks(data: str, shown: str | None) -> None:
    register = 0xCC if len(data) == 8 else 0xD4
    assert list(block_values(D2_TABLE, register, bytes.fromhex(data)).values()) == [shown]


# -------------------------------------------------------------------------------- readings


def test_a_reading() -> None:
    reading = poll()
    assert reading.voltage == 52.5
    assert reading.current == -3.1
    assert reading.raw["current_sign"] == "reported"
    assert reading.temperatures == {f"sensor_{n}": 15.0 for n in (1, 2, 3, 4)}
    assert reading.balancing_cells == ()
    assert reading.charge_switch is None  # the live block does not say


def test_lists_are_cut_at_the_announced_counts() -> None:
    reading = poll({0x10: 3300, 0x24: 0x28, 0x31: 15, 0x32: 3})
    assert len(reading.cell_voltages) == 15
    assert len(reading.temperatures) == 3
    assert poll({0x31: 0}).cell_voltages == ()
    assert poll({0x31: 49}).cell_voltages == ()
    assert poll({0x31: 34}).cell_voltages[-3:] == (0.0, None, None)


def test_cells_beyond_32_stand_elsewhere() -> None:
    made = codec()
    words = [3300 + n for n in range(32)]
    parts = [made.decode(answer(status(dict(enumerate(words)) | {0x31: 34})))]
    asked(made, 0x47, 16)
    parts.append(made.decode(answer([3400, 3401, *[0] * 14])))
    cells = made.reading(parts).cell_voltages
    assert len(cells) == 34
    assert cells[31:] == (3.331, 3.4, 3.401)


@pytest.mark.parametrize("word", [0, 0xFF, 0xFFFF])
def test_missing_probes(word: int) -> None:
    assert poll({0x20: word}).temperatures["sensor_1"] is None


def test_a_cell_of_0_volts_is_a_value_and_a_fault() -> None:
    reading = poll({0x02: 0})
    assert reading.cell_voltages[2] == 0.0
    assert reading.min_cell_voltage == 0.0
    assert reading.faults == (Condition.VOLTAGE_SENSE,)


@pytest.mark.parametrize(
    ("register", "word", "field", "name"),
    [
        (0x29, 0, "current", "current"),
        (0x29, 0xFFFE, "current", "current"),
        (0x28, 0, "voltage", "voltage"),
        (0x2A, 1001, "soc", "soc"),
        (0x35, 2, "charging_allowed", "charge_mosfet"),
        (0x34, 7, "balancing_active", "balancing"),
    ],
)
def test_what_cannot_be_is_unknown(register: int, word: int, field: str, name: str) -> None:
    reading = poll({register: word})
    assert getattr(reading, field) is None
    assert reading.raw["implausible"] == {name: word}
    assert getattr(poll({register: 0xFFFF}), field) is None


def test_a_cell_above_5_volts_is_unknown() -> None:
    reading = poll({0x01: 5001})
    assert reading.cell_voltages[:3] == (3.279, None, 3.281)
    assert reading.raw["implausible"] == {"cell_voltages_2": 5001}


def test_more_volts_than_the_cells_can_have() -> None:
    reading = poll({0x28: 801})
    assert reading.voltage is None
    assert reading.raw["voltage"] == 80.1


@pytest.mark.parametrize(
    ("state", "word", "sign"),
    [
        (1, 30100, "reported"),
        (2, 29900, "reported"),
        (2, 30100, "disputed"),
        (1, 30005, "assumed"),
        (0, 30100, "assumed"),
        (7, 29900, "assumed"),  # R24TK boards count further
    ],
)
def test_the_sign_of_the_current(state: int, word: int, sign: str) -> None:
    reading = poll({0x2F: state, 0x29: word})
    assert reading.current == (word - 30000) / 10
    assert reading.raw["current_sign"] == sign


def test_the_sign_can_be_configured() -> None:
    reading = poll(current_sign="inverted")
    assert (reading.current, reading.raw["current_sign"]) == (3.1, "configured")
    assert poll(current_sign="normal").current == -3.1
    assert str(poll({0x29: 30000}, current_sign="inverted").current) == "0.0"


def test_the_low_byte_of_an_alarm_word_comes_first() -> None:
    assert poll({0x3B: 0x0080}).protections == (Condition.SOC_LOW,)
    assert poll({0x3B: 0x0400}).alarms == (Condition.TEMPERATURE_DELTA,)
    assert poll({0x3A: 0x0001}).alarms == (Condition.CELL_OVERVOLTAGE,)
    assert poll({0x3A: 0x0200}).protections == (Condition.CHARGE_OVERTEMPERATURE,)
    assert poll({0x3C: 0x0010}).faults == (Condition.CHARGE_MOSFET,)
    assert poll({0x3D: 0x0004}).protections == (Condition.SHORT_CIRCUIT,)
    reading = poll({0x3D: 0x1720})
    assert (reading.faults, reading.raw["fault_code"]) == ((), 0x17)
    assert reading.raw["failure_bits"] == "0000000000002017"
    assert reading.raw["failure_bits_unknown"] == ["6.5"]
    assert read_failures([None] * 4) == ([], {})


@pytest.mark.parametrize("absent", range(4))
def test_an_absent_failure_word_is_not_one_without_a_failure(absent: int) -> None:
    assert poll({0x3A + absent: 0}).conditions_known
    assert not poll({0x3A + absent: 0xFFFF}).conditions_known


def test_the_unit_of_the_balance_current_is_disputed() -> None:
    made = codec()
    for word, current, raw in ((30000, 0.0, None), (30500, None, 30500), (0xFFFF, None, None)):
        asked(made, 0x3E, 9)
        reading = made.reading([made.decode(answer([0, 0, word, 0, 0, 0, 0, 0, 0]))])
        assert reading.balance_current == current
        assert reading.raw.get("balance_current_word") == raw


def test_unmapped_registers_are_kept() -> None:
    made = codec()
    asked(made, 0x3E, 9)
    reading = made.reading([made.decode(answer([3, 4, 30000, 2, 65, 0, 0xFFFF, 9, 0]))])
    assert reading.raw["registers"] == {"45": "0009"}
    assert reading.raw["balance_words"] == [3, 4]
    assert reading.raw["balanced_cell_count"] == 2
    assert reading.temperatures == {"mosfet": 25.0, "board": None}


def test_a_block_without_the_count_assumes_it() -> None:
    made = codec()
    asked(made, 0, 16)
    reading = made.reading([made.decode(answer([3300, 3301, 0, 3302, *[0] * 12]))])
    assert reading.cell_voltages == (3.3, 3.301, 0.0, 3.302)
    assert reading.raw["cell_count"] == "assumed"
    asked(made, 1, 16)  # the first register is the second cell: no list of cells
    assert made.reading([made.decode(answer([3300] * 16))]).cell_voltages == ()


def test_identity() -> None:
    made = codec()
    records = [made.decode(f) for p in pieces("daly-d2-105ah-settings") for f in D2Framer().feed(p)]
    identity = made.identity(records)
    assert (identity.model, identity.hardware, identity.firmware) == ("SH39F003", None, "210402")
    assert (identity.cell_count, identity.chemistry) == (4, "lfp")
    assert codec().identity([]).cell_count is None


# --------------------------------------------------------------------------------- secrets


def test_the_password_is_never_shown_and_never_recorded() -> None:
    made = codec()
    request, reply = (frame(p) for p in pieces("daly-d2-105ah-settings")[4:])
    asked(made, 0xC9, 3)
    assert made.decode(reply).values == {}
    for known in (True, False):
        made = codec()
        assert not known or made.scrub(request) is None
        clean = made.scrub(reply)
        assert clean is not None
        assert frame(clean).data == bytes(6)


@pytest.mark.parametrize(("register", "count"), [(0xC9, 1), (0xCB, 4), (0x80, 0x70), (0xC0, 10)])
def test_parts_of_the_password_neither(register: int, count: int) -> None:
    made = codec()
    digits = {0xC9: 0x3132, 0xCA: 0x3334, 0xCB: 0x3536}
    found = answer([digits.get(r, 0x1111) for r in range(register, register + count)])
    asked(made, register, count)
    said = str(made.decode(found).values)
    made.scrub(read_request(D2_UNIT, register, count))
    clean = frame(made.scrub(found) or b"").data.hex()
    assert len(clean) == 4 * count
    for number_, word in digits.items():
        if register <= number_ < register + count:
            assert f"{word:04x}" not in said
            assert f"{word:04x}" not in clean
    assert clean.count("1111") == sum(
        not 0xC9 <= r <= 0xCB for r in range(register, register + count)
    )


def test_written_passwords_neither() -> None:
    many = RTUFrame(
        unit=D2_UNIT,
        function=WRITE_MANY,
        shape="write_bare",
        register=0xC8,
        count=4,
        data=b"ab123456",
    )
    one = RTUFrame(unit=D2_UNIT, function=WRITE, shape="write", register=0xC9, count=0x3132)
    for found, data in ((many, b"ab" + bytes(6)), (one, b"")):
        made = codec()
        clean = frame(made.scrub(found) or b"")
        assert (clean.data, clean.count) == (data, found.count if data else 0)
        assert "3132" not in str(made.decode(found, sent=True).values)


def test_a_doubtful_answer_that_may_be_the_password_is_blanked() -> None:
    made = codec()
    for register in (0xC9, 0x20):
        asked(made, register, 3)
        made.scrub(read_request(D2_UNIT, register, 3))
    found = answer([0x3132, 0x3334, 0x3536])
    assert "data" not in made.decode(found).values
    assert frame(made.scrub(found) or b"").data == bytes(6)


def test_ordinary_frames_are_left_alone() -> None:
    made = codec()
    for name in ("daly-d2-mos-write", BLUE, "daly-d2-rabdo-1"):
        for piece in pieces(name):
            assert made.scrub(frame(piece)) is None


# --------------------------------------------------------------------------------- driver

STATUS, MORE = (0x00, 0x3E), (0x3E, 9)


def full_board() -> dict[tuple[int, int], bytes]:
    blocks = captured_blocks(DalyD2, "daly-d2-balancer-btsnoop")
    assert {STATUS, MORE, (0xA9, 0x20), (0x80, 0x29)} <= blocks.keys()
    return blocks


def test_a_poll_asks_two_blocks() -> None:
    async def test(driver: DalyD2, board: Board) -> None:
        reading = await driver.read()
        assert reading.voltage == 53.3
        assert reading.balance_current == 0.0
        assert board.asked == [STATUS, MORE]
        assert board.times[1] - board.times[0] >= 0.03 + 0.12

    run(DalyD2, full_board(), test)


def test_a_board_without_the_second_block_is_asked_rarely() -> None:
    blocks = {STATUS: full_board()[STATUS]}

    async def test(driver: DalyD2, board: Board) -> None:
        assert (await driver.read()).balance_current is None
        assert (await driver.read()).voltage == 53.3
        await driver.read()
        assert board.asked == [STATUS, MORE, MORE, STATUS, MORE, MORE, STATUS]
        for _ in range(47):
            await driver.read()
        assert board.asked.count(MORE) == 6  # a lost answer looks like a block that is not there

    run(DalyD2, blocks, test)


def test_identify_reads_versions_and_settings() -> None:
    async def test(driver: DalyD2, board: Board) -> None:
        identity = await driver.identify()
        assert identity.firmware == "30_231111_200B"
        assert identity.hardware == "BMS-GD230-303E"
        assert (identity.cell_count, identity.chemistry) == (16, "lfp")
        assert board.asked == [STATUS, (0xA9, 0x20), (0x80, 0x29)]

    run(DalyD2, full_board(), test)


def test_an_echo_is_no_answer() -> None:
    async def test(driver: DalyD2, board: Board) -> None:
        assert (await driver.read()).voltage == 53.3
        board.blocks.clear()
        with pytest.raises(LinkTimeout, match="own request came back"):
            await driver.ask(Block(*STATUS))

    run(DalyD2, full_board(), test, lambda request, reply: [request.raw, reply])


def test_an_answer_of_another_length_is_not_taken() -> None:
    blocks = full_board()
    stale = blocks[0x80, 0x29]

    async def test(driver: DalyD2, board: Board) -> None:
        assert (await driver.read()).voltage == 53.3
        board.blocks = {STATUS: b"", MORE: b""}
        with pytest.raises(LinkTimeout, match="Only other frames"):
            await driver.ask(Block(*STATUS))

    run(DalyD2, blocks, test, lambda request, reply: [stale, reply])


def test_split_and_glued_answers() -> None:
    blocks = full_board()

    def reply(request: RTUFrame, data: bytes) -> list[bytes]:
        return [blocks[0xC9, 3] + data[:20], data[20:90], data[90:] + b"AT+BAND=9600"]

    async def test(driver: DalyD2, board: Board) -> None:
        assert (await driver.read()).voltage == 53.3
        assert board.asked == [STATUS, MORE]

    run(DalyD2, blocks, test, reply)


def test_a_damaged_answer_is_asked_for_again() -> None:
    tries: list[RTUFrame] = []

    def reply(request: RTUFrame, data: bytes) -> list[bytes]:
        tries.append(request)
        return [data if len(tries) % 2 == 0 else data[:-1] + b"\0"]

    async def test(driver: DalyD2, board: Board) -> None:
        assert (await driver.read()).voltage == 53.3
        assert board.asked == [STATUS, STATUS, MORE, MORE]

    run(DalyD2, full_board(), test, reply)


def test_a_board_that_boots_is_asked_again() -> None:
    awake = full_board()[STATUS]
    booting = D2Framer().encode(RTUFrame(unit=D2_UNIT, shape="data", data=bytes(124)))
    answers = [booting, booting, awake]

    def reply(request: RTUFrame, data: bytes) -> list[bytes]:
        return [answers.pop(0) if answers else data]

    async def test(driver: DalyD2, board: Board) -> None:
        assert len((await driver.read()).cell_voltages) == 16
        assert board.asked == [STATUS, STATUS, STATUS, MORE]

    run(DalyD2, full_board(), test, reply)


def test_d2_boards_have_no_address() -> None:
    async def test(driver: DalyD2, board: Board) -> None:
        raise AssertionError

    with pytest.raises(TargetError, match="no address"):
        run(DalyD2, {}, test, options=Options(address=1))


def test_a_board_that_never_announces_cells_is_read_as_it_is() -> None:
    empty = DalyD2.make_framer().encode(
        RTUFrame(unit=0xD2, function=3, shape="data", data=bytes(2 * 62))
    )

    async def test(driver: DalyD2, board: Board) -> None:
        assert (await driver.read()).cell_voltages == ()
        assert board.asked.count(STATUS) == 3
        assert board.times[1] - board.times[0] >= 0.3

    run(DalyD2, {STATUS: empty}, test)


def test_garbage_is_no_sign_that_a_block_is_not_there() -> None:
    def reply(request: RTUFrame, answer: bytes) -> list[bytes]:
        return [answer] if (request.register, request.count) == STATUS else [b"\xd2\x03\x00\x00"]

    async def test(driver: DalyD2, board: Board) -> None:
        for _ in range(4):
            await driver.read()
        assert board.asked.count(MORE) == 8  # each time, with one repetition

    run(DalyD2, {STATUS: full_board()[STATUS]}, test, reply)
