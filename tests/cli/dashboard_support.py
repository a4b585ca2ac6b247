"""A bank of packs for the tests of the dashboard: the same values every time."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

from bmslink.cli.dashboard.desk import Desk
from bmslink.cli.dashboard.drawing import draw
from bmslink.cli.dashboard.keys import Keyboard
from bmslink.cli.dashboard.model.pack import WatchedPack
from bmslink.cli.render import text as t
from bmslink.model import Condition, Identity, Reading

__all__ = [
    "CLOCK", "NOW", "READING", "SIZES", "bank", "press", "screen", "snapshot", "snapshot_file",
    "tripped", "watched",
]  # fmt: skip

NOW = 1000.0
CLOCK = datetime(2026, 5, 4, 12, 30, 15, tzinfo=timezone(timedelta(hours=2)))
READING = Reading(
    target="jbd+sim://",
    protocol="jbd",
    time=datetime(2026, 5, 4, 10, 30, 15, tzinfo=UTC),
    voltage=53.1,
    current=-12.34,
    soc=61.0,
    soh=99.0,
    remaining_capacity=61.2,
    full_capacity=100.1,
    nominal_capacity=104.0,
    cycles=12,
    cell_voltages=tuple(round(3.318 + 0.001 * ((7 * i) % 4), 3) for i in range(16)),
    cell_resistances=tuple(0.1 + 0.01 * i for i in range(16)),
    temperatures={"cell_1": 24.2, "cell_2": None, "mosfet": 30.1},
    balancing_active=True,
    balancing_cells=(3, 7),
    balance_current=0.1,
    charge_switch=True,
    discharge_switch=True,
    balance_switch=True,
    charging_allowed=True,
    discharging_allowed=True,
    heater=False,
    conditions_known=True,
    uptime=12345.0,
)


def tripped(reading: Reading = READING) -> Reading:
    """One cell far too high, and what the board does about it."""
    return replace(
        reading,
        cell_voltages=(*reading.cell_voltages[:4], 3.661, *reading.cell_voltages[5:]),
        protections=(Condition.CELL_OVERVOLTAGE,),
        alarms=(Condition.CELL_DELTA,),
        charging_allowed=False,
    )


def watched(name: str, reading: Reading | None = READING, at: float = NOW - 0.4) -> WatchedPack:
    """A pack that was read every second for two minutes."""
    pack = WatchedPack(name, f"jbd+serial:///dev/{name}")
    if reading is None:
        return pack
    calm = replace(reading, protections=(), alarms=(), charging_allowed=True)
    pack.meet(Identity(vendor="JBD", model="SP16S", firmware="2.1"), "", CLOCK)
    for age in range(120, 0, -1):
        then = CLOCK - timedelta(seconds=age)
        pack.take(replace(calm, current=-12.34 + age / 60), at - age, then)
    pack.take(reading, at, CLOCK - timedelta(seconds=75))
    return pack


def bank(count: int = 12) -> list[WatchedPack]:
    """One that tripped, one that is silent, one that warns, one that is off, and the others; none
    of those in trouble is among the first."""
    packs = [watched(f"bank-{n:02}") for n in range(1, count + 1)]
    if count >= 9:
        packs[-1] = watched(packs[-1].name, tripped())
        packs[-2].fail("No answer: is the BMS awake?", NOW - 20, CLOCK, lost=False)
        packs[-3] = watched(packs[-3].name, replace(READING, alarms=(Condition.SOC_LOW,)))
        packs[-4] = watched(packs[-4].name, replace(READING, charge_switch=False))
    return packs


def screen(desk: Desk, width: int = 80, height: int = 24, g: t.Glyphs = t.UNICODE) -> list[str]:
    """The lines of the screen; they always fill it exactly."""
    lines = draw(desk, width, height, NOW, CLOCK, g)
    assert len(lines) == height
    assert {line.cell_len for line in lines} <= {width}
    return [line.plain for line in lines]


def press(desk: Desk, *keys: str) -> object:
    """Keys, one after the other; what the last one asks for."""
    wish = None
    for key in keys:
        screen(desk)
        wish = Keyboard(desk).press(key, NOW)
    return wish


SIZES = ((80, 24), (100, 30), (160, 50), (300, 80))


def snapshot(size: tuple[int, int]) -> str:
    """The list and the zoom at a size, as text."""
    desk = Desk(bank())
    pages = [screen(desk, *size)]
    press(desk, "enter")
    pages.append(screen(desk, *size))
    return "\n".join("\n".join(line.rstrip() for line in page).rstrip() for page in pages) + "\n"


def snapshot_file(size: tuple[int, int]) -> Path:
    """Where it is kept."""
    return Path(__file__).parent / "snapshots" / f"dashboard-{size[0]}x{size[1]}.txt"


if __name__ == "__main__":
    for each in SIZES:
        snapshot_file(each).write_text(snapshot(each))
