"""mppsolar: JK over Bluetooth (02, 02 with 32 cells, 04) and TTL, JBD, Daly A5."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from functools import partial
from typing import Any

from mppsolar.protocols.daly import daly
from mppsolar.protocols.jk02 import jk02
from mppsolar.protocols.jk02_32 import jk02_32
from mppsolar.protocols.jk04 import jk04
from mppsolar.protocols.jk232 import jk232
from mppsolar.protocols.jkserial import jkserial

from answering import Capture, Question, cells, main, seconds

JK02 = {
    "Average_Cell_Voltage": "values.average_voltage",
    "Delta_Cell_Voltage": "values.delta_voltage",
    "Battery_Voltage": "voltage",
    "Battery_Power": "values.power",
    "Battery_Current": "current",
    "Balance_Current": "balance_current",
    "Battery_T1": "values.temperature_1",
    "Battery_T2": "values.temperature_2",
    "MOS_Temp": "values.mosfet_temperature",
    "Percent_Remain": "soc",
    "Capacity_Remain": "remaining_capacity",
    "Nominal_Capacity": "full_capacity",
    "Cycle_Count": "cycles",
    "Cycle_Capacity": "cycle_capacity",
}
INFO = {
    "Device Model": "model",
    "Hardware Version": "hardware",
    "Software Version": "firmware",
    "Device Name": "name",
    "Manufacturing Date": "first_power_on",
    "Serial Number": "serial_number",
}
JKSERIAL = {
    "MOS_Temp": "values.mosfet_temperature",
    "Battery_T1": "values.box_temperature",
    "Battery_T2": "values.battery_temperature",
    "Battery_Voltage": "voltage",
    "Battery_Current": "current",
    "Percent_Remain": "soc",
    "Cycle_Count": "cycles",
    "Total_capacity": "cycle_capacity",
    "Balancer Active": "values.balance_switch",
    "Capacity Setting": "values.nominal_capacity",
    "Charge Enabled": "values.charge_switch",
    "Discharge Enabled": "values.discharge_switch",
}
JBD = {
    "Total Battery Voltage": "voltage",
    "Total Current": "current",
    "Remaining Capacity": "remaining_capacity",
    "Nominal Capacity": "nominal_capacity",
    "Cycles": "cycles",
    "Remaining Battery": "soc",
    "Number of Battery Strings": "values.cell_count",
    "Number of NTC": "values.probe_count",
}
DALY = {
    "SOC": {
        "Battery Bank Voltage": "voltage",
        "acquistion": "gather_voltage",
        "Current": "current",
        "SOC": "soc",
    },
    "cellMinMaxVoltages": {
        "Maximum Cell Voltage": "max_cell_voltage",
        "Maximum Cell Number": "max_cell",
        "Minimum Cell Voltage": "min_cell_voltage",
        "Minimum Cell Number": "min_cell",
    },
    "cellMinMaxTemps": {
        "Maximum Cell Temperature": "max_temperature",
        "Minimum Cell Temperature": "min_temperature",
    },
    "mosStatus": {"Residual Capacity": "remaining_capacity"},
    "status": {
        "Number of Cells": "cell_count",
        "Number of Temperature Sensors": "sensor_count",
        "Charge/Discharge Cycles": "cycles",
    },
}
DALY_COMMANDS = dict(zip(range(0x90, 0x95), DALY, strict=True))


def decoded(protocol: Any, command: str, raw: bytes) -> dict[str, Any]:
    """What one of its protocols makes of an answer: value by name."""
    one = protocol()
    one.get_full_command(command)  # it decodes what it asked for last
    said = one.decode(raw, command)
    return {name: item[0] for name, item in said.items() if isinstance(item, list)}


def named(said: dict[str, Any], names: dict[str, str], prefix: str = "") -> dict[str, Any]:
    """Those of its values that have a name here."""
    return {
        prefix + mine: said[theirs]
        for theirs, mine in names.items()
        if theirs in said and said[theirs] != ""
    }


def of_jk02(protocol: Any, raw: bytes) -> dict[str, Any]:
    """A cell frame with integers."""
    said = decoded(protocol, "getCellData", raw)
    values = named(said, JK02)
    values["cell_voltages"] = cells([v for k, v in said.items() if k.startswith("Voltage_Cell")])
    values["values.cell_resistances"] = [
        v for k, v in said.items() if k.startswith("Resistance_Cell")
    ]
    values["uptime"] = seconds(said["Time"])
    return values


def of_jk04(raw: bytes) -> dict[str, Any]:
    """A cell frame with floats, which it prints with all the digits they have in binary."""
    said = decoded(jk04, "getCellData", raw)
    voltages = [round(v, 6) for k, v in said.items() if k.startswith("Voltage Cell")]
    resistances = [round(v, 6) for k, v in said.items() if k.startswith("Resistance Cell")]
    return {
        "cell_voltages": cells(voltages),
        "values.cell_resistances": resistances,
        "values.average_voltage": round(said["Average Cell Voltage"], 6),
        "values.delta_voltage": round(said["Delta Cell Voltage"], 6),
        "values.highest_cell": said["Highest Cell"] - 1,  # it counts from 1
        "values.lowest_cell": said["Lowest Cell"] - 1,
        "uptime": seconds(said["uptime"]),
    }


def of_info(protocol: Any, raw: bytes) -> dict[str, Any]:
    """Who a JK board is."""
    said = decoded(protocol, "getInfo", raw)
    values = named(said, INFO, "values.")
    values["values.run_time"] = seconds(said["Up Time"])
    values["values.power_on_count"] = said["Power-on Times"]
    return values


def of_jkserial(raw: bytes) -> dict[str, Any]:
    """All registers at once; its table has the places of a board with 16 cells."""
    said = decoded(jkserial, "getBalancerData", raw)
    if said["Cells_connected"] != 16:
        raise ValueError("its table is for 16 cells")
    values = named(said, JKSERIAL)
    values["cell_voltages"] = [v for k, v in said.items() if k.startswith("Voltage_Cell")]
    values["values.alarm_word"] = int(said["Battery Warning Message"], 16)
    values["values.status_word"] = int(said["Battery status information"], 16)
    return values


def of_jbd(raw: bytes) -> dict[str, Any]:
    """Basic information; its table has the places of a board with two probes."""
    said = decoded(jk232, "getBalancerData", raw)
    values = named(said, JBD)
    values["values.state"] = int(said["FET Control Status"], 16)
    values["values.protection"] = int(said["Protection State (TODO)"], 16)
    if said["Number of NTC"] == 2:
        values["values.temperatures"] = [said["NTC 1"], said["NTC 2"]]
    return values


def of_daly(command: str, raw: bytes) -> dict[str, Any]:
    """One frame."""
    said = decoded(daly, command, raw)
    values = named(said, DALY[command], "values.")
    if command == "mosStatus":
        values["values.charge_mosfet"] = int(said["Charging MOS Tube Status"], 16)
        values["values.discharge_mosfet"] = int(said["Discharging MOS Tube Status"], 16)
    return values


def jk_questions(capture: Capture) -> Iterator[Question]:
    """Cells and information over Bluetooth."""
    for frame in capture.frames:
        old = capture.protocol == "jk04"
        wide = jk02 if frame.variant == "24s" else jk02_32
        if frame.raw[4] == 3:
            yield Question((frame,), partial(of_info, jk04, frame.raw))
        elif frame.raw[4] == 2 and old:
            yield Question((frame,), partial(of_jk04, frame.raw))
        elif frame.raw[4] == 2:
            yield Question((frame,), partial(of_jk02, wide, frame.raw))


def questions(capture: Capture) -> Iterator[Question]:
    """All that it can be asked about a capture."""
    if capture.protocol in ("jk02", "jk04"):
        yield from jk_questions(capture)
    for frame in capture.frames:
        if capture.protocol == "jk-nw":
            yield Question((frame,), partial(of_jkserial, frame.raw))
        elif capture.protocol == "jbd" and frame.raw[:3] == b"\xdd\x03\x00":
            yield Question((frame,), partial(of_jbd, frame.raw))
        elif capture.protocol == "daly-a5" and frame.raw[2] in DALY_COMMANDS:
            command = DALY_COMMANDS[frame.raw[2]]
            yield Question((frame,), partial(of_daly, command, frame.raw))


if __name__ == "__main__":
    logging.disable()
    main("mppsolar", questions, (ValueError, IndexError, KeyError, TypeError))
