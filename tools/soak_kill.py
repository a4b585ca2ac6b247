"""Changes that are killed for good (SIGKILL), over and over, and resumed: nothing may be found.

A simulated board keeps running behind a pseudo-terminal. The command that changes it is killed at a
random moment; then the journal must be whole, and `resume` must end the change so that the board
holds the plan or what it held before, byte for byte. Every few lives the journal's last line is cut
short as well, as a power cut does.

    python tools/soak_kill.py --lives 60 --seed 1
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import bmslink
from bmslink.config import resume
from bmslink.config.verify import verify
from bmslink.storage.journal import Journal

_VALUES = {
    "cell_ovp": (3.6, 3.58),
    "cell_uvp": (2.6, 2.7),
    "charge_utp": (1.0, 2.0),
    "charge_otp": (54.0, 53.0),
    "charge_ocp": (90.0, 95.0),
    "balance_delta": (0.02, 0.015),
}
_LONGEST = 60.0
"""Of one command, s."""


class Life:
    """One board, one journal, and what was found."""

    def __init__(self, folder: Path, target: str, rng: random.Random) -> None:
        self.folder = folder
        self.target = target
        self.rng = rng
        self.kills = self.resumed = self.torn = 0
        self.findings: list[str] = []

    async def values(self) -> dict[str, object]:
        """What the board holds."""
        async with bmslink.connect(self.target).board as device:
            return dict((await device.settings()).values())

    async def one(self, number: int) -> None:
        """Change it, kill the change, look, and resume it."""
        before = await self.values()
        wanted = {key: pair[number % 2] for key, pair in _VALUES.items()}
        await asyncio.to_thread(self._killed, wanted, self.rng.randrange(2, 16))
        if self.rng.random() < 0.3:
            self._tear()
        journal = Journal(self.folder)
        if damaged := journal.damaged():
            self.findings.append(f"life {number}: {damaged} lines do not verify after a kill")
        cut = journal.unfinished()
        back = self.rng.random() < 0.5
        async with bmslink.connect(self.target).board as device:
            ended = await resume(device, rollback=back, journal=journal)
        after, left = await self.values(), {**before, **wanted}
        self.resumed += ended.result != "nothing"
        if cut and ended.result not in ("done", "rolled back"):
            self.findings.append(f"life {number}: {ended.result}: {ended.sentence}")
        goal = before if ended.result == "rolled back" else left if cut else after
        if after != goal or (not cut and after not in (before, left)):
            self.findings.append(f"life {number}: {ended.result}, and the board holds {after}")
        if Journal(self.folder).unfinished():
            self.findings.append(f"life {number}: it is still open")
        async with bmslink.connect(self.target).board as device:
            if not (found := await verify(device, journal=journal)).fine:
                self.findings.append(f"life {number}: {found.sentence}")

    def _killed(self, wanted: dict[str, float], records: int) -> None:
        words = [f"{key}={value:g}" for key, value in wanted.items()]
        begun = self._records()
        process = subprocess.Popen(
            (sys.executable, "-m", "bmslink", "settings", "set", self.target, *words, "--yes"),
            env={**os.environ, "BMSLINK_JOURNAL": str(self.folder)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        limit = time.monotonic() + _LONGEST
        while self._records() - begun < records and process.poll() is None:
            if time.monotonic() > limit:
                self.findings.append("a command did not end")
                break
            time.sleep(0.001)
        time.sleep(self.rng.random() * 0.02)
        self.kills += process.poll() is None
        process.kill()
        process.wait()

    def _records(self) -> int:
        return sum(path.read_bytes().count(b"\n") for path in self.folder.glob("*.jsonl"))

    def _tear(self) -> None:
        """Cut the last record short, but never one that says how a change ended."""
        for path in sorted(self.folder.glob("*.jsonl"))[-1:]:
            data = path.read_bytes()
            start = data.rfind(b"\n", 0, -1) + 1
            if b'"event": "end"' in data[start:] or b'"event": "begin"' in data[start:]:
                continue
            with path.open("rb+") as file:
                file.truncate(self.rng.randrange(start, len(data)))
            self.torn += 1


def board(folder: Path) -> tuple[subprocess.Popen[str], str]:
    """A simulated board behind a pseudo-terminal, and its target."""
    process = subprocess.Popen(
        (sys.executable, "-m", "bmslink", "simulate", "jbd", "--pty", "board", "--cells", "16",
         "--load", "idle"),
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    if process.stdout is None:
        raise RuntimeError("the simulator says nothing")
    process.stdout.readline()
    target = f"jbd+serial://{folder}/board"
    return process, f"{target}?gap=0"


async def soak(lives: int, seed: int, folder: Path) -> Life:
    """So many lives of one board."""
    await asyncio.to_thread(folder.mkdir)
    process, target = await asyncio.to_thread(board, folder)
    try:
        life = Life(folder / "journal", target, random.Random(seed))
        for number in range(lives):
            await life.one(number)
        return life
    finally:
        process.terminate()
        process.wait()


async def soak_all(lives: int, boards: int, seed: int, folder: Path) -> list[Life]:
    """Several boards at a time: most of a life is waiting."""
    each = -(-lives // boards)
    return await asyncio.gather(
        *(soak(each, seed + n, folder / str(n)) for n in range(min(boards, lives)))
    )


def main() -> int:
    """Print what was found; 1 if anything was."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lives", type=int, default=60)
    parser.add_argument("--boards", type=int, default=6)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        every = asyncio.run(soak_all(given.lives, given.boards, given.seed, Path(folder)))
    findings = [each for life in every for each in life.findings]
    print(f"{sum(life.kills for life in every)} killed under way, "
          f"{sum(life.torn for life in every)} records torn, "
          f"{sum(life.resumed for life in every)} resumed, {len(findings)} findings")  # fmt: skip
    for each in findings:
        print(f"  {each}")
    return bool(findings)


if __name__ == "__main__":
    sys.exit(main())
