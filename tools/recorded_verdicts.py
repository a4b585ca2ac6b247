"""What independent programs say of the captures, compared with our decoder on every run.

`make verify` (tools/verify.py) asks the programs and writes tests/fixtures/independent.json; here
our decoder is compared with that record, without any of those programs.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from bmslink.decoding import jsonable
from bmslink.errors import FrameError
from bmslink.link.capture import CaptureHeader, Piece
from bmslink.protocols import load_driver
from bmslink.protocols.base import Options, Record
from verdict_reasons import REASONS, Ours, Reason

__all__ = [
    "RECORD",
    "Comparison",
    "Tally",
    "agree",
    "compared",
    "comparisons",
    "judge",
    "live_frames",
]

RECORD = Path(__file__).parent.parent / "tests" / "fixtures" / "independent.json"
ROLES = ("reading", "identity", "settings", "log")


@dataclass(frozen=True)
class Comparison:
    """One value that a program gives, beside ours."""

    program: str
    key: str
    theirs: Any
    ours: Any
    agrees: bool
    reason: Reason | None = None
    """Why they differ; without one, the difference is not explained."""

    @property
    def explained(self) -> bool:
        """Whether it needs no look by a person."""
        return self.agrees or self.reason is not None

    def __str__(self) -> str:
        """As one sentence."""
        return f"{self.program} says {self.key} = {self.theirs}, we say {self.ours}"


@dataclass
class Tally:
    """How a program and we compare over a capture."""

    agreeing: int = 0
    reasons: Counter[str] = field(default_factory=Counter)


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


@dataclass(frozen=True)
class Live:
    """A received frame with values."""

    raw: bytes
    asked: bytes
    """The request before it; empty where nobody asked."""
    record: Record


def live_frames(header: CaptureHeader, pieces: list[Piece]) -> Iterator[Live]:
    """The received frames with values that our codec explains.

    A program is asked about these, by their number.
    """
    driver = load_driver(header.protocol)
    codec = driver.make_codec(Options(variant=header.variant or None))
    framers = {sent: driver.make_framer() for sent in (False, True)}
    asked = b""
    for piece in pieces:
        for frame in framers[piece.sent].feed(piece.data):
            if piece.sent:
                asked = framers[True].encode(frame)
                list(framers[False].expect(frame))
            try:
                record = codec.decode(frame, sent=piece.sent)
            except FrameError:
                continue
            if not piece.sent and record.role in ROLES:
                yield Live(framers[False].encode(frame), asked, record)


def _ours(header: CaptureHeader, records: list[Record]) -> Ours:
    """Our decoding of some frames, under the names that the record uses."""
    codec = load_driver(header.protocol).make_codec(Options(variant=header.variant or None))
    reading = codec.reading(records)
    values = {k: jsonable(v) for k, v in reading.to_dict().items()}
    values["cell_voltages"] = [v for v in reading.cell_voltages if v]
    values["temperatures"] = sorted(v for v in reading.temperatures.values() if v is not None)
    # JK's programs call the full capacity so
    design = values.get("full_capacity" if header.protocol == "jk02" else "nominal_capacity")
    if design is not None:
        values["design_capacity"] = math.floor(design + 1e-9)
    identity = codec.identity([r for r in records if r.role != "log"]).to_dict()
    return Ours(values, identity, [{k: jsonable(v) for k, v in r.values.items()} for r in records])


def judge(program: str, protocol: str, key: str, theirs: Any, ours: Ours) -> Comparison:
    """Whether one value agrees, and if not, for which of the known reasons."""
    mine = ours.candidates(key)
    if any(agree(theirs, one) for one in mine):
        return Comparison(program, key, theirs, theirs, agrees=True)
    shown = mine[0] if mine else None
    reason = next(
        (r for r in REASONS if r.covers(program, protocol, key) and r.holds(theirs, shown, ours)),
        None,
    )
    return Comparison(program, key, theirs, shown, agrees=False, reason=reason)


def comparisons(header: CaptureHeader, pieces: list[Piece]) -> Iterator[Comparison]:
    """Every value of a capture that an independent program gives too."""
    said = _record().get(header.id)
    if said is None:
        return
    records = [live.record for live in live_frames(header, pieces)]
    for verdict in said:
        program = verdict["program"]
        ours = _ours(header, [records[n] for n in verdict["frames"]])
        if "refused" in verdict:
            yield judge(program, header.protocol, "refused", verdict["refused"], ours)
        for key, theirs in verdict.get("values", {}).items():
            yield judge(program, header.protocol, key, theirs, ours)


def compared(header: CaptureHeader, pieces: list[Piece]) -> dict[str, Tally]:
    """By program, how many values agree and why others do not.

    Raises AssertionError for a difference without a known reason.
    """
    tallies: dict[str, Tally] = {}
    for one in comparisons(header, pieces):
        if not one.explained:
            raise AssertionError(f"{header.id}: {one}")
        tally = tallies.setdefault(one.program, Tally())
        if one.reason is None:
            tally.agreeing += 1
        else:
            tally.reasons[one.reason.name] += 1
    return tallies
