"""Live packs under policies: read, judged, reported and written down; and, where a person approved
it, acted on (`runtime.acting`). In shadow nothing is sent."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import nullcontext, suppress
from functools import partial
from typing import Any, NamedTuple, Protocol

from bmslink.board import Board
from bmslink.config.checks.check import refuse
from bmslink.control.audit import Audit, Budget
from bmslink.control.backtest.playback import ALL
from bmslink.control.check import Finding
from bmslink.control.decide.decision import Decision
from bmslink.control.decide.policy import Mode, PolicySet
from bmslink.control.status import PackStatus, Run, StateError, place, runs, state_path, write
from bmslink.errors import BmsError, GateError, PortBusy, TargetError
from bmslink.model import Identity, Reading
from bmslink.places import recorded_place
from bmslink.runtime.acting.acting_side import ActingSide
from bmslink.runtime.acting.contained import contained
from bmslink.runtime.acting.mailbox import read_mail
from bmslink.runtime.acting.people import ActingWish
from bmslink.runtime.judging.disk import DiskQueue
from bmslink.runtime.judging.pack_memory import SAVED_AT_ONCE, SAVED_EVERY, PackMemory
from bmslink.runtime.judging.pack_policies import PackPolicies, in_words, trips_in
from bmslink.runtime.pack_loop import BetweenPolls, LatestReading, follow
from bmslink.storage.alone import hold_lock

__all__ = ["Enforcing", "Observer", "PackSupervisor", "StatusBoard"]

_AT_LEAST_EVERY = 5.0  # s between two states that are left for `control status`


class Observer(Protocol):
    """Who hears what becomes of the packs; `index` is that of the pack."""

    def on_decision(self, index: int, decision: Decision, *, changed: bool) -> None:
        """A decision with an event, or with other permits or policies (`changed`); else only the
        limits moved."""

    def on_error(self, index: int, error: BmsError) -> None:
        """There is no reading; the same error is not repeated until a reading came."""

    def on_finding(self, index: int, finding: Finding) -> None:
        """The pack does not fit the policy file."""

    def on_acting(self, index: int, what: str, text: str, *, alarm: bool) -> None:
        """What acts on the pack says something; `what` as in `Remark`."""

    def on_trouble(self, sentence: str) -> None:
        """The state or the journal cannot be written; what runs goes on."""


class StatusBoard:
    """What all packs of this program say now, for `control status`."""

    def __init__(
        self,
        observer: Observer,
        policies: str,
        targets: list[str],
        interval: float,
        *,
        shadow: bool = True,
        queue: DiskQueue | None = None,
    ) -> None:
        """`queue`: writes it, so that nothing waits for the disk; `None`: it is written at once."""
        self._queue = queue
        self.packs = [PackStatus(target=target) for target in targets]
        self._observer = observer
        self._path = place(targets)
        now = time.time()
        self._run = Run(
            policies=policies,
            shadow=shadow,
            pid=os.getpid(),
            began=now,
            written=now,
            interval=interval,
            packs=self.packs,
        )
        self._written = 0.0
        self._failed = False
        self._locks: list[int] = []
        self._theirs = False
        """Another program has one of the packs, so what it leaves is not touched."""

    def claim(self) -> None:
        """Say that this program has these packs, until `remove`. Raises `GateError` where another
        `control run` has one of them: what that one leaves for `control status` stays."""
        for pack in () if self._locks else self.packs:
            for name in recorded_place({"target": pack.target}).names:
                try:
                    self._locks += [_lock(name)]
                except _Taken:
                    self._theirs = True
                    self._release()
                    raise refuse(_taken(pack.target), "run") from None
        self._theirs = False

    def _release(self) -> None:
        for handle in self._locks:
            os.close(handle)
        self._locks = []

    def show(self, *, at_once: bool) -> None:
        """Leave the state, now or if it is time."""
        now = time.monotonic()
        if (
            self._theirs
            or (self._failed and self._queue is None)
            or not (at_once or now - self._written >= _AT_LEAST_EVERY)
        ):
            return
        if not self._locks:
            try:
                self.claim()
            except GateError as error:
                self._ended(str(error))
                return
        self._written = now
        self._run.written = time.time()
        if self._queue is not None:
            self._queue.put(partial(write, self._path, self._run), key="status", ended=self._ended)
            return
        try:
            write(self._path, self._run)
        except StateError as error:
            self._ended(str(error))

    def _ended(self, error: str) -> None:
        if error and not self._failed:
            self._observer.on_trouble(error)
        self._failed = bool(error)

    def remove(self) -> None:
        """The program ends: nothing is in force any more."""
        if self._written and not self._failed:
            with contextlib.suppress(OSError):
                self._path.unlink()
        self._release()


class _Taken(Exception):
    """Somebody else holds a lock."""


def _lock(name: str) -> int:
    """The lock of a `control run` on a place, held while it is open. Raises `_Taken`."""
    handle = hold_lock(state_path() / "locks", f"run {name}")
    if handle is None:
        raise _Taken
    return handle


def _taken(target: str) -> str:
    here = recorded_place({"target": target})
    with contextlib.suppress(StateError):
        for run in runs().runs:
            if any(recorded_place({"target": p.target}).same(here) for p in run.packs):
                return (
                    f"Nothing was sent. Another `control run` (process {run.pid}) has {target}: "
                    "end it first; `bmslink control status` shows it."
                )
    return f"Nothing was sent. Another `control run` has {target}: end it first."


class Enforcing(NamedTuple):
    """What a pack needs that is to be acted on."""

    side: ActingSide
    append: Callable[..., None]
    """Has a record written to the journal, and waits for nothing."""
    memory: PackMemory | None = None
    """Keeps what the policies know, so that a restart lets go of nothing."""


class PackSupervisor:
    """One pack under policies, as `control run` has it."""

    def __init__(
        self,
        observer: Observer,
        board: StatusBoard,
        index: int,
        policies: PolicySet,
        settings: Mapping[str, float] | None,
        why: Mapping[str, Any],
        *,
        interval: float,
        sink: bool,
        enforcing: Enforcing | None = None,
    ) -> None:
        """`enforcing`: what is needed to act; `None`: in shadow."""
        self.failed = False
        self._observer = observer
        self._board = board
        self._index = index
        self._pack = board.packs[index]
        self._enforcing, self._side = enforcing, None if enforcing is None else enforcing.side
        self._heard = False
        self._tried = False
        """Whether the pack was opened or missed before."""
        self._ill = ""
        self._memory = None if enforcing is None else enforcing.memory
        self._identity: Identity | None = None
        self._budget = Budget(SAVED_AT_ONCE, SAVED_EVERY)
        self._new = False
        self._latest = LatestReading()

        def make(chosen: PolicySet, acting: Collection[Mode]) -> PackPolicies:
            append = None if enforcing is None else enforcing.append
            return PackPolicies(
                chosen,
                settings,
                interval=interval,
                sink=sink,
                audit=Audit(self._pack.target, why, shadow=acting is ALL, append=append),
                listener=self,
                acting=acting,
            )

        self._make = make
        self._policies = make(policies, ALL)
        self._chosen: PolicySet | None = None
        """Those of the side that acts which judge here; before they do, nothing is acted on."""

    async def follow(self, device: Board, interval: float, count: int | None) -> None:
        """Read and judge until cancelled, or `count` times. Raises `PortBusy` where another program
        has the port at the start."""
        if self._side is None:
            await follow(device, self, interval=interval, count=count)
            return
        side = self._side

        async def begin() -> None:
            identity = await device.who()
            if await side.begin(identity):
                await self._begin(side, identity)

        beginning = BetweenPolls(begin)

        async def between() -> None:
            if self._heard:
                with suppress(BmsError):  # the next reading says what is wrong
                    await beginning.step()

        async def do(wish: ActingWish, who: str) -> list[str]:
            done = await side.do(wish, who, await device.who(), self._policies.engine)
            await side.narrow()
            self._keep(asyncio.get_running_loop().time(), at_once=True)
            return done

        mail = asyncio.create_task(read_mail(str(device.target), do, lambda: self._heard))
        try:
            await follow(
                device, self, interval=interval, count=count, between=between,
                before_close=side.settle, opened=device.opened,
            )  # fmt: skip
        finally:
            mail.cancel()
            await beginning.end()
            self._keep(asyncio.get_running_loop().time(), at_once=True)
            await side.close()

    async def _begin(self, side: ActingSide, identity: Identity) -> None:
        """What was approved acts from now on, with what was known of this board: by an earlier
        run too, because a restart lets go of nothing."""
        if side.policies is None:
            return
        memory, saved = self._memory, None
        if memory is not None:
            saved = await memory.take(identity)
        known = self._policies.engine.save()
        self._identity, self._chosen = identity, side.policies
        self._policies = self._make(side.policies, (Mode.ENFORCE,))
        now = asyncio.get_running_loop().time()
        try:
            self._policies.restart(known if saved is None else saved, now)
        except TargetError as error:
            self._observer.on_trouble(f"{error} The policies begin without it.")
            self._policies.restart(known, now)
        if (reading := self._latest.young(now)) is not None:
            self._judge(reading, now, counted=True)

    def _keep(self, now: float, *, at_once: bool) -> None:
        """Have saved what the policies know, if it is time."""
        if self._memory is not None and self._identity is not None:
            policies = self._policies
            self._memory.save(
                now, policies.engine.save, self._identity,
                active=policies.restrictive, at_once=at_once,
            )  # fmt: skip

    def hear(self, reading: Reading, now: float) -> None:
        """A reading."""
        self._pack.heard, self._pack.error = time.time(), ""
        self._heard = self._tried = True
        self._judge(reading, now)

    def miss(self, error: BmsError, now: float, *, lost: bool) -> None:
        """Why there is none."""
        self._heard = False
        if isinstance(error, PortBusy) and not self._tried:
            raise error  # somebody else has the port: waiting for its end would protect nothing
        self._tried = True
        self._complain(error)
        self._judge(None, now)

    def beat(self, now: float, *, late: bool) -> None:
        """Time passes for the policies while the pack says nothing."""
        if late:
            self._judge(None, now)

    def _judge(self, reading: Reading | None, now: float, *, counted: bool = False) -> None:
        """Where the pack is acted on, a mistake of ours is its own, and no other pack notices."""
        self._latest.heard(reading, now)
        with contained(self._mistaken) if self._side is not None else nullcontext():
            if reading is None:
                self._policies.tick(now)
            else:
                self._policies.step(reading, now, counted=counted)
            if self._side is not None:
                if self._side.policies in (None, self._chosen):
                    self._side.hear(self._policies.decision, reading, now)
                self._post_acting(self._side)
            self._keep(now, at_once=self._new and self._budget.take(now))
            self._new = False

    def _post_acting(self, side: ActingSide) -> None:
        """Leave what acts for `control status`, at once where a switch is another."""

        def gist(found: dict[str, Any]) -> list[tuple[Any, ...]]:
            switches = found.get("switches", {}).values()
            return [
                (s["owner"], s["holders"], (s["command"] or {}).get("read_back")) for s in switches
            ]

        before, self._pack.acting = self._pack.acting, side.status(self._policies.engine)
        self._board.show(at_once=gist(before) != gist(self._pack.acting))

    def _mistaken(self, error: BaseException) -> None:
        text = f"bmslink made a mistake ({type(error).__name__}: {error}): it withdraws this pack."
        if self._side is not None and self._side.actor is not None:
            self._side.actor.withdraw(error)
        elif text != self._ill:
            self._observer.on_acting(self._index, "withdrawn", text, alarm=True)
        self._ill = text

    def _complain(self, error: BmsError) -> None:
        self.failed = True
        text = str(error)
        if text == self._pack.error:
            return
        self._pack.error = text
        self._observer.on_error(self._index, error)

    # -- what was decided ------------------------------------------------------------------------

    def decided(self, decision: Decision, *, changed: bool, new: bool, moved: bool) -> None:
        """Show it, and leave it for `control status`."""
        if changed or moved:
            self._observer.on_decision(self._index, decision, changed=changed)
        self._new = self._new or new
        self._post(decision, changed=new)

    def found(self, finding: Finding) -> None:
        """The pack does not fit the policy file."""
        self._observer.on_finding(self._index, finding)

    def troubled(self, sentence: str) -> None:
        """The journal cannot be written."""
        self._observer.on_trouble(sentence)

    def _post(self, decision: Decision, *, changed: bool) -> None:
        pack, limits = self._pack, decision.limits
        if changed:
            pack.since = time.time()
        pack.stale = decision.stale
        pack.permits = {
            name: getattr(decision, name).allowed for name in ("charge", "discharge", "balance")
        }
        found = {name: getattr(limits, name) for name in ("cvl", "ccl", "dcl", "dvl")}
        pack.limits = {name: limit.value for name, limit in found.items()}
        pack.binding = {name: limit.reasons[0].policy for name, limit in found.items()}
        pack.kinds = {name: limit.kind.value for name, limit in found.items()}
        pack.phase = decision.phase.value
        shadow = self._side is None or not self._side.enforcing
        pack.policies = [*in_words(decision, self._policies.engine, shadow=shadow)]
        pack.trips += trips_in(decision, self._policies.policies)
        self._board.show(at_once=changed)
