"""The files that `test_additions` adds: a command, and the protocol of a fourth vendor."""

from __future__ import annotations

from typing import NamedTuple

from support import ROOT

__all__ = [
    "BOARD",
    "COMMAND",
    "FIND",
    "PROTOCOL",
    "RENDER",
    "SETTINGS",
    "SET_THEM",
    "SWITCH",
    "VENDOR",
    "NewSetting",
]

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
    from bmslink.board import Board

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
    async with world("toy") as here, bmslink.connect(here.target).board as device:
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
    async with bmslink.connect("toy+sim://?load=idle").board as device:
        for on in (False, True):
            outcome = await switch(device, Command("discharge", on))
            print(outcome.result, (await device.read()).discharging_allowed)

virtual_run(main())
"""


class NewSetting(NamedTuple):
    """One row more in the table of a dialect."""

    table: str
    """Its module, below `protocols`."""
    after: str
    """How the only line ends that it comes after."""
    row: str
    targets: tuple[str, ...]
    """Simulated boards that have it then."""
    key: str
    value: float | None
    """What may be set; `None`: it is shown only."""
    outside: float
    """What may not."""


SETTINGS = (
    NewSetting(
        "jbd/settings.py",
        "_point(0x47, 100, _DOCUMENT),",
        'Row(0x48, "jbd_acme", _MV, (1.0, 2.0), _CAPTURE, title="Acme", unit="V"),',
        ("sim://jbd?gap=0",),
        "jbd_acme", 1.5, 2.5,
    ),
    NewSetting(
        "jbd/up/settings.py",
        'bare(_PARAMETERS, "customer", Bytes(30)),  # 88',
        'Row(_PARAMETERS, "jbd_acme", _MV, (1.0, 2.0), title="Acme", unit="V"),',
        ("sim://jbd-up?gap=0",),
        "jbd_acme", None, 1.5,
    ),
    NewSetting(
        "jk/settings.py",
        'bare(0, "jk_wire_resistances", Array(24, Int32ul)),  '
        "# 0 in every capture: the unit is open",
        'Row(0x40, "jk_old_acme", _V, (1.0, 2.0), _APP, title="Acme", unit="V"),',
        ("sim://jk02?firmware=10.07&cells=16",),
        "jk_old_acme", 1.5, 2.5,
    ),
    NewSetting(
        "jk/settings.py",
        'bare(0, "jk_current_range", _U32),  '
        "# 278: sources disagree whether 0.001 or 0.0001 A",
        'Row(0x23, "jk_acme", _U32, (1, 4e6), _APP, title="Acme", inside="jk_current_range"),',
        ("sim://jk02", "sim://jk-modbus?gap=0"),
        "jk_acme", 5.0, 5e6,
    ),
    NewSetting(
        "jk/jk04/layouts.py",
        'step=0.001, title="Balancing begins above (unsure)", unit="V", reason=_UNSURE),',
        'Row(0x60, "jk_acme", Float32l, (1.0, 2.0), _CAPTURE, step=0.001, title="Acme"),',
        ("sim://jk04",),
        "jk_acme", 1.5, 2.5,
    ),
    NewSetting(
        "jk/nw/tags.py",
        '_shown(0xB8, "jk_calibrating", Byte, "Calibrating", own=True, live=True),',
        'Row(0xC1, "discharge_ocp_release", Int16ub, (1, 60), Evidence.APP),',
        ("sim://jk-nw?gap=0",),
        "discharge_ocp_release", 40.0, 61.0,
    ),
    NewSetting(
        "daly/settings.py",
        '*_text(0x57, "daly_battery_code"),',
        'Row(0x58, "daly_acme", _MV, (1.0, 2.0), _APP, title="Acme", unit="V"),',
        ("sim://daly-a5?gap=0",),
        "daly_acme", 1.5, 2.5,
    ),
    NewSetting(
        "daly/registers/settings.py",
        'title="Balancer switch", kind="switch", reason=_TEXT),',
        'Row(0xD8, "short_circuit_release", _RAW, (1, 60), _APP),',
        ("sim://daly-d2?gap=0",),
        "short_circuit_release", 40.0, 61.0,
    ),
    NewSetting(
        "daly/registers/settings.py",
        'title="Counts as full after", unit="s"),',
        'Row(0x22B, "discharge_ocp_release", _RAW, (1, 60), _APP),',
        ("sim://daly-p81?gap=0",),
        "discharge_ocp_release", 40.0, 61.0,
    ),
)  # fmt: skip

SET_THEM = """\
import asyncio, json, sys
import bmslink
from bmslink.config import apply, draft
from bmslink.storage.journal import Journal
from virtual_time import virtual_run


async def each(target, key, value, outside):
    async with bmslink.connect(target).board as device:
        table = await device.settings()
        row, held = table.map.setting(key), table.values()[key]
        refused = [check.name for check in (await draft(device, {key: outside})).blocked]
        done = None
        if value is not None:
            plan = await draft(device, {key: value}, waive=("untested", "rules", "chemistry"))
            assert plan.frames, plan
            assert not plan.blocked, plan.blocked
            await apply(device, plan)
            done = (await device.settings()).values()[key]
        return [target, row.title, row.unit, held, refused, done]


for wish in json.loads(sys.argv[1]):
    print(json.dumps(virtual_run(each(*wish))))
"""
