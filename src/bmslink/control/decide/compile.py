"""From policies to numbers: thresholds by name, and what stays inside the BMS's own settings."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping

import msgspec

from bmslink.control.decide.policy import (
    Battery,
    Mode,
    Policy,
    PolicySet,
    Severity,
    fault_of,
    fault_of_battery,
)
from bmslink.control.decide.quantities import GATES, QUANTITIES
from bmslink.control.decide.rule import PolicyRule, PolicyTiming, in_words
from bmslink.control.decide.thresholds import RANGES, UNITS, disorder
from bmslink.errors import TargetError

__all__ = [
    "OCP_SHARE",
    "CompiledPolicies",
    "CurrentRating",
    "chatter_of",
    "compile_policies",
    "curve_of",
    "ratings",
    "release_of",
    "require_whole",
    "trip_of",
]

_FUSE_SHARE = 0.8
OCP_SHARE = 0.9
"""Of the BMS's own over-current limit, what counts as the continuous current."""
_USUAL_RATE: Mapping[str, float] = {"charge": 0.5, "discharge": 1.0}
"""C, where nobody says what the cells take and give: half an hour of an inverter must not stop."""
_TIMELESS = frozenset({"stopped", "data_age", "charge_blindness", "discharge_blindness"})
_UNKNOWN_DELAY = 10.0  # s: the BMS's own delay, where it is not known


class CurrentRating(msgspec.Struct, frozen=True):
    """The continuous current in one direction, A, and what it comes from."""

    amps: float
    basis: str


class CompiledPolicies(msgspec.Struct, frozen=True):
    """Policies with every number known, ready for the engine."""

    policies: PolicySet
    rules: tuple[PolicyRule, ...]
    sources: tuple[tuple[str, tuple[str, ...]], ...]
    """The quantities to measure, with the probes each is about."""
    charge: CurrentRating
    discharge: CurrentRating
    timing: PolicyTiming
    not_applicable: dict[str, str]
    """Policy -> why it cannot judge this pack."""


def ratings(battery: Battery, settings: Mapping[str, float]) -> tuple[CurrentRating, CurrentRating]:
    """The continuous charge and discharge current: the weakest of cells, fuse, cable, BMS."""
    return (
        _rating(battery, battery.charge_current, "charge", settings),
        _rating(battery, battery.discharge_current, "discharge", settings),
    )


def _rating(
    battery: Battery, cells: float | None, way: str, settings: Mapping[str, float]
) -> CurrentRating:
    rate = _USUAL_RATE[way]
    usual = CurrentRating(rate * battery.capacity, f"{rate:g} C: no rating is given")
    found = [usual if cells is None else CurrentRating(cells, f"{way}_current of the cells")]
    if battery.fuse is not None:
        found.append(CurrentRating(_FUSE_SHARE * battery.fuse, f"{_FUSE_SHARE:.0%} of the fuse"))
    if battery.cable is not None:
        found.append(CurrentRating(battery.cable, "the cable"))
    ocp = _setting(settings, f"{way}_ocp")
    if ocp:  # some boards store the currents of discharging as negative numbers
        found.append(CurrentRating(OCP_SHARE * abs(ocp), f"{OCP_SHARE:.0%} of the BMS's {way}_ocp"))
    return min(found, key=lambda r: (r.amps, r.basis))


def compile_policies(
    policies: PolicySet,
    settings: Mapping[str, float] | None = None,
    *,
    acting: Collection[Mode] = (Mode.ENFORCE,),
    poll: float = 1.0,
    sink: bool = False,
) -> CompiledPolicies:
    """Resolve all policies that are not off.

    `settings` are the BMS's own by canonical key (V, A, °C, s); `acting` says which modes have a
    say in what is decided; `poll` is the time between readings, s. With a `sink` a derate opens
    no switch, so that none can wear out.
    """
    known = {k: v for k, v in (settings or {}).items() if _setting({k: v}, k) is not None}
    timing = PolicyTiming.of(poll)
    names = {
        **policies.thresholds,
        "stale_after": timing.stale_after,
        "derate_after": timing.derate_after,
    }
    rules: list[PolicyRule] = []
    sources: dict[tuple[str, tuple[str, ...]], int] = {}
    absent: dict[str, str] = {}
    for policy in _at_work(policies, sink=sink):
        if policy.mode == Mode.OFF:
            continue
        numbers = _numbers(policy, policies, names, known)
        if numbers is None:
            absent[policy.name] = f"the BMS's setting {policy.bms} is not known"
            continue
        source = sources.setdefault((policy.quantity, policy.sensors), len(sources))
        rules.append(_rule(policy, numbers, source, known, acts=policy.mode in acting))
    charge, discharge = ratings(policies.battery, known)
    return CompiledPolicies(
        policies, tuple(rules), tuple(sources), charge, discharge, timing, absent
    )


