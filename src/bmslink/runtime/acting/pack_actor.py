"""One pack under policies that act: decisions and readings in, commands out, all of it remembered.

What is wanted is reckoned at once and without waiting (`control.act.reconciler`). An off leaves in
the same moment, as a task of its own: it waits for no disk, no journal, no sink and no other pack.
An on waits until the ledger is on the disk. An exception in here withdraws this pack only: its
limits are no longer said, so they end, and the next cycle tries again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any

import msgspec

from bmslink.board import Board
from bmslink.control.act.actuator import ACTUATORS, Actuator, Sent
from bmslink.control.act.detectors import (
    CurrentWatch,
    Detected,
    detect,
    load_watch,
    release,
    save_watch,
)
from bmslink.control.act.facts import SwitchFacts, facts_of, states_of
from bmslink.control.act.ledger import Ledger
from bmslink.control.act.mandate import Mandate, let_go, wish_for
from bmslink.control.act.messages import Remark, Request, ResetStop, Resume, SwitchCommand
from bmslink.control.act.numbers import ActingNumbers
from bmslink.control.act.reconciler import reconcile
from bmslink.control.act.store import LedgerStore, Loaded
from bmslink.control.audit import Budget
from bmslink.control.decide.decision import Decision
from bmslink.control.decide.limits import Reason
from bmslink.control.decide.policy import Demand
from bmslink.errors import BmsError
from bmslink.model import Reading
from bmslink.runtime.acting.contained import contained
from bmslink.runtime.acting.limit_sinks import LimitSinks
from bmslink.runtime.acting.shown import Note, TellActing, nothing_known, switches_status
from bmslink.runtime.banks.beside import asks_bank, closing, tell_bank

__all__ = ["PackActor"]

_log = logging.getLogger(__name__)

_NUMBERS = ActingNumbers()
_DETECTORS = "detectors"
"""Where the ledger's file keeps what the detectors know."""
_SAVED_AT_LEAST = 60.0
_ASK_EVERY = 10.0
"""s between two looks at a switch that readings do not show."""
_ON_TAKES = 10.0
"""How long an on may take, with all that it waits for, s: then what let it be wanted is old."""


