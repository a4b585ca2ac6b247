"""Simulated JK boards on their parallel bus: one that is asked, or a master with its others.

Order, delays and counters are those of `jk-pb-bus-pb2a16s20p-15.41-addr3` and the
`jk-pb-bus-master-cycle` captures; `docs/protocols/jk-bus.md`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Self

from bmslink.protocols.common.rtu import MODBUS_SHAPES, WRITE_MANY, RTUFrame, RTUFramer
from bmslink.protocols.jk.bus.framing import REGISTERS, trigger
from bmslink.protocols.jk.jk02.framing import CELLS, SETTINGS, JK02Framer, record
from bmslink.simulation.boards.jk02 import DEFAULT_FIRMWARE
from bmslink.simulation.boards.jk_modbus import NativeRecords
from bmslink.simulation.pack.pack import MAX_ADVANCE, Pack
from bmslink.simulation.responder import Answer, Responder

__all__ = ["JKBusResponder"]

_DELAY = 0.038
_TURN = 0.22  # s that a master gives to each address, whether somebody is there or not
_PADDED = {"15.41"}  # firmwares that put a zero between record and acknowledgement
_LAST = 15
_LONGEST_REQUEST = 64
_CODES = {register: code for code, register in REGISTERS.items()}


class JKBusResponder(Responder):
    """A board at `address` (1 if none is given) that answers triggers; at address 0 the master,
    which answers nobody, asks all others in each round, and pushes its own records.

    `others` are the boards that a master finds: addresses, each of which gets a pack of its own,
    or address -> pack for boards that are there anyway.
    """

    baudrate: ClassVar[int] = 115200
    period: ClassVar[float | None] = 5.0

    def __init__(
        self,
        pack: Pack,
        *,
        address: int | None = None,
        firmware: str | None = None,
        others: Sequence[int] | Mapping[int, Pack] = (1, 2),
    ) -> None:
        super().__init__(pack, address=address, firmware=firmware)
        self.unit = 1 if address is None else address
        self._padding = bytes((firmware or DEFAULT_FIRMWARE) in _PADDED)
        self._framer = RTUFramer(MODBUS_SHAPES)
        self._framer.longest = _LONGEST_REQUEST
        self.packs = {self.unit: pack}
        """Address -> pack, all that speak here."""
        if isinstance(others, Mapping):
            self.packs |= others
        else:
            for number in others if self.unit == 0 else ():
                chemistry, cells = pack.chemistry.name, pack.cell_count
                self.packs[number] = Pack(chemistry=chemistry, cells=cells, seed=pack.seed + number)
        self._records = {
            number: NativeRecords(found, number, firmware, family=type(self).__name__)
            for number, found in self.packs.items()
        }

    @classmethod
    def on_bus(cls, packs: Mapping[int, Pack], address: int, firmware: str | None) -> Self:
        others = {n: pack for n, pack in packs.items() if n != address} if address == 0 else {}
        return cls(packs[address], address=address, firmware=firmware, others=others)

    def line(self) -> JKBusResponder:
        twin = JKBusResponder(self.pack, address=self.address, firmware=self.firmware, others=())
        twin.packs, twin._records = self.packs, self._records
        return twin

    def receive(self, data: bytes) -> list[Answer]:
        return [
            Answer(_DELAY, self._answer(frame))
            for frame in self._framer.feed(data)
            if frame.shape == "write_many" and frame.unit == self.unit != 0
        ]

    def other_request(self, turn: int) -> bytes:
        """Another program asks for live values and settings, as a master does; a master asks the
        others by itself."""
        if self.unit == 0:
            return b""
        return self._framer.encode(trigger(self.unit, (CELLS, SETTINGS)[turn % 2]))

    def _answer(self, frame: RTUFrame) -> bytes:
        code = _CODES.get(frame.register)
        if code is None or frame.data != bytes(2):
            refusal = RTUFrame(
                unit=self.unit, function=WRITE_MANY | 0x80, shape="exception", code=2
            )
            return self._framer.encode(refusal)
        return self._pushed(self.unit, code)

    def _pushed(self, address: int, code: int) -> bytes:
        """A record and the acknowledgement behind it. The counter stands still on this bus."""
        payload = self._records[address].payload(code)
        pushed = JK02Framer().encode(record(code, payload))
        ack = RTUFrame(
            unit=address,
            function=WRITE_MANY,
            shape="written",
            register=REGISTERS[code],
            count=1,
        )
        return pushed + self._padding + self._framer.encode(ack)

    def stream(self) -> bytes:
        """One round of a master: the others, then itself. A board that is none is silent."""
        return b"".join(answer.data for answer in self.pushes())

    def pushes(self) -> list[Answer]:
        if self.unit != 0:
            return []
        self._catch_up()
        heard: list[Answer] = []
        for step, address in enumerate(range(1, _LAST + 1)):
            asked = [self._framer.encode(trigger(address, CELLS))]
            if address in self.packs:
                asked.append(self._pushed(address, CELLS))
                asked.append(self._framer.encode(trigger(address, SETTINGS)))
                asked.append(self._pushed(address, SETTINGS))
            heard.append(Answer(step * _TURN, b"".join(asked)))
        own = self._pushed(0, CELLS) + self._pushed(0, SETTINGS)
        return [*heard, Answer(_LAST * _TURN, own)]

    def _catch_up(self) -> None:
        """The other packs live as long as the first."""
        for pack in self.packs.values():
            pack.advance(min(max(0.0, self.pack.uptime - pack.uptime), MAX_ADVANCE))
