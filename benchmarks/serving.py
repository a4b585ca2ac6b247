"""What the service adds to a command, and what its interface needs."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from bmslink.registry import ServiceAddress
from bmslink.service_client import ServiceClient

SHOW = ["settings", "show", "--json"]
COMMANDS = (
    ("jbd", ["read", "--json"]),
    ("jbd", ["info", "--json"]),
    ("jbd", SHOW),
    ("jk02", SHOW),
    ("daly-a5", SHOW),
)
"""On which pack, and what."""
LISTENERS = 60
_STREAM = b"GET /api/v1/stream HTTP/1.1\r\nhost: localhost\r\n\r\n"


class Interface(NamedTuple):
    """What the interface of one pack's service needs."""

    calls: list[float]
    """s of each GET, connection included."""
    idle: int
    """Bytes of memory of the process, with nobody listening."""
    listening: int
    """The same with all listeners."""
    cpu: float
    """Of one core, while all of them hear the pack once a second."""


@contextlib.contextmanager
def service(folder: Path, *protocols: str) -> Iterator[ServiceAddress]:
    """A service of simulated packs in a process of its own."""
    environment = _environment(folder)
    served = [_pack(protocol, seed=1) for protocol in protocols]
    command = [sys.executable, "-m", "bmslink", "serve", *served]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            if process.stdout is None:
                raise RuntimeError("no output to wait for")
            path = process.stdout.readline().split()[1]
            time.sleep(2)  # it has read its packs by then
            yield ServiceAddress(path, process.pid, "", folder)
        finally:
            process.terminate()


def _pack(protocol: str, seed: int) -> str:
    """One that the service has (1), or none (2)."""
    return f"sim://{protocol}?cells=16&seed={seed}"


def _environment(folder: Path) -> dict[str, str]:
    own = {"RUNTIME": "r", "JOURNAL": "j", "STATE": "s", "CONFIG": "none.toml"}
    return {**os.environ, **{f"BMSLINK_{key}": str(folder / name) for key, name in own.items()}}


class Compared(NamedTuple):
    """A command on a pack of its own (first), and through the service (second)."""

    name: str
    wall: tuple[list[float], list[float]]
    """s of each run."""
    cpu: tuple[list[float], list[float]]
    """s of a processor that the command itself took, which other work on the machine changes
    less."""


def commands(folder: Path, rounds: int) -> Iterator[Compared]:
    """Each command, in turns."""
    with service(folder, *dict.fromkeys(protocol for protocol, _ in COMMANDS)):
        for protocol, command in COMMANDS:
            found = Compared(f"{protocol}: {' '.join(command[:-1])}", ([], []), ([], []))
            for _ in range(rounds):
                for seed, wall, cpu in zip((2, 1), found.wall, found.cpu, strict=True):
                    start, before = time.perf_counter(), _children()
                    _run(folder, command, _pack(protocol, seed))
                    wall.append(time.perf_counter() - start)
                    cpu.append(_children() - before)
            yield found


def _run(folder: Path, words: list[str], target: str) -> None:
    split = 2 if words[0] == "settings" else 1
    line = [sys.executable, "-m", "bmslink", *words[:split], target, *words[split:]]
    subprocess.run(line, env=_environment(folder), check=True, capture_output=True)


def _children() -> float:
    """Seconds of a processor that programs which have ended took."""
    used = os.times()
    return used.children_user + used.children_system


def interface(folder: Path, calls: int, seconds: float) -> Interface:
    """Ask a service again and again, then listen to it with many."""
    with service(folder, "jbd") as address:
        return asyncio.run(_interface(address, calls, seconds))


async def _interface(address: ServiceAddress, calls: int, seconds: float) -> Interface:
    client = ServiceClient(address, "the pack")
    idle, times = _memory(address.pid), []
    for _ in range(calls):
        start = time.perf_counter()
        await client.ask("GET", "/api/v1/packs")
        times.append(time.perf_counter() - start)
        await asyncio.sleep(0.03)  # below the rate at which the service refuses
    opened = [await asyncio.open_unix_connection(address.socket) for _ in range(LISTENERS)]
    for _, writer in opened:
        writer.write(_STREAM)
    await asyncio.sleep(1)
    cpu = _cpu(address.pid)
    await asyncio.sleep(seconds)
    cpu = (_cpu(address.pid) - cpu) / seconds
    memory = _memory(address.pid)
    for _, writer in opened:
        writer.close()
    return Interface(times, idle, memory, cpu)


def _memory(pid: int) -> int:
    """Resident bytes (Linux)."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _cpu(pid: int) -> float:
    """Seconds of a processor so far (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
