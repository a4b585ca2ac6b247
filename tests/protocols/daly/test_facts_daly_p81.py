"""Daly 81/51: registers, scales and fault bits, typed by hand from the documents.

No expectation here is taken from the tables of the code. The sections named are those of the
collected protocol facts (7.5 frames, 7.6 live registers, 7.7 faults, 7.8 settings, 11 bad data).
"""

from __future__ import annotations

from typing import Any

import pytest

from bmslink.model import Reading
from bmslink.protocols.base import Options, Record
from bmslink.protocols.daly.registers.codec import DalyRegisterCodec
from bmslink.protocols.daly.registers.p81 import DalyP81
from facts import changed, conditions, fields, with_crc16, words

LIVE = [0] * 0x7F
LIVE[0x00:0x08] = [3301, 3302, 3303, 3304, 3305, 3306, 3307, 3308]
LIVE[0x30:0x33] = [65, 35, 90]  # two probes, and one beyond the count
LIVE[0x38:0x3E] = [264, 29877, 876, 200, 8, 2]
LIVE[0x3E:0x49] = [3308, 8, 3301, 1, 7, 65, 1, 35, 2, 30, 2]
LIVE[0x4B:0x4F] = [1234, 77, 0, 0]
LIVE[0x52:0x5F] = [1, 0, 1, 0, 1, 3304, 325, 650, 75, 76, 0, 0, 0xFFFF]
LIVE[0x60:0x64] = [30000, 0x1A06, 0x0216, 0x0F04]
UPTIME = [0] * 5 + [0x0001, 0x0002, 0x0003, 0x0004, 0]  # A4 to AD


