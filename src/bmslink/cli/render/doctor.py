"""What the doctor found, for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from bmslink.cli.render.clean import clean
from bmslink.reports.doctor import DoctorFinding, Examination, LookedAt
from bmslink.reports.doctor.explain import Explained

__all__ = ["DoctorLine", "explained", "lines"]

_WORDS = {"critical": "CRITICAL", "alarm": "ALARM", "warning": "WARNING", "info": "NOTE"}
_INDENT = "  "
_NAME = 18


class DoctorLine(NamedTuple):
    """One line."""

    text: str
    whole: bool = False
    """A command: it must not be folded, or it could not be pasted."""


def lines(examination: Examination, *, quiet: bool = False) -> Iterator[DoctorLine]:
    """All of it; `quiet`: only findings."""
    several = len({each.pack for each in examination.findings} | {""}) > 2
    packs = [facts.target.label for facts in examination.packs]
    yield DoctorLine(clean(f"Examined: {', '.join(packs) if packs else 'this computer'}"))
    for finding in examination.findings:
        yield DoctorLine("")
        yield from _finding(finding, named=several)
    if not examination.findings:
        yield DoctorLine("Nothing was found.")
    if quiet:
        return
    if len(examination.packs) > 1:
        yield from _in_short(examination)
    else:
        yield from _looked("Found right:", examination.right)
        yield from _unknown(examination.not_known)
    worse = sum(each.severity.rank > 0 for each in examination.findings)
    notes = len(examination.findings) - worse
    yield DoctorLine("")
    yield DoctorLine(
        f"{worse} found, {notes} notes; {len(examination.right)} checks are right, "
        f"{len(examination.not_known)} could not be made. `bmslink doctor --explain NAME` says "
        "more."
    )


def _finding(finding: DoctorFinding, *, named: bool) -> Iterator[DoctorLine]:
    whose = f"{finding.pack}: " if named and finding.pack else ""
    what = f"{_WORDS[finding.severity.value]} {finding.name}: {whose}{finding.what}"
    yield DoctorLine(clean(what))
    if finding.why:
        yield DoctorLine(clean(f"{_INDENT}Why: {finding.why}"))
    if finding.fix:
        yield DoctorLine(clean(f"{_INDENT}Fix: {finding.fix}"))
    if finding.command:
        yield DoctorLine(f"{_INDENT}{_INDENT}{clean(finding.command)}", whole=True)


def _in_short(examination: Examination) -> Iterator[DoctorLine]:
    """Several packs: how many checks each passed; this computer in full."""
    yield DoctorLine("")
    for facts in examination.packs:
        word = facts.target.word
        right, not_known = (
            sum(row.pack == word for row in rows)
            for rows in (examination.right, examination.not_known)
        )
        found = sum(each.pack == word for each in examination.findings)
        text = f"{word}: {found} found, {right} checks right, {not_known} not made"
        yield DoctorLine(clean(f"{text}; `bmslink doctor {facts.word}` looks closer."))
    yield from _looked("This computer:", [row for row in examination.right if not row.pack])
    yield from _unknown([row for row in examination.not_known if not row.pack])


def _looked(title: str, rows: Sequence[LookedAt]) -> Iterator[DoctorLine]:
    if rows:
        yield DoctorLine("")
        yield DoctorLine(title)
    for row in rows:
        yield DoctorLine(clean(f"{_INDENT}{row.name:<{_NAME}}{row.text}"))


def _unknown(rows: Sequence[LookedAt]) -> Iterator[DoctorLine]:
    """What one reason explains is one line."""
    if rows:
        yield DoctorLine("")
        yield DoctorLine("Not known:")
    for why in dict.fromkeys(row.text for row in rows):
        names = ", ".join(row.name for row in rows if row.text == why)
        yield DoctorLine(clean(f"{_INDENT}{names}: {why}"))


def explained(found: Explained) -> Iterator[str]:
    """A check or a condition."""
    if found.kind == "check":
        yield f"{found.name}: the doctor looks whether {found.title}."
        yield found.text
    else:
        yield f"{found.name}: {found.title}"
        yield f"What ends it: {found.text}"
