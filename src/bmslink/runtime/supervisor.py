"""Live packs under policies: read, judged, reported and written down. Nothing here sends."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from bmslink.board import Board
from bmslink.control.audit import Audit, gist
from bmslink.control.backtest.playback import make_engine
from bmslink.control.check import Finding, Level, check_pack
from bmslink.control.decide.decision import Decision
from bmslink.control.decide.policy import Action, PolicySet
from bmslink.control.status import PackStatus, Run, StateError, place, write
from bmslink.errors import BmsError
from bmslink.model import Reading
from bmslink.polling import poll
from bmslink.storage.journal import JournalError

__all__ = ["Observer", "PackSupervisor", "StatusBoard"]

_AT_LEAST_EVERY = 5.0  # s between two states that are left for `control status`
_LATE = 1.5  # times the interval


class Observer(Protocol):
    """Who hears what becomes of the packs; `index` is that of the pack."""

    def on_decision(self, index: int, decision: Decision, *, changed: bool) -> None:
        """A decision with an event, or with other permits or policies (`changed`); else only the
        limits moved."""

    def on_error(self, index: int, error: BmsError) -> None:
        """There is no reading; the same error is not repeated until a reading came."""

    def on_finding(self, index: int, finding: Finding) -> None:
        """The pack does not fit the policy file."""

    def on_trouble(self, sentence: str) -> None:
        """The state or the journal cannot be written; what runs goes on."""


class StatusBoard:
    """What all packs of this program say now, for `control status`."""

    def __init__(
        self, observer: Observer, policies: str, targets: list[str], interval: float
    ) -> None:
        self.packs = [PackStatus(target=target) for target in targets]
        self._observer = observer
        self._path = place(targets)
        now = time.time()
        self._run = Run(
            policies=policies,
            shadow=True,
            pid=os.getpid(),
            began=now,
            written=now,
            interval=interval,
            packs=self.packs,
        )
        self._written = 0.0
        self._failed = False

    def show(self, *, at_once: bool) -> None:
        """Leave the state, now or if it is time."""
        now = time.monotonic()
        if self._failed or not (at_once or now - self._written >= _AT_LEAST_EVERY):
            return
        self._written = now
        self._run.written = time.time()
        try:
            write(self._path, self._run)
        except StateError as error:
            self._failed = True
            self._observer.on_trouble(str(error))

    def remove(self) -> None:
        """The program ends: nothing is in force any more."""
        if self._written and not self._failed:
            with contextlib.suppress(OSError):
                self._path.unlink()


class PackSupervisor:
    """One pack under policies."""

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
    ) -> None:
        self.failed = False
        self._observer = observer
        self._board = board
        self._index = index
        self._pack = board.packs[index]
        self._policies = policies
        self._engine = make_engine(policies, settings, poll=interval, sink=sink)
        self._audit: Audit | None = Audit(self._pack.target, why, shadow=True)
        self._last: Decision | None = None
        self._gist: tuple[object, ...] | None = None
        self._heard = 0.0
        self._greeted = False

    async def follow(self, device: Board, interval: float, count: int | None) -> None:
        """Read and judge until cancelled, or `count` times."""
        self._heard = asyncio.get_running_loop().time()
        async with asyncio.TaskGroup() as group:
            beat = group.create_task(self._beat(interval))
            try:
                await poll(device, self.hear, interval=interval, count=count, patient=True)
            except BmsError as error:
                self.hear(error)
            finally:
                beat.cancel()

    async def _beat(self, interval: float) -> None:
        """Time passes for the policies while the pack says nothing."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(interval)
            if loop.time() - self._heard > _LATE * interval:
                self._take(self._engine.tick(loop.time()))

    def hear(self, news: Reading | BmsError) -> None:
        """A reading, or why there is none."""
        now = asyncio.get_running_loop().time()
        if isinstance(news, BmsError):
            self._complain(news)
            self._take(self._engine.tick(now))
            return
        self._heard = now
        self._pack.heard, self._pack.error = time.time(), ""
        if not self._greeted:
            self._greet(news)
        self._take(self._engine.step(news, now))

    def _greet(self, reading: Reading) -> None:
        self._greeted = True
        for finding in check_pack(reading, self._policies):
            if finding.level >= Level.WARNING:
                self._observer.on_finding(self._index, finding)

    def _complain(self, error: BmsError) -> None:
        self.failed = True
        text = str(error)
        if text == self._pack.error:
            return
        self._pack.error = text
        self._observer.on_error(self._index, error)

    # -- what was decided ------------------------------------------------------------------------

    def _take(self, decision: Decision) -> None:
        what, last = gist(decision), self._last
        new = what != self._gist
        moved = last is None or last.limits != decision.limits
        self._gist, self._last = what, decision
        changed = new or bool(decision.events)
        if changed or moved:
            self._observer.on_decision(self._index, decision, changed=changed)
        self._write_down(decision)
        self._post(decision, changed=new)

    def _write_down(self, decision: Decision) -> None:
        if self._audit is None:
            return
        try:
            self._audit(decision, self._engine.sample)
        except JournalError as error:
            self._audit = None
            self._observer.on_trouble(f"{error} In shadow nothing is sent anyway; this goes on.")

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
        pack.policies = list(_words(decision))
        pack.trips += sum(
            event.what in ("trip", "latch")
            and self._policies.policies[event.policy].acts != (Action.BALANCE,)
            for event in decision.events
        )
        self._board.show(at_once=changed)


LATCHED = (
    "What is latched stays until a person has looked; in shadow, a new `control run` begins "
    "without it."
)


def _words(decision: Decision) -> Iterator[str]:
    """The policies that are not content; about balancing the permit says enough."""
    own = {r.policy for permit in (decision.charge, decision.discharge) for r in permit.reasons}
    balancing = {r.policy for r in decision.balance.reasons} - own
    for verdict in decision.verdicts:
        if verdict.state != "missing" and verdict.policy not in balancing:
            yield f"{verdict.policy} ({verdict.state}): {verdict.text}"
    if any(verdict.state == "latched" for verdict in decision.verdicts):
        yield LATCHED
    blind = [v.policy for v in decision.verdicts if v.state == "missing"]
    if blind:
        yield f"cannot measure: {', '.join(blind)}"
