"""A service in a thread of the test, on a real socket in its runtime folder."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, TypeVar

from bmslink.registry import Announcement
from bmslink.runtime.api.app import make_app
from bmslink.runtime.api.server import serve_http
from bmslink.runtime.api.sockets import local_socket
from bmslink.runtime.service import Service
from bmslink.runtime.service_file import load_plan
from bmslink.storage.journal import Journal

T = TypeVar("T")


async def until(true: Callable[[], bool], timeout: float = 60) -> None:
    """Wait until something holds."""
    for _ in range(round(timeout / 0.01)):
        if true():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it does not come to that")


def writing() -> bool:
    """Whether a change has begun to write."""
    return any(record["event"] == "write" for record in Journal().records())


class Serving:
    """A running service: its loop runs in another thread."""

    def __init__(self, service: Service, loop: asyncio.AbstractEventLoop) -> None:
        self.service = service
        self.over = asyncio.Event()
        self._loop = loop

    def end(self) -> None:
        """Have it end."""
        self._loop.call_soon_threadsafe(self.over.set)

    @property
    def pack(self) -> Any:
        """Its first pack."""
        return next(iter(self.service.packs.values()))

    def run(self, work: Coroutine[Any, Any, T], timeout: float = 30) -> T:
        """Do it in the service's loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout)

    def until(self, true: Callable[[], bool], timeout: float = 10) -> None:
        """Wait until something holds in the service."""
        self.run(until(true, timeout), timeout + 5)


@asynccontextmanager
async def served(
    *targets: str, make: Any = None, socket: str = "service.sock"
) -> AsyncIterator[Service]:
    """A service in this loop, which may be one of virtual time; all of its packs were read once."""
    folder = Path(os.environ["BMSLINK_RUNTIME"])
    plan = load_plan(targets)
    service = Service(plan) if make is None else Service(plan, make=make)
    with local_socket(folder / socket) as listening:
        http = asyncio.create_task(serve_http(make_app(service), [listening]))
        entry = Announcement(folder / socket, folder=folder)
        running = asyncio.create_task(service.run())
        try:
            packs = service.packs.values()
            await until(lambda: all(pack.health.state != "starting" for pack in packs))
            entry.update([(name, pack.board) for name, pack in service.packs.items()])
            yield service
        finally:
            entry.withdraw()
            service.stop()
            await running
            http.cancel()
            await asyncio.gather(http, return_exceptions=True)


@contextmanager
def serving(*targets: str, make: Any = None) -> Iterator[Serving]:
    """A service of these packs, all of which were read once."""
    ready = threading.Event()
    box: list[Serving] = []

    async def main() -> None:
        async with served(*targets, make=make) as service:
            box.append(Serving(service, asyncio.get_running_loop()))
            ready.set()
            await box[0].over.wait()

    with ThreadPoolExecutor(max_workers=1) as threads:
        run = threads.submit(asyncio.run, main())
        run.add_done_callback(lambda _: ready.set())
        ready.wait(30)
        try:
            if run.done():
                run.result()
            yield box[0]
        finally:
            if box:
                box[0].end()
        run.result(30)
