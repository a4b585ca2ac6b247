"""JK `4E 57`: the tags, their widths and scales, typed by hand from the documents.

No expectation here is taken from the tables of the code. The sections named are those of the
collected protocol facts (10 frame, 10.1 tags, 10.2 decoding rules).
"""

from __future__ import annotations

import struct
from typing import Any

import pytest

from bmslink.model import Identity, Reading
from bmslink.protocols.base import Record
from bmslink.protocols.jk.nw.driver import JKNWCodec
from bmslink.protocols.jk.nw.framing import JKNWFramer
from facts import GONE, captured, changed, conditions, fields

READ, READ_ALL = 0x03, 0x06


def frame(data: bytes, command: int = READ, source: int = 0, kind: int = 1) -> bytes:
    """Section 10: the length counts itself and the four check bytes, the sum 4E to 68."""
    body = bytes(4) + bytes([command, source, kind]) + data + bytes(4) + b"\x68"
    covered = b"\x4e\x57" + struct.pack(">H", 2 + len(body) + 4) + body
    return covered + b"\0\0" + struct.pack(">H", sum(covered) & 0xFFFF)


def explain(raw: bytes, codec: JKNWCodec | None = None) -> Record:
    framer = JKNWFramer()
    (found,) = framer.feed(raw)
    assert framer.bad_frames == 0
    return (codec or JKNWCodec()).decode(found)


def said(text: str) -> dict[str, Any]:
    return dict(explain(frame(bytes.fromhex(text))).values)


def test_frames_made_here_are_the_captured_ones() -> None:
    raw = captured("jk-nw", "nw-8s-15a-15.29-alarm")
    assert frame(raw[11:-9], READ_ALL) == raw
    ask = bytes.fromhex("4e5700130000000006030000000000006800000129")
    assert frame(b"\0", READ_ALL, source=3, kind=0) == ask


# ---------------------------------------------------------------------------- 10.1 the tags

TEXT = {
    "B4": b"JK-BMS12",
    "B5": b"2311",
    "B7": b"11.XW_S11.26___",
    "BA": b"user data 12JK_B2A20S20P",
}


