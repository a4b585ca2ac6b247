"""The engine: readings and time in, decisions out. No I/O, no clock of its own, no randomness.

`step` takes a reading, `tick` says that time has passed without one; both give a decision.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec

from bmslink.control.decide.blind_time import BlindTime, blind_time
from bmslink.control.decide.catalogue import with_parts
from bmslink.control.decide.compile import CompiledPolicies, compile_policies, require_whole
from bmslink.control.decide.decision import Decision, Event
from bmslink.control.decide.history import HistoryMemory, PackHistory
from bmslink.control.decide.limiter import Limiter
from bmslink.control.decide.limits import RampMemory
from bmslink.control.decide.memory import (
    PendingMemory,
    TripMemory,
    finite,
    restore_rules,
    save_rules,
)
from bmslink.control.decide.policy import Mode, PolicySet
from bmslink.control.decide.quantities import QUANTITIES, Gate
from bmslink.control.decide.rule import (
    GOOD,
    PolicyRule,
    State,
    advance,
    in_words,
    pass_over,
    reset,
    unmeasured,
)
from bmslink.control.decide.sample import Qualifier, Quality, Sample
from bmslink.errors import GateError, TargetError
from bmslink.model import Reading

__all__ = ["Engine"]


class _Remembered(msgspec.Struct):
    """What an engine remembers: everything that makes a restriction last, so that a restart never
    permits more than no restart would.

    Times are ages: how long the program was gone is not known, so none of it counts. What makes a
    restriction end is left out, and begins again. An earlier version saved less.
    """

    tripped: dict[str, TripMemory]
    charge_heat: float
    discharge_heat: float
    stopped: float
    short_circuits: list[float] = []
    seen: list[str] = []
    stop_reason: str = ""
    pending: dict[str, PendingMemory] = {}
    ramps: dict[str, RampMemory] = {}
    pull: float = 0.0
    pulled: float | None = None
    history: HistoryMemory = msgspec.field(default_factory=HistoryMemory)
    probes: list[str] = []
    content: str = ""
    changed: float | None = None
    silent: float | None = None
    """Since the last good data, or since it waits for them."""


_ENOUGH = 3
"""Good samples before anything is permitted."""
_SAG_RATE = 0.5  # C
_REFRESH = 0.5  # of the time between readings: what is said again sooner is the same measurement


class Engine:
    """The policies of one pack, at work.

    `acting` are the modes that have a say in the decision; `(Mode.ENFORCE, Mode.SHADOW)` shows
    what would happen if everything acted. `sink`: something carries limits out (an inverter, a
    charger); without one a derate at zero withdraws the permit. `poll` is the time between
    readings, s: call `tick` at least so often when there is none.
    """

    def __init__(
        self,
        policies: PolicySet,
        settings: Mapping[str, float] | None = None,
        *,
        acting: Collection[Mode] = (Mode.ENFORCE,),
        sink: bool = False,
        poll: float = 1.0,
    ) -> None:
        require_whole(policies)
        self.plan: CompiledPolicies = compile_policies(
            policies, settings, acting=acting, poll=poll, sink=sink
        )
        battery = policies.battery
        self._states = [State() for _ in self.plan.rules]
        self._settings, self._acting, self._sink = settings, acting, sink
        self._line_up(self.plan.rules)
        quantities = [(QUANTITIES[name], probes) for name, probes in self.plan.sources]
        self._sources = [(q, q.measure, q.fields, probes) for q, probes in quantities]
        asked_gates = (gate for r in self.plan.rules for gate in (r.gate, r.release_gate))
        self._gates = {gate for gate in asked_gates if gate is not None}
        asked = {name for _, probes in self.plan.sources for name in probes}
        self._qualifier = Qualifier(battery, asked)
        self._history = PackHistory(
            battery, policies.thresholds, self.plan.charge.amps, self.plan.discharge.amps
        )
        self._publisher = Limiter(self.plan, sink=sink)
        self._sample = self._qualifier.nothing(0.0)
        self._heard = False
        self._good = 0
        """Samples since the start, or since data were old, of which nothing was suspect."""
        self._ready = False
        self._good_at: float | None = None
        self._counted_at = -math.inf
        self._refresh = _REFRESH * poll
        self._blind_after: BlindTime | None = None
        self._now: float | None = None
        self._shift = 0.0
        self._stop_reason = ""
        self._aside: dict[str, Any] = {}
        """What was saved by a version that knows more."""

    def retime(self, poll: float) -> None:
        """From now on the readings are so many seconds apart; what is remembered stays."""
        plan = compile_policies(
            self.plan.policies, self._settings, acting=self._acting, poll=poll, sink=self._sink
        )
        self.plan = plan  # the same policies in the same order
        self._refresh = _REFRESH * poll
        self._line_up(plan.rules)

    def _line_up(self, rules: Sequence[PolicyRule]) -> None:
        self._pairs = list(zip(rules, self._states, strict=True))
        self._rows = [(r, s, r.source, r.gate, r.sign, _quiet_below(r)) for r, s in self._pairs]

    # -- in --------------------------------------------------------------------------------------

    def step(self, reading: Reading, now: float) -> Decision:
        """Judge a reading received at `now`, monotonic seconds."""
        longest = self.plan.timing.stale_after
        before: tuple[Event, ...] = ()
        if self._now is not None and now + self._shift - self._now > longest:
            before = self.tick(now).events  # nobody said that time passed: the gap counts too
        now, back = self._advance_clock(now)
        if back:
            for state in self._states:
                state.inside = None
        sample = self._sample = self._qualifier.sample(reading, now)
        frozen = sample.quality["state"] == Quality.FROZEN
        if not frozen:
            pass_over(self._pairs, self._good_at, now, self.plan.timing)
            self._heard, self._good_at = True, now
        self._age(now, self._qualifier.changed if frozen else now)
        again = self._qualifier.again and now - self._counted_at < self._refresh
        fresh = not frozen and not again
        if fresh:
            self._counted_at = now
            self._good += Quality.SUSPECT not in sample.quality.values()
            self._ready = self._ready or self._good >= _ENOUGH
            self._history.update(sample, longest)
        decision = self._decide(now, fresh=fresh)
        return msgspec.structs.replace(decision, events=before + decision.events)

    def tick(self, now: float) -> Decision:
        """Judge that there is no new reading at `now`."""
        now, _ = self._advance_clock(now)
        if self._good_at is None:
            self._good_at = now  # nothing was ever heard: the waiting begins
        self._age(now, self._good_at)
        return self._decide(now, fresh=False)

    @property
    def sample(self) -> Sample:
        """The last reading, qualified."""
        return self._sample

    @property
    def rules(self) -> Sequence[tuple[PolicyRule, State]]:
        """All policies at work and what each remembers, to be looked at."""
        return self._pairs

    def emergency_stop(self, reason: str) -> None:
        """Withdraw everything at the next step or tick, until `release_stop` and a reset."""
        self._history.stopped, self._stop_reason = 1.0, reason

    def release_stop(self) -> None:
        """The cause of the emergency stop is gone; its policy can then be reset."""
        self._history.stopped = 0.0

    def reset(self, name: str) -> None:
        """A person resets a latched policy; `GateError` says why it cannot be."""
        for rule, state in self._pairs:
            if rule.name == name:
                why = reset(rule, state)
                if why:
                    raise GateError(why)
                return
        raise GateError(f"There is no policy {name[:60]!r} at work.")

    # -- what is remembered ----------------------------------------------------------------------

    def save(self) -> dict[str, Any]:
        """What must survive a restart, as plain values with ages for times: a short circuit often
        takes the host's own supply."""
        now = self._now or 0.0
        history = self._history
        return {
            **self._aside,
            **save_rules(self._pairs, now),
            "charge_heat": history.charge_heat,
            "discharge_heat": history.discharge_heat,
            "stopped": history.stopped,
            "stop_reason": self._stop_reason,
            "silent": None if self._good_at is None else now - self._good_at,
            "short_circuits": [now - t for t in history.short_circuits],
            "history": msgspec.to_builtins(history.remember(now)),
            **self._publisher.remember(now),
            **self._qualifier.remember(now),
        }

    def load(self, saved: Mapping[str, Any], now: float) -> None:
        """Take up what `save` gave, at `now`; policies that are gone are left out, and what this
        version does not know is kept for the next `save`.

        Raises `TargetError` for anything else.
        """
        try:
            found = msgspec.convert(saved, _Remembered)
        except msgspec.ValidationError as exc:
            raise TargetError(f"The saved state of the policies is damaged: {exc}.") from exc
        if not finite(msgspec.to_builtins(found)):
            raise TargetError("The saved state of the policies is damaged: a number is infinite.")
        known = _Remembered.__struct_fields__
        self._aside = {key: value for key, value in saved.items() if key not in known}
        self._now = now
        self._good_at = None if found.silent is None else now - found.silent
        self._history.charge_heat = found.charge_heat
        self._history.discharge_heat = found.discharge_heat
        self._history.stopped, self._stop_reason = found.stopped, found.stop_reason
        self._history.short_circuits.extend(now - age for age in found.short_circuits)
        self._history.restore(found.history, now)
        self._publisher.restore(found.ramps, found.pull, found.pulled, now)
        self._qualifier.restore(found.probes, found.content, found.changed, now)
        tripped = found.tripped if "pending" in saved else with_parts(found.tripped)  # 0.1.0's
        restore_rules(self._pairs, tripped, found.pending, found.seen, now)

    # -- one cycle -------------------------------------------------------------------------------

    def _advance_clock(self, told: float) -> tuple[float, bool]:
        """Time never runs backwards here: what steps back goes on from where it was."""
        now = told + self._shift
        back = self._now is not None and now < self._now
        if back and self._now is not None:
            self._shift += self._now - now
            now = self._now
        self._now = now
        return now, back

    def _age(self, now: float, since: float) -> None:
        """How old the data are, and whether that is longer than is safe."""
        history = self._history
        age = now - since
        history.age = age
        if age <= self.plan.timing.stale_after:
            history.charge_blindness = history.discharge_blindness = 0.0
            self._blind_after = None
            return
        self._good = 0
        if self._blind_after is None:
            self._blind_after = blind_time(self.plan, self._sample, self._publisher.fresh)
        least = self.plan.timing.stale_after
        history.charge_blindness = 100 * age / max(least, self._blind_after.charge)
        history.discharge_blindness = 100 * age / max(least, self._blind_after.discharge)

    def _decide(self, now: float, *, fresh: bool) -> Decision:
        sample, history = self._sample, self._history
        stale = history.age > self.plan.timing.stale_after or not self._heard
        values = self._measure(sample, stale=stale)
        gates: dict[Gate | None, bool | None] = {None: True}
        if not stale:
            gates |= {gate: gate(sample, history) for gate in self._gates}
        events: list[Event] = []
        active, reread = self._judge(values, gates, events, now, fresh=fresh)
        return self._publisher.publish(
            now,
            sample,
            active,
            events,
            ready=self._ready,
            balance=self._good >= _ENOUGH,
            stale=stale,
            reread=reread,
        )

    def _judge(
        self,
        values: list[tuple[float | None, Quality]],
        gates: Mapping[Gate | None, bool | None],
        events: list[Event],
        now: float,
        *,
        fresh: bool,
    ) -> tuple[list[tuple[PolicyRule, State]], bool]:
        """Advance all rules; gives back those that are not content, and whether one waits to be
        confirmed."""
        sample, timing = self._sample, self.plan.timing
        loaded = abs(sample.current or 0.0) > _SAG_RATE * self._history.battery.capacity
        active: list[tuple[PolicyRule, State]] = []
        reread = False
        for rule, state, source, gate, sign, quiet in self._rows:
            value, quality = values[source]
            applies = gates.get(gate)
            if (  # most rules, most of the time: good, within or at rest, and nothing under way
                quality == GOOD
                and value is not None
                and (value * sign < quiet if applies else applies is False)
                and state.since is None
                and state.missing_since is None
                and not state.tripped
                and state.fraction == 1.0
            ):
                state.seen = True
                state.value = value
                state.applies = applies is True
                continue
            what = advance(
                rule, state, value, quality, applies, sample, now, timing,
                fresh=fresh, loaded=loaded,
                over=rule.release_gate is not None and gates.get(rule.release_gate),
            )  # fmt: skip
            if what:
                words = self._words(what, rule, state)
                events.append(Event(rule.name, rule.policy.mode, what, words))
            if state.tripped or state.missing or state.fraction < 1.0:
                active.append((rule, state))
            if state.since is not None and not state.tripped:
                reread = True
        return active, reread

    def _words(self, what: str, rule: PolicyRule, state: State) -> str:
        if what in ("trip", "latch"):
            if rule.name == "emergency_stop" and self._stop_reason:
                state.cause = self._stop_reason
            return state.cause
        quantity = rule.quantity
        if what == "missing" or state.value is None:
            return unmeasured(rule, state)
        shown = f"{quantity.title} {in_words(quantity, state.value)}"
        if what == "measured":
            return f"{shown}: measured again"
        if not quantity.unit and rule.trip == 1:
            return f"{quantity.title}: no longer"
        if not state.applies and not rule.policy.holds:
            return f"{shown}, and no longer {rule.policy.when}"
        back = in_words(quantity, rule.release * rule.sign)
        return f"{shown}, back at or {'below' if rule.sign > 0 else 'above'} {back}"

    def _measure(self, sample: Sample, *, stale: bool) -> list[tuple[float | None, Quality]]:
        """Value and quality of every source."""
        quality, history = sample.quality, self._history
        found: list[tuple[float | None, Quality]] = []
        heard: dict[tuple[str, ...], bool] = {}
        for quantity, measure, fields, probes in self._sources:
            if not fields:
                found.append((measure(sample, history, probes), GOOD))
                continue
            if stale:
                found.append((None, Quality.STALE))
                continue
            value = measure(sample, history, probes)
            worst = quality[fields[0]]
            for field in fields[1:]:
                worst = max(worst, quality[field])
            if quantity.probed and probes not in heard:
                heard[probes] = sample.has(probes)
            if (
                (value is None and not quantity.patient)
                or (quantity.probed and not heard[probes])
                or (quantity.sound and sample.open_probes(probes))
            ):
                worst = max(worst, Quality.MISSING)
            found.append((value, worst))
        return found


def _quiet_below(rule: PolicyRule) -> float:
    """Below this signed value nothing follows: of a curve, before it begins to fall."""
    if rule.curve is None:
        return rule.trip
    whole = [x for x, left in rule.curve if left == 1.0]
    return max(whole, default=-math.inf)
