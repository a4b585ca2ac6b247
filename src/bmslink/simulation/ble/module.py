"""A simulated pack on the air: its radio module, through bumble.

`tcp-server:HOST:PORT` opens a virtual radio (`gatt_air`) that other processes join as
`BMSLINK_BLE_BACKEND=bumble:tcp-client:HOST:PORT`; a further pack joins it with `tcp-client:`.
`vhci` gives the Linux kernel a virtual adapter on such a radio, so that BlueZ finds the pack. Any
other of bumble's transports is a real controller, which the module then has to itself.

One central at a time: while one is connected, the module does not advertise.
"""

from __future__ import annotations

import asyncio
import logging
import random
from contextlib import AsyncExitStack, suppress
from functools import partial

from bumble.att import Attribute, AttributeValue
from bumble.core import AdvertisingData, BaseBumbleError
from bumble.device import Connection, Device
from bumble.gatt import (
    GATT_CLIENT_CHARACTERISTIC_CONFIGURATION_DESCRIPTOR,
    Characteristic,
    Descriptor,
    Service,
)
from bumble.hci import Address, OwnAddressType
from bumble.host import Host
from bumble.pairing import PairingConfig
from bumble.transport.common import AsyncPipeSink

from bmslink.errors import TransportError
from bmslink.link.transport import Endpoint
from bmslink.simulation.ble.air import Air
from bmslink.simulation.ble.catalogue import Characteristic as Declared
from bmslink.simulation.ble.catalogue import Chunks, Module, Radio
from bmslink.simulation.ble.login import Login
from bmslink.simulation.listening import OpenLine
from bmslink.simulation.transport import SimDevice
from bmslink.transports.ble.bumble_host import Passkey, open_controller

_log = logging.getLogger(__name__)

__all__ = ["ServedModule", "address_of", "host_on", "open_module"]

_OPENING = 5.0  # s for a controller to answer
_CLOSING = 1.0  # s for the answer to the last command
_INTERVAL = 20.0  # ms between two adverts, the least that is allowed
_RECORD = 300
"""Bytes from which on JK's module chatters: two `AT` a record, one alone and one glued to it."""
_REST = 0.05  # s that the end of an answer waits for the next one at most
_MOST = 2000
"""Notifications that wait; a central that does not take them loses the rest."""
_IN_FLIGHT = 32  # packets with the controller before the next one is made
_CAN = {
    "read": Characteristic.Properties.READ,
    "write": Characteristic.Properties.WRITE,
    "send": Characteristic.Properties.WRITE_WITHOUT_RESPONSE,
    "notify": Characteristic.Properties.NOTIFY,
}


async def open_module(
    stack: AsyncExitStack,
    open_line: OpenLine,
    device: SimDevice,
    protocol: str,
    radio: Radio,
    *,
    seed: int = 1,
) -> Endpoint:
    """Put a device on the air until the stack is closed; gives back where it can be reached.

    Raises `TargetError` for a module that cannot be, `TransportError` where there is no controller.
    """
    module = radio.settled(protocol)
    scheme, _, place = radio.transport.partition(":")
    air = Air()
    if scheme == "tcp-server":
        await air.serve(stack, place)
        host = host_on(air, address_of(module, seed))
    else:
        transport = await open_controller(radio.transport)
        stack.push_async_callback(transport.close)
        if scheme == "vhci":
            air.attach(transport)
            host = host_on(air, address_of(module, seed))
        else:
            host = Host(transport.source, transport.sink)
    served = ServedModule(open_line, device, module, radio, seed=seed)
    stack.push_async_callback(served.close)
    try:
        async with asyncio.timeout(_OPENING):
            address = await served.start(host)
    except (TimeoutError, BaseBumbleError) as exc:
        raise TransportError(
            f"What answers at {radio.transport} is no Bluetooth controller that can advertise."
        ) from exc
    return Endpoint("ble", address, protocol)


def address_of(module: Module, seed: int) -> Address:
    """Another seed, another address of the module's maker."""
    tail = random.Random(seed).randbytes(3)
    text = ":".join([module.prefix, *(f"{byte:02X}" for byte in tail)])
    return Address(text, Address.PUBLIC_DEVICE_ADDRESS)


