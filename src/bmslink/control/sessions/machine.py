"""The session while it runs: a reading and a time in, a wish and perhaps an end out. Pure.

Phases: `approach` (charge until the highest cell is at the top), `hold` (it is kept there while the
board balances), `settle` (within the target: nothing is pushed, and it is looked at again after a
rest), `done`. What passes (a cloud, the night, a kettle, a lost link) is waited for; see `ends` for
what is not.
"""

from __future__ import annotations

import msgspec

from bmslink.control.decide.limits import Ramp, RampMemory
from bmslink.control.sessions.ends import Ending, why_ended
from bmslink.control.sessions.moment import CellsNow
from bmslink.control.sessions.permit import permitted
from bmslink.control.sessions.plan import SessionPlan
from bmslink.control.sessions.state import Around, Phase, SessionState
from bmslink.control.sessions.wishes import ChargeWish, ceiling, charge_current, resting

__all__ = ["SessionStep", "step"]

_LONGEST = 120.0
"""s of progress that one reading may stand for."""
_BACK = 600.0
"""s that the highest cell is away from the top before the pack counts as having left it."""


class SessionStep(msgspec.Struct, frozen=True, kw_only=True):
    """What one moment gives."""

    state: SessionState
    wish: ChargeWish
    end: Ending | None = None


def step(
    plan: SessionPlan,
    state: SessionState,
    now: CellsNow | None,
    time: float,
    around: Around,
    *,
    blind: str = "",
) -> SessionStep:
    """One moment. `now` is `None` where nothing usable was heard (`blind`: why). `time` in s since
    the session began; it never goes back."""
    time = max(time, state.time)
    passed = min(_LONGEST, time - state.time)
    state = msgspec.structs.replace(state, time=time)
    if now is not None:
        state = _counted(plan, state, now, passed)
        state = _phased(plan, state, now)
    at_top = now is not None and _at_top(plan, now)
    end, held = why_ended(plan, state, now, around, at_top=at_top, blind=blind)
    state = msgspec.structs.replace(state, ends=held)
    if end is not None:
        return SessionStep(state=state, wish=ChargeWish(why=end.text), end=end)
    if now is None:
        why = f"waits: {blind or 'nothing is heard of the pack'}"
        return SessionStep(state=msgspec.structs.replace(state, why=why), wish=ChargeWish(why=why))
    return _wished(plan, state, now, around)


def _at_top(plan: SessionPlan, now: CellsNow) -> bool:
    """Whether the pack is held where its voltages tell the charge: the highest cell at the top, or,
    where the charger gives no more, all of them above the beginning of balancing."""
    if now.high >= plan.top - plan.numbers.at_top:
        return True
    calm = now.current is not None and abs(now.current) <= plan.rest_current
    return calm and now.total >= (plan.start + plan.numbers.at_top) * plan.cells


def _left_top(plan: SessionPlan, now: CellsNow) -> bool:
    away = now.high < plan.top - plan.numbers.off_top
    return away and not _at_top(plan, now)


def _counted(plan: SessionPlan, state: SessionState, now: CellsNow, passed: float) -> SessionState:
    """What is summed up."""
    change: dict[str, object] = {"seen": state.time, "highest": max(state.highest, now.high)}
    if now.current is not None:
        change["charged"] = state.charged + now.current * passed / 3600
    if now.hottest is not None:
        change["hottest"] = max(now.hottest, state.hottest or now.hottest)
    if now.balancing is not None:
        change["worked"] = now.balancing or bool(state.worked)
    if _at_top(plan, now):
        change["held"] = state.held + passed
        closer = state.best is None or now.delta <= state.best - 0.001
        change["best"] = now.delta if closer else state.best
        good = closer or now.delta <= plan.target
        change["stalled"] = 0.0 if good else state.stalled + passed
        due = now.balancing is False and now.delta > plan.target and state.permit.on is not False
        change["idle"] = state.idle + passed if due and not state.worked else 0.0
    return msgspec.structs.replace(state, **change)


