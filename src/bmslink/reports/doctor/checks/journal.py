"""What is left of earlier work on the pack, and what the board itself remembers."""

from __future__ import annotations

from bmslink.events import EventSeverity
from bmslink.reports.doctor.facts import PackFacts
from bmslink.reports.doctor.finding import CheckVerdict, DoctorFinding, found, right, unknown

__all__ = ["open_change", "own_history"]

_SOME = 5


def open_change(facts: PackFacts) -> CheckVerdict | None:
    """A change of this pack that was cut off."""
    if facts.open_change:
        return found(
            DoctorFinding(
                severity=EventSeverity.ALARM,
                what=facts.open_change,
                fix="Finish it or set it back; until then nothing else is written.",
                command=f"bmslink config resume {facts.word}",
            )
        )
    if "journal" in facts.missing:
        return unknown(facts.missing["journal"])
    if not facts.answers:
        return unknown(facts.why_not("identity"))
    return right("no change was cut off")


def own_history(facts: PackFacts) -> CheckVerdict | None:
    """What the board's own log and counters say. All of it is over, so it is a note."""
    past = facts.past
    if past is None:
        return unknown(facts.why_not("past"))
    events = [each for each in past.events if each.severity.rank >= EventSeverity.WARNING.rank]
    counters = [each for each in past.counters if each.count and each.condition is not None]
    counters.sort(key=lambda each: -each.count)
    command = f"bmslink events {facts.word}"
    findings = []
    if counters:
        told = ", ".join(f"{each.text} {each.count}" for each in counters[:_SOME])
        findings.append(
            DoctorFinding(
                severity=EventSeverity.INFO,
                what=f"The board has counted, over its life: {told}.",
                fix="What was counted often has a cause: `--explain` names it for each.",
                command=command,
                facts={each.name: each.count for each in counters},
            )
        )
    if events:
        latest = events[-1]
        when = "" if latest.time is None else f" ({latest.time:%Y-%m-%d %H:%M} UTC)"
        findings.append(
            DoctorFinding(
                severity=EventSeverity.INFO,
                what=f"The board's own log has {len(events)} entries that are more than notes; the "
                f"latest: {latest.text}{when}.",
                fix="Look what happened before and after.",
                command=command,
            )
        )
    if not (past.events or past.counters):
        why = past.missing.get("events") or past.missing.get("counters")
        return found(*findings, unknown=why or "the board keeps none")
    return found(*findings, right="nothing of note in what the board remembers")
