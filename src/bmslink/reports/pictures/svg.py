"""A picture as SVG: for `plot -o FILE.svg`, and a panel at a time for reports.

It is legible in black and white: curves differ by their dashes as well as by their colours.
"""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import tzinfo

from bmslink.events import EventSeverity
from bmslink.reports.pictures.picture import Curve, Lane, Panel, Picture
from bmslink.reports.pictures.scales import Scale, number, scale_of, time_marks, when

__all__ = ["COLOURS", "DASHES", "SEVERITY_COLOURS", "escaped", "picture_svg"]

COLOURS = (
    "#1f5fa8", "#c8501e", "#2f7d4f", "#7a4fa3", "#a3762a", "#2b8a99", "#b03a63", "#5a6b7b",
)  # fmt: skip
DASHES = ("", "7 3", "2 3", "9 3 2 3")
SEVERITY_COLOURS = {
    EventSeverity.INFO: "#8795a1",
    EventSeverity.WARNING: "#c98a00",
    EventSeverity.ALARM: "#c0392b",
    EventSeverity.CRITICAL: "#7d1128",
}
_INK, _SOFT, _GRID = "#1d2733", "#5a6670", "#dfe4e8"
_LEFT, _RIGHT, _GAP = 62.0, 16.0, 16.0
_LINE = 15.0
_TALL = {True: 190.0, False: 130.0}
_LETTER = 6.2
"""Width of a letter of the small text, about; labels are placed with it."""
_STYLE = (
    "text{font:11px system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif;"
    f"fill:{_INK};font-variant-numeric:tabular-nums}}.s{{fill:{_SOFT}}}.h{{font-size:13px;"
    "font-weight:600}.t{font-size:17px;font-weight:600}.c{fill:none;stroke-width:1.4;"
    "stroke-linejoin:round;stroke-linecap:round}"
)


def escaped(text: object) -> str:
    """Text for XML and HTML, in an element or in quotes; characters that XML cannot have are `?`"""
    plain = str(text).encode("utf-8", "replace").decode()
    kept = "".join(c if c in "\t\n" or (ord(c) >= 32 and ord(c) not in _NOT_XML) else "?"
                   for c in plain)  # fmt: skip
    return html.escape(kept)


_NOT_XML = frozenset({*range(0x7F, 0xA0), 0xFFFE, 0xFFFF})


@dataclass(frozen=True, slots=True)
class _Frame:
    """Where a panel is drawn."""

    left: float
    top: float
    width: float
    height: float
    start: float
    end: float

    def x(self, time: float) -> float:
        part = (time - self.start) / (self.end - self.start)
        return self.left + self.width * min(1.0, max(0.0, part))

    def y(self, scale: Scale, value: float) -> float:
        return self.top + self.height * (1 - scale.part(value))


def picture_svg(
    picture: Picture, *, width: int = 1000, zone: tzinfo | None = None, heading: bool = True
) -> str:
    """The whole picture as one SVG document. `zone`: whose clock the times are shown by (`None`:
    this computer's). Numbers in it are points; the text is 11 of them."""
    parts: list[str] = []
    top = 12.0
    if heading:
        top = 56.0
        span = f"{when(picture.start, dated=picture.dated, zone=zone)} to " + when(
            picture.end, dated=picture.dated, zone=zone
        )
        parts += [_text(_LEFT, 26, picture.title, "t"), _text(_LEFT, 44, span, "s")]
    inner = width - _LEFT - _RIGHT
    for panel in picture.shown():
        legend = [*_legend(panel, inner)]
        height = _TALL[len(panel.curves) > 1 or panel.view is not None]
        at = top + 18 + _LINE * len(legend)
        frame = _Frame(_LEFT, at, inner, height, picture.start, picture.end)
        parts.append(_text(_LEFT, top + 11, f"{panel.title}, {panel.unit}", "h"))
        parts += [_legend_row(row, _LEFT, top + 11 + _LINE * n) for n, row in enumerate(legend, 1)]
        parts += _panel(panel, picture, frame, zone)
        top = at + height + _LINE + _GAP
    if picture.lanes or picture.markers:
        top = _lanes(parts, picture, top, inner, zone)
    for note in picture.notes:
        parts.append(_text(_LEFT, top + 8, note, "s"))
        top += _LINE
    height = round(top + 10)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" role="img"><title>{escaped(picture.title)}</title>'
        f"<style>{_STYLE}</style>"
        f'<rect width="{width}" height="{height}" fill="#fff"/>{"".join(parts)}</svg>\n'
    )


def _text(x: float, y: float, text: str, kind: str = "", anchor: str = "") -> str:
    style = f' class="{kind}"' if kind else ""
    where = f' text-anchor="{anchor}"' if anchor else ""
    return f'<text x="{x:.1f}" y="{y:.1f}"{style}{where}>{escaped(text)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, more: str = "") -> str:
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"{more}/>'
    )


