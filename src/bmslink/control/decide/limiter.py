"""From rules that are not content to limits and permits."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from bmslink.control.decide.compile import CompiledPolicies
from bmslink.control.decide.decision import Decision, Event, Limits, PolicyVerdict
from bmslink.control.decide.lasting.phase import ChargePhase, next_phase, phase_after
from bmslink.control.decide.limits import (
    Effect,
    Kind,
    Limit,
    Permit,
    Ramp,
    RampMemory,
    Reason,
    meet,
    permit,
)
from bmslink.control.decide.policy import Action, Demand, Severity
from bmslink.control.decide.rule import PolicyRule, State, at_ease, in_words, unmeasured
from bmslink.control.decide.sample import Quality, Sample

__all__ = ["UNHEARD", "Limiter"]

_CURRENT_HOLD, _CURRENT_SLOPE = 30.0, 5.0  # s, A/s
_VOLTAGE_HOLD, _VOLTAGE_SLOPE = 60.0, 0.001  # s, V/s per cell
_LOOP = "cell_overvoltage_derate"
"""The policy that also lowers the charge voltage while a cell is over its target."""
_LOOP_GAIN, _LOOP_MARGIN, _LOOP_STEP = 0.2, 0.010, 10.0  # V per V·s, V, s
UNHEARD = "no_data"
"""The reason of what is not permitted because too little was heard."""
_RECOVERY = "recovery"
"""The reason of a limit that was lower a moment ago."""
_LIMIT_OF = {Action.CHARGE: "ccl", Action.DISCHARGE: "dcl"}


class Limiter:
    """The limits of one pack over time."""

    def __init__(self, plan: CompiledPolicies, *, sink: bool) -> None:
        battery, numbers = plan.policies.battery, plan.policies.thresholds
        self._sink = sink
        self._numbers = numbers
        self._cells = battery.cells
        self._capacity = battery.capacity
        self._rated = {
            Action.CHARGE: Reason("rating", _floor(plan.charge.amps), plan.charge.basis),
            Action.DISCHARGE: Reason("rating", _floor(plan.discharge.amps), plan.discharge.basis),
        }
        self._top = Reason(
            "charge_voltage",
            _floor(numbers["charge_voltage"] * battery.cells),
            "the set voltage",
            Kind.PHASE,
        )
        self._phase = ChargePhase.BULK
        self._bottom = Reason(
            "discharge_voltage",
            _floor(numbers["discharge_voltage"] * battery.cells),
            "the set voltage",
        )
        self._float = _floor(numbers["float_voltage"] * battery.cells)
        self._target = numbers["charge_voltage"] + _LOOP_MARGIN
        self._loop = any(rule.name == _LOOP and rule.acts for rule in plan.rules)
        self._pull = 0.0  # V by which the loop lowers the charge voltage
        self._pulled_at: float | None = None
        voltage = _VOLTAGE_SLOPE * battery.cells
        self._ramps = {
            "cvl": Ramp(_VOLTAGE_HOLD, voltage),
            "ccl": Ramp(_CURRENT_HOLD, _CURRENT_SLOPE),
            "dcl": Ramp(_CURRENT_HOLD, _CURRENT_SLOPE),
            "dvl": Ramp(_VOLTAGE_HOLD, voltage, turned=True),
        }
        self._fresh: Limits | None = None

    @property
    def fresh(self) -> Limits | None:
        """The last limits that were decided on fresh data: a share of them, and what recovers from
        it, is none."""
        return self._fresh

    def publish(
        self,
        now: float,
        sample: Sample,
        active: Sequence[tuple[PolicyRule, State]],
        events: Iterable[Event],
        *,
        ready: bool,
        balance: bool,
        stale: bool,
        reread: bool,
    ) -> Decision:
        """The decision of this moment. `ready`: enough was heard since the start to permit
        anything; `balance`: the same since data were old."""
        effects = [e for rule, state in active if rule.acts for e in self._effects(rule, state)]
        floats = any(rule.acts and state.tripped and _is_phase(rule) for rule, state in active)
        if stale:
            self._phase = next_phase(self._phase, floats=floats)
        else:
            self._phase = phase_after(self._phase, sample, self._numbers, floats=floats)
        limits = self._limits(now, sample, effects, ready=ready, stale=stale)
        if not ready:
            effects += [Effect(on, _UNHEARD, Demand.NO_ENABLE) for on in ("charge", "discharge")]
        if ready and not stale:
            shared = any(rule.policy.of == "last" and state.tripped for rule, state in active)
            self._fresh = _last(self._fresh, limits, shared=shared)
        reading = sample.reading
        return Decision(
            time=now,
            charge=permit(effects, "charge"),
            discharge=permit(effects, "discharge"),
            balance=permit(effects, "balance") if balance and not stale else _NO_DATA,
            limits=limits,
            phase=self._phase,
            verdicts=tuple(
                _verdict(rule, state) for rule, state in active if not at_ease(rule, state)
            ),
            events=tuple(events),
            reread=reread,
            stale=stale,
            quality=dict.fromkeys(sample.quality, "stale")
            if stale and sample.quality["state"] != Quality.FROZEN
            else {field: _QUALITIES[quality] for field, quality in sample.quality.items()},
            bms={"charge": reading.charging_allowed, "discharge": reading.discharging_allowed},
        )

    def remember(self, now: float) -> dict[str, Any]:
        """What must survive a restart."""
        pulled = None if self._pulled_at is None else now - self._pulled_at
        ramps = {n: msgspec.to_builtins(r.remember(now)) for n, r in self._ramps.items()}
        return {
            "ramps": ramps,
            "pull": self._pull,
            "pulled": pulled,
            "phase": self._phase.value,
        }

    def restore(
        self,
        ramps: Mapping[str, RampMemory],
        pull: float,
        pulled: float | None,
        phase: str,
        now: float,
    ) -> None:
        """The same back; a phase that a later version knows is none."""
        known = phase in ChargePhase.__members__.values()
        self._phase = ChargePhase(phase) if known else ChargePhase.BULK
        self._pull = pull
        self._pulled_at = None if pulled is None else now - pulled
        for name, found in ramps.items():
            if name in self._ramps:
                self._ramps[name].restore(found, now)

    # -- what one rule asks ----------------------------------------------------------------------

    def _effects(self, rule: PolicyRule, state: State) -> list[Effect]:
        policy = rule.policy
        found: list[Effect] = []
        demand = _demand(rule, sink=self._sink)
        for action in policy.acts:
            if action == Action.FLOAT:
                if state.tripped:
                    kind = Kind.PHASE if _is_phase(rule) else Kind.PROTECT
                    reason = Reason(rule.name, self._float, state.cause, kind)
                    found.append(Effect("cvl", reason))
            elif action == Action.BALANCE:
                if state.tripped or state.missing:
                    text = state.cause or unmeasured(rule, state)
                    found.append(Effect("balance", Reason(rule.name, 0.0, text), demand))
            elif policy.severity >= Severity.TRIP and state.tripped:
                reason = Reason(rule.name, 0.0, state.cause)
                found.append(Effect(_LIMIT_OF[action], reason))
                found.append(Effect(action, reason, demand))
            else:
                found.extend(self._derate(rule, state, action))
        return found

    def _derate(self, rule: PolicyRule, state: State, action: Action) -> Iterable[Effect]:
        policy = rule.policy
        limit, rated = _LIMIT_OF[action], self._rated[action]
        if policy.severity == Severity.DERATE:
            left = state.fraction
            if rule.curve is None:
                left = policy.factor if state.tripped else 1.0
            text = state.cause
            if rule.curve is not None and state.value is not None:
                shown = in_words(rule.quantity, state.value)
                text = f"{policy.title}: {rule.quantity.title} {shown} leaves {left:.0%} "
                text += "of 1 C" if policy.of == "capacity" else "of the rating"
            amps = _floor(left * self._base(policy.of, action))
            reason = Reason(rule.name, amps, text)
            if amps < rated.value and (rule.curve is not None or state.tripped):
                yield Effect(limit, reason)
            if not left and (rule.curve is not None or state.tripped):
                yield Effect(action, reason, _demand(rule, sink=self._sink))
        if state.missing and policy.on_missing.rule == "derate":
            amps = _floor(policy.on_missing.factor * rated.value)
            yield Effect(limit, Reason(rule.name, amps, unmeasured(rule, state)))

    def _base(self, of: str, action: Action) -> float:
        if of == "capacity":
            return self._capacity
        if of == "last" and self._fresh is not None:
            last = self._fresh.ccl if action == Action.CHARGE else self._fresh.dcl
            return last.value
        return self._rated[action].value

    # -- limits ----------------------------------------------------------------------------------

    def _limits(
        self, now: float, sample: Sample, effects: list[Effect], *, ready: bool, stale: bool
    ) -> Limits:
        if not stale:
            self._regulate(now, sample)
        if not ready and stale:
            for ramp in self._ramps.values():
                ramp.wait(now)
            return self._unheard(sample)
        ccl = self._limit("ccl", effects, self._rated[Action.CHARGE], now, stale=stale)
        dcl = self._limit("dcl", effects, self._rated[Action.DISCHARGE], now, stale=stale)
        voltage = list(effects)
        known = not stale and not sample.quality["voltage"]
        if ccl.value == 0 and known and sample.voltage is not None:
            # some chargers push half an ampere at a current limit of 0
            reason = Reason("charge_stopped", _floor(sample.voltage), "no charge is wanted")
            voltage.append(Effect("cvl", reason))
        if self._pull:
            lowered = _floor(self._top.value - self._pull)
            text = f"the highest cell is brought back to {self._target - _LOOP_MARGIN:.3f} V"
            voltage.append(Effect("cvl", Reason(_LOOP, lowered, text)))
        cvl = self._limit("cvl", voltage, self._top, now, stale=stale)
        dvl = self._limit("dvl", effects, self._bottom, now, stale=stale)
        return Limits(cvl, ccl, dcl, dvl) if ready else self._unheard(sample)

    def _unheard(self, sample: Sample) -> Limits:
        """Nothing may flow yet, and no voltage is higher than before a restart."""
        none = Limit(0.0, (_UNHEARD,))
        before, now = self._ramps["cvl"].value, sample.voltage
        known = [v for v in (before, now) if v is not None and v > 0]
        highest = _floor(min((self._float, *known)))
        low = max(self._bottom.value, self._ramps["dvl"].value or 0.0)
        return Limits(
            Limit(highest, (Reason(_UNHEARD.policy, highest, _UNHEARD.text),)),
            none,
            none,
            Limit(low, (Reason(self._bottom.policy, low, self._bottom.text),)),
        )

    def _limit(
        self, name: str, effects: list[Effect], base: Reason, now: float, *, stale: bool
    ) -> Limit:
        reasons = meet(effects, name, base)
        target = reasons[0].value
        ramp = self._ramps[name]
        value = ramp.move(target, now, may_rise=not stale, why=reasons[0])
        if value == target:
            return Limit(target, reasons)
        held = ramp.why
        if held is not None and held.value == value and held.policy == reasons[0].policy:
            return Limit(value, (held, *reasons))  # the same policy asked for less a moment ago
        value = _floor(value)
        text = "no fresh data: nothing rises" if stale else "recovering: held, then slowly"
        return Limit(value, (Reason(_RECOVERY, value, text, ramp.kind), *reasons))

    def _regulate(self, now: float, sample: Sample) -> None:
        """The integral loop that keeps the highest cell at its target."""
        passed = 0.0 if self._pulled_at is None else min(_LOOP_STEP, now - self._pulled_at)
        self._pulled_at = now
        if not self._loop or sample.max_cell is None or sample.quality["cells"]:
            return
        pull = self._pull + _LOOP_GAIN * (sample.max_cell - self._target) * passed
        self._pull = min(self._top.value - self._float, max(0.0, pull))


_UNHEARD = Reason(UNHEARD, 0.0, "not enough was heard of the pack yet")
_NO_DATA = Permit(Demand.OPEN, (Reason(UNHEARD, 0.0, "no fresh data"),))
_QUALITIES = {quality: quality.name.lower() for quality in Quality}


def _last(before: Limits | None, now: Limits, *, shared: bool) -> Limits:
    """What a share of the last limits is taken of: else each gap would take it of the one before.
    `shared`: a share of them is in force."""
    if before is None:
        return now
    kept = {}
    for name in ("ccl", "dcl"):
        old, new = getattr(before, name), getattr(now, name)
        recovers = shared or new.reasons[0].policy == _RECOVERY
        kept[name] = old if recovers and old.value > new.value else new
    return msgspec.structs.replace(now, **kept)


def _floor(value: float) -> float:
    """Whole thousandths, never more than the value (but for what floats lose)."""
    return math.floor(value * 1000 + 1e-6) / 1000


def _is_phase(rule: PolicyRule) -> bool:
    """It does nothing but ask for the float voltage."""
    return rule.policy.acts == (Action.FLOAT,)


def _demand(rule: PolicyRule, *, sink: bool) -> Demand:
    """What a rule asks of a switch that it acts on."""
    policy = rule.policy
    if policy.demands is not None:
        return policy.demands
    if policy.severity == Severity.EMERGENCY:
        return Demand.OPEN_NOW
    if policy.severity == Severity.TRIP or not (sink or rule.curve is not None):
        return Demand.OPEN
    return Demand.ZERO


def _verdict(rule: PolicyRule, state: State) -> PolicyVerdict:
    policy = rule.policy
    if state.tripped:
        name, text = "latched" if state.latched else "tripped", state.cause
    elif state.missing:
        name, text = "missing", unmeasured(rule, state)
    else:
        shown = "" if state.value is None else in_words(rule.quantity, state.value)
        name = "derating"
        text = f"{rule.quantity.title} {shown} leaves {state.fraction:.0%}"
    return PolicyVerdict(rule.name, policy.mode, policy.severity, name, f"{policy.title}: {text}")
