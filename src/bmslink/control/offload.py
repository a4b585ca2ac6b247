"""What protects without this program: the trips of a policy file as settings of the board itself.

Pure. Each value is only ever stricter than the one that the board holds, and inside what is usual
for the cells; a setting that protects as much already stays. What a board cannot hold is named.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any

import msgspec

from bmslink.config.checks.cells import cells_in_series
from bmslink.config.checks.rating import currents_of
from bmslink.config.files.asked import unable
from bmslink.control.decide.compile import ratings, release_of, trip_of
from bmslink.control.decide.policy import Action, Mode, Policy, PolicySet, Severity
from bmslink.errors import GateError, TargetError
from bmslink.model import Identity, Reading
from bmslink.packs import NamedPack
from bmslink.protocols.common.settings_map import SettingsSnapshot
from bmslink.protocols.common.settings_now import Settings
from bmslink.settings.bands import (
    BANDS,
    LONGEST_OCP_DELAY,
    TOPS,
    UNUSUAL_DELAY,
    Band,
)
from bmslink.settings.setting import Evidence, Setting
from bmslink.settings.units import write

__all__ = ["Offered", "Offload", "Step", "offload", "offload_to"]


class Step(StrEnum):
    """What becomes of one setting or policy."""

    SET = "set"
    KEEP = "keep"
    """The board protects as much already."""
    UNABLE = "unable"
    """The board cannot hold it."""


class Offered(msgspec.Struct, frozen=True, kw_only=True):
    """One protection of a policy file, and what becomes of it on the board."""

    policy: str
    key: str = ""
    """The setting; empty where there is none."""
    step: Step
    held: float | None = None
    """What the board holds now, in the setting's unit; `None`: not known."""
    value: float | None = None
    """What it will hold, or holds; `None` where it cannot."""
    why: str
    """In a sentence."""

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {name: getattr(self, name) for name in self.__struct_fields__}


class Offload(msgspec.Struct, frozen=True):
    """What a board can hold of a policy file."""

    rows: tuple[Offered, ...]

    @property
    def wanted(self) -> dict[str, float]:
        """Setting -> value: what `config.draft` takes. Empty: nothing changes."""
        return {
            row.key: row.value
            for row in self.rows
            if row.step is Step.SET and row.value is not None
        }

    def require_any(self) -> None:
        """`GateError` where the board can hold nothing of the file."""
        if all(row.step is Step.UNABLE for row in self.rows):
            why = next((row.why for row in self.rows if row.key), "The file stops nothing.")
            raise GateError(f"Nothing was sent: the board can hold nothing of this file. {why}")

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"wanted": self.wanted, "rows": [row.to_dict() for row in self.rows]}


_ENDS: Mapping[str, Callable[[Band], float]] = MappingProxyType(
    {
        "cell_ovp": lambda band: band.ovp[1],
        "pack_ovp": lambda band: band.ovp[1],
        "cell_uvp": lambda band: band.uvp[0],
        "pack_uvp": lambda band: band.uvp[0],
        "charge_otp": lambda band: band.charge_otp,
        "charge_utp": lambda band: band.charge_utp,
        "discharge_otp": lambda band: band.discharge_otp,
        "discharge_utp": lambda band: band.discharge_utp,
        "mosfet_otp": lambda band: TOPS["mosfet_otp"],
    }
)
"""Limit -> the loosest that is usual, V per cell and °C."""
_A_SAMPLE = 1.0
"""s between two samples, as a policy without a delay of its own counts them."""
_WAYS: Mapping[str, Action] = MappingProxyType(
    {"charge_ocp": Action.CHARGE, "discharge_ocp": Action.DISCHARGE}
)
_STAGE = (10.0, 60.0)
"""s. The only stage of current that boards have must not cut an inverter that starts, nor let an
overload flow for minutes: that of the policies whose delay is within this."""


@dataclass(frozen=True, slots=True)
class _Want:
    """What one policy wants of one limit of the board."""

    policy: Policy
    key: str
    limit: float
    says: str
    """Where the limit is from."""
    beside: Mapping[str, tuple[float, int]] = field(default_factory=dict)
    """Suffix -> its number, and 1 where more is stricter, else -1."""

    @property
    def sign(self) -> int:
        """1 where more is stricter."""
        return -1 if self.policy.over else 1


