"""A recorded device that answers again: what is the same question, and which answer comes."""

from __future__ import annotations

import asyncio
import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bmslink.board import Board
from bmslink.errors import BmsError, CaptureError, FrameError, TargetError
from bmslink.link.capture import open_capture
from bmslink.protocols import DRIVERS
from bmslink.protocols.daly.a5.driver import DalyA5
from bmslink.protocols.daly.a5.driver import read_request as daly_request
from bmslink.protocols.jbd.driver import JBD, JBDFrame, read_request, write_request
from bmslink.protocols.jk.jk02.framing import (
    ACK,
    CELLS,
    INFO,
    READ_INFO,
    READ_SETTINGS,
    SETTINGS,
    JK02Frame,
    JK02Framer,
    command,
    record,
)
from bmslink.protocols.jk.jk02.layouts import PAYLOAD
from bmslink.protocols.jk.nw.driver import JKNW
from bmslink.protocols.jk.nw.framing import JKNWFrame
from bmslink.simulation.replay.recorded import Recording
from bmslink.simulation.replay.responder import Player, RecordedLine
from bmslink.simulation.responder import RESPONDERS, Answer
from bmslink.target import resolve
from support import FIXTURES, virtual_run

ASK_3, ASK_4, ASK_5 = (JBD.make_framer().encode(read_request(r)) for r in (3, 4, 5))


def recorded(tmp_path: Path, *pieces, protocol="jbd", **header) -> Path:
    """A capture file of (t, "tx" or "rx", bytes)."""
    path = tmp_path / "session.jsonl"
    lines = [{"format": "bmslink-capture", "version": 1, "protocol": protocol} | header]
    for t, side, data in pieces:
        lines.append({"dir": side, "hex": data.hex()} | ({} if t is None else {"t": t}))
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def player(path: Path, **more) -> Player:
    return Player(Recording(path), **more)


def said(answers: list[Answer]) -> bytes:
    return b"".join(a.data for a in answers)


SESSION = (
    (0.0, "tx", ASK_3),
    (0.02, "rx", b"3a"),
    (0.1, "tx", ASK_5),
    (0.15, "rx", b"5a"),
    (1.0, "tx", ASK_3),
    (1.02, "rx", b"3b"),
    (1.1, "tx", ASK_4),
    (1.13, "rx", b"4"),
    (1.14, "rx", b"b"),
    (2.0, "tx", ASK_3),
    (2.02, "rx", b"3c"),
    (2.1, "tx", ASK_4),
    (2.13, "rx", b"4c"),
)


# ------------------------------------------------------------------------- question and answer


def test_each_request_gets_its_next_answer_in_its_recorded_time(tmp_path):
    played = player(recorded(tmp_path, *SESSION))
    assert played.receive(ASK_3, 0.0) == [Answer(0.02, b"3a")]
    answers = played.receive(ASK_4, 0.5)
    assert [(round(a.delay, 6), a.data) for a in answers] == [(0.03, b"4"), (0.04, b"b")]
    # what this client did not ask is passed over, so that its values belong together
    assert said(played.receive(ASK_3, 1.0)) == b"3c"
    assert said(played.receive(ASK_4, 1.5)) == b"4c"


def test_at_the_end_the_last_answers_come_again_or_the_first(tmp_path):
    path, told = recorded(tmp_path, *SESSION), []
    played = player(path, tell=told.append)
    assert [said(played.receive(ASK_3, float(i))) for i in range(5)] == [
        *(b"3a", b"3b", b"3c", b"3c", b"3c")
    ]
    assert len(told) == 1
    assert "--loop" in told[0]
    played = player(path, loop=True, tell=told.append)
    assert [said(played.receive(ASK_3, float(i))) for i in range(5)] == [
        *(b"3a", b"3b", b"3c", b"3a", b"3b")
    ]
    assert len(told) == 1


@pytest.mark.parametrize("loop", [False, True])
def test_a_question_that_was_recorded_seldom_does_not_skip_the_rest(tmp_path, loop):
    """The name is asked with every poll, but was recorded at the beginning and an hour later."""
    polls = [p for i in range(9) for p in ((None, "tx", ASK_3), (None, "rx", b"%d" % i))]
    name = [(None, "tx", ASK_5), (None, "rx", b"n")]
    played = player(recorded(tmp_path, *name, *polls, *name), loop=loop)
    heard = [said(played.receive(ASK_5 + ASK_3, float(i))) for i in range(9)]
    assert heard[:7] == [b"n%d" % i for i in range(7)]


