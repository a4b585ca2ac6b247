"""Daly A5: what stands where in the frames, typed by hand from the documents.

No expectation here is taken from the tables of the code. The sections named are those of the
collected protocol facts (1 framing, 2 status ids, 3 parameters).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from bmslink.model import Reading
from bmslink.protocols.base import Record
from bmslink.protocols.daly.a5.driver import DalyA5Codec, DalyA5Framer
from facts import captured, changed, conditions, fields


def answer(data_id: int, text: str) -> bytes:
    """Section 1: A5, board 1, id, 08, eight bytes, the sum of all twelve modulo 256."""
    data = bytes.fromhex(text)
    assert len(data) == 8
    covered = bytes([0xA5, 0x01, data_id, 0x08]) + data
    return covered + bytes([sum(covered) % 256])


def explain(raw: bytes, codec: DalyA5Codec | None = None) -> Record:
    framer = DalyA5Framer()
    (frame,) = framer.feed(raw)
    assert framer.bad_frames == 0
    return (codec or DalyA5Codec()).decode(frame)


def said(data_id: int, text: str) -> dict[str, Any]:
    values = dict(explain(answer(data_id, text)).values)
    assert values.pop("id", data_id) == data_id
    return values


def read(*parts: tuple[int, str]) -> Reading:
    codec = DalyA5Codec()
    return codec.reading([explain(answer(data_id, text), codec) for data_id, text in parts])


def test_frames_made_here_are_the_captured_ones() -> None:
    raw = captured("daly-a5", "daly-a5-uart-14s-pctool-session", "0x90 pack V/I/SOC reply")
    assert answer(raw[2], raw[4:12].hex()) == raw


# ---------------------------------------------------------------------------- 2 status ids


@pytest.mark.parametrize(
    ("data_id", "data", "expected"),
    [
        (  # 0.1 V, 0.1 V, (raw - 30000) x 0.1 A, 0.1 %
            0x90,
            "020d 020e 75bc 0253",
            {"voltage": 52.5, "gather_voltage": 52.6, "current": 14.0, "soc": 59.5},
        ),
        (
            0x90,
            "020d 0000 74a4 03e8",
            {"voltage": 52.5, "gather_voltage": 0.0, "current": -14.0, "soc": 100.0},
        ),
        (
            0x91,  # mV, cell number
            "0ce5 0c 0bb8 03 012d",
            {
                "max_cell_voltage": 3.301,
                "max_cell": 12,
                "min_cell_voltage": 3.0,
                "min_cell": 3,
                "tail": 301,
            },
        ),
        (
            0x92,  # raw - 40
            "41 02 1e 01 50 51 23 00",
            {
                "max_temperature": 25.0,
                "max_sensor": 2,
                "min_temperature": -10.0,
                "min_sensor": 1,
                "mosfet_temperature": 40.0,
                "board_temperature": 41.0,
                "temperature_delta": 35,
                "reserved": 0,
            },
        ),
        (
            0x93,  # state, charge MOS, discharge MOS, life counter, mAh
            "02 01 00 a7 0001e241",
            {
                "state": 2,
                "charge_mosfet": 1,
                "discharge_mosfet": 0,
                "life": 0xA7,
                "remaining_capacity": 123.457,
            },
        ),
        (
            0x94,
            "10 02 01 00 5a 0123 77",
            {
                "cell_count": 16,
                "sensor_count": 2,
                "charger": 1,
                "load": 0,
                "inputs_outputs": 0x5A,
                "cycles": 291,
                "tail": 0x77,
            },
        ),
        (
            0x95,
            "03 0ce4 0ce5 0ce6 99",
            {
                "number": 3,
                "cell_voltages": [3.3, 3.301, 3.302],
                "tail": 0x99,
            },
        ),
        (
            0x96,
            "01 28 29 1e 41 ff 00 42",
            {"number": 1, "temperatures": [0.0, 1.0, -10.0, 25.0, 215.0, -40.0, 26.0]},
        ),
        (
            0x97,
            "01 02 03 04 05 06 07 08",
            {"balancing": bytes([1, 2, 3, 4, 5, 6]), "reserved": bytes([7, 8])},
        ),
        (
            0x98,
            "01 02 03 04 05 06 07 08",
            {"failure_bits": bytes([1, 2, 3, 4, 5, 6, 7]), "fault_code": 8},
        ),
        (  # newer ids, layout of the vendor's tool
            0x99,
            "01 7562 05 0000 0203",
            {
                "balancer_state": 1,
                "balance_current": 5.0,
                "cell_position": 5,
                "sub_version": 0x203,
            },
        ),
        (
            0x9A,
            "03cf 01f5 0203 0000",
            {"soh": 97.5, "charge_power_state": 50.1, "discharge_power_state": 51.5},
        ),
        (
            0xD8,  # b0 key, b1 button, b2 RS485, b3 CAN, b4 current, b7 relay switch
            "01 02 03 04 05 00 00 06",
            {"key": 1, "button": 2, "rs485": 3, "can": 4, "current": 5, "relay_switch": 6},
        ),
    ],
)
def test_status(data_id: int, data: str, expected: dict[str, Any]) -> None:
    """2: every byte of every status id."""
    assert said(data_id, data) == expected


POLL = {
    "94": (0x94, "04 02 00 00 00 0000 00"),
    "90": (0x90, "0084 0000 7530 01f4"),
    "91": (0x91, "0ce6 04 0ce3 01 0003"),
    "92": (0x92, "41 02 40 01 50 51 01 00"),
    "93": (0x93, "00 01 01 10 0000c350"),
    "95.1": (0x95, "01 0ce3 0ce4 0ce5 00"),
    "95.2": (0x95, "02 0ce6 0ce4 0ce5 00"),
    "96": (0x96, "01 41 40 00 00 00 00 00"),
    "97": (0x97, "0000000000000000"),
    "98": (0x98, "0000000000000000"),
}


def poll(parts: Mapping[str, str] | None = None) -> Reading:
    """A whole poll of a board that is quite well, with some answers replaced."""
    new = parts or {}
    assert new.keys() <= POLL.keys()
    return read(*((data_id, new.get(key, text)) for key, (data_id, text) in POLL.items()))


def test_a_whole_poll() -> None:
    """2: where the parts of a poll go to."""
    reading = poll()
    assert (reading.voltage, reading.current, reading.soc) == (13.2, 0.0, 50.0)
    assert (reading.remaining_capacity, reading.cycles) == (50.0, 0)
    assert reading.cell_voltages == (3.299, 3.3, 3.301, 3.302)  # cut at 94 b0
    assert reading.temperatures == {
        "sensor_1": 25.0,  # cut at 94 b1
        "sensor_2": 24.0,
        "mosfet": 40.0,
        "board": 41.0,
    }
    assert reading.balancing_active is False
    assert (reading.charging_allowed, reading.discharging_allowed) == (True, True)
    assert conditions(reading) == []
    assert reading.raw["state"] == "idle"
    assert reading.raw["life"] == 16


@pytest.mark.parametrize(
    ("part", "data", "expected"),
    [
        ("90", "0085 0000 7530 01f4", {"voltage": 13.3}),
        ("90", "0084 0085 7530 01f4", {"raw.gather_voltage": 13.3}),
        ("90", "0084 0000 7530 01f5", {"soc": 50.1}),
        ("93", "00 00 01 10 0000c350", {"charging_allowed": False}),
        ("93", "00 01 00 10 0000c350", {"discharging_allowed": False}),
        ("93", "00 01 01 11 0000c350", {"raw.life": 17}),
        ("93", "00 01 01 10 0001e240", {"remaining_capacity": 123.456}),
        ("93", "01 01 01 10 0000c350", {"raw.state": "charging"}),
        ("93", "02 01 01 10 0000c350", {"raw.state": "discharging"}),
        ("94", "04 02 01 00 00 0000 00", {"raw.charger": 1}),
        ("94", "04 02 00 01 00 0000 00", {"raw.load": 1}),
        ("94", "04 02 00 00 12 0000 00", {"raw.inputs_outputs": 0x12}),
        ("94", "04 02 00 00 00 0123 00", {"cycles": 291}),
        # b7: not told apart, so that 0 cycles beside it may be wrong (CAP daly-a5-r24ts)
        ("94", "04 02 00 00 00 0000 41", {"cycles": None, "raw.cycles": 0}),
        ("94", "04 02 00 00 00 0123 41", {"cycles": 291}),
        ("95.1", "01 0ce3 0ce4 0bb8 00", {"cell_voltages.3": 3.0}),
        ("95.2", "02 0bb8 0ce4 0ce5 00", {"cell_voltages.4": 3.0}),
        ("95.2", "02 0ce6 0bb8 0bb8 00", {}),  # beyond the count
        ("96", "01 1e 40 00 00 00 00 00", {"temperatures.sensor_1": -10.0}),
        ("96", "01 41 ff 00 00 00 00 00", {"temperatures.sensor_2": None}),
        ("92", "41 02 40 01 52 51 01 00", {"temperatures.mosfet": 42.0}),
        ("92", "41 02 40 01 50 53 01 00", {"temperatures.board": 43.0}),
    ],
)
def test_reading(part: str, data: str, expected: dict[str, Any]) -> None:
    """2: one value of one answer goes to one place of the reading."""
    assert changed(fields(poll()), fields(poll({part: data}))) == expected


@pytest.mark.parametrize(
    ("state", "word", "amps"),
    [
        ("01", "7562", 5.0),  # charging, raw > 30000
        ("01", "74fe", 5.0),
        ("02", "7562", -5.0),
        ("02", "74fe", -5.0),
        ("00", "7562", 5.0),
        ("00", "74fe", -5.0),
    ],
)
def test_current(state: str, word: str, amps: float) -> None:
    """2, id 90: the sign of raw - 30000 differs by firmware; the state of 93 decides."""
    reading = poll({"90": f"0084 0000 {word} 01f4", "93": f"{state} 01 01 10 0000c350"})
    assert reading.current == amps


@pytest.mark.parametrize("first", [0, 1])
def test_cells_and_sensors_are_counted_from_the_first_frame(first: int) -> None:
    """2, ids 95 and 96: frame numbers from 0 in the documents, from 1 on all hardware."""
    reading = read(
        (0x94, "06 09 00 00 00 0000 00"),
        (0x95, f"0{first} 0ce3 0ce4 0ce5 00"),
        (0x95, f"0{first + 1} 0ce6 0ce7 0ce8 00"),
        (0x96, f"0{first} 29 2a 2b 2c 2d 2e 2f"),
        (0x96, f"0{first + 1} 30 31 00 00 00 00 00"),
    )
    assert reading.cell_voltages == (3.299, 3.3, 3.301, 3.302, 3.303, 3.304)
    expected = {f"sensor_{n}": float(n) for n in range(1, 10)}
    assert reading.temperatures == expected


@pytest.mark.parametrize("byte", range(6))
def test_any_byte_of_97_is_balancing(byte: int) -> None:
    """2, id 97: a mask or [on, cell number]; any non-zero byte is balancing."""
    data = bytearray(8)
    data[byte] = 0x01
    reading = poll({"97": data.hex()})
    assert reading.balancing_active is True
    assert reading.balancing_cells is None


# -------------------------------------------------------------------------- 98 failure bits

LEVELS = [
    # byte, bit of level 1 (warning), condition; level 2 (protection) is the next bit
    (0, 0, "cell_overvoltage"),
    (0, 2, "cell_undervoltage"),
    (0, 4, "pack_overvoltage"),
    (0, 6, "pack_undervoltage"),
    (1, 0, "charge_overtemperature"),
    (1, 2, "charge_undertemperature"),
    (1, 4, "discharge_overtemperature"),
    (1, 6, "discharge_undertemperature"),
    (2, 0, "charge_overcurrent"),
    (2, 2, "discharge_overcurrent"),
    (2, 4, "soc_high"),
    (2, 6, "soc_low"),
    (3, 0, "cell_delta"),
    (3, 2, "temperature_delta"),
]


@pytest.mark.parametrize(
    ("byte", "bit", "where", "condition"),
    [
        *((byte, bit, "alarms", condition) for byte, bit, condition in LEVELS),
        *((byte, bit + 1, "protections", condition) for byte, bit, condition in LEVELS),
        (4, 0, "faults", "mosfet_overtemperature"),  # charge
        (4, 1, "faults", "mosfet_overtemperature"),  # discharge
        (4, 2, "faults", "temperature_sense"),  # of the charge MOS
        (4, 3, "faults", "temperature_sense"),
        (4, 4, "faults", "charge_mosfet"),  # stuck on
        (4, 5, "faults", "discharge_mosfet"),
        (4, 6, "faults", "charge_mosfet"),  # open
        (4, 7, "faults", "discharge_mosfet"),
        (5, 0, "faults", "afe"),
        (5, 1, "faults", "voltage_sense"),  # cell sampling lost
        (5, 2, "faults", "temperature_sense"),
        (5, 3, "faults", "eeprom"),
        (5, 4, "faults", "clock"),
        (5, 5, "faults", "precharge"),
        (5, 6, "faults", "communication"),  # vehicle
        (5, 7, "faults", "communication"),  # internal network
        (6, 0, "faults", "current_sense"),
        (6, 1, "faults", "voltage_sense"),  # of the pack
        (6, 2, "protections", "short_circuit"),
        (6, 3, "faults", "other"),  # low-voltage charge inhibited
        (6, 4, "alarms", "software_lock"),  # MOS off by switch: a state, not a fault
    ],
)
def test_failure_bit(byte: int, bit: int, where: str, condition: str) -> None:
    """2, id 98, all bytes."""
    data = bytearray(8)
    data[byte] = 1 << bit
    reading = poll({"98": data.hex()})
    assert conditions(reading) == [(where, condition)]
    assert "failure_bits_unknown" not in reading.raw


@pytest.mark.parametrize(
    ("byte", "bit"),
    # 6.5 (charging cabinet offline) is named only by the document of another dialect
    [(3, 4), (3, 5), (3, 6), (3, 7), (6, 5), (6, 6), (6, 7)],
)
def test_failure_bits_without_a_meaning(byte: int, bit: int) -> None:
    """2, id 98: bits that A5 does not name stay visible."""
    data = bytearray(8)
    data[byte] = 1 << bit
    reading = poll({"98": data.hex()})
    assert conditions(reading) == []
    assert reading.raw["failure_bits_unknown"] == [f"{byte}.{bit}"]


def test_fault_code() -> None:
    """2, id 98 b7: a number, no bits."""
    reading = poll({"98": "00000000000000 2a"})
    assert conditions(reading) == []
    assert reading.raw["fault_code"] == 42


# ----------------------------------------------------------------------------- 3 parameters


@pytest.mark.parametrize(
    ("data_id", "data", "expected"),
    [
        # u32 mAh, u32 mV
        (
            0x50,
            "00044aa2 00000c80",
            {"nominal_capacity": 281.25, "daly_nominal_cell_voltage": 3.2},
        ),
        (
            0x51,
            "03 10 11 12 04 05 06 00",
            {
                "daly_boards": 3,
                "daly_board_1_cells": 16,
                "daly_board_2_cells": 17,
                "daly_board_3_cells": 18,
                "daly_board_1_sensors": 4,
                "daly_board_2_sensors": 5,
                "daly_board_3_sensors": 6,
            },
        ),
        # whole Ah
        (
            0x52,
            "00001235 00004323",
            {"daly_charged_capacity": 0x1235, "daly_discharged_capacity": 0x4323},
        ),
        (
            0x53,
            "01 02 17 0b 19 0e10 0c",
            {
                "chemistry": 1,
                "daly_operating_mode": 2,
                "daly_production_year": 23,
                "daly_production_month": 11,
                "daly_production_day": 25,
                "sleep_delay": 3600,
                "daly_current_drift": 1.2,
            },
        ),
        (0x54, "3230323230383130", {"daly_firmware_index": "20220810"}),
        (0x56, "01 31302e302e302e", {"number": 1, "daly_server": "10.0.0."}),
        (0x57, "05 41424344454647", {"number": 5, "daly_battery_code": "ABCDEFG"}),
        # mV: high L1, L2, low L1, L2
        (
            0x59,
            "0dac 0e10 0bb8 0a8c",
            {
                "cell_ovp_warning": 3.5,
                "cell_ovp": 3.6,
                "cell_uvp_warning": 3.0,
                "cell_uvp": 2.7,
            },
        ),
        # 0.1 V
        (
            0x5A,
            "0228 0232 01c8 01b9",
            {
                "pack_ovp_warning": 55.2,
                "pack_ovp": 56.2,
                "pack_uvp_warning": 45.6,
                "pack_uvp": 44.1,
            },
        ),
        # charging counts down from 30000, discharging up
        (
            0x5B,
            "7148 6d60 7918 7d00",
            {
                "charge_ocp_warning": 100.0,
                "charge_ocp": 200.0,
                "discharge_ocp_warning": 100.0,
                "discharge_ocp": 200.0,
            },
        ),
        (
            0x5B,
            "7147 6d5f 7919 7d01",
            {
                "charge_ocp_warning": 100.1,
                "charge_ocp": 200.1,
                "discharge_ocp_warning": 100.1,
                "discharge_ocp": 200.1,
            },
        ),
        # +40: charge high L1, L2, charge low L1, L2, discharge high L1, L2, discharge low L1, L2
        (
            0x5C,
            "5f 64 29 24 69 6e 15 10",
            {
                "charge_otp_warning": 55.0,
                "charge_otp": 60.0,
                "charge_utp_warning": 1.0,
                "charge_utp": -4.0,
                "discharge_otp_warning": 65.0,
                "discharge_otp": 70.0,
                "discharge_utp_warning": -19.0,
                "discharge_utp": -24.0,
            },
        ),
        # 0.1 %
        (
            0x5D,
            "0384 03b6 00c8 0032",
            {
                "soc_high_warning": 90.0,
                "soc_high": 95.0,
                "soc_low_warning": 20.0,
                "soc_low": 5.0,
            },
        ),
        # mV, mV, K, K without the offset of 40
        (
            0x5E,
            "0064 00c8 0a 14 0000",
            {
                "cell_delta_warning": 0.1,
                "cell_delta": 0.2,
                "temperature_delta_warning": 10,
                "temperature_delta": 20,
            },
        ),
        # mV, mV, residue
        (
            0x5F,
            "0d48 0032 11223344",
            {"balance_start_voltage": 3.4, "balance_delta": 0.05},
        ),
        # A, micro-ohm
        (
            0x60,
            "02bc 00fa 11223344",
            {"short_circuit_current": 700, "daly_shunt_resistance": 0.00025},
        ),
        (
            0x61,
            "17 0b 19 0c 0d 0e 0000",
            {
                "daly_clock_year": 23,
                "daly_clock_month": 11,
                "daly_clock_day": 25,
                "daly_clock_hour": 12,
                "daly_clock_minute": 13,
                "daly_clock_second": 14,
            },
        ),
        (0x62, "02 41424344454647", {"number": 2, "daly_software_version": "ABCDEFG"}),
        (0x63, "01 444c2d424d532d", {"number": 1, "daly_hardware_version": "DL-BMS-"}),
        (0x65, "02 03 000000000000", {"daly_board_number": 2, "daly_slave_count": 3}),
        # heater on, heater off, fan on, fan off, each +40; key logic, CAN, mA
        (
            0x66,
            "2d 37 55 4b 5a a5 03e9",
            {
                "daly_heater_on": 5.0,
                "daly_heater_off": 15.0,
                "daly_fan_on": 45.0,
                "daly_fan_off": 35.0,
                "daly_key_logic": 0x5A,
                "daly_tc_can": 0xA5,
                "daly_self_consumption": 1.001,
            },
        ),
        (0x67, "0102030405060708", {"daly_active_balance": bytes(range(1, 9))}),
        (0x68, "07 000f 0000000000", {"daly_balancer_series": 7, "balance_current": 1.5}),
        (
            0x69,
            "04 05 000000000000",
            {"daly_inverter_brand": 4, "daly_inverter_transport": 5},
        ),
        (0x6A, "03 41424344454647", {"number": 3, "daly_serial_number": "ABCDEFG"}),
        (0x8B, "0102030405060708", {"daly_resistance_compensation": bytes(range(1, 9))}),
    ],
)
def test_parameter(data_id: int, data: str, expected: dict[str, Any]) -> None:
    """3, every byte of the parameters 50 to 6A and 8B."""
    assert said(data_id, data) == expected


@pytest.mark.parametrize(("level", "first"), [(1, 0x70), (2, 0x79), (3, 0x82)])
@pytest.mark.parametrize(
    ("offset", "data", "expected"),
    [
        # value, delay, release, release delay: mV and 0.01 s
        (
            0,
            "0e42 0064 0dde 00c8",
            {
                "cell_ovp": 3.65,
                "cell_ovp_delay": 1.0,
                "cell_ovp_release": 3.55,
                "cell_ovp_release_delay": 2.0,
            },
        ),
        (
            1,
            "0a8c 0065 0b54 00c9",
            {
                "cell_uvp": 2.7,
                "cell_uvp_delay": 1.01,
                "cell_uvp_release": 2.9,
                "cell_uvp_release_delay": 2.01,
            },
        ),
        # discharge 30000 + 10 A, delay, charge 30000 - 10 A, delay
        (
            2,
            "7919 0064 7147 00c8",
            {
                "discharge_ocp": 100.1,
                "discharge_ocp_delay": 1.0,
                "charge_ocp": 100.1,
                "charge_ocp_delay": 2.0,
            },
        ),
        # value + 40, delay x 0.1 s, release + 40, release delay x 0.1 s: charge, then discharge
        (
            3,
            "64 0a 5a 14 6e 0f 64 19",
            {
                "charge_otp": 60.0,
                "charge_otp_delay": 1.0,
                "charge_otp_release": 50.0,
                "charge_otp_release_delay": 2.0,
                "discharge_otp": 70.0,
                "discharge_otp_delay": 1.5,
                "discharge_otp_release": 60.0,
                "discharge_otp_release_delay": 2.5,
            },
        ),
        (
            4,
            "24 0a 2a 14 10 0f 16 19",
            {
                "charge_utp": -4.0,
                "charge_utp_delay": 1.0,
                "charge_utp_release": 2.0,
                "charge_utp_release_delay": 2.0,
                "discharge_utp": -24.0,
                "discharge_utp_delay": 1.5,
                "discharge_utp_release": -18.0,
                "discharge_utp_release_delay": 2.5,
            },
        ),
        # 0.1 V
        (
            5,
            "0232 0064 0228 00c8",
            {
                "pack_ovp": 56.2,
                "pack_ovp_delay": 1.0,
                "pack_ovp_release": 55.2,
                "pack_ovp_release_delay": 2.0,
            },
        ),
        (
            6,
            "01b9 0064 01c8 00c8",
            {
                "pack_uvp": 44.1,
                "pack_uvp_delay": 1.0,
                "pack_uvp_release": 45.6,
                "pack_uvp_release_delay": 2.0,
            },
        ),
        (
            7,
            "00c8 0064 0096 00c8",
            {
                "cell_delta": 0.2,
                "cell_delta_delay": 1.0,
                "cell_delta_release": 0.15,
                "cell_delta_release_delay": 2.0,
            },
        ),
        # plain K
        (
            8,
            "0014 0064 000f 00c8",
            {
                "temperature_delta": 20,
                "temperature_delta_delay": 1.0,
                "temperature_delta_release": 15,
                "temperature_delta_release_delay": 2.0,
            },
        ),
    ],
)
def test_extended_level(
    level: int, first: int, offset: int, data: str, expected: dict[str, Any]
) -> None:
    """3: the nine frames of each extended level, in this order."""
    named = {f"daly_level_{level}_{key}": value for key, value in expected.items()}
    assert said(first + offset, data) == named


@pytest.mark.parametrize(
    ("read_id", "write_id", "data", "expected"),
    [
        (0x50, 0x10, "00044aa2 00000c80", {"nominal_capacity": 281.25}),
        (0x51, 0x11, "03 10 11 12 04 05 06 00", {"daly_board_1_cells": 16}),
        (0x52, 0x12, "00001235 00004323", {"daly_charged_capacity": 0x1235}),
        (0x53, 0x13, "01 02 17 0b 19 0e10 0c", {"sleep_delay": 3600}),
        (0x59, 0x19, "0dac 0e10 0bb8 0a8c", {"cell_ovp": 3.6}),
        (0x5A, 0x1A, "0228 0232 01c8 01b9", {"pack_ovp": 56.2}),
        (0x5B, 0x1B, "7148 6d60 7918 7d00", {"charge_ocp": 200.0}),
        (0x5C, 0x1C, "5f 64 29 24 69 6e 15 10", {"charge_utp": -4.0}),
        (0x5D, 0x1D, "0384 03b6 00c8 0032", {"soc_low": 5.0}),
        (0x5E, 0x1E, "0064 00c8 0a 14 0000", {"temperature_delta": 20}),
        (0x5F, 0x1F, "0d48 0032 00000000", {"balance_delta": 0.05}),
        (0x60, 0x20, "02bc 00fa 00000000", {"short_circuit_current": 700}),
        # 61 is written with the state of charge behind the clock
        (0x61, 0x21, "17 0b 19 0c 0d 0e 0253", {"year": 23, "second": 14, "soc": 59.5}),
        # from 65 on the distance is another one
        (0x65, 0x22, "02 03 000000000000", {"daly_board_number": 2}),
        (0x66, 0x23, "2d 37 55 4b 5a a5 03e9", {"daly_heater_on": 5.0}),
        (0x68, 0x25, "07 000f 0000000000", {"balance_current": 1.5}),
        (0x69, 0x26, "04 05 000000000000", {"daly_inverter_brand": 4}),
        (0x6A, 0x27, "03 41424344454647", {"number": 3}),
        (0x70, 0x30, "0e42 0064 0dde 00c8", {"daly_level_1_cell_ovp": 3.65}),
        (0x78, 0x38, "0014 0064 000f 00c8", {"daly_level_1_temperature_delta": 20}),
        (0x79, 0x39, "0e42 0064 0dde 00c8", {"daly_level_2_cell_ovp": 3.65}),
        (0x81, 0x41, "0014 0064 000f 00c8", {"daly_level_2_temperature_delta": 20}),
        (0x82, 0x42, "0e42 0064 0dde 00c8", {"daly_level_3_cell_ovp": 3.65}),
        (0x8A, 0x4A, "0014 0064 000f 00c8", {"daly_level_3_temperature_delta": 20}),
    ],
)
def test_write(read_id: int, write_id: int, data: str, expected: dict[str, Any]) -> None:
    """3: the pairs of ids to read and to write."""
    (frame,) = DalyA5Framer().feed(answer(write_id, data))
    record = DalyA5Codec().decode(frame, sent=True)
    assert (record.kind, record.role) == ("write", "request")
    assert {key: record.values[key] for key in expected} == expected
    names = {"year": "daly_clock_year", "second": "daly_clock_second"}  # 61 has them prefixed
    answered = said(read_id, data)
    for key in expected.keys() - {"soc"}:
        assert answered[names.get(key, key)] == expected[key]


@pytest.mark.parametrize(("data_id", "kind"), [(0xD9, "discharge_switch"), (0xDA, "charge_switch")])
@pytest.mark.parametrize("on", [0, 1])
def test_switch(data_id: int, kind: str, on: int) -> None:
    """4: D9 is the discharge MOS, DA the charge MOS; b1-7 of the answer are residue."""
    record = explain(answer(data_id, f"0{on} aa bb cc dd ee ff 11"))
    assert (record.kind, record.role) == (kind, "ack")
    assert record.values == {"on": bool(on)}


@pytest.mark.parametrize(
    ("code", "chemistry"), [(0, "lfp"), (1, "nmc"), (2, "lto"), (3, "na-ion"), (4, None)]
)
def test_chemistry(code: int, chemistry: str | None) -> None:
    """3, parameter 53 b0."""
    record = explain(answer(0x53, f"0{code} 02 17 0b 19 0e10 0c"))
    assert DalyA5Codec().identity([record]).chemistry == chemistry
