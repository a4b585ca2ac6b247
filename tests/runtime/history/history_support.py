"""A history that listens to a feed of the test, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from bmslink.events import PackEvent
from bmslink.model import Reading
from bmslink.runtime.feed import Feed
from bmslink.runtime.history.event_table import EventQuery, find_events
from bmslink.runtime.history.keeper import HistoryKeeper
from bmslink.runtime.history.options import HistoryOptions
from bmslink.runtime.history.query import HistoryAnswer, HistoryQuery, find_history
from bmslink.runtime.watching.conditions import Teller
from bmslink.runtime.watching.watcher import Watcher

BEGIN = datetime(2026, 3, 1, 12, tzinfo=UTC)


class HistoryWorld:
    """One run of a service with a history; its calendar goes with the loop, unless it is set."""

    def __init__(
        self, path: Path, begin: datetime = BEGIN, *, interval: float = 1, **options: Any
    ) -> None:
        self.begin = begin
        self.feed = Feed(self.now)
        self.watcher = Watcher(self.feed, lambda name: interval)
        self.tell = Teller("", self.feed)
        self.events: list[PackEvent] = []
        self.keeper = HistoryKeeper(
            path,
            HistoryOptions(**{"interval": 0.0, **options}),
            self.feed,
            self.watcher,
            self.tell,
        )

    def now(self) -> datetime:
        return self.begin + timedelta(seconds=asyncio.get_running_loop().time())

    def read(self, pack: str = "van", **values: Any) -> None:
        known = {"voltage": 52.0, "current": 10.0, "conditions_known": True, "time": self.now()}
        self.feed.publish("reading", pack, Reading(**{**known, **values}))

    async def poll(
        self, seconds: float, pack: str = "van", every: float = 1, **values: Any
    ) -> None:
        """Readings for so long."""
        for _ in range(round(seconds / every)):
            self.read(pack, **values)
            await asyncio.sleep(every)

    async def history(self, pack: str = "van", **query: Any) -> HistoryAnswer:
        known = {
            "since": datetime(1970, 1, 2, tzinfo=UTC),
            "until": datetime(2100, 1, 1, tzinfo=UTC),
        }
        asked = HistoryQuery(pack, **{**known, "resolution": "raw", **query})
        await asyncio.sleep(6)
        return await self.keeper.ask(lambda store: find_history(store, asked))

    async def table(self, **query: Any) -> list[PackEvent]:
        """The events of the table."""
        await asyncio.sleep(6)
        return await self.keeper.ask(lambda store: find_events(store, EventQuery(**query)))

    async def _hear(self) -> None:
        with self.feed.subscribe(kinds=["event"], size=10_000) as news:
            async for item in news:
                if isinstance(item.data, PackEvent):
                    self.events.append(item.data)

    @asynccontextmanager
    async def running(self, *, kill: bool = False) -> AsyncIterator[HistoryWorld]:
        """Inside it runs. `kill`: it ends without a last word."""
        self.begin -= timedelta(seconds=asyncio.get_running_loop().time())
        tasks = [
            asyncio.create_task(self._hear()),
            asyncio.create_task(self.watcher.run(self.watcher.subscribe())),
            asyncio.create_task(self.keeper.run(self.keeper.subscribe())),
        ]
        await asyncio.sleep(0.01)
        try:
            yield self
        finally:
            if not kill:
                self.feed.close()
                await self.keeper.close(5)
            for task in (*tasks, self.keeper._writer):
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self.keeper._thread.shutdown(wait=True)
            self.keeper._file.close()
