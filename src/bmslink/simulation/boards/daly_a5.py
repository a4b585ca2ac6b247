"""A simulated Daly board that speaks A5, as newer boards do it (`docs/protocols/daly-a5.md`).

It leaves no residue, counts its frames from 1, sends only as many as it needs
(`daly-a5-uart-14s-pctool-session`), puts the difference into 91 (`daly-a5-uart-esphome-12445`)
and the MOSFET temperature into 92. Ids that many boards do not know are silent here as well:
the balancer and health ids, the extended protection levels, and every write but the clock.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from bmslink.errors import FrameError, TargetError
from bmslink.model import Reading, Switch
from bmslink.protocols.common.fields import build, parse
from bmslink.protocols.daly.a5.codec import (
    HOST_APP,
    HOST_OF_BOARD,
    HOST_PC,
    MAX_BOARD,
    DalyA5Framer,
    DalyFrame,
    read_request,
)
from bmslink.protocols.daly.a5.layouts import (
    ACK,
    CELLS_PER_FRAME,
    CONTROLS,
    FAILURES,
    MISSING_PROBE,
    SENSORS_PER_FRAME,
    STATUS,
    SWITCH,
)
from bmslink.protocols.daly.settings import CHEMISTRIES, CLOCK_WRITE, PARAMETERS, ROWS, WRITES
from bmslink.simulation.pack.pack import Pack
from bmslink.simulation.responder import Answer, Responder

__all__ = ["DalyA5Responder"]

_DELAY = 0.02  # s
_HOST_GPRS = 0x20
_FIRMWARE = "20220810"  # as in daly-can-params-heezes
_HARDWARE = "DL-BMS-R32-01E"
_FRAME_TEXT = 7
_START = datetime(2024, 1, 1, tzinfo=UTC)
_CLOCK = ("year", "month", "day", "hour", "minute", "second")
_CONTROL_SWITCHES = {switch.key: switch for switch in (Switch.DISCHARGE, Switch.CHARGE)}
_SHUNT = 333e-6  # Ω, as in daly-can-params-heezes
_TRIPPED = ("protection", "fault")


@dataclass
class _DalyBoard:
    """What the board remembers beside its pack; shared by all lines that lead to it."""

    words: dict[str, float] = field(default_factory=dict)
    """What was written and has no counterpart in a pack."""
    clock: timedelta = timedelta()
    """How far its clock was set away from the one it had."""


class DalyA5Responder(Responder):
    """Answers 90-98, D8 and the parameters 50-65, obeys D9, DA, 21 and
    the writes of 50, 53 and 59-60.

    `address` is the board's number, 1 to 24: board 1 listens to a PC, a phone and a modem, the
    others only to 3F + number. `firmware` is the software version, up to 14 ASCII characters.
    """

    def __init__(
        self,
        pack: Pack,
        *,
        address: int | None = None,
        firmware: str | None = None,
        board: _DalyBoard | None = None,
    ) -> None:
        super().__init__(pack, address=address, firmware=firmware)
        self.number = 1 if address is None else address
        if not 1 <= self.number <= MAX_BOARD:
            raise TargetError(f"A Daly board has the address 1 to {MAX_BOARD}, not {address}.")
        if firmware is not None and not re.fullmatch(r"[!-~]{1,14}", firmware):
            raise TargetError(f"A Daly firmware is 1 to 14 ASCII characters, not {firmware!r}.")
        self._hosts = (
            {HOST_PC, HOST_APP, _HOST_GPRS} if self.number == 1 else {HOST_OF_BOARD + self.number}
        )
        self._board = board or _DalyBoard()
        self._framer = DalyA5Framer()

    def line(self) -> DalyA5Responder:
        return DalyA5Responder(
            self.pack, address=self.address, firmware=self.firmware, board=self._board
        )

    def receive(self, data: bytes) -> list[Answer]:
        answers = []
        for request in self._framer.feed(data):
            if request.address not in self._hosts:
                continue
            frames = [
                self._framer.encode(DalyFrame(address=self.number, id=request.id, data=payload))
                for payload in self._answer(request)
            ]
            if frames:
                answers.append(Answer(_DELAY, b"".join(frames)))
        return answers

    def other_request(self, turn: int) -> bytes:
        """Another master asks for 90 to 98, one after the other; of board 1 it is the modem."""
        host = _HOST_GPRS if self.number == 1 else HOST_OF_BOARD + self.number
        return self._framer.encode(read_request(0x90 + turn % 9, host))

    def _answer(self, request: DalyFrame) -> list[bytes]:
        """The data of the answer's frames; none is silence."""
        number, what = request.id, f"Daly id {request.id:02X}"
        try:
            if number in CONTROLS:
                return self._switch(CONTROLS[number], request.data)
            if number == 0x21:
                return [self._set_clock(request.data)]
            if WRITES.get(number) in _STORED:
                return [self._store(WRITES[number], request.data)]
            if number in STATUS:
                layout, frames = STATUS[number][1], self._status(number)
            elif number in PARAMETERS:
                layout, frames = PARAMETERS[number].layout, self._parameter(number)
            else:
                return []
            return [build(layout, values, what) for values in frames]
        except FrameError:  # the pack holds what no such frame can say
            return []

    # ------------------------------------------------------------------------------- status

    def _status(self, number: int) -> list[dict[str, Any]]:
        truth = self.pack.truth()
        if number == 0x95:
            return _series("cell_voltages", truth.cell_voltages, CELLS_PER_FRAME, 65.535)
        if number == 0x96:
            return _series("temperatures", _probes(truth), SENSORS_PER_FRAME, MISSING_PROBE)
        make = {
            0x90: _pack,
            0x91: _cell_extremes,
            0x92: _temperature_extremes,
            0x93: self._state,
            0x94: _counts,
            0x97: _balancing,
            0x98: self._failures,
            0xD8: _wake_source,
        }.get(number)
        return [] if make is None else [make(truth)]

    def _state(self, truth: Reading) -> dict[str, Any]:
        current = round((truth.current or 0.0) * 10)
        return {
            "state": 1 if current > 0 else 2 if current < 0 else 0,
            "charge_mosfet": int(bool(truth.charging_allowed)),
            "discharge_mosfet": int(bool(truth.discharging_allowed)),
            "life": int(self.pack.uptime) & 0xFF,
            "remaining_capacity": truth.remaining_capacity,
        }

    def _failures(self, truth: Reading) -> dict[str, Any]:
        levels = {
            "alarm": truth.alarms,
            "protection": truth.protections,
            "fault": truth.faults,
        }
        word = 0
        for level, conditions in levels.items():
            for condition in conditions:
                bit = _BITS.get((level, condition))
                if bit is None and level in _TRIPPED:  # Daly has one bit for both
                    bit = next((b for b, (s, c) in FAILURES.items() if c == condition), None)
                word |= 0 if bit is None else 1 << bit
        if not (self.pack.switches[Switch.CHARGE] and self.pack.switches[Switch.DISCHARGE]):
            word |= 1 << _LOCK_BIT
        return {"failure_bits": word.to_bytes(7, "little"), "fault_code": 0}

    # --------------------------------------------------------------------------- parameters

    def _parameter(self, number: int) -> list[dict[str, Any]]:
        if number == 0x54:
            return [{"daly_firmware_index": (self.firmware or _FIRMWARE)[:8].encode().ljust(8)}]
        if number == 0x57:
            return list(_text("daly_battery_code", self.serial_number(), 5))
        if number == 0x62:
            return list(_text("daly_software_version", self.firmware or _FIRMWARE, 2))
        if number == 0x63:
            return list(_text("daly_hardware_version", _HARDWARE, 2))
        if number not in _ANSWERED:
            return []
        known = self._settings()
        values: dict[str, Any] = {}
        for name, empty in parse(PARAMETERS[number].layout, bytes(8), "parameter").items():
            value = known.get(name, known.get(name.removesuffix("_warning")))
            if value is None:
                values[name] = empty
            else:
                values[name] = round(value) if isinstance(empty, int) else value
        return [values]

    def _settings(self) -> dict[str, float]:
        pack, truth = self.pack, self.pack.truth()
        codes = {name: code for code, name in CHEMISTRIES.items()}
        clock = dict(zip(_CLOCK, self._now(), strict=True))
        return {
            "daly_nominal_cell_voltage": pack.chemistry.nominal_voltage,
            "daly_boards": 1,
            "daly_board_1_cells": pack.cell_count,
            "daly_board_1_sensors": len(_probes(truth)),
            "daly_discharged_capacity": truth.cycle_capacity or 0.0,
            "daly_charged_capacity": truth.cycle_capacity or 0.0,
            "chemistry": codes[pack.chemistry.name],
            "daly_operating_mode": 1,
            "daly_production_year": _START.year - 2000,
            "daly_production_month": _START.month,
            "daly_production_day": _START.day,
            "sleep_delay": 3600,
            "soc_high": 100.0,
            "daly_shunt_resistance": _SHUNT,
            "daly_board_number": self.number,
            **{f"daly_clock_{name}": value for name, value in clock.items()},
            **pack.settings,
            **self._board.words,
        }

    def _store(self, number: int, data: bytes) -> bytes:
        """All eight bytes of a parameter; boards were never seen refusing a value."""
        for name, value in parse(PARAMETERS[number].layout, data, "parameter").items():
            if name in self.pack.settings:
                self.pack.settings[name] = value
            elif isinstance(value, int | float):
                self._board.words[name] = value
        return build(ACK, {"accepted": 1, "residue": bytes(7)}, "write")

    # ----------------------------------------------------------------------------- controls

    def _switch(self, name: str, data: bytes) -> list[bytes]:
        on = parse(SWITCH, data, name)["on"]
        if on > 1:
            return []
        self.pack.around.command({_CONTROL_SWITCHES[name]: bool(on)})
        return [build(SWITCH, {"on": on, "residue": bytes(7)}, name)]

    def _now(self) -> tuple[int, ...]:
        """Its clock: year from 2000, month, day, hour, minute, second."""
        now = _START + timedelta(seconds=int(self.pack.uptime)) + self._board.clock
        return (now.year - 2000, *now.timetuple()[1:6])

    def _set_clock(self, data: bytes) -> bytes:
        """21 sets clock and charge together, or, if either makes no sense, neither."""
        values = parse(CLOCK_WRITE, data, "clock")
        year, month, day, hour, minute, second = (values[name] for name in _CLOCK)
        accepted = 0
        try:
            wanted = datetime(2000 + year, month, day, hour, minute, second, tzinfo=UTC)
            self.pack.set_soc(values["soc"])
        except (ValueError, TargetError):
            pass
        else:
            self._board.clock = wanted - _START - timedelta(seconds=int(self.pack.uptime))
            accepted = 1
        return build(ACK, {"accepted": accepted, "residue": bytes(7)}, "clock")


