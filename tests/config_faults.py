"""Boards that misbehave while they are configured, for every protocol alike.

A fault strikes at the n-th write of a slot. What a write is, is asked of the driver that makes it,
so nothing here knows a protocol's bytes, `REFUSALS` and `OTHERS` excepted.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Awaitable, Callable, Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bmslink.board import Board
from bmslink.config import Plan, draft
from bmslink.config.effects import kept_off, matters
from bmslink.errors import BmsError, LinkClosed
from bmslink.link.transport import Endpoint, OnData, OnLost
from bmslink.protocols.abilities import settings_of
from bmslink.protocols.base import Driver
from bmslink.protocols.common.settings_map import RawSettings, SettingsSnapshot, Slot, WriteCommand
from bmslink.protocols.jbd.framing import JBDFrame, JBDFramer
from bmslink.simulation.pack.pack import Pack
from bmslink.simulation.responder import Answer, Responder, make_responder
from bmslink.simulation.transport import SimDevice, SimTransport
from bmslink.simulation.wire import WireFaults
from bmslink.storage.journal import Journal
from bmslink.target import resolve


def _jbd_refusal(request: bytes) -> bytes:
    (frame,) = JBDFramer().feed(request)
    return JBDFramer().encode(JBDFrame(mark=frame.code, code=0x81))


REFUSALS: dict[str, Callable[[bytes], bytes]] = {"jbd": _jbd_refusal}
"""How a board says no to a write; those that are not here say nothing."""
OTHERS = {"jbd": "2.1", "jk02": "14.20", "jk-modbus": "14.20"}
"""Another firmware of the simulated board, where there is one."""

_LIMITS = {"cell_ovp": 3.6, "cell_ovp_release": 3.45, "charge_utp": 1.0}
WISHES: dict[str, Mapping[str, object]] = {
    "jbd": {**_LIMITS, "cell_uvp_delay": 4},
    "jk02": {**_LIMITS, "charge_ocp_delay": 20},
    "jk-modbus": {**_LIMITS, "charge_ocp_delay": 20},
    "daly-p81": {**_LIMITS, "cell_uvp": 2.6},
    "daly-d2": {"cell_ovp": 3.6, "cell_uvp": 2.55, "charge_utp": 1.0},
    "daly-a5": {"cell_ovp": 3.6, "charge_ocp": 90, "charge_utp": 1.0, "pack_ovp": 14.2},
    "jk04": {"balance_delta": 0.015, "balance_current": 0.6, "balance_switch": False},
    "jk-nw": {"charge_switch": False, "discharge_switch": False},
}
"""Changes that the simulated board of a protocol may make, each of a slot of its own."""


_KEPT = {"daly-d2": 1}
"""Writes of what the board would compute anew beside them, and is to stay."""


def writes_of(protocol: str) -> int:
    """How often the change of a protocol writes."""
    return len(WISHES[protocol]) + _KEPT.get(protocol, 0)


UNLIKE = ("jbd", "jk02", "daly-d2")
"""Factory mode, a stream, and answers without a name: the other protocols are written to alike."""


def combinations() -> list[tuple[str, str, int]]:
    """Every fault of every protocol at every write of its change: protocol, fault, write."""
    return [
        (protocol, fault, at)
        for protocol in WISHES
        for fault in FAULTS
        if fault != "other firmware" or protocol in OTHERS
        if fault not in BESIDE or protocol not in ALONE
        for at in range(1, writes_of(protocol) + 1)
    ]


def one_write_each() -> list[tuple[str, str, int]]:
    """Of these, one write for each fault of each protocol: another one for the next protocol, so
    that each fault strikes at each write, and each write of each protocol is struck. A fault that
    few protocols have is not left out."""
    protocols, faults = list(WISHES), list(FAULTS)

    def turn(protocol: str, fault: str) -> int:
        return (protocols.index(protocol) + faults.index(fault)) % writes_of(protocol) + 1

    return [
        each for each in combinations() if each[2] == turn(*each[:2]) or each[1] == "other firmware"
    ]


Writing = tuple[int, Slot, bytes]
"""The number of a write from 1, its slot and its bytes."""


State = tuple[int, int, tuple[object, ...]]
"""Records in the journal, frames sent that change something, and what the board holds."""


class Killed(BaseException):
    """The process is gone."""


@dataclass
class World:
    """One simulated board with whatever befalls it."""

    protocol: str
    folder: Path
    fault: str = ""
    at: int = 1
    writes: int = 0
    sent: list[bytes] = field(default_factory=list)
    """Every frame that left."""
    recorded: int = 0
    """Records that the journal got."""
    strikes: int = 0
    dead: bool = False
    """The client was killed: nothing that it does reaches anything."""
    deaf_until: float = -1.0
    on_write: Callable[[], object] = lambda: None
    late: list[Answer] = field(default_factory=list)
    stuck: int = 0
    spare: Responder | None = None
    """The board that was there, while another one answers."""
    pokes: dict[str, list[list[bytes]]] = field(default_factory=dict)
    """Fault -> for each write the frames of somebody else that change a slot."""

    def __post_init__(self) -> None:
        self.pack = Pack(cells=4, load="idle", seed=1)  # few: a pack lives through much here
        self.node: Responder = make_responder(self.protocol, self.pack)
        self.journal = MortalJournal(self)

    def device(self, *, faulty: bool = True) -> Board:
        """Somebody who wants to talk to the board, not yet connected."""
        device = Board(resolve(f"sim://{self.protocol}"))
        watcher = _Watcher(self, device) if faulty else None
        proxy = _Proxy(self, watcher)
        sim = SimDevice(self.pack, proxy, WireFaults(self.pack), 1.0)
        device.link.transport = _Line(self, device.target, sim, watcher)
        return device

    def recover(self) -> None:
        """All faults are over."""
        self.fault, self.deaf_until, self.dead = "", -1.0, False
        self.node, self.spare = self.spare or self.node, None

    async def table(self) -> SettingsSnapshot:
        """What stands in the board, read by somebody whom no fault befalls."""
        async with self.device(faulty=False) as device:
            return await device.settings()

    async def plan(self, wanted: Mapping[str, object] | None = None) -> Plan:
        """The plan for what is wished, made while all is well."""
        async with self.device(faulty=False) as device:
            plan = await draft(
                device,
                wanted or WISHES[self.protocol],
                chemistry="lfp",
                journal=self.journal,
            )
            assert not plan.blocked, plan.blocked
            await self.prepare(device, plan)
            return plan

    async def prepare(self, device: Board, plan: Plan) -> None:
        """What others may write while the plan is carried out."""
        slots = plan.table.map.by_address
        order = [change.slot for change in plan.changes]

        async def frames(address: int, data: bytes) -> list[bytes]:
            with settings_of(device.driver).seen.vouching(
                {address: data}
            ):  # somebody else may write it
                return await device.rehearse([(slots[address], data)])

        self.pokes["forgets"] = [await frames(c.slot, c.old) for c in plan.changes]
        following = order[1:] + order[:1]
        raw = {c.slot: _off_by_one(self.protocol, c.new) for c in plan.changes}
        self.pokes["neighbour"] = [await frames(a, raw[a]) for a in following]
        if self.protocol not in ALONE:
            for fault, vital in BESIDE.items():
                other = bystander(self.protocol, plan, vital=vital)
                if other is None:
                    continue
                stranger = await frames(other, _off_by_one(self.protocol, plan.table.image[other]))
                self.pokes[fault] = [stranger] * len(order)

    @property
    def rewritten(self) -> bool:
        """Whether the fault had its chance."""
        return self.writes >= self.at

    def state(self, plan: Plan) -> State:
        """All that a process leaves behind that dies now."""
        changing = sum(frame in plan.frames for frame in self.sent)
        held: dict[Any, Any] = {**self.pack.settings, **self.pack.switches}
        return self.recorded, changing, tuple(held.values())

    def poke(self, fault: str) -> list[Answer]:
        """Somebody else writes; what the board answers him."""
        line = self.node.line()
        count = len(self.pokes[fault])
        return [
            answer
            for data in self.pokes[fault][(self.at - 1) % count]
            for answer in line.receive(data)
        ]


def bystander(protocol: str, plan: Plan, *, vital: bool) -> int | None:
    """A slot that is no part of the plan and holds a writable number: one that protection depends
    on, or one that it does not."""
    taken = {change.slot for change in plan.changes}
    image, settings = plan.table.image, plan.table.map
    found = (
        s.slot
        for s in settings.settings
        if s.writable and s.kind == "number" and s.slot not in taken and not s.own and not s.live
        if matters(settings, s.slot, image[s.slot], _off_by_one(protocol, image[s.slot])) is vital
    )
    return next(found, None)


def _off_by_one(protocol: str, raw: bytes) -> bytes:
    """The raw number beside this one: as possible a value as the one that it takes the place of."""
    at = 0 if protocol in LITTLE_ENDIAN else len(raw) - 1
    return raw[:at] + bytes((raw[at] ^ 1,)) + raw[at + 1 :]


class MortalJournal(Journal):
    """A journal that writes nothing any more when its process is dead."""

    def __init__(self, world: World) -> None:
        super().__init__(world.folder)
        self.world = world

    def append(self, event: str, **data: Any) -> None:
        if self.world.dead:
            raise Killed
        self.world.recorded += 1
        super().append(event, **data)


class _Watcher:
    """Knows which write of a slot is under way."""

    def __init__(self, world: World, device: Board) -> None:
        self.now: Writing | None = None
        self._steps: dict[int, tuple[WriteCommand[Any], Writing]] = {}
        driver: Driver[Any] = device.driver
        settings = settings_of(driver)
        make, perform = settings.write_command, driver.perform

        def write_command(slot: Slot, data: bytes) -> WriteCommand[Any]:
            step = make(slot, data)
            if not driver.dry:
                world.writes += 1
                world.on_write()
                self._steps[id(step)] = step, (world.writes, slot, data)
            return step

        async def performing(step: WriteCommand[Any]) -> bool:
            found = self._steps.get(id(step))
            self.now = found[1] if found else None
            try:
                return await perform(step)
            finally:
                self.now = None

        vars(settings).update(write_command=write_command)
        vars(driver).update(perform=performing)

        def rewrite(slot: Slot, data: bytes) -> bytes:
            with settings.seen.vouching({slot.address: data}):  # the board's doing, not ours
                return bytes(device.link.framer.encode(make(slot, data).frame))

        self.rewrite = rewrite


class _Line(SimTransport):
    """A line that can break."""

    def __init__(
        self, world: World, target: Endpoint, sim: SimDevice, watcher: _Watcher | None
    ) -> None:
        super().__init__(target, sim)
        self._world, self._watcher = world, watcher
        self._on_lost: OnLost = lambda error: None
        assert isinstance(sim.responder, _Proxy)
        sim.responder.lose = self.lose

    async def open(self, on_data: OnData, on_lost: OnLost) -> None:
        if self._world.dead:
            raise Killed
        self._on_lost = on_lost
        await super().open(on_data, on_lost)

    async def write(self, data: bytes) -> None:
        if self._world.dead:
            raise Killed
        self._world.sent.append(data)
        await super().write(data)

    def lose(self) -> None:
        self._on_lost(LinkClosed("The cable was pulled."))


class _Proxy:
    """The board, seen over a line of somebody; the same for all lines, as a real one is."""

    def __init__(self, world: World, watcher: _Watcher | None) -> None:
        self.world, self.watcher = world, watcher
        self.lose: Callable[[], None] = lambda: None

    @property
    def baudrate(self) -> int:
        return self.world.node.baudrate

    @property
    def period(self) -> float | None:
        return self.world.node.period

    def line(self) -> _Proxy:
        return self

    def stream(self) -> bytes:
        return b""

    def pushes(self) -> list[Answer]:
        return [] if self._deaf() else self.world.node.pushes()

    def remember(self) -> None:
        self.world.node.remember()

    def other_request(self, turn: int) -> bytes:
        return b""

    def _deaf(self) -> bool:
        return asyncio.get_running_loop().time() < self.world.deaf_until

    def receive(self, data: bytes) -> list[Answer]:
        world = self.world
        if self._deaf():
            return []
        late, world.late = world.late, []
        now = self.watcher.now if self.watcher else None
        if now is None or not world.fault:
            return late + world.node.receive(data)
        strike = FAULTS[world.fault]
        if now[0] == world.at or (world.strikes and world.fault in PERSISTENT):
            return late + strike(self, data, now)
        return late + world.node.receive(data)


Strike = Callable[[_Proxy, bytes, Writing], list[Answer]]


def _only_once(strike: Strike) -> Strike:
    """The first try of the n-th write; the link's repetitions go through."""

    def once(proxy: _Proxy, data: bytes, now: Writing) -> list[Answer]:
        proxy.world.strikes += 1
        if proxy.world.strikes > 1:
            return proxy.world.node.receive(data)
        return strike(proxy, data, now)

    return once


