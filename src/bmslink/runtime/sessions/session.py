"""One balancing session: looked at, agreed to, run, and set back whatever ends it.

What it is about to change is on the disk before anything is sent, and stays there until all is
read back as it was: a program that is killed leaves a file by which the next one goes on or sets
back (`kept`).
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from bmslink import config
from bmslink.board import Board
from bmslink.config.plan import Plan
from bmslink.config.records.on_loan import changing_for_session
from bmslink.control.sessions.ends import Ending
from bmslink.control.sessions.kept import KeptSession, SessionStore
from bmslink.control.sessions.machine import step
from bmslink.control.sessions.options import SessionOptions
from bmslink.control.sessions.permit import switched
from bmslink.control.sessions.report import SessionReport, SetBack, report_of
from bmslink.control.sessions.state import Around, Phase
from bmslink.control.sessions.wishes import ChargeWish, resting
from bmslink.errors import BmsError, GateError
from bmslink.model import Switch
from bmslink.places import place_of
from bmslink.runtime.acting.contained import contained
from bmslink.runtime.acting.drill import to_its_end
from bmslink.runtime.sessions.hearing import (
    holders,
    shown_by,
    utc_now,
    word_of,
    worst_at_top,
)
from bmslink.runtime.sessions.host import SessionHost
from bmslink.runtime.sessions.looking import Looked, changes_for, look_before
from bmslink.runtime.sessions.open_sessions import session_lock
from bmslink.runtime.sessions.setting_back import not_yet_set, passes, set_back, what_remains
from bmslink.settings.chemistry import chemistry
from bmslink.storage.journal import Journal, JournalError, actor_name
from bmslink.storage.state import UnwritableState

__all__ = ["BalanceSession", "RestoreError"]

_log = logging.getLogger(__name__)

_SAVED_EVERY = 60.0
"""s between two savings of how far it is."""
_SETTING = 180.0
"""s that setting the balancer may take."""
_BACK_WITHIN = 90.0
"""s for which setting back is tried again where a command runs the session."""
_AGAIN = 5.0
_MOST_TRIES = 4
"""How often a service tries to set back what the board does not take: each try may write."""
_AFTER_STOP = 30.0
"""s for which the line is left to an emergency stop, which is read back meanwhile."""
_LONGEST_GAP = 7 * 86400.0


class RestoreError(BmsError):
    """A session is over, and what it set is not all read back as it was. The message says what
    remains, and the command that sets it back."""


class BalanceSession:
    """Of one pack: `prepare`, then a person agrees, then `run`; or `take_up`, then `run` or
    `restore`."""

    def __init__(
        self,
        host: SessionHost,
        options: SessionOptions | None = None,
        *,
        journal: Journal | None = None,
        store: SessionStore | None = None,
        on_moment: Callable[[KeptSession], None] = lambda kept: None,
    ) -> None:
        """`on_moment` is called with what is known after each reading."""
        self.kept: KeptSession | None = None
        """What is known of it; `None` until it has begun."""
        self.looked: Looked | None = None
        self.begun = asyncio.Event()
        """Set when it is on the disk, or has ended before that."""
        self._host, self._options = host, options or SessionOptions()
        self._journal, self._store = journal or Journal(), store or SessionStore()
        self._on_moment = on_moment
        self._cancelled = ""
        self._touched = True
        """Whether anything may have been written, by this program or one before."""
        self._base, self._begun = 0.0, 0.0
        self._trouble = ""
        self._saved_at = 0.0
        self._phase: Phase | None = None

    # -- before ----------------------------------------------------------------------------------

    async def prepare(self) -> Looked:
        """Look whether it may be, and make its plan; nothing is sent that changes the board."""
        host = self._host
        host.listen()
        async with host.turn("a balancing session is planned") as board:
            self.looked = await look_before(
                board, self._options, sink=host.limited, sink_trouble=host.trouble,
                journal=self._journal, served=host.owner == "service",
            )  # fmt: skip
        return self.looked

    def take_up(self, kept: KeptSession) -> None:
        """A session that was cut off."""
        self.kept, self._options = kept, kept.options

    def cancel(self, who: str) -> None:
        """End it soon, and set everything back."""
        self._cancelled = who or "Somebody"

    # -- while it runs ---------------------------------------------------------------------------

    async def run(self) -> SessionReport:
        """Until it ends; everything is set back then. Raises `GateError` where it is refused and
        nothing was sent, `RestoreError` where not all is read back as it was.

        A command that is cancelled sets back first. A service that is cancelled leaves all as it
        is: the session goes on after its restart.
        """
        fresh = self.kept is None
        if fresh:
            looked = self.looked or await self.prepare()
            looked.require()
        pack = self._looked.key if self.kept is None else self.kept.pack
        try:
            with self._alone(pack):
                if fresh:
                    await self._write_ahead()
                self.begun.set()
                return await self._guarded(fresh=fresh)
        finally:
            self.begun.set()

    async def _guarded(self, *, fresh: bool) -> SessionReport:
        """Run it, and set back whatever ends it."""
        try:
            end = await self._whole(fresh=fresh)
        except asyncio.CancelledError:
            self._host.withdraw()
            if self._host.owner == "service":
                await to_its_end(self._save())
                raise
            end = Ending(name="cancelled", text="It was interrupted.")
            await to_its_end(self._finish(end))
            raise
        return await to_its_end(self._finish(end))

    async def _whole(self, *, fresh: bool) -> Ending:
        """How it ended; a mistake of ours keeps nothing from being set back either."""
        if self._now.end is not None:  # only setting back was left
            return self._now.end
        found: list[BaseException] = []
        ended: list[Ending] = []
        with contained(found.append):
            ended.append(await self._begun_and_followed(fresh=fresh))
        if ended:
            return ended[0]
        if isinstance(found[0], BmsError):
            return Ending(name="failed", text=str(found[0]))
        _log.error("The mistake in a balancing session:", exc_info=found[0])
        text = f"bmslink made a mistake ({type(found[0]).__name__}: {found[0]}). Please report it."
        return Ending(name="failed", text=text)

    async def _begun_and_followed(self, *, fresh: bool) -> Ending:
        kept = self._now  # nothing is charged while it is being set
        volts = resting(kept.last, kept.plan.top)
        wish = ChargeWish(cvl=round(volts, 3), why="its balancer is being set")
        self._host.publish(kept, wish, _SETTING)
        await self._set(again=not fresh)
        return await self._follow()

    @contextmanager
    def _alone(self, pack: str) -> Iterator[None]:
        lock = session_lock(pack)
        if lock is None:
            raise GateError(f"Nothing was sent: another program balances {pack} already.")
        try:
            self._host.listen()
            with changing_for_session():
                yield
        finally:
            os.close(lock)

    @property
    def _now(self) -> KeptSession:
        if self.kept is None:
            raise GateError("Nothing was sent: the session has not begun.")
        return self.kept

    @property
    def _looked(self) -> Looked:
        if self.looked is None:
            raise GateError("Nothing was sent: the session was not prepared.")
        return self.looked

    async def _write_ahead(self) -> None:
        """On the disk before anything is sent: what is, and what will be. Raises `GateError`."""
        looked = self._looked
        plan = looked.require()
        if looked.now is None:
            raise GateError("Nothing was sent: the cells are not known.")
        async with self._host.turn("a balancing session begins") as board:
            target, name = board.target, board.target.name or ""
        kind, ocp = chemistry(plan.chemistry), looked.table.get("discharge_ocp")
        rated = float(ocp) * 0.8 if isinstance(ocp, int | float) and ocp else None
        self.kept = KeptSession(
            id=uuid.uuid4().hex[:12], pack=looked.key, target=str(target),
            place=str(place_of(target)), name=name, owner=self._host.owner, who=actor_name(),
            began=utc_now(), saved=time.time(), options=self._options, plan=plan,
            before={key: looked.table.get(key) for key in plan.settings},
            switch_before=looked.switch, table=looked.table, switched=plan.switch_on,
            dcl=rated or 0.5 * (plan.capacity or 100.0),
            dvl=plan.cells * kind.limits["cell_uvp_warning"], first=looked.now, last=looked.now,
        )  # fmt: skip
        self._touched = False
        try:
            await asyncio.to_thread(self._store.save, self.kept)
            await self._note("begin", settings=dict(plan.settings), switch_on=plan.switch_on)
        except (UnwritableState, JournalError) as error:
            with suppress(UnwritableState):
                await asyncio.to_thread(self._store.end, self.kept, {})
            raise GateError(f"Nothing was sent: {error}") from error

    async def _set(self, *, again: bool) -> None:
        """The settings of the plan, and the balancer on. `again`: what of it was cut off."""
        kept, plan, journal = self._now, self._now.plan, self._journal
        wanted: Mapping[str, Any] = plan.settings
        if wanted:
            async with self._host.turn("a balancing session sets its balancer") as board:
                if again:
                    wanted = await not_yet_set(board, kept, journal)
                if wanted:
                    await self._apply(board, await self._change(board, wanted))
            self.kept = kept = kept.with_(writes=kept.writes + len(wanted))
        if plan.switch_on and kept.state.permit.on is None:
            await self._switch(True)

    async def _apply(self, board: Board, change: Plan) -> None:
        before, self._touched = self._touched, True
        try:
            await config.apply(board, change, journal=self._journal, command="balance session")
        except GateError:  # nothing was sent
            self._touched = before
            raise

    async def _change(self, board: Board, wanted: Mapping[str, Any]) -> Plan:
        kind = self._now.plan.chemistry
        change, why = await changes_for(board, wanted, self._options, kind, self._journal)
        if change is None or why:
            raise GateError(f"Nothing was sent. {why}")
        return change

    async def _follow(self) -> Ending:
        """Reading after reading."""
        loop = asyncio.get_running_loop()
        kept = self._now
        gap = max(0.0, min(_LONGEST_GAP, time.time() - kept.saved)) if kept.state.time else 0.0
        self._base, self._begun = kept.state.time + gap, loop.time()
        self._saved_at = loop.time()
        if gap:  # the time in which nobody ran it is no time in which nothing was heard
            state = kept.state
            self.kept = kept.with_(state=state.later(self._base))
        while True:
            heard = await self._host.moment()
            passed = (loop.time() - self._begun) * self._host.pace
            end = await self._moment(heard, self._base + passed)
            if end is not None:
                return end

    async def _moment(self, heard: Any, now: float) -> Ending | None:
        kept, host = self._now, self._host
        shown, blind = shown_by(heard, kept)
        around = await self._around(kept)
        found = step(kept.plan, kept.state, shown, now, around, blind=blind)
        kept = kept.with_(state=found.state)
        if shown is not None:
            kept = kept.with_(last=shown, top_first=worst_at_top(kept, shown))
        self.kept = kept
        self._tell(kept)
        if found.end is not None:
            return found.end
        host.publish(kept, found.wish, max(15.0, 3 * host.interval))
        if found.wish.balance is not None:
            await self._switch(found.wish.balance)
        self._on_moment(self._now)
        await self._save_sometimes()
        return None

    async def _around(self, kept: KeptSession) -> Around:
        decision = self._host.decision()
        cancelled = self._cancelled or await asyncio.to_thread(self._store.cancelled, kept)
        return Around(
            stopped=await self._host.stopped(kept), cancelled=cancelled,
            charge_held=holders(decision, "charge") or self._host.held_off(Switch.CHARGE),
            balance_held=holders(decision, "balance"),
        )  # fmt: skip

    async def _switch(self, on: bool) -> None:
        """The balancer's switch; that it may be set is on the disk first."""
        kept, self._touched = self._now, True
        if not kept.switched:
            self.kept = kept = kept.with_(switched=True)
            await asyncio.to_thread(self._store.save, kept.with_(saved=time.time()))
        outcome = await self._host.switch(on)
        fine = outcome.result in ("done", "nothing")
        self._host.news("balancer", f"Balancing {'on' if on else 'off'}: {outcome.sentence}")
        permit = switched(kept.state.permit, kept.state.time, on=on, confirmed=on if fine else None)
        self.kept = kept.with_(writes=kept.writes + 1, state=kept.state.with_permit(permit))
        await self._save()

    def _tell(self, kept: KeptSession) -> None:
        phase = kept.state.phase
        if phase is not self._phase:
            self._phase, self._saved_at = phase, -_SAVED_EVERY
            self._host.news(phase.value, f"Balancing session: {kept.state.why or phase.value}.")
        trouble = self._host.trouble  # that limits reach nobody ends nothing: then nobody charges
        if trouble and not self._trouble:
            self._host.news("charger", f"Balancing session: {trouble}", alarm=True)
        self._trouble = trouble

    async def _save_sometimes(self) -> None:
        if asyncio.get_running_loop().time() - self._saved_at >= _SAVED_EVERY:
            await self._save()

    async def _save(self) -> None:
        """How far it is. A disk that is full ends nothing: what is to be set back is there."""
        self._saved_at = asyncio.get_running_loop().time()
        with suppress(UnwritableState):
            await asyncio.to_thread(self._store.save, self._now.with_(saved=time.time()))

    # -- the end ---------------------------------------------------------------------------------

    async def restore(self) -> SessionReport:
        """Set everything back without going on. Raises as `run` does."""
        kept = self._now
        with self._alone(kept.pack):
            end = kept.end or Ending(name="cancelled", text="It was cut off, and set back later.")
            return await to_its_end(self._finish(end))

    async def _finish(self, end: Ending) -> SessionReport:
        """No limit any more, all set back and compared, the report kept, the file removed."""
        self._host.withdraw()
        self.kept = kept = self._now.with_(end=end)
        await self._save()
        if end.name == "stopped":
            await asyncio.sleep(_AFTER_STOP)
        back = await self._set_back_patiently(kept)
        if not self._touched:  # a report of what was changed is empty then
            back = back.of_nothing()
        report = report_of(kept, end, back, utc_now())
        with suppress(JournalError):
            await self._note("end", result=end.name, text=end.text, restored=back.restored)
        await asyncio.to_thread(self._store.end, kept, report.to_dict())
        self._host.news("ended", f"Balancing session: {end.text}", alarm=not end.done)
        return report

    async def _set_back_patiently(self, kept: KeptSession) -> SetBack:
        """Again and again where the link fails: a command for a while, a service until it can."""
        loop = asyncio.get_running_loop()
        until = loop.time() + _BACK_WITHIN
        pause, told, tries = _AGAIN, False, 0
        while True:
            try:
                return await self._set_back(kept)
            except BmsError as error:
                silent = passes(error)
                tries += not silent
                ours = self._host.owner == "command"
                over = ours and (loop.time() >= until or not silent)
                text = what_remains(kept, word_of(kept), error)
                if not told or over:
                    self._host.news("restore", text, alarm=True)
                    told = True
                if over or tries >= _MOST_TRIES:
                    raise RestoreError(text) from error
            await asyncio.sleep(pause)
            pause = min(2 * pause, 60.0)

    async def _set_back(self, kept: KeptSession) -> SetBack:
        return await set_back(self._host.turn, kept, self._host.switch, self._journal)

    async def _note(self, phase: str, **more: Any) -> None:
        kept = self._now
        about = {"session": kept.id, "pack": kept.pack, "target": kept.target, "user": kept.who}
        note = {**about, **more, "phase": phase}
        await asyncio.to_thread(lambda: self._journal.append("balance", **note))
