"""What of a policy file the BMS can do by itself: its own limits, as strict as the policies."""

from __future__ import annotations

from collections.abc import Mapping

from bmslink.control.decide.compile import trip_of
from bmslink.control.decide.policy import Mode, PolicySet, Severity

__all__ = ["offload_settings"]

_RELEASE = "_release"
_PER_PACK = frozenset({"pack_ovp", "pack_uvp"})
"""Settings of the whole pack, where policies think per cell."""


def offload_settings(policies: PolicySet, known: Mapping[str, object]) -> dict[str, float]:
    """Setting -> the value at which the policies that are enforced stop, where that is stricter
    than what the board holds (`known`: key -> value); and where they end, if the board's own end
    would then lie beyond the stop. No stop becomes laxer."""
    wanted: dict[str, float] = {}
    for row in policies.policies.values():
        held = known.get(row.bms or "")
        own = row.mode == Mode.ENFORCE and row.severity == Severity.TRIP and row.inside_bms > 0
        trip = trip_of(row, policies, policies.thresholds) if own else None
        if row.bms is None or trip is None or isinstance(held, bool):
            continue
        if not isinstance(held, (int, float)):
            continue
        times = policies.battery.cells if row.bms in _PER_PACK else 1
        value = round(trip * times, 3)
        if not (value < held if row.over else value > held):
            continue
        wanted[row.bms] = value
        key = f"{row.bms}{_RELEASE}"
        old = known.get(key)
        if not isinstance(old, (int, float)) or isinstance(old, bool) or row.release is None:
            continue
        ends = row.release
        release = policies.thresholds[ends] if isinstance(ends, str) else ends
        if old >= value if row.over else old <= value:  # it would be released where it trips
            wanted[key] = round(release * times, 3)
    return wanted