def host_on(air: Air, address: Address) -> Host:
    """A host with a controller of a virtual radio."""
    controller = air.controller(address)
    return Host(controller, AsyncPipeSink(controller))


class ServedModule:
    """The radio module of one device."""

    def __init__(
        self, open_line: OpenLine, device: SimDevice, module: Module, radio: Radio, *, seed: int = 1
    ) -> None:
        self.module = module
        self.radio = radio
        self.seed = seed
        self.faults = device.faults
        self.out: Characteristic[bytes] | None = None
        """Where bytes of the board are notified."""
        self._open_line = open_line
        self._session: _CentralSession | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self, host: Host) -> str:
        """Advertise; gives back the address."""
        radio = self.radio
        self.bumble = bumble = Device(
            name="bmslink", address=Address.generate_static_address(), host=host
        )
        bumble.gatt_server.max_mtu = radio.mtu or self.module.mtu
        bumble.pairing_config_factory = self._pairing
        for uuid, characteristics in self.module.services.items():
            bumble.add_service(Service(uuid, [self._made(c) for c in characteristics]))
        bumble.on(Device.EVENT_CONNECTION, self._connected)
        await bumble.power_on()
        own = bumble.public_address
        if own == Address("00:00:00:00:00:00", Address.PUBLIC_DEVICE_ADDRESS):
            own = bumble.random_address
        self.address = bytes(reversed(own.address_bytes))
        name = radio.name or self.module.name.format(self.address.hex().upper())
        bumble.advertising_data = self._advert()
        bumble.scan_response_data = bytes(
            AdvertisingData([(AdvertisingData.COMPLETE_LOCAL_NAME, name.encode())])
        )
        self._kind = OwnAddressType.PUBLIC if own.is_public else OwnAddressType.RANDOM
        await self.advertise()
        return own.to_string(False)

    async def advertise(self) -> None:
        """Until somebody connects; once more after he has gone."""
        await self.bumble.start_advertising(
            own_address_type=self._kind,
            advertising_interval_min=_INTERVAL,
            advertising_interval_max=_INTERVAL,
        )

    async def _advertise_again(self) -> None:
        try:
            await self.advertise()
        except BaseBumbleError:
            _log.warning("The Bluetooth controller is gone: nobody can connect any more.")

    def _advert(self) -> bytes:
        service = Service(next(iter(self.module.services)), [])
        parts = [
            (AdvertisingData.FLAGS, b"\x06"),
            (
                AdvertisingData.COMPLETE_LIST_OF_16_BIT_SERVICE_CLASS_UUIDS,
                service.uuid.to_pdu_bytes(),
            ),
        ]
        if self.module.company is not None:
            maker = self.module.company.to_bytes(2, "little") + self.module.data + self.address
            parts.append((AdvertisingData.MANUFACTURER_SPECIFIC_DATA, maker))
        return bytes(AdvertisingData(parts))

    def _pairing(self, connection: Connection) -> PairingConfig:
        return PairingConfig(delegate=Passkey(int(self.radio.pin or 0), shows=True))

    def _made(self, declared: Declared) -> Characteristic[bytes]:
        """A characteristic; with a pin that is a passkey, paired centrals alone get through."""
        can = declared.can.split()
        properties = Characteristic.Properties(0)
        for name in can:
            properties |= _CAN[name]
        guarded = self.radio.pin is not None and not self.module.asks and declared.role
        guard = Attribute.Permissions.WRITE_REQUIRES_AUTHENTICATION
        rights = Attribute.Permissions.READABLE | Attribute.Permissions.WRITEABLE
        value = AttributeValue(read=lambda c: b"", write=partial(self._written, declared.role))
        made: Characteristic[bytes] = Characteristic(
            declared.uuid, properties, rights | guard if guarded else rights, value
        )
        if guarded and "notify" in can:
            made.descriptors = [
                Descriptor(
                    GATT_CLIENT_CHARACTERISTIC_CONFIGURATION_DESCRIPTOR,
                    rights | guard,
                    self.bumble.gatt_server.make_descriptor_value(made),
                )
            ]
        if declared.role in ("out", "both"):
            self.out = made
        return made

    def _written(self, role: str, connection: Connection, data: bytes) -> None:
        session = self._session
        if session is None or session.connection is not connection:
            return
        if role == "wake" and not data:
            session.unlocked = True
        elif role in ("in", "both") and data:
            session.receive(bytes(data))

    def _connected(self, connection: Connection) -> None:
        if self._session is not None:
            self._session.close()
        self._session = session = _CentralSession(self, connection, self._open_line)
        connection.on(Connection.EVENT_DISCONNECTION, lambda reason: self._disconnected(session))

    def _disconnected(self, session: _CentralSession) -> None:
        session.close()
        self._task = asyncio.get_running_loop().create_task(self._advertise_again())

    async def close(self) -> None:
        """End the connection that there is; its central finds out by itself."""
        if self._task is not None:  # bumble stumbles over answers to commands that were given up
            await asyncio.wait([self._task], timeout=_CLOSING)
            self._task.cancel()
        if self._session is not None:
            self._session.close()
            self._session = None

    @property
    def session(self) -> _CentralSession | None:
        """The connection that there is, for tests that stir."""
        return self._session