def test_requests_are_found_however_they_are_cut_and_glued(tmp_path):
    path = recorded(tmp_path, *SESSION)
    whole = said(player(path).receive(b"junk" + ASK_3 + ASK_4, 0.0))
    assert whole == b"3a4b"
    played = player(path)
    single = [said(played.receive(bytes([b]), 0.001 * i)) for i, b in enumerate(ASK_3 + ASK_4)]
    assert b"".join(single) == whole
    played = player(path)
    assert played.receive(ASK_3[:3], 0.0) == []
    assert said(played.receive(ASK_3, 1.0)) == b"3a"  # after the silence, half a request is junk


def test_what_was_not_asked_has_no_answer_and_is_told_once(tmp_path):
    told: list[str] = []
    played = player(recorded(tmp_path, *SESSION), tell=told.append)
    other = JBD.make_framer().encode(read_request(0x10))
    addressed = JBD.make_framer().encode(read_request(3, address=1))
    for request in (other, other, addressed, b"nothing at all"):
        assert played.receive(request, 0.0) == []
    assert [t for t in told if other.hex(" ") in t]
    assert len(told) == 2


def test_a_password_in_a_request_is_not_told(tmp_path):
    told: list[str] = []
    request = write_request(0x06, b"\x06123456")
    played = player(recorded(tmp_path, *SESSION), tell=told.append)
    assert played.receive(JBD.make_framer().encode(request), 0.0) == []
    assert told
    assert b"123456".hex(" ") not in told[0]


def test_bytes_that_came_long_after_a_request_do_not_answer_it(tmp_path):
    path = recorded(
        tmp_path, (0.0, "tx", ASK_3), (0.02, "rx", b"3a"), (9.0, "rx", b"?"), (10.0, "tx", ASK_4)
    )
    played = player(path)
    assert said(played.receive(ASK_3, 0.0)) == b"3a"
    assert played.receive(ASK_4, 1.0) == []  # asked, and never answered


@pytest.mark.parametrize(
    ("protocol", "asked", "same", "other"),
    [
        (
            "daly-a5",
            DalyA5.make_framer().encode(daly_request(0x90)),
            DalyA5.make_framer().encode(daly_request(0x90, host=0x80, data=b"residue!")),
            DalyA5.make_framer().encode(daly_request(0x90, host=0x41)),
        ),
        (
            "jk-nw",
            JKNW.make_framer().encode(JKNWFrame(data=b"\0")),
            JKNW.make_framer().encode(JKNWFrame(data=b"\0", source=1, terminal=7, record=9)),
            JKNW.make_framer().encode(JKNWFrame(command=3, data=b"\x79")),
        ),
        (
            "jk02",
            JK02Framer().encode(command(READ_INFO)),
            JK02Framer().encode(JK02Frame(command=True, code=READ_INFO, padding=b"\xf4\x2a")),
            JK02Framer().encode(command(READ_INFO, b"\x01")),
        ),
    ],
)
def test_who_asks_and_what_fills_the_request_make_no_difference(
    tmp_path, protocol, asked, same, other
):
    path = recorded(tmp_path, (0.0, "tx", asked), (0.1, "rx", b"!"), protocol=protocol)
    assert same != asked
    for request, expected in ((asked, True), (same, True), (other, False)):
        played = player(path)
        answers = played.receive(request, 0.0)
        assert bool(answers or played.start is not None) == expected


# ------------------------------------------------------------------------------- answers only


def test_recorded_answers_are_found_by_what_they_say():
    """27 answers of a Daly board, nobody knows to which requests."""
    path = FIXTURES / "daly-a5" / "daly-a5-mpp-16s-session.jsonl"
    rx = [p.data for p in open_capture(path)[1]]
    played = player(path)
    encode = DalyA5.make_framer().encode
    assert said(played.receive(encode(daly_request(0x90)), 0.0)) == rx[0]
    cells = [data for data in rx if data[2] == 0x95]
    assert len(cells) > 5
    assert said(played.receive(encode(daly_request(0x95, host=0x80)), 0.0)) == b"".join(cells)
    assert said(played.receive(encode(daly_request(0x94)), 0.0)) == rx[4]
    assert played.receive(encode(daly_request(0x62)), 0.0) == []


