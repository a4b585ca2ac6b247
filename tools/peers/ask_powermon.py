"""powermon: JK over TTL and Daly A5."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from functools import partial
from typing import Any

from construct import ConstructError
from powermon.commands.command import Command
from powermon.protocols.daly import Daly
from powermon.protocols.jkserial import JkSerial

from answering import Capture, Question, main

JKSERIAL = {  # its name: ours, and what its units are divided by
    "MOS Temperature": ("values.mosfet_temperature", 1),
    "Battery Box Temperature": ("values.box_temperature", 1),
    "Battery Temperature": ("values.battery_temperature", 1),
    "Number of Temperature Sensors": ("values.temperature_sensors", 1),
    "Battery Voltage": ("voltage", 1),
    "Battery State of Charge": ("soc", 1),
    "Battery Cycle Count": ("cycles", 1),
    "Total Cycle Count Capacity": ("cycle_capacity", 1),
    "Battery Strings": ("values.string_count", 1),
    "Battery Overvoltage Protection Setting": ("values.pack_ovp", 1),
    "Battery Undervoltage Protection Setting": ("values.pack_uvp", 1),
    "Cell Overvoltage Protection Setting": ("values.cell_ovp", 1000),
    "Cell Overvoltage Protection Recovery Setting": ("values.cell_ovp_release", 1000),
    "Cell Overvoltage Protection Recovery Delay Setting": ("values.cell_ovp_delay", 1),
    "Cell Undervoltage Protection Setting": ("values.cell_uvp", 1000),
    "Cell Undervoltage Protection Recovery Setting": ("values.cell_uvp_release", 1000),
    "Cell Undervoltage Protection Recovery Delay Setting": ("values.cell_uvp_delay", 1),
    "Cell Voltage Difference Protection Setting": ("values.cell_delta", 1000),
    "Discharge Current Protection Setting": ("values.discharge_ocp", 1),
    "Discharge Current Protection Delay Setting": ("values.discharge_ocp_delay", 1),
    "Charge Current Protection Setting": ("values.charge_ocp", 1),
    "Charge Current Protection Delay Setting": ("values.charge_ocp_delay", 1),
    "Equalization Starting Voltage Setting": ("values.balance_start_voltage", 1000),
    "Battery Capacity": ("values.full_capacity", 1),
    "Software ID": ("values.software_version", 1),
    "Protocol Version": ("values.protocol_version", 1),
}
ALARMS = (  # from bit 0
    "Low Capacity Alarm",
    "MOS Tube Over Temperature Alarm",
    "charging_over_voltage_alarm",
    "discharge_under_voltage_alarm",
    "battery_over_temperature_alarm",
    "charging_over_current_alarm",
    "discharge_over_current_alarm",
    "cell_pressure_difference_alarm",
    "battery_box_over_temperature_alarm",
    "battery_low_temperature_alarm",
    "cell_over_voltage_alarm",
    "cell_under_voltage_alarm",
    "309_a_protection",
    "309_b_protection",
)
STATES = (
    "Charge MOS On",
    "Discharge MOS On",
    "Equalization Switching State",
    "Battery Down",
)
DALY = {
    "SOC": {"Battery Bank Voltage": "voltage", "Current": "current", "SOC": "soc"},
    "cell_voltage_range": {
        "highest_voltage": "max_cell_voltage",
        "highest_cell": "max_cell",
        "lowest_voltage": "min_cell_voltage",
        "lowest_cell": "min_cell",
    },
    "temperatures": {
        "highest_temperature": "max_temperature",
        "highest_sensor": "max_sensor",
        "lowest_temperature": "min_temperature",
        "lowest_sensor": "min_sensor",
    },
    "mosfet": {"capacity_ah": "remaining_capacity", "bms_cycles": "life"},
    "status": {
        "number_of_cells": "cell_count",
        "number_of_temperature_sensors": "sensor_count",
        "charger_running": "charger",
        "load_running": "load",
        "cycles": "cycles",
    },
    "cell_voltages": {},
}
DALY_COMMANDS = dict(zip(range(0x90, 0x96), DALY, strict=True))


def decoded(protocol: Any, code: str, raw: bytes) -> dict[str, Any]:
    """What it makes of an answer: value by name."""
    command = Command.from_code(code)
    command.command_definition = protocol.get_command_definition(code)
    result = command.build_result(raw_response=raw, protocol=protocol)
    if not result.is_valid:
        raise ValueError(str(result.error_messages[0]))
    return {r.data_name: r.data_value for r in result.readings}


def of_jkserial(raw: bytes) -> dict[str, Any]:
    """All registers at once."""
    said = decoded(JkSerial(), "all_data", raw)
    values = {}
    for theirs, (mine, factor) in JKSERIAL.items():
        value = said[theirs]
        values[mine] = value if factor == 1 else value / factor
    values["values.cell_voltages"] = [
        v / 1000 for k, v in said.items() if k.startswith("Cell ") and k.split()[1].isdigit()
    ]
    values["current"] = said["Battery Current"] * (1 if str(said["direction"]) == "charge" else -1)
    values["values.alarm_word"] = sum(said[name] << bit for bit, name in enumerate(ALARMS))
    values["values.status_word"] = sum(said[name] << bit for bit, name in enumerate(STATES))
    return values


def of_daly(code: str, raw: bytes) -> dict[str, Any]:
    """One frame."""
    said = decoded(Daly(), code, raw)
    values = {f"values.{mine}": said[theirs] for theirs, mine in DALY[code].items()}
    if code == "mosfet":
        modes = ("stationary", "charging", "discharging")
        values["values.state"] = modes.index(str(said["mode"]))
        values["values.charge_mosfet"] = said["charging_mosfet"] == "Enabled"
        values["values.discharge_mosfet"] = said["discharging_mosfet"] == "Enabled"
    elif code == "cell_voltages" and len(said) == 3:  # it leaves out cells without a voltage
        values["values.cell_voltages"] = list(said.values())
    return values


def questions(capture: Capture) -> Iterator[Question]:
    """Every frame whose kind it knows."""
    for frame in capture.frames:
        if capture.protocol == "jk-nw":
            yield Question((frame,), partial(of_jkserial, frame.raw))
        elif capture.protocol == "daly-a5" and frame.raw[2] in DALY_COMMANDS:
            code = DALY_COMMANDS[frame.raw[2]]
            yield Question((frame,), partial(of_daly, code, frame.raw))


if __name__ == "__main__":
    logging.disable()
    main("powermon", questions, (ConstructError, ValueError, IndexError, KeyError))
