"""What JBD frames say: requests, answers, and what of them is secret.

Facts and their evidence: `docs/protocols/jbd.md`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from bmslink.errors import FrameError
from bmslink.model import Identity, Reading
from bmslink.protocols.base import Codec, Options, Payload, Record, require
from bmslink.protocols.common.fields import (
    Layout,
    of_count,
    open_wires,
    parse,
    sort_conditions,
    text,
)
from bmslink.protocols.jbd.auth import APP_KEY
from bmslink.protocols.jbd.framing import READ, STATUS, WRITE, JBDFrame, JBDFramer
from bmslink.protocols.jbd.layouts import (
    COUNTERS_LAYOUT,
    NAME,
    addressed_basic_layout,
    basic_layout,
    cells_layout,
    tail_kind,
)
from bmslink.protocols.jbd.reading import DAREN, basic_reading
from bmslink.protocols.jbd.settings import STRINGS, register_layout

__all__ = ["JBDCodec"]


class JBDCodec(Codec[JBDFrame]):
    """Meaning of JBD frames. Remembers the last request, because the oldest boards answer with
    A5 instead of the register (`jbd-simat-issue12-a5-echo`)."""

    whole: ClassVar[frozenset[str]] = frozenset({"basic", "cells"})

    def __init__(self, options: Options | None = None) -> None:
        self._asked: int | None = None
        self._sign = (options or Options()).current_sign

    def _register(self, frame: JBDFrame) -> int:
        if frame.mark != READ:
            return frame.mark
        if self._asked is None:
            raise FrameError("An answer that does not repeat its register, to no known request.")
        return self._asked

    def payload(self, frame: JBDFrame, *, sent: bool = False) -> Payload | None:
        if frame.module or not frame.data:
            return None
        if sent or not frame.is_answer:
            layout = register_layout(frame.code, len(frame.data))
        else:
            layout = self._layout(self._register(frame), frame)
        return None if layout is None else Payload(layout, frame.data)

    def _layout(self, register: int, frame: JBDFrame) -> Layout | None:
        data = frame.data
        if register == 0x03:
            at = 22 if frame.address is None else 28
            require(len(data) > at, f"Basic information of {len(data)} bytes is too short.", data)
            probes = data[at]
            require(
                len(data) >= at + 1 + 2 * probes,
                f"Basic information announces {probes} NTCs but has only {len(data)} bytes.",
                data,
            )
            if frame.address is not None:
                return addressed_basic_layout(len(data), probes)
            return basic_layout(len(data), probes, tail_kind(data, probes))
        if register == 0x04:
            require(len(data) % 2 == 0, f"Cell voltages of odd length {len(data)}.", data)
            return cells_layout(len(data))
        if register == 0x05:
            return NAME
        if register == 0xAA:
            require(len(data) in COUNTERS_LAYOUT, f"Counters of {len(data)} bytes.", data)
            return COUNTERS_LAYOUT[len(data)]
        return register_layout(register, len(data))

    def decode(self, frame: JBDFrame, *, sent: bool = False) -> Record:
        values: dict[str, Any]
        if frame.module:
            values = {"command": frame.code, "length": len(frame.data)}
            return Record("module", "request" if sent else "other", values)
        if sent or not frame.is_answer:
            return self._explain_request(frame)
        register = self._register(frame)
        if frame.code:
            values = {
                "register": register,
                "status": frame.code,
                "meaning": STATUS[frame.code],
            }
            return Record("refusal", "refusal", values)
        if register in (0x03, 0x04) or frame.data:
            return self._explain_answer(register, frame)
        if register == 0x05:
            return Record("name", "identity", {"model": None})
        return Record("ack", "ack", {"register": register})

    def _explain_request(self, frame: JBDFrame) -> Record:
        self._asked = frame.code
        values: dict[str, Any] = {"register": frame.code}
        if frame.mark != WRITE:
            return Record("read", "request", values)
        payload = self.payload(frame, sent=True)
        if payload is not None:
            values |= parse(payload.layout, payload.data, "JBD write")
            values.pop("secret", None)
        elif frame.data:
            values["data"] = frame.data.hex()
        return Record("write", "request", _plain_strings(frame.code, values))

    def _explain_answer(self, register: int, frame: JBDFrame) -> Record:
        layout = self._layout(register, frame)
        if layout is None:
            return Record("other", "other", {"register": register, "data": frame.data.hex()})
        values = parse(layout, frame.data, f"JBD register {register:02X}")
        if register == 0x03:
            values["variant"] = "addressed" if frame.address is not None else _variant(values)
            return Record("basic_info", "reading", values, part="basic")
        if register == 0x04:
            return Record("cells", "reading", values, part="cells")
        if register == 0x05:
            return Record("name", "identity", {"model": text(values["name"]) or None})
        if register == 0xAA:
            return Record("error_counts", "log", values)
        return Record("setting", "settings", _plain_strings(register, values))

    def reading(self, records: Sequence[Record]) -> Reading:
        parts = {record.part: record.values for record in records}
        basic = parts.get("basic")
        cells: tuple[float | None, ...] = tuple(parts.get("cells", {}).get("cell_voltages", ()))
        if basic is None:
            return Reading(
                protocol="jbd",
                cell_voltages=cells,
                **sort_conditions(open_wires(cells), known=False),
            )
        count = basic["cell_count"]
        if cells and count:  # slots beyond the announced count are padding
            cells = of_count(cells, count)
        return basic_reading(basic, cells, self._sign)

    def identity(self, records: Sequence[Record]) -> Identity:
        result = Identity(vendor="JBD", protocol="jbd")
        for record in records:
            if record.kind == "name":
                result = replace(result, model=record.values["model"])
            elif record.part == "basic":
                version = record.values["version"]
                result = replace(
                    result,
                    firmware=f"{version >> 4}.{version & 15}" if version else None,
                    cell_count=record.values["cell_count"],
                    variant=record.values["variant"],
                )
        return result

    def private(self, frame: JBDFrame) -> frozenset[str]:
        """The barcode; the other two strings name maker and model."""
        barcode = _BARCODE in (frame.mark, frame.code)
        return frozenset({"text"}) if barcode and not frame.module else frozenset()

    def scrub(self, frame: JBDFrame) -> bytes | None:
        """PINs travel in the writes 06, 07 and 09, and in the module's 15 (not from the vendor's
        app), 16, 18 and 1D."""
        if frame.module and frame.code in _MODULE_SECRETS and frame.data != APP_KEY:
            if len(frame.data) < 2:  # an answer, which says yes or no
                return None
            clean = frame.replace(data=bytes(len(frame.data)))
        elif not frame.module and frame.mark == WRITE and frame.code in (0x06, 0x07, 0x09):
            clean = frame.replace(data=frame.data[:1] + bytes(max(0, len(frame.data) - 1)))
        else:
            return None
        return JBDFramer().encode(clean)

    def scrub_noise(self, data: bytes) -> bytes:
        """What follows the start of a PIN write may be the PIN."""
        for start in _PIN_WRITES:
            at = data.find(start)
            if at >= 0:
                kept = data[: at + len(start)]
                data = kept + bytes(len(data) - len(kept))
        return data


_BARCODE = 0xA2
_MODULE_SECRETS = (0x15, 0x16, 0x18, 0x1D)
_PIN_WRITES = (
    *(bytes([0xDD, WRITE, register]) for register in (0x06, 0x07, 0x09)),
    *(bytes([0xFF, 0xAA, command]) for command in _MODULE_SECRETS),
)


def _plain_strings(register: int, values: dict[str, Any]) -> dict[str, Any]:
    """The three string registers: `[length][text]`, with garbage behind the length."""
    if register in STRINGS and "text" in values:
        return {STRINGS[register]: text(values["text"][: values["length"]])}
    return values


def _variant(values: Mapping[str, Any]) -> str:
    return DAREN if "soh" in values else "classic"
