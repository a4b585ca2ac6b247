"""What the register frames of JK's Modbus RTU mean (`jk_modbus` says what is asked).

Facts and their evidence: `docs/protocols/jk-modbus.md`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from bmslink.errors import FrameError, TargetError
from bmslink.model import Identity, Reading
from bmslink.protocols.base import Codec, Payload, Record, require
from bmslink.protocols.common.fields import parse, text
from bmslink.protocols.common.rtu import MODBUS_SHAPES, RTUFrame, RTUFramer
from bmslink.protocols.jk.jk02.layouts import NAMES_OF_BOARD, PAYLOAD
from bmslink.protocols.jk.jk02.reading import REMEMBERED, cell_count, chemistry, live_reading
from bmslink.protocols.jk.modbus.map import (
    ACTIONS,
    ARMING,
    INFO,
    LIVE,
    SETTINGS,
    TRIGGERS,
    VARIANTS,
    Chunk,
    RegisterTable,
    assemble,
    blanked,
    chunk_layout,
    only_known,
    place,
    variant_of,
)
from bmslink.protocols.jk.settings import plain_settings

__all__ = [
    "EXCEPTIONS",
    "MOST_REGISTERS",
    "JKModbusCodec",
    "check_address",
    "fits",
    "is_answer",
    "read_request",
]

MOST_REGISTERS = 32
"""Per read. 122 were answered and 124 refused by one board, 40 answered and 128 lost by another."""
EXCEPTIONS = {
    1: "no such function",
    2: "no such register, or a value that it does not take",
    3: "a wrong count or length",
    4: "the request was damaged on its way (CRC)",
}
_HEATING = ("jk_heating_start", "jk_heating_stop")


def check_address(address: int) -> int:
    """An address that may be asked; `TargetError` for any other."""
    if address == 0:
        raise TargetError(
            "Address 0 is the master of a JK bus: it asks the others and must not be asked. "
            "Set its DIP switches to another address, or listen to it with jk-bus."
        )
    if not 1 <= address <= 15:
        raise TargetError(f"JK boards have addresses from 1 to 15, not {address}.")
    return address


def read_request(address: int, register: int, count: int) -> RTUFrame:
    """The frame that asks for `count` registers; the only request this protocol sends."""
    where = place(register)
    if where is None or register % 2 or not 1 <= count <= MOST_REGISTERS:
        raise TargetError(f"{count} registers from {register:04X} on cannot be read.")
    return RTUFrame(unit=check_address(address), register=register, count=count)


# ---------------------------------------------------------------------------------- meaning


class JKModbusCodec(Codec[RTUFrame]):
    """Meaning of register frames.

    An answer does not say what it answers, so the codec remembers the latest request; and per
    address what live values are completed with. `variant` is what is known beforehand about the
    map; a board that contradicts it is a `FrameError`.
    """

    names_of_board: ClassVar[frozenset[str]] = NAMES_OF_BOARD

    def __init__(self, variant: str | None = None, sign: str = "auto") -> None:
        if variant not in (None, *VARIANTS):
            known = ", ".join(VARIANTS)
            raise TargetError(f"Unknown variant {variant!r} of jk-modbus; known: {known}.")
        self._told, self._sign = variant, sign
        self._asked: RTUFrame | None = None
        self._asked_scrubbed: RTUFrame | None = None
        self._flags: dict[int, bytes] = {}
        self._settings: dict[int, dict[str, Any]] = {}

    def _answered(self, frame: RTUFrame) -> tuple[RegisterTable, int] | None:
        """Where the bytes of an answer belong; `FrameError` if it answers no known request."""
        asked = self._asked
        if asked is None:
            raise FrameError("An answer without its request: of which registers is not known.")
        require(
            fits(frame, asked),
            f"{len(frame.data)} bytes from address {frame.unit}; asked were {2 * asked.count} "
            f"from address {asked.unit}.",
            frame.data,
        )
        return place(asked.register)

    def payload(self, frame: RTUFrame, *, sent: bool = False) -> Payload | None:
        if not frame.data:
            return None
        answer = frame.shape == "data"
        where = self._answered(frame) if answer else place(frame.register)
        if where is None:
            return None
        return Payload(chunk_layout(*where, len(frame.data)), frame.data)

    def decode(self, frame: RTUFrame, *, sent: bool = False) -> Record:
        values: dict[str, Any] = {"address": frame.unit, "register": frame.register}
        if frame.shape == "read":
            self._asked = frame
            return Record("read", "request", values | {"count": frame.count})
        if frame.shape == "data":
            return self._explain_answer(frame)
        if frame.shape == "exception":
            values = {"address": frame.unit, "function": frame.function & 0x7F}
            meaning = EXCEPTIONS.get(frame.code, "not documented")
            values |= {"status": frame.code, "meaning": meaning}
            return Record("refusal", "refusal", values)
        if frame.shape == "written":
            return Record("written", "ack", values | {"count": frame.count})
        return self._explain_write(frame, values)

    def _explain_write(self, frame: RTUFrame, values: dict[str, Any]) -> Record:
        if frame.register == ARMING:
            danger = "starts the boot loader: the board is lost without its programmer"
            return Record("firmware_arming", "request", values | {"danger": danger})
        if frame.register in TRIGGERS:
            return Record("trigger", "request", values | {"record": TRIGGERS[frame.register]})
        if frame.register in ACTIONS:
            both = dict(zip(VARIANTS, ACTIONS[frame.register], strict=True))
            return Record("action", "request", values | both)
        payload = self.payload(frame)
        if payload is None or _is_secret(frame.register, len(frame.data)):
            return Record("write", "request", values)
        return Record("write", "request", values | _named(payload, "JK Modbus write"))

    def _explain_answer(self, frame: RTUFrame) -> Record:
        where = self._answered(frame)
        register = self._asked.register if self._asked else 0
        values: dict[str, Any] = {"address": frame.unit, "register": register}
        if where is None:
            return Record("other", "other", values | {"data": frame.data.hex()})
        table, offset = where
        if table is LIVE:
            values |= {"data": frame.data, "settings": self._settings.get(frame.unit, {})}
            part = f"{frame.unit}:{register:04X}"
            return Record("live", "reading", values, part=part, pack=frame.unit)
        layout = chunk_layout(table, offset, len(frame.data))
        found = _named(Payload(layout, frame.data), f"JK {table.name} registers")
        if table is SETTINGS:
            return Record("settings", "settings", self._plain(frame.unit, found))
        return Record("info", "identity", _info(found))

    def _plain(self, unit: int, found: dict[str, Any]) -> dict[str, Any]:
        """Settings as they were read; remembers what later frames need."""
        self._flags[unit] = flags = found.get("enable_flags", self._flags.get(unit, bytes(9)))
        variant = variant_of(flags)
        require(
            None in (variant, self._told) or variant == self._told,
            f"This board has the {variant} map, known was {self._told}.",
        )
        zeros = parse(SETTINGS.layout, bytes(PAYLOAD), "JK settings")
        plain = plain_settings(zeros | found | {"enable_flags": flags}, "32s")
        names = set(found)
        if "jk_switches" in found:  # one word becomes 16 names
            names |= plain.keys() - zeros.keys()
        settings = {key: value for key, value in plain.items() if key in names}
        if (variant or self._told) != "v1.1":
            settings |= dict.fromkeys((k for k in _HEATING if k in names), None)
        fresh = {key: settings[key] for key in REMEMBERED if key in settings}
        self._settings[unit] = self._settings.get(unit, {}) | fresh
        return settings | {"variant": variant or self._told}

    def reading(self, records: Sequence[Record]) -> Reading:
        live = [r.values for r in records if r.part is not None]
        if not live:
            return Reading(protocol="jk-modbus")
        unit = live[-1]["address"]
        same = [v for v in live if v["address"] == unit]
        values, known = assemble(LIVE, _chunks(same))
        settings = same[-1]["settings"]
        if not {"cell_voltages", "cell_mask"} <= known:
            values["cell_mask"] = 0
            settings = {key: value for key, value in settings.items() if key != "cell_count"}
        variant = variant_of(self._flags.get(unit, b"")) or self._told
        reading = live_reading(values | {"settings": settings, "variant": variant}, self._sign)
        reading = only_known(reading, known)
        return replace(reading, protocol="jk-modbus", raw={"address": unit, **reading.raw})

    def identity(self, records: Sequence[Record]) -> Identity:
        result = Identity(vendor="JK", protocol="jk-modbus", variant=self._told)
        for found in records:
            if found.kind == "info":
                result = replace(result, **found.values)
        live = [r.values for r in records if r.kind == "live"]
        if live:
            values, known = assemble(LIVE, _chunks(live))
            values["settings"] = live[-1]["settings"]
            if {"chemistry", "enable_flags"} <= known:
                result = replace(result, chemistry=chemistry(values))
            if "cell_mask" in known:
                result = replace(result, cell_count=cell_count(values) or None)
        for found in records:
            if found.kind == "settings":  # they know best
                count = found.values.get("cell_count") or result.cell_count
                variant = found.values["variant"] or result.variant
                result = replace(result, cell_count=count, variant=variant)
        return result

    def scrub(self, frame: RTUFrame) -> bytes | None:
        """Both passwords and the passcode behind the serial number are blanked, in answers and
        in writes; an answer whose request was not recorded says nothing, and is blanked whole."""
        if frame.shape == "read":
            self._asked_scrubbed = frame
        if not frame.data:
            return None
        asked = self._asked_scrubbed if frame.shape == "data" else frame
        if asked is None or (asked is not frame and not fits(frame, asked)):
            clean = bytes(len(frame.data))
        else:
            where = place(asked.register)
            if where is None or where[0] is not INFO:
                return None
            clean = blanked(where[1], frame.data)
        return RTUFramer(MODBUS_SHAPES).encode(frame.replace(data=clean))


def fits(answer: RTUFrame, asked: RTUFrame) -> bool:
    """Whether it has as many registers as were asked for, from the unit that was asked."""
    return answer.unit == asked.unit and len(answer.data) == 2 * asked.count


def _named(payload: Payload, what: str) -> dict[str, Any]:
    values = parse(payload.layout, payload.data, what)
    return {k: v for k, v in values.items() if not k.startswith(("part_", "reserved"))}


def _chunks(records: Iterable[Mapping[str, Any]]) -> list[Chunk]:
    return [Chunk(v["register"] - LIVE.base, v["data"]) for v in records]


_TEXTS = {
    "vendor_id": "model",
    "hardware_version": "hardware",
    "software_version": "firmware",
    "serial_number": "serial_number",
}


def _info(found: Mapping[str, Any]) -> dict[str, Any]:
    return {to: text(found[name]) or None for name, to in _TEXTS.items() if name in found}


def _is_secret(register: int, length: int) -> bool:
    where = place(register)
    filled = b"\1" * length
    return where is not None and where[0] is INFO and blanked(where[1], filled) != filled


def is_answer(frame: RTUFrame, request: RTUFrame) -> bool:
    """Whether a frame answers the request: the bytes asked for, or a refusal."""
    if frame.doubtful:
        return False
    if frame.shape == "exception":
        return frame.unit == request.unit and frame.function & 0x7F == request.function
    if request.shape == "write_many":
        same = frame.unit == request.unit and frame.register == request.register
        return frame.shape == "written" and same
    return frame.shape == "data" and fits(frame, request)
