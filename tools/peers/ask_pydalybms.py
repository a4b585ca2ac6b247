"""pydalybms: Daly A5, and the same eight bytes on CAN."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from pydalybms.frame import DalyBMSResponseFrame
from pydalybms.models import (
    BatteryFailureStatusAnswer,
    SoCAnswer,
    StatusInformation1Answer,
    TemperatureMinMaxCellAnswer,
    VoltageMinMaxCellAnswer,
)

from answering import Capture, Question, main

# in the order of its attributes: byte 3 has four flags, byte 6 four
FAILURE_BITS = (*range(28), *range(32, 52))


def pack(said: Any) -> dict[str, Any]:
    """90."""
    return {
        "values.voltage": said.cumulative_total_voltage,
        "values.gather_voltage": said.gather_total_voltage,
        "values.current": said.current,
        "values.soc": said.soc,
    }


def cell_range(said: Any) -> dict[str, Any]:
    """91."""
    return {
        "values.max_cell_voltage": said.max.voltage,
        "values.max_cell": said.max.number,
        "values.min_cell_voltage": said.min.voltage,
        "values.min_cell": said.min.number,
    }


def temperature_range(said: Any) -> dict[str, Any]:
    """92."""
    return {
        "values.max_temperature": said.max.temperature,
        "values.min_temperature": said.min.temperature,
    }


def status(said: Any) -> dict[str, Any]:
    """94."""
    return {"values.cell_count": said.cells, "values.sensor_count": said.temperature_sensors}


def failures(said: Any) -> dict[str, Any]:
    """98: its flags, put back into the seven bytes in which they came."""
    flags = [v for k, v in vars(said).items() if k != "fault_code"]
    word = sum(1 << bit for bit, raised in zip(FAILURE_BITS, flags, strict=True) if raised)
    return {
        "values.failure_bits": word.to_bytes(7, "little").hex(),
        "values.fault_code": said.fault_code,
    }


ANSWERS = {
    0x90: (SoCAnswer, pack),
    0x91: (VoltageMinMaxCellAnswer, cell_range),
    0x92: (TemperatureMinMaxCellAnswer, temperature_range),
    0x94: (StatusInformation1Answer, status),
    0x98: (BatteryFailureStatusAnswer, failures),
}


def answered(command: int, data: bytes) -> dict[str, Any]:
    """What it makes of eight bytes."""
    model, names = ANSWERS[command]
    return names(model.from_frame(DalyBMSResponseFrame(1, command, 8, data)))


def questions(capture: Capture) -> Iterator[Question]:
    """A5, address, id, 8, eight bytes, sum: it is given the eight bytes."""
    if capture.protocol != "daly-a5":
        return
    for frame in capture.frames:
        if frame.raw[2] in ANSWERS and frame.raw[1] == 1:
            yield Question((frame,), partial(answered, frame.raw[2], frame.raw[4:12]))


if __name__ == "__main__":
    main("pydalybms", questions, (ValueError, IndexError))
