"""Do the settings of a pack make sense together? Pure rules over canonical values.

A rule that needs a value nobody gave is not applicable. An `error` can harm the cells, cut the
pack off or leave a protection without effect; a `warning` is unusual, and may be meant. The rules
about one limit alone are in `limit_rules`, their numbers in `bands`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise

from bmslink.settings.bands import BANDS, CHARGE_ROOM, LARGEST_DELTA, SMALLEST_DELTA, Band
from bmslink.settings.chemistry import chemistry as find_chemistry
from bmslink.settings.limit_rules import limit_rules
from bmslink.settings.rule import Facts, RuleVerdict, SettingRule, Severity
from bmslink.settings.setting import Value

__all__ = [
    "BANDS",
    "CELLS_THERE",
    "RULES",
    "Band",
    "Facts",
    "RuleVerdict",
    "SettingRule",
    "Severity",
    "likely_chemistry",
    "lint",
    "review",
]


def _order(
    low: str, high: str, severity: Severity = "error", *, equal: bool = False
) -> SettingRule:
    """One value must lie below another."""

    def judge(facts: Facts) -> str | None:
        lower, upper = facts.values[low], facts.values[high]
        if lower < upper or (equal and lower == upper):
            return None
        return f"{low} ({lower:g}) must lie below {high} ({upper:g})."

    return SettingRule(f"{low}<{high}", (low, high), severity, judge)


def _ladder(*keys: str, equal: bool = False) -> Iterator[SettingRule]:
    """Every value below every later one, so that a missing rung breaks no chain."""
    for index, low in enumerate(keys):
        yield from (_order(low, high, equal=equal) for high in keys[index + 1 :])


def _orders() -> Iterator[SettingRule]:
    windows = [(f"{what}_uvp", f"{what}_ovp") for what in ("cell", "pack")]
    windows += [(f"{what}_utp", f"{what}_otp") for what in ("charge", "discharge")]
    for low, high in windows:
        yield from _ladder(low, f"{low}_release", f"{high}_release", high)
        # a warning at the very limit comes too late but harms nothing, and some makers ship it
        yield from _ladder(low, f"{low}_warning", f"{high}_warning", high, equal=True)
    yield _order("mosfet_otp_release", "mosfet_otp")
    over = ("mosfet_otp", "charge_ocp", "discharge_ocp", "cell_delta", "temperature_delta")
    for key in (*over, "soc_high"):
        yield _order(f"{key}_warning", key, equal=True)
    yield _order("soc_low", "soc_low_warning", equal=True)
    yield _order("balance_start_voltage", "cell_ovp")
    yield _order("cell_uvp", "balance_start_voltage", "warning")
    yield _order("jk_power_off_voltage", "cell_uvp")
    yield _order("jk_heating_start", "jk_heating_stop")
    yield _order("daly_heater_on", "daly_heater_off")
    yield _order("discharge_ocp", "short_circuit_current")
    for way in ("charge", "discharge"):
        yield _order(f"{way}_ocp", f"daly_level_3_{way}_ocp", equal=True)
    soc = ("empty_voltage", *(f"jbd_soc_{n}_voltage" for n in (20, 40, 60, 80)))
    for low, high in pairwise(soc):
        yield _order(low, high, "warning")
    yield _order("cell_ovp", "jbd_hardware_cell_ovp", "warning")
    yield _order("jbd_hardware_cell_uvp", "cell_uvp", "warning")


def _set(low: str, high: str, severity: Severity, *, gap: float = 0.0) -> SettingRule:
    """The same for values of which 0 says that the function is off.

    With a `gap`, V: so far below. Which of the two is higher is then left to the rule without.
    """

    def judge(facts: Facts) -> str | None:
        lower, upper = facts.values[low], facts.values[high]
        if not lower or not upper or lower + gap < upper:
            return None
        if gap and (lower >= upper or math.isclose(lower + gap, upper)):
            return None
        room = f" by {gap:g} V" if gap else ""
        return f"{low} ({lower:g} V) must lie below {high} ({upper:g} V){room}."

    name = f"{low}<{high}" + (" with room" if gap else "")
    return SettingRule(name, (low, high), severity, judge)


CELLS_THERE = "cells there"
"""The rule that compares the board's number of cells with that of the pack."""


def _count(facts: Facts) -> str | None:
    held = facts.values["cell_count"]
    if held == facts.cells:
        return None
    return f"cell_count is {held:g}, but {facts.cells} cells are there."


