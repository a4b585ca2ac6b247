"""What a protection policy is: declared numbers for one level of one quantity, and the battery that
the numbers are for.

Every policy is the same small mechanism (`rule.py`): a measured quantity goes beyond `trip` for
`on_delay` and `samples` good samples; it comes back behind `release` for `off_delay`, and at the
earliest `min_off` after the trip. What differs between policies is in these fields.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from enum import IntEnum, StrEnum
from types import MappingProxyType
from typing import Any

import msgspec

from bmslink.errors import TargetError

__all__ = [
    "BATTERY_BETWEEN",
    "BETWEEN",
    "Action",
    "AsShipped",
    "Battery",
    "Demand",
    "Mode",
    "OnMissing",
    "Policy",
    "PolicyRecord",
    "PolicySet",
    "Reset",
    "Severity",
    "fault_of",
    "fault_of_battery",
    "records_of",
]


class Severity(IntEnum):
    """How much a policy may do, from a remark to an immediate stop that a person must undo."""

    NOTICE = 0
    WARN = 1
    DERATE = 2
    """Lowers limits (CVL, CCL, DCL): by a curve, or while it is tripped."""
    TRIP = 3
    """Withdraws the permit: limits to 0 first, then the switch opens."""
    EMERGENCY = 4
    """Withdraws the permit at once, until a person resets it."""


class Demand(IntEnum):
    """What is asked of one switch, from nothing to opening it at once. The highest wins."""

    FREE = 0
    NO_ENABLE = 1
    """It is not switched on again. It is not switched off either: nothing is sent."""
    ZERO = 2
    """The same, and what obeys the limits lets no current flow."""
    OPEN = 3
    """The current is asked to fall, then the switch opens."""
    OPEN_NOW = 4


class Mode(StrEnum):
    """Whether a policy acts. Shadow: it decides and tells, and nothing follows."""

    OFF = "off"
    SHADOW = "shadow"
    ENFORCE = "enforce"


class Action(StrEnum):
    """What a policy acts on."""

    CHARGE = "charge"
    DISCHARGE = "discharge"
    BALANCE = "balance"
    FLOAT = "float"
    """Lowers the charge voltage limit to the float voltage."""


class Reset(StrEnum):
    """How a trip ends: by itself, or by a person once its cause is gone."""

    AUTO = "auto"
    MANUAL = "manual"


class OnMissing(msgspec.Struct, frozen=True):
    """What follows when the quantity cannot be measured.

    `trip`; `derate` to `factor` (0..1) of the current limits; or `ignore`, for a `reason`.
    """

    rule: str = "derate"
    """`trip`, `derate` or `ignore`."""
    factor: float = 0.2
    """What is left of the limits, 0 to 1."""
    reason: str = ""
    """Why it may be ignored."""


class Battery(msgspec.Struct, frozen=True, kw_only=True):
    """What the owner says of the battery. Currents in A are positive in both directions."""

    chemistry: str
    """`lfp`, `nmc`, `lto`, `na-ion`."""
    cells: int
    """In series, 1 to 48."""
    capacity: float
    """Ah."""
    charge_current: float | None = None
    """Continuous rating of the cells, A; 0.5 C where nothing is said."""
    discharge_current: float | None = None
    """The same; 1 C where nothing is said."""
    fuse: float | None = None
    """Rated current of the fuse, A; 0.8 of it is used."""
    cable: float | None = None
    """What the thinnest one carries for long, A."""
    time_constant: float = 120.0
    """Of the thermal model of the current path, s."""
    sensors: tuple[str, ...] = ()
    """The temperature probes that count as cell probes; none: all that are named so."""
    host_power: str | None = None
    """What feeds the computer that bmslink runs on: `pack` or `other`. Without it discharge is
    never enforced."""
    alternator: bool = False
    """An alternator charges it: opening the charge path under its current is a load dump."""


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """One row. Units are those of its quantity (`quantities.py`): V per cell, °C, K, %, s."""

    name: str
    """Its name, in snake case."""
    title: str
    """For people."""
    record: str = ""
    """The record of its quantity, of which it is a level; empty: it is one by itself."""
    level: str = ""
    """What it is called there: `warn`, `curve`, `limit`, `trip`, `critical`, `backup` or another
    word."""
    quantity: str
    """What is measured: a name of `QUANTITIES`."""
    over: bool = True
    """Trips at or above the threshold; otherwise at or below it."""
    severity: Severity
    """How much it may do."""
    acts: tuple[Action, ...] = ()
    """On what; nothing for a remark or a warning."""
    mode: Mode = Mode.SHADOW
    """`off`, `shadow` or `enforce`."""
    trip: float | str | None = None
    """A number or the name of a threshold; `None`: from the BMS's setting alone."""
    release: float | str | None = None
    """Where it ends again: inside `trip`."""
    on_delay: float = 0.0
    """s beyond `trip` before it trips."""
    load_delay: float = 0.0
    """On-delay while more than 0.5 C flows: a voltage that sags under load is not yet empty."""
    samples: int = 2
    """Distinct good samples beyond the threshold before anything follows."""
    off_delay: float = 30.0
    """s inside `release` before it ends."""
    off_samples: int = 1
    """Good samples inside `release`, before it ends. Above 1, what lies between release and trip
    does not make them begin again: one lost frame does not."""
    min_off: float = 60.0
    """s that a trip lasts at least."""
    reset: Reset = Reset.AUTO
    """By itself, or by a person."""
    lockout: tuple[int, float] | None = None
    """More than so many trips within so many seconds: it stays until a person resets it."""
    curve: str | tuple[tuple[float, float], ...] | None = None
    """Derating: pairs of quantity and fraction, or the name of a curve. It never trips, so it has
    neither delays nor a release."""
    factor: float = 0.0
    """Derating without a curve: the fraction of the limit that is left while it is tripped."""
    of: str = "limit"
    """What the fraction is of: `limit` (the rated current), `capacity` (1 C), `last` (the last
    limit that was decided on fresh data)."""
    when: str = "always"
    """The gate (`quantities.GATES`) outside of which the row rests."""
    holds: bool = False
    """Once tripped it asks its gate no more: a state, not a moment."""
    release_when: str | None = None
    """A gate in which it is released as well, whatever the quantity is."""
    demands: Demand | None = None
    """What it asks of the switches while it is tripped. `None`: by its severity; a derate that
    leaves nothing asks for 0, and where nothing carries limits out, to open."""
    bms: str | None = None
    """The BMS's own setting for the same thing."""
    inside_bms: float = 0.0
    """How far inside the BMS's setting the host acts; negative: outside, as its backup."""
    after_bms: bool = False
    """`on_delay` begins after the BMS's own delay."""
    optional: bool = False
    """Not every BMS measures it: as long as it was never seen it is not missing."""
    sensors: tuple[str, ...] = ()
    """The probes that count; none: those of the battery."""
    on_missing: OnMissing = OnMissing()
    """What follows when it cannot be measured."""


