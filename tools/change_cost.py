"""What one changed setting costs: requests, identifications, tables, factory mode, time.

`bmslink settings set TARGET cell_ovp=3.6 --yes` runs as it is, against a simulated board that gives
every byte its time on the wire, on virtual time. Beside it is the floor: what must be sent and
waited for, measured on the same board.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import sys
import tempfile
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

from bmslink import connect
from bmslink.board import Board
from bmslink.cli import app
from bmslink.config.writer import _REST as REST
from bmslink.link.transport import OnData, OnLost
from bmslink.protocols.abilities import settings_of
from bmslink.protocols.common.settings_map import Slot
from bmslink.protocols.parts import SettingsAccess
from bmslink.simulation.transport import SimLine, SimTransport
from virtual_time import VirtualLoop, virtual_run

__all__ = ["PROTOCOLS", "Cost", "measure"]

PROTOCOLS = ("jbd", "jk02", "jk-modbus", "daly-a5", "daly-d2", "daly-p81")
_ENTERS = bytes.fromhex("dd5a00")
"""How the request begins that enters a JBD board's factory mode."""
_FEW = 5
"""A question for fewer settings than this is no reading of the table."""
_Runner = asyncio.Runner


@dataclass(slots=True)
class Cost:
    """One change of one value, from opening the line to closing it."""

    protocol: str
    requests: int = 0
    size: int = 0
    """Bytes both ways."""
    identifies: int = 0
    passes: int = 0
    """Readings of the whole table."""
    tables: int = 0
    """The same, where two readings that prove each other count once."""
    brackets: int = 0
    """Factory mode, entered and left."""
    seconds: float = 0.0
    floor: float = 0.0
    """What must be sent and waited for, s."""
    events: list[str] = field(default_factory=list)
    """What happened in its order: `identify`, `table`, `enter`, `write`."""

    @property
    def ratio(self) -> float:
        """Times what must be."""
        return self.seconds / self.floor


def measure(protocol: str) -> Cost:
    """Change one value on a fresh board of a protocol. Raises `RuntimeError` where that fails."""
    cost = Cost(protocol)
    target = f"{protocol}+sim://?seed=1&load=idle"
    out, loops = io.StringIO(), list[VirtualLoop]()

    def loop() -> VirtualLoop:
        loops.append(VirtualLoop())
        return loops[-1]

    arguments = ["settings", "set", target, "cell_ovp=3.6", "--yes", "--chemistry", "lfp"]
    with tempfile.TemporaryDirectory() as folder, _counted(cost), _paced(cost):
        with (
            patch("asyncio.Runner", lambda **_: _Runner(loop_factory=loop)),
            patch.dict(os.environ, {"BMSLINK_JOURNAL": folder}),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(out),
        ):
            code = app.main([*arguments, "--untested"])
        if code:
            raise RuntimeError(f"{protocol}: the change was not made: {out.getvalue()}")
        cost.seconds = loops[-1].time()
    cost.tables = _tables(cost.events)
    with (
        tempfile.TemporaryDirectory() as folder,
        _paced(),
        patch.dict(os.environ, {"BMSLINK_JOURNAL": folder}),
    ):
        cost.floor = virtual_run(_floor(target))
    return cost


def _tables(events: Sequence[str]) -> int:
    """Readings of the table; those between two others that write, or follow one another with
    nothing but an identification between, prove each other: two of them count once."""
    count, run = 0, 0
    for event in (*events, "end"):
        if event == "table":
            run += 1
        elif event not in ("identify", "enter"):
            count, run = count + -(-run // 2), 0
    return count


class _Paced(SimTransport):
    """A simulated pack whose bytes take their time on the wire."""

    cost: Cost | None = None
    """Where the traffic is counted."""

    async def open(self, on_data: OnData, on_lost: OnLost) -> None:
        del on_lost

        def heard(data: bytes) -> None:
            if self.cost is not None:
                self.cost.size += len(data)
            on_data(data)

        await self.close()
        self._line = SimLine(self.device, heard, pace=True)

    async def write(self, data: bytes) -> None:
        if self.cost is not None:
            self.cost.requests += 1
            self.cost.size += len(data)
            if data.startswith(_ENTERS):
                self.cost.brackets += 1
                self.cost.events.append("enter")
        await super().write(data)


@contextlib.contextmanager
def _paced(cost: Cost | None = None) -> Iterator[None]:
    """Every byte takes its time on the wire, and is counted."""
    kind = type("Paced", (_Paced,), {"cost": cost})
    with patch("bmslink.simulation.transport.SimTransport", kind):
        yield


@contextlib.contextmanager
def _counted(cost: Cost) -> Iterator[None]:
    """What is asked of the driver is counted."""
    driver = connect(f"{cost.protocol}+sim://").board.driver
    kind, settings = type(driver), type(driver.settings)

    def counted(
        work: Callable[..., Coroutine[Any, Any, Any]], event: str
    ) -> Callable[..., Coroutine[Any, Any, Any]]:
        async def count(self: Any, *args: Any) -> Any:
            slots: Sequence[Slot] = args[0] if event == "table" else ()
            if event != "table" or len(slots) >= _FEW:
                cost.events.append(event)
            return await work(self, *args)

        return count

    with contextlib.ExitStack() as stack:
        for owner, name, event in (
            (kind, "identify", "identify"),
            (kind, "read", "read"),
            (settings, "fetch", "table"),
            (settings, "fetch_again", "table"),
        ):
            if getattr(owner, name) is not SettingsAccess.fetch_again:  # that is a `fetch`
                work = counted(getattr(owner, name), event)
                stack.enter_context(patch.object(owner, name, work))
        stack.enter_context(patch.object(Board, "store", counted(Board.store, "write")))
        yield
    cost.identifies = cost.events.count("identify")
    cost.passes = cost.events.count("table")


async def _floor(target: str) -> float:
    """Who it is twice, the table three times (each read twice where answers do not name their
    questions), one write with the readings around it, and the wait for slow views."""
    loop = asyncio.get_running_loop()
    async with connect(target).board as device:
        settings = await device.settings_map(await device.identify())
        await device.settings(settings)
        await device.read()  # whatever is asked only once was asked by now
        begun = loop.time()
        await device.identify()
        who, begun = loop.time() - begun, loop.time()
        await device.settings(settings)
        table, begun = loop.time() - begun, loop.time()
        await _write(device, settings.by_address[settings.setting("cell_ovp").slot])
        return 2 * who + 3 * table + loop.time() - begun + REST


async def _write(device: Board, slot: Slot) -> None:
    """Read a slot, write to it what it holds, and read it back."""
    driver, part = device.driver, settings_of(device.driver)
    async with device.writing():
        held = await device.fetch([slot])
        await driver.perform(part.write_command(slot, slot.clean(held[slot.address])))
        await asyncio.sleep(part.settle)
        await device.fetch([slot])


def main() -> int:
    """Print them all."""
    print(f"{'':10} requests bytes identifies tables passes brackets      s  floor ratio")
    for protocol in PROTOCOLS:
        c = measure(protocol)
        print(
            f"{c.protocol:10} {c.requests:8} {c.size:5} {c.identifies:10} {c.tables:6} "
            f"{c.passes:6} {c.brackets:8} {c.seconds:6.1f} {c.floor:6.1f} {c.ratio:5.2f}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
