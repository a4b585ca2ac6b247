"""Do the settings of a pack make sense together? Pure rules over canonical values.

A rule that needs a value nobody gave is not applicable. An `error` can harm the cells, cut the
pack off or leave a protection without effect; a `warning` is unusual, and may be meant. The bands
of the chemistries are those that cell makers' sheets, vendors' presets and other tools share; the
sheet of your own cell wins.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, NamedTuple

from bmslink.setting import Value

__all__ = [
    "BANDS",
    "RULES",
    "Band",
    "Facts",
    "Rule",
    "Severity",
    "Verdict",
    "likely_chemistry",
    "lint",
    "review",
]

Severity = Literal["error", "warning"]


class Band(NamedTuple):
    """What a BMS usually holds for a chemistry: V per cell, °C."""

    ovp: tuple[float, float]
    uvp: tuple[float, float]
    charge_utp: float
    """Charging below this harms the cell."""
    charge_otp: float
    discharge_utp: float
    discharge_otp: float
    balance_start: float
    """Below this the voltages say nothing about the charge."""


BANDS: Mapping[str, Band] = {
    "lfp": Band((3.55, 3.70), (2.40, 2.90), 0, 60, -30, 65, 3.35),
    "nmc": Band((4.15, 4.28), (2.70, 3.20), 0, 50, -30, 65, 3.90),
    "lto": Band((2.65, 2.85), (1.50, 2.00), -10, 55, -30, 60, 2.40),
    "na-ion": Band((3.80, 4.00), (1.50, 2.20), 0, 50, -30, 65, 3.40),
}
"""Chemistry -> its bands. The maker of a sodium cell may say otherwise."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the rules look at."""

    values: Mapping[str, float]
    """Numbers only; what is unknown is absent."""
    cells: int = 0
    """How many cells there are; 0: nobody says."""
    chemistry: str = ""

    @property
    def band(self) -> Band:
        """What is usual for the chemistry."""
        return BANDS[self.chemistry]


@dataclass(frozen=True, slots=True)
class Rule:
    """One thing that must hold."""

    name: str
    keys: tuple[str, ...]
    """The settings it is about; without any one of them it is not applicable."""
    severity: Severity
    judge: Callable[[Facts], str | None]
    """What is wrong, with the numbers; `None` where nothing is."""
    chemical: bool = False
    """It asks what the cells are made of."""
    counts: bool = False
    """It asks how many cells there are."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a rule says."""

    rule: str
    passed: bool | None
    """`None`: not applicable."""
    severity: Severity
    sentence: str
    keys: tuple[str, ...]
    chemical: bool = False


def _order(low: str, high: str, severity: Severity = "error", *, equal: bool = False) -> Rule:
    """One value must lie below another."""

    def judge(facts: Facts) -> str | None:
        lower, upper = facts.values[low], facts.values[high]
        if lower < upper or (equal and lower == upper):
            return None
        return f"{low} ({lower:g}) must lie below {high} ({upper:g})."

    return Rule(f"{low}<{high}", (low, high), severity, judge)


def _ladder(*keys: str, equal: bool = False) -> Iterator[Rule]:
    """Every value below every later one, so that a missing rung breaks no chain."""
    for index, low in enumerate(keys):
        yield from (_order(low, high, equal=equal) for high in keys[index + 1 :])


def _orders() -> Iterator[Rule]:
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
    soc = ("empty_voltage", *(f"jbd_soc_{n}_voltage" for n in (20, 40, 60, 80)))
    for low, high in pairwise(soc):
        yield _order(low, high, "warning")
    yield _order("cell_ovp", "jbd_hardware_cell_ovp", "warning")
    yield _order("jbd_hardware_cell_uvp", "cell_uvp", "warning")


def _set(low: str, high: str, severity: Severity, *, gap: float = 0.0) -> Rule:
    """The same for values of which 0 says that the function is off; `gap` as well, V."""

    def judge(facts: Facts) -> str | None:
        lower, upper = facts.values[low], facts.values[high]
        if (
            not lower
            or not upper
            or lower + gap < upper
            or (gap and math.isclose(lower + gap, upper))
        ):
            return None
        room = f" by {gap:g} V" if gap else ""
        return f"{low} ({lower:g} V) must lie below {high} ({upper:g} V){room}."

    name = f"{low}<{high}" + (" with room" if gap else "")
    return Rule(name, (low, high), severity, judge)


