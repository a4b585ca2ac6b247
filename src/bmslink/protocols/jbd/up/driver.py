"""JBD's rack batteries (UP16S…): a Modbus-like protocol of its own on RS485.

`address | function | start | end | length | data | CRC-16, low byte first`; a request has no data,
its answer repeats the header and says how much follows. The master pack has address 1; packs
behind it answer nothing but their status. Facts and their evidence: `docs/protocols/jbd-up.md`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

from bmslink.errors import LinkTimeout
from bmslink.link.link import Link, Timing
from bmslink.model import Condition, Identity, Reading, Switch
from bmslink.protocols.base import Codec, Driver, Options, Payload, Record, Requester
from bmslink.protocols.common.fields import (
    Layout,
    bits,
    is_set,
    named_bits,
    open_wires,
    parse,
    signed,
    sort_conditions,
    text,
    unnamed_bits,
)
from bmslink.protocols.common.settings_map import SettingsMap
from bmslink.protocols.jbd.up.framing import (
    INDIVIDUAL,
    READ,
    WRITE,
    UPFrame,
    UPFramer,
    read_request,
)
from bmslink.protocols.jbd.up.layouts import (
    ALARMS,
    BLOCKS,
    FAULTS,
    WRITES,
    individual_layout,
    status_layout,
)
from bmslink.protocols.jbd.up.map import up_map
from bmslink.protocols.jbd.up.writing import UPSettings
from bmslink.protocols.optional_requests import OptionalRequests
from bmslink.protocols.parts import Switches
from bmslink.protocols.probe import Probe, Relatives, Turn

__all__ = ["JBDUP", "JBDUPCodec"]

STATUS, CAPACITY, PRODUCT = (0x1000, 0x10A0), (0x2006, 0x2018), (0x2810, 0x283C)
"""Start and end of the blocks that are asked for. Never 2000: reading the capacity from there can
zero the discharge limit for a moment."""

_FLAG_DISCHARGE, _FLAG_CHARGE, _FLAG_HEATER = 0, 1, 3
_COUNTERS_SINCE = 12  # major firmware version from which 2006 is answered


# ---------------------------------------------------------------------------------- meaning


class JBDUPCodec(Codec[UPFrame]):
    """Meaning of UP frames. Remembers nothing: every answer repeats what it answers."""

    names_of_board: ClassVar[frozenset[str]] = frozenset(
        {"serial_number", "board_serial_number", "pack_serial_number", "customer"}
    )

    def __init__(self, sign: str = "auto") -> None:
        self._sign = sign

    def payload(self, frame: UPFrame, *, sent: bool = False) -> Payload | None:
        layout = self._layout(frame)[1]
        return None if layout is None else Payload(layout, frame.data)

    def _layout(self, frame: UPFrame) -> tuple[str, Layout | None]:
        """The kind of a frame's data, and its layout where one is known."""
        if not frame.data:
            return "empty", None
        if frame.function == WRITE:
            return "write", WRITES.get((frame.start, len(frame.data)))
        if frame.function == INDIVIDUAL and frame.start == 0:
            return "individual_status", individual_layout(frame.data)
        if frame.function != READ:
            return "other", None
        if frame.start == STATUS[0]:
            return "pack_status", status_layout(frame.data)
        return BLOCKS.get((frame.start, len(frame.data)), ("other", None))

    def decode(self, frame: UPFrame, *, sent: bool = False) -> Record:
        values: dict[str, Any] = {"address": frame.address, "start": frame.start}
        kind, layout = self._layout(frame)
        if layout is not None:
            found = parse(layout, frame.data, f"JBD UP block {frame.start:04X}")
            found.pop("key", None)
            values |= found
        elif frame.data:
            values |= {"function": frame.function, "data": frame.data.hex()}
        if sent or not frame.is_answer:
            name = "write" if frame.function == WRITE else "read"
            return Record(name, "request", values)
        if frame.function == WRITE:
            return Record("ack", "ack", values)
        if kind in ("pack_status", "individual_status", "capacity"):
            return Record(kind, "reading", _named(kind, values), kind, frame.address)
        if kind == "product":
            return Record(kind, "identity", _named(kind, values))
        if kind in ("protection_parameters", "pack_parameters"):
            return Record(kind, "settings", _named(kind, values))
        return Record(kind, "other", values)

    def reading(self, records: Sequence[Record]) -> Reading:
        parts = {record.kind: record.values for record in records}
        capacity = parts.get("capacity", {})
        status = parts.get("pack_status")
        if status is None:
            status = parts.get("individual_status", {})
        first = status or capacity
        if not first:
            return Reading(protocol="jbd-up")
        if any(r.values["address"] != first["address"] for r in records):
            return self.reading([r for r in records if r.values["address"] == first["address"]])
        return _merged(status, capacity, self._sign)

    def identity(self, records: Sequence[Record]) -> Identity:
        result = Identity(vendor="JBD", protocol="jbd-up")
        for record in sorted(records, key=lambda r: r.kind == "product"):  # it knows best
            values = record.values
            if record.kind == "product":
                result = replace(result, model=values["model"], firmware=values["firmware"])
            elif record.kind in ("pack_status", "individual_status"):
                result = replace(
                    result,
                    serial_number=values["serial_number"] or result.serial_number,
                    cell_count=values["cell_count"],
                )
                if record.kind == "pack_status":
                    relayed = is_relayed(values)
                    result = replace(
                        result,
                        variant="relayed" if relayed else "direct",
                        firmware=None if relayed else _version(values["version"]),
                    )
        return result


