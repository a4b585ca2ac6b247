"""One pack as this monitor sees it: the latest reading, how fresh it is, and what happened
to it.

Times without a name are of one steady clock, in seconds; the wall clock is passed in for what
people read.
"""

from __future__ import annotations

import copy
import math
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal

from bmslink.cli.dashboard.model.memory import SeenHistory
from bmslink.cli.dashboard.model.words import short
from bmslink.events import EventSeverity, PackEvent
from bmslink.model import Condition, Identity, Reading

__all__ = ["ConditionSeen", "Freshness", "WatchedPack"]

Freshness = Literal["waiting", "live", "late", "silent", "lost", "ended"]
"""`late`: nothing came for too long and no error says why; `ended`: a recording that is over."""
_EVENTS = 300
_LISTS = (
    ("faults", "fault", EventSeverity.CRITICAL),
    ("protections", "protection", EventSeverity.ALARM),
    ("alarms", "alarm", EventSeverity.WARNING),
)
_SWITCHES = ("charge", "discharge", "balance")


@dataclass(frozen=True, slots=True)
class ConditionSeen:
    """A condition that the board reports now."""

    kind: str
    """`fault`, `protection` or `alarm`."""
    name: str
    """As in readings: `cell_overvoltage`."""
    since: datetime
    """When it was seen first."""
    before: bool
    """It was there already when this monitor began: it may be older."""


