"""What JBD's register 03 means: parsed values to a `Reading` (`docs/protocols/jbd.md`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bmslink.model import Condition, Reading
from bmslink.protocols.common.fields import (
    bits,
    is_set,
    named_bits,
    open_wires,
    signed,
    sort_conditions,
    unnamed_bits,
)
from bmslink.protocols.jbd.layouts import (
    ADDRESSED_ALARMS,
    ADDRESSED_PROTECTIONS,
    ALARMS,
    HUMIDITY,
    MISSING_PROBE,
    PROTECTIONS,
    TENFOLD,
)

__all__ = ["DAREN", "basic_reading", "is_tenfold"]

DAREN = "daren"
"""The variant of Daren and Docan packs, which only answer reads here."""
_UNFILLED = {"voltage": 655.35, "current": -1, "soc": 0xFF}
"""What a Daren pack has in a field of the head that it does not fill: FF in every byte."""
_UNFILLED_WORD = 0xFFFF


def is_tenfold(values: Mapping[str, Any]) -> bool | None:
    """Whether current and capacities of a register 03 count tenfold; `None`: nobody knows,
    because the flag is set in a tail of no known layout."""
    unknown = values.get("unknown_tail")
    if unknown:
        return None if unknown[0] & TENFOLD else False
    return bool(values.get("scale_and_humidity", 0) & TENFOLD)


def basic_reading(
    values: Mapping[str, Any], voltages: tuple[float | None, ...], sign: str
) -> Reading:
    """A register 03 with the cells of the 04 beside it."""
    balance = values["balance_low"] | values["balance_high"] << 16
    cells = values["cell_count"]
    raw: dict[str, Any] = {}
    amounts = _amounts(values)
    current = signed(amounts["current"], sign, raw)
    raw |= _raw(values)
    found, known = _conditions(values, raw)
    found += open_wires(voltages)
    balancing = tuple(b + 1 for b in bits(balance) if b < cells or not cells)
    _keep_bits(raw, "balance_bits", balance, range(cells or 32))
    daren = values["variant"] == DAREN
    return Reading(
        protocol="jbd",
        voltage=_filled(values, "voltage"),
        current=current,
        soc=None if _filled(values, "soc") is None else float(values["soc"]),
        soh=float(values["soh"]) if daren else None,
        remaining_capacity=amounts["remaining_capacity"],
        full_capacity=amounts["full_capacity"],
        nominal_capacity=amounts["nominal_capacity"],
        cycles=_filled(values, "cycles"),
        cell_voltages=voltages,
        temperatures=_temperatures(values),
        balancing_active=bool(balance),
        balancing_cells=balancing,
        balance_current=values.get("balance_current"),
        charging_allowed=is_set(values["state"], 0),
        discharging_allowed=is_set(values["state"], 1),
        raw=raw,
        **sort_conditions(found, known=known),
    )


_AMOUNTS = ("current", "remaining_capacity", "nominal_capacity", "full_capacity")


def _amounts(values: Mapping[str, Any]) -> dict[str, float | None]:
    """Current and capacities in A and Ah; `None` where the board does not say them, or not in
    which unit."""
    tenfold = is_tenfold(values)
    per = None if tenfold is None else 10 if tenfold else 100
    found: dict[str, float | None] = {}
    for name in _AMOUNTS:
        number = _filled(values, name)
        known = number is not None and per is not None
        found[name] = number / per if known else values.get(f"tail_{name}")
    return found


def _filled(values: Mapping[str, Any], name: str) -> Any:
    """A field of the head; `None` where a Daren pack left it to the tail, or out."""
    value = values.get(name)
    unfilled = values["variant"] == DAREN and value == _UNFILLED.get(name, _UNFILLED_WORD)
    return None if unfilled else value


def _conditions(
    values: Mapping[str, Any], raw: dict[str, Any]
) -> tuple[list[tuple[str, Condition]], bool]:
    """The conditions, and whether they are all that the board says."""
    addressed = values["variant"] == "addressed"
    protections = ADDRESSED_PROTECTIONS if addressed else PROTECTIONS
    alarms = ADDRESSED_ALARMS if addressed else ALARMS
    alarm = values.get("alarm", 0)
    found = named_bits(values["protection"], protections)
    _keep_bits(raw, "protection_bits", values["protection"], protections)
    found += [("alarm", condition) for condition in named_bits(alarm, alarms)]
    _keep_bits(raw, "alarm_bits", alarm, alarms)
    # alarms may be in a tail that nobody can read, or in Daren's three bytes without a meaning
    return found, not values.get("unknown_tail") and not any(values.get("status", b""))


_MEANT = frozenset(
    (
        *("voltage", "current", "remaining_capacity", "nominal_capacity", "full_capacity", "soc"),
        *("soh", "cycles", "balance_low", "balance_high", "balance_current", "cell_count"),
        *("temperatures", "probe_count", "ambient_temperature", "mosfet_temperature"),
        *("protection", "alarm", "state", "version", "production_date", "scale_and_humidity"),
        *("remaining_capacity_2", "reserved", "variant"),
    )
)
"""Fields of the layouts that have a place in the reading, or say nothing; all others are raw."""


def _raw(values: Mapping[str, Any]) -> dict[str, Any]:
    raw: dict[str, Any] = {"version": values["version"]}
    _keep_bits(raw, "state_bits", values["state"], (0, 1))
    raw["production_date"] = _date(values["production_date"])
    if "scale_and_humidity" in values:
        raw["humidity"] = values["scale_and_humidity"] & HUMIDITY
        if values["scale_and_humidity"] & TENFOLD:
            raw["tenfold"] = True
    for key, value in values.items():
        if key in _MEANT or key.startswith("tail_"):
            continue
        if not isinstance(value, bytes):
            raw[key] = value
        elif any(value):
            raw[key] = value.hex()
    return raw


def _temperatures(values: Mapping[str, Any]) -> dict[str, float | None]:
    named = {f"sensor_{i}": t for i, t in enumerate(values["temperatures"], 1)}
    for name in ("ambient", "mosfet"):
        if f"{name}_temperature" in values:
            named[name] = values[f"{name}_temperature"]
    return {name: None if t in MISSING_PROBE else t for name, t in named.items()}


def _keep_bits(raw: dict[str, Any], name: str, word: int, known: Any) -> None:
    left = unnamed_bits(word, known)
    if left:
        raw[name] = left


def _date(word: int) -> str | None:
    """ISO date, or `None` when the word is no date (boards leave it 0)."""
    year, month, day = 2000 + (word >> 9), word >> 5 & 15, word & 31
    return f"{year}-{month:02}-{day:02}" if 1 <= month <= 12 and day >= 1 else None
