"""Registers that a Daly board is silent about: how often they are asked, and what is no silence."""

from __future__ import annotations

from unittest.mock import patch

import pytest

from bmslink import connect
from bmslink.board import Board

ABSENT = "d20300cf0001"
"""Register CF, which the simulated board lacks."""
STATUS = "d2030000003e"
WHOLE = "d20300800028"
"""The question for most of its settings."""


async def asked(device: Board, lost: tuple[int, ...] = ()) -> tuple[list[str], int]:
    """The questions of one reading of the table, and how many slots it gave; of the question for
    most settings those with these numbers get lost."""
    sent: list[str] = []
    write = device.link.transport.write

    async def written(data: bytes) -> None:
        sent.append(data[:6].hex())
        if sent[-1] != WHOLE or sent.count(WHOLE) not in lost:
            await write(data)

    with patch.object(device.link.transport, "write", written):
        table = await device.settings()
    return sent, len(table.image)


async def test_what_is_absent_is_asked_twice_and_then_once() -> None:
    async with connect("sim://daly-d2?load=idle").board as device:
        await device.identify()
        sent, slots = await asked(device)
        assert sent.count(ABSENT) == 3  # twice, and once for the second reading
        first = sent.index(ABSENT)
        assert sent[first : first + 3] == [ABSENT, STATUS, ABSENT]
        assert device.link.continuity.outages == 0
        sent, again = await asked(device)
        assert sent.count(ABSENT) == 2
        assert again == slots
        await device.reopen()
        sent, _ = await asked(device)
        assert sent.count(ABSENT) == 3


@pytest.mark.parametrize("lost", [(1,), (1, 2), (2, 3)])
async def test_a_lost_question_is_not_taken_for_silence(lost: tuple[int, ...]) -> None:
    async with connect("sim://daly-d2?load=idle").board as device:
        _, slots = await asked(device)
    async with connect("sim://daly-d2?load=idle").board as device:
        _, found = await asked(device, lost)
        assert found == slots


async def test_one_that_begins_to_answer_is_there() -> None:
    async with connect("sim://daly-d2?load=idle").board as device:
        _, slots = await asked(device)
        device.driver.settings._absent.add(0x80)
        _, again = await asked(device)
        assert again == slots
