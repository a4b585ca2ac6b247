"""The limits of packs in parallel.

The current limit of the bank is the lowest of what brings any pack that conducts to its own limit,
by its share. A pack that is not heard counts as it was last, until it is known to be open. A pack
whose FET is open takes nothing, so the others take more, and the limit falls for it at once. It
rises slowly, and not for every ampere.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence

import msgspec

from bmslink.control.banks.decision import (
    BankCode,
    BankDecision,
    BankLimit,
    BankReason,
    MemberShown,
    in_order,
)
from bmslink.control.banks.member import DIRECTIONS, Direction, Member
from bmslink.control.banks.memory import BankMemory
from bmslink.control.banks.shares import PackShare, ShareBook
from bmslink.control.banks.sums import parallel_sums
from bmslink.control.decide.lasting.phase import ChargePhase
from bmslink.control.decide.limiter import UNHEARD
from bmslink.control.decide.limits import Kind, Ramp

__all__ = ["ParallelBank"]

_change = msgspec.structs.replace

_HOLD, _SLOPE = 10.0, 5.0
"""s and A/s for each pack. The limits of the packs are held and rise slowly already: this is for
what only the bank knows, such as a pack that came or went."""
_VOLTAGE_SLOPE = 0.001
"""V/s for each cell."""
_WORTH = 1.05
"""A current limit rises only where it may rise by that much: a load that comes and goes moves what
is known of the shares, and no inverter wants to hear of each per cent."""
_LATELY = 5.0
"""s: limits that were in force within them are what a sink may still obey."""
_TURNED = (
    "The current of {} goes the other way than that of the others whenever the load changes: its "
    "sign is wrong, its readings are late, or it is not wired to them. What is reckoned of its "
    "share is wrong as well."
)
_LIMIT = {"charge": "ccl", "discharge": "dcl"}
_LEAST_FAR = (ChargePhase.BULK, ChargePhase.REBULK, ChargePhase.ABSORPTION, ChargePhase.FLOAT)


class ParallelBank:
    """One bank over time. Give `step` all packs at every reading of one of them."""

    def __init__(
        self, name: str, members: Sequence[Member], resistance: Mapping[str, float]
    ) -> None:
        self.name = name
        self.book = ShareBook(members, resistance)
        count, cells = len(members), max(each.cells for each in members)
        self._ramps = {
            "cvl": Ramp(_HOLD, _VOLTAGE_SLOPE * cells),
            "ccl": Ramp(_HOLD, _SLOPE * count),
            "dcl": Ramp(_HOLD, _SLOPE * count),
            "dvl": Ramp(_HOLD, _VOLTAGE_SLOPE * cells, turned=True),
        }
        self._kept = BankMemory()
        """What is known of before a restart."""
        self._members: Mapping[str, Member] = {}
        self._blocked: dict[Direction, frozenset[str]] = {}
        self._lately: dict[Direction, deque[tuple[float, float]]] = {
            direction: deque() for direction in DIRECTIONS
        }
        """Limits, and until when each was in force."""
        self._said: dict[tuple[str, Direction], tuple[tuple[object, ...], BankReason]] = {}
        """The reason of each pack, with what it was made of."""

    def remember(self, now: float) -> BankMemory:
        """What must survive a restart."""
        known = self._kept.heard(self._members, now)
        ramps = {name: ramp.remember(now) for name, ramp in self._ramps.items()}
        return BankMemory(
            shares=self.book.kept(), packs=known.packs, over=self.book.overloads(now), ramps=ramps
        )

    def recall(self, memory: BankMemory, now: float) -> None:
        """The same back. A limit that was worked out meanwhile, and is more restrictive, stays."""
        self._kept = memory
        self.book.recall(memory.shares, memory.over, now)
        for name, found in memory.ramps.items():
            if name in self._ramps and self._ramps[name].value is None:
                self._ramps[name].restore(found, now)

    def step(self, members: Sequence[Member], now: float) -> BankDecision:
        """The limits at `now`, monotonic seconds."""
        members = [self._as_it_was(each) for each in members]
        self._members = {each.name: each for each in members}
        self.book.meet(members)
        trouble = [*_unlike(members)]
        paths = {d: {m.name: m.conducts(d, now) for m in members} for d in DIRECTIONS}
        blocked = {d: frozenset(n for n, on in each.items() if on is False)
                   for d, each in paths.items()}  # fmt: skip
        if blocked != self._blocked:
            self._blocked = blocked
            self.book.forget_anchor()
        conducting = [m for m in members if any(paths[d][m.name] is not False for d in DIRECTIONS)]
        self.book.hear(conducting, now)
        shares = {d: self._shares(paths[d]) for d in DIRECTIONS}
        decision = BankDecision(
            bank=self.name,
            connection="parallel",
            time=now,
            members=tuple(self._shown(m, paths, shares, now) for m in members),
            **parallel_sums(members, conducting, now),
        )
        if trouble:
            for ramp in self._ramps.values():
                ramp.wait(now)
            return _change(decision, trouble=tuple(trouble))
        return self._decide(decision, members, paths, shares, now)

    def _as_it_was(self, member: Member) -> Member:
        """A pack that was not read since a restart is as it was before."""
        if member.reading is not None or not (was := self._kept.was(member.name, member.board)):
            return member
        return _change(member, was=was)

    def _decide(
        self,
        decision: BankDecision,
        members: Sequence[Member],
        paths: Mapping[Direction, Mapping[str, bool | None]],
        shares: Mapping[Direction, Mapping[str, PackShare]],
        now: float,
    ) -> BankDecision:
        taking = {d: [m for m in members if paths[d][m.name] is not False] for d in DIRECTIONS}
        currents = {_LIMIT[d]: self._current(d, taking[d], shares[d], now) for d in DIRECTIONS}
        charging = taking["charge"] or [*members]
        cvl = [*_protecting("cvl", charging, Kind.PROTECT), *_phases(charging)]
        dvl = _protecting("dvl", taking["discharge"] or members, None)
        phases = {m.decision.phase for m in charging if m.decision is not None}
        return _change(
            decision,
            **currents,
            cvl=self._voltage("cvl", cvl, now),
            dvl=self._voltage("dvl", dvl, now),
            phase=next((each.value for each in _LEAST_FAR if each in phases), None),
            trouble=(*_missing(members, paths, now), *map(_TURNED.format, self.book.turned)),
        )

    # -- shares ----------------------------------------------------------------------------------

    def _shares(self, paths: Mapping[str, bool | None]) -> Mapping[str, PackShare]:
        sure = [name for name, on in paths.items() if on]
        maybe = [name for name, on in paths.items() if on is None]
        return self.book.shares(sure, maybe)

    @staticmethod
    def _shown(
        member: Member,
        paths: Mapping[Direction, Mapping[str, bool | None]],
        shares: Mapping[Direction, Mapping[str, PackShare]],
        now: float,
    ) -> MemberShown:
        name = member.name
        return MemberShown(
            name=name,
            fresh=member.fresh(now),
            charge=paths["charge"][name],
            discharge=paths["discharge"][name],
            apart=member.apart,
            shares={d: shares[d][name] for d in DIRECTIONS if name in shares[d]},
        )

    # -- currents --------------------------------------------------------------------------------

    def _current(
        self,
        direction: Direction,
        taking: Sequence[Member],
        shares: Mapping[str, PackShare],
        now: float,
    ) -> BankLimit:
        lately = self._lately[direction]
        while lately and now - lately[0][0] > _LATELY:
            lately.popleft()
        together = sum(m.flow(direction) or 0.0 for m in taking if m.just_heard(now))
        reasons = [
            self._of_pack(m, direction, shares[m.name], now, lately, together) for m in taking
        ]
        if taking:
            total = sum(m.most(direction, now) for m in taking)
            text = "the sum of what all packs may take"
            reasons.append(BankReason(BankCode.SUM, _down(total), "", text))
        else:
            text = f"no pack conducts for {direction}"
            reasons = [BankReason(BankCode.NOT_CONDUCTING, 0.0, "", text)]
        limit = self._ramped(_LIMIT[direction], in_order(reasons), now)
        if lately and lately[-1][1] == limit.value:
            lately.pop()
        lately.append((now, limit.value))
        return limit

    def _of_pack(
        self,
        member: Member,
        direction: Direction,
        share: PackShare,
        now: float,
        lately: Sequence[tuple[float, float]],
        together: float,
    ) -> BankReason:
        allowed = member.most(direction, now)
        fresh = member.fresh(now)
        policy, why = member.binding(direction)
        if fresh and policy != UNHEARD:  # before anything is allowed, no current is too much
            limits = [value for _, value in lately]
            self.book.watch(member, direction, allowed, limits, together)
        value, over = self.book.most(member, direction, allowed, share, now, blocked=self._blocked)
        value = _down(value)
        of = value, allowed, over, fresh, member.heard is None, policy, why
        key = member.name, direction
        if key not in self._said or self._said[key][0] != of:
            code, text = _in_words(member, allowed, value, over=over, fresh=fresh)
            self._said[key] = of, BankReason(code, value, member.name, f"{text} ({why})", policy)
        return self._said[key][1]

    def _ramped(self, name: str, reasons: tuple[BankReason, ...], now: float) -> BankLimit:
        ramp, target = self._ramps[name], reasons[0].value
        start = reasons[0].code is BankCode.UNREAD or reasons[0].policy == UNHEARD
        if start and target == 0:
            ramp.wait(now)  # nothing that the limit would have to recover from
            return BankLimit(target, reasons)
        before = ramp.value
        if before is not None and before < target < before * _WORTH:
            target = before
        value = ramp.move(target, now, may_rise=True)
        return _limit(value, reasons)

    # -- voltages --------------------------------------------------------------------------------

    def _voltage(self, name: str, reasons: Sequence[BankReason], now: float) -> BankLimit | None:
        if not reasons:
            return None
        found = in_order(reasons, turned=name == "dvl")
        ramp, target = self._ramps[name], found[0].value
        if found[0].policy != UNHEARD:
            return _limit(ramp.move(target, now, may_rise=True), found)
        ramp.wait(now)
        before = target if ramp.value is None else ramp.value
        return _limit(max(target, before) if name == "dvl" else min(target, before), found)


def _in_words(
    member: Member, allowed: float, value: float, *, over: bool, fresh: bool
) -> tuple[BankCode, str]:
    """Why the bank may have no more for this pack."""
    text = f"{member.name} may take {allowed:g} A"
    if over:
        text += ", and takes more of the current than was reckoned with"
    elif allowed and value:
        text += f", and may have {min(1.0, allowed / value):.0%} of the current"
    if member.heard is None:
        return BankCode.UNREAD, f"{text} and has not been read"
    if not fresh:
        return BankCode.VANISHED, f"{text} and is not heard"
    return BankCode.OVERLOAD if over else BankCode.SHARE, text


def _limit(value: float, reasons: tuple[BankReason, ...]) -> BankLimit:
    """The limit with its reasons; one that it only recovers from comes first."""
    if value == reasons[0].value:
        return BankLimit(value, reasons)
    value = math.floor(value * 1000 + 1e-6) / 1000
    held = reasons[0]
    text = f"it was lower before; it rises slowly, and a current not for less than {_WORTH - 1:.0%}"
    recovers = BankReason(BankCode.RECOVERY, value, held.pack, text, held.policy, held.kind)
    return BankLimit(value, (recovers, *reasons))


def _protecting(name: str, members: Sequence[Member], kind: Kind | None) -> list[BankReason]:
    return [
        BankReason(
            BankCode.PROTECT, asked.value, each.name, f"{each.name}: {asked.text}", asked.policy
        )
        for each in members
        if (asked := each.voltage_limit(name, kind)) is not None
    ]


def _phases(members: Sequence[Member]) -> list[BankReason]:
    """The phase of the bank: the highest voltage that a pack which is not full yet wishes for; the
    others take what that gives, and none is harmed by it."""
    wished = []
    for each in members:
        asked = each.voltage_limit("cvl", Kind.PHASE)
        if asked is not None and each.decision is not None:
            full = each.decision.phase is ChargePhase.FLOAT
            wished.append((full, -asked.value, each.name, asked))
    if not wished:
        return []
    _, _, name, asked = min(wished)
    text = f"{name}: {asked.text}"
    return [BankReason(BankCode.PHASE, asked.value, name, text, asked.policy, Kind.PHASE)]


def _unlike(members: Sequence[Member]) -> list[str]:
    """Why these packs cannot be one bank, in sentences."""
    found = [
        f"{each.name} has no policies, so nobody knows what it may take."
        for each in members
        if not each.judged
    ]
    counts = {each.name: n for each in members if (n := _cells(each))}
    if len(set(counts.values())) > 1:
        shown = ", ".join(f"{name} {count}" for name, count in counts.items())
        found.append(f"These packs have unequal cells in series ({shown}): not in parallel.")
    return found


def _cells(member: Member) -> int:
    return 0 if member.reading is None else len(member.reading.cell_voltages)


def _missing(
    members: Sequence[Member], paths: Mapping[Direction, Mapping[str, bool | None]], now: float
) -> list[str]:
    found = []
    for each in members:
        open_ = all(paths[d][each.name] is False for d in DIRECTIONS)
        if not each.fresh(now) and not open_:
            found.append(
                f"{each.name} is not heard and may conduct still, so it counts as it was last. "
                "Once it is disconnected, say so: apart in [banks]."
            )
        elif each.apart and not open_:
            found.append(f"{each.name} is said to be apart, and current flows: it counts.")
    return found


def _down(amps: float) -> float:
    """In round steps of 1 to 2.5 %, and never more: what is known of the shares moves a little with
    every reading, and an inverter needs not hear of that."""
    least = amps / 40
    if least < 0.1:
        return math.floor(amps * 10 + 1e-6) / 10
    power = 10.0 ** math.floor(math.log10(least))
    step = next(n for n in (5.0, 2.0, 1.0) if n * power <= least * (1 + 1e-9)) * power
    return round(math.floor(amps / step + 1e-6) * step, 1)
