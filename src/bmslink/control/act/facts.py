"""What one reading says of the switches, as far as acting needs it."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from bmslink.control.decide.decision import Decision
from bmslink.control.decide.quantities import blocked_by
from bmslink.model import Condition, Reading

__all__ = ["SwitchFacts", "facts_of", "states_of"]


class SwitchFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Of one reading that came in this cycle."""

    charge: bool | None = None
    """How the board shows the switch; `None`: it does not, or not now."""
    discharge: bool | None = None
    balance: bool | None = None
    protected: tuple[str, ...] = ()
    """The paths (`charge`, `discharge`, `balance`) that a protection of the BMS closes."""
    good: bool = True
    """Fresh, and nothing of it suspect."""
    current: float | None = None
    """A, positive while charging; `None`: not measured, or its direction is not known."""
    uptime: float | None = None
    """How long the BMS has been running, s."""
    greeted: bool = False
    """The link was opened anew since the reading before: the board may have restarted."""
    alarms: frozenset[str] = frozenset()
    """All that the BMS complains of."""

    def shown(self, name: str) -> bool | None:
        """How the board shows one switch."""
        found: bool | None = getattr(self, name)
        return found


_NOT_GOOD = frozenset({"suspect", "stale", "frozen"})


def facts_of(
    reading: Reading,
    decision: Decision,
    *,
    states: Mapping[str, bool | None] | None = None,
    greeted: bool = False,
) -> SwitchFacts:
    """The facts of a reading and of what was decided on it. `states`: how the board showed
    switches when it was asked for nothing else, newer than the reading."""
    told = (*reading.alarms, *reading.protections, *reading.faults)
    protected = _protected(reading) if told else ()
    shown = _states(reading, told, protected)
    if states:
        shown |= {name: on for name, on in states.items() if on is not None and name in shown}
    quality = decision.quality
    known = quality.get("current") == "good"
    return SwitchFacts(
        **shown,
        protected=protected,
        good=not decision.stale and _NOT_GOOD.isdisjoint(quality.values()),
        current=reading.current if known else None,
        uptime=reading.uptime,
        greeted=greeted,
        alarms=frozenset(map(str, told)),
    )


def states_of(reading: Reading) -> dict[str, bool | None]:
    """How a reading shows each switch; `None`: it does not say."""
    told = (*reading.alarms, *reading.protections, *reading.faults)
    return _states(reading, told, _protected(reading) if told else ())


def _states(
    reading: Reading, told: tuple[Condition, ...], protected: tuple[str, ...]
) -> dict[str, bool | None]:
    """The same where it is known what the BMS complains of, and which paths it closes."""
    lock = Condition.SOFTWARE_LOCK in told
    ways = {
        "charge": (reading.charge_switch, reading.charging_allowed),
        "discharge": (reading.discharge_switch, reading.discharging_allowed),
        "balance": (reading.balance_switch, None),
    }
    beside = {"charge": reading.discharging_allowed, "discharge": reading.charging_allowed}
    return {
        name: _shown(
            *ways[name],
            blocked=name in protected or not reading.conditions_known,
            locked=lock and beside.get(name) is True,
        )
        for name in ways
    }


def _protected(reading: Reading) -> tuple[str, ...]:
    return tuple(name for name in ("charge", "discharge", "balance") if blocked_by(name, reading))


def _shown(
    switch: bool | None, conducts: bool | None, *, blocked: bool, locked: bool
) -> bool | None:
    """How a switch is, from the switch and the FET. `blocked`: something else may keep the FET
    open. `locked`: a command keeps one FET open, and it is not the other one."""
    if conducts:
        return True  # whatever the switch says: current can flow
    if switch is not None:
        return switch
    if conducts is None or (blocked and not locked):
        return None
    return False
