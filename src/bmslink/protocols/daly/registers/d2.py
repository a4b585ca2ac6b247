"""Daly, the D2 dialect (Bluetooth and UART of the H, K, M and S series, balancers, clouds).

`D2 03 register count CRC` asks for up to 126 registers. Facts and their evidence:
`docs/protocols/daly-d2.md`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar

from bmslink.link.gatt import Advert
from bmslink.link.link import Link
from bmslink.model import Identity, Reading, Switch
from bmslink.protocols.base import Options, Record, Requester
from bmslink.protocols.common.fields import flag, named_bits
from bmslink.protocols.common.rtu import RTUFrame, answers_read
from bmslink.protocols.daly.a5.layouts import FAILURES, believed_count, unnamed_failures
from bmslink.protocols.daly.radio import DALY_ADVERTS
from bmslink.protocols.daly.registers.codec import Block, Dialect
from bmslink.protocols.daly.registers.driver import DalyRegisters
from bmslink.protocols.daly.registers.framing import D2_UNIT, D2Framer, read_request
from bmslink.protocols.daly.registers.layouts import (
    RegisterMap,
    RegisterRow,
    amps,
    board_name,
    celsius,
    forward,
    number,
    switch,
    volts,
)
from bmslink.protocols.daly.registers.reading import Found, common, keep, told
from bmslink.protocols.daly.registers.settings import D2_ROWS, D2_TEXTS, register
from bmslink.protocols.daly.registers.writing import DalyRegisterClock, DalyRegisterSettings
from bmslink.protocols.daly.settings import CHEMISTRIES
from bmslink.protocols.parts import Switches
from bmslink.protocols.probe import Probe, Turn

__all__ = ["D2_TABLE", "STATUS", "DalyD2", "read_failures"]

_FIRST_CELLS = 32

D2_TABLE = RegisterMap(
    volts(0x00, "cell_voltages", count=_FIRST_CELLS, high=5.0),
    celsius(0x20, "temperatures", count=8),
    number(0x28, "voltage", 10, low=1.0),
    amps(0x29, "current", low=-999.0, high=999.0),
    number(0x2A, "soc", 10, high=100.0),
    volts(0x2B, "max_cell_voltage"),
    volts(0x2C, "min_cell_voltage"),
    celsius(0x2D, "max_temperature"),
    celsius(0x2E, "min_temperature"),
    number(0x2F, "state"),  # values above 2 were seen, and mean something else
    number(0x30, "remaining_capacity", 10),
    number(0x31, "cell_count"),
    number(0x32, "sensor_count"),
    number(0x33, "cycles"),
    switch(0x34, "balancing"),
    switch(0x35, "charge_mosfet"),
    switch(0x36, "discharge_mosfet"),
    volts(0x37, "average_voltage"),
    volts(0x38, "voltage_difference"),
    number(0x39, "power"),  # W, without a sign
    RegisterRow(0x3A, "failure_words", count=4),
    RegisterRow(0x3E, "balance_words", count=2),  # a mask, or a mileage: not sure
    RegisterRow(0x40, "balance_current_word"),  # from 30000, in mA or 0.1 A: sources disagree
    RegisterRow(0x41, "balanced_cell_count"),
    celsius(0x42, "mosfet_temperature"),
    celsius(0x43, "board_temperature"),
    volts(0x47, "cell_voltages_33", count=16, high=5.0),
    *(register(row) for row in D2_ROWS if not row.unclear),
    *D2_TEXTS,
)
"""The registers of D2. 44-46 and 57-7F have no agreed meaning."""

STATUS = Block(0x00, 0x3E)
_MORE = Block(0x3E, 9)
_CELLS_33 = Block(0x47, 16)
_VERSIONS = Block(0xA9, 0x20)
_SETTINGS = Block(0x80, 0x29)
_TYPICAL = (
    STATUS,
    _MORE,
    _VERSIONS,
    _SETTINGS,
    Block(0x00, 0x50),
    Block(0x00, 0x7E),
    Block(0x80, 0x70),
    Block(0xC9, 3),
)
_ZERO_AMPS = 30000


def read_failures(words: list[int | None]) -> tuple[Found, dict[str, Any]]:
    """The conditions in the words 3A to 3D, and what stays unexplained.

    The low byte of each word comes first: then they are the eight bytes of an A5 answer 98
    (a tripped low-charge limit is 0080 in 3B of `daly-d2-rabdo-2`).
    """
    known = [word or 0 for word in words]
    data = b"".join(word.to_bytes(2, "little") for word in known)
    word = int.from_bytes(data[:7], "little")
    raw: dict[str, Any] = {}
    if any(data):
        raw["failure_bits"] = data.hex()
    unknown = unnamed_failures(word)
    if unknown:
        raw["failure_bits_unknown"] = unknown
    if any(data[7:]):
        raw["fault_code"] = data[7]
    return named_bits(word, FAILURES), raw


def _merge(values: Mapping[str, Any], options: Options) -> Reading:
    found, failures = read_failures(values.get("failure_words", []))
    slots = list(values.get("cell_voltages", ()))
    if len(slots) == _FIRST_CELLS:
        slots += values.get("cell_voltages_33", ())
    fields = common(values, options, slots, found, known=told(values, "failure_words"))
    raw: dict[str, Any] = fields["raw"]
    raw.update(failures)
    if any(values.get("balance_words", ())):
        raw["balance_words"] = values["balance_words"]
    if values.get("balanced_cell_count"):
        keep(raw, values, "balanced_cell_count")
    balancing = flag(values.get("balancing"))
    current = values.get("balance_current_word")
    if current not in (None, _ZERO_AMPS):
        raw["balance_current_word"] = current
    return Reading(
        protocol="daly-d2",
        balancing_active=balancing,
        balancing_cells=() if balancing is False else None,
        balance_current=0.0 if current == _ZERO_AMPS else None,
        **fields,
    )


def _identify(values: Mapping[str, Any]) -> Identity:
    boards = range(1, 1 + min(values.get("daly_boards") or 0, 3))
    cells = values.get("cell_count") or sum(
        values.get(f"daly_board_{board}_cells") or 0 for board in boards
    )
    return Identity(
        vendor="Daly",
        model=board_name(values.get("daly_machine_code")),
        hardware=board_name(values.get("daly_hardware_version")),
        firmware=forward(values.get("daly_software_version")),
        cell_count=believed_count(cells),
        chemistry=CHEMISTRIES.get(values.get("chemistry", -1)),
        protocol="daly-d2",
    )


def _request(block: Block, _address: int | None) -> RTUFrame:
    return read_request(D2_UNIT, *block)


PROBE = Probe(
    protocols=("daly-d2",),
    question="registers 00-3D of unit D2",
    ask=lambda address: read_request(D2_UNIT, 0, 0x3E),
    fits=answers_read,
    within=0.2,
    turns=(Turn(9600, place=10),),
    rank=20,  # one moment under one CRC; A5's answers are seven
)


class DalyD2(DalyRegisters):
    """Asks a D2 board. One poll is 00-3D, and 3E-46 where the board answers that."""

    name: ClassVar[str] = "daly-d2"
    dialect: ClassVar[Dialect] = Dialect("daly-d2", D2_TABLE, D2Framer, _TYPICAL, _merge, _identify)
    adverts: ClassVar[tuple[Advert, ...]] = DALY_ADVERTS
    radio_rank: ClassVar[int] = 30
    requests: ClassVar[Mapping[str, Requester]] = {
        name: partial(_request, block)
        for name, block in (("live", STATUS), ("more", _MORE), ("versions", _VERSIONS))
    }
    probes: ClassVar[tuple[Probe, ...]] = (PROBE,)
    responder: ClassVar[str] = "bmslink.simulation.boards.daly_d2:DalyD2Responder"
    between = STATUS
    asking = answering = D2_UNIT

    def __init__(self, link: Link[RTUFrame], options: Options) -> None:
        super().__init__(link, options)
        self.settings = DalyRegisterSettings(self)
        self.switches = Switches(self.name, settable=(Switch.CHARGE, Switch.DISCHARGE))
        self.clock_soc = DalyRegisterClock(self)

    async def _status(self) -> Record:
        """The live block; a board that just woke up may announce no cells yet."""
        for _ in range(3):
            record = await self.ask(STATUS)
            if record.values["cell_count"]:
                break
            await asyncio.sleep(0.3)
        return record

    async def ask_versions(self) -> Identity:
        return self.codec.identity(await self.ask_optional(_VERSIONS))

    async def identify(self) -> Identity:
        records = [await self._status()]
        for block in (_VERSIONS, _SETTINGS):
            records += await self.ask_optional(block)
        return self.codec.identity(records)

    async def read(self) -> Reading:
        self.patience.rounds += 1
        records = [await self._status(), *await self.ask_optional(_MORE)]
        if (records[0].values["cell_count"] or 0) > _FIRST_CELLS:
            records += await self.ask_optional(_CELLS_33)
        return self.codec.reading(records)
