"""JK02: the framer on damaged streams, the two variants, and what the records mean."""

from __future__ import annotations

import json
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bmslink.errors import FrameError, TargetError
from bmslink.link.capture import open_capture
from bmslink.link.link import Framer
from bmslink.model import Condition, Identity, Reading
from bmslink.protocols.base import Record
from bmslink.protocols.common.fields import build, parse
from bmslink.protocols.jk.jk02.driver import JK02Codec, JK02Frame, JK02Framer, command, record
from bmslink.protocols.jk.jk02.layouts import CELL_INFO, DETAIL_LOG, DEVICE_INFO, LOGBOOK, PAYLOAD
from bmslink.protocols.jk.jk02.reading import ALARMS, FULL_OR_OVERVOLTAGE
from bmslink.protocols.jk.settings import REGISTERS, SETTINGS_LAYOUTS
from support import FIXTURES

PB_SESSION = "sess-jk02-32s-pb2a16s20p-15.41-heating"
OLD_SESSION = "sess-jk02-24s-b1a20s15p-10.07"
ACK = bytes.fromhex("aa5590ebc8010100000000000000000000000044")
AT = b"AT\r\n"


def pieces(capture: str, kind: str = "", direction: str = "rx") -> list[bytes]:
    _, found = open_capture(FIXTURES / "jk02" / f"{capture}.jsonl")
    return [p.data for p in found if p.dir == direction and (not kind or p.kind == kind)]


def one(capture: str, kind: str) -> bytes:
    return pieces(capture, kind)[0]


def frame(raw: bytes) -> JK02Frame:
    (found,) = JK02Framer().feed(raw)
    return found


def raws(framer: Framer[JK02Frame], *chunks: bytes) -> list[bytes]:
    return [f.raw for chunk in chunks for f in framer.feed(chunk)]


def edited(raw: bytes, **values: Any) -> JK02Frame:
    """A captured type 02 with some of its fields changed."""
    payload = JK02Codec().payload(frame(raw))
    assert payload is not None
    fields = parse(payload.layout, payload.data, "live values")
    assert values.keys() <= fields.keys()
    return record(2, build(payload.layout, fields | values, "live values"))


def reading(raw: bytes | JK02Frame, codec: JK02Codec | None = None) -> Reading:
    codec = codec or JK02Codec()
    got = frame(raw) if isinstance(raw, bytes) else raw
    return codec.reading([codec.decode(got)])


# ---------------------------------------------------------------------------------- framing


@pytest.mark.parametrize("size", [1, 20, 128, 150, 384, 100_000])
def test_notifications_of_any_size_give_the_same_frames(size: int) -> None:
    stream = b"".join(pieces(PB_SESSION))
    whole = [p for p in pieces(PB_SESSION) if p != AT]
    framer = JK02Framer()
    chunks = [stream[i : i + size] for i in range(0, len(stream), size)]
    assert raws(framer, *chunks) == whole
    assert framer.skipped_bytes == stream.count(AT) * len(AT)
    assert framer.bad_frames == framer.pending == 0


def test_notifications_of_128_and_22_bytes() -> None:
    cells = pieces(PB_SESSION, "cell_info")
    chunks = [part for raw in cells for part in (raw[:128], raw[128:150], raw[150:278], raw[278:])]
    assert raws(JK02Framer(), *chunks) == cells


def test_an_acknowledgement_glued_behind_its_record_and_chatter_behind_it() -> None:
    # 24S modules send 320 bytes at once, 15.41 leaks AT behind the acknowledgement
    settings = one(PB_SESSION, "settings")
    assert raws(JK02Framer(), settings + ACK + AT + settings) == [settings, ACK, settings]


def test_a_truncated_record_gives_way_to_the_next() -> None:
    # as in sess-jk02-24s-b1a20s15p-10.07: 150 bytes of an 02, then a 03
    broken, info = one(OLD_SESSION, "truncated_frame"), one(OLD_SESSION, "device_info")
    framer = JK02Framer()
    assert raws(framer, broken, info) == [info]
    assert [(s.reason, s.data) for s in framer.skipped] == [("truncated", broken)]
    assert framer.bad_frames == 0


def test_a_record_cut_anywhere_loses_only_itself() -> None:
    first, second = pieces(PB_SESSION, "cell_info")[:2]
    for length in range(1, len(first)):
        framer = JK02Framer()
        assert raws(framer, first[:length] + second) == [second], length
        assert framer.skipped_bytes == length


def test_a_flipped_bit_is_a_checksum_error_and_costs_one_record() -> None:
    first, second = pieces(PB_SESSION, "cell_info")[:2]
    for at in (5, 6, 150, 299):
        framer = JK02Framer()
        damaged = bytearray(first)
        damaged[at] ^= 1
        assert raws(framer, bytes(damaged) + second) == [second]
        assert [s.reason for s in framer.skipped] == ["checksum"]
        assert framer.bad_frames == 1


