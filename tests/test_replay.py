"""A recording as a transport: its pace, its requests, its end."""

from __future__ import annotations

import asyncio
import json

import pytest

from bmslink.errors import CaptureError, LinkClosed, LinkTimeout, PortNotFound, TargetError
from bmslink.link import Link
from bmslink.protocols.jbd import JBD, JBDFrame, read_request
from bmslink.transport import make_transport, parse_target
from support import virtual_run

ASK_3, ASK_4 = (JBD.make_framer().encode(read_request(r)) for r in (0x03, 0x04))


def recorded(tmp_path, *pieces):
    """A capture file of (t, "tx" or "rx", bytes[, chunks]) and its target."""
    path = tmp_path / "session.jsonl"
    lines = [{"format": "bmslink-capture", "version": 1, "protocol": "jbd"}]
    for t, side, data, *chunks in pieces:
        line = {"dir": side, "hex": data.hex()} | ({} if t is None else {"t": t})
        lines.append(line | ({"chunks": chunks[0]} if chunks else {}))
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return f"replay://{path}"


class Ear:
    """Hears a transport, with the times."""

    def __init__(self) -> None:
        self.heard: list[tuple[float, bytes]] = []
        self.lost: list[tuple[float, str]] = []

    def now(self) -> float:
        return round(asyncio.get_running_loop().time(), 4)

    def data(self, data: bytes) -> None:
        self.heard.append((self.now(), data))

    def end(self, error: Exception | None) -> None:
        assert isinstance(error, LinkClosed)
        self.lost.append((self.now(), str(error)))


def played(target, client):
    """Open a target, let the client act, close; what was heard."""

    async def main():
        ear = Ear()
        transport = make_transport(parse_target(target))
        await transport.open(ear.data, ear.end)
        try:
            await client(transport)
        finally:
            await transport.close()
        return ear

    return virtual_run(main())


def asking(*requests):
    """A client that sends requests at their times."""

    async def client(transport):
        loop = asyncio.get_running_loop()
        for when, data in requests:
            await asyncio.sleep(when - loop.time())
            await transport.write(data)
        await asyncio.sleep(100)

    return client


SESSION = (
    (0.0, "tx", b"a?"),
    (0.05, "rx", b"a1"),
    (0.2, "tx", b"b?"),
    (0.25, "rx", b"b1"),
    (1.0, "tx", b"a?"),
    (1.03, "rx", b"a2"),
    (1.2, "tx", b"b?"),
    (1.28, "rx", b"b2"),
)


def test_answers_come_with_their_recorded_delays(tmp_path):
    client = asking((0, b"a?"), (0.2, b"b?"), (1, b"a?"), (1.2, b"b?"))
    ear = played(recorded(tmp_path, *SESSION), client)
    assert ear.heard == [(0.05, b"a1"), (0.25, b"b1"), (1.03, b"a2"), (1.28, b"b2")]
    assert [t for t, _ in ear.lost] == [1.28]
    assert "is over" in ear.lost[0][1]


@pytest.mark.parametrize("pace", [0.01, 0.5, 3.0])
def test_a_faster_or_slower_client_gets_each_answer_once_in_order(tmp_path, pace):
    """A slower one must neither miss answers nor find the recording over too early."""

    async def client(transport):
        for request in (b"a?", b"b?", b"a?", b"b?"):
            await transport.write(request)
            await asyncio.sleep(0.08 + pace)

    ear = played(recorded(tmp_path, *SESSION), client)
    assert [data for _, data in ear.heard] == [b"a1", b"b1", b"a2", b"b2"]
    starts = [round(i * (0.08 + pace), 4) for i in range(4)]
    delays = [round(t - start, 4) for (t, _), start in zip(ear.heard, starts, strict=True)]
    assert delays == [0.05, 0.05, 0.03, 0.08]


def test_a_client_a_moment_late_is_still_answered(tmp_path):
    ear = played(recorded(tmp_path, *SESSION[:4]), asking((0.001, b"a?"), (0.2011, b"b?")))
    assert [data for _, data in ear.heard] == [b"a1", b"b1"]


