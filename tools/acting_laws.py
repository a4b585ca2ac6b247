"""What must hold of everything that acts on a switch, judged by the truth beside the ledger.

A1 no enable without our own disable; A2 what cannot be read is never done; A4 old data and a
mirror send nothing; A5 one switch leaves the other alone; A6 the same input again sends nothing; A7
budgets; A8 an off waits for nobody; A10 shadow sends nothing; A11 what somebody else switched off
is not switched on. A3 (a restart permits nothing sooner) is in all of them: the clocks here know of
no restart but where that makes things later. A9 belongs to sessions, A12 to limits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from bmslink.control.act.facts import SwitchFacts
from bmslink.control.act.messages import (
    EmergencyStop,
    PersonOff,
    PersonOn,
    Request,
    ResetStop,
    Resume,
    SwitchCommand,
)
from bmslink.control.act.numbers import DAY, HOUR
from bmslink.control.act.reconciler import Reconciled, reconcile
from bmslink.control.decide.policy import Demand

if TYPE_CHECKING:
    from acting_world import World

__all__ = [
    "Broken",
    "Side",
    "could_be_told",
    "forget_reading",
    "judge_cycle",
    "judge_ledger",
    "note_beside",
    "note_sent",
]


_CLOCK = 1e-6
"""s by which sums of times may differ."""


class Broken(Exception):
    """A law that does not hold, by its name."""

    def __init__(self, law: str, text: str) -> None:
        super().__init__(f"{law}: {text}")
        self.law = law


class Side(msgspec.Struct, kw_only=True):
    """One switch: the truth, and what somebody could know who saw every reading and frame."""

    name: str
    on: bool = True
    due: tuple[tuple[float, bool], ...] = ()
    """Late effects that are still to come."""
    trip: bool = False
    emergency: bool = False
    protected: bool = False

    shown: bool | None = None
    """By the last reading."""
    own_off: bool = False
    """Our off went out, and no reading has shown since that it is over."""
    off_at: float | None = None
    on_at: float | None = None
    coming_on: bool = False
    """Our on went out last, and no reading has shown yet whether it took effect."""
    on_over: bool = False
    """That on went out while our off could still take effect."""
    prior: bool | None = None
    """What the readings showed before our off."""
    shown_off: bool = False
    """A reading showed it off since our last off went out, and it could be that off."""
    aged: bool = False
    """The program was killed since that off went out: the next reading that shows on ends it."""
    unread: bool = False
    """No reading has told yet what became of our last off."""
    over: float | None = None
    """When an off went out while our on could still take effect."""
    foreign: bool = False
    """Somebody else switched it off as it is now, and that could be told."""
    foreign_shown: bool = False
    """And a reading showed it."""
    person: bool = False
    """A person's off is in force."""
    clashes: tuple[float, ...] = ()
    down: bool = False
    answered: bool = False
    """The emergency was answered with an off."""
    hold: bool = False
    tries: int = 0
    """Offs since it was wanted, or since one was read back."""
    waiting: float | None = None
    asked: float | None = None
    """Since when no current is wanted."""
    vain: int = 0
    """Ons since the last off that no reading showed."""
    ons: tuple[float, ...] = ()
    writes: tuple[float, ...] = ()

    @property
    def demand(self) -> Demand:
        """What the policies want."""
        if self.emergency:
            return Demand.OPEN_NOW
        if self.trip:
            return Demand.OPEN
        return Demand.NO_ENABLE if self.protected else Demand.FREE


def could_be_told(side: Side) -> bool:
    """Whether somebody who saw every reading and every frame of ours could tell that it was not us
    who switched off just now."""
    beside = any(not on for _, on in side.due)
    return side.shown is True and not side.own_off and not beside


def forget_reading(side: Side, old: Side) -> None:
    """The program died before it wrote down what it saw and sent: by all that it can know, what it
    switched off then was somebody else. It stays off until a person switches it on."""
    for name in _MEMORY:
        setattr(side, name, getattr(old, name))
    side.answered = side.answered and old.emergency  # what is answered is over with its cause
    side.foreign = side.foreign and (side.foreign_shown or could_be_told(side))


_MEMORY = ("shown", "shown_off", "own_off", "unread", "prior", "foreign_shown", "over", "on_over",
           "coming_on", "vain", "writes", "clashes", "down", "person", "answered")  # fmt: skip


def _wanted(world: World, side: Side) -> bool:
    """By a policy."""
    mandate = world.plan.mandate
    return mandate.enforce and side.name in mandate.actuators and side.demand >= Demand.OPEN


def _unanswered(world: World, side: Side) -> bool:
    """An emergency that no off has answered yet."""
    return side.emergency and _wanted(world, side) and not side.answered


