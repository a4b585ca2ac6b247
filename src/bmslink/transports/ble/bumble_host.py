"""bumble's host on one controller: what clients and scanners share.

bumble's errors come out as bleak's, those of opening a controller as our own.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

from bleak.exc import BleakError, BleakGATTProtocolError
from bumble.att import ATT_Error
from bumble.core import BaseBumbleError
from bumble.device import Advertisement, Connection, Device, DeviceConfiguration
from bumble.hci import Address, HCI_LE_Create_Connection_Cancel_Command
from bumble.pairing import PairingConfig, PairingDelegate
from bumble.transport import open_transport
from bumble.transport.common import Transport, TransportSpecError

from bmslink.errors import PortDenied, PortNotFound, TargetError, TransportError

__all__ = [
    "Adapter",
    "Opener",
    "Passkey",
    "answered",
    "give_up",
    "open_controller",
    "shown",
    "translated",
]

logging.getLogger("bumble").addHandler(logging.NullHandler())  # what it warns of is our business

_OPENING = 5.0  # s for a controller to answer; real ones take up to 1
_CANCELLING = 1.0  # s for a controller to give up an attempt to connect

T = TypeVar("T")
Opener = Callable[[str], Awaitable[Transport]]
"""Makes a transport of bumble's name for one."""


async def open_controller(spec: str) -> Transport:
    """The transport to a controller; our own errors for every way in which that may fail."""
    try:
        async with asyncio.timeout(_OPENING):
            return await open_transport(spec)
    except PermissionError as exc:
        raise PortDenied(
            f"You may not open the Bluetooth controller {spec}: it takes root or a udev rule."
        ) from exc
    except ConnectionRefusedError as exc:
        raise PortNotFound(
            f"No Bluetooth controller listens at {spec}: is `bmslink simulate` running there?"
        ) from exc
    except TimeoutError as exc:
        raise PortNotFound(f"The Bluetooth controller {spec} does not answer.") from exc
    except TransportSpecError as exc:
        raise TargetError(
            f"{spec!r} names no Bluetooth controller; name one as bumble does: usb:0, "
            "hci-socket:0, tcp-client:HOST:PORT."
        ) from exc
    except Exception as exc:  # USB libraries raise bare exceptions
        raise PortNotFound(
            f"The Bluetooth controller {spec} cannot be opened ({type(exc).__name__}: {exc}): is "
            "it plugged in, and does no other program use it?"
        ) from exc


class Passkey(PairingDelegate):
    """Pairs with the six digits that the module shows or has on its label."""

    def __init__(self, passkey: int, *, shows: bool = False) -> None:
        """`shows`: it is the side that has the digits, not the one where they are typed in."""
        super().__init__(self.DISPLAY_OUTPUT_ONLY if shows else self.KEYBOARD_INPUT_ONLY)
        self._passkey = passkey

    async def get_number(self) -> int:
        """What is typed in."""
        return self._passkey

    async def generate_passkey(self) -> int:
        """What is shown."""
        return self._passkey


class Adapter:
    """One controller with bumble's host on it, shared by all clients and scanners."""

    def __init__(self, spec: str, opener: Opener) -> None:
        self._spec = spec
        self._opener = opener
        self._transport: Transport | None = None
        self._device: Device | None = None
        self._turn = asyncio.Lock()
        self._listeners: list[Callable[[Advertisement], None]] = []
        self._passkeys: dict[Connection, int] = {}
        self.connecting = asyncio.Lock()
        """A controller makes one connection at a time."""

    async def device(self) -> Device:
        """The host, opened again if its controller went away."""
        async with self._turn:
            lost = self._transport is None or self._transport.source.terminated.done()
            if self._device is None or lost:
                await self._close()
                self._device = await self._open()
            return self._device

    async def _open(self) -> Device:
        self._transport = await self._opener(self._spec)
        config = DeviceConfiguration(name="bmslink", address=Address.generate_static_address())
        device = Device.from_config_with_hci(config, self._transport.source, self._transport.sink)
        device.pairing_config_factory = self._pairing
        try:
            async with asyncio.timeout(_OPENING):
                await device.power_on()
        except (TimeoutError, BaseBumbleError) as exc:
            raise TransportError(
                f"What answers at {self._spec} is no Bluetooth controller."
            ) from exc
        device.on(Device.EVENT_ADVERTISEMENT, self._heard)
        return device

    async def close(self) -> None:
        """Give the controller back."""
        async with self._turn:
            await self._close()

    async def _close(self) -> None:
        transport, self._transport, self._device = self._transport, None, None
        self._listeners.clear()
        self._passkeys.clear()
        if transport is not None:
            await transport.close()

    def _pairing(self, connection: Connection) -> PairingConfig:
        return PairingConfig(delegate=Passkey(self._passkeys.get(connection, 0)))

    async def pair(self, connection: Connection, passkey: int) -> None:
        """Pair and encrypt; bumble's errors."""
        self._passkeys[connection] = passkey
        try:
            await connection.pair()
        finally:
            self._passkeys.pop(connection, None)

    # what is in the air

    def _heard(self, advertisement: Advertisement) -> None:
        for listener in list(self._listeners):
            listener(advertisement)

    async def listen(self, listener: Callable[[Advertisement], None]) -> None:
        """Scan, until nobody listens any more."""
        device = await self.device()
        async with self._turn:
            if not self._listeners:
                await answered(device.start_scanning())
            self._listeners.append(listener)

    async def ignore(self, listener: Callable[[Advertisement], None]) -> None:
        """End what `listen` began."""
        async with self._turn:
            if listener not in self._listeners:
                return
            self._listeners.remove(listener)
            if self._device is not None and not self._listeners:
                await answered(self._device.stop_scanning())

    async def find(self, place: str) -> Address:
        """Wait until a device with this address advertises: only that tells its kind."""
        found: asyncio.Future[Address] = asyncio.get_running_loop().create_future()

        def look(advertisement: Advertisement) -> None:
            if not found.done() and shown(advertisement.address) == place.upper():
                found.set_result(advertisement.address)

        await self.listen(look)
        try:
            return await found
        finally:
            await self.ignore(look)


async def answered(command: Awaitable[T]) -> T:
    """A command to the controller, which answers at once or never."""
    async with asyncio.timeout(_OPENING):
        return await translated(command)


async def translated(work: Awaitable[T]) -> T:
    """Bumble's errors as bleak's.

    A connection that breaks off cancels the future that bumble waits for, which must not look as
    if somebody had cancelled us.
    """
    try:
        return await work
    except asyncio.CancelledError as exc:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        raise BleakError("The connection broke off.") from exc
    except ATT_Error as exc:
        raise BleakGATTProtocolError(exc.error_code) from exc
    except BaseBumbleError as exc:
        raise BleakError(str(exc) or type(exc).__name__) from exc


def shown(address: Address) -> str:
    return address.to_string(False).upper()


async def give_up(device: Device, address: Address | None) -> None:
    """End an attempt to connect, and what came of it in the meantime."""
    with suppress(BleakError, TimeoutError):
        async with asyncio.timeout(_CANCELLING):
            await translated(device.send_sync_command(HCI_LE_Create_Connection_Cancel_Command()))
            for connection in list(device.connections.values()):
                if connection.peer_address == address:
                    await translated(connection.disconnect())
