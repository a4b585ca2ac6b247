"""What JK's Bluetooth modules look like: adverts and characteristics.

Facts: `docs/protocols/jk02.md`, Bluetooth. JK02 and JK04 boards carry the same modules and say
the same of themselves, so no advert can tell them apart: the adverts stand at jk02, which nearly
all boards speak, and connecting tells (the device info of a JK04 board proves it).
"""

from __future__ import annotations

from bmslink.link.gatt import Advert, Gatt, uuid16

__all__ = ["JK_ADVERTS", "JK_MODULES"]

_FFE0, _FFE1, _FFE2, _FEE7 = (uuid16(n) for n in (0xFFE0, 0xFFE1, 0xFFE2, 0xFEE7))

JK_MODULES = (
    # One FFE1 that does both, or two of them: one to write to, one that notifies.
    Gatt(name="JK module", service=_FFE0, notify=_FFE1, write=_FFE1),
    # Where FFE1 only notifies, FFE2 is the one to write to.
    Gatt(name="JK module with FFE2", service=_FFE0, notify=_FFE1, write=_FFE2),
)

JK_ADVERTS = (
    # Company 0B65 with 88 A0 and the address behind it; 4B4A is "JK".
    Advert(manufacturers=frozenset({0x0B65}), data=b"\x88\xa0", certain=True),
    Advert(manufacturers=frozenset({0x4B4A}), services=frozenset({_FFE0}), certain=True),
    # Others that the vendor's app takes for its own, together with its service.
    Advert(
        manufacturers=frozenset({0x0B65, 0x00F0, 0xEAC1, 0x2D0B, 0x5844}),
        services=frozenset({_FFE0}),
    ),
    # FFE0 alone is any serial module: the address or the name must fit as well. The name is the
    # user's to choose; it begins as the model, e.g. JK-B2A24S15P or JK_B2A8S20P.
    Advert(services=frozenset({_FFE0}), addresses=("C8:47:8", "20:21:11")),
    Advert(services=frozenset({_FFE0, _FEE7})),
    Advert(name=r"JK[-_](PB|B|BD|DZ)[0-9].*"),
)
