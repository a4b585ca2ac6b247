"""JBD: what stands where in the frames, typed by hand from the documents.

No expectation here is taken from the tables of the code. The sections named are those of the
collected protocol facts (2.1 basic information, 2.2 bits, 2.7 counters, 3 registers, 9 addressed).
"""

from __future__ import annotations

import struct
from typing import Any

import pytest

from bmslink.model import Identity, Reading
from bmslink.protocols.base import Record
from bmslink.protocols.jbd.driver import JBDCodec, JBDFramer
from facts import captured, changed, conditions, fields, put


def summed(covered: bytes) -> bytes:
    """Section 1.2: 10000h minus the sum of the bytes, 16 bits, high byte first."""
    return struct.pack(">H", (0x10000 - sum(covered)) & 0xFFFF)


def classic(register: int, data: bytes) -> bytes:
    """Section 1.3: the sum covers status, length and data, not the register."""
    covered = bytes([0, len(data)]) + data
    return bytes([0xDD, register]) + covered + summed(covered) + b"\x77"


def addressed(register: int, data: bytes, address: int = 1) -> bytes:
    """Section 9: behind an address the sum covers everything from the address on."""
    covered = bytes([address, register, 0, len(data)]) + data
    return b"\xdd" + covered + summed(covered) + b"\x77"


def explain(raw: bytes) -> Record:
    framer = JBDFramer()
    (frame,) = framer.feed(raw)
    assert framer.bad_frames == 0
    return JBDCodec().decode(frame)


def read(raw: bytes) -> Reading:
    return JBDCodec().reading([explain(raw)])


# 47 bytes of basic information: four probes and the longest tail
WHOLE = captured("jbd", "jbd-syssi-dh04sc02-0x2f", "basic_info_response")
BASIC = WHOLE[4:-3]
# 37 bytes of it behind an address, with four probes
ADDRESSED = captured("jbd", "jbd-stefan064-up16s010-addressed", "basic_info_response_addressed")[
    5:-3
]


def test_frames_made_here_are_the_captured_ones() -> None:
    assert classic(0x03, BASIC) == WHOLE
    raw = captured("jbd", "jbd-stefan064-up16s010-addressed", "basic_info_response_addressed")
    assert addressed(0x03, ADDRESSED, address=0) == raw


# ------------------------------------------------------------------ 2.1 basic information (03)


@pytest.mark.parametrize(
    ("offset", "data", "expected"),
    [
        (0, "1482", {"voltage": 52.5}),  # 10 mV
        (0, "ffff", {"voltage": 655.35}),
        (2, "04d2", {"current": 12.34}),  # 10 mA, + = charging
        (2, "fb2e", {"current": -12.34}),
        (2, "8000", {"current": -327.68}),
        (4, "3039", {"remaining_capacity": 123.45}),  # 10 mAh
        (4, "ffff", {"remaining_capacity": 655.35}),
        (6, "d431", {"nominal_capacity": 543.21}),
        (8, "0102", {"cycles": 258}),
        (10, "2f79", {"raw.production_date": "2023-11-25"}),  # 23 << 9 | 11 << 5 | 25
        (12, "0001", {"balancing_active": True, "balancing_cells.1": 1}),  # bit 0 = cell 1
        (12, "0008", {"balancing_active": True, "balancing_cells.1": 4}),
        (12, "8000", {"balancing_active": True, "raw.balance_bits.1": 15}),  # cell 16 of 4
        (14, "0001", {"balancing_active": True, "raw.balance_bits.1": 16}),  # cell 17 of 4
        (18, "67", {"raw.version": 0x67}),
        (19, "63", {"soc": 99.0}),
        (23, "0aab", {"temperatures.sensor_1": 0.0}),  # 2731
        (25, "0a47", {"temperatures.sensor_2": -10.0}),  # 2631
        (27, "0c4e", {"temperatures.sensor_3": 41.9}),  # 3150
        (29, "0aac", {"temperatures.sensor_4": 0.1}),
        (23, "097f", {"temperatures.sensor_1": None}),  # the NTC table's ends: no probe
        (29, "1087", {"temperatures.sensor_4": None}),
        (23, "0980", {"temperatures.sensor_1": -29.9}),
        (29, "1086", {"temperatures.sensor_4": 149.9}),
        (31, "2d", {"raw.humidity": 45}),
        (34, "2775", {"full_capacity": 101.01}),  # p+3, 10 mAh
        (36, "1234", {}),  # p+5 remaining again: not exposed
        (38, "03e9", {"balance_current": 1.001}),  # p+7, mA
        (38, "ffff", {"balance_current": 65.535}),
        (40, "9235", {"raw.active_balance": 0x9235}),  # p+9, unit unsure
        (42, "1a", {"raw.protocol_version": 26}),  # p+11
        (43, "5aa5", {}),  # p+12 reserved
        (45, "abcd", {"raw.bms_status": 0xABCD}),  # p+14
    ],
)
def test_basic_information(offset: int, data: str, expected: dict[str, Any]) -> None:
    """2.1, all offsets of head and tail (p = 31 with four probes)."""
    after = read(classic(0x03, put(BASIC, (offset, bytes.fromhex(data)))))
    assert changed(fields(read(WHOLE)), fields(after)) == expected


