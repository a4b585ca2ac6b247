"""What a JK02 type 02 record means: parsed values to a `Reading` (`docs/protocols/jk02.md`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bmslink.model import Condition, Reading
from bmslink.protocols.common.fields import (
    bits,
    flag,
    is_set,
    open_wires,
    signed,
    sort_conditions,
    unnamed_bits,
)

__all__ = [
    "ALARMS",
    "CHEMISTRIES",
    "FULL_OR_OVERVOLTAGE",
    "HAS_CLOCK",
    "REMEMBERED",
    "cell_count",
    "live_reading",
]

ALARMS: tuple[tuple[int, str, Condition], ...] = (
    (0, "alarm", Condition.WIRE_RESISTANCE),
    (1, "protection", Condition.MOSFET_OVERTEMPERATURE),
    (2, "fault", Condition.CELL_COUNT_MISMATCH),
    (3, "fault", Condition.CURRENT_SENSE),
    (5, "protection", Condition.PACK_OVERVOLTAGE),
    (6, "protection", Condition.CHARGE_OVERCURRENT),
    (7, "protection", Condition.SHORT_CIRCUIT),
    (8, "protection", Condition.CHARGE_OVERTEMPERATURE),
    (9, "protection", Condition.CHARGE_UNDERTEMPERATURE),
    (10, "fault", Condition.COMMUNICATION),  # the coprocessor does not answer
    (11, "protection", Condition.CELL_UNDERVOLTAGE),
    (12, "protection", Condition.PACK_UNDERVOLTAGE),
    (13, "protection", Condition.DISCHARGE_OVERCURRENT),
    (14, "protection", Condition.SHORT_CIRCUIT),
    (15, "protection", Condition.DISCHARGE_OVERTEMPERATURE),
    (16, "fault", Condition.CHARGE_MOSFET),
    (17, "fault", Condition.DISCHARGE_MOSFET),
    (18, "alarm", Condition.COMMUNICATION),  # the GPS module is gone
    (19, "alarm", Condition.DEFAULT_PASSWORD),  # set on most healthy packs
    (20, "fault", Condition.DISCHARGE_MOSFET),  # discharge could not be switched on
    (21, "alarm", Condition.CHARGE_OVERTEMPERATURE),  # one warning for both directions
    (21, "alarm", Condition.DISCHARGE_OVERTEMPERATURE),
    (22, "fault", Condition.TEMPERATURE_SENSE),
    (24, "protection", Condition.SHORT_CIRCUIT),  # could not be released
    (25, "protection", Condition.DISCHARGE_OVERCURRENT),
    (26, "protection", Condition.DISCHARGE_OVERCURRENT),
    (27, "protection", Condition.DISCHARGE_UNDERTEMPERATURE),
    (28, "alarm", Condition.SOFTWARE_LOCK),
)
"""The system alarm word, but for bit 4. Bit 23 (parallel limiter module) has no common name."""

FULL_OR_OVERVOLTAGE = 4
"""The vendor's field table and app say "fully charged", its Modbus documents "cell OVP". Both are
right: `jk02-b2a8s20p-1117-bit4` has it on a full pack with 3.3 V cells, `jk02-b2a25s-bit4` with
3.645 V cells. What the cells say beside it decides."""

_NEARLY_FULL = 99
"""%; a pack of 59.999 Ah of 60 says 99."""
_BELOW_EVERY_RELEASE = (3.0, 3.45)
"""V, of the highest cell: no LFP or Li-ion pack is released as low, no LTO cell is as high."""
_LFP_OVERVOLTAGE = (3.6, 3.8)
"""V, of the highest cell: LFP is not released so high, and Li-ion is far from its limit."""

CHEMISTRIES = {0: "lfp", 1: "nmc", 2: "lto"}

REMEMBERED = (
    "cell_count",
    "nominal_capacity",
    "cell_ovp_release",
    "charge_switch",
    "discharge_switch",
    "balance_switch",
)
"""Settings that a type 02 is completed with, when a type 01 came before it."""

_ABSENT = -200.0
_BALANCERS = ("JK_DZ", "JK-DZ")
"""Pure active balancers: no shunt, no FETs, one temperature; their other fields hold zeros."""
# enable flags of type 02: bit k is the k-th field of the vendor's table
_HAS_SENSOR_MASK, _HAS_HEATING, _HAS_HEATING_CURRENT = 36, 37, 48
HAS_CLOCK = 63
_HAS_T3, _HAS_T4, _HAS_T5 = 59, 60, 61
_HAS_CHEMISTRY, _HAS_STAGE = 67, 71


def cell_count(values: Mapping[str, Any]) -> int:
    """How many cells the pack has: as set, but never fewer than are connected."""
    slots = len(values["cell_voltages"])
    connected: int = values["cell_mask"].bit_length()
    configured = values["settings"].get("cell_count") or 0
    return min(slots, max(connected, configured if configured <= slots else 0))


def live_reading(values: Mapping[str, Any], sign: str = "auto") -> Reading:
    """A type 02 with what is remembered of the settings, as a reading."""
    count = cell_count(values)
    cells = tuple(values["cell_voltages"][:count])
    alarms = values["alarms"]
    shown = bits(alarms)
    found = [(severity, condition) for at, severity, condition in ALARMS if at in shown]
    if FULL_OR_OVERVOLTAGE in shown:
        found.append(_full_or_overvoltage(values, max(cells, default=0.0)))
    found += open_wires(cells)
    known = values["settings"]
    raw: dict[str, Any] = {}
    current = signed(values["current"], sign, raw)
    raw |= _raw(values)
    found_lists = sort_conditions(found)
    if values.get("model", "").startswith(_BALANCERS):
        return Reading(
            protocol="jk02",
            voltage=values["voltage"],
            cell_voltages=cells,
            cell_resistances=tuple(values["cell_resistances"][:count]),
            temperatures={"cell_1": _temperatures(values)["cell_1"]},
            balancing_active=values["balance_action"] != 0,
            balance_current=values["balance_current"],
            balance_switch=known.get("balance_switch"),
            uptime=float(values["uptime"]),
            raw=_raw(values),
            **found_lists,
        )
    return Reading(
        protocol="jk02",
        voltage=values["voltage"],
        current=current,
        soc=float(values["soc"]),
        soh=float(values["soh"]),
        remaining_capacity=values["remaining_capacity"],
        full_capacity=values["full_capacity"],
        nominal_capacity=known.get("nominal_capacity"),
        cycles=values["cycles"],
        cycle_capacity=values["cycle_capacity"],
        cell_voltages=cells,
        cell_resistances=tuple(values["cell_resistances"][:count]),
        temperatures=_temperatures(values),
        balancing_active=values["balance_action"] != 0,
        balance_current=values["balance_current"],
        charge_switch=known.get("charge_switch"),
        discharge_switch=known.get("discharge_switch"),
        balance_switch=known.get("balance_switch"),
        charging_allowed=flag(values["charge_mosfet"]),
        discharging_allowed=flag(values["discharge_mosfet"]),
        heater=flag(values["heating"]) if has(values, _HAS_HEATING) else None,
        uptime=float(values["uptime"]),
        raw=raw,
        **found_lists,
    )


def _full_or_overvoltage(values: Mapping[str, Any], highest: float) -> tuple[str, Condition]:
    """At or above the release voltage it is over-voltage, below it the pack is full. Without the
    settings only voltages far from every release decide."""
    release = values["settings"].get("cell_ovp_release")
    if release:
        over, below = highest >= release, highest < release
    else:
        over = _LFP_OVERVOLTAGE[0] <= highest < _LFP_OVERVOLTAGE[1]
        below = _BELOW_EVERY_RELEASE[0] <= highest < _BELOW_EVERY_RELEASE[1]
    if over:
        return "protection", Condition.CELL_OVERVOLTAGE
    if below and values["soc"] >= _NEARLY_FULL:
        return "alarm", Condition.FULLY_CHARGED
    return "alarm", Condition.OTHER


def has(values: Mapping[str, Any], number: int) -> bool:
    """Whether the board says that this field of its type 02 is valid (24S boards never say)."""
    flags: bytes = values.get("enable_flags", b"")
    return is_set(int.from_bytes(flags, "little"), number)


def chemistry(values: Mapping[str, Any]) -> str | None:
    """The chemistry the board is set to, where it tells."""
    return CHEMISTRIES.get(values["chemistry"]) if has(values, _HAS_CHEMISTRY) else None


def _temperatures(values: Mapping[str, Any]) -> dict[str, float | None]:
    fitted = 0xFF
    if "enable_flags" not in values or has(values, _HAS_SENSOR_MASK):
        fitted = values["sensor_mask"]
    probes = [(1, "cell_1", "temperature_1"), (2, "cell_2", "temperature_2")]
    for at, flag_bit in ((3, _HAS_T3), (4, _HAS_T4), (5, _HAS_T5)):
        if has(values, flag_bit):
            probes.append((at, f"cell_{at}", f"temperature_{at}"))
    probes.append((0, "mosfet", "mosfet_temperature"))
    return {
        name: values[key] if is_set(fitted, at) and values[key] != _ABSENT else None
        for at, name, key in probes
    }


def _raw(values: Mapping[str, Any]) -> dict[str, Any]:
    raw: dict[str, Any] = {"variant": values["variant"]}
    mapped = {at for at, _, _ in ALARMS}
    unmapped = unnamed_bits(values["alarms"], mapped)
    if unmapped:
        raw["alarm_bits"] = unmapped
    if values["wire_warning"]:
        raw["wire_resistance_cells"] = [b + 1 for b in bits(values["wire_warning"])]
    raw["balance_action"] = values["balance_action"]
    raw["precharge_state"] = values["precharge_state"]
    if any(values["release_countdowns"]):
        raw["release_countdowns"] = values["release_countdowns"]
    for key in ("user_alarm", "user_alarm_2", "emergency_countdown"):
        if values.get(key):
            raw[key] = values[key]
    if has(values, _HAS_STAGE):
        raw["charge_stage"] = values["charge_stage"]
    if has(values, _HAS_HEATING_CURRENT) and values["heating"]:
        raw["heating_current"] = values["heating_current"]
    return raw
