"""The same packs for plain scripts, without `async`.

```python
with bmslink.blocking.connect("sim://jbd") as device:
    reading = device.read()
    for reading in device.stream(interval=1.0):
        ...
```

Everything happens in one event loop in a background thread, which starts with the first call and
ends with the program. Any number of threads may call; errors are those of `bmslink` itself, and
Ctrl-C ends a call that waits. A call in the middle of somebody's own event loop works (every cell
of a notebook is one) and holds that loop up; there, `await` the asynchronous interface instead.
"""

from __future__ import annotations

import asyncio
import atexit
import functools
import inspect
import sys
import threading
import weakref
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Generator
from concurrent.futures import Future, wait
from types import TracebackType
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Generic,
    NoReturn,
    ParamSpec,
    Self,
    TypeVar,
    overload,
)

from bmslink import device as aio
from bmslink.arguments import checked
from bmslink.decoding import decode
from bmslink.errors import LinkClosed, TargetError
from bmslink.link.transport import Endpoint

if TYPE_CHECKING:
    from bmslink.discovery import scan as discovery

__all__ = ["Device", "connect", "decode", "scan"]

A = TypeVar("A")
P = ParamSpec("P")
R = TypeVar("R")

_GOODBYE = 5.0  # s that packs which were left open have for closing when the program ends
# Windows does not interrupt a thread that waits for another one, so look up now and then there.
_BEAT = 0.2 if sys.platform == "win32" else None


# ------------------------------------------------------------------------------------- the loop


class _Background:
    """One event loop in a thread of its own, for all devices and all calling threads."""

    def __init__(self) -> None:
        self._starting = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._devices: weakref.WeakSet[aio.Device] = weakref.WeakSet()
        self._over = False

    def take(self, device: aio.Device) -> None:
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


async def _close_all(devices: list[aio.Device]) -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await asyncio.gather(*(device.close() for device in devices), return_exceptions=True)
    await asyncio.get_running_loop().shutdown_asyncgens()


_background = _Background()
atexit.register(_background.end)


# ------------------------------------------------------------------------------------ the calls


class _Method(Generic[P, R]):
    """A method of the wrapped object that waits for its result instead of being awaited."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.__doc__ = function.__doc__
        self.function = function

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(self, instance: _Wrapper[Any], owner: type) -> Callable[P, R]: ...
    def __get__(self, instance: _Wrapper[Any] | None, owner: type) -> Self | Callable[P, R]:
        if instance is None:
            return self
        start, wrapped = self.function, instance.wrapped
        several = inspect.isasyncgenfunction(start)
        wait_for: Callable[[Any], Any] = _iterate if several else _background.run

        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            result: R = wait_for(start(wrapped, *args, **kwargs))
            return result

        call.__doc__ = start.__doc__
        return call


@overload
def _blocking(
    function: Callable[Concatenate[A, P], AsyncIterator[R]],
) -> _Method[P, Generator[R, None, None]]: ...
@overload
def _blocking(function: Callable[Concatenate[A, P], Coroutine[Any, Any, R]]) -> _Method[P, R]: ...
def _blocking(function: Callable[..., Any]) -> _Method[..., Any]:
    """A coroutine method as a method that waits, an asynchronous iterator as an iterator."""
    return _Method(function)


def _iterate(source: AsyncGenerator[R, None]) -> Generator[R, None, None]:
    """Take what an asynchronous iterator gives; to leave the `for` loop ends it."""

    async def following() -> tuple[R] | None:
        try:
            return (await anext(source),)
        except StopAsyncIteration:
            return None

    try:
        while (item := _background.run(following())) is not None:
            yield item[0]
    finally:
        _background.let_go(source)


class _Wrapper(Generic[A]):
    """An object of the asynchronous interface, and its `with` block."""

    def __init__(self, wrapped: A) -> None:
        self.wrapped = wrapped

    def __reduce__(self) -> NoReturn:
        raise TypeError("An open line cannot be copied or sent elsewhere: connect anew there.")


class Device(_Wrapper[aio.Device]):
    """A pack, as `bmslink.Device`, with methods that wait. Use it in a `with` block."""

    open = _blocking(aio.Device.open)
    reopen = _blocking(aio.Device.reopen)
    close = _blocking(aio.Device.close)
    identify = _blocking(aio.Device.identify)
    inspect = _blocking(aio.Device.inspect)
    read = _blocking(aio.Device.read)
    stream = _blocking(aio.Device.stream)
    clock = _blocking(aio.Device.clock)
    settings = _blocking(aio.Device.settings)
    plan = _blocking(aio.Device.plan)
    draft = _blocking(aio.Device.draft)
    apply = _blocking(aio.Device.apply)
    plan_undo = _blocking(aio.Device.plan_undo)
    undo = _blocking(aio.Device.undo)
    resume = _blocking(aio.Device.resume)
    verify = _blocking(aio.Device.verify)
    switch = _blocking(aio.Device.switch)
    set_clock = _blocking(aio.Device.set_clock)
    set_soc = _blocking(aio.Device.set_soc)

    @checked(TargetError)
    def __init__(self, device: aio.Device) -> None:
        super().__init__(device)
        _background.take(device)

    @property
    def target(self) -> Endpoint:
        """Where the pack is, as resolved."""
        return self.wrapped.target

    def __enter__(self) -> Self:
        _background.run(self.wrapped.__aenter__())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        _background.run(self.wrapped.__aexit__(kind, error, trace))


def _connecting(function: Callable[P, aio.Device]) -> Callable[P, Device]:
    @functools.wraps(function)
    def connect(*args: P.args, **kwargs: P.kwargs) -> Device:
        return Device(function(*args, **kwargs))

    connect.__doc__ = (function.__doc__ or "").replace("async with", "with")
    return connect


connect = _connecting(aio.connect)


def _waiting(function: Callable[P, Coroutine[Any, Any, R]]) -> Callable[P, R]:
    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        return _background.run(function(*args, **kwargs))

    return call


if TYPE_CHECKING:
    scan = _waiting(discovery.scan)
else:

    def __getattr__(name: str) -> Any:
        """`scan`, when somebody asks for it: the search loads every protocol."""
        if name != "scan":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from bmslink.discovery import scan as discovery

        globals()[name] = _waiting(discovery.scan)
        return globals()[name]
