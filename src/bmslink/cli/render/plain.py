"""The last step of everything that is drawn for people."""

from __future__ import annotations

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.segment import Segment

from bmslink.cli.render.clean import clean_lines

__all__ = ["Plain"]


class Plain:
    """Anything that can be drawn, without the characters that steer a terminal: colours are kept
    beside the text until it is clean."""

    def __init__(self, inner: RenderableType) -> None:
        self._inner = inner

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for segment in console.render(self._inner, options):
            if not segment.control:
                yield Segment(clean_lines(segment.text), segment.style)
