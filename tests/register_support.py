"""A board of registers for driver tests: it answers with the frames a test gives it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from bmslink.link.capture import open_capture
from bmslink.link.link import Link
from bmslink.protocols.base import Options
from bmslink.protocols.common.rtu import RTUFrame
from bmslink.protocols.daly.registers.driver import DalyRegisters
from scripted import ScriptedTransport
from support import FIXTURES, virtual_run

Blocks = dict[tuple[int, int], bytes]
Reply = Callable[[RTUFrame, bytes], list[bytes]]


def captured_blocks(driver: type[DalyRegisters], name: str) -> Blocks:
    """(register, count) -> the answer frame, from a capture of questions and answers."""
    _, pieces = open_capture(FIXTURES / driver.name / f"{name}.jsonl")
    found: Blocks = {}
    asked: RTUFrame | None = None
    for piece in pieces:
        for frame in driver.make_framer().feed(piece.data):
            if frame.shape == "read":
                asked = frame
            elif asked is not None and frame.shape == "data":
                found[asked.register, asked.count] = frame.raw
    return found


class Board(ScriptedTransport):
    """Answers reads from `blocks` as `reply` wants it; silent for all others."""

    def __init__(self, driver: type[DalyRegisters], blocks: Blocks, reply: Reply | None) -> None:
        super().__init__()
        self.framer = driver.make_framer()
        self.blocks = dict(blocks)
        self.reply: Reply = reply or (lambda request, answer: [answer])
        self.asked: list[tuple[int, int]] = []

    def heard(self, data: bytes) -> None:
        for frame in self.framer.feed(data):
            self.asked.append((frame.register, frame.count))
            answer = self.blocks.get((frame.register, frame.count), b"")
            for number, piece in enumerate(self.reply(frame, answer)):
                self.say(piece, after=0.03 + 0.02 * number)


def run(
    driver: type[DalyRegisters],
    blocks: Blocks,
    test: Callable[[Any, Board], Coroutine[Any, Any, None]],
    reply: Reply | None = None,
    options: Options | None = None,
) -> None:
    """Run a test coroutine with a driver and its board."""

    async def main() -> None:
        board = Board(driver, blocks, reply)
        link: Link[RTUFrame] = Link(board, driver.make_framer(), driver.timing)
        await link.open()
        await test(driver(link, options or Options()), board)
        await link.close()

    virtual_run(main())
