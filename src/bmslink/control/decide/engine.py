"""The engine: readings and time in, decisions out. No I/O, no clock of its own, no randomness.

`step` takes a reading, `tick` says that time has passed without one; both give a decision.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import msgspec

from bmslink.control.decide.catalogue import with_parts
from bmslink.control.decide.compile import CompiledPolicies, compile_policies, require_whole
from bmslink.control.decide.decision import Decision, Event
from bmslink.control.decide.given import (
    require_interval,
    require_modes,
    require_moment,
    require_options,
    require_reading,
)
from bmslink.control.decide.lasting.blind_time import BlindTime, blind_time
from bmslink.control.decide.lasting.history import PackHistory
from bmslink.control.decide.lasting.life_measures import LifeMeasures
from bmslink.control.decide.lasting.memory import (
    EngineMemory,
    read_memory,
    restore_rules,
    save_rules,
)
from bmslink.control.decide.limiter import Limiter
from bmslink.control.decide.policy import Mode, PolicySet
from bmslink.control.decide.quantities import QUANTITIES, Gate, Measure, Quantity
from bmslink.control.decide.records.watch import Measured, Moment, Watches
from bmslink.control.decide.rule import GOOD, PolicyRule, State, pass_over, reset
from bmslink.control.decide.sample import Qualifier, Quality, Sample
from bmslink.errors import GateError
from bmslink.model import Reading

__all__ = ["Engine"]


_ENOUGH = 3
"""Good samples before anything is permitted."""
_SAG_RATE = 0.5  # C
_MISSING = Quality.MISSING
_PROBES = ("temperatures",)
_STALE: Measured = (None, Quality.STALE)
_Source = tuple[int, Quantity, Measure, tuple[str, ...]]
"""Its place among all, what it is, how it is measured, and of which probes."""
_INPUTS: Mapping[tuple[str, ...], Callable[[Sample], object]] = {
    ("temperatures",): lambda s: s.temperatures,
    ("state",): lambda s: (s.reading.charging_allowed, s.reading.discharging_allowed),
    ("conditions",): lambda s: (s.reading.alarms, s.reading.protections, s.reading.faults),
}
"""What seldom changes from one sample to the next."""
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
        require_options("Engine()", settings, sink)
        require_interval("Engine()", poll)
        acting = require_modes("Engine()", acting)
        self.plan: CompiledPolicies = compile_policies(
            policies, settings, acting=acting, poll=poll, sink=sink
        )
        battery = policies.battery
        self._states = [State() for _ in self.plan.rules]
        self._settings, self._acting, self._sink = settings, acting, sink
        self._line_up(self.plan.rules)
        self._arrange(self.plan.sources)
        self.measured: list[Measured] = []
        """Value and quality of every source, as of the last cycle."""
        self._opened: dict[Gate, bool | None] = {}
        self._stale = True
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
        require_interval("retime()", poll)
        plan = compile_policies(
            self.plan.policies, self._settings, acting=self._acting, poll=poll, sink=self._sink
        )
        self._watches.tell(self.applies)
        self.plan = plan  # the same policies in the same order
        self._refresh = _REFRESH * poll
        self._line_up(plan.rules)

    def know_life(self, found: LifeMeasures) -> None:
        """What is known of the battery's life: it changes slowly, and no reading says it."""
        self._history.life = found

    def _line_up(self, rules: Sequence[PolicyRule]) -> None:
        self._pairs = list(zip(rules, self._states, strict=True))
        self._watches = Watches(self._pairs)

    def _arrange(self, sources: Sequence[tuple[str, tuple[str, ...]]]) -> None:
        """The quantities by what of a reading they are made of: it is looked at once for all."""
        self._count = len(sources)
        self._known_anyway: list[tuple[int, Measure, tuple[str, ...]]] = []
        found: dict[tuple[str, ...], list[_Source]] = {}
        for index, (name, probes) in enumerate(sources):
            quantity = QUANTITIES[name]
            if quantity.fields:
                source = (index, quantity, quantity.measure, probes)
                found.setdefault(quantity.fields, []).append(source)
            else:
                self._known_anyway.append((index, quantity.measure, probes))
        self._sources = [
            (fields, _INPUTS.get(fields), every, [each for each in every if each[1].lasts])
            for fields, every in found.items()
        ]
        """By what of a reading they are made of: what to look at to see whether that is new, all
        quantities, and those that may change nevertheless."""
        self._seen: dict[tuple[str, ...], object] = {}

    # -- in --------------------------------------------------------------------------------------

    def step(self, reading: Reading, now: float, *, counted: bool = False) -> Decision:
        """Judge a reading received at `now`, monotonic seconds. `UsageError` for anything else.
        `counted`: the engine before this one judged it too, so it confirms nothing once more."""
        require_reading("step()", reading)
        require_moment("step()", now)
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
        fresh = not (frozen or again or counted)
        if fresh:
            self._counted_at = now
            self._good += Quality.SUSPECT not in sample.quality.values()
            self._ready = self._ready or self._good >= _ENOUGH
            self._history.update(sample, longest)
        decision = self._decide(now, fresh=fresh)
        if not before:
            return decision
        return msgspec.structs.replace(decision, events=before + decision.events)

    def tick(self, now: float) -> Decision:
        """Judge that there is no new reading at `now`. `UsageError` for what is no time."""
        require_moment("tick()", now)
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
        self._watches.tell(self.applies)
        return self._pairs

    def emergency_stop(self, reason: str) -> None:
        """Withdraw everything at the next step or tick, until `release_stop` and a reset."""
        self._history.stopped, self._stop_reason = 1.0, reason

    def release_stop(self) -> None:
        """The cause of the emergency stop is gone; its policy can then be reset."""
        self._history.stopped = 0.0

    def reset(self, name: str) -> None:
        """A person resets a latched policy, by its own name or as `cell_overvoltage.critical`;
        `GateError` says why it cannot be."""
        for rule, state in self._pairs:
            if name in (rule.name, f"{rule.policy.record}.{rule.policy.level}"):
                why = reset(rule, state)
                if why:
                    raise GateError(why)
                return
        raise GateError(f"There is no policy {str(name)[:60]!r} at work.")

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

        Raises `TargetError` for anything else, `UsageError` for a `now` that is no time.
        """
        require_moment("load()", now)
        found = read_memory(saved)
        self._seen.clear()
        self._aside = {k: v for k, v in saved.items() if k not in EngineMemory.__struct_fields__}
        self._now = now
        self._good_at = None if found.silent is None else now - found.silent
        self._history.charge_heat = found.charge_heat
        self._history.discharge_heat = found.discharge_heat
        self._history.stopped, self._stop_reason = found.stopped, found.stop_reason
        self._history.short_circuits.extend(now - age for age in found.short_circuits)
        self._history.restore(found.history, now)
        self._publisher.restore(found, now)
        self._qualifier.restore(found.probes, found.content, found.changed, now)
        tripped = found.tripped if "pending" in saved else with_parts(found.tripped)  # 0.1.0's
        restore_rules(self._pairs, tripped, found.pending, found.seen, now)
        self._line_up(self.plan.rules)  # nothing of what was calm is known to be calm now

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
        timing = self.plan.timing
        stale = self._stale = history.age > timing.stale_after or not self._heard
        self._opened.clear()
        loaded = abs(sample.current or 0.0) > _SAG_RATE * history.battery.capacity
        moment = Moment(sample, now, timing, fresh, loaded, self.applies, self._stop_reason)
        self.measured = self._measure(sample, stale=stale)
        active, events, reread = self._watches.judge(self.measured, moment)
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

    def applies(self, gate: Gate | None) -> bool | None:
        """Whether a gate is open, asked once in a cycle; of old data nobody can tell."""
        if gate is None:
            return True
        if self._stale:
            return None
        try:
            return self._opened[gate]
        except KeyError:
            found = self._opened[gate] = gate(self._sample, self._history)
            return found

    def _measure(self, sample: Sample, *, stale: bool) -> list[Measured]:
        """Value and quality of every source."""
        quality, history = sample.quality, self._history
        if stale:
            self._seen.clear()
        found = [_STALE] * self._count if stale or not self.measured else self.measured.copy()
        for index, measure, probes in self._known_anyway:
            found[index] = (measure(sample, history, probes), GOOD)
        for fields, look, every, anyway in () if stale else self._sources:
            worst = quality[fields[0]]
            for field in fields[1:]:
                worst = max(worst, quality[field])
            sources = every
            if look is not None:
                seen = (worst, look(sample))
                sources = anyway if seen == self._seen.get(fields) else every
                self._seen[fields] = seen
            probed = fields == _PROBES
            for index, quantity, measure, probes in sources:
                value = measure(sample, history, probes)
                if value is not None and not probed:
                    found[index] = (value, worst)
                    continue
                less = value is None and not quantity.patient
                less = less or not _heard(sample, quantity, probes)
                found[index] = (value, max(worst, _MISSING) if less else worst)
        return found


def _heard(sample: Sample, quantity: Quantity, probes: tuple[str, ...]) -> bool:
    """Whether all probes say something that it is about; else its value is a bound."""
    if not quantity.probed:
        return True
    return sample.has(probes) and not (quantity.sound and sample.open_probes(probes))
