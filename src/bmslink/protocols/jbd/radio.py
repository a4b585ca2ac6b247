"""What JBD's Bluetooth modules look like: adverts and characteristics.

Facts: `docs/protocols/jbd.md`, Bluetooth. White labels dominate, so names are hints; what proves
a JBD board is its answer to register 03.
"""

from __future__ import annotations

from bmslink.link.gatt import Advert, Gatt, uuid16

__all__ = ["JBD_ADVERTS", "JBD_MODULES", "JBD_PREFIXES"]

_FF00, _FFF0 = uuid16(0xFF00), uuid16(0xFFF0)

_SETTLE = 0.3
"""What is written sooner after notifications were enabled is lost."""

JBD_MODULES = (
    Gatt(
        name="JBD module",
        service=_FF00,
        notify=uuid16(0xFF01),
        write=uuid16(0xFF02),
        settle=_SETTLE,
    ),
    Gatt(
        name="DH04 bridge",
        service=_FFF0,
        notify=uuid16(0xFFF1),
        write=uuid16(0xFFF2),
        settle=_SETTLE,
    ),
    Gatt(
        name="Eleksol module",
        service=uuid16(0xFF06),
        notify=uuid16(0xFF07),
        write=uuid16(0xFF08),
        settle=_SETTLE,
    ),
    Gatt(
        name="FFE0 clone",
        service=uuid16(0xFFE0),
        notify=uuid16(0xFFE1),
        write=uuid16(0xFFE1),
        settle=_SETTLE,
    ),
)

JBD_PREFIXES = (
    "A4:C1:37",
    "A4:C1:38",
    "A5:C2:37",
    "A5:C2:39",
    "A5:C2:3A",
    "AA:C2:37",
    "10:A5:62",
    "70:3E:97",
)
_NAMES = (
    r"JBD-.*",
    r"xiaoxiang BMS",
    r"[SD]P[0-9]{2}S.*",
    r"AP21S.*",
    r"DWF.*",
    r"LSG-.*",
    r"N-.{5}BL.*",
    r"SX1.*",
    r"SX60.*",
    r"SBL-.*",
    r"OGR-.*",
    r"TZ-H.*",
    r"GJ-.*",
    r"LT40AH",
    r"AL12-.*",
    r"ECO-LFP48100-.*",
)

JBD_ADVERTS = (
    Advert(name=r"JBD-.*|xiaoxiang BMS|[SD]P[0-9]{2}S[0-9]{3}.*|AP21S[0-9]{3}.*", certain=True),
    Advert(name="|".join(_NAMES), services=frozenset({_FF00})),
    # The first of these addresses belong to a maker of radio chips: thermometers have them too.
    Advert(services=frozenset({_FF00}), addresses=JBD_PREFIXES),
    # Any other name: but those with FF00 that are Daly's say so.
    Advert(name=r"(?!(DL|JHB)-).*", services=frozenset({_FF00})),
    # WattCycle's bridge, at FFF0.
    Advert(name=r"WT.HdB.*"),
)
