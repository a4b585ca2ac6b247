"""Small drawings for tables."""

from __future__ import annotations

from bmslink.reports.pictures.svg import COLOURS
from bmslink.reports.sheet.blocks import Drawing

__all__ = ["deviation_bar", "level_bar"]

_WIDTH, _HEIGHT = 150, 10
_INK, _GRID = "#1d2733", "#c5cdd3"


def deviation_bar(value: float, reach: float) -> Drawing:
    """How far a value is from the middle; `reach` is at the edge. Left of the middle is less, and
    hollow, so that it is clear without colours."""
    middle = _WIDTH / 2
    length = min(1.0, abs(value) / reach) * (middle - 1) if reach > 0 else 0.0
    x = middle - length if value < 0 else middle
    fill = "none" if value < 0 else COLOURS[0]
    return Drawing(
        f'<svg class="bar" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}" '
        f'aria-hidden="true"><rect x="{x:.1f}" y="1.5" width="{length:.1f}" height="7" '
        f'fill="{fill}" stroke="{COLOURS[0]}"/>'
        f'<path d="M{middle} 0V{_HEIGHT}" stroke="{_INK}"/></svg>'
    )


def level_bar(part: float) -> Drawing:
    """A part of the whole, 0 to 1."""
    length = min(1.0, max(0.0, part)) * (_WIDTH - 1)
    return Drawing(
        f'<svg class="bar" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}" '
        f'aria-hidden="true"><rect x=".5" y="1.5" width="{_WIDTH - 1}" height="7" fill="none" '
        f'stroke="{_GRID}"/><rect x=".5" y="1.5" width="{length:.1f}" height="7" '
        f'fill="{COLOURS[0]}"/></svg>'
    )
