"""Daly's parameters in the A5 protocol: one 8-byte frame holds up to eight of them.

Each parameter group has an id to read and, where it can be written, another one to write. The
pairs follow no single rule (50-61 and 70-8B differ by 40h, 65-6A by 43h), so they stand in the
table. Names are the canonical setting keys where the concept is common to all vendors. Sources
and evidence: `docs/protocols/daly-a5.md`; 50-54, 5F and 60 were seen in `daly-can-params-heezes`,
63 in `daly-a5-uart-hwversion`, 61 as a write in `daly-a5-uart-setrtcsoc-tx`, the rest is the
layout of the vendor's PC tool.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import NamedTuple

from construct import Byte, Bytes, Int16ub, Int32ub, Struct

from bmslink.protocols.common.fields import Layout, scaled

__all__ = [
    "CHEMISTRIES",
    "CLOCK_FIELDS",
    "CLOCK_WRITE",
    "PARAMETERS",
    "TEXTS",
    "WRITES",
    "Parameter",
    "moment_bytes",
    "moment_of",
]

CHEMISTRIES = {0: "lfp", 1: "nmc", 2: "lto", 3: "na-ion"}
"""What byte 0 of parameter 53 names."""

_MV = scaled(Int16ub, 1000)
_100MV = scaled(Int16ub, 10)
_MILLI = scaled(Int32ub, 1000)
_CHARGE_A = scaled(Int16ub, -10, -30000)  # limits count down from 30000 for charging ...
_DISCHARGE_A = scaled(Int16ub, 10, -30000)  # ... and up for discharging, whatever 90's sign is
_CELSIUS = scaled(Byte, 1, -40)
_PERMILLE = scaled(Int16ub, 10)
_10MS = scaled(Int16ub, 100)
_100MS = scaled(Byte, 10)


class Parameter(NamedTuple):
    """One readable parameter frame."""

    layout: Layout
    write: int | None = None
    """The id that writes it; `None` is read-only."""


def _text(name: str) -> Layout:
    """A string in several frames: the frame's number from 1, then seven characters."""
    return Struct("number" / Byte, name / Bytes(7))


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