# -- one cycle -----------------------------------------------------------------------------------


def judge_cycle(
    world: World, facts: SwitchFacts | None, requests: Sequence[Request], result: Reconciled
) -> None:
    """Judge what a cycle is about to send. Raises `Broken`."""
    first = not world.heard
    if facts is not None:
        world.heard = True
        world.good = min(world.good + 1, world.plan.numbers.good_samples)
        for side in world.sides:
            if facts.shown(side.name) is not None:
                _read(world, side, first=first)
    people = _people(world, requests)
    for side in world.sides:
        _prepare(world, side)
        commands = [c for c in result.commands if c.actuator == side.name]
        for command in commands:
            if command.on:
                _judge_on(world, side, command, allowed=side.name in people["may"])
            else:
                _judge_off(world, side, asked=side.name in people["off"])
        if len(commands) > 1:
            raise Broken("A6", f"{len(commands)} commands to {side.name} in one cycle")
        _judge_missing(world, side, facts, commands, people)
    wants_on = any(isinstance(request, PersonOn) for request in requests)  # a full disk refuses it
    if any(not c.on for c in result.commands) and not wants_on:
        _judge_latency(world, facts, requests, result)
    if any(isinstance(request, Resume) for request in requests):
        for side in world.sides:
            if side.down:
                side.down, side.clashes, side.hold, side.tries = False, (), False, 0


def _read(world: World, side: Side, *, first: bool) -> None:
    """A reading shows the switch; `first`: since the program started."""
    now, numbers = world.now, world.plan.numbers
    if not side.on:
        side.on_over = side.on_over and side.shown is not True
        side.shown = False
        early = side.over is not None and now - side.over <= numbers.settle
        side.shown_off = side.shown_off or not early
        if side.shown_off:
            side.tries = 0
        side.unread = side.unread and early
        side.foreign_shown = side.foreign
        if side.coming_on and side.on_at is not None and now - side.on_at > numbers.settle:
            side.coming_on = False
        return
    confirmed = side.own_off and side.shown_off and side.shown is False and not side.coming_on
    wanted = _wanted(world, side) or side.person or world.stop
    if confirmed and wanted and not (world.rebooted or first):
        recent = tuple(t for t in side.clashes if now - t < numbers.clash_window)
        side.clashes = (*recent, now)
        if len(side.clashes) > 1:
            side.down, side.person = True, False
    anew = first or world.rebooted  # what restarted has nothing under way any more
    over = anew or side.aged or side.off_at is None or now - side.off_at > numbers.settle
    side.unread = side.unread and not over
    if side.own_off and (over or side.shown_off):
        side.own_off = False
    side.over = None if side.shown is False else side.over
    side.shown = True
    side.foreign = side.foreign_shown = False
    off_at = -math.inf if side.off_at is None else side.off_at
    early = side.on_over and now - off_at <= numbers.settle
    if not early or anew:
        if side.coming_on:  # our on took effect: what we took is given back
            side.over, side.own_off = None, False
        side.coming_on, side.vain = False, 0


def _people(world: World, requests: Sequence[Request]) -> dict[str, set[str]]:
    """What people may ask now, and get."""
    found: dict[str, set[str]] = {"on": set(), "off": set(), "may": set()}
    for request in requests:
        if isinstance(request, PersonOff):
            world.side(request.actuator).person = True
            found["off"].add(request.actuator)
        elif isinstance(request, EmergencyStop):
            world.stop = True
            found["off"] |= {side.name for side in world.sides}
        elif isinstance(request, ResetStop):
            world.stop = False
        elif isinstance(request, PersonOn):
            side = world.side(request.actuator)
            free = not world.plan.mandate.enforce or side.demand == Demand.FREE
            open_off = side.unread or (side.aged and side.own_off)  # no reading tells of it yet
            settled = side.shown is True and not open_off
            possible = settled or (world.disk and _today(world) < _budget(world))
            if free and not world.stop and possible:
                side.person = False
                found["may"].add(request.actuator)
                if side.shown is not True:
                    found["on"].add(request.actuator)
    return found


def _prepare(world: World, side: Side) -> None:
    """Since when an off is wanted. A gap in the data makes no new off of an old one."""
    by_person = side.person or world.stop
    if not by_person and world.heard and world.stale and _wanted(world, side):
        side.waiting, side.asked = None, None
        return
    if not by_person and not (_wanted(world, side) and world.heard):
        side.hold, side.waiting, side.asked = False, None, None
        side.tries = 0
        return
    if not side.hold:
        side.tries = 0
    side.hold = True
    if side.asked is None:
        side.asked = world.now