def test_basic_information_as_captured() -> None:
    """2.1: CAP jbd-syssi-dh04sc02-0x2f, protocol version 19h and alarm word 8000h."""
    reading = read(WHOLE)
    assert (reading.voltage, reading.current, reading.soc) == (13.23, -10.7, 82.0)
    assert (reading.remaining_capacity, reading.nominal_capacity) == (258.56, 314.0)
    assert (reading.full_capacity, reading.cycles) == (314.0, 1)
    assert reading.raw["protocol_version"] == 25
    assert reading.raw["alarm_bits"] == [15]


@pytest.mark.parametrize(
    ("low", "high", "cells"),
    [
        ("0001", "0000", (1,)),
        ("8000", "0000", (16,)),
        ("0000", "0001", (17,)),
        ("0000", "8000", (32,)),
        ("0282", "0004", (2, 8, 10, 19)),  # 0282: CAP jbd-jakeler-tests
    ],
)
def test_balance_bits(low: str, high: str, cells: tuple[int, ...]) -> None:
    """2.1, 2.4: the word at 12 is cells 1-16, the one at 14 cells 17-32, lowest bit first."""
    data = put(BASIC, (12, bytes.fromhex(low + high)), (21, b"\x20"))
    assert read(classic(0x03, data)).balancing_cells == cells


@pytest.mark.parametrize(
    ("state", "charging", "discharging", "left"),
    [
        (0x00, False, False, None),
        (0x01, True, False, None),
        (0x02, False, True, None),
        (0x03, True, True, None),
        (0x04, False, False, [2]),
        (0x7B, True, True, [3, 4, 5, 6]),
        (0x80, False, False, [7]),
    ],
)
def test_state_byte(state: int, charging: bool, discharging: bool, left: list[int] | None) -> None:
    """2.3: bit 0 charge FET, bit 1 discharge FET; the others are not proven."""
    reading = read(classic(0x03, put(BASIC, (20, bytes([state])))))
    assert (reading.charging_allowed, reading.discharging_allowed) == (charging, discharging)
    assert reading.raw.get("state_bits") == left
    assert reading.charge_switch is None
    assert reading.discharge_switch is None


def test_tenfold_units() -> None:
    """CAP jbd-fogstar-drift-628: bit 7 of the byte behind the probes (p) makes offsets 2, 4, 6
    and p+3 count 100 mA and 100 mAh; 38 (mA) does not change, nor does bit 7 of the state."""
    before = put(BASIC, (38, b"\x03\xe9"))
    found = changed(
        fields(read(classic(0x03, before))),
        fields(read(classic(0x03, put(before, (31, b"\x80"))))),
    )
    assert found == {
        "current": -107.0,
        "remaining_capacity": 2585.6,
        "full_capacity": 3140.0,
        "nominal_capacity": 3140.0,
        "raw.tenfold": True,
    }
    state = changed(
        fields(read(classic(0x03, before))),
        fields(read(classic(0x03, put(before, (20, b"\x83"))))),
    )
    assert state == {"raw.state_bits.1": 7}


