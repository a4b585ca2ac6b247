"""JK's parallel bus: what stands between, before and behind the records, typed by hand.

No expectation here is taken from the tables of the code. The sections named are those of the
collected protocol facts (12.1 exchange, 12.2 master, 4.1 live values, 3 settings).
"""

from __future__ import annotations

import struct
from typing import Any

import pytest

from bmslink.model import Identity, Reading
from bmslink.protocols.base import Options, Record
from bmslink.protocols.jk.bus.driver import JKBus
from bmslink.protocols.jk.bus.framing import trigger
from facts import put, with_crc16

INFO, SETTINGS, CELLS = 0x03, 0x01, 0x02


def native(code: int, *edits: tuple[int, bytes]) -> bytes:
    """A record of 300 bytes with values at their offsets; its counter stands at 5."""
    body = put(b"\x55\xaa\xeb\x90" + bytes([code, 5]) + bytes(293), *edits)
    return body + bytes([sum(body) & 0xFF])


def live(millivolts: int, amps: int = -1235) -> bytes:
    return native(
        CELLS,
        (6, struct.pack("<4H", 3301, 3302, 3303, 3304)),
        (70, struct.pack("<I", 15)),
        (150, struct.pack("<I", millivolts)),
        (158, struct.pack("<i", amps)),
        (173, bytes([87])),
        (287, b"\x01"),
    )


def settings(cells: int, milliamphours: int, charge: int) -> bytes:
    return native(
        SETTINGS,
        (114, struct.pack("<4I", cells, charge, 1, 0)),
        (130, struct.pack("<I", milliamphours)),
        (287, b"\xff" * 9),  # every register exists
    )


def ack(address: int, register: int) -> bytes:
    return with_crc16(bytes([address, 0x10]) + struct.pack(">HH", register, 1))


def hear(stream: bytes, **options: Any) -> list[Record]:
    framer, codec = JKBus.make_framer(), JKBus.make_codec(Options(**options))
    return [codec.decode(frame) for frame in framer.feed(stream) + framer.flush()]


def read(stream: bytes, **options: Any) -> Reading:
    codec = JKBus.make_codec(Options(**options))
    return codec.reading([r for r in hear(stream, **options) if r.part is not None])


def test_the_frames_of_the_sources() -> None:
    """12.1, 12.2: the acknowledgements of a master, to the byte."""
    assert ack(0, 0x1620).hex() == "00101620000105 9a".replace(" ", "")
    assert ack(0, 0x161E).hex() == "0010161e00016456"


@pytest.mark.parametrize(("code", "register"), [(INFO, 0x1C), (SETTINGS, 0x1E), (CELLS, 0x20)])
def test_a_trigger(code: int, register: int) -> None:
    """12.1: `ADDR 10 16 rr 00 01 02 00 00 CRC`."""
    expected = with_crc16(bytes([7, 0x10, 0x16, register, 0, 1, 2, 0, 0]))
    assert JKBus.make_framer().encode(trigger(7, code)) == expected


@pytest.mark.parametrize("pad", [b"", b"\0"])
@pytest.mark.parametrize("address", [0, 1, 3, 15])
def test_the_acknowledgement_signs_the_record(address: int, pad: bytes) -> None:
    """12.1: with and without the padding byte; the acknowledgement alone holds the address."""
    found = read(live(13204) + pad + ack(address, 0x1620))
    assert (found.raw["address"], found.voltage, found.current) == (address, 13.204, -1.235)
    assert (found.soc, found.cell_voltages) == (87.0, (3.301, 3.302, 3.303, 3.304))
    assert found.raw["current_sign"] == "reported"


@pytest.mark.parametrize("register", [0x161C, 0x161E, 0x1600])
def test_the_acknowledgement_of_another_record_signs_nothing(register: int) -> None:
    assert read(live(13204) + ack(3, register)).raw["address"] is None


def test_settings_are_of_the_pack_that_signed_them() -> None:
    """3 and 12.1: settings of address 2 do not complete the live values of address 1."""
    two = settings(8, 105000, 1) + ack(2, 0x161E)
    one = settings(4, 280000, 0) + ack(1, 0x161E)
    mine = read(two + one + two + live(13204) + ack(1, 0x1620))
    assert (mine.nominal_capacity, mine.charge_switch) == (280.0, False)
    assert (mine.discharge_switch, mine.balance_switch) == (True, False)
    assert len(mine.cell_voltages) == 4
    other = read(two + one + live(13204) + ack(2, 0x1620))
    assert (other.nominal_capacity, other.charge_switch, len(other.cell_voltages)) == (105, True, 8)
    stranger = read(two + one + live(13204) + ack(3, 0x1620))
    assert (stranger.nominal_capacity, stranger.charge_switch) == (None, None)


def test_the_sign_that_the_owner_tells() -> None:
    found = read(live(13204) + ack(1, 0x1620), current_sign="inverted")
    assert (found.current, found.raw["current_sign"]) == (1.235, "configured")


def test_who_it_is() -> None:
    info = native(
        INFO,
        (6, b"JK_PB2A16S20P"),
        (22, b"15A"),
        (30, b"15.41"),
        (62, b"1234"),
        (86, b"40712345678\0PASS"),
        (118, b"123456"),
    )
    records = hear(info + ack(1, 0x161C))
    assert "1234" not in str([r.values for r in records]).replace("40712345678", "")
    found = JKBus.make_codec(Options()).identity(records)
    assert found == Identity(
        vendor="JK",
        protocol="jk-bus",
        model="JK_PB2A16S20P",
        hardware="15A",
        firmware="15.41",
        serial_number="40712345678",
        variant="32s",
    )


def test_a_refusal() -> None:
    """11: exception 2 to the function 10."""
    (record,) = hear(with_crc16(b"\x01\x90\x02"))
    assert (record.role, record.values["status"]) == ("refusal", 2)


def test_the_arming_frame_is_recognised() -> None:
    """14: `01 10 16 26 00 01 02 00 00 D6 97` starts the boot loader."""
    (record,) = hear(bytes.fromhex("0110162600010200 00d697"))
    assert record.kind == "firmware_arming"
