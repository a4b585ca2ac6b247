"""A simulated JK board on its `4E 57` UART port."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from bmslink.errors import FrameError
from bmslink.model import Reading, Switch
from bmslink.protocols.common.fields import Scaled, build, parse_value
from bmslink.protocols.jk.nw.framing import (
    BMS,
    READ,
    READ_ALL,
    REPLY,
    REQUEST,
    WRITE,
    JKNWFrame,
    JKNWFramer,
)
from bmslink.protocols.jk.nw.tags import (
    ALARMS,
    CHEMISTRIES,
    ROWS,
    TAGS,
    body_layout,
    current_word,
    split,
    temperature_word,
)
from bmslink.simulation.responder import Answer, Responder

if TYPE_CHECKING:
    from bmslink.simulation.pack.pack import Pack

__all__ = ["JKNWResponder"]

_DELAY = 0.05  # boards take 26 to 100 ms
_LONGEST_REQUEST = 64
_FIRMWARE = "11.26"
_VERSION_0 = "NW_1_0_0_200428"  # what the vendor's example of a version 0 board calls itself
_SWITCHES = {0xAB: Switch.CHARGE, 0xAC: Switch.DISCHARGE, 0x9D: Switch.BALANCE}
_STORED = {bytes([row.at]) for row in ROWS if row.setting().writable and row.at not in _SWITCHES}
"""The other tags that may be written."""

# How a board reports a broken probe was never recorded; this is outside the documented codes.
_NO_PROBE = 0xFFFF
_CODES = {name: code for code, name in CHEMISTRIES.items()}

# What a board holds beside the pack's own settings, taken from captures of 11.26.
_FIXED: dict[str, Any] = {
    "jk_box_otp": 100,
    "jk_box_otp_release": 100,
    "temperature_delta": 20,
    "jk_current_calibration": 1.048,
    "sleep_delay": 10,
    "jk_soc_low": 20,
    "password": b"123456".ljust(10, b"\0"),
    "jk_dedicated_charger": 0,
    "device_id": b"Input Us",
    "manufacturing_date": b"2307",
    "jk_calibrating": 0,
    "manufacturer_id": b"Input UserdaJK_B2A20S20P",
}


class JKNWResponder(Responder):
    """Answers read-all and single reads, and obeys writes of the three switches.

    `firmware` is what tag B7 says (`11.26`); `0` makes a board of protocol version 0, which
    counts the current down from 10000 and knows no tags from B8 on. Other writes, passwords and
    frames with a wrong sum get no answer. How boards acknowledge a write was never recorded: here
    the tag comes back in a 02 reply.
    """

    baudrate: ClassVar[int] = 115200

    def __init__(
        self, pack: Pack, *, address: int | None = None, firmware: str | None = None
    ) -> None:
        super().__init__(pack, address=address, firmware=firmware)
        self.version = 0 if firmware == "0" else 1
        self._framer = JKNWFramer()
        self._framer.longest = _LONGEST_REQUEST  # junk must not wait for an answer's length

    def receive(self, data: bytes) -> list[Answer]:
        answers = []
        for frame in self._framer.feed(data):
            reply = self._answer(frame) if frame.kind == REQUEST else None
            if reply is not None:
                answer = JKNWFrame(command=frame.command, source=BMS, kind=REPLY, data=reply)
                answers.append(Answer(_DELAY, self._framer.encode(answer)))
        return answers

    def _answer(self, frame: JKNWFrame) -> bytes | None:
        """The data of the reply, or `None` for silence."""
        if frame.command == READ_ALL:
            return self._body(self._values())
        if frame.command == READ:
            wanted = {TAGS[tag].name for tag in frame.data if tag in TAGS}
            values = {name: v for name, v in self._values().items() if name in wanted}
            return self._body(values) if values else None
        if frame.command == WRITE:
            return self._write(frame.data)
        return None

    def _write(self, data: bytes) -> bytes | None:
        try:
            tags = split(data)
        except FrameError:
            return None
        if tags in _STORED:
            row = TAGS[tags[0]]
            self.pack.settings[row.name] = parse_value(row.layout, data[1:], row.name)
            return tags
        if len(tags) != 1 or tags[0] not in _SWITCHES or data[1] > 1:
            return None
        self.pack.around.command({_SWITCHES[tags[0]]: data[1] == 1})
        return tags

    def _body(self, values: dict[str, Any]) -> bytes:
        tags = bytes(tag for tag, row in TAGS.items() if row.name in values)
        return build(body_layout(tags), values, "JK 4E57 answer")

    def _values(self) -> dict[str, Any]:
        values = _FIXED | self._settings() | _live(self.pack.truth(), self.version)
        if self.version == 0:
            new = {row.name for tag, row in TAGS.items() if tag > 0xB7}
            return {name: value for name, value in values.items() if name not in new}
        return values

    def _settings(self) -> dict[str, Any]:
        """The pack's own settings under their tags; only voltages and capacities have decimals."""
        rows = {row.name: row.layout for row in TAGS.values()}
        values: dict[str, Any] = {
            name: value if isinstance(rows[name], Scaled) else round(value)
            for name, value in self.pack.settings.items()
            if name in rows
        }
        firmware = self.firmware or _FIRMWARE
        software = f"{firmware.split('.')[0]}.XW_S{firmware}" if self.version else _VERSION_0
        return values | {
            "cell_count": self.pack.cell_count,
            "charge_switch": int(self.pack.switches[Switch.CHARGE]),
            "discharge_switch": int(self.pack.switches[Switch.DISCHARGE]),
            "balance_switch": int(self.pack.switches[Switch.BALANCE]),
            "jk_address": 1 if self.address is None else self.address,
            # there is no code for sodium: such packs run as the first type, with other limits
            "jk_battery_type": _CODES.get(self.pack.chemistry.name, 0),
            "software_version": software.ljust(15, "_").encode("latin-1", "replace")[:15],
            "protocol_version": self.version,
        }


def _live(truth: Reading, version: int) -> dict[str, Any]:
    probes = [t for name, t in truth.temperatures.items() if name != "mosfet"]
    mosfet, first, second = (
        _NO_PROBE if t is None else temperature_word(t)
        for t in (truth.temperatures.get("mosfet"), *(*probes, None, None)[:2])
    )
    alarm = sum(
        1 << bit
        for bit, meanings in ALARMS.items()
        if any(condition in getattr(truth, f"{level}s") for level, condition in meanings)
    )
    states = (truth.charging_allowed, truth.discharging_allowed, truth.balancing_active)
    return {
        "cells": [{"number": i, "voltage": v} for i, v in enumerate(truth.cell_voltages, 1)],
        "mosfet_temperature": mosfet,
        "box_temperature": first,
        "battery_temperature": second,
        "voltage": truth.voltage,
        "current_word": current_word(truth.current or 0.0, version),
        "soc": round(truth.soc or 0.0),
        "temperature_sensors": min(len(probes), 2),
        "cycles": truth.cycles,
        "cycle_capacity": truth.cycle_capacity,
        "string_count": len(truth.cell_voltages),
        "alarm_word": alarm,
        "status_word": sum(1 << bit for bit, on in enumerate(states) if on),
        "runtime_minutes": int((truth.uptime or 0.0) // 60),
        "full_capacity": truth.full_capacity,
    }
