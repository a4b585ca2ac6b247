"""Noise at a threshold moves a switch twice at most: `tools/threshold_hour.py`, in small."""

from __future__ import annotations

import pytest

import threshold_hour
from threshold_hour import ENDS, MOST, Hour

_HOURS = tuple(threshold_hour.hours())


@pytest.mark.parametrize("end", ENDS)
def test_an_hour_of_noise_at_each_threshold_moves_a_switch_twice_at_most(end: str) -> None:
    tried = [hour for hour in _HOURS if hour.end == end]
    assert len(tried) >= 26
    changed = {str(hour): threshold_hour.spend(hour, seed=5, poll=10.0) for hour in tried}
    assert {
        name: found for name, found in changed.items() if max(found.values(), default=0) > MOST
    } == {}
    moved = [name for name, found in changed.items() if found]
    assert len(moved) > (
        20 if end == "trip" else 5
    )  # an hour in which nothing can happen proves nothing


def test_the_balancer_is_not_switched_by_the_noise_of_the_cells() -> None:
    """59 times in an hour: with 5 mV between them they seemed to be 10 mV apart now and then."""
    assert threshold_hour.spend(Hour("balance_delta", "trip"), seed=1) == {"balance": 1}
