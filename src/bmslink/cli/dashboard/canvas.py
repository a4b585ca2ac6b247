"""The one widget of the dashboard: lines of text, of which only those are drawn that changed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich.segment import Segment
from rich.text import Text
from textual import events
from textual.color import Color
from textual.filter import LineFilter
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from bmslink.cli.dashboard.pages.fit import meta_at

__all__ = ["Canvas", "PlainText"]


class PlainText(LineFilter):
    """NO_COLOR: no colours, and nothing else that a terminal is steered with."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """The same text without any style."""
        return [Segment(text) for text, _, control in segments if not control]


class Canvas(Widget, can_focus=True):
    """Shows lines; tells clicks by what is shown there, and the wheel as keys."""

    DEFAULT_CSS = "Canvas { width: 100%; height: 100%; }"

    def __init__(
        self,
        clicked: Callable[[dict[str, object]], None],
        pressed: Callable[[str], None],
        pasted: Callable[[str], None],
    ) -> None:
        super().__init__()
        self._clicked = clicked
        self._pressed = pressed
        self._pasted = pasted
        self._lines: list[Text] = []
        self._strips: dict[int, Strip] = {}

    def show(self, lines: Sequence[Text]) -> None:
        """Draw what differs from before."""
        old, self._lines = self._lines, list(lines)
        changed = [
            n
            for n, line in enumerate(self._lines)
            if n >= len(old) or line != old[n] or line.style != old[n].style
        ]
        if len(old) != len(self._lines):
            self._strips.clear()
            self.refresh()
        elif changed:
            for n in changed:
                self._strips.pop(n, None)
            self.refresh(*(Region(0, n, self.size.width, 1) for n in changed))

    @property
    def plain(self) -> list[str]:
        """The text of the lines."""
        return [line.plain for line in self._lines]

    def render_line(self, y: int) -> Strip:
        """One line, for textual."""
        strip = self._strips.get(y)
        if strip is None:
            if y < len(self._lines):
                line = self._lines[y]
                line.end = ""
                strip = self._strip(line)
            else:
                strip = Strip.blank(self.size.width)
            self._strips[y] = strip
        return strip

    def _strip(self, line: Text) -> Strip:
        console = self.app.console
        segments = line.render(console)
        if not line.spans:  # then rich leaves the style of the whole to who prints it
            segments = Segment.apply_style(segments, console.get_style(line.style))
        return Strip(segments).adjust_cell_length(self.size.width)

    def on_resize(self) -> None:
        """Nothing of before fits."""
        self._strips.clear()

    def on_click(self, event: events.Click) -> None:
        """What was clicked says what it means."""
        event.stop()
        if 0 <= event.y < len(self._lines):
            self._clicked(meta_at(self._lines[event.y], event.x))

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """As the key."""
        event.stop()
        self._pressed("down")

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """As the key."""
        event.stop()
        self._pressed("up")

    def on_paste(self, event: events.Paste) -> None:
        """Text for the line that is typed."""
        event.stop()
        self._pasted(event.text)
