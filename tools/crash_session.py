"""A balancing session, killed at every await, on a board of each dialect: all is set back (A9).

    python tools/crash_session.py [--stride N] [--first N] [PROTOCOL ...]

A session runs on virtual time with the real frames, settings, switch, journal and file. It is
repeated for each of its awaits and killed there: nothing that was under way goes on, and the disk
holds what was written by then. A new program finds what is kept of it, and sets back or goes on to
its end. Then the board itself is looked at: every setting and the balancer's switch are as they
were before, and nothing is kept any more. Where nothing was kept, nothing had been changed.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import bmslink
from bmslink.control.sessions.kept import SessionStore
from bmslink.control.sessions.options import SessionOptions
from bmslink.link.transport import Transport, WrappedTransport, parse_target
from bmslink.model import Switch
from bmslink.runtime.sessions.host import DirectHost
from bmslink.runtime.sessions.session import BalanceSession
from bmslink.simulation.transport import SimTransport, make_device
from mortal_loop import Died, MortalLoop

__all__ = ["DIALECTS", "Outcome", "points", "run"]

DIALECTS = ("jk-modbus", "jk02", "jbd", "daly-a5", "daly-d2", "daly-p81")
_OPTIONS = SessionOptions(chemistry="lfp", capacity=20.0)
_PLACE = "the bench"


class Outcome(NamedTuple):
    """What came of one life and the next."""

    died: bool
    kept: bool
    """Whether the next program found a session."""
    broken: list[str]
    """What is not as it was."""
    callbacks: int


class _Line(WrappedTransport):
    """A line that can be cut: what a dead program still has under way reaches nobody."""

    def __init__(self, inner: Transport) -> None:
        super().__init__(inner)
        self.cut = False

    async def write(self, data: bytes) -> None:
        """Send it, if anybody is there."""
        if not self.cut:
            await self.inner.write(data)


class _Undying(DirectHost):
    """Like that of a service: what is cancelled after the death sets nothing back."""

    owner = "service"


class _Bench:
    """A pack, and the folder of the programs that balance it."""

    def __init__(self, protocol: str, folder: Path) -> None:
        self.protocol, self.folder = protocol, folder
        self.device = make_device(
            protocol, cells=4, capacity=20.0, soc=99.0, imbalance=30.0, load="supply:2:14.0",
            speed=200.0,
        )  # fmt: skip
        if protocol in ("jk-modbus", "jk02", "jbd"):  # the others cannot switch it, or need not
            self.device.pack.switch(Switch.BALANCE, on=False)
        self.before = self.state()
        self._use(folder / "1")

    def line(self) -> _Line:
        """A new line to it."""
        return _Line(SimTransport(parse_target(f"{self.protocol}+sim://"), self.device))

    def state(self) -> tuple[dict[str, float], bool]:
        """What the board really holds."""
        body = self.device.pack
        return dict(body.settings), body.switches[Switch.BALANCE]

    def _use(self, folder: Path) -> None:
        os.environ["BMSLINK_STATE"] = str(folder / "state")
        os.environ["BMSLINK_JOURNAL"] = str(folder / "journal")

    async def life(self, line: _Line, *, restore: bool) -> bool:
        """A program: it begins a session, or takes up what is kept; whether something was."""
        name = {"transport": line, "protocol": self.protocol}
        async with bmslink.connect(_PLACE, **name) as device:  # type: ignore[arg-type]
            host = (DirectHost if restore else _Undying)(device.board, interval=2.0)
            session = BalanceSession(host, _OPTIONS)
            try:
                kept = next(SessionStore().all(), None)
                if kept is None:
                    await session.prepare()
                else:
                    session.take_up(kept)
                await (session.restore() if kept and restore else session.run())
                return kept is not None
            finally:
                await host.close()

    def first(self, dies_at: float) -> tuple[bool, int]:
        """The life that is killed: whether it was, and how many callbacks it had."""
        loop, line = MortalLoop(), self.line()
        loop.dies_at = dies_at
        asyncio.set_event_loop(loop)
        try:
            loop.run(self.life(line, restore=False))
            return False, loop.callbacks
        except Died:
            line.cut = True
            shutil.copytree(self.folder / "1", self.folder / "2")
            loop.bury(asyncio.sleep(0))
            self._use(self.folder / "2")
            return True, loop.callbacks
        finally:
            asyncio.set_event_loop(None)
            loop.close()

    def second(self, *, restore: bool) -> bool:
        """The next program, if there is anything for it to do; whether there was."""
        if next(SessionStore().all(), None) is None:
            return False
        loop = MortalLoop(100_000.0)
        try:
            return loop.run(self.life(self.line(), restore=restore))
        finally:
            loop.close()


def run(protocol: str, dies_at: float = math.inf) -> Outcome:
    """A session, killed at a callback, and what the next program makes of it."""
    before = {name: os.environ.get(name) for name in ("BMSLINK_STATE", "BMSLINK_JOURNAL")}
    with tempfile.TemporaryDirectory(prefix="crash-session-") as name:
        folder = Path(name)
        (folder / "1").mkdir()
        try:
            bench = _Bench(protocol, folder)
            died, callbacks = bench.first(dies_at)
            kept = bench.second(restore=callbacks % 2 == 0)
            return Outcome(died, kept, _broken(bench), callbacks)
        finally:
            for key, value in before.items():
                os.environ.pop(key, None)
                if value is not None:
                    os.environ[key] = value


def _broken(bench: _Bench) -> list[str]:
    (was, switch), (now, switched) = bench.before, bench.state()
    found = [f"{key} is {now[key]}, was {was[key]}" for key in was if now[key] != was[key]]
    if switched is not switch:
        found.append(f"balancing is {switched}, was {switch}")
    if next(SessionStore().all(), None) is not None:
        found.append("a session is still kept")
    return found


def points(protocol: str) -> int:
    """How many callbacks a whole session has. Raises where it breaks the law without a death."""
    whole = run(protocol)
    if whole.broken:
        raise RuntimeError(f"{protocol}, not killed: {whole.broken}")
    return whole.callbacks


def _main() -> int:
    parser = argparse.ArgumentParser(description="Kill a balancing session at every await.")
    parser.add_argument("protocols", nargs="*", default=DIALECTS)
    parser.add_argument("--stride", type=int, default=1, help="every so many awaits")
    parser.add_argument("--first", type=int, default=1)
    asked = parser.parse_args()
    began, bad = time.monotonic(), 0
    for protocol in asked.protocols:
        tried = range(asked.first, points(protocol), asked.stride)
        found = [(point, run(protocol, point)) for point in tried]
        broken = [(point, each.broken) for point, each in found if each.broken]
        bad += len(broken)
        print(
            f"{protocol:<10} {sum(e.died for _, e in found):>5} deaths, "
            f"{sum(e.kept for _, e in found)} sessions found, {len(broken)} broken "
            f"({time.monotonic() - began:.0f} s)",
            flush=True,
        )
        for point, told in broken[:3]:
            print(f"  at {point}: {'; '.join(told)}", flush=True)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(_main())
