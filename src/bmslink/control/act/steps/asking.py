"""What becomes of a person's request. Who is refused hears who holds the switch, and what to do."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import NamedTuple

import msgspec

from bmslink.control.act.actuator import ACTUATORS
from bmslink.control.act.ledger import STOP, Ledger, Override, Stop
from bmslink.control.act.mandate import SwitchWish
from bmslink.control.act.messages import (
    EmergencyStop,
    OverridePolicy,
    PersonOff,
    PersonOn,
    Remark,
    Request,
    ResetStop,
    Resume,
    SwitchCommand,
)
from bmslink.control.act.numbers import ActingNumbers
from bmslink.control.act.steps.enabling import budget_left
from bmslink.control.act.steps.ordering import send_off, send_on
from bmslink.control.decide.decision import Decision
from bmslink.control.decide.policy import Severity

__all__ = ["RequestAnswer", "answer", "resume"]

_change = msgspec.structs.replace


class RequestAnswer(NamedTuple):
    """What one request gives."""

    ledger: Ledger
    commands: list[SwitchCommand]
    remarks: list[Remark]


def answer(
    request: Request,
    ledger: Ledger,
    decision: Decision,
    wish: Callable[[str], SwitchWish],
    now: float,
    *,
    able: Collection[str],
    numbers: ActingNumbers,
    disk: bool,
) -> RequestAnswer:
    """Take one request but `Resume`. `wish`: what is wanted of a switch, and by whom, without what
    a person wants. `able`: the
    switches that there are."""
    if isinstance(request, PersonOff | PersonOn) and request.actuator not in able:
        text = f"Nothing was sent: {request.actuator[:40]} cannot be switched on this board."
        return _refused(ledger, request.actuator, text)
    if isinstance(request, PersonOff):
        return _off(request.actuator, ledger, now, actor=request.who, numbers=numbers)
    if isinstance(request, PersonOn):
        return _on(request, ledger, wish(request.actuator), now, numbers=numbers, disk=disk)
    if isinstance(request, EmergencyStop):
        return _stop(request, ledger, now, able, numbers)
    if isinstance(request, ResetStop):
        return _reset(request, ledger)
    if isinstance(request, OverridePolicy):
        return _override(request, ledger, decision, now, numbers)
    return RequestAnswer(ledger, [], [])


def _refused(ledger: Ledger, actuator: str, text: str) -> RequestAnswer:
    return RequestAnswer(ledger, [], [Remark(what="refused", actuator=actuator, text=text)])


def _off(
    name: str, ledger: Ledger, now: float, *, actor: str, numbers: ActingNumbers
) -> RequestAnswer:
    """At once, even where it is off already: whoever switches off wants it sent."""
    record = _change(ledger.record(name), person=actor)
    why = f"{actor} switched it off"
    record, command = send_off(
        name,
        record,
        ledger.next_id,
        now,
        actor=actor,
        why=why,
        repeat=False,
        settle=numbers.settle,
    )
    record = _change(record, held=now)
    ledger = _change(ledger, next_id=ledger.next_id + 1).with_record(name, record)
    said = Remark(what="person_off", actuator=name, text=f"{name} off: {why}")
    return RequestAnswer(ledger, [command], [said])


def _on(
    request: PersonOn,
    ledger: Ledger,
    wish: SwitchWish,
    now: float,
    *,
    numbers: ActingNumbers,
    disk: bool,
) -> RequestAnswer:
    name = request.actuator
    record = ledger.record(name)
    if wish.holders:
        ends = f"`bmslink control override TARGET {wish.holders[0]}` sets it aside for a while"
        if wish.left:
            ends = "`bmslink control reset TARGET` lets go of that"
        elif STOP in wish.holders:
            ends = "`bmslink control reset TARGET` ends that"
        elif wish.emergencies:
            ends = (
                "nothing sets an emergency aside, and `bmslink control reset TARGET` lets go of it "
                "once its cause is gone"
            )
        held = ", ".join(wish.holders)
        text = f"Nothing was sent: {name} is held off by {held} ({wish.why}); {ends}."
        return _refused(ledger, name, text)
    freed = ledger.with_record(name, _change(record, person="", holders=()))
    said = Remark(what="person_on", actuator=name, text=f"{name} on: {request.who} wants it.")
    order = record.order
    going_off = order is not None and not order.on and order.pending
    if record.seen is True and not going_off:
        return RequestAnswer(freed, [], [said])
    if not budget_left(ledger, now, numbers):
        text = f"Nothing was sent: {numbers.writes_a_day} switch writes within a day are used up."
        return _refused(ledger, name, text)
    if not disk:
        text = "Nothing was sent: the ledger cannot be written, so nothing is switched on."
        return _refused(ledger, name, text)
    record, command = send_on(
        name,
        freed.record(name),
        ledger.next_id,
        now,
        actor=request.who,
        why=f"{request.who} wants it",
        settle=numbers.settle,
    )
    freed = _change(freed, next_id=freed.next_id + 1).with_record(name, record)
    return RequestAnswer(freed, [command], [said])


def _stop(
    request: EmergencyStop,
    ledger: Ledger,
    now: float,
    able: Collection[str],
    numbers: ActingNumbers,
) -> RequestAnswer:
    """Everything, at once, whatever was known of it."""
    ledger = _change(ledger, stop=Stop(request.who, request.why))
    why = f"emergency stop by {request.who}" + (f": {request.why}" if request.why else "")
    commands = []
    for name in sorted(able, key=ACTUATORS.index):
        record, command = send_off(
            name,
            ledger.record(name),
            ledger.next_id,
            now,
            actor=request.who,
            why=why,
            repeat=False,
            settle=numbers.settle,
        )
        record = _change(
            record, held=now, asserted=(*(e for e in record.asserted if e != STOP), STOP)
        )
        ledger = _change(ledger, next_id=ledger.next_id + 1).with_record(name, record)
        commands.append(command)
    return RequestAnswer(
        ledger, commands, [Remark(what="stopped", text=f"All off: {why}.", alarm=True)]
    )


def _reset(request: ResetStop, ledger: Ledger) -> RequestAnswer:
    if ledger.stop is None:
        return _refused(ledger, "", "There is no emergency stop to reset.")
    text = f"{request.who} reset the emergency stop of {ledger.stop.who}."
    return RequestAnswer(_change(ledger, stop=None), [], [Remark(what="reset", text=text)])


def resume(ledger: Ledger, request: Resume) -> tuple[Ledger, list[Remark]]:
    """A stand-down ends; what is wanted is asked again in the next cycle."""
    remarks = []
    for name in ACTUATORS if request.actuator is None else (request.actuator,):
        record = ledger.record(name)
        if record.down is None:
            continue
        record = _change(record, down=None, clashes=(), held=None)
        ledger = ledger.with_record(name, record)
        text = f"{request.who} ended the stand-down of {name}."
        remarks.append(Remark(what="resumed", actuator=name, text=text))
    return ledger, remarks


def _override(
    request: OverridePolicy,
    ledger: Ledger,
    decision: Decision,
    now: float,
    numbers: ActingNumbers,
) -> RequestAnswer:
    why = _no_override(request, ledger, decision, numbers)
    if why:
        return _refused(ledger, "", f"{request.policy[:60]} is not set aside: {why}.")
    run, until = ledger.run, now + request.seconds
    others = tuple(each for each in run.overrides if each.policy != request.policy)
    added = Override(request.policy, until, request.who, request.why)
    text = f"{request.who} set {request.policy} aside for {request.seconds / 60:g} min."
    said = Remark(what="override", text=text, alarm=True)
    return RequestAnswer(_change(ledger, run=_change(run, overrides=(*others, added))), [], [said])


def _no_override(
    request: OverridePolicy, ledger: Ledger, decision: Decision, numbers: ActingNumbers
) -> str:
    """Why a policy cannot be set aside; empty: it can."""
    if not 0 < request.seconds <= numbers.override_longest:
        return f"that takes more than 0 and at most {numbers.override_longest / 60:g} min"
    if decision.stale or ledger.run.good < numbers.good_samples:
        return "the data are not good enough for it"
    found = [v for v in decision.verdicts if v.policy == request.policy]
    if not found:
        return "it holds nothing now"
    if found[0].severity == Severity.EMERGENCY:
        return "it is an emergency, which nothing sets aside"
    return ""