def test_a_request_jumps_over_what_this_client_does_not_ask(tmp_path):
    ear = played(recorded(tmp_path, *SESSION), asking((0, b"a?"), (0.1, b"a?")))
    assert [data for _, data in ear.heard] == [b"a1", b"a2"]
    assert ear.lost == []  # it stands before a request, and waits


def test_a_request_that_is_not_in_the_recording_gets_silence(tmp_path):
    ear = played(recorded(tmp_path, *SESSION), asking((0, b"a?"), (0.1, b"c?"), (0.2, b"b?")))
    assert [data for _, data in ear.heard] == [b"a1", b"b1"]


def test_a_request_beyond_its_last_place_ends_the_recording(tmp_path):
    async def client(transport):
        for _ in range(2):
            await transport.write(b"a?")
            await asyncio.sleep(0.1)
        await transport.write(b"a?")
        with pytest.raises(LinkClosed, match="is over"):
            await transport.write(b"a?")

    ear = played(recorded(tmp_path, *SESSION), client)
    assert len(ear.lost) == 1


def test_without_a_client_the_session_passes_at_its_pace(tmp_path):
    ear = played(recorded(tmp_path, *SESSION), asking())
    assert ear.heard == [(0.05, b"a1"), (0.25, b"b1"), (1.03, b"a2"), (1.28, b"b2")]
    assert len(ear.lost) == 1


def test_speed_divides_every_delay(tmp_path):
    target = recorded(tmp_path, *SESSION)
    ear = played(f"{target}?speed=10", asking())
    assert [t for t, _ in ear.heard] == [0.005, 0.025, 0.103, 0.128]
    assert make_transport(parse_target(f"{target}?speed=10")).streaming_clock == 10.0


@pytest.mark.parametrize("speed", ["0", "-1", "fast", "nan", ""])
def test_an_impossible_speed_is_refused(tmp_path, speed):
    with pytest.raises(TargetError, match="speed"):
        make_transport(parse_target(f"{recorded(tmp_path)}?speed={speed}"))


STREAM = (
    (0.0, "tx", b"go"),
    *((0.5 * i, "rx", b"s%d" % i) for i in range(1, 7)),
    (3.2, "tx", b"go"),
    *((0.5 * i, "rx", b"s%d" % i) for i in range(7, 13)),
)


def test_a_streaming_device_goes_on_streaming_whatever_the_client_sends(tmp_path):
    client = asking((0, b"go"), (1.2, b"what"), (4.3, b"what"))
    ear = played(recorded(tmp_path, *STREAM), client)
    assert ear.heard == [(0.5 * i, b"s%d" % i) for i in range(1, 13)]
    assert [t for t, _ in ear.lost] == [6.0]


def test_a_repeated_trigger_does_not_end_a_stream(tmp_path):
    ear = played(recorded(tmp_path, *STREAM), asking((0, b"go"), (1.0, b"go"), (2.0, b"go")))
    assert [data for _, data in ear.heard][-6:] == [b"s%d" % i for i in range(7, 13)]
    assert len(ear.lost) == 1


def test_notifications_come_in_their_pieces(tmp_path):
    ear = played(recorded(tmp_path, (900.0, "rx", b"abcde", [2, 2])), asking())
    # the time before the first piece is not waited for
    assert ear.heard == [(0.0, b"ab"), (0.0, b"cd"), (0.0, b"e")]


def test_without_times_each_request_gets_its_answer_and_no_more(tmp_path):
    pieces = [(None, *piece[1:]) for piece in SESSION]
    ear = played(recorded(tmp_path, *pieces), asking((1, b"a?"), (2, b"b?"), (3, b"b?")))
    assert ear.heard == [(1.0, b"a1"), (2.0, b"b1"), (3.0, b"b2")]
    assert [t for t, _ in ear.lost] == [3.0]


