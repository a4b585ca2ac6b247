"""The policies of one pack at work: readings and time in, decisions to whoever listens.

Nothing here sends, and nothing here waits for a disk.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, Protocol

from bmslink.control.audit import Audit, gist
from bmslink.control.backtest.playback import ALL, make_engine
from bmslink.control.check import Finding, Level, check_pack
from bmslink.control.decide.compile import CompiledPolicies
from bmslink.control.decide.decision import Decision
from bmslink.control.decide.engine import Engine
from bmslink.control.decide.policy import Action, Mode, PolicySet, Severity
from bmslink.control.decide.release import value_now
from bmslink.events import EventSeverity
from bmslink.model import Reading
from bmslink.storage.journal import JournalError

__all__ = ["LATCHED", "PackPolicies", "PolicyListener", "goes_on", "in_words", "trips_in"]

LATCHED = "What is latched stays until a person has looked"


def _until_when(*, shadow: bool) -> str:
    """What ends that: in shadow nobody takes a `control reset`."""
    how = "in shadow, a new `control run` begins without it"
    return f"{LATCHED}; {how if shadow else '`bmslink control reset TARGET` lets go of it'}."


def goes_on(*, shadow: bool) -> str:
    """The end of a sentence about a journal that cannot be written."""
    if shadow:
        return "In shadow nothing is sent anyway; this goes on."
    return "What acts goes on acting."


class PolicyListener(Protocol):
    """Who hears what the policies of one pack decide."""

    def decided(self, decision: Decision, *, changed: bool, new: bool, moved: bool) -> None:
        """Each decision. `new`: other permits, holders or policies than before; `changed`: that, or
        an event; `moved`: a limit has another value."""

    def found(self, finding: Finding) -> None:
        """The pack does not fit the policy file."""

    def troubled(self, sentence: str) -> None:
        """The journal cannot be written; what runs goes on."""


class PackPolicies:
    """The engine of one pack, its record in the journal, and its last decision."""

    def __init__(
        self,
        policies: PolicySet,
        settings: Mapping[str, float] | None,
        *,
        interval: float,
        sink: bool,
        audit: Audit,
        listener: PolicyListener,
        acting: Collection[Mode] = ALL,
    ) -> None:
        """`interval` is the time between readings, s; `sink`: something carries limits out;
        `acting`: the modes that have a say, all of them in shadow."""
        self.policies = policies
        self._shadow = Mode.SHADOW in acting
        self._settings = settings
        self._make: Callable[[], Engine] = lambda: make_engine(
            policies, self._settings, poll=interval, sink=sink, acting=acting
        )
        self.engine: Engine = self._make()
        self.decision: Decision | None = None
        """The latest one."""
        self.restrictive = False
        """Whether something holds a limit, charging or discharging down, or waits to be confirmed.
        Rules about balancing hold something most of the time; the next reading tells that anew."""
        self._audit = audit
        self._unwritten = False
        self._listener = listener
        self._gist: tuple[object, ...] | None = None
        self._greeted = False

    def restart(self, saved: Mapping[str, Any] | None, now: float) -> None:
        """Begin with what an engine saved earlier, of this same board; `None`: with nothing.

        Raises `TargetError` where that is damaged; the engine is new then.
        """
        self.engine = self._make()
        self._greeted = False
        if saved is not None:
            engine = self._make()
            engine.load(saved, now)
            self.engine = engine

    def learn(self, settings: Mapping[str, float], now: float) -> None:
        """From now on these are the BMS's own settings. Where they let anything be judged
        otherwise, the engine begins anew with all that it knew, as after a restart."""
        self._settings = settings
        new = self._make()
        if _gist_of(new.plan) == _gist_of(self.engine.plan):
            return
        new.load(self.engine.save(), now)
        self.engine = new

    def step(self, reading: Reading, now: float, *, counted: bool = False) -> None:
        """Judge a reading, received at `now` (seconds of the loop's clock). `counted`: the policies
        before these judged it too."""
        if not self._greeted:
            self._greeted = True
            for finding in check_pack(reading, self.policies):
                if finding.level >= Level.WARNING:
                    self._listener.found(finding)
        self._take(self.engine.step(reading, now, counted=counted))

    def tick(self, now: float) -> None:
        """Judge that nothing was heard until `now`."""
        self._take(self.engine.tick(now))

    def _take(self, decision: Decision) -> None:
        what, last = gist(decision), self.decision
        new = what != self._gist
        moved = last is None or last.limits != decision.limits
        self._gist, self.decision = what, decision
        self.restrictive = decision.reread or any(
            verdict.state != "missing" and _restricts(self.policies, verdict.policy)
            for verdict in decision.verdicts
        )
        changed = new or bool(decision.events)
        self._listener.decided(decision, changed=changed, new=new, moved=moved)
        self._write_down(decision)

    def _write_down(self, decision: Decision) -> None:
        """What cannot be written is said once, until it can be written again."""
        try:
            self._audit(decision, self.engine.sample)
        except JournalError as error:
            if not self._unwritten:
                self._listener.troubled(f"{error} {goes_on(shadow=self._shadow)}")
            self._unwritten = True
        else:
            self._unwritten = False


def _gist_of(plan: CompiledPolicies) -> tuple[object, ...]:
    """All of it that the settings of the BMS decide."""
    return plan.rules, plan.sources, plan.charge, plan.discharge, plan.not_applicable


def _restricts(policies: PolicySet, name: str) -> bool:
    """Whether a policy is about more than balancing."""
    policy = policies.policies.get(name)
    return policy is None or policy.acts != (Action.BALANCE,)


def event_severity(policies: PolicySet, name: str) -> EventSeverity:
    """How soon somebody should look at a policy that has tripped, by what it may do. That cells are
    not balanced now is ordinary life."""
    policy = policies.policies.get(name)
    if policy is None:
        return EventSeverity.ALARM
    return _SEVERITIES[policy.severity] if _restricts(policies, name) else EventSeverity.INFO


_SEVERITIES = {
    Severity.NOTICE: EventSeverity.INFO,
    Severity.WARN: EventSeverity.WARNING,
    Severity.DERATE: EventSeverity.WARNING,
    Severity.TRIP: EventSeverity.ALARM,
    Severity.EMERGENCY: EventSeverity.CRITICAL,
}


def trips_in(decision: Decision, policies: PolicySet) -> int:
    """How many policies tripped or latched with this decision; rules about balancing do not
    count."""
    return sum(
        event.what in ("trip", "latch") and _restricts(policies, event.policy)
        for event in decision.events
    )


def in_words(decision: Decision, engine: Engine, *, shadow: bool) -> Iterator[str]:
    """The policies that are not content, with the value of now of what has tripped; about balancing
    the permit says enough."""
    policies = engine.plan.policies
    for verdict in decision.verdicts:
        if verdict.state != "missing" and _restricts(policies, verdict.policy):
            now = value_now(engine, verdict.policy)
            yield "; ".join(
                [f"{verdict.policy} ({verdict.state}): {verdict.text}", *filter(None, [now])]
            )
    if any(verdict.state == "latched" for verdict in decision.verdicts):
        yield _until_when(shadow=shadow)
    blind = [v.policy for v in decision.verdicts if v.state == "missing"]
    if blind:
        yield f"cannot measure: {', '.join(blind)}"
