"""A simulated JBD board: the `DD … 77` answers of a pack, with factory mode and EEPROM.

What it does and why: `docs/protocols/jbd.md`. It behaves like the boards of the full read-outs
(`jbd-syssi-sp04s034-btsnoop-config-read`, `jbd-jakeler-dsview-bike`): settings are closed outside
factory mode (status 81), FETs are switched without it, and the name is whatever register A1 says.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bmslink.errors import FrameError, TargetError
from bmslink.model import Condition, Reading, Switch
from bmslink.protocols.common.fields import Layout, build, parse
from bmslink.protocols.jbd.framing import READ, WRITE, JBDFrame, JBDFramer
from bmslink.protocols.jbd.layouts import (
    ADDRESSED_ALARMS,
    ADDRESSED_PROTECTIONS,
    ALARMS,
    BASIC_MINIMUM,
    COUNTERS,
    COUNTERS_LAYOUT,
    MISSING_PROBE,
    PROTECTIONS,
    TENFOLD,
    addressed_basic_layout,
    basic_layout,
    cells_layout,
)
from bmslink.protocols.jbd.settings import (
    NEWER,
    REGISTERS,
    ROWS,
    STRINGS,
    TENFOLD_BIT,
    TENFOLD_REGISTERS,
    register_layout,
)
from bmslink.simulation.pack.pack import Pack
from bmslink.simulation.responder import Answer, Responder

__all__ = ["JBDResponder"]

_DONE, _UNKNOWN, _CLOSED, _WRONG_PIN = 0x00, 0x80, 0x81, 0x83
_READ_DELAY = 0.005  # s; answers begin 0-10 ms after the request while the board is not busy
_WRITE_DELAY = 0.010
_SETTINGS = frozenset(row.at for row in ROWS if row.offered)
_FACTORY_KEY, _EXITS = b"\x56\x78", (b"\x00\x00", b"\x28\x28")
_NO_PIN = bytes((6, 0, 0, 0, 0, 0, 0))  # what the vendor app sends to a board without a PIN
_LONGEST_STRING = 31
_OPEN_PROBE = MISSING_PROBE[0]
_BALANCE_BIT = 1 << 2  # of register 2D
_LOCK_BIT = next(b for b, (_, c) in PROTECTIONS.items() if c == Condition.SOFTWARE_LOCK)
_HIGHEST_ADDRESS = 0x20
_VERSION = 0x80  # 8.0, the SP04S034 of the full read-out
_TAIL_LENGTH = 9
_TENFOLD_FROM = 600.0  # Ah; a pack of 628 Ah counts tenfold (`jbd-fogstar-drift-628`), 320 does not
_LETTERS = {"lfp": "L", "nmc": "P"}  # as in SP04S034-L4S-200A and SP15S001-P13S-30A

_POINTS = range(10, 101, 10)  # %; each a register, most of them on every board

_FIXED: dict[str, float] = {
    "jbd_self_discharge": 2,
    "jbd_production_date": 22 << 9 | 3 << 5 | 28,
    "jbd_serial_number": 1,
    "jbd_shunt": 1,
    "jbd_function_bits": 0b0010,
    "jbd_fet_control_time": 0,
    "jbd_led_time": 10,
    "jbd_short_circuit_level": 0x8D,
    "jbd_overcurrent_2_level": 0x5C,
    "jbd_hardware_delays": 0xF0,
}
"""Words that have no counterpart in a pack, as the SP04S034 holds them."""


@dataclass
class _JBDBoard:
    """What the board remembers beside its pack; shared by all lines that lead to it."""

    words: dict[str, float]
    strings: dict[int, bytes]
    counts: dict[Condition, int] = field(default_factory=lambda: dict.fromkeys(COUNTERS, 0))
    tripped: frozenset[Condition] = frozenset()
    extra_cycles: int = 0
    """What was written into the cycle count, minus what the pack had done by then."""
    tenfold: bool = False
    """It counts currents and capacities in 0.1 A and 0.1 Ah."""


class JBDResponder(Responder):
    """Answers 03, 04, 05, AA and, in factory mode, 10-3F and A0-A2 (firmware 2.x 42-47 too);
    obeys E1.

    With an address it is one of the boards that speak the addressed form: 03 and 04 are all
    that is known of those, so it is silent to everything else. `firmware` is `MAJOR.MINOR`, two
    nibbles. AA counts the trips that are there when somebody asks. A pack of more than 600 Ah
    counts its currents and capacities tenfold, unless it has an address.
    """

    def __init__(
        self,
        pack: Pack,
        *,
        address: int | None = None,
        firmware: str | None = None,
        board: _JBDBoard | None = None,
    ) -> None:
        super().__init__(pack, address=address, firmware=firmware)
        if not 1 <= pack.cell_count <= 32:
            raise TargetError(f"A JBD board has 1 to 32 cells, not {pack.cell_count}.")
        if address is not None and address > _HIGHEST_ADDRESS:
            raise TargetError(f"A JBD address is 0 to {_HIGHEST_ADDRESS}, not {address}.")
        self.version = _VERSION if firmware is None else _parse_version(firmware)
        self._board = board or _new_board(pack, tenfold=address is None)
        self._factory = False
        self._framer = JBDFramer()

    def line(self) -> JBDResponder:
        return JBDResponder(
            self.pack, address=self.address, firmware=self.firmware, board=self._board
        )

    def restarted(self) -> None:
        super().restarted()
        self._factory = False
        self._framer = JBDFramer()

    def receive(self, data: bytes) -> list[Answer]:
        self.remember()
        frames = self._framer.feed(data)
        if not frames and self._framer.pending > len(data):
            # a torn request waits in front; a board forgets it, as soon as the next one makes sense
            fresh = JBDFramer()
            frames = fresh.feed(data)
            if frames:
                self._framer = fresh
        return [answer for frame in frames if (answer := self._answer(frame)) is not None]

    def _answer(self, frame: JBDFrame) -> Answer | None:
        if frame.module or frame.mark not in (READ, WRITE) or frame.address != self.address:
            return None
        reading = frame.mark == READ
        if self.address is not None and not (reading and frame.code in (0x03, 0x04)):
            return None
        if reading:
            status, data = self._read(frame.code)
        else:
            status, data = self._write(frame.code, frame.data), b""
        answer = JBDFrame(mark=frame.code, code=status, data=data, address=self.address)
        return Answer(_READ_DELAY if reading else _WRITE_DELAY, self._framer.encode(answer))

    def remember(self) -> None:
        now = frozenset(self.pack.protections())
        for condition in now - self._board.tripped:
            if condition in self._board.counts:
                self._board.counts[condition] = min(self._board.counts[condition] + 1, 0xFFFF)
        self._board.tripped = now

    # ------------------------------------------------------------------------------ reading

    def _read(self, register: int) -> tuple[int, bytes]:
        truth = self.pack.truth()
        if register == 0x03:
            return _DONE, self._basic(truth)
        if register == 0x04:
            cells = [_fit(v, 1000) for v in truth.cell_voltages]
            return _DONE, build(cells_layout(2 * len(cells)), {"cell_voltages": cells}, "cells")
        if register == 0x05:
            name = self._board.strings[0xA1]
            return _DONE, name[1 : 1 + name[0]]
        if register == 0xAA:
            counts = {str(c): n for c, n in self._board.counts.items()} | {"restarts": 0}
            return _DONE, build(COUNTERS_LAYOUT[24], counts, "counters")
        if not self._is_setting(register):
            return _UNKNOWN, b""
        if not self._factory:
            return _CLOSED, b""
        if register in STRINGS:
            return _DONE, self._board.strings[register]
        return self._setting(register)

    def _basic(self, truth: Reading) -> bytes:
        protections = PROTECTIONS if self.address is None else ADDRESSED_PROTECTIONS
        levels = {"alarm": truth.alarms, "protection": truth.protections, "fault": truth.faults}
        word = sum(1 << bit for bit, (level, c) in protections.items() if c in levels[level])
        if not (self.pack.switches[Switch.CHARGE] and self.pack.switches[Switch.DISCHARGE]):
            word |= 1 << _LOCK_BIT
        alarms = ALARMS if self.address is None else ADDRESSED_ALARMS
        balance = sum(1 << (number - 1) for number in truth.balancing_cells or ())
        probes = {n: _OPEN_PROBE if t is None else t for n, t in truth.temperatures.items()}
        per = 10 if self._board.tenfold else 100
        values: dict[str, Any] = {
            "voltage": _fit(truth.voltage, 100),
            "current": _whole(truth.current, per, -0x8000, 0x7FFF),
            "remaining_capacity": _whole(truth.remaining_capacity, per),
            "nominal_capacity": _whole(truth.nominal_capacity, per),
            "cycles": self._cycles(truth),
            "production_date": int(self._board.words["jbd_production_date"]),
            "balance_low": balance & 0xFFFF,
            "balance_high": balance >> 16,
            "protection": word,
            "version": self.version,
            "soc": _whole(truth.soc, 1, 0, 100),
            "state": bool(truth.charging_allowed) | bool(truth.discharging_allowed) << 1,
            "cell_count": len(truth.cell_voltages),
            "alarm": sum(1 << bit for bit, c in alarms.items() if c in truth.alarms),
        }
        if self.address is None:
            return _basic_with_tail(values, list(probes.values()), truth, self._board.tenfold)
        values["ambient_temperature"] = probes.pop("ambient", _OPEN_PROBE)
        values["mosfet_temperature"] = probes.pop("mosfet", _OPEN_PROBE)
        values |= {"probe_count": len(probes), "temperatures": list(probes.values())}
        layout = addressed_basic_layout(29 + 2 * len(probes), len(probes))
        return build(layout, values | {"surplus": b""}, "basic information")

    def _cycles(self, truth: Reading) -> int:
        return min(max((truth.cycles or 0) + self._board.extra_cycles, 0), 0xFFFF)

    # ----------------------------------------------------------------------------- settings

    def _is_setting(self, register: int) -> bool:
        newer = self.version >> 4 == 2  # some boards have them; here those of firmware 2.x
        known = register in _SETTINGS and (newer or register not in NEWER)
        return known or register in STRINGS

    def _setting(self, register: int) -> tuple[int, bytes]:
        layout = self._layout(register)
        empty = parse(layout, bytes(2), "register")
        values = {name: self._value(name) for name in empty}
        whole = {name: round(values[name]) for name, zero in empty.items() if isinstance(zero, int)}
        try:
            return _DONE, build(layout, values | whole, f"register {register:02X}")
        except FrameError:  # the pack was given a setting that no such register can hold
            return _UNKNOWN, b""

    def _layout(self, register: int) -> Layout:
        tenfold = TENFOLD_REGISTERS.get(register) if self._board.tenfold else None
        return tenfold or REGISTERS[register]

    def _value(self, name: str) -> float:
        if name == "jbd_cycle_count":
            return self._cycles(self.pack.truth())
        if name == "jbd_function_bits":
            bits = int(self._board.words[name]) & ~_BALANCE_BIT
            return bits | _BALANCE_BIT * self.pack.switches[Switch.BALANCE]
        if name in self._board.words:
            return self._board.words[name]
        return self.pack.settings[name]

    def _write(self, register: int, data: bytes) -> int:
        if register == 0x00:
            self._factory = data == _FACTORY_KEY
            return _DONE if self._factory else _CLOSED
        if register == 0x01:
            return self._leave_factory(data)
        if register == 0x06:
            return _DONE if data == _NO_PIN else _WRONG_PIN
        if register == 0xE1:
            return self._lock(data)
        if not self._is_setting(register):
            return _UNKNOWN
        layout = register_layout(register, len(data))
        if not self._factory or layout is None:
            return _CLOSED
        if register in STRINGS:
            if not data or data[0] != len(data) - 1 or data[0] > _LONGEST_STRING:
                return _CLOSED
            self._board.strings[register] = data
            return _DONE
        for name, value in parse(self._layout(register), data, f"register {register:02X}").items():
            self._store(name, value)
        return _DONE

    def _leave_factory(self, data: bytes) -> int:
        if data not in _EXITS:
            return _CLOSED
        self._factory = False
        if data == _EXITS[1]:  # 2828 also clears the counters
            self._board.counts = dict.fromkeys(COUNTERS, 0)
        return _DONE

    def _lock(self, data: bytes) -> int:
        layout = register_layout(0xE1, len(data))
        if layout is None:
            return _CLOSED
        lock = parse(layout, data, "FET control")["jbd_fet_lock"]
        self.pack.around.command({Switch.CHARGE: not lock & 1, Switch.DISCHARGE: not lock & 2})
        return _DONE

    def _store(self, name: str, value: float) -> None:
        if name == "jbd_cycle_count":
            self._board.extra_cycles = int(value) - (self.pack.truth().cycles or 0)
        elif name in self._board.words:
            self._board.words[name] = value
            if name == "jbd_function_bits":
                self.pack.around.command({Switch.BALANCE: bool(int(value) & _BALANCE_BIT)})
        else:
            self.pack.settings[name] = value


def _parse_version(text: str) -> int:
    match = re.fullmatch(r"(\d{1,2})\.(\d{1,2})", text)
    if match is None or int(match[1]) > 15 or int(match[2]) > 15:
        raise TargetError(f"A JBD firmware is MAJOR.MINOR, each 0 to 15, not {text!r}.")
    return int(match[1]) << 4 | int(match[2])


def _new_board(pack: Pack, *, tenfold: bool) -> _JBDBoard:
    settings, cells = pack.settings, pack.cell_count
    tenfold = tenfold and settings["nominal_capacity"] > _TENFOLD_FROM
    own = _FIXED | {
        "jbd_function_bits": int(_FIXED["jbd_function_bits"]) | tenfold << TENFOLD_BIT,
        "cycle_capacity": round(0.8 * settings["nominal_capacity"], 2),
        "jbd_ntc_bits": (1 << len(pack.truth().temperatures)) - 1,
        "jbd_hardware_cell_ovp": round(settings["cell_ovp"] + 0.15, 3),
        "jbd_hardware_cell_uvp": round(settings["cell_uvp"] - 0.2, 3),
        **{f"jbd_soc_{p}_voltage": round(pack.chemistry.ocv(p), 3) for p in _POINTS},
    }
    words = [layout for register, layout in REGISTERS.items() if register not in STRINGS]
    names = {name for layout in words for name in parse(layout, bytes(2), "register")}
    own |= dict.fromkeys(names - own.keys() - settings.keys() - {"jbd_cycle_count"}, 0)
    amps = 100 if settings["nominal_capacity"] <= 100 else 200
    model = f"JBD-SP{cells:02}S020-{_LETTERS.get(pack.chemistry.name, '')}{cells}S-{amps}A"
    strings = {0xA0: "DGJBD", 0xA1: model, 0xA2: ""}
    texts = {r: bytes((len(s),)) + s.encode("ascii") for r, s in strings.items()}
    return _JBDBoard(own, texts, tenfold=tenfold)


def _basic_with_tail(
    values: Mapping[str, Any], probes: list[float], truth: Reading, tenfold: bool
) -> bytes:
    """The classic form, cut behind the balance current as on most boards (`jbd-vatrer-16s`)."""
    layout = basic_layout(BASIC_MINIMUM + 2 * len(probes) + _TAIL_LENGTH, len(probes))
    return build(
        layout,
        {
            **values,
            "probe_count": len(probes),
            "temperatures": probes,
            "scale_and_humidity": TENFOLD if tenfold else 0,
            "full_capacity": _whole(truth.full_capacity, 10 if tenfold else 100),
            "remaining_capacity_2": values["remaining_capacity"],
            "balance_current": _fit(truth.balance_current, 1000),
        },
        "basic information",
    )


def _whole(value: float | None, per: int, low: int = 0, high: int = 0xFFFF) -> int:
    """The number of steps of 1/per in a value; what is beyond the word stops at its end."""
    return min(max(round((value or 0.0) * per), low), high)


def _fit(value: float | None, per: int) -> float:
    return _whole(value, per) / per
