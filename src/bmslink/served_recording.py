"""A recording of a line that a service owns, in a file of this program."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import IO
from urllib.parse import quote

from bmslink.errors import BmsError, TransportError
from bmslink.service_client import ServiceClient

__all__ = ["ServedRecording"]

_LAST = 3.0
"""How long the end of a recording may take to come, s."""


class ServedRecording:
    """The bytes of the service's line, as they come, in a file of this program."""

    def __init__(self, client: ServiceClient, path: str, file: IO[bytes]) -> None:
        self._client = client
        self._path = path
        self._file = file
        self._task: asyncio.Task[None] | None = None
        self._begun = asyncio.Event()
        self._error: BaseException | None = None
        self._key = ""
        self.counted = (0, 0)

    @classmethod
    async def begin(cls, client: ServiceClient, path: str, file: IO[bytes]) -> ServedRecording:
        """Returns once the recording runs."""
        self = cls(client, path, file)
        self._task = asyncio.create_task(self._take())
        await self._begun.wait()
        self.check()
        return self

    async def _take(self) -> None:
        try:
            async for line in self._client.lines("GET", f"{self._path}/capture"):
                if "error" in line:
                    from bmslink.service_errors import error_of

                    raise error_of(line)
                self._key = str(line.get("key") or self._key)
                if isinstance(piece := line.get("line"), dict):
                    self._file.write(json.dumps(piece, separators=(",", ":")).encode() + b"\n")
                    self._file.flush()
                    size = len(str(piece.get("hex", ""))) // 2
                    pieces, held = self.counted
                    if size:
                        self.counted = pieces + 1, held + size
                    self._begun.set()
        except BmsError as error:
            self._error = error
        except OSError as error:
            self._error = TransportError(f"The recording cannot be written: {error.strerror}.")
        finally:
            self._begun.set()

    def check(self) -> None:
        """Raises what ended the recording: better no reading than one unrecorded."""
        if self._error is not None:
            raise self._error

    async def end(self) -> None:
        """Take what is still on its way."""
        task = self._task
        if task is None:
            return
        with suppress(TransportError, TimeoutError):
            async with asyncio.timeout(_LAST):
                await self._client.ask("POST", f"{self._path}/capture/{quote(self._key)}", {})
                await task
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
