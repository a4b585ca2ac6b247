"""All packs: the bank in three lines, then a line for each, those that need somebody first."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from rich.text import Text

from bmslink.cli.dashboard.model.bank import BankSums
from bmslink.cli.dashboard.model.pack import WatchedPack
from bmslink.cli.dashboard.model.ranking import PackTrouble, summary, trouble
from bmslink.cli.dashboard.pages.fit import duty, wrapped
from bmslink.cli.render import text as t
from bmslink.cli.render.text import Glyphs

__all__ = ["age_of", "bank_lines", "below", "header", "row", "time_words"]

SIGNS = {
    PackTrouble.TRIPPED: ("!!", "bold red"),
    PackTrouble.UNSEEN: ("??", "bold magenta"),
    PackTrouble.ALARM: ("! ", "bold yellow"),
    PackTrouble.OFF: ("o ", "yellow"),
    PackTrouble.QUIET: (". ", "dim"),
    PackTrouble.NONE: ("  ", ""),
}
"""What stands before a pack: it says it where there are no colours, too."""
_NUMBERS = (("SOC", 6), ("V", 7), ("A", 8), ("mV", 5), ("age", 7))
_SMALL = sum(width for _, width in _NUMBERS) + 4
_NAME = (10, 32)
_WIDE = 110
_WARM = (("coolest", 8), ("warmest", 8))


def time_words(seconds: float | None, *, charging: bool) -> str:
    """Until full, or empty."""
    if seconds is None:
        return ""
    return f"{'full' if charging else 'empty'} in {t.duration(60 * round(seconds / 60))}"


def bank_lines(sums: BankSums, width: int, now: float, g: Glyphs) -> list[Text]:
    """The whole bank: what flows, how full it is, and the worst of everything."""
    count = f"{sums.packs} pack{'s' * (sums.packs != 1)}"
    line = Text(count, "bold")
    if sums.live < sums.packs:
        line.append(f", {sums.live} live", "bold magenta")
    parts = [
        t.number(sums.current, 1, " A", g),
        _power(sums.power, g),
        f"SOC {_between(sums.soc, 0, ' %', g)}",
    ]
    for part in filter(None, parts):
        line.append(f"   {part}", "bold")
    line.append(f"   {time_words(sums.seconds, charging=sums.charging)}".rstrip())
    if sums.limits is not None:
        takes, gives = (t.number(each, 0, " A", g) for each in sums.limits)
        may = f"   may take {takes}, give {gives}"
        line.append(may if line.cell_len + len(may) <= width else "")
    worst = Text("worst: ", "dim")
    if sums.worst is not None:
        level, said = trouble(sums.worst, now), summary(sums.worst, now)
        sign, style = SIGNS[level]
        if level > PackTrouble.QUIET and said:
            worst.append(f"{sign} {_name(sums.worst, _NAME[1], g)} ", f"{style} not dim")
            worst.append(", ".join(said), f"{style} not dim")
        else:
            worst.append("nothing is wrong" if sums.live else "nothing is known yet", "not dim")
    cells = Text("cells ", "dim")
    for value, digits, unit, factor in (
        (sums.lowest_cell, 3, " V", 1),
        (sums.highest_cell, 3, " V", 1),
        (sums.delta, 0, " mV", 1000),
        (sums.coldest, 1, g.degree, 1),
        (sums.warmest, 1, g.degree, 1),
    ):
        if value is not None:
            of = f" {t.shorten(t.clean(value[1]), 12, g)}" if sums.packs > 1 else ""
            extra = f"{t.number(factor * value[0], digits, unit, g)}{of}"
            if cells.cell_len + len(extra) + 2 <= width:
                cells.append(f"{extra}  ", "not dim")
    return [line, worst, cells]


def _power(value: float | None, g: Glyphs) -> str:
    if value is None:
        return g.none
    return f"{value / 1000:.2f} kW" if abs(value) >= 10000 else t.number(value, 0, " W", g)


def _between(pair: tuple[float, float] | None, digits: int, unit: str, g: Glyphs) -> str:
    if pair is None:
        return g.none
    low, high = (t.number(v, digits, "", g) for v in pair)
    return (
        f"{low}{unit}" if low == high else f"{low} to {high}{unit} (spread {pair[1] - pair[0]:.0f})"
    )


def _widths(packs: Sequence[WatchedPack], width: int) -> tuple[int, bool]:
    """Columns of a name, and whether there is room for temperatures."""
    longest = max((cell_len(t.clean(p.name)) for p in packs), default=_NAME[0])
    warm = width >= _WIDE
    room = width - _SMALL - 22 - warm * sum(w for _, w in _WARM)
    return max(_NAME[0], min(longest, room, _NAME[1] + max(0, width - _WIDE))), warm


def header(packs: Sequence[WatchedPack], width: int) -> Text:
    """The names of the columns."""
    name, warm = _widths(packs, width)
    text = Text(f"   {'pack':<{name}} ", "dim")
    for title, columns in (*_NUMBERS, *(_WARM if warm else ())):
        text.append(f"{title:>{columns}}")
    return text.append("  what is wrong, and what is off")


def age_of(pack: WatchedPack, now: float, *, paused: bool = False) -> tuple[str, str]:
    """How old the reading is, and a style: what is old never looks live."""
    fresh = pack.freshness(now)
    if pack.reading is None:
        return ("-", "dim")
    age = pack.age(now)
    text = f"{age:.1f}s" if age < 10 else f"{age:.0f}s" if age < 600 else f"{age / 60:.0f}min"
    if fresh == "live" and not paused:
        return text, "green"
    return text, "bold magenta"


def row(
    pack: WatchedPack,
    packs: Sequence[WatchedPack],
    width: int,
    now: float,
    g: Glyphs,
    *,
    chosen: bool,
    paused: bool = False,
) -> list[Text]:
    """A pack: one line, and more where what is wrong with it needs them."""
    name, warm = _widths(packs, width)
    level, said = trouble(pack, now), summary(pack, now)
    sign, style = SIGNS[level]
    old = pack.freshness(now) != "live" or paused
    text = Text(">" if chosen else " ").append(sign, style)
    text.append(f"{t.padded(_name(pack, name, g), name)} ", "bold" if chosen else "none")
    for value, columns in _numbers(pack, g):
        shade = "dim" if old else t.soc_style(_soc(pack)) if value.endswith("%") else "none"
        text.append(f"{value:>{columns}}", shade)
    age, shade = age_of(pack, now, paused=paused)
    place = text.cell_len
    text.append(f"{age:>{_NUMBERS[-1][1]}}  ", shade)
    if warm:
        text = _warm_after(text, place + _NUMBERS[-1][1], pack, g, old)
    if level == PackTrouble.NONE and said:
        style = "dim"
    told = said or _untold(pack)
    indent = min(max(0, width - 12), 3 + name + 1)
    lines = _packed(told, max(12, width - text.cell_len), max(12, width - indent))
    found = [text.append(lines[0], style)]
    found += [Text(" " * indent).append(line, style) for line in lines[1:]]
    if pack.remark:
        found += [
            Text("   ").append_text(line) for line in wrapped(pack.remark, width - 3, "magenta")
        ]
    if chosen:
        found = [Text(t.padded(line.plain, width), f"{style} reverse") for line in found]
    return [duty(line, {"pack": id(pack)}) for line in found]


def _packed(items: Sequence[str], first: int, width: int) -> list[str]:
    """Items on lines, the first of which is shorter; none is cut in two where it fits one."""
    lines = [""]
    for n, item in enumerate(items):
        piece = item + ", " * (n + 1 < len(items))
        room = first if len(lines) == 1 else width
        if lines[-1] and len(lines[-1]) + len(piece.rstrip()) > room:
            lines.append("")
        lines[-1] += piece
    return [line.rstrip() for line in lines]


def _soc(pack: WatchedPack) -> float | None:
    return None if pack.reading is None else pack.reading.soc


def _untold(pack: WatchedPack) -> list[str]:
    reading = pack.reading
    if reading is None:
        return ["connecting ..."]
    return [] if reading.conditions_known else ["alarms unknown"]


def _numbers(pack: WatchedPack, g: Glyphs) -> list[tuple[str, int]]:
    reading = pack.reading
    widths = [width for _, width in _NUMBERS]
    if reading is None:
        return [(g.none, width) for width in widths[:-1]]
    values = (
        t.number(reading.soc, 0, " %", g),
        t.number(reading.voltage, 2, "", g),
        t.number(reading.current, 1, "", g),
        t.millivolts(reading.cell_delta, "", g),
    )
    return list(zip(values, widths[:-1], strict=True))


def _warm_after(text: Text, place: int, pack: WatchedPack, g: Glyphs, old: bool) -> Text:
    """The coolest and the warmest probe, behind the age."""
    reading = pack.reading
    probes = [] if reading is None else [v for v in reading.temperatures.values() if v is not None]
    head = text[:place]
    for value, (_, columns) in zip(
        (min(probes, default=None), max(probes, default=None)), _WARM, strict=True
    ):
        head.append(f"{t.number(value, 1, '', g):>{columns}}", "dim" if old else "none")
    return head.append("  ")


def _name(pack: WatchedPack, width: int, g: Glyphs) -> str:
    return t.shorten(t.clean(pack.name), width, g)


def below(hidden: Sequence[WatchedPack], now: float, g: Glyphs, where: str = "below") -> Text:
    """How many packs have no room, and how bad the worst of them is."""
    worst = max(hidden, key=lambda pack: trouble(pack, now))
    level, said = trouble(worst, now), summary(worst, now)
    text = Text(f"   {len(hidden)} more {where}: ", "dim")
    if level <= PackTrouble.QUIET:
        return text.append("nothing is wrong with them")
    sign, style = SIGNS[level]
    text.append(f"{sign} {_name(worst, _NAME[1], g)} {said[0]}", f"{style} not dim")
    also = sum(trouble(pack, now) > PackTrouble.QUIET for pack in hidden) - 1
    return text.append(f", and {also} with trouble" if also else "")
