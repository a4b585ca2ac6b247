"""The application: keys and clicks go to the desk, what they ask for to the packs, and the desk is
drawn twice a second. Switching off is begun in the very call that takes the key."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar

from textual import events
from textual.app import App, ComposeResult
from textual.binding import BindingType
from textual.filter import LineFilter

from bmslink.cli.dashboard.canvas import Canvas, PlainText
from bmslink.cli.dashboard.desk import Desk, KeyWish
from bmslink.cli.dashboard.drawing import draw
from bmslink.cli.dashboard.keys import Keyboard
from bmslink.cli.dashboard.model.pack import WatchedPack
from bmslink.cli.render.text import Glyphs

if TYPE_CHECKING:
    from textual.driver import Driver

    from bmslink.cli.dashboard.behind import Behind

__all__ = ["Dashboard"]

_TICK = 0.5
_OFF_FIRST = 0.15
"""s after the key that switches off in which nothing is drawn: its frame has the processor."""
MakeBehind = Callable[[Desk, Callable[[], None]], "Behind"]


class Dashboard(App[None]):
    """`behind` makes what reads the packs; it is called after the first frame was drawn, so that
    the screen is there before anything slow begins."""

    CSS = "Screen { background: ansi_default; color: ansi_default; overflow: hidden; }"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = []

    def __init__(
        self,
        packs: Sequence[WatchedPack],
        g: Glyphs,
        behind: MakeBehind,
        *,
        keys: bool = True,
        driver_class: type[Driver] | None = None,
    ) -> None:
        super().__init__(driver_class=driver_class, ansi_color=True)
        self.desk = Desk(list(packs), keys=keys)
        self.keyboard = Keyboard(self.desk)
        self.failure: BaseException | None = None
        """Why it ended, where that was an error."""
        self._glyphs = g
        self._make_behind = behind
        self._behind: Behind | None = None
        self._canvas = Canvas(self._click, self._press, self._paste)
        self._plain = [PlainText()] if os.environ.get("NO_COLOR") else None
        self._left: list[str] = []
        self._early: list[KeyWish] = []
        """What was asked for before there was anything that does it."""
        self._draws_from = 0.0
        self._tasks: set[asyncio.Task[None]] = set()

    # ------------------------------------------------------------------------- textual asks

    def compose(self) -> ComposeResult:
        """The one widget."""
        yield self._canvas

    def get_line_filters(self) -> Sequence[LineFilter]:
        """Plain text under NO_COLOR; else colours as they are, for the terminal's own theme."""
        return self._plain if self._plain is not None else super().get_line_filters()

    def on_mount(self) -> None:
        """Draw, then begin."""
        self._canvas.focus()
        self._draw()
        self.set_interval(_TICK, self._tick)
        self.call_after_refresh(self._begin)

    def on_resize(self, event: events.Resize) -> None:
        """Another size."""
        self._draw()

    async def on_event(self, event: events.Event) -> None:
        """Keys come here before anything else may hold them up."""
        if isinstance(event, events.Key):
            event.stop()
            event.prevent_default()
            printable = event.character is not None and event.is_printable
            self._press(str(event.character) if printable else event.key)
            return
        await super().on_event(event)

    def _handle_exception(self, error: Exception) -> None:
        """The command line says what went wrong, in its own way."""
        self.failure = self.failure or error
        if self.is_headless:
            super()._handle_exception(error)
        else:
            self.exit()

    # ------------------------------------------------------------------------------- drawing

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def _draw(self) -> None:
        size = self.size
        if size.width and size.height and self._now() >= self._draws_from:
            clock = datetime.now().astimezone()
            lines = draw(self.desk, size.width, size.height, self._now(), clock, self._glyphs)
            self._canvas.show(lines)

    def _tick(self) -> None:
        behind = self._behind
        if behind is not None:
            behind.refresh()
            if (error := behind.hopeless()) is not None:
                self._end(error)
                return
        if not getattr(self._driver, "backlog", False):  # a terminal that is slow gets less
            self._draw()

    # --------------------------------------------------------------------------------- doing

    async def _begin(self) -> None:
        self._behind = self._make_behind(self.desk, self._draw)
        self._behind.start(self._spawn)
        for wish in self._early:
            self._grant(wish)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._end(error)

    def _end(self, error: BaseException) -> None:
        self.failure = self.failure or error
        self.exit()

    def left_behind(self) -> list[str]:
        """What a change that was cut off leaves behind, in sentences."""
        return self._left

    @property
    def behind(self) -> Behind | None:
        """What reads the packs; `None` until the first frame was drawn."""
        return self._behind

    @property
    def shown(self) -> list[str]:
        """The text on the screen."""
        return self._canvas.plain

    async def stop(self) -> None:
        """End what was begun."""
        if self._behind is not None:
            self._left = self._behind.left()
        tasks = [*self._tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _press(self, key: str) -> None:
        self._grant(self.keyboard.press(key, self._now()))

    def _click(self, meta: dict[str, object]) -> None:
        self._grant(self.keyboard.click(meta, self._now()))

    def _paste(self, text: str) -> None:
        self.keyboard.paste(text)
        self._draw()

    def _grant(self, wish: KeyWish | None) -> None:
        """Do what a key asks for; what it changed is drawn afterwards."""
        behind = self._behind
        if wish is None:
            pass
        elif wish.do == "quit":
            if behind is not None and behind.writing:
                self.desk.say("A change is being written and proven: wait for its end.", "bold red")
            else:
                self.exit()
        elif wish.do == "interrupt":
            self._end(KeyboardInterrupt())
        elif wish.do == "suspend":
            self.action_suspend_process()
        elif behind is None:
            self._early.append(wish)
        else:
            behind.grant(wish)
            if wish.do == "off":
                self._draws_from = self._now() + _OFF_FIRST
                self.set_timer(1.1 * _OFF_FIRST, self._draw)
        self._draw()
