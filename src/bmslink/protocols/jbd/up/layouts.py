"""Payloads of the JBD UP blocks: what is where, and which bit means what.

Facts and their evidence: `docs/protocols/jbd-up.md`. Block 2000, like the settings, was solved from
answers, not from documents, so names that only fit the values are `jbd_up_…`.
"""

from __future__ import annotations

from functools import lru_cache

from construct import Array, Byte, Bytes, Const, Int16ub, Int32sb, Int32ub, Struct

from bmslink.model import Condition
from bmslink.protocols.base import require
from bmslink.protocols.common.fields import Layout, kelvin, scaled
from bmslink.protocols.jbd.up.settings import LAYOUTS

__all__ = [
    "ALARMS",
    "BLOCKS",
    "FAULTS",
    "WRITES",
    "individual_layout",
    "status_layout",
]

_MV = scaled(Int16ub, 1000)
_10MV = scaled(Int16ub, 100)
_10MAH = scaled(Int16ub, 100)
_DECI = scaled(Int16ub, 10)
_CELSIUS = scaled(Int16ub, 10, -500)
_PERCENT = scaled(Int16ub, 100)

_STATUS_HEAD = (
    "voltage" / _10MV,  # 0
    "relayed_voltage" / _10MV,  # 2: 0 on the pack itself, the voltage again where it is relayed
    "current" / scaled(Int32ub, 100, -300000),  # 4: + = charging
    "soc" / _PERCENT,  # 8: whole percents where relayed
    "remaining_capacity" / _10MAH,  # 10
    "full_capacity" / _10MAH,
    "nominal_capacity" / _10MAH,
    "mosfet_temperature" / _CELSIUS,  # 16
    "ambient_temperature" / _CELSIUS,
    "state" / Int16ub,  # 20: 0 idle, 1 charging, 2 discharging
    "soh" / Int16ub,
    "faults" / Int32ub,  # 24
    "alarms" / Int32ub,  # 28
    "flags" / Int16ub,  # 32: bit 0 discharge, 1 charge, 2 precharge, 3 heater, 4 fan
    "connection_state" / Int16ub,
    "cycles" / Int16ub,  # 36
    "highest_cell" / Int16ub,
    "max_cell_voltage" / _MV,
    "lowest_cell" / Int16ub,
    "min_cell_voltage" / _MV,
    "average_voltage" / _MV,  # 46
    "hottest_sensor" / Int16ub,
    "max_temperature" / _CELSIUS,
    "coldest_sensor" / Int16ub,
    "min_temperature" / _CELSIUS,
    "mean_temperature" / _CELSIUS,  # 56
    "charge_voltage_limit" / _DECI,  # 58: address 1 speaks for the whole bank
    "charge_current_limit" / _DECI,
    "discharge_voltage_limit" / _DECI,
    "discharge_current_limit" / _DECI,  # 64
    "cell_count" / Int16ub,
)
_STATUS_HEAD_SIZE = 68
_STATUS_TAIL = (
    "reserved" / Bytes(2),
    "balance" / Int16ub,  # bit 0 = cell 1
    "version" / Int16ub,  # major and minor byte; minor only where relayed
    "serial_number" / Bytes(30),
)
_STATUS_TAIL_SIZE = 36


def status_layout(data: bytes) -> Layout:
    """Block 1000, which announces its own cells and sensors; 4 to 12 bytes more may follow."""
    require(
        len(data) >= _STATUS_HEAD_SIZE, f"A pack status of {len(data)} bytes is too short.", data
    )
    cells = int.from_bytes(data[_STATUS_HEAD_SIZE - 2 : _STATUS_HEAD_SIZE], "big")
    at = _STATUS_HEAD_SIZE + 2 * cells
    require(len(data) >= at + 2, f"{cells} cells do not fit into {len(data)} bytes.", data)
    sensors = int.from_bytes(data[at : at + 2], "big")
    left = len(data) - at - 2 - 2 * sensors - _STATUS_TAIL_SIZE
    require(left >= 0, f"{cells} cells, {sensors} sensors do not fit into {len(data)} bytes.", data)
    return _status_layout(cells, sensors, left)


