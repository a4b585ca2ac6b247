"""Whether a policy set that a program put together has all that it names."""

from __future__ import annotations

from collections.abc import Iterator

from bmslink.control.decide.policy import Battery, Policy, PolicySet
from bmslink.control.decide.quantities import GATES, QUANTITIES
from bmslink.errors import TargetError

__all__ = ["require_whole"]

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
    """`TargetError` for a policy set in which something is missing."""
    if not isinstance(policies, PolicySet):
        raise TargetError(
            f"A PolicySet is needed, not {type(policies).__name__}; load_policies reads one."
        )
    missing = list(_missing(policies))
    if missing:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise TargetError(
            f"The policy set is not complete: it has no {', no '.join(missing[:3])}{more}."
        )


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
