"""The policies of one served pack: what they decide is published, and what they know is kept.

They begin when it is known which board answers, with what they knew of that board; until then the
pack is blind. They run in shadow, where nothing is sent, unless the pack is to be enforced and a
person approved that (`runtime.acting`).
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any

from bmslink.analysis import LifeFacts
from bmslink.board import Board
from bmslink.control.audit import Audit, Budget
from bmslink.control.backtest.playback import ALL
from bmslink.control.check import Finding
from bmslink.control.decide.decision import Decision
from bmslink.control.decide.lasting.life_measures import measures_of
from bmslink.control.decide.policy import Mode, PolicySet
from bmslink.errors import GateError, TargetError
from bmslink.model import Identity, Reading
from bmslink.protocols.common.settings_now import numbers_in
from bmslink.runtime.acting.acting_side import ActingSide
from bmslink.runtime.acting.direct import begin_for_stop
from bmslink.runtime.acting.limit_sinks import CommandSink, LimitSink, LimitSinks
from bmslink.runtime.acting.people import ActingWish
from bmslink.runtime.acting.shown import nothing_known, require_read_back
from bmslink.runtime.feed import Feed
from bmslink.runtime.judging.pack_memory import (
    SAVED_AT_ONCE,
    SAVED_EVERY,
    PackDisk,
    PackMemory,
)
from bmslink.runtime.judging.pack_policies import (
    PackPolicies,
    PolicyListener,
    event_severity,
    goes_on,
)
from bmslink.runtime.pack_loop import LatestReading
from bmslink.runtime.pack_turns import PackTurns
from bmslink.runtime.service_file import PackPlan
from bmslink.runtime.watching.conditions import Teller
from bmslink.settings.setting import Value

__all__ = ["PackJudge"]

_ALARMS = ("trip", "latch")
_LASTING = ("tripped", "latched")
_LIFE_EVERY = 600.0
"""s between two looks at what is known of the battery's life."""
_PATIENCE = 3.0
"""How long an on waits for a link that is being opened, s."""


