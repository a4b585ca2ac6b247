"""Daly's Sinowealth dialect: answers that only their question explains, and the simulated board."""

from __future__ import annotations

import asyncio
import io
import itertools
import random
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bmslink
import goldens
from bmslink.errors import FrameError, LinkTimeout, TargetError
from bmslink.link.capture import open_capture
from bmslink.model import Condition, Reading
from bmslink.protocols.daly.sinowealth import (
    BATTERY_STATUS,
    FIELDS,
    PACK_CONFIG,
    PACK_STATUS,
    SinowealthCodec,
    SinowealthFrame,
    SinowealthFramer,
    request,
)
from bmslink.simulation.boards.daly_sinowealth import SinowealthResponder
from bmslink.simulation.pack.pack import Pack
from bmslink.simulation.transport import SimTransport
from support import FIXTURES

CAPTURES = sorted((FIXTURES / "daly-sinowealth").glob("*.jsonl"))


def exchanges() -> list[tuple[bytes, bytes]]:
    """Every captured question with its answer."""
    found = []
    for path in CAPTURES:
        pieces = list(open_capture(path)[1])
        found += [(a.data, b.data) for a, b in zip(pieces[::2], pieces[1::2], strict=True)]
    return found


EXCHANGES = exchanges()


def answer(command: int, data: bytes) -> SinowealthFrame:
    return SinowealthFrame(command=command, data=data)


def encoded(command: int, data: bytes) -> bytes:
    return SinowealthFramer().encode(answer(command, data))


def raws(frames: list[SinowealthFrame]) -> list[bytes]:
    return [f.raw for f in frames]


# ---------------------------------------------------------------------------------- framing


def test_a_question_and_its_answer_to_the_byte() -> None:
    # daly-sw-4s: cell 1 at 3.331 V; the check covers 0A 01 02 too, which are not sent back
    assert SinowealthFramer().encode(request(0x01)).hex() == "0a0102"
    assert encoded(0x01, bytes.fromhex("0d03")).hex() == "0d03fd"
    assert SinowealthFramer().encode(request(0x10)).hex() == "0a1004"
    assert len(EXCHANGES) == 11
    for question, said in EXCHANGES:
        assert encoded(question[1], said[:-1]) == said


def test_what_cannot_be_asked_is_not_sent() -> None:
    with pytest.raises(FrameError, match="Command 19"):
        SinowealthFramer().encode(request(0x19))
    with pytest.raises(FrameError, match="not 3"):
        encoded(0x01, b"abc")


@pytest.mark.parametrize("sizes", [[1], [2], [4], [5, 1], [1000]])
def test_a_tap_that_sees_both_directions(sizes: list[int]) -> None:
    stream = b"".join(q + a for q, a in EXCHANGES)
    framer = SinowealthFramer()
    found = []
    while stream:
        size = sizes[len(found) % len(sizes)]
        found += framer.feed(stream[:size])
        stream = stream[size:]
    found += framer.flush()
    assert raws(found) == [part for exchange in EXCHANGES for part in exchange]
    assert [f.request for f in found] == [True, False] * len(EXCHANGES)
    assert framer.skipped_bytes == 0


def test_without_its_question_nothing_is_an_answer() -> None:
    framer = SinowealthFramer()
    assert framer.feed(b"".join(a for _, a in EXCHANGES)) + framer.flush() == []
    assert framer.skipped_bytes == 33


@pytest.mark.parametrize("junk", [b"\0", b"\xff\xff", bytes(range(1, 60)), b"\x0a\x0b\x0c" * 300])
def test_an_answer_ends_where_the_line_falls_silent(junk: bytes) -> None:
    framer = SinowealthFramer()
    for question, said in EXCHANGES:
        framer.expect(request(question[1]))
        assert framer.feed(junk + said) == []
        assert raws(framer.flush()) == [said]
    assert framer.skipped_bytes == len(junk) * len(EXCHANGES)


def test_junk_is_not_searched_for_answers() -> None:
    """Sliding along random bytes would find about 75 of them here."""
    rng = random.Random(7)
    framer = SinowealthFramer()
    found = []
    for _ in range(100):
        framer.expect(request(0x0B))
        found += framer.feed(rng.randbytes(200)) + framer.flush()
    assert len(found) < 4


