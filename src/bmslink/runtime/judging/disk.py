"""What is written to the disk while packs are polled: in a thread, one piece after another.

No poll, no decision and no command waits for it. A disk that hangs costs the oldest of what waits;
how many pieces that were is counted.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import NamedTuple

__all__ = ["DiskQueue"]

_log = logging.getLogger(__name__)

_MOST = 4096


class _Job(NamedTuple):
    write: Callable[[], None]
    ended: Callable[[str], None]


class DiskQueue:
    """Pieces that wait to be written."""

    def __init__(self, most: int = _MOST) -> None:
        self.lost = 0
        """How many pieces were given up because too many waited."""
        self.thread = ThreadPoolExecutor(1, thread_name_prefix="disk")
        """The one that writes."""
        self._most = most
        self._waiting: OrderedDict[str, _Job] = OrderedDict()
        self._news = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._numbers = count()

    def put(
        self,
        write: Callable[[], None],
        *,
        key: str = "",
        ended: Callable[[str], None] = lambda error: None,
    ) -> None:
        """Have something written soon, in a thread. With a `key` it takes the place of what waits
        under the same one. `ended` hears, in the loop, what went wrong, or an empty text."""
        name = key or f"#{next(self._numbers)}"
        self._waiting.pop(name, None)
        self._waiting[name] = _Job(write, ended)
        while len(self._waiting) > self._most:
            self._waiting.popitem(last=False)
            self.lost += 1
        self._idle.clear()
        self._news.set()

    async def run(self) -> None:
        """Write until cancelled; whatever goes wrong with one piece ends nothing."""
        loop = asyncio.get_running_loop()
        while True:
            await self._news.wait()
            self._news.clear()
            while self._waiting:
                _, job = self._waiting.popitem(last=False)
                written = loop.run_in_executor(self.thread, job.write)
                (error,) = await asyncio.gather(written, return_exceptions=True)
                if error is not None:
                    _log.debug("Not written:", exc_info=error)
                job.ended("" if error is None else str(error) or type(error).__name__)
            self._idle.set()

    def close(self) -> None:
        """Nothing more is written."""
        self.thread.shutdown(wait=False, cancel_futures=True)

    async def flush(self, within: float) -> bool:
        """Wait until all is written, at most so many seconds; whether it is."""
        try:
            async with asyncio.timeout(within):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True
