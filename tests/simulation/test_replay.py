"""A recording as a target: its pace, its requests, its end."""

from __future__ import annotations

import asyncio
import json

import pytest

import bmslink
from bmslink.errors import CaptureError, LinkClosed, LinkTimeout, PortNotFound, TargetError
from bmslink.link.capture import open_capture
from bmslink.link.link import Link
from bmslink.link.transport import make_transport
from bmslink.protocols.jbd.driver import JBD, JBDFrame, read_request
from bmslink.target import resolve
from support import FIXTURES, virtual_run

ASK_3, ASK_4, ASK_5 = (JBD.make_framer().encode(read_request(r)) for r in (3, 4, 5))


def says(register, text):
    """An answer of a JBD board that holds a text."""
    return JBD.make_framer().encode(JBDFrame(mark=register, data=text))


def recorded(tmp_path, *pieces, protocol="jbd"):
    """A capture file of (t, "tx" or "rx", bytes) and its target."""
    path = tmp_path / "session.jsonl"
    lines = [{"format": "bmslink-capture", "version": 1, "protocol": protocol}]
    for t, side, data in pieces:
        lines.append({"dir": side, "hex": data.hex()} | ({} if t is None else {"t": t}))
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return f"replay://{path}"


def transport_for(target, **query):
    return make_transport(resolve(target).with_query(**query))


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
        transport = transport_for(target)
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


A1, B1, A2, B2 = says(3, b"a1"), says(4, b"b1"), says(3, b"a2"), says(4, b"b2")
SESSION = (
    (0.0, "tx", ASK_3),
    (0.05, "rx", A1),
    (0.2, "tx", ASK_4),
    (0.25, "rx", B1),
    (1.0, "tx", ASK_3),
    (1.03, "rx", A2),
    (1.2, "tx", ASK_4),
    (1.28, "rx", B2),
)


def test_answers_come_with_their_recorded_delays(tmp_path):
    client = asking((0, ASK_3), (0.2, ASK_4), (1, ASK_3), (1.2, ASK_4))
    ear = played(recorded(tmp_path, *SESSION), client)
    assert ear.heard == [(0.05, A1), (0.25, B1), (1.03, A2), (1.28, B2)]
    assert ear.lost == []  # whether it is over, the next question tells


@pytest.mark.parametrize("pace", [0.01, 0.5, 3.0])
def test_a_faster_or_slower_client_gets_each_answer_once_in_order(tmp_path, pace):
    """A slower one must neither miss answers nor find the recording over too early."""

    async def client(transport):
        for request in (ASK_3, ASK_4, ASK_3, ASK_4):
            await transport.write(request)
            await asyncio.sleep(0.08 + pace)

    ear = played(recorded(tmp_path, *SESSION), client)
    assert [data for _, data in ear.heard] == [A1, B1, A2, B2]
    starts = [round(i * (0.08 + pace), 4) for i in range(4)]
    delays = [round(t - start, 4) for (t, _), start in zip(ear.heard, starts, strict=True)]
    assert delays == [0.05, 0.05, 0.03, 0.08]


def test_a_request_jumps_over_what_this_client_does_not_ask(tmp_path):
    ear = played(recorded(tmp_path, *SESSION), asking((0, ASK_3), (0.1, ASK_3)))
    assert [data for _, data in ear.heard] == [A1, A2]
    assert ear.lost == []


def test_a_request_that_is_not_in_the_recording_gets_silence(tmp_path):
    client = asking((0, ASK_3), (0.1, ASK_5), (0.2, ASK_4))
    ear = played(recorded(tmp_path, *SESSION), client)
    assert [data for _, data in ear.heard] == [A1, B1]
    assert ear.lost == []


def test_a_request_beyond_its_last_place_ends_the_recording(tmp_path):
    """The old answer again would be taken for news."""

    async def client(transport):
        for _ in range(2):
            await transport.write(ASK_3)
            await asyncio.sleep(0.1)
        await transport.write(ASK_3)
        with pytest.raises(LinkClosed, match="is over"):
            await transport.write(ASK_3)

    ear = played(recorded(tmp_path, *SESSION), client)
    assert [data for _, data in ear.heard] == [A1, A2]
    assert len(ear.lost) == 1
    assert "is over" in ear.lost[0][1]


def test_speed_divides_every_delay(tmp_path):
    target = f"{recorded(tmp_path, *SESSION)}?speed=10"
    ear = played(target, asking((0, ASK_3), (0.1, ASK_4)))
    assert ear.heard == [(0.005, A1), (0.105, B1)]
    assert transport_for(target).streaming_clock == 10.0


@pytest.mark.parametrize("speed", ["0", "-1", "fast", "nan", ""])
def test_an_impossible_speed_is_refused(tmp_path, speed):
    with pytest.raises(TargetError, match="speed"):
        transport_for(recorded(tmp_path), speed=speed)


@pytest.mark.parametrize("begin", ["-1", "late", "nan"])
def test_an_impossible_beginning_is_refused(tmp_path, begin):
    with pytest.raises(TargetError, match="from"):
        transport_for(recorded(tmp_path), **{"from": begin})


