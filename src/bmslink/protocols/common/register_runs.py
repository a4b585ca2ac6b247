"""Questions for many registers, where an answer does not say which registers it holds.

An answer is told from that of another question by its length alone. So two questions in a row
never expect as many registers, or the answer that is late to one is taken for that to the other.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

from bmslink.protocols.common.settings_map import Slot

__all__ = ["Span", "alike", "question", "runs", "slot_bytes", "span"]


class Span(NamedTuple):
    """Where a slot lies, in registers."""

    slot: Slot
    first: int
    end: int
    """The first register behind it."""
    offset: int = 0
    """Bytes of the first register before it."""


def span(slot: Slot, offset: int) -> Span:
    """The registers of a slot that begins `offset` bytes behind register 0."""
    end = offset + int(slot.layout.sizeof())
    return Span(slot, offset // 2, (end + 1) // 2, offset % 2)


def question(run: Sequence[Span]) -> tuple[int, int]:
    """The first register of a run, and how many one question about it asks for."""
    return run[0].first, run[-1].end - run[0].first


def slot_bytes(run: Sequence[Span], data: bytes) -> Iterator[tuple[Slot, bytes]]:
    """The slots of a run, each with its bytes out of the answer."""
    for slot, first, _, offset in run:
        at = 2 * (first - run[0].first) + offset
        yield slot, data[at : at + slot.layout.sizeof()]


def alike(register: int, count: int, before: tuple[int, int] | None) -> bool:
    """Whether the answer to the question before could pass for the answer to this one."""
    return before is not None and before[1] == count and before[0] != register


def runs(
    spans: Sequence[Span], longest: int, *, near: int | None = None, hidden: Collection[int] = ()
) -> list[list[Span]]:
    """Spans that one question can bring, in the order of their registers.

    No question is longer than `longest` registers, skips more than `near` registers that nobody
    asked for, or covers a `hidden` one. Neighbouring questions differ in length if they can.
    """

    def joins(run: Sequence[Span], more: Span) -> bool:
        end = run[-1].end
        close = near is None or more.first - end <= near
        free = not any(end <= register < more.first for register in hidden)
        return close and free and more.end - run[0].first <= longest

    ordered = sorted(spans, key=lambda span: span.first)
    found: list[list[Span]] = []
    last, at = 0, 0
    while at < len(ordered):
        count = 1
        while at + count < len(ordered) and joins(ordered[at : at + count], ordered[at + count]):
            count += 1
        lengths = {n: ordered[at + n - 1].end - ordered[at].first for n in range(count, 0, -1)}
        count = next((n for n, length in lengths.items() if length != last), count)
        found.append(ordered[at : at + count])
        last, at = lengths[count], at + count
    return found