@dataclass(slots=True)
class WatchedPack:
    """What is known about one pack."""

    name: str
    """As people call it: its name in bmslink.toml, else its target."""
    target: str
    interval: float = 1.0
    """s between two readings."""
    beat: float = 0.0
    """The same, of the service that reads it; 0 where none does."""
    identity: Identity | None = None
    reading: Reading | None = None
    received: float | None = None
    """When the reading was taken, as far as is known."""
    error: str = ""
    """Why the latest try gave none."""
    link_lost: bool = False
    """The link is gone; else only the answer was missing."""
    over: bool = False
    """Nothing more will come."""
    through: str = ""
    """Who owns its line, where that is a service."""
    other: str = ""
    """How the board that answers now differs from the one from before; empty: it does not."""
    other_since: datetime | None = None
    remark: str = ""
    """What is to know of its name or its recording."""
    history: SeenHistory = field(default_factory=SeenHistory)
    conditions: dict[str, ConditionSeen] = field(default_factory=dict)
    """Key (`protections/cell_overvoltage`) -> since when."""
    events: deque[PackEvent] = field(default_factory=lambda: deque(maxlen=_EVENTS))
    """What this monitor saw, the latest last."""
    settings: Any = None
    """Its settings as they were read last (`SettingsSnapshot`); `None`: not yet."""
    settings_error: str = ""
    settings_at: datetime | None = None
    limits: Mapping[str, Any] = field(default_factory=dict)
    """What its policies decided last, as JSON values; empty where it has none."""
    bank: Mapping[str, Any] = field(default_factory=dict)
    """The bank that its service has it in, with the limits of that; empty where there is none."""
    policies: str = ""
    """Which policies judge it, and where."""
    link: Mapping[str, Any] = field(default_factory=dict)
    """The counters of its link."""
    recording: tuple[float, float, float] | None = None
    """Of a recording: where it is, how long it is (s), and its speed."""
    _began: bool = False

    # ------------------------------------------------------------------------------ what comes in

    def take(self, reading: Reading, now: float, clock: datetime, old: float = 0.0) -> None:
        """A reading came, which is `old` s old already."""
        if self.error:
            self._note("link_back", "It answers again.", clock)
        self._compare(reading, clock)
        self.reading, self.received, self.error, self.link_lost = reading, now - old, "", False
        self.history.add(now, reading)
        self._began = True

    def fail(self, sentence: str, now: float, clock: datetime, *, lost: bool) -> None:
        """No reading came."""
        if not self.error or lost is not self.link_lost:
            what = "link_lost" if lost else "silent"
            self._note(what, sentence, clock, EventSeverity.ALARM)
        self.error, self.link_lost = sentence, lost
        self.history.gap(now)

    def end(self, clock: datetime) -> None:
        """The recording is over."""
        if not self.over:
            self.over = True
            self._note("ended", "The recording is over.", clock)

    def meet(self, identity: Identity, differs: str, clock: datetime) -> None:
        """Who answers. `differs`: how it is another board than before; then nothing of what was
        known still holds."""
        self.identity = identity
        if not differs:
            return
        self.other, self.other_since = differs, clock
        self._note(
            "board_replaced", f"Another board answers: {differs}.", clock, EventSeverity.ALARM
        )
        self.history.forget()
        self.conditions, self._began = {}, False
        self.reading = self.received = self.settings = self.settings_at = None
        self.settings_error = ""

    def accept(self, clock: datetime) -> None:
        """A person saw that it is another board."""
        if self.other:
            self.other, self.other_since = "", None
            self._note("board_confirmed", "The other board was accepted here.", clock)

    def call(self, name: str, remark: str, clock: datetime) -> None:
        """Its name changed, or what the name means."""
        if name != self.name:
            self._note("renamed", f"It was called {self.name} and is called {name} now.", clock)
        elif remark and remark != self.remark:
            self._note("renamed", remark, clock, EventSeverity.WARNING)
        self.name, self.remark = name, remark

    def tell(
        self, what: str, text: str, clock: datetime, severity: EventSeverity = EventSeverity.INFO
    ) -> None:
        """Something else happened: a person changed or switched something here."""
        self._note(what, text, clock, severity)

    def correct(self, events: Iterable[PackEvent]) -> None:
        """Since when conditions hold, by who watched this pack for longer."""
        for event in events:
            seen = self.conditions.get(event.key)
            if seen is not None and event.open and event.since is not None:
                self.conditions[event.key] = replace(seen, since=event.since, before=False)

    def _note(
        self, what: str, text: str, clock: datetime, severity: EventSeverity = EventSeverity.INFO
    ) -> None:
        self.events.append(PackEvent(what, text, severity, self.name, clock))

    def _compare(self, reading: Reading, clock: datetime) -> None:
        """What began and what is over since the reading before, conditions and switches."""
        now = {
            f"{field}/{name}": (kind, name, severity)
            for field, kind, severity in _LISTS
            for name in getattr(reading, field)
        }
        for key in [key for key in self.conditions if key not in now]:
            seen = self.conditions.pop(key)
            event = PackEvent(
                "condition",
                f"{seen.kind} over: {short(seen.name)}",
                EventSeverity.INFO,
                self.name,
                clock,
                key,
                seen.since,
                clock,
            )
            self.events.append(event)
        for key, (kind, name, severity) in now.items():
            if key in self.conditions:
                continue
            self.conditions[key] = ConditionSeen(kind, name, clock, before=not self._began)
            text = f"{kind}: {short(name)}"
            event = PackEvent("condition", text, severity, self.name, clock, key, clock)
            self.events.append(event)
        if self.reading is not None:
            self._compare_switches(self.reading, reading, clock)

    def _compare_switches(self, before: Reading, after: Reading, clock: datetime) -> None:
        for name in _SWITCHES:
            was, on = (getattr(r, f"{name}_switch") for r in (before, after))
            if None not in (was, on) and was != on:
                self._note("switch", f"{name} was switched {'on' if on else 'off'}.", clock)
        for name in ("charging", "discharging"):
            was, on = (getattr(r, f"{name}_allowed") for r in (before, after))
            if None not in (was, on) and was != on:
                state = "conducts" if on else "is open"
                self._note("fet", f"The {name.removesuffix('ing')}e FET {state}.", clock)

    # -------------------------------------------------------------------------------- what it says

    def age(self, now: float) -> float:
        """Seconds since the reading came."""
        return math.inf if self.received is None else max(0.0, now - self.received)

    def freshness(self, now: float) -> Freshness:
        """Whether the reading says how the pack is now, and if not, why."""
        if self.over:
            return "ended"
        if self.error:
            return "lost" if self.link_lost else "silent"
        if self.reading is None:
            return "waiting"
        return "late" if self.age(now) > 3 * max(self.interval, self.beat) + 2 else "live"

    def wrong(self) -> Iterator[ConditionSeen]:
        """What is wrong, worst first; to be full is nothing wrong."""
        order = ("fault", "protection", "alarm")
        found = [c for c in self.conditions.values() if c.name != Condition.FULLY_CHARGED]
        yield from sorted(found, key=lambda c: (order.index(c.kind), c.since, c.name))

    def off(self) -> list[str]:
        """What is switched off or does not conduct, in words."""
        reading = self.reading
        if reading is None:
            return []
        found = [f"{n} off" for n in _SWITCHES if getattr(reading, f"{n}_switch") is False]
        for name, conducts in (
            ("charge", reading.charging_allowed),
            ("discharge", reading.discharging_allowed),
        ):
            if conducts is False and f"{name} off" not in found:
                found.insert(0, f"{name} FET open")
        return found

    def frozen(self) -> WatchedPack:
        """As it is now, for who wants to look at it in peace."""
        other = copy.copy(self)
        other.conditions, other.events = dict(self.conditions), self.events.copy()
        other.history = self.history.copy()
        return other