class PackActor:
    """Of one pack. Everything is called in the loop; times are s of its clock."""

    def __init__(
        self,
        board: Board,
        mandate: Mandate,
        actuators: Mapping[str, Actuator],
        store: LedgerStore,
        loaded: Loaded,
        *,
        note: Note,
        tell: TellActing,
        sinks: LimitSinks | None = None,
        turn: Callable[[], AbstractAsyncContextManager[Any]] = nullcontext,
        off_turn: Callable[[], AbstractAsyncContextManager[Any]] = nullcontext,
        interval: float = 1.0,
        numbers: ActingNumbers = _NUMBERS,
    ) -> None:
        """`turn` and `off_turn` give the board to an on and to an off."""
        self.ledger: Ledger = loaded.ledger
        self.mandate = mandate
        self.failed = ""
        """Why the last cycle came to nothing, in a sentence."""
        self._board, self._actuators, self._store = board, dict(actuators), store
        self._note, self._tell = note, tell
        self._sinks = sinks or LimitSinks()
        self._turn, self._off_turn = turn, off_turn
        self._interval, self._numbers = interval, numbers
        self._joins = asks_bank(board, self.withdraw)
        now = self.ledger.run.started
        try:
            self._watch = load_watch(self.ledger.aside.get(_DETECTORS, {}), now)
        except (ValueError, msgspec.ValidationError):
            self._watch = CurrentWatch()
        self._decision: Decision | None = None
        self._facts: SwitchFacts | None = None
        self._openings = board.openings
        self._asked: dict[str, bool | None] = {}
        self._asked_at: dict[str, float] = {}
        self._asking: set[str] = set()
        self._detected: dict[str, Reason] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._saved_watch, self._saved_at = self._watch, now
        self._repeats = Budget()
        self._ill = False
        self._mistaken = False
        self._trouble = loaded.trouble
        if self._trouble:
            self._say(Remark(what="disk", text=self._trouble, alarm=True))

    # -- cycles ----------------------------------------------------------------------------------

    def hear(self, decision: Decision, reading: Reading | None, now: float) -> None:
        """A decision, and the reading it was made on; `None`: time passed without one."""
        with contained(self.withdraw):
            self._mistaken = False
            self._decision = decision
            facts = None if reading is None else self._look(reading, decision)
            self._cycle(decision, facts, now)
            if not self._mistaken:
                self._sinks.publish(decision.limits, now, lasts=max(10.0, 2.5 * self._interval))
                self.failed = ""

    def ask(self, request: Request, now: float) -> list[Remark]:
        """What a person wants, at once; gives what came of it (`refused`: nothing)."""
        decision = self._decision or nothing_known(now)
        if isinstance(request, (ResetStop, Resume)):
            self.release()
        return self._cycle(decision, None, now, (request,))

    def release(self) -> None:
        """A person has looked: a limit that was disobeyed holds no switch any more."""
        for name in ("charge", "discharge"):
            self._watch = release(self._watch, name)

    def let_go(self) -> list[str]:
        """What policies left that act no more holds nothing from now on; in sentences, what."""
        if self.mandate.enforce:
            return []
        trouble, self._trouble = self._trouble, ""
        self.ledger, told = let_go(self.ledger)
        return [*filter(None, [trouble]), *told]

    def _look(self, reading: Reading, decision: Decision) -> SwitchFacts:
        """What the reading shows. A board that tells its switches seldom is asked for them, while
        something is sent or held in every cycle, else now and then; until then they are unknown,
        but for a path that conducts."""
        greeted, self._openings = self._board.openings != self._openings, self._board.openings
        shown, conducts = states_of(reading), self._conducting(reading)
        asked: dict[str, bool | None] = {}
        unknown: dict[str, None] = {}
        for name, actuator in self._actuators.items():
            if not actuator.seldom_told and shown.get(name) is not None:
                continue
            asked[name] = True if conducts.get(name) else self._asked.get(name)
            if asked[name] is None:
                unknown[name] = None
            self._ask_again(name)
        facts = facts_of(reading, decision, states=asked, greeted=greeted)
        return msgspec.structs.replace(facts, **unknown) if unknown else facts

    @staticmethod
    def _conducting(reading: Reading) -> dict[str, bool | None]:
        return {"charge": reading.charging_allowed, "discharge": reading.discharging_allowed}

    def _ask_again(self, name: str) -> None:
        record, now = self.ledger.record(name), asyncio.get_running_loop().time()
        order = record.order
        busy = record.own or record.held is not None or (order is not None and order.pending)
        if not busy and now - self._asked_at.get(name, -_ASK_EVERY) < _ASK_EVERY:
            return
        if name not in self._asking:
            self._asking.add(name)
            self._asked_at[name] = now
            self._begin(self._ask_state(name))

    async def _ask_state(self, name: str) -> None:
        """How the board says that a switch is now."""
        order = self.ledger.record(name).order
        try:
            async with self._turn():
                state = await self._actuators[name].state()
            if self.ledger.record(name).order is order:  # nothing was sent meanwhile
                self._asked[name] = state
        except BmsError:
            self._asked.pop(name, None)
        finally:
            self._asking.discard(name)

    def _cycle(
        self,
        decision: Decision,
        facts: SwitchFacts | None,
        now: float,
        requests: tuple[Request, ...] = (),
    ) -> list[Remark]:
        alive: dict[str, bool] = {}
        found = Detected(self._watch, self._detected, [])
        with contained(self.withdraw):  # a mistake in here keeps no off from leaving
            alive = self._sinks.alive(now)
            off = {n: r.own and r.confirmed for n in ACTUATORS for r in (self.ledger.record(n),)}
            found = detect(self._watch, decision.limits, facts, alive, off, now)
        before = self.ledger
        result = reconcile(
            before, decision, facts, alive, now,
            mandate=self.mandate, numbers=self._numbers, requests=requests,
            detected=found.holds, disk=self._store.well, joins=self._joins,
        )  # fmt: skip
        self._watch, self._detected, self.ledger = found.watch, found.holds, result.ledger
        self._facts = facts or self._facts
        for command in result.commands:
            self._asked.pop(command.actuator, None)
            if command.on:
                tell_bank(self._board, command.actuator)
        for command in result.commands:  # every off comes first, and has left this task's hands
            self._begin(self._on(command) if command.on else self._off(command))
        self._keep(before, now, at_once=bool(result.commands))
        remarks = [*found.remarks, *result.remarks]
        for remark in remarks:
            self._say(remark)
        self._look_at_disk()
        return remarks

    def _keep(self, before: Ledger, now: float, *, at_once: bool) -> None:
        same = all(self.ledger.record(n) is before.record(n) for n in ACTUATORS)
        same = same and self.ledger.stop is before.stop and self._watch is self._saved_watch
        if at_once or not same or now - self._saved_at >= _SAVED_AT_LEAST:
            self._saved_at, self._saved_watch = now, self._watch
            self._store.save(self._to_keep(now), now)

    def _to_keep(self, now: float) -> Ledger:
        """The ledger with what the detectors know."""
        aside = {**self.ledger.aside, _DETECTORS: save_watch(self._watch, now)}
        return msgspec.structs.replace(self.ledger, aside=aside)

    def _look_at_disk(self) -> None:
        if not self._store.well and not self._ill:
            self._say(Remark(what="disk", text=self._store.trouble, alarm=True))
        self._ill = not self._store.well

    # -- commands --------------------------------------------------------------------------------

    def _begin(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self.withdraw(error)

    async def _off(self, command: SwitchCommand) -> None:
        deadline = asyncio.get_running_loop().time() + self._numbers.again
        try:
            async with self._off_turn():
                sent = await self._actuators[command.actuator].off(deadline)
        except BmsError as error:
            sent = Sent(sent=False, error=str(error))
        self._heard(command, sent)

    async def _on(self, command: SwitchCommand) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        sent = Sent(sent=False, error="The ledger is not on the disk.")
        if await self._store.saved(self._to_keep(now), now):
            try:
                async with self._turn():
                    if why := self._against(command):
                        sent = Sent(sent=False, error=why)
                    else:
                        actuator = self._actuators[command.actuator]
                        against = closing(lambda: self._against(command), self._board, command)
                        sent = await actuator.on(now + _ON_TAKES, against)
            except BmsError as error:
                sent = Sent(sent=False, error=str(error))
        self._heard(command, sent)

    def _against(self, command: SwitchCommand) -> str:
        """Why an on that waited (for the disk, for its turn) is not sent any more, in a sentence;
        empty: all that let it be wanted still holds."""
        now, decision = asyncio.get_running_loop().time(), self._decision
        order = self.ledger.record(command.actuator).order
        if order is None or order.id != command.id:
            return "Something else is wanted by now."
        if now - order.at >= _ON_TAKES:
            return "It waited too long."
        if command.actor != "policy":
            return ""
        if decision is None or decision.stale or self._facts is None or not self._facts.good:
            return "The data are not good any more."
        if command.actuator in self._facts.protected:
            return "The BMS's own protection closes that path by now."
        wish = wish_for(command.actuator, decision, self.ledger, self.mandate, self._detected)
        if wish.demand != Demand.FREE:
            return f"It is held by now: {wish.why}"
        return self._joins(command.actuator)

    def _heard(self, command: SwitchCommand, sent: Sent) -> None:
        self.ledger = self.ledger.heard_of(command.actuator, command.id, sent)
        now = asyncio.get_running_loop().time()
        self._store.save(self._to_keep(now), now)
        if command.repeat and not self._repeats.take(now):
            return
        self._note(
            "acting",
            what="command",
            actuator=command.actuator,
            on=command.on,
            id=command.id,
            actor=command.actor,
            why=command.why,
            repeat=command.repeat,
            sent=sent.sent,
            acknowledged=sent.acknowledged,
            **({"error": sent.error} if sent.error else {}),
            **({"others": sent.others} if sent.others else {}),
        )

    def _say(self, remark: Remark) -> None:
        self._note(
            "acting",
            what=remark.what,
            text=remark.text,
            **({"actuator": remark.actuator} if remark.actuator else {}),
        )
        self._tell(
            "acting", remark.text, alarm=remark.alarm, change=remark.what, actuator=remark.actuator
        )

    def withdraw(self, error: BaseException) -> None:
        """Something in here is wrong: no limit is said any more, and people hear of it."""
        self._sinks.end()
        self._mistaken = True
        text = f"bmslink made a mistake ({type(error).__name__}: {error}): it withdraws this pack."
        if text == self.failed:
            return
        self.failed = text
        _log.debug("The mistake:", exc_info=error)
        self._tell("acting", text, alarm=True, change="withdrawn", actuator="")

    # -- ends ------------------------------------------------------------------------------------

    async def run(self) -> None:
        """What carries limits out; until cancelled."""
        await self._sinks.run()

    async def settle(self) -> None:
        """Let what is being sent leave, while the board is open."""
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=self._numbers.again)

    async def close(self) -> None:
        """The end: keep the ledger. Switches stay as they are."""
        await self.settle()
        for task in set(self._tasks):
            task.cancel()
        now = asyncio.get_running_loop().time()
        self._store.save(self._to_keep(now), now)
        if not await asyncio.to_thread(self._store.close) and not self._ill:
            self._say(Remark(what="disk", text=self._store.trouble, alarm=True))

    # -- for people ------------------------------------------------------------------------------

    def status(self, now: float, lets_go: Callable[[str], str]) -> dict[str, Any]:
        """Every switch: who holds it, whose it is, what was read back, and what gives it back.
        `lets_go` says what ends a policy that has tripped."""
        stop = self.ledger.stop
        switches = switches_status(
            self.ledger, self._decision, self._facts, now,
            mandate=self.mandate, numbers=self._numbers, detected=self._detected,
            disk=self._store.well, joins=self._joins, lets_go=lets_go,
        )  # fmt: skip
        return {
            "enforcing": self.mandate.enforce,
            "failed": self.failed,
            "stopped": None if stop is None else {"who": stop.who, "why": stop.why},
            "overrides": [
                {"policy": o.policy, "who": o.who, "left": round(max(0.0, o.until - now), 1)}
                for o in self.ledger.run.overrides
            ],
            "disk": self._store.trouble,
            "sinks": self._sinks.alive(now),
            "sink_trouble": self._sinks.trouble,
            "writes_today": self.ledger.writes_today(now),
            "switches": switches,
        }
