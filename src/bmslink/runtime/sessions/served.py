"""The balancing sessions of a served pack: asked for by any client, and going on after a restart.

A session is a listener of the pack's readings like others; what it sends takes its turn among
commands. Its limits meet those of the policies where these are said, and the lower wins.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from bmslink import config
from bmslink.board import Board
from bmslink.config.checks.check import refuse
from bmslink.config.outcome import Outcome
from bmslink.control.decide.decision import Decision
from bmslink.control.sessions.kept import KeptSession, SessionStore
from bmslink.control.sessions.options import SessionOptions
from bmslink.control.sessions.report import status_of
from bmslink.control.sessions.wishes import ChargeWish, alone, narrowed
from bmslink.errors import BmsError, GateError, UsageError
from bmslink.model import Command, Identity, Reading, Switch
from bmslink.runtime.acting.limit_sinks import CommandSink, LimitSink, LimitSinks
from bmslink.runtime.acting.start import pack_key
from bmslink.runtime.feed import Feed, Kind, Subscription
from bmslink.runtime.judging.pack_judge import PackJudge
from bmslink.runtime.pack_turns import PackTurns
from bmslink.runtime.service_file import PackPlan
from bmslink.runtime.sessions.host import pace_of, sim_sinks
from bmslink.runtime.sessions.open_sessions import is_running
from bmslink.runtime.sessions.session import BalanceSession
from bmslink.runtime.watching.conditions import Teller
from bmslink.storage.journal import Journal, acting_for
from bmslink.storage.state import DamagedState

__all__ = ["PackBalance", "ServedHost", "do_balance"]

_STEP = 5.0
"""s between two steps of a session, where the pack is read more often."""
_PATIENCE = 3.0
_KEY = "balance session"
_READINGS: tuple[Kind, ...] = ("reading",)


class ServedHost:
    """The service has the board."""

    owner: str = "service"

    def __init__(
        self,
        plan: PackPlan,
        board: Board,
        turns: PackTurns,
        judge: PackJudge,
        feed: Feed,
        tell: Teller,
        *,
        who: str,
        heard: Callable[[], bool],
    ) -> None:
        """`heard`: whether readings are of the board that is meant."""
        self.interval = max(plan.interval, _STEP)
        self._plan, self._board, self._turns, self._judge = plan, board, turns, judge
        self._feed, self._tell, self._who, self._heard = feed, tell, who, heard
        self._sinks: LimitSinks | None = None
        self._task: asyncio.Task[None] | None = None
        self._acting = False
        self._listener: Subscription | None = None
        self._next = 0.0

    # -- readings --------------------------------------------------------------------------------

    def listen(self) -> None:
        """The service is reached anyway."""

    @asynccontextmanager
    async def turn(self, what: str) -> AsyncIterator[Board]:
        """The board, in its turn among commands."""
        async with self._turns.command(_PATIENCE, what) as board:
            yield board

    async def moment(self) -> Reading | str:
        """The next reading of the service's own polls, or why there is none."""
        loop = asyncio.get_running_loop()
        if self._listener is None:
            self._listener = self._feed.subscribe(
                kinds=_READINGS, packs=(self._plan.name,), size=1, own=True
            )
        await asyncio.sleep(max(0.0, self._next - loop.time()))
        self._next = loop.time() + self.interval
        try:
            async with asyncio.timeout(3 * self.interval):
                item = await self._listener.get()
        except TimeoutError:
            return self._turns.why_aside if self._turns.aside else self._turns.error or "no reading"
        if item is None:
            raise asyncio.CancelledError  # the service ends
        if not self._heard():
            return "another board answers"
        return item.data if isinstance(item.data, Reading) else "no reading"

    # -- the balancer ----------------------------------------------------------------------------

    async def switch(self, on: bool) -> Outcome:
        """By whatever acts on the pack, so that it knows; else as `bmslink switch` does."""
        acting = self._judge.acting
        actor = acting.actor
        if actor is not None and Switch.BALANCE.value in actor.mandate.able:
            if on:
                return await acting.person_on(Switch.BALANCE, _KEY)
            off = await acting.person_off(Switch.BALANCE, _KEY)
            if off is not None:
                return off
        waive = {"untested"} if self._plan.untested else set()
        if not on:
            return await self._turns.switch_off(Switch.BALANCE, waive)
        async with self.turn("balancing is switched on") as board:
            return await config.switch(board, Command(Switch.BALANCE, True), waive=waive)

    async def stopped(self, kept: KeptSession) -> str:
        """By the ledger of what acts."""
        del kept
        actor = self._judge.acting.actor
        stop = None if actor is None else actor.ledger.stop
        return "" if stop is None else stop.who or "Somebody"

    def decision(self) -> Decision | None:
        """Of policies that act; those in shadow forbid nothing."""
        return self._judge.decision if self._judge.enforcing else None

    def held_off(self, switch: Switch) -> str:
        """By the ledger of what acts: also for the while after its cause has gone."""
        actor = self._judge.acting.actor
        record = None if actor is None else actor.ledger.record(switch.value)
        if record is None or not (record.own or record.holders):
            return ""
        return ", ".join(record.holders) or "policies, until it is given back"

    # -- limits ----------------------------------------------------------------------------------

    @property
    def limited(self) -> bool:
        """Whether limits reach somebody."""
        return self._plan.sink_command is not None or bool(self._simulated())

    @property
    def trouble(self) -> str:
        """What is wrong with that."""
        sinks = self._judge.acting.sinks if self._judge.enforcing else self._sinks
        return "" if sinks is None else sinks.trouble

    @property
    def pace(self) -> float:
        """Seconds of the pack per second here."""
        return pace_of(self._board)

    def _simulated(self) -> list[LimitSink]:
        try:
            return sim_sinks(self._board)
        except BmsError:
            return []

    def publish(self, kept: KeptSession, wish: ChargeWish, lasts: float) -> None:
        """Beside policies that act: they say the lower of both. Else the session says its own."""
        now = asyncio.get_running_loop().time()
        acts = self._judge.enforcing
        self._judge.acting.sinks.narrow(wish, now + lasts)
        sinks = self._own(acting=acts)
        decision = self._judge.decision if acts else None
        if decision is None:
            limits = alone(wish, dcl=kept.dcl, dvl=kept.dvl)
        else:
            limits = narrowed(decision.limits, wish)
        if limits is None:
            sinks.end()
        else:
            sinks.publish(limits, now, lasts=lasts)

    def _own(self, *, acting: bool) -> LimitSinks:
        """What carries out the session's limits where policies do not say theirs."""
        if self._sinks is not None and self._acting is acting:
            return self._sinks
        self._stop_sinks()
        self._acting = acting
        sinks = self._simulated()
        command = self._plan.sink_command
        if command is not None and not acting:
            sinks.append(CommandSink(command))
        self._sinks = LimitSinks(sinks, {"target": self._plan.target, "name": self._plan.name})
        self._task = asyncio.create_task(self._sinks.run())
        return self._sinks

    def _stop_sinks(self) -> None:
        if self._sinks is not None:
            self._sinks.end()
        if self._task is not None:
            self._task.cancel()
        self._sinks = self._task = None

    def withdraw(self) -> None:
        """Limits of the session end with their ttl; those of policies go on."""
        self._judge.acting.sinks.narrow(None, 0.0)
        self._stop_sinks()

    def news(self, what: str, text: str, *, alarm: bool = False) -> None:
        """An event of the pack."""
        self._tell("balance", text, alarm=alarm, change=what, who=self._who)

    def close(self) -> None:
        """No more readings."""
        self.withdraw()
        if self._listener is not None:
            self._listener.close()
            self._listener = None