def test_an_acknowledgement_never_comes_for_what_nobody_recorded(tmp_path):
    encode = JBD.make_framer().encode
    done = encode(JBDFrame(mark=0x00, code=0))
    path = recorded(tmp_path, (None, "rx", done))
    factory = encode(write_request(0x00, b"\x56\x78"))
    assert player(path).receive(factory, 0.0) == []


def asked_by_our_driver(protocol: str) -> set[bytes]:
    """The requests of one identification and one reading."""

    async def main() -> set[bytes]:
        with tempfile.TemporaryFile() as file:
            async with Board(resolve(f"sim://{protocol}"), record=file) as device:
                await device.identify()
                await device.read()
                file.seek(0)
                lines = [json.loads(line) for line in file]
        return {bytes.fromhex(line["hex"]) for line in lines if line.get("dir") == "tx"}

    return virtual_run(main())


@pytest.mark.parametrize("protocol", RESPONDERS)
def test_any_capture_is_served_or_refused_in_words_and_only_recorded_bytes_come(protocol):
    """What was asked, and what our own driver asks, put to every fixture of the protocol."""
    sent = asked_by_our_driver(protocol)
    served = 0
    for path in sorted((FIXTURES / protocol).glob("*.jsonl")):
        pieces = list(open_capture(path)[1])
        try:
            played = player(path)
        except BmsError as error:
            assert str(path) in str(error)
            continue
        everything = b"".join(p.data for p in pieces if not p.sent)
        for request in {p.data for p in pieces if p.sent} | sent:
            answers = played.receive(request, 0.0)
            if played.start is not None:
                start, played.start = played.start, None
                answers = [Answer(s.wait, s.data) for s in played.play(start)]
            assert all(a.data in everything for a in answers)
            assert all(a.delay >= 0 for a in answers)
            served += bool(answers)
    assert served > 2


@settings(max_examples=60, deadline=None)
@given(data=st.lists(st.binary(max_size=40) | st.sampled_from([ASK_3, ASK_4, ASK_5]), max_size=6))
@pytest.mark.parametrize("name", ["jbd-jakeler-tests", "jbd-syssi-sp04s034-uart"])
def test_no_bytes_of_a_client_do_harm(name, data):
    path = FIXTURES / "jbd" / f"{name}.jsonl"
    everything = b"".join(p.data for p in open_capture(path)[1] if not p.sent)
    played = player(path)
    for i, chunk in enumerate(data):
        assert all(a.data in everything for a in played.receive(chunk, i * 0.1))


# ---------------------------------------------------------------------------------- streaming


def jk(code: int, counter: int = 0) -> bytes:
    return JK02Framer().encode(record(code, bytes(PAYLOAD), counter))


ACKNOWLEDGED = JK02Framer().encode(command(ACK, b"\x01"))
GREET, START = (JK02Framer().encode(command(c)) for c in (READ_INFO, READ_SETTINGS))
STREAM = (
    (0.0, "tx", GREET),
    (0.2, "rx", jk(INFO)),
    (0.3, "rx", ACKNOWLEDGED),
    (0.5, "tx", START),
    (0.7, "rx", jk(SETTINGS)),
    (1.0, "rx", jk(CELLS, 1)[:200]),
    (1.1, "rx", jk(CELLS, 1)[200:]),
    (4.0, "rx", jk(CELLS, 2)),
)


def listen(path: Path, *requests, until=20.0, **more) -> list[tuple[float, bytes]]:
    """What a client of a line hears that sends requests at their times."""

    async def main() -> list[tuple[float, bytes]]:
        loop = asyncio.get_running_loop()
        heard: list[tuple[float, bytes]] = []
        speed = more.pop("speed", 1.0)
        line = RecordedLine(
            player(path, **more),
            lambda data: heard.append((round(loop.time(), 3), data)),
            speed=speed,
        )
        for when, data in requests:
            await asyncio.sleep(when - loop.time())
            line.receive(data)
        await asyncio.sleep(until - loop.time())
        line.close()
        await asyncio.sleep(50)
        return heard

    return virtual_run(main())


