"""What policies take of the facts of a battery's life: numbers that are surely at least as bad."""

from __future__ import annotations

from typing import NamedTuple

from bmslink.analysis import LifeFacts

__all__ = ["LifeMeasures", "measures_of"]


class LifeMeasures(NamedTuple):
    """`None`: not known, and nothing follows."""

    days_since_full: float | None = None
    """Since it was full, or since it is watched and never was."""
    capacity_left: float | None = None
    """% of nominal, with its uncertainty in the battery's favour."""
    resistance_lead: float | None = None
    """% by which the worst cell's resistance grew more than the median cell's, less what it is
    unsure by."""
    full_cycles: float | None = None
    """In the battery's life: as the board counts, or as surely counted here, whichever is more."""


def measures_of(facts: LifeFacts | None) -> LifeMeasures:
    """Of one battery, as of now."""
    if facts is None:
        return LifeMeasures()
    full, capacity, flow = facts.full, facts.capacity, facts.throughput
    proven = facts.chemistry is not None and flow.capacity is not None
    never = full.watched_days if proven else None
    now, left = capacity.now, capacity.of_nominal
    if left is not None and now.value and now.uncertainty is not None:
        left *= 1 + now.uncertainty / now.value
    leads = [
        cell.change - 100 * cell.uncertainty / cell.value
        for cell in facts.resistance.cells
        if cell.change is not None
    ]
    ours = flow.equivalent_cycles
    if ours is not None:
        ours = max(0.0, ours - (flow.equivalent_cycles_uncertainty or 0.0))
    cycles = [c for c in (ours, flow.board_cycles) if c is not None]
    return LifeMeasures(
        days_since_full=never if full.days is None else full.days,
        capacity_left=left,
        resistance_lead=max(leads, default=None),
        full_cycles=max(cycles, default=None),
    )
