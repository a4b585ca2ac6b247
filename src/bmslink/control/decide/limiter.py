"""From rules that are not content to limits and permits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from bmslink.control.decide.compile import CompiledPolicies
from bmslink.control.decide.decision import Decision, Event, Limits
from bmslink.control.decide.lasting.memory import EngineMemory
from bmslink.control.decide.lasting.phase import ChargePhase, next_phase, phase_after
from bmslink.control.decide.limits import (
    Effect,
    Kind,
    Limit,
    Permit,
    Ramp,
    Reason,
    meet,
    permit,
    whole_thousandths,
)
from bmslink.control.decide.policy import Action, Demand
from bmslink.control.decide.records.asking import Asking
from bmslink.control.decide.rule import PolicyRule, State
from bmslink.control.decide.sample import FIELDS, Quality, Sample

__all__ = ["RECOVERY", "UNHEARD", "Limiter"]

_CURRENT_HOLD, _CURRENT_SLOPE = 30.0, 5.0  # s, A/s
_VOLTAGE_HOLD, _VOLTAGE_SLOPE = 60.0, 0.001  # s, V/s per cell
_LOOP = "cell_overvoltage_derate"
"""The policy that also lowers the charge voltage while a cell is over its target."""
_LOOP_GAIN, _LOOP_MARGIN, _LOOP_STEP = 0.2, 0.010, 10.0  # V per V·s, V, s
UNHEARD = "no_data"
"""The reason of what is not permitted because too little was heard."""
RECOVERY = "recovery"
"""The reason of a limit that was lower a moment ago."""


class Limiter:
    """The limits of one pack over time."""

    def __init__(self, plan: CompiledPolicies, *, sink: bool) -> None:
        battery, numbers = plan.policies.battery, plan.policies.thresholds
        self._numbers = numbers
        self._cells = battery.cells
        self._rated = {
            Action.CHARGE: Reason("rating", whole_thousandths(plan.charge.amps), plan.charge.basis),
            Action.DISCHARGE: Reason(
                "rating", whole_thousandths(plan.discharge.amps), plan.discharge.basis
            ),
        }
        self._top = Reason(
            "charge_voltage",
            whole_thousandths(numbers["charge_voltage"] * battery.cells),
            "the set voltage",
            Kind.PHASE,
        )
        self._phase = ChargePhase.BULK
        self._voltage: float | None = None  # the last one that was heard
        self._bottom = Reason(
            "discharge_voltage",
            whole_thousandths(numbers["discharge_voltage"] * battery.cells),
            "the set voltage",
        )
        self._float = whole_thousandths(numbers["float_voltage"] * battery.cells)
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
        self._ask = Asking(self._rated, battery.capacity, self._float, sink=sink)
        self._met: dict[str, tuple[Sequence[Effect], tuple[Reason, ...]]] = {}
        self._permits: dict[str, tuple[list[Effect], Permit]] = {}

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
        asked, verdicts, floats, shared = self._ask(active, self._fresh)
        if stale:
            self._phase = next_phase(self._phase, floats=floats)
        else:
            self._phase = phase_after(self._phase, sample, self._numbers, floats=floats)
        limits = self._limits(now, sample, asked, ready=ready, stale=stale)
        if not ready:
            for on in ("charge", "discharge"):
                waits = Effect(on, _UNHEARD, Demand.NO_ENABLE)
                asked = {**asked, on: [*asked.get(on, ()), waits]}
        if ready and not stale:
            self._fresh = _last(self._fresh, limits, shared=shared)
        reading = sample.reading
        return Decision(
            time=now,
            charge=self._permit("charge", asked),
            discharge=self._permit("discharge", asked),
            balance=self._permit("balance", asked) if balance and not stale else _NO_DATA,
            limits=limits,
            phase=self._phase,
            verdicts=verdicts,
            events=tuple(events),
            reread=reread,
            stale=stale,
            quality=_quality(sample, stale=stale),
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
            "voltage": self._voltage,
        }

    def restore(self, saved: EngineMemory, now: float) -> None:
        """The same back; a phase that a later version knows is none."""
        known = saved.phase in ChargePhase.__members__.values()
        self._phase = ChargePhase(saved.phase) if known else ChargePhase.BULK
        self._voltage = saved.voltage
        self._pull = saved.pull
        self._pulled_at = None if saved.pulled is None else now - saved.pulled
        for name, found in saved.ramps.items():
            if name in self._ramps:
                self._ramps[name].restore(found, now)

    def _permit(self, on: str, asked: Mapping[str, list[Effect]]) -> Permit:
        """One permit; the same as before where the same is asked."""
        effects = asked.get(on, [])
        before = self._permits.get(on)
        if before is not None and before[0] == effects:
            return before[1]
        found = permit(effects, on)
        self._permits[on] = (effects, found)
        return found

    # -- limits ----------------------------------------------------------------------------------

    def _limits(
        self,
        now: float,
        sample: Sample,
        asked: Mapping[str, list[Effect]],
        *,
        ready: bool,
        stale: bool,
    ) -> Limits:
        if sample.voltage is not None:
            self._voltage = sample.voltage
        if not stale:
            self._regulate(now, sample)
        if not ready and stale:
            for ramp in self._ramps.values():
                ramp.wait(now)
            return self._unheard()
        ccl = self._limit("ccl", asked.get("ccl", ()), self._rated[Action.CHARGE], now, stale=stale)
        dcl = self._limit(
            "dcl", asked.get("dcl", ()), self._rated[Action.DISCHARGE], now, stale=stale
        )
        voltage = [*asked.get("cvl", ())]
        known = not stale and not sample.quality["voltage"]
        if ccl.value == 0 and known and sample.voltage is not None:
            # some chargers push half an ampere at a current limit of 0
            reason = Reason(
                "charge_stopped", whole_thousandths(sample.voltage), "no charge is wanted"
            )
            voltage.append(Effect("cvl", reason))
        if self._pull:
            lowered = whole_thousandths(self._top.value - self._pull)
            text = f"the highest cell is brought back to {self._target - _LOOP_MARGIN:.3f} V"
            voltage.append(Effect("cvl", Reason(_LOOP, lowered, text)))
        cvl = self._limit("cvl", voltage, self._top, now, stale=stale)
        dvl = self._limit("dvl", asked.get("dvl", ()), self._bottom, now, stale=stale)
        return Limits(cvl, ccl, dcl, dvl) if ready else self._unheard()

    def _unheard(self) -> Limits:
        """Nothing may flow yet, and no voltage is higher than before a restart."""
        none = Limit(0.0, (_UNHEARD,))
        known = [v for v in (self._ramps["cvl"].value, self._voltage) if v is not None and v > 0]
        highest = whole_thousandths(min((self._float, *known)))
        low = max(self._bottom.value, self._ramps["dvl"].value or 0.0)
        return Limits(
            Limit(highest, (Reason(_UNHEARD.policy, highest, _UNHEARD.text),)),
            none,
            none,
            Limit(low, (Reason(self._bottom.policy, low, self._bottom.text),)),
        )

    def _limit(
        self, name: str, effects: Sequence[Effect], base: Reason, now: float, *, stale: bool
    ) -> Limit:
        reasons = self._meet(name, effects, base)
        target = reasons[0].value
        ramp = self._ramps[name]
        value = ramp.move(target, now, may_rise=not stale, why=reasons[0])
        if value == target:
            return Limit(target, reasons)
        held = ramp.why
        if held is not None and held.value == value and held.policy == reasons[0].policy:
            return Limit(value, (held, *reasons))  # the same policy asked for less a moment ago
        value = whole_thousandths(value)
        text = "no fresh data: nothing rises" if stale else "recovering: held, then slowly"
        return Limit(value, (Reason(RECOVERY, value, text, ramp.kind), *reasons))

    def _meet(self, name: str, effects: Sequence[Effect], base: Reason) -> tuple[Reason, ...]:
        """All reasons for one limit; the same as before where the same is asked."""
        if not effects:
            return (base,)
        before = self._met.get(name)
        if before is not None and before[0] == effects:
            return before[1]
        found = meet(effects, name, base)
        self._met[name] = (effects, found)
        return found

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
_QUALITIES = tuple(quality.name.lower() for quality in Quality)
_ALL_GOOD = dict.fromkeys(FIELDS, _QUALITIES[Quality.GOOD])


def _quality(sample: Sample, *, stale: bool) -> dict[str, str]:
    """What each field is worth, in words."""
    found = sample.quality
    if not stale and sample.good:
        return dict(_ALL_GOOD)
    if stale and found["state"] is not Quality.FROZEN:
        return dict.fromkeys(found, _QUALITIES[Quality.STALE])
    return {field: _QUALITIES[quality] for field, quality in found.items()}


def _last(before: Limits | None, now: Limits, *, shared: bool) -> Limits:
    """What a share of the last limits is taken of: else each gap would take it of the one before.
    `shared`: a share of them is in force."""
    if before is None or not (shared or _recovers(now.ccl) or _recovers(now.dcl)):
        return now
    kept = {}
    for name in ("ccl", "dcl"):
        old, new = getattr(before, name), getattr(now, name)
        recovers = shared or _recovers(new)
        kept[name] = old if recovers and old.value > new.value else new
    return msgspec.structs.replace(now, **kept)


def _recovers(limit: Limit) -> bool:
    return limit.reasons[0].policy == RECOVERY
