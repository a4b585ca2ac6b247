"""What a cell of each chemistry is like: its rest voltage over the charge, and its usual limits.

The numbers are typical datasheet values, rounded: no single maker's cell, and no promise about
yours. They shape the simulated pack and serve as a first guess elsewhere; the cell maker's sheet
wins wherever it is at hand.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from bmslink.arguments import did_you_mean
from bmslink.errors import TargetError
from bmslink.settings.bands import BANDS

__all__ = ["CHEMISTRIES", "Chemistry", "chemistry"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chemistry:
    """One kind of cell. All voltages are per cell."""

    name: str
    nominal_voltage: float
    """The voltage the energy of a cell is reckoned with, V."""
    curve: tuple[tuple[float, float], ...]
    """Rest voltage at 25 °C: pairs of SOC (%) and V, both strictly rising, from 0 to 100 %."""
    curve_note: str
    limits: Mapping[str, float] = field(hash=False)
    """Usual BMS settings by canonical key, V and °C."""
    limits_note: str
    resistance: float
    """Direct-current resistance times capacity, Ω·Ah: a cell of C Ah has about this / C."""

    @property
    def full_voltage(self) -> float:
        """Rest voltage at 100 %, which is also where a charger for daily use may hold, V."""
        return self.curve[-1][1]

    @property
    def empty_voltage(self) -> float:
        """Rest voltage at 0 %, V."""
        return self.curve[0][1]

    def ocv(self, soc: float) -> float:
        """Rest voltage in V at a state of charge in %; outside 0..100 the nearest end."""
        return _interpolate(self.curve, soc)

    def soc_at(self, voltage: float) -> float:
        """State of charge in % at a rest voltage in V: the inverse of `ocv`, cut to 0..100.

        On the flat part of an LFP curve a millivolt is worth several percent.
        """
        return _interpolate(tuple((v, soc) for soc, v in self.curve), voltage)


def _interpolate(points: tuple[tuple[float, float], ...], x: float) -> float:
    """Straight lines between the points, and the end values beyond them."""
    index = bisect_right(points, x, key=lambda point: point[0])
    if index == 0:
        return points[0][1]
    if index == len(points):
        return points[-1][1]
    (x0, y0), (x1, y1) = points[index - 1], points[index]
    return y0 + (y1 - y0) * (x - x0) / (x1 - x0)


# fmt: off
_LFP = Chemistry(
    name="lfp",
    nominal_voltage=3.2,
    curve=(
        (0, 2.600), (2, 2.850), (5, 3.050), (10, 3.180), (15, 3.220), (20, 3.245), (30, 3.275),
        (40, 3.290), (50, 3.297), (60, 3.308), (70, 3.325), (80, 3.331), (90, 3.335),
        (95, 3.340), (98, 3.360), (99, 3.390), (100, 3.450),
    ),
    curve_note="Typical datasheet values of large prismatic LiFePO4 cells, slow discharge, 25 °C; "
               "two flat steps with the rise near 65 % that the graphite makes.",
    limits=MappingProxyType({
        "cell_ovp": 3.65, "cell_ovp_warning": 3.55, "cell_ovp_release": 3.40,
        "cell_uvp": 2.50, "cell_uvp_warning": 2.80, "cell_uvp_release": 3.00,
        "balance_start_voltage": 3.40,
        "charge_otp": 55, "charge_otp_warning": 45, "charge_otp_release": 50,
        "charge_utp": BANDS["lfp"].charge_utp, "charge_utp_warning": 3, "charge_utp_release": 3,
        "discharge_otp": 60, "discharge_otp_warning": 50, "discharge_otp_release": 55,
        "discharge_utp": -20, "discharge_utp_warning": -15, "discharge_utp_release": -17,
    }),
    limits_note="Typical datasheet values: 2.5 to 3.65 V, no charging below 0 °C.",
    resistance=0.08,
)

_NMC = Chemistry(
    name="nmc",
    nominal_voltage=3.6,
    curve=(
        (0, 3.000), (2, 3.180), (5, 3.330), (10, 3.450), (15, 3.510), (20, 3.550), (30, 3.610),
        (40, 3.655), (50, 3.710), (60, 3.790), (70, 3.880), (80, 3.970), (90, 4.070),
        (95, 4.120), (100, 4.180),
    ),
    curve_note="Typical datasheet values of NMC cells with graphite, slow discharge, 25 °C.",
    limits=MappingProxyType({
        "cell_ovp": 4.25, "cell_ovp_warning": 4.22, "cell_ovp_release": 4.10,
        "cell_uvp": 2.80, "cell_uvp_warning": 3.10, "cell_uvp_release": 3.20,
        "balance_start_voltage": 4.00,
        "charge_otp": 45, "charge_otp_warning": 40, "charge_otp_release": 42,
        "charge_utp": BANDS["nmc"].charge_utp, "charge_utp_warning": 3, "charge_utp_release": 3,
        "discharge_otp": 60, "discharge_otp_warning": 50, "discharge_otp_release": 55,
        "discharge_utp": -20, "discharge_utp_warning": -15, "discharge_utp_release": -17,
    }),
    limits_note="Typical datasheet values: 2.8 to 4.2 V, charging from 0 to 45 °C.",
    resistance=0.09,
)

_LTO = Chemistry(
    name="lto",
    nominal_voltage=2.4,
    curve=(
        (0, 1.800), (2, 1.950), (5, 2.080), (10, 2.150), (20, 2.200), (30, 2.235), (40, 2.265),
        (50, 2.300), (60, 2.340), (70, 2.390), (80, 2.440), (90, 2.500), (95, 2.540),
        (100, 2.620),
    ),
    curve_note="Typical datasheet values of cells with a titanate anode, slow discharge, 25 °C.",
    limits=MappingProxyType({
        "cell_ovp": 2.75, "cell_ovp_warning": 2.70, "cell_ovp_release": 2.50,
        "cell_uvp": 1.70, "cell_uvp_warning": 1.90, "cell_uvp_release": 2.00,
        "balance_start_voltage": 2.45,
        "charge_otp": 50, "charge_otp_warning": 45, "charge_otp_release": 45,
        "charge_utp": BANDS["lto"].charge_utp, "charge_utp_warning": -7, "charge_utp_release": -7,
        "discharge_otp": 55, "discharge_otp_warning": 50, "discharge_otp_release": 50,
        "discharge_utp": -20, "discharge_utp_warning": -15, "discharge_utp_release": -17,
    }),
    limits_note="Typical datasheet values, of which makers differ widely: the narrower windows.",
    resistance=0.03,
)

_NA_ION = Chemistry(
    name="na-ion",
    nominal_voltage=3.1,
    curve=(
        (0, 2.000), (5, 2.350), (10, 2.550), (20, 2.760), (30, 2.900), (40, 3.000), (50, 3.090),
        (60, 3.180), (70, 3.290), (80, 3.410), (90, 3.550), (95, 3.630), (100, 3.720),
    ),
    curve_note="Typical datasheet values of layered-oxide sodium cells, slow discharge, 25 °C; "
               "makers differ by tenths of a volt.",
    limits=MappingProxyType({
        "cell_ovp": 3.90, "cell_ovp_warning": 3.83, "cell_ovp_release": 3.55,
        "cell_uvp": 1.80, "cell_uvp_warning": 2.10, "cell_uvp_release": 2.40,
        "balance_start_voltage": 3.50,
        "charge_otp": 45, "charge_otp_warning": 40, "charge_otp_release": 42,
        "charge_utp": BANDS["na-ion"].charge_utp, "charge_utp_warning": 3, "charge_utp_release": 3,
        "discharge_otp": 60, "discharge_otp_warning": 50, "discharge_otp_release": 55,
        "discharge_utp": -20, "discharge_utp_warning": -15, "discharge_utp_release": -17,
    }),
    limits_note="Typical datasheet values, of which makers differ widely: the lower voltages.",
    resistance=0.10,
)
# fmt: on

CHEMISTRIES: Mapping[str, Chemistry] = MappingProxyType(
    {each.name: each for each in (_LFP, _NMC, _LTO, _NA_ION)}
)
"""Every chemistry we know, by name."""


def chemistry(name: object) -> Chemistry:
    """The chemistry of that name in upper or lower case; `TargetError` names the known ones.

    The list is closed: a name that is nearly right must not pass for "unknown", because then
    nothing would be checked against it.
    """
    found = CHEMISTRIES.get(name.strip().lower()) if isinstance(name, str) else None
    if found is None:
        ask = did_you_mean(name.strip(), CHEMISTRIES) if isinstance(name, str) else ""
        raise TargetError(
            f"There is no chemistry {str(name)[:40]!r}; known are: {', '.join(CHEMISTRIES)}.{ask}"
        )
    return found