def test_daren_packs_as_captured() -> None:
    """CAP jbd-daren-a and jbd-daren-b: behind the NTCs come MOSFET and ambient temperature, the
    state of health, three bytes, and in the longer form what the head leaves out (FFFF):
    remaining and nominal capacity in 0.1 Ah, current in 0.1 A."""
    one = read(captured("jbd", "jbd-daren-a"))
    two = read(captured("jbd", "jbd-daren-b"))
    assert (one.voltage, one.current, one.soc, one.soh) == (52.53, 0.0, 51.0, 99.0)
    assert (one.remaining_capacity, one.nominal_capacity) == (166.41, 324.41)
    assert (two.voltage, two.current, two.soc, two.soh) == (52.42, -13.2, 47.0, 99.0)
    assert (two.remaining_capacity, two.nominal_capacity) == (142.4, 300.0)
    assert list(one.temperatures.values()) == [28.6, 29.0, 28.8, 29.1, 28.7, 26.0]
    assert list(two.temperatures.values()) == [26.7, 26.8, 27.0, 27.2, 27.9, 25.6]
    assert conditions(one) == conditions(two) == []
    assert one.conditions_known and two.conditions_known


@pytest.mark.parametrize(
    ("version", "firmware"), [(0x67, "6.7"), (0x80, "8.0"), (0x10, "1.0"), (0x2A, "2.10")]
)
def test_identity(version: int, firmware: str) -> None:
    """2.1: two nibbles; the cell count stands at 21."""
    said = explain(classic(0x03, put(BASIC, (18, bytes([version])), (21, b"\x0e"))))
    found = JBDCodec().identity([said])
    assert (found.firmware, found.cell_count, found.variant) == (firmware, 14, "classic")


TAIL = "2d 0001 2711 2712 03e9 1235 1a 5aa5 abcd"


@pytest.mark.parametrize(
    ("length", "probes", "known"),
    [
        (0x17, 0, 0),
        (0x19, 1, 0),
        (0x1B, 2, 0),
        (0x1D, 3, 0),
        (0x1F, 4, 0),
        (0x20, 0, 9),
        (0x22, 1, 9),
        (0x26, 3, 9),
        (0x2F, 4, 16),
    ],
)
def test_every_length_that_was_seen(length: int, probes: int, known: int) -> None:
    """2.1: the tail follows the probes at p = 23 + 2k and is present, or not, as a whole."""
    data = BASIC[:22] + bytes([probes]) + bytes.fromhex("0aab 0ab5 0abf 0ac9")
    data = data[: 23 + 2 * probes]
    tail = bytes.fromhex(TAIL)[: length - len(data)]
    assert len(tail) == known
    reading = read(classic(0x03, data + tail))
    assert list(reading.temperatures.values()) == [0.0, 1.0, 2.0, 3.0][:probes]
    assert list(reading.temperatures) == ["sensor_1", "sensor_2", "sensor_3", "sensor_4"][:probes]
    if not known:
        assert (reading.full_capacity, reading.balance_current) == (None, None)
        assert conditions(reading) == []
        assert "humidity" not in reading.raw
        return
    assert (reading.full_capacity, reading.balance_current) == (100.01, 1.001)
    assert conditions(reading) == [("alarms", "cell_overvoltage")]
    assert reading.raw["humidity"] == 45
    names = ("active_balance", "protocol_version", "bms_status")
    expected = [0x1235, 0x1A, 0xABCD] if known == 16 else [None, None, None]
    assert [reading.raw.get(name) for name in names] == expected
    assert "surplus" not in reading.raw


# --------------------------------------------------------------- 2.2 protection and alarm bits

# bit -> the list and the condition; None: the sources contradict each other, so it stays a bit
PROTECTION = [
    (0, "protections", "cell_overvoltage"),
    (1, "protections", "cell_undervoltage"),
    (2, "protections", "pack_overvoltage"),
    (3, "protections", "pack_undervoltage"),
    (4, "protections", "charge_overtemperature"),
    (5, "protections", "charge_undertemperature"),
    (6, "protections", "discharge_overtemperature"),
    (7, "protections", "discharge_undertemperature"),
    (8, "protections", "charge_overcurrent"),
    (9, "protections", "discharge_overcurrent"),
    (10, "protections", "short_circuit"),
    (11, "faults", "afe"),
    (12, "alarms", "software_lock"),  # a command is in force: not a fault
]


@pytest.mark.parametrize(
    ("bit", "where", "condition"),
    [*PROTECTION, (13, "raw", None), (14, "raw", None), (15, "raw", None)],
)
def test_protection_word(bit: int, where: str, condition: str | None) -> None:
    """2.2, the word at 16."""
    word = struct.pack(">H", 1 << bit)
    reading = read(classic(0x03, put(BASIC, (16, word), (32, b"\0\0"))))
    assert conditions(reading) == ([] if condition is None else [(where, condition)])
    assert reading.raw.get("protection_bits") == ([bit] if condition is None else None)


