"""What the doctor says: findings, and what is right, or could not be looked at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from bmslink.events import EventSeverity
from bmslink.jsonable import plain

__all__ = [
    "Area",
    "CheckVerdict",
    "DoctorFinding",
    "LookedAt",
    "found",
    "right",
    "unknown",
]


class Area(StrEnum):
    """Where a finding belongs."""

    LINK = "link"
    BOARD = "board"
    BATTERY = "battery"
    SETTINGS = "settings"
    HOST = "host"


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorFinding:
    """One thing that is not as it should be."""

    name: str = ""
    """The check that found it, for `--explain` and programs."""
    area: Area = Area.HOST
    severity: EventSeverity = EventSeverity.WARNING
    """`info` is a note: nothing is wrong, but somebody may want to know."""
    what: str
    """What was found, in a sentence with its numbers."""
    why: str = ""
    """Why it matters."""
    fix: str = ""
    """What to do, in words; where only the vendor's app can, it says so."""
    command: str = ""
    """The same as a command that can be pasted into a shell; empty where words say all."""
    pack: str = ""
    """The name or target of the pack; empty: it is about this computer."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """The numbers, for programs."""

    def to_dict(self) -> dict[str, Any]:
        """For JSON: all keys, always in the same order."""
        return {
            "name": self.name,
            "area": self.area.value,
            "severity": self.severity.value,
            "what": self.what,
            "why": self.why,
            "fix": self.fix,
            "command": self.command or None,
            "pack": self.pack or None,
            "facts": {name: plain(value) for name, value in self.facts.items()},
        }


@dataclass(frozen=True, slots=True)
class CheckVerdict:
    """What one check came to: findings, or what is right, or why it is not known."""

    findings: tuple[DoctorFinding, ...] = ()
    right: str = ""
    unknown: str = ""


def found(*findings: DoctorFinding, right: str = "", unknown: str = "") -> CheckVerdict:
    """Something was found; without findings it is `right`, or `unknown` where that says why."""
    if findings:
        return CheckVerdict(findings)
    return CheckVerdict(unknown=unknown) if unknown else CheckVerdict(right=right)


def right(text: str) -> CheckVerdict:
    """It was looked at, and nothing is wrong; in a few words with their numbers."""
    return CheckVerdict(right=text)


def unknown(why: str) -> CheckVerdict:
    """It could not be looked at, and why."""
    return CheckVerdict(unknown=why)


@dataclass(frozen=True, slots=True)
class LookedAt:
    """A check that found nothing, or could not be made."""

    name: str
    title: str
    area: Area
    text: str
    """What is right, or why it is not known."""
    pack: str = ""

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "name": self.name,
            "title": self.title,
            "area": self.area.value,
            "text": self.text,
            "pack": self.pack or None,
        }
