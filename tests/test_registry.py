"""Which service owns which place: the runtime folder is believed as far as somebody answers."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

import bmslink
from bmslink import registry
from bmslink.errors import BmsError, LinkClosed, LinkTimeout, PortBusy, PortDenied, TransportError
from bmslink.registry import Announcement, find, served_pack, services
from bmslink.served_board import ServedBoard
from bmslink.target import resolve

SERIAL = "jbd+serial:///dev/ttyUSB7?address=1"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The runtime folder, by a name short enough for sockets."""
    found = tmp_path / "runtime"
    found.mkdir(mode=0o700)
    return found


@contextlib.contextmanager
def listening(folder: Path) -> Any:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.bind(str(folder / "service.sock"))
        server.listen(5)
        yield server


def announce(folder: Path, *targets: str) -> Announcement:
    entry = Announcement(folder / "service.sock", folder=folder)
    entry.update([(f"pack{n}", resolve(target)) for n, target in enumerate(targets)])
    return entry


def test_a_place_is_found_however_it_is_written(folder: Path, tmp_path: Path) -> None:
    port = tmp_path / "port"
    (tmp_path / "link").symlink_to(port)
    with listening(folder):
        entry = announce(folder, f"jbd+serial://{port}", "jk02+ble://C8:47:8C:E4:55:12")
        announce_mode = (folder / entry.path.name).stat().st_mode & 0o777
        assert announce_mode == 0o600
        for target in (f"serial://{tmp_path}/link", f"jbd+serial://{tmp_path}/x/../port"):
            assert find(resolve(target)).name == "pack0"
        assert find(resolve("ble://c8:47:8c:e4:55:12")).name == "pack1"
        assert find(resolve("jk02+ble://C8:47:8C:E4:55:13")) is None
        assert find(resolve("sim://jbd")) is None
        assert served_pack("pack1").target == "jk02+ble://C8:47:8C:E4:55:12"
        entry.withdraw()
        assert services() == []


def test_servers_are_one_place_by_all_their_names(folder: Path) -> None:
    with listening(folder):
        announce(folder, "jbd+tcp://127.0.0.1:4001")
        assert find(resolve("tcp://localhost:4001")).name == "pack0"
        assert find(resolve("jbd+tcp://[::1]:4001")).name == "pack0"
        assert find(resolve("jbd+tcp://127.0.0.1:4002")) is None


def test_another_address_of_an_owned_line_is_refused(folder: Path) -> None:
    with listening(folder):
        announce(folder, SERIAL)
        with pytest.raises(PortBusy, match=r"owns this line for pack0, .* not serve address 3"):
            find(resolve(f"{SERIAL[:-1]}3"))


def test_what_a_killed_service_left_is_not_taken_for_the_one_after_it(folder: Path) -> None:
    with listening(folder):
        killed = announce(folder, "jbd+serial:///dev/ttyUSB1")
        old = killed.path.rename(folder / "service-1.json")
        os.utime(old, (1, 1))
        announce(folder, "jbd+serial:///dev/ttyUSB2")
        assert [address.pid for address in services()] == [os.getpid()]
        assert find(resolve("jbd+serial:///dev/ttyUSB1")) is None
        assert find(resolve("jbd+serial:///dev/ttyUSB2")) is not None
        assert not old.exists()


def test_what_a_dead_service_left_is_removed(folder: Path) -> None:
    with listening(folder):
        entry = announce(folder, SERIAL)
    assert entry.path.exists()
    assert find(resolve(SERIAL)) is None  # the socket is there, and nobody behind it
    assert not entry.path.exists()
    entry = announce(folder, SERIAL)
    (folder / "service.sock").unlink()
    assert services() == []
    assert not entry.path.exists()


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\xff\x00",
        b"[]",
        b"{}",
        b'{"socket": 3, "pid": 1, "version": "1"}',
        b'{"socket": "/x", "pid": "1", "version": "1"}',
        b'{"socket": "/x", "pid": -1, "version": "1"}',
        b'{"socket": "/x\\u0000", "pid": 1, "version": "1"}',
        b"[" * 100_000,
    ],
)
def test_what_is_no_entry_is_passed_over(folder: Path, text: bytes) -> None:
    (folder / "service-1.json").write_bytes(text)
    assert services() == []
    assert find(resolve(SERIAL)) is None


@pytest.mark.parametrize(
    "packs",
    [None, 3, [3], [{}], [{"name": 1}], [{"name": "a", "target": "b", "place": {"path": 3}}]],
)
def test_packs_of_another_shape_are_passed_over(folder: Path, packs: object) -> None:
    with listening(folder):
        head = {"socket": str(folder / "service.sock"), "pid": 1, "version": "1", "packs": packs}
        (folder / "service-1.json").write_text(json.dumps(head))
        assert len(services()) == 1
        assert find(resolve(SERIAL)) is None