async def test_a_recording_begins_where_it_is_told_to_and_says_where_it_is(tmp_path):
    answers = [says(0x05, bytes([n])) for n in range(4)]
    pieces = [
        piece
        for n, answer in enumerate(answers)
        for piece in ((10.0 * n, "tx", ASK_5), (10.0 * n + 0.5, "rx", answer))
    ]
    transport = transport_for(recorded(tmp_path, *pieces), **{"from": "15"})
    ear = Ear()
    await transport.open(ear.data, ear.end)
    assert transport.position == (15.0, 30.5)
    for n, answer in enumerate(answers[2:], 2):
        await transport.write(ASK_5)
        await asyncio.sleep(1.0)
        assert ear.heard[-1][1] == answer
        assert transport.position == (10.0 * n + 0.5, 30.5)
    await transport.close()


async def test_a_stream_begins_with_a_whole_frame():
    pieces = [p for p in open_capture(STREAM)[1] if not p.sent]
    middle = pieces[len(pieces) // 2].t
    transport, ear = transport_for(f"replay://{STREAM}", **{"from": middle}), Ear()
    await transport.open(ear.data, ear.end)
    await asyncio.sleep(1.0)
    heard = b"".join(data for _, data in ear.heard)
    assert heard.startswith(bytes.fromhex("55aaeb90"))
    assert transport.position[0] >= middle
    await transport.close()


STREAM = FIXTURES / "jk02" / "sess-jk02-24s-bd6a24s10p-8.0.6G.jsonl"


@pytest.mark.parametrize("more", [(), (1.2, 2.0, 2.2, 9.0)])
def test_a_stream_plays_on_to_its_end_whatever_is_sent(more):
    """A trigger that comes again, as drivers send it to be sure, neither ends it nor repeats it."""
    pieces = list(open_capture(STREAM)[1])
    trigger = next(p.data for p in pieces if p.sent)
    begin = [p.data for p in pieces].index(trigger)
    said = b"".join(p.data for p in pieces[begin:] if not p.sent)
    client = asking((0, trigger), *((t, data) for t in more for data in (trigger, b"what")))
    ear = played(f"replay://{STREAM}", client)
    assert b"".join(data for _, data in ear.heard) == said
    assert len(ear.lost) == 1


def test_without_times_each_request_gets_its_answer_and_no_more(tmp_path):
    pieces = [(None, *piece[1:]) for piece in SESSION]
    client = asking((1, ASK_3), (2, ASK_4), (3, ASK_4), (4, ASK_4))
    ear = played(recorded(tmp_path, *pieces), client)
    assert [data for _, data in ear.heard] == [A1, B1, B2]
    assert [t for t, _ in ear.lost] == [4.0]


@pytest.mark.parametrize(
    "name",
    [
        "daly-d2/daly-d2-24s-1",
        "jbd/jbd-jakeler-pclog-ble",
        "jbd-up/jbd-syssi-up16s020-faker",
        "jk-bus/jk-pb-bus-master-cycle-20240221",
        "jk-nw/nw-4s-11.21H",
    ],
)
async def test_where_only_answers_were_recorded_they_are_found_by_what_they_say(name):
    """In whichever order they stand: it is their meaning that answers a question."""
    path = FIXTURES / f"{name}.jsonl"
    expected = [reading.voltage for reading in bmslink.decode(path)]

    read = []
    async with bmslink.connect(f"replay://{path}?speed=10").board as device:
        with pytest.raises(LinkClosed, match="is over"):
            while len(read) < 10:
                read.append((await device.read()).voltage)
    assert read == expected


@pytest.mark.parametrize("pieces", [(), ((None, "tx", ASK_3),)])
def test_a_recording_without_answers_is_refused_on_opening(tmp_path, pieces):
    with pytest.raises(CaptureError, match="holds no answers"):
        played(recorded(tmp_path, *pieces), asking())


async def test_after_closing_nothing_comes_and_it_can_be_opened_again(tmp_path):
    ear = Ear()
    transport = transport_for(recorded(tmp_path, *SESSION))
    for _ in range(2):
        await transport.open(ear.data, ear.end)
        await transport.write(ASK_3)
        await asyncio.sleep(0.1)
        await transport.close()
        await transport.close()
        with pytest.raises(LinkClosed):
            await transport.write(ASK_4)
        await asyncio.sleep(10)
    assert [data for _, data in ear.heard] == [A1, A1]
    assert ear.lost == []


def test_what_is_no_recording_fails_on_opening(tmp_path):
    async def opened(target):
        await transport_for(target).open(lambda data: None, lambda error: None)

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
            transport_for(recorded(tmp_path, *pieces)),
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


async def test_a_link_that_asks_for_what_was_never_recorded_times_out(tmp_path):
    transport = transport_for(recorded(tmp_path, *SESSION))
    link = Link(transport, JBD.make_framer(), JBD.timing)
    await link.open()
    with pytest.raises(LinkTimeout) as caught:
        await link.request(read_request(0x05), lambda frame: True)
    assert caught.value.heard == "silence"
    await link.close()