def _judge_off(world: World, side: Side, *, asked: bool) -> None:
    numbers, now = world.plan.numbers, world.now
    if asked:
        side.tries = 0
        return
    by_person = side.person or world.stop
    if not by_person:
        if world.stale or not world.heard:
            raise Broken("A4", f"{side.name} off is sent on old data")
        if not _wanted(world, side):
            law = "A10" if not world.plan.mandate.enforce else "A4"
            raise Broken(law, f"{side.name} off is sent, and nothing that acts wants it")
    if side.shown is False and not side.coming_on:
        raise Broken("A6", f"{side.name} off is sent though it was read back")
    if side.down and not side.emergency and not world.stop:
        raise Broken("A11", f"{side.name} off is sent while we stand down")
    if side.down and side.answered and not side.tries:
        raise Broken("A11", f"{side.name}: an emergency is answered twice while we stand down")
    new = _unanswered(world, side)
    side.tries = 0 if new else side.tries
    if (
        side.tries
        and side.off_at is not None
        and now - side.off_at < _wait(world, side)
        and not new
    ):
        raise Broken("A6", f"{side.name} off is repeated after {now - side.off_at:g} s")
    soft = not by_person and not side.emergency and world.sink and not side.tries
    if soft and abs(world.flow) >= numbers.break_current:
        waited = 0.0 if side.waiting is None else now - side.waiting
        if waited < _soft(world):
            raise Broken("soft", f"{side.name} opens under current after {waited:g} s")


def _judge_on(world: World, side: Side, command: SwitchCommand, *, allowed: bool) -> None:
    numbers, now = world.plan.numbers, world.now
    if _today(world) >= numbers.writes_a_day:
        raise Broken("A7", f"{side.name} on is write {_today(world) + 1} of the day")
    if not world.disk:
        raise Broken("disk", f"{side.name} on is sent though the ledger cannot be written")
    if world.stop:
        raise Broken("stop", f"{side.name} on is sent during an emergency stop")
    if command.actor != "policy":
        if not allowed:
            raise Broken("person", f"{side.name} on is sent for a person who may not")
        return
    if not world.plan.mandate.enforce:
        raise Broken("A10", f"{side.name} on is sent in shadow")
    if not side.own_off:
        raise Broken("A1", f"{side.name} on is sent, and we did not switch it off")
    if side.prior is not True:
        raise Broken("A1", f"{side.name} on is sent, and it was not on before")
    if side.foreign_shown:
        raise Broken("A11", f"{side.name} on is sent over somebody else's off")
    if side.down:
        raise Broken("A11", f"{side.name} on is sent while we stand down")
    if side.person:
        raise Broken("person", f"{side.name} on is sent over a person's off")
    if side.demand != Demand.FREE:
        raise Broken("A4", f"{side.name} on is sent while {side.demand.name} is wanted")
    if world.stale or world.good < numbers.good_samples:
        raise Broken("A4", f"{side.name} on is sent after {world.good} good samples")
    if side.shown is not False or not side.shown_off:
        raise Broken("A2", f"{side.name} on is sent though no reading showed it off")
    if now - world.started < numbers.after_start - _CLOCK:
        raise Broken("A3", f"{side.name} on is sent {now - world.started:g} s after the start")
    if side.off_at is not None and now - side.off_at < numbers.min_off - _CLOCK:
        raise Broken("A3", f"{side.name} on is sent {now - side.off_at:g} s after the off")
    hour = [t for t in side.ons if now - t < HOUR]
    if len(hour) >= numbers.enables_an_hour:
        raise Broken("A7", f"{side.name} on is number {len(hour) + 1} within an hour")
    if hour and now - hour[-1] < numbers.enable_apart - _CLOCK:
        raise Broken("A7", f"{side.name} on is sent {now - hour[-1]:g} s after the last")


def _judge_missing(
    world: World,
    side: Side,
    facts: SwitchFacts | None,
    commands: Sequence[SwitchCommand],
    people: dict[str, set[str]],
) -> None:
    """What should have been sent and was not."""
    if side.name in people["on"] and not any(c.on for c in commands):
        raise Broken("person", f"{side.name} on is not sent for a person who may")
    if side.name in people["off"] and all(c.on for c in commands):
        raise Broken("A8", f"{side.name} off is not sent for a person")
    if facts is None or not side.hold or any(not c.on for c in commands):
        return
    if side.shown is False and not side.coming_on:
        side.waiting = None
        return
    urgent = side.emergency or side.person or world.stop
    if side.down:
        missing = _unanswered(world, side)
    elif side.tries and not _unanswered(world, side):
        missing = side.off_at is None or world.now - side.off_at >= _wait(world, side)
    elif urgent or not world.sink:
        missing = True
    else:
        if side.waiting is None:
            side.waiting = world.now
        small = abs(world.flow) < world.plan.numbers.break_current
        missing = small or world.now - side.waiting >= _soft(world)
    if missing and (_wanted(world, side) or side.person or world.stop):
        raise Broken("A8", f"{side.name} off is wanted, it shows on, and nothing is sent")


