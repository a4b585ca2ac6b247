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
