"""What JK boards remember: the logbook (type 05), the detail log (type 06), and their codes.

The codes are those of the vendor's own program; which of them boards sent is in
`docs/protocols/jk02.md`, with the captures.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from bmslink.events import EventSeverity
from bmslink.model import Condition
from bmslink.past import BoardEvent, TimeSource, in_words
from bmslink.protocols.common.fields import build, is_set
from bmslink.protocols.jk.jk02.layouts import DETAIL_ENTRY, LOG_ENTRY

__all__ = [
    "CODES",
    "YEAR_2020",
    "JKCode",
    "board_time",
    "detail_events",
    "logbook_events",
    "meaning_of",
]

YEAR_2020 = int(datetime(2020, 1, 1, tzinfo=UTC).timestamp())
"""Where the boards' clocks begin, s."""
_BOOT = 1
_PERIODIC = 0
_SLACK = 120
"""s that the counter of running time and the board's clock may be apart: 45 s were seen."""


class JKCode(NamedTuple):
    """What a code says."""

    name: str
    text: str
    severity: EventSeverity = EventSeverity.INFO
    condition: Condition | None = None
    ended: bool | None = None
    cell: int | None = None


_ALARM, _FAULT = EventSeverity.ALARM, EventSeverity.CRITICAL
# fmt: off
_PAIRS: tuple[tuple[int, str, str, EventSeverity, Condition], ...] = (
    (11, "mosfet_overtemperature", "", _ALARM, Condition.MOSFET_OVERTEMPERATURE),
    (13, "current_sense", "current sensor fault", _FAULT, Condition.CURRENT_SENSE),
    (15, "coprocessor", "coprocessor does not answer", _FAULT, Condition.COMMUNICATION),
    (17, "cell_overvoltage", "", _ALARM, Condition.CELL_OVERVOLTAGE),
    (19, "pack_overvoltage", "", _ALARM, Condition.PACK_OVERVOLTAGE),
    (21, "charge_overcurrent", "", _ALARM, Condition.CHARGE_OVERCURRENT),
    (23, "charge_short_circuit", "charge short circuit", _ALARM, Condition.SHORT_CIRCUIT),
    (25, "charge_overtemperature", "", _ALARM, Condition.CHARGE_OVERTEMPERATURE),
    (27, "charge_undertemperature", "", _ALARM, Condition.CHARGE_UNDERTEMPERATURE),
    (29, "cell_undervoltage", "", _ALARM, Condition.CELL_UNDERVOLTAGE),
    (31, "pack_undervoltage", "", _ALARM, Condition.PACK_UNDERVOLTAGE),
    (33, "discharge_overcurrent", "", _ALARM, Condition.DISCHARGE_OVERCURRENT),
    (35, "discharge_short_circuit", "discharge short circuit", _ALARM, Condition.SHORT_CIRCUIT),
    (37, "discharge_overtemperature", "", _ALARM, Condition.DISCHARGE_OVERTEMPERATURE),
    (72, "discharge_undertemperature", "", _ALARM, Condition.DISCHARGE_UNDERTEMPERATURE),
)
"""A condition, and with the next number its end."""
_SINGLE: tuple[tuple[int, str, str, EventSeverity, Condition | None], ...] = (
    (40, "discharge_short_circuit_2", "discharge short circuit, level 2", _ALARM,
     Condition.SHORT_CIRCUIT),
    (46, "discharge_on_failed", "discharging could not be switched on", _FAULT,
     Condition.DISCHARGE_MOSFET),
    (57, "charge_mosfet", "charge FET fault", _FAULT, Condition.CHARGE_MOSFET),
    (58, "discharge_mosfet", "discharge FET fault", _FAULT, Condition.DISCHARGE_MOSFET),
    (60, "cell_count_mismatch", "wrong number of cells", _FAULT, Condition.CELL_COUNT_MISMATCH),
    (64, "discharge_overcurrent_2", "discharge overcurrent, level 2", _ALARM,
     Condition.DISCHARGE_OVERCURRENT),
    (65, "discharge_overcurrent_3", "discharge overcurrent, level 3", _ALARM,
     Condition.DISCHARGE_OVERCURRENT),
    (66, "short_circuit_release_failed", "short circuit could not be released", _ALARM,
     Condition.SHORT_CIRCUIT),
)
"""Conditions whose end has no code of its own."""
_DONE: tuple[tuple[int, str, str], ...] = (
    (_PERIODIC, "periodic", "measured"),
    (_BOOT, "boot", "board started"),
    (2, "shutdown", "board shut down"),
    (3, "app_charge_off", "charging switched off by the app"),
    (4, "app_charge_on", "charging switched on by the app"),
    (5, "app_discharge_off", "discharging switched off by the app"),
    (6, "app_discharge_on", "discharging switched on by the app"),
    (7, "remote_charge_off", "charging switched off remotely"),
    (8, "remote_charge_on", "charging switched on remotely"),
    (9, "remote_discharge_off", "discharging switched off remotely"),
    (10, "remote_discharge_on", "discharging switched on remotely"),
    (39, "watchdog", "board restarted by its watchdog"),
    (41, "emergency_on", "emergency mode on, by hand"),
    (42, "emergency_off", "emergency mode off, by hand"),
    (43, "emergency_over", "emergency mode off, by itself"),
    (44, "app_power_off", "board switched off by the app"),
    (45, "button_power_off", "board switched off by its button"),
    (47, "rs485_power_off", "board switched off over RS485"),
    (48, "can_charge_off", "charging switched off over CAN"),
    (49, "can_charge_on", "charging switched on over CAN"),
    (50, "can_discharge_off", "discharging switched off over CAN"),
    (51, "can_discharge_on", "discharging switched on over CAN"),
    (52, "rs485_charge_off", "charging switched off over RS485"),
    (53, "rs485_charge_on", "charging switched on over RS485"),
    (54, "rs485_discharge_off", "discharging switched off over RS485"),
    (55, "rs485_discharge_on", "discharging switched on over RS485"),
    (56, "smart_sleep", "board went to sleep"),
    (59, "clock_set", "clock set"),
    (61, "button_emergency_on", "emergency mode on, by the button"),
    (62, "button_emergency_off", "emergency mode off, by the button"),
    (63, "button_heating", "heating forced by the button"),
    (67, "preset_nmc", "settings reset to the Li-ion preset"),
    (68, "preset_lfp", "settings reset to the LFP preset"),
    (69, "preset_lto", "settings reset to the LTO preset"),
    (70, "remote_emergency_on", "emergency mode on, remotely"),
    (71, "remote_emergency_off", "emergency mode off, remotely"),
)
"""What happened at a moment."""
# fmt: on
_CELLS = (
    (100, Condition.CELL_OVERVOLTAGE),
    (200, Condition.CELL_UNDERVOLTAGE),
)
"""From this code on, one for each of 32 cells."""


