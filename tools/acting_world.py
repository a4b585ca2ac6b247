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

import acting_laws as laws
import msgspec
from acting_laws import Side

from bmslink.control.act.actuator import Sent
from bmslink.control.act.facts import Facts
from bmslink.control.act.ledger import Ledger, load_ledger, save_ledger
from bmslink.control.act.mandate import Mandate
from bmslink.control.act.messages import (
    Command,
    EmergencyStop,
    PersonOff,
    PersonOn,
    Request,
    Reset,
    Resume,
)
from bmslink.control.act.numbers import ActingNumbers
from bmslink.control.act.reconciler import reconcile
from bmslink.control.decide.decision import Decision, Limits, PolicyVerdict
from bmslink.control.decide.limits import Limit, Permit, Reason
from bmslink.control.decide.policy import Demand, Mode, Severity

__all__ = ["CORE", "EXTRA", "LETTERS", "Plan", "World"]

POLL = 2.0
LATE = 5.0
"""How long a late effect takes, s: within what a command is given."""
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
    born: float = -1e7
    """When the board started."""
    effect: str = "now"
    """What becomes of a command: `now`, `none`, `late`."""
    stale: bool = False
    sink: bool = True
    disk: bool = True
    kept: tuple[Ledger, float, tuple[Side, ...], bool] | None = None
    """What the disk holds, where it could not be written since."""
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
        plan = msgspec.structs.replace(plan, mandate=msgspec.structs.replace(plan.mandate, able=able))
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
        facts = None if self.stale else self._facts()
        decision = _decision(self._demands(), self.stale)
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
        self.now += 3.0
        self.ledger = load_ledger(plain, "pack", self.now)
        self.started, self.heard, self.good = self.now, False, 0
        for side in self.sides:
            side.hold, side.tries, side.waiting = False, 0, None
            if side.coming_on:  # how long the program was gone nobody knows
                side.on_at = self.now
            if side.over is not None:
                side.over = self.now

    # -- the board -------------------------------------------------------------------------------

    def _facts(self) -> Facts:
        shown = {side.name: side.on for side in self.sides}
        return Facts(
            **shown,
            protected=tuple(side.name for side in self.sides if side.protected),
            current=self.current(),
            uptime=self.now - self.born,
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
            self._set(side, on, ours=True)

    def _set(self, side: Side, on: bool, *, ours: bool) -> None:
        if side.on is on:
            return
        if not on:
            side.foreign = not ours and laws.could_be_told(side)
        side.on = on

    def _send(self, command: Command) -> None:
        side = self.side(command.actuator)
        laws.note_sent(self, side, command)
        targets = [(side, command.on)]
        others: dict[str, bool] = {}
        if self.plan.one_word:
            for other in self.sides:
                if other is not side:
                    others[other.name] = self._beside(other)
                    targets.append((other, others[other.name]))
        for each, on in targets:
            if self.effect == "now":
                each.due = ()
                self._set(each, on, ours=True)
            elif self.effect == "late":
                each.due = (*each.due, (self.now + LATE, on))
        told = Sent(sent=True, acknowledged=True, others=others)
        self.ledger = self.ledger.heard_of(command.actuator, command.id, told)
        for other in self.sides:
            if other is not side and other.name in others:
                laws.note_beside(self, other, others[other.name])

    def _beside(self, other: Side) -> bool:
        """How the frame for one switch sets the other, as a driver makes it: as the board shows
        it, and where a protection hides that, as our last confirmed command left it, or off."""
        hidden = any(side.protected for side in self.sides) and not any(
            side.on for side in self.sides
        )
        if not hidden:
            return other.on
        return bool(self.ledger.remembered(other.name))


# -- the alphabet --------------------------------------------------------------------------------


def _violation(world: World, side: Side) -> None:
    side.trip = True
    world.cycle()


def _emergency(world: World, side: Side) -> None:
    if not side.emergency:
        side.answered = False
    side.emergency = True
    world.cycle()


def _protection(world: World, side: Side) -> None:
    side.protected = True
    world.cycle()


def _clear(world: World, side: Side) -> None:
    side.trip = side.emergency = side.protected = False
    world.cycle()


def _stale(world: World, side: Side) -> None:
    world.stale = True
    world.good = 0
    world.cycle()


def _good_again(world: World, side: Side) -> None:
    world.stale = False
    world.cycle()


def _person_on(world: World, side: Side) -> None:
    world.cycle(POLL, PersonOn(side.name, WHO))


def _person_off(world: World, side: Side) -> None:
    world.cycle(POLL, PersonOff(side.name, WHO))


def _app_on(world: World, side: Side) -> None:
    world._set(side, True, ours=False)
    world.cycle()


def _app_off(world: World, side: Side) -> None:
    world._set(side, False, ours=False)
    world.cycle()


def _effect(kind: str) -> Callable[[World, Side], None]:
    def change(world: World, side: Side) -> None:
        world.effect = kind
        world.cycle()

    return change


def _reboot(world: World, side: Side) -> None:
    world.born, world.rebooted = world.now, True
    for each in world.sides:
        each.due = ()


def _reboot_kept(world: World, side: Side) -> None:
    _reboot(world, side)
    world.cycle()


def _reboot_forgot(world: World, side: Side) -> None:
    _reboot(world, side)
    for each in world.sides:
        world._set(each, True, ours=False)
    world.cycle()


def _crash(world: World, side: Side) -> None:
    world.restart()
    world.cycle()


def _crash_midway(world: World, side: Side) -> None:
    world.cycle(midway=True)


def _sink_dies(world: World, side: Side) -> None:
    world.sink = False
    world.cycle()


def _sink_back(world: World, side: Side) -> None:
    world.sink = True
    world.cycle()


def _disk_full(world: World, side: Side) -> None:
    if world.disk:
        memory = tuple(copy.copy(each) for each in world.sides)
        world.disk, world.kept = False, (world.ledger, world.now, memory, world.stop)
    world.cycle()


def _stop(world: World, side: Side) -> None:
    world.cycle(POLL, EmergencyStop(WHO))


def _reset(world: World, side: Side) -> None:
    world.cycle(POLL, Reset(WHO))


def _resume(world: World, side: Side) -> None:
    world.cycle(POLL, Resume(WHO))


def _time(*steps: float) -> Callable[[World, Side], None]:
    def passes(world: World, side: Side) -> None:
        for seconds in steps:
            world.cycle(seconds)

    return passes


LETTERS: dict[str, Callable[[World, Side], None]] = {
    "violation": _violation,
    "clear": _clear,
    "stale": _stale,
    "good again": _good_again,
    "person on": _person_on,
    "person off": _person_off,
    "app on": _app_on,
    "app off": _app_off,
    "effect": _effect("now"),
    "no effect": _effect("none"),
    "late effect": _effect("late"),
    "reboot remembers": _reboot_kept,
    "reboot forgets": _reboot_forgot,
    "crash": _crash,
    "sink dies": _sink_dies,
    "2 s": _time(POLL),
    "a minute": _time(POLL, 60.0),
    "ten minutes": _time(POLL, 60.0, 600.0),
    "a day": _time(POLL, 60.0, 600.0, 90000.0),
    "emergency": _emergency,
    "crash midway": _crash_midway,
    "protection": _protection,
    "sink back": _sink_back,
    "disk full": _disk_full,
    "stop": _stop,
    "reset": _reset,
    "resume": _resume,
}
CORE = tuple(LETTERS)[:19]
"""Those of every exploration; time moves in four steps."""
EXTRA = tuple(LETTERS)[19:]
CONCERNS_ONE = frozenset(
    ("violation", "clear", "person on", "person off", "app on", "app off", "emergency")
)
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
def _decision(demands: tuple[Demand, ...], stale: bool) -> Decision:
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
