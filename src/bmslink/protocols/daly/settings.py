"""Daly's parameters in the A5 protocol: one 8-byte frame holds up to eight of them.

One row a setting, by the id that reads it, in the order of its frame. Names are the canonical
setting keys where the concept is common to all vendors. Sources and evidence:
`docs/protocols/daly-a5.md`; 50-54, 5F and 60 were seen in `daly-can-params-heezes`, 63 in
`daly-a5-uart-hwversion`, 61 as a write in `daly-a5-uart-setrtcsoc-tx`, the rest is the layout of
the vendor's PC tool.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import NamedTuple

from construct import Byte, Bytes, Int16ub, Int32ub, Struct

from bmslink.protocols.common.fields import Layout, scaled
from bmslink.protocols.common.rows import Row, bare, layouts
from bmslink.settings.setting import Danger, Evidence

__all__ = [
    "CHEMISTRIES",
    "CLOCK_FIELDS",
    "CLOCK_WRITE",
    "PARAMETERS",
    "ROWS",
    "TEXTS",
    "WRITES",
    "Parameter",
    "moment_bytes",
    "moment_of",
]

CHEMISTRIES = {0: "lfp", 1: "nmc", 2: "lto", 3: "na-ion"}
"""What byte 0 of parameter 53 names."""

_SIZE = 8
"""Bytes of every parameter."""
_MV = scaled(Int16ub, 1000)
_100MV = scaled(Int16ub, 10)
_MILLI = scaled(Int32ub, 1000)
_CHARGE_A = scaled(Int16ub, -10, -30000)  # limits count down from 30000 for charging ...
_DISCHARGE_A = scaled(Int16ub, 10, -30000)  # ... and up for discharging, whatever 90's sign is
_CELSIUS = scaled(Byte, 1, -40)
_PERMILLE = scaled(Int16ub, 10)
_10MS = scaled(Int16ub, 100)
_100MS = scaled(Byte, 10)

_CELL, _PACK, _AMPS = (0.5, 5.0), (4.0, 250.0), (0.1, 1000.0)
_DEGREES, _PERCENT, _KELVIN = (-40, 120), (0, 100), (1, 100)
_NEVER = 0xFFFF  # s; no number of seconds
_APP = Evidence.APP
_ALL = Danger.COMMISSIONING
_BOARD = "it is the board's own wiring"
_CALIBRATES = "it calibrates the board: a wrong value falsifies every measurement"


def _shown(
    at: int, key: str, wire: Layout, title: str, reason: str = _BOARD, unit: str = ""
) -> Row:
    """Was seen, and is never written."""
    return Row(at, key, wire, None, Evidence.CAPTURE,
               title=title, unit=unit, reason=reason, own=True)  # fmt: skip


def _two(
    at: int, key: str, wire: Layout, limits: tuple[float, float], lowest: float | None = None
) -> Iterator[Row]:
    """Warning and protection."""
    for name in (f"{key}_warning", key):
        yield Row(at, name, wire, limits, _APP, lowest=lowest)


def _four(at: int, name: str, value: Layout, delay: Layout) -> Iterator[Row]:
    """A limit with its delay, its release and the release's delay, in wire order."""
    yield bare(at, name, value)
    yield bare(at, f"{name}_delay", delay)
    yield bare(at, f"{name}_release", value)
    yield bare(at, f"{name}_release_delay", delay)


