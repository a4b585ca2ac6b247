"""A served pack's line for somebody else: lent byte for byte, or given up for a phone."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import serial
from bmstools import jbd as bmstools
from pymodbus import FramerType
from pymodbus.client import ModbusTcpClient

import bmslink
from ble_support import ADDRESS, board, clear_air
from bmslink import registry
from bmslink.cli import service_line
from bmslink.cli.app import main
from bmslink.errors import GateError, PortBusy
from bmslink.protocols.jbd.framing import JBDFramer, read_request, write_request
from bmslink.runtime.lending import Lending
from bmslink.service_client import ServiceClient
from bmslink.simulation.serve import serve
from bmslink.storage.journal import Journal
from served_support import served, until

JBD = "sim://jbd?gap=0&cells=4"
READ = JBDFramer().encode(read_request(0x03)).hex()


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BMSLINK_STATE", str(tmp_path / "state"))


class Guest:
    """Somebody who has the line of the pack `jbd`."""

    def __init__(self, name: str = "jbd") -> None:
        found = registry.served_pack(name)
        assert found is not None
        self.client = ServiceClient(found.service, name)
        self.path = f"/api/v1/packs/{name}"
        self.got = bytearray()
        self.ended: dict[str, Any] = {}
        self.key = self.error = ""

    async def take(self, seconds: float) -> None:
        lines = self.client.lines("POST", f"{self.path}/lend", {"seconds": seconds, "to": "test"})
        async with contextlib.aclosing(lines) as coming:
            async for line in coming:
                self.key = line.get("begun", self.key)
                self.got += bytes.fromhex(line.get("rx", ""))
                self.ended = line.get("done", self.ended)
                self.error = line.get("error", self.error)

    async def send(self, data: str) -> int:
        status, _ = await self.client.ask("POST", f"{self.path}/lend/{self.key}", {"tx": data})
        return status


@contextlib.asynccontextmanager
async def lent(seconds: float = 100) -> AsyncIterator[tuple[Any, Guest, asyncio.Task[None]]]:
    async with served(JBD) as service:
        guest = Guest()
        task = asyncio.create_task(guest.take(seconds))
        try:
            await until(lambda: bool(guest.key))
            yield next(iter(service.packs.values())), guest, task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def known(self: Lending) -> None:
    """In place of reading the settings before: they are known."""
    del self


async def test_a_line_is_not_lent_in_the_middle_of_an_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two of its questions it would wait for the end of the lending."""
    monkeypatch.setattr(Lending, "_before", known)
    async with served(JBD) as service, bmslink.connect(JBD) as device:
        (pack,) = service.packs.values()
        off = asyncio.create_task(device.switch("charge", False))
        await until(lambda: pack.turns.switching_off)
        guest = Guest()
        lending = asyncio.create_task(guest.take(1000))
        async with asyncio.timeout(30):
            assert (await off).result == "done"
        await until(lambda: bool(guest.key))
        lending.cancel()
        await asyncio.gather(lending, return_exceptions=True)


async def test_nor_in_an_off_that_begins_as_another_ends() -> None:
    async with served(JBD) as service:
        (pack,) = service.packs.values()
        await until(lambda: pack.turns.open.is_set())

        async def lend() -> None:
            async with pack.turns.give("lent", "It is lent.", 5.0):
                pass

        async with pack.turns.off():
            lending = asyncio.create_task(lend())
            await asyncio.sleep(0.1)
        async with pack.turns.off():
            await asyncio.sleep(0.1)
            assert not lending.done()
        await lending


async def test_bytes_go_both_ways_and_nothing_else_does() -> None:
    async with lent(20) as (pack, guest, task):
        tap = pack.board.tap
        heard: list[bytes] = []
        with tap.listening(lambda direction, data: heard.append(data)):
            assert await guest.send(READ) == 200
            await until(lambda: bool(guest.got))
            await asyncio.sleep(5)
        assert heard[0].hex() == READ  # and no poll
        assert b"".join(heard[1:]) == bytes(guest.got)
        assert pack.health.state == "lent"
        async with bmslink.connect(JBD) as device:
            with pytest.raises(PortBusy, match=r"is lent to test until .* --end"):
                await device.read()
        await task
        assert guest.ended == {"reason": "time", "drift": []}
        assert await guest.send(READ) == 404
        heard_at = pack.heard
        await until(lambda: pack.heard > heard_at)
        assert pack.health.state == "ok"


async def test_policies_see_a_pack_that_says_nothing() -> None:
    async with lent(20) as (pack, guest, _):
        before = pack.reading
        beats = []
        pack.judge.hear = lambda reading, now: beats.append(reading)
        await guest.send(READ)
        await asyncio.sleep(10)
        assert len(beats) >= 5
        assert {*beats} == {None}
        assert pack.reading is before


