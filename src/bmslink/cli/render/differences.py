"""What differs between packs, backups and profiles: a column for each side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table as Grid
from rich.text import Text

from bmslink.cli.render.text import Glyphs, clean

if TYPE_CHECKING:
    from bmslink.config.files.compare import Difference

__all__ = ["table"]

_WIDE, _LONG = 3, 20
"""More sides, or longer names, do not fit beside each other on 80 columns: they are numbered."""
_GAP = 2
"""Between two columns."""


def table(
    found: Sequence[Difference], names: Sequence[str], g: Glyphs, width: int
) -> RenderableType:
    """A row for each setting. Columns that do not fit in the width follow below, beside the names
    of the settings again; where not even one fits, each setting is a list."""
    numbered = len(names) > _WIDE or any(len(name) > _LONG for name in names)
    heads = [f"[{n}]" if numbered else clean(name) for n, name in enumerate(names, 1)]
    above = [Text(f"[{n}] {clean(name)}", "dim") for n, name in enumerate(names, 1)]
    columns = [
        [g.none if each.shown[at] is None else clean(str(each.shown[at])) for each in found]
        for at in range(len(names))
    ]
    keys = [each.key for each in found]
    room = width - max(map(len, ("setting", *keys))) - _GAP
    longest = [max(map(len, (head, *cells))) for head, cells in zip(heads, columns, strict=True)]
    parts: list[RenderableType] = list(above) if numbered else []
    if room < min(max(longest), _LONG):
        parts += _lists(keys, heads, columns)
    else:
        for number, block in enumerate(_blocks(longest, room)):
            parts += [Text("")] if number else []
            parts.append(_grid(keys, [(heads[at], columns[at]) for at in block]))
    if any(text is None for each in found for text in each.shown):
        parts.append(Text(f"{g.none}: the profile does not say.", "dim"))
    return Group(*parts)


def _blocks(longest: Sequence[int], room: int) -> Iterator[list[int]]:
    """The columns that fit beside each other."""
    block: list[int] = []
    used = -_GAP
    for at, size in enumerate(longest):
        used += _GAP + size
        if block and used > room:
            yield block
            block, used = [], size
        block.append(at)
    yield block


def _grid(keys: Sequence[str], columns: Sequence[tuple[str, Sequence[str]]]) -> Grid:
    grid = Grid(box=None, pad_edge=False, header_style="dim")
    grid.add_column("setting", no_wrap=True)
    for head, _cells in columns:
        grid.add_column(Text(head), overflow="fold")
    for row, key in enumerate(keys):
        grid.add_row(key, *(Text(cells[row]) for _head, cells in columns))
    return grid


def _lists(
    keys: Sequence[str], heads: Sequence[str], columns: Sequence[Sequence[str]]
) -> Iterator[Text]:
    for row, key in enumerate(keys):
        yield Text(key, "bold")
        for head, cells in zip(heads, columns, strict=True):
            yield Text(f"  {head} {cells[row]}")
