"""What rules remember, as plain values that survive a restart: times are ages."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import msgspec

from bmslink.control.decide.lasting.history import HistoryMemory
from bmslink.control.decide.limits import RampMemory
from bmslink.control.decide.rule import PolicyRule, State
from bmslink.errors import TargetError

__all__ = ["EngineMemory", "read_memory", "restore_rules", "save_rules"]


class TripMemory(msgspec.Struct):
    """Of a rule that tripped, ages in s."""

    cause: str = ""
    latched: bool = False
    tripped: float | None = None
    trips: list[float] = []


class PendingMemory(msgspec.Struct):
    """A rule on its way to a trip, without a value, or with a curve that limits."""

    since: float | None = None
    count: int = 0
    missing_since: float | None = None
    missing: bool = False
    doubted: bool = False
    loaded: bool = False
    fraction: float = 1.0


class EngineMemory(msgspec.Struct):
    """What an engine remembers: everything that makes a restriction last, so that a restart never
    permits more than no restart would.

    Times are ages: how long the program was gone is not known, so none of it counts. What makes a
    restriction end is left out, and begins again. An earlier version saved less.
    """

    tripped: dict[str, TripMemory]
    charge_heat: float
    discharge_heat: float
    stopped: float
    short_circuits: list[float] = []
    seen: list[str] = []
    stop_reason: str = ""
    pending: dict[str, PendingMemory] = {}
    ramps: dict[str, RampMemory] = {}
    pull: float = 0.0
    pulled: float | None = None
    phase: str = ""
    voltage: float | None = None
    """The last one that was heard, V."""
    history: HistoryMemory = msgspec.field(default_factory=HistoryMemory)
    probes: list[str] = []
    content: str = ""
    changed: float | None = None
    silent: float | None = None
    """Since the last good data, or since it waits for them."""


def read_memory(saved: Mapping[str, Any]) -> EngineMemory:
    """What `Engine.save` gave. Raises `TargetError` for anything else."""
    try:
        found = msgspec.convert(saved, EngineMemory)
    except msgspec.ValidationError as exc:
        raise TargetError(f"The saved state of the policies is damaged: {exc}.") from exc
    if not _finite(msgspec.to_builtins(found)):
        raise TargetError("The saved state of the policies is damaged: a number is infinite.")
    return found


def save_rules(pairs: Iterable[tuple[PolicyRule, State]], now: float) -> dict[str, Any]:
    """What the rules remember."""
    tripped, pending, seen = {}, {}, []
    for rule, state in pairs:
        if state.tripped or state.trips:
            tripped[rule.name] = TripMemory(
                state.cause,
                state.latched,
                now - state.tripped_at if state.tripped else None,
                [now - t for t in state.trips],
            )
        waits = PendingMemory(
            _age(state.since, now),
            state.count,
            _age(state.missing_since, now),
            state.missing,
            state.doubted,
            state.loaded,
            state.fraction,
        )
        if waits != _NOTHING:
            pending[rule.name] = waits
        if rule.policy.optional and state.seen:
            seen.append(rule.name)
    plain: dict[str, Any] = msgspec.to_builtins(
        {"tripped": tripped, "pending": pending, "seen": seen}
    )
    return plain


def restore_rules(
    pairs: Iterable[tuple[PolicyRule, State]],
    tripped: Mapping[str, TripMemory],
    pending: Mapping[str, PendingMemory],
    seen: Collection[str],
    now: float,
) -> None:
    """The same back; policies that are gone are left out."""
    for rule, state in pairs:
        state.seen = rule.name in seen
        # curves tripped in 0.1.0, and do not today: nothing would end that
        old = None if rule.curve else tripped.get(rule.name)
        waits = pending.get(rule.name, _NOTHING)
        if old is not None:
            state.trips = [now - age for age in old.trips]
        if old is not None and old.tripped is not None:
            state.tripped, state.latched, state.cause = True, old.latched, old.cause
            state.tripped_at = now - old.tripped
        state.since = None if waits.since is None else now - waits.since
        state.missing_since = None if waits.missing_since is None else now - waits.missing_since
        state.count, state.missing, state.doubted = waits.count, waits.missing, waits.doubted
        state.loaded, state.fraction = waits.loaded, waits.fraction
        state.version += 1


def _finite(saved: Any) -> bool:
    """Whether no number in plain values is nan or infinite: no limit ever recovered from one."""
    if isinstance(saved, dict):
        return all(map(_finite, saved.values()))
    if isinstance(saved, (list, tuple)):
        return all(map(_finite, saved))
    return not isinstance(saved, float) or math.isfinite(saved)


def _age(time: float | None, now: float) -> float | None:
    return None if time is None else now - time


_NOTHING = PendingMemory()
