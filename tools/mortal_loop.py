"""An event loop on virtual time that dies at its n-th callback, as a program that is killed."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine
from contextlib import suppress
from contextvars import Context, copy_context
from typing import Any, TypeVar, TypeVarTuple

from virtual_time import VirtualLoop

__all__ = ["Died", "MortalLoop"]

T = TypeVar("T")
_Ts = TypeVarTuple("_Ts")


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
        self._left: list[tuple[Context, Callable[..., object], tuple[Any, ...]]] = []
        """What would have been called."""

    def call_soon(
        self, callback: Callable[[*_Ts], object], *args: *_Ts, context: Context | None = None
    ) -> asyncio.Handle:
        """Have it called next."""
        given = copy_context() if context is None else context
        return super().call_soon(self._live, given, callback, *args, context=given)

    def call_soon_threadsafe(
        self, callback: Callable[[*_Ts], object], *args: *_Ts, context: Context | None = None
    ) -> asyncio.Handle:
        """The same from another thread."""
        given = copy_context() if context is None else context
        return super().call_soon_threadsafe(self._live, given, callback, *args, context=given)

    def call_at(
        self, when: float, callback: Callable[[*_Ts], object], *args: *_Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:  # fmt: skip
        """Have it called at its time."""
        given = copy_context() if context is None else context
        return super().call_at(when, self._live, given, callback, *args, context=given)

    def _live(self, context: Context, callback: Callable[[*_Ts], object], *args: *_Ts) -> None:
        if not self.dead:
            self.callbacks += 1
            if self.callbacks < self.dies_at:
                callback(*args)
                return
            self.dead = True
            self.stop()
        self._left.append((context, callback, args))

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        """What it gives. Raises `Died`; the loop may be asked for nothing then but `bury`."""
        task = self.create_task(main)
        try:
            done = self.run_until_complete(task)
        except RuntimeError:
            if self.dead:
                raise Died from None
            raise
        if self.dead:  # it died at its very end
            raise Died
        return done

    def bury(self, last: Coroutine[Any, Any, object]) -> None:
        """Put away what is left of it, and do a last thing. To be called when nothing in it can
        reach the world any more."""
        self.dead, self.dies_at = False, math.inf
        for context, callback, args in self._left:
            self.call_soon(callback, *args, context=context)
        if left := asyncio.all_tasks(self):
            for task in left:
                task.cancel()
            self._finish(asyncio.wait(left, timeout=60.0))
        self._finish(last)
        self._finish(self.shutdown_default_executor())
        self.close()

    def _finish(self, work: Coroutine[Any, Any, object]) -> None:
        """Run it to its end; what stops the loop was meant for the main task."""
        task = self.create_task(work)
        while not task.done():
            with suppress(RuntimeError):
                self.run_until_complete(task)
        task.result()
