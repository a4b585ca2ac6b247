"""What the radio modules of BMSes look like from outside: their adverts and their characteristics.

Plain data, kept beside each driver (`Driver.adverts`, `Driver.modules`), so that the Bluetooth
transport, discovery and the simulated modules all work from the same declaration.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Advert", "Gatt", "uuid16"]


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