def test_a_flipped_bit_in_a_command() -> None:
    framer = JK02Framer()
    assert raws(framer, ACK[:6] + b"\x00" + ACK[7:], ACK) == [ACK]
    assert framer.bad_frames == 1


def test_the_spliced_record_of_19_04_is_refused() -> None:
    bad = one("jk02-32s-b2a8s30p-19.04-noise", "junk_or_corrupt:CORRUPT_FRAME_02")
    good = one("jk02-32s-b2a8s30p-19.04-noise", "cell_info")
    framer = JK02Framer()
    assert raws(framer, bad + good) == [good]
    assert framer.bad_frames == 1


def test_no_such_type_and_no_such_length() -> None:
    unknown = bytearray(one(PB_SESSION, "cell_info"))
    unknown[4] = 4  # the vendor's table has a type 04, which goes to the board only
    unknown[-1] = sum(unknown[:-1]) & 0xFF
    overlong = bytearray(ACK)
    overlong[5] = 14
    overlong[-1] = sum(overlong[:-1]) & 0xFF
    assert raws(JK02Framer(), bytes(unknown) + bytes(overlong) + ACK) == [ACK]


def test_half_a_record_waits_until_the_line_falls_silent() -> None:
    raw = one(PB_SESSION, "cell_info")
    framer = JK02Framer()
    assert framer.feed(raw[:280]) == []
    assert framer.pending == 280
    assert framer.flush() == []
    assert framer.pending == 0
    assert raws(framer, raw) == [raw]


def test_duplicates_are_two_frames() -> None:
    raw = one(PB_SESSION, "cell_info")
    assert raws(JK02Framer(), raw + raw) == [raw, raw]


def test_memory_is_bounded_by_one_record() -> None:
    framer = JK02Framer()
    for chunk in (b"\x55\xaa\xeb\x90\x02\x00" * 5000, b"\x55" * 30_000, bytes(30_000)):
        framer.feed(chunk)
        assert framer.pending < 300
        assert all(len(s.data) <= framer.longest for s in framer.skipped)


def test_the_vendor_apps_stale_padding_is_kept() -> None:
    # jk02-32s-vendor-write-commands: the bytes behind the value count in the checksum
    sent = pieces("jk02-32s-vendor-write-commands", direction="tx")
    assert any(frame(raw).padding for raw in sent)
    assert [JK02Framer().encode(frame(raw)) for raw in sent] == sent


def test_our_own_commands_are_padded_with_zeros() -> None:
    assert JK02Framer().encode(command(0x97)).hex() == "aa5590eb9700" + "00" * 13 + "11"
    assert JK02Framer().encode(command(0xC8, b"\x01")) == ACK


@pytest.mark.parametrize(
    "bad", [record(2, bytes(292)), record(2, bytes(294)), command(1, bytes(14)), command(256)]
)
def test_what_no_frame_can_hold_is_not_encoded(bad: JK02Frame) -> None:
    with pytest.raises(FrameError):
        JK02Framer().encode(bad)


MARKS = st.sampled_from([b"\x55\xaa\xeb\x90", b"\xaa\x55\x90\xeb", b"\x55\xaa", b"\xaa", AT, ACK])
JUNK = st.lists(st.one_of(st.binary(max_size=320), MARKS), max_size=8).map(b"".join)


@given(JUNK, st.integers(1, 400))
def test_any_bytes_are_survived_and_a_valid_record_behind_them_is_found(
    junk: bytes, size: int
) -> None:
    raw = one(PB_SESSION, "cell_info")
    stream = junk + raw + raw + ACK + bytes(300)
    framer, codec = JK02Framer(), JK02Codec()
    frames: list[JK02Frame] = []
    for start in range(0, len(stream), size):
        frames += framer.feed(stream[start : start + size])
        assert framer.pending < 300
    frames += framer.flush()
    assert raw in [f.raw for f in frames]
    assert sum(len(f.raw) for f in frames) + framer.skipped_bytes == len(stream)
    for found in frames:
        explain_or_refuse(codec, found)


PAYLOADS = st.one_of(
    st.binary(min_size=PAYLOAD, max_size=PAYLOAD),
    st.binary(max_size=40).map(lambda start: start.ljust(PAYLOAD, b"\0")),
    st.binary(max_size=40).map(lambda end: end.rjust(PAYLOAD, b"\0")),
)
FRAMES = st.one_of(
    st.builds(record, st.sampled_from([1, 2, 3, 5, 6, 9]), PAYLOADS),
    st.builds(record, st.just(2), st.binary(max_size=300)),
    st.builds(command, st.integers(0, 255), st.binary(max_size=13)),
)


