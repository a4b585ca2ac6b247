"""The payloads of JK04 records, bytes 6-298 of the 300, and the registers that write.

Numbers with a fraction are IEEE-754 floats. They are kept as their bits in the layouts, because a
NaN would not come back to the byte; `number` reads them. Offsets in the comments count from the
frame's first byte, as in `docs/protocols/jk04.md`, which holds the sources. Type 03 is that of
JK02 (`jk02.layouts.DEVICE_INFO`).
"""

from __future__ import annotations

import math
import struct
from typing import Any

from construct import Array, Byte, Bytes, Int16ul, Int32ul, Int64ul, Struct

from bmslink.protocols.base import require
from bmslink.protocols.common.fields import flag, scaled, text
from bmslink.protocols.jk.settings import Register

__all__ = [
    "CELL_INFO",
    "REGISTERS",
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

SETTINGS_TABLE = Struct(
    "reserved_6" / Bytes(28),  # begins with a float of 1.0
    "cell_count" / Int32ul,  # 34
    "jk_power_off_voltage" / _F32,  # 38: V of a cell
    "reserved_42" / Bytes(32),
    "jk_voltage_reference" / _F32,  # 74: V; all cell voltages scale with it
    "reserved_78" / Bytes(20),
    "jk_balance_start_voltage" / _F32,  # 98: named so by one source, and balancing ignores it
    "reserved_102" / Bytes(4),  # a float of 3.4, or 0
    "balance_delta" / _F32,  # 106: V
    "balance_current" / _F32,  # A
    "balance_switch" / Int32ul,  # 114
    "reserved_118" / Bytes(181),
)
"""Type 01, the settings."""

REGISTERS: dict[int, Register] = {
    0x1C: Register("cell_count", Int16ul),
    0x20: Register("jk_power_off_voltage", _F32),
    0x44: Register("jk_voltage_reference", _F32, danger=True),
    0x64: Register("balance_delta", _F32),
    0x68: Register("balance_current", _F32),
    0x6C: Register("balance_switch", Byte),
}
"""Write registers, each seen in a session with the vendor's app; all stand at byte register + 6
of type 01."""

_FLOATS = frozenset(
    {
        "cell_voltages",
        "cell_resistances",
        "average_voltage",
        "delta_voltage",
        "balance_current",
        "jk_power_off_voltage",
        "jk_voltage_reference",
        "jk_balance_start_voltage",
        "balance_delta",
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
