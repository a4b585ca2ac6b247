"""The bytes of a pack's line, listened to for a recording elsewhere."""

from __future__ import annotations

import asyncio
import io
import json
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from bmslink.errors import LinkClosed
from bmslink.runtime.pack_task import ServedPack

__all__ = ["CaptureFeed"]

_MOST_LINES = 10_000  # that wait for who makes the recording
_SIGN = 5.0  # s


class CaptureFeed:
    """The bytes of a pack's line, for who records them elsewhere; passwords are blanked here."""

    def __init__(self, pack: ServedPack) -> None:
        self._pack = pack
        self.key = secrets.token_hex(8)
        self._over = asyncio.Event()
        self._lines: asyncio.Queue[dict[str, Any]] = asyncio.Queue(_MOST_LINES)
        self._slow = False

    def end(self) -> None:
        """The recording is over."""
        self._over.set()

    def _put(self, line: bytes) -> None:
        try:
            self._lines.put_nowait({"line": json.loads(line)})
        except asyncio.QueueFull:
            self._slow = True
            self._over.set()

    @asynccontextmanager
    async def _recording(self) -> AsyncIterator[None]:
        board = self._pack.board
        if board.tap is None:
            raise LinkClosed(
                f"{self._pack.name} cannot be recorded now: its protocol is not known."
            )
        writer = board.make_writer(_LineFile(self._put))
        with board.tap.listening(writer.write):
            yield
        writer.close()

    async def lines(self) -> AsyncGenerator[dict[str, Any], None]:
        """The lines of the capture file, until `end` or until nobody reads them."""
        async with self._recording():
            yield {"key": self.key}
            over = asyncio.ensure_future(self._over.wait())
            try:
                while not over.done():
                    line = asyncio.ensure_future(self._lines.get())
                    await asyncio.wait(
                        {line, over}, timeout=_SIGN, return_when=asyncio.FIRST_COMPLETED
                    )
                    if line.done():
                        yield line.result()
                        continue
                    line.cancel()
                    yield {"alive": True}
            finally:
                over.cancel()
        while not self._lines.empty():
            yield self._lines.get_nowait()
        if self._slow:
            yield {"error": "The recording was not taken fast enough.", "kind": "LinkClosed"}


class _LineFile(io.BytesIO):
    """A file that hands each line on."""

    def __init__(self, put: Callable[[bytes], None]) -> None:
        super().__init__()
        self._put = put

    def write(self, data: Any, /) -> int:
        self._put(bytes(data))
        return len(data)
