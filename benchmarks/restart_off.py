"""How long an off that is due waits when what acts on a pack dies (SIGKILL) and is started at once.

    python benchmarks/restart_off.py [--kills 10] [--protocols jk-nw,jbd,daly-a5] [--steps]

One simulated board a protocol behind a pseudo-terminal of this process, every byte at the board's
speed. A cell violates and charging is off; the program is killed, and somebody switches charging on
in an app. Then the same program starts again: `bmslink control run --enforce`, and `bmslink serve`.
Of each kill three times: to the first byte, to the off, and the processor time until then, which
other work changes less. The target is 3 s. `--steps` shows when each question began.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import bmslink
from bmslink.control.presets import preset
from bmslink.model import Switch
from bmslink.runtime.acting.start import approve_policies
from bmslink.simulation.terminal import Terminal
from bmslink.simulation.transport import SimLine, make_device

TARGET = 3.0
"""s."""
_CELL, _VOLTS = 2, 3.58
_PATIENCE = 30.0
_LOOK = 0.005
_APART = 0.05
"""Bytes so far apart begin another question, s."""


class RestartOff(NamedTuple):
    """After one SIGKILL, s."""

    asked: float
    off: float
    cpu: float


def _policies() -> str:
    text = preset("lfp", "solar", cells=4, capacity=100.0)
    for old, new in (
        ('mode = "shadow"', 'mode = "enforce"'),
        ('ov_warning = "3.66 V"', 'ov_warning = "3.50 V"'),
        ('ov_trip = "3.70 V"', 'ov_trip = "3.55 V"'),
        ('chemistry = "lfp"', 'chemistry = "lfp"\nhost_power = "other"'),
    ):
        text = text.replace(old, new)
    return text


class Watched:
    """A simulated board, and when it was asked what."""

    def __init__(self, folder: Path, protocol: str) -> None:
        self.folder = folder
        self.device = make_device(protocol, cells=4, load="idle")
        self.terminal = Terminal(folder / "bms")
        self.line = SimLine(
            self.device, self.terminal.write, client_rate=lambda: self.terminal.rate, pace=True
        )
        self.terminal.listen(self._hear)
        self.target = f"{protocol}+serial://{folder}/bms"
        self.heard: list[float] = []

    def _hear(self, data: bytes) -> None:
        self.heard.append(time.monotonic())
        self.line.receive(data)

    @property
    def charging(self) -> bool:
        """Whether charging is switched on."""
        return bool(self.device.pack.truth().charge_switch)

    def violate(self) -> None:
        """From now on one cell is too high."""
        self.device.tick()
        self.device.pack.set_cell_voltage(_CELL, _VOLTS)

    def app(self) -> None:
        """Somebody switches charging on."""
        self.device.tick()
        self.device.pack.switch(Switch.CHARGE, True)

    async def until_off(self) -> None:
        """Wait until charging is off."""
        for _ in range(round(_PATIENCE / _LOOK)):
            if not self.charging:
                return
            await asyncio.sleep(_LOOK)
        raise TimeoutError("the off that was due never came")

    async def approve(self) -> None:
        """A person does, once."""
        text = _policies()
        file = self.folder / "p.toml"
        file.write_text(text)
        (self.folder / "bmslink.toml").write_text(
            f'[packs.p]\ntarget = "{self.target}"\npolicies = "{file}"\nenforce = true\n'
        )
        async with bmslink.connect(self.target) as device:
            approve_policies(device.board, await device.identify(), text, "p.toml", "anna")

    async def begin(self, *, served: bool) -> asyncio.subprocess.Process:
        """What acts starts."""
        run = ("control", "run", self.target, "--enforce", "--policies", f"{self.folder}/p.toml")
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", "bmslink", *(("serve",) if served else run), "--quiet",
            env={k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"},
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def measure(protocol: str, kills: int, *, served: bool, steps: bool) -> list[RestartOff]:
    """The first start is not counted."""
    found = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        own = {"RUNTIME": "r", "JOURNAL": "j", "STATE": "s", "CONFIG": "bmslink.toml"}
        os.environ.update({f"BMSLINK_{key}": str(folder / file) for key, file in own.items()})
        board = Watched(folder, protocol)
        await board.approve()
        process = await board.begin(served=served)
        board.violate()
        await board.until_off()
        for _ in range(kills):
            await asyncio.sleep(3.0)
            began = time.monotonic()
            process.send_signal(signal.SIGKILL)
            await process.wait()
            board.app()
            board.heard.clear()
            process = await board.begin(served=served)
            await board.until_off()
            off = time.monotonic() - began
            found.append(RestartOff(board.heard[0] - began, off, _cpu(process.pid)))
            if steps:
                print("  ", *(f"{each - began:.2f}" for each in _questions(board.heard)))
        process.kill()
        await process.wait()
        board.line.close()
        board.terminal.close()
    return found


def _questions(heard: list[float]) -> list[float]:
    return [each for i, each in enumerate(heard) if not i or each - heard[i - 1] > _APART]


def _shown(values: list[float]) -> str:
    return f"{statistics.median(values):.2f} s, longest {max(values):.2f} s"


def main() -> int:
    """Measure; 0 where the target is kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--protocols", default="jk-nw,jbd,daly-a5")
    parser.add_argument("--steps", action="store_true")
    chosen = parser.parse_args()
    longest = 0.0
    for protocol in chosen.protocols.split(","):
        for served in (False, True):
            found = asyncio.run(measure(protocol, chosen.kills, served=served, steps=chosen.steps))
            what = f"{protocol}, {'serve' if served else 'control run'}"
            print(f"{what}: first byte after {_shown([each.asked for each in found])}")
            print(f"{what}: off after {_shown([each.off for each in found])}")
            print(f"{what}: CPU until then {_shown([each.cpu for each in found])}")
            longest = max(longest, *(each.off for each in found))
    return longest > TARGET


if __name__ == "__main__":
    raise SystemExit(main())
