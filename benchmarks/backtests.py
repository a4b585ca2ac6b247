"""What a sample of a log costs in a back-test, from the line of JSON to the sums."""

from __future__ import annotations

import json
import math
import random
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bmslink.control import Battery
from bmslink.control.backtest.backtest import backtest
from bmslink.control.backtest.logs import Log
from bmslink.control.decide.catalogue import default_policies
from bmslink.model import Reading

_START = datetime(2026, 1, 1, tzinfo=UTC)


def costs(count: int) -> Iterator[tuple[str, float]]:
    """What is measured, and CPU seconds per sample."""
    for cells in (16, 32):
        battery = Battery(chemistry="lfp", cells=cells, capacity=100.0)
        policies = default_policies(battery)
        readings = list(_days(cells, count))
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "log.jsonl")
            with path.open("w") as file:
                file.writelines(json.dumps(r.to_dict()) + "\n" for r in readings)
            for files in (1, 2):
                start = time.process_time()
                backtest(Log(path), [policies] * files)
                passed = time.process_time() - start
                yield f"a log of {cells} cells, {files} policy file(s)", passed / count


def _days(cells: int, count: int) -> Iterator[Reading]:
    """Charging by day and discharging by night, with noise, every 10 s."""
    draw = random.Random(1)
    for number in range(count):
        wave = math.sin(number / 8640 * 2 * math.pi)
        voltages = tuple(round(3.33 + 0.06 * wave + draw.gauss(0, 0.001), 3) for _ in range(cells))
        yield Reading(
            target="sim://jbd",
            protocol="jbd",
            time=_START + timedelta(seconds=10 * number),
            voltage=round(sum(voltages), 2),
            current=round(30 * wave + draw.gauss(0, 0.1), 2),
            soc=round(60 + 30 * wave, 1),
            cell_voltages=voltages,
            temperatures={"cell_1": 18.5, "cell_2": round(19 + wave, 1), "mosfet": 24.0},
            charging_allowed=True,
            discharging_allowed=True,
            uptime=10.0 * number,
            raw={"current_sign": "reported"},
        )