def test_one_flipped_bit_is_always_noticed_and_the_next_exchange_is_whole() -> None:
    for question, said in EXCHANGES:
        whole = question + said
        for bit in range(8 * len(whole)):
            broken = bytearray(whole)
            broken[bit // 8] ^= 1 << bit % 8
            framer = SinowealthFramer()
            found = framer.feed(bytes(broken) + whole) + framer.flush()
            assert raws(found)[-2:] == [question, said]
            assert not any(not f.request for f in found[:-1])


def test_a_torn_answer_does_not_swallow_the_next() -> None:
    for (question, said), (next_question, next_said) in itertools.pairwise(EXCHANGES):
        for kept in range(2, len(question + said)):  # 0A 0A 02 is the question for cell 10
            framer = SinowealthFramer()
            torn = (question + said)[:kept]
            found = framer.feed(torn + next_question + next_said) + framer.flush()
            assert raws(found)[-2:] == [next_question, next_said]
            framer = SinowealthFramer()
            framer.expect(request(question[1]))
            framer.feed(said[:1])
            framer.expect(request(next_question[1]))
            framer.feed(next_said)
            assert raws(framer.flush()) == [next_said]


def test_stale_and_repeated_answers() -> None:
    framer = SinowealthFramer()
    framer.expect(request(0x02))
    framer.feed(encoded(0x01, b"\x0d\x03"))  # late, of the question before
    assert framer.flush() == []
    assert framer.bad_frames == 1
    framer.expect(request(0x02))
    said = encoded(0x02, b"\x0d\x04")
    framer.feed(encoded(0x01, b"\x0d\x03") + said)
    assert raws(framer.flush()) == [said]
    framer.expect(request(0x02))
    framer.feed(said + said)
    assert raws(framer.flush()) == [said]
    framer.feed(said)
    assert framer.flush() == []


def test_an_echo_of_the_question_stands_before_the_answer() -> None:
    for question, said in EXCHANGES:
        framer = SinowealthFramer()
        framer.expect(request(question[1]))
        found = framer.feed(question + said) + framer.flush()
        assert [(f.raw, f.request) for f in found] == [(question, True), (said, False)]


def test_a_voltage_that_looks_like_a_question() -> None:
    said = encoded(0x09, b"\x0a\x0f")
    assert said.hex() == "0a0f02"
    framer = SinowealthFramer()
    framer.expect(request(0x09))
    (found,) = framer.feed(said) + framer.flush()
    assert (found.request, found.data) == (False, b"\x0a\x0f")


@given(st.binary(max_size=600), st.sampled_from([None, *FIELDS]), st.integers(1, 600))
@settings(max_examples=150, deadline=None)
def test_any_bytes(data: bytes, asked: int | None, size: int) -> None:
    framer, codec = SinowealthFramer(), SinowealthCodec()
    if asked is not None:
        framer.expect(request(asked))
    found = []
    for start in range(0, len(data), size):
        found += framer.feed(data[start : start + size])
        assert framer.pending <= framer.longest
    found += framer.flush()
    assert sum(len(f.raw) for f in found) + framer.skipped_bytes == len(data)
    for frame in found:
        assert framer.encode(frame) == frame.raw
        codec.reading([codec.decode(frame)])


# ---------------------------------------------------------------------------------- meaning


def told(**fields: Any) -> Reading:
    """The reading of the answers to the given commands (`c0B=…` by command, as hex)."""
    codec = SinowealthCodec()
    frames = [answer(int(name[1:], 16), bytes.fromhex(data)) for name, data in fields.items()]
    return codec.reading([codec.decode(frame) for frame in frames])


def test_every_value_by_its_command() -> None:
    reading = told(
        c01="0ce4", c0B="340d", c0C="0b8a", c0D="0ab3", c0E="0b55", c10="fffffe0c",
        c11="00018894", c12="0000c350", c13="003c", c14="0007", c15="0002", c16="0000",
    )  # fmt: skip
    assert (reading.voltage, reading.current) == (13.325, -0.5)  # negative: discharging
    assert (reading.full_capacity, reading.remaining_capacity) == (100.5, 50.0)
    assert reading.soc == 60.0
    assert reading.temperatures == {"sensor_1": 22.3, "sensor_2": 0.8, "ic": 17.0}
    assert (reading.charging_allowed, reading.discharging_allowed) == (False, True)
    assert reading.cycles is None  # not the number the vendor's app shows
    assert reading.raw["cycles"] == 7
    assert told(c10="000001f4").current == 0.5
    assert told(c15="0001").charging_allowed is True
    assert told(c0B="340d").charging_allowed is None


@pytest.mark.parametrize(
    ("command", "table"), [("c15", PACK_STATUS), ("c16", BATTERY_STATUS)], ids=["pack", "battery"]
)
def test_condition_bits(command: str, table: dict[int, tuple[str, Condition]]) -> None:
    for bit in range(16):
        reading = told(**{command: f"{1 << bit:04x}"})
        lists = {
            "alarm": reading.alarms,
            "protection": reading.protections,
            "fault": reading.faults,
        }
        for level, conditions in lists.items():
            expected = (table[bit][1],) if bit in table and table[bit][0] == level else ()
            assert conditions == expected, bit
        if command == "c16" and bit not in table:
            assert reading.raw["battery_status_bits"] == [bit]


def test_cells_end_at_the_count_or_at_the_first_zero() -> None:
    cells = {"c01": "0ce4", "c02": "0ce5", "c03": "0ce6"}
    assert told(**cells).cell_voltages == (3.3, 3.301, 3.302)
    assert told(**cells, c04="0000", c05="0ce4").cell_voltages == (3.3, 3.301, 3.302)
    assert told(**cells, c17="0001").cell_voltages == (3.3, 3.301, 3.302, None)
    assert told(**cells, c04="0ce4", c17="0000").cell_voltages == (3.3, 3.301, 3.302)
    assert told(c17="0007").cell_voltages == ()
    gone = told(**cells, c04="0000", c17="0001")
    assert gone.cell_voltages == (3.3, 3.301, 3.302, 0.0)
    assert gone.faults == (Condition.VOLTAGE_SENSE,)


def test_the_second_probe_is_there_if_the_configuration_says_so() -> None:
    probes = {"c0C": "0b8a", "c0D": "0b8b"}
    assert list(told(**probes, c17="0001").temperatures) == ["sensor_1"]
    assert list(told(**probes, c17="0041").temperatures) == ["sensor_1", "sensor_2"]
    assert told(c0C="0000").temperatures == {"sensor_1": None}


def test_more_cells_than_the_board_reports_are_a_fault() -> None:
    cells = {f"c{n:02X}": "0ce4" for n in range(1, 11)}
    assert told(**cells, c17="0007", c0B="80e8").faults == ()  # 33.0 V
    assert told(**cells, c17="0007", c0B="8dcc").faults == (Condition.CELL_COUNT_MISMATCH,)
    assert told(c01="0ce4", c0B="340d").faults == ()  # nobody said that this is all


def test_the_count_of_cells_is_the_identity() -> None:
    codec = SinowealthCodec()
    records = [codec.decode(answer(PACK_CONFIG, b"\x00\x47"))]
    identity = codec.identity(records)
    assert (identity.vendor, identity.cell_count) == ("Daly", 10)


def test_unknown_answers_are_refused() -> None:
    for command, data in ((0x19, b"\0\0"), (0x01, bytes(4)), (0x10, bytes(2))):
        with pytest.raises(FrameError, match=f"Command {command:02X} with"):
            SinowealthCodec().decode(answer(command, data))


def test_a_bare_hex_dump_of_both_directions() -> None:
    stream = "0a0102 0d03fd 0a0b02 340d0f"
    (reading,) = bmslink.decode(stream, "daly-sinowealth")
    assert (reading.voltage, reading.cell_voltages) == (13.325, (3.331,))
    assert bmslink.decode(stream) == [reading]


def test_a_second_poll_is_a_second_reading() -> None:
    found = goldens.decode(FIXTURES / "daly-sinowealth" / "daly-sw-10s.jsonl")
    first, second = found.readings
    assert first["cell_voltages"] == [3.709, 3.709, 3.709]
    assert second["cell_voltages"] == [None, None, 3.71, 3.71, 3.711, 3.71, 3.711, 3.709]


# ---------------------------------------------------------------------------------- simulator

SIM = "daly-sinowealth+sim://?speed=0.000001&"


async def poll(
    query: str,
    prepare: Callable[[Pack], None] = lambda pack: None,
    record: io.BytesIO | None = None,
) -> tuple[Reading, Reading]:
    async with bmslink.connect(SIM + query, record=record).board as device:
        transport = device.link.transport
        pack = getattr(transport, "inner", transport).pack
        prepare(pack)
        return await device.read(), pack.truth()


@pytest.mark.parametrize("hours", [0.1, 4, 13])
@pytest.mark.parametrize(
    "query", ["cells=4", "cells=10&chemistry=nmc&soc=97", "cells=3&chemistry=lto&seed=5"]
)
async def test_readings_are_the_truth(query: str, hours: float) -> None:
    reading, truth = await poll(query, lambda pack: pack.advance(3600 * hours))
    for name in ("voltage", "current", "remaining_capacity", "full_capacity"):
        assert getattr(reading, name) == pytest.approx(getattr(truth, name), abs=0.0006)
    assert reading.soc == pytest.approx(truth.soc, abs=0.5)
    assert reading.cell_voltages == truth.cell_voltages
    assert list(reading.temperatures.values()) == list(truth.temperatures.values())
    for name in ("charging_allowed", "discharging_allowed", "protections"):
        assert getattr(reading, name) == getattr(truth, name)


async def test_only_the_cells_that_are_there_are_asked_for() -> None:
    class Kept(io.BytesIO):
        def close(self) -> None:
            self.kept = self.getvalue()
            super().close()

    file = Kept()
    reading, _ = await poll("cells=4", record=file)
    lines = [line for line in file.kept.decode().splitlines() if '"tx"' in line]
    asked = [line.split('"hex":"')[1][2:4] for line in lines]
    assert asked == re.findall("..", "17010203040b0c0d0e101112131516")
    assert reading.raw["pack_config"] == 0x41


async def test_the_recording_decodes_to_the_same(tmp_path: Any) -> None:
    path = tmp_path / "poll.jsonl"
    with path.open("wb") as file:
        reading, _ = await poll("cells=4", record=file)
    (again,) = bmslink.decode(path)
    assert replace(again, target=reading.target, time=reading.time) == reading


@pytest.mark.parametrize(
    "fault", ["echo", "noise", "glue", "foreign", "duplicate", "chunk", "late", "sleepy", "corrupt"]
)
async def test_faults_on_the_wire_cost_time_but_no_value(fault: str) -> None:
    reading, truth = await poll(f"cells=8&fault={fault}&load=idle")
    assert reading.cell_voltages == truth.cell_voltages
    assert reading.voltage == truth.voltage
    assert reading.current == pytest.approx(truth.current, abs=0.0006)


@pytest.mark.parametrize("condition", [c for level, c in BATTERY_STATUS.values()])
async def test_a_trip_shows(condition: Condition) -> None:
    level = next(level for level, c in BATTERY_STATUS.values() if c is condition)
    reading, _ = await poll("cells=4", lambda p: p.raise_condition(level, condition))
    assert condition in (*reading.protections, *reading.faults)


async def test_more_than_ten_cells_are_refused() -> None:
    with pytest.raises(TargetError, match="3 to 10 cells, not 16"):
        bmslink.connect("daly-sinowealth+sim://?cells=16")

    def grow(pack: Pack) -> None:
        truth = pack.truth
        pack.truth = lambda: replace(truth(), voltage=13 * 3.3)

    with pytest.raises(FrameError, match="more than 10"):
        await poll("cells=10", grow)


def test_the_board_is_silent_to_what_it_does_not_know() -> None:
    board = SinowealthResponder(Pack(cells=4))
    assert board.receive(bytes.fromhex("0a1902 0a0104 dda50300fffd77 a5400908")) == []
    (said,) = board.receive(bytes.fromhex("0a1702"))
    assert said.data[:2] == b"\x00\x41"
    (said,) = [a for byte in b"\x0a\x05\x02" for a in board.receive(bytes([byte]))]
    assert said.data[:2] == b"\x00\x00"  # no fifth cell


async def test_a_silent_board_is_a_timeout() -> None:
    async with bmslink.connect(SIM + "cells=4&fault=silent").board as device:
        assert isinstance(device.link.transport, SimTransport)
        start = asyncio.get_running_loop().time()
        with pytest.raises(LinkTimeout, match="No answer"):
            await device.read()
        assert asyncio.get_running_loop().time() - start < 5


def test_values_without_a_common_meaning_are_no_part_of_a_poll() -> None:
    for command in (0x0F, 0x18):
        said = SinowealthCodec().decode(answer(command, b"\x00\x47"))
        assert (said.role, said.part) == ("other", None)


def test_an_answer_cannot_go_to_the_board() -> None:
    with pytest.raises(FrameError, match="went to the board"):
        SinowealthCodec().decode(answer(0x01, b"\x0d\x03"), sent=True)


async def test_a_board_with_one_probe_is_not_asked_for_a_second() -> None:
    """Bit 6 of the pack configuration says how many there are."""

    def one_probe(pack: Pack) -> None:
        whole = pack.truth

        def truth() -> Reading:
            said = whole()
            probes = {k: v for k, v in said.temperatures.items() if k != "cell_2"}
            return replace(said, temperatures=probes)

        pack.truth = truth

    reading, _ = await poll("cells=4", one_probe)
    assert "sensor_1" in reading.temperatures or "cell_1" in reading.temperatures
    assert not {"sensor_2", "cell_2"} & reading.temperatures.keys()
