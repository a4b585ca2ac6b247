"""Golden readings beside the captures, and the page of evidence made from both.

    python tools/goldens.py            writes tests/fixtures/*/*.golden.json and docs/evidence.md
    python tools/goldens.py --check    says what would change, and changes nothing

A golden is written by our own decoder, so it proves only that nothing changes unnoticed.
`verified_by` says who else agrees: `source` (the values the source published beside the bytes),
independent decoders by name, `expectation` (what the notes of a capture expect, which is our own
judgement), or `none`.
"""

from __future__ import annotations

import json
import math
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import evidence_page
from bmslink.app_values import agreeing
from bmslink.decoding import FrameEvent, Skip, explain_pieces, jsonable
from bmslink.errors import FrameError
from bmslink.link.capture import CaptureHeader, Piece, open_capture
from bmslink.model import Reading
from bmslink.protocols import load_driver
from bmslink.protocols.base import Options
from bmslink.protocols.common.rtu import RTUFrame
from bmslink.protocols.daly.a5.driver import DalyFrame
from bmslink.protocols.jbd.driver import JBDFrame
from recorded_verdicts import Tally, compared

ROOT = Path(__file__).parent.parent
FIXTURES = ROOT / "tests" / "fixtures"
EVIDENCE = ROOT / "docs" / "evidence.md"

PAYLOAD_FRAMES = {"jbd": JBDFrame, "daly-a5": DalyFrame, "jk-modbus": RTUFrame}
"""Some sources kept only the payload of a frame; this puts it back into one."""


@dataclass
class Decoded:
    """Everything our decoder finds in one capture."""

    header: CaptureHeader
    pieces: list[Piece]
    readings: list[dict[str, Any]] = field(default_factory=list)
    frames: list[FrameEvent] = field(default_factory=list)
    skips: list[Skip] = field(default_factory=list)
    identity: dict[str, Any] = field(default_factory=dict)
    values: list[Mapping[str, Any]] = field(default_factory=list)
    """What each frame says in the protocol's own names (the codec's records)."""
    error: str = ""


def captures() -> list[Path]:
    """All capture fixtures, in order."""
    return sorted(FIXTURES.glob("*/*.jsonl"))


def whole(header: CaptureHeader, piece: Piece) -> Piece:
    """A piece as it stood on the wire: bare payloads get their frame back."""
    payload = piece.extra.get("payload")
    if payload is None:
        return piece
    frame = PAYLOAD_FRAMES[header.protocol](data=piece.data, **payload)
    framer = load_driver(header.protocol).make_framer()
    return Piece(t=piece.t, dir=piece.dir, hex=framer.encode(frame).hex(), kind=piece.kind)


def decode(path: Path, *, corrected: bool = False) -> Decoded:
    """Decode a fixture the way the command does.

    `corrected`: with the checksums that a source printed wrong put right (`right_sum`), so that
    the values it printed beside them can be compared all the same.
    """
    header, lines = open_capture(path)
    result = Decoded(header, [_corrected(p) for p in lines] if corrected else list(lines))
    run(result, result.pieces)
    return result


def _corrected(piece: Piece) -> Piece:
    right = piece.extra.get("right_sum")
    if right is None:
        return piece
    return Piece(dir=piece.dir, hex=piece.hex[: -len(right)] + right, kind=piece.kind)


def run(result: Decoded, pieces: Iterable[Piece]) -> None:
    """Decode pieces of a capture into `result`."""
    pieces = [whole(result.header, p) for p in pieces]
    try:
        for event in explain_pieces(result.header, pieces):
            if isinstance(event, Reading):
                result.readings.append(pruned(event.to_dict()))
            elif isinstance(event, Skip):
                result.skips.append(event)
            else:
                result.frames.append(event)
    except FrameError as exc:
        result.error = str(exc)
    _records(result, pieces)


