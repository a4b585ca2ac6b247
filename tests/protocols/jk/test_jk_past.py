"""What JK boards remember: recorded logs, and how they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime

import pytest

from bmslink.events import EventSeverity
from bmslink.link.capture import open_capture
from bmslink.link.link import Link
from bmslink.model import Condition
from bmslink.past import BoardPast
from bmslink.protocols.base import Options
from bmslink.protocols.common.fields import build, parse
from bmslink.protocols.jk.jk02.driver import JK02, JK02Codec, JK02Frame, JK02Framer, command, record
from bmslink.protocols.jk.jk02.layouts import DETAIL_ENTRY, DEVICE_INFO, LOG_ENTRY
from bmslink.protocols.jk.jk02.past import CODES, board_time, logbook_events, meaning_of
from scripted import ScriptedTransport
from support import FIXTURES

NEWEST = "jk02-32s-b2a8s20p-19.10"


def frames(name: str, kind: str) -> list[bytes]:
    _, pieces = open_capture(FIXTURES / "jk02" / f"{name}.jsonl")
    return [p.data for p in pieces if p.kind == kind]


(INFO,), (SETTINGS,), (LIVE,) = (
    frames(NEWEST, k) for k in ("device_info", "settings", "cell_info")
)
(BOOK,) = frames("jk02-32s-logbook-28", "logbook")
BURST = frames("jk02-32s-detaillog-burst70", "detail_log")


ACK = JK02Framer().encode(command(0xC8, b"\x01"))


class Remembering(ScriptedTransport):
    """The board of the recorded logs; `details` are the pieces that come after an A7."""

    def __init__(
        self, details: Iterable[bytes] = BURST, info: bytes = INFO, pace: float = 0.05
    ) -> None:
        super().__init__()
        self.pace = pace
        self.answers = {
            0x97: [info, ACK],
            0x96: [SETTINGS, ACK, LIVE, LIVE],
            0xA1: [BOOK, ACK],
            0xA7: [LIVE, *details, LIVE],
        }
        self.asked: list[int] = []

    def heard(self, data: bytes) -> None:
        for frame in JK02Framer().feed(data):
            self.asked.append(frame.code)
            for number, piece in enumerate(self.answers[frame.code]):
                self.say(piece, after=0.1 + self.pace * number)


async def past(board: Remembering, *, brief: bool = False) -> BoardPast:
    link: Link[JK02Frame] = Link(board, JK02Framer(), JK02.timing)
    await link.open()
    try:
        return await JK02(link, Options()).past(100, brief=brief)
    finally:
        await link.close()


async def test_the_logs_of_a_real_board_agree_with_each_other() -> None:
    """The same trips are in both: dated by the running time, and by the clock."""
    board = Remembering()
    told = await past(board)
    assert board.asked == [0x97, 0x96, 0xA1, 0xA7]
    book = [e for e in told.events if e.log == "logbook"]
    details = [e for e in told.events if e.log == "detail_log"]
    assert (len(book), len(details), len(told.samples)) == (28, 51, 785)
    assert dict(told.missing) == {"counters": "JK boards keep logs, no counters"}
    cell_1 = [e for e in details if e.cell == 1]
    assert [e.values["highest_cell"] for e in cell_1] == [1] * 6
    assert (cell_1[0].condition, cell_1[0].severity) == (
        Condition.CELL_OVERVOLTAGE,
        EventSeverity.ALARM,
    )
    assert cell_1[0].values["max_cell_voltage"] == 3.658
    # what one counter calls so many seconds apart, the other does too
    running = [e.running for e in book if e.cell == 1]
    times = [e.time for e in cell_1]
    assert [r - running[0] for r in running if r and running[0]] == [
        (t - times[0]).total_seconds() for t in times if t and times[0]
    ]
    assert {e.raw for e in book} <= {BOOK[i : i + 5].hex() for i in range(11, 151, 5)}
    assert [e.name for e in book[:3]] == ["boot", "preset_lfp", "boot"]
    assert told.clock == board_time(205772915)


async def test_the_running_time_dates_what_came_since_the_latest_start() -> None:
    now = datetime(2026, 12, 1, tzinfo=UTC)
    entries = [{"seconds": s, "code": c} for s, c in ((500, 103), (0, 1), (400, 1), (9_999, 18))]
    found = logbook_events(entries, now, 1000)
    assert [(e.running, e.time_source) for e in found] == [
        (0, "latest"),
        (400, "reckoned"),
        (500, "reckoned"),
        (9_999, None),  # the counter has not come so far: nobody knows when that was
    ]
    assert found[2].time == datetime(2026, 11, 30, 23, 51, 40, tzinfo=UTC)
    assert {e.time for e in logbook_events(entries, now, None)} == {None}


@pytest.mark.parametrize(
    "cut",
    [
        lambda raw: [b"AT\r\n" + raw[:128], raw[128:]],  # notifications and the module's chatter
        lambda raw: [raw[i : i + 20] for i in range(0, 300, 20)],
        lambda raw: [LIVE + raw],  # glued to a live record
        lambda raw: [b"\x55\xaa\xeb" + raw],
    ],
)
async def test_the_burst_comes_in_any_pieces(cut: Callable[[bytes], list[bytes]]) -> None:
    told = await past(Remembering(piece for raw in BURST for piece in cut(raw)))
    assert len(told.samples) == 785
    assert "detail_log" not in told.missing


async def test_what_is_damaged_or_lost_is_said() -> None:
    flipped = bytearray(BURST[3])
    flipped[40] ^= 1
    told = await past(Remembering([*BURST[:3], bytes(flipped), *BURST[4:]]))
    assert told.missing["detail_log"] == "12 entries were lost on the way: ask again"
    assert len(told.samples) + len([e for e in told.events if e.log == "detail_log"]) == 824


async def test_a_burst_that_ends_with_a_full_record_ends_by_silence() -> None:
    told = await past(Remembering(BURST[:2]))
    assert len(told.samples) == 24
    again = await past(Remembering([*BURST[:2], *BURST[:2], *BURST[:2]]))  # a board that repeats
    assert again.samples == told.samples


async def test_a_burst_that_never_ends_is_left_after_a_minute() -> None:
    """Each record begins one entry later, so something is new every time."""
    moved = [record(6, number.to_bytes(2, "little") + BURST[0][8:-1]) for number in range(90)]
    told = await past(Remembering([JK02Framer().encode(each) for each in moved], pace=1.0))
    assert 50 < len(told.samples) < 80


async def test_a_board_that_does_not_answer_or_does_not_know_is_not_asked_twice() -> None:
    silent = Remembering([])
    silent.answers |= {0xA1: [], 0xA7: []}
    told = await past(silent)
    assert told.events == ()
    assert set(told.missing) == {"logbook", "detail_log", "counters"}
    brief = await past(Remembering(), brief=True)
    assert "half a minute" in brief.missing["detail_log"]
    assert len(brief.events) == 28
    fields = parse(DEVICE_INFO, INFO[6:-1], "info")
    flags = int.from_bytes(fields["command_flags"], "little")
    for kept, why in ((0, "not documented"), (flags & ~(1 << 0xA1 | 1 << 0xA7), "does not have")):
        fields["command_flags"] = kept.to_bytes(32, "little")
        raw = JK02Framer().encode(record(3, build(DEVICE_INFO, fields, "info")))
        board = Remembering(info=raw)
        told = await past(board)
        assert board.asked == [0x97, 0x96]
        assert why in told.missing["logbook"]


def test_every_recorded_entry_comes_back_to_the_byte() -> None:
    for raw in [*BURST, BOOK]:
        (frame,) = JK02Framer().feed(raw)
        payload = JK02Codec().payload(frame)
        assert payload is not None
        assert build(payload.layout, parse(payload.layout, frame.data, "log"), "log") == frame.data
    assert (LOG_ENTRY.sizeof(), DETAIL_ENTRY.sizeof()) == (5, 24)


def test_codes() -> None:
    assert len(CODES) == 1 + 73 + 2 * 32  # periodic, the vendor's list, and 32 cells twice
    assert meaning_of(131).cell == 32
    assert (meaning_of(28).text, meaning_of(28).ended) == ("charge undertemperature over", True)
    assert (meaning_of(99).name, meaning_of(99).text) == ("unknown", "unknown, code 99")
    assert (meaning_of(132).name, meaning_of(232).name) == ("unknown", "unknown")
