"""JBD UP: frames, blocks, scales and bits, typed by hand from the documents.

No expectation here is taken from the tables of the code. The sections named are those of the
collected protocol facts (10 frame, 10.1 block 1000, 10.3 to 10.6 the others).
"""

from __future__ import annotations

import struct
from typing import Any

import pytest

from bmslink.model import Reading
from bmslink.protocols.base import Options, Record
from bmslink.protocols.jbd.up.driver import JBDUP, JBDUPCodec
from facts import changed, conditions, fields, put, with_crc16, words

READ, WRITE, SLAVE = 0x78, 0x79, 0x45


def frame(start: int, end: int, data: bytes, address: int = 1, function: int = READ) -> bytes:
    """10: address, function, start, end, length, data, CRC low byte first."""
    return with_crc16(struct.pack(">BBHHH", address, function, start, end, len(data)) + data)


def explain(raw: bytes, codec: JBDUPCodec | None = None, *, sent: bool = False) -> Record:
    framer = JBDUP.make_framer()
    (found,) = framer.feed(raw)
    assert framer.encode(found) == raw
    return (codec or JBDUPCodec()).decode(found, sent=sent)


# 10.1, four cells and three sensors
STATUS = (
    words(1320, 0)
    + struct.pack(">I", 300000 - 1235)
    + words(8765, 5432, 10050, 10500)  # SOC, remaining, full, rated
    + words(851, 445)  # MOS 35.1, ambient -5.5
    + words(2, 99)  # discharging, SOH
    + struct.pack(">II", 0, 0)
    + words(0b01, 4, 321)  # discharge FET only, connection, cycles
    + words(9, 9999, 8, 9998, 9997, 7, 900, 6, 901, 902)  # the board's own extremes, not used
    + words(576, 1001, 480, 1502)  # CVL, CCL, DVL, DCL
    + words(4, 3301, 3302, 3303, 3304)
    + words(3, 721, 500, 499)
    + words(0x7777, 0b1010, 0x0C01)  # unknown, balance, firmware 12.1
    + b"JBD48100000".ljust(30, b"\0")
    + bytes.fromhex("00010203")
)


def status(*edits: tuple[int, bytes], **options: Any) -> Reading:
    codec = JBDUP.make_codec(Options(**options))
    return codec.reading([explain(frame(0x1000, 0x10A0, put(STATUS, *edits)), codec)])


def test_a_reading() -> None:
    assert fields(status()) == fields(
        Reading(
            conditions_known=True,
            protocol="jbd-up",
            voltage=13.2,
            current=-12.35,
            soc=87.65,
            soh=99.0,
            remaining_capacity=54.32,
            full_capacity=100.5,
            nominal_capacity=105.0,
            cycles=321,
            cell_voltages=(3.301, 3.302, 3.303, 3.304),
            temperatures={
                "sensor_1": 22.1,
                "sensor_2": 0.0,
                "sensor_3": -0.1,
                "ambient": -5.5,
                "mosfet": 35.1,
            },
            balancing_active=True,
            balancing_cells=(2, 4),
            charging_allowed=False,
            discharging_allowed=True,
            heater=False,
            raw={
                "state": 2,
                "connection_state": 4,
                "charge_voltage_limit": 57.6,
                "charge_current_limit": 100.1,
                "discharge_voltage_limit": 48.0,
                "discharge_current_limit": 150.2,
                "current_sign": "reported",
                "surplus": "00010203",
                "address": 1,
            },
        )
    )


@pytest.mark.parametrize(
    ("offset", "data", "expected"),
    [
        (2, words(1320), {}),  # says only that it was relayed
        (4, struct.pack(">I", 301235), {"current": 12.35}),
        (8, words(10000), {"soc": 100.0}),
        (20, words(1), {"raw.state": 1}),
        (32, words(0b10), {"charging_allowed": True, "discharging_allowed": False}),
        (32, words(0b1001), {"heater": True}),
        (32, words(0b10101), {"raw.flag_bits.1": 2, "raw.flag_bits.2": 4}),
        (34, words(0), {"raw.connection_state": 0}),
        (68, words(0), {"cell_voltages.1": 0.0, "faults": ("voltage_sense",)}),
        (84, words(1), {}),  # unknown
        (86, words(1), {"balancing_cells.1": 1, "balancing_cells.2": "gone"}),
        (86, words(0b11010), {"raw.balance_bits.1": 4}),  # there is no cell 5
    ],
)
def test_one_word(offset: int, data: bytes, expected: dict[str, Any]) -> None:
    assert changed(fields(status()), fields(status((offset, data)))) == expected


