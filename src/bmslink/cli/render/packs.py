"""The named packs, for people."""

from __future__ import annotations

from collections.abc import Collection

from bmslink.packs import NamedPack

__all__ = ["table"]


def table(packs: Collection[NamedPack]) -> list[str]:
    """One line for each pack; a pin is only said to be there."""
    width = max((len(pack.name) for pack in packs), default=0)
    return [
        f"{pack.name:<{width}}  {pack.target}{'' if pack.pin is None else '  (pin set)'}"
        for pack in packs
    ]