class PackBalance:
    """Of one served pack: at most one session at a time."""

    def __init__(
        self,
        plan: PackPlan,
        board: Board,
        turns: PackTurns,
        judge: PackJudge,
        feed: Feed,
        tell: Teller,
        heard: Callable[[], bool],
        *,
        journal: Journal | None = None,
    ) -> None:
        self._plan, self._board, self._turns, self._judge = plan, board, turns, judge
        self._feed, self._tell, self._heard, self._journal = feed, tell, heard, journal
        self._session: BalanceSession | None = None
        self._task: asyncio.Task[None] | None = None
        self._looked_for: Identity | None = None
        self._error = ""

    @property
    def running(self) -> bool:
        """Whether a session runs, or is being set back."""
        return self._task is not None and not self._task.done()

    # -- after a restart -------------------------------------------------------------------------

    async def begin(self, identity: Identity | None) -> None:
        """Look once whether a session of this board was cut off: one of a service goes on, one of
        a command is set back."""
        if identity is None or identity is self._looked_for or self.running:
            return
        self._looked_for = identity
        key = pack_key(self._board, identity)
        try:
            kept = await asyncio.to_thread(SessionStore().load, key)
        except DamagedState as error:
            self._tell("balance", str(error), alarm=True, change="damaged")
            return
        if kept is None or await asyncio.to_thread(is_running, key):
            return
        restore = kept.owner != "service"
        what = "is set back" if restore or kept.end else "goes on"
        self._tell("balance", f"The balancing session of {kept.who} {what}.", change="resumed")
        self._start(kept, kept.who, restore=restore)

    # -- what clients ask ------------------------------------------------------------------------

    async def plan(self, options: SessionOptions) -> dict[str, Any]:
        """What a session would do; nothing is sent."""
        session, host = self._new("a client", options)
        try:
            return (await session.prepare()).to_dict()
        finally:
            host.close()

    async def start(self, options: SessionOptions, agreed: str, who: str) -> dict[str, Any]:
        """Begin what was agreed to. Raises `GateError` where it is refused, or where it is not
        that any more; nothing was sent then."""
        if self.running:
            raise GateError("Nothing was sent: a balancing session of this pack runs already.")
        session, host = self._new(who, options)
        plan = (await session.prepare()).require()
        if plan.agreement != agreed:
            raise refuse(
                "Nothing was sent: the session would do something else than what was agreed to by "
                "now. Plan again.",
                "unchanged",
            )
        self._run(session, host, who)
        await session.begun.wait()
        if session.kept is None:
            raise GateError(self._error or "Nothing was sent: the session did not begin.")
        return self.status()

    def cancel(self, who: str) -> dict[str, Any]:
        """End the session that runs. Raises `GateError` where none does."""
        if self._session is None or not self.running:
            raise GateError("No balancing session of this pack runs.")
        self._session.cancel(who)
        return self.status()

    async def take_up(self, who: str, *, restore: bool) -> dict[str, Any]:
        """Go on with one that was cut off, or set it back. Raises `GateError` where there is
        none."""
        kept = self._kept()
        if self.running:
            raise GateError("It runs: `bmslink balance cancel` ends it and sets everything back.")
        if kept is None:
            raise GateError("There is nothing to do: no balancing session of this pack is open.")
        self._start(kept, who, restore=restore)
        return self.status()

    def status(self) -> dict[str, Any]:
        """How the session is, or the last one was."""
        kept = self._session.kept if self._session is not None and self.running else self._kept()
        report = SessionStore().report(self._board.target, self._plan.name)
        found = status_of(kept, report, running=self.running)
        return {**found, "pack": self._plan.name, "error": self._error or None}

    def _kept(self) -> KeptSession | None:
        return SessionStore().at(self._board.target, self._plan.name)

    # -- the session -----------------------------------------------------------------------------

    def _new(
        self, who: str, options: SessionOptions | None = None
    ) -> tuple[BalanceSession, ServedHost]:
        host = ServedHost(
            self._plan, self._board, self._turns, self._judge, self._feed, self._tell,
            who=who, heard=self._heard,
        )  # fmt: skip
        return BalanceSession(host, options, journal=self._journal), host

    def _start(self, kept: KeptSession, who: str, *, restore: bool) -> None:
        session, host = self._new(who)
        session.take_up(kept)
        self._run(session, host, who, restore=restore)

    def _run(
        self, session: BalanceSession, host: ServedHost, who: str, *, restore: bool = False
    ) -> None:
        self._session, self._error = session, ""
        self._task = asyncio.create_task(self._whole(session, host, who, restore=restore))

    async def _whole(
        self, session: BalanceSession, host: ServedHost, who: str, *, restore: bool
    ) -> None:
        try:
            with acting_for({"user": who}):
                await (session.restore() if restore else session.run())
        except BmsError as error:
            self._error = str(error)
            self._tell("balance", str(error), alarm=True, change="failed")
        finally:
            host.close()

    async def close(self) -> None:
        """The service ends, and the session goes on after its restart."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)


async def do_balance(balance: PackBalance, wish: dict[str, Any], who: str) -> Any:
    """Plan a session, begin the one that was agreed to, cancel it, or take up one that was cut off.
    Raises `GateError` where it is refused."""
    do, options, agreed = _balance_wish(wish)
    if do == "plan":
        return await balance.plan(options)
    if do == "start":
        return await balance.start(options, agreed, who)
    if do == "cancel":
        return balance.cancel(who)
    if do in ("resume", "restore"):
        return await balance.take_up(who, restore=do == "restore")
    return await asyncio.to_thread(balance.status)


def _balance_wish(values: dict[str, Any]) -> tuple[str, SessionOptions, str]:
    """What a client wants: the word, the options, what it agreed to. Raises `UsageError`."""
    do = str(values.get("do") or "plan")
    if do not in ("plan", "start", "cancel", "resume", "restore", "status"):
        raise UsageError(
            f"A balancing session can be planned, started, cancelled, resumed and restored, not "
            f"{do[:40]!r}."
        )
    options = values.get("options") or {}
    if not isinstance(options, dict):
        raise UsageError("The options of a balancing session are a JSON object.")
    return do, SessionOptions.of(options), str(values.get("agreed") or "")