def frames(header: CaptureHeader, pieces: Iterable[Piece]) -> Iterator[tuple[bool, Any]]:
    """The frames of a capture in order, each with whether it was sent."""
    make = load_driver(header.protocol).make_framer
    framers = {sent: make() for sent in (False, True)}
    for piece in pieces:
        for frame in framers[piece.sent].feed(piece.data):
            if piece.sent:
                yield from ((False, ended) for ended in framers[False].expect(frame))
            yield piece.sent, frame
    for sent, framer in framers.items():
        yield from ((sent, frame) for frame in framer.flush())


def _records(result: Decoded, pieces: Iterable[Piece]) -> None:
    """Once more, for the raw values and the identity, which is merged over the whole capture."""
    driver = load_driver(result.header.protocol)
    codec = driver.make_codec(Options(variant=result.header.variant or None))
    records = []
    for sent, frame in frames(result.header, pieces):
        try:
            records.append(codec.decode(frame, sent=sent))
        except FrameError:
            continue
    result.values = [r.values for r in records]
    live = [r for r in records if r.role in ("identity", "reading", "settings")]
    if live:
        identity = pruned(codec.identity(live).to_dict())
        result.identity = {k: v for k, v in identity.items() if k not in ("vendor", "protocol")}


def pruned(values: Mapping[str, Any]) -> dict[str, Any]:
    """Without what is unknown or empty."""
    skip = ("protocol", "target")
    return {
        k: jsonable(v) for k, v in values.items() if k not in skip and v not in (None, [], {}, "")
    }


def golden(path: Path) -> dict[str, Any]:
    """The golden of one capture."""
    found = decode(path)
    kinds = Counter(("tx " if f.sent else "rx ") + f"{f.role}: {f.kind}" for f in found.frames)
    settings: dict[str, Any] = {}
    for frame in found.frames:
        if frame.role == "settings":
            settings.update(frame.values)
    tallies = compared(found.header, [whole(found.header, p) for p in found.pieces])
    result: dict[str, Any] = {
        "verified_by": verified_by(found, tallies),
        "compared": {
            program: {"agree": tally.agreeing, **dict(sorted(tally.reasons.items()))}
            for program, tally in tallies.items()
        },
        "frames": dict(sorted(kinds.items())),
        "skipped": [
            {"at": s.offset, "length": s.length, "sent": s.sent, "reason": s.reason}
            for s in found.skips
        ],
        "identity": found.identity,
        "settings": settings,
        "logs": [dict(f.values) for f in found.frames if f.role == "log"],
        "readings": found.readings,
        "bare": sum("payload" in p.extra for p in found.pieces) or "",
        "refused": found.error,
    }
    return {k: v for k, v in result.items() if v not in ({}, [], "")}


def verified_by(found: Decoded, tallies: Mapping[str, Tally]) -> str:
    """Who else agrees with the golden, each by name."""
    published = bool(found.header.published) or any("published" in p.extra for p in found.pieces)
    published = published or any(shown_agrees(found).values())
    names = ["source"] if published else []
    names += [program for program, tally in tallies.items() if tally.agreeing]
    names += ["expectation"] if expected(found.header) else []
    return ", ".join(names) or "none"


def shown_agrees(found: Decoded) -> dict[str, bool]:
    """Whether our readings say what somebody read off the vendor's app, by key."""
    return agreeing(found.readings, found.header.extra.get("shown", {}))


def expected(header: CaptureHeader) -> dict[str, Any]:
    """What the notes of a capture expect; its source does not say so itself."""
    values: dict[str, Any] = header.extra.get("expected", {})
    return values


# ------------------------------------------------------------------------ published values


def disagreements(found: Decoded, published: Mapping[str, Any]) -> list[str]:
    """What the source published and our decoding does not say.

    Plain keys must hold in a reading, `identity.x` in the identity, and `values.x` in what at
    least one frame says in the protocol's own names.
    """
    plain = {k: v for k, v in published.items() if not k.startswith(("identity.", "values."))}
    wrong = [
        f"{key} is {_look(found.identity, key.removeprefix('identity.'))}, published {value}"
        for key, value in published.items()
        if key.startswith("identity.")
        and not same(_look(found.identity, key.removeprefix("identity.")), value)
    ]
    for key, value in published.items():
        if key.startswith("values."):
            said = [_look(v, key.removeprefix("values.")) for v in found.values]
            if not any(same(s, value) for s in said):
                seen = [s for s in said if s is not None][:3]
                wrong.append(f"{key} is {seen}, published {value}")
    for key, value in plain.items():
        said = [_look(reading, key) for reading in found.readings]
        if not any(same(s, value) for s in said):
            wrong.append(f"{key} is {said[:3]}, published {value}")
    return wrong