def _refused(proxy: _Proxy, data: bytes, now: Writing) -> list[Answer]:
    refusal = REFUSALS.get(proxy.world.protocol)
    return [Answer(0.01, refusal(data))] if refusal else []


def _unstored(proxy: _Proxy, data: bytes, now: Writing) -> list[Answer]:
    shared = proxy.world.pack.chemistry
    return copy.deepcopy(proxy.world.node, {id(shared): shared}).receive(data)


def _stuck(proxy: _Proxy, data: bytes, now: Writing) -> list[Answer]:
    world = proxy.world
    if not world.strikes:
        world.strikes, world.stuck = 1, now[1].address
    if now[1].address != world.stuck:
        return world.node.receive(data)
    return _unstored(proxy, data, now)


def _for_good(proxy: _Proxy, data: bytes, now: Writing) -> list[Answer]:
    proxy.world.strikes += 1
    return _unstored(proxy, data, now)


def _rounded(proxy: _Proxy, data: bytes, now: Writing) -> list[Answer]:
    assert proxy.watcher is not None
    return proxy.world.node.receive(
        proxy.watcher.rewrite(now[1], _off_by_one(proxy.world.protocol, now[2]))
    )


def _poke_later(fault: str, seconds: float) -> Strike:
    def strike(proxy: _Proxy, data: bytes, now: Writing) -> list[Answer]:
        answers = proxy.world.node.receive(data)
        asyncio.get_running_loop().call_later(seconds, proxy.world.poke, fault)
        return answers

    return strike