FAULTS = [
    *((0, "protections", "cell_overvoltage"), (1, "protections", "cell_undervoltage")),
    *((2, "protections", "pack_overvoltage"), (3, "protections", "pack_undervoltage")),
    *((4, "protections", "charge_overcurrent"), (5, "protections", "charge_overcurrent")),
    *((6, "protections", "discharge_overcurrent"), (7, "protections", "discharge_overcurrent")),
    (8, "protections", "charge_overtemperature"),
    (9, "protections", "charge_undertemperature"),
    (10, "protections", "discharge_overtemperature"),
    (11, "protections", "discharge_undertemperature"),
    (12, "protections", "mosfet_overtemperature"),
    *((13, "protections", "other"), (14, "protections", "other")),
    *((15, "protections", "cell_delta"), (16, "protections", "temperature_delta")),
    *((17, "protections", "soc_low"), (18, "protections", "short_circuit")),
    *((19, "faults", "voltage_sense"), (20, "faults", "temperature_sense")),
    *((21, "faults", "charge_mosfet"), (22, "faults", "discharge_mosfet")),
    *((23, "faults", "other"), (24, "faults", "other")),
    *((25, "alarms", "fully_charged"), (26, "faults", "afe")),
]
ALARMS = [
    *((0, "alarms", "cell_overvoltage"), (1, "alarms", "cell_undervoltage")),
    *((2, "alarms", "pack_overvoltage"), (3, "alarms", "pack_undervoltage")),
    *((4, "alarms", "charge_overcurrent"), (5, "alarms", "discharge_overcurrent")),
    *((6, "alarms", "charge_overtemperature"), (7, "alarms", "charge_undertemperature")),
    *((8, "alarms", "discharge_overtemperature"), (9, "alarms", "discharge_undertemperature")),
    *((10, "alarms", "mosfet_overtemperature"), (11, "alarms", "other"), (12, "alarms", "other")),
    *((13, "alarms", "cell_delta"), (14, "alarms", "temperature_delta")),
    *((15, "alarms", "soc_low"), (16, "faults", "eeprom"), (17, "faults", "clock")),
    (18, "alarms", "fully_charged"),
]


@pytest.mark.parametrize(("bit", "level", "condition"), FAULTS)
def test_a_fault_bit(bit: int, level: str, condition: str) -> None:
    """10.1, u32 at 24."""
    assert conditions(status((24, (1 << bit).to_bytes(4, "big")))) == [(level, condition)]


@pytest.mark.parametrize(("bit", "level", "condition"), ALARMS)
def test_an_alarm_bit(bit: int, level: str, condition: str) -> None:
    """10.1, u32 at 28."""
    assert conditions(status((28, (1 << bit).to_bytes(4, "big")))) == [(level, condition)]


def test_bits_that_only_one_source_has() -> None:
    """10.1: reverse polarity is no condition, and stays visible."""
    reading = status((24, (1 << 27).to_bytes(4, "big")), (28, (1 << 19).to_bytes(4, "big")))
    assert conditions(reading) == []
    assert (reading.raw["fault_bits"], reading.raw["alarm_bits"]) == ([27], [19])


def test_the_sign_that_the_owner_tells() -> None:
    reading = status(current_sign="inverted")
    assert (reading.current, reading.raw["current_sign"]) == (12.35, "configured")


def test_counters() -> None:
    """10.4 from offset 6 on: SOC, SOH, cycles, two unknown, charge and discharge total."""
    codec = JBDUPCodec()
    data = words(6285, 98, 12, 150, 80) + struct.pack(">II", 65546, 7914)
    record = explain(frame(0x2006, 0x2018, data), codec)
    alone = codec.reading([record])
    assert (alone.soc, alone.soh, alone.cycles) == (62.85, 98.0, 12)
    assert (alone.raw["total_charge"], alone.raw["total_discharge"]) == (6554.6, 791.4)
    both = codec.reading([explain(frame(0x1000, 0x10A0, STATUS), codec), record])
    assert (both.soc, both.soh, both.cycles, both.voltage) == (62.85, 99.0, 321, 13.2)


