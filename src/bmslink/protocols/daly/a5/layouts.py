"""The eight data bytes of Daly's A5 status frames, and what the failure bits mean.

CAN frames carry the same eight bytes. Bytes that a firmware does not use keep what the previous
answer had there (old firmware), so they are named but not believed: `docs/protocols/daly-a5.md`.
"""

from __future__ import annotations

from construct import Array, Byte, Bytes, Int16ub, Int32ub, Struct

from bmslink.model import Condition
from bmslink.protocols.common.fields import Layout, Severity, scaled, unnamed_bits

__all__ = [
    "ACK",
    "CELLS_PER_FRAME",
    "CONTROLS",
    "FAILURES",
    "MAX_CELLS",
    "MAX_CELL_VOLTAGE",
    "MAX_FRAME_NUMBER",
    "MAX_SENSORS",
    "MISSING_PROBE",
    "NO_PROBE",
    "SENSORS_PER_FRAME",
    "STATES",
    "STATUS",
    "SWITCH",
    "believed_count",
    "direction_of",
    "highest_voltage",
    "unnamed_failures",
]

CELLS_PER_FRAME = 3
SENSORS_PER_FRAME = 7
MAX_CELLS = 48
MAX_SENSORS = 16
MAX_CELL_VOLTAGE = 5.0
"""V. More is no cell's voltage."""
MAX_FRAME_NUMBER = MAX_CELLS // CELLS_PER_FRAME
MISSING_PROBE = 215.0
"""°C of raw FF: no probe is connected. Raw 0 (-40 °C) is padding or a probe that is not there."""
NO_PROBE = (-40.0, MISSING_PROBE)
STATES = {0: "idle", 1: "charging", 2: "discharging"}

_MV = scaled(Int16ub, 1000)
_100MV = scaled(Int16ub, 10)
_CELSIUS = scaled(Byte, 1, -40)

STATUS: dict[int, tuple[str, Layout]] = {
    0x90: (
        "pack",
        Struct(
            "voltage" / _100MV,
            "gather_voltage" / _100MV,  # 0 on practically every board
            "current" / scaled(Int16ub, 10, -30000),  # which sign is charging: see the reading
            "soc" / scaled(Int16ub, 10),
        ),
    ),
    0x91: (
        "cell_extremes",
        Struct(
            "max_cell_voltage" / _MV,
            "max_cell" / Byte,
            "min_cell_voltage" / _MV,
            "min_cell" / Byte,
            "tail" / Int16ub,  # difference in mV, FFFF, or residue: the SOC word of the last 90
        ),
    ),
    0x92: (
        "temperature_extremes",
        Struct(
            "max_temperature" / _CELSIUS,
            "max_sensor" / Byte,
            "min_temperature" / _CELSIUS,
            "min_sensor" / Byte,
            "mosfet_temperature" / _CELSIUS,  # these three are residue on old firmware
            "board_temperature" / _CELSIUS,
            "temperature_delta" / Byte,
            "reserved" / Byte,
        ),
    ),
    0x93: (
        "state",
        Struct(
            "state" / Byte,
            "charge_mosfet" / Byte,
            "discharge_mosfet" / Byte,
            "life" / Byte,  # a heartbeat, not the cycles
            "remaining_capacity" / scaled(Int32ub, 1000),
        ),
    ),
    0x94: (
        "status",
        Struct(
            "cell_count" / Byte,
            "sensor_count" / Byte,
            "charger" / Byte,  # unreliable: 0 was seen while charging
            "load" / Byte,
            "inputs_outputs" / Byte,  # bits 0-3 DI1-DI4, 4-7 DO1-DO4
            "cycles" / Int16ub,
            "tail" / Byte,  # residue on old firmware, perhaps a temperature on new
        ),
    ),
    0x95: (
        "cells",
        Struct("number" / Byte, "cell_voltages" / Array(CELLS_PER_FRAME, _MV), "tail" / Byte),
    ),
    0x96: (
        "temperatures",
        Struct("number" / Byte, "temperatures" / Array(SENSORS_PER_FRAME, _CELSIUS)),
    ),
    # 48 bits in the documents, [on/off, cell number] on other firmware
    0x97: ("balancing", Struct("balancing" / Bytes(6), "reserved" / Bytes(2))),
    0x98: ("failures", Struct("failure_bits" / Bytes(7), "fault_code" / Byte)),
    0x99: (
        "balancer",
        Struct(
            "balancer_state" / Byte,
            "balance_current" / scaled(Int16ub, 10, -30000),
            "cell_position" / Byte,
            "reserved" / Bytes(2),
            "sub_version" / Int16ub,
        ),
    ),
    # another source sees the balance current in mA here, so nothing of it goes into a reading
    0x9A: (
        "health",
        Struct(
            "soh" / scaled(Int16ub, 10),
            "charge_power_state" / scaled(Int16ub, 10),
            "discharge_power_state" / scaled(Int16ub, 10),
            "reserved" / Bytes(2),
        ),
    ),
    0xD8: (
        "wake_source",
        Struct(
            "key" / Byte,
            "button" / Byte,
            "rs485" / Byte,
            "can" / Byte,
            "current" / Byte,
            "reserved" / Bytes(2),
            "relay_switch" / Byte,
        ),
    ),
}
"""Status id -> the kind of its record and its layout."""