@pytest.mark.parametrize(
    ("bit", "where", "condition"),
    [
        *PROTECTION,
        (13, "raw", None),  # ambient too hot, too cold: no common name
        (14, "raw", None),
        (15, "protections", "mosfet_overtemperature"),  # FET high temperature
    ],
)
def test_protection_word_behind_an_address(bit: int, where: str, condition: str | None) -> None:
    """9: as 2.2, but bits 13-15 are ambient hot, ambient cold and FET hot."""
    word = struct.pack(">H", 1 << bit)
    reading = read(addressed(0x03, put(ADDRESSED, (16, word), (22, b"\0\0"))))
    assert conditions(reading) == ([] if condition is None else [(where, condition)])
    assert reading.raw.get("protection_bits") == ([bit] if condition is None else None)


@pytest.mark.parametrize(
    ("bit", "condition"),
    [
        (0, "cell_overvoltage"),
        (1, "cell_undervoltage"),
        (2, "pack_overvoltage"),
        (3, "pack_undervoltage"),
        (4, "charge_overtemperature"),
        (5, "charge_undertemperature"),
        (6, "discharge_overtemperature"),
        (7, "discharge_undertemperature"),
        (8, "charge_overcurrent"),
        (9, "discharge_overcurrent"),
        (10, "cell_delta"),
        (11, "soc_low"),
        (12, None),
        (13, None),
        (14, None),
        (15, None),
    ],
)
def test_alarm_word(bit: int, condition: str | None) -> None:
    """2.2, the V11 alarm word in the tail at p+1."""
    reading = read(classic(0x03, put(BASIC, (32, struct.pack(">H", 1 << bit)))))
    assert conditions(reading) == ([] if condition is None else [("alarms", condition)])
    assert reading.raw.get("alarm_bits") == ([bit] if condition is None else None)


@pytest.mark.parametrize(
    ("bit", "condition"),
    [
        (0, "cell_undervoltage"),
        (1, "cell_overvoltage"),
        (2, "pack_undervoltage"),
        (3, "pack_overvoltage"),
        (4, "charge_overcurrent"),
        (5, "discharge_overcurrent"),
        (6, "charge_overtemperature"),
        (7, "charge_undertemperature"),
        (8, "discharge_overtemperature"),
        (9, "discharge_undertemperature"),
        (10, None),  # ambient hot, ambient cold
        (11, None),
        (12, "board_overtemperature"),  # PCB hot
        (13, "cell_delta"),
        (14, "soc_low"),
        (15, None),
    ],
)
def test_alarm_word_behind_an_address(bit: int, condition: str | None) -> None:
    """2.2: the QM order, another one than V11's; the word stands at 22 (section 9)."""
    word = struct.pack(">H", 1 << bit)
    reading = read(addressed(0x03, put(ADDRESSED, (16, b"\0\0"), (22, word))))
    assert conditions(reading) == ([] if condition is None else [("alarms", condition)])
    assert reading.raw.get("alarm_bits") == ([bit] if condition is None else None)


# ---------------------------------------------------------------------- 9 behind an address


@pytest.mark.parametrize(
    ("offset", "data", "expected"),
    [
        (0, "1482", {"voltage": 52.5}),
        (2, "fb2e", {"current": -12.34}),
        (4, "3039", {"remaining_capacity": 123.45}),
        (6, "d431", {"nominal_capacity": 543.21}),
        (8, "0102", {"cycles": 258}),
        (10, "2f79", {"raw.production_date": "2023-11-25"}),
        (12, "0008", {"balancing_active": True, "balancing_cells.1": 4}),
        (18, "67", {"raw.version": 0x67}),
        (19, "63", {"soc": 99.0}),
        (20, "01", {"charging_allowed": True}),
        (20, "02", {"discharging_allowed": True}),
        (24, "0a47", {"temperatures.ambient": -10.0}),
        (26, "0c4e", {"temperatures.mosfet": 41.9}),
        (26, "1087", {"temperatures.mosfet": None}),
        (29, "0aac", {"temperatures.sensor_1": 0.1}),
        (31, "0aad", {"temperatures.sensor_2": 0.2}),
        (33, "0aae", {"temperatures.sensor_3": 0.3}),
        (35, "0aaf", {"temperatures.sensor_4": 0.4}),
    ],
)
def test_basic_information_behind_an_address(
    offset: int, data: str, expected: dict[str, Any]
) -> None:
    """9: as 2.1 up to the cell count, then alarm, ambient, FET, probe count, probes."""
    data_after = put(ADDRESSED, (offset, bytes.fromhex(data)))
    before = read(addressed(0x03, ADDRESSED))
    assert changed(fields(before), fields(read(addressed(0x03, data_after)))) == expected


