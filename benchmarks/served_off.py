"""How soon an off that is asked of the service reaches the board, while others read all the time.

The board is simulated here, behind a TCP port, and takes for every byte the time that a wire does;
the service and the readers are processes of their own. What counts is the time from the end of the
exchange that was under way when the off was asked for (JBD's off has a question of its own, which
counts as one) until its frame arrives, without the quiet time that the board needs in between.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import bmslink
from bmslink import config
from bmslink.errors import BmsError
from bmslink.model import Command, Switch
from bmslink.simulation.listening import ClientLine
from bmslink.simulation.serve import open_places
from bmslink.simulation.transport import SimLine, make_device

QUIET = {"daly-a5": 0.0, "jk-modbus": 0.032, "jbd": 0.0}
"""Protocol -> the quiet time that its simulated board needs before each request, s."""
READERS = 8


class OffTimes(NamedTuple):
    """One protocol; in s."""

    protocol: str
    whole: list[float]
    """From asking to the frame's arrival."""
    after: list[float]
    """The same from the end of the exchange under way."""


class _WatchedLine:
    """A line that notes when something arrives, and when the answer is out."""

    def __init__(
        self, line: Callable[..., ClientLine], deliver: Callable[[bytes], None], log: list[_Heard]
    ) -> None:
        self._log = log
        self._deliver = deliver
        self._line = line(self._answer)

    def _answer(self, data: bytes) -> None:
        self._log.append(_Heard(time.monotonic(), b""))
        self._deliver(data)

    def receive(self, data: bytes) -> None:
        """From the service."""
        self._log.append(_Heard(time.monotonic(), data))
        self._line.receive(data)

    def close(self) -> None:
        """Nothing is delivered any more."""
        self._line.close()


class _Heard(NamedTuple):
    at: float
    data: bytes
    """Empty: the board's answer."""


def measure(folder: Path, protocol: str, times: int) -> OffTimes:
    """Switch off so often, at any moment of the polls."""
    environment = {
        f"BMSLINK_{key}": str(folder / protocol / name)
        for key, name in {"RUNTIME": "r", "JOURNAL": "j", "STATE": "s", "CONFIG": "c"}.items()
    }
    (folder / protocol).mkdir()
    os.environ.update(environment)
    return asyncio.run(_measure(protocol, times))


async def _measure(protocol: str, times: int) -> OffTimes:
    log: list[_Heard] = []
    device = make_device(protocol, cells=16, seed=1)
    async with contextlib.AsyncExitStack() as stack:

        def open_line(
            deliver: Callable[[bytes], None], *, client_rate: Callable[[], int] | None = None
        ) -> ClientLine:
            del client_rate
            return _WatchedLine(partial(SimLine, device, pace=True), deliver, log)

        (place,) = await open_places(stack, open_line, protocol, pty=None, tcp="127.0.0.1:0")
        target = f"{place}?gap=0"
        await stack.enter_async_context(_program("-m", "bmslink", "serve", target))
        readers = [str(Path(__file__)), "read", target, str(READERS)]
        await stack.enter_async_context(_program(*readers))
        async with bmslink.connect(target) as pack:
            command = Command(Switch.CHARGE, on=False)
            frame = (await config.rehearse_switch(pack, command))[-1]
            found = OffTimes(protocol, [], [])
            chance = random.Random(1)
            for _ in range(times):
                await asyncio.sleep(chance.uniform(0.5, 2))
                log.clear()
                asked = time.monotonic()
                await pack.switch(command)
                _note(found, log, asked, frame)
    return found


def _note(found: OffTimes, log: list[_Heard], asked: float, frame: bytes) -> None:
    at = next(n for n, heard in enumerate(log) if heard.data == frame)
    ready = max(asked, *(heard.at for heard in log[:at] if not heard.data), asked)
    found.whole.append(log[at].at - asked)
    found.after.append(log[at].at - ready - QUIET[found.protocol])


@contextlib.asynccontextmanager
async def _program(*words: str) -> AsyncIterator[None]:
    """A program that has said that it is ready."""
    started = await asyncio.create_subprocess_exec(
        sys.executable, *words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    try:
        if started.stdout is None:
            raise RuntimeError("no output to wait for")
        await started.stdout.readline()
        await asyncio.sleep(2)
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            started.terminate()
        await started.wait()


async def _read_on(target: str) -> None:
    async with bmslink.connect(target) as device:
        while True:
            try:
                await device.read()
            except BmsError:  # too many at once, or the pack was silent for a moment
                await asyncio.sleep(0.2)


async def _readers(target: str, count: int) -> None:
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await asyncio.gather(*(_read_on(target) for _ in range(count)))


if __name__ == "__main__" and sys.argv[1:2] == ["read"]:
    asyncio.run(_readers(sys.argv[2], int(sys.argv[3])))
