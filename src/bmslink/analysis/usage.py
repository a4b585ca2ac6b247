"""How a battery is used: hours in bands of charge, temperature and current."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

import msgspec

from bmslink.analysis.facts import RateBand, UsageBand
from bmslink.analysis.sample import Counted, LifeSample

__all__ = ["Usage", "UsageState"]

SOC_EDGES = (10.0, 20.0, 50.0, 80.0, 90.0)
"""%: below 10 and above 90 is where calendars and cycles take most."""
TEMPERATURE_EDGES = (0.0, 10.0, 20.0, 30.0, 40.0, 50.0)
"""°C."""
RATE_EDGES = (0.02, 0.1, 0.2, 0.5, 1.0)
"""C; less than the first is rest."""
_HOUR = 3600.0


class UsageState(msgspec.Struct):
    """Seconds by band, the last of each list where the value was not known; As by rate."""

    soc: list[float] = msgspec.field(default_factory=lambda: [0.0] * (len(SOC_EDGES) + 2))
    temperature: list[float] = msgspec.field(
        default_factory=lambda: [0.0] * (len(TEMPERATURE_EDGES) + 2)
    )
    charging: list[float] = msgspec.field(default_factory=lambda: [0.0] * (len(RATE_EDGES) + 2))
    discharging: list[float] = msgspec.field(default_factory=lambda: [0.0] * (len(RATE_EDGES) + 2))
    charged: list[float] = msgspec.field(default_factory=lambda: [0.0] * (len(RATE_EDGES) + 2))
    discharged: list[float] = msgspec.field(default_factory=lambda: [0.0] * (len(RATE_EDGES) + 2))

    def require_whole(self) -> None:
        """`ValueError` for lists of another length: another version's bands."""
        lengths = {
            "soc": len(SOC_EDGES) + 2,
            "temperature": len(TEMPERATURE_EDGES) + 2,
        }
        for name in self.__struct_fields__:
            if len(getattr(self, name)) != lengths.get(name, len(RATE_EDGES) + 2):
                raise ValueError(f"{name} has bands of another version")


class Usage:
    """Fed with each reading and what was counted up to it since the one before."""

    def __init__(self, state: UsageState | None = None) -> None:
        self.state = state or UsageState()

    def hear(self, sample: LifeSample, passed: Counted, capacity: float | None) -> None:
        """Time that the counter knows, by the values at its end."""
        state, seconds = self.state, passed.known
        if seconds <= 0:
            return
        _add(state.soc, SOC_EDGES, sample.soc, seconds)
        _add(state.temperature, TEMPERATURE_EDGES, sample.temperature, seconds)
        current = sample.current
        rate = None if current is None or not capacity else abs(current) / capacity
        hours = state.charging if (current or 0.0) >= 0 else state.discharging
        _add(hours, RATE_EDGES, rate, seconds)
        _add(state.charged, RATE_EDGES, rate, passed.charge_in)
        _add(state.discharged, RATE_EDGES, rate, passed.charge_out)

    def soc_hours(self) -> tuple[UsageBand, ...]:
        """Hours by the board's state of charge, %."""
        return _bands(self.state.soc, SOC_EDGES)

    def temperature_hours(self) -> tuple[UsageBand, ...]:
        """Hours by the cells' temperature, °C."""
        return _bands(self.state.temperature, TEMPERATURE_EDGES)

    def hours_by_direction(self) -> tuple[float, float]:
        """Hours in which charge may have flowed in, and out. Rest is in both: the offset of the
        current hides which of them it is."""
        into, out_of = self.state.charging, self.state.discharging
        return (sum(into) + out_of[0]) / _HOUR, (sum(out_of) + into[0]) / _HOUR

    def rates(self) -> tuple[RateBand, ...]:
        """Hours and Ah by current, C. Rest has no direction."""
        state = self.state
        edges = (0.0, *RATE_EDGES)
        return tuple(
            RateBand(
                low=low,
                high=edges[index + 1] if index + 1 < len(edges) else None,
                hours_charging=state.charging[index] / _HOUR,
                hours_discharging=state.discharging[index] / _HOUR,
                charged_capacity=state.charged[index] / _HOUR,
                discharged_capacity=state.discharged[index] / _HOUR,
            )
            for index, low in enumerate(edges)
        )


def _add(sums: list[float], edges: Sequence[float], value: float | None, amount: float) -> None:
    sums[-1 if value is None else bisect_right(edges, value)] += amount


def _bands(sums: Sequence[float], edges: Sequence[float]) -> tuple[UsageBand, ...]:
    lows = (None, *edges)
    highs = (*edges, None)
    known = [
        UsageBand(low=low, high=high, hours=seconds / _HOUR)
        for low, high, seconds in zip(lows, highs, sums, strict=False)
    ]
    return (*known, UsageBand(low=None, high=None, hours=sums[-1] / _HOUR))
