"""The task of one served pack, which never ends: opened, read, judged, opened again.

One pack's trouble is only its own: whatever is raised here is written to the log, and the pack
starts anew.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Literal

from bmslink.board import Board
from bmslink.config import switch
from bmslink.config.outcome import Outcome
from bmslink.control.audit import Audit
from bmslink.control.check import Finding
from bmslink.control.decide.decision import Decision
from bmslink.errors import BmsError, LinkClosed, PortBusy
from bmslink.link.turns import Preempted, Preemption, Turns, Urgency, preemptible, urgency
from bmslink.model import Command, Identity, Reading, Switch
from bmslink.places import Place, where
from bmslink.protocols.common.settings_map import SettingsSnapshot
from bmslink.runtime.feed import Feed, PackEvent
from bmslink.runtime.guests import Guest, Guests
from bmslink.runtime.health import PackHealth, PackState, link_counters
from bmslink.runtime.pack_loop import follow
from bmslink.runtime.pack_policies import PackPolicies
from bmslink.runtime.service_file import PackPlan
from bmslink.storage.journal import Journal

__all__ = ["ServedPack"]

_log = logging.getLogger(__name__)

_OPENING = 60.0
"""The longest that opening a link may take, s: a search by Bluetooth is the slowest."""
_READING = 60.0
"""The same for one reading."""
_COMMAND = 900.0
"""The same for one command, s; a change that is written and proven takes a minute or two."""
_PATIENCE = 3.0
"""How long a command waits for a link that is being opened, s."""
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0
"""s before a pack starts anew after a mistake of ours."""
_SPREAD = 0.2
"""By how much pauses differ, so that what was lost together is not opened together."""


class ServedPack:
    """One pack of the service."""

    def __init__(
        self,
        plan: PackPlan,
        board: Board,
        feed: Feed,
        *,
        journal: Journal | None = None,
        guests: Guests | None = None,
    ) -> None:
        self.plan = plan
        self.board = board
        self.place: Place = where(board.target, ask=False)
        """Where it is, whatever its target is written like; more is known once it was open."""
        self.reading: Reading | None = None
        """The latest one, however old: see `health`."""
        self.identity: Identity | None = None
        """Who answers; `None` until it said so."""
        self.settings: SettingsSnapshot | None = None
        """Its settings, as they were looked at last; `None` where they were not."""
        self.health = PackHealth()
        self.heard: float | None = None
        """When the latest reading came, s of the loop's clock."""
        self.guests = guests or Guests()
        """Who else has the lines of the service's packs."""
        self.turned = 0.0
        """When the task was seen at work last, s of the loop's clock."""
        self._feed = feed
        self._turns = Turns()
        self._preemption = Preemption()
        self._open = asyncio.Event()
        self._offs = 0
        self._no_offs = asyncio.Event()
        self._no_offs.set()
        self._random = random.Random(plan.target)
        self._policies = self._make_policies(journal)

    @property
    def name(self) -> str:
        """As the API and messages call it."""
        return self.plan.name

    @property
    def target(self) -> str:
        """What is opened, as resolved."""
        return str(self.board.target)

    @property
    def decision(self) -> Decision | None:
        """What its policies decided last; `None` where it has none."""
        return None if self._policies is None else self._policies.decision

    @property
    def policies(self) -> PackPolicies | None:
        """Its policies at work, if it has any."""
        return self._policies

    @property
    def guest(self) -> Guest | None:
        """Who else has its line now."""
        return self.guests.of(self)

    def status(self) -> dict[str, Any]:
        """What is known of it, without its reading; plain values."""
        file = self.plan.policies
        return {
            "name": self.name,
            "target": self.target,
            "health": {**self.health.to_dict(), "link": link_counters(self.board)},
            "age": self._age(),
            "interval": self.plan.interval,
            "slow_interval": self.plan.slow_interval,
            "policies": None if file is None else {"path": file.path, "sha256": file.sha256},
            "shadow": True,
            "identity": None if self.identity is None else self.identity.to_dict(),
            "decision": None if self.decision is None else self.decision.to_dict(),
        }

    def _age(self) -> float | None:
        now = asyncio.get_running_loop().time()
        return None if self.heard is None else round(now - self.heard, 3)

    # -- commands --------------------------------------------------------------------------------

    @asynccontextmanager
    async def turn(
        self, *, patience: float = _PATIENCE, urgent: bool = True
    ) -> AsyncIterator[Board]:
        """The board for one command: polls wait, and one that is under way ends at the next frame
        boundary (not `urgent`: in its own time). Commands take turns in their order; switching off
        (`switch_off`) goes before all.

        Raises `LinkClosed` where the pack is not reachable within `patience` seconds, `PortBusy`
        while somebody else has its line. What goes wrong inside is raised as it is.
        """
        self.require_ours()
        with urgency(Urgency.COMMAND):
            if urgent:
                self._preemption.asked = True
                self._stir()
            async with self._turns:
                await self._require_open(patience)
                yield self.board

    def require_ours(self) -> None:
        """`PortBusy` while somebody else has the line."""
        if self.guest is not None:
            raise PortBusy(self.guest.sentence)

    async def switch_off(self, name: Switch, *, waive: Collection[str] = ()) -> Outcome:
        """Switch off, before everything else that is sent to this pack, and read back. Raises what
        `bmslink.config.switch` raises, and `GateError` where a phone has the Bluetooth link."""
        self.guests.give_way(self)
        self._offs += 1
        self._no_offs.clear()
        try:
            with urgency(Urgency.OFF):
                self._preemption.asked = True
                self._stir()
                return await switch(self.board, Command(name, on=False), waive=waive)
        finally:
            self._offs -= 1
            if not self._offs:
                self._no_offs.set()

    def _stir(self) -> None:
        try:
            self.board.link.stir()
        except LinkClosed:  # its protocol is not known yet: nothing is under way
            return

    async def _require_open(self, patience: float) -> None:
        try:
            async with asyncio.timeout(patience):
                await self._open.wait()
        except TimeoutError:
            why = f" {self.health.error}" if self.health.error else ""
            raise LinkClosed(f"{self.name} cannot be reached now.{why}") from None

    def stuck(self, now: float) -> bool:
        """Whether its task stopped turning; a silent pack is none, nor one with a command."""
        busy = self._turns.locked() or self._offs
        longest = _COMMAND if busy else _OPENING + _LONGEST_PAUSE
        return now - self.turned > longest + 3 * self.plan.interval

    # -- the task --------------------------------------------------------------------------------

    async def run(self) -> None:
        """Until cancelled."""
        pause = _FIRST_PAUSE
        while True:
            begun = self.turned = asyncio.get_running_loop().time()
            (error,) = await asyncio.gather(self._follow(), return_exceptions=True)
            if error is None:
                self._set("ended", "The recording is over.")
                await self._rest()
            self._failed(error)
            if asyncio.get_running_loop().time() - begun > _LONGEST_PAUSE:
                pause = _FIRST_PAUSE
            await asyncio.sleep(pause * (1 + self._random.uniform(0, _SPREAD)))
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def _follow(self) -> None:
        await follow(
            self.board,
            self,
            interval=self.plan.interval,
            read=self._read,
            opening=_OPENING,
            spread=lambda: 1 + self._random.uniform(0, _SPREAD),
        )

    async def _rest(self) -> None:
        while True:
            self.turned = asyncio.get_running_loop().time()
            await asyncio.sleep(self.plan.interval)

    async def _read(self) -> Reading:
        """One reading, when no command needs the board; given up and begun again for one."""
        self._open.set()
        while True:
            await self._no_offs.wait()
            await self.guests.gone(self)
            with urgency(Urgency.POLL):
                async with self._turns:
                    self._preemption.asked = False
                    try:
                        with preemptible(self._preemption):
                            async with asyncio.timeout(_READING):
                                return await self._look()
                    except Preempted:
                        continue
                    except TimeoutError as late:
                        if isinstance(late, BmsError):
                            raise
                        raise LinkClosed(f"No reading was whole after {_READING:g} s.") from late

    async def _look(self) -> Reading:
        if self.identity is None:
            self.identity = await self.board.who()
            self.place = where(self.board, ask=False)
        return await self.board.read()

    # -- what the loop says ----------------------------------------------------------------------

    def hear(self, reading: Reading, now: float) -> None:
        """A reading."""
        self.reading, self.heard, self.turned = reading, now, now
        self._set("ok")
        self._feed.publish("reading", self.name, reading)
        if self._policies is not None:
            self._policies.step(reading, now)

    def miss(self, error: BmsError, now: float, *, lost: bool) -> None:
        """A reading that did not come."""
        self.turned = now
        if lost:
            self._open.clear()
        self._set("lost" if lost else "silent", str(error))
        if self._policies is not None:
            self._policies.tick(now)

    def beat(self, now: float, *, late: bool) -> None:
        """Time passes."""
        if late and self._policies is not None:
            self._policies.tick(now)

    def _failed(self, error: BaseException) -> None:
        self.health.failures += 1
        self._open.clear()
        text = f"bmslink made a mistake with {self.name} ({_cause(error)}): it starts anew."
        _log.error("%s", text)
        _log.debug("The mistake with %s:", self.name, exc_info=error)
        self._set("failed", text)

    def show(self, state: PackState, text: str) -> None:
        """Say how it is while somebody else has its line."""
        self._set(state, text)

    def _set(self, state: PackState, error: str = "") -> None:
        """The state, and an event where it is new."""
        old, self.health.error = self.health.state, error
        if state == old:
            return
        self.health.state, self.health.since = state, datetime.now(UTC)
        text = f"{self.name}: {error}" if error else f"{self.name} is read."
        self.tell(state, text, alarm=state not in ("ok", "ended"), was=old)

    def tell(self, what: str, text: str, *, alarm: bool = False, **data: Any) -> None:
        """Publish an event of this pack."""
        self._feed.publish("event", self.name, PackEvent(what, text, alarm, data))

    # -- what its policies say -------------------------------------------------------------------

    def _make_policies(self, journal: Journal | None) -> PackPolicies | None:
        file = self.plan.policies
        if file is None:
            return None
        why = {"policies": file.path, "sha256": file.sha256}
        journal = journal or Journal()
        audit = Audit(self.target, why, shadow=True, append=journal.append)
        return PackPolicies(
            file.policies,
            None,
            interval=self.plan.interval,
            sink=False,
            audit=audit,
            listener=self,
        )

    def decided(self, decision: Decision, *, changed: bool, new: bool, moved: bool) -> None:
        """A decision of its policies."""
        if changed or moved:
            self._feed.publish("limits", self.name, decision)
        for event in decision.events:
            text = f"{event.policy}: {event.text}"
            self.tell("policy", text, alarm=event.what in _ALARMS, policy=event.policy)

    def found(self, finding: Finding) -> None:
        """The pack does not fit the policy file."""
        self.tell("finding", finding.text, alarm=True)

    def troubled(self, sentence: str) -> None:
        """The journal cannot be written."""
        self.tell("trouble", sentence, alarm=True)


_ALARMS: tuple[Literal["trip", "latch"], ...] = ("trip", "latch")


def _cause(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}"
