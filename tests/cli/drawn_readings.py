"""Any reading, also one that no board would send: for hypothesis."""

from __future__ import annotations

from hypothesis import strategies as st

from bmslink.model import Condition, Reading

__all__ = ["READINGS"]

_numbers = st.none() | st.floats(-1e6, 1e6, allow_nan=False)
_switches = st.none() | st.booleans()

READINGS = st.builds(
    Reading,
    voltage=_numbers,
    current=_numbers,
    soc=_numbers,
    soh=_numbers,
    remaining_capacity=_numbers,
    full_capacity=_numbers,
    nominal_capacity=_numbers,
    cycles=st.none() | st.integers(0, 1 << 32),
    cell_voltages=st.lists(st.none() | st.floats(0, 66), max_size=48).map(tuple),
    temperatures=st.dictionaries(
        st.text(max_size=9).filter(lambda name: "None" not in name), _numbers, max_size=9
    ),
    balancing_active=_switches,
    balancing_cells=st.none() | st.lists(st.integers(1, 48), max_size=5).map(tuple),
    charge_switch=_switches,
    charging_allowed=_switches,
    alarms=st.lists(st.sampled_from(Condition), max_size=40).map(tuple),
    faults=st.lists(st.sampled_from(Condition), max_size=40).map(tuple),
    uptime=st.none() | st.floats(0, 1e10),
    raw=st.dictionaries(st.text(max_size=9), st.text(max_size=9), max_size=3),
)
"""Names without `None`, so that a rendering can be searched for it."""