def _forgetful(proxy: _Proxy, data: bytes, now: Writing) -> list[Answer]:
    world = proxy.world
    if not world.strikes:
        world.strikes, world.stuck = 1, now[1].address
    if now[1].address != world.stuck:
        return world.node.receive(data)
    return _poke_later("forgets", 2.0)(proxy, data, now)


def _silent(proxy: _Proxy, data: bytes, now: Writing) -> list[Answer]:
    proxy.world.node.receive(data)
    return []


def _corrupted(proxy: _Proxy, data: bytes, now: Writing) -> list[Answer]:
    return [
        Answer(delay, raw[:-2] + bytes((raw[-2] ^ 0x10,)) + raw[-1:])
        for delay, raw in proxy.world.node.receive(data)
    ]


def _late(proxy: _Proxy, data: bytes, now: Writing) -> list[Answer]:
    proxy.world.late = proxy.world.node.receive(data)
    return []


def _second_master(proxy: _Proxy, data: bytes, now: Writing) -> list[Answer]:
    return proxy.world.poke("second master") + proxy.world.node.receive(data)


def _disconnects(*, stored: bool) -> Strike:
    def strike(proxy: _Proxy, data: bytes, now: Writing) -> list[Answer]:
        if stored:
            proxy.world.node.receive(data)
        proxy.lose()
        return []

    return strike


