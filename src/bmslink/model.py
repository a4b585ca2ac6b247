"""What a battery pack says, in one vocabulary for all vendors.

Signs and units are fixed here and nowhere else: volts, amps (positive while charging), °C, Ah,
Ω, seconds, percent. `None` means the BMS does not say; it is never 0 and never the last good
value. Measured values are stored, computed ones are properties.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from bmslink.errors import SettingError, UsageError
from bmslink.moments import iso

__all__ = ["Adjustment", "Capability", "Command", "Condition", "Identity", "Reading", "Switch"]


class Condition(StrEnum):
    """What can be wrong or remarkable. How bad it is, is said by the list it is in:
    `alarms` (warning level), `protections` (tripped), `faults` (hardware or sensing)."""

    CELL_OVERVOLTAGE = "cell_overvoltage"
    CELL_UNDERVOLTAGE = "cell_undervoltage"
    PACK_OVERVOLTAGE = "pack_overvoltage"
    PACK_UNDERVOLTAGE = "pack_undervoltage"
    CHARGE_OVERCURRENT = "charge_overcurrent"
    DISCHARGE_OVERCURRENT = "discharge_overcurrent"
    SHORT_CIRCUIT = "short_circuit"
    CHARGE_OVERTEMPERATURE = "charge_overtemperature"
    CHARGE_UNDERTEMPERATURE = "charge_undertemperature"
    DISCHARGE_OVERTEMPERATURE = "discharge_overtemperature"
    DISCHARGE_UNDERTEMPERATURE = "discharge_undertemperature"
    MOSFET_OVERTEMPERATURE = "mosfet_overtemperature"
    BOARD_OVERTEMPERATURE = "board_overtemperature"
    CELL_DELTA = "cell_delta"
    TEMPERATURE_DELTA = "temperature_delta"
    SOC_LOW = "soc_low"
    SOC_HIGH = "soc_high"
    SOH_LOW = "soh_low"
    FULLY_CHARGED = "fully_charged"
    CELL_COUNT_MISMATCH = "cell_count_mismatch"
    WIRE_RESISTANCE = "wire_resistance"
    VOLTAGE_SENSE = "voltage_sense"
    CURRENT_SENSE = "current_sense"
    TEMPERATURE_SENSE = "temperature_sense"
    AFE = "afe"
    CHARGE_MOSFET = "charge_mosfet"
    DISCHARGE_MOSFET = "discharge_mosfet"
    PRECHARGE = "precharge"
    EEPROM = "eeprom"
    CLOCK = "clock"
    COMMUNICATION = "communication"
    PARALLEL_COMMUNICATION = "parallel_communication"
    SETTINGS_INVALID = "settings_invalid"
    DEFAULT_PASSWORD = "default_password"
    SOFTWARE_LOCK = "software_lock"
    HEATER = "heater"
    OTHER = "other"


def _utc(moment: datetime | None) -> str | None:
    return None if moment is None else iso(moment.astimezone(UTC))


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One poll of one pack. Field names are those of `read --json`."""

    target: str | None = None
    """Where it was read from; `None` for bytes without a connection."""
    name: str | None = None
    """What bmslink.toml calls the pack."""
    protocol: str = ""
    """As in targets: `jk02`, `jbd`, …"""
    time: datetime | None = None
    """When the last byte of it was received, UTC; `None` for frames without a time."""

    voltage: float | None = None
    """Pack voltage, V."""
    current: float | None = None
    """Pack current, A, positive while charging."""
    soc: float | None = None
    """State of charge, %."""
    soh: float | None = None
    """State of health, %."""
    remaining_capacity: float | None = None
    """What is left in it, Ah."""
    full_capacity: float | None = None
    """What the BMS believes a full charge holds today, Ah."""
    nominal_capacity: float | None = None
    """The capacity the pack was designed for, Ah."""
    cycles: int | None = None
    """Full cycles that the BMS has counted."""
    cycle_capacity: float | None = None
    """Throughput the BMS has counted over its life, Ah."""

    cell_voltages: tuple[float | None, ...] = ()
    """V, in wiring order, exactly as many as the BMS announces; `None` where a frame was lost."""
    cell_resistances: tuple[float | None, ...] | None = None
    """Ω of the balance wires, where the BMS measures them."""
    temperatures: Mapping[str, float | None] = field(default_factory=dict)
    """°C by probe name; `None` is a missing probe."""

    balancing_active: bool | None = None
    """Whether any cell is being balanced."""
    balancing_cells: tuple[int, ...] | None = None
    """Numbers of the cells being balanced, from 1."""
    balance_current: float | None = None
    """A, from the fullest cell."""
    charge_switch: bool | None = None
    """Whether charging is switched on, as the BMS reports its own switch."""
    discharge_switch: bool | None = None
    """The same of discharging."""
    balance_switch: bool | None = None
    """The same of balancing."""
    charging_allowed: bool | None = None
    """The charge FET conducts."""
    discharging_allowed: bool | None = None
    """The discharge FET conducts."""
    heater: bool | None = None
    """Whether the heater is on."""

    alarms: tuple[Condition, ...] = ()
    """Warnings."""
    protections: tuple[Condition, ...] = ()
    """What has tripped."""
    faults: tuple[Condition, ...] = ()
    """What is broken: hardware or sensing."""
    conditions_known: bool = False
    """Whether what the BMS says of conditions was read. Without it, the lists hold at most what
    other values show (a cell at 0 V), and an empty one is `null` in JSON."""
    uptime: float | None = None
    """Seconds the BMS has been running."""
    raw: Mapping[str, Any] = field(default_factory=dict)
    """Vendor values without a common name, and every bit that was not mapped."""

    @property
    def power(self) -> float | None:
        """W, positive while charging: voltage times current."""
        if self.voltage is None or self.current is None:
            return None
        return round(self.voltage * self.current, 3)

    @property
    def min_cell_voltage(self) -> float | None:
        """The lowest cell, V; a cell of 0 V counts."""
        return min((v for v in self.cell_voltages if v is not None), default=None)

    @property
    def max_cell_voltage(self) -> float | None:
        """The highest cell, V."""
        return max((v for v in self.cell_voltages if v is not None), default=None)

    @property
    def cell_delta(self) -> float | None:
        """Highest minus lowest cell, V."""
        low, high = self.min_cell_voltage, self.max_cell_voltage
        return None if low is None or high is None else round(high - low, 4)

    def _names(self, conditions: tuple[Condition, ...]) -> list[str] | None:
        """Conditions for JSON: that there are none is only said where that is known."""
        return [str(c) for c in conditions] if conditions or self.conditions_known else None

    def to_dict(self) -> dict[str, Any]:
        """The JSON object of this reading: all keys, always in the same order."""
        return {
            "target": self.target,
            "name": self.name,
            "protocol": self.protocol,
            "time": _utc(self.time),
            "voltage": self.voltage,
            "current": self.current,
            "power": self.power,
            "soc": self.soc,
            "soh": self.soh,
            "remaining_capacity": self.remaining_capacity,
            "full_capacity": self.full_capacity,
            "nominal_capacity": self.nominal_capacity,
            "cycles": self.cycles,
            "cycle_capacity": self.cycle_capacity,
            "cell_voltages": list(self.cell_voltages),
            "cell_resistances": (
                None if self.cell_resistances is None else list(self.cell_resistances)
            ),
            "min_cell_voltage": self.min_cell_voltage,
            "max_cell_voltage": self.max_cell_voltage,
            "cell_delta": self.cell_delta,
            "temperatures": dict(self.temperatures),
            "balancing_active": self.balancing_active,
            "balancing_cells": (
                None if self.balancing_cells is None else list(self.balancing_cells)
            ),
            "balance_current": self.balance_current,
            "charge_switch": self.charge_switch,
            "discharge_switch": self.discharge_switch,
            "balance_switch": self.balance_switch,
            "charging_allowed": self.charging_allowed,
            "discharging_allowed": self.discharging_allowed,
            "heater": self.heater,
            "alarms": self._names(self.alarms),
            "protections": self._names(self.protections),
            "faults": self._names(self.faults),
            "uptime": self.uptime,
            "raw": dict(self.raw),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Reading:
        """The reading that `to_dict` gave, or a line of `read --json` as an object.

        What is computed is computed again, keys of later versions are passed over, and a condition
        that this version does not know becomes `other`. Raises `UsageError` for what is no reading:
        another type, a number that is none, a time without its zone, a line with `error`."""
        import msgspec  # where logs are read, and not for every reading of a pack

        if not isinstance(values, Mapping):
            raise UsageError(f"A reading is made of a mapping, not of {type(values).__name__}.")
        plain = {str(key): value for key, value in values.items()}
        if "error" in plain:
            raise UsageError("This is no reading but why there is none: pass over such lines.")
        given = [plain.get(name) for name in _CONDITION_LISTS]
        plain["conditions_known"] = all(names is not None for names in given)
        plain |= zip(_CONDITION_LISTS, map(_conditions, given), strict=True)
        try:
            found: Reading = msgspec.convert(plain, cls)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise UsageError(f"This is no reading: {error}.") from error
        if found.time is not None and found.time.tzinfo is None:
            raise UsageError("This is no reading: its time has no zone.")
        several = found.cell_voltages, found.cell_resistances, found.temperatures.values()
        numbers = [getattr(found, name) for name in _SINGLE] + [v for s in several for v in s or ()]
        if not all(map(math.isfinite, [v for v in numbers if v is not None])):
            raise UsageError("This is no reading: one of its numbers is none.")
        return found

    def to_row(self) -> dict[str, str | float | int | bool | None]:
        """The reading as one flat row for a table (CSV, pandas), in the order of `to_dict`.

        Cells become `cell_voltage_1` and `cell_resistance_1` (from 1, as wired), probes
        `temperature_mosfet`; lists become text, joined by a space: `alarms` is empty where the
        pack has none and `None` where it does not say. `raw` is left out: vendors differ in it.
        """
        row: dict[str, str | float | int | bool | None] = {}
        for key, value in self.to_dict().items():
            if key in _SERIES:
                row |= {f"{_SERIES[key]}_{n}": v for n, v in enumerate(value or (), 1)}
            elif isinstance(value, list):
                row[key] = " ".join(map(str, value))
            elif key == "temperatures":
                row |= {f"temperature_{name}": v for name, v in value.items()}
            elif key != "raw":
                row[key] = value
        return row


_CONDITION_LISTS = ("alarms", "protections", "faults")
_CONDITIONS = frozenset(Condition)
_SINGLE = [f.name for f in dataclasses.fields(Reading) if f.type in ("float | None", "int | None")]
_SERIES = {"cell_voltages": "cell_voltage", "cell_resistances": "cell_resistance"}


def _conditions(names: Any) -> Any:
    """Names as they were written; those of a version that knows more conditions become `other`."""
    if not isinstance(names, list | tuple):
        return names or ()
    return [n if isinstance(n, str) and n in _CONDITIONS else Condition.OTHER for n in names]


@dataclass(frozen=True, slots=True)
class Capability:
    """Whether the pack can do something, and why not if it cannot."""

    supported: bool
    """Whether it can."""
    reason: str = ""
    """Why not, or under which condition; may be empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who the pack says it is. Strings are as sent, trimmed; passwords are never kept."""

    vendor: str | None = None
    """`JK`, `Daly`, `JBD`."""
    model: str | None = None
    """What the board calls itself."""
    hardware: str | None = None
    """Version of the hardware."""
    firmware: str | None = None
    """Version of the firmware."""
    serial_number: str | None = None
    """Of the board, or what the owner wrote there."""
    cell_count: int | None = None
    """Cells in series, 1 to 48."""
    chemistry: str | None = None
    """`lfp`, `nmc`, `lto`, `na-ion`, as far as the board says."""
    protocol: str = ""
    """As in targets: `jk02`, `jbd`, …"""
    variant: str | None = None
    """Which layout of the protocol it speaks: `24s` or `32s` of `jk02`."""
    capabilities: Mapping[str, Capability] = field(default_factory=dict)
    """What it can do (`settings`, `charge_switch`, …), or why not."""
    map: Mapping[str, str] = field(default_factory=dict)
    """`name` of the settings map that fits this firmware and the `evidence` for it."""

    @property
    def known(self) -> bool:
        """Whether it tells enough to say which settings it has: without that none is written."""
        return bool(self.vendor and self.firmware)

    def to_dict(self) -> dict[str, Any]:
        """The JSON object that `info --json` prints."""
        result: dict[str, Any] = {
            f.name: getattr(self, f.name)
            for f in dataclasses.fields(self)
            if f.name not in ("capabilities", "map")
        }
        result["capabilities"] = {
            name: {"supported": c.supported, "reason": c.reason}
            for name, c in self.capabilities.items()
        }
        result["map"] = dict(self.map)
        return result


class Switch(StrEnum):
    """What can be switched from outside."""

    CHARGE = "charge"
    DISCHARGE = "discharge"
    BALANCE = "balance"

    @property
    def key(self) -> str:
        """The name of the setting that holds it, where it is one (`charge_switch`)."""
        return f"{self}_switch"

    @classmethod
    def of(cls, name: object) -> Switch:
        """The switch of exactly this name; `SettingError` for anything else."""
        for switch in cls:
            if isinstance(name, str) and name == switch.value:
                return switch
        raise SettingError(
            f"There is no switch {str(name)[:40]!r}; there are {', '.join(cls)}. Nothing was sent."
        )


@dataclass(frozen=True, slots=True)
class Command:
    """A wish to change the state of the pack.

    `switch` may be given by its exact name. `on` is `True` or `False` and nothing that merely
    counts as such. Raises `SettingError`.
    """

    switch: Switch
    """`charge`, `discharge` or `balance`."""
    on: bool
    """`True` switches it on."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "switch", Switch.of(self.switch))
        if type(self.on) is not bool:
            raise SettingError(
                f"A switch is turned on with True and off with False, not with "
                f"{str(self.on)[:40]!r}. Nothing was sent."
            )

    def __str__(self) -> str:
        return f"{self.switch} {'on' if self.on else 'off'}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Adjustment:
    """A wish to set what runs by itself; `None` leaves it as it is. Raises `SettingError`."""

    clock: datetime | None = None
    """With its zone."""
    soc: float | None = None
    """State of charge, %."""

    def __post_init__(self) -> None:
        clock, soc = self.clock, self.soc
        if clock is not None and not (isinstance(clock, datetime) and clock.tzinfo is not None):
            raise SettingError(f"A clock is set to a moment with its zone, not {clock!r}.")
        if soc is None:
            return
        number = isinstance(soc, int | float) and not isinstance(soc, bool)
        if not number or not abs(soc) < math.inf:
            raise SettingError(f"A state of charge is a number of %, not {str(soc)[:40]!r}.")
