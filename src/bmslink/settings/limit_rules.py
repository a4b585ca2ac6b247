"""The rules about one limit each: what these cells, any cells, or so many cells may be set to.

Their numbers are in `bands`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

from bmslink.settings.bands import (
    FLOORS,
    GUARDED_DELAYS,
    LONGEST_DELAY,
    LONGEST_OCP_DELAY,
    LONGEST_SHORT,
    SHORT_CIRCUIT,
    TOPS,
    UNUSUAL_DELAY,
    Band,
)
from bmslink.settings.catalogue import CATALOGUE
from bmslink.settings.rule import Facts, SettingRule, Severity, within

__all__ = ["limit_rules"]

_LEVELS = ("", "_warning", "_release")


def limit_rules() -> Iterator[SettingRule]:
    """All of them."""
    yield from _delays()
    yield from _tops()
    yield from _short_circuit()
    for name in ("ovp", "uvp"):
        yield _fits_cells(f"pack_{name}", f"cell_{name}", 0.05, "warning")
        yield _fits_cells(f"pack_{name}", f"cell_{name}", 0.25, "error")
    yield from _other_count()
    yield from _voltages()
    yield from _temperatures()


# --------------------------------------------------------------------------------- any cells


def _delays() -> Iterator[SettingRule]:
    late = f"is over {LONGEST_DELAY:g} s: that protects nothing"
    slow = f"is unusually long, over {UNUSUAL_DELAY:g} s"
    for key in (f"{name}_delay" for name in GUARDED_DELAYS):
        yield within(key, 0, LONGEST_DELAY, "error", late, "s")
        yield within(key, 0, UNUSUAL_DELAY, "warning", slow, "s")
    late = f"is over {LONGEST_OCP_DELAY:g} s: that protects nothing"
    for key in ("charge_ocp", "discharge_ocp", "daly_level_3_charge_ocp",
                "daly_level_3_discharge_ocp"):  # fmt: skip
        yield within(f"{key}_delay", 0, LONGEST_OCP_DELAY, "error", late, "s")
    why = "is too long for a short circuit"
    yield within("short_circuit_delay", 0, LONGEST_SHORT, "error", why, "s")


def _tops() -> Iterator[SettingRule]:
    for key, top in TOPS.items():
        unit = CATALOGUE[key].unit
        for level in _LEVELS:
            why = f"is above {top:g} {unit}: that protects nothing"
            yield within(f"{key}{level}", -math.inf, top, "error", why, unit)
    for key, floor in FLOORS.items():
        for level in _LEVELS:
            why = f"is below {floor:g} °C: that protects nothing"
            yield within(f"{key}{level}", floor, math.inf, "error", why, "°C")


def _short_circuit() -> Iterator[SettingRule]:
    why = f"is above {SHORT_CIRCUIT:g} A, which no board survives"
    yield within("short_circuit_current", 0, SHORT_CIRCUIT, "error", why, "A")


# ------------------------------------------------------------------------------ so many cells


def _fits_cells(pack: str, cell: str, share: float, severity: Severity) -> SettingRule:
    """A limit of the pack must be about that of the cells together."""

    def judge(facts: Facts) -> str | None:
        together = facts.cells * facts.values[cell]
        apart = abs(facts.values[pack] - together)
        if apart <= share * together + 1e-9:
            return None
        return (
            f"{pack} ({facts.values[pack]:g} V) is not {facts.cells} times {cell}, "
            f"{together:g} V, give or take {share:.0%}."
        )

    name = f"{pack}~cells*{cell} {share:.0%}"
    return SettingRule(name, (pack, cell), severity, judge, counts=True)


def _other_count() -> Iterator[SettingRule]:
    """A limit of the pack that allows more than half a cell beyond the cells' own limits is made
    for another number of cells. Narrowing the cells' own limits never needs the pack's to follow.
    """

    def beyond(pack: str, cell: str, way: int) -> SettingRule:
        def judge(facts: Facts) -> str | None:
            one, found = facts.values[cell], facts.values[pack]
            if (found - facts.cells * one) * way <= one / 2 + 1e-9:
                return None
            return (
                f"{pack} ({found:g} V) is made for {found / one:.1f} cells of {cell} "
                f"({one:g} V), but {facts.cells} cells are there."
                if one
                else f"{pack} ({found:g} V) does not go with {cell} (0 V)."
            )

        name = f"{pack} for other cells"
        return SettingRule(name, (pack, cell), "error", judge, counts=True, about=(pack,))

    yield beyond("pack_ovp", "cell_ovp", 1)
    yield beyond("pack_uvp", "cell_uvp", -1)


# -------------------------------------------------------------------------------- these cells


def _chemical(
    name: str, key: str, severity: Severity, wrong: Callable[[float, Facts], str], *, counts: bool
) -> SettingRule:
    """A rule about one value and the band of the chemistry; `wrong` is empty where it fits."""

    def judge(facts: Facts) -> str | None:
        value = facts.values[key]
        why = wrong(value, facts)
        return f"{key} ({value:g}) {why} for {facts.chemistry} cells." if why else None

    return SettingRule(name, (key,), severity, judge, chemical=True, counts=counts)


def _above(
    name: str,
    key: str,
    severity: Severity,
    top: Callable[[Band], float],
    why: Callable[[Band], str],
    *,
    counts: bool = False,
) -> SettingRule:
    """Not above a number of the band; with `counts`, not above it times the cells."""

    def wrong(value: float, facts: Facts) -> str:
        most = top(facts.band) * (facts.cells if counts else 1)
        return why(facts.band) if value > most + 1e-9 else ""

    return _chemical(name, key, severity, wrong, counts=counts)


def _below(
    name: str,
    key: str,
    severity: Severity,
    floor: Callable[[Band], float],
    why: Callable[[Band], str],
    *,
    counts: bool = False,
) -> SettingRule:
    """The same downwards."""

    def wrong(value: float, facts: Facts) -> str:
        least = floor(facts.band) * (facts.cells if counts else 1)
        return why(facts.band) if value < least - 1e-9 else ""

    return _chemical(name, key, severity, wrong, counts=counts)


def _usual(pair: tuple[float, float], where: str) -> str:
    return f"is {where} the usual {pair[0]:g} to {pair[1]:g} V"


def _voltages() -> Iterator[SettingRule]:
    def high(b: Band) -> str:
        return _usual(b.ovp, "above")

    def low(b: Band) -> str:
        return _usual(b.uvp, "below")

    def many(b: Band) -> str:
        return f"is above {b.ovp[1]:g} V a cell, the highest"

    def few(b: Band) -> str:
        return f"is below {b.uvp[0]:g} V a cell, the lowest"

    yield _above("ovp above band", "cell_ovp", "error", lambda b: b.ovp[1], high)
    yield _below("ovp below band", "cell_ovp", "warning", lambda b: b.ovp[0],
                 lambda b: _usual(b.ovp, "below"))  # fmt: skip
    yield _below("uvp below band", "cell_uvp", "error", lambda b: b.uvp[0], low)
    yield _above("uvp above band", "cell_uvp", "warning", lambda b: b.uvp[1],
                 lambda b: _usual(b.uvp, "above"))  # fmt: skip
    asked = ("jk_request_charge_voltage", "float_voltage")
    for key in ("cell_ovp_warning", "cell_ovp_release", *asked):
        yield _above(f"{key} above band", key, "error", lambda b: b.ovp[1], high)
    for key in ("cell_uvp_warning", "cell_uvp_release"):
        yield _below(f"{key} below band", key, "error", lambda b: b.uvp[0], low)
    for level in _LEVELS:
        over, under = f"pack_ovp{level}", f"pack_uvp{level}"
        yield _above(f"{over} above band", over, "error", lambda b: b.ovp[1], many, counts=True)
        yield _below(f"{under} below band", under, "error", lambda b: b.uvp[0], few, counts=True)
    yield _above("second ovp above band", "jbd_hardware_cell_ovp", "error",
                 lambda b: b.second_ovp,
                 lambda b: f"is above {b.second_ovp:g} V, the highest")  # fmt: skip
    for key in ("jbd_hardware_cell_uvp", "jk_power_off_voltage"):
        yield _below(f"{key} below band", key, "error", lambda b: b.dead,
                     lambda b: f"is below {b.dead:g} V, which is deadly")  # fmt: skip
    yield _below("balancing too low", "balance_start_voltage", "warning", lambda b: b.balance_start,
                 lambda b: f"is below {b.balance_start:g} V, where voltage says little about "
                           "charge")  # fmt: skip


def _temperatures() -> Iterator[SettingRule]:
    def cold(b: Band) -> str:
        return f"lets it charge below {b.charge_utp:g} °C, which plates lithium or worse"

    yield _below("charging in the cold", "charge_utp", "error", lambda b: b.charge_utp, cold)
    for key in ("charge_utp_warning", "charge_utp_release"):
        yield _below(f"{key} in the cold", key, "error", lambda b: b.charge_utp, cold)
    yield _above("charging in the heat", "charge_otp", "warning", lambda b: b.charge_otp,
                 lambda b: f"is above {b.charge_otp:g} °C")  # fmt: skip
    for level in _LEVELS:
        key = f"charge_otp{level}"
        yield _above(f"{key} far too hot", key, "error", lambda b: b.hottest,
                     lambda b: f"lets it charge above {b.hottest:g} °C")  # fmt: skip
    yield _below("discharging in the cold", "discharge_utp", "warning", lambda b: b.discharge_utp,
                 lambda b: f"is below {b.discharge_utp:g} °C")  # fmt: skip
    yield _above("discharging in the heat", "discharge_otp", "warning", lambda b: b.discharge_otp,
                 lambda b: f"is above {b.discharge_otp:g} °C")  # fmt: skip
