"""`acme-udp://HOST:PORT`: Acme's gateway, which wraps each piece of the stream into a datagram."""

from __future__ import annotations

import asyncio
from typing import ClassVar

from bmslink.errors import LinkClosed, PortNotFound
from bmslink.link.transport import Endpoint, OnData, OnLost, Transport, split_host

__all__ = ["UdpTransport"]


class UdpTransport(Transport):
    """Bytes to and from one UDP port."""

    query_keys: ClassVar[frozenset[str]] = frozenset()
    """What may follow `?` in such a target, besides what every target may have."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._host, self._port = split_host(endpoint.place)
        self._socket: asyncio.DatagramTransport | None = None

    async def open(self, on_data: OnData, on_lost: OnLost) -> None:
        loop = asyncio.get_running_loop()
        try:
            self._socket, _ = await loop.create_datagram_endpoint(
                lambda: _Receiver(on_data), remote_addr=(self._host, self._port)
            )
        except OSError as error:
            raise PortNotFound(f"Nothing is at {self._host}:{self._port}: {error}.") from error

    async def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    async def write(self, data: bytes) -> None:
        if self._socket is None:
            raise LinkClosed("The gateway is not open.")
        self._socket.sendto(data)


class _Receiver(asyncio.DatagramProtocol):
    def __init__(self, on_data: OnData) -> None:
        self._on_data = on_data

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._on_data(data)
