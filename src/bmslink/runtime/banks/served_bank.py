"""One bank of the service: reckoned at every reading of one of its packs, told, carried out."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from bmslink.control.act.sinks import SinkState
from bmslink.control.banks.decision import BankDecision
from bmslink.control.banks.joining import JoinCode, JoinVerdict, may_join
from bmslink.control.banks.member import Member
from bmslink.control.banks.memory import BankMemory
from bmslink.control.banks.parallel import ParallelBank
from bmslink.control.banks.series import SeriesBank
from bmslink.control.decide.limits import LIMITS
from bmslink.model import Switch
from bmslink.named_banks import BankConnection, BankOptions
from bmslink.runtime.acting.contained import contained
from bmslink.runtime.acting.limit_sinks import CommandSink, LimitSinks
from bmslink.runtime.acting.start import pack_key
from bmslink.runtime.banks.told import BankTeller
from bmslink.runtime.feed import Feed
from bmslink.runtime.pack_task import ServedPack
from bmslink.runtime.watching.conditions import Teller

__all__ = ["BankJoin", "BankSink", "ServedBank"]

_APART = 10.0
"""s between two packs that are switched on: what flows is seen before the next one."""
_PUBLISHED = 60.0
"""s after which a decision is published though nothing has changed: the history has a row of it."""
_CAPACITY = 100.0
"""Ah of a pack that nobody says anything of: packs that are alike take alike shares."""


class ServedBank:
    """Of one `[banks.NAME]`."""

    def __init__(
        self,
        name: str,
        options: BankOptions,
        packs: Callable[[], Mapping[str, ServedPack]],
        feed: Feed,
        tell: Teller,
    ) -> None:
        """`packs`: those of the service, by their names; a pack of the bank may be none of them."""
        self.name = name
        self.options = options
        self.decision: BankDecision | None = None
        """The latest one."""
        self.failed = ""
        """Why the limits are not reckoned, in a sentence."""
        self._packs = packs
        self._feed = feed
        self._teller = BankTeller(name, tell)
        self._bank: ParallelBank | SeriesBank | None = None
        self._sizes: tuple[tuple[float, int], ...] = ()
        command = options.sink_command
        self.sinks = LimitSinks([] if command is None else [CommandSink(command)], {"bank": name})
        """What carries the limits of the bank out."""
        self._joining: tuple[str, float] | None = None
        self._memory = BankMemory()
        """What was kept of it, until it is reckoned."""
        self._published: tuple[object, ...] = ()
        self._published_at = 0.0

    @property
    def parallel(self) -> bool:
        """Whether its packs share the current."""
        return self.options.connection is BankConnection.PARALLEL

    # -- reckoning -------------------------------------------------------------------------------

    def look(self, now: float) -> None:
        """One of its packs was read, or was not. A mistake of ours ends the limits of this bank,
        and nothing else."""
        with contained(self._mistaken):
            decision = self._step(self._members(), now)
            self.decision, self.failed = decision, ""
            self._carry_out(decision, now)
            self._teller.hear(decision, now)
            if decision.state != self._published or now - self._published_at >= _PUBLISHED:
                self._published, self._published_at = decision.state, now
                self._feed.publish("limits", "", decision)

    def _mistaken(self, error: BaseException) -> None:
        self.sinks.end()
        with contained(lambda beside: None):  # what was learned is right, as far as that is known
            self._memory = self.remember(asyncio.get_running_loop().time())
        self.decision, self._bank = None, None
        text = f"bmslink made a mistake ({type(error).__name__}: {error}): no limits are said."
        if text != self.failed:
            self.failed = text
            self._teller.mistaken(text)

    def _members(self) -> list[Member]:
        packs = self._packs()
        return [self._member(name, packs.get(name)) for name in self.options.packs]

    def _member(self, name: str, pack: ServedPack | None) -> Member:
        apart = name in self.options.apart
        if pack is None:
            return Member(name=name, capacity=_CAPACITY, cells=1, apart=apart)
        policies = pack.plan.policies
        battery = None if policies is None else policies.policies.battery
        reading = None if pack.known.other else pack.reading
        told = 0.0 if reading is None else reading.nominal_capacity or reading.full_capacity or 0.0
        cells = 0 if reading is None else len(reading.cell_voltages)
        named = pack.plan.named
        return Member(
            name=name,
            reading=reading,
            heard=None if reading is None else pack.heard,
            decision=pack.decision,
            capacity=battery.capacity if battery else told or _CAPACITY,
            cells=battery.cells if battery else max(1, cells),
            chemistry=battery.chemistry if battery else (named and named.chemistry) or "lfp",
            interval=pack.plan.interval,
            judged=battery is not None,
            apart=apart,
            board=_board(pack),
        )

    def _step(self, members: Sequence[Member], now: float) -> BankDecision:
        sizes = tuple((each.capacity, each.cells) for each in members)
        if self._bank is None or sizes != self._sizes:
            memory, self._sizes = self.remember(now), sizes
            self._bank = SeriesBank(self.name)
            if self.parallel:
                self._bank = ParallelBank(self.name, members, self.options.resistance)
                self._bank.recall(memory, now)
        return self._bank.step(members, now)

    def change(self, options: BankOptions) -> None:
        """A person says something else of the same packs: which are apart, what they resist. What
        was learned, and what limits recover from, stays."""
        if options.resistance != self.options.resistance:
            self._memory = self.remember(asyncio.get_running_loop().time())
            self._bank = None
        self.options = options

    def remember(self, now: float) -> BankMemory:
        """What must survive a restart."""
        return self._bank.remember(now) if isinstance(self._bank, ParallelBank) else self._memory

    def recall(self, memory: BankMemory) -> None:
        """What was kept of it."""
        self._memory = memory
        if isinstance(self._bank, ParallelBank):
            self._bank.recall(memory, asyncio.get_running_loop().time())

    # -- acting ----------------------------------------------------------------------------------

    @property
    def waits(self) -> str:
        """Why its limits are not carried out, in a sentence; empty: they are."""
        if not self.sinks:
            return ""
        packs = self._packs()
        idle = [n for n in self.options.packs if n not in packs or not packs[n].judge.enforcing]
        if idle:
            return (
                f"The limits of the bank are carried out once the policies of all its packs act; "
                f"those of {', '.join(idle)} do not."
            )
        known = self.decision is not None and self.decision.limits is not None
        return "" if known else self.failed or "There are no limits."

    def _carry_out(self, decision: BankDecision, now: float) -> None:
        limits = decision.limits
        if not self.sinks:
            return
        if limits is None or self.waits:
            self.sinks.end()
            return
        packs = self._packs().values()
        interval = max((p.plan.interval for p in packs if p.name in self.options.packs), default=1)
        self.sinks.publish(limits, now, lasts=max(10.0, 2.5 * interval))

    async def run(self) -> None:
        """What carries limits out; until cancelled."""
        await self.sinks.run()

    # -- joining ---------------------------------------------------------------------------------

    def may_join(self, name: str, switch: Switch, *, opened: bool = False) -> JoinVerdict:
        """Whether a switch of one of its packs may close beside the others now; `opened`: if it
        were open."""
        now = asyncio.get_running_loop().time()
        if not self.parallel:
            return JoinVerdict(code=JoinCode.FREE)
        if self._joining is not None:
            other, began = self._joining
            if other != name and now - began < _APART:
                text = (
                    f"{other} is being switched on, and one pack joins at a time: {name} may in "
                    f"{_APART - now + began:.0f} s."
                )
                return JoinVerdict(code=JoinCode.TURN, text=text)
        members = {each.name: each for each in self._members()}
        own = members.pop(name)
        return may_join(
            own, [*members.values()], str(switch), self.options.resistance, now, opened=opened
        )

    def joins(self, name: str, switch: Switch) -> None:
        """A switch of this pack closes now. One that is closed already keeps nobody waiting."""
        now = asyncio.get_running_loop().time()
        own = next(each for each in self._members() if each.name == name)
        if not (own.fresh(now) and own.conducts(str(switch), now)):
            self._joining = name, now

    # -- for people ------------------------------------------------------------------------------

    @property
    def values(self) -> dict[str, float]:
        """Its limits, as numbers: V and A; empty where there are none."""
        found = {} if self.decision is None else {n: getattr(self.decision, n) for n in LIMITS}
        return {name: limit.value for name, limit in found.items() if limit is not None}

    def short(self) -> dict[str, Any]:
        """What belongs to each of its packs."""
        return {"bank": self.name, "connection": self.options.connection.value, **self.values}

    def status(self) -> dict[str, Any]:
        """For people and programs."""
        now = asyncio.get_running_loop().time()
        found = self.decision
        served = any(name in self._packs() for name in self.options.packs)
        known: dict[str, Any] = {"bank": self.name, "connection": self.options.connection.value}
        if found is not None:
            known |= found.to_dict()
        return {
            **known,
            "age": None if found is None else round(now - found.time, 3),
            "failed": self.failed or ("" if served else "None of its packs is served here."),
            "sinks": self.sinks.alive(now),
            "sink_trouble": " ".join(filter(None, [self.sinks.trouble, self.waits])),
        }


def _board(pack: ServedPack) -> str:
    """Which board answers, as far as it said so."""
    identity = pack.identity
    return "" if identity is None else pack_key(pack.board, identity)


class BankSink:
    """What carries the limits of a pack out where its bank's does: a `LimitSink`."""

    def __init__(self, bank: Callable[[], ServedBank | None]) -> None:
        self._bank = bank

    @property
    def state(self) -> SinkState:
        """That of the bank's sink: a limit of the bank holds each pack below its own."""
        bank = self._bank()
        if bank is None or bank.waits:
            return SinkState()
        return next(iter(bank.sinks.states), SinkState())

    @property
    def trouble(self) -> str:
        """Why the bank's limits are not carried out."""
        bank = self._bank()
        return "" if bank is None else bank.waits or bank.sinks.trouble

    def give(self, line: dict[str, Any], now: float) -> None:
        """The bank says its own limits."""

    async def run(self) -> None:
        """There is nothing to do."""


class BankJoin:
    """The gate of one pack: `Board.joins`."""

    def __init__(
        self,
        name: str,
        bank: Callable[[], ServedBank | None],
        freshen: Callable[[], Awaitable[None]],
    ) -> None:
        """`freshen`: what reads the pack for whoever has its board."""
        self._name, self._bank, self._freshen = name, bank, freshen

    async def freshen(self) -> None:
        """Have the pack read: while a command has its board, nobody else does."""
        await self._freshen()

    def why_not(self, switch: Switch, *, opened: bool = False) -> str:
        """Why it may not close now, in a sentence; empty: it may."""
        bank = self._bank()
        return "" if bank is None else bank.may_join(self._name, switch, opened=opened).text

    def began(self, switch: Switch) -> None:
        """It closes now."""
        bank = self._bank()
        if bank is not None:
            bank.joins(self._name, switch)
