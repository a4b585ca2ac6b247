"""Daly D2: registers, scales and alarm bits, typed by hand from the documents.

No expectation here is taken from the tables of the code. The sections named are those of the
collected protocol facts (7.1 frames, 7.2 live registers, 7.3 settings, 7.4 alarms, 11 bad data).
"""

from __future__ import annotations

from typing import Any

import pytest

from bmslink.model import Reading
from bmslink.protocols.base import Options, Record
from bmslink.protocols.daly.registers.codec import DalyRegisterCodec
from bmslink.protocols.daly.registers.d2 import DalyD2
from facts import changed, conditions, fields, with_crc16, words

# 7.2, registers 00 to 3D: eight cells, two probes, charging
STATUS = [0] * 0x3E
STATUS[0x00:0x08] = [3301, 3302, 3303, 3304, 3305, 3306, 3307, 3308]
STATUS[0x20:0x28] = [65, 35, 40, 40, 40, 40, 40, 40]  # 25 and -5 °C; then 0 °C for absent ones
STATUS[0x28:0x2B] = [264, 30123, 876]
STATUS[0x2B:0x2F] = [3308, 3301, 65, 35]
STATUS[0x2F:0x3A] = [1, 1234, 8, 2, 77, 1, 1, 0, 3304, 7, 325]
# 3E to 46: an unsettled pair, no balance current, one cell, 35 °C, no board probe
MORE = [0, 0, 30000, 1, 75, 0xFFFF, 0, 0, 0]


def explain(asked: str, said: bytes, codec: DalyRegisterCodec | None = None) -> Record:
    """A question as bytes, and the data of its answer."""
    codec = codec or DalyD2.make_codec(Options())
    framer = DalyD2.make_framer()
    answer = with_crc16(b"\xd2\x03" + bytes([len(said)]) + said)
    question, found = framer.feed(bytes.fromhex(asked) + answer)
    assert codec.decode(question, sent=True).role == "request"
    return codec.decode(found)


def poll(edits: dict[int, int] | None = None, **options: Any) -> Reading:
    codec = DalyD2.make_codec(Options(**options))
    registers = dict(enumerate([*STATUS, *MORE])) | (edits or {})
    first = words(*(registers[n] for n in range(0x3E)))
    more = words(*(registers[n] for n in range(0x3E, 0x47)))
    return codec.reading(
        [
            explain("d2030000003ed7b9", first, codec),
            explain("d203003e0009f7a3", more, codec),
        ]
    )


def test_a_reading() -> None:
    """7.2, every register once."""
    assert fields(poll()) == fields(
        Reading(
            conditions_known=True,
            protocol="daly-d2",
            voltage=26.4,
            current=12.3,
            soc=87.6,
            remaining_capacity=123.4,
            cycles=77,
            cell_voltages=(3.301, 3.302, 3.303, 3.304, 3.305, 3.306, 3.307, 3.308),
            temperatures={"sensor_1": 25.0, "sensor_2": -5.0, "mosfet": 35.0, "board": None},
            balancing_active=True,
            balance_current=0.0,
            charging_allowed=True,
            discharging_allowed=False,
            raw={
                "current_sign": "reported",
                "state": "charging",
                "power": 325,
                "balanced_cell_count": 1,
            },
        )
    )


