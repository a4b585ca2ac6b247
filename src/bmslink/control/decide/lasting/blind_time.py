"""How long a pack may go unseen: until it could reach a limit at the current last permitted.

Each direction for itself: a full pack may give for long, an empty one may take."""

from __future__ import annotations

from typing import NamedTuple

from bmslink.control.decide.compile import CompiledPolicies
from bmslink.control.decide.decision import Limits
from bmslink.control.decide.sample import Sample
from bmslink.settings.chemistry import chemistry

__all__ = ["BlindTime", "blind_time"]

_SHORTEST, _LONGEST = 10.0, 1800.0  # s
_SHARE = 0.5  # of the time that is left
_NEAR_TOP, _NEAR_BOTTOM = 0.02, 0.10  # V before the derating curves begin


class BlindTime(NamedTuple):
    """s."""

    charge: float
    discharge: float


def blind_time(plan: CompiledPolicies, sample: Sample, limits: Limits | None) -> BlindTime:
    """Seconds from 10 to 1800 for each direction, by the last good data; 10 if they say too little,
    for charging if a cell is near full, and for discharging if one is near empty."""
    numbers, battery = plan.policies.thresholds, plan.policies.battery
    high, low = sample.max_cell, sample.min_cell
    if limits is None or high is None or low is None or sample.quality["cells"]:
        return BlindTime(_SHORTEST, _SHORTEST)
    full = high > numbers["ov_derate_release"] - _NEAR_TOP
    empty = low < numbers["uv_derate_release"] + _NEAR_BOTTOM
    kind = chemistry(battery.chemistry)
    fullest, emptiest = kind.soc_at(high), kind.soc_at(low)
    if sample.soc is not None and not sample.quality["soc"]:
        fullest, emptiest = max(fullest, sample.soc), min(emptiest, sample.soc)
    up = (100 - fullest) / 100 * battery.capacity
    down = emptiest / 100 * battery.capacity
    return BlindTime(
        _SHORTEST if full else _share(up, limits.ccl.value),
        _SHORTEST if empty else _share(down, limits.dcl.value),
    )


def _share(charge: float, current: float) -> float:
    """s, of the time that so many Ah take."""
    hours = charge / current if current > 0 else _LONGEST
    return min(_LONGEST, max(_SHORTEST, _SHARE * hours * 3600))
