"""A session against the second pack model, which shares nothing with the simulator."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from bmslink.control.sessions.balancer import Balancer, HeldSetting
from bmslink.control.sessions.ends import Ending
from bmslink.control.sessions.machine import step
from bmslink.control.sessions.moment import CellsNow
from bmslink.control.sessions.options import SessionOptions
from bmslink.control.sessions.permit import switched
from bmslink.control.sessions.plan import BoardLimits, SessionPlan, make_plan
from bmslink.control.sessions.state import Around, Phase, SessionState
from bmslink.settings.chemistry import chemistry
from second_pack import Charger, SecondPack

__all__ = ["Bench", "balancer", "spread"]

_TOPS = {"lfp": 57.6, "nmc": 67.2, "lto": 44.0}


def spread(seed: int, cells: int = 16, apart: float = 0.007) -> list[float]:
    """What each cell holds less than the fullest, as shares of its capacity."""
    draw = random.Random(seed)
    found = [-draw.uniform(0, apart) for _ in range(cells)]
    found[draw.randrange(cells)], found[draw.randrange(cells)] = 0.0, -apart
    return found


def balancer(vendor: str = "JK", amps: float = 2.0, **more: Any) -> Balancer:
    settings = {
        "balance_start_voltage": HeldSetting(3.40, True),
        "balance_delta": HeldSetting(0.005, True),
    }
    about: dict[str, Any] = {"on": True, "switchable": True, "settings": settings}
    return Balancer(vendor=vendor, current=amps, **{**about, **more})


@dataclass
class Bench:
    """A pack, a charger, and a session on them; `world` is what goes on around, h into it."""

    seed: int = 1
    kind: str = "lfp"
    capacity: float = 100.0
    amps: float = 2.0
    soc: float = 0.97
    apart: float = 0.007
    interval: float = 10.0
    obeys: bool = True
    world: Callable[[Bench, float], None] | None = None
    plan_of: dict[str, Any] = field(default_factory=dict)
    load: float = 0.0
    """A that the house takes."""
    blind: str = ""
    around: Around = field(default_factory=Around)
    working: bool = True
    switch: bool | None = True

    def __post_init__(self) -> None:
        each = [self.soc + part for part in spread(self.seed, apart=self.apart)]
        draw = random.Random(self.seed)
        self.pack = SecondPack(
            self.kind, 16, self.capacity, each, spread=[draw.uniform(-0.1, 0.1) for _ in each],
            balancer=self.amps, ovp=3.65 if self.kind == "lfp" else 99.0,
            balance_from=chemistry(self.kind).limits["balance_start_voltage"],
        )  # fmt: skip
        self.charger = Charger(self.capacity / 2, _TOPS[self.kind], obeys=self.obeys, cvl=0, ccl=0)
        self.pack.step(1.0, 0.0, self.charger)
        held = balancer(amps=self.amps, **self.plan_of)
        ovp = chemistry(self.kind).limits["cell_ovp"]
        self.plan: SessionPlan = make_plan(
            "x", self.now, chemistry(self.kind), held, BoardLimits(cell_ovp=ovp), SessionOptions(),
            by_sink=True,
        )  # fmt: skip
        self.state = SessionState()
        self.highest = 0.0
        self.switchings: list[bool] = []
        self.phases: list[Phase] = []
        self.worst = 0.0
        """V: the largest difference at the top."""

    @property
    def now(self) -> CellsNow:
        """What a board would say: whole millivolts."""
        pack = self.pack
        return CellsNow(
            cells=tuple(round(v, 3) for v in pack.volts), current=pack.current, soc=97.0,
            capacity=self.capacity, hottest=max(pack.probes), coldest=min(pack.probes),
            part=pack.mosfet, balancing=pack.balancing, charge_switch=True,
            balance_switch=self.switch,
        )  # fmt: skip

    def run(self, hours: float = 60.0) -> Ending | None:
        """Until it ends, or for so long."""
        time = 0.0
        while time < 3600 * hours:
            if self.world is not None:
                self.world(self, time / 3600)
            shown = None if self.blind else self.now
            found = step(self.plan, self.state, shown, time, self.around, blind=self.blind)
            self.state = found.state
            if not self.phases or self.phases[-1] is not found.state.phase:
                self.phases.append(found.state.phase)
            if found.end is not None:
                return found.end
            if found.wish.balance is not None:
                self._switch(found.wish.balance, time)
            self._obey(found.wish.cvl, found.wish.ccl)
            time += self.interval
        return None

    def _switch(self, on: bool, time: float) -> None:
        """The board obeys."""
        self.switchings.append(on)
        self.switch, self.pack.balancer = on, self.amps if on else 0.0
        permit = switched(self.state.permit, time, on=on, confirmed=on)
        self.state = self.state.with_permit(permit)

    def _obey(self, cvl: float | None, ccl: float) -> None:
        """The charger hears it; without limits it lets no current flow."""
        self.charger.cvl, self.charger.ccl = (0.0, 0.0) if cvl is None else (cvl, ccl)
        for _ in range(int(self.interval // 5)):
            self.pack.step(5.0, self.load, self.charger)
            if not self.working:
                self.pack.balancer = 0.0
            self.highest = max(self.highest, *self.pack.volts)
        if max(self.pack.volts) > self.plan.top - 0.02:
            self.worst = max(self.worst, max(self.pack.volts) - min(self.pack.volts))
