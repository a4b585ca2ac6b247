"""How long it takes to find out what hangs on a port, on pseudo-terminals that keep a baud rate.

All ports of a round are searched at once, as `bmslink scan` does; each is another line.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
import time
import tty
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import NamedTuple

from bmslink.discovery.scan import detect, scan
from bmslink.link.transport import parse_target
from bmslink.simulation.serve import serve

PACKS: tuple[tuple[str, int | None], ...] = (
    ("jk-nw", None),
    ("jk-modbus", 1),
    ("jk-modbus", 15),
    ("jk-bus", 1),
    ("jk-bus", 15),
    ("jk02", None),
    ("daly-d2", None),
    ("daly-p81", 1),
    ("daly-p81", 4),
    ("daly-a5", None),
    ("daly-a5", 4),
    ("daly-sinowealth", None),
    ("jbd", None),
    ("jbd", 1),
    ("jbd-up", 1),
    ("jbd-up", 16),
)
"""Protocols, at the usual address and at the last or an unusual one."""


class Search(NamedTuple):
    """One port, and how long it took to know what is there."""

    name: str
    seconds: float
    right: bool


async def searches(*, usual_only: bool = False) -> list[Search]:
    """From a bare port to protocol, speed and address of each pack; and a port where none is."""
    packs = [(name, at) for name, at in PACKS if at in (None, 1) or not usual_only]
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for number, (protocol, address) in enumerate(packs):
            await stack.enter_async_context(_served(protocol, folder / str(number), address))
        dead = folder / "dead"
        stack.enter_context(_silent(dead))
        found = await asyncio.gather(
            *(_detect(folder / str(number), *pack) for number, pack in enumerate(packs)),
            _search(dead),
        )
    return list(found)


async def _detect(path: Path, protocol: str, address: int | None) -> Search:
    start = time.perf_counter()
    target = await detect(parse_target(str(path)))
    seconds = time.perf_counter() - start
    right = target.protocol == protocol and target.query.get("address") in (None, str(address))
    return Search(protocol if address is None else f"{protocol} at {address}", seconds, right)


async def _search(path: Path) -> Search:
    start = time.perf_counter()
    found = await scan(ports=[str(path)])
    return Search(
        "nothing there", time.perf_counter() - start, all(f.protocol is None for f in found)
    )


@contextlib.asynccontextmanager
async def _served(protocol: str, path: Path, address: int | None) -> AsyncIterator[None]:
    ready = asyncio.Event()
    task = asyncio.ensure_future(
        serve(protocol, pty=str(path), address=address, pace=True, announce=lambda _: ready.set())
    )
    await ready.wait()
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@contextlib.contextmanager
def _silent(path: Path) -> Iterator[None]:
    master, slave = os.openpty()
    try:
        tty.setraw(slave)
        path.symlink_to(os.ttyname(slave))
        yield
    finally:
        os.close(master)
        os.close(slave)
