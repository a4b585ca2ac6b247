"""Register frames: every shape both ways, and what a line does to them."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bmslink.errors import FrameError
from bmslink.link.capture import open_capture
from bmslink.protocols.common.rtu import (
    DALY_SHAPES,
    MODBUS_SHAPES,
    READ,
    WRITE,
    WRITE_MANY,
    RTUFrame,
    RTUFramer,
    crc16,
)
from bmslink.protocols.daly.registers.framing import P81Framer
from support import FIXTURES

# The unit 11 frames are the widely printed examples of Modbus RTU, the others are captured.
MODBUS = {
    "1103006b00037687": RTUFrame(unit=0x11, register=0x6B, count=3),
    "110306ae415652434049ad": RTUFrame(unit=0x11, shape="data", data=bytes.fromhex("ae4156524340")),
    "1106000100039a9b": RTUFrame(unit=0x11, function=WRITE, shape="write", register=1, count=3),
    "11100001000204000a0102c6f0": RTUFrame(
        unit=0x11,
        function=WRITE_MANY,
        shape="write_many",
        register=1,
        count=2,
        data=bytes.fromhex("000a0102"),
    ),
    "1110000100021298": RTUFrame(
        unit=0x11, function=WRITE_MANY, shape="written", register=1, count=2
    ),
    "118302c134": RTUFrame(unit=0x11, function=READ | 0x80, shape="exception", code=2),
}
DALY = {
    "d2030000003ed7b9": RTUFrame(unit=0xD2, count=0x3E),
    "d203040001010048ae": RTUFrame(unit=0xD2, shape="data", data=bytes.fromhex("00010100")),
    "d20600a60001bb8a": RTUFrame(unit=0xD2, function=WRITE, shape="write", register=0xA6, count=1),
    "811001400002743073f02ca9": RTUFrame(
        unit=0x81,
        function=WRITE_MANY,
        shape="write_bare",
        register=0x140,
        count=2,
        data=bytes.fromhex("743073f0"),
    ),
    "51100f05aaaa2193": RTUFrame(
        unit=0x51, function=WRITE_MANY, shape="written", register=0xF05, count=0xAAAA
    ),
}
ALL = [(MODBUS_SHAPES, raw, frame) for raw, frame in MODBUS.items()]
ALL += [(DALY_SHAPES, raw, frame) for raw, frame in DALY.items()]
each_frame = pytest.mark.parametrize(
    ("shapes", "text", "frame"), ALL, ids=[f"{f.shape}-{raw[:8]}" for _, raw, f in ALL]
)


def bare(frame: RTUFrame) -> RTUFrame:
    return frame.replace(raw=b"", offset=0)


def test_the_check_value_of_the_algorithm() -> None:
    assert crc16(b"") == 0xFFFF
    assert crc16(b"123456789") == 0x4B37


@pytest.mark.parametrize("folder", ["daly-d2", "daly-p81"])
def test_checksums_of_captures(folder: str) -> None:
    checked = 0
    for path in sorted((FIXTURES / folder).glob("*.jsonl")):
        for piece in open_capture(path)[1]:
            if piece.checksum_ok is None or not piece.hex:
                continue
            right = crc16(piece.data[:-2]) == int.from_bytes(piece.data[-2:], "little")
            assert right is piece.checksum_ok
            checked += 1
    assert checked > 90


@each_frame
def test_both_ways(shapes, text: str, frame: RTUFrame) -> None:
    framer = RTUFramer(shapes)
    raw = bytes.fromhex(text)
    (found,) = framer.feed(raw)
    assert bare(found) == frame
    assert found.raw == raw
    assert framer.encode(frame) == raw
    assert framer.pending == 0


@each_frame
def test_split_at_every_byte(shapes, text: str, frame: RTUFrame) -> None:
    raw = bytes.fromhex(text)
    for at in range(1, len(raw)):
        framer = RTUFramer(shapes)
        assert framer.feed(raw[:at]) == []
        assert [bare(f) for f in framer.feed(raw[at:])] == [frame]


@each_frame
def test_a_flipped_bit_is_no_frame(shapes, text: str, frame: RTUFrame) -> None:
    raw = bytes.fromhex(text)
    for bit in range(8 * len(raw)):
        damaged = bytearray(raw)
        damaged[bit // 8] ^= 1 << bit % 8
        framer = RTUFramer(shapes)
        assert framer.feed(bytes(damaged)) + framer.flush() == []
        assert framer.skipped_bytes == len(raw)


@pytest.mark.parametrize(("shapes", "frames"), [(MODBUS_SHAPES, MODBUS), (DALY_SHAPES, DALY)])
def test_glued_and_among_junk(shapes, frames: dict[str, RTUFrame]) -> None:
    glued = bytes.fromhex("".join(frames))
    framer = RTUFramer(shapes)
    assert [bare(f) for f in framer.feed(glued)] == list(frames.values())
    assert framer.skipped_bytes == 0
    framer = RTUFramer(shapes)
    junk = b"\xff\x00AT+VER=?\r\n"
    found = framer.feed(junk + junk.join(bytes.fromhex(raw) for raw in frames) + junk)
    assert [bare(f) for f in found + framer.flush()] == list(frames.values())
    assert framer.skipped_bytes == len(junk) * (1 + len(frames))
    offsets = [f.offset for f in found]
    assert offsets == sorted(offsets)
    assert offsets[0] == len(junk)


def test_other_units_are_noise() -> None:
    framer = RTUFramer(DALY_SHAPES, lambda unit: unit == 0xD2)
    raw = [bytes.fromhex(text) for text in DALY]
    assert [f.unit for f in framer.feed(b"".join(raw)) + framer.flush()] == [0xD2] * 3


def test_the_longest_answer_and_no_longer() -> None:
    longest = RTUFrame(unit=0xD2, shape="data", data=bytes(range(252)))
    framer = RTUFramer(DALY_SHAPES)
    assert [bare(f) for f in framer.feed(framer.encode(longest))] == [longest]
    longer = framer.encode(longest.replace(data=bytes(254)))
    assert framer.feed(longer) + framer.flush() == []


def test_words() -> None:
    assert MODBUS["110306ae415652434049ad"].words == [0xAE41, 0x5652, 0x4340]


@pytest.mark.parametrize(
    "frame",
    [
        RTUFrame(unit=256),
        RTUFrame(register=-1),
        RTUFrame(count=0x10000),
        RTUFrame(shape="data", data=bytes(256)),
    ],
)
def test_what_cannot_be_sent_is_our_own_error(frame: RTUFrame) -> None:
    with pytest.raises(FrameError):
        RTUFramer(DALY_SHAPES).encode(frame)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=600), st.integers(0, 2**32))
def test_any_bytes(data: bytes, seed: int) -> None:
    """No error, no loss, the same frames however the bytes are cut; a good frame behind them
    is found."""
    rng = random.Random(seed)
    good = bytes.fromhex("1103006b00037687")
    for shapes in (MODBUS_SHAPES, DALY_SHAPES):
        whole, cut = RTUFramer(shapes), RTUFramer(shapes)
        frames = whole.feed(data)
        found, at = [], 0
        while at < len(data):
            step = rng.randint(1, 40)
            found += cut.feed(data[at : at + step])
            at += step
        assert found == frames
        frames += whole.flush()
        assert whole.pending == 0
        assert sum(len(f.raw) for f in frames) + whole.skipped_bytes == len(data)
        for frame in frames:
            assert whole.encode(frame) == frame.raw
        assert [f.raw for f in whole.feed(good)] == [good]


# ------------------------------------------------------------------------- a second master


OURS = RTUFrame(unit=1, register=0x1200, count=2)
THEIRS = RTUFrame(unit=1, register=0x1000, count=2)
NOT_RIVALS = [THEIRS.replace(unit=2), THEIRS.replace(count=3), OURS]
ANSWERS = [RTUFrame(unit=1, shape="data", data=bytes([n] * 4)) for n in (1, 2)]
LONGER = RTUFrame(unit=1, shape="data", data=bytes(6))
REFUSAL = RTUFrame(unit=1, function=READ | 0x80, shape="exception", code=2)


def doubts(framer: RTUFramer, *frames: RTUFrame) -> list[bool]:
    """Which of the answers that come by may be another master's."""
    heard = framer.feed(b"".join(framer.encode(frame) for frame in frames))
    return [f.doubtful for f in heard if f.shape in ("data", "exception")]