@pytest.mark.parametrize(
    ("register", "word", "expected"),
    [
        (0x00, 0, {"cell_voltages.1": 0.0, "faults": ("voltage_sense",)}),  # inside the count
        (0x07, 3000, {"cell_voltages.8": 3.0}),
        (0x07, 5001, {"cell_voltages.8": None, "raw.implausible.cell_voltages_8": 5001}),
        (0x08, 3300, {}),  # beyond the count
        (0x20, 0, {"temperatures.sensor_1": None}),
        (0x20, 0xFF, {"temperatures.sensor_1": None}),
        (0x21, 0xFFFF, {"temperatures.sensor_2": None}),
        (0x22, 60, {}),  # beyond the count in 32
        (0x28, 255, {"voltage": 25.5}),
        (0x28, 9, {"voltage": None, "raw.implausible.voltage": 9}),
        (0x29, 30000, {"current": 0.0, "raw.current_sign": "assumed"}),
        (0x29, 29969, {"current": -3.1, "raw.current_sign": "disputed"}),
        (0x29, 0, {"current": None, "raw.current_sign": "gone", "raw.implausible.current": 0}),
        (0x2A, 1000, {"soc": 100.0}),
        (0x2A, 1001, {"soc": None, "raw.implausible.soc": 1001}),
        (0x2B, 4000, {}),  # the board's own extremes are computed anew
        (0x2E, 50, {}),
        (0x2F, 2, {"raw.state": "discharging", "raw.current_sign": "disputed"}),
        (0x2F, 0, {"raw.state": "idle", "raw.current_sign": "assumed"}),
        (0x2F, 0x14, {"raw.state": 20, "raw.current_sign": "assumed"}),
        (0x30, 0xFFFE, {"remaining_capacity": 6553.4}),
        (0x33, 0xFFFE, {"cycles": 65534}),
        (0x34, 0, {"balancing_active": False}),
        (0x35, 0, {"charging_allowed": False}),
        (0x36, 1, {"discharging_allowed": True}),
        (0x36, 2, {"discharging_allowed": None, "raw.implausible.discharge_mosfet": 2}),
        (0x39, 1, {"raw.power": 1}),
        (0x3E, 3, {"raw.balance_words.1": 3, "raw.balance_words.2": 0}),
        (0x3F, 3, {"raw.balance_words.1": 0, "raw.balance_words.2": 3}),
        (0x40, 30500, {"balance_current": None, "raw.balance_current_word": 30500}),
        (0x41, 4, {"raw.balanced_cell_count": 4}),
        (0x42, 0, {"temperatures.mosfet": None}),
        (0x43, 41, {"temperatures.board": 1.0}),
        (0x44, 0x1234, {"raw.registers.44": "1234"}),
    ],
)
def test_one_register(register: int, word: int, expected: dict[str, Any]) -> None:
    """7.2 and 11: what one register changes, and that it changes nothing else."""
    found = changed(fields(poll()), fields(poll({register: word})))
    found.pop("balancing_cells", None)
    assert found == expected


def test_the_extremes_as_the_board_says_them() -> None:
    """7.2: they are computed anew for a reading, and shown by `decode`."""
    values = explain("d2030000003ed7b9", words(*STATUS)).values
    assert (values["max_cell_voltage"], values["min_cell_voltage"]) == (3.308, 3.301)
    assert (values["max_temperature"], values["min_temperature"]) == (25.0, -5.0)
    assert (values["average_voltage"], values["voltage_difference"]) == (3.304, 0.007)


def test_the_sign_that_the_owner_tells() -> None:
    assert poll(current_sign="inverted").current == -12.3
    assert poll(current_sign="normal").raw["current_sign"] == "configured"


def test_cells_from_33_on() -> None:
    """7.2: 47 to 56 hold the cells 33 to 48."""
    codec = DalyD2.make_codec(Options())
    block = dict(enumerate(STATUS)) | {n: 3300 + n for n in range(0x20)} | {0x31: 34}
    block |= dict.fromkeys(range(0x3E, 0x50), 0) | {0x28: 1100, 0x47: 3333, 0x48: 3334, 0x49: 3335}
    data = words(*(block[n] for n in range(0x50)))
    record = explain("d203000000505655", data, codec)
    cells = codec.reading([record]).cell_voltages
    assert len(cells) == 34
    assert cells[30:] == (3.33, 3.331, 3.333, 3.334)


