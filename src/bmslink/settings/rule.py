"""What a rule about settings is made of; the rules are in `lint` and `limit_rules`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from bmslink.settings.bands import BANDS, Band

__all__ = ["Facts", "RuleVerdict", "SettingRule", "Severity", "within"]

Severity = Literal["error", "warning"]


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
class SettingRule:
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
    about: tuple[str, ...] = ()
    """The settings of which only a change is stopped by it; empty: any of `keys`."""


@dataclass(frozen=True, slots=True)
class RuleVerdict:
    """What a rule says."""

    rule: str
    passed: bool | None
    """`None`: not applicable."""
    severity: Severity
    sentence: str
    keys: tuple[str, ...]
    about: tuple[str, ...]
    """The settings of which a change is stopped by it."""
    chemical: bool = False


def within(
    key: str, low: float, high: float, severity: Severity, why: str, unit: str
) -> SettingRule:
    """One value must be in a range that is the same for all cells; `why` follows the number."""

    def judge(facts: Facts) -> str | None:
        value = facts.values[key]
        return None if low <= value <= high else f"{key} ({value:g} {unit}) {why}."

    return SettingRule(f"{key} {severity}", (key,), severity, judge)
