"""The payloads of JK02 records, bytes 6-298 of the 300, for 24S and 32S boards.

Offsets in the comments count from the frame's first byte, as everywhere in
`docs/protocols/jk.md`, which holds the sources. Bytes of unknown meaning are `reserved_OFFSET`.
"""

from __future__ import annotations

import struct

from construct import (
    Array,
    Byte,
    Bytes,
    BytesInteger,
    Construct,
    Int8sb,
    Int16sl,
    Int16ul,
    Int32sl,
    Int32ul,
    Struct,
)

from bmslink.errors import FrameError
from bmslink.protocols.base import need
from bmslink.protocols.fields import scaled, text

__all__ = [
    "CELL_INFO",
    "DETAIL_LOG",
    "DEVICE_INFO",
    "LOGBOOK",
    "PAYLOAD",
    "cell_info_variant",
    "device_variant",
    "settings_variant",
]

PAYLOAD = 293
"""Bytes between the counter and the checksum of every record."""

_MV16 = scaled(Int16ul, 1000)
_OHM = scaled(Int16ul, 1000)
_MILLI = scaled(Int32ul, 1000)
_MILLI_SIGNED = scaled(Int32sl, 1000)
_CELSIUS = scaled(Int16sl, 10)


def _cells(count: int) -> tuple[Construct, ...]:
    """The first part, alike on both variants but for the number of slots."""
    return (
        "cell_voltages" / Array(count, _MV16),
        "cell_mask" / Int32ul,
        "average_voltage" / _MV16,
        "delta_voltage" / _MV16,  # from another sample than the cells
        "highest_cell" / Byte,  # 0-based, and lagging: computed anew from the cells
        "lowest_cell" / Byte,
        "cell_resistances" / Array(count, _OHM),
    )


_STATE = (
    "soc" / Byte,
    "remaining_capacity" / _MILLI,
    "full_capacity" / _MILLI,  # aged by the BMS on some (`jk02-32s-b2a8s20p-11.50-aged`)
    "cycles" / Int32ul,
    "cycle_capacity" / _MILLI,
    "soh" / Byte,
    "precharge_state" / Byte,
)
_CALIBRATION = (
    "discharge_correction" / Int16ul,
    "charge_sense" / Int16ul,
    "discharge_sense" / Int16ul,
    "voltage_correction" / Bytes(4),  # a float; kept as bytes, because a NaN would not come back
)

_CELL_INFO_24S = Struct(
    *_cells(24),  # 6
    "reserved_112" / Bytes(2),
    "wire_warning" / Int32ul,  # 114
    "voltage" / _MILLI,  # 118
    "power" / _MILLI,  # unsigned and lagging: computed anew
    "current" / _MILLI_SIGNED,  # 126: + = charging
    "temperature_1" / _CELSIUS,
    "temperature_2" / _CELSIUS,
    "mosfet_temperature" / _CELSIUS,  # 134
    "alarms" / Int16ul,
    "balance_current" / _MILLI_SIGNED16
    if False
    else "balance_current" / scaled(Int16sl, 1000),
    "balance_action" / Byte,  # 140
    *_STATE,
    "reserved_160" / Bytes(2),  # changing garbage
    "uptime" / Int32ul,  # 162
    "charge_mosfet" / Byte,
    "discharge_mosfet" / Byte,
    "reserved_168" / Bytes(2),
    "release_countdowns" / Array(6, Int16ul),  # 170
    "sensor_mask" / Byte,  # 182
    "reserved_183" / Bytes(5),  # 183 reads 1 on boards without heating (4.1.7)
    *_CALIBRATION,  # 188
    "reserved_198" / Bytes(16),
    "run_ticks" / scaled(Int32ul, 10),  # 214
    "reserved_218" / Bytes(81),
)