# 7.4: the low byte of 3A is byte 0 of A5's answer 98, its high byte is byte 1, and so on
ALARMS = [
    (0x3A, 0, "alarms", "cell_overvoltage"),
    (0x3A, 1, "protections", "cell_overvoltage"),
    (0x3A, 2, "alarms", "cell_undervoltage"),
    (0x3A, 3, "protections", "cell_undervoltage"),
    (0x3A, 4, "alarms", "pack_overvoltage"),
    (0x3A, 5, "protections", "pack_overvoltage"),
    (0x3A, 6, "alarms", "pack_undervoltage"),
    (0x3A, 7, "protections", "pack_undervoltage"),
    (0x3A, 8, "alarms", "charge_overtemperature"),
    (0x3A, 9, "protections", "charge_overtemperature"),
    (0x3A, 10, "alarms", "charge_undertemperature"),
    (0x3A, 11, "protections", "charge_undertemperature"),
    (0x3A, 12, "alarms", "discharge_overtemperature"),
    (0x3A, 13, "protections", "discharge_overtemperature"),
    (0x3A, 14, "alarms", "discharge_undertemperature"),
    (0x3A, 15, "protections", "discharge_undertemperature"),
    (0x3B, 0, "alarms", "charge_overcurrent"),
    (0x3B, 1, "protections", "charge_overcurrent"),
    (0x3B, 2, "alarms", "discharge_overcurrent"),
    (0x3B, 3, "protections", "discharge_overcurrent"),
    (0x3B, 4, "alarms", "soc_high"),
    (0x3B, 5, "protections", "soc_high"),
    (0x3B, 6, "alarms", "soc_low"),
    (0x3B, 7, "protections", "soc_low"),
    (0x3B, 8, "alarms", "cell_delta"),
    (0x3B, 9, "protections", "cell_delta"),
    (0x3B, 10, "alarms", "temperature_delta"),
    (0x3B, 11, "protections", "temperature_delta"),
    (0x3C, 0, "faults", "mosfet_overtemperature"),
    (0x3C, 1, "faults", "mosfet_overtemperature"),
    (0x3C, 2, "faults", "temperature_sense"),
    (0x3C, 3, "faults", "temperature_sense"),
    (0x3C, 4, "faults", "charge_mosfet"),
    (0x3C, 5, "faults", "discharge_mosfet"),
    (0x3C, 6, "faults", "charge_mosfet"),
    (0x3C, 7, "faults", "discharge_mosfet"),
    (0x3C, 8, "faults", "afe"),
    (0x3C, 9, "faults", "voltage_sense"),
    (0x3C, 10, "faults", "temperature_sense"),
    (0x3C, 11, "faults", "eeprom"),
    (0x3C, 12, "faults", "clock"),
    (0x3C, 13, "faults", "precharge"),
    (0x3C, 14, "faults", "communication"),
    (0x3C, 15, "faults", "communication"),
    (0x3D, 0, "faults", "current_sense"),
    (0x3D, 1, "faults", "voltage_sense"),
    (0x3D, 2, "protections", "short_circuit"),
    (0x3D, 4, "alarms", "software_lock"),
]


@pytest.mark.parametrize(("register", "bit", "level", "condition"), ALARMS)
def test_an_alarm_bit(register: int, bit: int, level: str, condition: str) -> None:
    reading = poll({register: 1 << bit})
    assert conditions(reading) == [(level, condition)]
    assert "failure_bits_unknown" not in reading.raw


def test_bits_without_a_name_and_the_code() -> None:
    assert poll({0x3B: 0x1000}).raw["failure_bits_unknown"] == ["3.4"]
    code = poll({0x3D: 0x2A00})
    assert (conditions(code), code.raw["fault_code"]) == ([], 42)