def _named(kind: str, values: dict[str, Any]) -> dict[str, Any]:
    """Strings as text instead of bytes."""
    if kind == "individual_status":
        swapped = values["serial_number"]
        pairs = [swapped[i : i + 2][::-1] for i in range(0, len(swapped), 2)]
        values["serial_number"] = b"".join(pairs)
    elif kind == "product":
        values["firmware"] = f"{values['major']}.{values['minor']}.{values['patch']}"
    for key in ("serial_number", "board_serial_number", "pack_serial_number", "customer"):
        if key in values:
            values[key] = text(values[key]) or None
    for key in ("model", "project"):
        if key in values:
            values[key] = text(values[key]) or None
    return values


def is_relayed(status: Mapping[str, Any]) -> bool:
    """Whether a pack status came through the master: then its second voltage is filled too."""
    return bool(status["relayed_voltage"])


def _version(word: int) -> str:
    return f"{word >> 8}.{word & 0xFF}"


_RAW = (
    "state",
    "connection_state",
    "charge_voltage_limit",
    "charge_current_limit",
    "discharge_voltage_limit",
    "discharge_current_limit",
)
"""Kept as the board's own words: the limits of address 1 are those of the whole bank."""


def _merged(status: Mapping[str, Any], capacity: Mapping[str, Any], sign: str) -> Reading:
    """A status, and the counters of the same pack, whose SOC is the finer one."""
    cells = tuple(status.get("cell_voltages", ()))
    flags, balance = status.get("flags"), status.get("balance")
    counters = {k: capacity[k] for k in ("total_charge", "total_discharge") if k in capacity}
    values = {**capacity, **status}
    raw = {key: status[key] for key in _RAW if key in status}
    current = signed(status["current"], sign, raw) if "current" in status else None
    soc = capacity.get("soc", status.get("soc"))
    return Reading(
        protocol="jbd-up",
        voltage=values.get("voltage"),
        current=current,
        soc=None if soc is None else float(soc),
        soh=float(values["soh"]),
        remaining_capacity=values.get("remaining_capacity"),
        full_capacity=values.get("full_capacity"),
        nominal_capacity=values.get("nominal_capacity"),
        cycles=values["cycles"],
        cell_voltages=cells,
        temperatures=_temperatures(status),
        balancing_active=None if balance is None else bool(balance),
        balancing_cells=(
            None if balance is None else tuple(b + 1 for b in bits(balance) if b < len(cells))
        ),
        charging_allowed=is_set(flags, _FLAG_CHARGE),
        discharging_allowed=is_set(flags, _FLAG_DISCHARGE),
        heater=is_set(flags, _FLAG_HEATER),
        raw=raw | _bits(status) | counters | {"address": values["address"]},
        **sort_conditions(_conditions(status, cells), known="alarms" in status),
    )


def _temperatures(status: Mapping[str, Any]) -> dict[str, float | None]:
    told = {f"sensor_{i}": t for i, t in enumerate(status.get("temperatures", ()), 1)}
    for name in ("ambient", "mosfet"):
        if f"{name}_temperature" in status:
            told[name] = status[f"{name}_temperature"]
    return told


def _conditions(status: Mapping[str, Any], cells: Sequence[float]) -> list[tuple[str, Condition]]:
    found = named_bits(status.get("faults", 0), FAULTS)
    found += named_bits(status.get("alarms", 0), ALARMS)
    return [*found, *open_wires(cells)]


def _bits(status: Mapping[str, Any]) -> dict[str, Any]:
    """What stays unexplained."""
    raw: dict[str, Any] = {}
    for name, table in (("faults", FAULTS), ("alarms", ALARMS)):
        unnamed = [
            b for b in bits(status.get(name, 0)) if b not in table or table[b][1] == Condition.OTHER
        ]
        if unnamed:
            raw[f"{name[:-1]}_bits"] = unnamed
    known = (_FLAG_DISCHARGE, _FLAG_CHARGE, _FLAG_HEATER)
    left = unnamed_bits(status.get("flags", 0), known)
    if left:
        raw["flag_bits"] = left
    beyond = [b for b in bits(status.get("balance", 0)) if b >= status["cell_count"]]
    if beyond:
        raw["balance_bits"] = beyond
    if status.get("surplus"):
        raw["surplus"] = status["surplus"].hex()
    return raw


