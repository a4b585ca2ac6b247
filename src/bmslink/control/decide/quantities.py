"""What policies can measure, and the gates outside of which they rest.

A quantity is a function of the sample and of a little history; its quality is that of the fields
it is made of. `None` of good fields means "not known yet": such a row waits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import median
from types import MappingProxyType

from bmslink.control.decide.lasting.history import CURRENT_PICKUP, PackHistory
from bmslink.control.decide.lasting.life import LIFE
from bmslink.control.decide.lasting.phase import part_empty
from bmslink.control.decide.lasting.quantity import Measure, Quantity
from bmslink.control.decide.sample import OPEN, Quality, Sample
from bmslink.model import Condition, Reading

__all__ = [
    "GATES", "PICKUP", "QUANTITIES", "Gate", "Measure", "Quantity", "blocked_by", "condition_names"
]  # fmt: skip

PICKUP = CURRENT_PICKUP

_PLATEAU, _RESTED = (3.20, 3.38), 600.0
"""V of LFP cells between which a little voltage is much charge, and s of rest before it counts."""

Gate = Callable[[Sample, PackHistory], bool | None]


# ------------------------------------------------------------------------------------ cells


def _delta(s: Sample, _h: PackHistory, _p: tuple[str, ...]) -> float | None:
    if s.max_cell is None or s.min_cell is None:
        return None
    return round(s.max_cell - s.min_cell, 4)


def _mean(s: Sample, _h: PackHistory, _p: tuple[str, ...]) -> float | None:
    return None if s.quality["cells"] == Quality.MISSING else s.cell_sum / len(s.cells)


def _per_cell(s: Sample, h: PackHistory, _p: tuple[str, ...]) -> float | None:
    return None if s.voltage is None else s.voltage / h.battery.cells


def _sum_error(s: Sample, _h: PackHistory, _p: tuple[str, ...]) -> float | None:
    if s.voltage is None or s.quality["cells"] == Quality.MISSING:
        return None
    return 100 * abs(s.cell_sum - s.voltage) / max(0.3, 0.01 * abs(s.voltage))


def _runaway(s: Sample, h: PackHistory, _p: tuple[str, ...]) -> float | None:
    """How far the highest cell is above the mean, V, if it leaves the others behind; else 0."""
    if s.max_cell is None or s.quality["cells"] == Quality.MISSING:
        return None
    ahead = s.max_cell - s.cell_sum / len(s.cells)
    rising = h.growth is not None and h.growth > 0.002
    if ahead < 0.05 or not rising:
        return 0.0
    middle = median(s.cells)
    apart = median(abs(v - middle) for v in s.cells)
    return ahead if ahead > 3 * apart else 0.0


def _cell_at(s: Sample, value: float) -> str:
    voltages = s.reading.cell_voltages
    return f"cell {voltages.index(value) + 1}" if value in voltages else ""


def _highest_cell(s: Sample, _value: float) -> str:
    return "" if s.max_cell is None else _cell_at(s, s.max_cell)


# ----------------------------------------------------------------------------- current, heat


def _flow(s: Sample, sign: int) -> float | None:
    """A in one direction; of a current whose sign nobody knows, all of it in both."""
    if s.current is None:
        return None
    return abs(s.current) if s.quality["current"] == Quality.SUSPECT else sign * s.current


def _charge_load(s: Sample, h: PackHistory, _p: tuple[str, ...]) -> float | None:
    flow = _flow(s, 1)
    return None if flow is None else 100 * flow / h.charge_rating


def _discharge_load(s: Sample, h: PackHistory, _p: tuple[str, ...]) -> float | None:
    flow = _flow(s, -1)
    return None if flow is None else 100 * flow / h.discharge_rating


def _rate(s: Sample, h: PackHistory, _p: tuple[str, ...]) -> float | None:
    return None if s.current is None else abs(s.current) / h.battery.capacity


def _discharge_rate(s: Sample, h: PackHistory, _p: tuple[str, ...]) -> float | None:
    flow = _flow(s, -1)
    return None if flow is None else flow / h.battery.capacity


# ------------------------------------------------------------------------------ temperatures


def _hottest(s: Sample, _h: PackHistory, probes: tuple[str, ...]) -> float | None:
    return max(s.told_by(probes), default=None)


def _coldest(s: Sample, _h: PackHistory, probes: tuple[str, ...]) -> float | None:
    return min(s.told_by(probes), default=None)


def _working(s: Sample, probes: tuple[str, ...]) -> Sequence[float]:
    told = s.told_by(probes)
    return [t for t in told if t > OPEN] if s.open_probes(probes) else told


def _coldest_working(s: Sample, _h: PackHistory, probes: tuple[str, ...]) -> float | None:
    return min(_working(s, probes), default=None)


def _spread(s: Sample, _h: PackHistory, probes: tuple[str, ...]) -> float | None:
    known = _working(s, probes)
    return round(max(known) - min(known), 3) if known else None


def _probe_at(s: Sample, value: float) -> str:
    told = s.temperatures
    return next((n for n in sorted(told) if told[n] == value and n in s.probes), "")


def _silent(s: Sample, _h: PackHistory, probes: tuple[str, ...]) -> float | None:
    if not probes and s.whole and not s.broken:
        return 0.0
    return float(len(probes or s.probes) - len(_working(s, probes)))


def _silent_names(s: Sample, value: float) -> str:
    told = s.temperatures
    names = [name for name in s.probes if (t := told.get(name)) is None or t <= OPEN]
    return ", ".join(names) if len(names) == value else ""  # else a row counts its own


def _named(name: str) -> Measure:
    return lambda s, h, p: s.temperatures.get(name)


# ------------------------------------------------------------------------- what the BMS says

_C = Condition
_CHARGE = frozenset(
    {_C.CELL_OVERVOLTAGE, _C.PACK_OVERVOLTAGE, _C.CHARGE_OVERCURRENT, _C.CHARGE_OVERTEMPERATURE,
     _C.CHARGE_UNDERTEMPERATURE, _C.CHARGE_MOSFET}
)  # fmt: skip
_DISCHARGE = frozenset(
    {_C.CELL_UNDERVOLTAGE, _C.PACK_UNDERVOLTAGE, _C.DISCHARGE_OVERCURRENT, _C.DISCHARGE_MOSFET,
     _C.DISCHARGE_OVERTEMPERATURE, _C.DISCHARGE_UNDERTEMPERATURE, _C.SOC_LOW}
)  # fmt: skip
_HARMLESS = frozenset(
    {_C.FULLY_CHARGED, _C.SOC_HIGH, _C.SOH_LOW, _C.CLOCK, _C.DEFAULT_PASSWORD, _C.HEATER,
     _C.SOFTWARE_LOCK, _C.COMMUNICATION, _C.PARALLEL_COMMUNICATION}
)  # fmt: skip
"""What opens no path by itself. A software lock is a switch, and may be our own."""
_BALANCED_AWAY = frozenset({_C.CELL_DELTA, _C.SOC_LOW})


def _against_charge(reading: Reading) -> list[Condition]:
    return [c for c in reading.protections if c not in _DISCHARGE and c not in _HARMLESS]


def _against_discharge(reading: Reading) -> list[Condition]:
    return [c for c in reading.protections if c not in _CHARGE and c not in _HARMLESS]


def _against_balancing(reading: Reading) -> list[Condition]:
    told = (*reading.alarms, *reading.protections, *reading.faults)
    return [c for c in told if c not in _HARMLESS and c not in _BALANCED_AWAY]


_AGAINST = {
    "charge": _against_charge,
    "discharge": _against_discharge,
    "balance": _against_balancing,
}


def blocked_by(path: str, reading: Reading) -> list[Condition]:
    """What of the BMS's own protection closes `charge`, `discharge` or `balance`."""
    return _AGAINST[path](reading)


