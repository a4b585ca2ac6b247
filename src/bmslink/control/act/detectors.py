"""What goes on although it was limited or switched off. Pure.

*Limit disobeyed*: the current stays beyond its limit while what limits it answers. The switch opens
in its place (`reconcile(detected=...)`), and the third time within an hour it stays open until a
person has looked. *Flows on*: current in a direction whose switch is off by us and was read back as
off. That is an alarm: there is no second switch. (A command that the board does not show at all is
`no_effect`, of the reconciler; a protection of the BMS that did not trip is a policy.)
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from bmslink.control.act.facts import SwitchFacts
from bmslink.control.act.messages import Remark
from bmslink.control.decide.decision import Limits
from bmslink.control.decide.limits import Reason

__all__ = ["DISOBEYED", "CurrentWatch", "Detected", "detect", "load_watch", "release", "save_watch"]

DISOBEYED = "limit_disobeyed"
"""The holder that a disobeyed limit is."""
_LEAST, _SHARE = 2.0, 0.05
"""How far beyond a limit is too far, A or of it."""
_PATIENCE = 10.0
"""For how long, s."""
_CALM = 60.0
"""How long it holds after that at least, s; the switch is then given back by its own rules."""
_WINDOW, _MOST = 3600.0, 3
"""So many times within so many s: a person has to look."""
_POLLS = 2
_DIRECTIONS = (("charge", "ccl", 1.0), ("discharge", "dcl", -1.0))


class Direction(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of the current in one direction."""

    beyond: float | None = None
    """Since when it is beyond its limit."""
    disobeyed: tuple[float, ...] = ()
    """When it was for too long, within the last hour."""
    text: str = ""
    """Why the switch is held open; empty: it is not."""
    latched: bool = False
    """Until a person has looked."""
    flows: int = 0
    """Readings with current though the switch is off by us."""


_CALM_DIRECTION = Direction()


class CurrentWatch(msgspec.Struct, frozen=True, kw_only=True):
    """What the detectors know of a pack."""

    charge: Direction = _CALM_DIRECTION
    discharge: Direction = _CALM_DIRECTION


class Detected(NamedTuple):
    """What one cycle gives."""

    watch: CurrentWatch
    holds: dict[str, Reason]
    """Switch -> why it is to open: `detected` of `reconcile`."""
    remarks: list[Remark]


def detect(
    watch: CurrentWatch,
    limits: Limits,
    facts: SwitchFacts | None,
    alive: Mapping[str, bool],
    off: Mapping[str, bool],
    now: float,
) -> Detected:
    """One cycle. `limits`: what was published last. `off`: switch -> whether it is off by us, and
    was read back. `now` in monotonic seconds. Without a reading nothing is found, and nothing
    ends."""
    holds: dict[str, Reason] = {}
    remarks: list[Remark] = []
    found = {}
    for name, limit, sign in _DIRECTIONS:
        before: Direction = getattr(watch, name)
        state = before
        if facts is not None:
            flowing = None if facts.current is None else max(0.0, sign * facts.current)
            allowed = getattr(limits, limit).value
            state = _limited(name, state, flowing, allowed, alive.get(name, False), now, remarks)
            state = _flows(name, state, flowing, off.get(name, False), remarks)
        if state.text:
            holds[name] = Reason(DISOBEYED, 0.0, state.text)
        if state is not before:
            found[name] = state
    return Detected(msgspec.structs.replace(watch, **found) if found else watch, holds, remarks)


def _limited(
    name: str,
    state: Direction,
    flowing: float | None,
    allowed: float,
    alive: bool,
    now: float,
    remarks: list[Remark],
) -> Direction:
    change = msgspec.structs.replace
    if flowing is None:
        return state if state.beyond is None else change(state, beyond=None)
    if flowing <= allowed + max(_LEAST, _SHARE * allowed) or not alive:
        if state.beyond is not None:
            state = change(state, beyond=None)
        over = state.text and not state.latched and now - state.disobeyed[-1] >= _CALM
        return change(state, text="") if over else state
    if state.beyond is None:
        return change(state, beyond=now)
    if now - state.beyond < _PATIENCE:
        return state
    times = (*(t for t in state.disobeyed if now - t < _WINDOW), now)
    if state.text:  # it goes on: the time of it does, too
        return change(state, beyond=now, disobeyed=(*state.disobeyed[:-1], now))
    latched = len(times) >= _MOST
    text = (
        f"{flowing:.1f} A of {name} current flowed for {_PATIENCE:g} s at a limit of {allowed:g} A"
    )
    if latched:
        text += f", for the {len(times)}rd time within an hour"
    remarks.append(Remark(what=DISOBEYED, actuator=name, text=f"{text}.", alarm=True))
    return change(state, beyond=now, disobeyed=times, text=text, latched=latched)


def _flows(
    name: str, state: Direction, flowing: float | None, off: bool, remarks: list[Remark]
) -> Direction:
    if flowing is None:
        return state
    if not off or flowing <= _LEAST:
        return msgspec.structs.replace(state, flows=0) if state.flows else state
    count = min(state.flows + 1, _POLLS + 1)
    if count == _POLLS:
        text = f"{flowing:.1f} A of {name} current flow although {name} is off and was read back."
        remarks.append(Remark(what="flows_on", actuator=name, text=text, alarm=True))
    return state if count == state.flows else msgspec.structs.replace(state, flows=count)


def release(watch: CurrentWatch, name: str) -> CurrentWatch:
    """A person has looked: what was disobeyed no longer holds `charge` or `discharge`."""
    calm = msgspec.structs.replace(getattr(watch, name), text="", latched=False, disobeyed=())
    return msgspec.structs.replace(watch, **{name: calm})


class _SavedDirection(msgspec.Struct, kw_only=True):
    disobeyed: list[float] = []
    text: str = ""
    latched: bool = False


class _SavedWatch(msgspec.Struct, kw_only=True):
    charge: _SavedDirection = msgspec.field(default_factory=_SavedDirection)
    discharge: _SavedDirection = msgspec.field(default_factory=_SavedDirection)


def save_watch(watch: CurrentWatch, now: float) -> dict[str, Any]:
    """What holds over a restart, with ages for times."""
    saved = {}
    for name, _, _ in _DIRECTIONS:
        state: Direction = getattr(watch, name)
        ages = [now - t for t in state.disobeyed]
        saved[name] = {"disobeyed": ages, "text": state.text, "latched": state.latched}
    return saved


def load_watch(saved: Any, now: float) -> CurrentWatch:
    """The same back. `ValueError` for what `save_watch` did not give."""
    found = msgspec.convert(saved, _SavedWatch)
    states = {}
    for name, _, _ in _DIRECTIONS:
        state: _SavedDirection = getattr(found, name)
        if not all(math.isfinite(age) and age >= 0 for age in state.disobeyed):
            raise ValueError("a time is none")
        if state.text and not state.disobeyed:
            raise ValueError("what holds has no time")
        times = tuple(now - age for age in state.disobeyed)
        states[name] = Direction(disobeyed=times, text=state.text, latched=state.latched)
    return CurrentWatch(**states)