@pytest.mark.parametrize(
    ("tag", "value", "expected"),
    [
        # one byte count, then number and mV of each cell
        (
            "79",
            "09 01 0ce4 02 0ce5 03 ffff",
            {"cell_voltages": [3.3, 3.301, 65.535]},
        ),
        ("80", "0019", {"mosfet_temperature": 25.0}),
        ("81", "001a", {"box_temperature": 26.0}),
        ("82", "001b", {"battery_temperature": 27.0}),
        ("83", "1482", {"voltage": 52.5}),  # 0.01 V
        ("83", "ffff", {"voltage": 655.35}),
        ("86", "03", {"temperature_sensors": 3}),
        ("87", "0123", {"cycles": 291}),
        ("89", "80000001", {"cycle_capacity": 2147483649.0}),  # Ah
        ("8a", "0110", {"string_count": 272}),
        ("8b", "8102", {"alarm_word": 0x8102}),
        ("8c", "8103", {"status_word": 0x8103}),
        ("8e", "15f9", {"pack_ovp": 56.25}),  # 0.01 V
        ("8f", "1131", {"pack_uvp": 44.01}),
        ("90", "0e42", {"cell_ovp": 3.65}),  # mV
        ("91", "0dde", {"cell_ovp_release": 3.55}),
        ("92", "0105", {"cell_ovp_delay": 261}),  # s
        ("93", "0a28", {"cell_uvp": 2.6}),
        ("94", "0a8d", {"cell_uvp_release": 2.701}),
        ("95", "0106", {"cell_uvp_delay": 262}),
        ("96", "012d", {"cell_delta": 0.301}),  # mV
        ("97", "0107", {"discharge_ocp": 263}),  # A
        ("98", "012e", {"discharge_ocp_delay": 302}),  # s
        ("99", "0108", {"charge_ocp": 264}),
        ("9a", "012f", {"charge_ocp_delay": 303}),
        ("9b", "0ce6", {"balance_start_voltage": 3.302}),  # mV
        ("9c", "000b", {"balance_delta": 0.011}),
        ("9d", "01", {"balance_switch": 1}),
        ("9e", "0064", {"mosfet_otp": 100}),  # °C
        ("9f", "0050", {"mosfet_otp_release": 80}),
        ("a0", "0065", {"jk_box_otp": 101}),
        ("a1", "0051", {"jk_box_otp_release": 81}),
        ("a2", "0014", {"temperature_delta": 20}),
        ("a3", "0041", {"charge_otp": 65}),
        ("a4", "0042", {"discharge_otp": 66}),
        ("a5", "fffe", {"charge_utp": -2}),  # signed
        ("a6", "0007", {"charge_utp_release": 7}),
        ("a6", "fffd", {"charge_utp_release": -3}),
        ("a7", "ffec", {"discharge_utp": -20}),
        ("a8", "fff6", {"discharge_utp_release": -10}),
        ("a9", "10", {"cell_count": 16}),
        ("aa", "80000002", {"nominal_capacity": 2147483650.0}),  # Ah
        ("ab", "01", {"charge_switch": 1}),
        ("ac", "01", {"discharge_switch": 1}),
        ("ad", "03e9", {"jk_current_calibration": 1.001}),  # mA
        ("ae", "0a", {"jk_address": 10}),
        ("af", "01", {"jk_battery_type": 1}),
        ("b0", "0e10", {"sleep_delay": 3600}),  # s
        ("b1", "14", {"jk_soc_low": 20}),  # %
        ("b2", b"1234567890".hex(), {}),  # the password
        ("b3", "01", {"jk_dedicated_charger": 1}),
        ("b4", TEXT["B4"].hex(), {"device_id": "JK-BMS12"}),
        ("b5", TEXT["B5"].hex(), {"manufacturing_date": "2311"}),  # YYMM
        ("b6", "80000003", {"runtime_minutes": 0x80000003}),
        ("b7", TEXT["B7"].hex(), {"software_version": "11.XW_S11.26___"}),
        ("b8", "01", {"jk_calibrating": 1}),
        ("b9", "80000004", {"full_capacity": 2147483652.0}),  # Ah
        (
            "ba",
            TEXT["BA"].hex(),
            {"manufacturer_id": "user data 12JK_B2A20S20P", "device_name": "JK_B2A20S20P"},
        ),
        ("c0", "01", {"protocol_version": 1}),
    ],
)
def test_tag(tag: str, value: str, expected: dict[str, Any]) -> None:
    """10.1: name, width and scale; the tag behind it proves the width."""
    assert said(f"{tag} {value}") == expected
    assert said(f"{tag} {value} 85 32") == expected | {"soc": 50}


@pytest.mark.parametrize(
    ("tag", "width"),
    [
        *((tag, 2) for tag in ("83", "87", "8a", "8b", "8c", "8e", "8f", "90", "91", "92", "93")),
        *((tag, 2) for tag in ("94", "95", "96", "97", "98", "99", "9a", "9b", "9c", "9e", "9f")),
        *((tag, 2) for tag in ("a0", "a1", "a2", "a3", "a4", "ad", "b0")),
        *((tag, 1) for tag in ("85", "86", "9d", "a9", "ab", "ac", "ae", "af", "b1", "b3", "b8")),
        *((tag, 4) for tag in ("89", "aa", "b6", "b9")),
    ],
)
def test_tag_is_unsigned(tag: str, width: int) -> None:
    """10.1: only A5 to A8 are signed."""
    (value,) = said(tag + "ff" * width).values()
    assert value > 0


@pytest.mark.parametrize(
    ("tag", "name"), [(0xBB, "jk_restart"), (0xBC, "jk_factory_reset"), (0xBD, "jk_upgrade")]
)
def test_write_only_tag(tag: int, name: str) -> None:
    """10.1: BB restart, BC factory settings, BD upgrade flag."""
    raw = frame(bytes([tag, 1]), 0x02, source=3, kind=0)
    assert explain(raw).values == {name: "01"}


