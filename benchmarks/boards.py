"""Simulated packs on pseudo-terminals, in a process of their own.

    python benchmarks/boards.py FOLDER PROTOCOL...

makes FOLDER/0, FOLDER/1, …, gives every byte the time it has on a real wire, answers without
thinking time, and prints `ready`. It ends when its standard input does.
"""

from __future__ import annotations

import asyncio
import selectors
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bmslink.simulation.responder import Answer
from bmslink.simulation.terminal import Terminal
from bmslink.simulation.transport import SimDevice, SimLine, make_device
from bmslink.simulation.wire import WireFaults


class Prompt(WireFaults):
    """No thinking time, so that only the wire and the client take time: answers begin when the
    request would have come to its end, however long this process needed to make them."""

    _heard = 0.0

    def incoming(self, data: bytes, now: float) -> bytes:
        self._heard = now
        return data

    def outgoing(self, request: bytes, answers: list[Answer]) -> list[Answer]:
        if not request:
            return answers
        early = answers[0].delay if answers else 0.0
        early += asyncio.get_running_loop().time() - self._heard
        return [answer._replace(delay=answer.delay - early) for answer in answers]


def _loop() -> asyncio.AbstractEventLoop:
    """One whose timers know microseconds: the usual one rounds up to milliseconds."""
    return asyncio.SelectorEventLoop(selectors.SelectSelector())


async def serve(folder: Path, protocols: Sequence[str]) -> None:
    """Until standard input ends."""
    with ExitStack() as stack:
        for number, protocol in enumerate(protocols):
            made = make_device(protocol, cells=16, seed=number + 1)
            device = SimDevice(made.pack, made.responder, Prompt(made.pack), made.speed)
            _open(stack, device, folder / str(number))
        ended = asyncio.Event()
        asyncio.get_running_loop().add_reader(sys.stdin, ended.set)
        print("ready", flush=True)
        await ended.wait()


def _open(stack: ExitStack, device: SimDevice, place: Path) -> None:
    terminal = Terminal(place)
    stack.callback(terminal.close)
    line = SimLine(device, terminal.write, client_rate=lambda: terminal.rate, pace=True)
    stack.callback(line.close)
    terminal.listen(line.receive)


@contextmanager
def boards(*protocols: str) -> Iterator[list[str]]:
    """The targets of such packs, served by another process."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, folder, *protocols]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process:
            if process.stdout is None or process.stdout.readline() != "ready\n":
                raise RuntimeError("the simulated packs did not start")
            yield [f"{name}+serial://{folder}/{i}" for i, name in enumerate(protocols)]


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=_loop) as runner:
        runner.run(serve(Path(sys.argv[1]), sys.argv[2:]))
