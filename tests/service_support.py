"""A service in the loop of the test, on virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from bmslink.runtime.service import Service


@asynccontextmanager
async def serving(
    service: Service, listen: Callable[[], Coroutine[Any, Any, None]]
) -> AsyncIterator[None]:
    """Inside it runs; `listen` hears it from its beginning to its end."""
    async with asyncio.TaskGroup() as group:
        listening = group.create_task(listen())
        await asyncio.sleep(0)
        running = group.create_task(service.run())
        try:
            yield
        finally:
            service.stop()
            await running
            await asyncio.sleep(0)
            listening.cancel()