def explain(
    register: int, said: bytes, codec: DalyRegisterCodec | None = None, board: int = 1
) -> Record:
    """The answer to a question for the registers from there on."""
    codec = codec or DalyP81.make_codec(Options())
    framer = DalyP81.make_framer()
    asked = with_crc16(bytes([0x80 + board, 3]) + words(register, len(said) // 2))
    answer = with_crc16(bytes([0x50 + board, 3, len(said)]) + said)
    question, found = framer.feed(asked + answer)
    assert codec.decode(question, sent=True).role == "request"
    return codec.decode(found)


def poll(edits: dict[int, int] | None = None, **options: Any) -> Reading:
    codec = DalyP81.make_codec(Options(**options))
    registers = dict(enumerate(LIVE)) | dict(enumerate(UPTIME, 0xA4)) | (edits or {})
    return codec.reading(
        [
            explain(first, words(*(registers[n] for n in range(first, end))), codec)
            for first, end in ((0x00, 0x40), (0x40, 0x7F), (0xA4, 0xAE))
        ]
    )


def test_a_reading() -> None:
    """7.6, every register once."""
    assert fields(poll()) == fields(
        Reading(
            conditions_known=True,
            protocol="daly-p81",
            voltage=26.4,
            current=-12.3,
            soc=87.6,
            remaining_capacity=123.4,
            cycles=77,
            cell_voltages=(3.301, 3.302, 3.303, 3.304, 3.305, 3.306, 3.307, 3.308),
            temperatures={
                "sensor_1": 25.0,
                "sensor_2": -5.0,
                "mosfet": 35.0,
                "board": 36.0,
                "heater": None,
            },
            balancing_active=False,
            balancing_cells=(),
            charging_allowed=True,
            discharging_allowed=False,
            heater=False,
            uptime=196612.0,
            raw={
                "current_sign": "reported",
                "state": "discharging",
                "power": 325,
                "registers": {"60": "7530"},
                "heartbeat": 200,
                "balance_state": 0,
                "precharge_mosfet": 1,
                "fan": 1,
                "energy": 650,
                "clock": "2026-06-02T22:15:04",
                "lifetime_uptime": 65538,
            },
        )
    )


@pytest.mark.parametrize(
    ("register", "word", "expected"),
    [
        (0x2F, 3300, {}),  # cell 48, beyond the count
        (0x07, 0, {"cell_voltages.8": 0.0, "faults": ("voltage_sense",)}),
        (0x30, 0, {"temperatures.sensor_1": None}),
        (0x31, 255, {"temperatures.sensor_2": None}),
        (0x38, 0, {"voltage": None, "raw.implausible.voltage": 0}),  # below 1 V
        (0x39, 30123, {"current": 12.3, "raw.current_sign": "disputed"}),
        (0x3A, 1001, {"soc": None, "raw.implausible.soc": 1001}),
        (0x3B, 99, {"raw.heartbeat": 99}),  # not the state of health
        (0x3C, 2, {f"cell_voltages.{n}": "gone" for n in range(3, 9)} | {"voltage": None}),
        (0x3D, 3, {"temperatures.sensor_3": 50.0}),
        (0x40, 1, {}),
        (0x47, 99, {}),
        (0x48, 1, {"raw.state": "charging", "raw.current_sign": "disputed"}),
        (0x4B, 1, {"remaining_capacity": 0.1}),
        (0x4D, 7, {"balancing_active": None, "balancing_cells": None, "raw.balance_state": 7}),
        (0x4E, 30512, {"balance_current": 0.512, "balancing_active": True}),
        (0x4E, 29488, {"balance_current": -0.512, "balancing_active": True}),
        (0x52, 0, {"charging_allowed": False}),
        (0x53, 1, {"discharging_allowed": True}),
        (0x54, 0, {"raw.precharge_mosfet": 0}),
        (0x55, 1, {"heater": True}),
        (0x56, 0, {"raw.fan": 0}),
        (0x58, 1, {"raw.power": 1}),
        (0x59, 1, {"raw.energy": 1}),
        (0x5A, 0, {"temperatures.mosfet": None}),
        (0x5B, 41, {"temperatures.board": 1.0}),
        (0x5C, 42, {"temperatures.heater": 2.0}),
        (0x5E, 12, {"raw.mileage": 12}),
        (0x64, 0x0B0A, {"raw.registers.64": "0b0a"}),
        (0x6A, 30001, {"raw.registers.6A": "7531"}),
        (0xA9, 0, {"raw.lifetime_uptime": 2}),
        (0xAB, 0, {"uptime": 4.0}),
    ],
)
def test_one_register(register: int, word: int, expected: dict[str, Any]) -> None:
    """7.6 and 11: what one register changes, and that it changes nothing else."""
    found = changed(fields(poll()), fields(poll({register: word})))
    if "balancing_cells" not in expected:
        found.pop("balancing_cells", None)
    if register == 0x3C:
        assert found.pop("raw.voltage") == 26.4
    assert found == expected


def test_the_extremes_as_the_board_says_them() -> None:
    """7.6: they are computed anew for a reading, and shown by `decode`."""
    values = explain(0x3E, words(*LIVE[0x3E:0x58])).values
    assert (values["max_cell_voltage"], values["max_cell"]) == (3.308, 8)
    assert (values["min_cell_voltage"], values["min_cell"]) == (3.301, 1)
    assert (values["max_temperature"], values["max_sensor"]) == (25.0, 1)
    assert (values["min_temperature"], values["min_sensor"]) == (-5.0, 2)
    assert (values["voltage_difference"], values["temperature_difference"]) == (0.007, 30)
    assert values["average_voltage"] == 3.304


def test_balance_and_old_alarm_words_stay_as_they_are() -> None:
    """7.6: their byte order is not sure, so no cell and no condition is made of them."""
    reading = poll({0x4F: 0x0100, 0x68: 0x0080})
    assert reading.raw["balance_words"] == [0x0100, 0, 0]
    assert reading.raw["old_alarm_words"] == [0, 0, 0x80, 0]
    assert (reading.balancing_active, reading.balancing_cells) == (True, None)
    assert conditions(reading) == []


# 7.7: register, lowest bit of the level, condition; the low byte of each register comes first
LEVELS = [
    (0x6D, 0, "cell_overvoltage"),
    (0x6D, 3, "cell_undervoltage"),
    (0x6D, 8, "cell_delta"),
    (0x6D, 11, "charge_overtemperature"),
    (0x6E, 0, "charge_undertemperature"),
    (0x6E, 3, "discharge_overtemperature"),
    (0x6E, 8, "discharge_undertemperature"),
    (0x6E, 11, "temperature_delta"),
    (0x6F, 0, "pack_overvoltage"),
    (0x6F, 3, "pack_undervoltage"),
    (0x6F, 8, "charge_overcurrent"),
    (0x6F, 11, "discharge_overcurrent"),
    (0x70, 8, "mosfet_overtemperature"),
    (0x70, 11, "other"),
]


@pytest.mark.parametrize(("register", "low", "condition"), LEVELS)
def test_a_level(register: int, low: int, condition: str) -> None:
    """1 warns, 2 and 3 trip."""
    for level, severity in ((1, "alarms"), (2, "protections"), (3, "protections")):
        assert conditions(poll({register: level << low})) == [(severity, condition)]


def test_low_charge_and_low_health_only_warn() -> None:
    for level in (1, 2, 3):
        assert conditions(poll({0x70: level})) == [("alarms", "soc_low")]
        assert conditions(poll({0x70: level << 3})) == [("alarms", "soh_low")]


@pytest.mark.parametrize(
    ("register", "bit", "level", "condition"),
    [
        (0x6D, 7, "faults", "communication"),
        (0x6D, 15, "faults", "communication"),
        (0x6E, 6, "faults", "mosfet_overtemperature"),
        (0x6E, 7, "faults", "temperature_sense"),
        (0x6E, 14, "faults", "mosfet_overtemperature"),
        (0x6E, 15, "faults", "temperature_sense"),
        (0x6F, 6, "protections", "short_circuit"),
        (0x6F, 14, "faults", "other"),
        (0x6F, 15, "faults", "other"),
        (0x70, 7, "faults", "parallel_communication"),
        (0x72, 8, "faults", "afe"),
        (0x72, 9, "faults", "afe"),
        (0x72, 10, "faults", "afe"),
        (0x72, 11, "faults", "voltage_sense"),
        (0x72, 12, "faults", "voltage_sense"),
        (0x72, 13, "faults", "voltage_sense"),
        (0x72, 14, "faults", "current_sense"),
        (0x72, 15, "faults", "temperature_sense"),
        (0x73, 0, "faults", "temperature_sense"),
        (0x73, 1, "faults", "eeprom"),
        (0x73, 2, "faults", "eeprom"),
        (0x73, 3, "faults", "clock"),
        (0x73, 4, "faults", "charge_mosfet"),
        (0x73, 5, "faults", "discharge_mosfet"),
        (0x73, 6, "faults", "precharge"),
        (0x73, 7, "faults", "precharge"),
        (0x73, 8, "alarms", "software_lock"),
        (0x73, 9, "alarms", "software_lock"),
        (0x73, 10, "alarms", "software_lock"),
        (0x73, 11, "alarms", "software_lock"),
        (0x73, 15, "faults", "heater"),
    ],
)
def test_a_flag(register: int, bit: int, level: str, condition: str) -> None:
    reading = poll({register: 1 << bit})
    assert conditions(reading) == [(level, condition)]
    assert "fault_bits_unknown" not in reading.raw


@pytest.mark.parametrize(
    ("register", "bit", "state"),
    [
        (0x6D, 6, "smart_charger_connected"),
        (0x6D, 14, "smart_load_connected"),
        (0x6F, 7, "upgrading"),
        (0x70, 6, "parallel_communication"),
        (0x73, 12, "fan_on"),
        (0x73, 13, "heater_on"),
        (0x73, 14, "current_limiter_on"),
    ],
)
def test_a_state(register: int, bit: int, state: str) -> None:
    reading = poll({register: 1 << bit})
    assert (conditions(reading), reading.raw["states"]) == ([], [state])


@pytest.mark.parametrize("register", [0x71, 0x72])
def test_reserved_bits(register: int) -> None:
    reading = poll({register: 0x0001})
    assert conditions(reading) == []
    assert reading.raw["fault_bits_unknown"] == [f"{2 * (register - 0x6D)}.0"]


# 7.8: register, words, key, value; where the capture has a value it is used
@pytest.mark.parametrize(
    ("register", "text", "key", "value"),
    [
        (0x100, "0005", "daly_board_number", 5),
        (0x101, "0010", "cell_count", 16),
        (0x102, "0001", "daly_boards", 1),
        (0x103, "0010", "daly_board_1_cells", 16),
        (0x105, "0004", "daly_board_3_cells", 4),
        (0x106, "0004", "daly_board_1_sensors", 4),
        (0x108, "0002", "daly_board_3_sensors", 2),
        (0x109, "0004ca90", "nominal_capacity", 314.0),
        (0x10B, "0004ca91", "daly_second_capacity", 314.001),
        (0x10D, "0020d39c", "daly_charged_capacity", 2151.324),
        (0x10F, "0020d39d", "daly_discharged_capacity", 2151.325),
        (0x111, "0028", "reserved_111", "0028"),
        (0x114, "0c80", "daly_nominal_cell_voltage", 3.2),
        (0x115, "0168", "sleep_delay", 3600),
        (0x115, "ffff", "sleep_delay", None),
        (0x116, "0341", "soc", 83.3),
        (0x117, "03e8", "balance_current", 1.0),
        (0x119, "0001", "daly_balance_enable", 1),
        (0x11A, "0d48", "balance_start_voltage", 3.4),
        (0x11B, "0014", "balance_delta", 0.02),
        (0x121, "0001", "charge_switch", 1),
        (0x122, "0001", "discharge_switch", 1),
        (0x123, "1a0602160f04", "daly_clock", "2026-06-02T22:15:04"),
        (0x129, "1a031a00", "daly_production_date", "2026-03-26"),
        (0x12E, "0001", "reserved_12E", "0001"),
        (0x130, "0d7a", "cell_ovp_warning", 3.45),
        (0x131, "0dde", "cell_ovp", 3.55),
        (0x132, "0d48", "cell_ovp_release", 3.4),
        (0x133, "1388", "cell_ovp_delay", 5.0),
        (0x134, "0af0", "cell_uvp_warning", 2.8),
        (0x135, "0a8c", "cell_uvp", 2.7),
        (0x136, "0b54", "cell_uvp_release", 2.9),
        (0x137, "1388", "cell_uvp_delay", 5.0),
        (0x138, "0228", "pack_ovp_warning", 55.2),
        (0x139, "0232", "pack_ovp", 56.2),
        (0x13A, "021e", "pack_ovp_release", 54.2),
        (0x13C, "01c8", "pack_uvp_warning", 45.6),
        (0x13D, "01b8", "pack_uvp", 44.0),
        (0x13E, "01c2", "pack_uvp_release", 45.0),
        (0x140, "6ef0", "charge_ocp_warning", 160.0),
        (0x141, "6d60", "charge_ocp", 200.0),
        (0x142, "03e8", "charge_ocp_delay", 1.0),
        (0x143, "6978", "daly_level_3_charge_ocp", 300.0),
        (0x144, "03e9", "daly_level_3_charge_ocp_delay", 1.001),
        (0x145, "7b70", "discharge_ocp_warning", 160.0),
        (0x146, "7d00", "discharge_ocp", 200.0),
        (0x147, "03e8", "discharge_ocp_delay", 1.0),
        (0x148, "80e8", "daly_level_3_discharge_ocp", 300.0),
        (0x14A, "005f", "charge_otp_warning", 55.0),
        (0x14B, "0064", "charge_otp", 60.0),
        (0x14C, "005a", "charge_otp_release", 50.0),
        (0x14D, "03ea", "charge_otp_delay", 1.002),
        (0x14E, "0028", "charge_utp_warning", 0.0),
        (0x14F, "0023", "charge_utp", -5.0),
        (0x153, "0065", "discharge_otp", 61.0),
        (0x157, "0014", "discharge_utp", -20.0),
        (0x15B, "01f4", "cell_delta", 0.5),
        (0x15F, "000f", "temperature_delta", 15),
        (0x163, "0032", "soc_low", 5.0),
        (0x166, "0087", "mosfet_otp_warning", 95.0),
        (0x167, "008c", "mosfet_otp", 100.0),
        (0x168, "0069", "mosfet_otp_release", 65.0),
        (0x16A, "0069", "reserved_16A", "0069"),
        (0x16E, "07d0", "short_circuit_current", 2000),
        (0x16F, "012c", "reserved_16F", "012c"),
        (0x1C3, "0ed8", "reserved_1C3", "0ed8"),
        (0x1FB, "0dde", "daly_balance_stop_voltage", 3.55),
        (0x227, "0af0", "empty_voltage", 2.8),
        (0x228, "1388", "daly_empty_delay", 5.0),
        (0x229, "0dac", "full_charge_voltage", 3.5),
        (0x22A, "1388", "daly_full_charge_delay", 5.0),
    ],
)
def test_a_setting(register: int, text: str, key: str, value: float | str | None) -> None:
    assert explain(register, bytes.fromhex(text)).values.get(key, "missing") == value


def test_who_it_is() -> None:
    """7.8: four fields of 14 characters; the source of the capture calls the third hardware."""
    codec = DalyP81.make_codec(Options())
    fields_of_14 = (b"41_260321_0323", b"ESS-DL-BMS", b"ESS41_0323", b"210XX000000001")
    record = explain(0x178, b"".join(text.ljust(14, b"\0") for text in fields_of_14), codec)
    found = codec.identity([record])
    assert (found.firmware, found.model) == ("41_260321_0323", "ESS-DL-BMS")
    assert (found.serial_number, found.hardware) == ("210XX000000001", "ESS41_0323")


def test_who_a_board_of_the_hkms_family_is() -> None:
    """CAP daly-p81-hkms-identity: the hardware version stands where others have their model, and
    the family where others have a further version."""
    codec = DalyP81.make_codec(Options())
    fields_of_14 = (b"12_260120_K00T", b"H2.1_103E_30XF", b"DL_HKMS_3.2.E", b"221LD011111111")
    record = explain(0x178, b"".join(text.ljust(14, b"\0") for text in fields_of_14), codec)
    found = codec.identity([record])
    assert (found.model, found.hardware) == ("DL_HKMS_3.2.E", "H2.1_103E_30XF")
    assert found.firmware == "12_260120_K00T"


def test_units_and_the_acknowledgement_without_a_count() -> None:
    """7.5: 80 + n is asked, 50 + n answers, and `51 10 0F05 AAAA 2193` is the captured answer."""
    ask = bytes.fromhex("8110 0f05 0002 0000 0000")
    assert with_crc16(bytes.fromhex("51100f05aaaa")).hex() == "51100f05aaaa2193"
    framer, codec = DalyP81.make_framer(), DalyP81.make_codec(Options())
    asked, answered = framer.feed(with_crc16(ask) + bytes.fromhex("51100f05aaaa2193"))
    assert codec.decode(asked, sent=True).values["register"] == 0x0F05
    assert codec.decode(answered).role == "ack"
    for board in (1, 24):
        assert explain(0x3A, b"\x03\x6c", board=board).values["soc"] == 87.6
    assert DalyP81.make_framer().feed(with_crc16(bytes.fromhex("0103020364"))) == []
