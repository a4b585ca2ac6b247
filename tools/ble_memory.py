"""A bleak backend without a radio: BMSes in the same process, for `BMSLINK_BLE_BACKEND`.

`AIR` holds what is in reach. A `Module` is a radio module with a simulated board behind it; what
it does wrong is set on it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, Protocol

from bleak.args import SizedBuffer
from bleak.assigned_numbers import CharacteristicPropertyName
from bleak.backends.characteristic import BleakGATTCharacteristic
from bleak.backends.client import BaseBleakClient, NotifyCallback
from bleak.backends.descriptor import BleakGATTDescriptor
from bleak.backends.device import BLEDevice
from bleak.backends.scanner import (
    AdvertisementData,
    AdvertisementDataCallback,
    BaseBleakScanner,
)
from bleak.backends.service import BleakGATTService, BleakGATTServiceCollection
from bleak.exc import BleakError

from bmslink.link.gatt import Gatt, SeenDevice
from bmslink.protocols import load_driver
from bmslink.simulation.transport import SimLine, make_device
from bmslink.transports.ble.backend import Backend

AIR: list[Module] = []
OPENED: list[str] = []
"""What happened to the backend itself."""


Table = Sequence[tuple[str, Sequence[tuple[str, Sequence[CharacteristicPropertyName]]]]]
"""Services with their characteristics and what these can do."""
Cut = Callable[[bytes], Iterable[bytes]]


class Line(Protocol):
    """What stands behind a module."""

    def receive(self, data: bytes, /) -> None:
        """Bytes from the client."""

    def close(self) -> None:
        """The client is gone."""


def cut(*sizes: int) -> Cut:
    """Pieces of these sizes, the last one repeated."""

    def pieces(data: bytes) -> Iterator[bytes]:
        start = 0
        for number in range(len(data)):
            size = sizes[min(number, len(sizes) - 1)]
            yield data[start : start + size]
            start += size
            if start >= len(data):
                return

    return pieces


class Module:
    """A radio module: `line(say)` makes what stands behind it, with `receive(data)`, `close()`."""

    def __init__(
        self, line: Callable[[Callable[[bytes], None]], Line], seen: SeenDevice, table: Table
    ) -> None:
        self.line = line
        self.seen = seen
        self.table = table
        self.cut: Cut = cut(20)
        self.mtu = 23
        self.broken: dict[str, BaseException] = {}
        """What `scan`, `connect`, `notify`, `pair` and `write` throw."""
        self.client: Client | None = None
        self.behind: Line | None = None
        self.log: list[tuple[str, object]] = []
        self.paired = False

    def say(self, data: bytes) -> None:
        """Notify, in pieces."""
        for piece in self.cut(data):
            self.notify(piece)

    def notify(self, piece: bytes) -> None:
        """One notification, as it is."""
        if self.client is not None and self.client.callback is not None:
            self.client.callback(bytearray(piece))

    def drop(self) -> None:
        """The connection breaks."""
        client, self.client = self.client, None
        behind, self.behind = self.behind, None
        if behind is not None:
            behind.close()
        if client is not None:
            client.lose()


def table_of(gatt: Gatt) -> Table:
    """The characteristics of a module as it should be."""
    if gatt.notify == gatt.write:
        return [(gatt.service, [(gatt.notify, ["write-without-response", "notify"])])]
    return [
        (
            gatt.service,
            [(gatt.notify, ["notify"]), (gatt.write, ["write-without-response", "write"])],
        )
    ]


def simulated(protocol: str, *, name: str, address: str, table: Table = (), **pack: Any) -> Module:
    """A simulated pack behind the likeliest module of its protocol, in reach; `pack` is how
    `make_device` wants it."""
    gatt = load_driver(protocol).modules[0]
    seen = SeenDevice(address=address, name=name, services=frozenset({gatt.service}))
    line = partial(SimLine, make_device(protocol, **pack))
    AIR.append(Module(line, seen, table or table_of(gatt)))
    return AIR[-1]


class Client(BaseBleakClient):
    """One connection."""

    def __init__(self, address_or_ble_device: BLEDevice | str, **kwargs: Any) -> None:
        super().__init__(address_or_ble_device, **kwargs)
        if not isinstance(address_or_ble_device, BLEDevice):
            raise TypeError("Scan first.")
        self.module: Module = address_or_ble_device.details
        self.callback: NotifyCallback | None = None

    @property
    def name(self) -> str:
        return self.module.seen.name

    @property
    def mtu_size(self) -> int:
        return self.module.mtu

    @property
    def is_connected(self) -> bool:
        return self.module.client is self

    def _fail(self, step: str) -> None:
        error = self.module.broken.get(step)
        if error is not None:
            raise error
        if step != "connect" and not self.is_connected:
            raise BleakError("Not connected")

    def lose(self) -> None:
        """The stack noticed that the connection is gone."""
        self.services = None
        if self._disconnected_callback is not None:
            self._disconnected_callback()

    async def connect(self, pair: bool, **kwargs: Any) -> None:
        await asyncio.sleep(0.01)
        self._fail("connect")
        self.module.client = self
        self.module.behind = self.module.line(self.module.say)
        self.module.log.append(("connect", None))
        self.services = BleakGATTServiceCollection()
        handle = 1
        for service_uuid, chars in self.module.table:
            service = BleakGATTService(None, handle, service_uuid)
            self.services.add_service(service)
            for uuid, properties in chars:
                handle += 2
                char = BleakGATTCharacteristic(
                    None, handle, uuid, list(properties), lambda: self.module.mtu - 3, service
                )
                self.services.add_characteristic(char)
            handle += 1

    async def disconnect(self) -> None:
        self.module.log.append(("disconnect", None))
        self.module.drop()

    async def pair(self, *args: Any, **kwargs: Any) -> None:
        self._fail("pair")
        self.module.paired = True
        self.module.broken.pop("notify", None)

    async def unpair(self) -> None:
        raise NotImplementedError

    async def read_gatt_char(
        self, characteristic: BleakGATTCharacteristic, **kwargs: Any
    ) -> bytearray:
        raise NotImplementedError

    async def read_gatt_descriptor(
        self, descriptor: BleakGATTDescriptor, **kwargs: Any
    ) -> bytearray:
        raise NotImplementedError

    async def write_gatt_descriptor(
        self, descriptor: BleakGATTDescriptor, data: SizedBuffer
    ) -> None:
        raise NotImplementedError

    async def stop_notify(self, characteristic: BleakGATTCharacteristic) -> None:
        self.callback = None

    async def start_notify(
        self, characteristic: BleakGATTCharacteristic, callback: NotifyCallback, **kwargs: Any
    ) -> None:
        self._fail("notify")
        _insist("notify" in characteristic.properties, "it does not notify")
        self.module.log.append(("notify", characteristic.handle))
        self.callback = callback

    async def write_gatt_char(
        self, characteristic: BleakGATTCharacteristic, data: SizedBuffer, response: bool
    ) -> None:
        self._fail("write")
        packet = bytes(data)
        kind = "write" if response else "write-without-response"
        _insist(len(packet) <= self.module.mtu - 3, "longer than the module takes")
        _insist(kind in characteristic.properties, "it takes no such writes")
        _insist(self.callback is not None, "written before notifications were enabled")
        self.module.log.append((f"write {characteristic.handle}", packet))
        if self.module.behind is not None:
            self.module.behind.receive(packet)


def _insist(condition: bool, what: str) -> None:
    if not condition:
        raise AssertionError(what)


class Scanner(BaseBleakScanner):
    """Hears all that is in `AIR`, again and again."""

    def __init__(
        self,
        detection_callback: AdvertisementDataCallback | None,
        service_uuids: list[str] | None,
        scanning_mode: str,
        **kwargs: Any,
    ) -> None:
        super().__init__(detection_callback, service_uuids)

    async def start(self) -> None:
        self.seen_devices = {}
        for module in AIR:
            if "scan" in module.broken:
                raise module.broken["scan"]
        self.timer = asyncio.get_running_loop().call_later(0.05, self.hear)

    def hear(self) -> None:
        """Everything advertises once."""
        self.timer = asyncio.get_running_loop().call_later(0.5, self.hear)
        for module in AIR:
            if module.client is not None:
                continue  # what is connected does not advertise
            seen = module.seen
            advert = AdvertisementData(
                seen.name or None,
                dict(seen.manufacturers),
                {},
                list(seen.services),
                None,
                -60 if seen.rssi is None else seen.rssi,
                (),
            )
            device = self.create_or_update_device(
                seen.address, seen.address, seen.name or None, module, advert
            )
            self.call_detection_callbacks(device, advert)

    async def stop(self) -> None:
        self.timer.cancel()


class Memory(Backend):
    """The backend, as the variable names it: `ble_memory:factory`."""

    def __init__(self) -> None:
        super().__init__("memory", client=Client, scanner=Scanner)

    async def open(self) -> None:
        OPENED.append("open")

    async def close(self) -> None:
        OPENED.append("close")


def factory(_spec: str) -> Backend:
    """What BMSLINK_BLE_BACKEND names."""
    return Memory()
