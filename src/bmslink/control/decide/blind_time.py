"""How long a pack may go unseen: until it could reach a limit at the currents last permitted."""

from __future__ import annotations

from bmslink.control.decide.compile import CompiledPolicies
from bmslink.control.decide.decision import Limits
from bmslink.control.decide.sample import Sample
from bmslink.settings.chemistry import chemistry

__all__ = ["blind_time"]

_SHORTEST, _LONGEST = 10.0, 1800.0  # s
_SHARE = 0.5  # of the time that is left
_NEAR_TOP, _NEAR_BOTTOM = 0.02, 0.10  # V before the derating curves begin


def blind_time(plan: CompiledPolicies, sample: Sample, limits: Limits | None) -> float:
    """Seconds from 10 to 1800, by the last good data; 10 if they say too little, or if a cell is
    near full or empty."""
    numbers, battery = plan.policies.thresholds, plan.policies.battery
    high, low = sample.max_cell, sample.min_cell
    if limits is None or high is None or low is None or sample.quality["cells"]:
        return _SHORTEST
    if high > numbers["ov_derate_release"] - _NEAR_TOP:
        return _SHORTEST
    if low < numbers["uv_derate_release"] + _NEAR_BOTTOM:
        return _SHORTEST
    kind = chemistry(battery.chemistry)
    fullest, emptiest = kind.soc_at(high), kind.soc_at(low)
    if sample.soc is not None and not sample.quality["soc"]:
        fullest, emptiest = max(fullest, sample.soc), min(emptiest, sample.soc)
    up = (100 - fullest) / 100 * battery.capacity
    down = emptiest / 100 * battery.capacity
    hours = min(_hours(up, limits.ccl.value), _hours(down, limits.dcl.value))
    return min(_LONGEST, max(_SHORTEST, _SHARE * hours * 3600))


def _hours(charge: float, current: float) -> float:
    return charge / current if current > 0 else _LONGEST