def _fits_cells(pack: str, cell: str, share: float, severity: Severity) -> Rule:
    """A limit of the pack must be about that of the cells together."""

    def judge(facts: Facts) -> str | None:
        together = facts.cells * facts.values[cell]
        apart = abs(facts.values[pack] - together)
        if apart <= share * together + 1e-9:
            return None
        return (
            f"{pack} ({facts.values[pack]:g} V) is not {facts.cells} times {cell}, "
            f"{together:g} V, give or take {share:.0%}."
        )

    name = f"{pack}~cells*{cell} {share:.0%}"
    return Rule(name, (pack, cell), severity, judge, counts=True)


def _within(key: str, low: float, high: float, severity: Severity, why: str, unit: str) -> Rule:
    def judge(facts: Facts) -> str | None:
        value = facts.values[key]
        return None if low <= value <= high else f"{key} ({value:g} {unit}) {why}."

    return Rule(f"{key} {severity}", (key,), severity, judge)


_DELAYED = (
    *("cell_ovp", "cell_uvp", "pack_ovp", "pack_uvp"),
    *("charge_otp", "charge_utp", "discharge_otp", "discharge_utp", "mosfet_otp"),
)
_LONG, _TOO_LONG = 60.0, 300.0
"""Longer than the first is unusual, longer than the second is no protection, s."""


def _delays() -> Iterator[Rule]:
    late = f"is over {_TOO_LONG:g} s: that protects nothing"
    for key in (f"{name}_delay" for name in _DELAYED):
        yield _within(key, 0, _TOO_LONG, "error", late, "s")
        yield _within(key, 0, _LONG, "warning", f"is unusually long, over {_LONG:g} s", "s")
    for key in ("charge_ocp_delay", "discharge_ocp_delay"):  # JK ships 300 s
        yield _within(key, 0, _TOO_LONG, "warning", f"is over {_TOO_LONG:g} s", "s")
    yield _within("short_circuit_delay", 0, 0.01, "error", "is too long for a short circuit", "s")


def _count(facts: Facts) -> str | None:
    held = facts.values["cell_count"]
    if held == facts.cells:
        return None
    return f"cell_count is {held:g}, but {facts.cells} cells are there."


def _capacity(facts: Facts) -> str | None:
    if facts.values["nominal_capacity"] > 0:
        return None
    return "nominal_capacity is 0 Ah: the state of charge means nothing."


def _chemical(name: str, key: str, severity: Severity, wrong: Callable[[float, Band], str]) -> Rule:
    """A rule about one value and the band of the chemistry; `wrong` is empty where it fits."""

    def judge(facts: Facts) -> str | None:
        value = facts.values[key]
        why = wrong(value, facts.band)
        return f"{key} ({value:g}) {why} for {facts.chemistry} cells." if why else None

    return Rule(name, (key,), severity, judge, chemical=True)


def _chemistry() -> Iterator[Rule]:
    yield _chemical(
        "ovp above band",
        "cell_ovp",
        "error",
        lambda v, b: f"is above the usual {b.ovp[0]:g} to {b.ovp[1]:g} V" if v > b.ovp[1] else "",
    )
    yield _chemical(
        "ovp below band",
        "cell_ovp",
        "warning",
        lambda v, b: f"is below the usual {b.ovp[0]:g} to {b.ovp[1]:g} V" if v < b.ovp[0] else "",
    )
    yield _chemical(
        "uvp below band",
        "cell_uvp",
        "error",
        lambda v, b: f"is below the usual {b.uvp[0]:g} to {b.uvp[1]:g} V" if v < b.uvp[0] else "",
    )
    yield _chemical(
        "uvp above band",
        "cell_uvp",
        "warning",
        lambda v, b: f"is above the usual {b.uvp[0]:g} to {b.uvp[1]:g} V" if v > b.uvp[1] else "",
    )
    yield _chemical(
        "charging in the cold",
        "charge_utp",
        "error",
        lambda v, b: (
            f"lets it charge below {b.charge_utp:g} °C, which plates lithium or worse"
            if v < b.charge_utp
            else ""
        ),
    )
    yield _chemical(
        "charging in the heat",
        "charge_otp",
        "warning",
        lambda v, b: f"is above {b.charge_otp:g} °C" if v > b.charge_otp else "",
    )
    yield _chemical(
        "discharging in the cold",
        "discharge_utp",
        "warning",
        lambda v, b: f"is below {b.discharge_utp:g} °C" if v < b.discharge_utp else "",
    )
    yield _chemical(
        "discharging in the heat",
        "discharge_otp",
        "warning",
        lambda v, b: f"is above {b.discharge_otp:g} °C" if v > b.discharge_otp else "",
    )
    yield _chemical(
        "balancing too low",
        "balance_start_voltage",
        "warning",
        lambda v, b: (
            f"is below {b.balance_start:g} V, where voltage says little about charge"
            if v < b.balance_start
            else ""
        ),
    )