def _count(pick: Callable[[Reading], list[Condition]]) -> Measure:
    return lambda s, h, p: float(len(pick(s.reading)))


def condition_names(
    pick: Callable[[Reading], list[Condition]],
) -> Callable[[Sample, float], str]:
    """Words for the conditions that were counted."""
    return lambda s, value: ", ".join(str(c) for c in pick(s.reading))


def _faults(reading: Reading) -> list[Condition]:
    return list(reading.faults)


def _open(closed: bool | None) -> float | None:
    return None if closed is None else float(not closed)


_NONE: tuple[str, ...] = ()
_CELLS, _CURRENT, _PROBES = ("cells",), ("current",), ("temperatures",)
_STATE, _TOLD = ("state",), ("conditions",)

QUANTITIES: Mapping[str, Quantity] = MappingProxyType({
    "max_cell": Quantity("highest cell", "V", 3, _CELLS, lambda s, h, p: s.max_cell, _cell_at,
                         0.02),
    "min_cell": Quantity("lowest cell", "V", 3, _CELLS, lambda s, h, p: s.min_cell, _cell_at,
                         0.02),
    "mean_cell": Quantity("mean cell", "V", 3, _CELLS, _mean, None, 0.02),
    "cell_delta": Quantity("cell delta", "V", 3, _CELLS, _delta, _highest_cell, 0.001),
    "runaway": Quantity("lead of the highest cell", "V", 3, _CELLS, _runaway, _highest_cell, 0.01),
    "pack_voltage": Quantity("pack voltage per cell", "V", 3, ("voltage",), _per_cell, None, 0.02),
    "cell_sum_error": Quantity("cell sum against pack voltage, of what is tolerable", "%", 0,
                               ("cells", "voltage"), _sum_error, None, 5),
    "charge_load": Quantity("charge current, of its rating", "%", 1, _CURRENT, _charge_load,
                            None, 2),
    "discharge_load": Quantity("discharge current, of its rating", "%", 1, _CURRENT,
                               _discharge_load, None, 2),
    "charge_heat": Quantity("heat of the charge path", "%", 1, _NONE,
                            lambda s, h, p: h.charge_heat, None, 5),
    "discharge_heat": Quantity("heat of the discharge path", "%", 1, _NONE,
                               lambda s, h, p: h.discharge_heat, None, 5),
    "rate": Quantity("current", "C", 3, _CURRENT, _rate, None, 0.005),
    "discharge_rate": Quantity("discharge current", "C", 3, _CURRENT, _discharge_rate, None,
                               0.005),
    "max_temperature": Quantity("hottest cell probe", "°C", 1, _PROBES, _hottest, _probe_at, 2,
                                probed=True),
    "min_temperature": Quantity("coldest cell probe", "°C", 1, _PROBES, _coldest, _probe_at, 2,
                                probed=True),
    "min_working_temperature": Quantity("coldest cell probe that works", "°C", 1, _PROBES,
                                        _coldest_working, _probe_at, 2, probed=True, sound=True),
    "temperature_spread": Quantity("temperature spread", "K", 1, _PROBES, _spread, None, 1,
                                   probed=True),
    "temperature_rise": Quantity("temperature rise", "K/min", 2, _PROBES,
                                 lambda s, h, p: h.rise, None, 0.5, probed=True,
                                 patient=True, lasts=True),
    "mosfet_temperature": Quantity("MOSFETs", "°C", 1, _PROBES, _named("mosfet"), None, 2),
    "balancer_temperature": Quantity("balancer", "°C", 1, _PROBES, _named("balancer"), None, 2),
    "silent_probes": Quantity("silent probes", "", 0, _PROBES, _silent, _silent_names),
    "soc": Quantity("state of charge", "%", 1, ("soc",), lambda s, h, p: s.soc, None, 1),
    "short_circuits": Quantity("short circuits within 10 minutes", "", 0, _TOLD,
                               lambda s, h, p: float(len(h.short_circuits)), lasts=True),
    "charge_protections": Quantity("BMS protections against charging", "", 0, _TOLD,
                                   _count(_against_charge), condition_names(_against_charge)),
    "discharge_protections": Quantity("BMS protections against discharging", "", 0, _TOLD,
                                      _count(_against_discharge),
                                      condition_names(_against_discharge)),
    "balance_conditions": Quantity("BMS conditions against balancing", "", 0, _TOLD,
                                   _count(_against_balancing),
                                   condition_names(_against_balancing)),
    "faults": Quantity("BMS faults", "", 0, _TOLD, _count(_faults), condition_names(_faults)),
    "charge_fet_open": Quantity("charge MOSFETs open", "", 0, _STATE,
                                lambda s, h, p: _open(s.reading.charging_allowed)),
    "discharge_fet_open": Quantity("discharge MOSFETs open", "", 0, _STATE,
                                   lambda s, h, p: _open(s.reading.discharging_allowed)),
    "balanced": Quantity("charge moved by the balancer in a day", "% of capacity", 2, _STATE,
                         lambda s, h, p: h.balanced_share, lasts=True),
    "stopped": Quantity("emergency stop", "", 0, _NONE, lambda s, h, p: h.stopped),
    "data_age": Quantity("age of the data", "s", 1, _NONE, lambda s, h, p: h.age),
    "charge_blindness": Quantity("age of the data, of what is safe while it may charge", "%", 0,
                                 _NONE, lambda s, h, p: h.charge_blindness),
    "discharge_blindness": Quantity("age of the data, of what is safe while it may discharge", "%",
                                    0, _NONE, lambda s, h, p: h.discharge_blindness),
    **LIFE,
})  # fmt: skip
"""Everything a policy can be about. Those without fields are known at any time."""


