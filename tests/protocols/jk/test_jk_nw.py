"""JK `4E 57`: tags both ways, the framer on a bad line, secrets. Captures run in test_captures."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bmslink.errors import FrameError
from bmslink.model import Condition, Identity, Reading
from bmslink.protocols.base import Assembler, Options, Record
from bmslink.protocols.common.fields import build, parse
from bmslink.protocols.jk.nw.driver import JKNWCodec
from bmslink.protocols.jk.nw.framing import (
    LOGIN,
    READ,
    READ_ALL,
    REPLY,
    UPLOAD,
    WRITE,
    JKNWFrame,
    JKNWFramer,
    read_all_request,
    read_request,
    write_request,
)
from bmslink.protocols.jk.nw.tags import (
    TAGS,
    body_layout,
    current,
    current_word,
    split,
    temperature,
    temperature_word,
)

# nw-14s-h6x-s6.1.3S
H6X = bytes.fromhex(
    "4e57011b00000000060001792a010eed020efa030ef7040eec050ef8060efa070ef1080ef8090ee30a0efa"
    "0b0ef10c0efb0d0efb0e0ef280001d81001e82001c8314ef8480d0850f860287000489000000008a000e8b0000"
    "8c00078e16268f10ae900fd2910fa0920005930bea940c1c95000596012c9700079800039900059a00059b0ce4"
    "9c00089d019e005a9f0046a00064a10064a20014a30046a40046a5ffeca6fff6a7ffeca8fff6a90eaa0000000e"
    "ab01ac01ad0411ae01af01b0000ab114b231323334353600000000b300b4496e707574205573b532313031b600"
    "00e200b748362e585f5f53362e312e33535f5fb800b900000000ba425433303732303230313230303030323030"
    "353231303031c0010000000068000054d1"
)
READ_ALL_REQUEST = bytes.fromhex("4e5700130000000006030000000000006800000129")


def codec(**options: Any) -> JKNWCodec:
    return JKNWCodec(Options(**options))


def only(data: bytes) -> JKNWFrame:
    framer = JKNWFramer()
    (frame,) = framer.feed(data)
    assert framer.skipped_bytes == 0
    return frame


def reply(data: bytes, **changes: Any) -> JKNWFrame:
    """A frame as the framer would give it."""
    values = {"command": READ_ALL, "source": 0, "kind": REPLY, "data": data} | changes
    return only(JKNWFramer().encode(JKNWFrame(**values)))


def body(**values: Any) -> bytes:
    tags = bytes(tag for tag, row in TAGS.items() if row.name in values)
    return build(body_layout(tags), values, "test data")


def with_tags(**values: Any) -> bytes:
    """The data of H6X with other values."""
    data = only(H6X).data
    layout = body_layout(split(data))
    return build(layout, parse(layout, data, "test data") | values, "test data")


def read(frame: JKNWFrame, **options: Any) -> Reading:
    one = codec(**options)
    return one.reading([one.decode(frame)])


# ---------------------------------------------------------------------------------- framing


def test_requests_are_the_captured_bytes() -> None:
    encode = JKNWFramer().encode
    assert encode(read_all_request()) == READ_ALL_REQUEST
    # nw-read-voltage, nw-write-charge-on, nw-write-discharge-off
    assert encode(read_request(0x83)).hex() == "4e57001300000000030300830000000068000001a9"
    assert encode(write_request(0xAB, b"\1")).hex() == (
        "4e57001400000000020300ab010000000068000001d2"
    )
    assert encode(write_request(0xAC, b"\0")).hex() == (
        "4e57001400000000020300ac000000000068000001d2"
    )


def test_whole_byte_by_byte_and_glued() -> None:
    for pieces in ([H6X], [H6X[i : i + 1] for i in range(len(H6X))]):
        framer = JKNWFramer()
        assert [f.raw for piece in pieces for f in framer.feed(piece)] == [H6X]
        assert framer.pending == 0
    frames = JKNWFramer().feed(READ_ALL_REQUEST + H6X + H6X)
    assert [(f.raw, f.offset) for f in frames] == [
        (READ_ALL_REQUEST, 0),
        (H6X, 21),
        (H6X, 21 + len(H6X)),
    ]


def test_every_flipped_bit_is_refused_and_the_next_frame_is_found() -> None:
    for bit in range(len(READ_ALL_REQUEST) * 8):
        broken = bytearray(READ_ALL_REQUEST)
        broken[bit // 8] ^= 1 << bit % 8
        framer = JKNWFramer()
        frames = framer.feed(bytes(broken) + H6X) + framer.flush()
        assert [f.raw for f in frames] == [H6X], f"bit {bit}"
        assert framer.skipped_bytes == len(READ_ALL_REQUEST)


def test_a_wrong_sum_is_named() -> None:
    """nw-password-and-charge: a reader left the 68 out of the sum; boards ignore that too."""
    framer = JKNWFramer()
    assert framer.feed(bytes.fromhex("4e57001400000000020200ab00000000006800000168")) == []
    assert [s.reason for s in framer.skipped] == ["checksum"]
    assert framer.bad_frames == 1


def test_a_wrong_end_mark_is_no_frame() -> None:
    broken = bytearray(READ_ALL_REQUEST)
    broken[16] ^= 0x01
    broken[-2:] = sum(broken[:-4]).to_bytes(2, "big")
    framer = JKNWFramer()
    assert framer.feed(bytes(broken)) == []
    assert [s.reason for s in framer.skipped] == ["noise"]
    assert framer.bad_frames == 0


def test_truncated_frame_before_a_whole_one() -> None:
    for end in (1, 3, 5, 11, 100, len(H6X) - 1):
        framer = JKNWFramer()
        frames = framer.feed(H6X[:end] + H6X) + framer.flush()
        assert [f.raw for f in frames] == [H6X], f"cut at {end}"


def test_an_impossible_length_does_not_wait() -> None:
    """`NW_1_0_0_200428` (nw-20s-vendor-example-v0) begins like a frame of 24 kB."""
    for start in (b"NW_1_0_0_200428", b"NW\0\x11", b"NW\x01\xff"):
        framer = JKNWFramer()
        assert [f.raw for f in framer.feed(start + READ_ALL_REQUEST)] == [READ_ALL_REQUEST]
        assert framer.skipped_bytes == len(start)


def test_junk_without_a_start_is_not_kept() -> None:
    framer = JKNWFramer()
    assert framer.feed(b"\0W" * 5000) == []
    assert framer.pending == 0
    assert framer.feed(b"xN") == []
    assert framer.pending == 1  # may be the first half of a start
    assert [f.raw for f in framer.feed(READ_ALL_REQUEST[1:])] == [READ_ALL_REQUEST]


def test_the_longest_list_fits_the_longest_frame() -> None:
    widths = sum(1 + row.width(b"\xff") for row in TAGS.values())
    assert len(JKNWFramer().encode(JKNWFrame(data=bytes(widths)))) <= JKNWFramer.longest


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=600))
def test_any_bytes_into_the_framer(junk: bytes) -> None:
    framer = JKNWFramer()
    frames = framer.feed(junk)
    assert framer.pending < framer.longest
    frames += framer.feed(H6X) + framer.flush()
    assert H6X in [f.raw for f in frames]
    assert framer.position == len(junk) + len(H6X)
    assert sum(len(f.raw) for f in frames) + framer.skipped_bytes == framer.position
    one = codec()
    for frame in frames:
        assert framer.encode(frame) == frame.raw
        explain_or_frame_error(one, frame)


# ---------------------------------------------------------------------------------- tags


def explain_or_frame_error(one: JKNWCodec, frame: JKNWFrame) -> Record | None:
    try:
        record = one.decode(frame)
    except FrameError:
        return None
    one.reading([record]).to_dict()
    one.identity([record]).to_dict()
    return record


any_tags = st.lists(st.sampled_from([t for t in TAGS if t != 0x79]), max_size=8, unique=True).map(
    bytes
)


@given(tags=any_tags, cells=st.integers(0, 85), at=st.integers(0, 8), data=st.data())
@settings(max_examples=150, deadline=None)
def test_generated_tag_sets_build_again(tags: bytes, cells: int, at: int, data: Any) -> None:
    wire = b""
    for i, tag in enumerate(tags):
        if i == at:
            wire += bytes([0x79, 3 * cells]) + data.draw(
                st.binary(min_size=3 * cells, max_size=3 * cells)
            )
        width = TAGS[tag].width(b"")
        wire += bytes([tag]) + data.draw(st.binary(min_size=width, max_size=width))
    layout = body_layout(split(wire))
    assert layout.build(layout.parse(wire)) == wire
    if wire:
        explain_or_frame_error(codec(), reply(wire))


@given(
    data=st.binary(max_size=80),
    command=st.sampled_from([0, 1, 2, 3, 5, 6]),
    kind=st.integers(0, 3),
    sent=st.booleans(),
)
@settings(max_examples=200, deadline=None)
def test_any_payload_gives_a_record_or_a_frame_error(
    data: bytes, command: int, kind: int, sent: bool
) -> None:
    frame = reply(data, command=command, kind=kind)
    one = codec()
    try:
        payload = one.payload(frame, sent=sent)
        assert payload is None or payload.layout.build(payload.layout.parse(data)) == data
        one.decode(frame, sent=sent)
    except FrameError:
        pass
    clean = one.scrub(frame)
    assert clean is None or len(clean) == len(frame.raw)


def test_tag_names_are_unique() -> None:
    assert len({row.name for row in TAGS.values()}) == len(TAGS)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("830a628fff", "Tag 8F at byte 3 .* is cut off"),
        ("8300018800", "Tag 88 at byte 3 .* is unknown"),
        ("830001830002", "Tag 83 comes twice, again at byte 3"),
        ("7904010ed202", "4 bytes holds no whole cells"),
        ("7906010ed2010ed3", r"numbers its cells \[1, 1\]"),
        ("7903000ed2", r"numbers its cells \[0\]"),
        ("79", "cut off"),
    ],
)
def test_a_broken_list_names_its_fault(data: str, message: str) -> None:
    frame = reply(bytes.fromhex(data))
    with pytest.raises(FrameError, match=message):
        codec().decode(frame)


def test_unknown_command_and_kind() -> None:
    for changes in ({"command": 4}, {"kind": 3}):
        with pytest.raises(FrameError, match="is unknown"):
            codec().decode(reply(b"", **changes))


# ---------------------------------------------------------------------------------- meaning


def test_a_full_list_is_reading_settings_and_identity() -> None:
    """nw-14s-h6x-s6.1.3S with the values its source gives."""
    record = codec().decode(only(H6X))
    assert (record.kind, record.role, record.part) == ("all", "reading", "all")
    expected = {
        "pack_ovp": 56.7,
        "cell_uvp_release": 3.1,
        "cell_delta": 0.3,
        "discharge_ocp": 7,
        "charge_utp": -20,
        "balance_delta": 0.008,
        "nominal_capacity": 14.0,
        "jk_current_calibration": 1.041,
        "sleep_delay": 10,
        "software_version": "H6.X__S6.1.3S__",
        "manufacturer_id": "BT3072020120000200521001",
        "manufacturing_date": "2101",
    }
    assert {name: record.values[name] for name in expected} == expected
    reading = codec().reading([record])
    assert (reading.voltage, reading.current, reading.soc, reading.cycles) == (53.59, 2.08, 15.0, 4)
    assert reading.temperatures == {"mosfet": 29.0, "sensor_1": 30.0, "sensor_2": 28.0}
    assert (reading.min_cell_voltage, reading.max_cell_voltage) == (3.811, 3.835)
    assert reading.full_capacity is None  # B9 is 0 on boards up to 10.x
    assert reading.remaining_capacity is None
    assert reading.uptime == 57856 * 60
    assert reading.balancing_active is reading.charging_allowed is True
    assert reading.balancing_cells is None
    assert codec().identity([record]) == Identity(
        vendor="JK",
        hardware="6.X",
        firmware="6.1.3S",
        cell_count=14,
        chemistry="nmc",
        protocol="jk-nw",
        variant="version 1",
    )


@pytest.mark.parametrize(
    ("software", "hardware", "firmware"),
    [
        (b"11.XW_S11.26___", "11.XW", "11.26"),
        (b"15A_____S15.29_", "15A", "15.29"),  # nw-8s-15a-15.29-alarm
        (b"NW_1_0_0_200428", None, "NW_1_0_0_200428"),
        (bytes(15), None, None),
    ],
)
def test_version_string(software: bytes, hardware: str | None, firmware: str | None) -> None:
    identity = codec().identity([codec().decode(reply(with_tags(software_version=software)))])
    assert (identity.hardware, identity.firmware) == (hardware, firmware)


def test_model_is_the_second_half_of_ba_unless_the_owner_renamed_it() -> None:
    def model(tag: bytes) -> str | None:
        return codec().identity([codec().decode(reply(with_tags(manufacturer_id=tag)))]).model

    # nw-16s-b2a20s20p-11.26-idle has a NUL at the end of the first half; nw-4s-11.21H a name
    assert model(b"Armins__BMS\0JK_B2A20S20P") == "JK_B2A20S20P"
    assert model(b"Input UserdaEddieBlueBMS") is None


@pytest.mark.parametrize(
    ("version", "word", "amps"),
    [
        (1, 0x80D0, 2.08),  # nw-14s-h6x-s6.1.3S
        (1, 0x0045, -0.69),  # nw-16s-bd6a17s6p-7.1.0H
        (1, 0x8000, 0.0),
        (1, 0xFFFF, 327.67),
        (0, 10000, 0.0),  # nw-20s-vendor-example-v0
        (0, 9500, 5.0),
        (0, 10500, -5.0),
        (2, 0, None),
    ],
)
def test_current_by_protocol_version(version: int, word: int, amps: float | None) -> None:
    assert current(word, version) == amps
    if amps:
        assert current_word(amps, version) == word


def test_no_current_is_never_minus_zero() -> None:
    for sign in ("auto", "inverted"):
        reading = read(reply(with_tags(current_word=0)), current_sign=sign)
        assert str(reading.current) == "0.0"


def test_current_words_stay_in_range() -> None:
    assert current_word(1e6, 1) == 0xFFFF
    assert current_word(-1e6, 1) == 0x7FFF
    assert current_word(1e6, 0) == 0
    assert current_word(-1e6, 0) == 0xFFFF


def test_a_list_without_c0_is_version_0() -> None:
    data = with_tags(current_word=9000)
    cut = data[: data.index(b"\xb8\x00\xb9")]
    reading = read(reply(cut))
    assert reading.current == 10.0
    assert reading.raw["protocol_version"] == 0


def test_an_unknown_protocol_version_has_no_current() -> None:
    reading = read(reply(with_tags(protocol_version=2)))
    assert reading.current is None
    assert reading.raw["current_word"] == 0x80D0
    assert reading.raw["current_sign"] == "unknown"
    assert reading.voltage == 53.59


def test_current_sign_of_the_target() -> None:
    assert read(only(H6X)).raw["current_sign"] == "reported"
    reading = read(only(H6X), current_sign="inverted")
    assert (reading.current, reading.raw["current_sign"]) == (-2.08, "inverted")


@pytest.mark.parametrize(
    ("word", "celsius"),
    [(0, 0.0), (100, 100.0), (101, -1.0), (140, -40.0), (141, None), (0xFFFF, None)],
)
def test_temperature_codes(word: int, celsius: float | None) -> None:
    assert temperature(word) == celsius
    reading = read(reply(with_tags(box_temperature=word)))
    assert reading.temperatures["sensor_1"] == celsius
    assert reading.raw.get("box_temperature_word") == (word if celsius is None else None)
    if celsius is not None:
        assert temperature_word(celsius) == word


def test_temperatures_beyond_the_code_are_sent_as_its_ends() -> None:
    assert (temperature_word(-55.2), temperature_word(130)) == (140, 100)


def test_alarm_bits() -> None:
    """nw-8s-15a-15.29-alarm: bit 2, with the charge FET off."""
    reading = read(reply(with_tags(alarm_word=0x0004, status_word=0x0002)))
    assert reading.protections == (Condition.PACK_OVERVOLTAGE,)
    assert (reading.charging_allowed, reading.discharging_allowed) == (False, True)
    reading = read(reply(with_tags(alarm_word=0xF011, status_word=0x000B)))
    assert reading.alarms == (Condition.SOC_LOW,)
    # the bit does not say for which direction
    assert reading.protections == (
        Condition.CHARGE_OVERTEMPERATURE,
        Condition.DISCHARGE_OVERTEMPERATURE,
    )
    assert reading.raw["alarm_bits"] == [12, 13, 14, 15]
    assert reading.raw["status_bits"] == [3]
    assert reading.balancing_active is False


def test_what_is_implausible_is_passed_on() -> None:
    """SOC 0 and no cycles are what a starting board says for 16 s; 0 V is a value."""
    cells = [{"number": 1, "voltage": 0.0}, {"number": 2, "voltage": 65.535}]
    reading = read(reply(with_tags(soc=0, cycles=0, cells=cells, string_count=2)))
    assert (reading.soc, reading.cycles) == (0.0, 0)
    assert reading.cell_voltages == (0.0, 65.535)
    assert reading.min_cell_voltage == 0.0
    assert reading.faults == (Condition.VOLTAGE_SENSE,)


def test_cells_stand_where_their_number_says() -> None:
    cells = [{"number": n, "voltage": n / 10} for n in (4, 1, 2)]
    reading = read(reply(body(cells=cells)))
    assert reading.cell_voltages == (0.1, 0.2, None, 0.4)


def test_cells_beyond_the_announced_count_are_padding() -> None:
    reading = read(reply(with_tags(string_count=12)))
    assert len(reading.cell_voltages) == 12
    assert reading.raw["string_count"] == 12


def test_a_switch_that_is_neither_on_nor_off() -> None:
    reading = read(reply(with_tags(charge_switch=0, balance_switch=7)))
    assert (reading.charge_switch, reading.discharge_switch) == (False, True)
    assert reading.balance_switch is None
    assert reading.raw["balance_switch"] == 7


def test_single_tags_make_a_reading_piece_by_piece() -> None:
    one = codec()
    voltage = one.decode(reply(body(voltage=53.2), command=READ))
    amps = one.decode(reply(body(current_word=0x80D0), command=READ))
    assert (voltage.part, amps.part) == ("83", "84")
    assert amps.values["current"] is None  # nothing said which version the board speaks
    assembler = Assembler(one)
    assert assembler.add(voltage) is None
    again = assembler.add(one.decode(reply(body(voltage=53.1), command=READ)))
    assert again is not None
    assert (again.voltage, again.current, again.soc) == (53.2, None, None)
    one.decode(only(H6X))
    later = one.decode(reply(body(current_word=0x80D0), command=READ))
    assert one.reading([later]).current == 2.08


def test_single_tags_of_settings_and_identity_are_no_live_data() -> None:
    one = codec()
    setting = one.decode(reply(body(cell_ovp=4.2), command=READ))
    assert (setting.role, setting.part, dict(setting.values)) == (
        "settings",
        None,
        {"cell_ovp": 4.2},
    )
    named = one.decode(reply(body(software_version=b"11.XW_S11.26___"), command=READ))
    assert (named.role, named.part) == ("identity", None)
    assert one.identity([named]).firmware == "11.26"
    assert one.identity([named]).variant is None
    # a write of a wish says nothing about the device
    wish = one.decode(reply(body(jk_battery_type=1), command=WRITE, kind=0), sent=True)
    assert one.identity([named, wish]).chemistry is None


def test_a_full_list_may_answer_a_single_read() -> None:
    """nw-14s-b1a20s15p-11.261 did; boards may also send it on their own."""
    for changes in ({"command": READ}, {"kind": UPLOAD}):
        record = codec().decode(reply(only(H6X).data, **changes))
        assert record.part == "all"


def test_a_terminal_id_changes_nothing_but_comes_back() -> None:
    frame = reply(only(H6X).data, terminal=0x01020304, record=7)
    assert frame.raw != H6X
    assert JKNWFramer().encode(frame) == frame.raw
    assert read(frame) == read(only(H6X))


def test_no_records_no_values() -> None:
    assert codec().reading([]) == Reading(protocol="jk-nw")


def test_requests_explained() -> None:
    def said(frame: JKNWFrame) -> tuple[str, str, dict[str, Any]]:
        record = codec().decode(only(JKNWFramer().encode(frame)), sent=True)
        return record.kind, record.role, dict(record.values)

    assert said(read_all_request()) == ("read_all", "request", {})
    assert said(read_request(0x83)) == ("read", "request", {"tags": ["83"]})
    assert said(write_request(0xAB, b"\1")) == ("write", "request", {"charge_switch": 1})
    assert said(write_request(0x90, b"\x10\x68")) == ("write", "request", {"cell_ovp": 4.2})
    assert said(write_request(0xBB, b"\1")) == ("write", "request", {"jk_restart": "01"})
    assert said(JKNWFrame(command=WRITE)) == ("write", "request", {})
    assert said(JKNWFrame(command=LOGIN, data=b"\xb2123456")) == ("password", "request", {})
    # an echo is a request, whichever side it comes from
    assert codec().decode(only(READ_ALL_REQUEST)).role == "request"


def test_answers_without_a_known_form_are_acknowledgements() -> None:
    for command in (WRITE, LOGIN, 1):
        record = codec().decode(reply(b"\xab", command=command))
        assert (record.role, dict(record.values)) == ("ack", {"length": 1})


# ---------------------------------------------------------------------------------- secrets


def test_no_password_in_values() -> None:
    record = codec().decode(only(H6X))
    assert "password" not in record.values
    assert "123456" not in str(record)
    write = codec().decode(reply(b"\xb2" + b"654321".ljust(10, b"\0"), command=WRITE, kind=0))
    assert "654321" not in str(write)


@pytest.mark.parametrize(
    ("command", "kind", "data"),
    [
        (READ_ALL, 1, only(H6X).data),
        (READ, 1, b"\xb2123456\0\0\0\0"),
        (WRITE, 0, b"\xb2123456\0\0\0\0"),
        (WRITE, 0, b"\xb2123456"),  # a writer that does not fill it up
        (LOGIN, 0, b"\xb2123456\0\0\0\0"),
        (LOGIN, 0, b"123456"),
        (READ_ALL, 1, b"\x88\x79\xff\xb2123456\0\0\0\0"),  # behind a tag nobody knows
        (READ_ALL, 1, b"\x79\xff\xb2123456\0\0\0\0"),  # behind a list that is cut off
        (WRITE, 0, b"\xbb\xb2123456\0\0\0\0"),
    ],
)
def test_passwords_are_blanked_and_the_sum_renewed(command: int, kind: int, data: bytes) -> None:
    frame = reply(data, command=command, kind=kind)
    clean = codec().scrub(frame)
    assert clean is not None
    assert b"23456" not in clean
    assert only(clean).data != data
    assert len(clean) == len(frame.raw)
    changed = [i for i, (a, b) in enumerate(zip(data, only(clean).data, strict=True)) if a != b]
    assert len(changed) <= 6, "only the password may change"


def test_frames_without_secrets_stay_as_they_are() -> None:
    one = codec()
    for frame in (only(READ_ALL_REQUEST), reply(b"\xb2", command=READ, kind=0), reply(b"")):
        assert one.scrub(frame) is None
    assert one.scrub(only(one.scrub(only(H6X)) or b"")) is None
