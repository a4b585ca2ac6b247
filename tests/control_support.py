"""Helpers for the tests of the control layer: readings of a healthy pack, and an engine at work."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from bmslink.control import Battery, Decision, Engine, Event, Mode, PolicySet
from bmslink.control.decide.catalogue import default_policies
from bmslink.model import Reading

CELLS = 16
LFP = Battery(
    chemistry="lfp", cells=CELLS, capacity=100.0, charge_current=50.0, discharge_current=100.0
)
ALL = (Mode.SHADOW, Mode.ENFORCE)


def healthy(cell: float = 3.3, /, **changes: Any) -> Reading:
    """A pack at rest at 25 °C; `cells` is a mapping of cell number to volts."""
    voltages: list[float | None] = [cell] * CELLS
    for number, volts in changes.pop("cells", {}).items():
        voltages[number - 1] = volts
    values: dict[str, Any] = {
        "cell_voltages": tuple(voltages),
        "voltage": round(sum(v for v in voltages if v is not None), 3),
        "current": 0.0,
        "soc": 60.0,
        "temperatures": {"cell_1": 25.0, "cell_2": 25.0, "mosfet": 30.0},
        "charging_allowed": True,
        "discharging_allowed": True,
        "conditions_known": True,
        "raw": {"current_sign": "reported"},
    }
    values.update(changes)
    return Reading(**values)


def warm(celsius: float, **more: float | None) -> dict[str, float | None]:
    """Temperatures of a pack that is as warm everywhere."""
    return {"cell_1": celsius, "cell_2": celsius, "mosfet": 30.0, **more}


class Run:
    """An engine with all shipped policies acting, and a clock that goes on by `poll`."""

    def __init__(self, policies: PolicySet | None = None, **options: Any) -> None:
        self.poll: float = options.setdefault("poll", 1.0)
        options.setdefault("acting", ALL)
        self.engine = Engine(policies or default_policies(LFP), **options)
        self.now = 100.0
        self.uptime = 0.0
        self.decision: Decision | None = None
        self.events: list[Event] = []
        self.changes = {"charge": 0, "discharge": 0, "balance": 0}

    def __call__(self, reading: Reading, seconds: float = 0.0) -> Decision:
        """The pack says the same for so long (at least once); gives back the last decision."""
        end = self.now + seconds
        while True:
            self.now += self.poll
            self.uptime += self.poll
            decision = self._take(
                self.engine.step(
                    reading if reading.uptime is not None else replace(reading, uptime=self.uptime),
                    self.now,
                )
            )
            if self.now >= end:
                return decision

    def silence(self, seconds: float) -> Decision:
        """Nothing is heard for so long."""
        end = self.now + seconds
        while True:
            self.now += self.poll
            decision = self._take(self.engine.tick(self.now))
            if self.now >= end:
                return decision

    def _take(self, decision: Decision) -> Decision:
        last = self.decision
        for name in self.changes:
            if last and getattr(last, name).allowed != getattr(decision, name).allowed:
                self.changes[name] += 1
        self.events += decision.events
        self.decision = decision
        return decision

    def happened(self, policy: str) -> list[str]:
        """What one policy did so far."""
        return [event.what for event in self.events if event.policy == policy]


def replace(reading: Reading, **changes: Any) -> Reading:
    """A reading with other values."""
    import dataclasses

    return dataclasses.replace(reading, **changes)


def only(*names: str, **changes: Any) -> PolicySet:
    """The shipped policies of these names, with changed fields, and no other."""
    shipped = default_policies(LFP)
    chosen = {n: msgspec.structs.replace(shipped.policies[n], **changes) for n in names}
    return msgspec.structs.replace(shipped, policies=chosen)


def verdicts(decision: Decision) -> dict[str, str]:
    """Policy -> state, of all that are not content."""
    return {v.policy: v.state for v in decision.verdicts}


def against(decision: Decision, permit: str) -> set[str]:
    """The policies that withdraw a permit."""
    return {r.policy for r in getattr(decision, permit).reasons}


def holders(decision: Decision, permit: str) -> set[str]:
    """The policies that withdraw a permit, or keep its switch from being switched on."""
    return {r.policy for r in getattr(decision, permit).holders}


def text(decision: Decision) -> str:
    """The bytes of a decision."""
    return json.dumps(decision.to_dict(), ensure_ascii=False)