# --------------------------------------------------------------------------------------- gates


def _signed(s: Sample) -> float | None:
    return None if s.quality["current"] else s.current


def _charging(s: Sample, h: PackHistory) -> bool | None:
    current = _signed(s)
    return None if current is None else current > 0.02 * h.battery.capacity


def _discharging(s: Sample, h: PackHistory) -> bool | None:
    current = _signed(s)
    return None if current is None else current < -0.02 * h.battery.capacity


def _size(s: Sample, h: PackHistory) -> float | None:
    """C, in either direction; of a broken value nothing."""
    if s.current is None or h.beyond_belief(s.current):
        return None
    return abs(s.current) / h.battery.capacity


def _below(share: float) -> Gate:
    def gate(s: Sample, h: PackHistory) -> bool | None:
        size = _size(s, h)
        return None if size is None else size < share

    return gate


def _heavy(way: int) -> Gate:
    """More than 0.3 C in one direction; of a current whose sign nobody knows, in either."""

    def gate(s: Sample, h: PackHistory) -> bool | None:
        flow = _flow(s, way)
        if flow is None or h.beyond_belief(flow):
            return None
        return flow > 0.3 * h.battery.capacity

    return gate


def _top(s: Sample, h: PackHistory) -> bool | None:
    charging = _charging(s, h)
    if s.max_cell is None or charging is None:
        return None
    return charging and s.max_cell > h.thresholds["balance_start"]


