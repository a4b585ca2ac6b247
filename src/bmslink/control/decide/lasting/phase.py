"""The phases of charging, as a pure state machine.

```
            a cell is at the charge voltage           full and at rest for long
   bulk ─────────────────────────────────▶ absorption ─────────────────────────▶ float
     ▲ ◀──────── part empty ─────────────────┘                                     │
     └─ (the same as bulk, after a float) ── rebulk ◀──────── part empty ──────────┘
```

The policy that watches how long a pack is full (`high_soc_dwell`) says when it floats, and when it
is charged again: its delays and its memory are those of any policy. A phase asks for a charge
voltage and protects nothing, so packs that are combined can tell both apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from bmslink.control.decide.sample import Sample

__all__ = ["AT_TOP", "REBULK_SOC", "ChargePhase", "next_phase", "part_empty", "phase_after"]

AT_TOP = 0.010
"""V per cell: from so near the charge voltage on it counts as reached."""
REBULK_SOC = 80.0
"""%: a pack that floats is charged again from here."""


class ChargePhase(StrEnum):
    """How a pack is being charged."""

    BULK = "bulk"
    """With all the current that it may take."""
    ABSORPTION = "absorption"
    """At the charge voltage, until it is full."""
    FLOAT = "float"
    """Full: at the float voltage, until it is part empty."""
    REBULK = "rebulk"
    """Bulk once more, after a float."""


def next_phase(
    phase: ChargePhase, *, floats: bool, top: bool = False, empty: bool = False
) -> ChargePhase:
    """The phase that follows. `floats`: a policy asks for the float voltage; `top`: a cell is at
    the charge voltage; `empty`: it is part empty. What is not known is false, and changes nothing.
    """
    if floats:
        return ChargePhase.FLOAT
    if phase is ChargePhase.FLOAT:
        return ChargePhase.REBULK
    if phase is ChargePhase.ABSORPTION:
        return ChargePhase.BULK if empty and not top else phase
    return ChargePhase.ABSORPTION if top else phase


def phase_after(
    phase: ChargePhase, sample: Sample, thresholds: Mapping[str, float], *, floats: bool
) -> ChargePhase:
    """The phase that follows by fresh data."""
    cells = not sample.quality["cells"]
    high = sample.max_cell
    top = cells and high is not None and high >= thresholds["charge_voltage"] - AT_TOP
    empty = False
    if phase is ChargePhase.ABSORPTION and not top:
        empty = part_empty(sample) or False
        if cells and sample.cells and not empty:
            empty = sample.cell_sum / len(sample.cells) <= thresholds["rebulk_voltage"]
    return next_phase(phase, floats=floats, top=top, empty=empty)


def part_empty(sample: Sample) -> bool | None:
    """Whether so much is gone that it is charged again; `None`: nobody knows."""
    return None if sample.soc is None or sample.quality["soc"] else sample.soc <= REBULK_SOC
