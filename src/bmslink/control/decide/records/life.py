"""The records about a battery's years."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bmslink.control.decide.policy import Policy
from bmslink.control.decide.records.levels import record, warn

__all__ = ["life_records"]

_CYCLE_LIFE = {"lfp": 4000.0, "nmc": 1000.0, "lto": 10000.0, "na-ion": 2000.0}
"""Full cycles that makers' sheets promise to 80 % of the capacity, rounded down; sheets differ."""


def life_records(chemistry: str) -> Iterator[Policy]:
    """A battery's years, as far as they are found (`bmslink.analysis`): never more than a word."""

    def remark(name: str, title: str, quantity: str, **more: Any) -> Iterator[Policy]:
        yield from record(name, quantity, (), warn(title, name=name, on_delay=60.0, **more))

    # makers of packs ask for a full charge each month, so that cells and charge agree again;
    # a battery in store is best left half full
    yield from remark("full_charge_due", "it was not full for a month", "days_since_full",
                      trip=30.0, release=1.0, when="discharging")  # fmt: skip
    # where makers and IEC 62620 end the cycle life
    yield from remark("capacity_lost", "it has lost a fifth of its capacity", "capacity_left",
                      over=False, trip=80.0, release=83.0)  # fmt: skip
    yield from remark("cell_resistance_rising", "a cell, or its connection, resists more and more",
                      "resistance_lead", trip=50.0, release=35.0)  # fmt: skip
    budget = _CYCLE_LIFE[chemistry]
    yield from remark("throughput_budget", "it has done the cycles that its cells are made for",
                      "full_cycles", trip=budget, release=budget - 1)  # fmt: skip
