"""What a recording of the line tells about the line: pure, from bytes and times."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise
from typing import Any

from bmslink.link.capture import Piece
from bmslink.protocols import load_driver
from bmslink.protocols.base import Driver
from bmslink.protocols.common.rtu import MODBUS_SHAPES, RTUFramer
from bmslink.reports.doctor.facts import LineFacts

__all__ = ["exchanges_of", "pieces_of", "read_line"]

_SHORTEST = 5
"""Bytes of the shortest answer of a Modbus device."""
_TAIL = 4
"""Bytes that must come again at least to count as the end of the answer before."""


def pieces_of(capture: bytes) -> list[Piece]:
    """The pieces of a recording that is held in memory; a last line that is cut off is left out."""
    found: list[Piece] = []
    for line in capture.splitlines()[1:]:
        with suppress(ValueError, KeyError, TypeError):
            row = json.loads(line)
            found.append(Piece(t=row["t"], dir=row["dir"], hex=row["hex"]))
    return found


def exchanges_of(pieces: Sequence[Piece]) -> list[tuple[bytes, bytes]]:
    """Each request, and what came until the next."""
    found: list[tuple[bytes, bytes]] = []
    for piece in pieces:
        if piece.sent:
            found.append((piece.data, b""))
        elif found:
            asked, came = found[-1]
            found[-1] = asked, came + piece.data
    return found


def read_line(facts: LineFacts, protocol: str, pieces: Sequence[Piece], *, streams: bool) -> None:
    """Add to `facts` what the bytes show."""
    driver = load_driver(protocol)
    exchanges = exchanges_of(pieces)
    facts.asked = len(exchanges)
    answered = [bool(came) for _, came in exchanges]
    facts.woken = answered.index(True) if True in answered else 0
    if driver.yields:  # it listens before it asks, and what it did not hear is no lost answer
        facts.requests, facts.timeouts = len(answered), answered[facts.woken :].count(False)
    if streams:
        _read_stream(facts, driver, exchanges)
        return
    before = b""
    for asked, heard in exchanges:
        echoed = heard.startswith(asked)
        facts.echoes += echoed
        came = heard[len(asked) :] if echoed else heard
        if not came:
            continue
        framer = driver.make_framer()
        framer_of_request = driver.make_framer()
        for frame in framer_of_request.feed(asked):
            framer.expect(frame)
        frames = [*framer.feed(came), *framer.flush()]
        facts.frames += len(frames)
        facts.bad_frames += framer.bad_frames
        skipped = b"".join(run.data for run in framer.skipped)
        facts.strangers += _strangers(asked, skipped, [frame.raw for frame in frames], protocol)
        facts.doubles += any(one.raw == two.raw for one, two in pairwise(frames))
        facts.halves += not frames
        tail = came[: len(came) - len(b"".join(f.raw for f in frames))]
        facts.tails += len(tail) >= _TAIL and before.endswith(tail)
        facts.noise += framer.skipped_bytes
        before = frames[-1].raw if frames else came


def _read_stream(
    facts: LineFacts, driver: type[Driver[Any]], exchanges: Sequence[tuple[bytes, bytes]]
) -> None:
    """The same of a board that sends by itself: a question may fall into the middle of a frame."""
    framer, count = driver.make_framer(), 0
    last = b""
    for asked, heard in exchanges:
        echoed = heard.startswith(asked)
        facts.echoes += echoed
        for frame in framer.feed(heard[len(asked) :] if echoed else heard):
            count += 1
            facts.doubles += frame.raw == last
            last = frame.raw
    facts.frames, facts.bad_frames, facts.noise = count, framer.bad_frames, framer.skipped_bytes
    skipped = b"".join(run.data for run in framer.skipped)
    facts.strangers = _strangers(b"", skipped, (), driver.name)


def _strangers(asked: bytes, skipped: bytes, frames: Sequence[bytes], protocol: str) -> int:
    """Modbus frames of others among what came: in the bytes that are none of ours, or with an
    address that nobody asked."""
    count = 0
    if protocol == "jk-modbus":
        return sum(raw[:1] != asked[:1] for raw in frames if asked)
    if len(skipped) >= _SHORTEST:
        framer = RTUFramer(MODBUS_SHAPES)
        count += len([*framer.feed(skipped), *framer.flush()])
    return count
