"""A picture as text for a terminal, drawn by plotext 5."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import tzinfo
from importlib.util import find_spec
from typing import Any

from bmslink.errors import TargetError
from bmslink.reports.pictures.picture import Panel, Picture
from bmslink.reports.pictures.scales import number, scale_of, time_marks, when

__all__ = ["picture_lines", "require_plotext"]

_COLOURS = ("blue", "orange", "green", "magenta", "yellow", "cyan", "red", "gray")
_SIGNS = "123456789abcdefghijklmnopqrstuvwxyz"
_FRAME = str.maketrans("┌┐└┘├┤┬┴┼─│", "+++++++++-|")
_LEAST_WIDTH = 30
_MOST_NAMED = 12


def require_plotext() -> None:
    """Raises `TargetError` where plotext is missing."""
    if find_spec("plotext") is None:
        raise TargetError(
            "A picture in the terminal needs plotext: install it with "
            "`pip install 'bmslink[plot]'`. `-o FILE.html` and `-o FILE.svg` need nothing more."
        )


def picture_lines(
    picture: Picture,
    *,
    width: int,
    height: int = 13,
    colour: bool = True,
    ascii_only: bool = False,
    zone: tzinfo | None = None,
) -> Iterator[str]:
    """Lines of at most `width` columns, with the colours of a terminal where they are wanted.
    `height`: lines of one panel. Raises `TargetError` where plotext is missing."""
    require_plotext()
    span = f"{when(picture.start, dated=picture.dated, zone=zone, fine=False)} to " + when(
        picture.end, dated=picture.dated, zone=zone, fine=False
    )
    yield _clean(picture.title)
    yield span
    for panel in picture.shown():
        yield ""
        yield _clean(f"{panel.title}, {panel.unit}")
        yield from _drawn(panel, picture, max(_LEAST_WIDTH, width), height, colour=colour,
                          ascii_only=ascii_only, zone=zone)  # fmt: skip
        yield from map(_clean, _named(panel, ascii_only=ascii_only, colour=colour))
    yield from map(_clean, _happened(picture, zone))
    yield from map(_clean, picture.notes)


def _clean(text: str) -> str:
    """Without what steers a terminal: names come from outside."""
    return "".join(c if c.isprintable() else "?" for c in text)


def _drawn(
    panel: Panel,
    picture: Picture,
    width: int,
    height: int,
    *,
    colour: bool,
    ascii_only: bool,
    zone: tzinfo | None,
) -> Iterator[str]:
    import plotext

    plot: Any = plotext
    plot.clear_figure()
    plot.plotsize(width, height)
    plot.theme("clear")
    scale = scale_of(panel, 4)
    start = picture.start
    for place, curve in enumerate(panel.curves):
        marker = _marker(place, len(panel.curves), colour=colour, ascii_only=ascii_only)
        piece: list[tuple[float, float]] = []
        for time, value in [*zip(curve.timeline.times, curve.values, strict=True), (0.0, None)]:
            if value is not None:
                piece.append((time - start, min(scale.high, max(scale.low, value))))
            elif piece:
                xs, ys = [x for x, _ in piece], [y for _, y in piece]
                draw = plot.plot if len(piece) > 1 else plot.scatter
                draw(xs, ys, marker=marker, color=_COLOURS[place % len(_COLOURS)])
                piece = []
    for line in panel.limits:
        if scale.low <= line.value <= scale.high:
            plot.hline(line.value, "red")
    plot.xlim(0, picture.end - start)
    plot.ylim(scale.low, scale.high)
    plot.yticks(scale.marks, [f"{mark:.{scale.digits}f}" for mark in scale.marks])
    marks = time_marks(start, picture.end, width // 14, dated=picture.dated, zone=zone)
    plot.xticks([time - start for time, _ in marks], [label for _, label in marks])
    text = plot.build()
    if not colour:
        text = plot.uncolorize(text)
    if ascii_only:
        text = text.translate(_FRAME).encode("ascii", "replace").decode()
    for line_of_text in text.rstrip("\n").split("\n"):
        yield line_of_text.rstrip()


def _marker(place: int, curves: int, *, colour: bool, ascii_only: bool) -> str:
    """What a curve is drawn with; without colours several differ by their sign."""
    if curves > 1 and not colour:
        return _SIGNS[place % len(_SIGNS)]
    return "*" if ascii_only else "braille"


def _named(panel: Panel, *, ascii_only: bool, colour: bool) -> Iterator[str]:
    """What the curves are, with the last value of each."""
    if len(panel.curves) > 1:
        named = []
        for place, curve in enumerate(panel.curves[:_MOST_NAMED]):
            last = next((v for v in reversed(curve.values) if v is not None), None)
            sign = f"{_SIGNS[place % len(_SIGNS)]}: " if not colour else ""
            named.append(f"{sign}{curve.title} {_plain(number(last, panel.digits), ascii_only)}")
        more = len(panel.curves) - _MOST_NAMED
        yield "  " + ", ".join(named) + (f", and {more} more" if more > 0 else "")
    if panel.limits:
        yield "  Limits: " + ", ".join(
            f"{line.title} {_plain(number(line.value, panel.digits), ascii_only)} {panel.unit}"
            for line in panel.limits
        )


def _plain(text: str, ascii_only: bool) -> str:
    return text.replace("\N{MINUS SIGN}", "-") if ascii_only else text


def _happened(picture: Picture, zone: tzinfo | None) -> Iterator[str]:
    lanes = sorted(picture.lanes, key=lambda lane: (-lane.severity.rank, lane.pack))
    if lanes:
        yield ""
        yield "What happened"
    for lane in lanes:
        first, last = lane.bands[0], lane.bands[-1]
        who = f"{lane.pack}: " if len(picture.packs) > 1 else ""
        times = "once" if len(lane.bands) == 1 else f"{len(lane.bands)} times"
        until = "and lasts" if last.lasting else f"until {_at(picture, last.end, zone)}"
        yield f"  {who}{lane.title}: {times}, from {_at(picture, first.start, zone)} {until}"
    for marker in [*picture.markers][-10:]:
        yield f"  {_at(picture, marker.time, zone)} {marker.text}"


def _at(picture: Picture, time: float, zone: tzinfo | None) -> str:
    return when(time, dated=picture.dated, zone=zone)