SWITCH = Struct("on" / Byte, "residue" / Bytes(7))
ACK = Struct("accepted" / Byte, "residue" / Bytes(7))
CONTROLS: dict[int, str] = {0xD9: "discharge_switch", 0xDA: "charge_switch"}

_PAIRS: tuple[tuple[Condition, ...], ...] = (
    (
        Condition.CELL_OVERVOLTAGE,
        Condition.CELL_UNDERVOLTAGE,
        Condition.PACK_OVERVOLTAGE,
        Condition.PACK_UNDERVOLTAGE,
    ),
    (
        Condition.CHARGE_OVERTEMPERATURE,
        Condition.CHARGE_UNDERTEMPERATURE,
        Condition.DISCHARGE_OVERTEMPERATURE,
        Condition.DISCHARGE_UNDERTEMPERATURE,
    ),
    (
        Condition.CHARGE_OVERCURRENT,
        Condition.DISCHARGE_OVERCURRENT,
        Condition.SOC_HIGH,
        Condition.SOC_LOW,
    ),
    (Condition.CELL_DELTA, Condition.TEMPERATURE_DELTA),
)
_FAULTS: tuple[tuple[Condition, ...], ...] = (
    (
        Condition.MOSFET_OVERTEMPERATURE,  # charge, then discharge
        Condition.MOSFET_OVERTEMPERATURE,
        Condition.TEMPERATURE_SENSE,  # of the charge, then of the discharge FETs
        Condition.TEMPERATURE_SENSE,
        Condition.CHARGE_MOSFET,  # stuck on
        Condition.DISCHARGE_MOSFET,
        Condition.CHARGE_MOSFET,  # open
        Condition.DISCHARGE_MOSFET,
    ),
    (
        Condition.AFE,
        Condition.VOLTAGE_SENSE,
        Condition.TEMPERATURE_SENSE,
        Condition.EEPROM,
        Condition.CLOCK,
        Condition.PRECHARGE,
        Condition.COMMUNICATION,  # with the vehicle
        Condition.COMMUNICATION,  # inside the BMS
    ),
    (Condition.CURRENT_SENSE, Condition.VOLTAGE_SENSE),
)

FAILURES: dict[int, tuple[Severity, Condition]] = {
    **{
        8 * byte + 2 * i + level: (severity, condition)
        for byte, conditions in enumerate(_PAIRS)
        for i, condition in enumerate(conditions)
        for level, severity in enumerate(("alarm", "protection"))
    },
    **{
        8 * byte + bit: ("fault", condition)
        for byte, conditions in enumerate(_FAULTS, 4)
        for bit, condition in enumerate(conditions)
    },
    50: ("protection", Condition.SHORT_CIRCUIT),
    51: ("fault", Condition.OTHER),  # too empty to be charged
    52: ("alarm", Condition.SOFTWARE_LOCK),  # FETs off by command: a state, no fault
}
"""Bit of 98, counted from bit 0 of byte 0, -> list and condition. Level 1 warns, level 2 trips."""


def unnamed_failures(word: int) -> list[str]:
    """The bits of the failure bytes without a meaning, as `byte.bit`."""
    return [f"{number // 8}.{number % 8}" for number in unnamed_bits(word, FAILURES)]


def believed_count(announced: int | None) -> int | None:
    """How many cells a board announces; `None` for none, and for more than it can have."""
    return announced if announced is not None and 0 < announced <= MAX_CELLS else None


def direction_of(state: int | None) -> int:
    """Which way a state says that the current flows: 1 charging, -1 discharging, else 0."""
    return {"charging": 1, "discharging": -1}.get(STATES.get(state or 0, ""), 0)


def highest_voltage(cells: int | None) -> float:
    """The most that a pack of so many cells can have, V; of the largest, where nobody says."""
    return MAX_CELL_VOLTAGE * (cells or MAX_CELLS)