def _judge_latency(
    world: World, facts: SwitchFacts | None, requests: Sequence[Request], result: Reconciled
) -> None:
    """The same offs go out in the same cycle with a disk that is full, and the other way round."""
    from acting_world import decision_for

    again = reconcile(
        world.ledger,
        decision_for(tuple(side.demand for side in world.sides), world.stale),
        facts,
        {"charge": world.sink, "discharge": world.sink},
        world.now,
        mandate=world.plan.mandate,
        numbers=world.plan.numbers,
        requests=requests,
        disk=not world.disk,
    )
    offs = [[(c.actuator, c.repeat) for c in r.commands if not c.on] for r in (result, again)]
    if offs[0] != offs[1]:
        raise Broken("A8", "what is switched off depends on the disk")
    order = [c.on for c in result.commands]
    if order != sorted(order):
        raise Broken("A8", "an off waits for an on")


def judge_ledger(world: World) -> None:
    """What the ledger claims to have read back must have been shown. Raises `Broken`."""
    for side in world.sides:
        record = world.ledger.record(side.name)
        if record.own and record.confirmed and not side.shown_off:
            raise Broken("A2", f"{side.name} off counts as read back, and no reading showed it")
        order = record.order
        if order is not None and order.on and order.read_back and side.coming_on:
            raise Broken("A2", f"{side.name} on counts as read back, and no reading showed it")


# -- what went out -------------------------------------------------------------------------------


def note_sent(world: World, side: Side, command: SwitchCommand) -> None:
    """A frame is on the wire."""
    now = world.now
    if command.on:
        late = side.off_at is None or now - side.off_at > world.plan.numbers.settle
        open_off = side.unread and not late and not (side.own_off and side.shown_off)
        side.on_over = side.on_over if side.coming_on else open_off
        side.on_at, side.coming_on = now, True
        side.vain += 1
        side.ons = (*(t for t in side.ons if now - t < HOUR), now)
        side.writes = (*(t for t in side.writes if now - t < DAY), now)
        world.ons += 1
        return
    if not command.repeat:
        side.writes = (*(t for t in side.writes if now - t < DAY), now)
        world.offs += 1
    if side.own_off and side.prior is None and side.off_at == now:
        side.prior = side.shown  # the frame for the other switch went out a moment before
    _took(world, side)
    side.tries += 1
    side.answered = side.answered or side.emergency


def _took(world: World, side: Side) -> None:
    now, settle = world.now, world.plan.numbers.settle
    if not side.own_off and side.shown is not False:
        side.own_off, side.prior = True, side.shown
    # a second off changes nothing of what a reading has shown of the first
    side.shown_off = side.shown_off and side.shown is False and not side.coming_on
    side.aged = False
    coming = side.coming_on and side.on_at is not None and now - side.on_at <= settle
    side.over = now if coming else None if side.coming_on else side.over
    if side.coming_on and side.shown is False:
        side.shown = None  # it showed off before an on that nobody saw
    side.off_at, side.coming_on, side.waiting, side.unread = now, False, None, True
    side.vain = 0
    if not side.foreign_shown:
        side.foreign = False  # from now on a reading may show ours


def note_beside(world: World, side: Side, *, on: bool, hidden: bool) -> None:
    """The frame for the other switch set this one as well. `hidden`: the board did not show how it
    was, so it may be off now, and nobody but a person gives that back. Raises `Broken`."""
    if hidden and not on:
        if not side.own_off and side.shown is not False:
            _took(world, side)
            side.prior = None
    elif not hidden and on is not side.on and world.effect == "now":
        raise Broken("A5", f"{side.name} was set {'on' if on else 'off'} beside the other")


def _wait(world: World, side: Side) -> float:
    numbers = world.plan.numbers
    return numbers.again if side.tries <= numbers.quick_tries else numbers.slow_again


def _soft(world: World) -> float:
    numbers = world.plan.numbers
    return numbers.soft_alternator if world.plan.mandate.alternator else numbers.soft


def _today(world: World) -> int:
    return sum(world.now - t < DAY for side in world.sides for t in side.writes)


def _budget(world: World) -> int:
    return world.plan.numbers.writes_a_day
