"""How a policy file writes a number, a curve and a policy: the other way of `files.py`."""

from __future__ import annotations

from typing import Any

from bmslink.control.decide.policy import Action, Policy, PolicyRecord, Severity
from bmslink.control.decide.quantities import QUANTITIES
from bmslink.control.decide.thresholds import Curve
from bmslink.control.fields import FIELDS
from bmslink.settings.units import write

__all__ = [
    "DOES",
    "curve_points",
    "field_text",
    "in_toml",
    "in_words",
    "record_title",
    "row_comment",
    "row_fields",
]

_ACTS = {
    Action.CHARGE: "charging",
    Action.DISCHARGE: "discharging",
    Action.BALANCE: "balancing",
    Action.FLOAT: "the charge voltage",
}
DOES = {
    Severity.NOTICE: "tells",
    Severity.WARN: "warns",
    Severity.DERATE: "limits",
    Severity.TRIP: "stops",
    Severity.EMERGENCY: "stops",
}
"""What a policy of each severity does."""


def curve_points(points: Curve, unit: str) -> list[list[str]]:
    """The points of a curve, with units."""
    return [[write(x, unit), write(100 * y, "%")] for x, y in points]


def row_comment(policy: Policy) -> str:
    """The comment line above a row: what it sees and does."""
    acts = " and ".join(_ACTS[action] for action in policy.acts)
    does = f"{DOES[policy.severity]} {acts}".strip()
    if policy.severity == Severity.EMERGENCY:
        does += " until a person resets it"
    when = "" if policy.when == "always" else f" ({policy.when} only)"
    return f"# {policy.title}: {does}{when}"


def record_title(record: PolicyRecord) -> str:
    """What a record is about: its quantity, or the switch that all its levels concern."""
    titles = {QUANTITIES[row.quantity].title for row in record.levels.values()}
    acts = {action for row in record.levels.values() for action in row.acts}
    return titles.pop() if len(titles) == 1 else " and ".join(_ACTS[each] for each in acts)


def row_fields(policy: Policy) -> dict[str, str | int]:
    """What a preset says of a level, as the file reads it."""
    return {name: field.write(policy) for name, field in FIELDS.items() if field.said(policy)}


def field_text(policy: Policy, name: str) -> str | int | None:
    """One field of a policy, also where a preset would leave it out; `None` for a field that a
    curve does not have."""
    field = FIELDS[name]
    if field.said(policy) or policy.curve is None:
        return field.write(policy)
    return None


def in_toml(value: Any) -> str:
    """A text without quotes in it, a number, a list or a row, as TOML in one line."""
    if isinstance(value, dict):
        pairs = ", ".join(f"{name} = {in_toml(each)}" for name, each in value.items())
        return f"{{ {pairs} }}" if pairs else "{}"
    if isinstance(value, list):
        return f"[{', '.join(in_toml(each) for each in value)}]"
    return f'"{value}"' if isinstance(value, str) else str(value)


def in_words(value: Any) -> str:
    """A value of a file for people: a curve as `93 %: 100 %, 100 %: 50 %`."""
    if isinstance(value, list):
        return ", ".join(": ".join(str(part) for part in point) for point in value)
    return str(value)