def offload(
    policies: PolicySet,
    settings: SettingsSnapshot | Settings,
    *,
    cells: int | None = None,
    ceilings: Mapping[str, float] | None = None,
    untested: bool = False,
) -> Offload:
    """What a board with these settings can hold of a policy file, whatever its modes are; what is
    off is left out.

    `cells` in series as the board shows them; `ceilings`: limit of a current -> the most that the
    pack is rated for, A; `untested`: what only a document knows is proposed as well. Raises
    `TargetError` where the file is for another number of cells.
    """
    table = settings.snapshot if isinstance(settings, Settings) else settings
    held = table.values()
    for count in (cells, held.get("cell_count")):
        if isinstance(count, int | float) and count and int(count) != policies.battery.cells:
            raise TargetError(
                f"The pack has {count:g} cells, the policy file is for {policies.battery.cells}."
            )
    rows: list[Offered] = []
    done: set[str] = set()
    for want in _wants(policies, dict(ceilings or {})):
        done.add(want.policy.name)
        rows += _limit(want, table, untested=untested)
    rows += _homeless(policies, done)
    return Offload(tuple(rows))


def offload_to(
    policies: PolicySet,
    identity: Identity,
    table: SettingsSnapshot,
    reading: Reading | None,
    *,
    named: NamedPack | None = None,
    untested: bool = False,
) -> Offload:
    """The same for the pack that a board and bmslink.toml describe; raises what `offload` does."""
    rated = currents_of(identity, named, table.values().get("nominal_capacity"))
    return offload(
        policies,
        table,
        cells=cells_in_series(identity, reading),
        ceilings={key: amps for key, (amps, _) in rated.items()},
        untested=untested,
    )


# -- what is wanted ------------------------------------------------------------------------------


def _stops(policies: PolicySet) -> Iterator[Policy]:
    """The policies at work that stop a current."""
    for row in policies.policies.values():
        stops = row.severity >= Severity.TRIP and {Action.CHARGE, Action.DISCHARGE} & {*row.acts}
        if row.mode != Mode.OFF and stops and not row.after_bms and row.quantity != "stopped":
            yield row


def _wants(policies: PolicySet, ceilings: Mapping[str, float]) -> Iterator[_Want]:
    """The strictest policy for each limit that boards may have."""
    for key in _ENDS:
        found = [
            (trip, row)
            for row in _stops(policies)
            if row.bms == key and (trip := trip_of(row, policies, policies.thresholds)) is not None
        ]
        if found:
            trip, row = min(found, key=lambda each: each[0] if each[1].over else -each[0])
            yield _measured(key, trip, row, policies)
    for key, action in _WAYS.items():
        yield from _current(key, action, policies, ceilings)


def _measured(key: str, trip: float, row: Policy, policies: PolicySet) -> _Want:
    """A limit of a voltage or a temperature."""
    pack = policies.battery.cells if key.startswith("pack_") else 1
    usual = _ENDS[key](BANDS[policies.battery.chemistry])
    limit = min(trip, usual) if row.over else max(trip, usual)
    unit = "V" if key.endswith("vp") else "°C"
    says = f"{row.name} trips at {write(trip, unit)}" + " a cell" * (pack > 1)
    if limit != trip:
        says += f"; {write(usual, unit)} is the {'most' if row.over else 'least'} that is usual"
    delay = min(max(row.on_delay, row.load_delay, row.samples * _A_SAMPLE), UNUSUAL_DELAY)
    beside = {"_delay": (delay, -1)}
    release = release_of(row, policies)
    if release is not None and (release < limit if row.over else release > limit):
        beside["_release"] = (release * pack, -1 if row.over else 1)
    return _Want(row, key, limit * pack, says, beside)


