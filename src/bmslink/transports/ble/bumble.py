"""Bluetooth without the system's own stack: bleak on bumble, which talks to a controller itself.

`BMSLINK_BLE_BACKEND=bumble:TRANSPORT` with one of bumble's transport names: `usb:0` (a dongle that
nobody else uses), `hci-socket:0`, `serial:/dev/ttyACM0,1000000`, or `tcp-client:127.0.0.1:9911`,
the virtual radio of `bmslink simulate … --ble tcp-server:127.0.0.1:9911`.

It refuses what real stacks refuse (a write that does not fit the negotiated size), and an attempt
to connect ends in time even with controllers that never complete one that was cancelled.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any, ClassVar

from bleak import BleakClient
from bleak.args import SizedBuffer
from bleak.assigned_numbers import gatt_char_props_to_strs
from bleak.backends.characteristic import BleakGATTCharacteristic
from bleak.backends.client import BaseBleakClient
from bleak.backends.descriptor import BleakGATTDescriptor
from bleak.backends.device import BLEDevice
from bleak.backends.scanner import AdvertisementData, BaseBleakScanner
from bleak.backends.service import BleakGATTService, BleakGATTServiceCollection
from bleak.exc import BleakDeviceNotFoundError, BleakError
from bumble.core import UUID, AdvertisingData
from bumble.device import Advertisement, Connection, Device, Peer
from bumble.hci import Address

from bmslink.errors import TargetError
from bmslink.transports.ble.backend import Backend
from bmslink.transports.ble.bumble_host import (
    Adapter,
    Opener,
    give_up,
    open_controller,
    shown,
    translated,
)

__all__ = ["BumbleBackend", "factory"]

_HANGING_UP = 1.0  # s for a controller to end a connection
_MTU = 517
"""What is asked for: the most that a module may choose."""
_UUIDS = {
    AdvertisingData.INCOMPLETE_LIST_OF_16_BIT_SERVICE_CLASS_UUIDS: 2,
    AdvertisingData.COMPLETE_LIST_OF_16_BIT_SERVICE_CLASS_UUIDS: 2,
    AdvertisingData.INCOMPLETE_LIST_OF_128_BIT_SERVICE_CLASS_UUIDS: 16,
    AdvertisingData.COMPLETE_LIST_OF_128_BIT_SERVICE_CLASS_UUIDS: 16,
}
_NAMES = (AdvertisingData.SHORTENED_LOCAL_NAME, AdvertisingData.COMPLETE_LOCAL_NAME)


# -------------------------------------------------------------------------------------- scanning


def _advertised(advertisement: Advertisement) -> AdvertisementData:
    name: str | None = None
    makers: dict[int, bytes] = {}
    services: list[str] = []
    for kind, data in advertisement.data.ad_structures:
        if kind in _NAMES:
            name = bytes(data).decode(errors="replace")
        elif kind == AdvertisingData.MANUFACTURER_SPECIFIC_DATA and len(data) >= 2:
            makers[int.from_bytes(data[:2], "little")] = bytes(data[2:])
        elif size := _UUIDS.get(kind):
            whole = range(0, len(data) - size + 1, size)
            services += [_written(UUID.from_bytes(data[at : at + size])) for at in whole]
    services = list(dict.fromkeys(services))  # advert and scan response may both name one
    return AdvertisementData(name, makers, {}, services, None, advertisement.rssi, (advertisement,))


def _written(uuid: UUID) -> str:
    """A UUID as bleak writes it."""
    text = uuid.to_hex_str("-").lower()
    return f"0000{text}-0000-1000-8000-00805f9b34fb" if len(text) == 4 else text


class BumbleScanner(BaseBleakScanner):
    """A scanner on the adapter of its backend."""

    adapter: ClassVar[Adapter]

    def __init__(
        self,
        detection_callback: Any,
        service_uuids: list[str] | None,
        scanning_mode: str = "active",
        **options: Any,
    ) -> None:
        super().__init__(detection_callback, service_uuids)

    async def start(self) -> None:
        self.seen_devices = {}
        await self.adapter.listen(self._heard)

    async def stop(self) -> None:
        await self.adapter.ignore(self._heard)

    def _heard(self, advertisement: Advertisement) -> None:
        data = _advertised(advertisement)
        if not self.is_allowed_uuid(data.service_uuids):
            return
        place = shown(advertisement.address)
        _, seen = self.seen_devices.get(place, (None, None))
        name = data.local_name or (seen.local_name if seen else None)
        device = self.create_or_update_device(place, place, name, advertisement.address, data)
        self.call_detection_callbacks(device, data)


# -------------------------------------------------------------------------------------- a client


class BumbleClient(BaseBleakClient):
    """A connection through the adapter of its backend."""

    adapter: ClassVar[Adapter]

    def __init__(
        self,
        address_or_ble_device: BLEDevice | str,
        *,
        disconnected_callback: Callable[[], None] | None = None,
        timeout: float = 10.0,
        **options: Any,
    ) -> None:
        super().__init__(
            address_or_ble_device, disconnected_callback=disconnected_callback, timeout=timeout
        )
        self._peer: Peer | None = None
        self._name = self.address
        self._address: Address | None = None
        if isinstance(address_or_ble_device, BLEDevice):
            self._name = address_or_ble_device.name or self.address
            if isinstance(address_or_ble_device.details, Address):
                self._address = address_or_ble_device.details

    @property
    def name(self) -> str:
        return self._name

    @property
    def mtu_size(self) -> int:
        return self._peer.connection.att_mtu if self._peer else 23

    @property
    def is_connected(self) -> bool:
        return self._peer is not None

    async def connect(self, pair: bool = False, **options: Any) -> None:
        if self._peer is not None:
            raise BleakError("It is connected already.")
        device = await self.adapter.device()
        async with self.adapter.connecting:
            connection = await self._connect(device)
        self._peer = peer = Peer(connection)
        connection.on(Connection.EVENT_DISCONNECTION, self._on_disconnection)
        try:
            async with asyncio.timeout(self._timeout):
                await translated(peer.request_mtu(_MTU))
                await translated(_discover(peer))
                if pair:
                    await self.pair(**options)
        except BaseException:
            await self.disconnect()
            raise
        self.services = self._collection(peer)

    async def _connect(self, device: Device) -> Connection:
        address = self._address
        try:
            async with asyncio.timeout(self._timeout):
                if address is None:
                    address = await self.adapter.find(self.address)
                return await translated(device.connect_le(address, timeout=None))
        except TimeoutError as exc:
            await give_up(device, address)
            if address is None:
                raise BleakDeviceNotFoundError(
                    self.address, f"{self.address} was not seen."
                ) from exc
            raise
        except BaseException:
            await give_up(device, address)
            raise

    def _collection(self, peer: Peer) -> BleakGATTServiceCollection:
        found = BleakGATTServiceCollection()
        for theirs in peer.services:
            service = BleakGATTService(theirs, theirs.handle, _written(theirs.uuid))
            found.add_service(service)
            for char in theirs.characteristics:
                characteristic = BleakGATTCharacteristic(
                    char,
                    char.handle,
                    _written(char.uuid),
                    list(gatt_char_props_to_strs(int(char.properties))),
                    lambda: self.mtu_size - 3,
                    service,
                )
                found.add_characteristic(characteristic)
                for descriptor in char.descriptors:
                    found.add_descriptor(
                        BleakGATTDescriptor(
                            descriptor,
                            descriptor.handle,
                            _written(descriptor.type),
                            characteristic,
                        )
                    )
        return found

    def _on_disconnection(self, reason: int) -> None:
        self._peer = None
        self.services = None
        if self._disconnected_callback is not None:
            self._disconnected_callback()

    async def disconnect(self) -> None:
        if self._peer is None:
            return
        connection = self._peer.connection
        with suppress(BleakError, TimeoutError):
            async with asyncio.timeout(_HANGING_UP):
                await translated(connection.disconnect())
        if self._peer is not None:  # the controller does not answer any more
            self._on_disconnection(0)

    async def pair(self, *args: Any, passkey: str | int | None = None, **options: Any) -> None:
        """Pair; `passkey` is what the module wants to be told, up to six digits."""
        peer = self._connected()
        async with asyncio.timeout(self._timeout):
            await translated(self.adapter.pair(peer.connection, int(passkey or 0)))

    async def unpair(self) -> None:
        """Nothing is kept: whoever connects anew pairs anew."""

    def _connected(self) -> Peer:
        if self._peer is None:
            raise BleakError("It is not connected.")
        return self._peer

    async def read_gatt_char(
        self, characteristic: BleakGATTCharacteristic, *, use_cached: bool = False, **options: Any
    ) -> bytearray:
        return bytearray(await translated(self._connected().read_value(characteristic.obj)))

    async def read_gatt_descriptor(
        self, descriptor: BleakGATTDescriptor, *, use_cached: bool = False, **options: Any
    ) -> bytearray:
        return bytearray(await translated(self._connected().read_value(descriptor.obj)))

    async def write_gatt_char(
        self, characteristic: BleakGATTCharacteristic, data: SizedBuffer, response: bool
    ) -> None:
        peer, value = self._connected(), bytes(data)
        if not response and len(value) > self.mtu_size - 3:
            raise BleakError(f"{len(value)} bytes do not fit into one packet.")
        await translated(peer.write_value(characteristic.obj, value, with_response=response))

    async def write_gatt_descriptor(
        self, descriptor: BleakGATTDescriptor, data: SizedBuffer
    ) -> None:
        await translated(
            self._connected().write_value(descriptor.obj, bytes(data), with_response=True)
        )

    async def start_notify(
        self,
        characteristic: BleakGATTCharacteristic,
        callback: Callable[[bytearray], None],
        **options: Any,
    ) -> None:
        peer, theirs = self._connected(), characteristic.obj
        try:
            await translated(peer.subscribe(theirs, lambda data: callback(bytearray(data))))
        except BaseException:  # bumble would go on delivering, and twice after the next try
            for subscribers in (
                peer.gatt_client.notification_subscribers,
                peer.gatt_client.indication_subscribers,
            ):
                subscribers.pop(theirs.handle, None)
            raise

    async def stop_notify(self, characteristic: BleakGATTCharacteristic) -> None:
        await translated(self._connected().unsubscribe(characteristic.obj))


async def _discover(peer: Peer) -> None:
    for service in await peer.discover_services():
        for characteristic in await peer.discover_characteristics(service=service):
            await peer.discover_descriptors(characteristic)


# ------------------------------------------------------------------------------------ the backend


class BumbleBackend(Backend):
    """bleak's classes on one adapter."""

    def __init__(self, spec: str, opener: Opener = open_controller) -> None:
        """`opener` makes a transport of SPEC."""
        if not spec:
            raise TargetError(
                "bumble needs to know its controller: BMSLINK_BLE_BACKEND=bumble:usb:0, or e.g. "
                "bumble:tcp-client:127.0.0.1:9911."
            )
        self.adapter = Adapter(spec, opener)
        super().__init__(
            f"bumble on {spec}",
            client=type("BumbleClient", (BumbleClient,), {"adapter": self.adapter}),
            scanner=type("BumbleScanner", (BumbleScanner,), {"adapter": self.adapter}),
        )

    async def open(self) -> None:
        await self.adapter.device()

    async def close(self) -> None:
        await self.adapter.close()

    async def pair(self, client: BleakClient, passkey: str) -> None:
        if not (passkey.isascii() and passkey.isdigit() and len(passkey) <= 6):
            raise BleakError("A passkey has up to six digits.")
        await client.pair(passkey=passkey)


def factory(spec: str) -> BumbleBackend:
    """What `BMSLINK_BLE_BACKEND=bumble:SPEC` means."""
    return BumbleBackend(spec)
