"""Tables and sentences in the columns that a terminal has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from bmslink.cli.render.fold import KEEP, spans

__all__ = ["Column", "Prose", "Table", "folded", "kept"]

_GAP = 2
_NARROWEST = 16
"""A column of sentences is no narrower beside others, columns."""
_COMFORTABLE = 24
"""It is no narrower for the sake of a column that could be left out."""
_INDENT = 2


def folded(text: Text, width: int) -> list[Text]:
    """The lines of a text, with its styles; a line end in it ends a line."""
    lines: list[Text] = []
    for part in text.split(allow_blank=True):
        plain = part.plain
        lead = len(plain) - len(plain.lstrip())
        indent = Text(" " * lead if lead < width // 2 else "")
        for number, (begin, end) in enumerate(spans(plain, width)):
            line = part[begin:end]
            if KEEP in line.plain:
                line.plain = line.plain.replace(KEEP, " ")
            lines.append(Text.assemble(indent, line) if number and indent else line)
    return lines or [Text()]


def kept(text: Text) -> Text:
    """The same as one word, in which no line ends."""
    whole = text.copy()
    whole.plain = whole.plain.replace(" ", KEEP)
    return whole


class Prose:
    """A text that is cut between its words."""

    def __init__(self, text: str | Text, style: str = "") -> None:
        self._text = Text(text, style) if isinstance(text, str) else text

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield from folded(self._text, options.max_width)


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of a table."""

    name: str = ""
    prose: bool = False
    """Sentences: they are cut between words where the room ends."""
    spare: bool = False
    """It is left out where the room does not do."""
    labelled: bool = False
    """Its name stands before each value where the columns do not fit beside each other."""
    right: bool = False


class Table:
    """Rows of cells: in columns where they fit, else each row as a few lines of its own.

    A cell that is no sentence is never cut.
    """

    def __init__(self, *columns: Column) -> None:
        self._columns = columns
        self._rows: list[list[Text] | Text] = []

    def add(self, *cells: str | Text) -> None:
        """A row."""
        self._rows.append([Text(cell) if isinstance(cell, str) else cell for cell in cells])

    def head(self, title: str) -> None:
        """A line over the rows that follow."""
        self._rows.append(Text(title, "bold"))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        widths = self._widths(options.max_width)
        if widths is None:
            yield from self._stacked(options.max_width)
        else:
            yield from self._beside(widths)

    def _widths(self, room: int) -> dict[int, int] | None:
        """Column -> its width, of those that are shown; `None` where they do not fit."""
        cells = [row for row in self._rows if not isinstance(row, Text)]
        natural = {
            n: max([len(column.name), *(row[n].cell_len for row in cells)])
            for n, column in enumerate(self._columns)
        }
        natural = {n: width for n, width in natural.items() if width}
        prose = [n for n in natural if self._columns[n].prose]
        give = max((natural[n] - _COMFORTABLE for n in prose), default=0)
        for spare in [n for n in natural if self._columns[n].spare]:
            if _total(natural) - max(0, give) > room:
                del natural[spare]
        over = _total(natural) - room
        if over > 0 and prose:
            widest = max(prose, key=lambda n: natural[n])
            left = natural[widest] - over
            if left < min(_NARROWEST, natural[widest]):
                return None
            natural[widest] = left
        elif over > 0:
            return None
        return natural

    def _beside(self, widths: dict[int, int]) -> Iterator[Text]:
        if any(column.name for column in self._columns):
            names = [Text(column.name, "dim") for column in self._columns]
            yield from self._line(names, widths)
        for row in self._rows:
            if isinstance(row, Text):
                yield row
            else:
                yield from self._line(row, widths)

    def _line(self, cells: Sequence[Text], widths: dict[int, int]) -> Iterator[Text]:
        parts = {n: folded(cells[n], width) for n, width in widths.items()}
        for number in range(max(map(len, parts.values()))):
            line = Text()
            for n, width in widths.items():
                part = parts[n][number] if number < len(parts[n]) else Text()
                space = " " * (width - part.cell_len)
                right = self._columns[n].right
                line.append_text(Text.assemble(space, part) if right else part + space)
                line.append(" " * _GAP)
            line.rstrip()
            yield line

    def _stacked(self, room: int) -> Iterator[Text]:
        for row in self._rows:
            if isinstance(row, Text):
                yield from folded(row, room)
                continue
            line = Text()
            for column, cell in zip(self._columns, row, strict=True):
                if column.spare or not cell.plain.strip():
                    continue
                shown = Text.assemble((f"{column.name} ", "dim"), cell) if column.labelled else cell
                if line.cell_len and line.cell_len + _GAP + shown.cell_len > room:
                    yield line
                    line = Text(" " * _INDENT)
                elif line.cell_len:
                    line.append(" " * _GAP)
                *whole, line = folded(line + shown, room)
                yield from whole
            yield line


def _total(widths: dict[int, int]) -> int:
    return sum(widths.values()) + _GAP * max(0, len(widths) - 1)
