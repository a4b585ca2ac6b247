"""JBD payloads: what stands where, and which bit means what (`docs/protocols/jbd.md`)."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

from construct import Array, Byte, Bytes, GreedyBytes, Int16sb, Int16ub, Int32sb, Struct

from bmslink.model import Condition
from bmslink.protocols.common.fields import Layout, kelvin, scaled

_HEAD = (
    "voltage" / scaled(Int16ub, 100),  # 0
    "current" / Int16sb,  # 2: 10 mA, + = charging; 100 mA in a tenfold pack
    "remaining_capacity" / Int16ub,  # 4: 10 mAh, likewise
    "nominal_capacity" / Int16ub,  # 6
    "cycles" / Int16ub,  # 8
    "production_date" / Int16ub,  # 10: year-2000 in bits 15:9, month 8:5, day 4:0
    "balance_low" / Int16ub,  # 12: cells 1-16, bit 0 = cell 1
    "balance_high" / Int16ub,  # 14: cells 17-32
    "protection" / Int16ub,  # 16
    "version" / Byte,  # 18: two nibbles
    "soc" / Byte,  # 19
    "state" / Byte,  # 20: bit 0 charge FET, bit 1 discharge FET
    "cell_count" / Byte,  # 21
)
_SHORT_TAIL = (
    "scale_and_humidity" / Byte,  # bit 7: tenfold units; bits 0-6: humidity, %
    "alarm" / Int16ub,
    "full_capacity" / Int16ub,
    "remaining_capacity_2" / Int16ub,
    "balance_current" / scaled(Int16ub, 1000),
)
_CLASSIC_TAILS = {
    0: (),
    9: _SHORT_TAIL,
    16: (
        *_SHORT_TAIL,
        "active_balance" / Int16ub,
        "protocol_version" / Byte,
        "reserved" / Bytes(2),
        "bms_status" / Int16ub,
    ),
}
_DAREN_SHORT = (
    "mosfet_temperature" / kelvin(),
    "ambient_temperature" / kelvin(),
    "soh" / Byte,
    "status" / Bytes(3),  # 0 in both captures
)
_DAREN_TAILS = {
    8: _DAREN_SHORT,
    16: (
        *_DAREN_SHORT,
        "tail_remaining_capacity" / scaled(Int16ub, 10),
        "tail_nominal_capacity" / scaled(Int16ub, 10),
        "tail_current" / scaled(Int32sb, 10),
    ),
}
BASIC_MINIMUM = 23
TENFOLD = 0x80
"""The flag in the byte behind the NTCs: current and capacities count tenfold."""
HUMIDITY = 0x7F
"""What else that byte holds, %."""
_DAREN_BLANK = ((10, 2), (18, 1))
"""Production date and version (offset, bytes), which a Daren pack leaves 0."""
_DAREN_PROBE = range(2731 - 400, 2731 + 1250)
"""-40 to 125 °C: what the two temperatures of a Daren tail can be."""

Tail = Literal["classic", "daren", "unknown"]
"""Whose layout the bytes behind the NTCs have; no bytes at all are classic too."""


def tail_kind(data: bytes, probes: int) -> Tail:
    """Which layout the tail of a register 03 fits; a wrong guess would make up alarms."""
    tail = data[BASIC_MINIMUM + 2 * probes :]
    if (
        len(tail) in _DAREN_TAILS
        and not any(any(data[at : at + size]) for at, size in _DAREN_BLANK)
        and all(int.from_bytes(tail[at : at + 2], "big") in _DAREN_PROBE for at in (0, 2))
        and 1 <= tail[4] <= 100
    ):
        return "daren"
    if len(tail) in _CLASSIC_TAILS and (not tail or tail[0] & HUMIDITY <= 100):
        return "classic"
    return "unknown"


@lru_cache(maxsize=64)
def basic_layout(length: int, probes: int, kind: Tail = "classic") -> Layout:
    """Register 03 of `length` bytes with `probes` NTCs and that kind of tail."""
    left = length - BASIC_MINIMUM - 2 * probes
    tails = {"classic": _CLASSIC_TAILS, "daren": _DAREN_TAILS}.get(kind, {})
    return Struct(
        *_HEAD,
        "probe_count" / Byte,
        "temperatures" / Array(probes, kelvin()),
        *tails.get(left, ("unknown_tail" / Bytes(left),)),
    )


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
