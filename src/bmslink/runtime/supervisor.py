"""Live packs under policies: read, judged, reported and written down. Nothing here sends."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Mapping
from typing import Any, Protocol

from bmslink.board import Board
from bmslink.control.audit import Audit
from bmslink.control.check import Finding
from bmslink.control.decide.decision import Decision
from bmslink.control.decide.policy import PolicySet
from bmslink.control.status import PackStatus, Run, StateError, place, write
from bmslink.errors import BmsError
from bmslink.model import Reading
from bmslink.runtime.judging.pack_policies import PackPolicies, in_words, trips_in
from bmslink.runtime.pack_loop import follow

__all__ = ["Observer", "PackSupervisor", "StatusBoard"]

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
    ) -> None:
        self.failed = False
        self._observer = observer
        self._board = board
        self._index = index
        self._pack = board.packs[index]
        self._policies = PackPolicies(
            policies,
            settings,
            interval=interval,
            sink=sink,
            audit=Audit(self._pack.target, why, shadow=True),
            listener=self,
        )

    async def follow(self, device: Board, interval: float, count: int | None) -> None:
        """Read and judge until cancelled, or `count` times."""
        await follow(device, self, interval=interval, count=count)

    def hear(self, reading: Reading, now: float) -> None:
        """A reading."""
        self._pack.heard, self._pack.error = time.time(), ""
        self._policies.step(reading, now)

    def miss(self, error: BmsError, now: float, *, lost: bool) -> None:
        """Why there is none."""
        self._complain(error)
        self._policies.tick(now)

    def beat(self, now: float, *, late: bool) -> None:
        """Time passes for the policies while the pack says nothing."""
        if late:
            self._policies.tick(now)

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
        pack.policies = [*in_words(decision)]
        pack.trips += trips_in(decision, self._policies.policies)
        self._board.show(at_once=changed)
