"""The small parts that all renderings are made of: numbers, bars, marks, conditions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from bmslink.cli.render.clean import clean
from bmslink.model import Reading

__all__ = ["ASCII", "UNICODE", "Glyphs", "clean", "glyphs"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Glyphs:
    """The signs of one kind of terminal."""

    full: str
    parts: str
    """A bar's last cell, from nearly empty to nearly full."""
    empty: str
    gap: str
    none: str
    degree: str
    low: str
    high: str
    balance: str
    rule: str
    side: str
    dot: str
    cut: str
    """Where something was left out."""


UNICODE = Glyphs(
    full="█",
    parts="▏▎▍▌▋▊▉",
    empty="░",
    gap="·",
    none="—",
    degree=" °C",
    low="▼",
    high="▲",
    balance="●",
    rule="─",
    side="│",
    dot="·",
    cut="…",
)
ASCII = Glyphs(
    full="#",
    parts="",
    empty=".",
    gap=" ",
    none="-",
    degree=" C",
    low="v",
    high="^",
    balance="*",
    rule="-",
    side="|",
    dot="-",
    cut="...",
)


def glyphs(*, ascii_only: bool) -> Glyphs:
    """The signs to use."""
    return ASCII if ascii_only else UNICODE


def number(value: float | None, digits: int, unit: str, g: Glyphs) -> str:
    """A number with its unit, or the sign for "the BMS does not say"."""
    if value is None:
        return g.none
    return f"{round(value, digits) + 0.0:.{digits}f}{unit}"  # + 0.0: no minus before a zero


def millivolts(volts: float | None, unit: str, g: Glyphs) -> str:
    """A small voltage (V) in whole mV."""
    return number(None if volts is None else 1000 * volts, 0, unit, g)


def bar(share: float, width: int, g: Glyphs) -> str:
    """A bar that is `share` (0 to 1) full."""
    steps = len(g.parts) + 1
    filled = round(min(1.0, max(0.0, share)) * width * steps)
    whole, rest = divmod(filled, steps)
    text = g.full * whole + (g.parts[rest - 1] if rest else "")
    return text + g.empty * (width - len(text))


def shorten(text: str, width: int, g: Glyphs) -> str:
    """Text in at most `width` columns, cut in its middle: targets differ at their ends."""
    if cell_len(text) <= width:
        return text
    room = width - len(g.cut)
    if room < 2:
        return g.cut[: max(0, width)]
    head = set_cell_size(text, room // 2).rstrip() if not text.isascii() else text[: room // 2]
    return head + g.cut + ending(text, (room + 1) // 2)


def ending(text: str, width: int) -> str:
    """The end of a text, in at most `width` columns; signs of some scripts have two."""
    begin = max(0, len(text) - width)
    while cell_len(text[begin:]) > width:
        begin += 1
    return text[begin:]


def padded(text: str, width: int) -> str:
    """Text with blanks behind it up to `width` columns."""
    return text + " " * (width - cell_len(text))


def soc_style(soc: float | None) -> str:
    """Green, yellow or red."""
    if soc is None:
        return "dim"
    return "green" if soc >= 50 else "yellow" if soc >= 20 else "red"


def direction(reading: Reading) -> str:
    """What the current does, in a word."""
    if reading.current is None:
        return ""
    return "charging" if reading.current > 0 else "discharging" if reading.current < 0 else "idle"


def capacity(reading: Reading, g: Glyphs) -> str:
    """What is left of what a full charge holds; each figure says which of the two it is."""
    left, full, nominal = (
        None if value is None else number(value, 1, "", g)
        for value in (reading.remaining_capacity, reading.full_capacity, reading.nominal_capacity)
    )
    if full is None and nominal is None:
        return "" if left is None else f"{left} Ah left"
    text = "" if left is None else f"{left} "
    if full is None:
        return f"{text}of {nominal} Ah (nominal)"
    return f"{text}of {full} Ah" + ("" if nominal is None else f" ({nominal} nominal)")


def extremes(reading: Reading) -> tuple[int | None, int | None]:
    """The first lowest and the first highest cell, from 1; none where all are equal."""
    low, high = reading.min_cell_voltage, reading.max_cell_voltage
    if low == high:
        return None, None
    return reading.cell_voltages.index(low) + 1, reading.cell_voltages.index(high) + 1


def cell_marks(n: int, reading: Reading, g: Glyphs) -> str:
    """Two columns: lowest or highest, and whether it is being balanced."""
    low, high = extremes(reading)
    mark = g.low if n == low else g.high if n == high else " "
    return mark + (g.balance if n in (reading.balancing_cells or ()) else " ")


def balancing(reading: Reading, g: Glyphs) -> str:
    """Which cells are being balanced, as far as the BMS says."""
    if reading.balancing_active is None and reading.balancing_cells is None:
        return g.none
    cells = reading.balancing_cells
    if not (reading.balancing_active or cells):
        return "off"
    text = f"cells {', '.join(map(str, cells))}" if cells else "active"
    if reading.balance_current is not None:
        text += f" at {number(reading.balance_current, 2, ' A', g)}"
    return text


def _states(named: Iterable[tuple[str, bool | None]]) -> list[Text]:
    return [
        Text(f"{name} ").append("on" if value else "off", "green" if value else "yellow")
        for name, value in named
        if value is not None
    ]


def switches(reading: Reading) -> list[Text]:
    """What the BMS says of the software switches; empty where it says nothing."""
    return _states(
        (
            ("charge", reading.charge_switch),
            ("discharge", reading.discharge_switch),
            ("balance", reading.balance_switch),
            ("heater", reading.heater),
        )
    )


def fets(reading: Reading) -> list[Text]:
    """Which FETs conduct; empty where the BMS does not say."""
    return _states(
        (("charge", reading.charging_allowed), ("discharge", reading.discharging_allowed))
    )


def condition_groups(reading: Reading) -> list[Text]:
    """What is wrong, one text per severity, worst first."""
    groups = (
        ("fault", reading.faults, "bold magenta"),
        ("protection", reading.protections, "bold red"),
        ("alarm", reading.alarms, "yellow"),
    )
    return [
        Text(f"{word}: {', '.join(str(name) for name in names)}", style)
        for word, names, style in groups
        if names
    ]


def conditions(reading: Reading, g: Glyphs) -> Text:
    """What is wrong, worst first, in one text."""
    groups = condition_groups(reading)
    if groups:
        return Text(f" {g.side} ").join(groups)
    if not reading.conditions_known:
        return Text(g.none, "dim")
    return Text("none", "green")


def temperatures(reading: Reading, g: Glyphs) -> list[Text]:
    """Each probe with its name."""
    return [
        Text(f"{clean(name)} {number(value, 1, g.degree, g)}")
        for name, value in reading.temperatures.items()
    ]


def flow(items: Iterable[Text], width: int) -> list[Text]:
    """Items side by side on as many lines as they need; none is cut in two."""
    lines: list[Text] = []
    for item in items:
        if lines and lines[-1].cell_len + 2 + item.cell_len <= width:
            lines[-1].append("  ").append_text(item)
        else:
            lines.append(item.copy())
    return lines


def duration(total: float) -> str:
    """A time span in its two largest units."""
    whole = int(total)
    days, hours, minutes, rest = (
        whole // 86400,
        whole // 3600 % 24,
        whole // 60 % 60,
        whole % 60,
    )
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
