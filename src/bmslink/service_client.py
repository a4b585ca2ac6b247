"""Asking a running service: HTTP over its unix socket, or a loopback port with its token.

One connection a question. An answer is one JSON object, or lines of them as they come: progress, a
sign of life every few seconds, and how it ended. What answers may be another program by now, or a
service that hangs: everything that is not as agreed ends in an error that says what to do.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bmslink.errors import BmsError, LinkClosed, LinkTimeout, PortDenied, TransportError
from bmslink.registry import ServiceAddress

__all__ = ["LINES", "AnswerHead", "Lost", "ServiceClient"]

Lost = Callable[[TransportError, bool], BmsError]
"""Makes the error of work whose service failed; the flag: whether the request had gone out."""
LINES = "application/x-ndjson"
"""The kind of an answer that comes in lines."""
CONNECT = 3.0
"""How long the service may take to accept and to begin an answer, s."""
SILENCE = 15.0
"""How long it may say nothing in the middle of one; it gives a sign of life every 5 s."""
_HEAD = 1 << 14
_NOTE = 400  # characters
_LONGEST = 8 << 20
"""Bytes of a line or of a whole answer."""
_BAD = (ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, RecursionError)


@dataclass(frozen=True, slots=True)
class AnswerHead:
    """The beginning of an answer."""

    status: int
    headers: Mapping[str, str]


class ServiceClient:
    """Asks one service about one pack, which is `target` in its errors."""

    def __init__(self, address: ServiceAddress, target: str) -> None:
        self.address = address
        self.target = target

    @property
    def who(self) -> str:
        """The service, for sentences."""
        return f"the service that owns {self.target} (process {self.address.pid})"

    async def ask(self, method: str, path: str, body: Any = None) -> tuple[int, dict[str, Any]]:
        """The status and the JSON object of an answer."""
        async with self._asked(method, path, body, "application/json") as (answer, reader):
            data = b""
            async with self._patience(SILENCE):
                async for piece in _body(reader, answer.headers):
                    data += piece
                    if len(data) > _LONGEST:
                        raise self._garbage("an answer without an end")
            return answer.status, self.object_of(data)

    async def end_of(
        self,
        path: str,
        request: Any,
        *,
        first: float,
        progress: Callable[[str, int, int], None],
        note: Callable[[str], None] = lambda text: None,
        sent: Callable[[], None] = lambda: None,
    ) -> dict[str, Any]:
        """How the work ended that a request asks for: the line with `done` or `error`.

        `note` gets sentences about what the work waits for. `sent` is called when the request goes
        out: what fails after that may have been done.
        """
        lines = self.lines("POST", path, request, first=first, sent=sent)
        async with aclosing(lines) as coming:
            async for line in coming:
                if isinstance(told := line.get("progress"), list) and len(told) == 3:
                    doing, done, total = told
                    if isinstance(done, int) and isinstance(total, int):
                        progress(str(doing)[:20], done, total)
                elif isinstance(text := line.get("note"), str):
                    note(text[:_NOTE])
                elif "error" in line or "done" in line:
                    return line
        raise TransportError(
            f"The service (process {self.address.pid}) ended its answer without a result: it was "
            "stopped, or it failed. `bmslink service status` says more."
        )

    async def lines(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        first: float = SILENCE,
        sent: Callable[[], None] = lambda: None,
    ) -> AsyncGenerator[dict[str, Any], None]:
        """The objects of an answer as they come; one that is a single object gives that one.

        `first`: how long the first may take, s. `sent` is called when the request goes out.
        """
        asked = self._asked(method, path, body, LINES, first=first, sent=sent)
        async with asked as (answer, reader):
            rest, patience = b"", first
            async with aclosing(_body(reader, answer.headers)) as pieces:
                while True:
                    async with self._patience(patience):
                        piece = await anext(pieces, None)
                    if piece is None:
                        break
                    patience = SILENCE
                    *whole, rest = (rest + piece).split(b"\n")
                    for line in whole:
                        if line.strip():
                            yield self.object_of(line)
                    if len(rest) > _LONGEST:
                        raise self._garbage("a line without an end")
            if rest.strip():
                yield self.object_of(rest)

    @asynccontextmanager
    async def _asked(
        self,
        method: str,
        path: str,
        body: Any,
        accept: str,
        *,
        first: float = SILENCE,
        sent: Callable[[], None] = lambda: None,
    ) -> AsyncIterator[tuple[AnswerHead, asyncio.StreamReader]]:
        """The question sent, and the head of the answer read."""
        reader, writer = await self._connect()
        try:
            try:
                async with self._patience(first):
                    data = self._request(method, path, body, accept)
                    sent()
                    writer.write(data)
                    await writer.drain()
                    answer = _head(await reader.readuntil(b"\r\n\r\n"))
                yield answer, reader
            except asyncio.IncompleteReadError as exc:
                if not exc.partial:
                    raise LinkClosed(
                        f"{_capital(self.who)} ended in the middle of an answer. If it comes back "
                        "by itself, try again; `bmslink service status` says whether it runs."
                    ) from exc
                raise self._garbage("an answer that is cut off") from exc
            except _BAD as exc:
                raise self._garbage("an answer of another kind") from exc
            except TransportError:
                raise
            except OSError as exc:
                raise LinkClosed(
                    f"{_capital(self.who)} is gone ({exc.strerror or exc}). If it comes back by "
                    "itself, try again; `bmslink service status` says whether it runs."
                ) from exc
        finally:
            writer.close()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        try:
            async with self._patience(CONNECT):
                if self.address.local:
                    return await asyncio.open_unix_connection(self.address.socket, limit=_HEAD)
                host, _, port = self.address.socket.rpartition(":")
                return await asyncio.open_connection(host, int(port), limit=_HEAD)
        except PermissionError as exc:
            raise PortDenied(
                f"{_capital(self.who)} does not let you in: {self.address.socket} belongs to "
                "another user or group. Join that group and log in again."
            ) from exc
        except TransportError:
            raise
        except (OSError, ValueError, AttributeError) as exc:
            raise LinkClosed(
                f"{_capital(self.who)} does not listen any more: try again, and the pack is asked "
                "directly unless a service has come back."
            ) from exc

    @asynccontextmanager
    async def _patience(self, seconds: float) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(seconds):
                yield
        except TransportError:
            raise
        except TimeoutError as exc:
            raise LinkTimeout(
                f"{_capital(self.who)} did not answer within {seconds:g} s. If it hangs, end it "
                f"(`kill {self.address.pid}`) and give the command again: then it goes to the pack "
                "directly."
            ) from exc

    def _request(self, method: str, path: str, body: Any, accept: str) -> bytes:
        data = b"" if body is None else body if isinstance(body, bytes) else _dump(body)
        head = [
            f"{method} {path} HTTP/1.1",
            "host: localhost",
            f"accept: {accept}",
            "connection: close",
        ]
        if method == "POST":
            head += ["content-type: application/json", f"content-length: {len(data)}"]
        if self.address.token_file:
            head.append(f"authorization: Bearer {self._token()}")
        return "\r\n".join([*head, "", ""]).encode("latin-1") + data

    def _token(self) -> str:
        try:
            token = Path(self.address.token_file).read_text("ascii").strip()
        except (OSError, ValueError) as exc:
            raise PortDenied(
                f"The token of {self.who} cannot be read from {self.address.token_file}."
            ) from exc
        if not token.isprintable() or not token:
            raise self._garbage("a file without a token")
        return token

    def object_of(self, data: bytes) -> dict[str, Any]:
        """A JSON object that came."""
        try:
            found = json.loads(data)
        except (ValueError, RecursionError) as exc:
            raise self._garbage("text that is no JSON") from exc
        if not isinstance(found, dict):
            raise self._garbage("JSON that is no object")
        return found

    def _garbage(self, what: str) -> TransportError:
        return TransportError(
            f"What answers at {self.address.socket} gave {what}: it is no service of bmslink, or "
            f"of another version. If none runs, remove {self.address.file} and try again."
        )


def _dump(body: Any) -> bytes:
    return json.dumps(body, separators=(",", ":"), allow_nan=False).encode()


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _head(data: bytes) -> AnswerHead:
    """The status line and the headers; `ValueError` for anything else."""
    first, *rest = data.decode("latin-1").split("\r\n")
    version, _, more = first.partition(" ")
    if not version.startswith("HTTP/1.") or not more[:3].isdecimal():
        raise ValueError(first[:40])
    pairs = (line.partition(":") for line in rest if line)
    headers = {name.strip().lower(): text.strip() for name, _, text in pairs}
    return AnswerHead(int(more[:3]), headers)


async def _body(
    reader: asyncio.StreamReader, headers: Mapping[str, str]
) -> AsyncGenerator[bytes, None]:
    """The body in pieces; `ValueError` or `IncompleteReadError` for one that is not as agreed."""
    if headers.get("transfer-encoding", "").lower() == "chunked":
        while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
            if not 0 < size <= _LONGEST:
                raise ValueError("chunk")
            yield await reader.readexactly(size)
            if await reader.readexactly(2) != b"\r\n":
                raise ValueError("chunk")
        return
    length = int(headers.get("content-length", "-1"))
    if not 0 <= length <= _LONGEST:
        raise ValueError("length")
    yield await reader.readexactly(length)