class _CentralSession:
    """One connection of a central."""

    def __init__(self, served: ServedModule, connection: Connection, open_line: OpenLine) -> None:
        module, radio = served.module, served.radio
        self.line = open_line(self.deliver)
        self.connection = connection
        self.unlocked = not module.locked
        self._served = served
        self._chunks = Chunks(radio.chunks, module)
        self._deaf = module.deaf
        self._login: Login | None = None
        if module.asks and radio.pin is not None:
            self._login = Login(served.address, radio.pin, seed=served.seed)
        self._waiting: asyncio.Queue[bytes] = asyncio.Queue(_MOST)
        self._sent = 0
        self._end: float | None = None
        self._rest: asyncio.TimerHandle | None = None
        self._task = asyncio.get_running_loop().create_task(self._notify())

    def close(self) -> None:
        """Nothing is notified any more."""
        self.line.close()
        self._task.cancel()
        if self._rest is not None:
            self._rest.cancel()

    def receive(self, data: bytes) -> None:
        """A packet from the central."""
        if not self.unlocked:
            return
        if self._login is not None:
            answer, data = self._login.receive(data)
            self.say(answer)
        if data and self._deaf:
            self._deaf -= 1
        elif data:
            self.line.receive(data)

    def deliver(self, data: bytes) -> None:
        """What the board says."""
        chatter = self._served.module.chatter
        if not chatter or len(data) < _RECORD:
            self.say(data)
            return
        self.say(chatter + data)
        self.put(chatter)

    def say(self, data: bytes) -> None:
        """Bytes, in notifications as the module makes them."""
        if data:
            for piece in self._chunks.cut(data, self.connection.att_mtu - 3):
                self.put(piece)
            if self._rest is not None:
                self._rest.cancel()
            self._rest = asyncio.get_running_loop().call_later(_REST, self._say_rest)

    def _say_rest(self) -> None:
        self._rest = None
        if rest := self._chunks.rest():
            most = self.connection.att_mtu - 3
            for start in range(0, len(rest), most):
                self.put(rest[start : start + most])

    def put(self, piece: bytes) -> None:
        """One notification, as it is."""
        if not self._waiting.full():
            self._waiting.put_nowait(piece)

    async def _notify(self) -> None:
        bumble, out = self._served.bumble, self._served.out
        if out is None:
            return
        while True:
            piece = await self._waiting.get()
            if self._drops(len(piece)):
                with suppress(BaseBumbleError):  # its central may have been quicker
                    await self.connection.disconnect()
                return
            await bumble.notify_subscriber(self.connection, out, piece)
            queue = self.connection.data_packet_queue
            if queue is not None and queue.pending > _IN_FLIGHT:
                await self.connection.drain()

    def _drops(self, size: int) -> bool:
        """Whether the fault `ble_drop` ends the connection here; it does so once."""
        active = self._served.faults.active
        self._sent += size
        if "ble_drop" not in active:
            return False
        if self._end is None:
            self._end = self._sent + active["ble_drop"]
        if self._sent < self._end:
            return False
        del active["ble_drop"]
        return True