def _current(
    key: str, action: Action, policies: PolicySet, ceilings: Mapping[str, float]
) -> Iterator[_Want]:
    quantity = f"{action.value}_load"
    stages = [
        (row.trip, row)
        for row in _stops(policies)
        if row.quantity == quantity and isinstance(row.trip, float)
        if _STAGE[0] <= row.on_delay <= _STAGE[1]
    ]
    if not stages:
        return
    share, row = min(stages, key=lambda each: each[0])
    rating = ratings(policies.battery, {})[action is Action.DISCHARGE]
    limit = share / 100 * rating.amps
    says = f"{row.name} trips at {share:g} % of {write(rating.amps, 'A')} ({rating.basis})"
    if limit > ceilings.get(key, math.inf):
        limit = ceilings[key]
        says += f"; the pack is rated for {write(limit, 'A')}"
    delay = min(row.on_delay, LONGEST_OCP_DELAY)
    yield _Want(row, key, limit, says, {"_delay": (delay, -1), "_release": (row.min_off, 1)})


def _homeless(policies: PolicySet, done: set[str]) -> Iterator[Offered]:
    """What no setting of a board does, or what it does in one stage only."""
    covered = {row.record for row in policies.policies.values() if row.name in done and row.record}
    for row in _stops(policies):
        if row.name in done or (row.bms and row.record in covered):
            continue
        if row.quantity.endswith("_load"):
            why = "boards have one stage for a current, and another policy sets it"
        elif row.record in covered:
            why = "the board stops at the stricter limit, and gives it back by itself"
        else:
            why = "no setting of a BMS does this; it needs a program that watches"
        yield Offered(policy=row.name, step=Step.UNABLE, why=f"{row.name}: {why}.")


# -- what the board can hold ---------------------------------------------------------------------


def _limit(want: _Want, table: SettingsSnapshot, *, untested: bool) -> Iterator[Offered]:
    """The limit, and what belongs to it where the board has that."""
    main = _offer(want, want.key, want.limit, want.sign, want.says, table, untested=untested)
    yield main
    if main.step is Step.UNABLE:
        return
    for suffix, (value, sign) in want.beside.items():
        key = want.key + suffix
        row = table.map.by_key.get(key)
        if row is None:
            continue
        if suffix == "_release" and row.unit != "s" and not _inside(main.value, value, want):
            continue  # the board trips before it: its own release stays
        unit = row.unit
        says = f"{want.policy.name} has {write(value, unit)} for its {suffix[1:]}"
        yield _offer(want, key, value, sign, says, table, untested=untested)


def _inside(limit: float | None, release: float, want: _Want) -> bool:
    return limit is not None and (release - limit) * want.sign > 0


def _offer(
    want: _Want,
    key: str,
    value: float,
    sign: int,
    says: str,
    table: SettingsSnapshot,
    *,
    untested: bool,
) -> Offered:
    """One setting: set, kept, or why not. `sign` is 1 where more is stricter."""
    name = want.policy.name
    if why := _impossible(table, key, untested=untested):
        return Offered(policy=name, key=key, step=Step.UNABLE, why=f"{key}: {why}.")
    row = table.map.by_key[key]
    found = table.values()[key]
    held = float(found) if isinstance(found, int | float) else None
    best = _held_at_most(row, value, sign)
    if (best - value) * sign < -1e-9:
        says += f"; the board holds {write(best, row.unit)} at the strictest"
    if held is not None and (held - best) * sign >= -1e-9:
        why = f"{key} is {write(held, row.unit)}, which protects as much: {says}."
        return Offered(policy=name, key=key, step=Step.KEEP, held=held, value=held, why=why)
    why = f"{key} becomes {write(best, row.unit)}: {says}."
    return Offered(policy=name, key=key, step=Step.SET, held=held, value=best, why=why)


def _impossible(table: SettingsSnapshot, key: str, *, untested: bool) -> str:
    if why := table.map.read_only_reason or unable(table, key):
        return why
    row = table.map.by_key[key]
    if row.kind != "number" or row.unclear:
        return "what its number means is not known"
    if row.evidence == Evidence.DOCUMENT and not untested:
        return "only a document says how it is written (--untested)"
    return ""


def _held_at_most(row: Setting, value: float, sign: int) -> float:
    """The value nearest to this that the board can hold, rounded to the strict side."""
    low = -math.inf if row.minimum is None else row.minimum
    high = math.inf if row.maximum is None else row.maximum
    near = row.nearest(value)
    if (near - value) * sign < -1e-9:
        near = row.nearest(near + sign * row.step)
    return min(max(near, low), high)
