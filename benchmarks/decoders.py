"""The decode contests: the same captured frames through our decoder and through peers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from bmstools.jbd.registers import BasicInfoReg, CellInfoReg
from dalybms import DalyBMS
from pydalybms.frame import DalyBMSResponseFrame
from pydalybms.models import (
    BatteryFailureStatusAnswer,
    CellVoltagesAnswer,
    SoCAnswer,
    StatusInformation1Answer,
    TemperatureMinMaxCellAnswer,
    VoltageMinMaxCellAnswer,
)

from bmslink.capture import open_capture
from bmslink.protocols import load_driver
from bmslink.protocols.base import Options

FIXTURES = Path(__file__).parent.parent / "tests" / "fixtures"
Contest = tuple[str, dict[str, Callable[[], object]]]


def frames_of(capture: str, *, most: int = 99) -> list[bytes]:
    """The whole frames that came from the device."""
    _, pieces = open_capture(FIXTURES / f"{capture}.jsonl")
    return [p.data for p in pieces if p.checksum_ok and not p.sent][:most]


def ours(protocol: str, frames: list[bytes]) -> Callable[[], object]:
    """Bytes to reading, as on a live link: framing, checksums, layouts, meaning."""
    driver = load_driver(protocol)
    codec: Any = driver.make_codec(Options())
    framer: Any = driver.make_framer()

    def work() -> object:
        records = [codec.explain(f) for data in frames for f in framer.feed(data)]
        return codec.reading([r for r in records if r.part is not None])

    return work


def ours_framing(protocol: str, frames: list[bytes]) -> Callable[[], object]:
    """Only finding and checking the frames."""
    framer: Any = load_driver(protocol).make_framer()
    return lambda: [framer.feed(data) for data in frames]


def bmstools(frames: list[bytes]) -> Callable[[], object]:
    """Payloads of 03 and 04; it checks checksums elsewhere, which is not counted."""
    basic, cells = BasicInfoReg("basic_info", 3), CellInfoReg("cell_info", 4)

    def work() -> object:
        basic.unpack(frames[0][4:-3])
        cells.unpack(frames[1][4:-3])
        return basic, cells

    return work


def pydalybms(frames: list[bytes]) -> Callable[[], object]:
    """Its models for 90, 91, 92, 94, 95 and 98; it does not check checksums."""
    models: dict[int, Callable[[DalyBMSResponseFrame], object]] = {
        0x90: SoCAnswer.from_frame,
        0x91: VoltageMinMaxCellAnswer.from_frame,
        0x92: TemperatureMinMaxCellAnswer.from_frame,
        0x94: StatusInformation1Answer.from_frame,
        0x98: BatteryFailureStatusAnswer.from_frame,
    }

    def work() -> object:
        parsed = [DalyBMSResponseFrame.from_bytes(data) for data in frames]
        cells = [f for f in parsed if f.data_id == 0x95]
        return [models[f.data_id](f) for f in parsed if f.data_id in models], (
            CellVoltagesAnswer.from_frames(cells, 14)
        )

    return work


def dalybms(frames: list[bytes]) -> Callable[[], object]:
    """Its parsers for 90 to 96 and 98, fed with data it has already received."""
    peer = DalyBMS()

    def work() -> object:
        by: dict[int, list[bytes]] = {}
        for data in frames:
            by.setdefault(data[2], []).append(data[4:12])
        return (
            peer.get_status(by[0x94][0]),
            peer.get_soc(by[0x90][0]),
            peer.get_cell_voltage_range(by[0x91][0]),
            peer.get_temperature_range(by[0x92][0]),
            peer.get_mosfet_status(by[0x93][0]),
            peer.get_cell_voltages(by[0x95]),
            peer.get_temperatures(by[0x96]),
            peer.get_errors(by[0x98][0]),
        )

    return work


def contests() -> dict[str, Contest]:
    """Title -> (the contestant that ratios refer to, all contestants)."""
    jbd = frames_of("jbd/jbd-idx-gxbridge-4s")
    daly = frames_of("daly-a5/daly-a5-uart-14s-pctool-session")
    jk = frames_of("jk02/jk02-32s-pb2a16s15p-14.20-a")
    nw = frames_of("jk-nw/nw-14s-h6x-s6.1.3S")
    return {
        "JBD 03 + 04, 4 cells": (
            "bmstools 1.2.0",
            {
                "bmslink, bytes to reading": ours("jbd", jbd),
                "bmslink, framing only": ours_framing("jbd", jbd),
                "bmstools 1.2.0": bmstools(jbd),
            },
        ),
        "Daly 90-98, 14 cells": (
            "pydalybms 0.1.0",
            {
                "bmslink, bytes to reading": ours("daly-a5", daly),
                "bmslink, framing only": ours_framing("daly-a5", daly),
                "pydalybms 0.1.0": pydalybms(daly),
                "dalybms 0.5.0": dalybms(daly),
            },
        ),
        "JK 300-byte frames, 32S (information + cells)": (
            "bmslink, framing only",
            {
                "bmslink, bytes to reading": ours("jk02", jk),
                "bmslink, framing only": ours_framing("jk02", jk),
            },
        ),
        "JK NW read-all, 14 cells": (
            "bmslink, framing only",
            {
                "bmslink, bytes to reading": ours("jk-nw", nw),
                "bmslink, framing only": ours_framing("jk-nw", nw),
            },
        ),
    }
