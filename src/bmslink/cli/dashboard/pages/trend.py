"""One pack over time: how far its cells spread, its current, its temperatures."""

from __future__ import annotations

from datetime import datetime, timedelta

from rich.text import Text

from bmslink.cli.dashboard.model.memory import SeenHistory
from bmslink.cli.dashboard.model.pack import WatchedPack
from bmslink.cli.dashboard.pages.chart import Curve, chart
from bmslink.cli.dashboard.pages.fit import rule, wrapped
from bmslink.cli.render import text as t
from bmslink.cli.render.text import Glyphs

__all__ = ["SPANS", "trend_lines"]

SPANS = (300.0, 3600.0, 6 * 3600.0, 24 * 3600.0, 7 * 24 * 3600.0)
"""What the keys [ and ] choose from, s."""
_STYLES = ("red", "yellow", "green", "cyan", "blue", "magenta")
_SIGNS = "abcdefghijkl"


def trend_lines(
    pack: WatchedPack,
    stored: SeenHistory | None,
    source: str,
    span: float,
    width: int,
    height: int,
    now: float,
    clock: datetime,
    g: Glyphs,
) -> list[Text]:
    """Three charts that fill the height. `stored`: what the service kept, on the same clock."""
    history = pack.history if stored is None or not len(stored) else stored.then(pack.history)
    begin, end = now - span, now
    since = (clock - timedelta(seconds=span)).strftime("%H:%M" if span < 86400 else "%m-%d %H:%M")
    said = f"the last {t.duration(span)}, from {since} to now; [ and ] change it. {source}"
    lines = wrapped(said, width, "dim")
    room = max(3, (height - len(lines) - 3) // 3)
    between = (begin, end)
    spread = [row for row in history.spread() if row[0] >= begin]
    lines.append(rule("cells: lowest and highest, mV from the mean of all", width, g))
    curves: list[Curve] = [
        ("v", "cyan", [(time, 1000 * low) for time, low, _ in spread]),
        ("^", "yellow", [(time, 1000 * high) for time, _, high in spread]),
    ]
    lines += chart(curves, width, room, between, g, least=20.0, digits=0, zero=True)
    lines.append(rule("current, A (charging is above 0)", width, g))
    curves = [("*", "green", _since(history.series("current"), begin))]
    lines += chart(curves, width, room, between, g, least=2.0, digits=1, zero=True)
    names = [name for name in history.names if name.startswith("temperature ")]
    names = [name for name in names if any(value == value for _, value in history.series(name))]
    told = ", ".join(
        f"{_SIGNS[n % len(_SIGNS)]} {t.clean(name.removeprefix('temperature '))}"
        for n, name in enumerate(names)
    )
    lines.append(rule(f"temperature,{g.degree}: {told}"[: width - 4], width, g))
    curves = [
        (_SIGNS[n % len(_SIGNS)], _STYLES[n % len(_STYLES)], _since(history.series(name), begin))
        for n, name in enumerate(names)
    ]
    lines += chart(curves, width, room, between, g, least=4.0, digits=1)
    return lines


def _since(points: list[tuple[float, float]], begin: float) -> list[tuple[float, float]]:
    return [point for point in points if point[0] >= begin]