def _delta(facts: Facts) -> str | None:
    value = facts.values["balance_delta"]
    if value < SMALLEST_DELTA:
        return f"balance_delta ({value:g} V) is less than a board can measure."
    if value > LARGEST_DELTA:
        return f"balance_delta ({value:g} V) is so much that balancing never begins."
    return None


def _capacity(facts: Facts) -> str | None:
    if facts.values["nominal_capacity"] > 0:
        return None
    return "nominal_capacity is 0 Ah: the state of charge means nothing."


def _rules() -> Iterator[SettingRule]:
    yield from _orders()
    for key in ("full_charge_voltage", "jk_request_charge_voltage"):
        yield _set(key, "cell_ovp", "error")
        yield _set(key, "cell_ovp", "warning", gap=CHARGE_ROOM)
    yield _set("cell_uvp", "empty_voltage", "warning")
    yield _set("empty_voltage", "full_charge_voltage", "error")
    yield _set("float_voltage", "jk_request_charge_voltage", "error")
    yield _set("float_voltage", "cell_ovp", "error")
    yield SettingRule("balance_delta warning", ("balance_delta",), "warning", _delta)
    yield SettingRule(CELLS_THERE, ("cell_count",), "error", _count, counts=True)
    yield SettingRule("capacity", ("nominal_capacity",), "warning", _capacity)
    yield from limit_rules()


def _once(rules: Iterable[SettingRule]) -> tuple[SettingRule, ...]:
    """Of two rules with one name the first: the stricter."""
    found: dict[str, SettingRule] = {}
    for rule in rules:
        found.setdefault(rule.name, rule)
    return tuple(found.values())


RULES: tuple[SettingRule, ...] = _once(_rules())
"""Every rule once, in the order they are shown."""


def review(
    values: Mapping[str, Value | None], *, cells: int | None = None, chemistry: str | None = None
) -> list[RuleVerdict]:
    """What every rule says of these values; `cells` as seen by the board.

    Without a `chemistry` its rules are not applicable; one that does not exist is a `TargetError`.
    """
    facts = _facts(values, cells, chemistry)
    return [_judge(rule, facts) for rule in RULES]


def _facts(values: Mapping[str, Value | None], cells: int | None, chemistry: str | None) -> Facts:
    numbers = {
        key: float(value)
        for key, value in values.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    }
    known = "" if chemistry is None else find_chemistry(chemistry).name
    return Facts(numbers, cells or 0, known)


def _judge(rule: SettingRule, facts: Facts) -> RuleVerdict:
    passed, sentence = None, ""
    if _applies(rule, facts):
        wrong = rule.judge(facts)
        passed, sentence = wrong is None, wrong or ""
    else:
        sentence = _unknown(rule, facts)
    about = rule.about or rule.keys
    return RuleVerdict(rule.name, passed, rule.severity, sentence, rule.keys, about, rule.chemical)


def _applies(rule: SettingRule, facts: Facts) -> bool:
    """Whether all is known that the rule asks for."""
    for key in rule.keys:
        if key not in facts.values:
            return False
    return bool((facts.chemistry or not rule.chemical) and (facts.cells or not rule.counts))


def _unknown(rule: SettingRule, facts: Facts) -> str:
    """Why a rule that does not apply says nothing."""
    if missing := [key for key in rule.keys if key not in facts.values]:
        return f"Not applicable: {', '.join(missing)} unknown."
    if rule.chemical and not facts.chemistry:
        return "Not applicable: the chemistry is unknown."
    return "Not applicable: the number of cells is unknown."


def lint(
    values: Mapping[str, Value | None], *, cells: int | None = None, chemistry: str | None = None
) -> list[RuleVerdict]:
    """What is wrong or unusual about these values, and nothing else."""
    facts = _facts(values, cells, chemistry)
    broken = [rule for rule in RULES if _applies(rule, facts) and rule.judge(facts) is not None]
    return [_judge(rule, facts) for rule in broken]


def likely_chemistry(cell_ovp: Value | None) -> str | None:
    """The one chemistry whose usual over-voltage limit this is, V; `None` where none is."""
    if isinstance(cell_ovp, bool | str | None):
        return None
    found = [name for name, band in BANDS.items() if band.ovp[0] <= cell_ovp <= band.ovp[1]]
    return found[0] if len(found) == 1 else None
