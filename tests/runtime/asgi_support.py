"""Requests to an ASGI application without a socket."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from bmslink.runtime.api.access.peer import Peer

LOCAL = Peer(local=True, pid=1, uid=1000, gid=1000)
STRANGER = Peer(local=False, address="127.0.0.1")
Message = MutableMapping[str, Any]
App = Callable[
    [
        MutableMapping[str, Any],
        Callable[[], Awaitable[Message]],
        Callable[[Message], Awaitable[None]],
    ],
    Awaitable[None],
]


@dataclass
class Answer:
    """What came back."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def values(self) -> Any:
        """Its JSON."""
        return json.loads(self.body)


async def ask(
    app: App,
    method: str,
    target: str,
    body: Any = None,
    *,
    headers: Mapping[str, str] | Sequence[tuple[str, str]] = (),
    peer: Peer | None = LOCAL,
    chunks: Sequence[Message] | None = None,
) -> Answer:
    """One request. `body` is sent as JSON; `chunks` are raw ASGI messages instead."""
    raw_path, _, query = target.partition("?")
    given = list(headers.items() if isinstance(headers, Mapping) else headers)
    names = {name for name, _ in given}
    if body is not None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        chunks = [{"type": "http.request", "body": data, "more_body": False}]
        if "content-type" not in names:
            given.append(("content-type", "application/json"))
        if "content-length" not in names:
            given.append(("content-length", str(len(data))))
    if peer is not None and not peer.local and "host" not in names:
        given.append(("host", "127.0.0.1:8093"))
    waiting = list(chunks or [{"type": "http.request", "body": b"", "more_body": False}])
    answer = Answer()

    async def receive() -> Message:
        return waiting.pop(0) if waiting else {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            answer.status = message["status"]
            answer.headers = {k.decode(): v.decode() for k, v in message["headers"]}
        else:
            answer.body += message.get("body", b"")

    scope: MutableMapping[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "path": unquote(raw_path),
        "raw_path": raw_path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "scheme": "http",
        "server": ("127.0.0.1", 8093),
        "client": None,
        "headers": [(k.lower().encode(), v.encode("latin-1")) for k, v in given],
        "state": {} if peer is None else {"peer": peer},
    }
    await app(scope, receive, send)
    return answer
