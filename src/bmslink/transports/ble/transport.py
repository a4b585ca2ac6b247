"""Bluetooth Low Energy: `ble://C8:47:8C:E4:55:12`, `ble://NAME`, on macOS `ble://UUID`.

The radio modules of BMSes are serial cables made of two characteristics: bytes are written to one
and come as notifications of another, cut anywhere. Which characteristics, each driver says
(`Driver.modules`); they are chosen by UUID and property, because some modules have two of the
same UUID. The stack is bleak with the system's own backend or another one (`ble_backend`).

Retries. A connection that fails in a way that often passes is tried three times within one
`open`; what reads again and again (`monitor`, `read --watch`) opens the link again after it was
lost, as for every other transport, with pauses that double. bleak-retry-connector does the same
for Home Assistant and was considered: it brings four packages, hides behind two errors of its own
what we say in words, and takes minutes before it says anything; the BlueZ repairs in it (cleared
caches, slots of proxies) belong to a service that owns the adapter, which we do not.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass

from bleak import BleakClient
from bleak.backends.characteristic import BleakGATTCharacteristic
from bleak.backends.device import BLEDevice
from bleak.backends.service import BleakGATTServiceCollection
from bleak.exc import BleakError

from bmslink.errors import (
    BmsError,
    LinkClosed,
    PortDenied,
    TargetError,
    TransportError,
    UnknownDevice,
)
from bmslink.link.gatt import Gatt, SeenDevice
from bmslink.link.transport import Endpoint, Line, OnData, OnLost, Pin, Transport
from bmslink.transports.ble.backend import Backend, backend_in_use
from bmslink.transports.ble.errors import (
    PAIRING,
    PASSKEY,
    brought_to_an_end,
    passing,
    printable,
    translated,
    wants_pairing,
)
from bmslink.transports.ble.scan import find, plain_address, printable_name, scan_adverts

__all__ = [
    "BLEDevice",
    "BleTransport",
    "ClientFactory",
    "SeenDevice",
    "given_device",
    "scan_adverts",
]

_log = logging.getLogger(__name__)

SCAN_TIMEOUT = 10.0
"""s; boards advertise at least every second, but radios overhear."""
CONNECT_TIMEOUT = 20.0
PAUSES = (0.25, 1.0)
"""s between two tries to connect."""
WRITE_TIMEOUT = 5.0
ClientFactory = Callable[[BLEDevice, Callable[[BleakClient], None]], Awaitable[BleakClient]]
"""Gets a device and what to call when it disconnects; gives a client that is connected."""
_PIECE = 20
"""Bytes that every module takes in one write."""


@dataclass(frozen=True, slots=True)
class _Way:
    """The characteristics of a connected module."""

    gatt: Gatt
    notify: BleakGATTCharacteristic
    write: BleakGATTCharacteristic
    wake: BleakGATTCharacteristic | None


def choose(services: BleakGATTServiceCollection, modules: Sequence[Gatt]) -> _Way | None:
    """The first known module whose characteristics are all there, with the right properties."""
    for gatt in modules:
        for service in services:
            if service.uuid.lower() != gatt.service:
                continue
            notify = _first(service.characteristics, gatt.notify, "notify", "indicate")
            write = _first(service.characteristics, gatt.write, "write-without-response", "write")
            if notify is not None and write is not None:
                return _Way(gatt, notify, write, _wake(services, gatt))
    return None


def _first(
    found: Sequence[BleakGATTCharacteristic], uuid: str, *properties: str
) -> BleakGATTCharacteristic | None:
    """A characteristic of that UUID that has one of the properties, the first one preferred."""
    named = [c for c in found if c.uuid.lower() == uuid]
    for wanted in properties:
        for characteristic in named:
            if wanted in characteristic.properties:
                return characteristic
    return None


def _wake(services: BleakGATTServiceCollection, gatt: Gatt) -> BleakGATTCharacteristic | None:
    if gatt.wake is None:
        return None
    everything = [c for service in services for c in service.characteristics]
    return _first(everything, gatt.wake, "write-without-response", "write")


def given_device(device: BLEDevice) -> SeenDevice:
    """What bleak's device says of itself."""
    return SeenDevice(
        address=plain_address(device.address) or printable_name(device.address),
        name=printable_name(device.name or ""),
    )


