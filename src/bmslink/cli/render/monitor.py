"""The dashboard: what each pack says, fitted into the terminal, one line of text at a time.

Every pack has the same lines, each with a rank. Where they do not fit, the least needed go first,
then the cells get more columns. Nothing that is old is shown as if it were live.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

from rich.text import Text

from bmslink.cli.render import text as t
from bmslink.cli.render.read import cell_summary, health
from bmslink.cli.render.text import Glyphs
from bmslink.model import Condition, Identity, Reading

__all__ = ["PackView", "screen"]

HISTORY = 1000
_PACK_WIDTH = 38  # a pack in a narrower column could not show its own line
_PACK_HEIGHT = 5
_CELL_WIDTH = 11
_NAME, _TOLD = 24, 2  # of a pack that has no room: its name's width, and how many conditions
_WIDE = 60  # columns from which on the long forms are used
_HEADER, _CELLS, _ALL = 3, 4, 9  # ranks: a line is shown while its rank is at most the limit


@dataclass(slots=True)
class PackView:
    """What is known about one pack. Times are those of one steady clock, in seconds."""

    target: str
    interval: float = 1.0
    identity: Identity | None = None
    reading: Reading | None = None
    received: float | None = None
    error: str | None = None
    """Why the latest try gave no reading."""
    over: bool = False
    """Nothing more will come."""
    history: deque[float | None] = field(default_factory=lambda: deque(maxlen=HISTORY))
    """The current of each poll, A; `None` for a poll that failed."""

    def take(self, news: Reading | Exception, now: float) -> None:
        """A poll gave a reading, or an error."""
        if isinstance(news, Exception):
            self.error = str(news)
            self.history.append(None)
            return
        self.reading, self.received, self.error = news, now, None
        self.history.append(news.current)

    def age(self, now: float) -> float:
        """Seconds since the reading was received."""
        return max(0.0, now - self.received) if self.received is not None else math.inf

    def stale(self, now: float) -> bool:
        """Whether the reading no longer says how the pack is."""
        late = self.age(now) > 3 * self.interval + 2
        return self.over or self.error is not None or late


def screen(
    views: list[PackView],
    width: int,
    height: int,
    now: float,
    g: Glyphs,
    *,
    clock: datetime | None = None,
    keys: bool = True,
) -> list[Text]:
    """Exactly `height` lines, each exactly `width` wide."""
    per_row = max(1, min(len(views), (width + 3) // (_PACK_WIDTH + 3)))
    fit = max(1, (height - 1) // _PACK_HEIGHT)
    rows = min(fit, math.ceil(len(views) / per_row))
    shown = views[: rows * per_row]
    pack_width = (width - 3 * (per_row - 1)) // per_row
    lines: list[Text] = []
    for row in range(rows):
        pack_height = (height - 1) // rows + (row < (height - 1) % rows)
        columns = [
            _pack(view, pack_width, pack_height, now, g)
            for view in shown[row * per_row : (row + 1) * per_row]
        ]
        between = Text(f" {g.side} ", "dim")
        lines += [between.join(parts) for parts in zip(*columns, strict=True)]
    lines.append(_footer(views[len(shown) :], now, g, clock, keys=keys))
    return [_fit(line, width, g) for line in lines[-height:]]


def _fit(line: Text, width: int, g: Glyphs) -> Text:
    """The line at exactly this width; a mark shows where its end is missing."""
    line = line.copy()
    if line.cell_len > width:
        mark = g.cut[:width]
        line.truncate(width - len(mark), overflow="crop")
        line.append(mark)
    line.truncate(width, overflow="crop", pad=True)
    return line


def _footer(
    hidden: list[PackView], now: float, g: Glyphs, clock: datetime | None, *, keys: bool
) -> Text:
    parts = ["q quits" if keys else "Ctrl-C quits"]
    line = Text(style="dim")
    if troubles := [f"{_name(view, g)} {why}" for view in hidden if (why := _trouble(view, now))]:
        also = f", and {len(troubles) - 1} with trouble" if len(troubles) > 1 else ""
        line.append(f"{len(hidden)} more: {troubles[0]}{also}", "not dim bold red")
        line.append(f"  {g.dot}  ")
    elif hidden:
        parts.append(f"{len(hidden)} more: enlarge the terminal")
    parts.append(f"{g.high} highest  {g.low} lowest  {g.balance} balancing")
    if clock is not None:
        parts.append(f"{clock:%H:%M:%S}")
    return line.append(f"  {g.dot}  ".join(parts))


def _name(view: PackView, g: Glyphs) -> str:
    return t.shorten(t.clean(view.target), _NAME, g)


def _trouble(view: PackView, now: float) -> str:
    """Why somebody should look at a pack that has no room on the screen; empty: all is well."""
    reading = view.reading
    if reading is None:
        return "no answer" if view.error else ""
    found: list[str] = [*(reading.protections or ()), *(reading.faults or ())]
    found += [name for name in reading.alarms or () if name != Condition.FULLY_CHARGED]
    if view.stale(now):
        found.insert(0, "ENDED" if view.over else "STALE")
    return ", ".join(found[:_TOLD]) + (", ..." if len(found) > _TOLD else "")


def _pack(view: PackView, width: int, height: int, now: float, g: Glyphs) -> list[Text]:
    """One pack in exactly `height` lines of `width`."""
    stale = view.reading is not None and view.stale(now)
    lines = [_title(view, width, now, g)]
    if view.error is not None:
        why = _wrapped(view.error, width, "bold red")
        room = max(1, height - 4)
        if len(why) > room:
            why[room - 1].append(f" {g.cut}")
        lines += why[:room]
    if view.reading is not None:
        body = _body(view, view.reading, width, height - len(lines), g)
        if stale:  # an old value looks old, also where there is no colour
            body = [Text(line.plain, "dim") for line in body]
            body[0] = Text("last known ", "dim").append_text(body[0])
        lines += body
    elif view.error is None:
        lines.append(Text("connecting ..." if not view.over else "no reading came", "dim"))
    lines += [Text()] * (height - len(lines))
    return [_fit(line, width, g) for line in lines[:height]]


def _wrapped(sentence: str, width: int, style: str) -> list[Text]:
    """A sentence on as many lines as it needs."""
    lines, line = [], ""
    for word in t.clean(sentence).split():
        if line and len(line) + 1 + len(word) > width:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}".lstrip()
    return [Text(text, style) for text in [*lines, line]]


def _title(view: PackView, width: int, now: float, g: Glyphs) -> Text:
    """The name on the left, how fresh the values are on the right."""
    state, style = _state(view, now)
    room = max(0, width - len(state) - 2)
    name = t.shorten(t.clean(view.target), room, g)
    identity = view.identity
    if identity is not None:
        for detail in filter(None, (identity.model, identity.firmware)):
            if len(name) + 2 + len(detail) > room:
                break
            name += f"  {t.clean(detail)}"
    text = Text(f"{name} ", "bold")
    text.append(g.rule * max(0, width - len(name) - len(state) - 2), "not bold dim")
    text.append(f" {state}", style)
    return text


def _state(view: PackView, now: float) -> tuple[str, str]:
    if view.reading is None:
        return ("no answer", "bold red") if view.error else ("waiting", "yellow")
    age = t.duration(view.age(now)) if view.age(now) >= 60 else f"{view.age(now):.1f} s"
    if view.over:
        return f"ENDED, last value {age} ago", "bold yellow"
    if view.stale(now):
        return f"STALE, last value {age} ago", "bold red"
    return f"live, {age}", "green"


def _body(view: PackView, reading: Reading, width: int, height: int, g: Glyphs) -> list[Text]:
    """As many lines as fit, the least needed dropped first."""
    ranked = list(_ranked(view, reading, width, g))
    cells = reading.cell_voltages
    for limit in range(_ALL, -1, -1):
        fixed = sum(rank <= limit for rank, _ in ranked if rank != _CELLS)
        room = height - fixed
        if room < 0:
            continue
        if not cells or limit < _CELLS:
            break
        if room and math.ceil(len(cells) / room) * _CELL_WIDTH <= width:
            break
    lines: list[Text] = []
    for rank, line in ranked:
        if rank == _CELLS and limit >= _CELLS:
            lines += _cell_grid(reading, width, room, g)
        elif rank <= limit and rank != _CELLS:
            lines.append(line)
    return lines


def _ranked(view: PackView, reading: Reading, width: int, g: Glyphs) -> Iterator[tuple[int, Text]]:
    """The lines in the order in which they are shown, each with its rank (0 is needed most)."""
    yield 0, _pack_line(reading, width, g)
    yield 1, _soc_line(reading, width, g)
    yield 7, _spark_line(view, width, g)
    yield 9, Text()
    if reading.cell_voltages:
        yield _HEADER, _cell_line(reading, width, g)
        yield _CELLS, Text()
        bottom, top = _scale(reading)
        yield 9, Text(f"bars from {bottom:.3f} to {top:.3f} V", "dim")
    for line in _switch_lines(reading, width, g):
        yield 5, line
    for line in _flowing("temperature", t.temperatures(reading, g), width):
        yield 6, line
    yield 5, _labelled("balancing", Text(t.balancing(reading, g)))
    if health(reading, g):
        yield 8, _labelled("life", Text(health(reading, g)))
    for line in _condition_lines(reading, width, g):
        yield 2, line


def _labelled(label: str, value: Text) -> Text:
    text = Text(f"{label:<12}", "dim")
    value.style = value.style or "not dim"
    text.append_text(value)
    return text


def _pack_line(reading: Reading, width: int, g: Glyphs) -> Text:
    text = Text()
    for value, digits, unit in (
        (reading.voltage, 2, " V"),
        (reading.current, 2, " A"),
        (reading.power, 0, " W"),
    ):
        text.append(f"{t.number(value, digits, unit, g)}   ", "bold")
    if width >= _WIDE:
        text.append(t.direction(reading))
    return text


def _soc_line(reading: Reading, width: int, g: Glyphs) -> Text:
    amount = t.capacity(reading, g)
    if width < _WIDE:
        amount = amount.partition(" (")[0]
    tail = f" {t.number(reading.soc, 0, ' %', g)}  {amount}".rstrip()
    text = Text("SOC ", "dim")
    if reading.soc is not None:
        space = max(4, min(40, width - len(tail) - 5))
        text.append(t.bar(reading.soc / 100, space, g), f"not dim {t.soc_style(reading.soc)}")
    text.append(tail, "not dim")
    return text


def _cell_line(reading: Reading, width: int, g: Glyphs) -> Text:
    if width >= _WIDE:
        return _labelled("cells", Text(cell_summary(reading, g)))
    low, high = reading.min_cell_voltage, reading.max_cell_voltage
    return Text(
        f"{len(reading.cell_voltages)} cells {t.number(low, 3, '', g)} to "
        f"{t.number(high, 3, ' V', g)}, {t.millivolts(reading.cell_delta, ' mV', g)}"
    )


def _spark_line(view: PackView, width: int, g: Glyphs) -> Text:
    known = [v for v in view.history if v is not None]
    if not known:
        return Text(f"current {g.none}", "dim")
    span = f" {t.number(min(known), 1, '', g)} to {t.number(max(known), 1, ' A', g)}"
    text = Text("current ", "dim")
    text.append(t.sparkline(view.history, max(1, width - 8 - len(span)), g), "not dim cyan")
    text.append(span)
    return text


def _flowing(label: str, items: list[Text], width: int) -> list[Text]:
    """Items behind a label, on as many lines as they need."""
    lines = t.flow(items, max(1, width - 12))
    return [_labelled("" if n else label, line) for n, line in enumerate(lines)]


def _switch_lines(reading: Reading, width: int, g: Glyphs) -> list[Text]:
    switches, fets = t.switches(reading), t.fets(reading)
    if not switches and not fets:
        return [_labelled("switches", Text(g.none))]
    together = [Text("switches", "dim"), *switches] if switches else []
    together += [Text("FETs", "dim"), *fets] if fets else []
    line = Text("  ").join(together)
    if line.cell_len <= width:
        return [line]
    return _flowing("switches", switches, width) + _flowing("FETs", fets, width)


def _condition_lines(reading: Reading, width: int, g: Glyphs) -> Iterator[Text]:
    """All conditions on one line where they fit, otherwise each severity on its own."""
    line = _labelled("conditions", t.conditions(reading, g))
    if line.cell_len <= width:
        yield line
        return
    for group in t.condition_groups(reading):
        yield from _wrapped(group.plain, width, str(group.style))


def _scale(reading: Reading) -> tuple[float, float]:
    """The voltages at the two ends of a cell's bar: the pack's own, with a margin."""
    low, high = reading.min_cell_voltage or 0.0, reading.max_cell_voltage or 0.0
    margin = max(0.005, 0.15 * (high - low))
    return max(0.0, low - margin), high + margin


def _cell_grid(reading: Reading, width: int, rows: int, g: Glyphs) -> list[Text]:
    """All cells with their bars in at most `rows` lines, numbered down the columns."""
    count = len(reading.cell_voltages)
    columns = math.ceil(count / rows)
    rows = math.ceil(count / columns)
    low, high = t.extremes(reading)
    bottom, top = _scale(reading)
    cell_width = width // columns
    lines = [Text() for _ in range(rows)]
    for n, value in enumerate(reading.cell_voltages, 1):
        style = "cyan" if n == low else "yellow" if n == high else "none"
        text = f"{n:>2} {t.number(value, 3, '', g):>5}{t.cell_marks(n, reading, g)}"
        line = lines[(n - 1) % rows]
        line.append(text, style)
        space = cell_width - len(text) - 1
        if value is not None and space > 2:
            share = (value - bottom) / (top - bottom)
            line.append(t.bar(share, space, g), "green" if style == "none" else style)
            line.append(" ")
        else:
            line.append(" " * max(1, space + 1))
    return lines
