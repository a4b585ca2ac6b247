"""What a service and its clients say to each other, in JSON, and back into objects.

A client asks for results and never for frames: plans, tables of settings and outcomes go over
whole, so that it shows and returns the same as without a service. Layouts of bytes do not travel: a
table names them by their place among the maps of its protocol (`Driver.every_map`), and so both
sides must be of one version. What comes in is checked against these forms before anything is done.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from bmslink.config.checks.check import Check
from bmslink.config.clock_soc import AdjustmentPlan
from bmslink.config.files.backup import Backup
from bmslink.config.files.profile import Profile
from bmslink.config.identity.known_as import pack_of
from bmslink.config.plan import Change, Plan
from bmslink.config.records.last_change import Undo
from bmslink.model import Adjustment, Identity
from bmslink.service_tables import Form, SnapshotForm
from bmslink.service_values import in_form, of_form

__all__ = [
    "AdjustmentForm",
    "AdjustmentRequest",
    "ChangeRequest",
    "DrillRequest",
    "PlanForm",
    "ResumeRequest",
    "SurveyForm",
    "SwitchRequest",
    "fingerprint_of",
    "in_form",
    "of_form",
]


class ChangeRequest(Form):
    """A change of settings: what is wanted, and what was agreed to."""

    wanted: dict[str, bool | int | float | str] = msgspec.field(default_factory=dict)
    """Values by name."""
    profile: Profile | None = None
    """Instead of them."""
    backup: Backup | None = None
    """What is gone back to."""
    undo: Undo | None = None
    """The last change is undone."""
    switches: bool = False
    """A profile's switches are set as well."""
    waive: list[str] = msgspec.field(default_factory=list)
    """The checks that may fail."""
    chemistry: str | None = None
    """What the cells are."""
    fingerprint: str = ""
    """Of the plan that was agreed to; needed to apply it."""
    command: str = ""
    """What it is made with, for the journal."""


class SwitchRequest(Form):
    """A switch."""

    switch: str
    on: bool
    waive: list[str] = msgspec.field(default_factory=list)
    dry_run: bool = False
    """Only the frames are wanted."""


class DrillRequest(Form):
    """Switches are tried."""

    switches: list[str] = msgspec.field(default_factory=list)
    """Those alone; none: all that can be drilled."""
    host_power: str | None = None
    waive: list[str] = msgspec.field(default_factory=list)
    agreed: list[str] | None = None
    """The switches that a person agreed to; `None`: it is only asked which they would be."""


class AdjustmentRequest(Form):
    """The clock or the state of charge."""

    clock: datetime | None = None
    soc: float | None = None
    now: bool = False
    """The clock is set to the time of sending."""
    waive: list[str] = msgspec.field(default_factory=list)
    chemistry: str | None = None
    fingerprint: str = ""

    @property
    def wish(self) -> Adjustment:
        """What is wanted; `SettingError` for what nothing can be set to."""
        return Adjustment(clock=self.clock, soc=self.soc)


class ResumeRequest(Form):
    """A change that was cut off is ended."""

    rollback: bool = False
    keep: bool = False
    agreed: bool = False
    waive: list[str] = msgspec.field(default_factory=list)
    agreed_to: str | None = None
    """The sentence about odd settings that somebody said yes to."""


class PlanForm(Form):
    """A plan, without what was asked for: who asked knows."""

    target: str
    name: str | None
    identity: Identity
    table: SnapshotForm
    undoes: Undo | None
    chemistry: str | None
    changes: list[Change]
    unsupported: dict[str, str]
    checks: list[Check]
    left_out: dict[str, str]
    vouched: dict[int, bytes]
    refused: list[int]
    remarks: list[str]
    frames: list[bytes]
    frame_of: dict[int, int]

    @classmethod
    def of(cls, plan: Plan) -> PlanForm:
        """Its form."""
        return cls(
            target=plan.target,
            name=plan.name,
            identity=plan.identity,
            table=SnapshotForm.of(plan.identity.protocol, plan.table),
            undoes=plan.undoes,
            chemistry=plan.chemistry,
            changes=list(plan.changes),
            unsupported=dict(plan.unsupported),
            checks=list(plan.checks),
            left_out=dict(plan.left_out),
            vouched=dict(plan.vouched),
            refused=sorted(plan.refused),
            remarks=list(plan.remarks),
            frames=list(plan.frames),
            frame_of=dict(plan.frame_of),
        )

    def plan(
        self,
        wanted: Mapping[str, object] | Profile,
        raw: Backup | Undo | None,
        *,
        switches: bool,
        waive: frozenset[str],
        stated: str | None,
    ) -> Plan:
        """The plan of somebody who asked for this."""
        return Plan(
            target=self.target,
            name=self.name,
            identity=self.identity,
            table=self.table.snapshot(),
            wanted=wanted if isinstance(wanted, Profile) else dict(wanted),
            raw=self.undoes or raw,
            waive=waive,
            chemistry=self.chemistry,
            stated=stated,
            changes=tuple(self.changes),
            unsupported=self.unsupported,
            checks=tuple(self.checks),
            switches=switches,
            left_out=self.left_out,
            vouched=self.vouched,
            refused=frozenset(self.refused),
            remarks=tuple(self.remarks),
            frames=tuple(self.frames),
            frame_of=self.frame_of,
        )


class SurveyForm(Form):
    """Who a board is, and its settings."""

    identity: Identity
    table: SnapshotForm


class AdjustmentForm(Form):
    """A plan to set the clock or the state of charge."""

    plan: PlanForm
    clock_wanted: datetime | None
    soc_wanted: float | None
    now: bool
    clock: datetime | None
    soc: float | None

    @classmethod
    def of(cls, found: AdjustmentPlan) -> AdjustmentForm:
        """Its form."""
        return cls(
            plan=PlanForm.of(found.plan),
            clock_wanted=found.wish.clock,
            soc_wanted=found.wish.soc,
            now=found.now,
            clock=found.clock,
            soc=found.soc,
        )

    def adjustment(self, waive: frozenset[str], stated: str | None) -> AdjustmentPlan:
        """The plan of somebody who asked for this."""
        return AdjustmentPlan(
            plan=self.plan.plan({}, None, switches=False, waive=waive, stated=stated),
            wish=Adjustment(clock=self.clock_wanted, soc=self.soc_wanted),
            now=self.now,
            clock=self.clock,
            soc=self.soc,
        )


def fingerprint_of(plan: Plan | AdjustmentPlan) -> str:
    """Two plans with the same one do the same to the same board: the frames, byte for byte, and the
    values that they replace."""
    whole = plan.plan if isinstance(plan, AdjustmentPlan) else plan
    about: dict[str, Any] = {
        "pack": pack_of(whole.identity),
        "map": whole.table.map.name,
        "changes": [[change.slot, change.old.hex(), change.new.hex()] for change in whole.changes],
        "undoes": whole.undoes.transaction if whole.undoes else "",
    }
    if isinstance(plan, Plan):
        about["frames"] = [frame.hex() for frame in whole.frames]
    else:  # its frame holds the time of day
        about["wish"] = "now" if plan.now else str(plan.wish.clock)
        about["soc"] = plan.wish.soc
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()
