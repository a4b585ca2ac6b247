"""JK Modbus: registers, byte order and exceptions, typed by hand from the documents.

No expectation here is taken from the tables of the code. The sections named are those of the
collected protocol facts (11 Modbus, 4.1 live values, 5.1 alarms, 3 settings, 15 bad data).
"""

from __future__ import annotations

from typing import Any

import pytest

from bmslink.errors import FrameError
from bmslink.model import Reading
from bmslink.protocols.base import Options, Record
from bmslink.protocols.jk.modbus.codec import JKModbusCodec
from bmslink.protocols.jk.modbus.driver import JKModbus
from facts import changed, conditions, fields, put, with_crc16, words

# 11: register = 1200 + native offset - 6; numbers big-endian, byte fields in their order
LIVE = put(
    bytes(294),
    (0x00, words(3301, 3302, 3303, 3304)),
    (0x40, bytes.fromhex("0000000f")),  # native 70: four cells
    (0x44, words(9999, 9998) + b"\x02\x01"),  # its own mean, delta, extremes: not used
    (0x4A, words(101, 102, 103, 104)),  # mΩ
    (0x8A, words(351)),  # native 144: MOS
    (0x90, bytes.fromhex("00003394")),  # native 150: 13.204 V
    (0x94, bytes.fromhex("00000001")),  # power, not used
    (0x98, bytes.fromhex("fffffb2d")),  # native 158: -1.235 A
    (0x9C, words(221, 0x10000 - 55)),  # T1 22.1, T2 -5.5
    (0xA4, words(0x10000 - 310)),  # balance current
    (0xA6, bytes([2, 87])),  # action, SOC
    (0xA8, bytes.fromhex("0000d431")),  # 54.321 Ah
    (0xAC, bytes.fromhex("00018894")),  # 100.5 Ah
    (0xB0, bytes.fromhex("00010001")),  # cycles
    (0xB4, bytes.fromhex("00010002")),  # 65.538 Ah
    (0xB8, bytes([99, 1])),  # SOH, precharge
    (0xBC, bytes.fromhex("00010003")),  # run time
    (0xC0, bytes([1, 0])),  # FETs
    (0xD0, bytes([0xFF, 1])),  # sensor mask (constant), heating
    (0xF8, words(333, 0x10000 - 60, 0x10000 - 2000)),  # T3 unused, T4, T5 absent
    (0x10D, b"\x01"),  # native 275: Li-ion
    # native 287: flags 37 heating, 60 T4, 61 T5, 67 chemistry
    (0x119, bytes.fromhex("00000000200000300800 0000")),
)
SETTINGS = put(
    bytes(20),
    (0x00, bytes.fromhex("00000004")),  # 106C: cells
    (0x04, bytes.fromhex("00000001")),  # 1070: charge
    (0x08, bytes.fromhex("00000000")),  # 1074: discharge
    (0x0C, bytes.fromhex("00000001")),  # 1078: balancer
    (0x10, bytes.fromhex("00019a28")),  # 107C: 105 Ah
)


