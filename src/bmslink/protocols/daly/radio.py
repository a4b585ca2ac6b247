"""What Daly's Bluetooth modules look like: adverts and characteristics.

Facts: `docs/protocols/daly-d2.md`, Bluetooth. The modules only pass bytes on, so the same advert
may hide any of the three dialects, and many boards answer two of them. The adverts stand at
daly-d2, the dialect that the vendor's app tries first; connecting tells.
"""

from __future__ import annotations

from bmslink.link.gatt import Advert, Gatt, uuid16

__all__ = ["DALY_ADVERTS", "DALY_MODULES"]


def _radio(short: int) -> str:
    """A UUID of the radio module's own service."""
    return f"02f00000-0000-0000-0000-00000000{short:04x}"


_FFF0 = uuid16(0xFFF0)
_WAKE = _radio(0xFF01)

DALY_MODULES = (
    # Old modules pass no A5 answer on before an empty packet was written to 02f0…ff01.
    Gatt(
        name="Daly module",
        service=_FFF0,
        notify=uuid16(0xFFF1),
        write=uuid16(0xFFF2),
        wake=_WAKE,
    ),
    # Said of newer DL and JHB modules by one owner; nothing but the characteristics differs.
    Gatt(
        name="Daly module with FF00",
        service=uuid16(0xFF00),
        notify=uuid16(0xFF01),
        write=uuid16(0xFF02),
        wake=_WAKE,
    ),
)

DALY_ADVERTS = (
    Advert(name=r"(DL|JHB)-[0-9A-F]{12}", certain=True),
    Advert(name=r"(DL|JHB)-.*"),
    # A pack that its owner renamed: FFF0 alone is any serial module.
    Advert(
        services=frozenset({_FFF0}),
        manufacturers=frozenset({0x0102, 0x0104, 0x0302, 0x0303, 0x0402, 0x6446}),
    ),
)
