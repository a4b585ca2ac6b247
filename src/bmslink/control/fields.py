"""Everything that a policy file may say, once: each field with its unit, its range, and how it is
read and written. Files, presets, the meaning of old files and the page of the manual go by it.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from typing import Any, NamedTuple

from bmslink.control.decide.catalogue import CATALOGUE
from bmslink.control.decide.policy import (
    BETWEEN,
    Mode,
    OnMissing,
    Policy,
    Reset,
    Severity,
)
from bmslink.control.decide.quantities import QUANTITIES
from bmslink.control.decide.thresholds import UNITS, Curve
from bmslink.settings.units import UnitError, parse, write

__all__ = [
    "BATTERY_UNITS",
    "FIELDS",
    "FieldError",
    "LevelFacts",
    "LevelField",
    "amount",
    "known",
    "read_curve",
    "step_unit",
    "unit_of",
]

_ANY = (-1e6, 1e6)
_FARTHEST = 1000.0
"""From the BMS's own setting, in the unit of the quantity."""
_LOCKOUT = re.compile(r"(\d{1,4}) in (.+)")
_LOCKOUT_WITHIN = (1.0, 7 * 86400.0)  # s
_MOST_POINTS = 32
_OFF = {name for name, row in CATALOGUE["lfp"].items() if row.mode == Mode.OFF}
_WORD = re.compile(r"[a-z][a-z_]*")

BATTERY_UNITS: Mapping[str, str] = {
    "capacity": "Ah",
    "charge_current": "A",
    "discharge_current": "A",
    "fuse": "A",
    "cable": "A",
    "time_constant": "s",
}
"""The numbers of `[battery]` that have a unit; their ranges are `BATTERY_BETWEEN`."""


class FieldError(ValueError):
    """A value that a field cannot have: the text ends a sentence."""


class LevelFacts(NamedTuple):
    """What a text may refer to."""

    policy: Policy
    """As shipped."""
    thresholds: Iterable[str] = UNITS
    """Names that may take the place of a number."""
    capacity: float = math.nan
    """Ah, for currents that are multiples of it."""


class LevelField(NamedTuple):
    """One thing that a file may say of a level."""

    name: str
    attribute: str
    """Of `Policy`."""
    kind: Any
    """What TOML holds it as."""
    read: Callable[[Any, LevelFacts], Any]
    """The attribute's value; `FieldError` says what is wrong."""
    write: Callable[[Policy], str | int]
    """How a file says it."""
    said: Callable[[Policy], bool]
    """Whether a preset says it."""


def unit_of(policy: Policy) -> str:
    """The unit of its thresholds."""
    return QUANTITIES[policy.quantity].unit


def step_unit(policy: Policy) -> str:
    """The unit of a difference of its thresholds."""
    unit = unit_of(policy)
    return "K" if unit == "°C" else unit


# ------------------------------------------------------------------------------- one value


def amount(
    name: str, text: Any, unit: str, between: tuple[float, float], capacity: float = math.nan
) -> float:
    """A number with its unit, within its range."""
    if isinstance(text, bool) or not isinstance(text, (str, int, float)):
        raise FieldError(f"{name}: expected a number with its unit, in quotes")
    try:
        value = parse(text, unit, capacity=capacity)
    except UnitError as exc:
        raise FieldError(f"{name}: {exc}") from None
    low, high = between
    if not low <= value <= high:
        raise FieldError(f"{name}: {low:g} to {high:g} {unit}")
    return value


def known(name: str, names: Iterable[str], kind: str) -> None:
    """`FieldError` for a name that there is not, with the nearest that there is."""
    every = list(names)
    if name in every:
        return
    near = difflib.get_close_matches(name, every, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(every)}"
    raise FieldError(f"there is no {kind} {name[:60]!r}; {hint}")


def read_curve(name: str, points: Any, unit: str, *, falling: bool) -> Curve:
    """Pairs of a quantity and what is left there, rising in the quantity."""
    if not isinstance(points, list) or not 2 <= len(points) <= _MOST_POINTS:
        raise FieldError(f'{name}: 2 to {_MOST_POINTS} points like ["3.45 V", "50 %"]')
    found: list[tuple[float, float]] = []
    for point in points:
        if not isinstance(point, list) or len(point) != 2:
            raise FieldError(f'{name}: a point is a pair like ["3.45 V", "50 %"]')
        x = amount(name, point[0], unit, _ANY)
        found.append((x, amount(name, point[1], "%", (0, 100)) / 100))
    xs, ys = [x for x, _ in found], [y for _, y in found]
    if xs != sorted(set(xs)):
        raise FieldError(f"{name}: the points must rise")
    if ys != sorted(ys, reverse=falling):
        raise FieldError(f"{name}: it may only fall towards the danger")
    return tuple(found)


def _threshold(name: str) -> Callable[[Any, LevelFacts], float | str]:
    def read(text: Any, facts: LevelFacts) -> float | str:
        unit = unit_of(facts.policy)
        if isinstance(text, str) and _WORD.fullmatch(text):
            known(text, facts.thresholds, "threshold")
            if UNITS[text] != unit:
                raise FieldError(f"{name}: {text} is in {UNITS[text]}")
            return text
        return amount(name, text, unit, _ANY, facts.capacity)

    return read


