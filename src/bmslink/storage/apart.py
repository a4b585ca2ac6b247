"""Work with the disk in a thread of its own: a disk that hangs keeps only who waits for it, and not
for ever."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextlib import ExitStack
from functools import partial
from typing import Any, ParamSpec, TypeVar

__all__ = ["OwnThread", "apart", "perform"]

P = ParamSpec("P")
T = TypeVar("T")


class OwnThread(Executor):
    """A thread for each piece: one that hangs keeps no other piece, and ends with the program."""

    def submit(self, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Begin it."""
        found: Future[T] = Future()
        call = partial(contextvars.copy_context().run, partial(work, *args, **kwargs))
        threading.Thread(target=perform, args=(found, call), daemon=True).start()
        return found


def perform(found: Future[T], call: Callable[[], T]) -> None:
    """Do it, and tell whoever waits what came of it."""
    if not found.set_running_or_notify_cancel():
        return
    with ExitStack() as stack:
        stack.push(lambda kind, error, trace: _failed(found, error))
        found.set_result(call())


def _failed(found: Future[Any], error: BaseException | None) -> bool:
    """Whoever waits gets it."""
    if error is not None:
        found.set_exception(error)
    return True


_THREADS = OwnThread()


async def apart(
    work: Callable[[], T], seconds: float, *, late: Callable[[T], Any] = lambda found: None
) -> T:
    """What `work` gives, and what it raises. Raises `TimeoutError` where it is not done within so
    many seconds; what it gives when nobody waits any more goes to `late`, in its thread."""
    given: list[T] = []
    gone = threading.Event()
    turn = threading.Lock()

    def do() -> T:
        found = work()
        with turn:
            given.append(found)
            too_late = gone.is_set()
        if too_late:
            late(found)
        return found

    job = asyncio.get_running_loop().run_in_executor(_THREADS, do)
    try:
        async with asyncio.timeout(seconds):
            return await asyncio.shield(job)
    except BaseException:
        job.add_done_callback(_heard)
        with turn:
            gone.set()
            left = given[:]
        for found in left:
            late(found)
        raise


def _heard(job: asyncio.Future[Any]) -> None:
    """Nobody waits for what it raises."""
    if not job.cancelled():
        job.exception()
