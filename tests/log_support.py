"""Logs for the tests of back-testing: readings with times, as `read --watch --json` prints them."""

from __future__ import annotations

import asyncio
import dataclasses
import io
import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from bmslink.board import Board
from bmslink.link.transport import Endpoint
from bmslink.model import Reading
from control_support import healthy
from support import virtual_run

START = datetime(2026, 1, 10, 18, 0, 0, tzinfo=UTC)


def at(seconds: float, reading: Reading, target: str = "sim://jbd") -> Reading:
    """The reading at that time of the log."""
    return dataclasses.replace(
        reading, target=target, protocol="jbd", time=START + timedelta(seconds=seconds)
    )


def steady(seconds: float, period: float = 10.0, **changes: Any) -> Iterator[Reading]:
    """The same for so long, with a running time that moves."""
    for n in range(round(seconds / period)):
        yield at(n * period, healthy(uptime=float(n), **changes))


def cold_night(period: float = 10.0) -> Iterator[Reading]:
    """An hour at 10 °C, two below 0 °C (-5 °C at last), two at 10 °C again; 20 A charge all the
    time."""
    for n in range(round(5 * 3600 / period)):
        seconds = n * period
        fallen = min(15.0, max(0.0, (seconds - 3000) / 60))
        risen = min(15.0, max(0.0, (seconds - 3 * 3600) / 60))
        celsius = round(10.0 - fallen + risen, 1)
        yield at(
            seconds,
            healthy(
                uptime=float(n),
                current=20.0,
                temperatures={"cell_1": celsius, "cell_2": celsius, "mosfet": 30.0},
            ),
        )


def lines(readings: Iterable[Reading]) -> str:
    """The JSON lines of readings."""
    return "".join(json.dumps({"schema": 1, **r.to_dict()}) + "\n" for r in readings)


def write(path: Path, readings: Iterable[Reading]) -> Path:
    """A log file."""
    path.write_text(lines(readings))
    return path


def capture(protocol: str, polls: int = 30) -> list[dict[str, Any]]:
    """A capture of a simulated pack: its lines, with a poll every two seconds."""
    file = io.BytesIO()
    kept = _Kept(file)

    async def record() -> None:
        endpoint = Endpoint("sim", "", protocol, {"load": "-30", "seed": "3"})
        async with Board(endpoint, record=kept) as device:
            for n in range(polls):
                kept.second = 2.0 * n
                await device.read()
                await asyncio.sleep(2.0)

    virtual_run(record())
    found = [json.loads(line) for line in file.getvalue().splitlines()]
    found[0]["started"] = START.isoformat()
    for n, (piece, second) in enumerate(zip(found[1:], kept.seconds[1:], strict=True)):
        piece["t"] = round(second + n * 1e-6, 6)
    return found


class _Kept(io.BytesIO):
    """Notes at which second of the test each line came."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__()
        self.second = 0.0
        self.seconds: list[float] = []
        self._file = file

    def write(self, data: Any, /) -> int:
        self.seconds.append(self.second)
        return self._file.write(data)
