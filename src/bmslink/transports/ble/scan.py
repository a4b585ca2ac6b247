"""Listening for adverts, and finding the one device that a target means."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import islice

from bleak import BleakScanner
from bleak.backends.device import BLEDevice
from bleak.backends.scanner import AdvertisementData

from bmslink.errors import PortNotFound, TargetError
from bmslink.link.gatt import SeenDevice
from bmslink.transports.ble.backend import Backend, backend_in_use
from bmslink.transports.ble.errors import brought_to_an_end, printable, translated

__all__ = ["find", "plain_address", "printable_name", "scan_adverts"]

_ADDRESS = re.compile(r"[0-9A-F]{2}([:-][0-9A-F]{2}){5}", re.IGNORECASE)
_UUID = re.compile(r"[0-9A-F]{8}(-[0-9A-F]{4}){3}-[0-9A-F]{12}", re.IGNORECASE)
_MOST = 500
"""Devices that are remembered in one scan; something may make up addresses without end."""
_SAYINGS = 32
"""Services and companies that are remembered of one device."""
_NAMED = 6
"""How many of those seen an error names."""
_LONGEST_NAME = 60
_ANSWER = 5.0
"""s; a Bluetooth service that hangs never says that a scan has begun."""
_TWINS = 1.0
"""s; so long is looked for a second device of the same name before the first one is taken."""

OnSeen = Callable[[SeenDevice], None]
_Heard = Callable[[BLEDevice, SeenDevice], None]


def plain_address(text: str) -> str | None:
    """`c8-47-8c-…` as `C8:47:8C:…`, a UUID (macOS) in capitals, `None` for a name."""
    if _ADDRESS.fullmatch(text):
        return text.upper().replace("-", ":")
    return text.upper() if _UUID.fullmatch(text) else None


def printable_name(text: str) -> str:
    """What a device calls itself, as it may be shown."""
    return printable(text, _LONGEST_NAME).strip()


def _seen(device: BLEDevice, advert: AdvertisementData) -> SeenDevice:
    address = plain_address(device.address) or printable_name(device.address)
    name = printable_name(advert.local_name or device.name or "")
    if plain_address(name) == address:  # what BlueZ calls a device without a name
        name = ""
    return SeenDevice(
        address=address,
        name=name,
        services=frozenset(uuid.lower() for uuid in advert.service_uuids),
        manufacturers={m: bytes(data) for m, data in advert.manufacturer_data.items()},
        rssi=advert.rssi,
    )


@asynccontextmanager
async def _scanning(backend: Backend, heard: _Heard) -> AsyncIterator[None]:
    """Scan as long as this lasts; `heard` gets every advert, merged with the earlier ones."""
    known: dict[str, SeenDevice] = {}

    def detected(device: BLEDevice, advert: AdvertisementData) -> None:
        seen = _seen(device, advert)
        before = known.get(seen.address)
        if before is not None:
            seen = merged(before, seen)
        if before is not None or len(known) < _MOST:
            known[seen.address] = seen
        heard(device, seen)

    scanner = BleakScanner(detected, backend=backend.scanner)
    with translated("the scan"):
        async with asyncio.timeout(_ANSWER):
            await scanner.start()
    try:
        yield
    finally:
        await brought_to_an_end("the scan", scanner.stop)


def merged(before: SeenDevice, now: SeenDevice) -> SeenDevice:
    """Name and services often come in different packets: keep what was said before."""
    return SeenDevice(
        address=now.address,
        name=now.name or before.name,
        services=frozenset(islice(now.services | before.services, _SAYINGS)),
        manufacturers=dict(
            islice(
                {**now.manufacturers, **before.manufacturers, **now.manufacturers}.items(), _SAYINGS
            )
        ),
        rssi=now.rssi if now.rssi is not None else before.rssi,
    )


async def scan_adverts(timeout: float, on_seen: OnSeen | None = None) -> list[SeenDevice]:
    """Listen for `timeout` seconds; what was in reach, the strongest first.

    `on_seen` gets each device when it is heard first and when it says something new. Raises what
    keeps Bluetooth from working (`PortNotFound`, `PortDenied`, `TransportError`).
    """
    found: dict[str, SeenDevice] = {}

    def heard(_: BLEDevice, seen: SeenDevice) -> None:
        before = found.get(seen.address)
        if before is None and len(found) >= _MOST:
            return
        found[seen.address] = seen
        news = before is None or (seen.name, seen.services, seen.manufacturers) != (
            before.name,
            before.services,
            before.manufacturers,
        )
        if news and on_seen is not None:
            on_seen(seen)

    with translated("the scan"):
        async with backend_in_use() as backend, backend.radio, _scanning(backend, heard):
            await asyncio.sleep(timeout)
    return sorted(found.values(), key=_strength)


def _strength(seen: SeenDevice) -> float:
    return float("inf") if seen.rssi is None else -seen.rssi


async def find(
    backend: Backend, place: str, timeout: float, latest: str | None = None
) -> tuple[BLEDevice, SeenDevice]:
    """The device with an address or a name (upper and lower case alike).

    `latest` is the address that a name had before: that is the one, and no other of that name.
    Raises `PortNotFound` with what was there instead, `TargetError` for a name that two have.
    """
    address = plain_address(place)
    name = place.strip().casefold()
    hits: dict[str, tuple[BLEDevice, SeenDevice]] = {}
    others: dict[str, SeenDevice] = {}
    sure, first = asyncio.Event(), asyncio.Event()

    def heard(device: BLEDevice, seen: SeenDevice) -> None:
        if seen.address in (address, latest):
            hits.clear()
            hits[seen.address] = device, seen
            sure.set()
            first.set()
        elif address is latest is None and seen.name.casefold() == name:
            hits[seen.address] = device, seen
            first.set()
        elif len(others) < _MOST:
            others[seen.address] = seen

    async with _scanning(backend, heard):
        if await _until(first, timeout) and not sure.is_set():
            await _until(sure, _TWINS)
    if len(hits) > 1:
        raise TargetError(
            f"{len(hits)} devices are called {printable(place, _LONGEST_NAME)!r}: use the address "
            f"instead ({', '.join(sorted(hits)[:_NAMED])})."
        )
    for hit in hits.values():
        return hit
    raise PortNotFound(_not_seen(place, timeout, others, latest))


async def _until(event: asyncio.Event, timeout: float) -> bool:
    try:
        async with asyncio.timeout(timeout):
            await event.wait()
    except TimeoutError:
        return False
    return True


def _not_seen(place: str, timeout: float, others: dict[str, SeenDevice], latest: str | None) -> str:
    shown = [s.name or s.address for s in sorted(others.values(), key=_strength)]
    more = f" and {len(shown) - _NAMED} more" if len(shown) > _NAMED else ""
    there = f"seen were {', '.join(shown[:_NAMED])}{more}" if shown else "nothing else was seen"
    before = f" (last {latest})" if latest and plain_address(place) is None else ""
    return (
        f"{printable(place, _LONGEST_NAME)}{before} was not seen in {timeout:g} s ({there}). "
        "Is it awake and near, and no phone app connected to it?"
    )