def test_the_whole_capacity_block() -> None:
    """10.4: nominal, full and remaining at 0, 2, 4 come first there."""
    data = words(10500, 10050, 5432, 8765, 97, 11) + bytes(52)
    found = JBDUPCodec().reading([explain(frame(0x2000, 0x2050, data))])
    assert (found.nominal_capacity, found.full_capacity) == (105.0, 100.5)
    assert (found.remaining_capacity, found.soc, found.soh) == (54.32, 87.65, 97.0)
    assert found.cycles == 11


def test_individual_status() -> None:
    """10.5: its temperatures count from 273.1 K, its serial number is swapped in pairs."""
    cells = [3300 + n for n in range(16)]
    serial = b"BJ4D180000\x000".ljust(30, b"\0")  # JBD48100000
    data = (
        words(16, *cells)
        + words(9999, 9998, 5296)
        + struct.pack(">i", -307)
        + words(2999, 2700, 10000, 6200, 12, 62, 99)
        + bytes(4)
        + words(3, 0)
        + serial
        + words(1000, 1500, 0)
        + words(3082, 2731)
        + bytes([2, 7])
        + words(2951, 2681)
    )
    assert len(data) == 112
    codec = JBDUPCodec()
    record = explain(frame(0, 0x54, data, function=SLAVE), codec)
    found = codec.reading([record])
    assert (found.voltage, found.current, found.soc, found.soh) == (52.96, -3.07, 62.0, 99.0)
    assert (found.nominal_capacity, found.remaining_capacity, found.cycles) == (100.0, 62.0, 12)
    assert found.cell_voltages == tuple(c / 1000 for c in cells)
    assert found.temperatures == {
        "sensor_1": 22.0,
        "sensor_2": -5.0,
        "ambient": 0.0,
        "mosfet": 35.1,
    }
    assert codec.identity([record]).serial_number == "JBD48100000"


def test_product_and_clock() -> None:
    data = words(1, 2, 12, 3, 7, 9) + b"UP16S015.16S200A" + b"project".ljust(16, b"\0")
    record = explain(frame(0x2810, 0x283C, data))
    assert (record.values["model_id"], record.values["hardware_revision"]) == (1, 2)
    assert record.values["project"] == "project"
    identity = JBDUPCodec().identity([record])
    assert (identity.model, identity.firmware) == ("UP16S015.16S200A", "12.3.7")
    clock = explain(frame(0x2800, 0x280F, words(2024, 5, 6, 7, 8, 9))).values
    assert [clock[k] for k in ("year", "month", "day", "hour", "minute", "second")] == [
        *(2024, 5, 6, 7, 8, 9)
    ]


@pytest.mark.parametrize(
    ("relayed", "variant", "firmware"), [(0, "direct", "12.1"), (1320, "relayed", None)]
)
def test_who_it_is(relayed: int, variant: str, firmware: str | None) -> None:
    """10.1: a relayed status says the minor version only."""
    record = explain(frame(0x1000, 0x10A0, put(STATUS, (2, words(relayed)))))
    found = JBDUPCodec().identity([record])
    assert (found.serial_number, found.cell_count) == ("JBD48100000", 4)
    assert (found.variant, found.firmware) == (variant, firmware)


