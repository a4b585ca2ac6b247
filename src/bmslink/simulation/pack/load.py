"""What hangs on the simulated pack: a day of sun and household, as a pure function of time.

The noise is computed from the seed and the time, not drawn in sequence, so that the same moment
has the same current however the time was cut into steps.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from bmslink.errors import TargetError

__all__ = ["PROFILES", "Supply", "daily_current", "parse_load"]

PROFILES = ("cycle", "idle")
"""Loads that have a name."""

MAX_AMPS = 1000.0
_MAX_VOLTS = 500.0
_START_HOUR = 9.0  # the sun is up when the simulation begins: something happens at once
_MASK = (1 << 64) - 1


class Supply(NamedTuple):
    """A constant-current, constant-voltage supply: A, and V of the pack."""

    amps: float
    volts: float


def parse_load(load: float | str | Supply) -> float | str | Supply:
    """A profile name, `supply:AMPS:VOLTS`, or amps (a number, or its text); anything else is a
    `TargetError`."""
    if isinstance(load, Supply):
        return load
    if isinstance(load, str) and load in PROFILES:
        return load
    if isinstance(load, str) and load.startswith("supply:"):
        return _supply(load)
    amps = _amps(load)
    if not abs(amps) <= MAX_AMPS:
        raise TargetError(
            f"The load is {', '.join(PROFILES)} or up to ±{MAX_AMPS:g} A (positive charges), "
            f"or supply:AMPS:VOLTS, not {str(load)[:40]!r}."
        )
    return amps


def _amps(text: float | str) -> float:
    try:
        return float(text)
    except (ValueError, OverflowError):
        return math.nan


def _supply(load: str) -> Supply:
    words = load.split(":")
    found = Supply(*map(_amps, words[1:])) if len(words) == 3 else Supply(math.nan, math.nan)
    if not (0 < found.amps <= MAX_AMPS and 0 < found.volts <= _MAX_VOLTS):
        raise TargetError(
            f"A supply is written supply:AMPS:VOLTS, as in supply:20:55.2, not {load[:40]!r}."
        )
    return found


def daily_current(seed: int, uptime: float, capacity: float) -> float:
    """Sun minus household at `uptime` seconds, A, positive while charging.

    `capacity` in Ah sets the scale: the sun gives at most 0.25 C, the kitchen takes 0.2 C.
    """
    hour = (_START_HOUR + uptime / 3600) % 24
    day = int((_START_HOUR * 3600 + uptime) // 86400)
    weather = 0.85 + 0.15 * _random(seed, 1, day)
    clouds = 0.85 + 0.15 * _smooth(seed, 2, uptime / 240)
    sun = 0.25 * max(0.0, math.sin(math.pi * (hour - 7) / 11))  # from 7 to 18 o'clock
    evening = 0.06 * math.exp(-(((hour - 19.5) / 2) ** 2))
    breakfast = 0.03 * math.exp(-((hour - 7) ** 2))
    kitchen = 0.12 if _random(seed, 3, int(uptime // 300)) > 0.9 and 6 < hour < 23 else 0.0
    household = 0.02 + evening + breakfast + kitchen
    flicker = 1 + 0.03 * _smooth(seed, 4, uptime / 3)
    return capacity * (sun * weather * clouds - household * flicker)


def _random(seed: int, channel: int, slot: int) -> float:
    """A fixed number from -1 to 1 for each seed, channel and slot (an integer hash)."""
    mixed = seed * 0x9E3779B97F4A7C15 + channel * 0xBF58476D1CE4E5B9 + slot * 0x94D049BB133111EB
    for shift in (31, 29, 32):
        mixed = ((mixed ^ ((mixed & _MASK) >> shift)) * 0xD6E8FEB86659FD93) & _MASK
    return (mixed ^ (mixed >> 32)) / 2**63 - 1


def _smooth(seed: int, channel: int, position: float) -> float:
    """The same noise, without jumps: straight lines between whole positions."""
    slot = math.floor(position)
    here, next_one = _random(seed, channel, slot), _random(seed, channel, slot + 1)
    return here + (next_one - here) * (position - slot)
