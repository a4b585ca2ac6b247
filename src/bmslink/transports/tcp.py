"""Transparent serial-to-Ethernet gateways: `tcp://192.168.1.20:8899`.

asyncio's own sockets, not pyserial's `socket://`: the event loop sees a closed peer at once, and
a gateway that lost its power is noticed through the kernel's own probes.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from ipaddress import IPv6Address, ip_address

from bmslink.errors import LinkClosed, PortDenied, PortNotFound, TransportError
from bmslink.link.transport import Endpoint, Line, OnData, OnLost, Transport, split_host

__all__ = ["TcpTransport", "connect_error"]

CONNECT_TIMEOUT = 5.0
WRITE_TIMEOUT = 2.0
CLOSE_TIMEOUT = 1.0
_PROBES = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 15_000}
"""A silent peer is probed after 10 s, and given up after three probes or 15 s (in ms) without
an acknowledgement. Which of these exist depends on the system."""


class TcpTransport(Transport):
    """A TCP connection that carries the serial bytes as they are."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._place = endpoint.place
        self._host, self._port = split_host(endpoint.place)
        self._wire: _Wire | None = None

    def line(self) -> Line:
        return Line(f"tcp://{self._host.lower()}:{self._port}")

    def reached(self) -> str:
        return "" if self._wire is None else self._wire.reached()

    async def open(self, on_data: OnData, on_lost: OnLost) -> None:
        await self.close()
        loop = asyncio.get_running_loop()
        wire = _Wire(self._place, on_data, on_lost)
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                await loop.create_connection(lambda: wire, self._host, self._port)
        except (OSError, UnicodeError) as exc:
            wire.forget()
            raise connect_error(self._place, exc) from exc
        self._wire = wire

    async def close(self) -> None:
        wire, self._wire = self._wire, None
        if wire is not None:
            await wire.close()

    async def write(self, data: bytes) -> None:
        if self._wire is None:
            raise LinkClosed(f"{self._place} is not open.")
        await self._wire.write(data)


def connect_error(place: str, exc: Exception) -> TransportError:
    """What a failure to connect to `HOST:PORT` means."""
    if isinstance(exc, (socket.gaierror, UnicodeError)):
        return PortNotFound(f"The host {split_host(place)[0]} is unknown.")
    # a name with several addresses fails with one text for all of them
    if _is(exc, errno.ECONNREFUSED):
        return PortNotFound(
            f"Nothing listens at {place}: check the gateway's port number and mode."
        )
    if isinstance(exc, TimeoutError) or _is(exc, errno.EHOSTUNREACH, errno.ENETUNREACH):
        return PortNotFound(f"{place} cannot be reached: is it on, and in this network?")
    if _is(exc, errno.EACCES, errno.EPERM):
        return PortDenied(f"This system forbids connections to {place}.")
    return TransportError(f"{place} cannot be opened: {exc}.")


def _is(exc: Exception, *codes: int) -> bool:
    if isinstance(exc, OSError) and exc.errno is not None:
        return exc.errno in codes
    return any(f"[Errno {code}]" in str(exc) for code in codes)


class _Wire(asyncio.Protocol):
    """One connection."""

    def __init__(self, place: str, on_data: OnData, on_lost: OnLost) -> None:
        self._place = place
        self._on_data = on_data
        self._on_lost = on_lost
        self._transport: asyncio.Transport | None = None
        self._closing = False
        self._closed = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if isinstance(transport, asyncio.Transport):
            self._transport = transport
        wire = transport.get_extra_info("socket")
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _PROBES.items():
            if hasattr(socket, name):
                wire.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)

    def reached(self) -> str:
        """The address and port at the other end."""
        found = self._transport and self._transport.get_extra_info("peername")
        if not found:
            return ""
        address = ip_address(found[0].partition("%")[0])
        mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
        host = "localhost" if address.is_loopback else str(mapped or address)
        return f"tcp://{host}:{found[1]}"

    def forget(self) -> None:
        """Deliver nothing any more."""
        self._closing = True

    def data_received(self, data: bytes) -> None:
        if not self._closing:
            self._on_data(data)

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._closed.set()
        self._writable.set()
        if not self._closing:
            self._on_lost(self._hung_up(exc))

    def _hung_up(self, cause: Exception | None) -> LinkClosed:
        error = LinkClosed(f"{self._place} closed the connection.")
        error.__cause__ = cause
        return error

    async def write(self, data: bytes) -> None:
        try:
            async with asyncio.timeout(WRITE_TIMEOUT):
                await self._writable.wait()
        except TimeoutError as exc:
            raise TransportError(
                f"{self._place} takes no bytes: the gateway hangs; restart it."
            ) from exc
        if self._closed.is_set() or self._transport is None or self._transport.is_closing():
            raise self._hung_up(None)
        self._transport.write(data)

    async def close(self) -> None:
        """Bytes that the peer does not take in time are given up."""
        self.forget()
        if self._transport is None:
            return
        self._transport.close()
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT):
                await self._closed.wait()
        except TimeoutError:
            self._transport.abort()
            await self._closed.wait()
