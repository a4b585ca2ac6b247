"""TCP gateways, on real sockets."""

from __future__ import annotations

import asyncio
import errno
import socket
import sys
from contextlib import asynccontextmanager

import pytest

from bmslink.errors import (
    LinkClosed,
    LinkTimeout,
    PortDenied,
    PortNotFound,
    TransportError,
)
from bmslink.link.link import Link
from bmslink.link.transport import make_transport, parse_target
from bmslink.protocols.jbd.driver import JBD, read_request
from bmslink.transports import tcp
from wires import failure, opened


@asynccontextmanager
async def gateway(serve=None):
    """A TCP server; `serve(reader, writer)` plays the device, the default echoes in capitals."""
    writers = []

    async def echo(reader, writer):
        while data := await reader.read(100):
            for byte in data.upper():
                writer.write(bytes([byte]))
                await writer.drain()

    async def client(reader, writer):
        writers.append(writer)
        try:
            await (serve or echo)(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(client, "127.0.0.1", 0)
    try:
        port = server.sockets[0].getsockname()[1]
        yield f"tcp://127.0.0.1:{port}", writers
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()
        await asyncio.sleep(0)


@pytest.mark.real_time
async def test_bytes_go_both_ways_through_a_gateway():
    async with gateway() as (target, writers), opened(target) as (ear, transport):
        await transport.write(b"hello")
        await transport.write(b" there")
        await ear.until(lambda: ear.heard == b"HELLO THERE")
        await transport.close()
        await transport.close()
        with pytest.raises(LinkClosed, match="not open"):
            await transport.write(b"x")
        writers[0].write(b"late")
        await asyncio.sleep(0.01)
        assert (bytes(ear.heard), ear.lost) == (b"HELLO THERE", [])


@pytest.mark.real_time
async def test_what_a_gateway_says_at_once_is_not_lost():
    async def greet(reader, writer):
        writer.write(b"mid-frame bytes")
        await reader.read()

    async with gateway(greet) as (target, _), opened(target) as (ear, _):
        await ear.until(lambda: ear.heard == b"mid-frame bytes")


@pytest.mark.parametrize("how", ["close", "half", "reset"])
@pytest.mark.real_time
async def test_a_gateway_that_hangs_up_is_noticed(how):
    async def hang_up(reader, writer):
        await reader.read(1)
        if how == "half":
            writer.write_eof()
            await asyncio.sleep(5)
        elif how == "reset":
            linger = b"\1\0\0\0\0\0\0\0"
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.transport.abort()

    async with gateway(hang_up) as (target, _), opened(target) as (ear, transport):
        await transport.write(b"x")
        await ear.until(lambda: ear.lost)
        (error,) = ear.lost
        assert isinstance(error, LinkClosed)
        assert str(error) == f"{target[6:]} closed the connection."
        assert isinstance(error.__cause__, ConnectionResetError) == (how == "reset")
        with pytest.raises(LinkClosed):
            await transport.write(b"x")


@pytest.mark.real_time
async def test_a_gateway_that_falls_silent_is_a_timeout_of_the_link():
    """Half open: the other end lost its power, so nothing tells us; the link's clock does."""

    async def mute(reader, writer):
        await reader.read()

    async with gateway(mute) as (target, _):
        link = Link(make_transport(parse_target(target)), JBD.make_framer(), JBD.timing)
        await link.open()
        with pytest.raises(LinkTimeout) as caught:
            await link.collect(
                read_request(3), lambda f: True, lambda got: True, timeout=0.05, retries=1
            )
        assert caught.value.heard == "silence"
        await link.close()


@pytest.mark.real_time
async def test_the_kernel_probes_a_silent_gateway():
    async def mute(reader, writer):
        await reader.read()

    async with gateway(mute) as (target, _), opened(target) as (_, transport):
        wire = transport._wire._transport.get_extra_info("socket")
        assert wire.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        if sys.platform == "linux":
            assert wire.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 10
            assert wire.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 15_000


@pytest.mark.real_time
async def test_a_gateway_that_takes_no_bytes_is_an_error_and_no_hang(monkeypatch):
    monkeypatch.setattr(tcp, "WRITE_TIMEOUT", 0.05)
    monkeypatch.setattr(tcp, "CLOSE_TIMEOUT", 0.05)

    async def stuck(reader, writer):
        writer.transport.pause_reading()
        await asyncio.sleep(60)

    async with gateway(stuck) as (target, _), opened(target) as (ear, transport):
        with pytest.raises(TransportError, match="takes no bytes: the gateway hangs"):
            for _ in range(100):
                await transport.write(bytes(1 << 20))
        assert ear.lost == []


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_a_gateway_where_nothing_listens():
    place = f"127.0.0.1:{free_port()}"
    error = failure(f"tcp://{place}")
    assert type(error) is PortNotFound
    assert f"Nothing listens at {place}" in str(error)
    assert isinstance(error.__cause__, ConnectionRefusedError)


def connecting_raises(monkeypatch, raised):
    async def broken(*arguments, **options):
        raise raised

    monkeypatch.setattr(asyncio.BaseEventLoop, "create_connection", broken)


@pytest.mark.parametrize(
    ("raised", "kind", "words"),
    [
        (socket.gaierror(socket.EAI_NONAME, "unknown"), PortNotFound, "The host gw is unknown"),
        (OSError(errno.EHOSTUNREACH, "no route"), PortNotFound, "gw:23 cannot be reached"),
        (OSError(errno.ENETUNREACH, "no net"), PortNotFound, "gw:23 cannot be reached"),
        (TimeoutError(errno.ETIMEDOUT, "late"), PortNotFound, "gw:23 cannot be reached"),
        (
            OSError("Multiple exceptions: [Errno 111] Connect call failed ('::1', 23, 0, 0), …"),
            PortNotFound,
            "Nothing listens at gw:23",
        ),
        (OSError(errno.EACCES, "firewall"), PortDenied, "forbids"),
        (OSError(errno.EMFILE, "Too many open files"), TransportError, "Too many open files"),
    ],
)
def test_each_failure_to_connect_is_one_of_our_sentences(monkeypatch, raised, kind, words):
    if errno.ECONNREFUSED != 111:
        words = words.replace("Nothing listens at gw:23", "gw:23")
    connecting_raises(monkeypatch, raised)
    error = failure("tcp://gw:23")
    assert isinstance(error, kind)
    assert words in str(error)
    assert error.__cause__ is raised


def test_a_host_that_cannot_be_a_name_is_unknown():
    error = failure(f"tcp://{'x' * 70}.example:23")
    assert type(error) is PortNotFound
    assert "is unknown" in str(error)


def test_a_gateway_that_does_not_answer_the_call_is_given_up(monkeypatch):
    monkeypatch.setattr(tcp, "CONNECT_TIMEOUT", 0.05)

    async def never(*arguments, **options):
        await asyncio.sleep(60)

    monkeypatch.setattr(asyncio.BaseEventLoop, "create_connection", never)
    error = failure("tcp://192.0.2.1:8899")
    assert type(error) is PortNotFound
    assert "192.0.2.1:8899 cannot be reached" in str(error)
