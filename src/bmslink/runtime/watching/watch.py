"""What one pack's readings and decisions say beyond themselves: conditions that begin and end,
limits that bind, switches that somebody moved, and the energy that flowed."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import datetime, timedelta

from bmslink.control.decide.decision import Decision
from bmslink.control.decide.limits import LIMITS
from bmslink.events import EventSeverity, PackEvent
from bmslink.model import Condition, Reading, Switch
from bmslink.runtime.watching.conditions import OpenConditions
from bmslink.runtime.watching.energy import EnergyMeter

__all__ = ["LISTS", "PackWatch"]

LISTS = {
    "alarms": (EventSeverity.WARNING, "The BMS warns"),
    "protections": (EventSeverity.ALARM, "The BMS has tripped"),
    "faults": (EventSeverity.ALARM, "The BMS reports a fault"),
}
"""List of a reading -> how bad what is in it is, and how it is said."""
_HARMLESS = {Condition.FULLY_CHARGED, Condition.SOC_HIGH}
_WORST = {Condition.SHORT_CIRCUIT}
_UNBOUND = {"rating", "charge_voltage", "discharge_voltage", "recovery"}
"""Reasons of a limit that nothing lowers, or that only recovers."""
_LIMIT_NAMES = {
    "cvl": ("The charge voltage", "V"),
    "ccl": ("The charge current", "A"),
    "dcl": ("The discharge current", "A"),
    "dvl": ("The discharge voltage", "V"),
}
_SETTLED = 10.0
"""s for which another reason has to bind a limit before it is told."""
_LOOKED = timedelta(seconds=60)
"""What ended in a longer gap between two readings ended at a time that nobody knows."""
_OURS = 15.0
"""s between a command of ours and a switch that it moved, at most."""


class PackWatch:
    """Of one pack. Times are of the calendar, UTC; clocks are of the loop, s."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.meter = EnergyMeter()
        self._told = OpenConditions(name)
        self._conditions: dict[str, datetime] = {}
        """Key -> when it was seen last."""
        self._switches: dict[Switch, bool] = {}
        self._moved: list[tuple[Switch, bool, float, datetime]] = []
        self._commanded: dict[Switch, float] = {}
        self._bound: dict[str, str] = {}
        self._binding: dict[str, tuple[str, float, datetime]] = {}
        self._decision: Decision | None = None

    # -- readings --------------------------------------------------------------------------------

    def heard(self, reading: Reading, clock: float, time: datetime) -> Iterator[PackEvent]:
        """What a reading brings that is new."""
        self.meter.hear(clock, time, reading.voltage, reading.current)
        yield from self._conditions_of(reading, time)
        yield from self._moved_switches(reading, clock, time)
        yield from self._bound_limits(clock, time)

    def _conditions_of(self, reading: Reading, time: datetime) -> Iterator[PackEvent]:
        now: set[str] = set()
        for place, (severity, said) in LISTS.items():
            for condition in getattr(reading, place):
                key = f"{place}/{condition}"
                now.add(key)
                if key not in self._conditions:
                    yield self._told.event(
                        "condition",
                        f"{said}: {_words(condition)}{_measured(condition, reading)}.",
                        _severity(condition, severity),
                        key=key,
                        time=time,
                        data={"list": place, "condition": str(condition)},
                    )
                self._conditions[key] = time
        if reading.conditions_known:
            for key in self._conditions.keys() - now:
                yield self._ended(key, time)

    def _ended(self, key: str, time: datetime) -> PackEvent:
        seen = self._conditions.pop(key)
        place, _, name = key.partition("/")
        event = self._told.event(
            "condition",
            f"It is over: {_words(name)}.",
            key=key,
            over=True,
            time=time,
            data={"list": place, "condition": name},
        )
        return event if time - seen <= _LOOKED else event.over(time, seen, known=False)

    def _moved_switches(
        self, reading: Reading, clock: float, time: datetime
    ) -> Iterator[PackEvent]:
        """Switches that moved. A reading may show it before the command of ours has ended that
        moved it, so whose it was is told a while later."""
        for switch in Switch:
            shown = getattr(reading, switch.key)
            before = self._switches.get(switch)
            if shown is None or shown == before:
                continue
            self._switches[switch] = shown
            if before is not None:
                self._moved.append((switch, shown, clock, time))
        while self._moved:
            switch, shown, when, seen = self._moved[0]
            ours = abs(self._commanded.get(switch, -math.inf) - when) <= _OURS
            if not ours and clock - when <= _OURS:
                return
            del self._moved[0]
            yield self._told.event(
                "switch",
                f"The {switch} switch is {'on' if shown else 'off'} now"
                + (", after a command of bmslink." if ours else "; bmslink did not switch it."),
                EventSeverity.INFO if ours else EventSeverity.WARNING,
                time=seen,
                data={"switch": str(switch), "on": shown, "foreign": not ours},
            )

    # -- decisions -------------------------------------------------------------------------------

    def decided(self, decision: Decision, clock: float, time: datetime) -> Iterator[PackEvent]:
        """What a decision brings that is new."""
        self._decision = decision
        for name in LIMITS:
            reason = getattr(decision.limits, name).reasons[0].policy
            policy = "" if reason in _UNBOUND else reason
            if reason == "recovery":
                policy = self._bound.get(name, "")
            if policy == self._bound.get(name, ""):
                self._binding.pop(name, None)
            elif self._binding.get(name, ("",))[0] != policy or name not in self._binding:
                self._binding[name] = (policy, clock, time)
        yield from self._bound_limits(clock, time)

    def _bound_limits(self, clock: float, time: datetime) -> Iterator[PackEvent]:
        """What binds a limit, once it has done so for a while."""
        for name, (policy, began, since) in [*self._binding.items()]:
            if clock - began < _SETTLED or self._decision is None:
                continue
            del self._binding[name]
            self._bound[name] = policy
            yield self._bound_event(name, policy, self._decision, since)

    def _bound_event(
        self, name: str, policy: str, decision: Decision, since: datetime
    ) -> PackEvent:
        limit = getattr(decision.limits, name)
        title, unit = _LIMIT_NAMES[name]
        data = {"limit": name, "value": limit.value, "policy": policy or None}
        if not policy:
            text = f"{title} is no longer limited: {limit.value:g} {unit}."
            return self._told.event(
                "limit", text, key=f"limit/{name}", over=True, time=since, data=data
            )
        why = next((each.text for each in limit.reasons if each.policy == policy), "")
        text = f"{title} is limited to {limit.value:g} {unit} by {policy}" + (
            f": {why}." if why else "."
        )
        return self._told.event("limit", text, key=f"limit/{name}", time=since, data=data)

    # -- events of others ------------------------------------------------------------------------

    def told(self, event: PackEvent, clock: float) -> None:
        """What somebody else told of this pack."""
        if event.key == "state" and event.until is None:
            self.meter.blind()
        if event.what not in _COMMANDS:
            return
        for switch in Switch:
            if event.data.get("actuator") == switch or switch.key in event.data.get("keys", ()):
                self._commanded[switch] = clock


_COMMANDS = ("change", "acting")


def _severity(condition: Condition, usual: EventSeverity) -> EventSeverity:
    if condition in _HARMLESS:
        return EventSeverity.INFO
    return EventSeverity.CRITICAL if condition in _WORST else usual


def _words(condition: str) -> str:
    if condition == Condition.OTHER:
        return "something that bmslink has no name for"
    return condition.replace("_", " ")


def _measured(condition: Condition, reading: Reading) -> str:
    """The value that such a condition is about, where there is one."""
    name = str(condition)
    if name.startswith("cell_overvoltage"):
        return _value("the highest cell has", reading.max_cell_voltage, "V")
    if name.startswith("cell_undervoltage"):
        return _value("the lowest cell has", reading.min_cell_voltage, "V")
    if name == "cell_delta":
        return _value("the cells differ by", reading.cell_delta, "V")
    if name.startswith("pack_") or name == "fully_charged":
        return _value("the pack has", reading.voltage, "V")
    if name.endswith("overcurrent"):
        return _value("the current is", reading.current, "A")
    if name.startswith("soc"):
        return _value("the charge is", reading.soc, "%")
    return ""


def _value(words: str, value: float | None, unit: str) -> str:
    return "" if value is None else f" ({words} {value:g} {unit})"
