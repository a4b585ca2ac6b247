"""A reading as a block of lines, or as one line of a list."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from bmslink.cli.render import text as t
from bmslink.cli.render.fit import Column, Prose, Table, kept
from bmslink.cli.render.fold import KEEP
from bmslink.cli.render.text import Glyphs
from bmslink.model import Reading

__all__ = ["HEADER", "block", "brief", "line"]

_PER_ROW = 8
_COLUMNS = (
    ("time", 8),
    ("voltage", 9),
    ("current", 10),
    ("power", 9),
    ("SOC", 6),
    ("min V", 7),
    ("max V", 7),
    ("mV", 5),
    ("warmest", 9),
)
HEADER = "".join(f"{name:>{width}}" for name, width in _COLUMNS) + "  conditions"
"""`mV` is the distance between the lowest and the highest cell."""


def block(reading: Reading, g: Glyphs) -> RenderableType:
    """Everything a reading says, for people."""
    table = Table(Column(), Column(prose=True))
    for label, value in _rows(reading, g):
        table.add(Text(label, "dim"), value)
    return Group(Prose(t.clean(_label(reading)), "bold"), table)


def _label(reading: Reading) -> str:
    place = reading.target or reading.protocol
    return f"{reading.name} ({place})" if reading.name else place


def _rows(reading: Reading, g: Glyphs) -> Iterator[tuple[str, Text]]:
    if reading.time is not None:
        yield "time", Text(f"{reading.time.astimezone():%Y-%m-%d %H:%M:%S %z}")
    pack = Text()
    for value, digits, unit in (
        (reading.voltage, 2, " V"),
        (reading.current, 2, " A"),
        (reading.power, 0, " W"),
    ):
        pack.append(f"{t.number(value, digits, unit, g)}   ", "bold")
    pack.append(t.direction(reading))
    yield "pack", pack
    yield "charge", _charge(reading, g)
    if reading.cell_voltages:
        yield from _cells(reading, g)
    if reading.temperatures:
        yield "temperature", _beside(t.temperatures(reading, g))
    if t.switches(reading):
        yield "switches", _beside(t.switches(reading))
    if t.fets(reading):
        yield "FETs", _beside(t.fets(reading))
    yield "balancing", Text(t.balancing(reading, g))
    for n, group in enumerate(t.condition_groups(reading) or [t.conditions(reading, g)]):
        yield "" if n else "conditions", group
    life = health(reading, g)
    if life:
        yield "life", Text(life)


def _beside(items: Sequence[Text]) -> Text:
    """Items beside each other; none is cut in two."""
    return Text("  ").join(map(kept, items))


def _charge(reading: Reading, g: Glyphs) -> Text:
    if reading.soc is None:
        return Text(f"{g.none}   {t.capacity(reading, g)}".rstrip())
    text = Text(t.bar(reading.soc / 100, 20, g), t.soc_style(reading.soc))
    text.append(f" {t.number(reading.soc, 0, ' %', g)}   {t.capacity(reading, g)}".rstrip(), "none")
    return text


def health(reading: Reading, g: Glyphs) -> str:
    """State of health, cycles and uptime, as far as they are known."""
    parts = []
    if reading.soh is not None:
        parts.append(f"health {t.number(reading.soh, 0, ' %', g)}")
    if reading.cycles is not None:
        parts.append(f"{reading.cycles} cycles")
    if reading.cycle_capacity is not None:
        parts.append(f"{t.number(reading.cycle_capacity, 0, ' Ah', g)} in its life")
    if reading.uptime is not None:
        parts.append(f"up {t.duration(reading.uptime)}")
    return "   ".join(parts)


def cell_summary(reading: Reading, g: Glyphs) -> str:
    """How many cells, the lowest, the highest and the distance between them."""
    low, high = t.extremes(reading)

    def named(value: float | None, cell: int | None) -> str:
        which = f" (cell {cell})" if cell is not None else ""
        return t.number(value, 3, " V", g) + which

    return (
        f"{len(reading.cell_voltages)}   min {named(reading.min_cell_voltage, low)}   "
        f"max {named(reading.max_cell_voltage, high)}   "
        f"delta {t.millivolts(reading.cell_delta, ' mV', g)}"
    )


def _cells(reading: Reading, g: Glyphs) -> Iterator[tuple[str, Text]]:
    yield "cells", Text(cell_summary(reading, g).replace("(cell ", f"(cell{KEEP}"))
    low, high = t.extremes(reading)
    cells = list(enumerate(reading.cell_voltages, 1))
    for start in range(0, len(cells), _PER_ROW):
        row = Text()
        for n, value in cells[start : start + _PER_ROW]:
            style = "cyan" if n == low else "yellow" if n == high else ""
            entry = f"{t.number(value, 3, '', g):>5}{t.cell_marks(n, reading, g)} "
            row.append(entry, style)
        row.rstrip()
        yield f"{start + 1:>11}", row


def line(reading: Reading, g: Glyphs, label: str = "") -> Text:
    """A reading in one line, in the columns of `HEADER`."""
    when = f"{reading.time.astimezone():%H:%M:%S}" if reading.time is not None else g.none
    probes = [v for v in reading.temperatures.values() if v is not None]
    values = (
        when,
        t.number(reading.voltage, 2, " V", g),
        t.number(reading.current, 2, " A", g),
        t.number(reading.power, 0, " W", g),
        t.number(reading.soc, 0, " %", g),
        t.number(reading.min_cell_voltage, 3, "", g),
        t.number(reading.max_cell_voltage, 3, "", g),
        t.millivolts(reading.cell_delta, "", g),
        t.number(max(probes, default=None), 1, g.degree, g),
    )
    text = Text(label)
    for (name, width), value in zip(_COLUMNS, values, strict=True):
        text.append(f"{value:>{width}}", t.soc_style(reading.soc) if name == "SOC" else "none")
    text.append("  ")
    text.append_text(t.conditions(reading, g))
    return text


def brief(reading: Reading, g: Glyphs, label: str = "") -> Text:
    """The same for a terminal that is narrower than `HEADER`: each value says what it is."""
    when = f"{reading.time.astimezone():%H:%M:%S}" if reading.time is not None else g.none
    probes = [v for v in reading.temperatures.values() if v is not None]
    low, high = (
        t.number(value, 3, " V", g)
        for value in (reading.min_cell_voltage, reading.max_cell_voltage)
    )
    values = (
        f"{label}{when}",
        t.number(reading.voltage, 2, " V", g),
        t.number(reading.current, 2, " A", g),
        t.number(reading.power, 0, " W", g),
        f"SOC {t.number(reading.soc, 0, ' %', g)}",
        f"min {low}",
        f"max {high}",
        f"delta {t.millivolts(reading.cell_delta, ' mV', g)}",
        f"warmest {t.number(max(probes, default=None), 1, g.degree, g)}",
    )
    return Text("  ").join([*map(kept, map(Text, values)), t.conditions(reading, g)])