# ------------------------------------------------------------------ 2.5 to 2.7: 04, 05 and AA


def test_cell_voltages() -> None:
    """2.5: one word of mV a cell."""
    said = explain(classic(0x04, bytes.fromhex("0ce40ce50001ffff")))
    assert said.values == {"cell_voltages": [3.3, 3.301, 0.001, 65.535]}


def test_hardware_name() -> None:
    """2.6: n characters without an inner length byte."""
    said = explain(classic(0x05, b"J-12320-250304-077"))
    assert JBDCodec().identity([said]) == Identity(
        vendor="JBD", protocol="jbd", model="J-12320-250304-077"
    )


@pytest.mark.parametrize("words", [11, 12])
def test_error_counters(words: int) -> None:
    """2.7: in this order, 11 or 12 of them."""
    names = [
        "short_circuit",
        "charge_overcurrent",
        "discharge_overcurrent",
        "cell_overvoltage",
        "cell_undervoltage",
        "charge_overtemperature",
        "charge_undertemperature",
        "discharge_overtemperature",
        "discharge_undertemperature",
        "pack_overvoltage",
        "pack_undervoltage",
        "restarts",
    ]
    data = struct.pack(f">{words}H", *range(0xF101, 0xF101 + words))
    said = explain(classic(0xAA, data))
    assert said.role == "log"
    assert said.values == {name: 0xF101 + i for i, name in enumerate(names[:words])}


# --------------------------------------------------------------- 3 configuration registers


