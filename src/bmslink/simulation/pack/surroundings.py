"""What acts on a simulated pack beside its own guard, and how its board takes commands.

A board that does not hear commands or only pretends to obey, an app, another program that switches,
a restart, a charger that obeys limits or does not, an alternator. All of it is the pack's, so every
protocol has it alike. Times are those of the pack.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

from bmslink.errors import TargetError
from bmslink.model import Switch

__all__ = ["HAPPENINGS", "LIMITS", "Surroundings"]

HAPPENINGS: dict[str, str] = {
    "command_ignored": "command_ignored[:SWITCH]: commands to that switch, or to any, are neither "
    "obeyed nor answered",
    "command_no_effect": "command_no_effect[:SWITCH]: they are acknowledged, and nothing happens",
    "command_late": "command_late[:SECONDS]: they are acknowledged at once and obeyed later (5 s)",
    "reboot": "reboot[:SECONDS]: the board restarts, then or so much later, and keeps its switches",
    "reboot_forgets": "reboot_forgets[:SECONDS]: the same, and every switch is on again",
    "app": "app[:SWITCH:on|off[:SECONDS]]: somebody sets a switch in an app, now or so much "
    "later (charge off)",
    "second_host": "second_host[:SECONDS]: another program switches on again what has been off for "
    "so long (30 s)",
    "disobey": "chargers and loads take no notice of the limits that `limits` gave them",
    "alternator": "alternator[:AMPS]: an alternator charges (60 A) and follows limits slowly; a "
    "charge FET that opens under its current is a load dump",
}
"""Name -> what it does, in one line."""

LIMITS = ("cvl", "ccl", "dcl")
"""What a charger or inverter is told: V, A charging, A discharging."""

_TTL = 10.0
_LONGEST_TTL = 86400.0
_DARK = 2.0  # s that a board is silent while it restarts
_RAMP = 15.0  # A/s by which an alternator follows; 60 A take longer than the 3 s that others get
_FETS = (Switch.CHARGE, Switch.DISCHARGE)


class _Argument(NamedTuple):
    default: float
    low: float
    high: float
    unit: str


_NUMBERS: Mapping[str, _Argument] = {
    "command_late": _Argument(5, 0.001, 600, "seconds"),
    "reboot": _Argument(0, 0, 86400, "seconds"),
    "reboot_forgets": _Argument(0, 0, 86400, "seconds"),
    "second_host": _Argument(30, 0, 86400, "seconds"),
    "alternator": _Argument(60, 1, 1000, "amps"),
}
_COMMANDS = ("command_ignored", "command_no_effect")


class _Event(NamedTuple):
    """What happens once, at a moment of the pack."""

    due: float
    what: str
    """Name of the happening that it belongs to."""
    wishes: Mapping[Switch, bool]


class _PackBody(Protocol):
    """What is asked of the pack."""

    uptime: float
    switches: dict[Switch, bool]
    capacity: float

    def switch(self, switch: Switch, on: bool) -> None:
        """Set a switch at once."""


class Surroundings:
    """What goes on around one pack."""

    def __init__(self, pack: _PackBody) -> None:
        self._pack = pack
        self._numbers: dict[str, float] = {}
        self._switches: dict[str, frozenset[Switch]] = {}
        self._events: list[_Event] = []
        self._off_since: dict[Switch, float] = {}
        self._limits: dict[str, float] = {}
        self._limits_end = -math.inf
        self._alternator = 0.0
        self._dark_until = -math.inf
        self.booted = 0.0
        """When the board started last, in seconds of the pack."""
        self.boots = 1
        """How often it has started."""
        self.load_dumps = 0
        """How often a charge FET opened under the current of an alternator."""
        self.opened_under_load = 0
        """How often a FET opened under more than `break_current`."""
        self._closed: dict[Switch, bool] = {}
        self.commands = 0
        """How many frames with a switch in them came."""
        self.unheard = False
        """Whether the latest frame was not heard by the board, so that it does not answer."""

    # -- what is raised --------------------------------------------------------------------------

    @property
    def active(self) -> tuple[str, ...]:
        """What is in force or still to come."""
        waiting = dict.fromkeys(event.what for event in self._events)
        return tuple(name for name in HAPPENINGS if name in {**self._numbers, **waiting})

    def enable(self, spec: str) -> None:
        """Raise `NAME[:ARGUMENT]`; `TargetError` for what there is not."""
        name, colon, argument = spec.strip().partition(":")
        _check(name)
        if name == "app":
            self._raise_app(argument)
        elif name in _COMMANDS:
            wanted = [_switch(argument)] if colon else list(Switch)
            self._switches[name] = self._switches.get(name, frozenset()) | set(wanted)
            self._numbers[name] = 0.0
        elif name == "disobey":
            if colon:
                raise TargetError(f"The fault {name!r} takes no argument, but has {argument!r}.")
            self._numbers[name] = 0.0
        elif name.startswith("reboot"):
            wait = _number(name, argument if colon else None)
            self._plan(wait, name, dict.fromkeys(Switch, True) if "forgets" in name else {})
        else:
            self._numbers[name] = _number(name, argument if colon else None)

    def disable(self, spec: str) -> None:
        """End it; what still waits for its time does not happen."""
        name, _, _ = spec.strip().partition(":")
        _check(name)
        self._numbers.pop(name, None)
        self._switches.pop(name, None)
        self._events = [event for event in self._events if event.what != name]
        if name == "second_host":
            self._off_since.clear()

    def _raise_app(self, argument: str) -> None:
        parts = (argument or "charge:off").split(":")
        if len(parts) not in (2, 3) or parts[1] not in ("on", "off"):
            raise TargetError("This fault is written app:SWITCH:on|off[:SECONDS].")
        wait = _number("reboot", parts[2]) if len(parts) == 3 else 0.0
        self._plan(wait, "app", {_switch(parts[0]): parts[1] == "on"})

    def _plan(self, wait: float, what: str, wishes: Mapping[Switch, bool]) -> None:
        event = _Event(self._pack.uptime + wait, what, wishes)
        if wait:
            self._events.append(event)
        else:
            self._happen(event)

    # -- commands --------------------------------------------------------------------------------

    @property
    def dark(self) -> bool:
        """Whether the board is silent because it restarts."""
        return self._pack.uptime < self._dark_until

    def command(self, wishes: Mapping[Switch, bool]) -> None:
        """A frame of the protocol sets switches."""
        self.commands += 1
        changed = {switch for switch, on in wishes.items() if self._pack.switches[switch] != on}
        if changed & self._switches.get("command_ignored", frozenset()):
            self.unheard = True
            return
        unmoved = self._switches.get("command_no_effect", frozenset())
        obeyed = {switch: on for switch, on in wishes.items() if switch not in unmoved}
        if "command_late" in self._numbers:
            due = self._pack.uptime + self._numbers["command_late"]
            self._events.append(_Event(due, "command_late", obeyed))
            return
        for switch, on in obeyed.items():
            self._pack.switch(switch, on)

    # -- time ------------------------------------------------------------------------------------

    def advance(self) -> None:
        """The pack has lived a step: what is due happens."""
        now = self._pack.uptime
        due = [event for event in self._events if event.due <= now]
        if due:
            self._events = [event for event in self._events if event.due > now]
            for event in sorted(due, key=lambda event: event.due):
                self._happen(event)
        if "second_host" in self._numbers:
            self._switch_back(now, self._numbers["second_host"])

    def _happen(self, event: _Event) -> None:
        for switch, on in event.wishes.items():
            self._pack.switch(switch, on)
        if event.what.startswith("reboot"):
            self.booted, self.boots = event.due, self.boots + 1
            self._dark_until = event.due + _DARK
            # what it had acknowledged and not done yet is lost
            self._events = [e for e in self._events if e.what != "command_late"]

    def _switch_back(self, now: float, wait: float) -> None:
        for switch in _FETS:
            if self._pack.switches[switch]:
                self._off_since.pop(switch, None)
            elif now - self._off_since.setdefault(switch, now) >= wait:
                self._pack.switch(switch, True)

    # -- current ---------------------------------------------------------------------------------

    def give_limits(self, limits: Mapping[str, float], ttl: float = _TTL) -> None:
        """What charger and load are to obey from now on: `cvl` in V, `ccl` and `dcl` in A. Others
        than those given hold no longer. After `ttl` seconds a limit is dead, and who obeyed it
        lets no current flow; without any, nobody is limited."""
        for name, value in limits.items():
            if name not in LIMITS:
                raise TargetError(f"A limit is {', '.join(LIMITS)}, not {name[:40]!r}.")
            if not 0 <= value <= 10_000:
                raise TargetError(f"{name} is 0 to 10000, not {value:g}.")
        if not 0 < ttl <= _LONGEST_TTL:
            raise TargetError(f"ttl is above 0 and at most {_LONGEST_TTL:g} s, not {ttl:g}.")
        self._limits = dict(limits)
        self._limits_end = self._pack.uptime + ttl

    @property
    def limits(self) -> Mapping[str, float]:
        """What is obeyed now."""
        if self._pack.uptime < self._limits_end:
            return self._limits
        return {"dcl" if name == "dcl" else "ccl": 0.0 for name in self._limits}

    def wanted(self, amps: float, seconds: float, ceiling: Callable[[float], float]) -> float:
        """The current that flows of what charger and load want, A. `ceiling` gives the most that
        keeps the pack at a voltage."""
        limits = {} if "disobey" in self._numbers else self.limits

        def allowed(amps: float) -> float:
            amps = min(max(amps, -limits.get("dcl", math.inf)), limits.get("ccl", math.inf))
            if amps > 0 and "cvl" in limits:
                return min(amps, max(0.0, ceiling(limits["cvl"])))
            return amps

        flows, goal = allowed(amps), self._numbers.get("alternator", 0.0)
        if goal or self._alternator:
            room = min(max(allowed(flows + goal) - flows, 0.0), goal)
            step = _RAMP * seconds
            self._alternator += min(max(room - self._alternator, -step), step)
        return flows + self._alternator

    def counters(self) -> dict[str, int]:
        """What was counted since the simulation began."""
        return {
            "load_dumps": self.load_dumps,
            "opened_under_load": self.opened_under_load,
            "commands": self.commands,
            "boots": self.boots,
        }

    @property
    def break_current(self) -> float:
        """A: above this an opening FET interrupts a current that matters."""
        return max(2.0, 0.02 * self._pack.capacity)

    def watch(self, closed: Mapping[Switch, bool], current: float) -> None:
        """Count the FETs that opened under a current of theirs."""
        for switch, sign in ((Switch.CHARGE, 1), (Switch.DISCHARGE, -1)):
            opened = self._closed.get(switch, True) and not closed[switch]
            if opened and sign * current >= self.break_current:
                self.opened_under_load += 1
                self.load_dumps += switch == Switch.CHARGE and self._alternator > 0
        self._closed = dict(closed)
        if not closed[Switch.CHARGE]:
            self._alternator = 0.0


def _check(name: str) -> None:
    if name not in HAPPENINGS:
        raise TargetError(f"There is no fault {name!r}; known: {', '.join(HAPPENINGS)}.")


def _switch(name: str) -> Switch:
    try:
        return Switch(name)
    except ValueError:
        raise TargetError(
            f"There is no switch {name[:40]!r}; there are {', '.join(Switch)}."
        ) from None


def _number(name: str, text: str | None) -> float:
    argument = _NUMBERS[name]
    if text is None:
        return argument.default
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not argument.low <= value <= argument.high:
        raise TargetError(
            f"The fault {name!r} takes {argument.low:g} to {argument.high:g} {argument.unit}, "
            f"not {text!r}."
        )
    return value
