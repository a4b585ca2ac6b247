"""The screen of `bmslink monitor`: keys, resizes, and the packs being polled behind it."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Sequence
from datetime import datetime

from rich.console import Console, ConsoleOptions, RenderResult

from bmslink.board import Board
from bmslink.cli.output import Session
from bmslink.cli.render.monitor import PackView, screen
from bmslink.cli.render.text import Glyphs
from bmslink.cli.streams import is_terminal
from bmslink.cli.terminal import keyboard, when_resized, when_suspended
from bmslink.errors import BmsError, LinkTimeout, Refused
from bmslink.model import Reading
from bmslink.polling import poll

__all__ = ["dashboard"]

_INTERVAL = 1.0
_REFRESH = 0.5


class _Screen:
    """What the views look like in the terminal as large as it is at this moment."""

    def __init__(self, views: Sequence[PackView], g: Glyphs, *, keys: bool) -> None:
        self.views = list(views)
        self.glyphs = g
        self.keys = keys

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield from screen(
            self.views,
            console.size.width,
            console.size.height,
            asyncio.get_running_loop().time(),
            self.glyphs,
            clock=datetime.now().astimezone(),
            keys=self.keys,
        )


async def dashboard(session: Session, devices: Sequence[Board], g: Glyphs) -> None:
    """Show the packs until `q`. Raises the error if none of them could be opened at all."""
    news = asyncio.Event()
    quit_wanted = asyncio.Event()
    keys = is_terminal(sys.stdin)
    views = [PackView(d.target.label, _INTERVAL) for d in devices]

    def on_key(key: str) -> None:
        if key in "qQ\x03":
            quit_wanted.set()
            news.set()

    async with asyncio.TaskGroup() as group:
        followers = [
            group.create_task(_follow(device, view, news))
            for device, view in zip(devices, views, strict=True)
        ]
        live = session.live(_Screen(views, g, keys=keys))
        with contextlib.ExitStack() as stack:
            reader = contextlib.ExitStack()

            def enter() -> None:
                if keys:
                    reader.enter_context(keyboard(on_key))
                live.start(refresh=True)

            def leave() -> None:
                with contextlib.suppress(OSError):  # the terminal is gone
                    live.stop()
                reader.close()

            stack.callback(leave)
            enter()
            stack.enter_context(when_resized(news.set))
            stack.enter_context(when_suspended(leave, enter))
            while not quit_wanted.is_set() and not _all_failed(followers):
                live.refresh()
                news.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_REFRESH):
                        await news.wait()
        for follower in followers:
            follower.cancel()
    errors = [e for f in followers if not f.cancelled() and (e := f.result()) is not None]
    if errors and len(errors) == len(devices):
        raise errors[0]


def _all_failed(followers: Sequence[asyncio.Task[Exception | None]]) -> bool:
    return all(f.done() and f.result() is not None for f in followers)


async def _follow(device: Board, view: PackView, news: asyncio.Event) -> Exception | None:
    """Keep a view up to date; gives back what made it end, if that was an error."""
    loop = asyncio.get_running_loop()

    def tell(result: Reading | BmsError) -> None:
        view.take(result, loop.time())
        news.set()

    async def greet(device: Board) -> None:
        with contextlib.suppress(LinkTimeout, Refused):  # the readings are what matters here
            view.identity = await device.identify()

    try:
        # a recording holds what was asked then; asking for more would skip over its answers
        asked = None if device.target.scheme == "replay" else greet
        await poll(device, tell, interval=_INTERVAL, greet=asked)
    except BmsError as error:
        tell(error)
        return error
    view.over = True
    news.set()
    return None
