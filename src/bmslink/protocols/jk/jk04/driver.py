"""JK (Jikong) JK04: the oldest boards and active balancers, with floats in their records.

Frames, commands and the order of a session are those of JK02, the device info too; settings and
live values are not. These boards measure cells and balance them: they know no current, charge,
FETs or temperatures. Facts and their evidence: `docs/protocols/jk04.md`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from construct import Byte, Struct

from bmslink.link.link import Link
from bmslink.model import Identity, Reading, Switch
from bmslink.protocols.base import Codec, Options, Payload, Record, require
from bmslink.protocols.common.fields import Layout, open_wires, parse, sort_conditions, text
from bmslink.protocols.common.settings_map import SettingsMap
from bmslink.protocols.jk.jk02.driver import JK02Codec, explain_ack
from bmslink.protocols.jk.jk02.framing import ACK, CELLS, INFO, SETTINGS, JK02Frame
from bmslink.protocols.jk.jk02.layouts import DEVICE_INFO, NAMES_OF_BOARD, PAYLOAD
from bmslink.protocols.jk.jk02.reading import cell_count
from bmslink.protocols.jk.jk02.stream import JKStream
from bmslink.protocols.jk.jk02.writing import NOT_TAKEN
from bmslink.protocols.jk.jk04.layouts import (
    CELL_INFO,
    REGISTERS,
    SETTINGS_TABLE,
    numbers,
    prove_cells,
    prove_device,
    prove_settings,
)
from bmslink.protocols.jk.jk04.map import jk04_map
from bmslink.protocols.jk.jk04.writing import JK04Settings
from bmslink.protocols.parts import Switches

__all__ = ["JK04", "JK04Codec"]

_RECORDS: dict[int, tuple[str, Layout]] = {
    SETTINGS: ("settings", SETTINGS_TABLE),
    CELLS: ("cells", CELL_INFO),
    INFO: ("info", DEVICE_INFO),
}
_ACK_LAYOUT = Struct("status" / Byte)
_INFO_TEXTS = {
    "vendor_id": "model",
    "hardware_version": "hardware",
    "software_version": "firmware",
    "serial_number": "serial_number",
    "name": "name",
    "first_power_on": "first_power_on",
}
_REMEMBERED = ("cell_count", "balance_switch")


class JK04Codec(Codec[JK02Frame]):
    """Meaning of JK04 frames. Remembers whether a device info proved the board, and the latest
    settings, which live values are completed with."""

    whole: ClassVar[frozenset[str]] = frozenset({"cells"})
    names_of_board: ClassVar[frozenset[str]] = NAMES_OF_BOARD

    def __init__(self) -> None:
        self._proven = False
        self._settings: dict[str, Any] = {}

    def payload(self, frame: JK02Frame, *, sent: bool = False) -> Payload | None:
        if not frame.command:
            return self._record_payload(frame)
        if frame.code == ACK and not sent and len(frame.data) == 1:
            return Payload(_ACK_LAYOUT, frame.data)
        register = REGISTERS.get(frame.code)
        if register is None or register.wire.sizeof() != len(frame.data):
            return None
        return Payload(Struct(register.key / register.wire), frame.data)

    def _record_payload(self, frame: JK02Frame) -> Payload:
        require(
            len(frame.data) == PAYLOAD and frame.code in _RECORDS,
            f"A jk04 record of type {frame.code:02X} with {len(frame.data)} bytes is not known.",
            frame.data,
        )
        if frame.code == INFO:
            prove_device(frame.data[:15], frame.data[24:32])
        elif frame.code == CELLS:
            prove_cells(frame.data, known=self._proven)
        else:
            prove_settings(frame.data)
        return Payload(_RECORDS[frame.code][1], frame.data)

    def decode(self, frame: JK02Frame, *, sent: bool = False) -> Record:
        if frame.command:
            return self._explain_command(frame, sent=sent)
        payload = self._record_payload(frame)
        kind = _RECORDS[frame.code][0]
        values = parse(payload.layout, payload.data, f"JK04 {kind} record")
        if frame.code == INFO:
            self._proven = True
            return Record(kind, "identity", _info(values))
        values = numbers(values)
        if frame.code == SETTINGS:
            self._settings = {key: values[key] for key in _REMEMBERED}
            return Record(kind, "settings", values)
        extra = {"counter": frame.counter, "settings": self._settings}
        return Record(kind, "reading", values | extra, part="cells")

    def _explain_command(self, frame: JK02Frame, *, sent: bool) -> Record:
        if frame.code == ACK and not sent:
            return explain_ack(frame)
        values: dict[str, Any] = {"register": frame.code}
        payload = self.payload(frame, sent=sent)
        if payload is not None:
            values |= numbers(parse(payload.layout, payload.data, "JK04 write"))
        elif frame.data:  # not shown: which registers set a name or password is not known
            values["length"] = len(frame.data)
        return Record("write" if frame.data else "read", "request", values)

    def reading(self, records: Sequence[Record]) -> Reading:
        for live in reversed(records):
            if live.part == "cells":
                return _live_reading(live.values)
        return Reading(protocol="jk04")

    def identity(self, records: Sequence[Record]) -> Identity:
        result = Identity(vendor="JK", protocol="jk04")
        for found in sorted(records, key=lambda r: r.kind == "settings"):  # they know best
            values = found.values
            if found.kind == "info":
                texts = {k: values[k] for k in ("model", "hardware", "firmware", "serial_number")}
                result = replace(result, **texts)
            elif found.kind == "cells":
                result = replace(result, cell_count=cell_count(values) or result.cell_count)
            elif found.kind == "settings":
                result = replace(result, cell_count=values["cell_count"] or result.cell_count)
        return result

    def forget_settings(self) -> None:
        self._settings = {}

    def scrub(self, frame: JK02Frame) -> bytes | None:
        """The device info is that of JK02, with the same secrets in it."""
        return JK02Codec().scrub(frame)

    def scrub_noise(self, data: bytes) -> bytes:
        return JK02Codec().scrub_noise(data)


def _info(values: Mapping[str, Any]) -> dict[str, Any]:
    """A type 03 without its passwords."""
    info: dict[str, Any] = {to: text(values[key]) or None for key, to in _INFO_TEXTS.items()}
    return info | {"run_time": values["run_time"], "power_on_count": values["power_on_count"]}


def _live_reading(values: Mapping[str, Any]) -> Reading:
    count = cell_count(values)
    cells = tuple(values["cell_voltages"][:count])
    # a wire reads 0 until it was measured (sess-jk04-b5a24s-8.0.3M-writes)
    resistances = tuple(ohm or None for ohm in values["cell_resistances"][:count])
    return Reading(
        protocol="jk04",
        voltage=values["voltage"],
        cell_voltages=cells,
        cell_resistances=resistances,
        balancing_active=values["balance_action"] != 0,
        balance_current=values["balance_current"],
        balance_switch=values["settings"].get("balance_switch"),
        uptime=float(values["uptime"]),
        raw={"balance_action": values["balance_action"]},
        **sort_conditions(open_wires(cells), known=False),  # the record has no word for alarms
    )


class JK04(JKStream):
    """A balancer's stream: 97, then 96, then a record every 0.5 s."""

    name: ClassVar[str] = "jk04"
    responder: ClassVar[str] = "bmslink.simulation.boards.jk04:JK04Responder"
    radio_rank: ClassVar[int] = 11
    # no probes: jk02's question finds it; no adverts: nothing tells its from those of jk02
    no_clock_soc_reasons: ClassVar[Mapping[str, str]] = NOT_TAKEN

    def __init__(self, link: Link[JK02Frame], options: Options) -> None:
        super().__init__(link, options)
        self.settings = JK04Settings(self)
        self.switches = Switches(
            self.name,
            settable=[Switch.BALANCE],
            missing=dict.fromkeys(
                (Switch.CHARGE, Switch.DISCHARGE), "these boards balance and have no such switch"
            ),
        )

    @classmethod
    def make_codec(cls, options: Options) -> JK04Codec:
        return JK04Codec()

    @classmethod
    def every_map(cls) -> tuple[SettingsMap, ...]:
        return (jk04_map(None),)
