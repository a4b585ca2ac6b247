"""Lines that fit: exactly as wide as the terminal, wrapped at words, and marked where cut."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rich.cells import cell_len, chop_cells
from rich.style import Style
from rich.text import Text

from bmslink.cli.render import text as t
from bmslink.cli.render.text import Glyphs

__all__ = ["button", "duty", "exactly", "flowing", "labelled", "meta_at", "rule", "wrapped"]

LABEL = 12
"""Columns of a label."""


def exactly(line: Text, width: int, g: Glyphs) -> Text:
    """The line at exactly this width; a mark shows where its end is missing."""
    line = line.copy()
    line.no_wrap = True
    if line.cell_len > width:
        mark = g.cut[:width]
        line.truncate(width - len(mark), overflow="crop")
        line.append(mark)
    line.truncate(width, overflow="crop", pad=True)
    return line


def wrapped(sentence: str, width: int, style: str = "", indent: int = 0) -> list[Text]:
    """A sentence on as many lines as it needs; all but the first are indented. A word that is
    longer than a line, as a target may be, is broken."""
    lines, line, room = [], "", max(1, width)
    longest = room - min(indent, room - 1)
    pieces = (piece for word in t.clean(sentence).split() for piece in _pieces(word, longest))
    for word in pieces:
        if line.strip() and cell_len(line) + 1 + cell_len(word) > room:
            lines.append(line)
            line = " " * min(indent, room - 1) + word
        else:
            line = f"{line} {word}" if line.strip() else line + word
    return [Text(text, style) for text in [*lines, line]]


def _pieces(word: str, longest: int) -> Iterable[str]:
    """A word, broken where it is longer than a line."""
    return [word] if cell_len(word) <= longest else chop_cells(word, longest)


def labelled(label: str, value: Text) -> Text:
    """A value behind its label."""
    text = Text(f"{label:<{LABEL}}", "dim")
    value = value.copy()
    value.style = value.style or "not dim"
    return text.append_text(value)


def flowing(label: str, items: Iterable[Text], width: int) -> list[Text]:
    """Items behind a label, on as many lines as they need; none is cut in two."""
    lines = t.flow(items, max(1, width - LABEL))
    return [labelled("" if n else label, line) for n, line in enumerate(lines)]


def rule(title: str, width: int, g: Glyphs) -> Text:
    """A heading."""
    text = Text(f"{g.rule * 2} ", "dim").append(title, "bold not dim").append(" ")
    return text.append(g.rule * max(0, width - text.cell_len), "dim")


def button(text: str, style: str, **meta: Any) -> Text:
    """Text that does something when it is clicked: `meta` says what."""
    return Text(text, Style.parse(style or "none") + Style(meta=meta))


def duty(line: Text, meta: Mapping[str, Any]) -> Text:
    """The whole line does something when it is clicked."""
    line = line.copy()
    line.stylize(Style(meta=dict(meta)))
    return line


def meta_at(line: Text, column: int) -> dict[str, Any]:
    """What a click on a column of a line means."""
    found: dict[str, Any] = {}
    index = _index(line.plain, column)
    for style in (line.style, *(s.style for s in line.spans if s.start <= index < s.end)):
        if isinstance(style, Style) and style.meta:
            found.update(style.meta)
    return found


def _index(text: str, column: int) -> int:
    place = 0
    for index, character in enumerate(text):
        place += Text(character).cell_len
        if column < place:
            return index
    return len(text)
