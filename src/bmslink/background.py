"""The event loop behind `bmslink.blocking`: one, in a thread of its own, for all callers."""

from __future__ import annotations

import asyncio
import atexit
import functools
import sys
import threading
import weakref
from collections.abc import AsyncGenerator, Coroutine, Generator
from concurrent.futures import Future, wait
from typing import Any, TypeVar

from bmslink.device import Device
from bmslink.errors import LinkClosed

__all__ = ["background", "iterate"]

R = TypeVar("R")

_GOODBYE = 5.0  # s that packs which were left open have for closing when the program ends
# Windows does not interrupt a thread that waits for another one, so look up now and then there.
_BEAT = 0.2 if sys.platform == "win32" else None


class Background:
    """One event loop in a thread of its own, for all devices and all calling threads."""

    def __init__(self) -> None:
        self._starting = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._devices: weakref.WeakSet[Device] = weakref.WeakSet()
        self._over = False

    def take(self, device: Device) -> None:
        """See to it that a device is closed when the program ends."""
        self._devices.add(device)

    def run(self, work: Coroutine[Any, Any, R]) -> R:
        """Do something in the loop and wait for it.

        What interrupts the waiting (Ctrl-C) cancels the work; it has ended when this returns.
        """
        try:
            loop = self._running()
        except RuntimeError:
            work.close()
            raise
        done: Future[R] = Future()
        tasks: list[asyncio.Task[R]] = []

        def begin() -> None:
            tasks.append(loop.create_task(work))
            tasks[0].add_done_callback(functools.partial(_hand_over, done))

        def cancel() -> None:
            tasks[0].cancel()

        loop.call_soon_threadsafe(begin)
        try:
            _wait_for(done)
        except BaseException:
            loop.call_soon_threadsafe(cancel)
            _wait_for(done)
            raise
        return done.result()

    def let_go(self, iterator: AsyncGenerator[Any, None]) -> None:
        """End an iterator that is no longer used; the garbage collector may call from anywhere."""
        if self._over:
            return
        if threading.current_thread() is self._thread and self._loop is not None:
            asyncio.run_coroutine_threadsafe(iterator.aclose(), self._loop)
        else:
            self.run(iterator.aclose())

    def _running(self) -> asyncio.AbstractEventLoop:
        with self._starting:
            if self._over:
                raise RuntimeError("The program is ending; bmslink.blocking is closed.")
            if threading.current_thread() is self._thread:
                raise RuntimeError("bmslink.blocking was called from its own event loop.")
            # in a process that was forked off, the thread is not alive
            if self._loop is None or self._thread is None or not self._thread.is_alive():
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(
                    target=self._loop.run_forever,
                    name="event loop of bmslink.blocking",
                    daemon=True,
                )
                self._thread.start()
            return self._loop

    def end(self) -> None:
        """The program ends: close what was left open, and stop."""
        self._over = True
        self.stop()

    def stop(self) -> None:
        """Close all devices and end the thread. A call that waits gets `LinkClosed`."""
        loop, thread = self._loop, self._thread
        self._loop = self._thread = None
        if loop is None or thread is None or not thread.is_alive():
            return
        goodbye = asyncio.run_coroutine_threadsafe(_close_all(list(self._devices)), loop)
        wait([goodbye], _GOODBYE)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(_GOODBYE)
        if not thread.is_alive():
            loop.close()


def _hand_over(done: Future[R], task: asyncio.Task[R]) -> None:
    error = LinkClosed("The call was ended.") if task.cancelled() else task.exception()
    if error is None:
        done.set_result(task.result())
    else:
        done.set_exception(error)


def _wait_for(done: Future[R]) -> None:
    while not done.done():
        wait([done], _BEAT)


async def _close_all(devices: list[Device]) -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await asyncio.gather(*(device.close() for device in devices), return_exceptions=True)
    await asyncio.get_running_loop().shutdown_asyncgens()


background = Background()
atexit.register(background.end)


def iterate(source: AsyncGenerator[R, None]) -> Generator[R, None, None]:
    """Take what an asynchronous iterator gives; to leave the `for` loop ends it."""

    async def following() -> tuple[R] | None:
        try:
            return (await anext(source),)
        except StopAsyncIteration:
            return None

    try:
        while (item := background.run(following())) is not None:
            yield item[0]
    finally:
        background.let_go(source)
