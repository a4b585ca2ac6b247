"""What is doubtful about a policy file, and about the settings of the BMS below it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from enum import IntEnum
from typing import Any

import msgspec

from bmslink.control.decide.catalogue import CATALOGUE, default_policies
from bmslink.control.decide.compile import (
    CompiledPolicies,
    compile_policies,
    curve_of,
    require_whole,
    trip_of,
)
from bmslink.control.decide.given import require_options
from bmslink.control.decide.policy import Action, Mode, Policy, PolicySet, Severity
from bmslink.control.decide.quantities import QUANTITIES
from bmslink.control.decide.rule import PolicyRule, fraction_at, in_words
from bmslink.control.decide.sample import OPEN
from bmslink.control.decide.thresholds import THRESHOLDS, UNITS
from bmslink.control.written import in_words as in_file
from bmslink.model import Reading
from bmslink.settings.rules import CELLS_THERE, lint
from bmslink.settings.units import write

__all__ = ["Finding", "Level", "check_pack", "check_policies", "check_settings", "in_force"]

Settings = Mapping[str, float]


class Level(IntEnum):
    """How much a finding matters."""

    REMARK = 0
    WARNING = 1
    DANGER = 2


class Finding(msgspec.Struct, frozen=True, order=True):
    """One doubtful thing."""

    level: Level
    about: str
    """The policy, threshold or setting."""
    text: str

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"level": self.level.name.lower(), "about": self.about, "text": self.text}


# ------------------------------------------------------------------------------------ policies

_STOPS: Mapping[str, int] = {
    "charge_voltage": 1,
    **{
        row.trip: 1 if row.over else -1
        for row in CATALOGUE["lfp"].values()
        if isinstance(row.trip, str) and row.severity >= Severity.TRIP
        if {Action.CHARGE, Action.DISCHARGE} & {*row.acts}
    },
}
"""Threshold -> the direction in which it is looser: those that stop a current, and the voltage that
is charged to."""

_MOST_C = 5.0
"""Continuous currents above this multiple of the capacity are doubtful, whatever the chemistry."""


_PAIR = ("curve", "trip")
_PATIENCE = 60.0
"""Seconds that a stop may wait longer than as shipped before that is doubtful."""


def check_policies(policies: PolicySet, settings: Settings | None = None) -> list[Finding]:
    """What is doubtful about the policies, over a BMS with these settings if they are known.

    Rows of one's own are judged by what they say. Raises `TargetError` for an incomplete set.
    """
    require_whole(policies)
    require_options("check_policies()", settings, sink=False)
    plan = compile_policies(policies, settings, acting=tuple(Mode))
    found = [
        *_as_shipped(policies),
        *_looser(policies),
        *_weaker(policies),
        *_modes(policies),
        *_curves(policies, plan),
        *_ratings(policies, plan),
    ]
    if settings:
        found += [
            Finding(Level.REMARK, name, f"{name} cannot judge this pack: {why}.")
            for name, why in plan.not_applicable.items()
        ]
    return _sorted(found)


def in_force(policies: PolicySet, file: object) -> str:
    """The sentence for a file of an older schema whose values are not all in force; else empty."""
    count = len(policies.as_shipped)
    if not count:
        return ""
    named = [
        f"{each.key[-1]} is {each.now}"
        for each in policies.as_shipped
        if each.key[0] == "thresholds"
    ]
    such = f" ({', '.join(named)})" if named else ""
    return (
        f"{file} is of an older version: {count} of its values are the defaults of then, and "
        f"today's are in force{such}. `bmslink control check {file}` lists them, and --upgrade "
        "writes them."
    )


def _as_shipped(policies: PolicySet) -> Iterator[Finding]:
    """What the file says and is not in force, one by one; the ends of curves in one sentence."""
    curves: dict[str, None] = {}
    for each in policies.as_shipped:
        name = ".".join(each.key[1:])
        if each.now is None:
            curves[each.key[1]] = None
            continue
        was, now = in_file(each.was), in_file(each.now)
        text = f"{name}: {was} was the default of an older version; today's is in force: {now}."
        yield Finding(Level.REMARK, name, text)
    if curves:
        text = (
            "A curve has no release, delays and lockout any more; what the file says of them is "
            f"without effect: {', '.join(curves)}."
        )
        yield Finding(Level.REMARK, "curves", text)
    if policies.as_shipped:
        text = "`bmslink control check FILE --upgrade` writes the file anew with what is in force."
        yield Finding(Level.REMARK, "schema", text)


def _looser(policies: PolicySet) -> Iterator[Finding]:
    usual = THRESHOLDS[policies.battery.chemistry]
    for name, sign in _STOPS.items():
        value = policies.thresholds[name]
        if sign * value > sign * usual[name]:
            unit = UNITS[name]
            text = (
                f"{name} is {write(value, unit)}; for {policies.battery.chemistry} cells "
                f"{write(usual[name], unit)} is usual. Only the cell maker's sheet permits more."
            )
            yield Finding(Level.WARNING, name, text)


def _weaker(policies: PolicySet) -> Iterator[Finding]:
    """Stops that come later than as shipped, by a number of their own or a long delay."""
    usual = default_policies(policies.battery)
    for name, policy in policies.policies.items():
        shipped = usual.policies.get(name)  # a row of one's own has no usual numbers
        if shipped is None or policy.mode == Mode.OFF or policy.severity < Severity.TRIP:
            continue
        sign, unit = (1 if policy.over else -1), QUANTITIES[policy.quantity].unit
        trip, own = trip_of(policy, policies, policies.thresholds), policy.trip != shipped.trip
        least = trip_of(shipped, usual, usual.thresholds)
        if own and trip is not None and least is not None and sign * (trip - least) > _MORE_THAN:
            text = f"{name} acts at {write(trip, unit)}; {write(least, unit)} is as shipped."
            yield Finding(Level.WARNING, name, text)
        if policy.on_delay > shipped.on_delay + _PATIENCE:
            text = (
                f"{name} waits {write(policy.on_delay, 's')} before it acts; "
                f"{write(shipped.on_delay, 's')} is as shipped."
            )
            yield Finding(Level.WARNING, name, text)


def _modes(policies: PolicySet) -> Iterator[Finding]:
    shipped = CATALOGUE[policies.battery.chemistry]
    modes = {policy.mode for policy in policies.policies.values()}
    if Mode.ENFORCE not in modes:
        yield Finding(
            Level.REMARK,
            "mode",
            'Nothing acts: every policy is in shadow or off (mode = "enforce").',
        )
    for name, policy in policies.policies.items():
        if policy.quantity == "stopped":
            continue  # always at work
        if policy.mode == Mode.OFF and name in shipped and shipped[name].mode != Mode.OFF:
            level = Level.WARNING if policy.severity >= Severity.TRIP else Level.REMARK
            yield Finding(level, name, f"{name} is off: {policy.title} goes unseen.")


def _curves(policies: PolicySet, plan: CompiledPolicies) -> Iterator[Finding]:
    """A derating curve must be at zero before the trip of the same record."""
    rules = {rule.name: rule for rule in plan.rules}
    for record in policies.records.values():
        derate, trip = (record.levels[each].name if each in record.levels else "" for each in _PAIR)
        usual = CATALOGUE[policies.battery.chemistry].get(derate)
        if derate not in rules or trip not in rules or usual is None or not _ends(usual, policies):
            continue
        zero, limit = rules[derate].trip, rules[trip].trip
        if zero > limit:
            rule = rules[trip]
            where = in_words(rule.quantity, limit * rule.sign)
            basis = f" ({rule.basis})" if rule.basis else ""
            yield Finding(
                Level.WARNING if not rule.basis else Level.REMARK,
                derate,
                f"{derate} still leaves {_left(rules[derate], limit)} when {trip} acts at "
                f"{where}{basis}: the current is cut off there, not led to 0.",
            )
    charge, fall = policies.thresholds["charge_voltage"], rules.get("cell_overvoltage_derate")
    if fall is not None and charge * fall.sign >= fall.trip:
        end = write(fall.trip * fall.sign, "V")
        text = f"charge_voltage is {write(charge, 'V')}, but the charge current is 0 from {end} on."
        yield Finding(Level.WARNING, "charge_voltage", text)
    for name, policy in policies.policies.items():
        curve = curve_of(policy, policies)
        if curve is not None and policy.mode != Mode.OFF and len({y for _, y in curve}) == 1:
            yield Finding(Level.WARNING, name, f"{name}: its curve is flat and limits nothing.")


def _ends(derate: Policy, policies: PolicySet) -> bool:
    """Whether its curve is meant to come to 0, as shipped."""
    limit = trip_of(derate, default_policies(policies.battery), {})
    return limit is not None and math.isfinite(limit)


def _left(derate: PolicyRule, limit: float) -> str:
    return f"{fraction_at(derate.curve, limit):.0%}" if derate.curve else "all"


def _ratings(policies: PolicySet, plan: CompiledPolicies) -> Iterator[Finding]:
    battery = policies.battery
    for way, rating, cells in (
        ("charge_current", plan.charge, battery.charge_current),
        ("discharge_current", plan.discharge, battery.discharge_current),
    ):
        if cells is None:
            text = f"{way} is not given: {rating.amps:g} A are reckoned with ({rating.basis})."
            yield Finding(Level.REMARK, way, text)
        elif cells > _MOST_C * battery.capacity:
            text = (
                f"{way} is {cells:g} A, {cells / battery.capacity:.3g} C at {battery.capacity:g} "
                "Ah: few cells bear that for long; see the maker's sheet."
            )
            yield Finding(Level.WARNING, way, text)


# ------------------------------------------------------------------------------------ settings

_Rule = tuple[Level, str, Callable[[Settings, PolicySet], bool], str]
_MORE_THAN = 1e-6


def _above_the_fuse(key: str) -> _Rule:
    def above(settings: Settings, policies: PolicySet) -> bool:
        fuse = policies.battery.fuse
        return fuse is not None and abs(settings[key]) > fuse

    return Level.DANGER, key, above, f"{key} {{{key}:g}} A is above the fuse."


_RULES: tuple[_Rule, ...] = (
    (Level.DANGER, "cell_count", lambda s, p: int(s["cell_count"]) != p.battery.cells,
     "The BMS is set to {cell_count:g} cells, the file to {cells}."),
    (Level.WARNING, "nominal_capacity",
     lambda s, p: abs(s["nominal_capacity"] - p.battery.capacity) > 0.1 * p.battery.capacity,
     "The BMS is set to {nominal_capacity:g} Ah, the file to {capacity:g} Ah."),
    _above_the_fuse("charge_ocp"),
    _above_the_fuse("discharge_ocp"),
)  # fmt: skip
"""Where the settings differ from what the file says. What is wrong with settings whatever the file
says is the business of `settings.rules`."""


def check_settings(settings: Settings, policies: PolicySet) -> list[Finding]:
    """What is doubtful about the BMS's own settings; rules whose settings are unknown rest."""
    battery = policies.battery
    known = {key: value for key, value in settings.items() if _is_number(value)}
    words = {
        **known,
        "chemistry": battery.chemistry,
        "cells": battery.cells,
        "capacity": battery.capacity,
    }
    found = [
        Finding(level, key, text.format_map(words))
        for level, key, wrong, text in _RULES
        if key in known and wrong(known, policies)
    ]
    for verdict in lint(known, cells=battery.cells, chemistry=battery.chemistry):
        if verdict.rule != CELLS_THERE:  # it is said above, with the file's name for it
            level = Level.DANGER if verdict.severity == "error" else Level.WARNING
            found.append(Finding(level, verdict.keys[0], verdict.sentence))
    return _sorted(found)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


