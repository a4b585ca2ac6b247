"""Which share of a bank's current each pack takes, and between which bounds that is known.

Packs in parallel are a network of resistances behind voltages that change slowly. So the current of
a pack is `I_i = anchor_i + a_i (I - anchor)`: what it was when all currents were last steady, and
of every further ampere the share of its conductance. That holds too where packs exchange current
among themselves, and where a full one takes next to nothing.

The conductances are learned from steps of the bank's current between two steady states. Before
that they are those that somebody measured, else they go with the capacity; how far they may be off
is in the bounds.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence

import msgspec

from bmslink.control.banks.member import DIRECTIONS, Direction, Member
from bmslink.control.banks.memory import KeptOverload, KeptShare

__all__ = ["PackShare", "ShareBook", "SteadyState"]

_UNSURE = {"capacity": 1.3, "resistance": 1.15}
"""The factor by which a conductance may be off: packs of one make differ by about that much in
their cables and joints; a resistance that was measured once."""
_LEARNED, _AT_LEAST = 1.15, 1.06
"""The same after one step, and at best: 0.1 A of noise in a step of some 10 A, twice."""
_WEIGHT = 0.25
_STEP, _STEP_SHARE = 10.0, 0.05
"""A, or of all capacity (1/h): so far apart are two steady states that say something."""
_DRIFT = 60.0
"""s within which rest voltages change too little to matter."""
_STEADY, _STEADY_SHARE = 1.0, 0.01
"""A, or of the capacity: readings that differ by less are steady."""
_READINGS = 3
_OLD = 300.0
"""s after which an anchor counts only where it asks for less."""
_NOISE, _NOISE_SHARE = 0.3, 0.01
"""A and a share of it: how wrong a steady current may be."""
_OVER, _OVER_SHARE = 0.5, 0.02
"""A and a share: a pack further beyond its limit than that takes more than it should."""
_SAME = 0.01
"""A capacity that differs by less is the same."""
_KEPT_SHARES = 64
"""Sets of packs whose shares are remembered."""
_KEPT = 60.0
"""s for which a share that was seen to be too low is held up."""


class PackShare(msgspec.Struct, frozen=True):
    """The share of one pack in one direction, 0 to 1 of each further ampere."""

    likely: float
    low: float
    high: float
    source: str
    """`steps`, `resistance` or `capacity`: what it is known by."""

    def to_dict(self) -> dict[str, float | str]:
        """For JSON."""
        numbers = {name: round(getattr(self, name), 4) for name in ("likely", "low", "high")}
        return {**numbers, "source": self.source}


class SteadyState(msgspec.Struct, frozen=True):
    """All currents when they were last steady, A, charging positive."""

    time: float
    currents: dict[str, float]
    total: float


class _Known(msgspec.Struct):
    """What is known of one pack."""

    conductance: float
    """Relative to the others."""
    factor: float
    source: str
    steps: int = 0
    spread: float = 0.0
    board: str = ""
    """The board that it was learned of."""


class ShareBook:
    """The shares of one bank. All times in s of one clock."""

    def __init__(self, members: Iterable[Member], resistance: Mapping[str, float]) -> None:
        """`resistance`: Ω of a pack with its cables, where somebody measured it."""
        packs = [*members]
        measured = sorted(resistance[m.name] * m.capacity for m in packs if m.name in resistance)
        typical = measured[len(measured) // 2] if measured else 1.0  # Ω·Ah
        self._capacity = {each.name: each.capacity for each in packs}
        self._prior: dict[str, _Known] = {}
        """Of what people say, before anything is learned."""
        for each in packs:
            source = "resistance" if each.name in resistance else "capacity"
            ohms = resistance.get(each.name, typical / each.capacity)
            self._prior[each.name] = _Known(1 / ohms, _UNSURE[source], source)
        self._learned: dict[str, _Known] = {}
        """What was learned, of one board each."""
        self._boards = {each.name: each.board for each in packs}
        """Which board each pack has now."""
        self._recent: dict[str, deque[tuple[float, float]]] = {
            each.name: deque(maxlen=8) for each in packs
        }
        """Times and currents of the last readings."""
        self.anchor: SteadyState | None = None
        self._shares: dict[tuple[tuple[str, ...], tuple[str, ...]], Mapping[str, PackShare]] = {}
        """What was worked out, until something is learned."""
        self._turned: dict[str, int] = {}
        """How often in a row a pack answered to a load the other way than most."""
        self._over: dict[tuple[str, Direction], tuple[float, float]] = {}
        """The share that was seen of a pack beyond its limit, and when."""
        self._beyond: dict[tuple[str, Direction], float] = {}
        """Since when a pack is beyond its limit."""

    # -- what is kept ----------------------------------------------------------------------------

    def kept(self) -> dict[str, KeptShare]:
        """What was learned, by the names of packs."""
        mean = self._mean_of_an_ah()
        return {
            name: KeptShare(
                board=known.board, capacity=self._capacity[name],
                conductance=known.conductance / self._capacity[name] / mean, factor=known.factor,
                steps=known.steps, spread=known.spread,
            )
            for name, known in self._learned.items()
        }  # fmt: skip

    def overloads(self, now: float) -> tuple[KeptOverload, ...]:
        """What was seen of packs beyond their limits, and still counts."""
        return tuple(
            KeptOverload(pack=name, direction=direction, share=share, age=now - at)
            for (name, direction), (share, at) in self._over.items()
            if 0 <= now - at <= _KEPT
        )

    def recall(
        self, kept: Mapping[str, KeptShare], over: Iterable[KeptOverload], now: float
    ) -> None:
        """The same back, but of packs that have other cells now."""
        for seen in over:
            if seen.pack in self._prior and seen.direction in DIRECTIONS:
                self._over.setdefault((seen.pack, seen.direction), (seen.share, now - seen.age))
        mean = self._mean_of_an_ah()
        for name, each in kept.items():
            capacity = self._capacity.get(name)
            if capacity is not None and math.isclose(capacity, each.capacity, rel_tol=_SAME):
                factor = min(each.factor, _UNSURE["capacity"])
                self._learned[name] = _Known(
                    each.conductance * capacity * mean, factor, "steps", each.steps, each.spread,
                    each.board,
                )  # fmt: skip
        self._shares.clear()

    def _mean_of_an_ah(self) -> float:
        """By what people say: what is learned moves it between the packs only."""
        whole = sum(known.conductance for known in self._prior.values())
        return whole / sum(self._capacity.values())

    def _known(self, name: str) -> _Known:
        """What is known of the board that a pack has now, or had when it was heard last."""
        learned, board = self._learned.get(name), self._boards[name]
        if learned is None or (board and board != learned.board):
            return self._prior[name]
        return learned

    def meet(self, members: Iterable[Member]) -> None:
        """Which boards they have now: another one inherits nothing."""
        for each in members:
            if each.board and each.board != self._boards[each.name]:
                before, self._boards[each.name] = self._boards[each.name], each.board
                self._shares.clear()
                if before:
                    self.forget_anchor()
                    self._recent[each.name].clear()
                    self._turned.pop(each.name, None)
                    for direction in DIRECTIONS:
                        self._over.pop((each.name, direction), None)

    # -- what is heard ---------------------------------------------------------------------------

    def hear(self, members: Sequence[Member], now: float) -> None:
        """Look at all packs that conduct or may. A steady state of all of them is an anchor, and
        after a step of the current a measurement."""
        for each in members:
            current, heard = each.flow("charge"), each.heard
            recent = self._recent[each.name]
            if current is not None and heard is not None and not _seen(recent, heard):
                recent.append((heard, current))
        if all(each.fresh(now) and self._steady(each, now) for each in members):
            currents = {each.name: _mean(self._recent[each.name]) for each in members}
            found = SteadyState(now, currents, sum(currents.values()))
            if self.anchor is not None:
                self._learn(members, self.anchor, found)
            self.anchor = found

    def _steady(self, member: Member, now: float) -> bool:
        last = [*self._recent[member.name]][-_READINGS:]
        if len(last) < _READINGS or now - last[0][0] > (_READINGS + 3) * max(member.interval, 1.0):
            return False
        currents = [current for _, current in last]
        return max(currents) - min(currents) <= max(_STEADY, _STEADY_SHARE * member.capacity)

    def _learn(self, members: Sequence[Member], before: SteadyState, after: SteadyState) -> None:
        self._look_at_signs(members, before, after)
        step = after.total - before.total
        least = max(_STEP, _STEP_SHARE * sum(each.capacity for each in members))
        if abs(step) < least or after.time - before.time > _DRIFT:
            return
        moved = {n: (after.currents[n] - before.currents[n]) / step for n in after.currents}
        taking = [
            each
            for each in members
            if moved[each.name] > 0.02
            and all(each.conducts(d, after.time) is not False for d in DIRECTIONS)
        ]
        if len(taking) < 2 or sum(moved[each.name] for each in taking) < 0.9:
            return
        self._shares.clear()
        whole = sum(self._known(each.name).conductance for each in taking)
        for each in taking:
            self._take(each.name, moved[each.name] * whole)

    def _look_at_signs(
        self, members: Sequence[Member], before: SteadyState, after: SteadyState
    ) -> None:
        """All packs of one network answer to a load the same way. One that answers the other way
        than most, again and again, reads its current with the wrong sign."""
        if after.time - before.time > _DRIFT:
            return
        large = {}
        for each in members:
            step = after.currents[each.name] - before.currents[each.name]
            if abs(step) >= max(_STEP / 2, _STEP_SHARE * each.capacity):
                large[each.name] = step
        up = [name for name, step in large.items() if step > 0]
        down = [name for name in large if name not in up]
        few, many = sorted((up, down), key=len)
        if len(many) < 2 or len(few) == len(many):
            return
        for name in few:
            self._turned[name] = self._turned.get(name, 0) + 1
        for name in many:
            self._turned.pop(name, None)

    @property
    def turned(self) -> list[str]:
        """The packs that read their current with the wrong sign, by all that was seen."""
        return [name for name, count in self._turned.items() if count >= _READINGS]

    def _take(self, name: str, found: float) -> None:
        """One measurement of a conductance."""
        known = self._known(name)
        if known is self._prior[name]:
            known = msgspec.structs.replace(known, board=self._boards[name])
        elif not known.board:
            known.board = self._boards[name]
        self._learned[name] = known
        weight = 1.0 if not known.steps else _WEIGHT
        off = abs(found - known.conductance) / known.conductance
        known.spread = off * _WEIGHT + known.spread * (1 - _WEIGHT) if known.steps else 0.0
        known.conductance += weight * (found - known.conductance)
        known.steps += 1
        known.source = "steps"
        sure = _AT_LEAST + (_LEARNED - _AT_LEAST) / known.steps
        known.factor = min(_UNSURE["capacity"], max(sure, 1 + 3 * known.spread))

    def watch(
        self,
        member: Member,
        direction: Direction,
        allowed: float,
        limits: Sequence[float],
        together: float,
    ) -> None:
        """A pack with more than its limit takes a larger share than was reckoned with: at least its
        current over the highest limit of the bank that was in force lately (`limits`), because
        whatever obeys gives no more; and where that lasts, its current over that of all packs that
        are heard (`together`), because whichever is not heard may take nothing."""
        flow, now = member.flow(direction), member.heard
        if flow is None or now is None or not (member.measured or member.unsigned):
            return
        key = member.name, direction
        if flow <= allowed + max(_OVER, _OVER_SHARE * allowed):
            self._beyond.pop(key, None)
            return
        since = self._beyond.setdefault(key, now)
        highest = max(limits, default=0.0)
        lasts = now - since >= 2 * member.interval
        if not (member.measured or lasts):  # once may be a wild value
            return
        of = [each for each in (highest, together if lasts else 0.0) if each > 0]
        if of:
            before, _ = self._over.get(key, (0.0, now))
            self._over[key] = max(before, min(1.0, flow / min(of))), now

    # -- what is known ---------------------------------------------------------------------------

    def shares(self, sure: Sequence[str], maybe: Sequence[str]) -> Mapping[str, PackShare]:
        """The share of each pack that conducts (`sure`) or may (`maybe`): a pack that may leaves
        the others all of the current, and has its own limit all the same."""
        key = tuple(sure), tuple(maybe)
        if key not in self._shares:
            if len(self._shares) >= _KEPT_SHARES:
                self._shares.clear()
            self._shares[key] = self._work_out(sure, maybe)
        return self._shares[key]

    def _work_out(self, sure: Sequence[str], maybe: Sequence[str]) -> Mapping[str, PackShare]:
        known = {name: self._known(name) for name in (*sure, *maybe)}
        certain = [known[name] for name in sure]
        weak = sum(each.conductance / each.factor for each in certain)
        likely = sum(each.conductance for each in certain)
        strong = sum(each.conductance * each.factor for each in known.values())
        found = {}
        for name, own in known.items():
            high, low = own.conductance * own.factor, own.conductance / own.factor
            beside = name in sure
            found[name] = PackShare(
                own.conductance / (likely if beside else likely + own.conductance),
                low / (low + strong - high),
                high / (high + weak - (low if beside else 0.0)),
                own.source,
            )
        return found

    def most(
        self,
        member: Member,
        direction: Direction,
        allowed: float,
        share: PackShare,
        now: float,
        *,
        blocked: Mapping[Direction, Collection[str]],
    ) -> tuple[float, bool]:
        """The bank's current at which a pack has `allowed` A, and whether that is so low because
        the pack was seen to take more. `blocked`: the packs that do not conduct."""
        if allowed <= 0:
            return 0.0, False
        found = allowed / share.high
        anchor = self.anchor
        if anchor is not None and self._holds(anchor, direction, blocked):
            moved = self._from(anchor, member.name, direction, allowed, share)
            found = moved if now - anchor.time <= _OLD else min(found, moved)
        found = min(found, 2 * allowed / share.likely)
        seen, at = self._over.get((member.name, direction), (0.0, 0.0))
        if now - at > _KEPT:
            self._over.pop((member.name, direction), None)
        elif seen > 0 and allowed / seen < found:
            return allowed / seen, True
        return max(0.0, found), False

    @staticmethod
    def _from(
        anchor: SteadyState, name: str, direction: Direction, allowed: float, share: PackShare
    ) -> float:
        """Along the line through the anchor, with the slope that is worse."""
        sign = DIRECTIONS[direction]
        flow = sign * anchor.currents[name]
        flow += max(_NOISE, _NOISE_SHARE * abs(flow))
        total = sign * anchor.total
        if total < 0:
            # the current turns before it comes near the limit: from what flows at none
            flow, total = flow - share.likely * total, 0.0
        if allowed >= flow:
            return total + (allowed - flow) / share.high
        return total - (flow - allowed) / share.low

    @staticmethod
    def _holds(
        anchor: SteadyState, direction: Direction, blocked: Mapping[Direction, Collection[str]]
    ) -> bool:
        """Whether an anchor is of the network that conducts in this direction: where packs conduct
        one way only, what flowed the other way was another one."""
        if blocked["charge"] == blocked["discharge"]:
            return True
        return DIRECTIONS[direction] * anchor.total > 0

    def forget_anchor(self) -> None:
        """Another set of packs conducts: what flowed before says nothing of now."""
        self.anchor = None


def _seen(recent: Sequence[tuple[float, float]], heard: float) -> bool:
    return bool(recent) and recent[-1][0] >= heard


def _mean(recent: Iterable[tuple[float, float]]) -> float:
    last = [current for _, current in recent][-_READINGS:]
    return sum(last) / len(last)