@given(st.sampled_from([None, "24s", "32s"]), st.lists(FRAMES, max_size=4), st.booleans())
def test_any_payload_is_explained_or_refused_and_round_trips(
    variant: str | None, frames: list[JK02Frame], sent: bool
) -> None:
    codec = JK02Codec(variant)
    for made in frames:
        try:
            payload = codec.payload(made, sent=sent)
        except FrameError:
            payload = None
        if payload is not None:
            values = parse(payload.layout, payload.data, "payload")
            assert build(payload.layout, values, "payload") == payload.data
        explain_or_refuse(codec, made, sent=sent)


def explain_or_refuse(codec: JK02Codec, got: JK02Frame, *, sent: bool = False) -> None:
    try:
        found = codec.decode(got, sent=sent)
    except FrameError:
        return
    json.dumps(codec.reading([found]).to_dict())
    json.dumps(codec.identity([found]).to_dict())
    if found.role in ("settings", "log", "identity", "request", "ack", "other"):
        json.dumps(dict(found.values))


# ---------------------------------------------------------------------------------- variant


@pytest.mark.parametrize(
    ("model", "software", "variant"),
    [
        ("JK-B2A24S20P", "10.07", "24s"),
        ("JK-BD6A24S10P", "8.0.6G", "24s"),
        ("JK-BD6A20S10P", "4.1.7", "24s"),
        ("JK_B2A8S20P", "11.17", "32s"),
        ("JK-PB2A16S20P", "V19.27", "32s"),
        ("JK_B2A20S20P", "20.20", "32s"),
        ("JK-B1A24S15P", "", None),
        ("JK-B1A24S15P", "\u00b2.1", None),  # a digit, but not a number
    ],
)
def test_model_and_firmware_say_the_variant(model: str, software: str, variant: str | None) -> None:
    codec = JK02Codec()
    found = codec.decode(info(model, software))
    assert found.values["variant"] == codec.variant == variant


def info(model: str, software: str) -> JK02Frame:
    payload = bytearray(PAYLOAD)
    payload[:15] = model.encode("latin-1").ljust(15, b"\0")
    payload[24:32] = software.encode("latin-1").ljust(8, b"\0")
    return record(3, bytes(payload))


def test_jk04_boards_are_named_and_refused() -> None:
    # 8.0.3M is JK04 while 8.0.6G is JK02: the P at the end of the model tells
    with pytest.raises(FrameError, match=r"JK-B5A24S with firmware 8\.0\.3M speaks jk04"):
        JK02Codec().decode(info("JK-B5A24S", "8.0.3M"))


@pytest.mark.parametrize("variant", [None, "24s", "32s"])
def test_cells_as_floats_are_jk04(variant: str | None) -> None:
    payload = struct.pack("<24f", *[3.3] * 24).ljust(PAYLOAD, b"\0")
    with pytest.raises(FrameError, match="jk04"):
        JK02Codec(variant).decode(record(2, payload))


@pytest.mark.parametrize(
    ("capture", "variant"),
    [
        ("jk02-24s-b2a24s20p-10.07", "24s"),
        ("jk02-24s-3s-sentinel", "24s"),
        ("jk02-32s-pb-14-idle", "32s"),
        ("jk02-32s-8s-9pct", "32s"),
    ],
)
def test_the_mask_of_cells_says_the_variant(capture: str, variant: str) -> None:
    codec = JK02Codec()
    codec.decode(frame(one(capture, "cell_info")))
    assert codec.variant == variant


def test_without_cells_enable_flags_still_prove_32s() -> None:
    # the mask says nothing: the balance plug was out
    raw = one("jk02-32s-b2a8s30p-19h-no-cells", "cell_info")
    found = reading(raw)
    assert found.raw["variant"] == "32s"
    assert found.cell_voltages == ()
    assert found.faults == (Condition.CELL_COUNT_MISMATCH,)
    assert (found.soc, found.soh, found.voltage) == (0.0, 0.0, 0.0)


def test_live_values_that_prove_nothing_are_refused_unless_the_variant_is_given() -> None:
    empty = edited(one("jk02-24s-3s-sentinel", "cell_info"), cell_mask=0, cell_voltages=[0.0] * 24)
    with pytest.raises(FrameError, match="24S or 32S is not known"):
        JK02Codec().decode(empty)
    assert reading(empty, JK02Codec("24s")).remaining_capacity == 5.314


def test_a_24s_board_whose_fourth_wire_measures_a_round_number_is_still_24s() -> None:
    # byte 70 is the resistance of cells 4 and 5 there: 0x3F looks like a mask of six cells
    ohms = [0.063] * 4 + [0.0] * 20
    live = edited(one("jk02-24s-3s-sentinel", "cell_info"), cell_mask=0xF, cell_resistances=ohms)
    assert reading(live).cell_resistances == (0.063,) * 4


def test_live_values_that_look_like_both_variants_are_refused() -> None:
    live = edited(one("jk02-24s-3s-sentinel", "cell_info"), reserved_218=bytes(80) + b"\x01")
    with pytest.raises(FrameError, match="24S and like 32S"):
        JK02Codec().decode(live)


