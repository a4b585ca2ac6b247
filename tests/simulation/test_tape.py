"""A recording as bytes and numbers: what it gives back, and what it costs."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from bmslink.errors import CaptureError
from bmslink.link.capture import open_capture
from bmslink.protocols.jbd.driver import JBD, JBDFrame, read_request, write_request
from bmslink.simulation.replay.recorded import Recording
from bmslink.simulation.replay.responder import Player
from bmslink.simulation.replay.tape import Tape, TapePart
from long_capture import write_long_capture
from support import FIXTURES

SIZE = 250_000
BOUND = 1.2
"""Bytes of memory for each of the file: a capture of 27.7 MB keeps `replay` below 64 MB."""
WAITING = 150_000
"""Bytes of memory for the answers that wait for their time, 1024 at most."""
HEADER = '{"format":"bmslink-capture","version":1,"protocol":"jbd"}\n'
ASK, ASK_OTHER = (JBD.make_framer().encode(read_request(r)).hex() for r in (3, 4))


def taped() -> Tape:
    tape = Tape()
    tape.say(0.0, b"a")
    tape.say(None, b"bc")
    tape.ask(1.0, "how")
    tape.say(1.5, b"d")
    tape.end()
    tape.say(1.75, b"")
    tape.ask(2.0, "who")
    tape.ask(3.0, "how")
    return tape


def test_what_was_said_comes_back_in_order_and_requests_say_nothing() -> None:
    tape = taped()
    assert len(tape) == 7
    assert list(tape.parts()) == [
        TapePart(0.0, b"a", False),
        TapePart(None, b"bc", True),
        TapePart(1.5, b"d", True),
        TapePart(1.75, b"", True),
    ]
    assert [p.data for p in tape.parts(1, 4)] == [b"bc", b"d"]
    assert [tape.time(i) for i in range(7)] == [0.0, None, 1.0, 1.5, 1.75, 2.0, 3.0]


def test_places_are_behind_the_requests() -> None:
    tape = taped()
    assert list(tape.places("how")) == [3, 7]
    assert list(tape.places("who")) == [6]
    assert list(tape.places("what")) == []
    assert [tape.request_from(i) for i in range(8)] == [2, 2, 2, 5, 5, 5, 6, 7]
    assert [tape.says_from(i) for i in range(8)] == [True] * 5 + [False] * 3


def test_questions_beyond_those_that_are_kept_are_found_too() -> None:
    tape = taped()
    for number in range(2000):
        assert list(tape.places(f"never asked {number}")) == []
    assert list(tape.places("how")) == [3, 7]


def test_another_tape_marks_frames_of_the_same_bytes() -> None:
    frames = Tape(taped().data)
    frames.mark(1.0, 1, 2)
    frames.mark(None, 3, 1)
    assert list(frames.parts()) == [TapePart(1.0, b"bc", True), TapePart(None, b"d", True)]
    assert [frames.at(i) for i in range(5)] == [None, 0, None, 1, None]


def test_a_longer_pause_parts_what_was_said() -> None:
    tape = Tape()
    for time, data in ((0.0, b"ab"), (0.1, b"c"), (1.0, b"d"), (None, b"e"), (5.0, b"f")):
        tape.say(time, data)
    assert list(tape.stretches(0.5)) == [(0, 3), (3, 6)]
    assert list(tape.stretches(0.05)) == [(0, 2), (2, 3), (3, 6)]


# ------------------------------------------------------------------------------------ memory


def peak(work: Callable[[], object]) -> int:
    """The most memory that a piece of work held at once, bytes."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def ask_everything(path: Path, requests: set[bytes]) -> None:
    """Open a recording and put all its questions to it."""
    player = Player(Recording(path))
    for number, request in enumerate(sorted(requests)):
        answers = player.receive(request, float(number))
        if player.start is not None:
            said = player.play(player.start)
            answers = [answer for answer, _ in zip(said, range(3), strict=False)]
        assert answers


@pytest.mark.parametrize(
    "session",
    [
        "jbd/jbd-syssi-sp04s034-btsnoop-mos-1",
        "jbd/jbd-aces-4s",
        "jk02/sess-jk02-32s-b2a20s20p-11.288H-port-heating",
    ],
)
def test_a_long_session_takes_less_memory_than_its_file(session: str, tmp_path: Path) -> None:
    source, path = FIXTURES / f"{session}.jsonl", tmp_path / "long.jsonl"
    size = write_long_capture(source, path, SIZE)
    requests = {p.data for p in open_capture(source)[1] if p.sent and p.checksum_ok}
    requests |= set() if requests else {bytes.fromhex(ASK), bytes.fromhex(ASK_OTHER)}
    ask_everything(source, requests)  # what is made once, whatever the file
    assert peak(lambda: ask_everything(path, requests)) < BOUND * size


def line(number: int, sent: bool, data: bytes) -> str:
    return f'{{"t":{number},"dir":"{"tx" if sent else "rx"}","hex":"{data.hex()}"}}\n'


def hostile(kind: str, size: int) -> str:
    """A capture that is made to take memory."""
    encode = JBD.make_framer().encode
    answer = encode(JBDFrame(mark=3, data=bytes(27)))
    lines = [HEADER, line(0, True, bytes.fromhex(ASK)), line(0, False, answer)]
    written, number = 0, 0
    while written < size:
        number += 1
        if kind == "single bytes":
            more = line(number, False, b"\0")
        elif kind == "never the same request":
            more = line(number, True, encode(write_request(0x10, number.to_bytes(3, "big"))))
        else:
            more = line(number, False, encode(JBDFrame(mark=3)) * 7000)
        lines.append(more)
        written += len(more)
    return "".join(lines)


@pytest.mark.parametrize("kind", ["single bytes", "never the same request", "long lines"])
def test_a_capture_that_is_made_to_take_memory_does_not(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "hostile.jsonl"
    path.write_text(hostile(kind, 1))
    ask_everything(path, {bytes.fromhex(ASK)})
    path.write_text(hostile(kind, SIZE))
    one_line = 4 * max(map(len, path.read_bytes().splitlines()))
    size = path.stat().st_size
    most = BOUND * size + one_line + WAITING
    assert peak(lambda: ask_everything(path, {bytes.fromhex(ASK)})) < most


def test_one_request_with_an_endless_answer_is_answered_with_so_much_as_may_wait(
    tmp_path: Path,
) -> None:
    path = tmp_path / "endless.jsonl"
    rest = '{"dir":"rx","hex":"01"}\n' * 5000
    path.write_text(HEADER + f'{{"dir":"tx","hex":"{ASK}"}}\n' + rest)
    asked = Player(Recording(path)).receive(bytes.fromhex(ASK) * 3, 0.0)
    assert len(asked) == 1024


def test_the_file_is_not_needed_once_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "session.jsonl"
    path.write_bytes((FIXTURES / "jbd/jbd-syssi-sp04s034-btsnoop-mos-1.jsonl").read_bytes())
    player = Player(Recording(path))
    path.unlink()
    assert player.receive(bytes.fromhex(ASK), 0.0)


def test_a_damaged_line_late_in_a_long_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "damaged.jsonl"
    path.write_text(HEADER + line(0, False, b"\0") * 3000 + '{"dir":"rx","hex":"0"}\n')
    with pytest.raises(CaptureError, match="line 3002"):
        Recording(path)
