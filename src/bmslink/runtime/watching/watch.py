"""What one pack's readings and decisions say beyond themselves: conditions that begin and end,
limits that bind, switches that somebody moved, and the energy that flowed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta

from bmslink.control.decide.decision import Decision
from bmslink.control.decide.limits import LIMITS
from bmslink.events import EventSeverity, PackEvent
from bmslink.jsonable import plain
from bmslink.model import Condition, Reading, Switch
from bmslink.runtime.watching.energy import EnergyMeter
from bmslink.runtime.watching.lasting import SEEN_OVER, OpenConditions
from bmslink.runtime.watching.wording import (
    LISTS,
    Settings,
    condition_data,
    severity_of,
    words_of,
)

__all__ = ["PackWatch"]

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
_FORGOTTEN = 600.0
"""s of readings after which a condition from before a restart counts as over, where nothing more is
said of it: a policy or a limit that there is no more."""


class PackWatch:
    """Of one pack. Times are of the calendar, UTC; clocks are of the loop, s."""

    def __init__(
        self,
        name: str,
        lasting: OpenConditions | None = None,
        settings: Callable[[], Settings] = dict,
    ) -> None:
        """`lasting`: its conditions; `settings`: those of its board, as far as they are known."""
        self.name = name
        self.meter = EnergyMeter()
        self._told = OpenConditions(name) if lasting is None else lasting
        self._settings = settings
        self._began: float | None = None
        """Clock of the first reading."""
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
        yield from self._forgotten(clock, time)

    def _conditions_of(self, reading: Reading, time: datetime) -> Iterator[PackEvent]:
        now: set[str] = set()
        for place in LISTS:
            for condition in getattr(reading, place):
                key = f"{place}/{condition}"
                now.add(key)
                if key not in self._conditions or self._told.carried(key) is not None:
                    yield self._begun(condition, place, key, reading, time)
                self._conditions[key] = time
        if reading.conditions_known:
            carried = {e.key for e in self._told.all_carried() if e.what == "condition"}
            for key in sorted((self._conditions.keys() | carried) - now):
                yield self._ended(key, time)

    def _begun(
        self, condition: Condition, place: str, key: str, reading: Reading, time: datetime
    ) -> PackEvent:
        """It begins, or goes on after a restart."""
        data = condition_data(condition, place, reading, self._settings)
        measured = f" ({data['measured']})" if "measured" in data else ""
        return self._told.event(
            "condition",
            f"{LISTS[place][1]}: {words_of(condition)}{measured}.",
            severity_of(condition, place),
            key=key,
            time=time,
            data=data,
        )

    def _ended(self, key: str, time: datetime) -> PackEvent:
        seen = self._conditions.pop(key, time)
        place, _, name = key.partition("/")
        carried = self._told.carried(key) is not None
        event = self._told.event(
            "condition",
            f"It was over when bmslink looked again after a restart: {words_of(name)}."
            if carried
            else f"It is over: {words_of(name)}.",
            key=key,
            over=True,
            time=time,
            data={"list": place, "condition": name},
        )
        if carried or time - seen <= _LOOKED:
            return event
        told = replace(event, data={**event.data, SEEN_OVER: plain(time)})
        return told.over(time, seen, known=False)

    def _forgotten(self, clock: float, time: datetime) -> Iterator[PackEvent]:
        """What nobody has spoken of since a restart."""
        if self._began is None:
            self._began = clock
        if clock - self._began < _FORGOTTEN:
            return
        for event in self._told.all_carried():
            text = "After a restart nothing says that it lasts."
            yield self._told.event(
                event.what, text, key=event.key, over=True, time=time, data=event.data
            )

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
            if self._told.carried(f"limit/{name}") is not None:
                yield from self._bound_before(name, policy, decision, time)
            if reason == "recovery":
                policy = self._bound.get(name, "")
            if policy == self._bound.get(name, ""):
                self._binding.pop(name, None)
            elif self._binding.get(name, ("",))[0] != policy or name not in self._binding:
                self._binding[name] = (policy, clock, time)
        yield from self._bound_limits(clock, time)

    def _bound_before(
        self, name: str, policy: str, decision: Decision, time: datetime
    ) -> Iterator[PackEvent]:
        """What bound a limit before a restart: it goes on, or something else is said later."""
        for event in self._told.all_carried():
            if event.key == f"limit/{name}":
                before = self._bound[name] = str(event.data.get("policy") or "")
                if policy == before:
                    yield self._bound_event(name, policy, decision, time)

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