def _phased(plan: SessionPlan, state: SessionState, now: CellsNow) -> SessionState:
    """The phase after this reading."""
    top, left, time = _at_top(plan, now), _left_top(plan, now), state.time
    away = (time if state.away is None else state.away) if left else None
    state = msgspec.structs.replace(state, away=away)
    gone = away is not None and time - away >= _BACK
    if state.phase is Phase.APPROACH:
        return _to(state, Phase.HOLD) if top else state
    if gone or (left and state.phase is Phase.SETTLE):
        return _to(state, Phase.APPROACH)
    calm = now.current is not None and abs(now.current) <= plan.rest_current
    if state.phase is Phase.HOLD:
        good = now.delta <= plan.target and top
        within = (time if state.within is None else state.within) if good else None
        state = msgspec.structs.replace(state, within=within)
        if within is not None and calm and time - within >= plan.numbers.enough:
            return _to(state, Phase.SETTLE)
        return state
    return _settled(plan, state, now, calm=calm)


def _settled(plan: SessionPlan, state: SessionState, now: CellsNow, *, calm: bool) -> SessionState:
    rested = (state.time if state.rested is None else state.rested) if calm else None
    state = msgspec.structs.replace(state, rested=rested)
    if now.delta > plan.target + 0.002:
        state = msgspec.structs.replace(state, rounds=state.rounds + 1)
        return _to(state, Phase.HOLD)
    if rested is not None and state.time - rested >= plan.numbers.rest:
        if now.delta <= plan.target:
            return _to(state, Phase.DONE)
        state = msgspec.structs.replace(state, rounds=state.rounds + 1)
        return _to(state, Phase.HOLD)
    return state


def _to(state: SessionState, phase: Phase) -> SessionState:
    return msgspec.structs.replace(state, phase=phase, within=None, rested=None, away=None)


def _wished(plan: SessionPlan, state: SessionState, now: CellsNow, around: Around) -> SessionStep:
    """What is wanted of charger and balancer."""
    n = plan.numbers
    why, may_charge = _waits(plan, state, now, around)
    if may_charge:
        voltage = ceiling(now, plan.top)
        amps = charge_current(now.high, plan.top, plan.full, plan.holding, n)
        if state.phase is Phase.SETTLE:  # nothing is pushed, and no load is fed by the pack
            voltage, amps = resting(now, plan.top), min(amps, plan.holding)
    else:
        voltage, amps = resting(now, plan.top), 0.0
    cvl, cvl_memory = _eased(state.cvl, voltage, n.slope * plan.cells, n.wait, state)
    ccl, ccl_memory = _eased(state.ccl, amps, n.ramp * (plan.capacity or 10.0), n.wait, state)
    permit, balance, more = permitted(plan, state.permit, now, state.time, around.balance_held)
    state = msgspec.structs.replace(
        state, why=why or more or _doing(state, now), cvl=cvl_memory, ccl=ccl_memory,
        permit=permit, moved=state.time,
    )  # fmt: skip
    wish = ChargeWish(cvl=round(cvl, 3), ccl=round(ccl, 3), balance=balance, why=state.why)
    return SessionStep(state=state, wish=wish)


def _eased(
    memory: RampMemory | None, target: float, slope: float, wait: float, state: SessionState
) -> tuple[float, RampMemory]:
    """A limit that falls at once and rises slowly, as those of policies do; a gap in the readings
    raises nothing."""
    ramp = Ramp(wait, slope)
    if memory is not None and state.moved is not None:
        ramp.restore(memory, max(state.moved, state.time - _LONGEST))
    value = ramp.move(target, state.time, may_rise=True)
    return value, ramp.remember(state.time)


def _waits(
    plan: SessionPlan, state: SessionState, now: CellsNow, around: Around
) -> tuple[str, bool]:
    """What is waited for, in words, and whether the pack may be charged meanwhile."""
    if around.charge_held:
        return f"waits: charging is held back ({around.charge_held})", False
    if now.coldest is not None and now.coldest <= plan.coldest:
        return f"waits: {now.coldest:.0f} °C is too cold to charge", False
    if now.passing:
        return f"waits: the BMS protects ({', '.join(now.passing)})", True
    idle = now.current is not None and now.current < 0.05 * plan.holding
    if state.phase is Phase.APPROACH and idle:
        return f"waits for a charge current ({now.current:+.1f} A flow)", True
    return "", True


def _doing(state: SessionState, now: CellsNow) -> str:
    apart = f"{1000 * now.delta:.0f} mV apart"
    if state.phase is Phase.APPROACH:
        return f"charges towards the top: cell {now.highest} is at {now.high:.3f} V, {apart}"
    if state.phase is Phase.HOLD:
        return f"holds cell {now.highest} at {now.high:.3f} V: {apart}"
    return f"rests: {apart}"
