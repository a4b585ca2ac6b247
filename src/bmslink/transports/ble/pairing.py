"""Telling BlueZ the passkey of a pack that wants to be paired.

BlueZ asks an agent, a D-Bus object of whoever pairs. bleak has none, so one is registered as long
as the pairing lasts. Windows and macOS ask the user themselves.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from dbus_fast import BusType, Message, MessageType
from dbus_fast.aio import MessageBus

from bmslink.errors import PortDenied, TransportError

__all__ = ["agent", "answer"]

_PATH = "/org/bmslink/agent"
_AGENT = "org.bluez.Agent1"
_BLUEZ = "org.bluez"
_DIGITS = 6


def answer(message: Message, passkey: str) -> Message | bool | None:
    """What the agent says to a call; `None`: the call is not for it."""
    if message.message_type is not MessageType.METHOD_CALL or message.interface != _AGENT:
        return None
    if message.member == "RequestPasskey":  # a number of six digits
        return Message.new_method_return(message, "u", [int(passkey)])
    if message.member == "RequestPinCode":  # the same for the oldest way of pairing: text
        return Message.new_method_return(message, "s", [passkey])
    if message.member in ("Release", "Cancel", "RequestConfirmation", "RequestAuthorization"):
        return Message.new_method_return(message)
    return Message.new_error(message, "org.bluez.Error.Rejected", "not asked for")


@contextlib.asynccontextmanager
async def agent(passkey: str) -> AsyncIterator[None]:
    """While this lasts, BlueZ gets the passkey when it asks for one.

    Raises `PortDenied` for a passkey that is none, and what D-Bus raises.
    """
    if not (passkey.isascii() and passkey.isdecimal() and len(passkey) <= _DIGITS):
        raise PortDenied("A Bluetooth passkey is a number of up to six digits; the pin is none.")
    bus = MessageBus(bus_type=BusType.SYSTEM)
    try:
        await bus.connect()
        bus.add_message_handler(lambda message: answer(message, passkey))
        await _call(bus, "RegisterAgent", "os", [_PATH, "KeyboardOnly"])
        await _call(bus, "RequestDefaultAgent", "o", [_PATH])
        yield
        await _call(bus, "UnregisterAgent", "o", [_PATH])
    finally:
        bus.disconnect()  # BlueZ forgets the agent with it


async def _call(bus: MessageBus, member: str, signature: str, body: list[Any]) -> None:
    reply = await bus.call(
        Message(
            destination=_BLUEZ,
            path="/org/bluez",
            interface="org.bluez.AgentManager1",
            member=member,
            signature=signature,
            body=body,
        )
    )
    if reply is not None and reply.message_type is MessageType.ERROR:
        raise TransportError(f"BlueZ takes no passkey from us ({reply.error_name}).")
