"""A board, a charger, an app, a person and a program that acts: the truth beside the ledger.

What the board does, who switched it and what the readings showed is kept here, by itself, and
never taken from what the program says of it. `acting_laws` judges by that. One letter of the
alphabet is one thing that happens, followed by at least one poll.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from functools import lru_cache

import msgspec

import acting_laws as laws
from acting_laws import Side
from bmslink.control.act.actuator import Sent
from bmslink.control.act.facts import SwitchFacts
from bmslink.control.act.ledger import Ledger, load_ledger, save_ledger
from bmslink.control.act.mandate import Mandate
from bmslink.control.act.messages import (
    EmergencyStop,
    PersonOff,
    PersonOn,
    Request,
    ResetStop,
    Resume,
    SwitchCommand,
)
from bmslink.control.act.numbers import ActingNumbers
from bmslink.control.act.reconciler import reconcile
from bmslink.control.decide.decision import Decision, Limits, PolicyVerdict
from bmslink.control.decide.limits import Limit, Permit, Reason
from bmslink.control.decide.policy import Demand, Mode, Severity

__all__ = ["CONCERNS_ONE", "CORE", "EXTRA", "LETTERS", "POLL", "Plan", "World", "decision_for"]

POLL = 2.0
LATE = 5.0
"""How long a late effect takes, s: within what a command is given."""
GONE = 3.0
"""How long the program is gone when it was killed, s; what counts within a window is not
older by it, nor by the time since the disk was written."""
FLOW = 50.0
"""A, while the switch is on and nothing limits it."""
WHO = "anna"
TRIP, EMERGENCY, MIRROR = "trip", "emergency", "mirror"


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What does not change within one exploration."""

    switches: tuple[str, ...] = ("charge",)
    mandate: Mandate = Mandate(enforce=True, host_power="other")
    numbers: ActingNumbers = ActingNumbers()
    obeys: bool = True
    """What limits the current lets it fall when it is asked to."""
    one_word: bool = False
    """One frame sets both switches, as JBD's E1 does."""


