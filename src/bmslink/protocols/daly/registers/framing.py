"""Frames of Daly's register dialects: Modbus RTU at first sight, with rules of their own.

Facts and their evidence: `docs/protocols/daly-d2.md` and `docs/protocols/daly-p81.md`.
"""

from __future__ import annotations

from bmslink.protocols.common.rtu import (
    DALY_SHAPES,
    READ,
    WRITE,
    WRITE_MANY,
    RTUFrame,
    RTUFramer,
    Shape,
)

__all__ = [
    "ANSWERING",
    "ASKING",
    "D2_UNIT",
    "MAX_BOARD",
    "D2Framer",
    "P81Framer",
    "asked_board",
    "read_request",
    "speaking_board",
]

D2_UNIT = 0xD2
ASKING, ANSWERING = 0x80, 0x50
"""Board n of the 81/51 dialect is asked as 80 + n and answers as 50 + n."""
MAX_BOARD = 24


class D2Framer(RTUFramer):
    """`D2` asks, `D2` answers.

    Registers lie below 0300, and a read answer holds at least one: mostly the third byte alone
    tells a request from an answer.
    """

    def __init__(self) -> None:
        super().__init__(DALY_SHAPES, _is_d2)

    def shapes(self, head: bytes) -> tuple[Shape, ...]:
        if head[1] != READ or len(head) < 3:
            return super().shapes(head)
        third = head[2]
        data: tuple[Shape, ...] = ("data",) if third and third % 2 == 0 else ()
        return (*data, "read") if third < 3 else data


class P81Framer(RTUFramer):
    """`81` (80 + n) asks, `51` (50 + n) answers: the unit tells what a frame can be."""

    def __init__(self) -> None:
        super().__init__(DALY_SHAPES, _is_p81)

    def shapes(self, head: bytes) -> tuple[Shape, ...]:
        if asked_board(head[0]):
            shapes: dict[int, Shape] = {READ: "read", WRITE: "write", WRITE_MANY: "write_bare"}
        else:
            shapes = {READ: "data", WRITE: "write", WRITE_MANY: "written"}
            if head[1] == READ and len(head) > 2 and (head[2] == 0 or head[2] % 2):
                return ()
        return (shapes[head[1]],) if head[1] in shapes else ()

    def answerer(self, unit: int) -> int:
        return unit - ASKING + ANSWERING


def _is_d2(unit: int) -> bool:
    return unit == D2_UNIT


def _is_p81(unit: int) -> bool:
    return bool(asked_board(unit) or speaking_board(unit))


def asked_board(unit: int) -> int:
    """The board that a request of the 81/51 dialect is for; 0 if it is no such unit."""
    return unit - ASKING if 1 <= unit - ASKING <= MAX_BOARD else 0


def speaking_board(unit: int) -> int:
    """The board that answers as this unit of the 81/51 dialect; 0 if none does."""
    return unit - ANSWERING if 1 <= unit - ANSWERING <= MAX_BOARD else 0


def read_request(unit: int, register: int, count: int) -> RTUFrame:
    """The frame that asks for a block."""
    return RTUFrame(unit=unit, function=READ, shape="read", register=register, count=count)
