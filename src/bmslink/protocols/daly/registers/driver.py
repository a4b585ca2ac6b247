"""What Daly's two register dialects share: how a board is asked, and how it is written to.

Both look like Modbus RTU and are not: writing several registers (10) has no byte count, `81` is
answered by `51`, and no board ever refuses, it is silent. Facts and their evidence:
`docs/protocols/daly-d2.md` and `docs/protocols/daly-p81.md`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import ClassVar

from bmslink.errors import LinkTimeout
from bmslink.link.gatt import Gatt
from bmslink.link.link import Link, Timing
from bmslink.model import Identity
from bmslink.protocols.base import Driver, Options, Record
from bmslink.protocols.common.register_runs import alike
from bmslink.protocols.common.rtu import RTUFrame, RTUFramer
from bmslink.protocols.common.settings_map import SettingsMap, WriteCommand
from bmslink.protocols.daly.radio import DALY_MODULES
from bmslink.protocols.daly.registers.codec import Block, DalyRegisterCodec, Dialect
from bmslink.protocols.daly.registers.framing import read_request
from bmslink.protocols.daly.registers.layouts import RegisterMap
from bmslink.protocols.daly.registers.map import register_map
from bmslink.protocols.optional_requests import OptionalRequests
from bmslink.protocols.probe import Relatives

__all__ = ["DalyRegisters"]


class DalyRegisters(Driver[RTUFrame]):
    """Asks a board for blocks of registers, one at a time."""

    vendor: ClassVar[str] = "daly"
    vendor_name: ClassVar[str] = "Daly"
    relatives: ClassVar[Relatives] = "always"
    dialect: ClassVar[Dialect]
    asking: int
    """Unit of the requests."""
    answering: int
    """Unit of the answers."""
    between: ClassVar[Block]
    """What is asked between two questions for as many registers: every board answers it."""
    # 120 ms between requests lose no answer, 20 ms a third of them; 252 bytes take 0.27 s
    # (docs/protocols/daly-d2.md, timing).
    timing: ClassVar[Timing] = Timing(
        baudrate=9600, timeout=0.5, gap=0.12, retries=3, wake_retries=4, idle=0.15, anonymous=True
    )

    modules: ClassVar[tuple[Gatt, ...]] = DALY_MODULES
    past_missing: ClassVar[Mapping[str, str]] = {
        "events": "one source describes a journal (3001 of daly-p81) for one firmware, and "
        "no recording shows it"
    }

    codec: DalyRegisterCodec

    def __init__(self, link: Link[RTUFrame], options: Options) -> None:
        super().__init__(link, options)
        self.patience = OptionalRequests()
        self._asked: Block | None = None

    async def start(self) -> None:
        self.patience.forgive()

    @classmethod
    def make_framer(cls) -> RTUFramer:
        return cls.dialect.framer()

    @classmethod
    def make_codec(cls, options: Options) -> DalyRegisterCodec:
        return DalyRegisterCodec(cls.dialect, options)

    def _matches(self, block: Block) -> Callable[[RTUFrame], bool]:
        def matches(frame: RTUFrame) -> bool:
            """An answer of the right length; a request that comes back as an echo is none."""
            return (
                frame.shape == "data"
                and not frame.doubtful
                and frame.unit == self.answering
                and len(frame.data) == 2 * block.length
            )

        return matches

    @property
    def table(self) -> RegisterMap:
        """The registers of the dialect."""
        return self.dialect.table

    @classmethod
    def every_map(cls) -> tuple[SettingsMap, ...]:
        return (register_map(cls.name, None, {}),)

    async def _request(self, block: Block) -> RTUFrame:
        """The question for a block, when no answer to the one before can pass for its answer."""
        if alike(*block, self._asked):
            await self.ask(self.between)
        self._asked = block
        return read_request(self.asking, *block)

    @abstractmethod
    async def ask_versions(self) -> Identity:
        """Which firmware it has, in one question."""

    async def ask_bytes(self, register: int, count: int, retries: int = 2) -> bytes:
        """The raw bytes of registers; `LinkTimeout` where the board knows none of them."""
        block = Block(register, count)
        request = await self._request(block)
        frames = await self.link.collect(request, self._matches(block), bool, retries=retries)
        self._understand(request, frames[0])
        return frames[0].data

    async def ask(self, block: Block) -> Record:
        """Read a block; `LinkTimeout` when it is not answered."""
        request = await self._request(block)
        frame = await self.link.request(request, self._matches(block))
        return self._understand(request, frame)

    def _understand(self, request: RTUFrame, answer: RTUFrame) -> Record:
        self.codec.questions.forget()
        self.codec.decode(request, sent=True)
        return self.codec.decode(answer)

    async def exchange(self, step: WriteCommand[RTUFrame]) -> RTUFrame | None:
        if step.answer is None:
            return None
        try:
            return await self.send_step(step, step.answer, 0 if step.once else 1)
        except LinkTimeout:
            return None

    async def ask_optional(self, block: Block) -> list[Record]:
        """The same for a block that boards may not know."""
        if not self.patience.worth_asking(block):
            return []
        request = await self._request(block)
        try:
            frames = await self.link.collect(
                request,
                self._matches(block),
                bool,
                retries=None if self.patience.knows(block) else 1,
            )
        except LinkTimeout as exc:
            if exc.heard != "garbage":
                self.patience.missed(block)
            return []
        self.patience.answered(block)
        return [self._understand(request, frames[0])]