@pytest.mark.skipif(os.name == "nt", reason="modes of POSIX")
def test_a_folder_that_everybody_writes_to_is_not_believed(folder: Path) -> None:
    with listening(folder):
        announce(folder, SERIAL)
        folder.chmod(0o777)
        assert services() == []
        folder.chmod(0o700)
        assert len(services()) == 1


def test_an_entry_that_may_not_be_read_says_which_group(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(*about: object) -> bytes:
        raise PermissionError(13, "Permission denied")

    with listening(folder):
        announce(folder, SERIAL)
        monkeypatch.setattr("bmslink.storage.atomic.read_bounded", denied)
        with pytest.raises(PortDenied, match="Join the group"):
            find(resolve(SERIAL))


def test_the_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TransportError, match="BMSLINK_RUNTIME"):
        Announcement("/x", folder=tmp_path / "file" / "below").update([])


# --------------------------------------------------------------------- who answers at the socket

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any]


@contextlib.asynccontextmanager
async def answering(folder: Path, serve: Serve) -> AsyncIterator[ServedBoard]:
    """Something that listens where an entry says that a service does."""
    path = folder / "service.sock"
    server = await asyncio.start_unix_server(serve, path)
    announce(folder, SERIAL)
    board = bmslink.connect(SERIAL).board
    assert isinstance(board, ServedBoard)
    try:
        yield board
    finally:
        server.close()


def saying(data: bytes) -> Serve:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(data)
        await writer.drain()
        writer.close()

    return serve


def reply(body: bytes, status: str = "200 OK", more: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\n{more}content-length: {len(body)}\r\n\r\n".encode() + body


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"\x00" * 40 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nffffffffff\r\n",
        b"x" * 100_000,
        reply(b"hello"),
        reply(b"[]"),
        reply(b"{}"),
        reply(b"[" * 50_000),
        reply(b'{"service": "other"}'),
    ],
)
async def test_another_program_behind_the_socket_is_told_from_a_service(
    folder: Path, answer: bytes
) -> None:
    async with answering(folder, saying(answer)) as board:
        with pytest.raises(BmsError, match="no service of bmslink") as told:
            await board.open()
        assert "remove" in str(told.value)
        assert str(folder) in str(told.value)


async def test_who_closes_without_a_word_has_ended(folder: Path) -> None:
    async with answering(folder, saying(b"")) as board:
        with pytest.raises(LinkClosed, match="service status"):
            await board.open()


async def test_who_never_answers_is_not_waited_for(folder: Path) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(1000)
        writer.close()

    async with answering(folder, serve) as board:
        with pytest.raises(LinkTimeout, match=f"kill {os.getpid()}"):
            await board.open()


def greeting(version: str) -> dict[str, Any]:
    return {"service": "bmslink", "version": version, "protocol": "jbd", "open_change": None}


async def test_a_service_of_another_version_is_asked_for_nothing_but_off(folder: Path) -> None:
    asked: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        asked.append(head.split()[1])
        found: dict[str, Any] = greeting("9.9.9")
        if "switch" in head:
            found = {"done": {"result": "done", "sentence": "charge off: read back."}}
        writer.write(reply(json.dumps(found).encode()))
        await writer.drain()
        writer.close()

    async with answering(folder, serve) as board:
        device = bmslink.Device(board)
        await device.open()
        for question in (device.read, device.identify, device.settings):
            with pytest.raises(TransportError, match=r"runs bmslink 9\.9\.9, .* restart"):
                await question()
        with pytest.raises(TransportError, match="restart"):
            await device.switch("charge", True)
        assert (await device.switch("charge", False)).result == "done"
        assert [path.rpartition("/")[2] for path in asked] == ["hello", "switch"]


@pytest.mark.parametrize(
    ("lines", "error", "says"),
    [
        ([], TransportError, "without a result"),
        ([{"taken": True}], TransportError, "without a result"),
        ([{"done": {"voltage": "high"}}], BmsError, "no reading"),
        ([{"done": [1]}], BmsError, "no"),
        ([{"error": "x", "kind": "SystemExit"}], TransportError, "The service says: x"),
        ([{"error": "x", "kind": "LinkTimeout", "heard": "garbage"}], LinkTimeout, "x"),
        ([{"error": 5, "kind": ["GateError"]}], TransportError, "5"),
        ([{"error": "x", "kind": "GateError", "checks": "all"}], BmsError, "another form"),
    ],
)
async def test_answers_that_make_no_sense_end_in_a_sentence(
    folder: Path, lines: list[object], error: type[BmsError], says: str
) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        found = [greeting(bmslink.__version__)] if "hello" in head else lines
        writer.write(reply(b"\n".join(json.dumps(line).encode() for line in found)))
        await writer.drain()
        writer.close()

    async with answering(folder, serve) as board:
        await board.open()
        with pytest.raises(error, match=says):
            await board.read()


def test_there_is_a_system_wide_folder() -> None:
    assert Path("/run/bmslink") == registry.SYSTEM_FOLDER
