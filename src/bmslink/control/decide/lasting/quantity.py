"""What a quantity is: a number that policies can be about."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from bmslink.control.decide.lasting.history import PackHistory
from bmslink.control.decide.sample import Sample

__all__ = ["Measure", "Quantity"]

Measure = Callable[[Sample, PackHistory, tuple[str, ...]], float | None]


class Quantity(msgspec.Struct, frozen=True):
    """Something that has a number, a unit and a name."""

    title: str
    """For people."""
    unit: str
    """V, A, °C, K, %, s, or empty for a count."""
    digits: int
    """After the point, in texts."""
    fields: tuple[str, ...]
    """What of a reading it is made of."""
    measure: Measure
    """How; pure."""
    where: Callable[[Sample, float], str] | None = None
    """Which cell or probe it is."""
    hysteresis: float = 0.0
    """The least distance between trip and release."""
    probed: bool = False
    """It is about all cell probes: with one silent, the value is only a bound."""
    sound: bool = False
    """It leaves out probes with a broken wire, and is then a bound as well."""
    patient: bool = False
    """No value means that it is too early to say, not that it is not measured."""
    lasts: bool = False
    """It depends on what was before as well: the same sample may give another value."""