async def test_off_ends_it_and_goes_out_first() -> None:
    async with lent() as (pack, guest, task):
        await guest.send(READ)
        heard: list[bytes] = []
        with pack.board.tap.listening(
            lambda direction, data: heard.append(data) if direction == "tx" else None
        ):
            async with bmslink.connect(JBD) as device:
                outcome = await device.switch("discharge", False)
        assert outcome.result == "done"
        # what the lock bits are now is asked first, and nothing else
        assert [frame[2] for frame in heard[:2]] == [0x03, 0xE1]
        await task
        assert guest.ended["reason"] == "off"


async def test_what_changed_meanwhile_is_told() -> None:
    frames = [
        JBDFramer().encode(write_request(*each)).hex()
        for each in ((0x00, b"\x56\x78"), (0x24, b"\x0e\x10"), (0x01, b"\x28\x28"))
    ]
    async with lent() as (pack, guest, task):
        with pack._feed.subscribe(kinds=["event"]) as news:
            for frame in frames:
                await guest.send(frame)
                await asyncio.sleep(0.3)
            await guest.client.ask("POST", f"{guest.path}/lend", {"end": True})
            await task
            (drift,) = guest.ended["drift"]
            assert (drift["key"], drift["before"], drift["after"]) == ("cell_ovp", 3.65, 3.6)
            assert guest.ended["reason"] == "given back"
            told = [item.data async for item in _first(news, 1)]
        assert told[0].what == "returned"
        assert told[0].alarm
        assert "cell_ovp 3.65 -> 3.6 V" in told[0].text
        kept = [record for record in Journal().records() if record["event"] == "service"]
        assert [record["what"] for record in kept] == ["lend", "returned"]
        assert kept[0]["peer"]["pid"]
        assert kept[1]["drift"] == [drift]


async def test_settings_that_cannot_be_read_are_not_called_unchanged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def none(*_: object) -> None:
        return None

    monkeypatch.setattr("bmslink.runtime.lending.settings_where_any", none)
    async with lent() as (pack, guest, task):
        with pack._feed.subscribe(kinds=["event"]) as news:
            await guest.client.ask("POST", f"{guest.path}/lend", {"end": True})
            await task
            assert guest.ended == {"reason": "given back", "drift": None}
            told = [item.data async for item in _first(news, 1)]
        assert "whether they changed is not known" in told[0].text


async def _first(news: Any, count: int) -> AsyncIterator[Any]:
    for _ in range(count):
        yield await news.get()


async def test_a_guest_that_goes_gives_the_line_back() -> None:
    async with lent() as (pack, _, task):
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await until(lambda: pack.health.state == "ok")


async def test_a_line_that_is_lost_meanwhile_is_told_of() -> None:
    async with served(JBD) as service:
        guest = Guest()
        task = asyncio.create_task(guest.take(100))
        await until(lambda: bool(guest.key))
        (pack,) = service.packs.values()
        pack.board.link._on_lost(None)
        with contextlib.suppress(asyncio.CancelledError):
            await task
        assert guest.error.startswith("The line of jbd was lost while it was lent")
        await until(lambda: pack.health.state == "ok")


@pytest.mark.parametrize("seconds", [0, -1, 1e9, "long"])
async def test_times_that_cannot_be_are_refused(seconds: object) -> None:
    async with served(JBD):
        guest = Guest()
        status, found = await guest.client.ask(
            "POST", f"{guest.path}/lend", {"seconds": seconds, "to": "test"}
        )
        assert status == 400
        assert found["error"]
        status, found = await guest.client.ask("POST", f"{guest.path}/release", {"seconds": 60})
        assert status == 400
        assert "not connected over Bluetooth" in found["error"]


# ------------------------------------------------------------------------ other people's programs


@contextlib.asynccontextmanager
async def lent_by_command(
    target: str, name: str, *options: str
) -> AsyncIterator[tuple[Any, list[int]]]:
    """The line of a pack, lent by the command until it is given back by another one."""
    async with served(target) as service:
        pack, codes = service.packs[name], []
        command = ["service", "lend", name, "--for", "30s", *options]
        lending = asyncio.create_task(asyncio.to_thread(main, command))
        await until(lambda: pack.health.state == "lent")
        yield pack, codes
        assert await asyncio.to_thread(main, ["service", "lend", name, "--end"]) == 0
        codes.append(await lending)


def bmstools_changes(link: Path) -> dict[str, Any]:
    port = serial.Serial(str(link), 9600, timeout=0.5)
    client = bmstools.JBD(port)
    try:
        basic, _, _ = client.readInfo()
        client.writeEeprom({"covp": 3600})
    finally:
        port.close()
    return dict(basic)


async def test_what_a_guest_sent_long_before_it_has_the_line_goes_nowhere() -> None:
    async with served(JBD):
        found = registry.served_pack("jbd")
        assert found is not None
        lending = service_line._Lending(cast(Any, None), found)
        lending.take(b"old")
        await asyncio.sleep(2)
        lending.take(b"new")
        assert lending._typed == b"new"


