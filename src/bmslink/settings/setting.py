"""What can be configured: one row for each setting, its limits, and how well it is proven.

Keys are the canonical names (`cell_ovp`, `charge_utp_release`, …); what only one vendor has
carries the vendor (`jk_smart_sleep`). Values are V, A, °C, s, Ah, %; current limits are positive
in both directions. Where the bytes are belongs to the protocols
(`protocols/common/settings_map.py`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Literal

from bmslink.errors import SettingError, UsageError
from bmslink.model import Switch

__all__ = [
    "ASKING",
    "CONVERSIONS",
    "SWITCHES",
    "UNITS",
    "Danger",
    "Evidence",
    "Kind",
    "Setting",
    "Value",
]

Value = float | int | bool | str
"""What a setting holds. A choice is held by its word (`lfp`), a number always as a float."""

Kind = Literal["number", "switch", "choice", "text"]

SWITCHES = frozenset(switch.key for switch in Switch)
"""What `bmslink switch` sets. A person decides about these: no file, restore or resume does."""

UNITS = ("V", "A", "Ah", "°C", "K", "s", "min", "h", "%", "Ω", "mA", "")

CONVERSIONS: Mapping[str, tuple[str, float]] = MappingProxyType(
    {
        "mV": ("V", 1e-3),
        "mA": ("A", 1e-3),
        "mAh": ("Ah", 1e-3),
        "ms": ("s", 1e-3),
        "min": ("s", 60.0),
        "h": ("s", 3600.0),
        "degC": ("°C", 1.0),
    }
)
"""What people write instead of a unit -> that unit, and how many of it one is."""


class Evidence(StrEnum):
    """How we know that writing this does what the row says."""

    CAPTURE = "capture"
    """A recorded write of this very register or parameter: ours is the same, byte for byte."""
    APP = "app"
    """The vendor's own software, or tools long in use on real boards, write it like this."""
    DOCUMENT = "document"
    """Only documents or other programs say so, no recording: written with `--untested` only."""
    UNVERIFIED = "unverified"
    """A guess: never written."""


class Danger(StrEnum):
    """What a wrong value does beyond a wrong limit."""

    NONE = ""
    POWER = "power"
    """It can cut the load or the charger off at once."""
    LINK = "link"
    """It can cut the very link that it is written over."""
    COMMISSIONING = "commissioning"
    """All protection depends on it: cell count, chemistry, function bits."""
    PROTECTION = "protection"
    """It takes a protection away."""


