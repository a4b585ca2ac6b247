"""What one changed setting costs on the wire of each protocol, so that it does not creep up."""

from __future__ import annotations

import pytest

from change_cost import PROTOCOLS, measure

SLOW_VIEWS = 9.0
"""s from the last write to the proof (docs/configuration.md)."""


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_one_value_costs_no_more_than_its_proofs_need(protocol: str) -> None:
    cost = measure(protocol)
    assert cost.identifies == 2
    assert cost.tables == 3
    assert cost.brackets == (2 if protocol == "jbd" else 0)
    assert cost.floor > SLOW_VIEWS
    assert cost.ratio <= 1.3


def test_the_proofs_are_in_their_order() -> None:
    """The plan's table, one more before the write, and after it two with who answers between."""
    events = [event for event in measure("jbd").events if event != "enter"]
    before, after = events[: events.index("write")], events[events.index("write") + 1 :]
    assert before == ["identify", "table", "read", "table", "read"]
    assert after == ["table", "identify", "table"]
