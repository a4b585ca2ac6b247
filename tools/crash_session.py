"""A balancing session, killed at every await, on a board of each dialect: all is set back (A9).

    python tools/crash_session.py [--stride N] [--first N] [PROTOCOL ...]

A session runs on virtual time with the real frames, settings, switch, journal and file. At each of
its awaits the process is forked, and the child is the one that is killed there: nothing that was
under way goes on, and the disk holds what was written by then. A new program finds what is kept of
it, and sets back or goes on to its end, in turns. Then the board itself is looked at: every setting
and the balancer's switch are as they were before, and nothing is kept any more. Where nothing was
kept, nothing had been changed. Some 11,000 awaits in the first four dialects, 0.15 s each.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import Context
from pathlib import Path
from typing import NamedTuple, TypeVarTuple

import bmslink
from bmslink.control.sessions.kept import SessionStore
from bmslink.control.sessions.options import SessionOptions
from bmslink.link.transport import Transport, WrappedTransport, parse_target
from bmslink.model import Switch
from bmslink.runtime.sessions.host import DirectHost
from bmslink.runtime.sessions.session import BalanceSession
from bmslink.simulation.pack.pack import Pack
from bmslink.simulation.transport import SimTransport, make_device
from mortal_loop import Died, MortalLoop

__all__ = ["DIALECTS", "Outcome", "SessionBench", "every", "own_folder", "points", "run"]

DIALECTS = ("jk-modbus", "jk02", "daly-a5", "jbd", "daly-d2", "daly-p81")
_Ts = TypeVarTuple("_Ts")
_OPTIONS = SessionOptions(chemistry="lfp", capacity=20.0)
_PLACE = "the bench"
_STEP = 20.0
"""s of the pack that one step of it may take."""
_LONGEST = 60
"""s that a next program may take here, where it takes less than one."""


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


class _Alone(DirectHost):
    """Nobody asks anything from elsewhere: looking for that four times a second only takes time."""

    def listen(self) -> None:
        """Not here."""


class _Undying(_Alone):
    """Like that of a service: what is cancelled after the death sets nothing back."""

    owner = "service"


class _HurriedPack(Pack):
    """Coarse steps do for what nobody looks at: most of the time went into the pack's physics, and
    most of that into a month that passed between two lives."""

    def advance(self, seconds: float) -> None:
        """Let it pass."""
        count = max(1, math.ceil(seconds / _STEP))
        for _ in range(count):
            self._step(seconds / count)


class SessionBench:
    """A pack, and the folder of the programs that balance it."""

    def __init__(self, protocol: str, folder: Path) -> None:
        self.protocol, self.folder = protocol, folder
        self.device = make_device(
            protocol, cells=4, capacity=20.0, soc=99.0, imbalance=30.0, load="supply:2:14.0",
            speed=60.0,
        )  # fmt: skip
        if protocol in ("jk-modbus", "jk02", "jbd"):  # the others cannot switch it, or need not
            self.device.pack.switch(Switch.BALANCE, on=False)
        self.device.pack.__class__ = _HurriedPack
        self.before = self.state()
        self.now = 0.0
        """When the last life ended."""
        self._deaths = 0
        self._use(folder / "1")

    def line(self) -> _Line:
        """A new line to it."""
        return _Line(SimTransport(parse_target(f"{self.protocol}+sim://"), self.device))

    def state(self) -> tuple[dict[str, float], bool]:
        """What the board really holds."""
        body = self.device.pack
        return dict(body.settings), body.switches[Switch.BALANCE]

    def bury(self, name: str) -> None:
        """What is on the disk at a death is what the next life finds."""
        shutil.copytree(self._used, self.folder / name)
        self._use(self.folder / name)

    def _use(self, folder: Path) -> None:
        self._used = folder
        os.environ["BMSLINK_STATE"] = str(folder / "state")
        os.environ["BMSLINK_JOURNAL"] = str(folder / "journal")

    async def life(self, line: _Line, *, restore: bool) -> bool:
        """A program: it begins a session, or takes up what is kept; whether something was."""
        name = {"transport": line, "protocol": self.protocol}
        async with bmslink.connect(_PLACE, **name) as device:  # type: ignore[arg-type]
            host = (_Alone if restore else _Undying)(device.board, interval=2.0)
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

    def live(self, *, restore: bool, dies_at: float = math.inf) -> tuple[bool, int]:
        """A program, and perhaps its death: whether it died, and how many callbacks it had. Raises
        what the session raises."""
        loop, line = MortalLoop(self.now + 60.0), self.line()
        loop.dies_at = dies_at
        asyncio.set_event_loop(loop)
        try:
            loop.run(self.life(line, restore=restore))
            return False, loop.callbacks
        except Died:
            line.cut = True
            self._deaths += 1
            self.bury(f"after {self._deaths}")
            loop.bury(asyncio.sleep(0))
            return True, loop.callbacks
        finally:
            self.now = loop.now
            asyncio.set_event_loop(None)
            loop.close()

    def next_life(self, *, restore: bool) -> bool:
        """The next program, if there is anything for it to do; whether there was."""
        if next(SessionStore().all(), None) is None:
            return False
        self.live(restore=restore)
        return True


def run(protocol: str, dies_at: float = math.inf) -> Outcome:
    """A session, killed at a callback, and what the next program makes of it."""
    with own_folder() as folder:
        bench = SessionBench(protocol, folder)
        died, callbacks = bench.live(restore=False, dies_at=dies_at)
        kept = bench.next_life(restore=callbacks % 2 == 0)
        return Outcome(died, kept, _broken(bench), callbacks)


@contextmanager
def own_folder() -> Iterator[Path]:
    """A folder for the programs."""
    before = {name: os.environ.get(name) for name in ("BMSLINK_STATE", "BMSLINK_JOURNAL")}
    with tempfile.TemporaryDirectory(prefix="crash-session-") as name:
        folder = Path(name)
        (folder / "1").mkdir()
        try:
            yield folder
        finally:
            for key, value in before.items():
                os.environ.pop(key, None)
                if value is not None:
                    os.environ[key] = value


class _Witness(MortalLoop):
    """A loop that lives, and shows at every callback what would come of dying there."""

    def __init__(self, show: Callable[[int, float], None]) -> None:
        super().__init__()
        self._show = show

    def _live(self, context: Context, callback: Callable[[*_Ts], object], *args: *_Ts) -> None:
        if not self.at_work:  # what a thread has half done no copy of this process can end
            self._show(self.callbacks + 1, self.now)
        super()._live(context, callback, *args)


def every(protocol: str, wanted: Callable[[int], bool]) -> Iterator[tuple[int, Outcome]]:
    """A session, killed at each callback that is `wanted`, and what the next program makes of it;
    the session itself lives only once."""
    found: list[tuple[int, Outcome]] = []
    with own_folder() as folder:
        bench = SessionBench(protocol, folder)

        def show(point: int, now: float) -> None:
            if wanted(point):
                bench.now = now
                found.append((point, _forked(bench, point)))

        loop = _Witness(show)
        asyncio.set_event_loop(loop)
        try:
            loop.run(bench.life(bench.line(), restore=False))
        finally:
            asyncio.set_event_loop(None)
            loop.close()
        yield from found


def _forked(bench: SessionBench, point: int) -> Outcome:
    """What comes of a death at this moment, found out by a copy of this process."""
    reads, writes = os.pipe()
    with warnings.catch_warnings():  # idle threads of the loop do not matter to the child
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        signal.alarm(_LONGEST)
        after = threading.Thread(target=_next_life, args=(bench, point, writes))
        after.start()  # in this thread a loop runs
        after.join()
        os._exit(0)
    os.close(writes)
    with os.fdopen(reads, "rb") as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    kept, broken = json.loads(said) if said else (True, ["the next program fails, or hangs"])
    return Outcome(True, bool(kept), [*broken], point)


def _next_life(bench: SessionBench, point: int, writes: int) -> None:
    bench.bury(f"at {point}")
    kept = bench.next_life(restore=point % 2 == 0)
    os.write(writes, json.dumps([kept, _broken(bench)]).encode())
    shutil.rmtree(bench.folder / f"at {point}")


def _broken(bench: SessionBench) -> list[str]:
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
        found = list(every(protocol, tried.__contains__))
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
