"""Other people's decoders, asked about the same captures.

bmstools (JBD), pydalybms and dalybms (Daly) are test-only dependencies. Each function below
compares what such a program says of one frame with what our codec says, value by value.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from bmstools.jbd.registers import BasicInfoReg, CellInfoReg, DeviceInfoReg, ErrorCountReg
from dalybms import DalyBMS
from pydalybms.frame import DalyBMSResponseFrame
from pydalybms.models import (
    BatteryFailureStatusAnswer,
    SoCAnswer,
    StatusInformation1Answer,
    TemperatureMinMaxCellAnswer,
    VoltageMinMaxCellAnswer,
)

from bmslink.capture import CaptureHeader, Piece
from bmslink.errors import FrameError
from bmslink.link import Frame
from bmslink.protocols import load_driver
from bmslink.protocols.base import Options
from bmslink.protocols.daly_a5 import DalyFrame
from bmslink.protocols.jbd import JBDFrame

__all__ = ["comparisons", "decoder_of"]

Comparison = tuple[str, str, Any, Any]
"""Program, name of the value, theirs, ours."""


def comparisons(header: CaptureHeader, pieces: list[Piece]) -> Iterator[Comparison]:
    """Every value of a capture that an independent decoder gives too."""
    compare = _PROGRAMS.get(header.protocol)
    if compare is None:
        return
    driver = load_driver(header.protocol)
    codec = driver.make_codec(Options(variant=header.variant or None))
    framers = {sent: driver.make_framer() for sent in (False, True)}
    for piece in pieces:
        for frame in framers[piece.sent].feed(piece.data):
            try:
                record = codec.explain(frame, sent=piece.sent)
            except FrameError:
                continue
            if not piece.sent and record.role in ("reading", "identity", "log"):
                yield from compare(frame, record.values)


def decoder_of(header: CaptureHeader, pieces: list[Piece]) -> str | None:
    """The independent programs that agree about this capture, if any can read it."""
    names: dict[str, None] = {}
    for name, what, theirs, ours in comparisons(header, pieces):
        if not agree(theirs, ours):
            raise AssertionError(f"{header.id}: {name} says {what} = {theirs}, we say {ours}")
        names[name] = None
    return ", ".join(names) or None


def agree(theirs: Any, ours: Any) -> bool:
    """Equal within floating point."""
    if isinstance(theirs, (list, tuple)):
        return len(theirs) == len(ours) and all(map(agree, theirs, ours))
    if isinstance(theirs, (int, float)) and isinstance(ours, (int, float)):
        return math.isclose(theirs, ours, rel_tol=1e-9, abs_tol=1e-9)
    return bool(theirs == ours)


def _bmstools(frame: Frame, values: Mapping[str, Any]) -> Iterator[Comparison]:
    if not isinstance(frame, JBDFrame) or frame.address is not None:
        return
    pairs: list[tuple[str, Any, Any]] = []
    if "voltage" in values:
        register = BasicInfoReg("basic_info", 3)
        register.unpack(frame.data)
        probes = range(values["probe_count"])
        pairs = [
            ("voltage", register.get("pack_mv") / 1000, values["voltage"]),
            ("cycles", register.get("cycle_cnt"), values["cycles"]),
            ("soc", register.get("cap_pct"), values["soc"]),
            ("cells", register.get("cell_cnt"), values["cell_count"]),
            ("protection", register.get("fault_raw"), values["protection"]),
            ("charge FET", register.get("chg_fet_en"), bool(values["state"] & 1)),
            ("discharge FET", register.get("dsg_fet_en"), bool(values["state"] & 2)),
            ("temperatures", [register.get(f"ntc{i}") for i in probes], values["temperatures"]),
        ]
        if not values["state"] & 0x80:  # bmstools does not know the tenfold units
            pairs += [
                ("current", register.get("pack_ma") / 10, values["current"]),
                ("remaining", register.get("cur_cap") / 10, values["remaining_capacity"]),
                ("nominal", register.get("full_cap") / 10, values["nominal_capacity"]),
            ]
    elif "cell_voltages" in values:
        cells = CellInfoReg("cell_info", 4)
        cells.unpack(frame.data)
        theirs = [cells.get(name) / 1000 for name in cells.valueNames]
        pairs = [("cells", theirs, values["cell_voltages"])]
    elif "model" in values and frame.data:
        name = DeviceInfoReg("device_info", 5)
        name.unpack(frame.data)
        pairs = [("model", name.get("device_name"), values["model"])]
    elif "short_circuit" in values:
        counts = ErrorCountReg("error_cnt", 0xAA)
        counts.unpack(frame.data)
        ours = [v for k, v in values.items() if k != "restarts"]
        pairs = [("counters", [counts.get(n) for n in counts.valueNames], ours)]
    for what, theirs, ours in pairs:
        yield "bmstools 1.2.0", what, theirs, ours


_DALY_MODELS: dict[int, Callable[[DalyBMSResponseFrame], Any]] = {
    0x90: SoCAnswer.from_frame,
    0x91: VoltageMinMaxCellAnswer.from_frame,
    0x92: TemperatureMinMaxCellAnswer.from_frame,
    0x94: StatusInformation1Answer.from_frame,
    0x98: BatteryFailureStatusAnswer.from_frame,
}


def _dalys(frame: Frame, values: Mapping[str, Any]) -> Iterator[Comparison]:
    if not isinstance(frame, DalyFrame):
        return
    for what, theirs, ours in (*_pydalybms(frame, values), *_dalybms(frame, values)):
        yield what[0], what[1], theirs, ours


_Pair = tuple[tuple[str, str], Any, Any]


def _pydalybms(frame: DalyFrame, values: Mapping[str, Any]) -> list[_Pair]:
    model = _DALY_MODELS.get(frame.id)
    if model is None or frame.address != 1:
        return []
    said = model(DalyBMSResponseFrame(frame.address, frame.id, 8, frame.data))
    pairs: dict[str, tuple[Any, Any]] = {}
    if frame.id == 0x90:
        pairs = {
            "voltage": (said.cumulative_total_voltage, values["voltage"]),
            "gather": (said.gather_total_voltage, values["gather_voltage"]),
            "current": (said.current, values["current"]),
            "soc": (said.soc, values["soc"]),
        }
    elif frame.id == 0x91:
        pairs = {
            "max": (said.max.voltage, values["max_cell_voltage"]),
            "max cell": (said.max.number, values["max_cell"]),
            "min": (said.min.voltage, values["min_cell_voltage"]),
            "min cell": (said.min.number, values["min_cell"]),
        }
    elif frame.id == 0x92:
        pairs = {
            "max": (said.max.temperature, values["max_temperature"]),
            "min": (said.min.temperature, values["min_temperature"]),
        }
    elif frame.id == 0x94:
        pairs = {
            "cells": (said.cells, values["cell_count"]),
            "sensors": (said.temperature_sensors, values["sensor_count"]),
        }
    elif frame.id == 0x98:
        flags = [v for k, v in vars(said).items() if k != "fault_code"]
        word = int.from_bytes(values["failure_bits"], "little")
        ours = [bool(word >> b & 1) for b in _FAILURE_BITS]
        pairs = {"failures": (flags, ours), "code": (said.fault_code, values["fault_code"])}
    return [(("pydalybms 0.1.0", k), theirs, ours) for k, (theirs, ours) in pairs.items()]


# in the order of its attributes: byte 3 has four flags, byte 6 four
_FAILURE_BITS = (*range(28), *range(32, 52))


def _dalybms(frame: DalyFrame, values: Mapping[str, Any]) -> list[_Pair]:
    peer = DalyBMS()
    pairs: dict[str, tuple[Any, Any]] = {}
    if frame.id == 0x93:
        said = peer.get_mosfet_status(frame.data)
        pairs = {
            "remaining": (said["capacity_ah"], values["remaining_capacity"]),
            "charge FET": (said["charging_mosfet"], bool(values["charge_mosfet"])),
            "discharge FET": (said["discharging_mosfet"], bool(values["discharge_mosfet"])),
        }
    elif frame.id == 0x94:
        pairs = {"cycles": (peer.get_status(frame.data)["cycles"], values["cycles"])}
    elif frame.id == 0x95 and values["number"] == 1:  # it refuses a list that starts later
        peer.status = {"cells": 3}
        said = peer.get_cell_voltages([frame.data])
        pairs = {"cells": (list(said.values()), values["cell_voltages"])}
    elif frame.id == 0x96 and values["number"] == 1:
        peer.status = {"temperature_sensors": 7}
        said = peer.get_temperatures([frame.data])
        # FF is no probe, which dalybms takes for a signed byte
        fitted = [i for i, raw in enumerate(frame.data[1:]) if raw != 0xFF]
        theirs, ours = list(said.values()), values["temperatures"]
        pairs = {"temperatures": ([theirs[i] for i in fitted], [ours[i] for i in fitted])}
    return [(("dalybms 0.5.0", k), theirs, ours) for k, (theirs, ours) in pairs.items()]


_PROGRAMS: dict[str, Callable[[Frame, Mapping[str, Any]], Iterator[Comparison]]] = {
    "jbd": _bmstools,
    "daly-a5": _dalys,
}