PARAMETERS: dict[int, Parameter] = {
    0x50: Parameter(
        Struct("nominal_capacity" / _MILLI, "daly_nominal_cell_voltage" / _MILLI), 0x10
    ),
    0x51: Parameter(
        Struct(
            "daly_boards" / Byte,
            *(f"daly_board_{n}_cells" / Byte for n in (1, 2, 3)),
            *(f"daly_board_{n}_sensors" / Byte for n in (1, 2, 3)),
            "reserved" / Byte,
        ),
        0x11,
    ),
    0x52: Parameter(  # whole Ah
        Struct("daly_charged_capacity" / Int32ub, "daly_discharged_capacity" / Int32ub), 0x12
    ),
    0x53: Parameter(
        Struct(
            "chemistry" / Byte,
            "daly_operating_mode" / Byte,  # 1 long press, 2 short press wakes it
            "daly_production_year" / Byte,  # from 2000
            "daly_production_month" / Byte,
            "daly_production_day" / Byte,
            "sleep_delay" / Int16ub,  # s; FFFF = never
            "daly_current_drift" / scaled(Byte, 10),  # A; smaller currents are shown as 0
        ),
        0x13,
    ),
    0x54: Parameter(Struct("daly_firmware_index" / Bytes(8)), 0x14),
    0x56: Parameter(_text("daly_server"), 0x16),
    0x57: Parameter(_text("daly_battery_code"), 0x17),
    0x59: Parameter(
        Struct(
            "cell_ovp_warning" / _MV,
            "cell_ovp" / _MV,
            "cell_uvp_warning" / _MV,
            "cell_uvp" / _MV,
        ),
        0x19,
    ),
    0x5A: Parameter(
        Struct(
            "pack_ovp_warning" / _100MV,
            "pack_ovp" / _100MV,
            "pack_uvp_warning" / _100MV,
            "pack_uvp" / _100MV,
        ),
        0x1A,
    ),
    0x5B: Parameter(
        Struct(
            "charge_ocp_warning" / _CHARGE_A,
            "charge_ocp" / _CHARGE_A,
            "discharge_ocp_warning" / _DISCHARGE_A,
            "discharge_ocp" / _DISCHARGE_A,
        ),
        0x1B,
    ),
    0x5C: Parameter(
        Struct(
            "charge_otp_warning" / _CELSIUS,
            "charge_otp" / _CELSIUS,
            "charge_utp_warning" / _CELSIUS,
            "charge_utp" / _CELSIUS,
            "discharge_otp_warning" / _CELSIUS,
            "discharge_otp" / _CELSIUS,
            "discharge_utp_warning" / _CELSIUS,
            "discharge_utp" / _CELSIUS,
        ),
        0x1C,
    ),
    0x5D: Parameter(
        Struct(
            "soc_high_warning" / _PERMILLE,
            "soc_high" / _PERMILLE,
            "soc_low_warning" / _PERMILLE,
            "soc_low" / _PERMILLE,
        ),
        0x1D,
    ),
    0x5E: Parameter(
        Struct(
            "cell_delta_warning" / _MV,
            "cell_delta" / _MV,
            "temperature_delta_warning" / Byte,  # K, without the offset of 40
            "temperature_delta" / Byte,
            "reserved" / Bytes(2),
        ),
        0x1E,
    ),
    0x5F: Parameter(
        Struct("balance_start_voltage" / _MV, "balance_delta" / _MV, "residue" / Bytes(4)), 0x1F
    ),
    0x60: Parameter(
        Struct(
            "short_circuit_current" / Int16ub,
            "daly_shunt_resistance" / scaled(Int16ub, 1_000_000),
            "residue" / Bytes(4),
        ),
        0x20,
    ),
    0x61: Parameter(
        Struct(*(f"daly_clock_{name}" / Byte for name in CLOCK_FIELDS), "reserved" / Bytes(2)), 0x21
    ),
    0x62: Parameter(_text("daly_software_version")),
    0x63: Parameter(_text("daly_hardware_version")),
    0x65: Parameter(
        Struct("daly_board_number" / Byte, "daly_slave_count" / Byte, "reserved" / Bytes(6)), 0x22
    ),
    0x66: Parameter(
        Struct(
            "daly_heater_on" / _CELSIUS,
            "daly_heater_off" / _CELSIUS,
            "daly_fan_on" / _CELSIUS,
            "daly_fan_off" / _CELSIUS,
            "daly_key_logic" / Byte,
            "daly_tc_can" / Byte,
            "daly_self_consumption" / scaled(Int16ub, 1000),
        ),
        0x23,
    ),
    0x67: Parameter(Struct("daly_active_balance" / Bytes(8)), 0x24),  # bytes not told apart
    0x68: Parameter(
        Struct(
            "daly_balancer_series" / Byte,
            "balance_current" / scaled(Int16ub, 10),
            "reserved" / Bytes(5),
        ),
        0x25,
    ),
    0x69: Parameter(
        Struct(
            "daly_inverter_brand" / Byte, "daly_inverter_transport" / Byte, "reserved" / Bytes(6)
        ),
        0x26,
    ),
    0x6A: Parameter(_text("daly_serial_number"), 0x27),
    0x8B: Parameter(Struct("daly_resistance_compensation" / Bytes(8)), 0x4B),
}


def _four(name: str, value: Layout, delay: Layout) -> Iterator[Layout]:
    """A limit with its delay, its release and the release's delay, in wire order."""
    yield name / value
    yield f"{name}_delay" / delay
    yield f"{name}_release" / value
    yield f"{name}_release_delay" / delay


def _level(level: int) -> Iterator[Layout]:
    """The nine frames of one extended protection level, in the order of their ids."""
    p = f"daly_level_{level}"
    yield Struct(*_four(f"{p}_cell_ovp", _MV, _10MS))
    yield Struct(*_four(f"{p}_cell_uvp", _MV, _10MS))
    yield Struct(
        f"{p}_discharge_ocp" / _DISCHARGE_A,
        f"{p}_discharge_ocp_delay" / _10MS,
        f"{p}_charge_ocp" / _CHARGE_A,
        f"{p}_charge_ocp_delay" / _10MS,
    )
    for kind in ("otp", "utp"):
        yield Struct(
            *_four(f"{p}_charge_{kind}", _CELSIUS, _100MS),
            *_four(f"{p}_discharge_{kind}", _CELSIUS, _100MS),
        )
    yield Struct(*_four(f"{p}_pack_ovp", _100MV, _10MS))
    yield Struct(*_four(f"{p}_pack_uvp", _100MV, _10MS))
    yield Struct(*_four(f"{p}_cell_delta", _MV, _10MS))
    yield Struct(*_four(f"{p}_temperature_delta", Int16ub, _10MS))


for _number, _first in ((1, 0x70), (2, 0x79), (3, 0x82)):
    for _id, _layout in enumerate(_level(_number), _first):
        PARAMETERS[_id] = Parameter(_layout, _id - 0x40)

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
