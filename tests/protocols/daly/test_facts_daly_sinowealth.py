"""Daly with a Sinowealth chip: commands, scales and status bits, typed by hand.

No expectation here is taken from the tables of the code. The section of the collected protocol
facts is 9. Four-byte answers were never captured; their check is assumed to be the same.
"""

from __future__ import annotations

from typing import Any

import pytest

from bmslink.model import Reading
from bmslink.protocols.base import Options
from bmslink.protocols.daly.sinowealth import DalySinowealth, SinowealthFramer
from facts import changed, conditions, fields


def with_crc8(question: bytes, data: bytes) -> bytes:
    """9: polynomial 07, start 00, nothing reflected, over the question and the data."""
    crc = 0
    for byte in question + data:
        crc ^= byte
        for _ in range(8):
            crc = (crc << 1 ^ 7) & 0xFF if crc & 0x80 else crc << 1
    return data + bytes([crc])


def test_the_check_is_that_of_the_captures() -> None:
    """9: over the question too; the data alone has another."""
    assert with_crc8(b"\x0a\x01\x02", b"\x0d\x03") == b"\x0d\x03\xfd"
    assert with_crc8(b"", b"\x0d\x03") != b"\x0d\x03\xfd"
    framer = SinowealthFramer()
    framer.feed(b"\x0a\x01\x02" + with_crc8(b"", b"\x0d\x03"))
    assert framer.flush() == []
    assert framer.bad_frames == 1


# command, length and data of every value that a poll asks for
SAID = {
    0x17: "0041",  # 4 cells, two probes
    0x01: "0ce5",
    0x02: "0ce6",
    0x03: "0ce7",
    0x04: "0ce8",
    0x0B: "33a0",
    0x0C: "0b87",
    0x0D: "0a7e",
    0x0E: "0bea",
    0x0F: "0047",
    0x10: "fffffb2d",
    0x11: "000186a1",
    0x12: "0000c351",
    0x13: "0032",
    0x14: "0007",
    0x15: "0000",
    0x16: "0000",
    0x18: "0000",
}


def poll(edits: dict[int, str] | None = None, **options: Any) -> Reading:
    codec = DalySinowealth.make_codec(Options(**options))
    framer = SinowealthFramer()
    frames = []
    for command, text in (SAID | (edits or {})).items():
        data = bytes.fromhex(text)
        question = bytes([0x0A, command, len(data)])
        frames += framer.feed(question) + framer.feed(with_crc8(question, data)) + framer.flush()
    assert framer.skipped_bytes == 0
    records = [codec.decode(frame) for frame in frames]
    return codec.reading([record for record in records if record.part is not None])


def test_a_reading() -> None:
    """9, every command once."""
    assert fields(poll()) == fields(
        Reading(
            conditions_known=True,
            protocol="daly-sinowealth",
            voltage=13.216,
            current=-1.235,
            soc=50.0,
            remaining_capacity=50.001,
            full_capacity=100.001,
            cell_voltages=(3.301, 3.302, 3.303, 3.304),
            temperatures={"sensor_1": 22.0, "sensor_2": -4.5, "ic": 31.9},
            charging_allowed=False,
            discharging_allowed=False,
            raw={"current_sign": "reported", "cycles": 7, "pack_config": 0x41, "pack_status": 0},
        )
    )


@pytest.mark.parametrize(
    ("command", "text", "expected"),
    [
        (0x02, "0000", {"cell_voltages.2": 0.0, "faults": ("voltage_sense",)}),
        (0x05, "0ce9", {}),  # beyond the four that the configuration names
        (0x0C, "0000", {"temperatures.sensor_1": None}),
        (0x0D, "0aab", {"temperatures.sensor_2": 0.0}),
        (0x0F, "0048", {}),  # a constant, ignored
        (0x10, "000004d3", {"current": 1.235}),
        (0x13, "ff64", {"soc": 100.0}),  # the low byte only
        (0x13, "0065", {"soc": None, "raw.soc": 101}),
        (0x13, "00ff", {"soc": None, "raw.soc": 255}),
        (0x14, "0101", {"raw.cycles": 257}),
        (0x15, "0001", {"charging_allowed": True, "raw.pack_status": 1}),
        (0x15, "0002", {"discharging_allowed": True, "raw.pack_status": 2}),
        (0x15, "0100", {"alarms": ("fully_charged",), "raw.pack_status": 0x100}),
        (0x15, "0200", {"alarms": ("soc_low",), "raw.pack_status": 0x200}),
        *((0x15, f"{1 << n:04x}", {"raw.pack_status": 1 << n}) for n in (2, 3, 4, 5, 6, 10)),
        (0x16, "0080", {"raw.battery_status_bits.1": 7}),
        (0x18, "1234", {}),
    ],
)
def test_one_answer(command: int, text: str, expected: dict[str, Any]) -> None:
    """9: what one answer changes, and that it changes nothing else."""
    assert changed(fields(poll()), fields(poll({command: text}))) == expected


@pytest.mark.parametrize(
    ("bit", "level", "condition"),
    [
        (0, "protections", "cell_overvoltage"),
        (1, "protections", "cell_undervoltage"),
        (2, "protections", "charge_overcurrent"),
        (3, "protections", "discharge_overcurrent"),
        (8, "protections", "charge_overtemperature"),
        (9, "protections", "discharge_overtemperature"),
        (10, "protections", "charge_undertemperature"),
        (11, "protections", "discharge_undertemperature"),
        (12, "protections", "cell_overvoltage"),
        (13, "protections", "short_circuit"),
        (14, "faults", "voltage_sense"),
    ],
)
def test_battery_status(bit: int, level: str, condition: str) -> None:
    assert conditions(poll({0x16: f"{1 << bit:04x}"})) == [(level, condition)]


@pytest.mark.parametrize(("config", "cells"), [("0040", 3), ("0041", 4), ("ff4f", 10)])
def test_the_configuration(config: str, cells: int) -> None:
    """9: cells - 3 in the low three bits; bit 6 is the second probe."""
    numbers = {n: f"{3300 + n:04x}" for n in range(1, 11)}
    reading = poll({0x17: config, 0x0B: f"{3306 * cells:04x}"} | numbers)
    assert len(reading.cell_voltages) == cells
    assert conditions(reading) == []
    assert "sensor_2" not in poll({0x17: "0001"}).temperatures


def test_the_sign_that_the_owner_tells() -> None:
    assert poll(current_sign="inverted").current == 1.235
    assert poll(current_sign="inverted").raw["current_sign"] == "configured"
