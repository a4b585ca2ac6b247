"""`Device.past`: what boards remember, over every simulated protocol and through a service."""

from __future__ import annotations

import json
from typing import Any

import pytest

import bmslink
from bmslink.errors import LinkTimeout, UsageError
from bmslink.jsonable import to_json
from bmslink.link.link import Link
from bmslink.model import Condition, Reading
from bmslink.past import BoardPast, reported_now
from bmslink.protocols import DRIVERS
from bmslink.protocols.base import Options
from bmslink.protocols.jbd.driver import JBD, JBDFrame, JBDFramer
from bmslink.service_values import in_form, of_form
from bmslink.testing import SimulatedPack
from scripted import ScriptedTransport

pytestmark = pytest.mark.counted

UNDOCUMENTED = {"jk04", "jk-nw", "jbd-up", "daly-d2", "daly-sinowealth"}


@pytest.mark.parametrize("protocol", DRIVERS)
async def test_every_protocol_says_what_it_has_and_what_not(protocol: str) -> None:
    async with bmslink.connect(f"sim://{protocol}?cells=8&gap=0") as device:
        told = await device.past(5)
    assert (told.protocol, told.target) == (protocol, f"{protocol}+sim://?cells=8&gap=0")
    assert told.time is not None
    for what in ("events", "counters"):
        assert bool(getattr(told, what)) != (what in told.missing), what
    if protocol in UNDOCUMENTED:
        assert told.missing["events"] == f"not documented for {protocol}"
    assert (told.now is None) == (protocol == "jk04")
    line = json.loads(to_json(told.to_dict()))
    assert list(line)[:4] == ["schema", "target", "name", "protocol"]
    assert of_form(BoardPast, in_form(told)) == told


async def test_a_trip_is_counted_or_logged_with_its_cell() -> None:
    for protocol in ("jbd", "jk02"):
        pack = SimulatedPack(protocol, cells=8)
        async with bmslink.connect(pack.target) as device:
            await device.read()
            pack.set_cell_voltage(3, 3.9)
            pack.advance(60)
            await device.read()
            pack.set_cell_voltage(3, None)
            pack.advance(60)
            await device.read()
            told = await device.past()
        if protocol == "jbd":
            assert {c.name: c.count for c in told.counters if c.count} == {"cell_overvoltage": 1}
            assert told.counters[3].condition is Condition.CELL_OVERVOLTAGE
            continue
        for log in ("logbook", "detail_log"):
            found = [e for e in told.events if e.log == log and e.condition]
            assert [(e.code, e.cell, e.ended) for e in found] == [(102, 3, False), (18, None, True)]
        assert found[0].values["max_cell_voltage"] == 3.9


class Refusing(ScriptedTransport):
    """A JBD board that answers 03 and 04, and AA with what it is given; `None`: silence."""

    def __init__(self, counters: JBDFrame | None) -> None:
        super().__init__()
        self.counters = counters

    def heard(self, data: bytes) -> None:
        for frame in JBDFramer().feed(data):
            if frame.code == 0xAA:
                if self.counters is not None:
                    self.say(JBDFramer().encode(self.counters))
                continue
            basic = bytes.fromhex("05300000 1388 1388 0000 0000 0000 0000 0000 80 64 03 04 01 0b72")
            cells = bytes.fromhex("0cf00cf00cf00cf0")
            answer = JBDFrame(mark=frame.code, data=basic if frame.code == 0x03 else cells)
            self.say(JBDFramer().encode(answer))


@pytest.mark.parametrize(
    ("counters", "why"),
    [
        (None, "does not answer when it is asked for its counters"),
        (JBDFrame(mark=0xAA, code=0x81), "The board refuses register AA"),
        (JBDFrame(mark=0xAA, data=bytes(23)), "does not answer"),  # no length that is known
    ],
)
async def test_a_jbd_board_without_counters(counters: JBDFrame | None, why: str) -> None:
    link: Link[JBDFrame] = Link(Refusing(counters), JBDFramer(), JBD.timing)
    await link.open()
    told = await JBD(link, Options()).past(1)
    assert why in told.missing["counters"]
    assert told.now == ()
    with pytest.raises(LinkTimeout):  # behind an address nothing answers here
        await JBD(link, Options(address=1)).past(1)


async def test_behind_an_address_a_jbd_board_is_not_asked_for_its_counters() -> None:
    pack = SimulatedPack("jbd", address=2)
    async with bmslink.connect(pack.target) as device:
        told = await device.past()
    assert "behind an address" in told.missing["counters"]


@pytest.mark.parametrize("limit", [0, 1001, True, 2.0, "5", None])
async def test_a_limit_that_is_none(limit: Any) -> None:
    async with bmslink.connect("sim://jbd") as device:
        with pytest.raises(UsageError, match="limit"):
            await device.past(limit)


def test_what_is_reported_now() -> None:
    reading = Reading(
        protections=(Condition.AFE,),
        raw={"alarm_bits": [3, 30], "fault_code": 7, "fault_bits": "0100", "other": [1]},
    )
    found = reported_now(reading) or ()
    assert [(e.name, e.text) for e in found] == [
        ("afe", "measuring chip (protection)"),
        ("unknown", "unknown: alarm bits 3, 30"),
        ("unknown", "unknown: fault code 7"),
    ]
    assert reported_now(Reading()) is None
    assert reported_now(Reading(conditions_known=True)) == ()
