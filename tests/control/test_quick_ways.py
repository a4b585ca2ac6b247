"""The quick ways of a cycle decide what the long way decides, byte for byte."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterator
from typing import Any

import pytest

from bmslink.control import Mode
from bmslink.control.decide import engine as engine_module
from bmslink.control.decide.catalogue import default_policies
from bmslink.control.decide.records import asking, watch
from bmslink.model import Condition, Reading
from control_support import LFP, Run, healthy, replace, text, warm

_C = Condition
SETTINGS = {"cell_ovp": 3.65, "cell_uvp": 2.5, "charge_utp": 0.0, "discharge_otp": 65.0}


def readings(draw: random.Random) -> Reading:
    """Healthy to dangerous, with holes; mostly the same temperatures, bits and conditions."""
    volts = round(draw.choice([3.3, 3.42, 3.56, 3.72, 2.65, draw.uniform(2.2, 3.8)]), 3)
    told = draw.choice([25.0, 25.0, 25.0, 2.5, 51.0, -3.0, None])
    reading = healthy(
        volts,
        cells={draw.randint(1, 16): round(volts + draw.choice([0, 0, 0.004, 0.13, -0.4]), 3)},
        current=draw.choice([0.0, 0.0, -1.0, 30.0, -60.0, -170.0]),
        soc=draw.choice([60.0, 99.0, 78.0, 9.0, None]),
        temperatures=warm(25.0, **draw.choice([{}, {"cell_2": told}, {"balancer": 40.0}])),
        protections=draw.choice(
            [(), (), (Condition.CELL_OVERVOLTAGE,), (Condition.SHORT_CIRCUIT,)]
        ),
        charging_allowed=draw.choice([True, True, False, None]),
        conditions_known=draw.choice([True, True, False]),
        raw={"current_sign": draw.choice(["reported", "reported", "assumed"])},
    )
    return draw.choice([reading] * 9 + [replace(reading, cell_voltages=())])


def told(seed: int) -> list[str]:
    """Everything that an engine decides over a log, with silences and restarts."""
    draw = random.Random(seed)
    policies = default_policies(LFP).changing("soc_floor", mode=Mode.SHADOW)
    policies = policies.changing("high_soc_dwell", on_delay=20.0, off_delay=5.0)
    sink = draw.random() < 0.5
    run = Run(policies, settings=SETTINGS, sink=sink)
    found = []
    for _ in range(8):
        reading, kind = readings(draw), draw.random()
        for _ in range(draw.choice([1, 3, 30, 90])):
            if kind < 0.15:
                decision = run.silence(0)
            else:
                noise = [v and round(v + draw.gauss(0, 0.001), 3) for v in reading.cell_voltages]
                decision = run(replace(reading, cell_voltages=tuple(noise)))
            found.append(text(decision))
        if kind > 0.85:
            saved = json.loads(json.dumps(run.engine.save()))
            again = Run(policies, settings=SETTINGS, sink=sink)
            again.now, again.uptime = run.now, run.uptime
            again.engine.load(saved, run.now)
            run = again
        found.append(str(list(seen(run))))
    return found


def seen(run: Run) -> Iterator[tuple[str, float | None, bool]]:
    """What the levels saw last, of good data and without a gate."""
    for rule, state in run.engine.rules:
        if rule.gate is None and state.value is not None and not state.missing:
            yield rule.name, state.value, state.applies


def _never(*_: Any) -> bool:
    return False


@pytest.mark.parametrize("seed", range(6))
def test_the_quick_ways_decide_what_the_long_way_decides(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = told(seed)
    monkeypatch.setattr(watch, "goes_on", _never)
    monkeypatch.setattr(watch, "goes_on_dark", _never)
    monkeypatch.setattr(watch, "_quiet_below", lambda rule: -math.inf)
    monkeypatch.setattr(engine_module, "_INPUTS", {})
    asks = asking.Asking.__call__

    def forgetful(self: asking.Asking, *given: Any) -> asking.RuleDemands:
        self._kept.clear()
        self._before = None
        return asks(self, *given)

    monkeypatch.setattr(asking.Asking, "__call__", forgetful)
    slow = told(seed)
    assert len(quick) == len(slow)
    for number, (one, other) in enumerate(zip(quick, slow, strict=True)):
        assert one == other, number


def test_what_is_loaded_into_an_engine_at_work_is_in_force() -> None:
    """What was calm before is not taken for calm."""
    tripped = Run()
    tripped(healthy(3.76), 10)
    calm = Run()
    calm(healthy(), 10)
    assert calm.decision.charge.allowed
    calm.engine.load(tripped.engine.save(), calm.now)
    decision = calm(healthy(), 10)
    assert not decision.charge.allowed
    assert "cell_overvoltage_critical" in {r.policy for r in decision.charge.reasons}