class BleTransport(Transport):
    """A connection to one radio module. `pin` answers a pack that wants to be paired.

    `device` is one that somebody else has found: nothing is scanned for then. `client` connects it
    as that program connects all of its devices (its proxies, its slots, its retries).
    """

    def __init__(
        self,
        endpoint: Endpoint,
        modules: Sequence[Gatt],
        pin: Pin | None = None,
        *,
        device: BLEDevice | None = None,
        client: ClientFactory | None = None,
    ) -> None:
        if not modules:
            raise TargetError(
                f"{endpoint.protocol or 'This protocol'} is not spoken over Bluetooth "
                f"(target {endpoint})."
            )
        self._place = endpoint.place
        self._modules = modules
        self._pin = pin or Pin()
        self._session: _BLESession | None = None
        self._latest: str | None = None
        self._device = device
        self._client = client

    def line(self) -> Line:
        return Line(f"ble://{plain_address(self._place) or self._place.strip().casefold()}")

    def peer(self) -> SeenDevice | None:
        return self._session.seen if self._session is not None else None

    async def open(self, on_data: OnData, on_lost: OnLost) -> None:
        await self.close()
        if self._client is not None and self._device is not None:
            self._session = await self._handed_over(self._client, self._device, on_data, on_lost)
            return
        for pause in (*PAUSES, None):
            try:
                self._session = await self._try(on_data, on_lost)
                return
            except BmsError as error:
                if pause is None or not passing(error):
                    raise
                _log.info("%s: %s Tried again in %g s.", self._place, error, pause)
                await asyncio.sleep(pause)

    async def _handed_over(
        self, connect: ClientFactory, device: BLEDevice, on_data: OnData, on_lost: OnLost
    ) -> _BLESession:
        """Once: who brings the connection has retries of his own."""
        session = _BLESession(self._place, given_device(device), on_data, on_lost)
        async with AsyncExitStack() as stack:
            with translated(self._place, connecting=True):
                client: object = await connect(device, session.disconnected)
            if not (isinstance(client, BleakClient) and client.is_connected):
                raise TransportError(
                    f"{self._place}: the client that was handed over is not connected."
                )
            session.client = client
            stack.push_async_callback(session.hang_up)
            await session.begin(self._modules, Backend(), self._pin)
            session.stack = stack.pop_all()
        return session

    async def _try(self, on_data: OnData, on_lost: OnLost) -> _BLESession:
        async with AsyncExitStack() as stack:
            with translated(self._place):
                backend = await stack.enter_async_context(backend_in_use())
            # Many adapters do not connect while they scan.
            async with backend.radio:
                if self._device is not None:
                    device, seen = self._device, given_device(self._device)
                else:
                    device, seen = await find(backend, self._place, SCAN_TIMEOUT, self._latest)
                self._latest = seen.address
                session = _BLESession(self._place, seen, on_data, on_lost)
                client = BleakClient(device, session.disconnected, backend=backend.client)
                session.client = client
                stack.push_async_callback(session.hang_up)
                await session.connect()
            await session.begin(self._modules, backend, self._pin)
            session.stack = stack.pop_all()
            return session

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def write(self, data: bytes) -> None:
        if self._session is None:
            raise LinkClosed(f"{self._place} is not open.")
        await self._session.write(data)


