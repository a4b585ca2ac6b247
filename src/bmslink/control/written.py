"""How a policy file writes a number, a curve and a policy: the other way of `files.py`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bmslink.control.decide.catalogue import CATALOGUE
from bmslink.control.decide.policy import Action, Mode, Policy, Reset, Severity
from bmslink.control.decide.quantities import QUANTITIES
from bmslink.control.decide.thresholds import UNITS, Curve
from bmslink.settings.units import write

__all__ = [
    "DOES",
    "curve_points",
    "field_text",
    "in_toml",
    "in_words",
    "row_comment",
    "row_fields",
    "step_unit",
    "unit_of",
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
_OFF = {name for name, row in CATALOGUE["lfp"].items() if row.mode == Mode.OFF}
_TIMES = ("on_delay", "load_delay", "off_delay", "min_off")


def unit_of(policy: Policy) -> str:
    """The unit of its thresholds."""
    return QUANTITIES[policy.quantity].unit


def step_unit(policy: Policy) -> str:
    """The unit of a difference of its thresholds."""
    unit = unit_of(policy)
    return "K" if unit == "°C" else unit


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


def row_fields(policy: Policy) -> dict[str, str | int]:
    """What a row says of a policy, as the file reads it."""
    return dict(_fields(policy))


def field_text(policy: Policy, field: str) -> str | int | None:
    """One field of a policy, also where a row would leave it out; `None` for a field that a curve
    does not have."""
    fields = row_fields(policy)
    if field in fields or policy.curve is not None:
        return fields.get(field)
    value = getattr(policy, field)
    return write(value, "s") if field in _TIMES else str(value)


def _fields(policy: Policy) -> Iterator[tuple[str, str | int]]:
    unit = unit_of(policy)
    if policy.mode != Mode.SHADOW or policy.name in _OFF:
        yield "mode", str(policy.mode)
    for name in ("trip", "release"):
        value = getattr(policy, name)
        in_file = not isinstance(value, str) or value in UNITS
        if value is not None and in_file:
            yield name, value if isinstance(value, str) else write(value, unit)
    if policy.bms is not None:
        side = "inside_bms" if policy.inside_bms >= 0 else "outside_bms"
        yield side, write(abs(policy.inside_bms), step_unit(policy))
    if policy.severity == Severity.DERATE and policy.curve is None and policy.demands is None:
        yield "factor", write(100 * policy.factor, "%")
    if policy.curve is not None:
        return
    for name in _TIMES:
        value = getattr(policy, name)
        if value:
            yield name, write(value, "s")
    if policy.samples != 2:
        yield "samples", policy.samples
    if policy.lockout is not None:
        most, window = policy.lockout
        yield "lockout", f"{most} in {write(window, 's')}"
    if policy.reset == Reset.MANUAL and policy.severity < Severity.EMERGENCY:
        yield "reset", str(policy.reset)
    if policy.on_missing.rule == "trip":
        yield "on_missing", "trip"


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
