"""The task of one served pack, which never ends: opened, read, judged, opened again.

One pack's trouble is only its own: whatever is raised here is written to the log, and the pack
starts anew.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

from bmslink.board import Board
from bmslink.config.outcome import Outcome
from bmslink.control.decide.decision import Decision
from bmslink.errors import BmsError, FrameError, LinkTimeout, Refused
from bmslink.link.turns import Preempted
from bmslink.model import Identity, Reading, Switch
from bmslink.moments import utc_now
from bmslink.places import Place
from bmslink.runtime.acting.drill import Drill
from bmslink.runtime.acting.limit_sinks import LimitSink
from bmslink.runtime.acting.people import ActingWish
from bmslink.runtime.feed import Feed
from bmslink.runtime.health import PackHealth, PackState, cause_of, link_counters
from bmslink.runtime.judging.known_board import KnownBoard
from bmslink.runtime.judging.pack_judge import PackJudge
from bmslink.runtime.judging.pack_memory import PackDisk, PackMemory
from bmslink.runtime.judging.stopping import stop_all
from bmslink.runtime.pack_loop import BetweenPolls, follow, in_time
from bmslink.runtime.pack_turns import Aside, PackTurns
from bmslink.runtime.service_file import PackPlan
from bmslink.runtime.sessions.served import PackBalance
from bmslink.runtime.slow_set import SlowSet
from bmslink.runtime.watching.conditions import Teller

__all__ = ["ServedPack"]

_log = logging.getLogger(__name__)

_OPENING = 60.0
"""The longest that opening a link may take, s: a search by Bluetooth is the slowest."""
_READING = 60.0
"""The same for one reading."""
_COMMAND = 900.0
"""The same for one command; a change that is written and proven takes a minute or two."""
_PATIENCE = 3.0
"""How long a command waits for a link that is being opened, s."""
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0
"""s before a pack starts anew after a mistake of ours, and before a silent one is asked again where
others wait for the same line."""
_SPREAD = 0.2
"""By how much pauses differ, so that what was lost together is not opened together."""
_OLD = 2.0
"""A command that reads for long lets one reading go between where the latest is older, s, and than
the interval."""
_SILENT = 2
"""After so many readings in a row without an answer a pack leaves the line to its companions."""


class ServedPack:
    """One pack of the service."""

    def __init__(
        self,
        plan: PackPlan,
        board: Board,
        feed: Feed,
        disk: PackDisk,
        *,
        accept: bool = False,
        sink: LimitSink | None = None,
    ) -> None:
        """`accept`: whichever board answers is the one that is meant; a person said so. `sink`:
        what carries its limits out beside the command of its own."""
        self.plan = plan
        self.board = board
        self.reading: Reading | None = None
        """The latest one, however old: see `health`."""
        self.health = PackHealth()
        self.heard: float | None = None
        """When the latest reading came, s of the loop's clock."""
        self.turned = 0.0
        """When the task was seen at work last, s of the loop's clock."""
        self.neighbours: Callable[[], Iterable[ServedPack]] = tuple
        """The packs of the same service, of which some may share its line."""
        self.looked: Callable[[float], None] = lambda now: None
        """Called after each reading, and each time that none came."""
        self._feed = feed
        self.tell = Teller(plan.name, feed)
        """Publishes an event of this pack."""
        self.turns = PackTurns(plan.name, board)
        """Who may use the board now."""
        self.turns.on_off = self._begin_off
        self.drilling: Drill | None = None
        """A drill that has the board now."""
        memory = PackMemory(plan, disk, partial(self.tell, "trouble", alarm=True))
        self.judge = PackJudge(plan, memory, disk, feed, self.tell, board, self.turns, sink)
        """Its policies at work."""
        self.known = KnownBoard(plan.name, board, memory, self.judge, self.tell, accept=accept)
        """Which board it has."""
        self._beginning = BetweenPolls(self.judge.begin_acting)
        self.balance = PackBalance(
            plan, board, self.turns, self.judge, feed, self.tell,
            lambda: not self.known.other, journal=disk.journal,
        )  # fmt: skip
        """Its balancing session, if one runs."""
        self._slow = SlowSet(plan.slow_interval, plan.target)
        self._silent = 0
        self._spread = partial(random.Random(plan.target).uniform, 1, 1 + _SPREAD)

    @property
    def name(self) -> str:
        """As the API and messages call it."""
        return self.plan.name

    @property
    def target(self) -> str:
        """What is opened, as resolved."""
        return str(self.board.target)

    @property
    def settings(self) -> Mapping[str, Any]:
        """The values of its settings by their names, as far as they were looked at."""
        found = self._slow.settings
        return {} if found is None else found.values()

    @property
    def place(self) -> Place:
        """Where it is."""
        return self.known.place

    @property
    def identity(self) -> Identity | None:
        """Who answers; `None` until it said so."""
        return self.known.identity

    @property
    def decision(self) -> Decision | None:
        """What its policies decided last; `None` where it has none."""
        return self.judge.decision

    def status(self) -> dict[str, Any]:
        """How it is; without what it said, who it is, and what its policies decided."""
        file, now = self.plan.policies, asyncio.get_running_loop().time()
        return {
            "name": self.name,
            "target": self.target,
            "health": {**self.health.to_dict(), "link": link_counters(self.board)},
            "age": None if self.heard is None else round(now - self.heard, 3),
            "interval": self.plan.interval,
            "slow_interval": self.plan.slow_interval,
            "policies": None if file is None else {"path": file.path, "sha256": file.sha256},
            "shadow": not self.judge.enforcing,
            "acting": self.judge.acting_status(),
            "doing": None if self.turns.doing is None else self.turns.doing.to_dict(),
            "open_change": self.known.open_change or None,
        }

    # -- commands --------------------------------------------------------------------------------

    @asynccontextmanager
    async def turn(self, what: str = "it is asked") -> AsyncIterator[Board]:
        """The board for one command, `what` in a few words: polls wait, and one that is under way
        ends at the next frame boundary. Commands take turns in their order; switching off
        (`switch_off`) goes before all.

        Raises `LinkClosed` where the pack is not reachable within 3 s, `PortBusy` while somebody
        else has its line. What goes wrong inside is raised as it is.
        """
        async with self.turns.command(_PATIENCE, what) as board:
            yield board

    @asynccontextmanager
    async def aside(self, state: Aside, why: str) -> AsyncIterator[Board]:
        """The board while somebody else has its line (`why`: who, and until when): nothing is
        polled, commands are refused, and the policies see a pack that says nothing. `released`: the
        link is closed; `lent`: it is open, also where nothing answered on it. Afterwards it is
        asked who answers. See `off_asked`.
        """
        async with self.turns.give(state, why, _PATIENCE) as board:
            before = self.health.state, self.health.error
            self._set(state, why)
            if any(other.turns.switching_off for other in self._on_my_line()):
                self.off_asked.set()
            try:
                yield board
            finally:
                if not self.turns.open.is_set():
                    self._set(*before)
                self.known.met = False
                self._slow.hurry()

    async def switch_off(self, name: Switch, *, waive: Collection[str] = ()) -> Outcome:
        """Switch off, before everything else that is sent to this pack, and read back. Raises what
        `bmslink.config.switch` raises, and `GateError` while a phone has the Bluetooth link."""
        return await self.turns.switch_off(name, waive)

    async def act(self, wish: ActingWish, who: str) -> list[str]:
        """What a person wants of what acts here, and what came of it. An emergency stop goes before
        everything else, as switching off does, and is read back. Where nothing acts yet, its offs
        leave before anything that may wait: a question, the disk, a drill that ends, a switch that
        is being set by hand."""
        if wish.do != "stop":
            return await self.judge.do(wish, who)
        return await stop_all(self.judge, self.turns, lambda: self.drilling, wish, who)

    def _begin_off(self) -> None:
        """Something is to be switched off: a drill switches nothing on any more, and whoever has
        the line gives it back at once."""
        if self.drilling is not None:
            self.drilling.abandon()
        for other in self._on_my_line():
            if other.health.state == "lent":
                other.off_asked.set()

    def _on_my_line(self) -> list[ServedPack]:
        """The other packs that share its line."""
        mine, all_of_us = self.place, self.neighbours()
        return [each for each in all_of_us if each is not self and each.place.same_line(mine)]

    @property
    def off_asked(self) -> asyncio.Event:
        """Set when somebody switches off: whoever has the line `aside` gives it back at once."""
        return self.turns.off_asked

    def confirm(self) -> bool:
        """A person says that the board that answers now is the one that is meant; whether another
        one was expected."""
        return self.known.confirm()

    def stuck(self, now: float) -> bool:
        """Whether its task stopped turning; a silent pack is none, nor one with a command."""
        if self.turns.aside is not None:
            return False
        longest = _COMMAND if self.turns.busy else _OPENING + _LONGEST_PAUSE
        return now - self.turned > longest + 3 * self.plan.interval

    # -- the task --------------------------------------------------------------------------------

    async def run(self) -> None:
        """Until cancelled."""
        try:
            await self._run()
        finally:
            await self._beginning.end()

    async def _run(self) -> None:
        pause = _FIRST_PAUSE
        while True:
            begun = self.turned = asyncio.get_running_loop().time()
            (error,) = await asyncio.gather(self._follow(), return_exceptions=True)
            if error is None:
                await self._rest()
            self._failed(error)
            if asyncio.get_running_loop().time() - begun > _LONGEST_PAUSE:
                pause = _FIRST_PAUSE
            await asyncio.sleep(pause * self._spread())
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def _follow(self) -> None:
        self.known.met = False
        await follow(
            self.board,
            self,
            interval=self.plan.interval,
            read=self._read,
            between=self._between,
            before_close=self.judge.acting.settle,
            opening=_OPENING,
            opening_turn=self.turns.opening,
            spread=self._spread,
        )

    async def _rest(self) -> None:
        """A recording is over, or cannot be played; its task goes on turning."""
        self._set("ended", self.health.error or "The recording is over.")
        while True:
            self.turned = asyncio.get_running_loop().time()
            await asyncio.sleep(self.plan.interval)

    async def _read(self) -> Reading:
        """One reading, when no command needs the board; given up and begun again for one."""
        self.turns.open.set()
        await self._stand_back()
        while True:
            try:
                async with self.turns.poll(), in_time(_READING):
                    return await self._ask()
            except Preempted:
                continue

    async def read(self) -> Reading:
        """A reading for somebody who asks, as if it were polled: it gives way like a poll, and is
        one for those who listen. Raises what `turn` raises, and what reading raises."""
        asked = asyncio.get_running_loop().time()
        await self.turns.require_open(_PATIENCE)
        while True:
            self.turns.require_ours()
            try:
                async with self.turns.poll(), in_time(_READING):
                    if self.reading is not None and (self.heard or 0.0) > asked:
                        return self.reading  # the poll that was under way
                    reading = await self._ask()
            except Preempted:
                continue
            self.hear(reading, asyncio.get_running_loop().time())
            return reading

    async def freshen(self) -> None:
        """Inside of `turn`: one reading, where the latest is too old for policies that act."""
        now = asyncio.get_running_loop().time()
        fresh = self.heard is not None and now - self.heard < max(self.plan.interval, _OLD)
        if fresh or not self.known.met:
            return
        with suppress(LinkTimeout, FrameError, Refused):  # the next question may be answered
            reading = await self.board.read()
            self.hear(reading, asyncio.get_running_loop().time())

    async def _stand_back(self) -> None:
        """A pack that stays silent asks less often where others wait for the same line."""
        over = self._silent - _SILENT
        if over >= 0 and self.board.link.transport.companions():
            await asyncio.sleep(min(_FIRST_PAUSE * 2 ** min(over, 8), _LONGEST_PAUSE))

    async def _ask(self) -> Reading:
        await self.known.ask()
        return await self.board.read()

    async def _between(self) -> None:
        """What goes between two polls."""
        if self.known.met and not self.known.other and not self._silent:
            with suppress(BmsError):  # the next poll says what is wrong
                await self._beginning.step()
                await self.balance.begin(self.known.identity)
        await self._look_slowly()

    async def _look_slowly(self) -> None:
        """A piece of the slow set, if it is time and nobody waits."""
        if self.turns.busy or not self.known.met or self._silent:
            return
        try:
            async with self.turns.poll():
                whole = await self._slow.step(self.board, asyncio.get_running_loop().time())
        except Preempted:
            return
        if whole:
            self.known.looked(self._slow)

    # -- what the loop says ----------------------------------------------------------------------

    def hear(self, reading: Reading, now: float) -> None:
        """A reading."""
        self.reading, self.heard, self.turned = reading, now, now
        self._silent = 0
        if self.known.other:
            self._set("replaced", self.known.replaced)
        else:
            self._set("ok")
        self._feed.publish("reading", self.name, reading)
        self.judge.hear(None if self.known.other else reading, now)
        self.looked(now)

    def miss(self, error: BmsError, now: float, *, lost: bool) -> None:
        """A reading that did not come."""
        self.turned = now
        self._silent = 0 if lost else self._silent + 1
        self.known.met = False
        if lost:
            self.turns.open.clear()
            self._slow.begin_anew()
        self._set("lost" if lost else "silent", str(error))
        self.judge.hear(None, now)
        self.looked(now)

    def beat(self, now: float, *, late: bool) -> None:
        """Time passes."""
        if late:
            self.judge.hear(None, now)
            self.looked(now)

    def _failed(self, error: BaseException | None) -> None:
        self.health.failures += 1
        self.judge.withdraw(error)
        self.turns.open.clear()
        _log.debug("The mistake with %s:", self.name, exc_info=error)
        self._set("failed", f"bmslink made a mistake ({cause_of(error)}): the pack starts anew.")

    def _set(self, state: PackState, error: str = "") -> None:
        """The state, and an event where it is new."""
        old, self.health.error, self.turns.error = self.health.state, error, error
        if state == old:
            return
        self.health.state, self.health.since = state, utc_now()
        fine = state in ("ok", "ended")
        self.tell(state, error or "It is read.", alarm=not fine, key="state", over=fine, was=old)
