"""The simulated JK `4E 57` board, and the driver that reads it."""

from __future__ import annotations

from typing import Any

import pytest

import bmslink.device
from bmslink.errors import FrameError, LinkTimeout
from bmslink.model import Condition, Identity, Reading, Switch
from bmslink.protocols.base import Options, Record
from bmslink.protocols.common.fields import build
from bmslink.protocols.jk.nw.driver import JKNWCodec
from bmslink.protocols.jk.nw.framing import (
    LOGIN,
    READ,
    READ_ALL,
    REPLY,
    JKNWFrame,
    JKNWFramer,
    read_all_request,
    read_request,
    write_request,
)
from bmslink.protocols.jk.nw.tags import TAGS, split
from bmslink.simulation.boards.jk_nw import JKNWResponder
from bmslink.simulation.pack.pack import Pack
from bmslink.simulation.responder import make_responder
from support import virtual_run


def device(firmware: str | None = None, **options: Any) -> JKNWResponder:
    responder = make_responder("jk-nw", Pack(**options), firmware=firmware)
    assert isinstance(responder, JKNWResponder)
    return responder


def ask(responder: JKNWResponder, *requests: JKNWFrame) -> list[JKNWFrame]:
    framer = JKNWFramer()
    sent = b"".join(framer.encode(request) for request in requests)
    frames = [f for answer in responder.receive(sent) for f in framer.feed(answer.data)]
    assert framer.skipped_bytes == framer.pending == 0
    return frames


def record_of(responder: JKNWResponder) -> Record:
    (frame,) = ask(responder, read_all_request())
    assert (frame.command, frame.source, frame.kind) == (READ_ALL, 0, REPLY)
    return JKNWCodec(Options()).decode(frame)


def reading_of(responder: JKNWResponder) -> Reading:
    return JKNWCodec(Options()).reading([record_of(responder)])


def identity_of(responder: JKNWResponder) -> Identity:
    return JKNWCodec(Options()).identity([record_of(responder)])


def test_the_reading_is_the_truth_of_the_pack() -> None:
    responder = device(cells=14, chemistry="nmc", soc=43, load=-35)
    responder.pack.advance(600)
    truth, reading = responder.pack.truth(), reading_of(responder)
    assert reading.cell_voltages == pytest.approx(truth.cell_voltages, abs=0.0006)
    assert reading.voltage == pytest.approx(truth.voltage, abs=0.006)
    assert reading.current == pytest.approx(truth.current, abs=0.006)
    assert reading.current is not None
    assert reading.current < 0
    assert reading.soc == pytest.approx(truth.soc, abs=0.6)
    assert reading.cycles == truth.cycles
    for name in ("nominal_capacity", "full_capacity", "cycle_capacity"):
        assert getattr(reading, name) == pytest.approx(getattr(truth, name), abs=0.6)
    seen = [reading.temperatures[n] for n in ("mosfet", "sensor_1", "sensor_2")]
    real = [truth.temperatures[n] for n in ("mosfet", "cell_1", "cell_2")]
    assert seen == pytest.approx(real, abs=0.6)
    for name in ("charging_allowed", "discharging_allowed", "balancing_active"):
        assert getattr(reading, name) is getattr(truth, name)
    assert reading.uptime == 600
    assert (reading.alarms, reading.protections, reading.faults) == ((), (), ())


def test_settings_are_those_of_the_pack() -> None:
    responder = device(cells=16)
    responder.pack.settings["cell_ovp"] = 3.61
    values = record_of(responder).values
    assert values["cell_ovp"] == 3.61
    settings = {n: v for n, v in responder.pack.settings.items() if n in values}
    assert len(settings) > 20
    assert {n: values[n] for n in settings} == pytest.approx(settings, abs=0.6)
    assert values["cell_count"] == 16


def test_every_tag_is_sent_in_the_order_of_the_captures() -> None:
    (frame,) = ask(device(), read_all_request())
    assert split(frame.data) == bytes(TAGS)


@pytest.mark.parametrize("load", [-20.0, 20.0])
def test_version_0_says_the_same_in_its_own_way(load: float) -> None:
    old, new = device("0", load=load), device(load=load)
    for responder in (old, new):
        responder.pack.advance(60)
    ours = reading_of(old)
    assert ours.current == pytest.approx(load, abs=0.01)
    assert ours.current == reading_of(new).current
    assert ours.raw["protocol_version"] == 0
    assert max(split(ask(old, read_all_request())[0].data)) == 0xB7
    assert identity_of(old).firmware == "NW_1_0_0_200428"
    assert identity_of(old).variant == "version 0"


def test_identity() -> None:
    assert identity_of(device("15.29", cells=8, chemistry="lto")) == Identity(
        vendor="JK",
        model="JK_B2A20S20P",
        hardware="15.XW",
        firmware="15.29",
        cell_count=8,
        chemistry="lto",
        protocol="jk-nw",
        variant="version 1",
    )