def _look(values: Mapping[str, Any], key: str) -> Any:
    """`temperatures.mosfet`, `cell_voltages.3` (from 1), `sensors` (all but mosfet and co.)."""
    if key == "sensors":
        return [
            t
            for name, t in values.get("temperatures", {}).items()
            if name.startswith(("sensor_", "cell_"))
        ]
    here: Any = values
    for part in key.split("."):
        if isinstance(here, (list, tuple)) and part.isdigit() and int(part) <= len(here):
            here = here[int(part) - 1]
        elif isinstance(here, Mapping):
            here = here.get(part)
        else:
            return None
    return here


def same(ours: Any, published: Any) -> bool:
    """Equal, numbers within rounding (sources print at least as many digits as they send)."""
    if isinstance(ours, (list, tuple)) and isinstance(published, list):
        return len(ours) == len(published) and all(map(same, ours, published))
    if isinstance(ours, bool) or isinstance(published, bool):
        return ours is published
    if isinstance(ours, (int, float)) and isinstance(published, (int, float)):
        return math.isclose(ours, published, rel_tol=1e-9, abs_tol=1e-9)
    return bool(ours == published)


# ------------------------------------------------------------------------ the evidence page


def evidence() -> str:
    """docs/evidence.md: what is proven by which capture."""
    rows: dict[str, list[tuple[str, ...]]] = defaultdict(list)
    golds: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    totals: Counter[str] = Counter()
    for path in captures():
        header, lines = open_capture(path)
        pieces = list(lines)
        gold = json.loads(golden_path(path).read_text())
        folder = path.parent.name
        golds[folder].append(gold)
        totals["captures"] += 1
        totals["pieces"] += len(pieces)
        totals["whole"] += sum(p.checksum_ok is True for p in pieces)
        totals["refused"] += sum(p.checksum_ok is False for p in pieces)
        totals["readings"] += len(gold.get("readings", []))
        rows[folder].append(
            (
                evidence_page.cell(header.hardware),
                evidence_page.cell(header.firmware),
                f"`{header.id}`",
                header.transport,
                evidence_page.what(gold),
                gold["verified_by"],
                evidence_page.cell(header.source),
            )
        )
    return "\n".join(evidence_page.page(rows, golds, totals)) + "\n"


# ------------------------------------------------------------------------ the command


def golden_path(path: Path) -> Path:
    """Where the golden of a capture stands."""
    return path.with_suffix(".golden.json")


def as_text(gold: Mapping[str, Any]) -> str:
    """One key a line, one reading a line: small, and a change shows in a diff."""
    parts = []
    for key, value in gold.items():
        if isinstance(value, list) and value:
            items = ",\n  ".join(json.dumps(v, ensure_ascii=False) for v in value)
            parts.append(f' "{key}": [\n  {items}\n ]')
        else:
            parts.append(f' "{key}": {json.dumps(value, ensure_ascii=False)}')
    return "{\n" + ",\n".join(parts) + "\n}\n"


def main(arguments: list[str]) -> int:
    """Write or check."""
    check = "--check" in arguments
    stale = 0
    for path in captures():
        stale += _put(golden_path(path), as_text(golden(path)), check)
    stale += _put(EVIDENCE, evidence(), check)
    print(f"{stale} file(s) {'would change' if check else 'written'}")
    return int(check and stale > 0)


def _put(path: Path, text: str, check: bool) -> int:
    if path.exists() and path.read_text() == text:
        return 0
    if not check:
        path.write_text(text)
    print(path.relative_to(ROOT))
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
