"""JBD payloads: what stands where, and which bit means what (`docs/protocols/jbd.md`)."""

from __future__ import annotations

from functools import lru_cache

from construct import Array, Byte, Bytes, GreedyBytes, Int16sb, Int16ub, Struct

from bmslink.model import Condition
from bmslink.protocols.fields import Layout, kelvin, scaled

_HEAD = (
    "voltage" / scaled(Int16ub, 100),  # 0
    "current" / Int16sb,  # 2: 10 mA, + = charging; 100 mA when state bit 7 is set
    "remaining_capacity" / Int16ub,  # 4: 10 mAh, likewise
    "nominal_capacity" / Int16ub,  # 6
    "cycles" / Int16ub,  # 8
    "production_date" / Int16ub,  # 10: year-2000 in bits 15:9, month 8:5, day 4:0
    "balance_low" / Int16ub,  # 12: cells 1-16, bit 0 = cell 1
    "balance_high" / Int16ub,  # 14: cells 17-32
    "protection" / Int16ub,  # 16
    "version" / Byte,  # 18: two nibbles
    "soc" / Byte,  # 19
    "state" / Byte,  # 20: bit 0 charge FET, bit 1 discharge FET, bit 7 tenfold units
    "cell_count" / Byte,  # 21
)
_TAIL: tuple[tuple[int, Layout], ...] = (
    (1, "humidity" / Byte),
    (2, "alarm" / Int16ub),
    (2, "full_capacity" / Int16ub),
    (2, "remaining_capacity_2" / Int16ub),
    (2, "balance_current" / scaled(Int16ub, 1000)),
    (2, "active_balance" / Int16ub),
    (1, "protocol_version" / Byte),
    (2, "reserved" / Bytes(2)),
    (2, "bms_status" / Int16ub),
)
BASIC_MINIMUM = 23


@lru_cache(maxsize=64)
def basic_layout(length: int, probes: int) -> Layout:
    """Register 03 of `length` bytes with `probes` NTCs; firmwares cut the tail anywhere."""
    fields: list[Layout] = [*_HEAD, "probe_count" / Byte, "temperatures" / Array(probes, kelvin())]
    left = length - BASIC_MINIMUM - 2 * probes
    for size, layout in _TAIL:
        if left < size:
            break
        fields.append(layout)
        left -= size
    return Struct(*fields, "surplus" / Bytes(left))


@lru_cache(maxsize=64)
def addressed_basic_layout(length: int, probes: int) -> Layout:
    """Register 03 as the addressed boards answer it: alarms and two probes before the NTCs."""
    return Struct(
        *_HEAD,
        "alarm" / Int16ub,
        "ambient_temperature" / kelvin(),
        "mosfet_temperature" / kelvin(),
        "probe_count" / Byte,
        "temperatures" / Array(probes, kelvin()),
        "surplus" / Bytes(length - 29 - 2 * probes),
    )


@lru_cache(maxsize=64)
def cells_layout(length: int) -> Layout:
    """Register 04: one millivolt word a cell."""
    return Struct("cell_voltages" / Array(length // 2, scaled(Int16ub, 1000)))


NAME = Struct("name" / GreedyBytes)

COUNTERS = (
    Condition.SHORT_CIRCUIT,
    Condition.CHARGE_OVERCURRENT,
    Condition.DISCHARGE_OVERCURRENT,
    Condition.CELL_OVERVOLTAGE,
    Condition.CELL_UNDERVOLTAGE,
    Condition.CHARGE_OVERTEMPERATURE,
    Condition.CHARGE_UNDERTEMPERATURE,
    Condition.DISCHARGE_OVERTEMPERATURE,
    Condition.DISCHARGE_UNDERTEMPERATURE,
    Condition.PACK_OVERVOLTAGE,
    Condition.PACK_UNDERVOLTAGE,
)
_COUNTER_FIELDS = (*(str(c) / Int16ub for c in COUNTERS), "restarts" / Int16ub)
COUNTERS_LAYOUT = {22: Struct(*_COUNTER_FIELDS[:11]), 24: Struct(*_COUNTER_FIELDS)}

PROTECTIONS: dict[int, tuple[str, Condition]] = {
    0: ("protection", Condition.CELL_OVERVOLTAGE),
    1: ("protection", Condition.CELL_UNDERVOLTAGE),
    2: ("protection", Condition.PACK_OVERVOLTAGE),
    3: ("protection", Condition.PACK_UNDERVOLTAGE),
    4: ("protection", Condition.CHARGE_OVERTEMPERATURE),
    5: ("protection", Condition.CHARGE_UNDERTEMPERATURE),
    6: ("protection", Condition.DISCHARGE_OVERTEMPERATURE),
    7: ("protection", Condition.DISCHARGE_UNDERTEMPERATURE),
    8: ("protection", Condition.CHARGE_OVERCURRENT),
    9: ("protection", Condition.DISCHARGE_OVERCURRENT),
    10: ("protection", Condition.SHORT_CIRCUIT),
    11: ("fault", Condition.AFE),
    12: ("alarm", Condition.SOFTWARE_LOCK),  # a FET was switched off by command: no fault
}  # 13-15: sources contradict each other, so they stay in raw
ADDRESSED_PROTECTIONS = PROTECTIONS | {15: ("protection", Condition.MOSFET_OVERTEMPERATURE)}
ALARMS = dict(
    enumerate(
        (
            Condition.CELL_OVERVOLTAGE,
            Condition.CELL_UNDERVOLTAGE,
            Condition.PACK_OVERVOLTAGE,
            Condition.PACK_UNDERVOLTAGE,
            Condition.CHARGE_OVERTEMPERATURE,
            Condition.CHARGE_UNDERTEMPERATURE,
            Condition.DISCHARGE_OVERTEMPERATURE,
            Condition.DISCHARGE_UNDERTEMPERATURE,
            Condition.CHARGE_OVERCURRENT,
            Condition.DISCHARGE_OVERCURRENT,
            Condition.CELL_DELTA,
            Condition.SOC_LOW,
        )
    )
)
ADDRESSED_ALARMS = {
    0: Condition.CELL_UNDERVOLTAGE,
    1: Condition.CELL_OVERVOLTAGE,
    2: Condition.PACK_UNDERVOLTAGE,
    3: Condition.PACK_OVERVOLTAGE,
    4: Condition.CHARGE_OVERCURRENT,
    5: Condition.DISCHARGE_OVERCURRENT,
    6: Condition.CHARGE_OVERTEMPERATURE,
    7: Condition.CHARGE_UNDERTEMPERATURE,
    8: Condition.DISCHARGE_OVERTEMPERATURE,
    9: Condition.DISCHARGE_UNDERTEMPERATURE,
    12: Condition.BOARD_OVERTEMPERATURE,
    13: Condition.CELL_DELTA,
    14: Condition.SOC_LOW,
}
MISSING_PROBE = (-30.0, 150.0)  # 097F and 1087: the NTC table's ends, open or short