def asking(*before: RTUFrame) -> RTUFramer:
    """A framer that has heard something, and then a request of ours."""
    framer = RTUFramer(MODBUS_SHAPES)
    doubts(framer, *before)
    framer.expect(OURS)
    return framer


def test_an_answer_is_ours_where_nobody_else_asks() -> None:
    assert doubts(asking(), ANSWERS[0]) == [False]
    assert doubts(asking(), REFUSAL) == [False]
    assert doubts(asking(), OURS, ANSWERS[0]) == [False]  # an echo


@pytest.mark.parametrize("answer", [*ANSWERS, REFUSAL])
def test_while_another_master_waits_for_as_many_nobody_can_tell(answer: RTUFrame) -> None:
    assert doubts(asking(THEIRS), answer, answer) == [True, True]
    assert doubts(asking(), THEIRS, answer, answer) == [True, True]
    assert doubts(asking(), OURS, THEIRS, answer) == [True]


@pytest.mark.parametrize("other", NOT_RIVALS)
def test_another_question_is_no_rival(other: RTUFrame) -> None:
    assert doubts(asking(), other, ANSWERS[0]) == [False]


def test_what_was_answered_before_is_no_rival() -> None:
    assert doubts(asking(THEIRS, ANSWERS[1]), ANSWERS[0]) == [False]
    assert doubts(asking(THEIRS.replace(count=3), LONGER), ANSWERS[0]) == [False]
    framer = asking()
    assert doubts(framer, ANSWERS[0], THEIRS, ANSWERS[1]) == [False, False]


def test_doubt_ends_when_we_ask_again() -> None:
    framer = asking(THEIRS)
    assert doubts(framer, *ANSWERS) == [True, True]
    framer.expect(OURS)
    assert doubts(framer, ANSWERS[0]) == [False]
    framer = asking(THEIRS)  # and nobody answers
    framer.expect(OURS)
    assert doubts(framer, ANSWERS[0]) == [False]


def test_a_board_that_answers_as_another_unit() -> None:
    framer = P81Framer()
    framer.expect(RTUFrame(unit=0x82, count=2))
    asked = RTUFrame(unit=0x82, register=0x80, count=2)
    assert doubts(framer, asked, ANSWERS[0].replace(unit=0x52)) == [True]
    framer.expect(RTUFrame(unit=0x82, count=2))
    assert doubts(framer, asked.replace(unit=0x81), ANSWERS[0].replace(unit=0x52)) == [False]


def test_many_unanswered_requests_do_not_fill_the_memory() -> None:
    framer = RTUFramer(MODBUS_SHAPES)
    doubts(framer, *(THEIRS.replace(count=n) for n in range(1, 100)))
    framer.expect(OURS.replace(count=99))
    assert doubts(framer, RTUFrame(unit=1, shape="data", data=bytes(198))) == [True]
    assert len(framer._others) < 20
