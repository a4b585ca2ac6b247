"""The cells as bars of their deviation from the mean, with limits drawn.

The scale is honest: it is one of a few round numbers, is written above the bars, and does not grow
to fill the screen, so that 2 mV look like 2 mV."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from rich.text import Text

from bmslink.cli.dashboard.model.bounds import CellBound
from bmslink.cli.dashboard.model.wires import known_wires, outliers
from bmslink.cli.render import text as t
from bmslink.cli.render.text import Glyphs
from bmslink.model import Reading

__all__ = ["bars", "scale_of"]

_SCALES = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
"""What half a bar is at least, V: 50 mV, of which 2 mV are a twenty-fifth."""
_TEXT = 17
"""Columns before the bar: number, voltage, deviation, marks."""
_LEAST = 5
"""Columns of a bar, at least."""
_WIRE = 7
"""Columns behind the bar: the resistance of the wire, and a mark where it stands out."""
_APART = 2


def scale_of(reading: Reading) -> float:
    """What half a bar means, V."""
    known = [v for v in reading.cell_voltages if v is not None]
    if not known:
        return _SCALES[0]
    mean = sum(known) / len(known)
    most = max(abs(v - mean) for v in known)
    return next((scale for scale in _SCALES if most <= scale), math.ceil(most))


def bars(
    reading: Reading, bounds: Sequence[CellBound], width: int, rows: int, g: Glyphs
) -> Iterator[Text]:
    """All cells in at most `rows` lines where that can be, numbered down the columns, below a line
    with the scale and the limits."""
    cells = reading.cell_voltages
    known = [v for v in cells if v is not None]
    if not cells:
        return
    if not known:
        yield Text("no cell voltage is known", "dim")
        return
    wires = _wires(reading) if width >= _TEXT + _LEAST + _WIRE else {}
    beside = _WIRE if wires else 0
    most = max(1, (width + _APART) // (_TEXT + _LEAST + beside + _APART))
    columns = min(most, max(1, math.ceil(len(cells) / max(1, rows - 1))))
    lines = math.ceil(len(cells) / columns)
    room = (width - _APART * (columns - 1)) // columns
    mean, scale = sum(known) / len(known), scale_of(reading)
    bar = max(0, room - _TEXT - beside)
    bar -= 1 - bar % 2  # there is a middle
    marks = _marks(bounds, mean, scale, bar)
    head = f"bars: {1000 * scale:g} mV to either side of the mean {mean:.4f} V"
    yield _scale_line(head, marks, bounds, mean, width)
    for line in range(lines):
        text = Text()
        for column in range(columns):
            n = column * lines + line + 1
            if n > len(cells):
                break
            if column:
                text.append(" " * _APART)
            text.append_text(_cell(n, reading, mean, scale, bar, marks, bounds, g))
            end = (column + 1) * room + column * _APART
            text.append(" " * max(0, end - beside - text.cell_len))
            text.append_text(wires.get(n, Text(" " * beside)))
        yield text


def _wires(reading: Reading) -> dict[int, Text]:
    """What is behind the bar of each cell."""
    known, far = known_wires(reading), outliers(reading)
    found = {}
    for n, ohm in known.items():
        shown = f"{ohm:.3f}" if 0 <= ohm < 9.9995 else f"{ohm:.4g}"[:5]
        found[n] = Text(f"{shown:>{_WIRE - 1}}", "bold yellow not dim" if n in far else "dim")
        found[n].append("!" if n in far else " ")
    return found


def _marks(bounds: Sequence[CellBound], mean: float, scale: float, bar: int) -> dict[int, str]:
    """Column of the bar -> the mark of a limit that is there."""
    found: dict[int, str] = {}
    for bound in bounds:
        share = (bound.volts - mean) / scale
        if bar >= _LEAST and abs(share) <= 1:
            found[round((share + 1) / 2 * (bar - 1))] = bound.mark
    return found


def _scale_line(
    head: str, marks: dict[int, str], bounds: Sequence[CellBound], mean: float, width: int
) -> Text:
    """What the bars mean, and the limits with their distances from the mean."""
    text, shown = Text(head, "dim"), set(marks.values())
    for bound in sorted(bounds, key=lambda b: (b.mark not in "HLhl", abs(b.volts - mean))):
        inside = bound.mark in shown
        word = f"  {bound.mark} {bound.volts:.3f}"
        if text.cell_len + len(word) > width:
            break
        text.append(word, "bold not dim" if inside else "dim")
    return text


def _cell(
    n: int,
    reading: Reading,
    mean: float,
    scale: float,
    bar: int,
    marks: dict[int, str],
    bounds: Sequence[CellBound],
    g: Glyphs,
) -> Text:
    value = reading.cell_voltages[n - 1]
    low, high = t.extremes(reading)
    style = "cyan" if n == low else "yellow" if n == high else ""
    if value is None:
        return Text(f"{n:>2} {g.none:>5}", "dim")
    apart = round(value - mean, 3) + 0.0  # no minus before a zero
    beyond = _beyond(value, bounds)
    text = Text(f"{n:>2} ", "dim")
    text.append(f"{value:.3f}", "bold red" if beyond else f"{style} not dim")
    text.append(f" {1000 * apart:+5.0f}" if abs(apart) < 9.9 else " far", f"{style} not dim")
    text.append(t.cell_marks(n, reading, g), f"bold {style} not dim")
    text.append(beyond or " ", "bold red not dim")
    if bar >= 3:
        text.append_text(_bar(apart / scale, bar, marks, "red" if beyond else style or "green", g))
    return text


def _beyond(value: float, bounds: Sequence[CellBound]) -> str:
    """The mark of a protection that a cell is beyond."""
    for bound in bounds:
        if bound.mark in "HL" and (value >= bound.volts if bound.over else value <= bound.volts):
            return "!"
    return ""


def _bar(share: float, bar: int, marks: dict[int, str], style: str, g: Glyphs) -> Text:
    """A bar from the middle to one side, in eighths of a column to the right where the terminal has
    them; to the left halves, which every font has."""
    middle = bar // 2
    length = min(1.0, abs(share)) * (middle + 0.5)
    steps = 8 if share > 0 else 2
    eighths = round(length * steps) / steps if g.parts else round(length)
    whole, rest = int(eighths), eighths - int(eighths)
    signs = [g.gap if g.parts else " "] * bar
    signs[middle] = g.side
    for step in range(1, whole + 1):
        place = middle + step if share > 0 else middle - step
        if 0 <= place < bar:
            signs[place] = g.full
    end = middle + whole + 1 if share > 0 else middle - whole - 1
    if rest and 0 <= end < bar:
        signs[end] = g.parts[round(rest * 8) - 1] if share > 0 else "▐"
    text = Text()
    for place, sign in enumerate(signs):
        filled = sign not in (g.gap, " ", g.side)
        mark = marks.get(place)
        if mark is not None and not filled:
            text.append(mark, "bold magenta not dim")
        else:
            text.append(sign, f"{style} not dim" if filled else "dim")
    return text