@pytest.mark.parametrize(
    ("register", "data", "expected"),
    [
        (0x10, "6d60", {"nominal_capacity": 280.0}),  # 10 mAh
        (0x11, "5780", {"cycle_capacity": 224.0}),
        (0x12, "0dac", {"full_charge_voltage": 3.5}),  # of a cell, mV
        (0x13, "0af0", {"empty_voltage": 2.8}),
        (0x14, "0102", {"jbd_self_discharge": 258}),  # unit in dispute: raw
        (0x15, "2f79", {"jbd_production_date": 0x2F79}),
        (0x16, "ffff", {"jbd_serial_number": 65535}),
        (0x17, "0102", {"jbd_cycle_count": 258}),
        (0x18, "0d99", {"charge_otp": 75.0}),  # 0.1 K, 2731 = 0 °C
        (0x19, "0cd1", {"charge_otp_release": 55.0}),
        (0x1A, "0a47", {"charge_utp": -10.0}),
        (0x1B, "0aab", {"charge_utp_release": 0.0}),
        (0x1C, "0d35", {"discharge_otp": 65.0}),
        (0x1D, "0c6d", {"discharge_otp_release": 45.0}),
        (0x1E, "09e3", {"discharge_utp": -20.0}),
        (0x1F, "0a15", {"discharge_utp_release": -15.0}),
        (0x20, "05b4", {"pack_ovp": 14.6}),  # 10 mV
        (0x21, "058c", {"pack_ovp_release": 14.2}),
        (0x22, "03e8", {"pack_uvp": 10.0}),
        (0x23, "0438", {"pack_uvp_release": 10.8}),
        (0x24, "0e42", {"cell_ovp": 3.65}),  # mV
        (0x25, "0dde", {"cell_ovp_release": 3.55}),
        (0x26, "09c4", {"cell_uvp": 2.5}),
        (0x27, "0a8c", {"cell_uvp_release": 2.7}),
        (0x28, "59d8", {"charge_ocp": 230.0}),  # positive, 10 mA
        (0x29, "a628", {"discharge_ocp": 230.0}),  # negative on the wire: -230.00 A
        (0x29, "f830", {"discharge_ocp": 20.0}),  # -20.00 A
        (0x29, "cd38", {"discharge_ocp": 130.0}),  # 52536 in the vendor's backup file
        (0x2A, "0c80", {"balance_start_voltage": 3.2}),
        (0x2B, "001e", {"balance_delta": 0.03}),
        (0x2C, "0102", {"jbd_shunt": 258}),
        (0x2D, "000e", {"jbd_function_bits": 14}),
        (0x2E, "0107", {"jbd_ntc_bits": 0x107}),
        (0x2F, "0010", {"cell_count": 16}),
        (0x30, "011e", {"jbd_fet_control_time": 286}),  # s
        (0x31, "000a", {"jbd_led_time": 10}),
        (0x32, "0d48", {"jbd_soc_80_voltage": 3.4}),
        (0x33, "0d16", {"jbd_soc_60_voltage": 3.35}),
        (0x34, "0ce4", {"jbd_soc_40_voltage": 3.3}),
        (0x35, "0c1c", {"jbd_soc_20_voltage": 3.1}),
        (0x36, "0f3c", {"jbd_hardware_cell_ovp": 3.9}),
        (0x37, "07d0", {"jbd_hardware_cell_uvp": 2.0}),
        # byte 0 is the short circuit, byte 1 level 2 of the overcurrent (3.2); chip codes: raw
        (0x38, "8d5c", {"jbd_short_circuit_level": 0x8D, "jbd_overcurrent_2_level": 0x5C}),
        # byte 0 the hardware delays, byte 1 the short circuit's release, s
        (0x39, "f064", {"jbd_hardware_delays": 0xF0, "short_circuit_release": 100}),
        # under before over, s
        (0x3A, "0305", {"charge_utp_delay": 3, "charge_otp_delay": 5}),
        (0x3B, "0406", {"discharge_utp_delay": 4, "discharge_otp_delay": 6}),
        (0x3C, "0507", {"pack_uvp_delay": 5, "pack_ovp_delay": 7}),
        (0x3D, "0608", {"cell_uvp_delay": 6, "cell_ovp_delay": 8}),
        (0x3E, "0520", {"charge_ocp_delay": 5, "charge_ocp_release": 32}),
        (0x3F, "0a1e", {"discharge_ocp_delay": 10, "discharge_ocp_release": 30}),
        (0x40, "0af0", {"jbd_gps_cutoff_voltage": 2.8}),
        (0x41, "000a", {"jbd_gps_cutoff_delay": 10}),
        (0x42, "0d7a", {"jbd_soc_90_voltage": 3.45}),
        (0x43, "0d2f", {"jbd_soc_70_voltage": 3.375}),
        (0x44, "0cfd", {"jbd_soc_50_voltage": 3.325}),
        (0x45, "0c80", {"jbd_soc_30_voltage": 3.2}),
        (0x46, "0bb8", {"jbd_soc_10_voltage": 3.0}),
        (0x47, "0e10", {"jbd_soc_100_voltage": 3.6}),
        (0xA0, "0544474a4244", {"jbd_manufacturer": "DGJBD"}),  # [length][characters]
        (0xA1, "0353503141", {"jbd_model": "SP1"}),  # garbage may follow
        (0xA2, "00", {"jbd_barcode": ""}),
    ],
)
def test_register(register: int, data: str, expected: dict[str, Any]) -> None:
    """3: names, types and units of the classic map."""
    said = explain(classic(register, bytes.fromhex(data)))
    assert said.role == "settings"
    assert said.values == expected


@pytest.mark.parametrize("register", [r for r in range(0x10, 0x48) if not 0x18 <= r <= 0x1F])
def test_register_is_unsigned(register: int) -> None:
    """3: only 28 and 29 are signed (temperatures are u16 as well, but never that high)."""
    if register not in (0x28, 0x29):
        said = explain(classic(register, b"\xff\xff"))
        assert all(value > 0 for value in said.values.values())


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("dd5a00025678ff3077", {"register": 0x00, "jbd_factory_key": 0x5678}),  # enter
        ("dd5a01022828ffad77", {"register": 0x01, "jbd_factory_exit": 0x2828}),  # exit, keep
        ("dd5a01020000fffd77", {"register": 0x01, "jbd_factory_exit": 0}),  # exit, plain
        ("dd5ae1020000ff1d77", {"register": 0xE1, "jbd_fet_lock": 0}),  # both on
        ("dd5ae1020001ff1c77", {"register": 0xE1, "jbd_fet_lock": 1}),  # charge off
        ("dd5ae1020002ff1b77", {"register": 0xE1, "jbd_fet_lock": 2}),  # discharge off
    ],
)
def test_command(raw: str, expected: dict[str, Any]) -> None:
    """4, 5.1: the frames as documented."""
    (frame,) = JBDFramer().feed(bytes.fromhex(raw))
    found = dict(JBDCodec().decode(frame, sent=True).values)
    found.pop("reserved", None)
    assert found == expected
