"""Off goes before what is being asked again and again on the same link."""

from __future__ import annotations

import asyncio

import pytest

from bmslink.errors import LinkTimeout
from bmslink.link.link import Link
from bmslink.link.turns import Urgency, urgency
from bmslink.protocols.jbd.driver import JBD, read_request, write_request
from scripted import ScriptedTransport


async def test_a_question_that_nobody_answers_lets_off_through_between_two_tries() -> None:
    line = ScriptedTransport()
    link = Link(line, JBD.make_framer(), JBD.timing)
    await link.open()
    asking = asyncio.create_task(link.request(read_request(0x03, None), lambda frame: True))
    command = asyncio.create_task(link.request(read_request(0x05, None), lambda frame: True))
    await asyncio.sleep(0.7)  # in the second of six tries
    with urgency(Urgency.OFF):
        off = asyncio.create_task(link.send(write_request(0xE1, bytes(2), None)))
        await off
    sent = [(round(at, 2), data[1:3].hex()) for at, data in line.sent]
    assert sent[-1][1] == "5ae1"
    assert sent[-1][0] <= 0.06 + 2 * 0.5 + 2 * 0.06, "one try in progress"
    with pytest.raises(LinkTimeout):
        await asking
    assert [data[1:3].hex() for _, data in line.sent].count("a503") == 1 + JBD.timing.wake_retries
    with pytest.raises(LinkTimeout):
        await command
    assert link.counters.timeouts == 2 * (1 + JBD.timing.wake_retries)
    assert (link.counters.answers, link.counters.openings) == (0, 1)
