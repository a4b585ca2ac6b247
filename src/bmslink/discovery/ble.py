"""Packs over Bluetooth: what an advert says of the protocol, and asking where it says too little.

An advert names the radio module, hardly ever the dialect: JK02 and JK04 boards advertise alike,
and so do Daly's three dialects. Connecting tells.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from bmslink.errors import FrameError, LinkClosed, LinkTimeout, Refused, UnknownDevice
from bmslink.link.gatt import Gatt, SeenDevice, matches
from bmslink.link.link import Link
from bmslink.link.shared_line import shared
from bmslink.link.transport import Endpoint, Pin, Transport, make_transport
from bmslink.model import Identity
from bmslink.protocols import DRIVERS, VENDORS, load_driver
from bmslink.protocols.base import Driver, Options

__all__ = ["SPOKEN", "advertised", "ask_radio", "wanted"]

_log = logging.getLogger(__name__)

SPOKEN: tuple[str, ...] = tuple(
    sorted(
        (name for name in DRIVERS if load_driver(name).modules),
        key=lambda name: load_driver(name).radio_rank,
    )
)
"""What is spoken over Bluetooth; of one vendor, the likeliest first."""
_RETRIES = 2
"""The first request of a session may only wake the board."""


def advertised(seen: SeenDevice) -> tuple[str, bool] | None:
    """The likeliest protocol behind an advert, and whether only such boards advertise like it."""
    found: tuple[str, bool] | None = None
    for name in SPOKEN:
        for advert in load_driver(name).adverts:
            if matches(advert, seen) and (found is None or (advert.certain and not found[1])):
                found = name, advert.certain
    return found


def wanted(name: str, protocol: str | None) -> bool:
    """Whether a protocol is the one, or of the vendor, that is looked for (`None`: any)."""
    if protocol in VENDORS:
        return load_driver(name).vendor == protocol
    return protocol in (None, name)


def _modules(names: Iterable[str]) -> list[Gatt]:
    """The modules of several protocols, each pair of characteristics once."""
    found: dict[tuple[str, str, str], Gatt] = {}
    for name in names:
        for gatt in load_driver(name).modules:
            found.setdefault((gatt.service, gatt.notify, gatt.write), gatt)
    return list(found.values())


async def ask_radio(
    endpoint: Endpoint, pin: Pin | None = None, tell: Callable[[str], None] = lambda text: None
) -> tuple[str, Identity, list[str]]:
    """Connect, and find out which protocol a module carries: its name, who answered, what was
    tried.

    `endpoint.protocol` is a vendor, or `None` for all. Raises what keeps it from connecting, and
    `UnknownDevice` where no protocol is answered.
    """
    names = [name for name in SPOKEN if wanted(name, endpoint.protocol)]
    waking = [name for name in names if any(gatt.wake for gatt in load_driver(name).modules)]
    modules = _modules([*names[:1], *waking, *names])  # of one pair, that which has to be woken
    tried: list[str] = []
    tell(f"{endpoint.place}: connecting")
    transport = shared(make_transport(endpoint, modules, pin))
    await transport.open(lambda data: None, lambda error: None)
    try:
        for name in _ordered(names, transport.peer()):
            tell(f"{endpoint.place}: asking for {name}")
            identity, what = await _identify(name, endpoint, modules, pin)
            tried.append(f"{name}: {what}")
            if identity is not None:
                return name, identity, tried
    finally:
        await transport.close()
    raise UnknownDevice(
        f"{endpoint.place} is connected, but answers in no protocol known here "
        f"({', '.join(tried)}). Is the board behind the module awake?"
    )


def _ordered(names: list[str], seen: SeenDevice | None) -> list[str]:
    """The vendor that the advert speaks for comes first."""
    likely = advertised(seen) if seen is not None else None
    if likely is None:
        return names
    vendor = load_driver(likely[0]).vendor
    return sorted(names, key=lambda name: load_driver(name).vendor != vendor)


async def _identify(
    name: str, endpoint: Endpoint, modules: list[Gatt], pin: Pin | None
) -> tuple[Identity | None, str]:
    kind = load_driver(name)
    timing = replace(kind.timing.over_radio(), retries=_RETRIES, wake_retries=_RETRIES)
    transport: Transport = shared(make_transport(endpoint, modules, pin))
    link: Link[Any] = Link(transport, kind.make_framer(), timing, name=str(endpoint))
    driver: Driver[Any] = kind(link, Options(pin=pin or Pin()))
    try:
        await link.open()
        await driver.start()
        return await driver.identify(), "answered"
    except LinkTimeout as error:
        return None, error.heard
    except LinkClosed:  # what it cannot take makes it hang up; the next question connects anew
        return None, "hung up"
    except Refused:
        return Identity(protocol=name), "refused to say who it is"
    except FrameError as error:
        _log.info("%s is no %s: %s", endpoint, name, error)
        return None, "another protocol"
    finally:
        await link.close()
