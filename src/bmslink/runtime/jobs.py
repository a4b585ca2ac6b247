"""What clients of the service ask of a pack, done on the service's own board.

A change is planned anew here, by the same functions, gates and journal as without a service, and
done only where it comes to what the person saw: a client gives wishes, and never frames. It goes on
whatever becomes of the client; who asked is in the journal.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import Any

from bmslink import config
from bmslink.board import Board
from bmslink.config.checks.check import refuse
from bmslink.config.files.profile import Profile
from bmslink.config.outcome import Outcome
from bmslink.config.plan import Plan
from bmslink.errors import BmsError, UsageError
from bmslink.model import Command, Reading, Switch
from bmslink.registry import running_version
from bmslink.runtime.pack_task import ServedPack
from bmslink.service_errors import error_form
from bmslink.service_forms import (
    AdjustmentForm,
    AdjustmentRequest,
    ChangeRequest,
    MapForm,
    PlanForm,
    ResumeRequest,
    SnapshotForm,
    SwitchRequest,
    fingerprint_of,
    in_form,
)
from bmslink.storage.journal import acting_for

__all__ = ["ClientJob", "PackJobs", "finish_changes", "hello"]

_ALIVE = 5.0
"""How often a client is shown that its job lives, s."""
_NOTES = 256
"""News of a job that wait for a client that reads slowly; the newest are kept."""

Tell = Callable[[str, int, int], None]
Work = Callable[[Tell], Awaitable[Any]]

_CHANGES: set[asyncio.Task[Any]] = set()
"""Those under way that go on without their clients."""


def _ended(task: asyncio.Task[Any]) -> None:
    _CHANGES.discard(task)
    if not task.cancelled():
        task.exception()  # nobody may be left to hear it


async def finish_changes(within: float) -> None:
    """Wait for the changes under way: the service is to end, and a change is not cut off for that
    while it ends in time, s."""
    mine = [task for task in _CHANGES if task.get_loop() is asyncio.get_running_loop()]
    if mine:
        await asyncio.wait(mine, timeout=within)


class ClientJob:
    """One piece of work for a client: its progress, and how it ends."""

    def __init__(self, work: Work, peer: Mapping[str, Any], *, lasts: bool = False) -> None:
        """`lasts`: it goes on when the client has gone."""
        self._lasts = lasts
        self._news: asyncio.Queue[dict[str, Any]] = asyncio.Queue(_NOTES)
        self._task = asyncio.create_task(self._do(work, peer))
        if lasts:
            _CHANGES.add(self._task)
            self._task.add_done_callback(_ended)

    async def _do(self, work: Work, peer: Mapping[str, Any]) -> Any:
        with acting_for(peer):
            return await work(self._tell)

    def _tell(self, doing: str, done: int, total: int) -> None:
        if self._news.full():
            self._news.get_nowait()
        self._news.put_nowait({"progress": [doing, done, total]})

    async def result(self) -> Any:
        """What came of it; raises what it raises."""
        try:
            return await (asyncio.shield(self._task) if self._lasts else self._task)
        finally:
            self._leave()

    async def lines(self) -> AsyncGenerator[dict[str, Any], None]:
        """Progress, a sign of life at once and every few seconds, and the end."""
        try:
            yield {"taken": True}
            while not self._task.done():
                news = asyncio.ensure_future(self._news.get())
                try:
                    await asyncio.wait(
                        {news, self._task}, timeout=_ALIVE, return_when=asyncio.FIRST_COMPLETED
                    )
                finally:
                    news.cancel()
                with suppress(asyncio.CancelledError):
                    if news.done() and not news.cancelled():
                        yield news.result()
                    elif not self._task.done():
                        yield {"alive": True}
            while not self._news.empty():
                yield self._news.get_nowait()
            yield self._end()
        finally:
            self._leave()

    def _end(self) -> dict[str, Any]:
        if self._task.cancelled():
            return {"error": "The service stops.", "kind": "LinkClosed"}
        error = self._task.exception()
        if error is None:
            return {"done": self._task.result()}
        if isinstance(error, BmsError):
            return error_form(error)
        return {
            "error": f"bmslink made a mistake ({type(error).__name__}: {error}). Please report it.",
            "kind": "BmsError",
        }

    def _leave(self) -> None:
        """The client has its answer, or is gone."""
        if not self._lasts:
            self._task.cancel()


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
        "open_change": _open_change(pack),
    }


def _open_change(pack: ServedPack) -> str | None:
    if pack.identity is None:
        return None
    try:
        return config.open_change(pack.board, pack.identity)
    except BmsError:  # what writes will say so
        return None


class PackJobs:
    """What can be asked of one pack. Every method gives plain JSON values."""

    def __init__(self, pack: ServedPack) -> None:
        self._pack = pack

    # ----------------------------------------------------------------------------------- reading

    async def ask(self, tell: Tell, what: str, more: Mapping[str, Any]) -> Any:
        """One of the questions of a board, by its name. Raises `UsageError` for another one."""
        if what == "read":
            return (await self._read(more)).to_dict()
        slots, again = more.get("slots"), more.get("again") is True
        questions: dict[str, Callable[[Board], Awaitable[Any]]] = {
            "identify": lambda board: board.identify(),
            "inspect": lambda board: board.inspect(),
            "map": _map,
            "settings": lambda board: _table(board, slots, None),
            "glance": lambda board: _table(board, slots, again),
            "clock": lambda board: board.clock(),
        }
        question = questions.get(what)
        if question is None:
            known = ", ".join(["read", *questions])
            raise UsageError(f"There is no question {what[:40]!r}; there are: {known}.")
        return in_form(await self._with_board(tell, question))

    async def _with_board(self, tell: Tell, work: Callable[[Board], Awaitable[Any]]) -> Any:
        async with self._pack.turn() as board:
            board.on_progress = tell
            try:
                return await work(board)
            finally:
                board.on_progress = None

    async def _read(self, more: Mapping[str, Any]) -> Reading:
        """The latest reading if it is fresh and newer than the client's last one, else the next."""
        pack, loop = self._pack, asyncio.get_running_loop()
        pack.turns.require_ours()
        asked, after = loop.time(), _moment(more.get("after"))
        latest, heard = pack.reading, pack.heard
        if latest is not None and heard is not None and not more.get("anew"):
            newer = after is None or latest.time is None or latest.time > after
            if newer and pack.health.state == "ok" and asked - heard < pack.plan.interval:
                return latest
        return await pack.read()

    # ----------------------------------------------------------------------------------- changes

    async def plan(self, tell: Tell, request: ChangeRequest) -> Any:
        """What a change would do; nothing is sent."""

        async def work(board: Board) -> Any:
            plan = await _draft(board, request)
            return _shown(plan, PlanForm.of(plan))

        return await self._with_board(tell, work)

    async def apply(self, tell: Tell, request: ChangeRequest) -> Any:
        """Plan it anew, and do it where that is what was agreed to."""

        async def work(board: Board) -> Any:
            async with board.conversation():
                plan = await _draft(board, request)
                _require_agreed(request.fingerprint, fingerprint_of(plan))
                outcome = await config.apply(board, plan, command=request.command)
            return self._told(outcome)

        return await self._with_board(tell, work)

    async def resume(self, tell: Tell, request: ResumeRequest) -> Any:
        """End a change that was cut off."""

        async def work(board: Board) -> Any:
            return self._told(
                await config.resume(
                    board,
                    rollback=request.rollback,
                    keep=request.keep,
                    agreed=request.agreed,
                    waive=request.waive,
                    confirm=lambda told: told == request.agreed_to,
                )
            )

        return await self._with_board(tell, work)

    async def look(self, tell: Tell, what: str) -> Any:
        """What the journal says of the pack, and what it holds. Raises `UsageError`."""
        looks: dict[str, Callable[[Board], Awaitable[Any]]] = {
            "verify": config.verify,
            "cut off": config.cut_off_change,
            "unfinished": config.unfinished,
        }
        if what not in looks:
            raise UsageError(
                f"There is nothing called {what[:40]!r}; there are: {', '.join(looks)}."
            )

        async def work(board: Board) -> Any:
            found = await looks[what](board)
            return in_form(found.to_dict() if isinstance(found, config.CutOff) else found)

        return await self._with_board(tell, work)

    async def switch(self, tell: Tell, request: SwitchRequest) -> Any:
        """Off goes before everything else, with no turn to wait for; on waits for its turn."""
        command = Command(Switch.of(request.switch), request.on)
        if not command.on and not request.dry_run:
            return self._told(await self._pack.switch_off(command.switch, waive=request.waive))

        async def work(board: Board) -> Any:
            if request.dry_run:
                return in_form(await config.rehearse_switch(board, command, waive=request.waive))
            return self._told(await config.switch(board, command, waive=request.waive))

        return await self._with_board(tell, work)

    def _told(self, outcome: Outcome) -> Any:
        """Its form, after everybody who listens was told of it."""
        alarm = outcome.result in ("unknown", "unproven", "ignored")
        self._pack.tell("change", outcome.sentence, alarm=alarm, result=outcome.result)
        return in_form(outcome)

    async def draft_adjustment(self, tell: Tell, request: AdjustmentRequest) -> Any:
        """What setting the clock or the charge would do; nothing is sent."""

        async def work(board: Board) -> Any:
            plan = await _draft_adjustment(board, request)
            return _shown(plan, AdjustmentForm.of(plan))

        return await self._with_board(tell, work)

    async def adjust(self, tell: Tell, request: AdjustmentRequest) -> Any:
        """Plan it anew, and do it where that is what was agreed to."""

        async def work(board: Board) -> Any:
            plan = await _draft_adjustment(board, request)
            _require_agreed(request.fingerprint, fingerprint_of(plan))
            return self._told(await config.adjust(board, plan))

        return await self._with_board(tell, work)


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
