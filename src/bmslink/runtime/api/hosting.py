"""A service with its sockets, its entry in the registry and its interface, from start to end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bmslink.errors import BmsError
from bmslink.link.transport import split_host
from bmslink.places import is_loopback
from bmslink.registry import SYSTEM_FOLDER, Announcement, runtime_folder
from bmslink.runtime.api.access.tokens import Access, ensure_token
from bmslink.runtime.api.sockets import local_socket, tcp_socket
from bmslink.runtime.feed import FeedItem, PackEvent
from bmslink.runtime.service import Service
from bmslink.runtime.service_file import ServiceOptions
from bmslink.runtime.unit import CREDENTIAL
from bmslink.storage.credentials import credential

if TYPE_CHECKING:
    from starlette.types import ASGIApp

__all__ = ["Listening", "host"]

MakeApp = Callable[[Service, Access | None, Mapping[str, Any] | None], "ASGIApp"]
ServeHTTP = Callable[["ASGIApp", Sequence[socket.socket]], Coroutine[Any, Any, None]]

_SOCKET = "service.sock"
_TOKEN = "service.token"
_PACKS_FIRST = 0.02  # s until the interface is loaded
_AGAIN = 2.0  # s in which further news of places are awaited before the entry is written again


@dataclass(frozen=True, slots=True)
class Listening:
    """Where a service can be asked."""

    socket: Path | None
    """The local socket; `None` where the system has none."""
    tcp: str | None
    """`HOST:PORT`."""
    token_file: Path | None
    """Where the token for TCP is."""

    @property
    def at(self) -> str:
        """What the registry says."""
        return self.tcp or "" if self.socket is None else str(self.socket)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        files = {"socket": self.socket, "token_file": self.token_file}
        return {
            "tcp": self.tcp,
            **{key: None if file is None else str(file) for key, file in files.items()},
        }


async def host(
    service: Service,
    *,
    system: bool = False,
    loopback: bool = False,
    ready: Callable[[Listening], None] = lambda listening: None,
) -> None:
    """Run a service with its interface until it stops; `ready` is called when it can be asked.

    `system`: members of the group may ask. `loopback`: by a port of this machine and a token
    instead of a local socket, as where there are none. Raises `PortBusy` where a service runs
    already, and other `BmsError`s where it cannot listen.
    """
    folder = runtime_folder()
    if system and not os.environ.get("BMSLINK_RUNTIME"):
        folder = SYSTEM_FOLDER
    with contextlib.ExitStack() as stack:
        sockets, listening, access = _listen(stack, service.plan.options, folder, system, loopback)
        entry = Announcement(
            listening.at,
            folder=folder,
            token_file="" if listening.socket else str(listening.token_file or ""),
            mode=0o640 if system else 0o600,
        )
        _announce(entry, service, ask=False)
        stack.callback(entry.withdraw)

        async def interface() -> None:
            await asyncio.sleep(_PACKS_FIRST)
            make_app, serve_http = await asyncio.to_thread(_load_interface)
            app = make_app(service, access, listening.to_dict())
            service.ready()
            ready(listening)
            await serve_http(app, sockets)

        await _run(service, interface(), entry)


def _load_interface() -> tuple[MakeApp, ServeHTTP]:
    """What answers requests: loaded while the packs are asked for the first time, because after a
    restart they come first. Who connects before waits in the socket's queue."""
    from bmslink.runtime.api.app import make_app
    from bmslink.runtime.api.server import serve_http

    return make_app, serve_http


def _listen(
    stack: contextlib.ExitStack,
    options: ServiceOptions,
    folder: Path,
    system: bool,
    loopback: bool,
) -> tuple[list[socket.socket], Listening, Access]:
    local = hasattr(socket, "AF_UNIX") and not loopback
    path = Path(options.socket).expanduser() if options.socket else folder / _SOCKET
    sockets: list[socket.socket] = []
    if local:
        sockets.append(stack.enter_context(local_socket(path, group=system)))
    if options.tcp is None and local:
        return sockets, Listening(path, None, None), Access()
    address, port = ("127.0.0.1", 0) if options.tcp is None else split_host(options.tcp)
    token_file = _token_file(options, folder)
    token = ensure_token(token_file)
    sockets.append(stack.enter_context(tcp_socket(address, port)))
    port = sockets[-1].getsockname()[1]
    shown = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
    access = Access(token, frozenset(options.hosts), is_loopback(address))
    return sockets, Listening(path if local else None, shown, token_file), access


def _token_file(options: ServiceOptions, folder: Path) -> Path:
    handed = credential(CREDENTIAL)
    if handed is not None:
        return handed
    return Path(options.token_file).expanduser() if options.token_file else folder / _TOKEN


async def _run(
    service: Service,
    interface: Coroutine[Any, Any, None],
    entry: Announcement,
) -> None:
    async with asyncio.TaskGroup() as group:
        serving = group.create_task(interface)
        telling = group.create_task(_keep_announced(entry, service))
        try:
            await service.run()
        finally:
            telling.cancel()
            serving.cancel()


async def _keep_announced(entry: Announcement, service: Service) -> None:
    """Write the entry again when packs were added, or opening one told more of its place."""
    with service.feed.subscribe(kinds=["event"]) as news:
        await _announce_beside(entry, service)
        async for item in news:
            if _moved(item):
                await asyncio.sleep(_AGAIN)
                await _announce_beside(entry, service)


async def _announce_beside(entry: Announcement, service: Service) -> None:
    with contextlib.suppress(BmsError):  # the old entry remains; the next news try again
        await asyncio.to_thread(_announce, entry, service)


def _moved(item: FeedItem) -> bool:
    return isinstance(item.data, PackEvent) and item.data.what in ("ok", "reload", "replaced")


def _announce(entry: Announcement, service: Service, *, ask: bool = True) -> None:
    """`ask`: names of servers are looked up, which takes as long as the network likes."""
    entry.update([(name, pack.board) for name, pack in service.packs.items()], ask=ask)
