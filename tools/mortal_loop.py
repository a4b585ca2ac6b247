"""An event loop on virtual time that dies at its n-th callback, as a program that is killed."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any, TypeVar

from virtual_time import VirtualLoop

__all__ = ["Died", "MortalLoop"]

T = TypeVar("T")


class Died(Exception):
    """It was killed: nothing that was under way goes on."""


class MortalLoop(VirtualLoop):
    """Every step of every coroutine is one callback, so it can be killed at every await."""

    def __init__(self, now: float = 0.0) -> None:
        super().__init__()
        self.now = now
        self.callbacks = 0
        """So many have been called."""
        self.dies_at: float = math.inf
        """It is killed instead of this callback."""
        self.dead = False

    def call_soon(
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        """Have it called next."""
        return super().call_soon(self._live, callback, *args, context=context)

    def call_soon_threadsafe(
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        """The same from another thread."""
        return super().call_soon_threadsafe(self._live, callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[..., object], *args: Any,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:  # fmt: skip
        """Have it called at its time."""
        return super().call_at(when, self._live, callback, *args, context=context)

    def _live(self, callback: Callable[..., object], *args: Any) -> None:
        if self.dead:
            return
        self.callbacks += 1
        if self.callbacks >= self.dies_at:
            self.dead = True
            self.stop()
            return
        callback(*args)

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        """What it gives. Raises `Died`; the loop may be asked for nothing then but `bury`."""
        task = self.create_task(main)
        try:
            return self.run_until_complete(task)
        except RuntimeError:
            if self.dead:
                raise Died from None
            raise

    def bury(self, last: Coroutine[Any, Any, object]) -> None:
        """Put away what is left of it, and do a last thing. To be called when nothing in it can
        reach the world any more."""
        self.dead, self.dies_at = False, math.inf
        if left := asyncio.all_tasks(self):
            for task in left:
                task.cancel()
            self.run_until_complete(asyncio.wait(left, timeout=60.0))
        self.run_until_complete(last)
        self.run_until_complete(self.shutdown_default_executor())
        self.close()
