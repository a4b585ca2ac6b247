"""A bank of unequal packs on the second pack model, its policies, and an inverter that obeys.

Each pack is read and judged as it is by the service: by its own engine, at its own moments, with
noise. The bank's limits reach the inverter a moment later. What is judged is physics: the current
of each pack beside the limit that its own policies gave it.
"""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from bmslink.control.banks.decision import BankDecision
from bmslink.control.banks.member import Member
from bmslink.control.banks.parallel import ParallelBank
from bmslink.control.decide.catalogue import default_policies
from bmslink.control.decide.decision import Decision
from bmslink.control.decide.engine import Engine
from bmslink.control.decide.policy import Battery, Mode
from bmslink.model import Reading
from second_pack import Charger, ParallelPacks, SecondPack

__all__ = ["BankPack", "BankWorld"]

_STEP = 0.5
"""s of physics."""
_CELLS = 16
_OBEYS = 1.5
"""s until the inverter does what it hears."""
_TTL = 10.0
_LAG = 5.0
"""s that a pack may be beyond a limit that fell: one poll, and the inverter."""
_BEYOND, _SHARE = 2.0, 0.05
"""A and a share: as the detector of disobeyed limits reckons."""


@dataclass
class BankPack:
    """One pack, its board and its policies."""

    name: str
    capacity: float
    soc: float
    cable: float = 0.002
    """Ω."""
    interval: float = 1.0
    phase: float = 0.0
    """s after the others that it is read."""
    hidden: bool = False
    """Nothing is heard of it."""
    apart: bool = False
    """A person said so."""
    offset: float = 0.0
    """A that its sensor is off."""
    noise: float = 0.1
    """A, of its sensor."""
    sign: int = 1
    """-1: its sensor is mounted the wrong way round."""
    late: float = 0.0
    """s that its readings are old, though they look new."""
    readings: deque[tuple[float, Reading]] = field(default_factory=lambda: deque(maxlen=256))
    model: SecondPack = field(init=False)
    engine: Engine = field(init=False)
    reading: Reading | None = None
    heard: float | None = None
    decision: Decision | None = None
    allowed: deque[tuple[float, float, float]] = field(default_factory=lambda: deque(maxlen=64))
    """Times, CCL and DCL of its policies."""

    def __post_init__(self) -> None:
        self.model = SecondPack("lfp", _CELLS, self.capacity, [self.soc] * _CELLS)
        battery = Battery(
            chemistry="lfp", cells=_CELLS, capacity=self.capacity,
            charge_current=0.5 * self.capacity, discharge_current=self.capacity,
        )  # fmt: skip
        self.engine = Engine(
            default_policies(battery), acting=(Mode.SHADOW, Mode.ENFORCE), sink=True,
            poll=self.interval,
        )  # fmt: skip

    def member(self) -> Member:
        """As its bank sees it."""
        return Member(
            name=self.name, reading=self.reading, heard=self.heard, decision=self.decision,
            capacity=self.capacity, cells=_CELLS, interval=self.interval, apart=self.apart,
        )  # fmt: skip


