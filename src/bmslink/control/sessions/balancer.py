"""What a board says of its balancer, and what may be set of it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import msgspec

from bmslink.settings.bands import SMALLEST_DELTA

__all__ = ["KEYS", "VENDORS", "Balancer", "HeldSetting", "Vendor"]

KEYS = ("balance_start_voltage", "balance_delta", "balance_charging_only")
"""The settings that a session may change. The switch has a road of its own."""


class HeldSetting(msgspec.Struct, frozen=True):
    """One setting of the board."""

    value: float | bool | str | None
    writable: bool = False
    why: str = ""
    """Why it is not writable."""
    minimum: float | None = None


class Vendor(msgspec.Struct, frozen=True, kw_only=True):
    """How the balancers of a vendor work."""

    kind: str
    """`active`: moves charge from the highest cell to the lowest; `bleed`: burns that of high
    cells."""
    amps: tuple[float, float]
    """A, of the boards that are sold; the board's own setting wins where it has one."""
    duty: float
    """The share of the time that it works on a cell: cell voltages are measured in between, and
    neighbours take turns."""
    source: str


VENDORS: Mapping[str, Vendor] = MappingProxyType(
    {
        "JK": Vendor(
            kind="active", amps=(0.4, 2.0), duty=0.8,
            source="model names carry it (PB2A: 2 A); setting balance_current",
        ),
        "JBD": Vendor(
            kind="bleed", amps=(0.03, 0.15), duty=0.5,
            source="makers' sheets; odd and even cells take turns in recordings",
        ),
        "Daly": Vendor(
            kind="bleed", amps=(0.03, 0.15), duty=0.5,
            source="makers' sheets (30 mA passive, 100 mA on larger boards; 1 A with its active "
            "balancer)",
        ),
    }
)  # fmt: skip


class Balancer(msgspec.Struct, frozen=True, kw_only=True):
    """Of one board."""

    vendor: str
    on: bool | None
    """How its switch is; `None`: the board does not say."""
    switchable: bool
    why: str = ""
    """Why its switch cannot be set."""
    settings: dict[str, HeldSetting] = {}
    """Those of `KEYS` that the board has."""
    current: float | None = None
    """A, as the board is set; `None`: it does not say."""

    @property
    def known(self) -> Vendor | None:
        """How the vendor's balancers work."""
        return VENDORS.get(self.vendor)

    @property
    def amps(self) -> tuple[float, float] | None:
        """A, lowest and highest that it may have."""
        if self.current:
            return self.current, self.current
        return None if self.known is None else self.known.amps

    @property
    def start(self) -> float | None:
        """V from which it works, where the board says it."""
        return self._number("balance_start_voltage")

    @property
    def trigger(self) -> float | None:
        """V of difference at which it works, where the board says it."""
        return self._number("balance_delta")

    def _number(self, key: str) -> float | None:
        held = self.settings.get(key)
        value = None if held is None else held.value
        return float(value) if isinstance(value, int | float) else None

    def wanted(self, start: float, top: float, target: float, fine: float) -> dict[str, Any]:
        """The settings under which it works at the top until the cells are within the target:
        those that are not so already, and can be set. Others: see `in_the_way`."""
        found: dict[str, Any] = {}
        if self._may("balance_start_voltage") and not self._starts_well(start, top):
            found["balance_start_voltage"] = start
        if self._may("balance_delta") and (self.trigger is None or self.trigger > fine):
            least = self.settings["balance_delta"].minimum or SMALLEST_DELTA
            value = max(fine, least)
            if value < target and value != self.trigger:
                found["balance_delta"] = value
        only = self.settings.get("balance_charging_only")
        if only is not None and only.value is True and only.writable:
            found["balance_charging_only"] = False
        return found

    def in_the_way(self, start: float, top: float, target: float) -> list[str]:
        """What keeps it from working at the top and cannot be set, in sentences."""
        found = []
        if self.on is not True and not self.switchable:
            how = "is off" if self.on is False else "may be off"
            found.append(f"its switch {how} and cannot be set: {self.why}")
        late = self.start is not None and self.start > top - 0.02
        if late and not self._may("balance_start_voltage"):
            found.append(f"it begins at {self.start:.3f} V only, and that cannot be set")
        coarse = self.trigger is not None and self.trigger > target
        if coarse and not self._may("balance_delta"):
            found.append(f"it begins at a difference of {self.trigger:.3f} V only")
        return found

    def by_itself(self, low: float, top: float, wanted: Mapping[str, Any]) -> bool:
        """Whether, so set, it works at the top and nowhere else: then nobody has to switch it."""
        start = wanted.get("balance_start_voltage", self.start)
        return start is not None and low <= start <= top - 0.02

    def _may(self, key: str) -> bool:
        held = self.settings.get(key)
        return held is not None and held.writable

    def _starts_well(self, start: float, top: float) -> bool:
        return self.start is not None and start - 0.05 <= self.start <= top - 0.04