@lru_cache(maxsize=64)
def _status_layout(cells: int, sensors: int, surplus: int) -> Layout:
    return Struct(
        *_STATUS_HEAD,
        "cell_voltages" / Array(cells, _MV),
        "sensor_count" / Int16ub,
        "temperatures" / Array(sensors, _CELSIUS),
        *_STATUS_TAIL,
        "surplus" / Bytes(surplus),
    )


def individual_layout(data: bytes) -> Layout:
    """FC 45, a pack's own status; its temperatures count from 273.1 K, unlike block 1000's."""
    require(len(data) >= 2, f"An individual status of {len(data)} bytes is too short.", data)
    cells = int.from_bytes(data[:2], "big")
    at = 2 + 2 * cells + 72
    require(len(data) >= at + 4, f"{cells} cells do not fit into {len(data)} bytes.", data)
    layout = _individual_layout(cells, data[at])
    require(
        layout.sizeof() == len(data),
        f"{cells} cells and {data[at]} sensors do not make {len(data)} bytes.",
        data,
    )
    return layout


@lru_cache(maxsize=64)
def _individual_layout(cells: int, sensors: int) -> Layout:
    return Struct(
        "cell_count" / Int16ub,  # 0
        "cell_voltages" / Array(cells, _MV),  # 2; offsets below for 16 cells
        "max_cell_voltage" / _MV,  # 34
        "min_cell_voltage" / _MV,
        "voltage" / _10MV,  # 38
        "current" / scaled(Int32sb, 100),  # 40: + = charging
        "max_temperature" / kelvin(),  # 44
        "min_temperature" / kelvin(),
        "nominal_capacity" / _10MAH,  # 48
        "remaining_capacity" / _10MAH,
        "cycles" / Int16ub,  # 52
        "soc" / Int16ub,
        "soh" / Int16ub,
        "reserved_58" / Bytes(4),  # 0 in every answer
        "status" / Int16ub,  # 62: 3 and 11 were seen
        "reserved_64" / Bytes(2),
        "serial_number" / Bytes(30),  # 66: the bytes of each pair are swapped
        "charge_current_limit" / _DECI,  # 96: of this pack alone
        "discharge_current_limit" / _DECI,
        "reserved_100" / Bytes(2),
        "mosfet_temperature" / kelvin(),  # 102
        "ambient_temperature" / kelvin(),
        "sensor_count" / Byte,  # 106
        "version_minor" / Byte,
        "temperatures" / Array(sensors, kelvin()),  # 108
    )


_COUNTERS = (
    "soc" / _PERCENT,  # 6 of block 2000
    "soh" / Int16ub,
    "cycles" / Int16ub,
    "reserved_12" / Bytes(4),  # 150 and 80
    "total_charge" / scaled(Int32ub, 10),  # 16: Ah
    "total_discharge" / scaled(Int32ub, 10),
)
_CAPACITY = Struct(
    "nominal_capacity" / _10MAH,  # 0
    "full_capacity" / _10MAH,
    "remaining_capacity" / _10MAH,
    *_COUNTERS,
    "jbd_up_soc_points" / Array(8, Int16ub),  # 24: %, then mV of a cell
    "jbd_up_words" / Array(12, Int16ub),  # 40: 90, then limits and a cell count by their values
)
_CLOCK = Struct(*(name / Int16ub for name in ("year", "month", "day", "hour", "minute", "second")))
_PRODUCT = Struct(
    "model_id" / Int16ub,
    "hardware_revision" / Int16ub,
    "major" / Int16ub,  # 4
    "minor" / Int16ub,
    "patch" / Int16ub,
    "reserved_10" / Bytes(2),
    "model" / Bytes(16),  # 12
    "project" / Bytes(16),
)
_OPAQUE = Struct("reserved" / Bytes(14))