# 10.2: triplets of level, release and delay, as the real answer has them
PROTECTION = [
    ("cell_ovp_alarm", (3600, 3400, 3000), (3.6, 3.4, 3.0)),
    ("cell_ovp", (3650, 3401, 3001), (3.65, 3.401, 3.001)),
    ("cell_uvp_alarm", (2700, 2900, 3002), (2.7, 2.9, 3.002)),
    ("cell_uvp", (2500, 3000, 3003), (2.5, 3.0, 3.003)),
    ("pack_ovp_alarm", (5760, 5440, 1000), (57.6, 54.4, 1.0)),
    ("pack_ovp", (5840, 5441, 3004), (58.4, 54.41, 3.004)),
    ("pack_uvp_alarm", (4200, 4800, 1001), (42.0, 48.0, 1.001)),
    ("pack_uvp", (4000, 4801, 3005), (40.0, 48.01, 3.005)),
    ("charge_ocp_alarm", (1050, 1000, 2000), (105.0, 100.0, 2.0)),
    ("discharge_ocp_alarm", (1051, 1001, 2001), (105.1, 100.1, 2.001)),
    ("charge_otp_alarm", (1050, 1000, 1), (55.0, 50.0, 0.001)),
    ("charge_otp", (1150, 1001, 2), (65.0, 50.1, 0.002)),
    ("charge_utp_alarm", (550, 600, 3), (5.0, 10.0, 0.003)),
    ("charge_utp", (500, 551, 4), (0.0, 5.1, 0.004)),
    ("discharge_otp_alarm", (1051, 1002, 5), (55.1, 50.2, 0.005)),
    ("discharge_otp", (1151, 1003, 6), (65.1, 50.3, 0.006)),
    ("discharge_utp_alarm", (350, 400, 7), (-15.0, -10.0, 0.007)),
    ("discharge_utp", (300, 351, 8), (-20.0, -14.9, 0.008)),
    ("mosfet_otp_alarm", (1450, 1300, 9), (95.0, 80.0, 0.009)),
    ("mosfet_otp", (1550, 1350, 10), (105.0, 85.0, 0.01)),
    ("ambient_otp_alarm", (1100, 1004, 11), (60.0, 50.4, 0.011)),
    ("ambient_otp", (1152, 1101, 12), (65.2, 60.1, 0.012)),
    ("ambient_utp_alarm", (352, 401, 13), (-14.8, -9.9, 0.013)),
    ("ambient_utp", (301, 353, 14), (-19.9, -14.7, 0.014)),
    ("temperature_delta_alarm", (80, 81, 15), (80, 81, 0.015)),
    ("temperature_delta", (82, 83, 16), (82, 83, 0.016)),
    ("cell_delta_alarm", (600, 500, 8000), (0.6, 0.5, 8.0)),
    ("cell_delta", (800, 501, 8001), (0.8, 0.501, 8.001)),
    ("soc_low_alarm", (10, 15, 2002), (10, 15, 2.002)),
    ("soc_low", (3, 5, 2003), (3, 5, 2.003)),
]
_OVERCURRENT = {
    "charge_ocp_alarm": (1200, 2004, 600, 10, 1300, 500, 601),
    "discharge_ocp_alarm": (1201, 2005, 60, 11, 1400, 200, 61),
}


def test_protection_parameters() -> None:
    """10.2, 104 words: behind each current alarm two levels with delay, release (and count)."""
    numbers: list[int] = []
    for name, raw, _ in PROTECTION:
        numbers += [*raw, *_OVERCURRENT.get(name, ())]
    assert len(numbers) == 104
    values = explain(frame(0x1800, 0x1900, words(*numbers))).values
    for name, _, expected in PROTECTION:
        told = tuple(values[f"jbd_up_{name}{end}"] for end in ("", "_release", "_delay"))
        assert told == expected, name
    ends = ("", "_delay", "_release", "_count", "_2", "_2_delay", "_2_release")
    charge = [values[f"jbd_up_charge_ocp{end}"] for end in ends]
    assert charge == [120.0, 2.004, 600, 10, 130.0, 0.5, 601]
    discharge = [values[f"jbd_up_discharge_ocp{end}"] for end in ends]
    assert discharge == [120.1, 2.005, 60, 11, 140.0, 0.2, 61]


def test_pack_parameters() -> None:
    """10.3."""
    data = (
        words(0, 0, 3400, 30, 500, 600, 5680, 1500)
        + b"UP16S019000".ljust(30, b"\0")
        + words(2025, 4, 17)
        + b"JBD48100000".ljust(30, b"\0")
        + words(2025, 3, 18)
        + b"ECO".ljust(30, b"\0")
        + bytes(16)
    )
    values = explain(frame(0x1C00, 0x1CA0, data)).values
    assert values["jbd_up_balance_start_voltage"] == 3.4
    assert values["jbd_up_balance_delta"] == 0.03
    assert values["board_serial_number"] == "UP16S019000"
    assert values["board_date"] == [2025, 4, 17]
    assert values["pack_serial_number"] == "JBD48100000"
    assert values["pack_date"] == [2025, 3, 18]
    assert values["customer"] == "ECO"


def test_writes() -> None:
    """10.6: the captured write of 100 %, and the flags; the answer has no data."""
    raw = bytes.fromhex("0179 2006 2008 0006 114a4244 2710 427a")
    record = explain(raw, sent=True)
    assert (record.role, record.values["soc"]) == ("request", 100.0)
    flags = frame(0x2902, 0x2904, b"\x11JBD\0\3", function=WRITE)
    assert explain(flags).values["jbd_up_flags"] == 3
    assert explain(frame(0x2902, 0x2904, b"", function=WRITE)).role == "ack"


def test_nothing_live_is_an_empty_reading() -> None:
    request = explain(frame(0x1000, 0x10A0, b""), sent=True)
    assert JBDUPCodec().reading([request]) == Reading(protocol="jbd-up")