@pytest.mark.parametrize("kind", ["device_info", "settings", "cell_info"])
def test_a_record_of_the_other_variant_is_a_contradiction(kind: str) -> None:
    with pytest.raises(FrameError, match=r"32[sS]"):
        JK02Codec("24s").decode(frame(one(PB_SESSION, kind)))


@pytest.mark.parametrize("kind", ["device_info", "cell_info"])
def test_the_same_the_other_way_round(kind: str) -> None:
    with pytest.raises(FrameError, match="is of a 24s board, known was 32s"):
        JK02Codec("32s").decode(frame(one(OLD_SESSION, kind)))


def test_no_such_variant() -> None:
    with pytest.raises(TargetError, match="'48s'"):
        JK02Codec("48s")


def test_settings_before_anything_else() -> None:
    assert JK02Codec().decode(frame(one(PB_SESSION, "settings"))).values["jk_heating_start"] == 3
    codec = JK02Codec()
    old = codec.decode(frame(one(OLD_SESSION, "settings")))
    assert (old.values["cell_count"], codec.variant) == (16, None)
    codec.decode(frame(one(OLD_SESSION, "cell_info")))
    assert codec.variant == "24s"


def test_settings_that_could_be_jk04_are_refused() -> None:
    payload = bytearray(PAYLOAD)
    payload[34 - 6] = 16  # its cell count stands at 34 ...
    payload[38 - 6 : 42 - 6] = struct.pack("<f", 2.8)
    payload[114 - 6] = 1  # ... and its balancer switch here
    with pytest.raises(FrameError, match="unknown JK variant"):
        JK02Codec().decode(record(1, bytes(payload)))


# ---------------------------------------------------------------------------------- reading


def test_absent_probes_and_values_right_after_the_start() -> None:
    found = reading(one("jk02-24s-3s-sentinel", "cell_info"))
    assert found.temperatures == {"cell_1": None, "cell_2": None, "mosfet": 33.9}
    # SOC and SOH are 0 for a while, and it balances without saying so
    assert (found.soc, found.soh, found.remaining_capacity) == (0.0, 0.0, 5.314)
    assert (found.balancing_active, found.balance_current) == (False, 0.268)


def test_temperatures_only_where_the_board_has_a_probe() -> None:
    pb = reading(one("jk02-32s-pb2a16s20p-19.27", "cell_info")).temperatures
    assert pb == {"cell_1": 11.9, "cell_2": 12.7, "cell_4": 12.6, "cell_5": 11.4, "mosfet": 12.8}
    b = reading(one("jk02-32s-b2a8s20p-19.10", "cell_info")).temperatures
    assert b == {"cell_1": 27.5, "cell_2": 27.2, "mosfet": 29.7}
    third = edited(
        one("jk02-32s-pb2a16s20p-19.27", "cell_info"),
        enable_flags=(1 << 59).to_bytes(12, "little"),
        temperature_3=-200.0,
    )
    assert reading(third).temperatures["cell_3"] is None


def test_the_sensor_mask_counts_only_where_the_board_says_so() -> None:
    live = one("jk02-32s-b2a8s20p-11.17", "cell_info")
    assert reading(edited(live, sensor_mask=0b011)).temperatures["cell_2"] is None
    others = one("jk02-32s-pb-14-idle", "cell_info")
    assert reading(edited(others, sensor_mask=0)).temperatures["cell_2"] == 17.8


def test_power_and_extremes_are_computed() -> None:
    # the board's own power is an unsigned, lagging number, its indices lag too
    live = one("jk02-32s-pb-14-discharge", "cell_info")
    found = reading(edited(live, highest_cell=31, lowest_cell=31, power=1.0))
    assert found.power == -3608.164
    assert (found.min_cell_voltage, found.max_cell_voltage) == (3.271, 3.281)


def test_capacity_as_aged_and_as_set() -> None:
    codec = JK02Codec()
    codec.decode(frame(one("jk02-32s-b2a8s20p-11.50-aged", "settings")))
    found = reading(one("jk02-32s-b2a8s20p-11.50-aged", "cell_info"), codec)
    assert (found.full_capacity, found.nominal_capacity, found.soh) == (251.235, 320.0, 79.0)
    assert (found.cycles, found.cycle_capacity) == (427, 107478.918)
    assert reading(one("jk02-32s-b2a8s20p-11.50-aged", "cell_info")).nominal_capacity is None


def test_switches_come_from_the_settings_and_fets_from_the_live_values() -> None:
    codec = JK02Codec()
    codec.decode(frame(one("jk02-32s-b2a8s20p-11.26-settings", "settings")))
    found = reading(one("jk02-32s-b2a8s20p-11.50-aged", "cell_info"), codec)
    assert (found.charge_switch, found.discharge_switch, found.balance_switch) == (
        True,
        False,
        True,
    )
    assert (found.charging_allowed, found.discharging_allowed) == (True, True)
    alone = reading(one("jk02-24s-b2a24s20p-10.07", "cell_info"))
    assert (alone.charge_switch, alone.charging_allowed, alone.discharging_allowed) == (
        None,
        True,
        False,
    )


