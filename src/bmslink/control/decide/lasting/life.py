"""Quantities of a battery's whole life. They are found by `bmslink.analysis`, not measured here,
and are unknown until there is enough to find them from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from bmslink.control.decide.lasting.history import PackHistory
from bmslink.control.decide.lasting.life_measures import LifeMeasures
from bmslink.control.decide.lasting.quantity import Measure, Quantity
from bmslink.control.decide.sample import Sample

__all__ = ["LIFE"]


def _of(pick: Callable[[LifeMeasures], float | None]) -> Measure:
    def measure(_sample: Sample, history: PackHistory, _probes: tuple[str, ...]) -> float | None:
        return pick(history.life)

    return measure


def _found(title: str, unit: str, pick: Callable[[LifeMeasures], float | None]) -> Quantity:
    return Quantity(title, unit, 0, (), _of(pick), None, 1, patient=True, lasts=True)


LIFE: Mapping[str, Quantity] = MappingProxyType(
    {
        "days_since_full": _found("days since a full charge", "", lambda m: m.days_since_full),
        "capacity_left": _found(
            "capacity as found, of nominal, at the most", "%", lambda m: m.capacity_left
        ),
        "resistance_lead": _found(
            "growth of a cell's resistance beyond the others'", "%", lambda m: m.resistance_lead
        ),
        "full_cycles": _found("full cycles", "", lambda m: m.full_cycles),
    }
)
