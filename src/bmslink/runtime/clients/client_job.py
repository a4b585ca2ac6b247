"""Work for one client of the service: its progress, its signs of life, and how it ends.

A change goes on whatever becomes of its client.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, Protocol

from bmslink.errors import BmsError
from bmslink.service_errors import error_form
from bmslink.storage.journal import acting_for

__all__ = ["ClientJob", "TellClient", "Work", "finish_changes"]

_ALIVE = 5.0
"""How often a client is shown that its job lives, s."""
_NOTES = 256
"""News of a job that wait for a client that reads slowly; the newest are kept."""


class TellClient(Protocol):
    """Takes news of a job for its client."""

    def __call__(self, doing: str, done: int, total: int) -> None:
        """How far it is."""

    def note(self, text: str) -> None:
        """What the client has to know meanwhile, in a sentence."""


Work = Callable[[TellClient], Awaitable[Any]]

_CHANGES: set[asyncio.Task[Any]] = set()
"""Those under way that go on without their clients."""


def _ended(task: asyncio.Task[Any]) -> None:
    _CHANGES.discard(task)
    if not task.cancelled():
        task.exception()  # nobody may be left to hear it


async def finish_changes(within: float) -> None:
    """Wait for the changes under way: the service is to end, and a change is not cut off for that
    while it ends in time, s."""
    mine = [task for task in _CHANGES if task.get_loop() is asyncio.get_running_loop()]
    if mine:
        await asyncio.wait(mine, timeout=within)


class _News:
    """What waits to be shown to a client; the oldest goes where it is too much."""

    def __init__(self) -> None:
        self.waiting: asyncio.Queue[dict[str, Any]] = asyncio.Queue(_NOTES)

    def __call__(self, doing: str, done: int, total: int) -> None:
        self._put({"progress": [doing, done, total]})

    def note(self, text: str) -> None:
        """A sentence."""
        self._put({"note": text})

    def _put(self, news: dict[str, Any]) -> None:
        if self.waiting.full():
            self.waiting.get_nowait()
        self.waiting.put_nowait(news)


class ClientJob:
    """One piece of work for a client: its progress, and how it ends."""

    def __init__(self, work: Work, peer: Mapping[str, Any], *, lasts: bool = False) -> None:
        """`lasts`: it goes on when the client has gone."""
        self._lasts = lasts
        self._tell = _News()
        self._task = asyncio.create_task(self._do(work, peer))
        if lasts:
            _CHANGES.add(self._task)
            self._task.add_done_callback(_ended)

    async def _do(self, work: Work, peer: Mapping[str, Any]) -> Any:
        with acting_for(peer):
            return await work(self._tell)

    async def result(self) -> Any:
        """What came of it; raises what it raises."""
        try:
            return await (asyncio.shield(self._task) if self._lasts else self._task)
        finally:
            self._leave()

    async def lines(self) -> AsyncGenerator[dict[str, Any], None]:
        """Progress, notes, a sign of life at once and every few seconds, and the end."""
        try:
            yield {"taken": True}
            while not self._task.done():
                news = asyncio.ensure_future(self._tell.waiting.get())
                try:
                    await asyncio.wait(
                        {news, self._task}, timeout=_ALIVE, return_when=asyncio.FIRST_COMPLETED
                    )
                finally:
                    news.cancel()
                with suppress(asyncio.CancelledError):
                    if news.done() and not news.cancelled():
                        yield news.result()
                    elif not self._task.done():
                        yield {"alive": True}
            while not self._tell.waiting.empty():
                yield self._tell.waiting.get_nowait()
            yield self._end()
        finally:
            self._leave()

    def _end(self) -> dict[str, Any]:
        if self._task.cancelled():
            return {"error": "The service stops.", "kind": "LinkClosed"}
        error = self._task.exception()
        if error is None:
            return {"done": self._task.result()}
        if isinstance(error, BmsError):
            return error_form(error)
        return {
            "error": f"bmslink made a mistake ({type(error).__name__}: {error}). Please report it.",
            "kind": "BmsError",
        }

    def _leave(self) -> None:
        """The client has its answer, or is gone."""
        if not self._lasts:
            self._task.cancel()
