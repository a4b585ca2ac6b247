"""JK04: offsets of the float records, typed by hand from the documents.

No expectation here is taken from the tables of the code. The sections named are those of the
collected protocol facts (9 JK04, 2 device info, 1 frames, 15 bad data).
"""

from __future__ import annotations

import struct
from typing import Any

import pytest

from bmslink.errors import FrameError
from bmslink.model import Reading
from bmslink.protocols.base import Options, Record
from bmslink.protocols.jk.jk04.driver import JK04, JK04Codec
from facts import changed, conditions, fields, put

INFO, SETTINGS, CELLS = 0x03, 0x01, 0x02


def f32(*values: float) -> bytes:
    return struct.pack(f"<{len(values)}f", *values)


def native(code: int, *edits: tuple[int, bytes]) -> bytes:
    body = put(b"\x55\xaa\xeb\x90" + bytes([code, 9]) + bytes(293), *edits)
    return body + bytes([sum(body) & 0xFF])


LIVE = (
    (6, f32(3.5, 3.25, 3.125, 3.0)),
    (102, f32(0.125, 0.25, 0.375, 0.5, 0.625)),  # one wire more than there are cells
    (202, f32(9.0, 8.0)),  # mean and difference, not used
    (214, struct.pack("<I", 15)),
    (218, bytes([9, 8, 2])),  # extremes, not used; the action
    (222, f32(-1.5)),
    (230, struct.pack("<d", 12.875)),
    (242, struct.pack("<I", 1234)),  # ticks, not used
    (286, struct.pack("<I", 65537)),
)


def explain(raw: bytes, codec: JK04Codec) -> Record:
    framer = JK04.make_framer()
    (frame,) = framer.feed(raw)
    assert framer.bad_frames == 0
    return codec.decode(frame)


def live(*edits: tuple[int, bytes], before: bytes = b"") -> Reading:
    codec = JK04.make_codec(Options())
    if before:
        explain(before, codec)
    return codec.reading([explain(native(CELLS, *LIVE, *edits), codec)])


def test_a_reading() -> None:
    """9, type 02; there is no current, SOC, FET or temperature."""
    assert fields(live()) == fields(
        Reading(
            protocol="jk04",
            voltage=12.875,
            cell_voltages=(3.5, 3.25, 3.125, 3.0),
            cell_resistances=(0.125, 0.25, 0.375, 0.5),
            balancing_active=True,
            balance_current=-1.5,
            uptime=65537.0,
            raw={"balance_action": 2},
        )
    )


@pytest.mark.parametrize(
    ("offset", "data", "expected"),
    [
        (10, f32(0.0), {"cell_voltages.2": 0.0, "faults": ("voltage_sense",)}),
        (22, f32(3.0), {}),  # cell 5 is not in the mask
        (98, f32(3.0), {}),  # cell 24 neither
        (106, f32(0.0), {"cell_resistances.2": None}),
        (106, f32(float("nan")), {"cell_resistances.2": None}),
        (214, b"\x07", {"cell_voltages.4": "gone", "cell_resistances.4": "gone"}),
        (220, b"\0", {"balancing_active": False, "raw.balance_action": 0}),
        (220, b"\1", {"raw.balance_action": 1}),
        (222, f32(2.0), {"balance_current": 2.0}),
        (222, f32(float("inf")), {"balance_current": None}),
        (230, struct.pack("<d", 13.0), {"voltage": 13.0}),
        (230, struct.pack("<d", float("nan")), {"voltage": None}),
        (286, struct.pack("<I", 1), {"uptime": 1.0}),
        (260, b"\1\2\3\4\5\6", {}),  # unknown
    ],
)
def test_one_value(offset: int, data: bytes, expected: dict[str, Any]) -> None:
    assert changed(fields(live()), fields(live((offset, data)))) == expected