def look_of(panel: Panel, place: int) -> tuple[str, str]:
    """Colour and dashes of a curve."""
    if panel.curves[place].limit:
        return _SOFT, "3 3"
    return COLOURS[place % len(COLOURS)], DASHES[place // len(COLOURS) % len(DASHES)]


def _legend(panel: Panel, width: float) -> Iterator[list[tuple[str, str, str]]]:
    """Lines of (text, colour, dashes); none for a single curve that its heading names."""
    entries: list[tuple[str, str, str]] = []
    if len(panel.curves) > 1:
        entries += [(c.title, *look_of(panel, n)) for n, c in enumerate(panel.curves)]
    entries += [
        (f"{line.title} {number(line.value, panel.digits)} {panel.unit}", _SOFT, "6 4")
        for line in panel.limits
    ]
    row: list[tuple[str, str, str]] = []
    used = 0.0
    for entry in entries:
        needed = 30 + _LETTER * min(len(entry[0]), 48)
        if row and used + needed > width:
            yield row
            row, used = [], 0.0
        row.append(entry)
        used += needed
    if row:
        yield row


def _legend_row(row: Sequence[tuple[str, str, str]], x: float, y: float) -> str:
    found = []
    for text, colour, dashes in row:
        shown = text if len(text) <= 48 else f"{text[:47]}…"
        dash = f' stroke-dasharray="{dashes}"' if dashes else ""
        found.append(_line(x, y - 4, x + 16, y - 4, colour, f' stroke-width="1.8"{dash}'))
        found.append(_text(x + 20, y, shown, "s"))
        x += 30 + _LETTER * len(shown)
    return "".join(found)


def _panel(panel: Panel, picture: Picture, at: _Frame, zone: tzinfo | None) -> Iterator[str]:
    scale = scale_of(panel)
    right, bottom = at.left + at.width, at.top + at.height
    yield from _bands(picture, panel, at)
    for mark in scale.marks:
        y = at.y(scale, mark)
        strong = panel.zero and abs(mark) < 1e-9
        yield _line(at.left, y, right, y, _SOFT if strong else _GRID)
        yield _text(at.left - 6, y + 4, number(mark, scale.digits), "s", "end")
    for time, label in time_marks(
        at.start, at.end, int(at.width // 85), dated=picture.dated, zone=zone
    ):
        x = at.x(time)
        yield _line(x, at.top, x, bottom, _GRID)
        if at.left + 14 < x < right - 10:
            yield _text(x, bottom + 13, label, "s", "middle")
    for limit in panel.limits:
        if scale.low <= limit.value <= scale.high:
            y = at.y(scale, limit.value)
            yield _line(at.left, y, right, y, _SOFT, ' stroke-dasharray="6 4"')
    for place, curve in enumerate(panel.curves):
        yield _curve(curve, *look_of(panel, place), at, scale)


def _bands(picture: Picture, panel: Panel, at: _Frame) -> Iterator[str]:
    """Behind the curves: when something had tripped."""
    for lane in picture.lanes:
        if lane.severity.rank < EventSeverity.ALARM.rank or panel.pack not in ("", lane.pack):
            continue
        colour = SEVERITY_COLOURS[lane.severity]
        for band in lane.bands:
            x = at.x(band.start)
            yield (
                f'<rect x="{x:.1f}" y="{at.top:.1f}" width="{max(1.0, at.x(band.end) - x):.1f}" '
                f'height="{at.height:.1f}" fill="{colour}" fill-opacity="0.09"/>'
            )


def _curve(curve: Curve, colour: str, dashes: str, at: _Frame, scale: Scale) -> str:
    pieces: list[str] = []
    piece: list[str] = []
    for time, value in zip(curve.timeline.times, curve.values, strict=True):
        if value is None:
            _end(piece, pieces)
            piece = []
        else:
            piece.append(f"{at.x(time):.1f} {at.y(scale, value):.1f}")
    _end(piece, pieces)
    dash = f' stroke-dasharray="{dashes}"' if dashes else ""
    return f'<path class="c" stroke="{colour}"{dash} d="{"".join(pieces)}"/>'


def _end(piece: Sequence[str], pieces: list[str]) -> None:
    if len(piece) == 1:
        pieces.append(f"M{piece[0]}h.1")  # a dot: nothing is known on either side
    elif piece:
        pieces.append(f"M{piece[0]}L{' '.join(piece[1:])}")


def _lanes(
    parts: list[str], picture: Picture, top: float, width: float, zone: tzinfo | None
) -> float:
    """What came and went, a line each; gives back where it ends."""
    parts.append(_text(_LEFT, top + 11, "What happened", "h"))
    top += 20
    many = len(picture.packs) > 1
    at = _Frame(_LEFT, top, width, 0, picture.start, picture.end)
    lanes = sorted(picture.lanes, key=lambda lane: (-lane.severity.rank, lane.pack, lane.title))
    for lane in lanes:
        parts.append(_text(_LEFT, top + 11, f"{lane.pack}: {lane.title}" if many else lane.title))
        parts.append(_lane(lane, at, top + 15))
        top += 28
    if picture.markers:
        parts.append(_text(_LEFT, top + 11, f"Moments ({len(picture.markers)})"))
        for marker in picture.markers:
            x, colour = at.x(marker.time), SEVERITY_COLOURS[marker.severity]
            said = f"{when(marker.time, dated=picture.dated, zone=zone)} {marker.text}"
            parts.append(
                f'<path d="M{x:.1f} {top + 15:.1f}l4 7h-8z" fill="{colour}">'
                f"<title>{escaped(said)}</title></path>"
            )
        top += 28
    return top + 4


def _lane(lane: Lane, at: _Frame, top: float) -> str:
    right = at.left + at.width
    found = [_line(at.left, top + 4, right, top + 4, _GRID)]
    for band in lane.bands:
        x, colour = at.x(band.start), SEVERITY_COLOURS[lane.severity]
        found.append(
            f'<rect x="{x:.1f}" y="{top:.1f}" width="{max(1.5, at.x(band.end) - x):.1f}" '
            f'height="8" fill="{colour}"><title>{escaped(band.text)}</title></rect>'
        )
    return "".join(found)
