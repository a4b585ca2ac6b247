"""The payloads of JK04 records, bytes 6-298 of the 300, and the registers that write.

Numbers with a fraction are IEEE-754 floats. They are kept as their bits in the layouts, because a
NaN would not come back to the byte; `number` reads them. Offsets in the comments count from the
frame's first byte, as in `docs/protocols/jk04.md`, which holds the sources. Type 03 is that of
JK02 (`jk02.layouts.DEVICE_INFO`).
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable
from typing import Any

from construct import Array, Byte, Bytes, Float32l, Int16ul, Int32ul, Int64ul, Struct

from bmslink.protocols.base import require
from bmslink.protocols.common.fields import Layout, flag, scaled, text
from bmslink.protocols.common.rows import Row, bare
from bmslink.protocols.jk.settings import TABLE_BYTES, Register
from bmslink.settings.setting import Danger, Evidence

__all__ = [
    "CELL_INFO",
    "REGISTERS",
    "ROWS",
    "SETTINGS_TABLE",
    "SLOTS",
    "float_bits",
    "numbers",
    "prove_cells",
    "prove_device",
    "prove_settings",
]

SLOTS, WIRES = 24, 25
_F32, _F64 = Int32ul, Int64ul

CELL_INFO = Struct(
    "cell_voltages" / Array(SLOTS, _F32),  # 6: V
    "cell_resistances" / Array(WIRES, _F32),  # 102: Ω; one wire more than there are cells
    "average_voltage" / _F32,  # 202: of another sample than the cells
    "delta_voltage" / _F32,
    "reserved_210" / Bytes(4),
    "cell_mask" / Int32ul,  # 214
    "highest_cell" / Byte,  # 218: from 0, lagging
    "lowest_cell" / Byte,
    "balance_action" / Byte,  # 220: 0 off, 1 and 2 the two directions
    "reserved_221" / Bytes(1),
    "balance_current" / _F32,  # 222: A, signed
    "reserved_226" / Bytes(4),
    "voltage" / _F64,  # 230: V
    "reserved_238" / Bytes(4),
    "run_ticks" / scaled(Int32ul, 10),  # 242: only firmware 8.0.3M counts here
    "reserved_246" / Bytes(40),
    "uptime" / Int32ul,  # 286: s
    "reserved_290" / Bytes(9),  # two floats of unknown meaning, and a zero
)
"""Type 02, the live values."""

_CAPTURE = Evidence.CAPTURE

_UNSURE = (
    "one source names it so, and register 58 for it; by the rule of all others it would be 5C, "
    "which nobody was recorded writing, and boards balance far below it"
)

ROWS: tuple[Row, ...] = (
    Row(0x1C, "cell_count", Int16ul, (2, 24), _CAPTURE, danger=Danger.COMMISSIONING),
    Row(0x20, "jk_power_off_voltage", Float32l, (1.2, 4.4), _CAPTURE, step=0.001,
        title="The board switches itself off below", unit="V", danger=Danger.POWER),
    bare(0x44, "jk_voltage_reference", Float32l),  # all cell voltages scale with it
    Row(0x5C, "jk_balance_start_voltage", Float32l, None, Evidence.DOCUMENT,
        step=0.001, title="Balancing begins above (unsure)", unit="V", reason=_UNSURE),
    Row(0x64, "balance_delta", Float32l, (0.003, 1.0), _CAPTURE, step=0.001),
    Row(0x68, "balance_current", Float32l, (0.3, 10.0), _CAPTURE, step=0.001),
    Row(0x6C, "balance_switch", Byte, None, _CAPTURE),
)  # fmt: skip
"""The settings, by write register, which is also where the value is in type 01 (from byte 6 on).
All but 5C were seen being written in a session with the vendor's app: 20 and 68 changed what the
board showed next, 1C its live records (`sess-jk04-b2a16s-writes`,
`sess-jk04-b5a24s-8.0.3M-writes`)."""

_WIDE = 4
"""Bytes of each value in the record, however few a write has."""


def _record_field(wire: Layout) -> Layout:
    return _F32 if wire is Float32l else Int32ul


def _table(rows: Iterable[Row]) -> Layout:
    """The record: what lies between the rows is reserved."""
    fields: list[Layout] = []
    at = 0
    for row in (*rows, bare(TABLE_BYTES, "", Byte)):
        if row.at > at:
            fields.append(f"reserved_{6 + at}" / Bytes(row.at - at))
        if row.name:
            fields.append(row.name / _record_field(row.wire))
        at = row.at + _WIDE
    return Struct(*fields)


SETTINGS_TABLE = _table(ROWS)
"""Type 01, the settings."""

REGISTERS: dict[int, Register] = {
    row.at: Register(
        row.key,
        _F32 if row.wire is Float32l else row.wire,
        danger=not row.offered,
    )
    for row in ROWS
    if not row.reason
}
"""Write registers, each seen being written."""

_FLOATS = frozenset(
    {
        "cell_voltages",
        "cell_resistances",
        "average_voltage",
        "delta_voltage",
        "balance_current",
        *(row.name for row in ROWS if row.wire is Float32l),
    }
)


def _number(value: float) -> float | None:
    """In millionths, about what a float can tell near 4 V; `None` where it is no number."""
    return round(value, 6) if math.isfinite(value) else None


def numbers(values: dict[str, Any]) -> dict[str, Any]:
    """Parsed values with the floats as numbers, the balancer switch as a boolean and without
    the reserved bytes."""
    plain = {k: v for k, v in values.items() if not k.startswith("reserved")}
    for key in _FLOATS & plain.keys():
        words = plain[key]
        if isinstance(words, list):
            floats = struct.unpack(f"<{len(words)}f", struct.pack(f"<{len(words)}I", *words))
            plain[key] = [_number(v) for v in floats]
        else:
            plain[key] = _number(struct.unpack("<f", struct.pack("<I", words))[0])
    if "voltage" in plain:
        plain["voltage"] = _number(struct.unpack("<d", struct.pack("<Q", plain["voltage"]))[0])
    if "balance_switch" in plain:
        plain["balance_switch"] = flag(plain["balance_switch"])
    return plain


def float_bits(value: float, *, double: bool = False) -> int:
    """The bits of a number, as the layouts and `REGISTERS` hold it (`voltage` is a double)."""
    number, word = ("<d", "<Q") if double else ("<f", "<I")
    bits: int = struct.unpack(word, struct.pack(number, value))[0]
    return bits


# ---------------------------------------------------------------------------------- proof


def prove_device(vendor_id: bytes, software: bytes) -> None:
    """`FrameError` for the type 03 of a board that speaks jk02.

    From firmware 11 on every board does, before that those whose model ends in P (current class).
    """
    model, version = text(vendor_id), text(software)
    major = version.upper().removeprefix("V").split(".")[0]
    number = int(major) if major.isascii() and major.isdigit() else 0
    require(
        number < 11 and not model.endswith("P"),
        f"{model or 'This board'} with firmware {version} speaks jk02.",
    )


def prove_cells(payload: bytes, *, known: bool) -> None:
    """`FrameError` unless the cells of a type 02 are volts as floats; integers are none.

    Without any cell only a type 03 before it (`known`) tells that this is jk04.
    """
    cells = struct.unpack_from(f"<{SLOTS}f", payload)
    require(
        all(v == 0 or 0.01 <= v <= 6 for v in cells),
        "The cells are no voltages as floats: this is not jk04.",
        payload,
    )
    require(
        known or any(0.5 <= v <= 5 for v in cells),
        "No cells are connected and no device info came before: this need not be jk04.",
        payload,
    )


def prove_settings(payload: bytes) -> None:
    """`FrameError` unless a type 01 is one of jk04: JK02 has a voltage where the cell count is,
    and the cell count where the balancer switch is."""
    count, switch = (int.from_bytes(payload[at - 6 : at - 2], "little") for at in (34, 114))
    (power_off,) = struct.unpack_from("<f", payload, 38 - 6)
    require(
        count <= SLOTS
        and switch <= 1
        and (power_off == 0 or 0.5 <= power_off <= 5)
        and not any(payload[118 - 6 :]),
        "These are no jk04 settings.",
        payload,
    )
