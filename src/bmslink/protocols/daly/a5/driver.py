"""Daly, the A5 protocol (UART, RS485, old Bluetooth dongles): what is asked, and when.

The frames and their meaning are in `codec`. Facts and their evidence:
`docs/protocols/daly-a5.md`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import ClassVar

from bmslink.errors import LinkTimeout
from bmslink.link.gatt import Gatt
from bmslink.link.link import Link, Timing
from bmslink.model import Identity, Reading
from bmslink.protocols.base import Driver, Options, Record, Requester
from bmslink.protocols.common.settings_map import SettingsMap
from bmslink.protocols.daly.a5.codec import (
    HOST_APP,
    HOST_OF_BOARD,
    HOST_PC,
    MAX_BOARD,
    SERIES,
    DalyA5Codec,
    DalyA5Framer,
    DalyFrame,
    can_frame,
    read_request,
)
from bmslink.protocols.daly.a5.layouts import (
    CELLS_PER_FRAME,
    MAX_FRAME_NUMBER,
    SENSORS_PER_FRAME,
)
from bmslink.protocols.daly.a5.map import a5_map
from bmslink.protocols.daly.a5.reading import first_number
from bmslink.protocols.daly.a5.writing import DalyA5ClockSoc, DalyA5Settings, DalyA5Switches
from bmslink.protocols.daly.radio import DALY_MODULES
from bmslink.protocols.optional_requests import OptionalRequests
from bmslink.protocols.probe import Probe, Relatives, Turn

__all__ = ["DalyA5", "DalyA5Codec", "DalyA5Framer", "DalyFrame", "can_frame", "read_request"]

_QUIET = 0.15  # s; the frames of one answer follow each other within 100 ms
_STRINGS = {0x62: 4, 0x63: 4, 0x54: 1, 0x57: 5}  # in how many frames they may come


def _host(board: int | None) -> int:
    return HOST_PC if board is None else HOST_OF_BOARD + board


def _answers(asked: DalyFrame, frame: DalyFrame) -> bool:
    """Any board may answer the PC and the app; behind another host's address is one board."""
    board = asked.address - HOST_OF_BOARD
    anyone = asked.address in (HOST_PC, HOST_APP)
    return frame.is_answer and frame.id == asked.id and (anyone or frame.address == board)


def _request(number: int, address: int | None) -> DalyFrame:
    return read_request(number, _host(address))


PROBE = Probe(
    protocols=("daly-a5",),
    question="id 90",
    ask=lambda address: read_request(0x90, _host(address)),
    fits=_answers,
    within=0.14,
    turns=(
        Turn(9600, place=40),
        Turn(9600, range(2, 5), place=110),
        Turn(9600, range(5, 16), place=120),
    ),
    rank=22,
    speaker=lambda frame: frame.address if frame.is_answer else None,
    one_of_several=True,
)
APP_PROBE = replace(
    PROBE, ask=lambda address: read_request(0x90, HOST_APP), turns=(Turn(9600, place=80),)
)
"""Some boards answer only what the vendor's app asks."""