def test_conditions_that_the_wire_can_say() -> None:
    responder = device()
    for severity, condition in (
        ("alarm", Condition.SOC_LOW),
        ("protection", Condition.CELL_UNDERVOLTAGE),
        ("protection", Condition.MOSFET_OVERTEMPERATURE),
        ("alarm", Condition.CELL_OVERVOLTAGE),  # no bit for a mere warning
    ):
        responder.pack.raise_condition(severity, condition)
    reading = reading_of(responder)
    assert reading.alarms == (Condition.SOC_LOW,)
    assert set(reading.protections) == {
        Condition.CELL_UNDERVOLTAGE,
        Condition.MOSFET_OVERTEMPERATURE,
    }


def test_a_broken_or_absent_probe_is_no_temperature() -> None:
    responder = device(probes=1, ambient=-12)
    reading = reading_of(responder)
    assert reading.temperatures["sensor_1"] == pytest.approx(-12, abs=1)
    assert reading.temperatures["sensor_2"] is None
    responder.pack.break_probe("cell_1")
    assert reading_of(responder).temperatures["sensor_1"] is None


def test_single_reads() -> None:
    responder = device()
    (frame,) = ask(responder, read_request(0x83))
    assert (frame.command, frame.data[:1], len(frame.data)) == (READ, b"\x83", 3)
    assert ask(responder, read_request(0x88)) == []


def test_switches_are_obeyed_and_read_back() -> None:
    responder = device()
    for tag, switch, name in (
        (0xAB, Switch.CHARGE, "charge_switch"),
        (0xAC, Switch.DISCHARGE, "discharge_switch"),
        (0x9D, Switch.BALANCE, "balance_switch"),
    ):
        for on in (False, True):
            assert ask(responder, write_request(tag, bytes([on])))
            assert responder.pack.switches[switch] is on
            assert getattr(reading_of(responder), name) is on


def test_what_a_board_keeps_silent_about() -> None:
    responder = device()
    wrong_sum = bytearray(JKNWFramer().encode(write_request(0xAB, b"\0")))
    wrong_sum[-1] -= 0x68  # nw-password-and-charge: the sum without the end mark
    assert responder.receive(bytes(wrong_sum)) == []
    assert ask(responder, write_request(0xAB, b"\2")) == []
    assert ask(responder, write_request(0xAB, b"")) == []
    assert ask(responder, write_request(0xBB, b"\1")) == []
    assert ask(responder, write_request(0xB2, b"123456\0\0\0\0")) == []
    assert ask(responder, JKNWFrame(command=LOGIN, data=b"\xb2123456\0\0\0\0")) == []
    (own,) = ask(responder, read_all_request())
    assert responder.receive(own.raw) == []  # its own answer, echoed
    assert all(responder.pack.switches.values())


def test_requests_are_heard_in_pieces_glued_and_after_junk() -> None:
    request = JKNWFramer().encode(read_all_request())
    responder = device()
    assert [len(responder.receive(request[i : i + 1])) for i in range(21)] == [0] * 20 + [1]
    assert len(responder.receive(request + request)) == 2
    # a start that announces more than any request has is not waited for
    assert len(responder.receive(b"\x4e\x57\x01\x1b" + request)) == 1


# ---------------------------------------------------------------------------------- the driver


def read_twice(query: str) -> tuple[Identity, Reading, Reading]:
    async def session() -> tuple[Identity, Reading, Reading]:
        async with bmslink.connect(f"jk-nw+sim://?{query}").board as link:
            return await link.identify(), await link.read(), await link.read()

    result: tuple[Identity, Reading, Reading] = virtual_run(session())
    return result


@pytest.mark.parametrize(
    "fault",
    [
        "",
        "echo",
        "noise",
        "glue",
        "chunk:7",
        "duplicate",
        "foreign",
        "cut:30",
        "corrupt:30",
        "late:0.7",
        "sleepy",
    ],
)
def test_end_to_end(fault: str) -> None:
    query = "cells=16&seed=1&load=idle" + (f"&fault={fault}" if fault else "")
    identity, first, second = read_twice(query)
    assert (identity.protocol, identity.cell_count) == ("jk-nw", 16)
    assert len(first.cell_voltages) == 16
    assert first.target == f"jk-nw+sim://?{query.replace(':', '%3A')}"
    assert second.cell_voltages == pytest.approx(first.cell_voltages, abs=0.002)


def test_silence() -> None:
    with pytest.raises(LinkTimeout) as caught:
        read_twice("fault=silent")
    assert caught.value.heard == "silence"


def answered_by(data: bytes, monkeypatch: pytest.MonkeyPatch) -> Reading:
    monkeypatch.setattr(JKNWResponder, "_answer", lambda self, frame: data)
    return read_twice("")[1]


def test_an_answer_with_an_unknown_tag_is_an_error_not_a_guess(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    voltage = build(TAGS[0x83].layout, 52.0, "test")
    with pytest.raises(FrameError, match="Tag 88 at byte 3"):
        answered_by(b"\x83" + voltage + b"\x88\0", monkeypatch)


def test_an_empty_answer_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(LinkTimeout) as caught:
        answered_by(b"", monkeypatch)
    assert caught.value.heard == "other"