ASKING: Mapping[str, bool | None] = MappingProxyType(
    {
        # These cut the link that they are written over, whichever way they are changed.
        "jk_port_rs485": None,
        "jk_device_address": None,
        # These let something else cut the power: a GPS module, or a wire that is not there.
        "jk_gps_lock_charge": False,
        "jk_gps_lock_discharge": False,
        "jbd_external_switch": False,
        # These take a protection away. Without load detection a board that tripped closes onto
        # the same short circuit again; in an emergency a board discharges past its limits.
        "jk_temperature_sensors_disabled": False,
        "jk_parallel_limiter_disabled": False,
        "jk_button_emergency": False,
        "jk_discharge_ocp_2": True,
        "jk_discharge_ocp_3": True,
        "jbd_load_detection": True,
    }
)
"""Setting that is only changed if its own key is among the waivers -> the position that needs no
asking, if there is one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One row of a settings map."""

    key: str
    """Its canonical name: `cell_ovp`."""
    title: str
    """For people."""
    slot: int
    """The address of what is written at once (`protocols.settings.Slot`)."""
    kind: Kind = "number"
    """`number`, `switch`, `choice`, `text`, …"""
    unit: str = ""
    """V, A, Ah, °C, s, …; empty where it has none."""
    minimum: float | None = None
    """The lowest value that may be written; a stored one may lie outside."""
    maximum: float | None = None
    """The highest."""
    step: float = 1.0
    """What the wire can tell apart."""
    choices: Mapping[int, str] = field(default_factory=dict)
    """Of a choice: number on the wire -> word."""
    name: str = ""
    """The field of the slot's layout, where it is not called like the key."""
    bit: int | None = None
    """The bit of that field that is meant, of a switch."""
    danger: Danger = Danger.NONE
    """What a wrong value does."""
    evidence: Evidence = Evidence.CAPTURE
    """How we know how it is written."""
    reason: str = ""
    """Why it is not writable at all; empty where it is."""
    absent: tuple[float, ...] = ()
    """Numbers that a board holds where it has no such limit: they count as unknown."""
    lowest: float | None = None
    """What is stored below is no value of this setting."""
    highest: float | None = None
    """The same above."""
    unclear: bool = False
    """Sources disagree about what its number means: the value stays unknown, `raw` shows it."""
    live: bool = False
    """It changes by itself (a clock, a counter): no backup restores it, no check compares it."""
    own: bool = False
    """It belongs to this one board (address, serial number, calibration): profiles leave it out
    unless it is asked for by name."""

    @property
    def field(self) -> str:
        """Its name in the slot's layout."""
        return self.name or self.key

    @property
    def is_switch(self) -> bool:
        """Whether it is what `bmslink switch` sets, and no setting that files may carry."""
        return self.key in SWITCHES

    @property
    def writable(self) -> bool:
        """Whether it may be written at all (perhaps only with `--untested`)."""
        return not self.reason and self.evidence != Evidence.UNVERIFIED

    def check(self, value: object) -> Value:
        """A value that may be written, in its own form; `SettingError` says what is wrong."""
        if self.kind == "switch":
            return self._check_switch(value)
        if self.kind == "choice":
            return self._check_choice(value)
        if self.kind == "text":
            return self._check_text(value)
        return self._check_number(value)

    def _check_switch(self, value: object) -> bool:
        if isinstance(value, bool):
            return value
        raise UsageError(f"{self.key} is on or off, not {value!r}.")

    def _check_choice(self, value: object) -> str:
        if isinstance(value, str) and value in self.choices.values():
            return value
        known = ", ".join(self.choices.values())
        kind = SettingError if isinstance(value, str) else UsageError  # another board may know it
        raise kind(f"{self.key} is one of {known}, not {value!r}.")

    def _check_text(self, value: object) -> str:
        longest = int(self.maximum or 0)
        if isinstance(value, str) and len(value) <= longest:
            if value.isascii() and value.isprintable():
                return value
            raise UsageError(f"{self.key} takes plain ASCII characters, not {value!r}.")
        raise UsageError(f"{self.key} is up to {longest} plain characters, not {value!r}.")

    def _check_number(self, value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise UsageError(f"{self.key} is a number in {self.unit or 'steps'}, not {value!r}.")
        if not abs(value) < 1e12:  # nan, infinities and whole numbers that no float holds
            raise UsageError(f"{self.key} cannot be {str(value)[:40]}.")
        low, high = self.minimum, self.maximum
        if (low is not None and value < low) or (high is not None and value > high):
            raise SettingError(
                f"{self.key} = {value:g} {self.unit} is outside {_number(low)} to "
                f"{_number(high)} {self.unit}."
            )
        return self.nearest(float(value))

    def nearest(self, value: float) -> float:
        """The value nearest to this that the wire can tell apart."""
        steps = round(value / self.step)
        per = round(1 / self.step) if self.step < 1 else 0
        return steps / per if per else steps * self.step

    def must_ask(self, value: Value | None) -> bool:
        """Whether changing it to this asks for its own name."""
        return self.key in ASKING and (value is None or value is not ASKING[self.key])

    def believe(self, number: float) -> float | None:
        """A stored number as the setting's value; `None` where it means that there is none."""
        if self.unclear or not math.isfinite(number) or number in self.absent:
            return None
        too_low = self.lowest is not None and number < self.lowest
        too_high = self.highest is not None and number > self.highest
        return None if too_low or too_high else number

    def show(self, value: Value | None) -> str:
        """A value in words."""
        if value is None:
            return "unknown"
        if isinstance(value, bool):
            return "on" if value else "off"
        if isinstance(value, str):
            return value
        return f"{_number(value)} {self.unit}".rstrip()


def _number(value: float | None) -> str:
    return "any" if value is None else f"{value:.6g}"
