"""Checks against what the pack says at this moment: would it trip, does it make sense."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from bmslink.config.checks.check import Check, Draft, number
from bmslink.model import Condition, Reading
from bmslink.settings.setting import Danger, Value

__all__ = ["LimitMargin", "check_health", "check_load", "check_protection", "check_trip", "margins"]

_FLOWS = 0.5
"""A current that counts as charging or discharging, A."""
_LOADED = 1.0
"""A current above which nothing dangerous is changed, A."""


class _Live(NamedTuple):
    """The extremes of a reading; `None` is unknown."""

    lowest: float | None
    highest: float | None
    voltage: float | None
    current: float | None
    coldest: float | None
    hottest: float | None
    mosfet: float | None
    delta: float | None


def _live(reading: Reading) -> _Live:
    cells = [t for n, t in reading.temperatures.items() if t is not None and not _is_board(n)]
    board = [t for n, t in reading.temperatures.items() if t is not None and _is_board(n)]
    return _Live(
        lowest=reading.min_cell_voltage,
        highest=reading.max_cell_voltage,
        voltage=reading.voltage,
        current=reading.current,
        coldest=min(cells, default=None),
        hottest=max(cells, default=None),
        mosfet=max(board, default=None),
        delta=reading.cell_delta,
    )


def _is_board(probe: str) -> bool:
    return any(word in probe for word in ("mosfet", "board", "ambient"))


class _Trip(NamedTuple):
    key: str
    live: Callable[[_Live], float | None]
    over: bool
    """It trips at or above the limit; else at or below."""
    what: str
    unit: str
    flow: int = 0
    """The direction of current (1 charging, -1 discharging) that must flow for it to matter."""


_TRIPS = (
    _Trip("cell_ovp", lambda v: v.highest, True, "the highest cell has", "V"),
    _Trip("cell_uvp", lambda v: v.lowest, False, "the lowest cell has", "V"),
    _Trip("jk_power_off_voltage", lambda v: v.lowest, False, "the lowest cell has", "V"),
    _Trip("pack_ovp", lambda v: v.voltage, True, "the pack has", "V"),
    _Trip("pack_uvp", lambda v: v.voltage, False, "the pack has", "V"),
    _Trip("charge_ocp", lambda v: v.current, True, "it is charged with", "A"),
    _Trip("discharge_ocp", lambda v: None if v.current is None else -v.current, True,
          "it is discharged with", "A"),
    _Trip("charge_otp", lambda v: v.hottest, True, "the warmest probe has", "°C", 1),
    _Trip("charge_utp", lambda v: v.coldest, False, "the coldest probe has", "°C", 1),
    _Trip("discharge_otp", lambda v: v.hottest, True, "the warmest probe has", "°C", -1),
    _Trip("discharge_utp", lambda v: v.coldest, False, "the coldest probe has", "°C", -1),
    _Trip("mosfet_otp", lambda v: v.mosfet, True, "the board has", "°C"),
    _Trip("jbd_hardware_cell_ovp", lambda v: v.highest, True, "the highest cell has", "V"),
    _Trip("jbd_hardware_cell_uvp", lambda v: v.lowest, False, "the lowest cell has", "V"),
    _Trip("short_circuit_current", lambda v: None if v.current is None else abs(v.current), True,
          "there flow", "A"),
    _Trip("temperature_delta", lambda v: None if v.hottest is None or v.coldest is None
          else v.hottest - v.coldest, True, "the probes differ by", "K"),
    _Trip("cell_delta", lambda v: v.delta, True, "the cells differ by", "V"),
)  # fmt: skip


def check_trip(draft: Draft) -> Check:
    if draft.reading is None:
        return Check(
            name="trip", passed=False, sentence="The live values are unknown.", waiver="trip"
        )
    live = _live(draft.reading)
    cuts, later, judged = [], [], 0
    for trip in (t for t in _TRIPS if t.key in draft.keys):
        value, limit = trip.live(live), number(draft.after.get(trip.key))
        if value is None or limit is None:
            later.append(f"{trip.key} cannot be judged: nobody measures it.")
            continue
        judged += 1
        if value < limit if trip.over else value > limit:
            continue
        sentence = f"{trip.key} = {limit:g} {trip.unit}, but {trip.what} {value:g} {trip.unit}"
        if _matters(trip, live.current):
            cuts.append(f"{sentence}: it would trip now.")
        else:
            later.append(f"{sentence}: it trips as soon as current flows that way.")
    if not judged and not cuts and not later:
        return Check(name="trip", passed=None, sentence="No protection changes.")
    sentence = " ".join(cuts + later) or "Nothing would trip now."
    return Check(name="trip", passed=not cuts, sentence=sentence, waiver="trip")


def _matters(trip: _Trip, current: float | None) -> bool:
    """Whether what it cuts is in use: an idle pack is there to be discharged at any time."""
    if trip.flow == 1:
        return current is None or current > _FLOWS
    if trip.flow == -1:
        return current is None or current <= _FLOWS
    return True


class LimitMargin(NamedTuple):
    """How far a pack is from one of its limits."""

    key: str
    what: str
    """`the highest cell has`."""
    value: float
    limit: float
    unit: str
    room: float
    """0 or less: it trips."""
    matters: bool
    """What it would cut is in use."""


def margins(reading: Reading, values: Mapping[str, Value | None]) -> Iterator[LimitMargin]:
    """How far a reading is from every limit that the settings hold and that it shows. A limit of
    0 is off on boards that can have it off."""
    live = _live(reading)
    for trip in _TRIPS:
        value, limit = trip.live(live), number(values.get(trip.key))
        if value is None or limit is None or (limit == 0 and trip.unit != "°C"):
            continue
        room = limit - value if trip.over else value - limit
        matters = _matters(trip, live.current)
        yield LimitMargin(trip.key, trip.what, value, limit, trip.unit, room, matters)


_BAD_SHARE = 0.05
"""With more damaged frames than this a line is not fit to write over."""


def check_health(draft: Draft) -> Check:
    balancer = draft.table.map.balancer
    wrong = list(_implausible(draft.reading, balancer)) if draft.reading is not None else []
    health = draft.health
    if health is not None and health.bad > _BAD_SHARE * max(health.frames + health.bad, 1):
        wrong.append(f"{health.bad} of {health.frames + health.bad} frames were damaged.")
    if health is not None and health.still:
        wrong.append(
            f"The board's uptime has stood still for {health.still:.0f} s: what it tells is old."
        )
    if draft.reading is None:
        wrong.append("It tells no live values.")
    sentence = " ".join(wrong) or "The line is clean and the readings make sense."
    return Check(name="health", passed=not wrong, sentence=sentence, waiver="health")


def _implausible(reading: Reading, balancer: bool) -> Iterator[str]:
    cells = reading.cell_voltages
    if not cells or None in cells:
        yield "Not every cell's voltage is known."
        return
    known = [v for v in cells if v is not None]
    if odd := [v for v in known if not 0.5 <= v <= 5.0]:
        yield f"A cell of {odd[0]:g} V is no working cell."
    if reading.voltage is None:
        yield "The pack's voltage is unknown."
    elif abs(sum(known) - reading.voltage) > max(0.03 * reading.voltage, 0.3):
        yield (
            f"The cells add up to {sum(known):.2f} V, but the pack says {reading.voltage:.2f} V."
        )
    if reading.current is None and not balancer:
        yield "The current is unknown."


_NO_HINDRANCE = (
    Condition.SOFTWARE_LOCK,
    Condition.FULLY_CHARGED,
    Condition.DEFAULT_PASSWORD,
    Condition.SETTINGS_INVALID,
    Condition.CELL_COUNT_MISMATCH,
)
"""What somebody wants to be so, or what only new settings can end."""


def check_protection(draft: Draft) -> Check:
    if draft.table.map.balancer:
        return Check(name="protection", passed=None, sentence="The board protects nothing.")
    if draft.keys and {*draft.keys} <= {*draft.by_name}:
        return Check(name="protection", passed=None, sentence="Only switches change.")
    found = draft.reading.protections + draft.reading.faults if draft.reading is not None else ()
    active = [condition for condition in found if condition not in _NO_HINDRANCE]
    sentence = f"Active: {', '.join(active)}." if active else "No protection or fault is active."
    return Check(name="protection", passed=not active, sentence=sentence, waiver="protection")


def check_load(draft: Draft) -> Check:
    settings = draft.table.map
    risky = [
        key
        for key in draft.keys
        if settings.setting(key).danger in (Danger.COMMISSIONING, Danger.POWER, Danger.PROTECTION)
        and key not in draft.by_name
    ]
    if not risky:
        return Check(name="load", passed=None, sentence="Nothing dangerous changes.")
    current = None if draft.reading is None else draft.reading.current
    passed = current is not None and abs(current) <= _LOADED
    flows = "an unknown current" if current is None else f"{current:g} A"
    sentence = f"{', '.join(risky)} changes while {flows} flows."
    return Check(name="load", passed=passed, sentence=sentence, waiver="load")