class PackJudge:
    """Of one pack. Without a policy file nothing is judged, and only people act."""

    def __init__(
        self,
        plan: PackPlan,
        memory: PackMemory,
        disk: PackDisk,
        feed: Feed,
        tell: Teller,
        board: Board,
        turns: PackTurns,
        sink: LimitSink | None = None,
    ) -> None:
        """`sink` carries its limits out, beside the command of its own."""
        self._plan = plan
        self._carried = sink is not None or plan.sink_command is not None
        self._memory = memory
        self._feed = feed
        self._tell = tell
        self._identity: Identity | None = None
        self._recalling: asyncio.Task[None] | None = None
        self._budget = Budget(SAVED_AT_ONCE, SAVED_EVERY)
        self._unwritten = False
        self._settings: dict[str, float] = {}
        """The BMS's own, as they were looked at last."""
        self._lasting: set[str] = set()
        """Policies of which it was told that they have tripped."""
        self._disk = disk
        file = plan.policies
        self.policies: PackPolicies | None = None
        """At work; `None` for a pack without a policy file."""
        self.life: Callable[[], LifeFacts | None] = lambda: None
        """What is known of the battery's life."""
        self._life_at = -math.inf
        self._latest = LatestReading()
        self._beside: PackPolicies | None = None
        """The changed file, in shadow beside the one that was approved."""
        self.acting = ActingSide(
            board,
            "" if file is None else file.text,
            "" if file is None else file.path,
            enforce=plan.enforce and file is not None,
            interval=plan.interval,
            note=self._append,
            tell=tell,
            target=plan.target,
            waive={"untested"} if plan.untested else (),
            sinks=_sinks(plan, sink),
            turn=partial(turns.command, _PATIENCE, "its switches are set"),
            off_turn=turns.off,
        )
        """What acts on the pack: policies that a person approved, and people themselves."""
        if file is not None:
            self.policies = self._make(file.policies, ALL)

    def _append(self, event: str, **data: Any) -> None:
        journal = self._disk.journal
        self._disk.queue.put(lambda: journal.append(event, **data), ended=self._written)

    def _make(
        self,
        policies: PolicySet,
        acting: Collection[Mode],
        listener: PolicyListener | None = None,
    ) -> PackPolicies:
        file = self._plan.policies
        why = {} if file is None else {"policies": file.path, "sha256": file.sha256}
        return PackPolicies(
            policies,
            self._settings,
            interval=self._plan.interval,
            sink=self._carried,
            audit=Audit(self._plan.target, why, shadow=acting is ALL, append=self._append),
            listener=listener or self,
            acting=acting,
        )

    async def begin_acting(self) -> None:
        """Let the policies act, where that is wanted and approved, and not done yet; an emergency
        stop of this board is held with and without them. Raises what asking the board raises."""
        side, file, policies = self.acting, self._plan.policies, self.policies
        if self._identity is None or self._blind or not await side.begin(self._identity):
            return
        if file is None or policies is None or side.policies is None:
            return
        now, known = asyncio.get_running_loop().time(), policies.engine.save()
        self.policies = self._make(side.policies, (Mode.ENFORCE,))
        self.policies.restart(known, now)
        self._beside = None
        if side.standing is not None and side.standing.shadow:
            self._beside = self._make(file.policies, ALL, _Beside(self._tell))
            self._beside.restart(known, now)
        self._tell("acting", "Its policies act.", change="began")
        if (reading := self._latest.young(now)) is not None:  # an off may be due
            self.policies.step(reading, now, counted=True)
            side.hear(self.policies.decision, reading, now)

    @property
    def decision(self) -> Decision | None:
        """The latest one."""
        return None if self.policies is None else self.policies.decision

    @property
    def enforcing(self) -> bool:
        """Whether its policies act."""
        return self.acting.enforcing

    async def do(self, wish: ActingWish, who: str) -> list[str]:
        """What a person wants of what acts, but for a stop. Raises `GateError`, and what asking the
        board raises."""
        if self._identity is None:
            raise GateError("Nothing was sent: this pack has not said who it is.")
        acted = self.acting.actor is not None
        if wish.do == "reset":  # also of what earlier runs left in the ledger
            await self.acting.begin_for_people(self._identity)
        elif self.policies is None:
            await self.acting.begin(self._identity)
            if self.acting.actor is None:
                raise GateError(
                    "Nothing was sent: this pack has no policies, and nobody stopped it."
                )
        engine = None if self.policies is None else self.policies.engine
        try:
            return await self.acting.do(wish, who, self._identity, engine)
        finally:
            if not acted:
                await self.acting.rest()
            await self.acting.narrow()

    async def stop(
        self, wish: ActingWish, who: str, identity: Identity, sent: Collection[str]
    ) -> list[str]:
        """All off on the board that answers now, until a reset. `sent`: what was switched off
        already. Raises as `do`, and `VerifyError` where it cannot be remembered. What is sent is on
        its way then; `require_stopped` waits for its effect."""
        if not self.acting.acts_on(identity):
            self.acting.meet()
        await begin_for_stop(self.acting, identity, sent, wish)
        return await self.acting.do(wish, who, identity)

    async def require_stopped(self) -> None:
        """Wait until a stop is read back; raises `VerifyError`."""
        await require_read_back(lambda: self.acting.status().get("switches"))

    def withdraw(self, error: BaseException | None) -> None:
        """A mistake of ours: no limit is said any more."""
        if error is not None and self.acting.actor is not None:
            self.acting.actor.withdraw(error)

    def acting_status(self) -> dict[str, Any] | None:
        """Who holds which switch, and why; `None` for a pack on which nothing can act: one
        without a policy file that nobody stopped."""
        nothing = self.policies is None and self.acting.actor is None
        if nothing:
            return None
        return self.acting.status(None if self.policies is None else self.policies.engine)

    @property
    def begun(self) -> bool:
        """Whether it is known which board is judged."""
        return self._identity is not None

    def learn(self, settings: Mapping[str, Value | None]) -> None:
        """These are the BMS's own settings now: policies that stay inside them, or look whether the
        BMS does what it is set to, go by them."""
        self._settings = numbers_in(settings)
        for each in filter(None, (self.policies, self._beside)):
            try:
                each.learn(self._settings, asyncio.get_running_loop().time())
            except TargetError as error:
                self._tell("trouble", f"{error} The policies go on as they were.", alarm=True)

    def begin(self, identity: Identity) -> None:
        """This board is the one that is judged from now on; its policies begin when what they
        knew of it was read from the disk."""
        self._identity = identity
        self.learn({})  # perhaps another board is meant now
        self.acting.meet()
        if self.policies is None:
            return
        if self._recalling is not None:
            self._recalling.cancel()
        self._recalling = asyncio.create_task(self._recall(self.policies, identity))

    async def _recall(self, policies: PackPolicies, identity: Identity) -> None:
        saved = await self._memory.take(identity)
        try:
            policies.restart(saved, asyncio.get_running_loop().time())
        except TargetError as error:
            self._tell("trouble", f"{error} The policies begin without it.", alarm=True)

    async def recalled(self, within: float) -> None:
        """Wait until the policies know what they knew, but no longer than so many seconds."""
        if self._recalling is not None and not self._recalling.done():
            await asyncio.wait([self._recalling], timeout=within)

    @property
    def _blind(self) -> bool:
        """Whether the policies may not judge yet: no board is known, or what they knew of it."""
        return not self.begun or (self._recalling is not None and not self._recalling.done())

    def hear(self, reading: Reading | None, now: float) -> None:
        """A reading of the board that is meant; `None`: there is none, and time passes."""
        policies = self.policies
        if policies is not None and now >= self._life_at:
            self._life_at = now + _LIFE_EVERY
            policies.engine.know_life(measures_of(self.life()))
        if policies is None:
            if self.acting.actor is not None:
                self.acting.hear(nothing_known(now), reading, now)
            return
        blind = self._blind
        self._latest.heard(None if blind else reading, now)
        if reading is None or blind:
            policies.tick(now)
        else:
            policies.step(reading, now)
        self.acting.hear(policies.decision, None if blind else reading, now)
        if self._beside is not None and reading is not None:
            self._beside.step(reading, now)
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

    async def close(self) -> None:
        """Nothing acts any more; switches stay as they are."""
        if self._recalling is not None:
            self._recalling.cancel()
        await self.acting.close()

    # -- what the policies say -------------------------------------------------------------------

    def decided(self, decision: Decision, *, changed: bool, new: bool, moved: bool) -> None:
        """A decision."""
        if changed or moved:
            self._feed.publish("limits", self._plan.name, decision)
        for event in decision.events:
            self._say(event.policy, event.text, event.what)
        for verdict in decision.verdicts:
            if verdict.state in _LASTING and verdict.policy not in self._lasting:
                self._say(verdict.policy, verdict.text, verdict.state)  # from before a restart
        if new and self._budget.take(decision.time):
            self._save(decision.time, at_once=True)

    def _say(self, policy: str, text: str, change: str) -> None:
        """What a policy does. That it has tripped is a condition, until it releases."""
        lasting = change in _ALARMS or change in _LASTING
        over = change == "release"
        if lasting:
            self._lasting.add(policy)
        elif over:
            self._lasting.discard(policy)
        known = None if self.policies is None or not lasting else self.policies.policies
        self._tell(
            "policy",
            f"{policy}: {text}",
            alarm=lasting,
            severity=None if known is None else event_severity(known, policy),
            key=f"policy/{policy}" if lasting or over else "",
            over=over,
            policy=policy,
            change=change,
        )

    def found(self, finding: Finding) -> None:
        """The pack does not fit the policy file."""
        self._tell("finding", finding.text, alarm=True)

    def troubled(self, sentence: str) -> None:
        """The journal cannot be written."""
        self._tell("trouble", sentence, alarm=True)

    def _written(self, error: str) -> None:
        """The end of a record for the journal; what goes wrong is said once, until it goes well."""
        if error and not self._unwritten:
            self.troubled(f"{error} {goes_on(shadow=not self.enforcing)}")
        self._unwritten = bool(error)


def _sinks(plan: PackPlan, other: LimitSink | None) -> LimitSinks:
    """What carries the limits of a pack out."""
    command = plan.sink_command
    found: list[LimitSink] = [] if command is None else [CommandSink(command)]
    if other is not None:
        found.append(other)
    return LimitSinks(found, {"target": plan.target, "name": plan.name})


class _Beside:
    """Hears what a changed file would do, while the one that was approved acts."""

    def __init__(self, tell: Teller) -> None:
        self._tell = tell

    def decided(self, decision: Decision, *, changed: bool, new: bool, moved: bool) -> None:
        """Each decision."""
        for event in decision.events:
            if event.what in _ALARMS:
                text = f"The changed file: {event.policy}: {event.text}"
                self._tell("policy", text, policy=event.policy, change=f"shadow_{event.what}")

    def found(self, finding: Finding) -> None:
        """Said when it is approved."""

    def troubled(self, sentence: str) -> None:
        """Said by what acts."""
