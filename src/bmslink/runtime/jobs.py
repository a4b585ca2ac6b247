"""What clients of the service ask of a pack, done on the service's own board.

A change is planned anew here, by the same functions, gates and journal as without a service, and
done only where it comes to what the person saw: a client gives wishes, and never frames. It goes on
whatever becomes of the client; who asked is in the journal.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from bmslink import config
from bmslink.board import Board
from bmslink.config.checks.check import refuse
from bmslink.config.files.profile import Profile
from bmslink.config.outcome import Outcome
from bmslink.config.plan import Plan
from bmslink.errors import UsageError
from bmslink.model import Command, Reading, Switch
from bmslink.registry import running_version
from bmslink.runtime.acting.drill import Drill
from bmslink.runtime.acting.orphans import Orphans, orphans
from bmslink.runtime.acting.people import ActingWish
from bmslink.runtime.clients.client_job import TellClient
from bmslink.runtime.pack_task import ServedPack
from bmslink.runtime.sessions.served import do_balance
from bmslink.service_forms import (
    AdjustmentForm,
    AdjustmentRequest,
    ChangeRequest,
    DrillRequest,
    PlanForm,
    ResumeRequest,
    SurveyForm,
    SwitchRequest,
    fingerprint_of,
    in_form,
)
from bmslink.service_tables import MapForm, SnapshotForm
from bmslink.storage.journal import actor_name
from bmslink.survey import survey

__all__ = ["PackJobs", "hello"]

_OLDEST = 60.0
"""A reading that is older, s, is no answer to who wants to know how the pack is."""
_READS = "it is asked"
_CHANGES = "a change is being made"


def hello(pack: ServedPack) -> dict[str, Any]:
    """What a client is told first. The board is not asked."""
    peer = pack.board.peer()
    return {
        "service": "bmslink",
        "version": running_version(),
        "pack": pack.name,
        "target": pack.target,
        "protocol": pack.board.target.protocol,
        "state": pack.health.state,
        "interval": pack.plan.interval,
        "peer": None if peer is None else {"address": peer.address, "name": peer.name},
        "open_change": pack.known.open_change or None,
    }


class PackJobs:
    """What can be asked of one pack. Every method gives plain JSON values."""

    def __init__(self, pack: ServedPack) -> None:
        self._pack = pack

    # ----------------------------------------------------------------------------------- reading

    async def ask(self, tell: TellClient, what: str, more: Mapping[str, Any]) -> Any:
        """One of the questions of a board, by its name. Raises `UsageError` for another one."""
        if what == "read":
            return (await self._read(tell, more)).to_dict()
        pack, slots, again = self._pack, more.get("slots"), more.get("again") is True
        questions: dict[str, Callable[[Board], Awaitable[Any]]] = {
            "identify": lambda board: board.identify(),
            "inspect": lambda board: board.inspect(),
            "map": _map,
            "settings": lambda board: _table(board, slots, None),
            "glance": lambda board: _table(board, slots, again),
            "survey": lambda board: self._survey(board, more.get("keys") or []),
            "clock": lambda board: board.clock(),
            "past": lambda board: board.past(more.get("limit", 100), brief=pack.judge.enforcing),
        }
        question = questions.get(what)
        if question is None:
            known = ", ".join(["read", *questions])
            raise UsageError(f"There is no question {what[:40]!r}; there are: {known}.")
        return in_form(await self._with_board(tell, question))

    async def _survey(self, board: Board, keys: Sequence[Any]) -> SurveyForm:
        """In one turn: polls wait for all of it, unless policies act on what they read."""
        acts = self._pack.judge.enforcing
        between = self._pack.freshen if acts else None
        identity, table = await survey(board, [str(key) for key in keys], between=between)
        return SurveyForm(identity=identity, table=SnapshotForm.of(identity.protocol, table))

    async def _with_board(
        self, tell: TellClient, work: Callable[[Board], Awaitable[Any]], what: str = _READS
    ) -> Any:
        """Do it in its turn; who has to wait for another command hears so."""
        pack = self._pack
        if pack.turns.doing is not None:
            tell.note(f"{pack.turns.doing.sentence()} This waits for that.")
        async with pack.turn(what) as board:
            board.on_progress = tell
            try:
                return await work(board)
            finally:
                board.on_progress = None

    async def _change(
        self,
        tell: TellClient,
        work: Callable[[Board], Awaitable[Outcome]],
        what: str,
        switch: Switch | None = None,
    ) -> Any:
        """The same for what changes the pack: how it ended is told to everybody who listens."""
        pack = self._pack
        try:
            outcome = await self._with_board(tell, work, what)
        finally:
            await pack.known.look_for_cut_off()
        return self._told(outcome, switch)

    async def _read(self, tell: TellClient, more: Mapping[str, Any]) -> Reading:
        """The latest reading if it is fresh and newer than the client's last one, else the next.
        While a command has the board there is none: then the client gets the latest, if it has
        not had it yet, and hears how old it is; else it hears what it waits for."""
        pack, loop = self._pack, asyncio.get_running_loop()
        pack.turns.require_ours()
        asked, after = loop.time(), _moment(more.get("after"))
        latest, heard, doing = pack.reading, pack.heard, pack.turns.doing
        usable = latest is not None and pack.health.state == "ok" and not more.get("anew")
        if usable and latest is not None and heard is not None:
            age = asked - heard
            newer = after is None or latest.time is None or latest.time > after
            if newer and age < pack.plan.interval:
                return latest
            if newer and doing is not None and age < _OLDEST:
                tell.note(f"{doing.sentence()} This reading is {age:.1f} s old.")
                return latest
        if doing is not None:
            tell.note(f"{doing.sentence()} The next reading comes after that.")
        return await pack.read()

    # ----------------------------------------------------------------------------------- changes

    async def plan(self, tell: TellClient, request: ChangeRequest) -> Any:
        """What a change would do; nothing is sent."""

        async def work(board: Board) -> Any:
            plan = await _draft(board, request)
            return _shown(plan, PlanForm.of(plan))

        return await self._with_board(tell, work)

    async def apply(self, tell: TellClient, request: ChangeRequest) -> Any:
        """Plan it anew, and do it where that is what was agreed to."""

        async def work(board: Board) -> Outcome:
            async with board.conversation():
                plan = await _draft(board, request)
                _require_agreed(request.fingerprint, fingerprint_of(plan))
                return await config.apply(board, plan, command=request.command)

        return await self._change(tell, work, _CHANGES)

    async def resume(self, tell: TellClient, request: ResumeRequest) -> Any:
        """End a change that was cut off."""

        async def work(board: Board) -> Outcome:
            return await config.resume(
                board,
                rollback=request.rollback,
                keep=request.keep,
                agreed=request.agreed,
                waive=request.waive,
                confirm=lambda told: told == request.agreed_to,
            )

        return await self._change(tell, work, "a change that was cut off is being ended")

    async def look(self, tell: TellClient, what: str) -> Any:
        """What the journal says of the pack, and what it holds. Raises `UsageError`."""
        looks: dict[str, Callable[[Board], Awaitable[Any]]] = {
            "verify": config.verify,
            "cut off": config.cut_off_change,
            "unfinished": config.unfinished,
            "orphans": orphans,
        }
        if what not in looks:
            raise UsageError(
                f"There is nothing called {what[:40]!r}; there are: {', '.join(looks)}."
            )

        async def work(board: Board) -> Any:
            found = await looks[what](board)
            return in_form(found.to_dict() if isinstance(found, config.CutOff | Orphans) else found)

        return await self._with_board(tell, work)

    async def switch(self, tell: TellClient, request: SwitchRequest) -> Any:
        """Off goes before everything else, with no turn to wait for; on waits for its turn."""
        command = Command(Switch.of(request.switch), request.on)
        acting = self._pack.judge.acting
        if command.on:  # a stop from before a restart of the service holds too
            await self._pack.judge.begin_acting()
        if acting.actor is not None and not request.dry_run:
            if command.on:
                outcome = await acting.person_on(command.switch, actor_name(), request.waive)
                return self._told(outcome, command.switch)
            off = await acting.person_off(command.switch, actor_name())
            if off is not None:
                return self._told(off, command.switch)
        if not command.on and not request.dry_run:
            outcome = await self._pack.switch_off(command.switch, waive=request.waive)
            return self._told(outcome, command.switch)

        async def rehearse(board: Board) -> Any:
            return in_form(await config.rehearse_switch(board, command, waive=request.waive))

        async def work(board: Board) -> Outcome:
            return await config.switch(board, command, waive=request.waive)

        if request.dry_run:
            return await self._with_board(tell, rehearse)
        what = f"{command.switch} is being switched on"
        return await self._change(tell, work, what, command.switch)

    async def drill(self, tell: TellClient, request: DrillRequest) -> Any:
        """What a drill would switch; or, where that was agreed to, the drill itself. Raises
        `GateError` where it may not be: also while policies act on the pack."""
        if self._pack.judge.acting.actor is not None:
            raise refuse(
                "Nothing was sent: policies act on this pack, or it was stopped, and a drill needs "
                "its switches alone. Drill it before enforce = true, or after a reset.",
                "held",
            )

        async def work(board: Board) -> Any:
            drill = Drill(
                board,
                switches=[Switch.of(name) for name in request.switches],
                host_power=request.host_power,
                waive=request.waive,
            )
            await drill.prepare()
            if request.agreed is None:
                return in_form(drill.plan)
            if list(request.agreed) != list(drill.tried):
                raise refuse("What would be drilled is not what was agreed to.", "unchanged")
            self._pack.drilling = drill
            try:
                return (await drill.run()).to_dict()
            finally:
                self._pack.drilling = None

        return await self._with_board(tell, work, "its switches are drilled")

    async def act(self, tell: TellClient, wish: ActingWish) -> Any:
        """What a person wants of what acts on the pack. An emergency stop works on every pack, and
        waits for nothing but the frame that is on the line."""
        done = await self._pack.act(wish, actor_name())
        return {"done": done, "acting": self._pack.judge.acting_status()}

    async def balance(self, tell: TellClient, wish: dict[str, Any]) -> Any:
        """Plan a balancing session, begin the one that was agreed to, cancel it, or take up one
        that was cut off. Raises `GateError` where it is refused."""
        return await do_balance(self._pack.balance, wish, actor_name())

    def _told(self, outcome: Outcome, switch: Switch | None = None) -> Any:
        """Its form, after everybody who listens was told of it, and of which settings or switch;
        that there was nothing to do is no news."""
        if outcome.result == "nothing":
            return in_form(outcome)
        alarm = outcome.result in ("unknown", "unproven", "ignored")
        keys = [key for change in outcome.changes for key in change.keys]
        if switch is not None:
            keys.append(switch.key)
        self._pack.tell(
            "change",
            outcome.sentence,
            alarm=alarm,
            result=outcome.result,
            keys=list(dict.fromkeys(keys)),
        )
        return in_form(outcome)

    async def draft_adjustment(self, tell: TellClient, request: AdjustmentRequest) -> Any:
        """What setting the clock or the charge would do; nothing is sent."""

        async def work(board: Board) -> Any:
            plan = await _draft_adjustment(board, request)
            return _shown(plan, AdjustmentForm.of(plan))

        return await self._with_board(tell, work)

    async def adjust(self, tell: TellClient, request: AdjustmentRequest) -> Any:
        """Plan it anew, and do it where that is what was agreed to."""

        async def work(board: Board) -> Outcome:
            plan = await _draft_adjustment(board, request)
            _require_agreed(request.fingerprint, fingerprint_of(plan))
            return await config.adjust(board, plan)

        return await self._change(tell, work, "its clock or state of charge is being set")


def _shown(plan: Plan | config.AdjustmentPlan, form: PlanForm | AdjustmentForm) -> dict[str, Any]:
    """A plan for programs of any kind, what agrees to it, and the whole of it for our own."""
    return {
        "plan": in_form(plan.to_dict()),
        "fingerprint": fingerprint_of(plan),
        "form": in_form(form),
    }


def _require_agreed(given: str, found: str) -> None:
    if given != found:
        raise refuse(
            "The settings or the board changed since the plan was made, and what would be sent now "
            "was not agreed to: nothing was sent. Plan again.",
            "unchanged",
        )


async def _draft(board: Board, request: ChangeRequest) -> Plan:
    if request.backup is not None and request.undo is not None:
        raise UsageError("A change goes back to a backup or undoes one, not both.")
    wanted: Mapping[str, object] | Profile = request.wanted
    if request.profile is not None:
        wanted = request.profile
    return await config.draft(
        board,
        wanted,
        raw=request.backup or request.undo,
        switches=request.switches,
        waive=request.waive,
        chemistry=request.chemistry,
    )


async def _draft_adjustment(board: Board, request: AdjustmentRequest) -> config.AdjustmentPlan:
    return await config.draft_adjustment(
        board,
        request.wish,
        now=request.now,
        waive=request.waive,
        chemistry=request.chemistry,
    )


# ---------------------------------------------------------------------------------- questions


async def _map(board: Board) -> MapForm:
    identity = await board.who()
    return MapForm.of(identity.protocol, await board.settings_map(identity))


async def _table(board: Board, addresses: object, again: bool | None) -> SnapshotForm:
    """The settings at some addresses, or all: proven, or (`again`: by which questions) as one
    reading gives them."""
    async with board.conversation():
        part = board.driver.settings
        known = part.own_map if part is not None and board.certain else None
        found = known or await board.settings_map(await board.who())
        if isinstance(addresses, list):
            slots = tuple(slot for slot in found.slots if slot.address in addresses)
            found = replace(found, slots=slots)
        if again is None:
            table = await board.settings(found)
        else:
            table = await board.glance(found, again=again)
    return SnapshotForm.of(str(board.target.protocol), table)


def _moment(text: object) -> datetime | None:
    """A time with its zone; `UsageError` for another text."""
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(str(text))
    except ValueError:
        raise UsageError(f"{str(text)[:40]!r} is no time.") from None
    if found.tzinfo is None:
        raise UsageError(f"{str(text)[:40]!r} has no zone.")
    return found
