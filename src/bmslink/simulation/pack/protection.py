"""The simulated BMS guards its cells: limit, delay, open FETs, release. One table says which.

Every rule reads its numbers from the settings at each step: `<name>` trips, `<name>_delay` (s)
says after how long, `<name>_release` closes again, `<name>_warning` is the alarm before it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from bmslink.model import Condition, Switch
from bmslink.settings.chemistry import Chemistry

__all__ = ["RULES", "Guard", "Measured", "Protection", "default_settings"]


class Measured(NamedTuple):
    """What the rules look at: V, A (positive while charging), °C; `None` without a probe."""

    max_cell: float
    min_cell: float
    voltage: float
    current: float
    hottest: float | None
    coldest: float | None
    mosfet: float | None


@dataclass(frozen=True, slots=True)
class Protection:
    """One protection and the settings it goes by."""

    name: str
    condition: Condition
    quantity: Callable[[Measured], float | None]
    over: bool
    """Trips at or above the limit; otherwise at or below it."""
    opens: tuple[Switch, ...]
    timed: bool = False
    """`<name>_release` is a time: an open FET leaves no current that could say "gone"."""

    limit: str = field(init=False)
    """The key of the value that trips."""
    warning: str = field(init=False)
    """The key of the value that warns before."""

    def __post_init__(self) -> None:
        current = self.name == "short_circuit"
        object.__setattr__(self, "limit", "short_circuit_current" if current else self.name)
        object.__setattr__(self, "warning", f"{self.name}_warning")


_CHARGE = (Switch.CHARGE,)
_DISCHARGE = (Switch.DISCHARGE,)
_BOTH = (Switch.CHARGE, Switch.DISCHARGE)

# fmt: off
RULES: tuple[Protection, ...] = (
    Protection("cell_ovp", Condition.CELL_OVERVOLTAGE, lambda m: m.max_cell, True, _CHARGE),
    Protection("cell_uvp", Condition.CELL_UNDERVOLTAGE, lambda m: m.min_cell, False, _DISCHARGE),
    Protection("pack_ovp", Condition.PACK_OVERVOLTAGE, lambda m: m.voltage, True, _CHARGE),
    Protection("pack_uvp", Condition.PACK_UNDERVOLTAGE, lambda m: m.voltage, False, _DISCHARGE),
    Protection("charge_ocp", Condition.CHARGE_OVERCURRENT, lambda m: m.current, True,
               _CHARGE, True),
    Protection("discharge_ocp", Condition.DISCHARGE_OVERCURRENT, lambda m: -m.current, True,
               _DISCHARGE, True),
    Protection("short_circuit", Condition.SHORT_CIRCUIT, lambda m: -m.current, True, _BOTH, True),
    Protection("charge_otp", Condition.CHARGE_OVERTEMPERATURE, lambda m: m.hottest, True, _CHARGE),
    Protection("charge_utp", Condition.CHARGE_UNDERTEMPERATURE, lambda m: m.coldest, False,
               _CHARGE),
    Protection("discharge_otp", Condition.DISCHARGE_OVERTEMPERATURE, lambda m: m.hottest, True,
               _DISCHARGE),
    Protection("discharge_utp", Condition.DISCHARGE_UNDERTEMPERATURE, lambda m: m.coldest, False,
               _DISCHARGE),
    Protection("mosfet_otp", Condition.MOSFET_OVERTEMPERATURE, lambda m: m.mosfet, True, _BOTH),
)
# fmt: on


class Guard:
    """Which rules have tripped, and how long the others have been beyond their limit."""

    def __init__(self) -> None:
        self._seconds = {rule.name: 0.0 for rule in RULES}
        """Beyond the limit so far; for a tripped timed rule: since the trip."""
        self._tripped: set[str] = set()

    @property
    def conditions(self) -> set[Condition]:
        """Everything that has tripped."""
        if not self._tripped:
            return set()
        return {rule.condition for rule in RULES if rule.name in self._tripped}

    def update(self, measured: Measured, settings: Mapping[str, float], seconds: float) -> None:
        """Judge what was measured at the end of a step of that length.

        A value nobody measures trips nothing, and releases nothing either.
        """
        for rule in RULES:
            name, value = rule.name, rule.quantity(measured)
            limit = settings.get(rule.limit)
            if value is None or limit is None:
                continue
            if name in self._tripped:
                self._try_release(rule, value, settings, seconds)
            elif value >= limit if rule.over else value <= limit:
                self._seconds[name] += seconds
                if self._seconds[name] >= settings.get(f"{name}_delay", 0.0):
                    self._tripped.add(name)
                    self._seconds[name] = 0.0
            else:
                self._seconds[name] = 0.0

    def _try_release(
        self, rule: Protection, value: float, settings: Mapping[str, float], seconds: float
    ) -> None:
        if rule.timed:
            self._seconds[rule.name] += seconds
            gone = self._seconds[rule.name] >= settings.get(f"{rule.name}_release", 0.0)
        else:
            release = settings.get(f"{rule.name}_release", settings[rule.limit])
            gone = value <= release if rule.over else value >= release
        if gone:
            self._tripped.discard(rule.name)
            self._seconds[rule.name] = 0.0

    def opened(self, forced: Collection[Condition] = ()) -> set[Switch]:
        """The FETs that stay open for what has tripped, or for `forced` protections."""
        if not self._tripped and not forced:
            return set()
        return {
            switch
            for rule in RULES
            if rule.name in self._tripped or rule.condition in forced
            for switch in rule.opens
        }

    def clear(self, condition: Condition) -> None:
        """Forget a trip; it comes back after its delay if the cause is still there."""
        for rule in RULES:
            if rule.condition is condition:
                self._tripped.discard(rule.name)
                self._seconds[rule.name] = 0.0

    def warnings(self, measured: Measured, settings: Mapping[str, float]) -> set[Condition]:
        """What is beyond its `<name>_warning` and has not tripped."""
        found = set()
        for rule in RULES:
            limit = settings.get(rule.warning)
            if limit is None or rule.name in self._tripped:
                continue
            value = rule.quantity(measured)
            if value is None:
                continue
            if value >= limit if rule.over else value <= limit:
                found.add(rule.condition)
        return found


def default_settings(kind: Chemistry, cells: int, capacity: float) -> dict[str, float]:
    """The settings of a freshly unpacked BMS with a 200 A board: V, A, °C, s, Ah, %.

    Pack limits sit 20 mV per cell inside the cell limits, current limits at 1 C and 1.5 C as far
    as the board goes; the times are those most vendors ship (seconds, short circuit under 2 ms).
    """
    settings = {key: float(value) for key, value in kind.limits.items()}
    for name, inside in (("ovp", -0.02), ("uvp", 0.02)):
        for suffix in ("", "_warning"):
            per_cell = settings[f"cell_{name}{suffix}"] + inside
            settings[f"pack_{name}{suffix}"] = round(per_cell * cells, 1)
        settings[f"pack_{name}_release"] = round(settings[f"cell_{name}_release"] * cells, 1)
    for name, amps in (
        ("charge_ocp", min(capacity, 200.0)),
        ("discharge_ocp", min(1.5 * capacity, 300.0)),
    ):
        settings |= {name: round(amps, 1), f"{name}_warning": round(0.9 * amps, 1)}
        settings |= {f"{name}_delay": 10.0, f"{name}_release": 32.0}
    for rule in RULES:
        settings.setdefault(f"{rule.name}_delay", 2.0)
    return settings | {
        "short_circuit_current": round(3 * settings["discharge_ocp"], 1),
        "short_circuit_delay": 0.0015,
        "short_circuit_release": 60.0,
        "mosfet_otp": 95.0,
        "mosfet_otp_warning": 85.0,
        "mosfet_otp_release": 75.0,
        "cell_delta": 0.3,
        "temperature_delta": 15.0,
        "soc_low": 10.0,
        "balance_delta": 0.01,
        "balance_current": 0.5,
        "nominal_capacity": float(capacity),
        "cell_count": float(cells),
        "full_charge_voltage": kind.full_voltage,
        "empty_voltage": kind.empty_voltage,
    }
