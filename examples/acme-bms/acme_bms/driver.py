"""Acme's toy protocol: what its frames say, and in which order it is asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from acme_bms.framing import ANSWER, DONE, ToyFrame, ToyFramer, values_layout
from acme_bms.writing import ToySwitches
from bmslink.errors import FrameError
from bmslink.link.gatt import Advert, Gatt, uuid16
from bmslink.link.link import Link, Timing
from bmslink.model import Identity, Reading
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
    responder: ClassVar[str] = "acme_bms.board:ToyResponder"
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
        self.switches = ToySwitches(self.name)

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
