"""The parts of one Daly poll, merged into one reading; what is not believable is unknown.

A value that is rejected stands in `raw` under its own name, as the board sent it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from bmslink.model import Condition, Reading
from bmslink.protocols.base import Record
from bmslink.protocols.common.fields import (
    flag_or_raw,
    named_bits,
    open_wires,
    signed,
    sort_conditions,
)
from bmslink.protocols.daly.a5.layouts import (
    CELLS_PER_FRAME,
    FAILURES,
    MAX_CELL_VOLTAGE,
    MAX_CELLS,
    MAX_FRAME_NUMBER,
    MAX_SENSORS,
    NO_PROBE,
    SENSORS_PER_FRAME,
    STATES,
    believed_count,
    direction_of,
    highest_voltage,
    unnamed_failures,
)

__all__ = ["Memory", "Sign", "first_number", "merge"]

Sign = Literal["auto", "normal", "inverted"]
Values = Mapping[str, Any]

_ZERO_RAW = -3000.0  # A, what a raw current of 0 stands for
_MAX_CURRENT = 1000.0  # A; -3000 A (raw 0) and 3553.5 A (raw FFFF) are no measurements
_MIN_PACK = 8.0  # V


@dataclass(slots=True)
class Memory:
    """What later frames of one board need to be understood."""

    cell_count: int | None = None
    sensor_count: int | None = None
    bases: dict[int, int] = field(default_factory=dict)
    """From where the frames of a multi-frame id are counted: documents say 0, hardware says 1."""
    soc: float | None = None
    """Of the last 90, %, in which its word is counted in tenths."""
    live_tails: bool = False
    """The last bytes of 91 and 92 are values, not residue of the answers before them."""

    def learn_soc(self, values: Values) -> None:
        """Learn from a 90."""
        self.soc = values["soc"]

    def learn_counts(self, values: Values) -> None:
        """Learn from a 94; more cells or sensors than a board can have are not believed."""
        sensors = values["sensor_count"]
        self.cell_count = believed_count(values["cell_count"])
        self.sensor_count = sensors if sensors <= MAX_SENSORS else None

    def look_at_tail(self, values: Values) -> None:
        """Learn from a 91: is its tail the cell difference, or the SOC word of the last 90?"""
        tail = values["tail"]
        delta = round((values["max_cell_voltage"] - values["min_cell_voltage"]) * 1000)
        self.live_tails = tail == delta and tail / 10 != self.soc


def merge(records: Sequence[Record], memory: Memory, sign: Sign) -> Reading:
    """One reading from the parts of one poll; of parts that came twice the later counts."""
    parts: dict[str, Values] = {r.part: r.values for r in records if r.part is not None}
    raw: dict[str, Any] = {}
    pack, state, status = (parts.get(part, {}) for part in ("90", "93", "94"))
    if _is_booting(pack):
        raw["booting"] = True
        pack = {}
        state, status = (v if any(v[k] for k in v if k != "id") else {} for v in (state, status))
    cells = _cells(_slots(parts, 0x95, memory), memory.cell_count, raw)
    conditions = sort_conditions(
        _conditions(parts.get("98", {}), cells, raw), known=bool(parts.get("98"))
    )
    balancing = _balancing(parts.get("97", {}), raw)
    _keep(raw, state, status)
    return Reading(
        protocol="daly-a5",
        voltage=_voltage(pack, memory.cell_count, cells, raw),
        current=_current(pack, state, sign, raw),
        soc=_believed(pack, "soc", 0.0, 100.0, raw),
        remaining_capacity=_believed(state, "remaining_capacity", 0.0, 1e5, raw),
        cycles=_cycles(status, state, raw),
        cell_voltages=cells,
        temperatures=_temperatures(parts, memory),
        balancing_active=balancing,
        # 97 is a mask on some firmwares and [on/off, cell number] on others: never told apart
        balancing_cells=() if balancing is False else None,
        charging_allowed=flag_or_raw(state, "charge_mosfet", raw),
        discharging_allowed=flag_or_raw(state, "discharge_mosfet", raw),
        raw=raw,
        **conditions,
    )


def _is_booting(pack: Values) -> bool:
    """A board that wakes up answers with zeros (0 V, raw current 0, 0 %) before it measures."""
    return bool(pack) and not pack["voltage"] and not pack["soc"] and pack["current"] == _ZERO_RAW


def _believed(
    values: Values, key: str, low: float, high: float, raw: dict[str, Any]
) -> float | None:
    value: float | None = values.get(key)
    if value is None or low <= value <= high:
        return value
    raw[key] = value
    return None


def _slots(parts: Mapping[str, Values], data_id: int, memory: Memory) -> dict[int, float] | None:
    """What a multi-frame answer holds, by position from 0; lost frames leave gaps.

    `None` when it cannot be told which frame is the first.
    """
    name, per, count = {
        0x95: ("cell_voltages", CELLS_PER_FRAME, memory.cell_count),
        0x96: ("temperatures", SENSORS_PER_FRAME, memory.sensor_count),
    }[data_id]
    series = f"{data_id:x}."
    frames = {v["number"]: v[name] for p, v in parts.items() if p.startswith(series)}
    if not frames:
        return {}
    known = memory.bases.get(data_id)
    base = first_number(set(frames), None if count is None else -(-count // per), known)
    if base is None:
        return None
    if len(frames) > 1 and count:
        memory.bases[data_id] = base
    return {
        (n - base) * per + i: v
        for n, frame in frames.items()
        if n >= base
        for i, v in enumerate(frame)
    }


def first_number(numbers: set[int], needed: int | None, known: int | None) -> int | None:
    """Whether frames are counted from 0 or from 1; `None` where both are possible.

    A single frame 0 proves nothing: a board that wakes up, or a dongle that mixes its memory into
    the answer, may send one (`daly-a5-powermon-ble-208a`), and cells must never be shifted. What
    decides is where the numbers end; boards that always send all 16 frames end at 15 or 16.
    """
    top = max(numbers)
    if needed is None:
        return 0 if 0 in numbers else 1
    if top in (needed, MAX_FRAME_NUMBER):
        return 1
    if 0 not in numbers:
        return 1 if known is None else known
    if known is None and top in (needed - 1, MAX_FRAME_NUMBER - 1) and len(numbers) == top + 1:
        return 0
    return known


def _cells(
    slots: dict[int, float] | None, count: int | None, raw: dict[str, Any]
) -> tuple[float | None, ...]:
    if not slots:
        return () if slots is not None else (None,) * (count or 0)
    if count is None:
        count = _likely_count(slots)
        raw["cell_count"] = "assumed"
        left = [slots[i] for i in sorted(slots) if i >= count and slots[i]]
        if left:
            raw["residue"] = left
    found = tuple(slots.get(i) for i in range(count))
    rejected = {str(i): v for i, v in enumerate(found, 1) if v is not None and v > MAX_CELL_VOLTAGE}
    if rejected:
        raw["cell_voltages"] = rejected
    return tuple(None if v is None or v > MAX_CELL_VOLTAGE else v for v in found)


def _likely_count(slots: Mapping[int, float]) -> int:
    """How many cells there are when no 94 has said so: padding is not counted.

    Some boards pad with zeros, old firmware with what the frame before had in the same place
    (`daly-a5-mindfreeze-16s-a`).
    """
    last = max((i for i, v in slots.items() if v), default=-1)
    if last == max(slots):
        while last % CELLS_PER_FRAME and slots[last] == slots.get(last - CELLS_PER_FRAME):
            last -= 1
    return last + 1


def _temperatures(parts: Mapping[str, Values], memory: Memory) -> dict[str, float | None]:
    slots = _slots(parts, 0x96, memory)
    count = memory.sensor_count
    if slots is None:
        slots, count = {}, 0
    if count is None:  # not announced: up to the padding
        count = next((i for i in range(len(slots)) if slots.get(i) == NO_PROBE[0]), len(slots))
    named = {f"sensor_{i + 1}": slots.get(i) for i in range(count if slots else 0)}
    found = {name: None if t in NO_PROBE else t for name, t in named.items()}
    extremes = parts.get("92")
    if extremes is not None and memory.live_tails:
        spread = extremes["max_temperature"] - extremes["min_temperature"]
        if extremes["temperature_delta"] in (spread, 0xFF):
            for name in ("mosfet", "board"):
                value = extremes[f"{name}_temperature"]
                if value not in NO_PROBE:
                    found[name] = value
    return found


def _cycles(status: Values, state: Values, raw: dict[str, Any]) -> int | None:
    """Cycles; 0 is not believed where a number stands behind it that is no residue of the 93
    before (`daly-a5-r24ts`: its owner says 58, and so does that byte)."""
    value: int | None = status.get("cycles")
    if value != 0 or not status["tail"]:
        return value
    remaining: float | None = state.get("remaining_capacity")
    if remaining is not None and round(remaining * 1000) & 0xFF == status["tail"]:
        return value
    raw["cycles"] = value
    return None


def _voltage(
    pack: Values, count: int | None, cells: Sequence[float | None], raw: dict[str, Any]
) -> float | None:
    """V; a board that boots says 0, and less than 8 V is believed only if the cells agree."""
    value: float | None = pack.get("voltage")
    if value is None:
        return None
    if pack["gather_voltage"]:
        raw["gather_voltage"] = pack["gather_voltage"]
    total = sum(v if v is not None else math.inf for v in cells)
    agrees = bool(cells) and value > 0 and abs(total - value) <= 0.02 * value + 0.1
    low = 0.0 if agrees else _MIN_PACK
    return _believed(pack, "voltage", low, highest_voltage(count), raw)


def _current(pack: Values, state: Values, sign: Sign, raw: dict[str, Any]) -> float | None:
    """A, positive while charging.

    Firmwares disagree about the sign and no frame says which it is, but the state byte of the
    same poll does: state 2 stands with 29941 in `daly-a5-ble-16s-tomatensaus` and with 30021 in
    `daly-a5-mpp-16s-session`. Only while it says idle, or nothing flows, the sign is assumed.
    """
    value: float | None = pack.get("current")
    if value is None:
        return None
    if abs(value) >= _MAX_CURRENT:
        raw["current"] = value
        return None
    if sign != "auto":
        return signed(value, sign, raw)
    direction = direction_of(state.get("state"))
    if not direction or not value:
        raw["current_sign"] = "assumed"
        return value
    reported = value * direction > 0
    raw["current_sign"] = "reported" if reported else "inverted"
    return value if reported else -value


def _balancing(values: Values, raw: dict[str, Any]) -> bool | None:
    if not values:
        return None
    if any(values["balancing"]):
        raw["balancing"] = values["balancing"].hex()
    if any(values["reserved"]):
        raw["balancing_reserved"] = values["reserved"].hex()
    return any(values["balancing"])


def _conditions(
    failures: Values, cells: Sequence[float | None], raw: dict[str, Any]
) -> list[tuple[str, Condition]]:
    found: list[tuple[str, Condition]] = []
    if failures:
        word = int.from_bytes(failures["failure_bits"], "little")
        found = named_bits(word, FAILURES)
        if word:
            raw["failure_bits"] = failures["failure_bits"].hex()
        unknown = unnamed_failures(word)
        if unknown:
            raw["failure_bits_unknown"] = unknown
        if failures["fault_code"]:
            raw["fault_code"] = failures["fault_code"]
    return [*found, *open_wires(cells)]


def _keep(raw: dict[str, Any], state: Values, status: Values) -> None:
    """Vendor values without a common name."""
    if state:
        raw["state"] = STATES.get(state["state"], state["state"])
        raw["life"] = state["life"]
    if status:
        for key, most in (("cell_count", MAX_CELLS), ("sensor_count", MAX_SENSORS)):
            if status[key] > most:
                raw[key] = status[key]
        raw["charger"] = status["charger"]
        raw["load"] = status["load"]
        if status["inputs_outputs"]:
            raw["inputs_outputs"] = status["inputs_outputs"]