# 7.3: one register each, of the block 80 to A8 (`d20300800029965f`)
@pytest.mark.parametrize(
    ("register", "word", "key", "value"),
    [
        (0x80, 2801, "nominal_capacity", 280.1),
        (0x81, 3201, "daly_nominal_cell_voltage", 3.201),
        (0x82, 2, "daly_boards", 2),
        (0x83, 16, "daly_board_1_cells", 16),
        (0x84, 8, "daly_board_2_cells", 8),
        (0x85, 4, "daly_board_3_cells", 4),
        (0x86, 3, "daly_board_1_sensors", 3),
        (0x87, 2, "daly_board_2_sensors", 2),
        (0x88, 1, "daly_board_3_sensors", 1),
        (0x89, 2, "chemistry", 2),
        (0x8A, 3600, "sleep_delay", 3600),
        (0x8A, 0xFFFF, "sleep_delay", None),
        (0x8B, 3651, "cell_ovp_warning", 3.651),
        (0x8C, 3751, "cell_ovp", 3.751),
        (0x8D, 2801, "cell_uvp_warning", 2.801),
        (0x8E, 2701, "cell_uvp", 2.701),
        (0x8F, 585, "pack_ovp_warning", 58.5),
        (0x90, 586, "pack_ovp", 58.6),
        (0x91, 445, "pack_uvp_warning", 44.5),
        (0x92, 435, "pack_uvp", 43.5),
        (0x93, 28400, "charge_ocp_warning", 160.0),
        (0x94, 28000, "charge_ocp", 200.0),
        (0x95, 31600, "discharge_ocp_warning", 160.0),
        (0x96, 32000, "discharge_ocp", 200.0),
        (0x97, 105, "charge_otp_warning", 65.0),
        (0x98, 110, "charge_otp", 70.0),
        (0x99, 40, "charge_utp_warning", 0.0),
        (0x9A, 35, "charge_utp", -5.0),
        (0x9B, 106, "discharge_otp_warning", 66.0),
        (0x9C, 111, "discharge_otp", 71.0),
        (0x9D, 20, "discharge_utp_warning", -20.0),
        (0x9E, 0, "discharge_utp", -40.0),
        (0x9F, 801, "cell_delta_warning", 0.801),
        (0xA0, 1001, "cell_delta", 1.001),
        (0xA1, 15, "temperature_delta_warning", 15),
        (0xA2, 16, "temperature_delta", 16),
        (0xA3, 3401, "balance_start_voltage", 3.401),
        (0xA4, 51, "balance_delta", 0.051),
        (0xA5, 1, "charge_switch", 1),
        (0xA6, 1, "discharge_switch", 1),
        (0xA7, 877, "soc", 87.7),
        (0xA8, 87, "reserved_A8", "0057"),  # with or without an offset: open
    ],
)
def test_a_setting(register: int, word: int, key: str, value: float | str | None) -> None:
    block = [0xFFFF] * 0x29
    block[register - 0x80] = word
    record = explain("d20300800029965f", words(*block))
    assert record.role == "settings"
    assert {k: v for k, v in record.values.items() if v is not None} == (
        {} if value is None else {key: value}
    )
    assert key in record.values


def test_who_it_is() -> None:
    """7.3 and 12.3: texts back to front, chemistry, and the cells per board."""
    codec = DalyD2.make_codec(Options())
    texts = b"B002_111132_03\0\0" + b"3.1V-KT42R-BHJ\0\0" + b"BMS".ljust(32, b"\0")
    settings = [0] * 0x29
    settings[0x02:0x05], settings[0x09] = [1, 13, 99], 1
    found = codec.identity(
        [
            explain("d20300a900208791", texts, codec),
            explain("d20300800029965f", words(*settings), codec),
        ]
    )
    assert (found.firmware, found.hardware) == ("30_231111_200B", "JHB-R24TK-V1.3")
    assert (found.model, found.cell_count, found.chemistry) == ("BMS", 13, "nmc")


@pytest.mark.parametrize("date", [b"20240229", b"92204202", b"240229", b"922042"])
def test_a_date_is_no_model(date: bytes) -> None:
    """CAP daly-d2-date-as-model: B9 holds 20240229."""
    codec = DalyD2.make_codec(Options())
    texts = b"T00K_321042_11\0\0" + b"H2.0_103R_309F9F" + date.ljust(32, b"\0")
    found = codec.identity([explain("d20300a900208791", texts, codec)])
    assert (found.model, found.hardware) == (None, "H2.0_103R_309F9F")
    assert found.firmware == "11_240123_K00T"


def test_clock_and_date() -> None:
    """7.3: CC date, CF balancer, D4 clock; the password before them is not shown."""
    block = [0] * 0x70
    block[0x49:0x4C] = [0x3132, 0x3334, 0x3536]  # C9: 123456
    block[0x4C:0x4E] = [0x1703, 0x0800]
    block[0x4F] = 1
    block[0x54:0x57] = [0x1804, 0x1517, 0x3B02]
    values = explain("d203008000705665", words(*block)).values
    assert values["daly_production_date"] == "2023-03-08"
    assert values["daly_clock"] == "2024-04-21T23:59:02"
    assert values["daly_balancer_switch"] == 1
    assert "123456" not in str(values) and "3132" not in str(values)
