"""What a person asks of a session."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import msgspec

from bmslink.errors import UsageError

__all__ = ["SessionOptions"]

_RANGES: Mapping[str, tuple[float, float, str]] = {
    "target": (0.003, 0.050, "V"),
    "top": (1.5, 4.3, "V"),
    "current": (0.1, 500.0, "A"),
    "capacity": (1.0, 10_000.0, "Ah"),
    "supply": (2.0, 250.0, "V"),
    "hours": (0.1, 240.0, "h"),
}


class SessionOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`None` is: as the pack, its chemistry and its board suggest. Raises `UsageError`."""

    target: float | None = None
    """V between highest and lowest cell, 0.003 to 0.050."""
    top: float | None = None
    """V of the highest cell; never higher than what suits the cells and the board."""
    current: float | None = None
    """A of charging until the top is near."""
    capacity: float | None = None
    """Ah."""
    chemistry: str | None = None
    supply: float | None = None
    """V that a person has set on a constant-voltage supply: nobody obeys limits then."""
    hours: float | None = None
    """How long all of it may take."""
    waive: tuple[str, ...] = ()
    """Checks of the settings that may fail."""

    def __post_init__(self) -> None:
        for name, (low, high, unit) in _RANGES.items():
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and low <= value <= high):
                raise UsageError(f"{name} is {low:g} to {high:g} {unit}, not {value:g}.")

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> SessionOptions:
        """From JSON. Raises `UsageError`."""
        try:
            return msgspec.convert(dict(values), cls, strict=True)
        except msgspec.ValidationError as error:
            raise UsageError(f"A balancing session is asked for in another way: {error}.") from None

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**{n: getattr(self, n) for n in self.__struct_fields__}, "waive": [*self.waive]}
