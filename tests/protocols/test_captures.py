"""Every captured frame, both ways. A new capture under `fixtures/` is tested without new code."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import goldens
import recorded_verdicts
from bmslink.errors import FrameError
from bmslink.link.capture import CaptureHeader, Piece, open_capture
from bmslink.link.link import Framer
from bmslink.protocols import DRIVERS, load_driver
from bmslink.protocols.base import Options
from support import about

CAPTURES = goldens.captures()
# without its request an answer of these is no frame; their own tests cut, glue and damage them
EXCHANGES = ("daly-sinowealth",)
ALONE = [p for p in CAPTURES if p.parent.name not in EXCHANGES]


def each_of(captures: list[Path]) -> Callable[[Callable[[Path], None]], Callable[[str], None]]:
    """A test for each folder of captures, which says with which of them it failed."""

    def tests(test: Callable[[Path], None]) -> Callable[[str], None]:
        def with_all(folder: str) -> None:
            for path in captures:
                if path.parent.name == folder:
                    with about(path):
                        test(path)

        with_all.__name__, with_all.__doc__ = test.__name__, test.__doc__
        folders = sorted({path.parent.name for path in captures})
        return pytest.mark.parametrize("folder", folders)(with_all)

    return tests


each_capture, each_alone = each_of(CAPTURES), each_of(ALONE)


def opened(path: Path) -> tuple[CaptureHeader, list[Piece]]:
    header, pieces = open_capture(path)
    return header, [goldens.whole(header, p) if "payload" in p.extra else p for p in pieces]


def framer_of(header: CaptureHeader) -> Framer[Any]:
    return load_driver(header.protocol).make_framer()


def valid_frames(path: Path) -> tuple[CaptureHeader, list[bytes]]:
    header, pieces = opened(path)
    return header, [p.data for p in pieces if p.checksum_ok]


def test_every_supported_protocol_has_captures() -> None:
    assert {p.parent.name for p in CAPTURES} >= set(DRIVERS)
    assert {open_capture(p)[0].protocol for p in CAPTURES} == set(DRIVERS)


@pytest.mark.uncounted
@each_capture
def test_names_say_what_is_inside(path: Path) -> None:
    header, pieces = open_capture(path)
    assert header.id == path.stem
    assert header.source
    assert list(pieces)


@pytest.mark.uncounted
@each_capture
def test_golden(path: Path) -> None:
    assert goldens.golden_path(path).read_text() == goldens.as_text(goldens.golden(path))


@pytest.mark.uncounted
@each_capture
def test_what_the_source_published_and_the_notes_expect(path: Path) -> None:
    found = goldens.decode(path, corrected=True)
    wanted = found.header.published | goldens.expected(found.header)
    assert goldens.disagreements(found, wanted) == []
    assert all(goldens.shown_agrees(found).values()), found.header.extra["shown"]
    for piece in found.pieces:
        if "published" in piece.extra:
            alone = goldens.Decoded(found.header, [piece])
            goldens.run(alone, [piece])
            assert goldens.disagreements(alone, piece.extra["published"]) == []


@each_capture
def test_independent_programs_agree(path: Path) -> None:
    for one in recorded_verdicts.comparisons(*opened(path)):
        assert one.explained, str(one)


@pytest.mark.uncounted
@each_capture
def test_whole_frames_are_frames_and_damaged_ones_are_refused(path: Path) -> None:
    header, pieces = opened(path)
    asked: list[Any] = []
    for number, piece in enumerate(pieces):
        framer = framer_of(header)
        for request in asked if not piece.sent else ():
            framer.expect(request)
        frames = framer.feed(piece.data) + framer.flush()
        if piece.sent:
            asked = frames
        if piece.checksum_ok:
            assert [f.raw for f in frames] == [piece.data], f"piece {number}"
        elif piece.checksum_ok is False:
            assert piece.data not in [f.raw for f in frames], f"piece {number}"
            assert framer.skipped, f"piece {number}"


@each_capture
def test_frames_and_payloads_build_again_to_the_byte(path: Path) -> None:
    header, pieces = opened(path)
    codec = load_driver(header.protocol).make_codec(Options(variant=header.variant or None))
    framer = framer_of(header)
    for sent, frame in goldens.frames(header, pieces):
        assert framer.encode(frame) == frame.raw
        payload = codec.payload(frame, sent=sent)
        if payload is not None:
            assert payload.layout.build(payload.layout.parse(payload.data)) == payload.data
        codec.decode(frame, sent=sent)


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    pieces = []
    for size in sizes:
        pieces.append(data[:size])
        data = data[size:]
    return [p for p in (*pieces, data) if p]


@each_alone
def test_cut_anywhere_glued_and_among_junk(path: Path) -> None:
    """Whole, byte by byte, in odd pieces, all glued together, with junk between."""
    header, frames = valid_frames(path)
    rng = random.Random(path.stem)
    for data in frames[:20]:
        for pieces in (
            [data[i : i + 1] for i in range(len(data))],
            cut(data, [20] * 14),
            cut(data, [rng.randint(1, len(data)) for _ in range(4)]),
        ):
            framer = framer_of(header)
            found = [f for piece in pieces for f in framer.feed(piece)]
            assert [f.raw for f in found] == [data]
            assert framer.pending == 0
    framer = framer_of(header)
    stream = b"".join(frames)
    assert b"".join(f.raw for f in framer.feed(stream)) == stream
    assert framer.skipped_bytes == 0
    framer = framer_of(header)
    junk = bytes(b for b in range(1, 60) if b not in (0x4E, 0x57, 0x55))
    found = [f for data in frames for f in framer.feed(junk + data)] + framer.flush()
    assert [f.raw for f in found] == frames
    assert framer.skipped_bytes == len(junk) * len(frames)


@pytest.mark.uncounted
@each_alone
def test_one_flipped_bit_loses_one_frame_and_nothing_after_it(path: Path) -> None:
    header, frames = valid_frames(path)
    rng = random.Random(path.stem)
    for data in frames[:10]:
        for bit in rng.sample(range(len(data) * 8), 16):
            broken = bytearray(data)
            broken[bit // 8] ^= 1 << bit % 8
            framer = framer_of(header)
            found = framer.feed(bytes(broken) + data) + framer.flush()
            raws = [f.raw for f in found]
            assert data in raws, f"bit {bit}: the good frame behind the damaged one is lost"
            assert bytes(broken) not in raws or framer.encode(found[0]) == bytes(broken)


@each_alone
def test_truncated_frames_do_not_swallow_the_next(path: Path) -> None:
    header, frames = valid_frames(path)
    rng = random.Random(path.stem)
    for data in frames[:10]:
        framer = framer_of(header)
        cut_off = data[: rng.randint(1, len(data) - 1)]
        found = framer.feed(cut_off + data) + framer.flush()
        assert [f.raw for f in found][-1:] == [data]


@each_alone
def test_twice_is_twice_and_never_an_error(path: Path) -> None:
    """A duplicated or repeated frame decodes again to the same."""
    header, frames = valid_frames(path)
    codec = load_driver(header.protocol).make_codec(Options(variant=header.variant or None))
    for data in frames[:20]:
        for frame in framer_of(header).feed(data + data):
            try:
                first = codec.decode(frame)
            except FrameError:
                continue
            assert codec.decode(frame) == first


def test_evidence_page_is_fresh() -> None:
    assert goldens.EVIDENCE.read_text() == goldens.evidence()


def test_goldens_stand_beside_their_captures() -> None:
    expected = {goldens.golden_path(p) for p in CAPTURES}
    assert set(goldens.FIXTURES.glob("*/*.golden.json")) == expected
    for path in expected:
        assert json.loads(path.read_text())["verified_by"]