# ---------------------------------------------------------------------------------- driver


def _head(frame: UPFrame) -> tuple[int, ...]:
    return frame.address, frame.function, frame.start, frame.end


def _request(block: tuple[int, int], address: int | None) -> UPFrame:
    return read_request(block, address or 1)


PROBE = Probe(
    protocols=("jbd-up",),
    question="block 1000",
    ask=lambda address: read_request(STATUS, address or 1),
    fits=lambda asked, frame: frame.is_answer and _head(frame) == _head(asked),
    within=0.42,  # 0.15 to 0.35 s
    turns=(
        Turn(9600, (1,), place=60),
        Turn(9600, range(2, 5), place=110),
        Turn(9600, range(5, 17), place=150),
    ),
    rank=31,
    speaker=lambda frame: frame.address if frame.is_answer else None,
)


_FETS = (Switch.CHARGE, Switch.DISCHARGE)
_CONTRADICTED = (
    "one program writes register 2902 for it, where another source puts the pack to sleep, and "
    "nobody was recorded writing it"
)


class JBDUP(Driver[UPFrame]):
    """Asks one pack for its status and, where it can, for its counters."""

    name: ClassVar[str] = "jbd-up"
    vendor: ClassVar[str] = "jbd"
    requests: ClassVar[Mapping[str, Requester]] = {
        name: partial(_request, block)
        for name, block in (("status", STATUS), ("capacity", CAPACITY), ("product", PRODUCT))
    }
    probes: ClassVar[tuple[Probe, ...]] = (PROBE,)
    relatives: ClassVar[Relatives] = "thorough"
    responder: ClassVar[str] = "bmslink.simulation.boards.jbd_up:JBDUPResponder"
    # Answers take 0.15-0.35 s (jbd-syssi-up16s020-two-devices).
    timing: ClassVar[Timing] = Timing(baudrate=9600, timeout=1.5, gap=0.1, retries=2, idle=0.15)

    addresses: ClassVar[range] = range(1, 0xFF)

    def __init__(self, link: Link[UPFrame], options: Options) -> None:
        super().__init__(link, options)
        self.address = 1 if options.address is None else options.address
        self.patience = OptionalRequests()
        self.settings = UPSettings(self._bytes)
        self.switches = Switches(self.name, missing=dict.fromkeys(_FETS, _CONTRADICTED))

    @classmethod
    def every_map(cls) -> tuple[SettingsMap, ...]:
        return (up_map(),)

    @classmethod
    def make_framer(cls) -> UPFramer:
        return UPFramer()

    @classmethod
    def make_codec(cls, options: Options) -> JBDUPCodec:
        return JBDUPCodec(options.current_sign)

    async def start(self) -> None:
        self.patience.forgive()

    async def ask(self, block: tuple[int, int], retries: int | None = None) -> Record:
        """Read one block."""
        return self.codec.decode(await self._answer(block, retries))

    async def _bytes(self, block: tuple[int, int]) -> bytes:
        """The raw bytes of a block that packs need not answer."""
        return (await self._answer(block, retries=1)).data

    async def _answer(self, block: tuple[int, int], retries: int | None = None) -> UPFrame:
        def matches(frame: UPFrame) -> bool:
            where = (frame.address, frame.function, frame.start, frame.end)
            return frame.is_answer and where == (self.address, READ, *block)

        request = read_request(block, self.address)
        (frame,) = await self.link.collect(request, matches, lambda got: True, retries=retries)
        return frame

    async def _ask_direct(self, status: Record, block: tuple[int, int]) -> list[Record]:
        """A block that only packs on the line itself answer."""
        old = int(status.values["version"]) >> 8 < _COUNTERS_SINCE and block == CAPACITY
        if is_relayed(status.values) or old or not self.patience.worth_asking(block):
            return []
        try:
            record = await self.ask(block, retries=1)
        except LinkTimeout as error:
            if error.heard == "silence":
                self.patience.missed(block)
            return []
        self.patience.answered(block)
        return [record]

    async def identify(self) -> Identity:
        status = await self.ask(STATUS)
        return self.codec.identity([status, *await self._ask_direct(status, PRODUCT)])

    async def read(self) -> Reading:
        self.patience.rounds += 1
        status = await self.ask(STATUS)
        return self.codec.reading([status, *await self._ask_direct(status, CAPACITY)])