_LONGEST = 7 * 86400.0  # s
BETWEEN: Mapping[str, tuple[float, float]] = MappingProxyType(
    {
        **dict.fromkeys(("on_delay", "load_delay", "off_delay", "min_off"), (0.0, _LONGEST)),
        **dict.fromkeys(("samples", "off_samples"), (1, 100)),
        "factor": (0.0, 1.0),
    }
)
"""The least and the most of each number whose unit is always the same: s, samples, a fraction."""
BATTERY_BETWEEN: Mapping[str, tuple[float, float]] = MappingProxyType(
    {
        "cells": (1, 48),
        **dict.fromkeys(
            ("capacity", "charge_current", "discharge_current", "fuse", "cable"), (0.1, 100_000.0)
        ),
        "time_constant": (1.0, 86400.0),
    }
)
"""The least and the most of each number of a battery: cells, Ah, A and s."""
_NAME = re.compile(r"[a-z][a-z0-9_]{0,59}")


def fault_of(policy: Policy) -> str:
    """What is wrong with one row, as `trip must be a finite number`; empty: nothing is."""
    fields = msgspec.structs.asdict(policy)
    try:
        msgspec.convert(fields, Policy)
    except msgspec.ValidationError as error:
        return str(error)
    if not _NAME.fullmatch(policy.name):
        return "name must be in snake case"
    for name in ("trip", "release", "inside_bms", *BETWEEN):
        value = fields[name]
        if isinstance(value, float) and not math.isfinite(value):
            return f"{name} must be a finite number"
    for name, (low, high) in BETWEEN.items():
        if not low <= fields[name] <= high:
            return f"{name} must be {low:g} to {high:g}, not {fields[name]:g}"
    return ""