def _rules() -> Iterator[Rule]:
    yield from _orders()
    yield _set("full_charge_voltage", "cell_ovp", "error")
    yield _set("cell_uvp", "empty_voltage", "warning")
    yield _set("empty_voltage", "full_charge_voltage", "error")
    yield _set("jk_request_charge_voltage", "cell_ovp", "error")
    yield _set("jk_request_charge_voltage", "cell_ovp", "warning", gap=0.05)
    yield _set("float_voltage", "jk_request_charge_voltage", "error")
    yield _set("float_voltage", "cell_ovp", "error")
    for name in ("ovp", "uvp"):
        yield _fits_cells(f"pack_{name}", f"cell_{name}", 0.05, "warning")
        yield _fits_cells(f"pack_{name}", f"cell_{name}", 0.25, "error")
    yield from _delays()
    yield _within("balance_delta", 0.003, 1, "warning", "is less than a board can measure", "V")
    yield Rule("cells there", ("cell_count",), "error", _count, counts=True)
    yield Rule("capacity", ("nominal_capacity",), "warning", _capacity)
    yield from _chemistry()


def _once(rules: Iterable[Rule]) -> tuple[Rule, ...]:
    """Of two rules with one name the first: the stricter."""
    found: dict[str, Rule] = {}
    for rule in rules:
        found.setdefault(rule.name, rule)
    return tuple(found.values())


RULES: tuple[Rule, ...] = _once(_rules())
"""Every rule once, in the order they are shown."""


def review(
    values: Mapping[str, Value | None], *, cells: int | None = None, chemistry: str | None = None
) -> list[Verdict]:
    """What every rule says of these values; `cells` as seen by the board, `chemistry` as in
    `BANDS` (another one makes its rules not applicable)."""
    numbers = {
        key: float(value)
        for key, value in values.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    }
    known = chemistry if chemistry is not None and chemistry in BANDS else ""
    facts = Facts(numbers, cells or 0, known)
    return [_judge(rule, facts) for rule in RULES]


def _judge(rule: Rule, facts: Facts) -> Verdict:
    passed, sentence = None, ""
    if missing := [key for key in rule.keys if key not in facts.values]:
        sentence = f"Not applicable: {', '.join(missing)} unknown."
    elif rule.chemical and not facts.chemistry:
        sentence = "Not applicable: the chemistry is unknown."
    elif rule.counts and not facts.cells:
        sentence = "Not applicable: the number of cells is unknown."
    else:
        wrong = rule.judge(facts)
        passed, sentence = wrong is None, wrong or ""
    return Verdict(rule.name, passed, rule.severity, sentence, rule.keys, rule.chemical)


def lint(
    values: Mapping[str, Value | None], *, cells: int | None = None, chemistry: str | None = None
) -> list[Verdict]:
    """What is wrong or unusual about these values, and nothing else."""
    return [v for v in review(values, cells=cells, chemistry=chemistry) if v.passed is False]


def likely_chemistry(cell_ovp: Value | None) -> str | None:
    """The one chemistry whose usual over-voltage limit this is, V; `None` where none is."""
    if isinstance(cell_ovp, bool | str | None):
        return None
    found = [name for name, band in BANDS.items() if band.ovp[0] <= cell_ovp <= band.ovp[1]]
    return found[0] if len(found) == 1 else None
