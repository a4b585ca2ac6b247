"""What holds of a session whatever it hears, and of limits that it meets."""

from __future__ import annotations

import json

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from session_bench import balancer

from bmslink.control.decide.decision import Limits
from bmslink.control.decide.limits import Limit, Reason
from bmslink.control.sessions.machine import step
from bmslink.control.sessions.moment import CellsNow
from bmslink.control.sessions.options import SessionOptions
from bmslink.control.sessions.plan import BoardLimits, make_plan
from bmslink.control.sessions.state import Around, SessionState
from bmslink.control.sessions.wishes import ChargeWish, narrowed
from bmslink.settings.chemistry import chemistry

VOLTS = st.floats(2.0, 3.8, allow_nan=False)
CELLS = st.lists(VOLTS, min_size=4, max_size=4).map(tuple)
MOMENTS = st.lists(
    st.tuples(
        st.none() | CELLS,
        st.none() | st.floats(-300, 300, allow_nan=False),
        st.floats(-20, 90, allow_nan=False),
        st.none() | st.booleans(),
        st.floats(0.1, 4000, allow_nan=False),
        st.sampled_from(["", "a policy"]),
    ),
    min_size=1,
    max_size=30,
)


@given(moments=MOMENTS)
def test_it_never_asks_for_more_than_its_top(moments: list[tuple[object, ...]]) -> None:
    first = CellsNow(cells=(3.36, 3.37, 3.35, 3.36), current=0.0, capacity=100.0, soc=90.0)
    plan = make_plan(
        "x", first, chemistry("lfp"), balancer(), BoardLimits(cell_ovp=3.65), SessionOptions(),
        by_sink=True,
    )  # fmt: skip
    state, time, writes = SessionState(), 0.0, 0
    for cells, current, warm, balancing, passed, held in moments:
        time += float(passed)
        now = None
        if cells is not None:
            now = CellsNow(
                cells=cells, current=current, capacity=100.0, hottest=warm, coldest=warm, part=warm,
                balancing=balancing, balance_switch=True, charge_switch=True,
            )  # fmt: skip
        found = step(plan, state, now, time, Around(charge_held=str(held)))
        again = step(plan, state, now, time, Around(charge_held=str(held)))
        assert found == again, "the same gives the same"
        state = msgspec.convert(
            json.loads(json.dumps(msgspec.to_builtins(found.state))), SessionState
        )
        assert state == found.state, "it survives the disk whole"
        wish = found.wish
        writes += wish.balance is not None
        if now is None or found.end is not None:
            assert wish.cvl is None, "what is not known is not said"
            if found.end is not None:
                break
            continue
        assert wish.cvl is not None
        assert wish.cvl <= plan.cells * plan.top + 0.001
        assert 0 <= wish.ccl <= plan.full
        if now.high >= plan.top + plan.numbers.lead or held or now.coldest <= plan.coldest:
            assert wish.ccl == 0
            assert wish.cvl <= now.total + 0.001
    assert writes <= plan.numbers.switchings


@given(
    limits=st.tuples(*[st.floats(0, 100, allow_nan=False)] * 4), cvl=st.none() | VOLTS, ccl=VOLTS
)
def test_the_lower_wins_and_every_reason_stays(
    limits: tuple[float, ...], cvl: float | None, ccl: float
) -> None:
    given_ = Limits(*(Limit(v, (Reason("policy", v, "why"),)) for v in limits))
    found = narrowed(given_, ChargeWish(cvl=cvl, ccl=ccl))
    assert found.dcl is given_.dcl
    assert found.dvl is given_.dvl
    for name in ("cvl", "ccl"):
        before, after = getattr(given_, name), getattr(found, name)
        assert after.value <= before.value
        assert after.reasons[0].value == after.value
        assert set(before.reasons) <= set(after.reasons)
