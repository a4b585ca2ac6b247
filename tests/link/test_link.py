"""The framer base and the link, against a made-up protocol and a scripted wire."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bmslink.errors import LinkClosed, LinkTimeout
from bmslink.link.link import Drop, Frame, Framer, Link, Timing
from scripted import ScriptedTransport
from support import virtual_run

TIMING = Timing(timeout=0.5, gap=0.1, retries=2, wake_retries=4, idle=0.15)


class Toy(Frame, frozen=True, kw_only=True):
    kind: int
    data: bytes = b""


class ToyFramer(Framer[Toy]):
    """`A0 kind length data sum`."""

    longest = 4 + 255

    def cut(self, buffer: bytes) -> Toy | Drop | None:
        if buffer[0] != 0xA0:
            start = buffer.find(0xA0)
            return Drop(start if start > 0 else len(buffer))
        if len(buffer) < 3 or len(buffer) < 4 + buffer[2]:
            return None
        raw = bytes(buffer[: 4 + buffer[2]])
        if sum(raw[:-1]) & 255 != raw[-1]:
            return Drop(1, "checksum")
        return Toy(raw=raw, offset=self.position, kind=raw[1], data=raw[3:-1])

    def encode(self, frame: Toy) -> bytes:
        body = bytes([0xA0, frame.kind, len(frame.data)]) + frame.data
        return body + bytes([sum(body) & 255])


def wire(kind: int, data: bytes = b"") -> bytes:
    return ToyFramer().encode(Toy(kind=kind, data=data))


# ------------------------------------------------------------------------------ the framer


def test_a_framer_says_where_each_frame_and_each_skipped_run_stood():
    framer = ToyFramer()
    first, second = wire(1, b"abc"), wire(2)
    frames = framer.feed(b"xx" + first + b"yyy" + second)
    assert [(f.kind, f.offset, f.raw) for f in frames] == [
        (1, 2, first),
        (2, 2 + len(first) + 3, second),
    ]
    assert [(s.offset, s.data, s.reason, s.length) for s in framer.skipped] == [
        (0, b"xx", "noise", 2),
        (2 + len(first), b"yyy", "noise", 3),
    ]
    assert framer.position == 2 + len(first) + 3 + len(second)
    assert (framer.skipped_bytes, framer.bad_frames, framer.pending) == (5, 0, 0)


def test_a_bad_checksum_drops_that_frame_and_nothing_after_it():
    framer = ToyFramer()
    bad = bytearray(wire(1, b"abc"))
    bad[-1] ^= 1
    frames = framer.feed(bytes(bad) + wire(2, b"d"))
    assert [f.kind for f in frames] == [2]
    assert framer.bad_frames == 1
    (run,) = framer.skipped  # the rest of the bad frame is part of the same run
    assert (run.reason, run.data) == ("checksum", bytes(bad))


def test_runs_of_one_reason_are_merged_over_feeds_and_others_are_not():
    framer = ToyFramer()
    for piece in (b"x", b"y", b"z"):
        assert framer.feed(piece) == []
    framer.feed(b"\xa0\x01")
    framer.reset()
    assert [(s.data, s.reason) for s in framer.skipped] == [
        (b"xyz", "noise"),
        (b"\xa0\x01", "truncated"),
    ]
    assert framer.position == framer.skipped_bytes == 5


def test_flush_gives_up_half_a_frame_and_finds_the_one_behind_it():
    framer = ToyFramer()
    half = b"\xa0\x07\xff"  # announces 255 bytes
    assert framer.feed(half + wire(3, b"ok")) == []
    assert framer.pending == len(half) + len(wire(3, b"ok"))
    assert [(f.kind, f.offset) for f in framer.flush()] == [(3, 3)]
    assert [(s.data, s.reason) for s in framer.skipped] == [(half, "truncated")]
    assert framer.pending == 0


@given(
    st.lists(st.binary(max_size=40) | st.builds(wire, st.integers(0, 255), st.binary(max_size=9))),
    st.data(),
)
def test_any_bytes_in_any_pieces_are_accounted_for(parts, data):
    stream = b"".join(parts)
    whole = ToyFramer()
    frames = whole.feed(stream) + whole.flush()
    pieces = ToyFramer()
    got, rest = [], stream
    while rest:
        n = data.draw(st.integers(1, len(rest)))
        got += pieces.feed(rest[:n])
        rest = rest[n:]
    got += pieces.flush()
    assert got == frames
    for framer in (whole, pieces):
        assert framer.position == len(stream)
        assert framer.skipped_bytes + sum(len(f.raw) for f in frames) == len(stream)
        assert all(stream[f.offset : f.offset + len(f.raw)] == f.raw for f in frames)
        assert all(stream[s.offset : s.offset + s.length] == s.data for s in framer.skipped)


class Greedy(ToyFramer):
    """A framer with a bug: it waits for ever."""

    longest = 16

    def cut(self, buffer: bytes) -> None:
        return None


class Stuck(ToyFramer):
    """A framer with another: it drops nothing."""

    def cut(self, buffer: bytes) -> Drop:
        return Drop(0)


def test_a_framer_that_waits_too_long_or_drops_nothing_still_comes_to_an_end():
    greedy = Greedy()
    assert greedy.feed(bytes(100)) == []
    assert greedy.pending == 16
    stuck = Stuck()
    assert stuck.feed(bytes(100)) == []
    assert (stuck.pending, stuck.skipped_bytes) == (0, 100)


class Watched(ToyFramer):
    """Notes how much it had to look through at once."""

    most = 0

    def cut(self, buffer: bytes) -> Toy | Drop | None:
        self.most = max(self.most, len(buffer))
        return super().cut(buffer)


@pytest.mark.parametrize(
    "junk",
    [b"\x00", b"\xa0", b"\xa0\x00", b"\xa0\x01\x01", b"\x00\xa0\x01\xff"],
    ids=lambda junk: junk.hex(),
)
def test_a_flood_of_junk_costs_neither_memory_nor_time(junk):
    framer = Watched()
    framer.feed(junk * (100_000 // len(junk)))
    framer.flush()  # the flood may end in what looks like the start of a frame
    assert [f.kind for f in framer.feed(wire(9))] == [9]
    # a buffer that grew with the flood would be searched again for every dropped byte
    assert framer.most < 5000
    assert len(framer.skipped) <= 1000
    assert sum(len(s.data) for s in framer.skipped) <= 1000 * framer.longest


# -------------------------------------------------------------------------------- the link


class Wire(ScriptedTransport):
    """Answers the n-th request with what `script(n)` says: pairs of delay and bytes."""

    def __init__(self, script: Callable[[int], list[tuple[float, bytes]]]) -> None:
        super().__init__()
        self.script = script

    def heard(self, data: bytes) -> None:
        for delay, answer in self.script(len(self.sent)):
            self.say(answer, after=delay)


def linked(script, **changes):
    """A link over a scripted wire; to be opened."""
    transport = Wire(script)
    timing = {name: getattr(TIMING, name) for name in TIMING.__slots__} | changes
    return transport, Link(transport, ToyFramer(), Timing(**timing))


def of_kind(kind: int) -> Callable[[Toy], bool]:
    return lambda frame: frame.kind == kind


def now() -> float:
    return asyncio.get_running_loop().time()


ASK = Toy(kind=1)
ANSWER = wire(2, b"ok")


async def test_a_request_gets_its_answer_from_pieces():
    _, link = linked(lambda n: [(0.01 * i, ANSWER[i : i + 1]) for i in range(len(ANSWER))])
    await link.open()
    answer = await link.request(ASK, of_kind(2))
    assert (answer.data, link.received_at is not None) == (b"ok", True)


async def test_the_line_is_quiet_for_the_gap_before_each_request():
    transport, link = linked(lambda n: [(0.02, ANSWER)])
    await link.open()
    for _ in range(3):
        await link.request(ASK, of_kind(2))
    assert transport.times == pytest.approx([0.0, 0.12, 0.24])


async def test_a_late_answer_that_still_comes_in_starts_the_gap_anew():
    pieces = [(0.5 + 0.05 * i, ANSWER[i : i + 1]) for i in range(len(ANSWER))]
    transport, link = linked(lambda n: pieces if n == 1 else [(0.01, ANSWER)])
    await link.open()
    await link.request(ASK, of_kind(2))
    last = pieces[-1][0]
    assert transport.times == [0.0, pytest.approx(last + TIMING.gap)]


async def test_a_line_that_others_keep_busy_does_not_hold_a_request_back_for_ever():
    transport, link = linked(lambda n: [(0.01, ANSWER)])
    await link.open()
    for i in range(100):
        asyncio.get_running_loop().call_later(0.05 * i, transport.deliver, wire(9))
    await asyncio.sleep(0.01)
    await link.request(ASK, of_kind(2))
    assert transport.times[0] <= 0.01 + TIMING.gap + TIMING.timeout


async def test_silence_is_a_timeout_after_all_retries():
    transport, link = linked(lambda n: [])
    await link.open()
    with pytest.raises(LinkTimeout, match="No answer") as caught:
        await link.request(ASK, of_kind(2))
    assert caught.value.heard == "silence"
    assert len(transport.sent) == 1 + TIMING.wake_retries
    assert {data for _, data in transport.sent} == {wire(1)}
    assert now() == pytest.approx(5 * TIMING.timeout)


async def test_many_retries_are_for_a_sleeping_board_only():
    transport, link = linked(lambda n: [(0.01, ANSWER)] if n == 5 else [])
    await link.open()
    await link.request(ASK, of_kind(2))
    assert len(transport.sent) == 5
    with pytest.raises(LinkTimeout):
        await link.request(ASK, of_kind(2))
    assert len(transport.sent) == 5 + 1 + TIMING.retries
    await link.close()
    await link.open()  # after the line was gone the board may sleep again
    with pytest.raises(LinkTimeout):
        await link.request(ASK, of_kind(2))
    assert len(transport.sent) == 8 + 1 + TIMING.wake_retries


async def test_the_number_of_retries_and_the_timeout_can_be_given():
    transport, link = linked(lambda n: [])
    await link.open()
    with pytest.raises(LinkTimeout):
        await link.collect(ASK, of_kind(2), lambda got: True, timeout=3.0, retries=0)
    assert (len(transport.sent), now()) == (1, pytest.approx(3.0))


async def test_a_late_answer_is_not_taken_for_the_answer_of_the_next_request():
    # the answer to the first request comes 0.55 s late, when the second is being prepared
    _, link = linked(
        lambda n: [(0.55, wire(2, b"stale"))] if n == 1 else [(0.01, wire(2, b"fresh"))]
    )
    await link.open()
    with pytest.raises(LinkTimeout):
        await link.collect(ASK, of_kind(2), lambda got: True, retries=0)
    await asyncio.sleep(0.2)
    assert (await link.request(ASK, of_kind(2))).data == b"fresh"


async def test_half_a_frame_of_an_earlier_answer_does_not_swallow_the_next():
    _, link = linked(
        lambda n: [(0.01, b"\xa0\x02\xff")] if n == 1 else [(0.01, wire(2, b"fresh"))],
        idle=60.0,  # only the new request may give it up
    )
    await link.open()
    assert (await link.request(ASK, of_kind(2))).data == b"fresh"


async def test_half_a_frame_is_given_up_after_the_idle_time_and_the_answer_behind_it_found():
    transport, link = linked(lambda n: [(0.01, b"\xa0\x02\xff"), (0.02, ANSWER)])
    await link.open()
    assert (await link.request(ASK, of_kind(2))).data == b"ok"
    assert len(transport.sent) == 1
    assert now() == pytest.approx(0.02 + TIMING.idle)


async def test_frames_of_others_are_passed_over():
    transport, link = linked(lambda n: [(0.01, wire(7)), (0.02, wire(8)), (0.03, ANSWER)])
    await link.open()
    assert (await link.request(ASK, of_kind(2))).data == b"ok"
    assert len(transport.sent) == 1


@pytest.mark.parametrize(
    ("answer", "heard", "words"),
    [
        (wire(7), "other", "Only other frames came [(]3[)]"),
        (wire(1), "other", "Only our own request came back"),
        (wire(1) + wire(7), "other", "Only other frames came [(]6[)]"),
        (b"\xff\x00\x13", "garbage", "9 bytes came, but no valid frame"),
        (wire(2)[:-1] + b"\x00", "garbage", "12 bytes came"),
    ],
    ids=["other", "echo", "echo and other", "noise", "bad checksum"],
)
async def test_a_timeout_says_what_was_heard_instead(answer, heard, words):
    _, link = linked(lambda n: [(0.01, answer)], wake_retries=2)
    await link.open()
    with pytest.raises(LinkTimeout, match=words) as caught:
        await link.request(ASK, of_kind(2))
    assert caught.value.heard == heard


@pytest.mark.parametrize(("addressed", "told"), [(True, True), (False, False)])
async def test_silence_may_mean_that_the_board_has_an_address(addressed, told):
    link = Link(Wire(lambda n: []), ToyFramer(), TIMING, addressed=addressed)
    await link.open()
    with pytest.raises(LinkTimeout, match="is this its protocol") as caught:
        await link.request(ASK, of_kind(2))
    assert ("an address of its own (--address)" in str(caught.value)) is told


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (wire(7), "none from address 3 [(]--address[)]"),
        (b"", "are this its protocol and 3 its address [(]--address[)]"),
    ],
)
async def test_an_address_that_nobody_may_have_is_named(answer, words):
    transport = Wire(lambda n: [(0.01, answer)] if answer else [])
    link = Link(transport, ToyFramer(), TIMING, address=3)
    await link.open()
    with pytest.raises(LinkTimeout, match=words):
        await link.request(ASK, of_kind(2))


async def test_concurrent_callers_are_served_one_after_the_other():
    open_requests = 0

    def script(n):
        nonlocal open_requests
        open_requests += 1
        assert open_requests == 1, "a second request while one waits for its answer"
        kind = transport.sent[-1][1][1]

        def done():
            nonlocal open_requests
            open_requests -= 1
            transport.deliver(wire(kind + 100))

        asyncio.get_running_loop().call_later(0.05, done)
        return []

    transport, link = linked(script)
    await link.open()
    answers = await asyncio.gather(*(link.request(Toy(kind=k), of_kind(k + 100)) for k in range(5)))
    assert [a.kind for a in answers] == [100, 101, 102, 103, 104]
    gaps = [b - a for a, b in zip(transport.times, transport.times[1:], strict=False)]
    assert min(gaps) >= 0.05 + TIMING.gap - 1e-6


async def test_a_cancelled_request_lets_the_next_one_through():
    _, link = linked(lambda n: [] if n == 1 else [(0.01, ANSWER)])
    await link.open()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await link.request(ASK, of_kind(2))
    assert (await link.request(ASK, of_kind(2))).data == b"ok"


@pytest.mark.parametrize("reason", [None, LinkClosed("The cable was pulled.")])
async def test_a_lost_transport_ends_the_waiting_request_and_every_later_one(reason):
    transport, link = linked(lambda n: [])
    await link.open()
    asyncio.get_running_loop().call_later(0.2, lambda: transport.on_lost(reason))
    with pytest.raises(LinkClosed, match="cable was pulled" if reason else "other side"):
        await link.request(ASK, of_kind(2))
    assert now() == pytest.approx(0.2)
    for _ in range(2):
        with pytest.raises(LinkClosed):
            await link.request(ASK, of_kind(2))
        with pytest.raises(LinkClosed):
            await link.send(ASK)
        with pytest.raises(LinkClosed):
            await link.next_frame(of_kind(2), 1.0)
    assert len(transport.sent) == 1
    await link.open()
    transport.script = lambda n: [(0.01, ANSWER)]
    assert (await link.request(ASK, of_kind(2))).data == b"ok"


async def test_an_answer_that_came_before_the_line_was_lost_is_still_given():
    transport, link = linked(lambda n: [(0.01, ANSWER)])
    await link.open()
    asyncio.get_running_loop().call_later(0.01, lambda: transport.on_lost(None))
    assert (await link.request(ASK, of_kind(2))).data == b"ok"


async def test_closing_ends_the_waiting_request_at_once():
    _, link = linked(lambda n: [])
    with pytest.raises(LinkClosed, match="not open"):
        await link.request(ASK, of_kind(2))
    await link.open()
    waiting = asyncio.create_task(link.request(ASK, of_kind(2), timeout=50))
    await asyncio.sleep(0.1)
    await link.close()
    await link.close()
    with pytest.raises(LinkClosed, match="not open"):
        await waiting
    assert now() == pytest.approx(0.1)


def collected(script, complete, **options):
    async def main():
        transport, link = linked(script)
        await link.open()
        got = await link.collect(ASK, of_kind(2), complete, **options)
        return transport, [f.data for f in got], now()

    return virtual_run(main())


def test_collect_gathers_until_it_is_complete():
    script = [(0.01 * i, wire(2, bytes([i]))) for i in range(1, 9)]
    _, got, when = collected(lambda n: script, lambda got: len(got) == 3)
    assert got == [b"\x01", b"\x02", b"\x03"]
    assert when == pytest.approx(0.03)


def test_collect_with_quiet_takes_silence_as_the_end():
    script = [(0.3, wire(2, b"a")), (0.35, wire(2, b"b")), (0.8, wire(2, b"late"))]
    transport, got, when = collected(lambda n: script, lambda got: False, quiet=0.1)
    assert got == [b"a", b"b"]
    assert len(transport.sent) == 1
    assert when == pytest.approx(0.45)


def test_collect_without_quiet_asks_again_for_an_answer_that_stopped():
    def script(n):
        frames = [(0.01, wire(2, b"a"))]
        return frames if n == 1 else [*frames, (0.02, wire(2, b"b"))]

    transport, got, _ = collected(script, lambda got: len(got) == 2)
    assert (got, len(transport.sent)) == ([b"a", b"b"], 2)


def test_collect_says_how_far_an_answer_came():
    with pytest.raises(LinkTimeout, match=r"stopped after 1 frame") as caught:
        collected(lambda n: [(0.01, wire(2))], lambda got: len(got) == 2)
    assert caught.value.heard == "other"


@pytest.mark.parametrize("pause", [0.0, 0.4])
async def test_an_answer_without_end_ends_all_the_same(pause):
    sizes = []

    def complete(got):
        sizes.append(len(got))
        return False

    transport, link = linked(lambda n: [])

    async def babble():
        while True:
            transport.deliver(wire(2))
            await asyncio.sleep(pause)

    await link.open()
    babbler = asyncio.create_task(babble())
    with pytest.raises(LinkTimeout, match="stopped after"):
        await link.collect(ASK, of_kind(2), complete, retries=0)
    babbler.cancel()
    assert now() <= 12 * TIMING.timeout
    assert max(sizes) <= 256


async def test_a_stream_is_read_frame_by_frame_and_others_are_dropped():
    transport, link = linked(lambda n: [])
    await link.open()
    await link.send(ASK)
    for i in range(6):
        frame = wire(2 if i % 2 else 7, bytes([i]))
        asyncio.get_running_loop().call_later(0.3 * i, transport.deliver, frame)
    got = [(await link.next_frame(of_kind(2), 1.0)).data for _ in range(3)]
    assert got == [b"\x01", b"\x03", b"\x05"]
    with pytest.raises(LinkTimeout) as caught:
        await link.next_frame(of_kind(2), 1.0)
    assert caught.value.heard == "silence"
    transport.deliver(wire(7))
    with pytest.raises(LinkTimeout) as caught:
        await link.next_frame(of_kind(2), 1.0)
    assert caught.value.heard == "other"
    assert len(transport.sent) == 1


async def test_sending_in_a_stream_does_not_break_the_frame_that_is_coming_in():
    transport, link = linked(lambda n: [])
    await link.open()
    transport.deliver(ANSWER[:3])
    await link.send(ASK)
    transport.deliver(ANSWER[3:])
    assert (await link.next_frame(of_kind(2), 1.0)).data == b"ok"


async def test_discard_leaves_only_what_comes_later():
    transport, link = linked(lambda n: [])
    await link.open()
    transport.deliver(wire(2, b"old"))
    link.discard()
    asyncio.get_running_loop().call_later(0.1, transport.deliver, wire(2, b"new"))
    assert (await link.next_frame(of_kind(2), 1.0)).data == b"new"


async def test_frames_that_nobody_reads_do_not_pile_up():
    transport, link = linked(lambda n: [])
    await link.open()
    for i in range(1000):
        transport.deliver(wire(2, i.to_bytes(2, "big")))
    newest = []
    with pytest.raises(LinkTimeout):
        while True:
            newest.append((await link.next_frame(of_kind(2), 0.1)).data)
    assert newest == [i.to_bytes(2, "big") for i in range(744, 1000)]


@pytest.mark.parametrize("anonymous", [True, False])
async def test_where_answers_are_nameless_those_to_tries_given_up_are_waited_out(anonymous):
    """A gateway slower than the timeout must not make every answer one question late."""

    latest = b""
    _, link = linked(lambda n: [(TIMING.timeout + 0.1, wire(2, latest))], anonymous=anonymous)
    await link.open()
    answers = []
    for latest in (b"first", b"second", b"third"):
        answers.append((await link.request(ASK.replace(data=latest), of_kind(2))).data)
    assert (answers == [b"first", b"second", b"third"]) is anonymous


@pytest.mark.parametrize(("anonymous", "got"), [(True, b"fresh"), (False, b"stale")])
async def test_after_a_question_without_an_answer_a_late_one_has_time_to_pass(anonymous, got):
    slow = [(TIMING.timeout + 0.2, wire(2, b"stale"))]
    _, link = linked(lambda n: slow if n == 1 else [(0.3, wire(2, b"fresh"))], anonymous=anonymous)
    await link.open()
    with pytest.raises(LinkTimeout):
        await link.collect(ASK, of_kind(2), lambda answer: True, retries=0)
    assert (await link.request(ASK.replace(data=b"else"), of_kind(2))).data == got
