"""The policies of one served pack: what they decide is published, and what they know is kept.

They begin when it is known which board answers, with what they knew of that board; until then the
pack is blind. Here they run in shadow: nothing is sent.
"""

from __future__ import annotations

from typing import Any, Protocol

from bmslink.control.audit import Audit, Budget
from bmslink.control.check import Finding
from bmslink.control.decide.decision import Decision
from bmslink.errors import TargetError
from bmslink.model import Identity, Reading
from bmslink.runtime.feed import Feed
from bmslink.runtime.judging.pack_memory import PackDisk, PackMemory
from bmslink.runtime.judging.pack_policies import PackPolicies
from bmslink.runtime.service_file import PackPlan

__all__ = ["PackJudge", "Tell"]

_AT_ONCE, _EVERY = 30, 10.0
"""States that are saved at once when a restriction changes, and s for each one more."""
_ALARMS = ("trip", "latch")


class Tell(Protocol):
    """Publishes an event of the pack."""

    def __call__(self, what: str, text: str, *, alarm: bool = False, **data: Any) -> None: ...


class PackJudge:
    """Of one pack; does nothing for one without a policy file."""

    def __init__(
        self, plan: PackPlan, memory: PackMemory, disk: PackDisk, feed: Feed, tell: Tell
    ) -> None:
        self.begun = plan.policies is None
        """Whether they know which board they judge."""
        self._plan = plan
        self._memory = memory
        self._feed = feed
        self._tell = tell
        self._identity: Identity | None = None
        self._budget = Budget(_AT_ONCE, _EVERY)
        self._unwritten = False
        self.policies: PackPolicies | None = self._make(disk)
        """At work; `None` for a pack without a policy file."""

    def _make(self, disk: PackDisk) -> PackPolicies | None:
        file = self._plan.policies
        if file is None:
            return None
        why = {"policies": file.path, "sha256": file.sha256}

        def append(event: str, **data: Any) -> None:
            disk.queue.put(lambda: disk.journal.append(event, **data), ended=self._written)

        return PackPolicies(
            file.policies,
            None,
            interval=self._plan.interval,
            sink=False,
            audit=Audit(self._plan.target, why, shadow=True, append=append),
            listener=self,
        )

    @property
    def decision(self) -> Decision | None:
        """The latest one."""
        return None if self.policies is None else self.policies.decision

    def begin(self, identity: Identity, now: float) -> None:
        """This board is the one that is judged from now on, `now` in s of the loop's clock."""
        self._identity = identity
        self.begun = True
        if self.policies is None:
            return
        saved = self._memory.take(identity)
        try:
            self.policies.restart(saved, now)
        except TargetError as error:
            self._tell("trouble", f"{error} The policies begin without it.", alarm=True)

    def hear(self, reading: Reading | None, now: float) -> None:
        """A reading of the board that is meant; `None`: there is none, and time passes."""
        policies = self.policies
        if policies is None:
            return
        if reading is None or not self.begun:
            policies.tick(now)
        else:
            policies.step(reading, now)
        self._save(now, at_once=False)

    def _save(self, now: float, *, at_once: bool) -> None:
        if self.policies is not None and self._identity is not None:
            self._memory.save(
                now,
                self.policies.engine.save,
                self._identity,
                active=self.policies.restrictive,
                at_once=at_once,
            )

    def save_now(self, now: float) -> None:
        """The service ends."""
        self._save(now, at_once=True)

    # -- what the policies say -------------------------------------------------------------------

    def decided(self, decision: Decision, *, changed: bool, new: bool, moved: bool) -> None:
        """A decision."""
        if changed or moved:
            self._feed.publish("limits", self._plan.name, decision)
        for event in decision.events:
            alarm = event.what in _ALARMS
            text = f"{event.policy}: {event.text}"
            self._tell("policy", text, alarm=alarm, policy=event.policy, change=event.what)
        if new and self._budget.take(decision.time):
            self._save(decision.time, at_once=True)

    def found(self, finding: Finding) -> None:
        """The pack does not fit the policy file."""
        self._tell("finding", finding.text, alarm=True)

    def troubled(self, sentence: str) -> None:
        """The journal cannot be written."""
        self._tell("trouble", sentence, alarm=True)

    def _written(self, error: str) -> None:
        """The end of a record for the journal; what goes wrong is said once, until it goes well."""
        if error and not self._unwritten:
            self.troubled(f"{error} In shadow nothing is sent anyway; this goes on.")
        self._unwritten = bool(error)