class World(msgspec.Struct, kw_only=True):
    """Everything at one moment. Copied, never shared."""

    plan: Plan
    ledger: Ledger
    sides: list[Side]
    now: float = 0.0
    uptime: float = 1e15
    """What the board counted when it last started. It is less each time, so that every restart
    shows; one that does not is to everybody the same as an app that switches on."""
    born: float = 0.0
    """When that was."""
    effect: str = "now"
    """What becomes of a command: `now`, `none`, `late`."""
    stale: bool = False
    sink: bool = True
    disk: bool = True
    kept: tuple[Ledger, float, tuple[Side, ...], bool] | None = None
    """What the disk holds, where it could not be written since."""
    flow: float = 0.0
    """A, in this cycle."""
    rebooted: bool = False
    """Since the last reading."""
    started: float = 0.0
    heard: bool = False
    good: int = 0
    stop: bool = False
    ons: int = 0
    offs: int = 0
    """Sent by the program since the beginning, repeats left out."""

    @classmethod
    def new(cls, plan: Plan) -> World:
        """Everything on, the program just started."""
        able = frozenset(plan.switches)
        plan = msgspec.structs.replace(
            plan, mandate=msgspec.structs.replace(plan.mandate, able=able)
        )
        sides = [Side(name=name) for name in plan.switches]
        return cls(plan=plan, ledger=Ledger.new("pack", 0.0), sides=sides)

    def copy(self) -> World:
        """Another one that nothing done to this one changes."""
        other = copy.copy(self)
        other.sides = [copy.copy(side) for side in self.sides]
        return other

    def side(self, name: str) -> Side:
        """One switch."""
        return next(side for side in self.sides if side.name == name)

    # -- one letter ------------------------------------------------------------------------------

    def step(self, letter: str, name: str = "") -> None:
        """Let something happen (to one switch, where it concerns one). Raises `laws.Broken`."""
        LETTERS[letter](self, self.side(name or self.plan.switches[0]))

    def cycle(self, seconds: float = POLL, *requests: Request, midway: bool = False) -> None:
        """Time passes, then one poll. `midway`: the program dies in it."""
        self.now += seconds
        for side in self.sides:
            self._effects(side)
        self.flow = self.current()
        facts = None if self.stale else self._facts()
        decision = decision_for(self._demands(), self.stale)
        before = self.ledger
        result = reconcile(
            before,
            decision,
            facts,
            {"charge": self.sink, "discharge": self.sink},
            self.now,
            mandate=self.plan.mandate,
            numbers=self.plan.numbers,
            requests=requests,
            disk=self.disk,
        )
        memory = [copy.copy(side) for side in self.sides]
        laws.judge_cycle(self, facts, requests, result)
        sent = [c for c in result.commands if not (midway and c.on)]
        self.ledger = result.ledger
        for command in sent:
            self._send(command)
        laws.judge_ledger(self)
        if facts is not None:
            self.rebooted = False
        if not midway:
            return
        if sent or not result.commands:  # an off does not wait for the disk: it was not written
            for side, old in zip(self.sides, memory, strict=True):
                laws.forget_reading(side, old)
            self.ledger = before
        else:
            for command in result.commands:  # it was written down: perhaps it was sent, too
                side = self.side(command.actuator)
                side.coming_on, side.on_at = True, self.now
                side.vain += 1
        self.restart()

    def restart(self) -> None:
        """The program is gone, and begins again with what the disk holds."""
        ledger, saved = self.ledger, self.now
        if self.kept is not None:
            ledger, saved, memory, self.stop = self.kept
            for side, old in zip(self.sides, memory, strict=True):
                laws.forget_reading(side, old)
        self.disk, self.kept = True, None
        plain = json.loads(json.dumps(save_ledger(ledger, saved), allow_nan=False))
        self.now += GONE
        for side in self.sides:
            for name in ("clashes", "writes", "ons"):
                moved = tuple(t + self.now - saved for t in getattr(side, name))
                setattr(side, name, moved)
        self.ledger = load_ledger(plain, "pack", self.now)
        self.started, self.heard, self.good = self.now, False, 0
        for side in self.sides:
            side.hold, side.tries, side.waiting = False, 0, None
            if side.coming_on:  # how long the program was gone nobody knows
                side.on_at = self.now
            if side.over is not None:
                side.over = self.now
            side.aged = True
            side.unread = side.on_over = False  # the first reading tells what became of an off

    # -- the board -------------------------------------------------------------------------------

    def _facts(self) -> SwitchFacts:
        hidden = self.plan.one_word and self._hidden()
        shown = {side.name: None if hidden else side.on for side in self.sides}
        return SwitchFacts(
            charge=shown.get("charge"),
            discharge=shown.get("discharge"),
            protected=tuple(side.name for side in self.sides if side.protected),
            current=self.flow,
            uptime=self.uptime + self.now - self.born,
        )

    def current(self) -> float:
        """A. It falls within a poll where what limits it obeys."""
        side = self.sides[0]
        asked = self.sink and self.plan.obeys and side.asked is not None
        fallen = asked and side.asked is not None and self.now - side.asked >= POLL
        return FLOW if side.on and not fallen else 0.0

    def _demands(self) -> tuple[Demand, ...]:
        return tuple(side.demand for side in self.sides)

    def _effects(self, side: Side) -> None:
        while side.due and side.due[0][0] <= self.now:
            (_, on), *rest = side.due
            side.due = tuple(rest)
            self.turn(side, on, ours=True)

    def turn(self, side: Side, on: bool, *, ours: bool) -> None:
        """The board's switch moves: by our command, or by somebody else."""
        if side.on is on:
            return
        if not on:
            side.foreign = not ours and laws.could_be_told(side)
        side.on = on

    def _send(self, command: SwitchCommand) -> None:
        side = self.side(command.actuator)
        laws.note_sent(self, side, command)
        targets, hidden = {side.name: command.on}, self._hidden()
        others: dict[str, bool] = {}
        if self.plan.one_word:
            others = {each.name: self._beside(each) for each in self.sides if each is not side}
        for name, on in others.items():
            laws.note_beside(self, self.side(name), on=on, hidden=hidden)
        for name, on in (targets | others).items():
            each = self.side(name)
            if self.effect == "now":
                each.due = ()
                self.turn(each, on, ours=True)
            elif self.effect == "late":
                each.due = (*each.due, (self.now + LATE, on))
        doubt = "it does not show" if hidden and others else ""
        told = Sent(sent=True, acknowledged=True, others=others, doubt=doubt)
        self.ledger = self.ledger.heard_of(command.actuator, command.id, told)

    def _beside(self, other: Side) -> bool:
        """How the frame for one switch sets the other, as a driver makes it: as the board shows
        it, and where a protection hides that, as our last confirmed command left it, or off."""
        if not self._hidden():
            return other.on
        return bool(self.ledger.remembered(other.name))

    def _hidden(self) -> bool:
        protected = any(side.protected for side in self.sides)
        return protected and not any(side.on for side in self.sides)

    # -- what happens ----------------------------------------------------------------------------

    def change(self, **fields: object) -> None:
        """Something of the world is otherwise from now on; then a poll."""
        for name, value in fields.items():
            setattr(self, name, value)
        self.cycle()

    def demand(self, side: Side, **fields: bool) -> None:
        """The policies want something else of a switch; then a poll."""
        for name, value in fields.items():
            setattr(side, name, value)
        self.cycle()

    def app(self, side: Side, *, on: bool) -> None:
        """Somebody else switches; then a poll."""
        self.turn(side, on, ours=False)
        self.cycle()

    def fire(self, side: Side) -> None:
        """An emergency, new unless there is one already; then a poll."""
        side.answered = side.answered and side.emergency
        self.demand(side, emergency=True)

    def reboot(self, *, forgets: bool) -> None:
        """The board starts anew; then a poll."""
        self.uptime, self.born, self.rebooted = self.uptime / 10, self.now, True
        for each in self.sides:
            each.due = ()
            if forgets:
                self.turn(each, True, ours=False)
        self.cycle()

    def crash(self) -> None:
        """The program is killed between two polls, and starts again."""
        self.restart()
        self.cycle()

    def fill_disk(self) -> None:
        """From now on nothing can be written; then a poll."""
        if self.disk:
            memory = tuple(copy.copy(each) for each in self.sides)
            self.disk, self.kept = False, (self.ledger, self.now, memory, self.stop)
        self.cycle()

    def wait(self, *steps: float) -> None:
        """Time passes, with a poll after each step."""
        for seconds in steps:
            self.cycle(seconds)


