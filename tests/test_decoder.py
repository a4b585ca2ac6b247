"""`bmslink.Decoder`: the same readings as `decode`, from chunks as they come."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bmslink
from bmslink.decoding import explain
from bmslink.errors import FrameError, TargetError, UsageError
from bmslink.link.capture import open_capture
from bmslink.protocols import DRIVERS, load_driver
from bmslink.testing import SimulatedPack
from support import FIXTURES


@cache
def recorded() -> dict[str, Path]:
    """The capture of each protocol, of those that are not large, with the most readings."""
    found: dict[str, tuple[int, Path]] = {}
    for path in sorted(FIXTURES.glob("*/*.jsonl")):
        name = open_capture(path)[0].protocol
        if not name or path.stat().st_size > 20_000:
            continue
        with suppress(FrameError):
            count = sum(isinstance(e, bmslink.Reading) for e in explain(path))
            if count > found.get(name, (0, path))[0]:
                found[name] = count, path
    return {name: path for name, (_, path) in found.items()}


RECORDED = sorted(set(DRIVERS) - {"jk-modbus"})  # of which no reading was recorded


def test_every_protocol_is_tried() -> None:
    assert sorted(recorded()) == RECORDED


def test_what_we_record_is_decoded_alike(tmp_path: Path) -> None:
    """Answers without a name: the questions say which registers they hold."""
    path = tmp_path / "jk-modbus.jsonl"
    with bmslink.blocking.connect("sim://jk-modbus", record=path.open("wb")) as device:
        read = [device.read(), device.read()]
    decoder = bmslink.Decoder("jk-modbus")
    got = []
    for piece in open_capture(path)[1]:
        got += decoder.feed(piece.data, sent=piece.sent)
    got += decoder.flush()
    assert [r.cell_voltages for r in got[-2:]] == [r.cell_voltages for r in read]
    assert [r.soc for r in got[-2:]] == [r.soc for r in read]


@pytest.mark.parametrize("name", RECORDED)
@pytest.mark.parametrize("cut", ["whole", "bytes", "chunks"])
def test_the_same_readings_as_the_file_gives(name: str, cut: str) -> None:
    path = recorded()[name]
    header, pieces = open_capture(path)
    wanted = [e for e in explain(path) if isinstance(e, bmslink.Reading)]
    chance = random.Random(name)
    decoder = bmslink.Decoder(name, variant=header.variant or None)
    got = []
    for piece in pieces:
        data = piece.data
        while data:
            size = {"whole": len(data), "bytes": 1, "chunks": chance.randrange(1, 30)}[cut]
            got += decoder.feed(data[:size], sent=piece.sent)
            data = data[size:]
    got += decoder.flush()
    assert [r.to_dict() | {"time": None} for r in got] == [
        r.to_dict() | {"time": None} for r in wanted
    ]
    assert wanted
    assert decoder.frames
    assert decoder.protocol == name


@pytest.mark.parametrize("name", ["jbd", "jk02", "jk-nw"])
def test_a_poll_is_given_as_soon_as_it_is_complete(name: str) -> None:
    """And once: nothing is left for `flush`, nor given again by the next poll."""
    decoder = bmslink.Decoder(name)
    when = datetime(2026, 1, 2, tzinfo=UTC)
    _, pieces = open_capture(recorded()[name])
    counts = []
    for piece in pieces:
        before = decoder.frames
        found = decoder.feed(piece.data, sent=piece.sent, time=when)
        assert all(r.time == when and r.cell_voltages for r in found[:1])
        if decoder.frames > before:
            counts.append(len(found))
    wanted = sum(isinstance(e, bmslink.Reading) for e in explain(recorded()[name]))
    rest = decoder.flush()
    assert not any(r.cell_voltages and r.voltage for r in rest)  # half a poll at most
    assert sum(counts) + len(rest) == wanted


def test_noise_is_counted_and_raises_nothing() -> None:
    decoder = bmslink.Decoder("jbd")
    assert decoder.feed(b"\x00" * 50) == []
    assert decoder.flush() == []
    assert (decoder.skipped, decoder.frames) == (50, 0)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(sorted(DRIVERS)), st.lists(st.binary(max_size=80), max_size=8), st.booleans()
)
def test_any_bytes(name: str, chunks: list[bytes], sent: bool) -> None:
    decoder = bmslink.Decoder(name)
    for chunk in chunks:
        assert all(isinstance(r, bmslink.Reading) for r in decoder.feed(chunk, sent=sent))
    decoder.flush()


def test_wrong_arguments() -> None:
    for wrong in ("jdb", "", None, 5):
        with pytest.raises(TargetError):
            bmslink.Decoder(wrong)
    for wrong in ("aa", None, [1]):
        with pytest.raises(UsageError, match="data must be bytes"):
            bmslink.Decoder("jbd").feed(wrong)


@pytest.mark.parametrize("name", sorted(DRIVERS))
async def test_a_program_with_its_own_connection(name: str) -> None:
    """It asks with `encode`, and hands over what comes; the pack must not tell it from us."""
    pack = SimulatedPack(name, cells=8, soc=50)
    decoder = bmslink.Decoder(name)
    heard: list[bytes] = []
    got: list[bmslink.Reading] = []
    line = pack.transport()
    await line.open(heard.append, lambda error: None)
    for request in load_driver(name).requests:
        asked = bmslink.encode(name, request)
        got += decoder.feed(asked, sent=True)
        await line.write(asked)
        await asyncio.sleep(2)
        got += [r for chunk in heard for r in decoder.feed(chunk)]
        heard.clear()
    got += decoder.flush()
    await line.close()
    truth = pack.truth()
    best = max(got, key=lambda r: len([v for v in r.to_dict().values() if v is not None]))
    assert best.cell_voltages == pytest.approx(truth.cell_voltages, abs=0.003)
    assert best.soc == (None if name == "jk04" else 50)  # which does not say it


@pytest.mark.counted
def test_recorded_requests_are_encoded_to_the_byte() -> None:
    """What other people's programs sent to real boards."""
    sent = set()
    for path in FIXTURES.glob("*/*.jsonl"):
        sent |= {p.hex.replace(" ", "").lower() for p in open_capture(path)[1] if p.sent}
    found = {
        (name, request)
        for name in DRIVERS
        for request in load_driver(name).requests
        if bmslink.encode(name, request).hex() in sent
    }
    assert {("jbd", "basic_info"), ("jbd", "cells"), ("daly-a5", "90")} <= found
    # phones fill the rest of a JK02 request with what was there before
    assert {name for name, _ in found} == set(DRIVERS) - {"jk02", "jk04", "jk-modbus"}


def test_a_vendor_is_answered_with_its_protocols() -> None:
    for take in (bmslink.Decoder, lambda name: bmslink.encode(name, "settings")):
        with pytest.raises(TargetError, match=r"jk is a vendor; .* jk02, jk-nw"):
            take("jk")


def test_wrong_requests() -> None:
    with pytest.raises(TargetError, match="it has: basic_info, cells, version"):
        bmslink.encode("jbd", "write")
    for wrong in (("jbd", "cells", 300), ("jk02", "settings", 1), ("jdb", "cells", None)):
        with pytest.raises(TargetError):
            bmslink.encode(wrong[0], wrong[1], address=wrong[2])
    with pytest.raises(TargetError):
        bmslink.encode("jbd", None)