TABLE = (
    (6, f32(1.0)),
    (34, struct.pack("<I", 13)),
    (38, f32(2.5)),
    (74, f32(3.0)),
    (98, f32(4.25)),
    (102, f32(3.375)),
    (106, f32(0.0078125)),
    (110, f32(1.75)),
    (114, struct.pack("<I", 1)),
)


def test_settings() -> None:
    """9, type 01."""
    values = explain(native(SETTINGS, *TABLE), JK04Codec()).values
    assert values == {
        "cell_count": 13,
        "jk_power_off_voltage": 2.5,
        "jk_voltage_reference": 3.0,
        "jk_balance_start_voltage": 4.25,
        "balance_delta": 0.007812,
        "balance_current": 1.75,
        "balance_switch": True,
    }
    off = explain(native(SETTINGS, *TABLE, (114, b"\0")), JK04Codec()).values
    assert off["balance_switch"] is False


def test_settings_complete_live_values() -> None:
    reading = live(before=native(SETTINGS, *TABLE))
    assert (reading.balance_switch, len(reading.cell_voltages)) == (True, 13)
    assert conditions(reading) == [("faults", "voltage_sense")]


def command(register: int, value: bytes) -> bytes:
    """1.1: AA 55 90 EB, register, length, value padded to 13, sum."""
    body = b"\xaa\x55\x90\xeb" + bytes([register, len(value)]) + value.ljust(13, b"\0")
    return body + bytes([sum(body) & 0xFF])


@pytest.mark.parametrize(
    ("register", "value", "expected"),
    [
        (0x1C, b"\x0d\0", {"cell_count": 13}),
        (0x20, f32(2.5), {"jk_power_off_voltage": 2.5}),
        (0x44, f32(3.0), {"jk_voltage_reference": 3.0}),
        (0x64, f32(0.0078125), {"balance_delta": 0.007812}),
        (0x68, f32(1.75), {"balance_current": 1.75}),
        (0x6C, b"\1", {"balance_switch": True}),
        (0x58, f32(4.0), {"length": 4}),  # never captured, and against the rule
        (0x5C, f32(4.0), {"length": 4}),
    ],
)
def test_a_write(register: int, value: bytes, expected: dict[str, Any]) -> None:
    (frame,) = JK04.make_framer().feed(command(register, value))
    record = JK04Codec().decode(frame, sent=True)
    assert (record.role, record.values) == ("request", {"register": register} | expected)


def info(model: bytes, firmware: bytes) -> bytes:
    return native(
        INFO,
        (6, model),
        (22, b"3.0"),
        (30, firmware),
        (38, struct.pack("<II", 300, 7)),
        (46, b"a name"),
        (62, b"9876"),
    )


def test_who_it_is() -> None:
    """2: texts at 6, 22, 30; the password at 62 is not shown."""
    codec = JK04Codec()
    record = explain(info(b"JK-B2A16S", b"3.3.0"), codec)
    assert (record.values["run_time"], record.values["power_on_count"]) == (300, 7)
    assert "9876" not in str(record.values)
    found = codec.identity([record, explain(native(SETTINGS, *TABLE), codec)])
    assert (found.model, found.hardware, found.firmware) == ("JK-B2A16S", "3.0", "3.3.0")
    assert found.cell_count == 13


@pytest.mark.parametrize(
    ("model", "firmware", "mine"),
    [
        (b"JK-B1A24S", b"3.1.2", True),
        (b"JK-B5A24S", b"8.0.3M", True),
        (b"JK-BD6A24S10P", b"8.0.6G", False),
        (b"JK-BD6A20S10P", b"4.1.7", False),
        (b"JK_B2A24S", b"11.17", False),
    ],
)
def test_who_speaks_it(model: bytes, firmware: bytes, mine: bool) -> None:
    """0, rule 2: below 11 and no P at the end of the model."""
    if mine:
        assert explain(info(model, firmware), JK04Codec()).kind == "info"
    else:
        with pytest.raises(FrameError, match="jk02"):
            explain(info(model, firmware), JK04Codec())
