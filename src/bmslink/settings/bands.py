"""What a BMS may hold for each kind of cell, and for any: every number once, with its source.

The bands of the chemistries are those that cell makers' sheets, vendors' presets and other tools
share; the sheet of your own cell wins. Where sources disagree, the more careful number is taken.
Recorded boards of makers are the measure for what is unusual but no danger.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

__all__ = [
    "BANDS",
    "CHARGE_RATE",
    "CHARGE_ROOM",
    "CURRENTS",
    "DISCHARGE_RATE",
    "FLOORS",
    "GUARDED_DELAYS",
    "LARGEST_DELTA",
    "LONGEST_DELAY",
    "LONGEST_OCP_DELAY",
    "LONGEST_SHORT",
    "SHORT_CIRCUIT",
    "SMALLEST_DELTA",
    "STRICTER",
    "TOPS",
    "UNUSUAL_DELAY",
    "Band",
    "looser",
]


class Band(NamedTuple):
    """What a BMS usually holds for a chemistry: V per cell, °C."""

    ovp: tuple[float, float]
    uvp: tuple[float, float]
    charge_utp: float
    """Charging below this harms the cell."""
    charge_otp: float
    """Above this is unusual."""
    discharge_utp: float
    discharge_otp: float
    balance_start: float
    """Below this the voltages say nothing about the charge."""
    working: tuple[float, float]
    """A cell beyond this is damaged, or is no such cell."""
    second_ovp: float
    """The highest second (hardware) limit: its first one is lower."""
    dead: float
    """Below this a cell may not be charged again, so nothing may let it get there."""
    hottest: float
    """Charging above this ends in a fire sooner or later."""


BANDS: Mapping[str, Band] = MappingProxyType(
    {
        # second_ovp: 3.9 and 4.4 V are what JBD ships for LFP and NMC, the others keep that gap.
        "lfp": Band((3.55, 3.70), (2.40, 2.90), 0, 60, -30, 65, 3.35, (2.40, 3.75), 3.90, 2.00, 70),
        "nmc": Band((4.15, 4.28), (2.70, 3.20), 0, 50, -30, 65, 3.90, (2.70, 4.30), 4.40, 2.50, 65),
        "lto": Band(
            (2.65, 2.85), (1.50, 2.00), -10, 55, -30, 60, 2.40, (1.50, 2.85), 3.00, 1.20, 65
        ),
        "na-ion": Band(
            (3.80, 4.00), (1.50, 2.20), 0, 50, -30, 65, 3.40, (1.50, 4.00), 4.20, 1.00, 65
        ),
    }
)
"""Chemistry -> its bands. The maker of a sodium cell may say otherwise."""

TOPS: Mapping[str, float] = MappingProxyType(
    {
        # Cells: the end of JK's own range; the hottest that a maker ships for a pack is 75 °C.
        "charge_otp": 80.0,
        "discharge_otp": 80.0,
        # FETs: the end of JK's own range; makers ship 80 to 105 °C, silicon ends at 150.
        "mosfet_otp": 110.0,
        # Makers ship 0.3 to 0.8 V and 15 K. More is no protection any more.
        "cell_delta": 1.0,
        "temperature_delta": 50.0,
    }
)
"""Limit -> the highest value that still protects, of any cells: °C, V, K."""

FLOORS: Mapping[str, float] = MappingProxyType({"charge_utp": -40.0, "discharge_utp": -40.0})
"""Limit -> the lowest value that still protects, °C: the lowest that a maker ships."""

GUARDED_DELAYS = (
    *("cell_ovp", "cell_uvp", "pack_ovp", "pack_uvp", "cell_delta", "temperature_delta"),
    *("charge_otp", "charge_utp", "discharge_otp", "discharge_utp", "mosfet_otp"),
)
UNUSUAL_DELAY, LONGEST_DELAY = 20.0, 60.0
"""s. Makers ship 1 to 8; at 1 C a full cell gains 2 % in a minute."""
LONGEST_OCP_DELAY = 300.0
"""s. JK ships this for discharging."""
LONGEST_SHORT = 0.01
"""s. The slowest that a maker ships; FETs do not live longer."""

CURRENTS: Mapping[str, float] = MappingProxyType(
    {
        "charge_ocp": 1.0,
        "charge_ocp_warning": 1.0,
        "discharge_ocp": 1.0,
        "discharge_ocp_warning": 1.0,
        # The quick stage behind the first: Daly ships twice the first.
        "daly_level_3_charge_ocp": 3.0,
        "daly_level_3_discharge_ocp": 3.0,
        # Daly ships 3 to 13 times the first stage.
        "short_circuit_current": 20.0,
    }
)
"""Current limit -> how many times the rating it may be."""
CHARGE_RATE, DISCHARGE_RATE = 2.0, 3.0
"""What is taken for the rating where nobody states one, as multiples of the capacity in one hour:
cells for storage take 0.5 to 1 and give 1 to 3; power cells need the rating stated."""
SHORT_CIRCUIT = 5000.0
"""A. Daly ships 2000; the fuse of a large pack breaks 10 to 20 kA, its FETs do not."""

CHARGE_ROOM = 0.05
"""V that a cell needs between a full charge and its over-voltage limit: others advise 50 to 100 mV.
Makers keep at least this (Daly 3.50 and 3.55 V), and cells are never quite equal."""
SMALLEST_DELTA, LARGEST_DELTA = 0.003, 1.0
"""V between cells at which a balancer begins: the ends of JK's own range; JK ships the lower."""

_FORMS = ("", "_warning", "_release")
STRICTER: Mapping[str, int] = MappingProxyType(
    {
        **{f"{key}{form}": -1 for key in ("cell_ovp", "pack_ovp") for form in _FORMS},
        **{f"{key}{form}": 1 for key in ("cell_uvp", "pack_uvp", "charge_utp") for form in _FORMS},
        "jbd_hardware_cell_ovp": -1,
        "jbd_hardware_cell_uvp": 1,
        "jk_power_off_voltage": 1,
        "jk_request_charge_voltage": -1,
        "float_voltage": -1,
    }
)
"""Setting -> where it becomes stricter (1: higher, -1: lower), of all that the chemistry decides:
voltages that limit or ask for charge, and charging in the cold."""


def looser(key: str, old: float | None, new: float | None) -> bool:
    """Whether a setting that the chemistry decides would allow more than before.

    What was not known before, or is not known then, counts as looser.
    """
    way = STRICTER.get(key)
    if way is None:
        return False
    return old is None or new is None or (new - old) * way < 0
