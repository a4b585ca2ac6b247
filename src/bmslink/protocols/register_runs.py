"""Questions for many registers, where an answer does not say which registers it holds.

An answer is told from that of another question by its length alone. So two questions in a row
never expect as many registers, or the answer that is late to one is taken for that to the other.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from bmslink.protocols.settings import Slot

__all__ = ["Span", "alike", "runs"]


class Span(NamedTuple):
    """The registers of a slot."""

    slot: Slot
    first: int
    end: int
    """The first register behind it."""


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
