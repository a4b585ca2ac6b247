"""The acting side of one live pack: it begins when the pack is met, if a person let it, and takes
what the policies decide."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from typing import Any

from bmslink.board import Board
from bmslink.config.checks.check import refuse
from bmslink.config.outcome import Outcome
from bmslink.config.switching.joining import require_may_join
from bmslink.control.act.consent import ConsentError, Standing
from bmslink.control.act.ledger import Order
from bmslink.control.act.messages import PersonOff, PersonOn, Remark, Request
from bmslink.control.decide.decision import Decision
from bmslink.control.decide.engine import Engine
from bmslink.control.decide.policy import PolicySet
from bmslink.control.decide.release import lets_go
from bmslink.errors import GateError
from bmslink.model import Command, Identity, Reading, Switch
from bmslink.runtime.acting.contained import contained
from bmslink.runtime.acting.latches import LatchReset, reset_latches
from bmslink.runtime.acting.limit_sinks import LimitSinks
from bmslink.runtime.acting.pack_actor import PackActor
from bmslink.runtime.acting.people import ActingWish
from bmslink.runtime.acting.shown import Note, TellActing
from bmslink.runtime.acting.start import EnforcedPack, begin_acting, pack_key, standing_of, stopped

__all__ = ["ActingSide"]

_SHOWS, _APART = 15.0, 0.1
"""How long a board may take to show a switch, and how far apart one looks, s."""
_AGAIN = 30.0
"""s after which what could not begin is tried again."""
_ENDS = 5.0
"""How long the end waits for a beginning that is under way, s: a disk may keep that one."""


class ActingSide:
    """Of one pack. With `enforce` false it never begins, and sends nothing."""

    def __init__(
        self,
        board: Board,
        text: str,
        path: str,
        *,
        enforce: bool,
        interval: float,
        note: Callable[..., None],
        tell: TellActing,
        target: str,
        waive: Collection[str] = (),
        sinks: LimitSinks | None = None,
        turn: Callable[[], AbstractAsyncContextManager[Any]] = nullcontext,
        off_turn: Callable[[], AbstractAsyncContextManager[Any]] = nullcontext,
    ) -> None:
        """`text` and `path` are of the policy file; `note` has a record written to the journal."""
        self.standing: Standing | None = None
        """What may act; `None`: not known yet, or nothing was asked to."""
        self._board, self._text, self._path = board, text, path
        self.waive: frozenset[str] = frozenset(waive)
        """`untested`: switches that nobody has tried on a board may be set."""
        self.sinks: LimitSinks = sinks or LimitSinks()
        """What carries the limits out."""
        self._enforce, self._interval = enforce, interval
        self._tell, self._target, self._journal = tell, target, note
        self._turn, self._off_turn = turn, off_turn
        self._pack: EnforcedPack | None = None
        self._waived = self.waive  # by what acts now
        self._task: asyncio.Task[None] | None = None
        self._next = 0.0
        self._unsure = False
        self._looked_at = ""
        self._closings = 0
        self._changing = asyncio.Lock()
        """Held while it begins or ends: a poll and a person may both have it begin, and this
        program's own lock of the pack looks like another program's. No off takes it."""

    @property
    def actor(self) -> PackActor | None:
        """At work; `None`: nothing acts here."""
        return None if self._pack is None else self._pack.actor

    @property
    def enforcing(self) -> bool:
        """Whether policies act on the pack now."""
        return self._pack is not None and self._pack.actor.mandate.enforce

    @property
    def policies(self) -> PolicySet | None:
        """Those that act."""
        return None if self._pack is None else self._pack.policies

    async def begin(self, identity: Identity) -> bool:
        """Begin, if that is wanted and not done yet; whether it has just begun. Raises what asking
        the board raises."""
        async with self._changing:
            return await self._begin_if_wanted(identity)

    async def _begin_if_wanted(self, identity: Identity) -> bool:
        now = asyncio.get_running_loop().time()
        await self._leave_another(identity)
        if now < self._next:
            return False
        if await self._approved_meanwhile(identity):
            await self._close()
        if self._pack is not None:
            return False
        if not self._enforce:
            key = pack_key(self._board, identity)
            if key == self._looked_at or not await asyncio.to_thread(stopped, key):
                self._looked_at = key
                return False
        self._next = now + _AGAIN
        return await self._begin(identity, enforce=self._enforce)

    async def _leave_another(self, identity: Identity) -> None:
        """What acts on another board than the one that answers now ends."""
        if self._pack is None or not self._unsure:
            return
        self._unsure = self._pack.key != pack_key(self._board, identity)
        if self._unsure:
            await self._close()
            self._next = asyncio.get_running_loop().time()

    async def _approved_meanwhile(self, identity: Identity) -> bool:
        """Whether a person approved the file itself, while the one before it acts."""
        standing = self.standing
        if self._pack is None or standing is None or not (self._enforce and standing.shadow):
            return False
        self._next = asyncio.get_running_loop().time() + _AGAIN
        with suppress(ConsentError):
            found = await asyncio.to_thread(standing_of, self._board, identity, self._text)
            return found.enforced is not None and not found.shadow
        return False

    async def _begin(
        self, identity: Identity, *, enforce: bool, waive: frozenset[str] = frozenset()
    ) -> bool:
        self._waived = self.waive | waive
        closings = self._closings
        found = await begin_acting(
            self._board, identity, self._text, self._path,
            note=self._note(), tell=self._tell, interval=self._interval, waive=self._waived,
            sinks=self.sinks, turn=self._turn, off_turn=self._off_turn, enforce=enforce,
        )  # fmt: skip
        if not isinstance(found, Standing) and closings != self._closings:
            await found.close()  # the disk had kept it until after the end
            return False
        if isinstance(found, Standing):
            if self.standing is None or self.standing.text != found.text:
                self._tell("acting", found.text, alarm=True, change="standing", actuator="")
            self.standing = found
            return False
        self._pack, self.standing, self._unsure = found, found.standing, False
        self._task = asyncio.create_task(found.actor.run())
        return True

    def _note(self) -> Note:
        digest = hashlib.sha256(self._text.encode("utf-8", "surrogateescape")).hexdigest()

        def note(event: str, **data: Any) -> None:
            about = {"target": self._target, "policies": self._path, "sha256": digest}
            self._journal(event, **about, **data)

        return note

    def meet(self) -> None:
        """Perhaps another board answers: nothing is done until `begin` has looked."""
        self._unsure = True

    def hear(self, decision: Decision | None, reading: Reading | None, now: float) -> None:
        """What the policies decided, and on which reading."""
        if self._pack is not None and decision is not None and not self._unsure:
            self._pack.actor.hear(decision, reading, now)

    def acts_on(self, identity: Identity | None) -> bool:
        """Whether what acts here acts on the board that this is the identity of."""
        pack = self._pack
        if pack is None or identity is None:
            return False
        return pack.key == pack_key(self._board, identity)

    async def begin_for_people(
        self, identity: Identity, waive: frozenset[str] = frozenset()
    ) -> None:
        """Begin without policies, for what people ask; what acts already begins anew where it may
        not switch what a person waives a check of. Raises `GateError` where another program on this
        machine acts on the pack, and what asking the board raises."""
        if self.acts_on(identity) and waive <= self._waived:
            self._unsure = False
        else:
            async with self._changing:
                await self._leave_another(identity)
                await self._begin_anew(identity, waive)
        if self._pack is None:
            raise GateError("Nothing was sent. " + (self.standing.text if self.standing else ""))

    async def _begin_anew(self, identity: Identity, waive: frozenset[str]) -> None:
        if self._pack is not None and not waive <= self._waived:
            enforce = self.enforcing
            await self._close()
            if enforce:
                await self._begin(identity, enforce=True, waive=waive)
        if self._pack is None:
            await self._begin(identity, enforce=False, waive=waive)

    async def do(
        self,
        wish: ActingWish,
        who: str,
        identity: Identity,
        engine: Engine | None = None,
        remains: Sequence[str] = (),
    ) -> list[str]:
        """What a person wants of what acts, by its name; what came of it, in sentences. An
        emergency stop needs neither approval nor policies. `engine` has the latches of a reset,
        which does not reach what `remains`. Raises `GateError` where it is refused and nothing was
        sent, and what asking the board raises."""
        done: list[str] = []
        if wish.do == "stop":
            await self.begin_for_people(identity, wish.waived)
            done += self._not_stopped()
        if wish.do == "reset":
            done, left = self._reset(wish, engine, remains)
            if wish.policy or not self._stopped:
                if not done:
                    nothing = "Nothing is stopped or latched, so there is nothing to reset."
                    raise GateError(" ".join(left) or nothing)
                return [*done, *left]
            done += left
        request = wish.request(who)
        if isinstance(request, PersonOn):
            require_may_join(self._board, Command(Switch.of(wish.switch), on=True), wish.waive)
        done = [remark.text for remark in self.ask(request)] + done
        return done or ["There was nothing to do: no switch stood down."]

    def _not_stopped(self) -> list[str]:
        """What a stop does not reach, in sentences. Raises `GateError` where it reaches nothing."""
        able = frozenset() if self._pack is None else self._pack.actor.mandate.able
        unable = [name for name in (Switch.CHARGE, Switch.DISCHARGE) if name not in able]
        why = f"cannot be switched from here: `bmslink info {self._target}` says why."
        if len(unable) > 1 and not self.sinks:
            raise GateError(f"Nothing was sent: charge and discharge of this board {why}")
        return [f"{name} {why}" for name in unable]

    @property
    def _stopped(self) -> bool:
        return self._pack is not None and self._pack.actor.ledger.stop is not None

    def _reset(self, wish: ActingWish, engine: Engine | None, remains: Sequence[str]) -> LatchReset:
        """Let go of what waits for a person: of one policy, or of all."""
        released: list[str] = []
        if self._pack is not None and not wish.policy:
            self._pack.actor.release()
            released = self._pack.actor.let_go()
        if engine is None:
            return LatchReset(released, [*remains])
        found = reset_latches(engine, wish.policy)
        return LatchReset([*released, *found.done], [*found.remains, *remains])

    def ask(self, request: Request) -> list[Remark]:
        """What a person wants, at once. Raises `GateError` where it is refused, and nothing was
        sent then."""
        if self._pack is None:
            raise GateError(
                f"Nothing acts on {self._target} here: its policies only watch, so there is "
                "nothing to end or to set aside."
            )
        remarks = self._pack.actor.ask(request, asyncio.get_running_loop().time())
        for remark in remarks:
            if remark.what == "refused":
                raise GateError(remark.text)
        return remarks

    async def person_off(self, switch: Switch, who: str) -> Outcome | None:
        """A person switches off, which no policy gives back, and it is read back by the polls that
        go on meanwhile. `None`: nothing that acts here can send it, or nothing went out."""
        if self._pack is None or switch.value not in self._pack.actor.mandate.able:
            return None
        before, asked = self._order(switch), False
        with contained(self._pack.actor.withdraw):  # then the other road is left
            self.ask(PersonOff(switch.value, who))
            asked = True
        return await self._shown(switch, before, on=False) if asked else None

    async def person_on(self, switch: Switch, who: str, waive: Collection[str] = ()) -> Outcome:
        """The same for on. Raises `GateError` where it is held off, where it may not join its bank,
        and where it did not leave."""
        require_may_join(self._board, Command(switch, on=True), waive)
        before = self._order(switch)
        self.ask(PersonOn(switch.value, who))
        found = await self._shown(switch, before, on=True)
        if found is None:
            told = f"Nothing was sent: {switch} on did not leave; the journal says why."
            raise refuse(told, "sent")
        return found

    async def _shown(self, switch: Switch, before: Order | None, *, on: bool) -> Outcome | None:
        """How the board shows a switch that was just set; `None`: nothing went out. A newer command
        overtakes it: what is shown then says nothing of this one. `before`: the order that there
        was; with the same one now it was on already."""
        loop, word = asyncio.get_running_loop(), "on" if on else "off"
        until, mine = loop.time() + _SHOWS, self._order(switch)
        if mine is None or (before is not None and mine.id == before.id):
            return Outcome(result="done", sentence=f"{switch} is {word} already.")
        while self._pack is not None and loop.time() < until:
            record = self._pack.actor.ledger.record(switch.value)
            order = record.order
            if order is not None and order.id != mine.id:
                newer = f"{switch} {'on' if order.on else 'off'} ({order.actor}) is newer"
                if order.on is on:
                    mine = order  # it wants the same
                    continue
                return Outcome(
                    result="unproven",
                    sentence=f"{switch} {word} was asked for, and was not read back: {newer}.",
                )
            if order.read_back if order is not None and order.on is on else record.seen is on:
                return Outcome(result="done", sentence=f"{switch} is {word}: read back.")
            if order is not None and order.on is on and order.unsent == order.tries:
                return None
            await asyncio.sleep(_APART)
        return Outcome(
            result="ignored" if on else "unproven",
            sentence=f"{switch} {word} was sent, and the board does not show it.",
        )

    def _order(self, switch: Switch) -> Order | None:
        return None if self._pack is None else self._pack.actor.ledger.record(switch.value).order

    async def rest(self) -> None:
        """Where no policy acts and nobody stopped the pack, nothing acts any more."""
        async with self._changing:
            if self._pack is not None and not self.enforcing and not self._stopped:
                await self._close()

    async def narrow(self) -> None:
        """After a stop: what it was let to switch, policies may not. They begin anew."""
        async with self._changing:
            if self._pack is not None and self._waived != self.waive and not self._stopped:
                await self._close()

    def status(self, engine: Engine | None = None) -> dict[str, Any]:
        """For people and programs; `engine` is that of the policies that act."""
        now = asyncio.get_running_loop().time()
        standing = self.standing
        found: dict[str, Any] = {
            "enforcing": False,
            "standing": "" if standing is None else standing.text,
        }
        if self._pack is None:
            return found

        def ends(policy: str) -> str:
            return "" if engine is None else lets_go(engine, policy)

        return {**found, **self._pack.actor.status(now, ends)}

    async def settle(self) -> None:
        """Let what is being sent leave: the board is about to be closed."""
        if self._pack is not None:
            await self._pack.actor.settle()

    async def close(self) -> None:
        """The end. Switches stay as they are; limits end with their ttl."""
        self._closings += 1
        held = False
        with suppress(TimeoutError):
            held = await asyncio.wait_for(self._changing.acquire(), _ENDS)
        try:
            await self._close()
        finally:
            if held:
                self._changing.release()

    async def _close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._pack is not None:
            pack, self._pack = self._pack, None
            await pack.close()