# -- the alphabet --------------------------------------------------------------------------------

LETTERS: dict[str, Callable[[World, Side], None]] = {
    "violation": lambda w, side: w.demand(side, trip=True),
    "clear": lambda w, side: w.demand(side, trip=False, emergency=False, protected=False),
    "stale": lambda w, side: w.change(stale=True, good=0),
    "good again": lambda w, side: w.change(stale=False),
    "person on": lambda w, side: w.cycle(POLL, PersonOn(side.name, WHO)),
    "person off": lambda w, side: w.cycle(POLL, PersonOff(side.name, WHO)),
    "app on": lambda w, side: w.app(side, on=True),
    "app off": lambda w, side: w.app(side, on=False),
    "effect": lambda w, side: w.change(effect="now"),
    "no effect": lambda w, side: w.change(effect="none"),
    "late effect": lambda w, side: w.change(effect="late"),
    "reboot remembers": lambda w, side: w.reboot(forgets=False),
    "reboot forgets": lambda w, side: w.reboot(forgets=True),
    "crash": lambda w, side: w.crash(),
    "sink dies": lambda w, side: w.change(sink=False),
    "2 s": lambda w, side: w.wait(POLL),
    "a minute": lambda w, side: w.wait(POLL, 60.0),
    "ten minutes": lambda w, side: w.wait(POLL, 60.0, 600.0),
    "a day": lambda w, side: w.wait(POLL, 60.0, 600.0, 90000.0),
    "emergency": lambda w, side: w.fire(side),
    "crash midway": lambda w, side: w.cycle(midway=True),
    "protection": lambda w, side: w.demand(side, protected=True),
    "sink back": lambda w, side: w.change(sink=True),
    "disk full": lambda w, side: w.fill_disk(),
    "stop": lambda w, side: w.cycle(POLL, EmergencyStop(WHO)),
    "reset": lambda w, side: w.cycle(POLL, ResetStop(WHO)),
    "resume": lambda w, side: w.cycle(POLL, Resume(WHO)),
}
CORE = tuple(LETTERS)[:19]
"""Those of every exploration; time moves in four steps."""
EXTRA = tuple(LETTERS)[19:]
CONCERNS_ONE = frozenset(
    ("violation", "clear", "person on", "person off", "app on", "app off", "emergency",
     "protection")
)  # fmt: skip
"""Of the letters, those that mean one switch."""


# -- what the engine would say -------------------------------------------------------------------

_NOTHING = Limit(0.0, (Reason("rating", 0.0, "as rated"),))
_LIMITS = Limits(_NOTHING, _NOTHING, _NOTHING, _NOTHING)
_POLICY = {
    Demand.NO_ENABLE: MIRROR,
    Demand.OPEN: TRIP,
    Demand.OPEN_NOW: EMERGENCY,
}


@lru_cache(maxsize=64)
def decision_for(demands: tuple[Demand, ...], stale: bool) -> Decision:
    """What the engine would say where this is wanted of the switches."""
    permits = [
        Permit(d, (Reason(_POLICY[d], 0.0, f"{_POLICY[d]}"),)) if d else Permit() for d in demands
    ]
    permits += [Permit()] * (3 - len(permits))
    urgent = PolicyVerdict(EMERGENCY, Mode.ENFORCE, Severity.EMERGENCY, "latched", "emergency")
    return Decision(
        time=0.0,
        charge=permits[0],
        discharge=permits[1],
        balance=permits[2],
        limits=_LIMITS,
        verdicts=(urgent,) if Demand.OPEN_NOW in demands else (),
        stale=stale,
        quality={},
        bms={},
    )
