"""What a commissioning sheet is made from: plain values, gathered before anything is rendered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from bmslink.config.files.compare import Difference
from bmslink.model import Identity, Reading
from bmslink.moments import utc_now
from bmslink.past import BoardPast
from bmslink.protocols.common.settings_map import SettingsSnapshot
from bmslink.reports.doctor import DoctorFinding, LookedAt
from bmslink.reports.pictures import Picture

__all__ = ["PackSheet", "Sheet", "SheetApproval"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SheetApproval:
    """Policies that a person let act on the pack."""

    path: str
    by: str
    time: str
    policies: Sequence[str]
    """What it may do, in words; empty where the file cannot be read any more."""


@dataclass(slots=True, kw_only=True)
class PackSheet:
    """All that is known of one pack; `None` and empty are "not known", and `missing` says why."""

    title: str
    target: str
    file: str = ""
    """The recording that it is made from; empty: the board itself was asked."""
    error: str = ""
    """Why it could not be read."""
    identity: Identity | None = None
    reading: Reading | None = None
    table: SettingsSnapshot | None = None
    chemistry: str | None = None
    profile: str = ""
    """What the settings are compared with; empty: with nothing."""
    compared: Sequence[Difference] | None = None
    """Each setting of the profile: the board's value first; those that differ come first."""
    journal: Sequence[Mapping[str, Any]] | None = None
    """Its records in the journal, the oldest first."""
    drills: Sequence[Mapping[str, Any]] = ()
    """The ends of its drills, as the journal has them."""
    balance: Mapping[str, Any] | None = None
    """The report of the last balancing session."""
    life: Mapping[str, Any] | None = None
    past: BoardPast | None = None
    approval: SheetApproval | None = None
    findings: Sequence[DoctorFinding] = ()
    right: Sequence[LookedAt] = ()
    not_known: Sequence[LookedAt] = ()
    picture: Picture | None = None
    missing: dict[str, str] = field(default_factory=dict)
    """What could not be found out -> why."""

    def why_not(self, what: str) -> str:
        """Why something is not known, as a sentence without its end; empty where nobody says."""
        return self.missing.get(what) or self.error


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """A report: one pack, or a bank of them."""

    title: str
    packs: Sequence[PackSheet]
    bank: str = ""
    """How the packs are wired, in words; empty where nobody says."""
    made: datetime = field(default_factory=utc_now)
    customer: str = ""
    installer: str = ""