def _inside(name: str, sign: int) -> Callable[[Any, LevelFacts], float]:
    def read(text: Any, facts: LevelFacts) -> float:
        if facts.policy.bms is None:
            raise FieldError(f"{name}: the BMS has no setting for this")
        return sign * amount(name, text, step_unit(facts.policy), (0, _FARTHEST))

    return read


def _curve(points: Any, facts: LevelFacts) -> Curve:
    return read_curve("curve", points, unit_of(facts.policy), falling=facts.policy.over)


def _lockout(text: Any, _facts: LevelFacts) -> tuple[int, float] | None:
    if text == "never":
        return None
    found = _LOCKOUT.fullmatch(text)
    if found is None or int(found[1]) < 1:
        raise FieldError('lockout: write it as "3 in 15 min", or "never"')
    return int(found[1]), amount("lockout", found[2], "s", _LOCKOUT_WITHIN)


def _on_missing(text: Any, _facts: LevelFacts) -> OnMissing:
    word, _, rest = text.partition(" ")
    if text == "trip":
        return OnMissing("trip")
    if word == "derate":
        return OnMissing("derate", amount("on_missing", rest, "%", (0, 100)) / 100)
    if word == "ignore:" and rest.strip():
        return OnMissing("ignore", 1.0, rest.strip())
    raise FieldError('on_missing: "trip", "derate 20 %", or "ignore: the reason why that is safe"')


def _samples(number: Any, _facts: LevelFacts) -> int:
    low, high = BETWEEN["samples"]
    if not low <= number <= high:
        raise FieldError(f"samples: {low:g} to {high:g}")
    return int(number)


# -------------------------------------------------------------------------------- the table


def _is_derate(policy: Policy) -> bool:
    return policy.severity == Severity.DERATE and policy.curve is None and policy.demands is None


def _limit(name: str) -> LevelField:
    def text(policy: Policy) -> str:
        value = getattr(policy, name)
        return value if isinstance(value, str) else write(value, unit_of(policy))

    def said(policy: Policy) -> bool:
        value = getattr(policy, name)  # the names of the engine's own times are for no file
        return value is not None and (not isinstance(value, str) or value in UNITS)

    return LevelField(name, name, Any, _threshold(name), text, said)


def _margin(name: str, sign: int) -> LevelField:
    return LevelField(
        name,
        "inside_bms",
        Any,
        _inside(name, sign),
        lambda policy: write(abs(policy.inside_bms), step_unit(policy)),
        lambda policy: policy.bms is not None and (policy.inside_bms >= 0) == (sign > 0),
    )


def _time(name: str) -> LevelField:
    return LevelField(
        name,
        name,
        Any,
        lambda text, facts: amount(name, text, "s", BETWEEN[name]),
        lambda policy: write(getattr(policy, name), "s"),
        lambda policy: policy.curve is None and bool(getattr(policy, name)),
    )


def _choice(name: str, kind: type[StrEnum], said: Callable[[Policy], bool]) -> LevelField:
    def read(text: Any, _facts: LevelFacts) -> StrEnum:
        try:
            return kind(text)
        except ValueError:
            words = ", ".join(each.value for each in kind)
            raise FieldError(f"{name}: one of {words}") from None

    return LevelField(name, name, str, read, lambda policy: str(getattr(policy, name)), said)


def _lockout_text(policy: Policy) -> str:
    if policy.lockout is None:
        return "never"
    most, window = policy.lockout
    return f"{most} in {write(window, 's')}"


def _missing_text(policy: Policy) -> str:
    rule = policy.on_missing
    if rule.rule == "derate":
        return f"derate {write(100 * rule.factor, '%')}"
    return "trip" if rule.rule == "trip" else f"ignore: {rule.reason}"


_ROWS = (
    _choice("mode", Mode, lambda policy: policy.mode != Mode.SHADOW or policy.name in _OFF),
    _limit("trip"),
    _limit("release"),
    _margin("inside_bms", 1),
    _margin("outside_bms", -1),
    LevelField(
        "factor", "factor", Any,
        lambda text, facts: amount("factor", text, "%", (0, 100)) / 100,
        lambda policy: write(100 * policy.factor, "%"),
        _is_derate,
    ),
    _time("on_delay"),
    _time("load_delay"),
    _time("off_delay"),
    _time("min_off"),
    LevelField(
        "samples", "samples", int, _samples,
        lambda policy: policy.samples,
        lambda policy: policy.curve is None and policy.samples != 2,
    ),
    LevelField(
        "lockout", "lockout", str, _lockout, _lockout_text,
        lambda policy: policy.curve is None and policy.lockout is not None,
    ),
    _choice(
        "reset", Reset,
        lambda policy: policy.reset == Reset.MANUAL and policy.severity < Severity.EMERGENCY,
    ),
    LevelField(
        "curve", "curve", Any, _curve,
        lambda policy: str(policy.curve),
        lambda policy: False,
    ),
    LevelField(
        "sensors", "sensors", list[str],
        lambda names, facts: tuple(names),
        lambda policy: ", ".join(policy.sensors),
        lambda policy: False,
    ),
    LevelField(
        "on_missing", "on_missing", str, _on_missing, _missing_text,
        lambda policy: policy.curve is None and policy.on_missing.rule == "trip",
    ),
)  # fmt: skip

FIELDS: Mapping[str, LevelField] = {field.name: field for field in _ROWS}
"""Everything that can be said of a level, in the order in which presets say it."""