def _level(level: int, at: int) -> Iterator[Row]:
    """The nine frames of one extended protection level; nobody has recorded any of them."""
    p = f"daly_level_{level}"
    yield from _four(at, f"{p}_cell_ovp", _MV, _10MS)
    yield from _four(at + 1, f"{p}_cell_uvp", _MV, _10MS)
    for direction, amps in (("discharge", _DISCHARGE_A), ("charge", _CHARGE_A)):
        yield bare(at + 2, f"{p}_{direction}_ocp", amps)
        yield bare(at + 2, f"{p}_{direction}_ocp_delay", _10MS)
    for more, kind in ((3, "otp"), (4, "utp")):
        for direction in ("charge", "discharge"):
            yield from _four(at + more, f"{p}_{direction}_{kind}", _CELSIUS, _100MS)
    yield from _four(at + 5, f"{p}_pack_ovp", _100MV, _10MS)
    yield from _four(at + 6, f"{p}_pack_uvp", _100MV, _10MS)
    yield from _four(at + 7, f"{p}_cell_delta", _MV, _10MS)
    yield from _four(at + 8, f"{p}_temperature_delta", Int16ub, _10MS)


def _text(at: int, name: str) -> Iterator[Row]:
    """A string in several frames: the frame's number from 1, then seven characters."""
    yield bare(at, "number", Byte)
    yield bare(at, name, Bytes(7))


CLOCK_FIELDS = ("year", "month", "day", "hour", "minute", "second")
CLOCK_WRITE = Struct(*(name / Byte for name in CLOCK_FIELDS), "soc" / _PERMILLE)
"""Id 21: setting the clock always sets the state of charge as well, and the other way round."""


def moment_of(data: bytes) -> datetime | None:
    """What Daly boards say of their clock, taken as the time of the place: year from 2000 to
    second, a byte each; `None` where that is no moment."""
    try:
        year, month, day, hour, minute, second = data[:6]
        wall = datetime(2000 + year, month, day, hour, minute, second, tzinfo=UTC)
        return datetime.fromtimestamp(time.mktime((*wall.timetuple()[:8], -1)), UTC).astimezone()
    except (ValueError, IndexError, OverflowError):
        return None


def moment_bytes(moment: datetime) -> bytes:
    """The other way round."""
    wall = moment.astimezone()
    return bytes((wall.year - 2000, *wall.timetuple()[1:6]))


