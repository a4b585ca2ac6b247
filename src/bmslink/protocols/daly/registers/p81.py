"""Daly, the 81/51 dialect (H, K, M and S series, home storage, 100-Balance, R24T).

Board n hears `80 + n` and speaks as `50 + n`; the rest looks like Modbus. Facts and their
evidence: `docs/protocols/daly-p81.md`.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, ClassVar

from bmslink.errors import LinkTimeout
from bmslink.link.link import Link
from bmslink.model import Condition, Identity, Reading, Switch
from bmslink.protocols.base import Options, Record, Requester
from bmslink.protocols.common.fields import bits, flag
from bmslink.protocols.common.rtu import RTUFrame
from bmslink.protocols.daly.a5.layouts import believed_count
from bmslink.protocols.daly.registers.codec import Block, Dialect
from bmslink.protocols.daly.registers.driver import DalyRegisters
from bmslink.protocols.daly.registers.framing import (
    ANSWERING,
    ASKING,
    MAX_BOARD,
    P81Framer,
    read_request,
    speaking_board,
)
from bmslink.protocols.daly.registers.layouts import (
    RegisterMap,
    RegisterRow,
    amps,
    board_name,
    celsius,
    clock,
    forward,
    number,
    switch,
    volts,
    wide,
)
from bmslink.protocols.daly.registers.reading import Found, common, keep, told
from bmslink.protocols.daly.registers.settings import P81_ROWS, P81_TEXTS, register
from bmslink.protocols.daly.registers.writing import DalyRegisterClock, DalyRegisterSettings
from bmslink.protocols.parts import Switches
from bmslink.protocols.probe import Probe, Turn

__all__ = ["FLAGS", "LEVELS", "P81_TABLE", "STATES", "DalyP81", "read_faults"]

P81_TABLE = RegisterMap(
    volts(0x00, "cell_voltages", count=48, high=5.0),
    celsius(0x30, "temperatures", count=8),
    number(0x38, "voltage", 10, low=1.0),
    amps(0x39, "current", low=-999.0, high=999.0),
    number(0x3A, "soc", 10, high=100.0),
    number(0x3B, "heartbeat"),  # seconds, 8 bits; one source takes it for the state of health
    number(0x3C, "cell_count"),
    number(0x3D, "sensor_count"),
    volts(0x3E, "max_cell_voltage"),
    number(0x3F, "max_cell"),
    volts(0x40, "min_cell_voltage"),
    number(0x41, "min_cell"),
    volts(0x42, "voltage_difference"),
    celsius(0x43, "max_temperature"),
    number(0x44, "max_sensor"),
    celsius(0x45, "min_temperature"),
    number(0x46, "min_sensor"),
    number(0x47, "temperature_difference"),
    number(0x48, "state"),
    number(0x4B, "remaining_capacity", 10),
    number(0x4C, "cycles"),
    number(0x4D, "balance_state"),
    amps(0x4E, "balancer_current", 1000, absent=(0, 0xFFFF)),
    RegisterRow(0x4F, "balance_words", count=3),
    switch(0x52, "charge_mosfet"),
    switch(0x53, "discharge_mosfet"),
    switch(0x54, "precharge_mosfet"),
    switch(0x55, "heater"),
    switch(0x56, "fan"),
    volts(0x57, "average_voltage"),
    number(0x58, "power"),  # W, without a sign: 48 says which way, so read them together
    number(0x59, "energy"),  # Wh
    celsius(0x5A, "mosfet_temperature"),
    celsius(0x5B, "board_temperature"),
    celsius(0x5C, "heater_temperature"),
    number(0x5E, "mileage"),
    clock(0x61, "clock"),
    RegisterRow(0x66, "old_alarm_words", count=4),  # the bits of A5 98, but in which byte order?
    RegisterRow(0x6D, "fault_words", count=7),
    wide(0xA9, "lifetime_uptime"),  # s
    wide(0xAB, "uptime"),  # s since power-on
    *map(register, P81_ROWS),
    *P81_TEXTS,
)
"""The registers of 81/51. What has no row is known to exist, not what it means."""

_CELLS = Block(0x00, 0x40)
_LIVE = (Block(0x40, 0x3F), Block(0x41, 0x3E))
"""The second half of the live block; the captured program leaves out 40, the lowest cell."""
_UPTIME = Block(0xA4, 0x0A)
_VERSIONS = Block(0x178, 0x4A)
_TYPICAL = (
    _CELLS,
    *_LIVE,
    _UPTIME,
    _VERSIONS,
    Block(0x100, 0x51),
    Block(0x151, 0x27),
    Block(0x1C3, 0x50),
    Block(0x220, 0x0B),
    Block(0x126, 3),
)

LEVELS: dict[tuple[int, int], tuple[Condition, bool]] = {
    (0, 0): (Condition.CELL_OVERVOLTAGE, True),
    (0, 3): (Condition.CELL_UNDERVOLTAGE, True),
    (1, 0): (Condition.CELL_DELTA, True),
    (1, 3): (Condition.CHARGE_OVERTEMPERATURE, True),
    (2, 0): (Condition.CHARGE_UNDERTEMPERATURE, True),
    (2, 3): (Condition.DISCHARGE_OVERTEMPERATURE, True),
    (3, 0): (Condition.DISCHARGE_UNDERTEMPERATURE, True),
    (3, 3): (Condition.TEMPERATURE_DELTA, True),
    (4, 0): (Condition.PACK_OVERVOLTAGE, True),
    (4, 3): (Condition.PACK_UNDERVOLTAGE, True),
    (5, 0): (Condition.CHARGE_OVERCURRENT, True),
    (5, 3): (Condition.DISCHARGE_OVERCURRENT, True),
    (6, 0): (Condition.SOC_LOW, False),
    (6, 3): (Condition.SOH_LOW, False),
    (7, 0): (Condition.MOSFET_OVERTEMPERATURE, True),
    (7, 3): (Condition.OTHER, True),  # thermal runaway
}
"""(byte, lowest of its three bits) of a level 0 to 3 -> condition, and whether level 2 trips."""

FLAGS: dict[tuple[int, int], tuple[str, Condition]] = {
    (0, 7): ("fault", Condition.COMMUNICATION),  # smart charger
    (1, 7): ("fault", Condition.COMMUNICATION),  # smart load
    (2, 6): ("fault", Condition.MOSFET_OVERTEMPERATURE),  # charge
    (2, 7): ("fault", Condition.TEMPERATURE_SENSE),
    (3, 6): ("fault", Condition.MOSFET_OVERTEMPERATURE),  # discharge
    (3, 7): ("fault", Condition.TEMPERATURE_SENSE),
    (4, 6): ("protection", Condition.SHORT_CIRCUIT),
    (5, 6): ("fault", Condition.OTHER),  # charge under-voltage
    (5, 7): ("fault", Condition.OTHER),  # discharge over-voltage
    (6, 7): ("fault", Condition.PARALLEL_COMMUNICATION),
    **{
        (11, bit): ("fault", condition)
        for bit, condition in enumerate(
            (
                Condition.AFE,  # chip
                Condition.AFE,  # communication
                Condition.AFE,  # sampling
                Condition.VOLTAGE_SENSE,  # cells
                Condition.VOLTAGE_SENSE,  # wire off
                Condition.VOLTAGE_SENSE,  # pack
                Condition.CURRENT_SENSE,
                Condition.TEMPERATURE_SENSE,
            )
        )
    },
    **{
        (12, bit): ("fault", condition)
        for bit, condition in enumerate(
            (
                Condition.TEMPERATURE_SENSE,  # wire off
                Condition.EEPROM,
                Condition.EEPROM,  # flash
                Condition.CLOCK,
                Condition.CHARGE_MOSFET,
                Condition.DISCHARGE_MOSFET,
                Condition.PRECHARGE,  # its FET
                Condition.PRECHARGE,
            )
        )
    },
    **{(13, bit): ("alarm", Condition.SOFTWARE_LOCK) for bit in range(4)},  # a state, no fault
    (13, 7): ("fault", Condition.HEATER),
}
"""(byte, bit) of a flag."""

STATES: dict[tuple[int, int], str] = {
    (0, 6): "smart_charger_connected",
    (1, 6): "smart_load_connected",
    (4, 7): "upgrading",
    (6, 6): "parallel_communication",
    (13, 0): "charge_off_by_bus",
    (13, 1): "discharge_off_by_bus",
    (13, 2): "charge_off_by_switch",
    (13, 3): "discharge_off_by_switch",
    (13, 4): "fan_on",
    (13, 5): "heater_on",
    (13, 6): "current_limiter_on",
}
"""(byte, bit) of what is remarkable but nothing bad."""


_RESERVED = 4
"""Which of the fault words (71) means nothing, so that it may be absent."""


def read_faults(words: list[int | None]) -> tuple[Found, dict[str, Any]]:
    """The conditions in the words 6D to 73, low bytes first, and what else they say."""
    known = [word or 0 for word in words]
    data = b"".join(word.to_bytes(2, "little") for word in known)
    found: Found = []
    states: list[str] = []
    unknown: list[str] = []
    for byte, value in enumerate(data):
        found += _levels(byte, value, unknown)
        for bit in bits(value):
            if (byte, bit) in FLAGS:
                found.append(FLAGS[byte, bit])
            if (byte, bit) in STATES:
                states.append(STATES[byte, bit])
            elif (byte, bit) not in FLAGS and not _is_level(byte, bit):
                unknown.append(f"{byte}.{bit}")
    raw: dict[str, Any] = {}
    if any(data):
        raw["fault_bits"] = data.hex()
    if states:
        raw["states"] = states
    if unknown:
        raw["fault_bits_unknown"] = unknown
    return found, raw


def _is_level(byte: int, bit: int) -> bool:
    return bit < 6 and (byte, bit // 3 * 3) in LEVELS


def _levels(byte: int, value: int, unknown: list[str]) -> Iterator[tuple[str, Condition]]:
    for low in (0, 3):
        level = value >> low & 7
        if (byte, low) not in LEVELS or not level:
            continue
        condition, trips = LEVELS[byte, low]
        yield "protection" if trips and level > 1 else "alarm", condition
        if level > 3:  # there are three levels
            unknown.append(f"{byte}.{low}={level}")


def _merge(values: Mapping[str, Any], options: Options) -> Reading:
    found, faults = read_faults(values.get("fault_words", []))
    slots = list(values.get("cell_voltages", ()))
    fields = common(values, options, slots, found, known=told(values, "fault_words", _RESERVED))
    raw: dict[str, Any] = fields["raw"]
    raw.update(faults)
    keep(
        raw,
        values,
        "heartbeat",
        "balance_state",
        "precharge_mosfet",
        "fan",
        "energy",
        "mileage",
        "clock",
        "lifetime_uptime",
    )
    for name in ("balance_words", "old_alarm_words"):
        if any(values.get(name, ())):
            raw[name] = values[name]
    uptime = values.get("uptime")
    balancing = _balancing(values)
    return Reading(
        protocol="daly-p81",
        balancing_active=balancing,
        balancing_cells=() if balancing is False else None,
        balance_current=values.get("balancer_current"),
        heater=flag(values.get("heater")),
        uptime=None if uptime is None else float(uptime),
        **fields,
    )


def _balancing(values: Mapping[str, Any]) -> bool | None:
    """4D alone proves only rest: the board of `daly-p81-ess-01` says 7 all the time."""
    if any(values.get("balance_words", ())) or values.get("balancer_current"):
        return True
    return False if values.get("balance_state") == 0 else None


_HARDWARE = re.compile(r"H\d+\.\d+_\w+")
"""A hardware version, as D2 boards have it in its own place (`H2.0_103R_309F9F`). Newer 81/51
boards send it where others have their model, and the family behind it
(`daly-p81-hkms-identity`)."""


def _identify(values: Mapping[str, Any]) -> Identity:
    model, hardware = (board_name(values.get(f"daly_{k}")) for k in ("model", "hardware_version"))
    if model is not None and _HARDWARE.fullmatch(model):
        model, hardware = hardware, model
    return Identity(
        vendor="Daly",
        model=model,
        hardware=hardware,
        firmware=forward(values.get("daly_software_version")),
        serial_number=values.get("daly_serial_number"),
        cell_count=believed_count(values.get("cell_count")),
        protocol="daly-p81",
    )


def _answers(asked: RTUFrame, frame: RTUFrame) -> bool:
    mine = frame.unit == asked.unit - ASKING + ANSWERING
    return mine and frame.shape == "data" and len(frame.data) == 2 * asked.count


def _request(block: Block, address: int | None) -> RTUFrame:
    return read_request(ASKING + (address or 1), *block)


PROBE = Probe(
    protocols=("daly-p81",),
    question="registers 00-3F of unit 80 + address",
    ask=lambda address: read_request(ASKING + (address or 1), 0, 0x40),
    fits=_answers,
    within=0.14,
    turns=(
        Turn(9600, (1,), place=20),
        Turn(9600, range(2, 5), place=110),
        Turn(9600, range(5, 16), place=120),
    ),
    rank=21,
    speaker=lambda frame: speaking_board(frame.unit) or None,
)


class DalyP81(DalyRegisters):
    """Asks a board of the 81/51 dialect. One poll is 00-3F, 40-7E and, where the board answers
    that, A4-AD. The state and the power without a sign come in one answer."""

    name: ClassVar[str] = "daly-p81"
    dialect: ClassVar[Dialect] = Dialect(
        "daly-p81", P81_TABLE, P81Framer, _TYPICAL, _merge, _identify
    )

    radio_rank: ClassVar[int] = 31
    requests: ClassVar[Mapping[str, Requester]] = {
        name: partial(_request, block)
        for name, block in (
            ("cells", _CELLS),
            ("live", _LIVE[0]),
            ("uptime", _UPTIME),
            ("versions", _VERSIONS),
        )
    }
    probes: ClassVar[tuple[Probe, ...]] = (PROBE,)
    responder: ClassVar[str] = "bmslink.simulation.boards.daly_p81:DalyP81Responder"
    between = _CELLS
    addresses: ClassVar[range] = range(1, MAX_BOARD + 1)
    counts_seconds: ClassVar[bool] = True

    def __init__(self, link: Link[RTUFrame], options: Options) -> None:
        super().__init__(link, options)
        board = 1 if options.address is None else options.address
        self.asking, self.answering = ASKING + board, ANSWERING + board
        self._live: Block | None = None
        self.settings = DalyRegisterSettings(self)
        self.switches = Switches(self.name, settable=Switch)
        self.clock_soc = DalyRegisterClock(
            self, untested="only a document says how this dialect takes the clock"
        )

    async def _cells(self) -> Record:
        """The cells and the pack; a board that just woke up may announce no cells yet."""
        for _ in range(3):
            record = await self.ask(_CELLS)
            if record.values["cell_count"]:
                break
            await asyncio.sleep(0.3)
        return record

    async def _rest(self) -> Record:
        """The rest of the live registers, in the longest block that the board answers."""
        if self._live is not None:
            return await self.ask(self._live)
        try:
            record = await self.ask(_LIVE[0])
        except LinkTimeout:
            record = await self.ask(_LIVE[1])
            self._live = _LIVE[1]
        else:
            self._live = _LIVE[0]
        return record

    async def ask_versions(self) -> Identity:
        return self.codec.identity(await self.ask_optional(_VERSIONS))

    async def identify(self) -> Identity:
        # not the settings: nothing there is needed, and the password is among them
        return self.codec.identity([await self._cells(), *await self.ask_optional(_VERSIONS)])

    async def read(self) -> Reading:
        self.patience.rounds += 1
        records = [await self._cells(), await self._rest(), *await self.ask_optional(_UPTIME)]
        return self.codec.reading(records)