def _codes() -> dict[int, JKCode]:
    codes = {code: JKCode(name, text) for code, name, text in _DONE}
    for code, name, text, severity, condition in _PAIRS:
        words = text or in_words(condition)
        codes[code] = JKCode(name, words, severity, condition, False)
        codes[code + 1] = JKCode(
            f"{name}_released", f"{words} over", EventSeverity.INFO, condition, True
        )
    for code, name, text, severity, condition_or_none in _SINGLE:
        codes[code] = JKCode(name, text, severity, condition_or_none, False)
    for first, condition in _CELLS:
        for cell in range(1, 33):
            codes[first + cell - 1] = JKCode(
                str(condition),
                f"{in_words(condition)}, cell {cell}",
                _ALARM,
                condition,
                False,
                cell,
            )
    return codes


CODES: Mapping[int, JKCode] = _codes()
"""By code."""


def meaning_of(code: int) -> JKCode:
    """What a code says; one that nobody has documented is `unknown`."""
    return CODES.get(code) or JKCode("unknown", f"unknown, code {code}")


def board_time(seconds: int) -> datetime:
    """What a clock of these boards means, UTC: it shows the standard time of the place, without
    summer time, and counts from 2020."""
    return datetime.fromtimestamp(seconds + YEAR_2020 + time.timezone, UTC)


def logbook_events(
    entries: Iterable[Mapping[str, Any]], now: datetime | None, uptime: int | None
) -> list[BoardEvent]:
    """The logbook, the oldest first. `uptime` is what the board's counter of running time shows
    `now`: entries are dated by it, as far as that can be."""
    found = [_event("logbook", entry, build(LOG_ENTRY, entry, "entry")) for entry in entries]
    found.sort(key=lambda event: event.running or 0)
    last_boot = max((e.running or 0 for e in found if e.code == _BOOT), default=0)
    return [_dated(event, now, uptime, last_boot) for event in found]


def _event(log: str, entry: Mapping[str, Any], raw: bytes) -> BoardEvent:
    meaning = meaning_of(entry["code"])
    return BoardEvent(
        log=log,
        code=entry["code"],
        running=entry.get("seconds"),
        raw=raw.hex(),
        **meaning._asdict(),
    )


def _dated(
    event: BoardEvent, now: datetime | None, uptime: int | None, last_boot: int
) -> BoardEvent:
    """Time without power is counted nowhere: what was before the latest start is older."""
    running = event.running or 0
    if now is None or uptime is None or running > uptime + _SLACK:
        return event
    source: TimeSource = "latest" if running < last_boot else "reckoned"
    when = now - timedelta(seconds=max(uptime - running, 0))
    return replace(event, time=when.replace(microsecond=0), time_source=source)


_STATES = ("charging_allowed", "discharging_allowed", "balancing_active", "heater")
_MEASURED = (
    *("voltage", "current", "max_cell_voltage", "min_cell_voltage"),
    *("remaining_capacity", "full_capacity"),
    *("max_temperature", "min_temperature", "mosfet_temperature", "heating_current"),
)


def detail_events(
    entries: Sequence[Mapping[str, Any]],
) -> tuple[list[BoardEvent], list[BoardEvent]]:
    """The detail log, the oldest first: its events, and what was only measured."""
    events: list[BoardEvent] = []
    samples: list[BoardEvent] = []
    for entry in entries:
        event = _event("detail_log", entry, build(DETAIL_ENTRY, entry, "entry"))
        values: dict[str, float | bool | int | None] = {k: entry[k] for k in _MEASURED}
        values |= {k: is_set(entry["states"], bit) for bit, k in enumerate(_STATES)}
        values |= {k: entry[k] + 1 for k in ("highest_cell", "lowest_cell")}
        event = replace(event, time=board_time(entry["clock"]), time_source="clock", values=values)
        (samples if entry["code"] == _PERIODIC else events).append(event)
    return events, samples
