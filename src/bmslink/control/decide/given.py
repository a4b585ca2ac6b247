"""What callers give to an engine, checked once, before anything is judged.

A moment is checked in every cycle, so it is checked cheaply.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping

from bmslink.control.decide.policy import Mode
from bmslink.errors import UsageError
from bmslink.model import Reading

__all__ = [
    "require_interval",
    "require_modes",
    "require_moment",
    "require_options",
    "require_reading",
]

_SHORTEST, _LONGEST = 0.01, 86400.0
"""s between readings."""
_FAR = 1e15  # s: no clock is further


def require_moment(call: str, now: object) -> None:
    """`UsageError` for a time that is no finite number."""
    if type(now) is not float and (isinstance(now, bool) or not isinstance(now, (int, float))):
        raise UsageError(f"{call}: now must be seconds, not {type(now).__name__}.")
    if not -_FAR < now < _FAR:
        raise UsageError(f"{call}: now must be seconds of a clock, not nan, infinite or absurd.")


def require_reading(call: str, reading: object) -> None:
    """`UsageError` for what is no reading."""
    if not isinstance(reading, Reading):
        raise UsageError(f"{call}: reading must be a Reading, not {type(reading).__name__}.")


def require_interval(call: str, poll: object) -> None:
    """`UsageError` unless it is a time between readings, s."""
    if isinstance(poll, bool) or not isinstance(poll, (int, float)):
        raise UsageError(f"{call}: poll must be seconds, not {type(poll).__name__}.")
    if not (math.isfinite(poll) and _SHORTEST <= poll <= _LONGEST):
        raise UsageError(f"{call}: poll must be {_SHORTEST:g} to {_LONGEST:g} s, not {poll:g}.")


def require_modes(call: str, acting: object) -> frozenset[Mode]:
    """The modes that act. `UsageError` for what is no collection of modes."""
    if isinstance(acting, str) or not isinstance(acting, Collection):
        raise UsageError(f"{call}: acting must be a list of modes, not {type(acting).__name__}.")
    try:
        return frozenset(map(Mode, acting))
    except (ValueError, TypeError):
        known = ", ".join(mode.value for mode in Mode)
        raise UsageError(f"{call}: acting must be some of {known}.") from None


def require_options(call: str, settings: object, sink: object) -> None:
    """`UsageError` for settings that are no mapping, and for a sink that is neither."""
    if settings is not None and not isinstance(settings, Mapping):
        got = type(settings).__name__
        raise UsageError(f"{call}: settings must be a mapping of keys to numbers, not {got}.")
    if not isinstance(sink, bool):
        raise UsageError(f"{call}: sink must be True or False, not {type(sink).__name__}.")
