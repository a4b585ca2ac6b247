"""Values over time as a chart of text: dots in braille where the terminal has them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.text import Text

from bmslink.cli.render import text as t
from bmslink.cli.render.text import Glyphs

__all__ = ["Curve", "chart"]

Curve = tuple[str, str, Sequence[tuple[float, float]]]
"""A character for it where there is no braille, its style, and (time, value) with `nan` in gaps."""
_AXIS = 9
"""Columns of the numbers at the left."""
_DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))


def chart(
    curves: Sequence[Curve],
    width: int,
    height: int,
    span: tuple[float, float],
    g: Glyphs,
    *,
    least: float,
    digits: int,
    zero: bool = False,
) -> list[Text]:
    """The curves in `height` lines. `span`: the first and the last moment. `least`: the smallest
    range of values that fills the height, so that noise stays small; `zero`: 0 is in it."""
    known = [v for _, _, points in curves for _, v in points if v == v]
    if not known or height < 2 or width <= _AXIS + 2:
        return [Text("nothing was seen yet", "dim")]
    low, high = min(known), max(known)
    if zero:
        low, high = min(0.0, low), max(0.0, high)
    if high - low < least:
        middle = (high + low) / 2
        low, high = middle - least / 2, middle + least / 2
    columns = width - _AXIS - 1
    fine = (2, 4) if g.parts else (1, 1)
    grid: dict[tuple[int, int], tuple[int, str, str]] = {}
    for sign, style, points in curves:
        for x, y in _places(points, columns * fine[0], height * fine[1], span, (low, high)):
            cell = (y // fine[1], x // fine[0])
            dots = grid.get(cell, (0, sign, style))[0]
            if g.parts:
                dots |= _DOTS[x % 2][y % 4]
            grid[cell] = (dots, sign, style)
    lines = []
    for n in range(height):
        value = high - (high - low) * n / (height - 1)
        labelled = n in (0, height - 1) or (height >= 7 and n == height // 2)
        label = t.number(value, digits, "", g) if labelled else ""
        line = Text(f"{label:>{_AXIS}}{g.side}", "dim")
        for column in range(columns):
            found = grid.get((n, column))
            if found is None:
                line.append(" ")
            else:
                dots, sign, style = found
                line.append(chr(0x2800 + dots) if g.parts else sign, f"{style} not dim")
        lines.append(line)
    return lines


def _places(
    points: Sequence[tuple[float, float]],
    columns: int,
    rows: int,
    span: tuple[float, float],
    between: tuple[float, float],
) -> list[tuple[int, int]]:
    """Where the dots are, neighbours joined unless a gap is between them."""
    (begin, end), (low, high) = span, between
    found: list[tuple[int, int]] = []
    last: tuple[int, int] | None = None
    for time, value in points:
        if not math.isfinite(value) or time < begin:
            last = None
            continue
        x = round((time - begin) / max(1e-9, end - begin) * (columns - 1))
        y = round((high - value) / (high - low) * (rows - 1))
        x, y = min(max(x, 0), columns - 1), min(max(y, 0), rows - 1)
        if last is not None:
            found += _between(last, (x, y))
        found.append((x, y))
        last = (x, y)
    return found


def _between(a: tuple[int, int], b: tuple[int, int]) -> list[tuple[int, int]]:
    steps = max(abs(b[0] - a[0]), abs(b[1] - a[1]))
    return [
        (a[0] + (b[0] - a[0]) * n // steps, a[1] + (b[1] - a[1]) * n // steps)
        for n in range(1, steps)
    ]