@dataclass
class BankWorld:
    """A bank, an inverter, and time."""

    packs: Sequence[BankPack]
    seed: int = 1
    load: float = 0.0
    """A that the house wants."""
    charge: tuple[float, float] = (0.0, 3.5 * _CELLS)
    """A and V that the charger gives if nobody limits it."""
    now: float = 100.0
    said: list[BankDecision] = field(default_factory=list)
    """Decisions of which a current limit was another one than before."""
    beyond: dict[tuple[str, str], float] = field(default_factory=dict)
    """Pack and direction -> the longest time beyond its own limit, s."""
    stops: int = 0
    """How often a policy wanted a switch open."""
    latest: BankDecision | None = None
    values: list[tuple[float, float, float]] = field(default_factory=list)
    """Time, CCL and DCL, at each change of one of them."""

    def __post_init__(self) -> None:
        self.bank = ParallelBank("house", [p.member() for p in self.packs], {})
        self.node = ParallelPacks([p.model for p in self.packs], [p.cable for p in self.packs])
        self.draw = random.Random(self.seed)
        self._heard: deque[tuple[float, BankDecision]] = deque(maxlen=256)
        self._since: dict[tuple[str, str], float] = {}
        self._asked = dict.fromkeys((p.name for p in self.packs), -math.inf)

    def go_on(self, seconds: float, each: Callable[[float], None] = lambda now: None) -> None:
        """So many seconds pass; `each` is called in every step."""
        for _ in range(round(seconds / _STEP)):
            self.now += _STEP
            each(self.now)
            self._flow()
            for pack in self.packs:
                if self.now - self._asked[pack.name] >= pack.interval - 1e-9 and self._due(pack):
                    self._asked[pack.name] = self.now
                    self._read(pack)
            self._judge()

    def _due(self, pack: BankPack) -> bool:
        return self._asked[pack.name] > -math.inf or self.now % pack.interval >= pack.phase

    def _flow(self) -> None:
        """What the inverter lets flow: it hears late, and without news nothing flows."""
        known = [d for t, d in self._heard if t <= self.now - _OBEYS]
        latest = known[-1] if known else None
        amps, volts = self.charge
        load, limits = self.load, None if latest is None else latest.limits
        if latest is None or limits is None or self.now - latest.time > _TTL + _OBEYS:
            amps = load = 0.0
        else:
            load = min(load, limits.dcl.value + amps)
            amps = min(amps, limits.ccl.value + load)
            volts = min(volts, limits.cvl.value)
        self.node.step(_STEP, load, Charger(amps, volts, on=amps > 0))

    def _read(self, pack: BankPack) -> None:
        if pack.hidden:
            pack.decision = pack.engine.tick(self.now)
        else:
            pack.readings.append((self.now, self._reading(pack)))
            old = [each for time, each in pack.readings if time <= self.now - pack.late]
            pack.reading, pack.heard = (old or [pack.readings[0][1]])[-1], self.now
            pack.decision = pack.engine.step(pack.reading, self.now)
        limits = pack.decision.limits
        pack.allowed.append((self.now, limits.ccl.value, limits.dcl.value))
        self.stops += any(
            event.what in ("trip", "latch") and event.policy.endswith(("_trip", "_critical"))
            for event in pack.decision.events
        )
        found = self.bank.step([p.member() for p in self.packs], self.now)
        self.latest = found
        self._heard.append((self.now, found))
        values = (found.ccl.value if found.ccl else -1.0, found.dcl.value if found.dcl else -1.0)
        if not self.values or self.values[-1][1:] != values:
            self.values.append((self.now, *values))

    def _reading(self, pack: BankPack) -> Reading:
        model, noise = pack.model, self.draw.gauss
        return Reading(
            cell_voltages=tuple(round(v + noise(0, 0.001), 3) for v in model.volts),
            voltage=round(sum(model.volts), 2),
            current=round(pack.sign * model.current + pack.offset + noise(0, pack.noise), 1),
            soc=round(100 * min(1.0, sum(model.soc) / len(model.soc)), 1),
            temperatures={
                "cell_1": round(model.probes[0], 1), "cell_2": round(model.probes[1], 1),
                "mosfet": round(model.mosfet, 1),
            },
            charging_allowed=not model.charge_open and model.protected != "high",
            discharging_allowed=not model.discharge_open and model.protected != "low",
            conditions_known=True,
            uptime=self.now,
            raw={"current_sign": "reported"},
        )  # fmt: skip

    def _judge(self) -> None:
        """How long each pack is beyond what its policies allowed within the last seconds."""
        for pack in self.packs:
            late = [each for each in pack.allowed if self.now - each[0] <= _LAG] or [*pack.allowed][
                -1:
            ]
            for way, sign, index in (("charge", 1, 1), ("discharge", -1, 2)):
                allowed = max((each[index] for each in late), default=0.0)
                flow = sign * pack.model.current
                key = pack.name, way
                if flow <= allowed + max(_BEYOND, _SHARE * allowed):
                    self._since.pop(key, None)
                    continue
                since = self._since.setdefault(key, self.now)
                self.beyond[key] = max(self.beyond.get(key, 0.0), self.now - since + _STEP)

    def changes(self, since: float) -> int:
        """How often a current limit changed since then."""
        return sum(time > since for time, *_ in self.values)