_ANSWERED = {0x52, 0x61, 0x65, *(row.at for row in ROWS if row.offered)}
_STORED = {row.at for row in ROWS if row.offered and row.setting().writable}
_BITS = {what: bit for bit, what in reversed(FAILURES.items())}
_LOCK_BIT = 52


def _probes(truth: Reading) -> list[float | None]:
    """The cells' probes in whole °C; colder than -39 °C would read as no probe."""
    return [_celsius(t) for name, t in truth.temperatures.items() if name != "mosfet"]


def _celsius(value: float | None) -> float | None:
    return None if value is None else float(min(max(round(value), -39), 214))


def _series(name: str, values: Any, per: int, missing: float) -> list[dict[str, Any]]:
    frames = []
    for number, start in enumerate(range(0, len(values), per), 1):
        part = [missing if v is None else v for v in values[start : start + per]]
        padding = -40.0 if name == "temperatures" else 0.0
        frames.append({"number": number, name: part + [padding] * (per - len(part)), "tail": 0})
    return frames


def _pack(truth: Reading) -> dict[str, Any]:
    return {
        "voltage": truth.voltage,
        "gather_voltage": 0.0,
        "current": truth.current,
        "soc": truth.soc,
    }


def _cell_extremes(truth: Reading) -> dict[str, Any]:
    cells = [v or 0.0 for v in truth.cell_voltages]
    return {
        "max_cell_voltage": max(cells),
        "max_cell": cells.index(max(cells)) + 1,
        "min_cell_voltage": min(cells),
        "min_cell": cells.index(min(cells)) + 1,
        "tail": round((max(cells) - min(cells)) * 1000),
    }