def exchange(codec: JKModbusCodec, register: int, data: bytes, unit: int = 1) -> Record:
    framer = JKModbus.make_framer()
    asked = with_crc16(bytes([unit, 3]) + words(register, len(data) // 2))
    (question,) = framer.feed(asked)
    framer.expect(question)
    (found,) = framer.feed(with_crc16(bytes([unit, 3, len(data)]) + data))
    codec.decode(question, sent=True)
    return codec.decode(found)


def poll(edits: dict[int, bytes] | None = None, **options: Any) -> Reading:
    """Live bytes by offset; a piece ends where a field does."""
    codec = JKModbus.make_codec(Options(**options))
    data = put(LIVE, *(edits or {}).items())
    exchange(codec, 0x106C, SETTINGS)
    pieces = ((0, 64), (64, 126), (126, 186), (186, 244), (244, 294))
    return codec.reading([exchange(codec, 0x1200 + a, data[a:b]) for a, b in pieces])


def test_a_reading() -> None:
    assert fields(poll()) == fields(
        Reading(
            conditions_known=True,
            protocol="jk-modbus",
            voltage=13.204,
            current=-1.235,
            soc=87.0,
            soh=99.0,
            remaining_capacity=54.321,
            full_capacity=100.5,
            nominal_capacity=105.0,
            cycles=65537,
            cycle_capacity=65.538,
            cell_voltages=(3.301, 3.302, 3.303, 3.304),
            cell_resistances=(0.101, 0.102, 0.103, 0.104),
            temperatures={
                "cell_1": 22.1,
                "cell_2": -5.5,
                "cell_4": -6.0,
                "cell_5": None,
                "mosfet": 35.1,
            },
            balancing_active=True,
            balance_current=-0.31,
            charge_switch=True,
            discharge_switch=False,
            balance_switch=True,
            charging_allowed=True,
            discharging_allowed=False,
            heater=True,
            uptime=65539.0,
            raw={
                "address": 1,
                "current_sign": "reported",
                "balance_action": 2,
                "precharge_state": 1,
            },
        )
    )


@pytest.mark.parametrize(
    ("offset", "data", "expected"),
    [
        (0x06, "0000", {"cell_voltages.4": 0.0, "faults": ("voltage_sense",)}),
        (0x08, "0ce4", {}),  # cell 5 is not connected
        (0x8A, "f830", {"temperatures.mosfet": None}),  # -200 °C: no sensor
        (0x8C, "00000005", {"raw.wire_resistance_cells.1": 1, "raw.wire_resistance_cells.2": 3}),
        (0x98, "000004d3", {"current": 1.235}),
        (0x9C, "f830", {"temperatures.cell_1": None}),
        (0xA6, "00", {"balancing_active": False, "raw.balance_action": 0}),
        (0xA7, "64", {"soc": 100.0}),
        (0xC0, "00", {"charging_allowed": False}),
        (0xC1, "01", {"discharging_allowed": True}),
        (0xD1, "00", {"heater": False}),
        (0xF8, "0001", {}),  # flag 59 is not set: a copy of the MOS value
        (0xFA, "000a", {"temperatures.cell_4": 1.0}),
        (0xFC, "0014", {"temperatures.cell_5": 2.0}),
    ],
)
def test_one_value(offset: int, data: str, expected: dict[str, Any]) -> None:
    assert changed(fields(poll()), fields(poll({offset: bytes.fromhex(data)}))) == expected


@pytest.mark.parametrize(
    ("bit", "level", "condition"),
    [
        (0, "alarms", "wire_resistance"),
        (1, "protections", "mosfet_overtemperature"),
        (2, "faults", "cell_count_mismatch"),
        (3, "faults", "current_sense"),
        (5, "protections", "pack_overvoltage"),
        (6, "protections", "charge_overcurrent"),
        (7, "protections", "short_circuit"),
        (8, "protections", "charge_overtemperature"),
        (9, "protections", "charge_undertemperature"),
        (10, "faults", "communication"),
        (11, "protections", "cell_undervoltage"),
        (12, "protections", "pack_undervoltage"),
        (13, "protections", "discharge_overcurrent"),
        (14, "protections", "short_circuit"),
        (15, "protections", "discharge_overtemperature"),
        (16, "faults", "charge_mosfet"),
        (17, "faults", "discharge_mosfet"),
        (19, "alarms", "default_password"),
        (27, "protections", "discharge_undertemperature"),
        (28, "alarms", "software_lock"),
    ],
)
def test_an_alarm_bit(bit: int, level: str, condition: str) -> None:
    """5.1 at native 166, the high word first."""
    assert conditions(poll({0xA0: (1 << bit).to_bytes(4, "big")})) == [(level, condition)]


def test_the_sign_that_the_owner_tells() -> None:
    assert poll(current_sign="inverted").current == 1.235
    assert poll(current_sign="inverted").raw["current_sign"] == "configured"
    codec = JKModbus.make_codec(Options(current_sign="inverted"))
    cells = codec.reading([exchange(codec, 0x1200, LIVE[:64])])
    assert "current_sign" not in cells.raw  # nothing is said of a current that was not read


# 11 and 3: register, bytes, key, value
@pytest.mark.parametrize(
    ("register", "data", "key", "value"),
    [
        (0x1000, "00000d48", "jk_smart_sleep_voltage", 3.4),
        (0x1004, "00000af0", "cell_uvp", 2.8),
        (0x1008, "00000b54", "cell_uvp_release", 2.9),
        (0x100C, "00000e42", "cell_ovp", 3.65),
        (0x1010, "00000dde", "cell_ovp_release", 3.55),
        (0x1014, "00000005", "balance_delta", 0.005),
        (0x1018, "00000da2", "full_charge_voltage", 3.49),
        (0x101C, "00000b55", "empty_voltage", 2.901),
        (0x1020, "00000d7a", "jk_request_charge_voltage", 3.45),
        (0x1024, "00000d16", "float_voltage", 3.35),
        (0x1028, "00000a28", "jk_power_off_voltage", 2.6),
        (0x102C, "000186a0", "charge_ocp", 100.0),
        (0x1030, "00000003", "charge_ocp_delay", 3),
        (0x1034, "0000003c", "charge_ocp_release", 60),
        (0x1038, "00030d40", "discharge_ocp", 200.0),
        (0x1044, "00000005", "short_circuit_release", 5),
        (0x1048, "000007d0", "balance_current", 2.0),
        (0x104C, "000002bc", "charge_otp", 70.0),
        (0x105C, "ffffff9c", "charge_utp", -10.0),
        (0x1060, "ffffffce", "charge_utp_release", -5.0),
        (0x1064, "000003e8", "mosfet_otp", 100.0),
        (0x106C, "00000010", "cell_count", 16),
        (0x107C, "00044470", "nominal_capacity", 279.664),
        (0x1080, "000005dc", "short_circuit_delay", 0.0015),
        (0x1084, "00000ce4", "balance_start_voltage", 3.3),
        (0x1108, "00000003", "jk_device_address", 3),
        (0x110C, "00000007", "jk_precharge_time", 7),
        (0x1114, "0002", "jk_temperature_sensors_disabled", True),
        (0x1114, "0100", "jk_timed_data", True),
    ],
)
def test_a_setting(register: int, data: str, key: str, value: float) -> None:
    values = exchange(JKModbusCodec(), register, bytes.fromhex(data)).values
    assert values[key] == value


def test_heating_thresholds_only_on_the_map_that_has_them() -> None:
    """11: 1116 is an alarm in V1.0; the flags behind it (37 and 38) tell."""
    block = bytes.fromhex("0000f60a17")  # switches, start -10 °C, stop 10 °C, delay
    new, old = (1 << 0x37 | 1 << 0x38 | 1), 1 << 0x27
    codec = JKModbusCodec()
    for flags, variant, start in (
        (new, "v1.1", -10),
        (1 << 0x37, "v1.0", None),
        (1 << 0x38, "v1.0", None),
        (old, "v1.0", None),
        (0, None, None),
    ):
        data = block + flags.to_bytes(9, "little")
        found = exchange(codec, 0x1114, data).values
        assert (found["variant"], found["jk_heating_start"]) == (variant, start)
    with pytest.raises(FrameError, match="known was"):
        data = block + old.to_bytes(9, "little")
        exchange(JKModbusCodec("v1.1"), 0x1114, data)


def test_who_it_is() -> None:
    """11: texts keep their order, serial number at 1450; what follows its NUL stays hidden."""
    info = put(
        bytes(56),
        (0, b"JK_PB2A16S20P"),
        (0x10, b"15A"),
        (0x18, b"15.41"),
    )
    codec = JKModbusCodec()
    tail = b"240101\0\0" + b"40712345678\0PASS"
    found = codec.identity([exchange(codec, 0x1400, info), exchange(codec, 0x1448, tail)])
    assert (found.model, found.hardware, found.firmware) == ("JK_PB2A16S20P", "15A", "15.41")
    assert found.serial_number == "40712345678"


@pytest.mark.parametrize(
    ("code", "meaning"), [(1, "function"), (2, "register"), (3, "count"), (4, "CRC")]
)
def test_an_exception(code: int, meaning: str) -> None:
    (frame,) = JKModbus.make_framer().feed(with_crc16(bytes([1, 0x83, code])))
    record = JKModbusCodec().decode(frame)
    assert (record.role, record.values["status"]) == ("refusal", code)
    assert meaning in record.values["meaning"]


def test_requests_to_the_byte() -> None:
    """11: `01 03 12 00 00 0A C0 B5` is captured; the next piece begins 2C further."""
    (frame,) = JKModbus.make_framer().feed(bytes.fromhex("01031200000ac0b5"))
    assert (frame.register, frame.count) == (0x1200, 10)
    assert with_crc16(bytes.fromhex("01031200000a")).hex() == "01031200000ac0b5"
    codec = JKModbusCodec()
    second = exchange(codec, 0x1204, words(3303, 3304))
    both = [exchange(codec, 0x1200, words(3301, 3302)), second]
    mask = exchange(codec, 0x1208, LIVE[8:70])
    assert codec.reading([*both, mask]).cell_voltages == (3.301, 3.302, 3.303, 3.304)
