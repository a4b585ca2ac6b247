"""What a back-test found: trips, commands, margins, and sums over the log."""

from __future__ import annotations

from typing import Any

import msgspec

from bmslink.control.backtest.logs import written
from bmslink.control.decide.policy import Severity

__all__ = ["BacktestCommand", "BacktestReport", "Margin", "Totals", "Trip"]


class Trip(msgspec.Struct, kw_only=True):
    """A policy that acted, or warned."""

    policy: str
    severity: Severity
    balancing: bool
    """It is only about balancing."""
    began: float
    ended: float | None = None
    """`None`: it still lasted at the end of the log."""
    latched: bool
    """A person would have had to reset it."""
    text: str

    def seconds(self, end: float) -> float:
        """How long it lasted; `end` is the end of the log."""
        return max(0.0, (end if self.ended is None else self.ended) - self.began)


class BacktestCommand(msgspec.Struct, frozen=True):
    """A switch that would have been thrown."""

    time: float
    switch: str
    on: bool
    text: str


class Margin(msgspec.Struct, kw_only=True):
    """How near a quantity came to where a policy acts."""

    policy: str
    quantity: str
    unit: str
    digits: int
    closest: float
    threshold: float
    over: bool
    """It acts at or above the threshold; otherwise at or below it."""
    time: float
    severity: Severity

    @property
    def left(self) -> float:
        """What was left, in the unit; below 0: it went beyond."""
        return (self.threshold - self.closest) * (1 if self.over else -1)


class Totals(msgspec.Struct):
    """Sums over a log; times in s."""

    samples: int = 0
    duplicates: int = 0
    backwards: int = 0
    """Readings that were older than the one before."""
    suspect: int = 0
    missing: int = 0
    """Samples in which something was not measured."""
    frozen: int = 0
    gaps: int = 0
    longest_gap: float = 0.0
    stale_seconds: float = 0.0
    charge_stopped_seconds: float = 0.0
    discharge_stopped_seconds: float = 0.0
    balance_stopped_seconds: float = 0.0
    stops: int = 0
    """Trips that withdrew the permit to charge or to discharge."""
    derates: int = 0
    """Derating policies that came to their end."""
    warnings: int = 0
    latches: int = 0
    """Trips that a person would have had to reset."""
    limit_changes: int = 0
    """Decisions with another CVL, CCL or DCL than the one before."""
    charged_ah: float = 0.0
    discharged_ah: float = 0.0
    not_charged_ah: float = 0.0
    not_charged_wh: float = 0.0
    not_discharged_ah: float = 0.0
    not_discharged_wh: float = 0.0


class BacktestReport(msgspec.Struct, kw_only=True):
    """What one policy file would have done on one pack of a log."""

    target: str
    interval: float
    """The usual time between readings, s."""
    began: float
    ended: float
    totals: Totals
    counts: dict[str, int]
    """Policy -> how often it tripped."""
    tripped_seconds: dict[str, float]
    """Policy -> how long it was tripped."""
    missing_seconds: dict[str, float]
    """Policy -> how long it could not measure."""
    lowered_seconds: dict[str, float]
    """Limit -> how long it was lower than it may be at all."""
    binding_seconds: dict[str, dict[str, float]]
    """Limit -> policy -> how long that policy was what held it down (`recovery`: the ramp)."""
    phase_seconds: dict[str, float] = {}
    """Phase of charging -> how long it lasted."""
    kind_seconds: dict[str, dict[str, float]] = {}
    """Limit -> `protect` or `phase` -> how long a reason of that kind held it down."""
    trips: list[Trip]
    commands: list[BacktestCommand]
    command_counts: dict[str, int]
    margins: list[Margin]
    not_applicable: dict[str, str]
    digest: str
    """SHA-256 over all decisions: equal means the same decisions, byte for byte."""

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        values: dict[str, Any] = msgspec.to_builtins(self)
        values["totals"] = {
            k: round(v, 3) if isinstance(v, float) else v for k, v in values["totals"].items()
        }
        for trip, plain in zip(self.trips, values["trips"], strict=True):
            plain["severity"] = trip.severity.name.lower()
            plain["seconds"] = round(trip.seconds(self.ended), 3)
        for margin, plain in zip(self.margins, values["margins"], strict=True):
            plain["severity"] = margin.severity.name.lower()
            plain["left"] = round(margin.left, 6)
        for each in (values, *values["trips"], *values["commands"], *values["margins"]):
            for name in ("began", "ended", "time"):
                if isinstance(each.get(name), float):
                    each[name] = written(each[name])
        return values
