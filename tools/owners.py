"""Four owners take the preset of their board, look at a month, and see a real fault in words.

    python tools/owners.py [--days N] [--every S] [--only NAME]

Each plays what docs/control.md says, with the installed commands: a board (`bmslink simulate`), its
preset, `control check`, the back-test of a month that the second pack model made (`month_log.py`),
which must stop and latch nothing; then `control run --shadow`, a fault typed into the simulator,
and the trip must be told in words. Prints the commands and what was seen.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Timer

from lives import LIVES
from month_log import lines

__all__ = ["OWNERS", "Owner", "Seen", "play"]

_BMSLINK = str(Path(sys.executable).with_name("bmslink"))
_PATIENCE = 30.0  # s until a fault is told
_MONTH = 3600.0  # s that a month may take to be made and judged


@dataclass(frozen=True)
class Owner:
    """A pack, its use, and what goes wrong in the end."""

    name: str
    life: str
    board: str
    """What `simulate` is asked for."""
    use: str
    fault: str
    """A line for the simulator's standard input."""
    words: str
    """With which the trip is told."""


OWNERS = (
    Owner("LFP on a dumb charger of 14.4 V", "lfp, dumb charger at 14.4 V",
          "jbd --cells 4 --capacity 280", "solar", "cell 3 3.72",
          "trip  cell_overvoltage: highest cell (cell 3) 3.720 V, at or above"),
    Owner("a van at 2 °C", "a van, mornings at 2 °C",
          "jk02 --cells 4 --capacity 200", "van", "temperature cell_1 -5",
          "trip  charge_undertemperature: coldest cell probe (cell_1) -5.0 °C, at or below"),
    Owner("NMC to 4.20 V", "nmc to 4.20 V",
          "daly-a5 --cells 7 --capacity 50 --chemistry nmc", "solar", "cell 2 4.27",
          "trip  cell_overvoltage: highest cell (cell 2) 4.270 V, at or above"),
    Owner("a UPS that is always full", "a ups, always full",
          "jk-modbus --cells 4 --capacity 100 --soc 99", "ups", "load -160",
          "trip  discharge_overcurrent_instant: discharge current, of its rating 16"),
)  # fmt: skip


@dataclass(frozen=True)
class Seen:
    """What an owner saw."""

    stops: int
    latches: int
    samples: int
    told: str
    """The line of the trip; empty: none came."""

    @property
    def good(self) -> bool:
        """A quiet month, and a fault in words."""
        return not self.stops and not self.latches and bool(self.told) and self.samples > 0


class _Shell:
    """Commands in a folder, shown as they are typed."""

    def __init__(self, folder: Path, *, show: bool) -> None:
        self._folder, self._show = folder, show
        private = {"BMSLINK_STATE": str(folder / "state"), "BMSLINK_JOURNAL": str(folder / "log")}
        self._environment = {**os.environ, **private}

    def run(self, line: str) -> str:
        """What a command prints; it must succeed."""
        self.say(f"$ bmslink {line}")
        done = subprocess.run(
            [_BMSLINK, *shlex.split(line)], cwd=self._folder, env=self._environment, text=True,
            capture_output=True, timeout=600, check=False,
        )  # fmt: skip
        if done.returncode:
            raise SystemExit(f"bmslink {line}: exit code {done.returncode}\n{done.stderr}")
        return done.stdout

    @contextlib.contextmanager
    def left(self, line: str, longest: float) -> Iterator[subprocess.Popen[str]]:
        """A command that goes on in another terminal, for so many seconds at most."""
        self.say(f"$ bmslink {line} &")
        running = subprocess.Popen(
            [_BMSLINK, *shlex.split(line)], cwd=self._folder, env=self._environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        late = Timer(longest, running.kill)
        late.start()
        try:
            yield running
        finally:
            late.cancel()
            running.send_signal(signal.SIGTERM)
            running.communicate(timeout=20)

    def say(self, text: str) -> None:
        """Show a line, if anybody looks."""
        if self._show:
            print(text, flush=True)


def _probes(shell: _Shell, target: str) -> list[str]:
    """The board's probes: two at the cells, the MOSFETs', and those that say nothing."""
    told = json.loads(shell.run(f"read {target} --json"))["temperatures"]
    heard = [name for name, celsius in told.items() if celsius is not None]
    heard.sort(key=lambda name: name == "mosfet")
    return heard + [name for name in told if name not in heard]


def play(
    owner: Owner, folder: Path, *, days: float = 30.0, every: float = 30.0, show: bool = False
) -> Seen:
    """All steps of one owner, in a folder of its own."""
    shell = _Shell(folder, show=show)
    (life,) = (each for each in LIVES if each.name == owner.life)
    with shell.left(f"simulate {owner.board} --tcp 127.0.0.1:0", _MONTH) as board:
        target = _line(board).removeprefix("ready ") + "?gap=0"
        shell.run(f"control presets {owner.use} {target} -o policy.toml")
        shell.run(f"control check policy.toml {target}")
        (folder / "settings.json").write_text(shell.run(f"settings show {target} --json"))
        probes = _probes(shell, target)
        shell.say(f'$ python tools/month_log.py "{life.name}" --days {days:g} > log.jsonl')
        with (folder / "log.jsonl").open("w") as log:
            log.writelines(
                f"{each}\n" for each in lines(life, days=days, every=every, probes=probes)
            )
        tried = "control backtest log.jsonl --policies policy.toml --settings settings.json"
        totals = json.loads(shell.run(f"{tried} --json").splitlines()[0])["totals"]
        watch = f"control run --shadow --policies policy.toml {target} --watch 0.2"
        with shell.left(watch, 2 * _PATIENCE) as watched:
            told = _see(owner, board, watched, shell)
    return Seen(totals["stops"], totals["latches"], totals["samples"], told)


def _line(running: subprocess.Popen[str]) -> str:
    """What a command says next; nothing once it has ended."""
    return running.stdout.readline().rstrip() if running.stdout else ""


def _type(running: subprocess.Popen[str], line: str) -> None:
    if running.stdin:
        running.stdin.write(f"{line}\n")
        running.stdin.flush()


def _see(
    owner: Owner, board: subprocess.Popen[str], watched: subprocess.Popen[str], shell: _Shell
) -> str:
    """Break something when three readings are in, and wait for the words of the policies."""
    end = time.monotonic() + _PATIENCE
    broken = False
    while time.monotonic() < end and (line := _line(watched)):
        shell.say(f"  {line}")
        if owner.words in line:
            return line.strip()
        if not broken and "charge on" in line and "no_data" not in line:
            shell.say(f"> {owner.fault}")
            _type(board, owner.fault)
            broken = True
    return ""


def main(arguments: list[str]) -> int:
    """Play them all; 1 if one of them had no quiet month, or did not see the fault."""
    parser = argparse.ArgumentParser(description="Four owners, a month, and a fault each.")
    parser.add_argument("--days", type=float, default=30.0)
    parser.add_argument("--every", type=float, default=30.0, help="s between readings")
    parser.add_argument("--only", default="", help="part of an owner's name")
    chosen = parser.parse_args(arguments)
    bad = 0
    for owner in (each for each in OWNERS if chosen.only in each.name):
        print(f"== {owner.name}")
        with tempfile.TemporaryDirectory() as folder:
            seen = play(owner, Path(folder), days=chosen.days, every=chosen.every, show=True)
        bad += not seen.good
        print(
            f"== {owner.name}: {chosen.days:g} days, {seen.samples} readings, {seen.stops} stops, "
            f"{seen.latches} latches; told: {seen.told or 'NOTHING'}"
        )
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
