"""The names of all settings that any board has, so that a typing error is known from a setting
that this pack lacks."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from bmslink.protocols import DRIVERS, VENDORS, load_driver
from bmslink.settings.catalogue import CATALOGUE
from bmslink.settings.nearest import or_nearest

__all__ = ["VENDOR_PREFIXES", "no_name", "vendor_names"]

VENDOR_PREFIXES = tuple(f"{vendor}_" for vendor in VENDORS)
"""How the names begin of what only one vendor has."""


def no_name(key: str) -> str:
    """Why this is the name of no setting of any BMS; empty where it may be one.

    A slip of the pen must not pass for a setting that this pack lacks: then `partial` would leave
    out what somebody meant to protect the cells with.
    """
    if key in CATALOGUE:
        return ""
    shared = frozenset(CATALOGUE)
    known = shared | vendor_names() if key.startswith(VENDOR_PREFIXES) else shared
    if key in known:
        return ""
    return f"no BMS has a setting {key!r}.{or_nearest(key, sorted(known))}"


@cache
def vendor_names() -> frozenset[str]:
    """The names of what only one vendor has, over all shipped maps."""
    return frozenset(key for key in _keys() if key.startswith(VENDOR_PREFIXES))


def _keys() -> Iterator[str]:
    """The keys of every map with all that it can offer; this loads every protocol."""
    for name in DRIVERS:
        for each in load_driver(name).every_map():
            yield from each.by_key