def _restarts(proxy: _Proxy, data: bytes, now: Writing) -> list[Answer]:
    proxy.world.node = proxy.world.node.line()
    proxy.world.deaf_until = asyncio.get_running_loop().time() + 4.0
    return []


def _replaced(proxy: _Proxy, data: bytes, now: Writing) -> list[Answer]:
    world = proxy.world
    world.node.receive(data)
    world.spare = world.node
    other = OTHERS[world.protocol]
    world.node = make_responder(world.protocol, world.pack, firmware=other)
    proxy.lose()
    return []


def _dies(proxy: _Proxy, data: bytes, now: Writing) -> list[Answer]:
    proxy.world.node.receive(data)
    proxy.world.deaf_until = float("inf")
    return []


FAULTS: dict[str, Strike] = {
    "refuses": _refused,
    "stuck": _stuck,
    "read-only from here on": _for_good,
    "acks without storing": _only_once(_unstored),
    "rounds": _rounded,
    "forgets": _only_once(_poke_later("forgets", 2.0)),
    "forgets again and again": _forgetful,
    "echo lost": _only_once(_silent),
    "all echoes lost": _silent,
    "reply corrupted": _only_once(_corrupted),
    "reply late by one": _only_once(_late),
    "disconnects before": _only_once(_disconnects(stored=False)),
    "disconnects after": _only_once(_disconnects(stored=True)),
    "restarts": _only_once(_restarts),
    "other firmware": _only_once(_replaced),
    "neighbour": _only_once(_poke_later("neighbour", 0.0)),
    "bystander": _only_once(_poke_later("bystander", 1.0)),
    "vital bystander": _only_once(_poke_later("vital bystander", 1.0)),
    "second master": _only_once(_second_master),
    "dies": _dies,
}
ENDS: dict[str, set[str]] = {
    "refuses": {"rolled back"},
    "stuck": {"rolled back"},
    "read-only from here on": {"rolled back", "unknown"},
    "acks without storing": {"rolled back"},
    "rounds": {"rolled back"},
    "forgets again and again": {"rolled back"},
    "vital bystander": {"rolled back"},
    "other firmware": {"unknown"},
    "dies": {"unknown"},
}
"""How each fault ends; those that are not here are overcome."""
_KEPT_ENDS = {"stuck": {"unknown", "rolled back"}, "forgets again and again": {"done"}}
"""The same where the write is of what is to stay, and the board computed it anew: what is stuck
is set back only where the board itself brings it back, and what forgets that write holds what it is
to hold."""
BESIDE = {"bystander": False, "second master": False, "vital bystander": True}
"""Faults that change what the plan does not touch, and whether that matters."""
ALONE = ("jk-nw", "jk04")
"""Protocols whose change touches all that may be written, or all but a few that the simulated
board does not take from others."""
LITTLE_ENDIAN = ("jk02",)
"""Protocols whose settings are integers, low byte first."""
PERSISTENT = ("stuck", "forgets again and again", "read-only from here on")
"""Faults that go on striking at other writes."""