def _at_work(policies: PolicySet, *, sink: bool) -> Iterator[Policy]:
    """By name; what a person stops is never off and never only watched."""
    for policy in sorted(policies.policies.values(), key=lambda p: p.name):
        if policy.quantity == "stopped":
            yield msgspec.structs.replace(policy, mode=Mode.ENFORCE)
        elif sink and policy.severity == Severity.DERATE:
            yield msgspec.structs.replace(policy, lockout=None)
        else:
            yield policy


class _Numbers(msgspec.Struct, frozen=True):
    """Signed: they grow towards the danger."""

    trip: float
    release: float
    curve: tuple[tuple[float, float], ...] | None
    basis: str


def _numbers(
    policy: Policy, policies: PolicySet, names: Mapping[str, float], settings: Mapping[str, float]
) -> _Numbers | None:
    sign = 1 if policy.over else -1
    quantity = QUANTITIES[policy.quantity]
    points = curve_of(policy, policies)
    curve = points and tuple(sorted((sign * x, fraction) for x, fraction in points))
    trip = trip_of(policy, policies, names)
    basis = ""
    own = _setting(settings, policy.bms) if policy.bms else None
    if own is not None and policy.bms is not None:
        if policy.quantity == "pack_voltage":
            own /= policies.battery.cells
        inside = own - sign * policy.inside_bms
        if trip is None or sign * inside < sign * trip:
            trip = round(inside, 4)
            where = "inside" if policy.inside_bms >= 0 else "beyond"
            margin = in_words(quantity, abs(policy.inside_bms)).replace("°C", "K")
            basis = f"{margin} {where} the BMS's {policy.bms}"
    if trip is None:
        return None
    release = _value(policy.release, names)
    nearest = sign * trip - quantity.hysteresis
    back = nearest if release is None else min(sign * release, nearest)
    return _Numbers(sign * trip, back, curve, basis)


def curve_of(policy: Policy, policies: PolicySet) -> tuple[tuple[float, float], ...] | None:
    """The derating curve of a policy, if it has one."""
    return policies.curves[policy.curve] if isinstance(policy.curve, str) else policy.curve


def trip_of(policy: Policy, policies: PolicySet, names: Mapping[str, float]) -> float | None:
    """Where a policy trips by itself, whatever the BMS has set: for a curve, where it is 0."""
    trip = _value(policy.trip, names)
    curve = curve_of(policy, policies)
    if trip is not None or curve is None:
        return trip
    zeros = [x for x, fraction in curve if fraction == 0]
    if not zeros:
        return math.inf if policy.over else -math.inf
    return min(zeros) if policy.over else max(zeros)


def release_of(policy: Policy, policies: PolicySet) -> float | None:
    """Where a policy is released by itself."""
    return _value(policy.release, policies.thresholds)


def chatter_of(policy: Policy, policies: PolicySet) -> tuple[float, float] | None:
    """Trip and release of a row that would be released where it trips; `None`: it is in order."""
    trip = trip_of(policy, policies, policies.thresholds)
    release = release_of(policy, policies)
    if trip is None or release is None:
        return None
    sign = 1 if policy.over else -1
    return (trip, release) if sign * release >= sign * trip else None


def _value(threshold: float | str | None, names: Mapping[str, float]) -> float | None:
    return names.get(threshold) if isinstance(threshold, str) else threshold


def _setting(settings: Mapping[str, float], key: str | None) -> float | None:
    """A setting of the BMS, if it is a number."""
    value = settings.get(key) if key is not None else None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return float(value)


