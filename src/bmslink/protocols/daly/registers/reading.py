"""Register values of one poll to a reading: what D2 and 81/51 have in common.

Absent and unbelievable registers are `None` before they come here; what was not believed stands
in `raw.implausible` as the board sent it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bmslink.model import Condition
from bmslink.protocols.base import Options
from bmslink.protocols.common.fields import (
    Severity,
    flag,
    last_connected,
    of_count,
    open_wires,
    signed,
    sort_conditions,
)
from bmslink.protocols.daly.a5.layouts import STATES, believed_count, direction_of, highest_voltage

__all__ = ["MAX_SENSORS", "Found", "common", "keep", "told"]

Values = Mapping[str, Any]
Found = list[tuple[Severity, Condition]]

MAX_SENSORS = 8
"""Both maps have eight temperature registers."""
_CLEAR_CURRENT = 1.0  # A; below this a state byte proves nothing about the sign


def common(
    values: Values, options: Options, slots: Sequence[float | None], found: Found, *, known: bool
) -> dict[str, Any]:
    """The fields of a `Reading` that both dialects say in the same way.

    `slots` are the cell registers in order, `found` the conditions of the alarm
    registers; `known`: those were read.
    """
    raw: dict[str, Any] = {}
    cells = _cells(values, slots, raw)
    found += open_wires(cells)
    fields: dict[str, Any] = {
        "voltage": _voltage(values, raw),
        "current": _current(values, options, raw),
        "soc": values.get("soc"),
        "remaining_capacity": values.get("remaining_capacity"),
        "cycles": values.get("cycles"),
        "cell_voltages": cells,
        "temperatures": _temperatures(values),
        "charging_allowed": flag(values.get("charge_mosfet")),
        "discharging_allowed": flag(values.get("discharge_mosfet")),
        **sort_conditions(found, known=known),
    }
    state = values.get("state")
    if state is not None:
        raw["state"] = STATES.get(state, state)
    keep(raw, values, "power", "implausible", "block")
    registers = _unnamed(values)
    if registers:
        raw["registers"] = registers
    return fields | {"raw": raw}


def told(values: Values, name: str, *meaningless: int) -> bool:
    """Whether the board has all words of that array; the `meaningless` ones (from 0) may be
    absent. A word that is not there is not a word without a condition."""
    words = values.get(name)
    return words is not None and all(
        word is not None for at, word in enumerate(words) if at not in meaningless
    )


def keep(raw: dict[str, Any], values: Values, *names: str) -> None:
    """Vendor values that have no common name, where the board says them."""
    raw.update({name: values[name] for name in names if values.get(name) is not None})


def _unnamed(values: Values) -> dict[str, str]:
    """The registers without a name that say something, in hexadecimal."""
    words: dict[str, str] = {}
    for name, run in values.items():
        if name.startswith("reserved_"):
            first = int(name.removeprefix("reserved_"), 16)
            for register, at in enumerate(range(0, len(run), 4), first):
                if run[at : at + 4] not in ("0000", "ffff"):
                    words[f"{register:02X}"] = run[at : at + 4]
    return words


def _cells(
    values: Values, slots: Sequence[float | None], raw: dict[str, Any]
) -> tuple[float | None, ...]:
    """As many as announced: slots behind them are padding, and missing ones are unknown."""
    if not slots:
        return ()
    count = believed_count(values.get("cell_count"))
    if count is None:
        if "cell_count" in values:  # a board that boots announces none
            return ()
        raw["cell_count"] = "assumed"
        count = last_connected(slots)
    return of_count(slots, count)


def _voltage(values: Values, raw: dict[str, Any]) -> float | None:
    value: float | None = values.get("voltage")
    if value is not None and value > highest_voltage(believed_count(values.get("cell_count"))):
        raw["voltage"] = value
        return None
    return value


def _current(values: Values, options: Options, raw: dict[str, Any]) -> float | None:
    """A, positive while charging: so it is in every capture, whatever the vendor's sheet says.

    A board that moves the other way than its state says is not corrected: `raw.current_sign` is
    `disputed` then, and `?current_sign=inverted` turns it round.
    """
    value: float | None = values.get("current")
    if value is None:
        return None
    if options.current_sign != "auto":
        return signed(value, options.current_sign, raw)
    direction = direction_of(values.get("state"))
    if not direction or abs(value) < _CLEAR_CURRENT:
        raw["current_sign"] = "assumed"
    else:
        raw["current_sign"] = "reported" if value * direction > 0 else "disputed"
    return value


def _temperatures(values: Values) -> dict[str, float | None]:
    """°C; slots behind the announced number of probes hold anything, 0 °C for one."""
    slots = values.get("temperatures", [])
    count = values.get("sensor_count")
    named = {f"sensor_{n}": t for n, t in enumerate(slots[:count], 1)}
    for name in ("mosfet", "board", "heater"):
        if f"{name}_temperature" in values:
            named[name] = values[f"{name}_temperature"]
    return named
