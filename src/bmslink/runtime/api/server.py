"""uvicorn on our sockets: its signals, logs and defaults are switched off, and a connection on
which nothing moves is closed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from bmslink.runtime.api.access.guard import LONGEST_HEAD
from bmslink.runtime.api.access.peer import UNKNOWN, Peer, peer_of_socket

if TYPE_CHECKING:
    from starlette.types import ASGIApp

__all__ = ["HEAD_TIME", "MOST_CONNECTIONS", "STALLED", "serve_http"]

HEAD_TIME = 10.0
"""How long they may take to arrive, s."""
STALLED = 30.0
"""How long a client may leave unread what it asked for, s."""
MOST_CONNECTIONS = 128
"""Of one user, or from all addresses together: strangers cannot keep a local command out."""
_KEEP_ALIVE = 5  # s between two requests on one connection
_GOODBYE = 1  # s for answers under way when the service stops
_UNREAD = 1 << 14  # bytes that wait for a client in this process, besides what the kernel holds

_ACCEPTED = 0.01  # s for a connection that was accepted just now to be known, and closed too
_BACKLOG = 128  # connections that wait to be accepted, and are accepted at once

_COUNTS: WeakKeyDictionary[ServerState, Counter[str]] = WeakKeyDictionary()
"""Connections by group, of each server."""

for _name in ("uvicorn", "uvicorn.error"):
    logging.getLogger(_name).addHandler(logging.NullHandler())  # its words are not ours


class _Connection(H11Protocol):
    """One connection: it knows its peer."""

    peer: Peer = UNKNOWN
    _counted = False
    _head: asyncio.TimerHandle | None = None
    _unread: asyncio.TimerHandle | None = None

    @property
    def group(self) -> str:
        """What is counted together."""
        return self.peer.key if self.peer.local else "tcp"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if not isinstance(transport, asyncio.Transport):
            raise TypeError("the service listens on stream sockets only")
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=_UNREAD)
        self.peer = peer_of_socket(transport.get_extra_info("socket"))
        self.app_state = {**self.app_state, "peer": self.peer}
        counts = _COUNTS.setdefault(self.server_state, Counter())
        if counts[self.group] >= MOST_CONNECTIONS:
            transport.abort()
            return
        counts[self.group] += 1
        self._counted = True
        self._watch_head()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._counted:
            self._counted = False
            counts = _COUNTS[self.server_state]
            counts[self.group] -= 1
            if not counts[self.group]:
                del counts[self.group]
        for timer in (self._head, self._unread):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch_head()

    def _watch_head(self) -> None:
        """As long as no request is complete, time runs; each byte more does not renew it."""
        waiting = self.cycle is None or self.cycle.response_complete
        if waiting and self._head is None:
            self._head = self.loop.call_later(HEAD_TIME, self.transport.close)
        elif not waiting and self._head is not None:
            self._head.cancel()
            self._head = None

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unread = self.loop.call_later(STALLED, self.transport.abort)

    def resume_writing(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """What is no HTTP gets an answer like all others."""
        body = json.dumps({"schema": 1, "error": "This is no HTTP request.", "hint": ""}).encode()
        head = (
            "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()


class _Server(uvicorn.Server):
    """Ends when it is asked to, and by no signal: those are the program's."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ending = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def main_loop(self) -> None:
        await self.ending.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept no more, and let those accepted just now be made: asyncio loses a connection whose
        server is closed in between."""
        loop = asyncio.get_running_loop()
        with contextlib.suppress(NotImplementedError):  # Windows
            for each in sockets or ():
                loop.remove_reader(each.fileno())
        await asyncio.sleep(_ACCEPTED)
        await super().shutdown(sockets)


async def serve_http(app: ASGIApp, sockets: Sequence[socket.socket]) -> None:
    """Answer requests on these sockets, which listen already, until cancelled.

    Answers under way get a second then; the sockets are closed.
    """
    config = uvicorn.Config(
        app,
        http=_Connection,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        h11_max_incomplete_event_size=LONGEST_HEAD,
        backlog=_BACKLOG,
        timeout_keep_alive=_KEEP_ALIVE,
        timeout_graceful_shutdown=_GOODBYE,
    )
    server = _Server(config)
    running = asyncio.create_task(server.serve(sockets=list(sockets)), name="HTTP interface")
    try:
        await asyncio.shield(running)
    finally:
        server.ending.set()
        await running