def fault_of_battery(battery: Battery) -> str:
    """What is wrong with a battery, as `cells must be 1 to 48, not 0`; empty: nothing is."""
    fields = msgspec.structs.asdict(battery)
    try:
        msgspec.convert(fields, Battery)
    except msgspec.ValidationError as error:
        return str(error)
    for name, (low, high) in BATTERY_BETWEEN.items():
        value = fields[name]
        if value is not None and not low <= value <= high:  # nan is neither
            return f"{name} must be {low:g} to {high:g}, not {value:g}"
    return ""


class PolicyRecord(msgspec.Struct, frozen=True):
    """All that is said of one quantity: its levels, from a remark to a stop at once."""

    name: str
    """In snake case."""
    levels: dict[str, Policy]
    """By what each is called in the record: `warn`, `curve`, `trip`, `critical` and others."""

    @property
    def main(self) -> str | None:
        """The level that has the name of the record for its own, if there is one."""
        return next((level for level, row in self.levels.items() if row.name == self.name), None)


def records_of(policies: Iterable[Policy]) -> dict[str, PolicyRecord]:
    """Policies by the quantity that they are levels of, in their order. One that belongs to no
    record is one by itself."""
    found: dict[str, PolicyRecord] = {}
    for row in policies:
        name = row.record or row.name
        record = found.setdefault(name, PolicyRecord(name, {}))
        record.levels[row.level or row.severity.name.lower()] = row
    return found


class AsShipped(msgspec.Struct, frozen=True):
    """A value of an older file that was the default then: today's default takes its place."""

    key: tuple[str, ...]
    """Where the file says it, as in `("policies", "stale_data", "min_off")`."""
    was: Any
    """As the file writes it."""
    now: Any
    """As a file of today writes it; `None`: there is no such value any more, or none is needed."""

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"name": ".".join(self.key), "was": self.was, "now": self.now}


class PolicySet(msgspec.Struct, frozen=True, kw_only=True):
    """A policy file, read: the battery, named thresholds and curves, and all policies."""

    battery: Battery
    """What the numbers are for."""
    thresholds: dict[str, float]
    """Name -> V per cell or °C; policies use them by name."""
    curves: dict[str, tuple[tuple[float, float], ...]]
    """Name -> pairs of quantity and fraction, rising in the quantity."""
    policies: dict[str, Policy]
    """Own name -> level; `records` has the same by quantity."""
    as_shipped: tuple[AsShipped, ...] = ()
    """What an older file said that counts as shipped, so that today's values are in force."""

    @property
    def records(self) -> dict[str, PolicyRecord]:
        """Name -> all levels of one quantity."""
        return records_of(self.policies.values())

    def policy(self, name: str) -> Policy:
        """The policy of that name, its own or as in `cell_overvoltage.warn`; `TargetError` if
        there is none."""
        found = self.policies.get(name)
        if found is None and isinstance(name, str):
            record, _, level = name.partition(".")
            rows = (p for p in self.policies.values() if (p.record, p.level) == (record, level))
            found = next(rows, None)
        if found is None:
            raise TargetError(f"There is no policy {name!r} in this set.")
        return found

    def adding(self, *policies: Policy) -> PolicySet:
        """The same with rows of one's own. Raises `TargetError` for a name that is taken:
        `changing` changes a row."""
        rows = dict(self.policies)
        for policy in policies:
            if not isinstance(policy, Policy):
                raise TargetError(f"A Policy is added, not {type(policy).__name__}.")
            if policy.name in rows:
                raise TargetError(f"There is a policy {policy.name!r} already: changing() it.")
            rows[policy.name] = policy
        return msgspec.structs.replace(self, policies=rows)

    def changing(self, name: str, /, **fields: Any) -> PolicySet:
        """The same with other fields of one level: `changing("soc_floor", trip=20.0)`. Units are
        those of its quantity. Raises `TargetError` for a policy or a field that there is not."""
        row = self.policy(name)
        fixed = fields.keys() & {"name", "record", "level"}
        unknown = sorted(fields.keys() - set(row.__struct_fields__) | fixed)
        if unknown:
            raise TargetError(f"A policy has no field {', '.join(unknown)} that can be changed.")
        changed = msgspec.structs.replace(row, **fields)
        return msgspec.structs.replace(self, policies={**self.policies, row.name: changed})
