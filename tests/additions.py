"""The files that `test_additions` adds: a command, and the protocol of a fourth vendor."""

from __future__ import annotations

from typing import NamedTuple

__all__ = [
    "BOARD",
    "COMMAND",
    "DRIVER",
    "FIND",
    "RENDER",
    "SETTINGS",
    "SET_THEM",
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

DRIVER = '''\
"""Acme's toy protocol: `AC | code | length | data | sum`; 01 asks for all, and 81 answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from construct import Array, Byte, Int16sb, Int16ub, Struct

from bmslink.errors import FrameError
from bmslink.link.gatt import Advert, Gatt, uuid16
from bmslink.link.link import Drop, Frame, Framer, Timing
from bmslink.model import Identity, Reading
from bmslink.protocols.base import Codec, Driver, Options, Payload, Record
from bmslink.protocols.common.fields import Layout, parse, scaled
from bmslink.protocols.probe import Probe, Turn

__all__ = ["ALL", "ANSWER", "Toy", "ToyCodec", "ToyFrame", "ToyFramer", "values_layout"]

START, ALL, ANSWER = 0xAC, 0x01, 0x81


class ToyFrame(Frame, frozen=True, kw_only=True):
    """A question or an answer."""

    code: int = ALL
    data: bytes = b""


def values_layout(length: int) -> Layout:
    """An answer of that many bytes."""
    return Struct(
        "voltage" / scaled(Int16ub, 100),
        "current" / scaled(Int16sb, 100),
        "soc" / Byte,
        "cell_voltages" / Array((length - 5) // 2, scaled(Int16ub, 1000)),
    )


class ToyFramer(Framer[ToyFrame]):
    """Finds frames by their first byte and their sum."""

    def cut(self, buffer: bytes) -> ToyFrame | Drop | None:
        start = buffer.find(START)
        if start:
            return Drop(start if start > 0 else len(buffer))
        if len(buffer) < 3 or len(buffer) < 4 + buffer[2]:
            return None
        raw = buffer[: 4 + buffer[2]]
        if sum(raw[:-1]) & 0xFF != raw[-1]:
            return Drop(1, "checksum", len(raw))
        return ToyFrame(raw=raw, offset=self.position, code=raw[1], data=raw[3:-1])

    def encode(self, frame: ToyFrame) -> bytes:
        head = bytes([START, frame.code, len(frame.data)]) + frame.data
        return head + bytes([sum(head) & 0xFF])


class ToyCodec(Codec[ToyFrame]):
    """Remembers nothing."""

    def payload(self, frame: ToyFrame, *, sent: bool = False) -> Payload | None:
        if frame.code != ANSWER:
            return None
        if len(frame.data) < 7 or len(frame.data) % 2 == 0:
            raise FrameError(f"An answer of {len(frame.data)} bytes.", frame.data)
        return Payload(values_layout(len(frame.data)), frame.data)

    def decode(self, frame: ToyFrame, *, sent: bool = False) -> Record:
        payload = self.payload(frame, sent=sent)
        if payload is None:
            return Record("ask", "request" if frame.code == ALL else "other", {})
        values = parse(payload.layout, payload.data, "toy answer")
        return Record("all", "reading", values, part="all")

    def reading(self, records: Sequence[Record]) -> Reading:
        values = dict(records[-1].values)
        values["cell_voltages"] = tuple(values["cell_voltages"])
        values["soc"] = float(values["soc"])
        return Reading(protocol="toy", **values)

    def identity(self, records: Sequence[Record]) -> Identity:
        cells = len(records[-1].values["cell_voltages"]) if records else None
        return Identity(vendor="Acme", protocol="toy", cell_count=cells)


class Toy(Driver[ToyFrame]):
    """Asks for all at once."""

    name: ClassVar[str] = "toy"
    vendor: ClassVar[str] = "acme"
    timing: ClassVar[Timing] = Timing(baudrate=9600, timeout=0.5, gap=0.05)
    modules: ClassVar[tuple[Gatt, ...]] = (
        Gatt(name="toy", service=uuid16(0xACAC), notify=uuid16(0xACAD), write=uuid16(0xACAE)),
    )
    adverts: ClassVar[tuple[Advert, ...]] = (Advert(name="Acme-.*", certain=True),)
    responder: ClassVar[str] = "bmslink.simulation.boards.toy:ToyResponder"
    probes: ClassVar[tuple[Probe, ...]] = (
        Probe(
            protocols=("toy",),
            question="all",
            ask=lambda address: ToyFrame(),
            fits=lambda asked, frame: frame.code == ANSWER,
            within=0.1,
            turns=(Turn(9600),),
        ),
    )

    @classmethod
    def make_framer(cls) -> ToyFramer:
        return ToyFramer()

    @classmethod
    def make_codec(cls, options: Options) -> ToyCodec:
        return ToyCodec()

    async def _ask(self) -> Record:
        answer = await self.link.request(ToyFrame(), lambda frame: frame.code == ANSWER)
        return self.codec.decode(answer)

    async def identify(self) -> Identity:
        return self.codec.identity([await self._ask()])

    async def read(self) -> Reading:
        return self.codec.reading([await self._ask()])
'''

BOARD = '''\
"""A simulated Acme board."""

from __future__ import annotations

from bmslink.protocols.acme.driver import ALL, ANSWER, ToyFrame, ToyFramer, values_layout
from bmslink.protocols.common.fields import build
from bmslink.simulation.pack.pack import Pack
from bmslink.simulation.responder import Answer, Responder

__all__ = ["ToyResponder"]


class ToyResponder(Responder):
    """Answers 01."""

    def __init__(
        self, pack: Pack, *, address: int | None = None, firmware: str | None = None
    ) -> None:
        super().__init__(pack, address=address, firmware=firmware)
        self._framer = ToyFramer()

    def receive(self, data: bytes) -> list[Answer]:
        asked = [frame for frame in self._framer.feed(data) if frame.code == ALL]
        return [Answer(0.02, self._answer()) for _ in asked]

    def _answer(self) -> bytes:
        truth = self.pack.truth()
        values = {
            "voltage": truth.voltage,
            "current": truth.current,
            "soc": round(truth.soc or 0),
            "cell_voltages": list(truth.cell_voltages),
        }
        layout = values_layout(5 + 2 * len(truth.cell_voltages))
        return self._framer.encode(ToyFrame(code=ANSWER, data=build(layout, values, "answer")))
'''

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
    async with bmslink.connect(target) as device:
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
