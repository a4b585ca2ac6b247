"""What a cycle tells about the time since the last one: good data, restarts, sinks, overrides."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from bmslink.control.act.facts import SwitchFacts
from bmslink.control.act.ledger import Ledger, Override, RunMemory
from bmslink.control.act.messages import Remark
from bmslink.control.act.numbers import ActingNumbers
from bmslink.control.decide.decision import Decision
from bmslink.control.decide.policy import Mode

__all__ = ["heed", "restarted"]

_change = msgspec.structs.replace


def restarted(ledger: Ledger, facts: SwitchFacts) -> bool:
    """Whether the board may have restarted since the last reading: it may have forgotten."""
    if facts.greeted or not ledger.run.heard:
        return True
    return facts.uptime is not None and ledger.uptime is not None and facts.uptime < ledger.uptime


def heed(
    ledger: Ledger,
    decision: Decision,
    facts: SwitchFacts | None,
    alive: Mapping[str, bool],
    now: float,
    numbers: ActingNumbers,
) -> tuple[Ledger, list[Remark]]:
    """The ledger with what this cycle says of data, sinks and overrides; and what is to be said."""
    run = ledger.run
    remarks: list[Remark] = []
    if run.sinks != alive:
        remarks += _sinks(run.sinks, alive)
        run = _change(run, sinks=dict(alive))
    if run.overrides:
        why = _ends_all(run, decision, facts)
        left = tuple(o for o in run.overrides if not why and now < o.until)
        remarks += _over(run.overrides, left, why or "its time is over")
        run = _change(run, overrides=left)
    if decision.stale:
        good = 0
    elif facts is None:
        good = run.good
    else:
        good = min(run.good + 1, numbers.good_samples) if facts.good else 0
    if good != run.good:
        run = _change(run, good=good)
    if facts is None:
        return (ledger if run is ledger.run else _change(ledger, run=run)), remarks
    if not run.heard or run.alarms != facts.alarms:
        run = _change(run, heard=True, alarms=facts.alarms)
    uptime = ledger.uptime if facts.uptime is None else facts.uptime
    if run is ledger.run and uptime == ledger.uptime:
        return ledger, remarks
    return _change(ledger, run=run, uptime=uptime), remarks


def _sinks(before: Mapping[str, bool], now: Mapping[str, bool]) -> Iterator[Remark]:
    for direction, was in before.items():
        if was and not now.get(direction, False):
            yield Remark(
                what="sink_lost",
                actuator=direction,
                text=f"What limits the {direction} current no longer answers: from now on its "
                "switch opens without waiting.",
                alarm=True,
            )


def _ends_all(run: RunMemory, decision: Decision, facts: SwitchFacts | None) -> str:
    """Why no override goes on; empty: they may."""
    if decision.stale:
        return "the data are old"
    aside = {each.policy for each in run.overrides}
    for event in decision.events:
        if (
            event.what in ("trip", "latch")
            and event.mode == Mode.ENFORCE
            and event.policy not in aside
        ):
            return f"{event.policy} tripped"
    new = facts.alarms - run.alarms if facts is not None else frozenset()
    return f"the BMS reports {', '.join(sorted(new))}" if new else ""


def _over(before: tuple[Override, ...], left: tuple[Override, ...], why: str) -> Iterator[Remark]:
    for each in before:
        if each not in left:
            text = f"The override of {each.policy} by {each.who} has ended: {why}."
            yield Remark(what="override_over", text=text)