BLOCKS: dict[tuple[int, int], tuple[str, Layout]] = {
    (0x1800, 0xD0): ("protection_parameters", LAYOUTS[0x1800]),
    (0x1C00, 0x86): ("pack_parameters", LAYOUTS[0x1C00]),
    (0x2000, 0x40): ("capacity", _CAPACITY),
    (0x2006, 0x12): ("capacity", Struct(*_COUNTERS)),
    (0x2400, 0x0E): ("wireless", _OPAQUE),
    (0x2800, 0x0C): ("clock", _CLOCK),
    (0x2810, 0x2C): ("product", _PRODUCT),
    (0x2900, 0x0E): ("debug", _OPAQUE),
}
"""By start and length of the answer; the others announce their own length."""

_KEY = Const(b"\x11JBD")
WRITES: dict[tuple[int, int], Layout] = {
    (0x2006, 6): Struct("key" / _KEY, "soc" / _PERCENT),
    (0x2902, 6): Struct("key" / _KEY, "jbd_up_flags" / Int16ub),  # bit 0 discharge, 1 charge
}

FAULTS: dict[int, tuple[str, Condition]] = {
    0: ("protection", Condition.CELL_OVERVOLTAGE),
    1: ("protection", Condition.CELL_UNDERVOLTAGE),
    2: ("protection", Condition.PACK_OVERVOLTAGE),
    3: ("protection", Condition.PACK_UNDERVOLTAGE),
    4: ("protection", Condition.CHARGE_OVERCURRENT),
    5: ("protection", Condition.CHARGE_OVERCURRENT),
    6: ("protection", Condition.DISCHARGE_OVERCURRENT),
    7: ("protection", Condition.DISCHARGE_OVERCURRENT),
    8: ("protection", Condition.CHARGE_OVERTEMPERATURE),
    9: ("protection", Condition.CHARGE_UNDERTEMPERATURE),
    10: ("protection", Condition.DISCHARGE_OVERTEMPERATURE),
    11: ("protection", Condition.DISCHARGE_UNDERTEMPERATURE),
    12: ("protection", Condition.MOSFET_OVERTEMPERATURE),
    13: ("protection", Condition.OTHER),  # ambient hot
    14: ("protection", Condition.OTHER),  # ambient cold
    15: ("protection", Condition.CELL_DELTA),
    16: ("protection", Condition.TEMPERATURE_DELTA),
    17: ("protection", Condition.SOC_LOW),
    18: ("protection", Condition.SHORT_CIRCUIT),
    19: ("fault", Condition.VOLTAGE_SENSE),  # a cell is off line
    20: ("fault", Condition.TEMPERATURE_SENSE),
    21: ("fault", Condition.CHARGE_MOSFET),
    22: ("fault", Condition.DISCHARGE_MOSFET),
    23: ("fault", Condition.OTHER),  # the current limiter
    24: ("fault", Condition.OTHER),  # the aerosol extinguisher
    25: ("alarm", Condition.FULLY_CHARGED),
    26: ("fault", Condition.AFE),
}
ALARMS: dict[int, tuple[str, Condition]] = {
    0: ("alarm", Condition.CELL_OVERVOLTAGE),
    1: ("alarm", Condition.CELL_UNDERVOLTAGE),
    2: ("alarm", Condition.PACK_OVERVOLTAGE),
    3: ("alarm", Condition.PACK_UNDERVOLTAGE),
    4: ("alarm", Condition.CHARGE_OVERCURRENT),
    5: ("alarm", Condition.DISCHARGE_OVERCURRENT),
    6: ("alarm", Condition.CHARGE_OVERTEMPERATURE),
    7: ("alarm", Condition.CHARGE_UNDERTEMPERATURE),
    8: ("alarm", Condition.DISCHARGE_OVERTEMPERATURE),
    9: ("alarm", Condition.DISCHARGE_UNDERTEMPERATURE),
    10: ("alarm", Condition.MOSFET_OVERTEMPERATURE),
    11: ("alarm", Condition.OTHER),  # ambient hot
    12: ("alarm", Condition.OTHER),  # ambient cold
    13: ("alarm", Condition.CELL_DELTA),
    14: ("alarm", Condition.TEMPERATURE_DELTA),
    15: ("alarm", Condition.SOC_LOW),
    16: ("fault", Condition.EEPROM),
    17: ("fault", Condition.CLOCK),
    18: ("alarm", Condition.FULLY_CHARGED),
}
