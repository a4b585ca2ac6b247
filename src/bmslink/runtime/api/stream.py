"""The stream of events (SSE): readings, events and limits, as they come.

Each listener has a bounded queue of the feed. One that reads too slowly loses its oldest items, is
told how many (`event: lost`), and delays nobody.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Sequence
from typing import TYPE_CHECKING

from starlette.responses import Response, StreamingResponse

from bmslink.jsonable import to_json
from bmslink.runtime.api.answers import Refusal
from bmslink.runtime.feed import KINDS, Feed, FeedItem, Kind, Subscription

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

__all__ = ["KEEP_ALIVE", "MOST_LISTENERS", "EventStreams"]

KEEP_ALIVE = 15.0
"""s of silence after which a comment shows that the connection lives."""
MOST_LISTENERS = 64
"""More are refused, so that connections remain for commands."""
_RETRY = "retry: 3000\n\n"  # ms until a browser comes back
_TYPE = "text/event-stream"
_HEADERS = {"cache-control": "no-store", "x-accel-buffering": "no"}

_Now = Callable[[], Sequence[FeedItem]]


class EventStreams:
    """All listeners of one feed."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self.open = 0
        """How many listen now."""

    def response(
        self, kinds: Sequence[str], packs: Collection[str] | None, now: _Now, *, body: bool = True
    ) -> Response:
        """A stream of these kinds (none: all) from these packs (`None`: all), which begins with
        what `now` gives when it is opened. Raises `Refusal`."""
        wanted = [_kind(text) for text in kinds] or list(KINDS)
        if not body:
            return Response(media_type=_TYPE, headers=_HEADERS)
        if self.open >= MOST_LISTENERS:
            raise Refusal(
                503,
                f"There are {MOST_LISTENERS} listeners already.",
                "Close one, or poll GET /api/v1/packs.",
                headers={"retry-after": "10"},
            )
        return _Stream(self, _chunks(self._feed, wanted, packs, now))


class _Stream(StreamingResponse):
    """One listener, which is forgotten whatever ends it."""

    def __init__(self, streams: EventStreams, chunks: AsyncGenerator[str]) -> None:
        super().__init__(chunks, media_type=_TYPE, headers=_HEADERS)
        self._streams = streams
        self._chunks = chunks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._streams.open += 1
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._streams.open -= 1
            await self._chunks.aclose()


async def _chunks(
    feed: Feed, kinds: Collection[Kind], packs: Collection[str] | None, now: _Now
) -> AsyncGenerator[str]:
    """The text of a stream, until the feed is closed."""
    yield _RETRY
    with feed.subscribe(kinds=kinds, packs=packs) as listener:
        for item in filter(listener.wants, now()):
            yield _event(item)
        async for text in _news(listener):
            yield text


async def _news(listener: Subscription) -> AsyncIterator[str]:
    while True:
        try:
            async with asyncio.timeout(KEEP_ALIVE):
                item = await listener.get()
        except TimeoutError:
            yield ": keep-alive\n\n"
            continue
        if lost := listener.take_lost():
            yield f"event: lost\ndata: {to_json({'lost': lost})}\n\n"
        if item is None:
            return
        yield _event(item)


def _event(item: FeedItem) -> str:
    data = {"pack": item.pack or None, "time": item.time, **item.data.to_dict()}
    return f"event: {item.kind}\ndata: {to_json(data)}\n\n"


def _kind(text: str) -> Kind:
    for kind in KINDS:
        if kind == text:
            return kind
    raise Refusal(400, f"There is no kind {text!r} of events.", f"There are {', '.join(KINDS)}.")