@pytest.mark.parametrize("tag", ["80", "81", "82"])
def test_a_temperature_word_beyond_the_code_is_unknown(tag: str) -> None:
    """10.2: the code ends at 140; ffff is no small negative number."""
    assert next(iter(said(f"{tag} ffff").values())) is None


def test_tag_of_the_state_of_charge() -> None:
    """10.1: 85 is one byte, %."""
    assert said("85 63 87 0123") == {"soc": 99, "cycles": 291}


@pytest.mark.parametrize(
    ("text", "amps"),
    [
        ("c0 01 84 84d2", 12.34),  # version 1: bit 15 is charging, the rest the magnitude
        ("c0 01 84 04d2", -12.34),
        ("c0 01 84 8000", 0.0),
        ("c0 01 84 0000", 0.0),
        ("c0 01 84 ffff", 327.67),
        ("c0 00 84 22de", 10.74),  # version 0: 10000 - raw
        ("c0 00 84 2710", 0.0),
        ("c0 00 84 2b42", -10.74),
    ],
)
def test_current(text: str, amps: float) -> None:
    """10.2, tag 84: 0.01 A, + = charge."""
    assert said(text)["current"] == amps


@pytest.mark.parametrize("tag", ["80", "81", "82"])
@pytest.mark.parametrize(
    ("word", "celsius"),
    [("0000", 0.0), ("0064", 100.0), ("0065", -1.0), ("008c", -40.0)],
)
def test_temperature(tag: str, word: str, celsius: float) -> None:
    """10.2: up to 100 as it is, 101 = -1, 140 = -40."""
    names = {"80": "mosfet_temperature", "81": "box_temperature", "82": "battery_temperature"}
    assert said(f"{tag} {word}") == {names[tag]: celsius}


# ------------------------------------------------------------------ 10.1 to the whole reading

BODY = {
    "79": "06 01 0ce4 02 0ce5",
    "80": "0019",
    "81": "001a",
    "82": "001b",
    "83": "0294",
    "84": "84d2",
    "85": "32",
    "86": "02",
    "87": "0123",
    "89": "00001235",
    "8a": "0002",
    "8b": "0000",
    "8c": "0000",
    "9d": "00",
    "aa": "00000118",
    "ab": "00",
    "ac": "00",
    "af": "00",
    "b6": "00001234",
    "b7": TEXT["B7"].hex(),
    "b9": "00000064",
    "ba": TEXT["BA"].hex(),
    "c0": "01",
}


def whole(**tags: str) -> bytes:
    """A read-all answer of a pack that is quite well, with some tags replaced."""
    named = {key.removeprefix("t"): value for key, value in tags.items()}
    assert named.keys() <= BODY.keys()
    return frame(bytes.fromhex("".join(t + v for t, v in (BODY | named).items())), READ_ALL)


def read(**tags: str) -> Reading:
    codec = JKNWCodec()
    return codec.reading([explain(whole(**tags), codec)])


def identity(**tags: str) -> Identity:
    codec = JKNWCodec()
    return codec.identity([explain(whole(**tags), codec)])


def test_a_whole_reading() -> None:
    """10.1: which tag goes where."""
    reading = read()
    assert reading.cell_voltages == (3.3, 3.301)
    assert reading.temperatures == {"mosfet": 25.0, "sensor_1": 26.0, "sensor_2": 27.0}
    assert (reading.voltage, reading.current, reading.soc) == (6.6, 12.34, 50.0)
    assert (reading.cycles, reading.cycle_capacity) == (291, 4661.0)
    assert (reading.nominal_capacity, reading.full_capacity) == (280.0, 100.0)
    assert reading.uptime == 4660 * 60.0
    assert conditions(reading) == []
    found = identity()
    assert (found.model, found.hardware, found.firmware) == ("JK_B2A20S20P", "11.XW", "11.26")
    assert (found.cell_count, found.chemistry, found.variant) == (2, "lfp", "version 1")