def _temperature_extremes(truth: Reading) -> dict[str, Any]:
    probes = _probes(truth)
    known = [t for t in probes if t is not None]
    low, high = min(known, default=MISSING_PROBE), max(known, default=MISSING_PROBE)
    mosfet = _celsius(truth.temperatures.get("mosfet"))
    return {
        "max_temperature": high,
        "max_sensor": probes.index(high) + 1 if known else 0xFF,
        "min_temperature": low,
        "min_sensor": probes.index(low) + 1 if known else 0xFF,
        "mosfet_temperature": MISSING_PROBE if mosfet is None else mosfet,
        "board_temperature": MISSING_PROBE,
        "temperature_delta": int(high - low),
        "reserved": 0xFF,
    }


def _counts(truth: Reading) -> dict[str, Any]:
    return {
        "cell_count": len(truth.cell_voltages),
        "sensor_count": len(_probes(truth)),
        "charger": int((truth.current or 0.0) > 0),
        "load": int((truth.current or 0.0) < 0),
        "inputs_outputs": 0,
        "cycles": truth.cycles,
        "tail": 0,
    }


def _balancing(truth: Reading) -> dict[str, Any]:
    mask = sum(1 << (number - 1) for number in truth.balancing_cells or ())
    return {"balancing": mask.to_bytes(6, "little"), "reserved": bytes(2)}


def _wake_source(truth: Reading) -> dict[str, Any]:
    del truth
    names = ("key", "button", "rs485", "can", "current", "relay_switch")
    return {**dict.fromkeys(names, 0), "reserved": bytes(2)}


def _text(name: str, text: str, frames: int) -> Iterator[dict[str, Any]]:
    """A string over several frames, padded with blanks."""
    data = text.encode("ascii").ljust(frames * _FRAME_TEXT)
    for number in range(1, frames + 1):
        yield {"number": number, name: data[(number - 1) * _FRAME_TEXT : number * _FRAME_TEXT]}