def test_a_stream_plays_on_from_the_answer_in_its_time(tmp_path):
    told: list[str] = []
    path = recorded(tmp_path, *STREAM, protocol="jk02")
    heard = listen(path, (1.0, GREET), (5.0, START), tell=told.append)
    first = [(1.2, jk(INFO)), (1.3, ACKNOWLEDGED), (1.7, jk(SETTINGS))]
    live = [(2.0, jk(CELLS, 1)[:200]), (2.1, jk(CELLS, 1)[200:])]
    again = [(5.2, jk(SETTINGS)), (5.5, jk(CELLS, 1)[:200])]
    assert heard[:7] == first + live + [(5.0, jk(CELLS, 2))] + again[:1]
    assert heard[7:] == [again[1], (5.6, jk(CELLS, 1)[200:]), (8.5, jk(CELLS, 2))]
    assert len(told) == 1
    assert "--loop" in told[0]


def test_a_stream_is_silent_until_it_is_greeted_and_speed_hurries_it(tmp_path):
    path = recorded(tmp_path, *STREAM, protocol="jk02")
    assert listen(path) == []
    heard = listen(path, (1.0, GREET), speed=10.0)
    assert heard[0] == (1.02, jk(INFO))
    assert heard[-1] == (1.4, jk(CELLS, 2))


def test_a_stream_loops_from_the_last_request(tmp_path):
    path = recorded(tmp_path, *STREAM, protocol="jk02")
    heard = listen(path, (0.0, GREET), (0.4, START), until=9.0, loop=True)
    records = [data for _, data in heard if data not in (ACKNOWLEDGED, jk(INFO))]
    whole = [jk(SETTINGS), jk(CELLS, 1)[:200], jk(CELLS, 1)[200:], jk(CELLS, 2)]
    assert records[:8] == whole * 2
    times = [t for t, _ in heard]
    assert times == sorted(times)


def test_a_request_that_nothing_follows_does_not_make_the_loop_spin(tmp_path):
    path = recorded(tmp_path, *STREAM, (5.0, "tx", GREET), protocol="jk02")
    heard = listen(path, (0.0, GREET), (6.0, GREET), until=9.0, loop=True)
    assert 5 < len(heard) < 20


def test_a_request_never_cuts_a_frame(tmp_path):
    path = recorded(tmp_path, *STREAM, protocol="jk02")
    heard = listen(path, (0.0, GREET), (1.05, START))
    assert heard[4:7] == [
        (1.1, jk(CELLS, 1)[200:]),
        (1.3, jk(SETTINGS)),
        (1.6, jk(CELLS, 1)[:200]),
    ]


def test_a_stream_without_requests_plays_by_itself(tmp_path):
    pieces = [(float(i), "rx", jk(CELLS, i)) for i in range(3)]
    path = recorded(tmp_path, *pieces, protocol="jk02")
    assert listen(path) == [(float(i), jk(CELLS, i)) for i in range(3)]
    untimed = recorded(tmp_path, *((None, s, d) for _, s, d in pieces), protocol="jk02")
    times = [t for t, _ in listen(untimed)]
    assert times[0] == 0
    assert 0.3 < times[1] == times[2] - times[1] < 1


# ------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("pieces", "header", "error", "words"),
    [
        ([], {}, CaptureError, "no answers"),
        ([(0.0, "tx", ASK_3)], {}, CaptureError, "no answers"),
        ([(0.0, "rx", b"junk")], {}, FrameError, "no valid jbd frame"),
        ([(0.0, "rx", b"junk")], {"protocol": ""}, TargetError, "--protocol"),
        ([(0.0, "rx", b"junk")], {"protocol": "frob"}, TargetError, "frob"),
    ],
)
def test_a_recording_that_cannot_be_served_says_why(tmp_path, pieces, header, error, words):
    with pytest.raises(error, match=words):
        Recording(recorded(tmp_path, *pieces, **header))


def test_the_recorded_address_is_kept(tmp_path):
    path = recorded(tmp_path, *SESSION, target="jbd+serial:///dev/ttyUSB0?address=1")
    assert Recording(path).address == 1
    assert Recording(recorded(tmp_path, *SESSION, target="no target")).address is None
    assert set(RESPONDERS) == set(DRIVERS)