def test_a_reading_keeps_the_settings_of_its_own_time() -> None:
    codec = JK02Codec()
    old = codec.decode(frame(one(OLD_SESSION, "cell_info")))
    codec.decode(frame(one(OLD_SESSION, "settings")))
    assert codec.reading([old]).nominal_capacity is None


def test_a_cell_that_lost_its_wire_is_0_v_and_a_fault() -> None:
    live = one("jk02-32s-8s-9pct", "cell_info")
    cells = [3.2, 3.2, 0.0, 3.2] + [0.0] * 28
    found = reading(edited(live, cell_voltages=cells, cell_mask=0b1011))
    assert found.cell_voltages == (3.2, 3.2, 0.0, 3.2)
    assert found.min_cell_voltage == 0.0
    assert found.faults == (Condition.VOLTAGE_SENSE,)


def test_the_last_cell_is_missed_when_the_settings_count_it() -> None:
    codec = JK02Codec()
    codec.decode(frame(one("jk02-32s-b2a8s20p-11.17", "settings")))
    live = one("jk02-32s-b2a8s20p-11.17", "cell_info")
    cells = [3.2] * 7 + [0.0] * 25
    seven = edited(live, cell_voltages=cells, cell_mask=0b111_1111)
    assert reading(seven, codec).cell_voltages == (*[3.2] * 7, 0.0)
    assert reading(seven, codec).faults == (Condition.VOLTAGE_SENSE,)
    assert reading(seven).cell_voltages == (3.2,) * 7


def test_an_impossible_cell_count_in_the_settings_is_not_believed() -> None:
    settings = parse(
        SETTINGS_LAYOUTS["32s"], frame(one("jk02-32s-b2a8s20p-11.17", "settings")).data, "settings"
    )
    settings["cell_count"] = 33
    codec = JK02Codec()
    codec.decode(record(1, build(SETTINGS_LAYOUTS["32s"], settings, "settings")))
    assert len(reading(one("jk02-32s-b2a8s20p-11.17", "cell_info"), codec).cell_voltages) == 8


def test_the_heater_is_only_known_on_boards_that_have_one() -> None:
    warm = pieces("jk02-32s-b2a20s20p-11.288H-charge-utp-alarm", "cell_info")
    assert [reading(raw).heater for raw in warm] == [False, True, True, False]
    assert reading(one("jk02-32s-8s-9pct", "cell_info")).heater is None
    old = edited(one("jk02-24s-bd6a20s10p-4.1.7", "cell_info"), reserved_183=b"\1\0\0\0\0")
    assert reading(old).heater is None


def test_charge_undertemperature_opens_the_charge_fet_one_record_later() -> None:
    found = [
        (r.protections, r.charging_allowed)
        for r in map(reading, pieces("jk02-32s-b2a20s20p-11.288H-charge-utp-alarm", "cell_info"))
    ]
    cold = (Condition.CHARGE_UNDERTEMPERATURE,)
    assert found == [((), True), (cold, True), (cold, False), ((), False)]


def test_every_alarm_bit_says_what_it_means() -> None:
    live = one("jk02-32s-pb-14-idle", "cell_info")
    for bit in range(32):
        found = reading(edited(live, alarms=1 << bit))
        lists = {"alarm": found.alarms, "protection": found.protections, "fault": found.faults}
        if bit == FULL_OR_OVERVOLTAGE:
            continue
        expected = [(level, condition) for b, level, condition in ALARMS if b == bit]
        assert [(level, c) for level, cs in lists.items() for c in cs] == expected
        assert found.raw.get("alarm_bits") == (None if expected else [bit])
    assert {b for b in range(32) if b not in {bit for bit, _, _ in ALARMS}} == {4, 23, 29, 30, 31}


def test_the_default_password_is_no_fault() -> None:
    # bit 19 is set on most healthy packs
    found = reading(one("jk02-32s-16s-v11-alarm19", "cell_info"))
    assert (found.alarms, found.protections, found.faults) == (
        (Condition.DEFAULT_PASSWORD,),
        (),
        (),
    )


