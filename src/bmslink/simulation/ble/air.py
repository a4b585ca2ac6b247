"""Virtual radio: controllers that hear each other, one for each process that connects by TCP.

Bumble's own virtual controllers do most of it. Added is what a program that relies on them would
miss: an attempt to connect that is cancelled ends, two that connect at once do not both succeed,
and whoever goes away without a word has left.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack

from bumble.controller import Connection, Controller, LegacyAdvertiser
from bumble.core import InvalidArgumentError, PhysicalTransport
from bumble.hci import (
    Address,
    HCI_ErrorCode,
    HCI_LE_Connection_Complete_Event,
    HCI_LE_Create_Connection_Cancel_Command,
    HCI_StatusReturnParameters,
    LeFeatureMask,
    Role,
)
from bumble.link import LocalLink
from bumble.ll import AdvInd, ConnectInd, ControlPdu, TerminateInd
from bumble.transport.common import AsyncPipeSink, StreamPacketSource, Transport

from bmslink.link.transport import split_host
from bmslink.simulation.listening import listen_error

__all__ = ["Air", "VirtualController"]

logging.getLogger("bumble").addHandler(logging.NullHandler())

_PACKET = 251
"""Bytes of one packet between host and controller, as in controllers since Bluetooth 4.2."""
_MAX_UNREAD = 1 << 20  # bytes a host may leave unread before its connection is closed
_MOST = 32
"""Hosts on one virtual radio; each advert goes to all of them."""


class Air(LocalLink):
    """The room in which virtual controllers hear each other."""

    def __init__(self) -> None:
        LocalLink.__init__(self)
        self._made = 0

    def controller(self, address: Address | None = None) -> VirtualController:
        """One more controller, with an address of its own."""
        self._made += 1
        if address is None:
            text = f"00:00:5E:00:53:{self._made & 0xFF:02X}"
            address = Address(text, Address.PUBLIC_DEVICE_ADDRESS)
        return VirtualController(f"radio {self._made}", link=self, public_address=address)

    def transport(self) -> Transport:
        """A controller for a host in this process."""
        controller = self.controller()
        return _Inside(controller, AsyncPipeSink(controller))

    def attach(self, transport: Transport) -> None:
        """A controller for a host behind a transport that was opened already, such as the Linux
        kernel behind `vhci`."""
        controller = self.controller()
        controller.host = transport.sink
        transport.source.set_packet_sink(controller)

    def send_acl_data(
        self,
        sender_controller: Controller,
        destination_address: Address,
        transport: PhysicalTransport,
        data: bytes,
    ) -> None:
        """Data comes from the address that the connection was made with, whichever that is."""
        connection = sender_controller.le_connections.get(destination_address)
        receiver = self.find_le_controller(destination_address)
        if connection is not None and receiver is not None:
            asyncio.get_running_loop().call_soon(
                receiver.on_link_acl_data, connection.self_address, transport, data
            )

    def send_ll_control_pdu(
        self, sender_address: Address, receiver_address: Address, packet: ControlPdu
    ) -> None:
        """What is meant for somebody who has left is lost."""
        try:
            super().send_ll_control_pdu(sender_address, receiver_address, packet)
        except InvalidArgumentError:
            return

    async def serve(self, stack: AsyncExitStack, place: str) -> None:
        """Give each host that connects to `HOST:PORT` a controller, until the stack is closed.

        Raises `TargetError`, or `TransportError` where that port cannot be had.
        """
        host, port = split_host(place)
        hosts: set[_Host] = set()
        loop = asyncio.get_running_loop()
        try:
            server = await loop.create_server(lambda: _Host(self, hosts), host, port)
        except OSError as exc:
            raise listen_error(exc, place) from exc

        def close() -> None:
            server.close()
            for client in list(hosts):
                client.leave()

        stack.callback(close)


class _Inside(Transport):
    """Between a virtual controller and a host in the same process."""

    source: VirtualController

    async def close(self) -> None:
        self.source.leave()


class _Advertiser(LegacyAdvertiser):
    """Sends its scan response together with the advert: nobody here asks for it."""

    def send_advertising_data(self) -> None:
        if self.enabled:
            data = _used(self.advertising_data) + _used(self.scan_response_data)
            self.controller.send_advertising_pdu(AdvInd(self.address, data))


def _used(data: bytes) -> bytes:
    """Advertising data without what it is filled up with."""
    end = 0
    while end < len(data) and data[end]:
        end += 1 + data[end]
    return data[:end]


class VirtualController(Controller):
    """A controller without a radio."""

    le_acl_data_packet_length = _PACKET
    le_features = Controller.le_features & ~LeFeatureMask.LE_EXTENDED_ADVERTISING
    """Legacy adverts only: those are what the modules send."""

    def __init__(self, name: str, *, link: Air, public_address: Address) -> None:
        super().__init__(name, link=link, public_address=public_address)
        self.le_legacy_advertiser = _Advertiser(self)

    def leave(self) -> None:
        """Out of reach for all."""
        self.le_legacy_advertiser.stop()
        for connection in list(self.le_connections.values()):
            connection.send_ll_control_pdu(TerminateInd(HCI_ErrorCode.CONNECTION_TIMEOUT_ERROR))
        self.le_connections.clear()
        self.pending_le_connection = None
        self.host = None
        self.link.controllers.discard(self)

    def on_hci_le_create_connection_cancel_command(
        self, _command: HCI_LE_Create_Connection_Cancel_Command
    ) -> HCI_StatusReturnParameters:
        pending, self.pending_le_connection = self.pending_le_connection, None
        if pending is None:
            return HCI_StatusReturnParameters(HCI_ErrorCode.COMMAND_DISALLOWED_ERROR)
        self.send_hci_packet(
            HCI_LE_Connection_Complete_Event(
                status=HCI_ErrorCode.UNKNOWN_CONNECTION_IDENTIFIER_ERROR,
                connection_handle=0,
                role=Role.CENTRAL,
                peer_address_type=pending.peer_address.address_type,
                peer_address=pending.peer_address,
                connection_interval=0,
                peripheral_latency=0,
                supervision_timeout=0,
                central_clock_accuracy=0,
            )
        )
        return HCI_StatusReturnParameters(HCI_ErrorCode.SUCCESS)

    def on_le_connect_ind(self, packet: ConnectInd) -> None:
        """Whoever comes second was not heard any more, and finds out."""
        advertiser = self.le_legacy_advertiser
        if packet.advertiser_address == advertiser.address and not advertiser.enabled:
            taken = packet.initiator_address in self.le_connections
            if not taken:
                self.link.send_ll_control_pdu(
                    packet.advertiser_address,
                    packet.initiator_address,
                    TerminateInd(HCI_ErrorCode.CONNECTION_FAILED_TO_BE_ESTABLISHED_ERROR),
                )
            return
        super().on_le_connect_ind(packet)

    def on_le_disconnected(self, connection: Connection, reason: int) -> None:
        if connection.peer_address in self.le_connections:  # both may hang up at once
            super().on_le_disconnected(connection, reason)


class _Sink:
    """What a controller says to its host."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport

    def on_packet(self, packet: bytes) -> None:
        if self._transport.get_write_buffer_size() > _MAX_UNREAD:
            self._transport.abort()
        self._transport.write(packet)


class _Host(asyncio.Protocol):
    """A process that has connected: the packets of its host."""

    def __init__(self, air: Air, hosts: set[_Host]) -> None:
        self._air = air
        self._hosts = hosts
        self._controller: VirtualController | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if not isinstance(transport, asyncio.Transport):
            raise TypeError(f"{transport} is no stream")
        self._transport = transport
        if len(self._hosts) >= _MOST:
            transport.abort()
            return
        self._hosts.add(self)
        self._source = StreamPacketSource()
        self._controller = self._air.controller()
        self._controller.host = _Sink(transport)
        self._source.set_packet_sink(self._controller)

    def data_received(self, data: bytes) -> None:
        if self._controller is not None:
            self._source.data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._hosts.discard(self)
        if self._controller is not None:
            self._controller.leave()
            self._controller = None

    def leave(self) -> None:
        """The radio is switched off."""
        self._transport.abort()