def _bottom(s: Sample, h: PackHistory) -> bool | None:
    return None if s.min_cell is None else s.min_cell < h.thresholds["uv_warning"] + 0.05


def _part_empty(s: Sample, _h: PackHistory) -> bool | None:
    return part_empty(s)


def _plateau(s: Sample, h: PackHistory) -> bool | None:
    mean = _mean(s, h, ())
    if mean is None or s.current is None:
        return None
    return h.rested(s.time) >= _RESTED and _PLATEAU[0] <= mean <= _PLATEAU[1]


def _into(s: Sample, h: PackHistory) -> bool | None:
    return _charging(s, h) if s.reading.charging_allowed is not False else False


def _out_of(s: Sample, h: PackHistory) -> bool | None:
    return _discharging(s, h) if s.reading.discharging_allowed is not False else False


GATES: Mapping[str, Gate | None] = MappingProxyType({
    "always": None,
    "charging": _charging,
    "discharging": _discharging,
    "resting": _below(0.02),
    "light load": _below(0.5),
    "heavy load": _heavy(-1),
    "heavy charge": _heavy(1),
    "top of charge": _top,
    "bottom of charge": _bottom,
    "part empty": _part_empty,
    "rest on the plateau": _plateau,
    "charging through": _into,
    "discharging through": _out_of,
})  # fmt: skip
"""When a row looks at all; a gate that cannot tell changes nothing."""
