"""What one cycle of the control engine costs: a reading of 32 cells, all shipped policies."""

from __future__ import annotations

import time
from collections.abc import Iterator

from bmslink.control import Battery, Engine, Mode
from bmslink.control.decide.catalogue import default_policies
from bmslink.model import Reading
from bmslink.simulation.pack.pack import Pack

CELLS = 32


def cycles(rounds: int) -> Iterator[tuple[str, list[float]]]:
    """Seconds per cycle over ten simulated minutes each: a calm pack, and one with two faults."""
    pack = Pack(cells=CELLS)
    calm = [_later(pack) for _ in range(600)]
    pack.set_cell_voltage(7, 3.62)
    pack.set_temperature("cell_1", -4.0)
    faulty = [_later(pack) for _ in range(600)]
    for name, readings in (("calm", calm), ("two trips", faulty)):
        yield f"{name}, {len(_engine().plan.rules)} policies", _times(readings, rounds)


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
        start = time.perf_counter()
        for second, reading in enumerate(readings):
            engine.step(reading, float(second))
        found.append((time.perf_counter() - start) / len(readings))
    return found
