"""All that one look found, for people and programs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bmslink.events import EventSeverity
from bmslink.reports.doctor.facts import HostFacts, PackFacts
from bmslink.reports.doctor.finding import DoctorFinding, LookedAt

__all__ = ["Examination"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """All that one look found."""

    target: str = ""
    """The pack, as resolved; empty: this computer and all packs of its bmslink.toml."""
    findings: tuple[DoctorFinding, ...] = ()
    """The worst first."""
    right: tuple[LookedAt, ...] = ()
    """What was examined and found right."""
    not_known: tuple[LookedAt, ...] = ()
    """What could not be looked at, and why."""
    packs: tuple[PackFacts, ...] = field(default=(), repr=False)
    """What was gathered of each pack: `identity`, `readings`, `table`, `line`, …"""
    computer: HostFacts | None = field(default=None, repr=False)
    """What was gathered of this computer; `None`: it was not looked at."""

    @property
    def trouble(self) -> bool:
        """Whether anything is worse than a note."""
        return any(each.severity is not EventSeverity.INFO for each in self.findings)

    @property
    def versions(self) -> Mapping[str, str | None]:
        """Package -> version; `None`: not installed."""
        return {} if self.computer is None else dict(self.computer.versions)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "target": self.target or None,
            "findings": [each.to_dict() for each in self.findings],
            "right": [each.to_dict() for each in self.right],
            "not_known": [each.to_dict() for each in self.not_known],
            "packs": [
                {
                    "target": str(facts.target),
                    "name": facts.target.name or None,
                    "identity": None if facts.identity is None else facts.identity.to_dict(),
                    "reading": None if facts.reading is None else facts.reading.to_dict(),
                }
                for facts in self.packs
            ],
            "versions": self.versions,
        }
