"""What a board itself remembers of its past: events, counters, and what it reports now.

A board says less than a service that watches it: some number their events and date them by their
own clock, some only count, and some say nothing but what is wrong now. What a protocol does not
have, or nobody has documented, is named in `BoardPast.missing` with the reason.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from bmslink.errors import UsageError
from bmslink.events import EventSeverity
from bmslink.jsonable import plain
from bmslink.model import Condition, Reading

__all__ = ["BoardCounter", "BoardEvent", "BoardPast", "in_words", "reported_now", "so_many"]

TimeSource = Literal["clock", "reckoned", "latest"]
"""Where the time of an event comes from:

* `clock`: the board's own clock, as right or wrong as that is
* `reckoned`: seconds of running since then, counted back from now; right if it has run all along
* `latest`: the same, but it was switched off since, and that time is counted nowhere: it was then
  or earlier
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardEvent:
    """One entry of a board's own log."""

    log: str
    """Which of its logs: `logbook`, `detail_log`, `journal`."""
    name: str
    """What happened, for programs: `boot`, `cell_overvoltage`, `cell_overvoltage_released`, …, and
    `unknown` for a code that nobody has documented."""
    text: str
    """The same in words."""
    code: int | None = None
    """The board's number for it."""
    severity: EventSeverity = EventSeverity.INFO
    """How soon somebody should look, had it happened now."""
    condition: Condition | None = None
    """The condition that began or ended, where it is one."""
    ended: bool | None = None
    """Whether that condition ended; `None` where it is no condition."""
    cell: int | None = None
    """Which cell it is about, from 1."""
    time: datetime | None = None
    """When, UTC; `None` where the board does not say."""
    time_source: TimeSource | None = None
    """Where `time` comes from."""
    running: int | None = None
    """After how many seconds of running since its first power-on, where it counts those."""
    values: Mapping[str, float | bool | int | None] = field(default_factory=dict)
    """What it measured then: V, A, Ah, °C, %, by the names of a reading."""
    raw: str = ""
    """The entry as the board sent it, hexadecimal."""

    def to_dict(self) -> dict[str, Any]:
        """For JSON: all keys, always in the same order."""
        return _named(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardCounter:
    """How often something happened, as the board counts."""

    name: str
    """What it counts, for programs: `cell_overvoltage`, `restarts`."""
    text: str
    """The same in words."""
    count: int
    """How often; a board may count from its first day or from when somebody cleared it."""
    condition: Condition | None = None
    """The condition that is counted, where it is one."""

    def to_dict(self) -> dict[str, Any]:
        """For JSON: all keys, always in the same order."""
        return _named(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardPast:
    """What a board told of its past."""

    target: str | None = None
    """Where it was read from."""
    name: str | None = None
    """What bmslink.toml calls the pack."""
    protocol: str = ""
    """As in targets."""
    time: datetime | None = None
    """When it was read, UTC."""
    clock: datetime | None = None
    """What its clock showed then, UTC, where it dates its log by one."""
    events: tuple[BoardEvent, ...] = ()
    """The entries of its logs, each log the oldest first."""
    samples: tuple[BoardEvent, ...] = ()
    """Entries of its logs that are no events: what it measured every hour or so."""
    counters: tuple[BoardCounter, ...] = ()
    """Its counters."""
    now: tuple[BoardEvent, ...] | None = None
    """The conditions that it reports now; `None` where it does not say."""
    missing: Mapping[str, str] = field(default_factory=dict)
    """`events`, `counters`, `logbook`, … that are not here, and why."""

    def to_dict(self) -> dict[str, Any]:
        """For JSON: all keys, always in the same order."""
        return _named(self)


_MOST = 1000


def so_many(limit: object) -> int:
    """How many entries are asked for; `UsageError` unless it is 1 to 1000."""
    if isinstance(limit, int) and not isinstance(limit, bool) and 1 <= limit <= _MOST:
        return limit
    given = limit if isinstance(limit, int | float) else type(limit).__name__
    raise UsageError(f"past(): the limit is 1 to {_MOST} entries, not {given}.")


def _named(record: BoardEvent | BoardCounter | BoardPast) -> dict[str, Any]:
    return {f.name: _plain(getattr(record, f.name)) for f in dataclasses.fields(record)}


def _plain(value: Any) -> Any:
    if isinstance(value, BoardEvent | BoardCounter):
        return value.to_dict()
    return [_plain(each) for each in value] if isinstance(value, tuple) else plain(value)


def in_words(condition: Condition) -> str:
    """A condition as people write it."""
    return _WORDS.get(condition) or str(condition).replace("_", " ")


_WORDS = {
    Condition.AFE: "measuring chip",
    Condition.CHARGE_MOSFET: "charge FET",
    Condition.DISCHARGE_MOSFET: "discharge FET",
    Condition.EEPROM: "EEPROM",
    Condition.SOC_LOW: "low state of charge",
    Condition.SOC_HIGH: "high state of charge",
    Condition.SOH_LOW: "low state of health",
    Condition.OTHER: "a condition without a name",
}
_LISTS = (
    ("alarms", EventSeverity.WARNING),
    ("protections", EventSeverity.ALARM),
    ("faults", EventSeverity.CRITICAL),
)
_UNMAPPED = (
    *("alarm_bits", "protection_bits", "fault_bits", "battery_status_bits"),
    *("failure_bits_unknown", "fault_bits_unknown", "fault_code"),
)
"""Where readings keep what has no name; only lists and numbers do, text is a whole word."""


def reported_now(reading: Reading) -> tuple[BoardEvent, ...] | None:
    """The conditions in a reading as events that last; `None` where the board says of none."""
    found = [
        BoardEvent(
            log="now",
            name=str(condition),
            text=f"{in_words(condition)} ({kind.removesuffix('s')})",
            severity=severity,
            condition=condition,
            ended=False,
        )
        for kind, severity in _LISTS
        for condition in getattr(reading, kind)
    ]
    found += _unknown_bits(reading)
    return tuple(found) if found or reading.conditions_known else None


def _unknown_bits(reading: Reading) -> Iterable[BoardEvent]:
    """Bits that are set and have no name: shown as they are."""
    for key in _UNMAPPED:
        bits = reading.raw.get(key)
        if not bits or isinstance(bits, str):
            continue
        listed = ", ".join(map(str, bits)) if isinstance(bits, list | tuple) else str(bits)
        name = key.removesuffix("_unknown").replace("_", " ")
        yield BoardEvent(log="now", name="unknown", text=f"unknown: {name} {listed}", raw=listed)
