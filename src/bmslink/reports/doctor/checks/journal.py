"""What is left of earlier work on the pack."""

from __future__ import annotations

from bmslink.events import EventSeverity
from bmslink.reports.doctor.facts import PackFacts
from bmslink.reports.doctor.finding import DoctorFinding, Judgement, found, right, unknown

__all__ = ["open_change"]


def open_change(facts: PackFacts) -> Judgement | None:
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
