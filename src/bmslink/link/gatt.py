"""What the radio modules of BMSes look like from outside: their adverts and their characteristics.

Plain data, kept beside each driver (`Driver.adverts`, `Driver.modules`), so that the Bluetooth
transport, discovery and the simulated modules all work from the same declaration.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["Advert", "Gatt", "SeenDevice", "matches", "uuid16"]


def uuid16(short: int) -> str:
    """A 16-bit Bluetooth UUID written out."""
    return f"0000{short:04x}-0000-1000-8000-00805f9b34fb"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gatt:
    """One kind of radio module: the characteristics that bytes go in and come out by.

    UUIDs are written out, in lower case.
    """

    name: str
    """How errors and documentation call it (`FFE0 module`)."""
    service: str
    notify: str
    write: str
    wake: str | None = None
    """Where an empty packet is written before anything else, where that service is there."""
    settle: float = 0.0
    """Seconds that the module needs between the enabling of notifications and the first write."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Advert:
    """A sign in an advert that it may be a board of a driver. What is left empty says nothing;
    everything else must fit at once."""

    name: str = ""
    """A regular expression that the whole advertised name matches, upper and lower case alike."""
    services: frozenset[str] = frozenset()
    """Service UUIDs, all of which are advertised."""
    manufacturers: frozenset[int] = frozenset()
    """Company identifiers, one of which is advertised."""
    data: bytes = b""
    """How the manufacturer data starts."""
    addresses: tuple[str, ...] = ()
    """Address prefixes (`C8:47:8`), one of which fits."""
    certain: bool = False
    """Whether nothing else is known to advertise like this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenDevice:
    """What a device in reach said of itself."""

    address: str
    """`C8:47:8C:E4:55:12`; on macOS, which hides addresses, a UUID."""
    name: str = ""
    services: frozenset[str] = frozenset()
    """Service UUIDs, written out, in lower case."""
    manufacturers: Mapping[int, bytes] = field(default_factory=dict)
    """Company identifier to what stands behind it."""
    rssi: int | None = None
    """Strength of the signal, dBm."""


def matches(advert: Advert, seen: SeenDevice) -> bool:
    """Whether a device shows all of a sign; a sign that says nothing fits nothing."""
    if advert.name and not re.fullmatch(advert.name, seen.name, re.IGNORECASE | re.DOTALL):
        return False
    if not advert.services <= seen.services:
        return False
    if advert.addresses and not seen.address.upper().startswith(advert.addresses):
        return False
    if advert.manufacturers or advert.data:
        said = (d for m, d in seen.manufacturers.items() if m in advert.manufacturers)
        if not any(data.startswith(advert.data) for data in said):
            return False
    return bool(advert.name or advert.services or advert.addresses or advert.manufacturers)
