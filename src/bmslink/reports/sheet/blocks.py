"""What a rendered sheet is made of, before it is HTML: texts and tables, all plain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["UNKNOWN", "Block", "Drawing", "FactRows", "Paragraphs", "Section", "SheetTable"]

UNKNOWN = "not known"


@dataclass(frozen=True, slots=True)
class Drawing:
    """An SVG of our own making: the one thing that is not escaped."""

    svg: str
    kind: str = "drawing"


@dataclass(frozen=True, slots=True)
class FactRows:
    """Names and values."""

    rows: Sequence[tuple[str, str]]
    kind: str = "facts"


@dataclass(frozen=True, slots=True)
class Paragraphs:
    """Sentences; `strong` ones are what a reader must not miss."""

    lines: Sequence[str]
    strong: bool = False
    kind: str = "text"


@dataclass(frozen=True, slots=True)
class SheetTable:
    """Rows below a head, which is repeated on every page."""

    head: Sequence[str]
    align: str
    """A letter a column: `l` or `r` (numbers)."""
    rows: Sequence[Sequence[str | Drawing]]
    marked: frozenset[int] = frozenset()
    """Rows that stand out."""
    kind: str = "table"


Block = Drawing | FactRows | Paragraphs | SheetTable


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and what is below it."""

    title: str
    blocks: Sequence[Block]
    page: bool = False
    """It begins on a new page where it is printed."""
