"""The service on real sockets: what programs and strangers get there."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import stat

import pytest

from bmslink import registry
from bmslink.errors import PortBusy, TargetError
from bmslink.runtime.api import server
from bmslink.runtime.api.access.guard import LONGEST_BODY
from bmslink.runtime.api.hosting import host
from bmslink.runtime.feed import PackEvent
from bmslink.runtime.service import Service, _pin_of
from bmslink.runtime.service_file import ServiceOptions, ServicePlan, load_plan
from bmslink.service_client import ServiceClient

pytestmark = pytest.mark.real_time

PACK = "sim://jbd?cells=4&gap=0"
GET = b"GET /api/v1/packs HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"


@contextlib.asynccontextmanager
async def hosted(plan=None, **more):
    """A service that listens, and where."""
    service = Service(plan or load_plan([PACK]))
    found = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(host(service, ready=found.set_result, **more))
    await asyncio.wait({found, task}, return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        await task
    try:
        yield service, found.result()
    finally:
        service.stop()
        await asyncio.wait_for(task, 10)


async def talk(listening, data: bytes, *, patience=5.0) -> bytes:
    """What comes back for these bytes, until the other side closes."""
    if listening.socket is not None:
        reader, writer = await asyncio.open_unix_connection(listening.socket)
    else:
        address, _, port = listening.tcp.rpartition(":")
        reader, writer = await asyncio.open_connection(address, int(port))
    with contextlib.suppress(ConnectionError):
        writer.write(data)
        await writer.drain()
    got = b""
    try:
        async with asyncio.timeout(patience):
            with contextlib.suppress(ConnectionError):
                while more := await reader.read(65536):
                    got += more
    finally:
        writer.close()
    return got


def status(data: bytes) -> int:
    return int(data.split(b" ", 2)[1])


def error(data: bytes) -> str:
    return json.loads(data.partition(b"\r\n\r\n")[2])["error"]


async def test_a_service_is_found_asked_and_gone():
    async with hosted() as (service, listening):
        assert stat.S_IMODE(listening.socket.stat().st_mode) == 0o600
        (address,) = await asyncio.to_thread(registry.services)
        code, found = await ServiceClient(address, "the pack").ask("GET", "/api/v1/status")
        assert (code, found["packs"][0]["name"]) == (200, next(iter(service.packs)))
        with pytest.raises(PortBusy):
            async with hosted():
                pass
        stream = asyncio.create_task(talk(listening, GET.replace(b"packs", b"stream"), patience=10))
        await asyncio.sleep(0.2)
        service.stop()
        text = await stream
        assert b"event: reading" in text or b"retry" in text
    assert not listening.socket.exists()
    assert not [*listening.socket.parent.glob("*.json")]


async def test_systemd_hears_ready_when_it_can_be_asked(tmp_path, monkeypatch):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "n"))
        manager.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "n"))
        async with hosted() as (_, listening):
            assert manager.recv(200).startswith(b"READY=1\n")
            assert status(await talk(listening, GET)) == 200
        assert manager.recv(200) == b"STOPPING=1"


async def test_a_service_of_the_machine_is_for_its_group():
    async with hosted(system=True) as (_, listening):
        assert stat.S_IMODE(listening.socket.stat().st_mode) == 0o660
        (entry,) = listening.socket.parent.glob("*.json")
        assert stat.S_IMODE(entry.stat().st_mode) == 0o640


POST = b"POST /api/v1/stop HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n"
HOSTILE = [
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 20, 400),
    (b"GET / HTTP/1.1\r\n\r\n", 400),
    (b"GET /api/v1/packs HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n", 400),
    (b"GET /a\r\nset-cookie: x HTTP/1.1\r\nhost: a\r\n\r\n", 400),
    (b"GET /api/v1/packs%0d%0ax HTTP/1.1\r\nhost: a\r\n\r\n", 404),
    (b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nhost: a\r\n\r\n", 431),
    (b"GET / HTTP/1.1\r\nhost: a\r\nx: " + b"a" * 100_000 + b"\r\n\r\n", 431),
    (b"GET / HTTP/1.1\r\nhost: a\r\n" + b"x: y\r\n" * 5_000, 400),
    (b"PATCH /api/v1/packs HTTP/1.1\r\nhost: a\r\n\r\n", 405),
    (b"CONNECT evil.example:80 HTTP/1.1\r\nhost: a\r\n\r\n", 405),
    (b"GET http://evil.example/ HTTP/1.1\r\nhost: a\r\n\r\n", 404),
    (POST + b"content-length: -1\r\n\r\n", 400),
    (POST + b"transfer-encoding: chunked\r\nconnection: close\r\n\r\n2\r\n[]\r\n0\r\n\r\n", 400),
    (POST + b"content-length: %d\r\n\r\n" % (LONGEST_BODY + 1), 413),
]


@pytest.mark.parametrize(("data", "code"), HOSTILE)
async def test_hostile_bytes_get_an_answer_and_change_nothing(data, code):
    async with hosted() as (service, listening):
        got = await talk(listening, data)
        assert status(got) == code, got
        assert error(got)
        assert status(await talk(listening, GET)) == 200
        assert not service._stopping.is_set()


async def test_those_who_send_slowly_are_closed(monkeypatch):
    monkeypatch.setattr(server, "HEAD_TIME", 0.3)
    async with hosted() as (_, listening):
        assert await talk(listening, b"", patience=2) == b""
        reader, writer = await asyncio.open_unix_connection(listening.socket)
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            for byte in GET[:-2] * 10:  # a byte each 0.05 s renews nothing
                writer.write(bytes([byte]))
                await writer.drain()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(reader.readexactly(1), 0.05)
        writer.close()


async def test_those_who_do_not_read_are_closed(monkeypatch):
    monkeypatch.setattr(server, "STALLED", 0.3)
    async with hosted() as (service, listening):
        name = next(iter(service.packs))
        _, writer = await asyncio.open_unix_connection(listening.socket, limit=1)
        writer.write(GET.replace(b"packs", b"stream"))
        await asyncio.sleep(0.2)
        assert len(service.feed) > 0
        before = len(service.feed)
        for _ in range(100):
            for _ in range(50):
                service.feed.publish("event", name, PackEvent("test", "x" * 1000))
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.6)
        assert len(service.feed) == before - 1
        assert status(await talk(listening, GET)) == 200
        writer.close()


async def test_no_more_connections_than_there_may_be(monkeypatch):
    monkeypatch.setattr(server, "MOST_CONNECTIONS", 20)
    async with hosted() as (_, listening):
        opened = [await asyncio.open_unix_connection(listening.socket) for _ in range(60)]
        await asyncio.sleep(0.2)
        closed = sum(reader.at_eof() for reader, _ in opened)
        assert closed == 40
        opened[0][1].close()
        await asyncio.sleep(0.1)
        assert status(await talk(listening, GET)) == 200
        for _, writer in opened:
            writer.close()


async def test_over_tcp_a_token_is_needed(tmp_path):
    plan = ServicePlan(load_plan([PACK]).packs, ServiceOptions(token_file=str(tmp_path / "token")))
    async with hosted(plan, loopback=True) as (_, listening):
        assert listening.socket is None
        assert status(await talk(listening, GET)) == 401
        token = listening.token_file.read_text().strip()
        head = f"authorization: Bearer {token}\r\n\r\n".encode()
        assert status(await talk(listening, GET[:-2] + head)) == 200
        rebound = GET.replace(b"localhost", b"evil.example")
        assert status(await talk(listening, rebound[:-2] + head)) == 421
        (address,) = await asyncio.to_thread(registry.services)
        assert not address.local
        code, _ = await ServiceClient(address, "the pack").ask("GET", "/api/v1/packs")
        assert code == 200


async def test_secrets_that_systemd_hands_over(tmp_path, monkeypatch):
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    (tmp_path / "bmslink-token").write_text("t" * 40)
    (tmp_path / "bmslink-token").chmod(0o440)
    (tmp_path / "pin.van").write_text("123456\n")
    (tmp_path / "pin.van").chmod(0o440)  # as systemd hands it over
    async with hosted(loopback=True) as (_, listening):
        assert listening.token_file == tmp_path / "bmslink-token"
        head = f"authorization: Bearer {'t' * 40}\r\n\r\n".encode()
        assert status(await talk(listening, GET[:-2] + head)) == 200
    (tmp_path / "bmslink.toml").write_text(f'[packs.van]\ntarget = "{PACK}"\n')
    (plan,) = load_plan((), tmp_path / "bmslink.toml").packs
    assert _pin_of(plan).get("it") == "123456"


async def test_beyond_this_machine_only_where_it_is_said(tmp_path):
    path = tmp_path / "bmslink.toml"
    text = f'[packs.a]\ntarget = "{PACK}"\n[service]\ntcp = "0.0.0.0:8720"\ntoken_file = "t"\n'
    path.write_text(text)
    with pytest.raises(TargetError, match=r"line 4: .*remote = true"):
        load_plan((), path)
    path.write_text(text + "remote = true\nhosts = ['Van.lan']\n")
    options = load_plan((), path).options
    assert (options.remote, options.hosts) == (True, ("van.lan",))
    assert options.token_file == str(tmp_path / "t")  # beside the file, wherever it is started
    path.write_text(text + "remote = true\nhosts = ['a b']\n")
    with pytest.raises(TargetError, match="line 7"):
        load_plan((), path)
