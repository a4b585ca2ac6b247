"""The files that `test_additions` adds: a command, and the protocol of a fourth vendor, first only
read and then switched."""

from __future__ import annotations

__all__ = [
    "BOARD", "COMMAND", "DRIVER", "FIND", "FRAMING", "PART", "RENDER", "SWITCH", "VENDOR",
]  # fmt: skip

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

FRAMING = '''\
"""Frames of Acme's toy protocol: `AC | code | length | data | sum`.

01 asks for all, and 81 answers; 02 sets a FET, and 82 answers.
"""

from __future__ import annotations

from construct import Array, Byte, Int16sb, Int16ub, Struct

from bmslink.link.link import Drop, Frame, Framer
from bmslink.protocols.common.fields import Layout, scaled

__all__ = ["ALL", "ANSWER", "DONE", "SET", "ToyFrame", "ToyFramer", "values_layout"]

START, ALL, SET, ANSWER, DONE = 0xAC, 0x01, 0x02, 0x81, 0x82


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
        "fets" / Byte,
        "cell_voltages" / Array((length - 6) // 2, scaled(Int16ub, 1000)),
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
'''

DRIVER = '''\
"""Acme's toy protocol: what its frames say, and in which order it is asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from bmslink.errors import FrameError
from bmslink.link.gatt import Advert, Gatt, uuid16
from bmslink.link.link import Link, Timing
from bmslink.model import Identity, Reading
from bmslink.protocols.acme.framing import ANSWER, DONE, ToyFrame, ToyFramer, values_layout
from bmslink.protocols.base import Codec, Driver, Options, Payload, Record
from bmslink.protocols.common.fields import parse
from bmslink.protocols.probe import Probe, Turn

__all__ = ["Toy", "ToyCodec"]


class ToyCodec(Codec[ToyFrame]):
    """Remembers nothing."""

    def payload(self, frame: ToyFrame, *, sent: bool = False) -> Payload | None:
        if frame.code != ANSWER:
            return None
        if len(frame.data) < 8 or len(frame.data) % 2:
            raise FrameError(f"An answer of {len(frame.data)} bytes.", frame.data)
        return Payload(values_layout(len(frame.data)), frame.data)

    def decode(self, frame: ToyFrame, *, sent: bool = False) -> Record:
        payload = self.payload(frame, sent=sent)
        if payload is None:
            return Record("other", "ack" if frame.code == DONE else "request", {})
        values = parse(payload.layout, payload.data, "toy answer")
        return Record("all", "reading", values, part="all")

    def reading(self, records: Sequence[Record]) -> Reading:
        values = dict(records[-1].values)
        values["cell_voltages"] = tuple(values["cell_voltages"])
        values["soc"] = float(values["soc"])
        fets = values.pop("fets")
        values |= {"charging_allowed": bool(fets & 1), "discharging_allowed": bool(fets & 2)}
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

    def __init__(self, link: Link[ToyFrame], options: Options) -> None:
        super().__init__(link, options)

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

from bmslink.model import Switch
from bmslink.protocols.acme.framing import (
    ALL,
    ANSWER,
    DONE,
    SET,
    ToyFrame,
    ToyFramer,
    values_layout,
)
from bmslink.protocols.common.fields import build
from bmslink.simulation.pack.pack import Pack
from bmslink.simulation.responder import Answer, Responder

__all__ = ["ToyResponder"]


class ToyResponder(Responder):
    """Answers 01 and 02."""

    def __init__(
        self, pack: Pack, *, address: int | None = None, firmware: str | None = None
    ) -> None:
        super().__init__(pack, address=address, firmware=firmware)
        self._framer = ToyFramer()

    def receive(self, data: bytes) -> list[Answer]:
        return [Answer(0.02, self._answer(frame)) for frame in self._framer.feed(data)]

    def _answer(self, frame: ToyFrame) -> bytes:
        if frame.code == SET:
            which, on = frame.data
            self.pack.switch((Switch.CHARGE, Switch.DISCHARGE)[which], bool(on))
            return self._framer.encode(ToyFrame(code=DONE))
        assert frame.code == ALL
        truth = self.pack.truth()
        values = {
            "voltage": truth.voltage,
            "current": truth.current,
            "soc": round(truth.soc or 0),
            "fets": bool(truth.charging_allowed) | bool(truth.discharging_allowed) << 1,
            "cell_voltages": list(truth.cell_voltages),
        }
        layout = values_layout(6 + 2 * len(truth.cell_voltages))
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

PART = '''\
"""Acme's switches."""

from __future__ import annotations

from bmslink.model import Command, Switch
from bmslink.protocols.acme.framing import DONE, SET, ToyFrame
from bmslink.protocols.common.settings_map import WriteCommand
from bmslink.protocols.parts import Switches

__all__ = ["ToySwitches"]

FETS = (Switch.CHARGE, Switch.DISCHARGE)


class ToySwitches(Switches[ToyFrame]):
    """02 sets a FET."""

    def __init__(self, name: str) -> None:
        super().__init__(name, commands=FETS, missing={Switch.BALANCE: "there is no balancer"})

    async def command(self, command: Command) -> WriteCommand[ToyFrame]:
        self.require(command.switch)
        return WriteCommand(
            frame=ToyFrame(code=SET, data=bytes([FETS.index(command.switch), command.on])),
            answer=lambda frame: frame.code == DONE,
            what=str(command),
        )
'''

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