@pytest.mark.parametrize(
    ("release", "soc", "alarms", "protections"),
    [
        (3.55, 100, (Condition.FULLY_CHARGED,), ()),
        (3.20, 100, (), (Condition.CELL_OVERVOLTAGE,)),
        (3.20, 60, (), (Condition.CELL_OVERVOLTAGE,)),
        (3.55, 99, (Condition.FULLY_CHARGED,), ()),  # 59.999 of 60 Ah rounds to it
        (3.55, 98, (Condition.OTHER,), ()),
        (3.55, 60, (Condition.OTHER,), ()),
        # no settings came: these cells of 3.3 V are below every release voltage
        (None, 100, (Condition.FULLY_CHARGED,), ()),
        (None, 60, (Condition.OTHER,), ()),
    ],
)
def test_full_or_overvoltage_is_told_by_the_cells(
    release: float | None,
    soc: int,
    alarms: tuple[Condition, ...],
    protections: tuple[Condition, ...],
) -> None:
    """Sources disagree about bit 4, so it stays visible, and the cells decide."""
    live = one("jk02-32s-pb-14-idle", "cell_info")
    codec = JK02Codec("32s")
    values = codec.decode(edited(live, alarms=0x10, soc=soc)).values
    known = {} if release is None else {"cell_ovp_release": release}
    found = codec.reading([Record("cells", "reading", values | {"settings": known}, part="cells")])
    assert (found.alarms, found.protections) == (alarms, protections)
    assert found.raw["alarm_bits"] == [4]


@pytest.mark.parametrize(
    ("highest", "expected"),
    [
        (2.999, Condition.OTHER),  # LTO may be over its limit here
        (3.0, Condition.FULLY_CHARGED),
        (3.449, Condition.FULLY_CHARGED),
        (3.45, Condition.OTHER),  # the release voltage of some packs
        (3.6, Condition.CELL_OVERVOLTAGE),
        (3.799, Condition.CELL_OVERVOLTAGE),
        (3.8, Condition.OTHER),  # Li-ion
    ],
)
def test_without_settings_only_a_clear_voltage_tells_full_from_overvoltage(
    highest: float, expected: Condition
) -> None:
    live = one("jk02-32s-pb-14-idle", "cell_info")
    values = JK02Codec("32s").decode(edited(live, alarms=0x10, soc=100)).values
    cells = {"cell_voltages": [highest] * 16 + [0.0] * 16, "settings": {}}
    found = JK02Codec("32s").reading(
        [Record("cells", "reading", {**values, **cells}, part="cells")]
    )
    assert (*found.alarms, *found.protections) == (expected,)


def test_a_balancer_that_discharges() -> None:
    found = reading(one("jk02-32s-8s-balancing", "cell_info"))
    assert (found.balancing_active, found.balancing_cells, found.balance_current) == (
        True,
        None,
        -1.939,
    )
    assert found.raw["balance_action"] == 2


def test_vendor_values_in_raw() -> None:
    live = one("jk02-32s-pb2a16s20p-19.27", "cell_info")
    raw = reading(live).raw
    assert raw["charge_stage"] == 2
    assert not {"user_alarm", "release_countdowns", "heating_current"} & raw.keys()
    busy = edited(
        live,
        user_alarm=1,
        user_alarm_2=2,
        emergency_countdown=3,
        release_countdowns=[0, 0, 5, 0, 0, 0],
        wire_warning=0b101,
        heating=1,
        heating_current=0.509,
        precharge_state=1,
    )
    assert {k: v for k, v in reading(busy).raw.items() if raw.get(k) != v} == {
        "user_alarm": 1,
        "user_alarm_2": 2,
        "emergency_countdown": 3,
        "release_countdowns": [0, 0, 5, 0, 0, 0],
        "wire_resistance_cells": [1, 3],
        "heating_current": 0.509,
        "precharge_state": 1,
    }


def test_a_fet_byte_that_was_never_seen_says_nothing() -> None:
    odd = edited(one("jk02-32s-pb-14-idle", "cell_info"), charge_mosfet=7)
    assert reading(odd).charging_allowed is None


def test_no_live_record_no_values() -> None:
    assert JK02Codec().reading([]) == Reading(protocol="jk02")


# ---------------------------------------------------------------------------------- identity


def session_identity(capture: str) -> Identity:
    codec = JK02Codec()
    kinds = ("cell_info", "settings", "device_info")
    first = codec.decode(frame(one(capture, "device_info")))
    return codec.identity([first, *(codec.decode(frame(one(capture, k))) for k in kinds)])


def test_identity_of_both_variants() -> None:
    assert session_identity(PB_SESSION) == Identity(
        vendor="JK",
        model="JK_PB2A16S20P",
        hardware="15A",
        firmware="15.41",
        serial_number="01234567890",
        cell_count=16,
        chemistry="lfp",
        protocol="jk02",
        variant="32s",
    )
    old = session_identity("jk02-24s-b2a24s20p-10.02")
    assert (old.cell_count, old.variant, old.chemistry) == (8, "24s", None)


def test_chemistry_only_where_the_board_tells() -> None:
    live = frame(one("jk02-32s-pb-14-idle", "cell_info"))
    codec = JK02Codec()
    assert codec.identity([codec.decode(live)]).chemistry is None
    newer = edited(one("jk02-32s-pb2a16s20p-19.27", "cell_info"), chemistry=2)
    assert codec.identity([codec.decode(newer)]).chemistry == "lto"