class _BLESession:
    """One connection, from the first try to the disconnection."""

    client: BleakClient
    stack: AsyncExitStack
    _way: _Way

    def __init__(self, place: str, seen: SeenDevice, on_data: OnData, on_lost: OnLost) -> None:
        self.seen = seen
        self._place = place
        self._on_data = on_data
        self._on_lost = on_lost
        self._open = False
        """Whether the end is news to somebody."""
        self._over = False

    def disconnected(self, client: BleakClient) -> None:
        """bleak says that the connection is gone."""
        self._over = True
        if self._open:
            self._open = False
            self._on_lost(self._lost())

    def _lost(self) -> LinkClosed:
        return LinkClosed(f"{self._place} disconnected: out of reach, switched off, or asleep?")

    def _heard(self, characteristic: BleakGATTCharacteristic, data: bytearray) -> None:
        if not self._over:
            self._on_data(bytes(data))

    async def connect(self) -> None:
        """Connect, and learn what characteristics there are."""
        with translated(self._place, connecting=True):
            async with asyncio.timeout(CONNECT_TIMEOUT):
                await self.client.connect()

    async def begin(self, modules: Sequence[Gatt], backend: Backend, pin: Pin) -> None:
        """Subscribe, give the module its time, and wake it."""
        with translated(self._place):
            services = self.client.services
            way = choose(services, modules)
        if way is None:
            raise _unknown(self._place, services, modules)
        self._way = way
        _log.info("%s is a %s.", self._place, way.gatt.name)
        try:
            await self._subscribe()
        except BmsError as error:
            if not wants_pairing(error.__cause__):
                raise
            await self._pair(backend, pin)
            await self._subscribe()
        await asyncio.sleep(way.gatt.settle)
        if self._over:
            raise self._lost()
        self._open = True
        if way.wake is not None:
            await self._put(way.wake, b"")

    async def _subscribe(self) -> None:
        with self._connected():
            async with asyncio.timeout(WRITE_TIMEOUT):
                await self.client.start_notify(self._way.notify, self._heard)

    async def _pair(self, backend: Backend, pin: Pin) -> None:
        passkey = pin.get(f"Passkey of {self._place}")
        if passkey is None:
            raise PortDenied(PAIRING.format(place=self._place))
        try:
            with translated(self._place):
                async with asyncio.timeout(CONNECT_TIMEOUT):
                    await backend.pair(self.client, passkey)
        except BmsError as error:
            cause = error.__cause__
            if isinstance(cause, NotImplementedError):  # macOS asks the user itself
                raise PortDenied(PAIRING.format(place=self._place)) from cause
            if isinstance(cause, (TimeoutError, BleakError)):
                raise PortDenied(PASSKEY.format(place=self._place)) from cause
            raise

    @contextmanager
    def _connected(self) -> Iterator[None]:
        """Around calls that need the connection: if it is gone, that is the news."""
        if self._over:
            raise self._lost()
        try:
            with translated(self._place):
                yield
        except BmsError as error:
            if self._over or not self.client.is_connected:
                raise self._lost() from error
            raise

    async def write(self, data: bytes) -> None:
        """Send bytes in pieces that the module takes."""
        characteristic = self._way.write
        size = max(_PIECE, characteristic.max_write_without_response_size)
        for start in range(0, len(data), size):
            await self._put(characteristic, data[start : start + size])

    async def _put(self, characteristic: BleakGATTCharacteristic, piece: bytes) -> None:
        response = "write-without-response" not in characteristic.properties
        with self._connected():
            async with asyncio.timeout(WRITE_TIMEOUT):
                await self.client.write_gatt_char(characteristic, piece, response=response)

    async def close(self) -> None:
        """Disconnect and let the stack go."""
        self._open = False
        await self.stack.aclose()

    async def hang_up(self) -> None:
        """Disconnect, whatever state the connection is in."""
        self._open, self._over = False, True
        await brought_to_an_end(self._place, self.client.disconnect)


def _unknown(
    place: str, services: BleakGATTServiceCollection, modules: Sequence[Gatt]
) -> UnknownDevice:
    """Which services are there instead of those that were looked for."""
    there = [_short(service.uuid) for service in services]
    wanted = dict.fromkeys(_short(gatt.service) for gatt in modules)
    if not there:
        return UnknownDevice(
            f"{place} shows no services. Remove it in the system's Bluetooth settings, which may "
            "remember it wrongly, and try again."
        )
    if any(_short(gatt.service) in there for gatt in modules):
        found = ", ".join(
            f"{_short(c.uuid)} ({'/'.join(c.properties)})"
            for service in services
            if _short(service.uuid) in wanted
            for c in service.characteristics
        )
        what = f"the characteristics of its service fit no known module: {printable(found)}"
    else:
        what = f"its services are {printable(', '.join(there))}, and none is {' or '.join(wanted)}"
    return UnknownDevice(f"{place} is not known: {what}. Is this the BMS, and its protocol?")


def _short(uuid: str) -> str:
    """`ffe0` instead of 36 characters, where that is what was meant."""
    uuid = uuid.lower()
    return uuid[4:8].upper() if uuid.endswith("-0000-1000-8000-00805f9b34fb") else uuid