@pytest.mark.parametrize(
    ("tag", "value", "expected"),
    [
        ("79", "06 02 0ce4 01 0bb8", {"cell_voltages.1": 3.0, "cell_voltages.2": 3.3}),
        ("80", "006e", {"temperatures.mosfet": -10.0}),
        ("81", "006f", {"temperatures.sensor_1": -11.0}),
        ("82", "0070", {"temperatures.sensor_2": -12.0}),
        ("83", "0295", {"voltage": 6.61}),
        ("84", "04d2", {"current": -12.34}),
        ("85", "33", {"soc": 51.0}),
        ("86", "03", {"raw.temperature_sensors": 3}),
        ("87", "0124", {"cycles": 292}),
        ("89", "00001236", {"cycle_capacity": 4662.0}),
        ("8a", "0001", {"cell_voltages.2": GONE, "raw.string_count": 1}),
        ("8c", "0001", {"charging_allowed": True}),
        ("8c", "0002", {"discharging_allowed": True}),
        ("8c", "0004", {"balancing_active": True}),
        ("8c", "0008", {"raw.status_bits.1": 3}),  # "battery present": ignored
        ("8c", "8000", {"raw.status_bits.1": 15}),
        ("9d", "01", {"balance_switch": True}),
        ("aa", "00000119", {"nominal_capacity": 281.0}),
        ("ab", "01", {"charge_switch": True}),
        ("ac", "01", {"discharge_switch": True}),
        ("b6", "00001235", {"uptime": 279660.0}),  # minutes
        ("b9", "00000065", {"full_capacity": 101.0}),
    ],
)
def test_reading(tag: str, value: str, expected: dict[str, Any]) -> None:
    """10.1, 10.2: one tag changes one field."""
    assert changed(fields(read()), fields(read(**{f"t{tag}": value}))) == expected


@pytest.mark.parametrize(
    ("code", "chemistry"), [("00", "lfp"), ("01", "nmc"), ("02", "lto"), ("03", None)]
)
def test_chemistry(code: str, chemistry: str | None) -> None:
    """10.1, tag AF: 0 LFP, 1 NMC, 2 LTO."""
    assert identity(taf=code).chemistry == chemistry


# ------------------------------------------------------------------------- 10.2 bits of 8B


@pytest.mark.parametrize(
    ("bit", "expected"),
    [
        (0, [("alarms", "soc_low")]),
        (1, [("protections", "mosfet_overtemperature")]),
        (2, [("protections", "pack_overvoltage")]),  # charge over-voltage, used as "full"
        (3, [("protections", "pack_undervoltage")]),
        (  # battery too hot: one bit for both directions
            4,
            [
                ("protections", "charge_overtemperature"),
                ("protections", "discharge_overtemperature"),
            ],
        ),
        (5, [("protections", "charge_overcurrent")]),
        (6, [("protections", "discharge_overcurrent")]),
        (7, [("protections", "cell_delta")]),  # 96 is the "delta protection"
        (8, [("protections", "board_overtemperature")]),  # battery box
        (  # too cold
            9,
            [
                ("protections", "charge_undertemperature"),
                ("protections", "discharge_undertemperature"),
            ],
        ),
        (10, [("protections", "cell_overvoltage")]),
        (11, [("protections", "cell_undervoltage")]),
    ],
)
def test_alarm_bit(bit: int, expected: list[tuple[str, str]]) -> None:
    """10.2, tag 8B."""
    reading = read(t8b=f"{1 << bit:04x}")
    assert conditions(reading) == expected
    assert "alarm_bits" not in reading.raw


@pytest.mark.parametrize("bit", [12, 13, 14, 15])
def test_alarm_bit_without_a_common_name(bit: int) -> None:
    """10.2: 12 and 13 are "309" protections, whatever trips them; they stay visible."""
    reading = read(t8b=f"{1 << bit:04x}")
    assert conditions(reading) == []
    assert reading.raw["alarm_bits"] == [bit]