@pytest.mark.real_time
@pytest.mark.slow
async def test_bmstools_reads_and_writes_over_a_lent_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    link = tmp_path / "lent"
    async with lent_by_command(JBD, "jbd", "--pty", str(link)) as (_, codes):
        basic = await asyncio.to_thread(bmstools_changes, link)
    assert basic["cell_cnt"] == 4
    assert codes == [5]
    assert "cell_ovp: 3.65 -> 3.6 V" in capsys.readouterr().out
    assert not link.is_symlink()


def modbus_reads(port: int) -> list[int]:
    client = ModbusTcpClient("127.0.0.1", port=port, framer=FramerType.RTU, timeout=2)
    try:
        assert client.connect()
        return list(client.read_holding_registers(0x1200, count=4, device_id=1).registers)
    finally:
        client.close()


def free_port() -> int:
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return int(trial.getsockname()[1])


@pytest.mark.real_time
@pytest.mark.slow
async def test_pymodbus_reads_over_a_lent_port(capsys: pytest.CaptureFixture[str]) -> None:
    port = free_port()
    target = "sim://jk-modbus?gap=0&cells=8"
    async with lent_by_command(target, "jk-modbus", "--tcp", f"127.0.0.1:{port}") as (_, codes):
        registers = await asyncio.to_thread(modbus_reads, port)
    assert all(3000 < millivolts < 3700 for millivolts in registers)
    assert codes == [0]
    assert "its settings are as before" in capsys.readouterr().out


def socket_reads(port: int) -> bytes:
    with socket.create_connection(("127.0.0.1", port), 5) as plain:
        plain.sendall(bytes.fromhex(READ))
        return plain.recv(100)


@pytest.mark.real_time
async def test_a_plain_socket_reads_over_a_lent_port() -> None:
    port = free_port()
    async with lent_by_command(JBD, "jbd", "--tcp", f"127.0.0.1:{port}") as (_, codes):
        assert (await asyncio.to_thread(socket_reads, port))[:3].hex() == "dd0300"
    assert codes == [0]


def test_a_lent_line_is_for_this_machine_only(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["service", "lend", "jbd", "--tcp", "0.0.0.0:4000"]) == 2
    assert "ssh -L" in capsys.readouterr().err
    assert main(["service", "lend", "jbd", "--tcp", "127.0.0.1:0"]) == 1
    assert "service status" in capsys.readouterr().err


# ------------------------------------------------------------------------------ Bluetooth, buses


@pytest.fixture
def air(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("BMSLINK_BLE_BACKEND", "ble_memory:factory")
    monkeypatch.setattr("bmslink.transports.ble.transport.SCAN_TIMEOUT", 0.3)
    clear_air()
    yield
    clear_air()


@pytest.mark.usefixtures("air")
async def test_a_released_link_is_free_and_comes_back_by_itself() -> None:
    module = board("jk02")
    target = f"jk02+ble://{ADDRESS}"
    async with served(target) as service:
        ((name, pack),) = service.packs.items()
        guest = Guest(name)
        assert module.client is not None
        status, found = await guest.client.ask("POST", f"{guest.path}/release", {"seconds": 30})
        assert status == 200
        assert module.client is None  # a phone can connect now
        assert pack.health.state == "released"
        async with bmslink.connect(target) as device:
            with pytest.raises(GateError, match="the phone holds it") as refused:
                await device.switch("charge", False)
            assert "Nothing was sent" in str(refused.value)
            with pytest.raises(PortBusy, match="--end"):
                await device.read()
            await until(lambda: pack.health.state == "ok")
            assert module.client is not None
            assert (await device.switch("charge", False)).result == "done"
            status, found = await guest.client.ask(
                "POST", f"{guest.path}/release", {"seconds": 900}
            )
            assert status == 200
            status, found = await guest.client.ask("POST", f"{guest.path}/release", {"end": True})
            assert found["ended"] == 1
            await until(lambda: pack.health.state == "ok")


@pytest.mark.parametrize("first", ["lent", "off"])
async def test_off_of_a_neighbour_ends_it_too(first: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two packs on one line: whoever has it lent has it in the way of both."""
    tcp = f"127.0.0.1:{free_port()}"
    task = asyncio.create_task(serve("daly-p81", tcp=tcp, cells=8, address=[1, 2]))
    await asyncio.sleep(0.1)
    targets = [f"daly-p81+tcp://{tcp}?address={n}&gap=0.01" for n in (1, 2)]
    try:
        async with served(*targets) as service:
            mine, other = service.packs.values()
            guest = Guest(mine.name)
            async with bmslink.connect(targets[1]) as device:
                began = asyncio.get_running_loop().time()
                if first == "lent":
                    lending = asyncio.create_task(guest.take(500))
                    await until(lambda: bool(guest.key))
                    off = asyncio.create_task(device.switch("charge", False))
                else:
                    monkeypatch.setattr(Lending, "_before", known)
                    off = asyncio.create_task(device.switch("charge", False))
                    await until(lambda: other.turns.switching_off)
                    lending = asyncio.create_task(guest.take(500))
                assert (await off).result == "done"
            await lending
            assert guest.ended["reason"] == "off"
            assert asyncio.get_running_loop().time() - began < 60
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
