"""The limits of a cell: of the board's settings and of policies, and how far away they are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["CellBound", "PolicyMargin", "board_bounds", "nearest"]


@dataclass(frozen=True, slots=True)
class CellBound:
    """A voltage at which something happens to a cell."""

    mark: str
    """One character: upper case for the board, lower case for a policy."""
    title: str
    volts: float
    over: bool
    """At or above it; else at or below."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyMargin:
    """One policy, and how far the pack is from it."""

    name: str
    title: str
    value: str
    """What was measured, with its unit; empty: nothing."""
    trip: str
    share: float
    """How near it is: 0 far away or nothing to say, 1 tripped."""
    margin: str
    """How far it is, with its unit."""
    state: str
    """`holds`, `tripped`, `latched`, `derating`, `missing` or `rests`."""
    mode: str
    text: str
    """Why it is not content."""


_BOARD = (
    ("cell_ovp", "H", "over-voltage protection", True),
    ("cell_ovp_warning", "W", "over-voltage warning", True),
    ("cell_ovp_release", "R", "over-voltage release", True),
    ("cell_uvp_release", "r", "under-voltage release", False),
    ("cell_uvp_warning", "w", "under-voltage warning", False),
    ("cell_uvp", "L", "under-voltage protection", False),
    ("balance_start_voltage", "B", "balancing begins", True),
)


def board_bounds(values: Mapping[str, Any]) -> list[CellBound]:
    """What the settings of a board say of its cells, V."""
    found = []
    for key, mark, title, over in _BOARD:
        value = values.get(key)
        if isinstance(value, int | float) and not isinstance(value, bool) and value > 0:
            found.append(CellBound(mark, title, float(value), over))
    return found


def nearest(
    bounds: Iterable[CellBound], cells: Sequence[float | None]
) -> tuple[CellBound, float] | None:
    """The protection that a cell is nearest to, and how far it is, V; below 0: beyond it."""
    known = [v for v in cells if v is not None]
    if not known:
        return None
    far = [
        (bound, bound.volts - max(known) if bound.over else min(known) - bound.volts)
        for bound in bounds
        if bound.mark in "HL"
    ]
    return min(far, key=lambda each: each[1], default=None)
