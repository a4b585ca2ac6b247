"""What one cycle of deciding and acting costs: a reading of 32 cells, all shipped policies. In CPU
time, or a busy machine would be measured."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

from bmslink.control import Battery, Engine, Mode
from bmslink.control.act.actuator import ACTUATORS, Sent
from bmslink.control.act.detectors import CurrentWatch, detect
from bmslink.control.act.facts import facts_of
from bmslink.control.act.ledger import Ledger
from bmslink.control.act.mandate import Mandate
from bmslink.control.act.reconciler import reconcile
from bmslink.control.decide.catalogue import default_policies
from bmslink.model import Reading
from bmslink.simulation.pack.pack import Pack

CELLS = 32
_HIGH = 3.72  # V, of a cell that trips


def cycles(rounds: int) -> Iterator[tuple[str, list[float]]]:
    """Seconds per cycle over ten simulated minutes each: a calm pack, and one with two faults; the
    engine alone, and with everything that acts: facts, detectors, reconciler."""
    pack = Pack(cells=CELLS)
    calm = [_later(pack) for _ in range(600)]
    pack.set_cell_voltage(7, _HIGH)
    pack.set_temperature("cell_1", -4.0)
    faulty = [_later(pack) for _ in range(600)]
    for name, readings in (("calm", calm), ("two trips", faulty)):
        yield f"{name}, {len(_engine().plan.rules)} policies", _times(readings, rounds)
        found = [_acted(readings) for _ in range(rounds)]
        yield f"{name}, and the reconciler", [each.reconciled for each in found]
        yield f"{name}, and facts and detectors", [each.whole for each in found]


def _later(pack: Pack) -> Reading:
    pack.advance(1.0)
    return pack.truth()


def _engine() -> Engine:
    battery = Battery(
        chemistry="lfp", cells=CELLS, capacity=100.0, charge_current=50, discharge_current=100
    )
    return Engine(default_policies(battery), acting=(Mode.ENFORCE, Mode.SHADOW))


def _times(readings: list[Reading], rounds: int) -> list[float]:
    found = []
    for _ in range(rounds):
        engine = _engine()
        start = time.process_time()
        for second, reading in enumerate(readings):
            engine.step(reading, float(second))
        found.append((time.process_time() - start) / len(readings))
    return found


class Acted(NamedTuple):
    """Seconds per cycle."""

    whole: float
    """Engine, facts of the reading, detectors, reconciler."""
    reconciled: float
    """Engine and reconciler alone."""


def _acted(readings: list[Reading]) -> Acted:
    """The same with what acts: charge is shown on until it was switched off."""
    told = [
        {on: replace(r, charge_switch=on, discharge_switch=True) for on in (True, False)}
        for r in readings
    ]
    mandate = Mandate(enforce=True, host_power="other", capacity=100.0)
    alive = {"charge": True}
    engine, ledger, watch, on = _engine(), Ledger.new("pack", 0.0), CurrentWatch(), True
    seen = []
    start = time.process_time()
    for second, each in enumerate(told):
        reading, now = each[on], float(second)
        decision = engine.step(reading, now)
        facts = facts_of(reading, decision)
        off = {n: r.own and r.confirmed for n in ACTUATORS for r in (ledger.record(n),)}
        watch, holds, _ = detect(watch, decision.limits, facts, alive, off, now)
        commands, ledger, _ = reconcile(
            ledger, decision, facts, alive, now, mandate=mandate, detected=holds
        )
        seen.append((reading, facts, holds))
        for command in commands:
            ledger = ledger.heard_of(command.actuator, command.id, Sent(sent=True))
            on = command.on
    whole = time.process_time() - start
    if on is (readings[0].cell_voltages[6] == _HIGH):
        raise RuntimeError("it did not act as it should")
    engine, ledger = _engine(), Ledger.new("pack", 0.0)
    start = time.process_time()
    for second, (reading, facts, holds) in enumerate(seen):
        now = float(second)
        decision = engine.step(reading, now)
        commands, ledger, _ = reconcile(
            ledger, decision, facts, alive, now, mandate=mandate, detected=holds
        )
        for command in commands:
            ledger = ledger.heard_of(command.actuator, command.id, Sent(sent=True))
    return Acted(whole / len(told), (time.process_time() - start) / len(told))
