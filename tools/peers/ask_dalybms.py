"""dalybms: Daly A5, and the same eight bytes on CAN."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import partial
from typing import Any

from dalybms import DalyBMS

from answering import Capture, Question, main


def pack(peer: Any, data: bytes) -> dict[str, Any]:
    """90."""
    said = peer.get_soc(data)
    return {
        "values.voltage": said["total_voltage"],
        "values.current": said["current"],
        "values.soc": said["soc_percent"],
    }


def cell_range(peer: Any, data: bytes) -> dict[str, Any]:
    """91."""
    said = peer.get_cell_voltage_range(data)
    return {
        "values.max_cell_voltage": said["highest_voltage"],
        "values.max_cell": said["highest_cell"],
        "values.min_cell_voltage": said["lowest_voltage"],
        "values.min_cell": said["lowest_cell"],
    }


def temperature_range(peer: Any, data: bytes) -> dict[str, Any]:
    """92."""
    said = peer.get_temperature_range(data)
    return {
        "values.max_temperature": said["highest_temperature"],
        "values.max_sensor": said["highest_sensor"],
        "values.min_temperature": said["lowest_temperature"],
        "values.min_sensor": said["lowest_sensor"],
    }


def state(peer: Any, data: bytes) -> dict[str, Any]:
    """93."""
    said = peer.get_mosfet_status(data)
    modes = ("stationary", "charging", "discharging")
    return {
        "values.state": modes.index(said["mode"]),
        "values.charge_mosfet": said["charging_mosfet"],
        "values.discharge_mosfet": said["discharging_mosfet"],
        "values.remaining_capacity": said["capacity_ah"],
    }


def status(peer: Any, data: bytes) -> dict[str, Any]:
    """94."""
    said = peer.get_status(data)
    return {
        "values.cell_count": said["cells"],
        "values.sensor_count": said["temperature_sensors"],
        "values.charger": said["charger_running"],
        "values.load": said["load_running"],
        "values.cycles": said["cycles"],
    }


def voltages(peer: Any, data: bytes) -> dict[str, Any]:
    """95, first frame: it refuses a list that starts later."""
    peer.status = {"cells": 3}
    return {"values.cell_voltages": list(peer.get_cell_voltages([data]).values())}


def temperatures(peer: Any, data: bytes) -> dict[str, Any]:
    """96, first frame."""
    peer.status = {"temperature_sensors": 7}
    return {"values.temperatures": list(peer.get_temperatures([data]).values())}


ANSWERS = {
    0x90: pack,
    0x91: cell_range,
    0x92: temperature_range,
    0x93: state,
    0x94: status,
    0x95: voltages,
    0x96: temperatures,
}


def questions(capture: Capture) -> Iterator[Question]:
    """A5, address, id, 8, eight bytes, sum: it is given the eight bytes."""
    if capture.protocol != "daly-a5":
        return
    for frame in capture.frames:
        how: Any = ANSWERS.get(frame.raw[2])
        if how is None or (frame.raw[2] in (0x95, 0x96) and frame.raw[4] != 1):
            continue
        yield Question((frame,), partial(how, DalyBMS(), frame.raw[4:12]))


if __name__ == "__main__":
    main("dalybms", questions, (struct.error, ValueError, IndexError, TypeError))
