"""An event loop whose time passes only when everything waits.

Threads are not part of it: while one works for the loop, no time passes.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor, Future
from functools import partial
from typing import Any, ParamSpec, TypeVar, TypeVarTuple

from bmslink.storage.apart import OwnThread, perform

__all__ = ["VirtualLoop", "virtual_run"]

T = TypeVar("T")
_Ts = TypeVarTuple("_Ts")
_P = ParamSpec("_P")


class _InstantSelector(selectors.DefaultSelector):
    """Never waits: when nothing is ready, the clock jumps to the next timer instead."""

    loop: VirtualLoop

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout == 0 and len(self.get_map()) == 1:
            return []  # what other threads have for it is in its list already
        ready = super().select(0)
        if not ready and self.loop.at_work and timeout != 0:  # 0: something waits to be called
            return super().select(None)  # the thread says so when it is done
        if not ready and timeout:
            self.loop.now += timeout
        if not ready and timeout is None:
            raise RuntimeError("Deadlock: nothing is scheduled and nothing can arrive.")
        return ready


class _AtOnce(Executor):
    """Does a piece while it is asked to."""

    def submit(self, work: Callable[_P, T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[T]:
        """Do it."""
        found: Future[T] = Future()
        perform(found, partial(work, *args, **kwargs))
        return found


class VirtualLoop(asyncio.SelectorEventLoop):
    """Timers fire at once, in their order."""

    def __init__(self) -> None:
        selector = _InstantSelector()
        selector.loop = self
        self.now = 0.0
        self.at_work = 0
        """How many threads work for it."""
        super().__init__(selector)

    def time(self) -> float:
        """Seconds since it was made, as far as anybody waited for them."""
        return self.now

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[*_Ts], T], *args: *_Ts
    ) -> asyncio.Future[T]:
        """Have a thread do it; what has a thread of its own for each piece is done at once, so that
        each run of a program is like the other."""
        if isinstance(executor, OwnThread):
            executor = _AtOnce()
        job = super().run_in_executor(executor, func, *args)
        self.at_work += 1
        job.add_done_callback(self._done)
        return job

    async def shutdown_default_executor(self, *patience: float | None) -> None:
        """Wait for the threads to end, which a thread does."""
        self.at_work += 1
        try:
            await super().shutdown_default_executor(*patience)
        finally:
            self.at_work -= 1

    def _done(self, job: asyncio.Future[Any]) -> None:
        self.at_work -= 1


def virtual_run(main: Coroutine[Any, Any, T]) -> T:
    """`asyncio.run` on virtual time; only for code that waits for timers and in-process events."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)