class DalyA5(Driver[DalyFrame]):
    """Asks a Daly board. One poll is 94, 90, 93, 95, 96, 97, 98.

    91 and 92 are asked once: their extremes lag behind the cells, and ours are computed from the
    cells. Only where they prove that the board sends its MOSFET temperature, 92 stays in the poll.
    """

    name: ClassVar[str] = "daly-a5"
    vendor: ClassVar[str] = "daly"
    vendor_name: ClassVar[str] = "Daly"
    radio_rank: ClassVar[int] = 32
    requests: ClassVar[Mapping[str, Requester]] = {
        f"{number:02x}": partial(_request, number)
        for number in (0x94, 0x90, 0x91, 0x92, 0x93, 0x95, 0x96, 0x97, 0x98)
    }
    probes: ClassVar[tuple[Probe, ...]] = (PROBE, APP_PROBE)
    relatives: ClassVar[Relatives] = "always"
    responder: ClassVar[str] = "bmslink.simulation.boards.daly_a5:DalyA5Responder"
    # 20 ms between requests lose a third of the answers, 120 ms none; one or two requests of a
    # session only wake the board (docs/protocols/daly-a5.md, pacing).
    timing: ClassVar[Timing] = Timing(
        baudrate=9600, timeout=0.5, gap=0.12, retries=3, wake_retries=4, idle=0.15
    )

    past_missing: ClassVar[Mapping[str, str]] = {
        "events": "its fault history (ids 64 and DE) has a layout that nobody has documented"
    }
    addresses: ClassVar[range] = range(1, MAX_BOARD + 1)
    modules: ClassVar[tuple[Gatt, ...]] = DALY_MODULES

    codec: DalyA5Codec

    def __init__(self, link: Link[DalyFrame], options: Options) -> None:
        super().__init__(link, options)
        self.address = options.address
        self.host = _host(self.address)
        self.patience = OptionalRequests()
        self._knows_tails = False
        self.settings = DalyA5Settings(self)
        self.switches = DalyA5Switches(self)
        self.clock_soc = DalyA5ClockSoc(self)

    @classmethod
    def make_framer(cls) -> DalyA5Framer:
        return DalyA5Framer()

    @classmethod
    def make_codec(cls, options: Options) -> DalyA5Codec:
        return DalyA5Codec(options)

    @classmethod
    def every_map(cls) -> tuple[SettingsMap, ...]:
        return (a5_map(None),)

    async def start(self) -> None:
        """Find out who must ask: most boards answer a PC (40), some only the phone (80)."""
        self.patience.forgive()
        if self.address is not None:
            return
        if self.link.transport.peer() is not None and not self.patience.rounds:
            self.host = HOST_APP
        try:
            await self.ask(0x94)
        except LinkTimeout:
            first, self.host = self.host, HOST_APP if self.host == HOST_PC else HOST_PC
            try:
                await self._gather(0x94, retries=1)
            except LinkTimeout:
                self.host = first
            else:
                return
            raise

    def _matches(self, data_id: int) -> Callable[[DalyFrame], bool]:
        def matches(frame: DalyFrame) -> bool:
            return (
                frame.is_answer
                and frame.id == data_id
                and self.address in (None, frame.address)
                and (data_id not in SERIES or frame.data[0] <= MAX_FRAME_NUMBER)
            )

        return matches

    async def _gather(
        self,
        data_id: int,
        complete: Callable[[list[DalyFrame]], bool] = bool,
        *,
        timeout: float | None = None,
        quiet: float | None = None,
        retries: int | None = None,
    ) -> list[DalyFrame]:
        return await self.link.collect(
            read_request(data_id, self.host),
            self._matches(data_id),
            complete,
            timeout=timeout,
            quiet=quiet,
            retries=retries,
        )

    async def ask_one(self, data_id: int) -> DalyFrame:
        """The frame that answers an id; `LinkTimeout` when none does."""
        return (await self._gather(data_id, retries=1))[0]

    async def ask(self, data_id: int) -> Record:
        """Read an id that is answered by one frame; `LinkTimeout` when it is not."""
        return self.codec.decode((await self._gather(data_id))[0])

    async def _ask_optional(self, data_id: int, frames: int = 1) -> list[Record]:
        """The same for an id that firmwares may not know."""
        if not self.patience.worth_asking(data_id):
            return []
        known = self.patience.knows(data_id)
        try:
            got = await self._gather(
                data_id,
                lambda got: len(got) >= frames,
                timeout=None if known else 0.6 * self.link.timing.timeout,
                quiet=_QUIET if frames > 1 else None,
                retries=None if known else 1,
            )
        except LinkTimeout as exc:
            if exc.heard != "garbage":
                self.patience.missed(data_id)
            return []
        self.patience.answered(data_id)
        return [self.codec.decode(frame) for frame in got]

    async def _ask_series(self, data_id: int, needed: int) -> list[Record]:
        """All frames of a 95 or 96; what was lost is asked for once more.

        Boards that always send 16 frames go on for a while; the link lets them finish before the
        next request. A number that goes down means that an older answer came first
        (`daly-a5-mpp516-outofsync`): then only quiet ends it, and of frames that came twice the
        later one counts.
        """

        def complete(got: list[DalyFrame]) -> bool:
            numbers = [frame.data[0] for frame in got]
            return len(set(numbers)) >= needed and numbers == sorted(numbers)

        latest: dict[int, Record] = {}
        for _ in range(2):
            got = await self._gather(data_id, complete, quiet=_QUIET)
            latest |= {frame.data[0]: self.codec.decode(frame) for frame in got}
            base = first_number(set(latest), needed, self.codec.memory.bases.get(data_id))
            if base is not None and latest.keys() >= set(range(base, base + needed)):
                break
        return list(latest.values())

    async def _status(self) -> Record:
        """94; a board that just woke up may announce no cells yet."""
        for _ in range(3):
            record = await self.ask(0x94)
            if self.codec.memory.cell_count is not None:
                break
            await asyncio.sleep(0.3)
        return record

    async def identify(self) -> Identity:
        records = [await self._status()]
        for data_id, frames in _STRINGS.items():
            records += await self._ask_optional(data_id, frames)
        for data_id in (0x53, 0x51):
            records += await self._ask_optional(data_id)
        return self.codec.identity(records)

    async def read(self) -> Reading:
        self.patience.rounds += 1
        records = [await self._status(), await self.ask(0x90)]
        if not self._knows_tails:
            records += await self._ask_optional(0x91)
        if self.codec.memory.live_tails or not self._knows_tails:
            records += await self._ask_optional(0x92)
        self._knows_tails = True
        records.append(await self.ask(0x93))
        memory = self.codec.memory
        if memory.cell_count:
            records += await self._ask_series(0x95, -(-memory.cell_count // CELLS_PER_FRAME))
        if memory.sensor_count:
            records += await self._ask_series(0x96, -(-memory.sensor_count // SENSORS_PER_FRAME))
        records += await self._ask_optional(0x97)
        records.append(await self.ask(0x98))
        return self.codec.reading(records)
