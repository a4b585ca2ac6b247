"""An event loop whose time passes only when everything waits."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

__all__ = ["VirtualLoop", "virtual_run"]

T = TypeVar("T")


class _InstantSelector(selectors.DefaultSelector):
    """Never waits: when nothing is ready, the clock jumps to the next timer instead."""

    loop: VirtualLoop

    def select(self, timeout: float | None = None) -> list[Any]:
        ready = super().select(0)
        if not ready and timeout:
            self.loop.now += timeout
        if not ready and timeout is None:
            raise RuntimeError("Deadlock: nothing is scheduled and nothing can arrive.")
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """Timers fire at once, in their order."""

    def __init__(self) -> None:
        selector = _InstantSelector()
        selector.loop = self
        self.now = 0.0
        super().__init__(selector)

    def time(self) -> float:
        """Seconds since it was made, as far as anybody waited for them."""
        return self.now


def virtual_run(main: Coroutine[Any, Any, T]) -> T:
    """`asyncio.run` on virtual time; only for code that waits for timers and in-process events."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)
