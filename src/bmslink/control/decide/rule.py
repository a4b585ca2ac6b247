"""The one mechanism behind every policy: trip, release, delays, lockout, latch, what is missing.

```
          beyond `trip`, on_delay and samples
  armed ────────────────────────────────────────▶ tripped ──── too many trips, ──▶ latched
    ▲                                                │         or reset = manual      │
    └── inside `release` for off_delay, min_off over ┘◀── a person, cause gone ───────┘
```

A derating curve has no state: it is the fraction that the last good value leaves. Trips are the
only state machine. Between release and trip nothing changes. Only a fresh, good value releases; a
suspect, missing or old one holds what is. What began as a violation and no later reading refutes
counts as confirmed; silence neither confirms nor refutes it.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from bmslink.control.decide.policy import Policy, Severity
from bmslink.control.decide.quantities import Gate, Quantity
from bmslink.control.decide.sample import Quality, Sample

__all__ = [
    "PolicyRule",
    "PolicyTiming",
    "State",
    "advance",
    "at_ease",
    "fraction_at",
    "goes_on",
    "goes_on_dark",
    "in_words",
    "pass_over",
    "reset",
    "unmeasured",
]

GOOD, SUSPECT, MISSING, STALE = Quality.GOOD, Quality.SUSPECT, Quality.MISSING, Quality.STALE


class PolicyTiming(msgspec.Struct, frozen=True):
    """What follows from the poll period, s."""

    stale_after: float
    """Data older than this raises nothing (S1)."""
    derate_after: float
    """Data older than this lowers the limits (S2)."""
    confirm_within: float
    """A violation that no reading refutes for so long is confirmed; and so much of the time between
    two readings that both show it counts."""

    @staticmethod
    def of(poll: float) -> PolicyTiming:
        """The times for a pack that is read every `poll` seconds."""
        stale = max(3 * poll, 2.0)
        return PolicyTiming(
            stale_after=stale,
            derate_after=max(10.0, stale),
            confirm_within=max(min(3 * poll, 5.0), 2 * poll),
        )


class PolicyRule(msgspec.Struct, frozen=True, kw_only=True):
    """A policy with every number known. Values times `sign` grow towards the danger."""

    policy: Policy
    name: str
    quantity: Quantity
    source: int
    """Which measured value it judges (engine)."""
    timeless: bool
    """Known without a sample: the age of the data, an emergency stop."""
    gate: Gate | None
    release_gate: Gate | None
    """In it the rule is released as well."""
    sign: int
    trip: float
    """Signed."""
    release: float
    on_delay: float
    load_delay: float
    curve: tuple[tuple[float, float], ...] | None
    """Signed quantity and fraction, by rising quantity."""
    most: float = 1.0
    """What the curve leaves at most."""
    basis: str
    """Where the threshold comes from, in words; empty: from the policy."""
    acts: bool
    """It has a say in what is decided."""


class State(msgspec.Struct, kw_only=True):
    """What a rule remembers."""

    tripped: bool = False
    latched: bool = False
    """Stays until a person resets it."""
    tripped_at: float = 0.0
    trips: list[float] = []
    since: float | None = None
    """When the value went beyond the threshold."""
    count: int = 0
    """Good samples beyond it."""
    inside: float | None = None
    """Since when the release condition has held."""
    refuted: int = 0
    """Good samples inside the release condition."""
    missing_since: float | None = None
    missing: bool = False
    """`on_missing` applies."""
    doubted: bool = False
    """It was measured, and is not to be trusted."""
    seen: bool = False
    fraction: float = 1.0
    """What the curve leaves."""
    value: float | None = None
    """The last good value."""
    applies: bool = False
    """Whether its gate was open for that value."""
    loaded: bool = False
    """Whether it was measured under load."""
    cause: str = ""
    """Why it tripped, in words."""
    version: int = 0
    """Another one: what it asks and says may be another."""

    @property
    def at_rest(self) -> bool:
        """Nothing is under way, and nothing is limited."""
        return (
            self.since is None
            and self.missing_since is None
            and not self.tripped
            and self.fraction == 1.0
        )


def advance(
    rule: PolicyRule,
    state: State,
    value: float | None,
    quality: Quality,
    applies: bool | None,
    sample: Sample | None,
    now: float,
    timing: PolicyTiming,
    *,
    fresh: bool,
    loaded: bool,
    over: bool | None = False,
) -> str:
    """Judge one value; gives back what happened: `trip`, `release`, `latch`, `missing`,
    `measured`, or nothing. `applies` is the gate, `over` the gate that releases; `None`: it cannot
    tell."""
    curved = rule.curve is not None  # a curve is a fraction of the moment, and never trips
    beyond = not curved and value is not None and value * rule.sign >= rule.trip
    event = ""
    if quality >= STALE or applies is None:
        state.inside = None
    elif quality == GOOD:
        event = _judge(rule, state, value, beyond, applies, now, fresh=fresh, over=bool(over))
    else:
        if quality == MISSING and beyond and applies and fresh:
            _count(state, now)  # part of it is beyond: more is not needed
            state.inside = None
        elif beyond and applies and state.since is None:
            state.since = now
        event = _miss(rule, state, quality, now, timing) if fresh else ""
    if state.tripped or state.since is None or not (fresh or rule.timeless):
        return event  # what nobody measured confirms nothing
    held = now - state.since
    if rule.load_delay:
        if quality == GOOD:
            state.loaded = loaded
        # a voltage that jumps back as the load ends is suspect at first
        loaded = loaded or (quality != GOOD and state.loaded)
    if held < (rule.load_delay if loaded and rule.load_delay else rule.on_delay):
        return event
    if state.count < rule.policy.samples and held < timing.confirm_within:
        return event
    return _trip(rule, state, _cause(rule, value, sample, held), now)


def goes_on(rule: PolicyRule, state: State, signed: float) -> bool:
    """Whether a rule goes on as it is by a good value of now, with its gate open, as most do most
    of the time: tripped, and not inside `release`; or as a curve. Then nothing else is to be done.
    """
    if state.missing_since is not None:
        return False
    value = signed * rule.sign
    if state.tripped:
        if signed <= rule.release or rule.release_gate is not None:
            return False
        if rule.policy.off_samples == 1 or signed >= rule.trip:
            state.inside, state.refuted = None, 0
    elif rule.curve is None:
        return False
    elif value != state.value or not state.applies:
        state.fraction = fraction_at(rule.curve, signed)
        state.version += 1
    state.seen, state.value, state.applies = True, value, True
    return True


def goes_on_dark(rule: PolicyRule, state: State, value: float | None) -> bool:
    """Whether a rule goes on as it is while its value is missing, and known to be: then nothing is
    to be done. What is measured of it may still be beyond the threshold."""
    if not state.missing or state.doubted or state.since is not None or state.inside is not None:
        return False
    if rule.policy.on_missing.rule == "trip" and not state.tripped:
        return False
    return value is None or rule.curve is not None or value * rule.sign < rule.trip


def _judge(
    rule: PolicyRule,
    state: State,
    value: float | None,
    beyond: bool,
    applies: bool | None,
    now: float,
    *,
    fresh: bool,
    over: bool,
) -> str:
    """A good value: it counts, it refutes, it may release."""
    was_missing, state.missing, state.missing_since = state.missing, False, None
    if was_missing or rule.curve is not None:
        state.version += 1
    if value is None:
        return ""  # not known yet
    state.seen = True
    state.value = value
    state.applies = bool(applies)
    if not applies:
        beyond = False
        state.fraction = 1.0
    elif rule.curve is not None:
        state.fraction = fraction_at(rule.curve, value * rule.sign)
        return "measured" if was_missing else ""
    if state.tripped:
        # a gate that releases (part empty, by a charge that drifts) says nothing while it is full
        counts = (applies or rule.policy.holds) and not (over and value * rule.sign < rule.trip)
        if counts and value * rule.sign > rule.release:
            if beyond or rule.policy.off_samples == 1:
                state.inside, state.refuted = None, 0
        elif fresh and _released(rule, state, now):
            return "release"
    elif not beyond:
        state.since, state.count = None, 0
    elif fresh or rule.timeless:
        _count(state, now)
    return "measured" if was_missing else ""


def _count(state: State, now: float) -> None:
    if state.since is None:
        state.since, state.count = now, 0
    state.count += 1


def _released(rule: PolicyRule, state: State, now: float) -> bool:
    if state.inside is None:
        state.inside = now
    policy = rule.policy
    state.refuted += 1
    if state.latched or now - state.inside < policy.off_delay:
        return False
    if state.refuted < policy.off_samples:
        return False
    if now - state.tripped_at < policy.min_off:
        return False
    state.tripped, state.since, state.count, state.inside = False, None, 0, None
    state.cause = ""
    state.version += 1
    return True


def pass_over(
    pairs: Iterable[tuple[PolicyRule, State]], last: float | None, now: float, timing: PolicyTiming
) -> None:
    """A reading ends the silence since `last`. No more of it counts than may lie between two
    readings that confirm each other: what was on its way to a trip goes on from where it was."""
    unknown = 0.0 if last is None else now - last - timing.confirm_within
    if unknown <= 0:
        return
    for rule, state in pairs:
        if rule.timeless:
            continue
        if state.since is not None:
            state.since += unknown
        if state.missing_since is not None:
            state.missing_since += unknown


def _miss(
    rule: PolicyRule, state: State, quality: Quality, now: float, timing: PolicyTiming
) -> str:
    """A value that is absent or not to be trusted, for longer than it may be."""
    policy = rule.policy
    if policy.optional and not state.seen and quality == MISSING:
        return ""
    if state.missing_since is None:
        state.missing_since = now
    known = state.seen or quality != MISSING
    if now - state.missing_since < (timing.stale_after if known else 0.0):
        return ""
    state.inside = None
    state.version += state.doubted != (quality == SUSPECT) or not state.missing
    state.doubted = quality == SUSPECT
    if policy.on_missing.rule == "trip" and not state.tripped:
        state.missing = True
        return _trip(rule, state, unmeasured(rule, state), now)
    if state.missing:
        return ""
    state.missing = True
    return "missing"


def _trip(rule: PolicyRule, state: State, cause: str, now: float) -> str:
    policy = rule.policy
    state.version += 1
    state.tripped, state.tripped_at, state.inside, state.refuted = True, now, None, 0
    state.cause = cause
    latch = policy.reset == "manual" or policy.severity == Severity.EMERGENCY
    if policy.lockout is not None:
        most, window = policy.lockout
        state.trips = [t for t in state.trips if now - t <= window] + [now]
        if len(state.trips) > most:
            latch = True
            state.cause += f"; the {len(state.trips)}th trip within {window / 60:g} min"
    state.latched = latch
    return "latch" if latch else "trip"


def reset(rule: PolicyRule, state: State) -> str:
    """A person resets a latched rule; gives back why it cannot be, or nothing."""
    if not state.latched:
        return f"{rule.name} is not latched."
    if state.inside is None:
        return f"{rule.name} cannot be reset while its cause lasts: {state.cause}."
    state.latched = False
    state.trips = []
    state.version += 1
    return ""


def fraction_at(curve: tuple[tuple[float, float], ...], x: float) -> float:
    """Straight lines between the points, the end values beyond them."""
    x0, y0 = curve[0]
    if x <= x0:
        return y0
    for x1, y1 in curve:
        if x < x1:
            return y0 + (y1 - y0) * (x - x0) / (x1 - x0)
        x0, y0 = x1, y1
    return y0


def at_ease(rule: PolicyRule, state: State) -> bool:
    """Nothing is amiss: its curve leaves the most that it ever leaves, be that less than 100 %."""
    if state.tripped or state.missing:
        return False
    return rule.curve is None or state.fraction >= rule.most


def in_words(quantity: Quantity, value: float) -> str:
    """A value with its unit."""
    unit = quantity.unit and f" {quantity.unit}"
    return f"{round(value, quantity.digits) + 0.0:.{quantity.digits}f}{unit}"  # never -0.0


def unmeasured(rule: PolicyRule, state: State) -> str:
    """Why there is no value, in words."""
    if not state.doubted:
        return f"{rule.quantity.title}: not measured"
    hint = " (is its direction only assumed?)" if "current" in rule.quantity.fields else ""
    return f"{rule.quantity.title}: measured, but not to be trusted{hint}"


def _cause(rule: PolicyRule, value: float | None, sample: Sample | None, held: float) -> str:
    quantity = rule.quantity
    where = quantity.where(sample, value) if quantity.where and sample and value is not None else ""
    if not quantity.unit and rule.trip == 1:
        return f"{quantity.title}: {where}" if where else quantity.title
    title = f"{quantity.title} ({where})" if where else quantity.title
    shown = "unknown" if value is None else in_words(quantity, value)
    side = "at or above" if rule.sign > 0 else "at or below"
    lasting = f" for {held:.1f} s" if held >= 0.05 else ""
    basis = f" ({rule.basis})" if rule.basis else ""
    limit = in_words(quantity, rule.trip * rule.sign)
    if value is None or value * rule.sign < rule.trip:
        return f"{title} was {side} {limit}{basis} {held:.1f} s ago, and nothing refuted it"
    return f"{title} {shown}, {side} {limit}{basis}{lasting}"
