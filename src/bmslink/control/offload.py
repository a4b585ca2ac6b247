"""What of a policy file the BMS can do by itself: its own limits, as strict as the policies."""

from __future__ import annotations

from collections.abc import Mapping

from bmslink.control.decide.compile import trip_of
from bmslink.control.decide.policy import Mode, PolicySet, Severity

__all__ = ["offload_settings"]

_PER_PACK = frozenset({"pack_ovp", "pack_uvp"})
"""Settings of the whole pack, where policies think per cell."""


def offload_settings(policies: PolicySet, known: Mapping[str, object]) -> dict[str, float]:
    """Setting -> the value at which the policies that are enforced stop, where that is stricter
    than what the board holds (`known`: key -> value). Nothing becomes laxer."""
    wanted: dict[str, float] = {}
    for row in policies.policies.values():
        held = known.get(row.bms or "")
        own = row.mode == Mode.ENFORCE and row.severity == Severity.TRIP and row.inside_bms > 0
        trip = trip_of(row, policies, policies.thresholds) if own else None
        if row.bms is None or trip is None or isinstance(held, bool):
            continue
        if not isinstance(held, (int, float)):
            continue
        value = round(trip * (policies.battery.cells if row.bms in _PER_PACK else 1), 3)
        if value < held if row.over else value > held:
            wanted[row.bms] = value
    return wanted
