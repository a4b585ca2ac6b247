"""The dashboard on a pseudo-terminal: how soon its first frame is there, and what watching costs.

The first frame counts as there when the name of the pack is on the screen; the application, when it
has drawn what the pack says, both of a process that is started anew: wall time, and the CPU time
until then, which a busy machine changes less. Watching is the CPU time and the memory of the one
process that reads the packs, the simulated boards included.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

PACKS = 16
_SECONDS = 20.0


class FirstPaint(NamedTuple):
    """From the start of the process, s."""

    frame: float
    frame_cpu: float
    values: float
    values_cpu: float


class Watching(NamedTuple):
    """Of one process."""

    cpu: float
    """Share of one core."""
    megabytes: float
    output: float
    """Bytes a second to the terminal."""


class _Screen:
    """`bmslink monitor` on a terminal of 80x24."""

    def __init__(self, targets: list[str]) -> None:
        self.master, slave = os.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self.written = b""
        self.begun = time.perf_counter()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bmslink", "monitor", *targets],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            env={**os.environ, "TERM": "xterm-256color"},
        )
        os.close(slave)

    def take(self, seconds: float) -> None:
        """What it writes meanwhile."""
        until = time.perf_counter() + seconds
        while (left := until - time.perf_counter()) > 0:
            if select.select([self.master], [], [], left)[0]:
                self.written += os.read(self.master, 65536)
                return

    def until(self, words: bytes) -> float:
        """Seconds from the start until it has written something."""
        while words not in self.written:
            if time.perf_counter() - self.begun > 60:
                raise TimeoutError(f"the screen never showed {words!r}")
            self.take(1.0)
        return time.perf_counter() - self.begun

    def cpu(self) -> float:
        """Seconds of CPU so far."""
        text = Path(f"/proc/{self.process.pid}/stat").read_text()
        fields = text.rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def megabytes(self) -> float:
        """Resident now."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        (line,) = (each for each in lines if each.startswith("VmRSS"))
        return int(line.split()[1]) / 1024


@contextlib.contextmanager
def _monitor(*targets: str) -> Iterator[_Screen]:
    screen = _Screen(list(targets))
    try:
        yield screen
    finally:
        os.write(screen.master, b"q")
        with contextlib.suppress(subprocess.TimeoutExpired):
            screen.process.wait(10)
        screen.process.kill()
        screen.process.wait()
        os.close(screen.master)


def first_paint() -> FirstPaint:
    """Once."""
    with _monitor("sim://jbd?cells=16") as screen:
        frame, frame_cpu = screen.until(b"sim://"), screen.cpu()
        return FirstPaint(frame, frame_cpu, screen.until(b"live,"), screen.cpu())


def watching(seconds: float = _SECONDS) -> Watching:
    """16 packs, half JBD, half JK, twice a second."""
    packs = [f"sim://{'jbd' if n % 2 else 'jk02'}?cells=16&seed={n}&gap=0" for n in range(PACKS)]
    with _monitor(*packs) as screen:
        screen.until(b"SOC 60 %")
        os.write(screen.master, b"+")  # from 1 s to 0.5 s
        begun = time.perf_counter()
        while time.perf_counter() - begun < 3:
            screen.take(0.2)
        before, sent, begun = screen.cpu(), len(screen.written), time.perf_counter()
        while time.perf_counter() - begun < seconds:
            screen.take(0.2)
        passed = time.perf_counter() - begun
        return Watching(
            (screen.cpu() - before) / passed,
            screen.megabytes(),
            (len(screen.written) - sent) / passed,
        )