def ends_of(plan: Plan, fault: str, at: int) -> set[str]:
    """How a plan may end that a fault strikes at one of its writes."""
    if plan.changes[at - 1].kept and fault in _KEPT_ENDS:
        return _KEPT_ENDS[fault]
    ends = ENDS.get(fault, {"done"})
    if fault == "refuses" and plan.identity.protocol not in REFUSALS:
        return ends | {"done"}  # mere silence is overcome
    return ends


def equal(table: SettingsSnapshot, image: RawSettings) -> bool:
    """Whether the board holds exactly this, live settings aside."""
    return not table.map.differing(table.image, image)


def set_back(table: SettingsSnapshot, before: RawSettings, plan: Plan) -> bool:
    """Whether the board holds what it did before, a switch aside that the plan turned off."""
    goal = plan.goal
    return all(
        table.map.same(a, table.image.get(a), raw)
        or (
            a in goal
            and table.map.same(a, table.image.get(a), kept_off(table.map, a, raw, goal[a])[0])
        )
        for a, raw in before.items()
    )


class KilledAt(Awaitable[Any]):
    """A coroutine whose process dies at its k-th suspension; `suspensions` counts them."""

    def __init__(
        self,
        main: Any,
        world: World,
        at: int | None,
        suspended: Callable[[], object] = lambda: None,
    ) -> None:
        self._main, self._world, self._at = main, world, at
        self._suspended = suspended
        self.suspensions = 0

    def __await__(self) -> Generator[Any, Any, Any]:
        inner = self._main.__await__()
        result: Any = None
        error: BaseException | None = None
        while True:
            try:
                waits = inner.throw(error) if error is not None else inner.send(result)
            except StopIteration as done:
                return done.value
            self.suspensions += 1
            self._suspended()
            if self.suspensions == self._at:
                self._world.dead = True  # what it still does while it unwinds reaches nothing
                result, error = None, Killed()
                continue
            try:
                result, error = (yield waits), None
            except (BmsError, Killed, asyncio.CancelledError) as exc:  # of what it waited for
                result, error = None, exc