def with_secrets() -> JK02Frame:
    values = parse(DEVICE_INFO, frame(one(OLD_SESSION, "device_info")).data, "device info")
    values |= {
        "password": b"hunter2".ljust(16, b"\0"),
        "settings_password": b"correct-horse".ljust(16, b"\0"),
        "serial_number": b"2301234567\0PASSC",
    }
    return record(3, build(DEVICE_INFO, values, "device info"), counter=7)


SECRETS = ("hunter2", "correct-horse", "PASSC")


def test_passwords_are_never_told() -> None:
    codec = JK02Codec()
    found = codec.decode(with_secrets())
    told = repr(found) + repr(codec.identity([found]))
    assert found.values["serial_number"] == "2301234567"
    assert not [secret for secret in SECRETS if secret in told]


def test_passwords_are_scrubbed_from_recordings() -> None:
    codec = JK02Codec()
    clean = codec.scrub(with_secrets())
    assert clean is not None
    (kept,) = JK02Framer().feed(clean)
    assert not [secret for secret in SECRETS if secret.encode() in clean]
    assert (kept.counter, len(clean)) == (7, 300)
    assert codec.decode(kept) == codec.decode(with_secrets())


def test_writes_that_may_hold_a_password_are_scrubbed_and_not_told() -> None:
    codec = JK02Codec("32s")
    write = command(0x9B, b"hunter2").replace(padding=b"old")
    clean = codec.scrub(write)
    assert clean == JK02Framer().encode(command(0x9B, bytes(7)))
    assert dict(codec.decode(write, sent=True).values) == {"register": 0x9B}


@pytest.mark.parametrize("kept", [command(0x97), record(2, bytes(PAYLOAD)), command(0x1D, b"\1")])
def test_other_frames_hold_no_secrets(kept: JK02Frame) -> None:
    assert JK02Codec().scrub(kept) is None


# ---------------------------------------------------------------------------------- settings


def settings(capture: str) -> Record:
    return JK02Codec().decode(frame(one(capture, "settings")))


def test_settings_as_the_vendor_publishes_them() -> None:
    found = settings("jk02-32s-b2a8s20p-19.10").values
    expected = {
        "cell_count": 4,
        "nominal_capacity": 315.0,
        "cell_ovp": 3.65,
        "cell_uvp": 2.5,
        "balance_delta": 0.01,
        "balance_start_voltage": 3.1,
        "balance_current": 2.0,
        "balance_switch": True,
        "charge_utp": -10.0,
        "charge_otp": 70.0,
        "mosfet_otp": 80.0,
        "discharge_utp": -35,
        "discharge_utp_release": -30,
        "short_circuit_delay": 0.000005,
        "jk_heating_start": -10,
        "jk_heating_stop": 0,
        "jk_display_always_on": True,
        "jk_smart_sleep_delay": 24,
    }
    assert {key: found[key] for key in expected} == expected


def test_settings_a_board_does_not_have_are_none() -> None:
    old = settings("jk02-32s-b2a8s20p-11.17").values
    absent = ("jk_smart_sleep_voltage", "full_charge_voltage", "float_voltage", "discharge_utp")
    assert [old[key] for key in absent] == [None] * 4  # the bytes hold 0.6 V, 0 and 0
    assert old["short_circuit_delay"] == 0.0015
    # 60 and 50 °C are what is left of an older alarm, not a heater
    assert settings("jk02-32s-b2a8s20p-11.50-aged").values["jk_heating_start"] is None


def test_the_heating_switch_of_the_session_is_seen() -> None:
    session = "sess-jk02-32s-b2a20s20p-11.288H-port-heating"
    found = [JK02Codec().decode(frame(raw)).values for raw in pieces(session, "settings")]
    assert [(v["jk_heating"], v["jk_port_rs485"]) for v in found] == [
        (True, False),
        (False, False),
        (True, False),
        (True, True),
        (True, False),
        (True, True),
        (True, False),
    ]


@pytest.mark.parametrize("variant", ["24s", "32s"])
def test_registers_stand_where_the_table_says(variant: str) -> None:
    """Byte 6 + 4 * (register - 1): what a write sets must be what the next read shows."""
    layout = SETTINGS_LAYOUTS[variant]
    for code in range(1, 0x21 if variant == "24s" else 0x23):
        register = REGISTERS[variant][code]
        payload = bytearray(PAYLOAD)
        at = 4 * (code - 1)
        payload[at : at + 4] = value = b"\x39\x30\x00\x00"
        seen = parse(layout, bytes(payload), "settings")[register.key]
        written = register.wire.parse(value)
        assert (seen, register.wire.sizeof()) == (written, 4)


@pytest.mark.parametrize(
    "layout", [*CELL_INFO.values(), *SETTINGS_LAYOUTS.values(), DEVICE_INFO, LOGBOOK, DETAIL_LOG]
)
def test_every_layout_covers_the_whole_record(layout: Any) -> None:
    assert layout.sizeof() == PAYLOAD