def _rule(
    policy: Policy,
    numbers: _Numbers,
    source: int,
    settings: Mapping[str, float],
    *,
    acts: bool,
) -> PolicyRule:
    delay = policy.on_delay
    if policy.after_bms:
        own = _setting(settings, f"{policy.bms}_delay")
        delay += _UNKNOWN_DELAY if own is None else own
    quantity = QUANTITIES[policy.quantity]
    return PolicyRule(
        policy=policy,
        name=policy.name,
        quantity=quantity,
        source=source,
        timeless=policy.quantity in _TIMELESS,
        gate=GATES[policy.when],
        release_gate=None if policy.release_when is None else GATES[policy.release_when],
        sign=1 if policy.over else -1,
        trip=numbers.trip,
        release=numbers.release,
        on_delay=delay,
        load_delay=max(delay, policy.load_delay) if policy.load_delay else 0.0,
        curve=numbers.curve,
        most=max((left for _, left in numbers.curve), default=1.0) if numbers.curve else 1.0,
        basis=numbers.basis,
        acts=acts,
    )


# -------------------------------------------------------------------------- is it complete?

_ALWAYS = (
    "balance_start",
    "charge_voltage",
    "discharge_voltage",
    "float_voltage",
    "ov_derate_release",
    "uv_derate_release",
    "uv_warning",
)
"""Thresholds that are asked for whatever the policies are."""
_TIMES = ("stale_after", "derate_after")
"""Names for times of the engine."""


def require_whole(policies: PolicySet) -> None:
    """`TargetError` for a policy set in which something is missing, or a row cannot be right."""
    if not isinstance(policies, PolicySet):
        raise TargetError(
            f"A PolicySet is needed, not {type(policies).__name__}; load_policies reads one."
        )
    missing = list(_missing(policies))
    if not missing and (wrong := fault_of_battery(policies.battery) or _beyond(policies)):
        raise TargetError(f"The policy set cannot be used: {wrong}.")
    turned = None if missing else disorder(policies.thresholds)
    if turned is not None:
        low, high = (f"{name} ({policies.thresholds[name]:g})" for name in turned)
        raise TargetError(f"The policy set cannot be used: {low} must lie below {high}.")
    for row in () if missing else policies.policies.values():
        if wrong := fault_of(row) or _chatter(row, policies):
            raise TargetError(f"The policy {row.name!r} cannot be used: {wrong}.")
    if missing:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise TargetError(
            f"The policy set is not complete: it has no {', no '.join(missing[:3])}{more}."
        )


def _beyond(policies: PolicySet) -> str:
    """A threshold that no cell has, in words."""
    for name, value in policies.thresholds.items():
        low, high = RANGES.get(UNITS.get(name, ""), (-math.inf, math.inf))
        if (
            isinstance(value, bool)
            or not isinstance(value, (int, float))
            or not low <= value <= high
        ):
            return f"{name} must be a number from {low:g} to {high:g}"
    return ""


def _chatter(policy: Policy, policies: PolicySet) -> str:
    if ends := chatter_of(policy, policies):
        side = "below" if policy.over else "above"
        return f"release ({ends[1]:g}) must be {side} trip ({ends[0]:g}), or it would chatter"
    return ""


def _missing(policies: PolicySet) -> Iterator[str]:
    battery: object = policies.battery  # a struct takes what it is given
    if not isinstance(battery, Battery):
        yield "battery"
    for name in _ALWAYS:
        if name not in policies.thresholds:
            yield f"threshold {name}"
    for policy in policies.policies.values():
        yield from _unnamed(policy, policies)


def _unnamed(policy: Policy, policies: PolicySet) -> Iterator[str]:
    if policy.quantity not in QUANTITIES:
        yield f"quantity {policy.quantity} ({policy.name})"
    for gate in (policy.when, policy.release_when):
        if gate is not None and gate not in GATES:
            yield f"gate {gate} ({policy.name})"
    for name in (policy.trip, policy.release):
        if isinstance(name, str) and name not in (*policies.thresholds, *_TIMES):
            yield f"threshold {name} ({policy.name})"
    if isinstance(policy.curve, str) and policy.curve not in policies.curves:
        yield f"curve {policy.curve} ({policy.name})"
