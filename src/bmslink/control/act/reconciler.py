"""What is wanted and what is: the commands between them, one cycle at a time. Pure.

Off goes out in the cycle in which it is wanted. On goes out only for what the ledger calls ours,
and only when `enabling.obstacle` finds nothing against it. Old data and a mirror of what the BMS
does send nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from bmslink.control.act.actuator import ACTUATORS
from bmslink.control.act.facts import SwitchFacts
from bmslink.control.act.ledger import BESIDE, Ledger, Order, Owner, SwitchRecord
from bmslink.control.act.mandate import Mandate, SwitchWish, wish_for
from bmslink.control.act.messages import Remark, Request, Resume, SwitchCommand
from bmslink.control.act.numbers import ActingNumbers
from bmslink.control.act.steps.asking import RequestAnswer, answer, resume
from bmslink.control.act.steps.enabling import BUDGET, DISK, FUTILE, JOIN, obstacle
from bmslink.control.act.steps.heeding import heed, restarted
from bmslink.control.act.steps.observing import Meaning, observe
from bmslink.control.act.steps.ordering import send_off, send_on
from bmslink.control.decide.decision import Decision
from bmslink.control.decide.limits import Reason
from bmslink.control.decide.policy import Demand

__all__ = ["Reconciled", "reconcile"]

_change = msgspec.structs.replace
_NUMBERS = ActingNumbers()
_FOR_PEOPLE = (BUDGET, DISK, FUTILE, JOIN)
_NO_EFFECT = "no_effect"


class Reconciled(NamedTuple):
    """What one cycle gives."""

    commands: list[SwitchCommand]
    """To be sent in this order: every off comes before every on."""
    ledger: Ledger
    remarks: list[Remark]


def reconcile(
    ledger: Ledger,
    decision: Decision,
    facts: SwitchFacts | None,
    alive: Mapping[str, bool],
    now: float,
    *,
    mandate: Mandate,
    numbers: ActingNumbers = _NUMBERS,
    requests: Sequence[Request] = (),
    detected: Mapping[str, Reason] | None = None,
    disk: bool = True,
    joins: Callable[[str], str] = lambda name: "",
) -> Reconciled:
    """One cycle. `facts`: of the reading that came in it; `None`: none came. `alive`: direction
    (`charge`, `discharge`) -> whether what limits its current answers; left out: nothing does.
    `detected`: actuator -> what a detector holds against it. `disk`: whether the ledger can be
    written. `joins`: why a switch may not close beside other packs. `now` in monotonic seconds."""
    cycle = _Cycle(
        ledger, decision, facts, alive, now, mandate, numbers, requests, detected or {},
        disk=disk, joins=joins,
    )  # fmt: skip
    return cycle.run()


class _Cycle:
    """One call of `reconcile`: what it was given, and what it has so far."""

    def __init__(
        self,
        ledger: Ledger,
        decision: Decision,
        facts: SwitchFacts | None,
        alive: Mapping[str, bool],
        now: float,
        mandate: Mandate,
        numbers: ActingNumbers,
        requests: Sequence[Request],
        detected: Mapping[str, Reason],
        *,
        disk: bool,
        joins: Callable[[str], str],
    ) -> None:
        self.ledger = ledger
        self.decision = decision
        self.facts = facts
        self.alive = alive
        self.now = now
        self.mandate = mandate
        self.numbers = numbers
        self.requests = requests
        self.detected = detected
        self.disk, self.joins = disk, joins
        self.commands: list[SwitchCommand] = []
        self.remarks: list[Remark] = []
        self._first = False
        """Whether nothing was heard of the board since this program began."""

    def run(self) -> Reconciled:
        """Look, listen to people, then set every switch."""
        facts = self.facts
        again = facts is not None and restarted(self.ledger, facts)
        self._first = not self.ledger.run.heard
        self.ledger, remarks = heed(
            self.ledger, self.decision, facts, self.alive, self.now, self.numbers
        )
        self.remarks += remarks
        if facts is not None:
            for name in ACTUATORS:
                self._look(name, facts, again=again)
        for request in self.requests:
            if not isinstance(request, Resume):
                self._ask(request)
        for name in ACTUATORS:
            self._act(name)
        for request in self.requests:
            if isinstance(request, Resume):
                self.ledger, remarks = resume(self.ledger, request)
                self.remarks += remarks
        self.commands.sort(key=lambda command: command.on)
        return Reconciled(self.commands, self.ledger, self.remarks)

    def _wish(self, name: str) -> SwitchWish:
        return wish_for(name, self.decision, self.ledger, self.mandate, self.detected)

    def _wish_without_person(self, name: str) -> SwitchWish:
        record = _change(self.ledger.record(name), person="")
        ledger = self.ledger.with_record(name, record)
        return wish_for(name, self.decision, ledger, self.mandate, self.detected)

    def _put(self, name: str, record: SwitchRecord) -> None:
        """Into the ledger, if anything is new: what is new is written to the disk."""
        before = self.ledger.record(name)
        if record is not before and record != before:
            self.ledger = self.ledger.with_record(name, record)

    def _say(self, what: str, name: str, text: str, *, alarm: bool = False) -> None:
        self.remarks.append(Remark(what=what, actuator=name, text=text, alarm=alarm))

    # -- what the board shows --------------------------------------------------------------------

    def _look(self, name: str, facts: SwitchFacts, *, again: bool) -> None:
        before = self.ledger.record(name)
        record, found = observe(
            before, facts.shown(name), self.now, restarted=again, numbers=self.numbers
        )
        if found is Meaning.NOTHING:
            self._put(name, record)
            return
        run = self.ledger.run
        if found is not Meaning.NO_EFFECT and (key := f"{_NO_EFFECT} {name}") in run.told:
            self.ledger = _change(self.ledger, run=_change(run, told=run.told - {key}))
        if found in (Meaning.CLASH, Meaning.FORGOT):
            record = self._on_after_off(name, record, found)
        elif found is Meaning.READ_BACK:
            self._say("read_back", name, f"{name} off: read back.")
        elif found is Meaning.GIVEN_BACK:
            self._say("given_back", name, f"{name} on: read back.")
        elif found is Meaning.FOREIGN_OFF:
            text = f"{name} is off, and not by us: whoever switched it off gives it back."
            self._say("foreign_off", name, text)
        elif found is Meaning.FOREIGN_ON:
            self._say("foreign_on", name, f"{name} was switched on by somebody else.")
        else:
            self._without_effect(name, before.order)
        self._put(name, record)

    def _without_effect(self, name: str, order: Order | None) -> None:
        """A command that the board does not show: said once, however often it is repeated."""
        if order is None:
            return
        run, key = self.ledger.run, f"{_NO_EFFECT} {name}"
        if order.tries > 1 and key in run.told:
            return
        self.ledger = _change(self.ledger, run=_change(run, told=run.told | {key}))
        wanted, polls = "on" if order.on else "off", self.numbers.no_effect_polls
        text = f"{name} {wanted} was sent, and {polls} readings later the board still says no."
        if not order.on:
            text += " It is sent again and again until it does."
        self._say(_NO_EFFECT, name, text, alarm=True)

    def _on_after_off(self, name: str, record: SwitchRecord, found: Meaning) -> SwitchRecord:
        """The board shows on after an off of ours that was read back."""
        if self._wish(name).demand < Demand.OPEN:
            self._say("foreign_on", name, f"{name} was switched on before we gave it back.")
            return record
        if found is Meaning.FORGOT:
            text = f"The board restarted with {name} on"
            if self._first:
                text = f"{name} is on, and was off when the last program that acted ended"
            self._say("forgot", name, f"{text}: it is switched off once more.")
            return record
        now, window = self.now, self.numbers.clash_window
        clashes = (*(t for t in record.clashes if now - t < window), now)
        record = _change(record, clashes=clashes)
        if len(clashes) == 1:
            text = f"Somebody else switched {name} on against us: it is switched off once more."
            self._say("clash", name, text, alarm=True)
            return record
        text = (
            f"Somebody else switched {name} on against us twice within {window / 60:g} min. We "
            f"stand down and no longer hold it off ({', '.join(record.holders)}); an emergency is "
            "still answered, once. `bmslink control resume TARGET` ends this."
        )
        self._say("stand_down", name, text, alarm=True)
        return _change(record, down=now, owner=Owner.FOREIGN, holders=(), person="")

    # -- what people ask -------------------------------------------------------------------------

    def _ask(self, request: Request) -> None:
        told = answer(
            request,
            self.ledger,
            self.decision,
            self._wish_without_person,
            self.now,
            able=self.mandate.able,
            numbers=self.numbers,
            disk=self.disk,
        )
        self._take(told)

    def _take(self, told: RequestAnswer) -> None:
        self.ledger = told.ledger
        self.commands += told.commands
        self.remarks += told.remarks

    # -- what is wanted --------------------------------------------------------------------------

    def _act(self, name: str) -> None:
        wish = self._wish(name)
        record = self.ledger.record(name)
        if wish.demand >= Demand.OPEN:
            self._hold(name, record, wish)
        elif (
            record.own
            or record.held is not None
            or record.asserted
            or record.holders != wish.holders
        ):
            self._release(name, record, wish)

    def _hold(self, name: str, record: SwitchRecord, wish: SwitchWish) -> None:
        blind = self.decision.stale or not self.ledger.run.heard
        if blind and not wish.by_person:
            # it is wanted as before: a gap in the data makes no new command of an old one; where
            # nothing was heard yet, no policy has wanted it before
            held = record.held if self.ledger.run.heard else None
            self._put(name, _change(record, holders=wish.holders, waiting=None, held=held))
            return
        asserted = tuple(e for e in record.asserted if e in wish.emergencies)
        order = record.order
        if order is not None and not order.on and order.last == self.now:
            asserted = wish.emergencies  # somebody has asked for it in this very cycle
        new = not set(wish.emergencies) <= set(asserted)
        held = self.now if record.held is None else record.held
        off_sent = order is not None and not order.on and order.read_back is not True
        trying = off_sent and order is not None and order.last >= held
        down = record.down is not None
        holders = () if down else wish.holders
        if (record.holders, record.held, record.asserted) != (holders, held, asserted):
            record = _change(record, holders=holders, held=held, asserted=asserted)
        coming_on = order is not None and order.on and order.pending
        if record.seen is False and not coming_on:  # it is off
            record = record if record.waiting is None else _change(record, waiting=None)
        elif down and not new:
            if trying and asserted and order is not None and order.actor != BESIDE:
                record = self._again(name, record, wish)
        elif trying and not new:
            record = self._again(name, record, wish)
        elif wish.demand == Demand.OPEN_NOW or self._may_open(name, record):
            record = self._off(name, record, wish, repeat=False)
        elif record.waiting is None:
            record = _change(record, waiting=self.now)
        self._put(name, record)

    def _again(self, name: str, record: SwitchRecord, wish: SwitchWish) -> SwitchRecord:
        """The same off once more, if it is time."""
        order, numbers = record.order, self.numbers
        if order is None:
            return record
        wait = numbers.again if order.tries <= numbers.quick_tries else numbers.slow_again
        if self.now - order.last < wait:
            return record
        return self._off(name, record, wish, repeat=True)

    def _may_open(self, name: str, record: SwitchRecord) -> bool:
        """Whether a switch opens now: the current has fallen, or nobody makes it fall."""
        if not self.alive.get(name, False):
            return True
        mandate, numbers = self.mandate, self.numbers
        longest = numbers.soft_alternator if mandate.alternator else numbers.soft
        if record.waiting is None:
            if mandate.alternator:
                text = f"{name} opens within {longest:g} s: switch the alternator's field off."
                self._say("pre_alarm", name, text, alarm=True)
        elif self.now - record.waiting >= longest:
            return True
        current = self.facts.current if self.facts is not None else None
        least = max(numbers.break_current, 0.02 * mandate.capacity)
        return current is not None and abs(current) < least

    def _off(
        self, name: str, record: SwitchRecord, wish: SwitchWish, *, repeat: bool
    ) -> SwitchRecord:
        actor = "person" if wish.by_person else "policy"
        record, command = send_off(
            name,
            record,
            self.ledger.next_id,
            self.now,
            actor=actor,
            why=wish.why,
            repeat=repeat,
            settle=self.numbers.settle,
        )
        self.commands.append(command)
        if not repeat:
            self.ledger = _change(self.ledger, next_id=self.ledger.next_id + 1)
            self._say("off", name, f"{name} off: {wish.why}")
        return _change(record, asserted=wish.emergencies)

    def _release(self, name: str, record: SwitchRecord, wish: SwitchWish) -> None:
        record = _change(record, holders=wish.holders, held=None, waiting=None, asserted=())
        self._put(name, record)
        if not record.own:
            return
        word, why = obstacle(
            name,
            self.ledger,
            wish,
            self.facts,
            self.now,
            mandate=self.mandate,
            numbers=self.numbers,
            stale=self.decision.stale,
            disk=self.disk,
            joins=self.joins,
        )
        self._tell_once(name, word, why)
        if word:
            return
        record, command = send_on(
            name,
            record,
            self.ledger.next_id,
            self.now,
            actor="policy",
            why="nothing holds it off",
            settle=self.numbers.settle,
        )
        self.commands.append(command)
        self.ledger = _change(self.ledger, next_id=self.ledger.next_id + 1)
        self._put(name, record)
        self._say("on", name, f"{name} on: nothing holds it off any more.")

    def _tell_once(self, name: str, word: str, why: str) -> None:
        """What only a person can mend is said, once."""
        run = self.ledger.run
        told = run.told - {f"{word} {name}" for word in _FOR_PEOPLE}
        if word in _FOR_PEOPLE:
            key = f"{word} {name}"
            if key not in run.told:
                self._say(word, name, why, alarm=True)
            told |= {key}
        if told != run.told:
            self.ledger = _change(self.ledger, run=_change(run, told=told))
