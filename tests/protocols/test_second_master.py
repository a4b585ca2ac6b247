"""Another master on the same line, byte by byte: what it hears must never be shown as ours.

Its question stands on the wire behind ours, and its answer comes first; it would fit ours in
length, unit and checksum. All frames are typed by hand.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from test_facts_daly_d2 import STATUS as D2_STATUS
from test_facts_daly_p81 import LIVE as P81_LIVE
from test_facts_daly_sinowealth import SAID, with_crc8
from test_facts_jbd_up import SLAVE, frame
from test_facts_jbd_up import STATUS as UP_STATUS
from test_facts_jk_modbus import LIVE as JK_LIVE
from test_facts_jk_modbus import SETTINGS as JK_SETTINGS

from bmslink.link.link import Link
from bmslink.model import Reading
from bmslink.protocols.base import Driver, Options
from bmslink.protocols.daly.registers.d2 import DalyD2
from bmslink.protocols.daly.registers.p81 import DalyP81
from bmslink.protocols.daly.sinowealth import DalySinowealth
from bmslink.protocols.jbd.up.driver import JBDUP
from bmslink.protocols.jk.modbus.driver import JKModbus
from facts import with_crc16, words
from scripted import ScriptedTransport
from support import virtual_run

Answers = Callable[[bytes], bytes]
Script = Callable[[bytes, int], list[bytes]]
"""What is heard after a question that is asked for the n-th time, piece by piece."""


class Line(ScriptedTransport):
    def __init__(self, script: Script) -> None:
        super().__init__()
        self.script = script
        self.asked: list[bytes] = []

    def heard(self, data: bytes) -> None:
        self.asked.append(data)
        for number, piece in enumerate(self.script(data, self.asked.count(data))):
            self.say(piece, after=0.02 + 0.01 * number)


def read(driver: type[Driver[Any]], script: Script) -> tuple[Reading, list[bytes]]:
    async def main() -> tuple[Reading, list[bytes]]:
        line = Line(script)
        link: Link[Any] = Link(line, driver.make_framer(), driver.timing)
        await link.open()
        made = driver(link, Options())
        await made.start()
        reading = await made.read()
        await link.close()
        return reading, line.asked

    result: tuple[Reading, list[bytes]] = virtual_run(main())
    return result


def registers(memory: dict[int, int], unit: int) -> Answers:
    """A board of registers; silent where it has none."""

    def answer(asked: bytes) -> bytes:
        first, count = int.from_bytes(asked[2:4], "big"), int.from_bytes(asked[4:6], "big")
        if first not in memory:
            return b""
        data = words(*(memory.get(n, 0xFFFF) for n in range(first, first + count)))
        return with_crc16(bytes([unit, 3, len(data)]) + data)

    return answer


def jk_registers(asked: bytes) -> bytes:
    tables = {0x1200: JK_LIVE, 0x106C: JK_SETTINGS}
    first, count = int.from_bytes(asked[2:4], "big"), int.from_bytes(asked[4:6], "big")
    base = 0x106C if first < 0x1200 else 0x1200
    data = tables[base][first - base : first - base + 2 * count]
    return with_crc16(bytes([1, 3, len(data)]) + data)


def sinowealth(asked: bytes) -> bytes:
    return with_crc8(asked, bytes.fromhex(SAID[asked[1]]))


def up(asked: bytes) -> bytes:
    return frame(0x1000, 0x10A0, UP_STATUS) if asked[2:4] == b"\x10\x00" else b""


def other_registers(unit: int, answering: int, register: int) -> Answers:
    """Another master asks the same board for as many registers elsewhere, and is answered."""

    def heard(asked: bytes) -> bytes:
        count = int.from_bytes(asked[4:6], "big")
        question = with_crc16(bytes([unit, 3]) + words(register, count))
        data = words(*[0x0101] * count)
        return question + with_crc16(bytes([answering, 3, len(data)]) + data)

    return heard


def other_value(asked: bytes) -> bytes:
    """It asks for the first probe (or the pack's voltage), which reads 4.369 V as a cell."""
    question = b"\x0a\x0c\x02" if asked[1] != 0x0C else b"\x0a\x0b\x02"
    return question + with_crc8(question, b"\x11\x11")


def other_block(asked: bytes) -> bytes:
    """It reads less of the same block, another pack's, and the slave's own view of it."""
    spoilt = words(9999) + UP_STATUS[2:]
    return b"".join(
        (
            frame(0x1000, 0x1044, spoilt),
            frame(0x1000, 0x10A0, spoilt, address=2),
            frame(0x1000, 0x10A0, spoilt, function=SLAVE),
        )
    )


CASES = [
    pytest.param(
        DalyD2,
        registers(dict(enumerate(D2_STATUS)), 0xD2),
        other_registers(0xD2, 0xD2, 0x80),
        id="daly-d2",
    ),
    pytest.param(
        DalyP81,
        registers(dict(enumerate(P81_LIVE)), 0x51),
        other_registers(0x81, 0x51, 0x100),
        id="daly-p81",
    ),
    pytest.param(DalySinowealth, sinowealth, other_value, id="daly-sinowealth"),
    pytest.param(JKModbus, jk_registers, other_registers(1, 1, 0x1000), id="jk-modbus"),
    pytest.param(JBDUP, up, other_block, id="jbd-up"),
]


@pytest.mark.parametrize(("driver", "board", "other"), CASES)
def test_what_another_master_hears_is_not_ours(
    driver: type[Driver[Any]], board: Answers, other: Answers
) -> None:
    """Our first question is lost under his; ours is answered when it is repeated."""
    alone, asked = read(driver, lambda data, times: [board(data)])

    def script(data: bytes, times: int) -> list[bytes]:
        return [other(data)] if times == 1 else [board(data)]

    disturbed, again = read(driver, script)
    assert disturbed == alone
    assert (alone.voltage or 0) > 10
    assert len(again) > len(asked)


@pytest.mark.parametrize(("driver", "board", "other"), CASES)
def test_an_echo_in_pieces_of_one_byte(
    driver: type[Driver[Any]], board: Answers, other: Answers
) -> None:
    """Adapters that hear themselves, and answers that arrive byte by byte."""
    alone, asked = read(driver, lambda data, times: [board(data)])

    def script(data: bytes, times: int) -> list[bytes]:
        heard = data + board(data)
        return [heard[:1], heard[1:9], heard[9:]]

    assert read(driver, script) == (alone, asked)


@pytest.mark.parametrize(("driver", "board", "other"), CASES)
def test_short_damaged_and_previous_answers(
    driver: type[Driver[Any]], board: Answers, other: Answers
) -> None:
    """First what answered the question before, a torn answer, and one with a flipped bit."""
    alone, asked = read(driver, lambda data, times: [board(data)])
    before: list[bytes] = []

    def script(data: bytes, times: int) -> list[bytes]:
        right = board(data)
        if not right:
            return []
        if not before or before[-1] != data:
            before.append(data)
        spoilt = right[:-3] + bytes([right[-3] ^ 4]) + right[-2:]
        stale = board(before[-2]) if len(before) > 1 else b""
        return {1: [stale], 2: [right[: len(right) // 2]], 3: [spoilt]}.get(times, [right])

    disturbed, again = read(driver, script)
    assert disturbed == alone
    assert len(again) >= 3 + len(asked)
