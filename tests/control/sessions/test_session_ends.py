"""Each end, check and number of a session at its very threshold."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from session_bench import balancer

from bmslink.control.sessions.ends import Ending
from bmslink.control.sessions.kept import KeptSession, SessionStore
from bmslink.control.sessions.machine import step
from bmslink.control.sessions.moment import CellsNow, look
from bmslink.control.sessions.options import SessionOptions
from bmslink.control.sessions.permit import Permitting, permitted
from bmslink.control.sessions.plan import BoardLimits, SessionPlan, make_plan
from bmslink.control.sessions.preflight import Before, preflight
from bmslink.control.sessions.state import Around, Phase, SessionState
from bmslink.control.sessions.wishes import charge_current
from bmslink.model import Reading
from bmslink.settings.chemistry import chemistry

NOW = CellsNow(
    cells=(3.49, 3.50, 3.49, 3.48), current=0.5, soc=99.0, capacity=100.0, hottest=25.0,
    coldest=24.0, part=30.0, balancing=True, charge_switch=True, balance_switch=True,
)  # fmt: skip
APART = (3.46, 3.50, 3.49, 3.48)


def _plan(board: BoardLimits | None = None, **options: Any) -> SessionPlan:
    return make_plan(
        "x", NOW, chemistry("lfp"), balancer(), board or BoardLimits(cell_ovp=3.65),
        SessionOptions(**options), by_sink="supply" not in options,
    )  # fmt: skip


PLAN = _plan()


def _now(**change: Any) -> CellsNow:
    return msgspec.structs.replace(NOW, **change)


def _ended(
    now: CellsNow | None, seconds: float, *, around: Around | None = None, every: float = 1.0,
    state: SessionState | None = None,
) -> Ending | None:  # fmt: skip
    """What ends a session that sees the same for so long."""
    state = state or SessionState(phase=Phase.HOLD)
    begun, passed = state.time, 0.0
    while passed <= seconds:
        found = step(PLAN, state, now, begun + passed, around or Around())
        if found.end is not None:
            return found.end
        state, passed = found.state, passed + every
    return None


def _high(volts: float) -> tuple[float, ...]:
    return (volts, 3.49, 3.49, 3.49)


@pytest.mark.parametrize(
    ("name", "ends", "not_yet", "seconds"),
    [
        ("cell_high", {"cells": _high(PLAN.bound)}, {"cells": _high(PLAN.bound - 0.001)}, 1),
        ("cell_low", {"cells": _high(PLAN.floor)}, {"cells": _high(PLAN.floor + 0.001)}, 60),
        ("hot", {"hottest": 45.0}, {"hottest": 44.9}, 20),
        ("balancer_hot", {"part": 75.0}, {"part": 74.9}, 20),
        ("protection", {"protections": ("cell_overvoltage",)}, {"passing": ("soc_low",)}, 1),
        ("other_cells", {"cells": NOW.cells[:3]}, {}, 2),
        ("other_cells", {"cells": (*NOW.cells, 3.49)}, {}, 2),
        ("switched", {"charge_switch": False}, {"charge_switch": None}, 5),
        ("switched", {"charge_switch": None, "shut": True}, {"charge_switch": None}, 600),
        ("switched", {"balance_switch": False}, {"balance_switch": None}, 5),
    ],
)
def test_each_end_comes_at_its_bound_and_its_time(
    name: str, ends: dict[str, Any], not_yet: dict[str, Any], seconds: float
) -> None:
    known = SessionState(phase=Phase.HOLD, permit=Permitting(on=True, confirmed=True))
    end = _ended(_now(**ends), seconds, state=known)
    assert end is not None
    assert end.name == name
    assert _ended(_now(**ends), seconds - 1, state=known) is None, "one reading decides nothing"
    assert _ended(_now(**not_yet), 2 * seconds + 5, state=known) is None


@pytest.mark.parametrize("around", [Around(charge_held="a policy")])
def test_what_policies_hold_off_is_nobody_elses_switch(around: Around) -> None:
    assert _ended(_now(charge_switch=False), 60, around=around) is None
    assert _ended(_now(charge_switch=False, passing=("charge_undertemperature",)), 60) is None


def test_silence_and_time_end_it() -> None:
    for now, state, name in (
        (None, SessionState(), "blind"),
        (NOW, SessionState(time=48 * 3600 - 7200, seen=48 * 3600 - 7200), "time"),
    ):
        assert _ended(now, 7140, every=60, state=state) is None
        end = _ended(now, 7200, every=60, state=state)
        assert end is not None
        assert end.name == name


def test_a_clock_that_goes_back_takes_nothing_back() -> None:
    state = SessionState(time=1000.0, seen=1000.0, held=10.0)
    found = step(PLAN, state, NOW, 10.0, Around())
    assert (found.state.time, found.state.held) == (1000.0, 10.0)


# -- phases --------------------------------------------------------------------------------------


def _after(now: CellsNow, seconds: float, phase: Phase) -> SessionState:
    state, passed = SessionState(phase=phase), 0.0
    while passed <= seconds and state.phase is phase:
        found = step(PLAN, state, now, passed, Around())
        state, passed = found.state, passed + 10
    return state


def test_within_the_target_for_ten_minutes_at_rest_it_settles() -> None:
    within = _now(cells=(3.49, 3.50, 3.49, 3.49))
    assert _after(within, 600, Phase.HOLD).phase is Phase.SETTLE
    assert _after(within, 590, Phase.HOLD).phase is Phase.HOLD
    assert _after(_now(cells=(3.49, 3.501, 3.49, 3.49)), 1200, Phase.HOLD).phase is Phase.HOLD
    rest = PLAN.rest_current
    assert rest == 2.0, "0.02 C, though 4 A feed the balancer"
    assert PLAN.holding == 4.0
    pushed = msgspec.structs.replace(within, current=rest + 0.1)
    assert _after(pushed, 1200, Phase.HOLD).phase is Phase.HOLD


def test_after_a_rest_it_is_done_or_holds_again() -> None:
    assert _after(_now(cells=(3.45, 3.46, 3.45, 3.45)), 900, Phase.SETTLE).phase is Phase.DONE
    assert _after(_now(cells=(3.45, 3.46, 3.45, 3.45)), 890, Phase.SETTLE).phase is Phase.SETTLE
    more = _after(_now(cells=(3.45, 3.461, 3.45, 3.45)), 900, Phase.SETTLE)
    assert (more.phase, more.rounds) == (Phase.HOLD, 1)
    at_once = _after(_now(cells=(3.45, 3.463, 3.45, 3.45)), 10, Phase.SETTLE)
    assert (at_once.phase, at_once.rounds) == (Phase.HOLD, 1)


# -- the balancer --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "held", "wanted"),
    [
        ({"part": 70.0}, "", False),
        ({"part": 69.9}, "", None),
        ({}, "a policy", False),
        ({"coldest": 4.9}, "", False),
        ({"coldest": 5.0}, "", None),
    ],
)
def test_balancing_pauses(change: dict[str, Any], held: str, wanted: bool | None) -> None:
    known, on = Permitting(on=True, confirmed=True), None
    for time in (0.0, 300.0, 600.0):
        known, on, _ = permitted(PLAN, known, _now(**change), time, held)
    assert on is wanted


def test_its_switch_is_set_on_twelve_times_at_most() -> None:
    often = Permitting(on=False, confirmed=False, at=0.0, count=12)
    _, on, why = permitted(PLAN, often, NOW, 9000.0, "")
    assert on is None
    assert "often enough" in why
    _, on, _ = permitted(PLAN, msgspec.structs.replace(often, count=11), NOW, 9000.0, "")
    assert on is True


def test_above_the_top_no_current_is_wanted() -> None:
    n = PLAN.numbers
    assert charge_current(3.511, 3.50, 20.0, 2.0, n) == 0
    assert charge_current(3.50, 3.50, 20.0, 2.0, n) == pytest.approx(1.0)
    assert charge_current(3.43, 3.50, 20.0, 2.0, n) == 20.0


# -- plan and preflight --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("board", "top", "bound"),
    [
        (BoardLimits(cell_ovp=3.65), 3.50, 3.55),
        (BoardLimits(cell_ovp=3.58), 3.48, 3.53),
        (BoardLimits(cell_ovp_warning=3.48), 3.455, 3.505),
        (BoardLimits(pack_ovp=4 * 3.50), 3.475, 3.525),
        (BoardLimits(cell_ovp=3.56, pack_ovp=4 * 3.48), 3.455, 3.505),
    ],
)
def test_the_boards_own_limits_bind(board: BoardLimits, top: float, bound: float) -> None:
    found = _plan(board)
    assert (found.top, found.bound) == (pytest.approx(top), pytest.approx(bound))
    assert _plan(board, top=3.45).top == 3.45
    assert _plan(board, top=3.6).top == pytest.approx(top), "never higher"


def test_the_bound_keeps_from_the_boards_own_limit() -> None:
    asked = SessionOptions()
    plan = make_plan("x", NOW, chemistry("lfp"), balancer(), BoardLimits(), asked, by_sink=True)
    assert plan.bound == pytest.approx(plan.top + 0.05)
    assert _plan(BoardLimits(charge_ocp=10.0)).full == 9.0


def _refused(now: CellsNow = NOW, plan: SessionPlan = PLAN, **more: Any) -> list[str]:
    about: dict[str, Any] = {
        "now": now, "chemistry": "lfp", "balancer": balancer(), "plan": plan, "sink": True,
    }  # fmt: skip
    checks = preflight(Before(**{**about, **more}))
    return [check.name for check in checks if check.state == "refused"]


@pytest.mark.parametrize(
    ("name", "change", "fine"),
    [
        ("cells", {"cells": (1.9, 3.49, 3.49, 3.49)}, {}),
        ("cells", {"cells": (3.76, 3.6, 3.6, 3.6)}, {}),
        ("cells", {"cells": (3.19, 3.499, 3.4, 3.4)}, {"cells": (3.2, 3.499, 3.4, 3.4)}),
        ("temperature", {"hottest": 45.0}, {"hottest": 44.0}),
        ("temperature", {"coldest": 3.0}, {"coldest": 3.5}),
        ("protections", {"protections": ("cell_overvoltage",)}, {"passing": ("soc_low",)}),
        ("charging", {"charge_switch": False}, {"charge_switch": None}),
        ("charging", {"charge_switch": None, "shut": True}, {}),
        ("high", {"cells": _high(PLAN.bound)}, {"cells": _high(PLAN.bound - 0.001)}),
        ("current", {"current": None}, {}),
        ("capacity", {"capacity": None}, {}),
    ],
)
def test_what_is_refused_before_it(name: str, change: dict[str, Any], fine: dict[str, Any]) -> None:
    assert name in _refused(_now(**change))
    assert _refused(_now(**fine)) == []


@pytest.mark.parametrize(
    ("supply", "refused"),
    [(4 * 3.51, True), (4 * 3.50, False), (4 * 3.42, False), (4 * 3.40, True)],
)
def test_a_supply_is_set_to_what_brings_no_cell_too_high(supply: float, refused: bool) -> None:
    plan = _plan(supply=supply)
    assert ("charger" in _refused(plan=plan, sink=False)) is refused
    apart = _now(cells=(3.40, 3.46, 3.40, 3.40))
    assert "charger" in _refused(apart, _plan(supply=4 * 3.495), sink=False)


def test_nobody_who_obeys_and_no_supply_is_refused() -> None:
    assert _refused(sink=False) == ["charger"]


# -- readings, and what is kept --------------------------------------------------------------------


def test_a_broken_probe_says_nothing() -> None:
    reading = Reading(
        cell_voltages=(3.4, 3.4), temperatures={"cell_1": -40.0, "cell_2": 20.0, "mosfet": -40.0}
    )
    found = look(reading)
    assert (found.coldest, found.hottest, found.part) == (20.0, 20.0, None)


def test_a_wish_for_an_older_session_ends_no_other(tmp_path: Any) -> None:
    store = SessionStore(tmp_path)
    old = KeptSession(
        id="old", pack="x", target="sim://jbd", place="sim://jbd", owner="command", who="anna",
        began="2026-01-01T00:00:00Z", options=SessionOptions(), plan=PLAN, before={},
        switch_before=None, table={}, first=NOW, last=NOW,
    )  # fmt: skip
    store.cancel(old, "ben")
    assert store.cancelled(old) == "ben"
    assert store.cancelled(old.with_(id="new")) == ""


def test_a_pack_above_the_top_is_not_held_there_while_it_waits() -> None:
    """Cold, and three of four cells beyond the top: nothing asks for the voltage that it has."""
    found = step(
        PLAN, SessionState(), _now(cells=(3.49, 3.54, 3.54, 3.54), coldest=0.0), 1.0, Around()
    )
    assert found.wish.cvl is not None
    assert found.wish.cvl <= 4 * PLAN.top
    assert found.wish.ccl == 0


def test_cells_that_are_together_make_all_the_progress_they_need() -> None:
    """Whatever keeps the pack from resting."""
    now = _now(cells=(3.497, 3.50, 3.498, 3.498), current=PLAN.rest_current + 1)
    assert _ended(now, 7 * 3600, every=60) is None
    end = _ended(_now(cells=(3.48, 3.50, 3.48, 3.48)), 7 * 3600, every=60)
    assert end is not None
    assert end.name == "no_progress"


def test_a_cell_that_no_cell_can_be_is_named_when_it_ends_it() -> None:
    end = None
    for time in range(0, 7201, 60):
        found = step(
            PLAN, SessionState(), None, float(time), Around(), blind="cell 3 shows 0.000 V"
        )
        end = found.end or end
    assert end is not None
    assert end.text == "Nothing usable was heard of the pack for 2.0 h: cell 3 shows 0.000 V."
