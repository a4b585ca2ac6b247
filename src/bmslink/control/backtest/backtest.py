"""Policies tried on a recording: what they would have done, when, why, and what it would cost.

Everything that is not off counts as if it acted. The log's pack was not limited by them, so what
follows from a decision is not in the log: a charge that would have stopped goes on there, and a
trip may last longer than it would have. What is not charged or not discharged is what flowed in
the log above the limit of that moment.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from bmslink.control.backtest.logs import Entry
from bmslink.control.backtest.playback import Playback, make_engine, packs
from bmslink.control.backtest.report import BacktestCommand, BacktestReport, Margin, Totals, Trip
from bmslink.control.decide.decision import Decision, Event
from bmslink.control.decide.engine import Engine
from bmslink.control.decide.limiter import UNHEARD
from bmslink.control.decide.limits import Limit
from bmslink.control.decide.policy import Action, PolicySet, Severity
from bmslink.control.decide.quantities import Gate
from bmslink.control.decide.rule import PolicyRule
from bmslink.control.decide.sample import HIGHEST_CELL, HIGHEST_RATE, Quality

__all__ = ["Backtest", "backtest"]

_MOST = 10_000
"""Trips and commands that are kept with their times; all are counted."""
_PERMITS = ("charge", "discharge", "balance")
_BASES = {"ccl": "rating", "dcl": "rating", "cvl": "charge_voltage"}
"""Limit -> the reason that binds it while no policy does."""


class _Watched(msgspec.Struct):
    """What comes nearest to the danger, for all rules that look at the same."""

    source: int
    gate: Gate | None
    sign: int
    rules: list[PolicyRule]
    worst: float = -math.inf
    """Signed."""
    time: float = 0.0


class Backtest:
    """One policy file on one pack: feed it the entries, then take the report."""

    def __init__(
        self,
        policies: PolicySet,
        settings: Mapping[str, float] | None = None,
        *,
        poll: float = 1.0,
        sink: bool = False,
    ) -> None:
        self.engine = make_engine(policies, settings, poll=poll, sink=sink)
        self.totals = Totals()
        self._playback = Playback(self.engine, self, poll)
        battery = policies.battery
        # no current and no voltage is higher: what says so is broken and counts for nothing
        self._most_amps = HIGHEST_RATE * battery.capacity
        self._most_volts = HIGHEST_CELL * battery.cells
        self._rules = {rule.name: rule for rule, _ in self.engine.rules}
        self._watched = _watched(self.engine)
        self._rows = [(group.source, group.sign, group.gate, group) for group in self._watched]
        self._digest = hashlib.sha256()
        self._trips: list[Trip] = []
        self._open: dict[str, Trip] = {}
        self._counts: dict[str, int] = {}
        self._seconds: dict[str, float] = {}
        self._missing: dict[str, float] = {}
        self._lowered: dict[str, float] = {}
        self._binding: dict[str, dict[str, float]] = {}
        self._phases: dict[str, float] = {}
        self._kinds: dict[str, dict[str, float]] = {}
        self._commands: list[BacktestCommand] = []
        self._thrown: dict[str, int] = {}
        self._allowed = dict.fromkeys(_PERMITS, True)
        self._entry: Entry | None = None
        self._decision: Decision | None = None
        self._target = ""
        self._began = self._time = 0.0

    def step(self, entry: Entry) -> None:
        """Judge the next reading of the log."""
        self._playback.step(entry)

    # -- what the playback tells -----------------------------------------------------------------

    def skipped(self, entry: Entry, why: str) -> None:
        """A duplicate, or a reading that is older than the one before."""
        if why == "duplicate":
            self.totals.duplicates += 1
        else:
            self.totals.backwards += 1
            self._time = entry.time
            self._entry = None

    def waited(self, time: float, decision: Decision, engine: Engine) -> None:
        """A decision in a gap."""
        self._take(time, decision)

    def sampled(self, entry: Entry, decision: Decision, engine: Engine) -> None:
        """A decision on a reading."""
        totals = self.totals
        if not totals.samples:
            self._target, self._began, self._time = entry.target, entry.time, entry.time
        totals.samples += 1
        quality = engine.sample.quality
        if not engine.sample.good:
            worst = set(quality.values())
            totals.suspect += Quality.SUSPECT in worst
            totals.missing += Quality.MISSING in worst
            totals.frozen += Quality.FROZEN in worst
        last = self._entry
        if last is not None:
            passed = entry.time - last.time
            if passed > self.engine.plan.timing.stale_after:
                totals.gaps += 1
                totals.longest_gap = max(totals.longest_gap, passed)
            else:
                self._flow(last.reading.current, last.reading.voltage, passed)
        self._entry = entry
        self._take(entry.time, decision)
        measured = engine.measured
        for source, sign, gate, group in self._rows:
            value, worth = measured[source]
            if value is None or value * sign <= group.worst or worth is not Quality.GOOD:
                continue
            if engine.applies(gate):
                group.worst, group.time = value * sign, entry.time

    def _take(self, time: float, decision: Decision) -> None:
        before = self._decision
        if before is not None:
            self._lasted(before, max(0.0, time - self._time))
        self._time, self._decision = time, decision
        self._digest.update(msgspec.json.encode(decision))
        for event in decision.events:
            self._happened(event, time)
        for name in _PERMITS:
            now = getattr(decision, name)
            if not decision.stale and any(r.policy == UNHEARD for r in now.holders):
                continue  # too early to say
            if now.allowed != self._allowed[name]:
                self._allowed[name] = now.allowed
                self._throw(name, time, decision)
        if before is not None and before.limits is not decision.limits:
            old, new = before.limits, decision.limits
            self.totals.limit_changes += (old.cvl.value, old.ccl.value, old.dcl.value) != (
                new.cvl.value, new.ccl.value, new.dcl.value)  # fmt: skip

    # -- sums ------------------------------------------------------------------------------------

    def _flow(self, current: float | None, voltage: float | None, seconds: float) -> None:
        """What flowed in the log, and how much of it the decision would not have let through."""
        decision, totals = self._decision, self.totals
        size = math.inf if current is None else abs(current)
        if decision is None or current is None or not size <= self._most_amps:
            return
        amount, limits = size * seconds / 3600, decision.limits
        limit = limits.ccl.value if current > 0 else limits.dcl.value
        heard = limits.ccl.reasons[0].policy != UNHEARD
        cut = max(0.0, size - limit) * seconds / 3600 if heard else 0.0
        volts = voltage if voltage is not None and 0 <= voltage <= self._most_volts else 0.0
        if current > 0:
            totals.charged_ah += amount
            totals.not_charged_ah += cut
            totals.not_charged_wh += cut * volts
        else:
            totals.discharged_ah += amount
            totals.not_discharged_ah += cut
            totals.not_discharged_wh += cut * volts

    def _lasted(self, decision: Decision, seconds: float) -> None:
        totals, limits = self.totals, decision.limits
        if decision.stale:
            totals.stale_seconds += seconds
        if not decision.charge.allowed:
            totals.charge_stopped_seconds += seconds
        if not decision.discharge.allowed:
            totals.discharge_stopped_seconds += seconds
        if not decision.balance.allowed:
            totals.balance_stopped_seconds += seconds
        phase = decision.phase.value
        self._phases[phase] = self._phases.get(phase, 0.0) + seconds
        self._bound("cvl", limits.cvl, seconds)
        self._bound("ccl", limits.ccl, seconds)
        self._bound("dcl", limits.dcl, seconds)
        for verdict in decision.verdicts:
            if verdict.state != "derating":
                sums = self._missing if verdict.state == "missing" else self._seconds
                sums[verdict.policy] = sums.get(verdict.policy, 0.0) + seconds

    def _bound(self, name: str, limit: Limit, seconds: float) -> None:
        binding = limit.reasons[0].policy
        if binding not in (_BASES[name], UNHEARD):
            self._lowered[name] = self._lowered.get(name, 0.0) + seconds
            sums = self._binding.setdefault(name, {})
            sums[binding] = sums.get(binding, 0.0) + seconds
            kinds = self._kinds.setdefault(name, {})
            kinds[limit.kind.value] = kinds.get(limit.kind.value, 0.0) + seconds

    def _happened(self, event: Event, time: float) -> None:
        name = event.policy
        if event.what == "release":
            trip = self._open.pop(name, None)
            if trip is not None:
                trip.ended = time
        elif event.what in ("trip", "latch"):
            self._counts[name] = self._counts.get(name, 0) + 1
            policy = self._rules[name].policy
            trip = Trip(
                policy=name,
                severity=policy.severity,
                balancing=policy.acts == (Action.BALANCE,),
                began=time,
                latched=event.what == "latch",
                text=f"{policy.title}: {event.text}",
            )
            if not trip.balancing:
                self.totals.latches += trip.latched
                self.totals.stops += trip.severity >= Severity.TRIP
                self.totals.derates += trip.severity == Severity.DERATE
                self.totals.warnings += trip.severity < Severity.DERATE
            if len(self._trips) < _MOST:
                self._trips.append(trip)
                self._open[name] = trip

    def _throw(self, name: str, time: float, decision: Decision) -> None:
        permit = getattr(decision, name)
        word = f"{name} {'on' if permit.allowed else 'off'}"
        self._thrown[word] = self._thrown.get(word, 0) + 1
        if len(self._commands) < _MOST:
            why = "; ".join(f"{r.policy}: {r.text}" for r in permit.reasons) or "all is well again"
            self._commands.append(BacktestCommand(time, name, permit.allowed, why))

    # -- out -------------------------------------------------------------------------------------

    def report(self) -> BacktestReport:
        """What was found so far."""
        return BacktestReport(
            target=self._target,
            interval=self._playback.poll,
            began=self._began,
            ended=self._time,
            totals=msgspec.structs.replace(self.totals),
            counts=dict(sorted(self._counts.items())),
            tripped_seconds=_sorted(self._seconds),
            missing_seconds=_sorted(self._missing),
            lowered_seconds=_sorted(self._lowered),
            binding_seconds={k: _sorted(v) for k, v in sorted(self._binding.items())},
            phase_seconds=_sorted(self._phases),
            kind_seconds={k: _sorted(v) for k, v in sorted(self._kinds.items())},
            trips=list(self._trips),
            commands=list(self._commands),
            command_counts=dict(sorted(self._thrown.items())),
            margins=_margins(self._watched),
            not_applicable=dict(self.engine.plan.not_applicable),
            digest=self._digest.hexdigest(),
        )


def backtest(
    entries: Iterable[Entry],
    policies: Sequence[PolicySet],
    settings: Mapping[str, float] | None = None,
    *,
    sink: bool = False,
) -> list[list[BacktestReport]]:
    """Try several policy files on a log in one pass: for each pack a report for each file.

    `sink`: something carries limits out, so that a limit of 0 opens no switch.
    """
    found: dict[str, list[Backtest]] = {}
    for target, poll, portion in packs(entries):
        if target not in found:
            found[target] = [Backtest(p, settings, poll=poll, sink=sink) for p in policies]
        for entry in portion:
            for each in found[target]:
                each.step(entry)
    return [[each.report() for each in several] for several in found.values()]


def _sorted(sums: Mapping[str, float]) -> dict[str, float]:
    return {name: round(seconds, 3) for name, seconds in sorted(sums.items())}


def _watched(engine: Engine) -> list[_Watched]:
    groups: dict[tuple[object, ...], _Watched] = {}
    for rule, _ in engine.rules:
        measured = bool(rule.quantity.unit) and math.isfinite(rule.trip) and not rule.timeless
        if not measured or rule.policy.acts == (Action.BALANCE,):
            continue
        key = (rule.source, rule.sign, rule.gate)
        group = groups.setdefault(key, _Watched(rule.source, rule.gate, rule.sign, []))
        group.rules.append(rule)
    return list(groups.values())


def _margins(watched: Iterable[_Watched]) -> list[Margin]:
    """The nearest first, by what they leave of the way; those never seen are left out."""
    found = [
        Margin(
            policy=rule.name,
            quantity=rule.quantity.title,
            unit=rule.quantity.unit,
            digits=rule.quantity.digits,
            closest=round(group.worst * group.sign, 6),
            threshold=round(rule.trip * rule.sign, 6),
            time=group.time,
            severity=rule.policy.severity,
            over=rule.sign > 0,
        )
        for group in watched
        if math.isfinite(group.worst)
        for rule in group.rules
    ]
    return sorted(found, key=lambda m: m.policy)