def test_where_only_answers_were_recorded_each_request_gets_the_next(tmp_path):
    pieces = [(None, "rx", b"1"), (None, "rx", b"2")]
    ear = played(recorded(tmp_path, *pieces), asking((1, b"x"), (2, b"y")))
    assert ear.heard == [(1.0, b"1"), (2.0, b"2")]
    assert [t for t, _ in ear.lost] == [2.0]


def test_timed_answers_alone_can_be_asked_for_faster_than_they_came(tmp_path):
    pieces = [(float(i), "rx", b"%d" % i) for i in range(1, 6)]
    client = asking((0.3, b"x"), (0.6, b"x"), (0.9, b"x"))
    ear = played(recorded(tmp_path, *pieces), client)
    assert ear.heard == [(0.0, b"1"), (0.3, b"2"), (0.6, b"3"), (0.9, b"4"), (1.9, b"5")]


@pytest.mark.parametrize("pieces", [(), ((None, "tx", b"a?"),)])
def test_a_recording_without_answers_is_over_with_the_first_request(tmp_path, pieces):
    ear = played(recorded(tmp_path, *pieces), asking((1, b"a?")))
    assert (ear.heard, len(ear.lost)) == ([], 1)


def test_after_closing_nothing_comes_and_it_can_be_opened_again(tmp_path):
    async def main():
        ear = Ear()
        transport = make_transport(parse_target(recorded(tmp_path, *SESSION)))
        for _ in range(2):
            await transport.open(ear.data, ear.end)
            await transport.write(b"a?")
            await asyncio.sleep(0.1)
            await transport.close()
            await transport.close()
            with pytest.raises(LinkClosed):
                await transport.write(b"b?")
            await asyncio.sleep(10)
        assert [data for _, data in ear.heard] == [b"a1", b"a1"]
        assert ear.lost == []

    virtual_run(main())


def test_what_is_no_recording_fails_on_opening(tmp_path):
    async def opened(target):
        await make_transport(parse_target(target)).open(lambda data: None, lambda error: None)

    with pytest.raises(PortNotFound):
        virtual_run(opened(f"replay://{tmp_path}/missing.jsonl"))
    target = recorded(tmp_path, *SESSION)
    path = tmp_path / "session.jsonl"
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(CaptureError, match=f"line {1 + len(SESSION)}: the file is cut off"):
        virtual_run(opened(target))


def test_a_link_over_a_recording_reads_to_its_end(tmp_path):
    """What `read --watch` sees: every poll, then a lost link instead of endless retries."""
    framer = JBD.make_framer()
    pieces = []
    for i in range(3):
        for k, (register, request) in enumerate([(0x03, ASK_3), (0x04, ASK_4)]):
            t = i + 0.12 * k
            answer = framer.encode(JBDFrame(mark=register, data=bytes([i, k])))
            pieces += [(t, "tx", request), (t + 0.05, "rx", answer)]

    async def main():
        link = Link(
            make_transport(parse_target(recorded(tmp_path, *pieces))),
            JBD.make_framer(),
            JBD.timing,
        )
        await link.open()
        got = []
        with pytest.raises(LinkClosed, match="is over"):
            while True:
                for register in (0x03, 0x04):
                    answer = await link.request(
                        read_request(register), lambda f, wanted=register: f.mark == wanted
                    )
                    got.append(answer.data)
        assert got == [bytes([i, k]) for i in range(3) for k in range(2)]
        await link.close()

    virtual_run(main())


def test_a_link_that_asks_for_what_was_never_recorded_times_out(tmp_path):
    async def main():
        transport = make_transport(parse_target(recorded(tmp_path, (None, "tx", ASK_3))))
        link = Link(transport, JBD.make_framer(), JBD.timing)
        await link.open()
        with pytest.raises(LinkTimeout) as caught:
            await link.request(read_request(0x05), lambda frame: True)
        assert caught.value.heard == "silence"
        await link.close()

    virtual_run(main())
