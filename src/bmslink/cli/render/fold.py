"""Lines as long as a terminal is wide: no word is cut in two, and no number parts from its unit."""

from __future__ import annotations

import re
from collections.abc import Iterator

from bmslink.settings.setting import CONVERSIONS, UNITS

__all__ = ["KEEP", "fold", "spans"]

KEEP = "\u00a0"
"""A space at which no line ends; it is shown as any other."""
_WORD = re.compile(r"`[^`]*`[^ \t]*|[^ \t]+")
"""A command in backticks is pasted: it stays whole where it fits."""
_PLAIN = re.compile(r"[^ \t]+")
_SHOWN = ("W", "Wh", "kWh", "mΩ", "C", "K/min", "d", "dBm", "baud", "ms")
_UNITS = "|".join(sorted(map(re.escape, {*UNITS, *CONVERSIONS, *_SHOWN} - {""}), key=len))
_NUMBER = re.compile(r"[^\w\s]*\d[\d.,:]*|—|-")
_UNIT = re.compile(rf"(?:{_UNITS})[^\w\s]*")
_JOINT = re.compile(r"[/_:?&=,+@-]")
"""Behind these a word may be cut that is longer than a whole line."""


def fold(text: str, width: int) -> list[str]:
    """The lines of one line of text; what follows is indented like the first.

    A word that is longer than a line stays whole: it is a target or a path, and pasted.
    """
    lead = len(text) - len(text.lstrip())
    indent = " " * lead if lead < width // 2 else ""
    found = [text[begin:end] for begin, end in spans(text, width, cut=False)]
    return [found[0], *(indent + line for line in found[1:])] if found else [text]


def spans(text: str, width: int, *, cut: bool = True) -> list[tuple[int, int]]:
    """Where the lines of a text begin and end; the first keeps its indentation, and leaves room
    for the same in front of the others. `cut`: words that are longer than a line."""
    lead = len(text) - len(text.lstrip())
    lead = lead if lead < width // 2 else 0
    lines: list[tuple[int, int]] = []
    start, stop = 0, 0
    for begin, end in _pieces(text, max(8, width - lead), cut=cut):
        room = width - lead if lines else width
        if stop and end - start > room:
            lines.append((start, stop))
            start = begin
        stop = end
    return [*lines, (start, stop)] if stop else []


def _pieces(text: str, width: int, *, cut: bool) -> Iterator[tuple[int, int]]:
    """What is not cut, as far as it fits into a line."""
    for begin, end in _words(text, width):
        at = begin
        while cut and end - at > width:
            joints = [m.end() for m in _JOINT.finditer(text, at, at + width)]
            stop = joints[-1] if joints else at + width
            yield at, stop
            at = stop
        yield at, end


def _words(text: str, width: int) -> Iterator[tuple[int, int]]:
    held: tuple[int, int] | None = None
    for begin, end in _plain_words(text, width):
        if held is not None:
            number = _NUMBER.fullmatch(text, *held) and begin == held[1] + 1
            if number and _UNIT.fullmatch(text, begin, end):
                held = (held[0], end)
                continue
            yield held
        held = (begin, end)
    if held is not None:
        yield held


def _plain_words(text: str, width: int) -> Iterator[tuple[int, int]]:
    for found in _WORD.finditer(text):
        if found.end() - found.start() <= width:
            yield found.span()
        else:
            for word in _PLAIN.finditer(text, *found.span()):
                yield word.span()
