"""Connections that another program owns, and hands over to `bmslink.connect`.

A byte stream of its own is a `Transport`. A Bluetooth device that it has found is bleak's
`BLEDevice`, which it may want to connect itself: Home Assistant reaches devices through proxies
with few places, and retries in its own way.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeGuard

from bmslink.connection import MakeTransport
from bmslink.errors import TargetError
from bmslink.link.gatt import Gatt
from bmslink.link.transport import Endpoint, Pin, Transport
from bmslink.protocols import load_driver
from bmslink.target import options_of, timing_of

if TYPE_CHECKING:
    from bmslink.transports.ble.transport import ClientFactory

__all__ = ["embedded", "is_written"]

Written = str | os.PathLike[str] | Endpoint


def is_written(target: object) -> TypeGuard[Written]:
    """Whether it is a target as people and files write them."""
    return isinstance(target, str | os.PathLike | Endpoint)


def embedded(
    target: object,
    protocol: str | None,
    keys: Mapping[str, object],
    transport: Transport | None,
    client: ClientFactory | None,
) -> tuple[Endpoint, MakeTransport]:
    """The endpoint of what was handed over, and what makes its transport. Raises `TargetError`."""
    if transport is not None:
        if client is not None:
            raise TargetError("connect() takes a transport or a client, not both.")
        if target is not None and not isinstance(target, str):
            raise TargetError("connect(): beside a transport, target is the name of its place.")
        endpoint = _endpoint("transport", target or type(transport).__name__, protocol, keys)
        return endpoint, lambda modules, pin: transport
    if client is not None and not callable(client):
        raise TargetError("connect(): client must be a function that connects a BLEDevice.")
    from bmslink.transports.ble.transport import BLEDevice, BleTransport, given_device

    if not isinstance(target, BLEDevice):
        if client is not None:
            raise TargetError("connect(): a client connects a BLEDevice, which is the target then.")
        got = "None" if target is None else type(target).__name__
        raise TargetError(f"connect(): target must be text, a path or Endpoint, not {got}.")
    endpoint = _endpoint("ble", given_device(target).address, protocol, keys)

    def make(modules: Sequence[Gatt], pin: Pin) -> Transport:
        return BleTransport(endpoint, modules, pin, device=target, client=client)

    return endpoint, make


def _endpoint(
    scheme: str, place: str, protocol: str | None, keys: Mapping[str, object]
) -> Endpoint:
    if protocol is None:
        raise TargetError(
            "Which protocol does it speak? Name it: connect(..., protocol='jbd'). It is not looked "
            "for on a connection that another program owns."
        )
    driver = load_driver(protocol)
    endpoint = Endpoint(scheme, place, protocol).with_query(**keys)
    timing_of(driver.timing, endpoint)
    options_of(endpoint, Pin())
    return endpoint
