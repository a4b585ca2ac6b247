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
    elif "short_circuit" in values and len(frame.data) == 22:  # it knows eleven counters only
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
