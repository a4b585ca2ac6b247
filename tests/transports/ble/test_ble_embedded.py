"""A connection that another program makes, as Home Assistant does: over a whole GATT stack."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from bleak import BleakClient
from bleak.backends.device import BLEDevice
from bleak.exc import BleakError

import bmslink
from bmslink.errors import BmsError, LinkClosed, LinkTimeout, TargetError
from bmslink.link.transport import Endpoint
from bmslink.testing import SimulatedPack
from bmslink.transports.ble.backend import VARIABLE
from radio_world import BACKEND, World, backend, world

Connect = Callable[[BLEDevice, Callable[[BleakClient], None]], Awaitable[BleakClient]]


class Host:
    """What Home Assistant brings: an adapter of its own, and a client class that knows it."""

    def __init__(self, stack: Any, device: BLEDevice) -> None:
        self.device = device
        self.clients: list[BleakClient] = []
        host = self

        class HaClient(BleakClient):
            """As habluetooth's wrapper: it is made with a device, and chooses the way by itself."""

            def __init__(self, device: BLEDevice, *args: Any, **kwargs: Any) -> None:
                super().__init__(device, *args, **(kwargs | {"backend": stack.client}))
                host.clients.append(self)

        self.client_class = HaClient

    async def connect(
        self, device: BLEDevice, on_disconnect: Callable[[BleakClient], None]
    ) -> BleakClient:
        """As an integration writes it."""
        from bleak_retry_connector import establish_connection

        return await establish_connection(
            self.client_class, device, device.name or "pack", on_disconnect, max_attempts=2
        )


@asynccontextmanager
async def host_of(here: World) -> AsyncIterator[Host]:
    stack = backend("here")
    await stack.open()
    try:
        device = BLEDevice(here.address, "Pack in the shed", {})
        yield Host(stack, device)
    finally:
        await stack.close()


@pytest.fixture(autouse=True)
def no_stack_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that is handed over never asks for the system's adapter."""
    monkeypatch.setenv(VARIABLE, "no.such:module")


@pytest.mark.parametrize("protocol", ["jk02", "jbd", "daly-d2"])
@pytest.mark.real_time
async def test_its_client_is_used_for_all(protocol: str) -> None:
    async with world(protocol) as here, host_of(here) as host:
        device = bmslink.connect(host.device, protocol=protocol, client=host.connect, timeout=1.0)
        async with device:
            reading = await device.read()
            assert reading.cell_voltages == pytest.approx(
                here.device.pack.truth().cell_voltages, abs=0.003
            )
            assert (await device.identify()).protocol == protocol
            assert str(device.target).startswith(f"{protocol}+ble://{here.address}")
        assert [client.is_connected for client in host.clients] == [False]


@pytest.mark.real_time
async def test_it_is_asked_again_after_the_link_was_lost() -> None:
    async with world("jk02") as here, host_of(here) as host:
        async with bmslink.connect(host.device, protocol="jk02", client=host.connect) as device:
            assert (await device.read()).voltage
            await host.clients[0].disconnect()
            with pytest.raises((LinkClosed, LinkTimeout)):
                await device.read()
            await device.reopen()
            assert (await device.read()).voltage
        assert len(host.clients) == 2
        assert not any(client.is_connected for client in host.clients)


@pytest.mark.real_time
async def test_a_device_that_was_found_is_not_scanned_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, BACKEND)

    async def no_scan(*args: object) -> None:
        raise AssertionError

    monkeypatch.setattr("bmslink.transports.ble.transport.find", no_scan)
    async with world("jk02") as here:
        found = BLEDevice(here.address, None, {})
        async with bmslink.connect(found, protocol="jk02") as device:
            assert (await device.read()).voltage


@pytest.mark.parametrize(
    "error", [BleakError("no slot is free"), TimeoutError(), RuntimeError("odd"), OSError(5, "x")]
)
@pytest.mark.real_time
async def test_whatever_its_way_to_connect_raises(error: Exception) -> None:
    async def connect(device: BLEDevice, gone: Callable[[BleakClient], None]) -> BleakClient:
        raise error

    device = bmslink.connect(
        BLEDevice("C8:47:8C:E4:55:12", "p", {}), protocol="jk02", client=connect
    )
    with pytest.raises(BmsError, match="C8:47:8C:E4:55:12"):
        async with device:
            pass


@pytest.mark.real_time
async def test_a_client_that_is_none_or_not_connected() -> None:
    async with world("jk02") as here, host_of(here) as host:

        async def nothing(device: BLEDevice, gone: Callable[[BleakClient], None]) -> Any:
            return None

        async def idle(device: BLEDevice, gone: Callable[[BleakClient], None]) -> BleakClient:
            return host.client_class(device, gone)

        for connect in (nothing, idle):
            with pytest.raises(BmsError, match="client"):
                async with bmslink.connect(host.device, protocol="jk02", client=connect):
                    pass


@pytest.mark.real_time
async def test_cancelled_while_it_connects() -> None:
    async with world("jk02") as here, host_of(here) as host:
        began = asyncio.Event()

        async def slow(device: BLEDevice, gone: Callable[[BleakClient], None]) -> BleakClient:
            began.set()
            await asyncio.sleep(30)
            raise AssertionError

        device = bmslink.connect(host.device, protocol="jk02", client=slow)
        opening = asyncio.create_task(device.open())
        await began.wait()
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening


def test_wrong_arguments() -> None:
    device = BLEDevice("C8:47:8C:E4:55:12", "p", {})
    pack = SimulatedPack("jbd")

    async def connect(device: BLEDevice, gone: Callable[[BleakClient], None]) -> BleakClient:
        raise AssertionError

    for arguments in (
        {"target": device},
        {"target": device, "protocol": "jkk"},
        {"target": device, "protocol": "jk02", "timeout": 1e9},
        {"target": device, "protocol": "jk02", "client": 5},
        {"target": "jk02+ble://x", "client": connect},
        {"client": connect},
        {"target": device, "protocol": "jbd", "transport": pack.transport()},
        {"transport": pack.transport()},
        {"transport": pack.transport(), "protocol": "jbd", "client": connect},
        {"transport": object(), "protocol": "jbd"},
        {"transport": pack.transport(), "protocol": "jbd", "address": 300},
        {"transport": pack.transport(), "target": Endpoint("sim"), "protocol": "jbd"},
        {},
    ):
        with pytest.raises(TargetError):
            bmslink.connect(**arguments)


async def test_a_byte_stream_of_ones_own() -> None:
    pack = SimulatedPack("jbd", cells=4)
    async with bmslink.connect("shed", transport=pack.transport(), protocol="jbd") as device:
        reading = await device.read()
        assert reading.target == "jbd+transport://shed"
        assert reading.cell_voltages == pack.truth().cell_voltages
        await device.reopen()
        assert (await device.read()).voltage
    with bmslink.blocking.connect(transport=pack.transport(), protocol="jbd") as plain:
        assert plain.read().target == "jbd+transport://SimTransport"
