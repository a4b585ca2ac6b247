"""One pack, live: everything it says now, in the order of what matters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from rich.text import Text

from bmslink.cli.dashboard.model.bank import time_left
from bmslink.cli.dashboard.model.bounds import CellBound, nearest
from bmslink.cli.dashboard.model.pack import ConditionSeen, WatchedPack
from bmslink.cli.dashboard.model.wires import known_wires, outliers
from bmslink.cli.dashboard.model.words import meaning, short
from bmslink.cli.dashboard.pages.cells import bars
from bmslink.cli.dashboard.pages.fit import flowing, labelled, wrapped
from bmslink.cli.dashboard.pages.listing import time_words
from bmslink.cli.render import text as t
from bmslink.cli.render.read import health
from bmslink.cli.render.text import Glyphs
from bmslink.model import Condition, Reading

__all__ = ["live_lines", "since_words", "state_words"]

_STYLES = {"fault": "bold magenta", "protection": "bold red", "alarm": "bold yellow"}
_LIMITS = (("ccl", "charge", " A"), ("dcl", "discharge", " A"), ("cvl", "charge to", " V"))


def since_words(since: datetime, clock: datetime, *, before: bool = False) -> str:
    """Since when, by the clock and as a span."""
    local = since.astimezone(clock.tzinfo)
    day = "" if local.date() == clock.date() else f"{local:%Y-%m-%d} "
    span = t.duration(max(0.0, (clock - since).total_seconds()))
    head = "since before" if before else "since"
    return f"{head} {day}{local:%H:%M:%S} ({span})"


def state_words(pack: WatchedPack, now: float) -> tuple[str, str]:
    """How fresh it is, for the title; with a style."""
    fresh, age = pack.freshness(now), pack.age(now)
    shown = t.duration(age) if 60 <= age < 1e9 else f"{age:.1f} s"
    if fresh == "waiting":
        return "waiting", "yellow"
    if pack.reading is None:
        return "no answer", "bold magenta"
    if fresh == "live":
        return f"live, {shown}", "green"
    word = {"ended": "ENDED", "lost": "LINK LOST", "silent": "STALE", "late": "STALE"}[fresh]
    return f"{word}, last value {shown} ago", "bold magenta"


def live_lines(
    pack: WatchedPack,
    bounds: Sequence[CellBound],
    width: int,
    height: int,
    now: float,
    clock: datetime,
    g: Glyphs,
) -> list[Text]:
    """All lines; more than `height` where the terminal is small."""
    lines = [line for trouble in _trouble(pack, width, clock) for line in trouble]
    reading = pack.reading
    if reading is None:
        if not pack.error and not pack.over:
            lines.append(Text("connecting ...", "dim"))
        return lines
    rest = [*_after_cells(pack, reading, bounds, width, g)]
    top = [_pack_line(pack, reading, now, g), _soc_line(reading, width, g)]
    room = height - len(lines) - len(top) - len(rest)
    cells = [*bars(reading, bounds, width, room, g)]
    if len(cells) > room and pack.off():  # the line that says it is below the screen
        lines += wrapped(f"o {', '.join(pack.off())}", width, "bold yellow", 3)
    body = [*top, *lines, *cells, *rest]
    if pack.freshness(now) != "live":  # an old value looks old, also where there is no colour
        body = [Text(line.plain, "dim") if line not in lines else line for line in body]
        body[0] = Text("last known ", "dim").append_text(body[0])
    return body


def _trouble(pack: WatchedPack, width: int, clock: datetime) -> Iterator[list[Text]]:
    if pack.other and pack.other_since is not None:
        since = since_words(pack.other_since, clock)
        yield wrapped(
            f"?? another board answers {since}: {pack.other}. a accepts it; until then nothing is "
            "switched or written from here.",
            width,
            "bold magenta",
            3,
        )
    if pack.error:
        yield wrapped(f"?? {pack.error}", width, "bold magenta", 3)
    for seen in pack.wrong():
        yield wrapped(_in_words(seen, clock), width, _STYLES[seen.kind], 3)
    if pack.remark:
        yield wrapped(pack.remark, width, "magenta")


def _in_words(seen: ConditionSeen, clock: datetime) -> str:
    sign = "! " if seen.kind == "alarm" else "!!"
    told = meaning(seen.name)
    since = since_words(seen.since, clock, before=seen.before)
    return f"{sign} {seen.kind}: {short(seen.name)} {since}{': ' if told else ''}{told}"


def _pack_line(pack: WatchedPack, reading: Reading, now: float, g: Glyphs) -> Text:
    text = Text()
    for value, digits, unit in (
        (reading.voltage, 2, " V"),
        (reading.current, 2, " A"),
        (reading.power, 0, " W"),
    ):
        text.append(f"{t.number(value, digits, unit, g)}   ", "bold")
    seconds, charging = time_left(pack, now)
    parts = [t.direction(reading), time_words(seconds, charging=charging)]
    return text.append("   ".join(filter(None, parts)))


def _soc_line(reading: Reading, width: int, g: Glyphs) -> Text:
    tail = f" {t.number(reading.soc, 0, ' %', g)}  {t.capacity(reading, g)}".rstrip()
    text = Text("SOC ", "dim")
    if reading.soc is not None:
        space = max(4, min(40, width - len(tail) - 5))
        text.append(t.bar(reading.soc / 100, space, g), f"not dim {t.soc_style(reading.soc)}")
    return text.append(tail, "not dim")


def _after_cells(
    pack: WatchedPack,
    reading: Reading,
    bounds: Sequence[CellBound],
    width: int,
    g: Glyphs,
) -> Iterator[Text]:
    if reading.cell_voltages:
        low, high = t.extremes(reading)
        items = [
            f"min {t.number(reading.min_cell_voltage, 3, ' V', g)}{_of(low)}",
            f"max {t.number(reading.max_cell_voltage, 3, ' V', g)}{_of(high)}",
            f"delta {t.millivolts(reading.cell_delta, ' mV', g)}",
        ]
        if (near := nearest(bounds, reading.cell_voltages)) is not None:
            bound, far = near
            way = "to" if far > 0 else "beyond"
            items.append(f"{1000 * abs(far):.0f} mV {way} {bound.title} ({bound.mark})")
        yield from flowing("cells", [Text(item) for item in items], width)
    else:
        yield labelled("cells", Text(f"{g.none} (the board gives no cell voltages)"))
    yield labelled("balancing", Text(t.balancing(reading, g)))
    states = [*_headed("switches", t.switches(reading)), *_headed("FETs", t.fets(reading))]
    yield from flowing("switched", states or [Text(g.none)], width)
    if reading.temperatures:
        yield from flowing("temperature", t.temperatures(reading, g), width)
    yield from _wires(reading, width)
    full = f"alarms/{Condition.FULLY_CHARGED}" in pack.conditions
    if not any(pack.wrong()):
        none = Text("none", "green") if reading.conditions_known else Text(f"{g.none} (unknown)")
        yield labelled("conditions", Text("fully charged: nothing is wrong") if full else none)
    yield from limit_lines(pack, width)
    if life := health(reading, g):
        yield labelled("life", Text(life))


def _headed(title: str, items: list[Text]) -> list[Text]:
    """What they are is said with the first of them, on whichever line that is."""
    return [Text(f"{title} ", "dim").append_text(items[0]), *items[1:]] if items else []


def _of(cell: int | None) -> str:
    return "" if cell is None else f" (cell {cell})"


def _wires(reading: Reading, width: int) -> list[Text]:
    """The balance wires: the lowest, the highest, and those that stand out; each is beside its
    bar."""
    known = known_wires(reading)
    if not known:
        return []
    low, high = min(known, key=known.__getitem__), max(known, key=known.__getitem__)
    items = [f"{known[low]:.3f} (cell {low}) to {known[high]:.3f} ohm (cell {high})"]
    far = sorted(outliers(reading))
    if far:
        cells = f"cell{'s' * (len(far) > 1)} {', '.join(map(str, far))}"
        items.append(f"! {cells} far above the others: look at the contact")
    return flowing("wires", [Text(item, "bold yellow" * (item[0] == "!")) for item in items], width)


def limit_lines(pack: WatchedPack, width: int) -> Iterator[Text]:
    """What its policies allow, each with the reason that binds it."""
    items = []
    for key, title, unit in _LIMITS:
        limit = pack.limits.get(key)
        if isinstance(limit, dict) and isinstance(limit.get("value"), int | float):
            reasons = limit.get("reasons") or [{}]
            why = t.clean(str(reasons[0].get("text") or reasons[0].get("policy") or ""))
            items.append(f"{title} {limit['value']:.1f}{unit}{f': {why}' if why else ''}")
    for n, item in enumerate(items):
        for line in wrapped(item, width - 12, indent=2):
            yield labelled("" if n else "limits", line)
