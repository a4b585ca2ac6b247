"""The payloads of JK02 records, bytes 6-298 of the 300, for 24S and 32S boards.

Offsets in the comments count from the frame's first byte, as everywhere in
`docs/protocols/jk02.md`, which holds the sources. Bytes of unknown meaning are `reserved_OFFSET`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from construct import (
    Array,
    Byte,
    Bytes,
    FormatField,
    Int8sb,
    Int16sl,
    Int16ul,
    Int32sl,
    Int32ul,
    Struct,
)

from bmslink.errors import FrameError
from bmslink.protocols.base import require
from bmslink.protocols.common.fields import Layout, Scaled, fields_of, scaled, text

__all__ = [
    "CELL_INFO",
    "DETAIL_ENTRIES",
    "DETAIL_ENTRY",
    "DETAIL_LOG",
    "DEVICE_INFO",
    "LOGBOOK",
    "LOG_ENTRY",
    "NAMES_OF_BOARD",
    "PAYLOAD",
    "SLOTS",
    "cell_info_variant",
    "device_variant",
    "fitted",
    "settings_variant",
]

PAYLOAD = 293
"""Bytes between the counter and the checksum of every record."""
SLOTS = {"24s": 24, "32s": 32}

_MV16 = scaled(Int16ul, 1000)
_MA16 = scaled(Int16sl, 1000)
_OHM = scaled(Int16ul, 1000)
_MILLI = scaled(Int32ul, 1000)
_MILLI_SIGNED = scaled(Int32sl, 1000)
_CELSIUS = scaled(Int16sl, 10)


def _cells(count: int) -> tuple[Layout, ...]:
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
    "full_capacity" / _MILLI,  # aged by the BMS on some (jk02-32s-b2a8s20p-11.50-aged)
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
    "balance_current" / _MA16,
    "balance_action" / Byte,  # 140
    *_STATE,
    "reserved_160" / Bytes(2),  # changing garbage
    "uptime" / Int32ul,  # 162
    "charge_mosfet" / Byte,
    "discharge_mosfet" / Byte,
    "reserved_168" / Bytes(2),
    "release_countdowns" / Array(6, Int16ul),  # 170
    "sensor_mask" / Byte,  # 182: bit 0 MOS, 1 T1, 2 T2
    "reserved_183" / Bytes(5),  # 183 reads 1 on a board without heating (4.1.7)
    *_CALIBRATION,  # 188
    "reserved_198" / Bytes(16),
    "run_ticks" / scaled(Int32ul, 10),  # 214
    "reserved_218" / Bytes(81),
)

_CELL_INFO_32S = Struct(
    *_cells(32),  # 6
    "mosfet_temperature" / _CELSIUS,  # 144
    "wire_warning" / Int32ul,
    "voltage" / _MILLI,  # 150
    "power" / _MILLI,  # unsigned and lagging: computed anew
    "current" / _MILLI_SIGNED,  # 158: + = charging
    "temperature_1" / _CELSIUS,
    "temperature_2" / _CELSIUS,
    "alarms" / Int32ul,  # 166
    "balance_current" / _MA16,
    "balance_action" / Byte,  # 172
    *_STATE,
    "user_alarm" / Int16ul,  # 192
    "uptime" / Int32ul,
    "charge_mosfet" / Byte,  # 198
    "discharge_mosfet" / Byte,
    "user_alarm_2" / Int16ul,
    "release_countdowns" / Array(6, Int16ul),  # 202
    "sensor_mask" / Byte,  # 214: constant FF unless enable flag 36 is set
    "heating" / Byte,
    "reserved_216" / Bytes(2),
    "emergency_countdown" / Int16ul,  # 218
    *_CALIBRATION,
    "charge_pwm" / Int16ul,  # 230
    "discharge_pwm" / Int16ul,
    "voltage_2" / scaled(Int16ul, 100),
    "heating_current" / _MA16,  # 236: garbage unless enable flag 48 is set
    "relay" / Byte,
    "acc" / Byte,
    "special_charger" / Byte,
    "startup" / Byte,
    "vol_c" / Byte,
    "mcu_id" / Byte,
    "reserved_244" / Bytes(1),
    "charger_plugged" / Byte,  # 0 in every capture, charging included
    "run_ticks" / scaled(Int32ul, 10),  # 246
    "undervoltage_stamp" / scaled(Int32ul, 10),
    "temperature_3" / _CELSIUS,  # 254: a copy of the MOS value unless enable flag 59 is set
    "temperature_4" / _CELSIUS,
    "temperature_5" / _CELSIUS,
    "charge_correction" / Int16ul,
    "clock" / Int32ul,  # 262: seconds since 2020-01-01, local standard time
    "log_count" / Int32ul,
    "sleep_in" / Int32ul,
    "parallel_limiter" / Byte,  # 274
    "chemistry" / Byte,
    "reserved_276" / Bytes(2),
    "charge_stage_time" / Int16ul,
    "charge_stage" / Byte,  # 280
    "outputs" / Byte,
    "reserved_282" / Bytes(5),
    "enable_flags" / Bytes(12),  # 287: which of these fields are valid
)

CELL_INFO: dict[str, Layout] = {"24s": _CELL_INFO_24S, "32s": _CELL_INFO_32S}
"""Type 02, the live values, by variant."""

DEVICE_INFO = Struct(
    "vendor_id" / Bytes(15),  # 6
    "maximum_cells" / Byte,
    "hardware_version" / Bytes(8),  # 22
    "software_version" / Bytes(8),
    "run_time" / Int32ul,  # 38
    "power_on_count" / Int32ul,
    "name" / Bytes(16),  # 46
    "password" / Bytes(16),  # 62, plain text: never shown
    "first_power_on" / Bytes(8),
    "serial_number" / Bytes(16),  # 86: cut at the first NUL, a passcode may follow
    "user_data" / Bytes(16),
    "settings_password" / Bytes(16),  # 118, plain text: never shown
    "user_data_2" / Bytes(16),
    "command_flags" / Bytes(32),  # 150: bit n = register n may be written
    "agency" / Int16ul,
    "uart1_protocol" / Byte,  # 184
    "can_protocol" / Byte,
    "uart1_protocols" / Int32ul,
    "hardware_option" / Bytes(12),  # 190
    "can_protocols" / Int32ul,
    "reserved_206" / Bytes(12),
    "uart2_protocol" / Byte,  # 218
    "uart2_protocols" / Int32ul,
    "reserved_223" / Bytes(11),
    "buzzer_trigger" / Byte,  # 234
    "dry1_trigger" / Byte,
    "dry2_trigger" / Byte,
    "uart_library" / Byte,
    "trigger_values" / Array(6, Int32sl),  # 238: buzzer, DRY1, DRY2, each trigger and release
    "store_period" / Int32ul,
    "request_charge_time" / scaled(Byte, 10),  # 266
    "float_time" / scaled(Byte, 10),
    "can_library" / Byte,
    "emergency_minutes" / Byte,
    "uart3_protocol" / Byte,  # 270
    "uart3_protocols" / Bytes(7),
    "rebulk_soc" / Byte,
    "uart4_protocol" / Byte,
    "uart4_protocols" / Int32ul,  # 280
    "reserved_284" / Bytes(3),
    "enable_flags" / Bytes(11),  # 287: meaning not solved
    "protocol_version" / Byte,
)
"""Type 03; 24S boards fill it only up to byte 133."""

NAMES_OF_BOARD = frozenset(
    {"serial_number", "name", "user_data", "user_data_2", "password", "settings_password"}
)
"""The fields of a type 03 that say whose board it is."""

_LOGBOOK_SLOTS = 50

LOG_ENTRY = Struct("seconds" / Int32ul, "code" / Byte)
"""An entry of the logbook: running time since the first power-on, and what happened then."""

LOGBOOK = Struct(
    "count" / Int32ul,  # 6: may exceed the slots
    "last" / Byte,
    "entries" / Array(_LOGBOOK_SLOTS, LOG_ENTRY),
    "reserved_261" / Bytes(38),
)
"""Type 05: events with the seconds since the first power-on."""

DETAIL_ENTRY = Struct(
    "clock" / Int32ul,  # seconds since 2020-01-01, standard time of the owner's zone
    "code" / Byte,  # 0 = periodic
    "states" / Byte,  # bit 0 charge FET, 1 discharge FET, 2 balancing, 3 heating
    "highest_cell" / Byte,  # 0-based
    "lowest_cell" / Byte,
    "max_cell_voltage" / _MV16,
    "min_cell_voltage" / _MV16,
    "voltage" / scaled(Int16ul, 100),
    "current" / scaled(Int16sl, 10),  # signed, whatever the vendor's table says
    "remaining_capacity" / scaled(Int16ul, 10),
    "full_capacity" / scaled(Int16ul, 10),
    "max_temperature" / Int8sb,
    "min_temperature" / Int8sb,
    "mosfet_temperature" / Int8sb,
    "heating_current" / scaled(Byte, 10),
)
"""An entry of the detail log."""
DETAIL_ENTRIES = 12
"""In one record; the last one of an answer has fewer."""

DETAIL_LOG = Struct(
    "first" / Int16ul,  # 6
    "count" / Byte,
    "entries" / Array(DETAIL_ENTRIES, DETAIL_ENTRY),
    "reserved_297" / Bytes(2),
)
"""Type 06: the detail log, newest firmwares."""


def fitted(layout: Layout, values: Mapping[str, Any]) -> dict[str, Any]:
    """Values as the fields of a flat layout can hold them: rounded to the field's step, and
    stopped at its end. What is no number stays as it is, and what is no field is left out."""
    found: dict[str, Any] = {}
    rooms = _rooms(layout)
    for name in values.keys() & rooms.keys():
        (many, room), value = rooms[name], values[name]
        if room is not None:
            value = room.fit_all(value) if many else room.fit(value)
        found[name] = value
    return found


class _Room(NamedTuple):
    """What a number can hold."""

    low: int
    high: int
    per: int | None
    """Raw steps a unit; `None`: it has no scale."""

    def fit(self, value: float | None) -> float:
        whole = min(max(round((value or 0) * (self.per or 1)), self.low), self.high)
        return whole if self.per is None else whole / self.per

    def fit_all(self, values: Iterable[float | None]) -> list[float]:
        """The same for many: most are zeros of places where no cell is."""
        none = self.fit(0)
        return [self.fit(value) if value else none for value in values]


@lru_cache(maxsize=16)
def _rooms(layout: Layout) -> dict[str, tuple[bool, _Room | None]]:
    """Of each field whether it is an array, and the room of its numbers; not to be changed."""
    return {
        name: (True, _room(wire.subcon)) if isinstance(wire, Array) else (False, _room(wire))
        for name, wire in fields_of(layout)
    }


def _room(wire: Layout) -> _Room | None:
    number, per = (wire.subcon, wire.per) if isinstance(wire, Scaled) else (wire, None)
    if not isinstance(number, FormatField):
        return None
    size = 8 * number.sizeof()
    low = -(1 << size - 1) if number.fmtstr[1].islower() else 0
    return _Room(low, low + (1 << size) - 1, per)


# ---------------------------------------------------------------------------------- variant


def device_variant(vendor_id: bytes, software: bytes) -> str | None:
    """`24s` or `32s` from type 03, `None` where the version is no number.

    From version 11 on all boards are 32S. Before, a model that ends in P (current class) is 24S,
    any other is a JK04, whose numbers are floats: `FrameError`.
    """
    model, version = text(vendor_id), text(software)
    major = version.upper().removeprefix("V").split(".")[0]
    if not (major.isascii() and major.isdigit()):
        return None
    if int(major) >= 11:
        return "32s"
    require(
        model.endswith("P"),
        f"{model or 'This board'} with firmware {version} speaks jk04.",
    )
    return "24s"


def _contiguous(mask: int) -> bool:
    return mask > 0 and mask & (mask + 1) == 0


def _u32(payload: bytes, offset: int) -> int:
    return int.from_bytes(payload[offset - 6 : offset - 2], "little")


def _is_float(payload: bytes, offset: int) -> bool:
    """Whether a plausible cell voltage is there as a float, as JK04 sends it."""
    value: float = struct.unpack_from("<f", payload, offset - 6)[0]
    return 0.5 <= value <= 5.0


def cell_info_variant(payload: bytes) -> str | None:
    """What a type 02 proves by itself: `24s`, `32s`, or nothing (`None`).

    The mask of connected cells is a row of ones, at 54 on 24S and at 70 on 32S, where 54 holds
    the voltages of cells 25 and 26. Only 32S boards have enable flags. `FrameError` for JK04,
    and for a frame that looks like both.
    """
    floats = struct.unpack_from("<12f", payload)  # cells only, on 24S and on 32S
    require(not [v for v in floats if 0.5 <= v <= 5.0], "Cells as floats: this is jk04.")
    mask24, mask32 = _u32(payload, 54), _u32(payload, 70)
    is24 = _contiguous(mask24) and mask24.bit_length() <= 24
    is32 = _contiguous(mask32) and (mask24 == 0 or mask32.bit_length() > 24)
    is32 = is32 or any(payload[287 - 6 :])
    require(not (is24 and is32), "Live values that look like 24S and like 32S: damaged or unknown.")
    return "24s" if is24 else "32s" if is32 else None


def settings_variant(payload: bytes, known: str | None) -> str:
    """The variant of a type 01, given what is known; `FrameError` if it stays open.

    Enable flags at 287 prove 32S. A table that is empty from 142 on and has a cell count where
    JK02 keeps it is 24S; JK04 has its balancer switch (0 or 1) there.
    """
    if any(payload[287 - 6 : 296 - 6]):
        require(known != "24s", "Settings of a 32S board, but this one is known as 24S.", payload)
        return "32s"
    if known is not None:
        return known
    empty = not any(payload[142 - 6 :])
    if empty and 2 <= _u32(payload, 114) <= 24 and not _is_float(payload, 38):
        return "24s"
    raise FrameError("Settings of an unknown JK variant: read the device info first.", payload)
