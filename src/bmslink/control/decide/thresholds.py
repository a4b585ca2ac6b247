"""The default numbers of each chemistry, each with a name that policies and policy files use.

Sources: makers' data sheets of LFP cells and packs, the presets of JK boards, the defaults of
other open projects (Venus OS drivers, ESPHome projects, foxBMS). Where they disagree, the more
careful value stands; sodium cells and cold titanate cells want the maker's word.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from types import MappingProxyType

from bmslink.settings.bands import BANDS, Band
from bmslink.settings.chemistry import CHEMISTRIES

__all__ = ["CURVES", "RANGES", "THRESHOLDS", "UNITS", "Curve", "disorder"]

Curve = tuple[tuple[float, float], ...]
_Row = tuple[str, float, float, float, float]
_NAMES = ("lfp", "nmc", "lto", "na-ion")


def _of_the_band(unit: str, pick: Callable[[Band], float]) -> _Row:
    """A number that the settings of a BMS are judged by as well."""
    lfp, nmc, lto, na_ion = (float(pick(BANDS[name])) for name in _NAMES)
    return unit, lfp, nmc, lto, na_ion


def _usual(unit: str, key: str) -> _Row:
    """A number that presets give a BMS as well: its setting of this key."""
    lfp, nmc, lto, na_ion = (float(CHEMISTRIES[name].limits[key]) for name in _NAMES)
    return unit, lfp, nmc, lto, na_ion


# fmt: off
_TABLE: dict[str, _Row] = {
    #                          unit   LFP    NMC    LTO    Na-ion
    "charge_voltage":          ("V",  3.45,  4.10,  2.60,  3.60),
    "float_voltage":           ("V",  3.35,  4.00,  2.50,  3.40),
    "rebulk_voltage":          ("V",  3.30,  3.90,  2.40,  3.20),
    "discharge_voltage":       ("V",  3.00,  3.30,  1.90,  2.30),
    # cells are charged to 3.65, 4.20 and 2.70 V by their sheets, and that is no fault
    "ov_warning":              ("V",  3.66,  4.22,  2.72,  3.83),
    "ov_derate_release":       ("V",  3.40,  4.05,  2.55,  3.55),
    "ov_trip":                 ("V",  3.70,  4.25,  2.75,  3.90),
    "ov_release": _usual("V", "cell_ovp_release"),
    "ov_critical": _of_the_band("V", lambda band: band.working[1]),
    "uv_warning":              ("V",  3.00,  3.30,  1.90,  2.30),
    "uv_derate_release":       ("V",  3.10,  3.40,  2.05,  2.40),
    "uv_trip":                 ("V",  2.70,  3.00,  1.85,  2.00),
    "uv_release":              ("V",  3.00,  3.30,  2.00,  2.40),
    "uv_critical": _of_the_band("V", lambda band: band.working[0]),
    "deep_release":            ("V",  2.50,  2.80,  1.60,  1.60),
    "no_charge_below": _of_the_band("V", lambda band: band.dead),
    "dwell_voltage":           ("V",  3.40,  4.05,  2.55,  3.55),
    "balance_start": _usual("V", "balance_start_voltage"),
    "balance_rest":            ("V",  3.38,  3.98,  2.43,  3.48),
    "charge_ut_trip": _usual("°C", "charge_utp"),
    "charge_ut_release": _usual("°C", "charge_utp_release"),
    "charge_ot_warning": _usual("°C", "charge_otp_warning"),
    "charge_ot_quiet":         ("°C",   42,    37,    42,    37),
    "charge_ot_trip": _usual("°C", "charge_otp"),
    "charge_ot_release": _usual("°C", "charge_otp_release"),
    "discharge_ut_trip": _usual("°C", "discharge_utp"),
    "discharge_ut_release": _usual("°C", "discharge_utp_release"),
    "discharge_ot_warning": _usual("°C", "discharge_otp_warning"),
    "discharge_ot_quiet":      ("°C",   47,    47,    47,    47),
    "discharge_ot_trip": _usual("°C", "discharge_otp"),
    "discharge_ot_release": _usual("°C", "discharge_otp_release"),
    "temperature_critical": _of_the_band("°C", lambda band: band.hottest),
    "mosfet_trip":             ("°C",   90,    90,    90,    90),
    "mosfet_release":          ("°C",   70,    70,    70,    70),
}

_CURVES: dict[str, tuple[Curve, Curve, Curve, Curve]] = {
    "ccl_voltage": (
        ((3.40, 1), (3.45, .5), (3.50, .1), (3.55, 0)), ((4.05, 1), (4.10, .5), (4.15, 0)),
        ((2.55, 1), (2.60, .3), (2.66, 0)), ((3.55, 1), (3.65, .3), (3.75, 0))),
    "dcl_voltage": (
        ((2.80, 0), (2.90, .05), (3.00, .25), (3.10, 1)), ((3.10, 0), (3.20, .3), (3.40, 1)),
        ((1.88, 0), (1.95, .3), (2.05, 1)), ((2.10, 0), (2.20, .3), (2.40, 1))),
    # fractions of 1 C; behind the last point of a cold curve the hot curve decides
    "charge_cold": (
        ((0, 0), (5, .10), (10, .20), (15, .30), (20, .50)), ((0, 0), (10, .20), (20, .50)),
        ((-10, 0), (0, .5), (10, 1)), ((0, 0), (10, .2), (20, .5))),
    "charge_hot": (
        ((45, .50), (50, .25), (55, 0)), ((40, .50), (45, 0)), ((40, 1), (50, 0)),
        ((40, .5), (45, 0))),
    # fractions of the rated current
    "discharge_cold": (((-20, 0), (-10, .5), (0, 1)),) * 4,
    "discharge_hot": (
        ((50, 1), (55, .5), (60, 0)), ((50, 1), (55, .5), (60, 0)), ((45, 1), (50, .5), (55, 0)),
        ((50, 1), (55, .5), (60, 0))),
    "mosfet_hot": (((75, 1), (85, .25), (90, 0)),) * 4,
    # long at the rating they come to 91 %
    "charge_heat": (((93, 1), (100, .5)),) * 4,
    "discharge_heat": (((93, 1), (100, .5)),) * 4,
}
# fmt: on

_ORDERS: tuple[tuple[str, ...], ...] = (
    ("rebulk_voltage", "float_voltage"),
    ("float_voltage", "charge_voltage", "ov_critical"),
    ("no_charge_below", "uv_critical", "uv_trip", "ov_trip", "ov_critical"),
    ("uv_trip", "float_voltage"),
    ("discharge_voltage", "charge_voltage"),
    ("balance_rest", "balance_start", "ov_critical"),
    ("charge_ut_trip", "charge_ot_trip", "temperature_critical"),
    ("discharge_ut_trip", "discharge_ot_trip", "temperature_critical"),
)
"""Rising, and what may be equal: `_EQUAL`."""
_EQUAL = frozenset(
    {
        ("float_voltage", "charge_voltage"),  # a pack that never floats
        ("no_charge_below", "uv_critical"),
        ("uv_critical", "uv_trip"),
        ("ov_trip", "ov_critical"),
        ("charge_ot_trip", "temperature_critical"),
        ("discharge_ot_trip", "temperature_critical"),
    }
)


def disorder(thresholds: Mapping[str, float]) -> tuple[str, str] | None:
    """Two thresholds of which the first must lie below the second, and does not; `None`: they are
    in order. What is not there is in order."""
    for names in _ORDERS:
        known = [name for name in names if name in thresholds]
        for low, high in pairwise(known):
            one, other = thresholds[low], thresholds[high]
            if one > other or (one == other and (low, high) not in _EQUAL):
                return low, high
    return None


UNITS: Mapping[str, str] = MappingProxyType({name: row[0] for name, row in _TABLE.items()})
"""The unit of each named threshold."""

RANGES: Mapping[str, tuple[float, float]] = MappingProxyType(
    {"V": (0.1, 6.0), "°C": (-60.0, 150.0)}
)
"""Unit -> what a threshold in it can be at all."""

THRESHOLDS: Mapping[str, Mapping[str, float]] = MappingProxyType(
    {
        chemistry: MappingProxyType({name: float(row[column]) for name, row in _TABLE.items()})
        for column, chemistry in enumerate(_NAMES, 1)
    }
)
"""Chemistry -> name -> value: V per cell and °C."""

CURVES: Mapping[str, Mapping[str, Curve]] = MappingProxyType(
    {
        chemistry: MappingProxyType(
            {
                name: tuple((float(x), float(y)) for x, y in curves[column])
                for name, curves in _CURVES.items()
            }
        )
        for column, chemistry in enumerate(_NAMES)
    }
)
"""Chemistry -> name -> derating curve: straight lines between the points, flat beyond them."""