ROWS: tuple[Row, ...] = (
    Row(0x50, "nominal_capacity", _MILLI, (1, 4000), _APP, danger=_ALL),
    Row(0x50, "daly_nominal_cell_voltage", _MILLI, (1.0, 4.5), _APP,
        title="Nominal cell voltage", unit="V", danger=_ALL),
    _shown(0x51, "daly_boards", Byte, "Measuring boards"),
    _shown(0x51, "daly_board_1_cells", Byte, "Cells of board 1"),
    bare(0x51, "daly_board_2_cells", Byte),
    bare(0x51, "daly_board_3_cells", Byte),
    _shown(0x51, "daly_board_1_sensors", Byte, "Sensors of board 1"),
    bare(0x51, "daly_board_2_sensors", Byte),
    bare(0x51, "daly_board_3_sensors", Byte),
    bare(0x52, "daly_charged_capacity", Int32ub),  # whole Ah
    bare(0x52, "daly_discharged_capacity", Int32ub),
    Row(0x53, "chemistry", Byte, None, _APP, choices=CHEMISTRIES, danger=_ALL),
    _shown(0x53, "daly_operating_mode", Byte, "Wakes by"),  # 1 long press, 2 short press
    bare(0x53, "daly_production_year", Byte),  # from 2000
    bare(0x53, "daly_production_month", Byte),
    bare(0x53, "daly_production_day", Byte),
    Row(0x53, "sleep_delay", Int16ub, (60, _NEVER - 1), _APP, absent=(_NEVER,)),
    _shown(0x53, "daly_current_drift", scaled(Byte, 10), "Smaller currents count as 0",
           _CALIBRATES, "A"),
    bare(0x54, "daly_firmware_index", Bytes(8)),
    *_text(0x56, "daly_server"),
    *_text(0x57, "daly_battery_code"),
    *_two(0x59, "cell_ovp", _MV, _CELL),
    *_two(0x59, "cell_uvp", _MV, _CELL),
    *_two(0x5A, "pack_ovp", _100MV, _PACK),
    *_two(0x5A, "pack_uvp", _100MV, _PACK),
    *_two(0x5B, "charge_ocp", _CHARGE_A, _AMPS, 0.0),
    *_two(0x5B, "discharge_ocp", _DISCHARGE_A, _AMPS, 0.0),
    *_two(0x5C, "charge_otp", _CELSIUS, _DEGREES),
    *_two(0x5C, "charge_utp", _CELSIUS, _DEGREES),
    *_two(0x5C, "discharge_otp", _CELSIUS, _DEGREES),
    *_two(0x5C, "discharge_utp", _CELSIUS, _DEGREES),
    *_two(0x5D, "soc_high", _PERMILLE, _PERCENT),
    *_two(0x5D, "soc_low", _PERMILLE, _PERCENT),
    *_two(0x5E, "cell_delta", _MV, (0.005, 2.0)),
    *_two(0x5E, "temperature_delta", Byte, _KELVIN),  # K, without the offset of 40
    Row(0x5F, "balance_start_voltage", _MV, (1.0, 5.0), _APP),
    Row(0x5F, "balance_delta", _MV, (0.001, 0.5), _APP),
    bare(0x5F, "residue", Bytes(4)),
    Row(0x60, "short_circuit_current", Int16ub, (1, 65535), _APP, danger=_ALL),
    _shown(0x60, "daly_shunt_resistance", scaled(Int16ub, 1_000_000), "Shunt", _CALIBRATES, "Ω"),
    bare(0x60, "residue", Bytes(4)),
    *(bare(0x61, f"daly_clock_{name}", Byte) for name in CLOCK_FIELDS),
    *_text(0x62, "daly_software_version"),
    *_text(0x63, "daly_hardware_version"),
    bare(0x65, "daly_board_number", Byte),
    bare(0x65, "daly_slave_count", Byte),
    bare(0x66, "daly_heater_on", _CELSIUS),
    bare(0x66, "daly_heater_off", _CELSIUS),
    bare(0x66, "daly_fan_on", _CELSIUS),
    bare(0x66, "daly_fan_off", _CELSIUS),
    bare(0x66, "daly_key_logic", Byte),
    bare(0x66, "daly_tc_can", Byte),
    bare(0x66, "daly_self_consumption", scaled(Int16ub, 1000)),
    bare(0x67, "daly_active_balance", Bytes(8)),  # bytes not distinguished
    bare(0x68, "daly_balancer_series", Byte),
    bare(0x68, "balance_current", scaled(Int16ub, 10)),
    bare(0x69, "daly_inverter_brand", Byte),
    bare(0x69, "daly_inverter_transport", Byte),
    *_text(0x6A, "daly_serial_number"),
    *_level(1, 0x70),
    *_level(2, 0x79),
    *_level(3, 0x82),
    bare(0x8B, "daly_resistance_compensation", Bytes(8)),
)  # fmt: skip


class Parameter(NamedTuple):
    """One readable parameter frame."""

    layout: Layout
    write: int | None = None
    """The id that writes it; `None` is read-only."""


def _write_id(data_id: int) -> int | None:
    """The pairs follow no single rule."""
    if data_id in (0x62, 0x63):  # versions
        return None
    return data_id - (0x43 if 0x64 <= data_id <= 0x6A else 0x40)


PARAMETERS: dict[int, Parameter] = {
    data_id: Parameter(layout, _write_id(data_id))
    for data_id, layout in layouts(ROWS, _SIZE, "reserved").items()
}

WRITES: dict[int, int] = {
    parameter.write: data_id
    for data_id, parameter in PARAMETERS.items()
    if parameter.write is not None
}
"""Write id -> the id of the parameter it writes."""

TEXTS: dict[int, str] = {
    0x54: "daly_firmware_index",
    0x56: "daly_server",
    0x57: "daly_battery_code",
    0x62: "daly_software_version",
    0x63: "daly_hardware_version",
    0x6A: "daly_serial_number",
}
"""The parameters that are text, by the name of their field."""
