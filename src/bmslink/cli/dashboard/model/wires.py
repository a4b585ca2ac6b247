"""The balance wires: which of them has a far higher resistance than the others."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median

from bmslink.model import Reading

__all__ = ["known_wires", "outliers"]

_TIMES, _ABOVE = 2.0, 0.05
"""A wire stands out from so many times the median on, if it is at least so much (ohm) above it: a
contact that goes bad is far beyond both, and what wires of different lengths differ is not."""
_FEWEST = 3
"""With fewer wires there is nothing to compare."""


def known_wires(reading: Reading) -> Mapping[int, float]:
    """Cell -> the resistance of its wire, ohm, as far as the board gives it."""
    found = enumerate(reading.cell_resistances or (), 1)
    return {n: ohm for n, ohm in found if ohm is not None and n <= len(reading.cell_voltages)}


def outliers(reading: Reading) -> frozenset[int]:
    """The cells whose wire is far above the others, or that the board names."""
    known = known_wires(reading)
    named = reading.raw.get("wire_resistance_cells")
    found = {n for n in named if n in known} if isinstance(named, list | tuple) else set[int]()
    if len(known) >= _FEWEST:
        usual = median(known.values())
        least = max(_TIMES * usual, usual + _ABOVE)
        found |= {n for n, ohm in known.items() if ohm >= least}
    return frozenset(found)
