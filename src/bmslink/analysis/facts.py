"""The facts of a battery's life, each with how sure it is and what it rests on.

Uncertainties are for 95 %: 19 of 20 times the truth lies within value ± uncertainty. What is not
known is `None`, with the reason in words.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from bmslink.jsonable import plain

__all__ = [
    "CapacityFacts",
    "CellResistance",
    "Estimate",
    "FullFacts",
    "ImbalanceFacts",
    "LifeFacts",
    "Pass",
    "RateBand",
    "ResistanceFacts",
    "Throughput",
    "Trend",
    "UsageBand",
]


class _Fact(msgspec.Struct, frozen=True, kw_only=True):
    def to_dict(self) -> dict[str, Any]:
        """For JSON; numbers with as many digits as mean something."""
        return {name: _json(getattr(self, name)) for name in self.__struct_fields__}


def _json(value: Any) -> Any:
    if isinstance(value, _Fact):
        return value.to_dict()
    if isinstance(value, (list, tuple)):
        return [_json(each) for each in value]
    if isinstance(value, float):
        return float(f"{value:.8g}")
    return plain(value) if isinstance(value, datetime) else value


class Estimate(_Fact, frozen=True, kw_only=True):
    """A number that was found, not read."""

    value: float | None = None
    uncertainty: float | None = None
    """±, for 95 %."""
    evidence: int = 0
    """How many passes, steps or weeks it rests on."""
    since: datetime | None = None
    """From when the first of them is, UTC."""
    until: datetime | None = None
    """From when the last one is."""
    why: str = ""
    """Why it is not known; empty where it is."""


class Trend(_Fact, frozen=True, kw_only=True):
    """How a number changes."""

    per_year: float | None = None
    """% of its value a year; for imbalance mV a year."""
    uncertainty: float | None = None
    """±, for 95 %."""
    evidence: int = 0
    days: float = 0.0
    """From the first of it to the last."""
    why: str = ""


class Throughput(_Fact, frozen=True, kw_only=True):
    """What went in and out, of the one counter of the history.

    It is what the board's current says. Each `..._uncertainty` (±, for 95 %) covers its gain and
    its offset: where little flows, as in a UPS, the offset may be all that was counted.
    """

    charged_capacity: float
    """Ah."""
    charged_capacity_uncertainty: float
    discharged_capacity: float
    """Ah."""
    discharged_capacity_uncertainty: float
    charged_energy: float
    """Wh."""
    charged_energy_uncertainty: float
    discharged_energy: float
    """Wh."""
    discharged_energy_uncertainty: float
    known_seconds: float
    unknown_seconds: float
    """s of which nothing is counted: what flowed then is in none of the others."""
    equivalent_cycles: float | None
    """What was discharged, in capacities of the battery as it was new."""
    equivalent_cycles_uncertainty: float | None
    capacity: float | None
    """Ah that one cycle is counted with: the nominal capacity."""
    board_cycles: int | None
    """Cycles that the board has counted over its own life, by its own rule."""
    board_cycle_capacity: float | None
    """Ah that it has counted over its life."""
    board_cycles_since: int | None
    """Cycles that the board has counted since this record began."""


class UsageBand(_Fact, frozen=True, kw_only=True):
    """Hours within a band; `low` or `high` is `None` where it has no end."""

    low: float | None
    high: float | None
    hours: float


class RateBand(_Fact, frozen=True, kw_only=True):
    """Hours and charge at currents within a band of C."""

    low: float
    high: float | None
    hours_charging: float
    hours_discharging: float
    charged_capacity: float
    """Ah."""
    discharged_capacity: float
    """Ah."""


class Pass(_Fact, frozen=True, kw_only=True):
    """One time between a proven full and a proven empty."""

    time: datetime
    capacity: float
    """Ah of the whole battery."""
    uncertainty: float
    """±, for 95 %, of this pass alone; the gain of the board's current is not in it."""
    hours: float
    down: bool
    """From full to empty; else from empty to full."""
    temperature: float | None
    """°C, mean at its ends."""


class CapacityFacts(_Fact, frozen=True, kw_only=True):
    """The capacity as found, now."""

    now: Estimate
    """Ah."""
    of_nominal: float | None
    """%."""
    trend: Trend
    """% a year."""
    offset: Estimate
    """A that the board's current is wrong by, as full-to-full loops show; taken into account."""
    passes: tuple[Pass, ...]
    """The newest ones."""
    unused: int
    """Passes that were too uncertain: too long, too many gaps."""
    judged: bool
    """Whether the method was judged for this chemistry, by an independent model of ageing cells.
    Where it was not, neither the numbers nor their uncertainties are proven."""


class CellResistance(_Fact, frozen=True, kw_only=True):
    """Of one cell."""

    cell: int
    """From 1."""
    value: float
    """Ω."""
    uncertainty: float
    """Ω, for 95 %."""
    of_median: float
    """% of the median cell."""
    change: float | None
    """Percentage points by which `of_median` grew since the first block of steps."""


class ResistanceFacts(_Fact, frozen=True, kw_only=True):
    """Direct-current resistance about 10 s after a load step."""

    median: Estimate
    """Ω of the median cell."""
    cells: tuple[CellResistance, ...]
    temperature: float | None
    """°C, at those steps."""
    soc: float | None
    """%, as the board said."""
    delay: float | None
    """s from step to measurement, median."""
    trend: Trend
    """% a year, with the temperature taken out."""


class ImbalanceFacts(_Fact, frozen=True, kw_only=True):
    """Highest minus lowest cell, mV."""

    rest: Estimate
    """At rest and neither full nor empty, in the newest week with any."""
    rest_trend: Trend
    top: Estimate
    """When the battery was proven full."""
    top_trend: Trend


class FullFacts(_Fact, frozen=True, kw_only=True):
    """When it was full."""

    last: datetime | None
    days: float | None
    """Days since; `None`: it was not seen full in this record."""
    watched_days: float
    """Days since this record began."""
    count: int
    """Full charges, at least twelve hours apart."""
    why: str = ""


class LifeFacts(_Fact, frozen=True, kw_only=True):
    """All of one battery."""

    since: datetime
    """When this record began, UTC."""
    until: datetime
    chemistry: str | None
    throughput: Throughput
    soc_hours: tuple[UsageBand, ...]
    """By the state of charge that the board says, %."""
    temperature_hours: tuple[UsageBand, ...]
    """By the mean of the cells' probes, °C."""
    rates: tuple[RateBand, ...]
    capacity: CapacityFacts
    resistance: ResistanceFacts
    imbalance: ImbalanceFacts
    full: FullFacts
