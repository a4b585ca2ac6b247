"""The files that `test_additions` adds: a command, and the protocol of a fourth vendor."""

from __future__ import annotations

from support import ROOT

__all__ = ["BOARD", "COMMAND", "FIND", "PROTOCOL", "RENDER", "SWITCH", "VENDOR"]

COMMAND = '''\
"""`bmslink hottest`: the warmest probe."""

from __future__ import annotations

import typer

from bmslink.cli import options as o
from bmslink.cli.connection import ConnectionOptions, connect_one

__all__ = ["command"]


def command(
    ctx: typer.Context, target: o.Target = None, *, connection: ConnectionOptions
) -> None:
    """The warmest probe of a pack."""
    from bmslink.cli.loop import run_open
    from bmslink.cli.render import hottest
    from bmslink.device import Device

    session = o.session_of(ctx)

    async def ask(device: Device) -> dict[str, float | None]:
        return dict((await device.read()).temperatures)

    found = run_open(connect_one(session, target, connection), ask)
    if session.json:
        session.record({"hottest": hottest.name(found)})
    else:
        session.print(hottest.line(found))
'''

RENDER = '''\
"""The warmest probe, as a line."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["line", "name"]


def name(probes: Mapping[str, float | None]) -> str:
    """Its name."""
    return max(probes, key=lambda each: probes[each] or -300.0)


def line(probes: Mapping[str, float | None]) -> str:
    """Its name and temperature."""
    return f"{name(probes)}: {probes[name(probes)]} C"
'''

VENDOR = '"""Acme: a toy, to see what a new vendor takes."""\n'

_EXAMPLE = ROOT / "examples" / "acme-bms" / "acme_bms"


def _inside(name: str) -> str:
    """A file of the example of another package, as it would be written here."""
    text = (_EXAMPLE / f"{name}.py").read_text()
    text = text.replace("acme_bms.board:", "bmslink.simulation.boards.toy:")
    return text.replace("from acme_bms.", "from bmslink.protocols.acme.")


PROTOCOL = {name: _inside(name) for name in ("framing", "writing", "driver")}
"""Its modules: frames, what can be changed, and the driver."""
BOARD = _inside("board")

FIND = """
import os
import bmslink
from bmslink.discovery.ble import advertised
from bmslink.discovery.scan import detect
from bmslink.link.gatt import SeenDevice
from bmslink.link.transport import SCHEMES, Endpoint, Scheme, parse_target
from bmslink.simulation.ble.catalogue import module_of
from bmslink.simulation.transport import SimTransport
from bmslink.transports.ble.backend import VARIABLE
from radio_world import BACKEND, world
from virtual_time import virtual_run

class Line(SimTransport):
    def __init__(self, endpoint):
        super().__init__(Endpoint("sim", "", "toy"))

SCHEMES["serial"] = Scheme("__main__:Line", asked=True)
print(virtual_run(detect(parse_target("/dev/ttyUSB9"))))
print(virtual_run(detect(parse_target("acme+serial:///dev/ttyUSB9"))))
print(*advertised(SeenDevice(address="C0:FF:EE:00:00:01", name="Acme-1")))
print(module_of("toy").name)

async def read_over_the_air():
    async with world("toy") as here, bmslink.connect(here.target) as device:
        return (await device.read()).protocol

os.environ[VARIABLE] = BACKEND
print(virtual_run(read_over_the_air()))
"""

SWITCH = """
import bmslink
from bmslink.config import switch
from bmslink.model import Command
from virtual_time import virtual_run

async def main():
    async with bmslink.connect("toy+sim://?load=idle") as device:
        for on in (False, True):
            outcome = await switch(device, Command("discharge", on))
            print(outcome.result, (await device.read()).discharging_allowed)

virtual_run(main())
"""