# -------------------------------------------------------------------------------------- the pack


def check_pack(reading: Reading, policies: PolicySet) -> list[Finding]:
    """What a reading shows that the file did not expect."""
    battery = policies.battery
    found = []
    cells = len(reading.cell_voltages)
    if cells and cells != battery.cells:
        text = f"The pack has {cells} cells, the file says {battery.cells}."
        found.append(Finding(Level.DANGER, "cells", text))
    capacity = reading.nominal_capacity
    if capacity and abs(capacity - battery.capacity) > 0.1 * battery.capacity:
        text = f"The BMS says {capacity:g} Ah, the file {battery.capacity:g} Ah."
        found.append(Finding(Level.WARNING, "capacity", text))
    probes = battery.sensors or tuple(
        name for name in reading.temperatures if name.startswith(("cell_", "sensor_"))
    )
    told = reading.temperatures
    silent = [name for name in probes if (t := told.get(name)) is None or t <= OPEN]
    if silent:
        heard = [name for name in probes if name not in silent] or [
            name for name, value in reading.temperatures.items()
            if value is not None and name.startswith(("cell_", "sensor_"))
        ]  # fmt: skip
        names = ", ".join(f'"{name}"' for name in heard)
        hint = f"sensors = [{names}]" if heard else "sensors = [...]"
        text = (
            f"These probes say nothing: {', '.join(silent)}. As long as they count, the currents "
            "stay limited, and what a temperature has stopped stays stopped. If they are not "
            f"fitted, write {hint} in [battery]."
        )
        found.append(Finding(Level.WARNING, "sensors", text))
    if not probes:
        text = "The pack shows no cell temperature: the temperature policies limit the currents."
        found.append(Finding(Level.WARNING, "sensors", text))
    sign = reading.raw.get("current_sign")
    if sign in ("disputed", "unknown"):
        text = f"The direction of the current is {sign}; ?current_sign= in the target settles it."
        found.append(Finding(Level.WARNING, "current", text))
    return _sorted(found)


def _sorted(found: Iterator[Finding] | list[Finding]) -> list[Finding]:
    return sorted(found, key=lambda f: (-f.level, f.about, f.text))
