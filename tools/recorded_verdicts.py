"""What independent programs that the ordinary lane cannot install said of the captures.

`make verify` (tools/verify.py) asks them and writes tests/fixtures/independent.json; here our own
decoder is compared with that record, on every run and without any of those programs.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from bmslink.capture import CaptureHeader, Piece
from bmslink.decoding import jsonable
from bmslink.errors import FrameError
from bmslink.protocols import load_driver
from bmslink.protocols.base import Options, Record

__all__ = ["EXPLAINED", "RECORD", "agree", "differs", "live_frames", "ours", "recorded_comparisons"]

RECORD = Path(__file__).parent.parent / "tests" / "fixtures" / "independent.json"

EXPLAINED: dict[tuple[str, str], tuple[Callable[[Any, Any], bool], str]] = {
    ("jk02", "temperatures"): (
        lambda theirs, ours: set(theirs) == set(ours),
        "aiobmsble lists the MOSFET's sensor twice where the board sends it in two places",
    ),
    ("jk02", "heater"): (
        lambda theirs, ours: ours is None,
        "aiobmsble reads the 32S layout's heater from 24S boards too; unproven, so unknown to us",
    ),
    ("jbd", "temperatures"): (
        lambda theirs, ours: [t for t in theirs if t != -30.0] == list(ours),
        "aiobmsble shows -30.0 °C, which our decoder takes for a probe that is not fitted",
    ),
    ("daly-p81", "temperatures"): (
        lambda theirs, ours: set(theirs) - {215.0} <= set(ours),
        "aiobmsble reads the cells' sensors only, and takes the filler FF for 215 °C",
    ),
}
"""Where a program may say something else, in what way, and why: by (protocol, value)."""


def differs(protocol: str, key: str, theirs: Any, mine: Any) -> bool:
    """A disagreement that nothing explains."""
    if agree(theirs, mine):
        return False
    rule = EXPLAINED.get((protocol, key))
    return rule is None or not rule[0](theirs, mine)


def agree(theirs: Any, ours: Any) -> bool:
    """Equal within floating point."""
    if isinstance(theirs, (list, tuple)) and isinstance(ours, (list, tuple)):
        return len(theirs) == len(ours) and all(map(agree, theirs, ours))
    if isinstance(theirs, (int, float)) and isinstance(ours, (int, float)):
        return math.isclose(theirs, ours, rel_tol=1e-9, abs_tol=1e-9)
    return bool(theirs == ours)


@cache
def _record() -> Mapping[str, Any]:
    said: Mapping[str, Any] = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    return said


def live_frames(header: CaptureHeader, pieces: list[Piece]) -> Iterator[tuple[int, bytes, Record]]:
    """The received frames that our codec explains: their number, bytes and record."""
    driver = load_driver(header.protocol)
    codec = driver.make_codec(Options(variant=header.variant or None))
    framers = {sent: driver.make_framer() for sent in (False, True)}
    number = 0
    for piece in pieces:
        for frame in framers[piece.sent].feed(piece.data):
            if piece.sent:
                list(framers[False].expect(frame))
            try:
                record = codec.explain(frame, sent=piece.sent)
            except FrameError:
                continue
            if not piece.sent and record.role == "reading":
                yield number, framers[False].encode(frame), record
                number += 1


def ours(header: CaptureHeader, records: list[Record]) -> dict[str, Any]:
    """Our reading of some frames, under the names that the record uses."""
    codec = load_driver(header.protocol).make_codec(Options(variant=header.variant or None))
    reading = codec.reading(records)
    values = {k: jsonable(v) for k, v in reading.to_dict().items()}
    values["cell_voltages"] = [v for v in reading.cell_voltages if v]
    values["temperatures"] = sorted(v for v in reading.temperatures.values() if v is not None)
    # JK's programs call the full capacity so
    design = values.get("full_capacity" if header.protocol == "jk02" else "nominal_capacity")
    if design is not None:
        values["design_capacity"] = math.floor(design + 1e-9)
    return values


def recorded_comparisons(
    header: CaptureHeader, pieces: list[Piece]
) -> Iterator[tuple[str, str, Any, Any]]:
    """Program, name of the value, theirs, ours (theirs again where the difference is explained)."""
    said = _record().get(header.id)
    if said is None:
        return
    records = {number: record for number, _, record in live_frames(header, pieces)}
    for verdict in said:
        mine = ours(header, [records[n] for n in verdict["frames"]])
        for key, theirs in verdict["values"].items():
            explained = not differs(header.protocol, key, theirs, mine.get(key))
            yield verdict["program"], key, theirs, theirs if explained else mine.get(key)