# ---------------------------------------------------------------------------------- commands


def test_writes_of_the_vendor_app() -> None:
    found = [
        dict(JK02Codec("32s").decode(frame(raw), sent=True).values)
        for raw in pieces("jk02-32s-vendor-write-commands", direction="tx")
    ]
    assert {"register": 0x39, "jk_smart_sleep_delay": 0x17} in found
    assert {"register": 0xB5, "jk_emergency_duration": 31} in found
    assert {"register": 0x2A, "jk_port_rs485": 1} in found


def test_the_same_code_means_different_things() -> None:
    write = command(0x25, (5).to_bytes(4, "little"))
    assert JK02Codec("24s").decode(write, sent=True).values["short_circuit_delay"] == 0.000005
    assert JK02Codec("32s").decode(write, sent=True).values["jk_precharge_time"] == 5
    unknown = JK02Codec().decode(write, sent=True)  # so nothing is said without the variant
    assert dict(unknown.values) == {"register": 0x25, "data": "05000000"}
    common = command(0x04, (3650).to_bytes(4, "little"))
    assert JK02Codec().decode(common, sent=True).values["cell_ovp"] == 3.65


def test_a_value_of_another_length_is_not_interpreted() -> None:
    found = JK02Codec("32s").decode(command(0x01, b"\x05"), sent=True)
    assert dict(found.values) == {"register": 1, "data": "05"}


def test_requests_and_acknowledgements() -> None:
    codec = JK02Codec()
    assert codec.decode(command(0x97), sent=True) == Record("read", "request", {"register": 0x97})
    assert codec.decode(frame(ACK)).role == "ack"
    payload = codec.payload(frame(ACK))
    assert payload is not None
    assert payload.layout.build({"status": 1}) == payload.data
    # no refusal was ever captured, so another value is shown, not interpreted
    other = codec.decode(command(0xC8, b"\x02"))
    assert (other.role, other.values["data"]) == ("other", "02")


def test_a_record_of_no_known_type_is_refused() -> None:
    for bad in (record(4, bytes(PAYLOAD)), record(2, bytes(12))):
        with pytest.raises(FrameError, match="is not known"):
            JK02Codec("32s").decode(bad)


# ---------------------------------------------------------------------------------- logs


def test_the_logbook_has_as_many_entries_as_it_says() -> None:
    found = JK02Codec().decode(frame(one("jk02-32s-logbook-4", "logbook")))
    assert (found.role, found.part, found.values["count"]) == ("log", None, 4)
    assert [(e["seconds"], e["code"]) for e in found.values["entries"]] == [
        (0, 1),
        (238, 68),
        (2514095, 27),
        (2514136, 28),
    ]


def test_a_logbook_that_counts_more_than_it_holds() -> None:
    raw = bytearray(frame(one("jk02-32s-logbook-28", "logbook")).data)
    raw[:4] = (70_000).to_bytes(4, "little")
    found = JK02Codec().decode(record(5, bytes(raw)))
    assert (found.values["count"], len(found.values["entries"])) == (70_000, 50)


def test_the_detail_log_is_signed() -> None:
    full, tail = (
        JK02Codec().decode(frame(raw)).values for raw in pieces("jk02-32s-detaillog", "detail_log")
    )
    assert (full["first"], full["count"], len(full["entries"])) == (0, 12, 12)
    assert (tail["first"], tail["count"], len(tail["entries"])) == (828, 8, 8)
    assert any(e["current"] < 0 for e in full["entries"] + tail["entries"])


def test_a_pure_balancer_says_nothing_of_current_charge_and_fets() -> None:
    """JK_DZ boards have no shunt and no FETs; the fields of a BMS hold zeros there."""
    codec = JK02Codec()
    info = one("jk02-32s-b2a8s20p-11.17", "device_info")
    fields = parse(DEVICE_INFO, info[6:-1], "info")
    fields |= {"vendor_id": b"JK_DZ11B2A24S".ljust(15, b"\0")}
    codec.decode(record(3, build(DEVICE_INFO, fields, "info")))
    found = reading(one("jk02-32s-8s-balancing", "cell_info"), codec)
    assert found.cell_voltages
    assert (found.balancing_active, found.balance_current) == (True, -1.939)
    unknown = (found.current, found.soc, found.full_capacity, found.charging_allowed)
    assert unknown == (None,) * 4
    assert set(found.temperatures) == {"cell_1"}


def test_old_settings_are_forgotten() -> None:
    codec = JK02Codec()
    for kind in ("device_info", "settings"):
        codec.decode(frame(one("jk02-32s-b2a8s20p-19.10", kind)))
    live = frame(one("jk02-32s-b2a8s20p-19.10", "cell_info"))
    assert codec.reading([codec.decode(live)]).charge_switch is True
    codec.forget_settings()
    found = codec.reading([codec.decode(live)])
    assert (found.charge_switch, found.nominal_capacity) == (None, None)
