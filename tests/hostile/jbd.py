"""A classic JBD board: `DD .. 77` frames, factory mode, registers 10 to 41, FET command E1.

Written from the vendor's protocol description and real sessions. Factory contents: a 16S LFP pack
of 100 Ah; delays, packed words, points of charge and the order of everything as read out of
`jbd-syssi-sp04s034-btsnoop-config-read`, the pack's limits fourfold, limits of temperature and
current as in `jbd-getdoover-itech120x-config-payloads`, live values as in `jbd-vatrer-16s`.
"""

from __future__ import annotations

from typing import ClassVar

from hostile.board import Board, Quirk

__all__ = ["JBDBoard"]

_READ, _WRITE = 0xA5, 0x5A
_DONE, _UNKNOWN, _CLOSED = 0x00, 0x80, 0x81
_ENTER, _LEAVE, _PASSWORD, _FETS = 0x00, 0x01, 0x06, 0xE1
_KEY, _COMMIT = b"\x56\x78", b"\x28\x28"


def _kelvin(celsius: float) -> int:
    return round(celsius * 10) + 2731


_FACTORY: dict[int, int] = {
    0x10: 10000, 0x11: 8000, 0x12: 3500, 0x13: 2800, 0x14: 10, 0x15: 0x309D, 0x16: 0, 0x17: 16,
    0x18: _kelvin(65), 0x19: _kelvin(55), 0x1A: _kelvin(0), 0x1B: _kelvin(5),
    0x1C: _kelvin(75), 0x1D: _kelvin(65), 0x1E: _kelvin(-20), 0x1F: _kelvin(-10),
    0x20: 5840, 0x21: 5680, 0x22: 4000, 0x23: 4320,
    0x24: 3650, 0x25: 3550, 0x26: 2500, 0x27: 2700,
    0x28: 10000, 0x29: 0x10000 - 15000, 0x2A: 3400, 0x2B: 30,
    0x2C: 1, 0x2D: 0x0006, 0x2E: 0x0007, 0x2F: 16, 0x30: 0, 0x31: 10,
    0x32: 3400, 0x33: 3350, 0x34: 3300, 0x35: 3100, 0x36: 3900, 0x37: 2000,
    0x38: 0x8D5C, 0x39: 0xF064, 0x3A: 0x0202, 0x3B: 0x0202, 0x3C: 0x0101, 0x3D: 0x0101,
    0x3E: 0x0A1E, 0x3F: 0x0A1E, 0x40: 2800, 0x41: 10,
}  # fmt: skip
_STRINGS = {0xA0: "maker", 0xA1: "name", 0xA2: "serial"}


class JBDBoard(Board):
    """16 cells, three probes, firmware 6.2; settings are closed outside factory mode."""

    name = "jbd"
    registers: ClassVar[dict[str, int]] = {
        "cell_ovp": 0x24,
        "cell_ovp_release": 0x25,
        "cell_uvp": 0x26,
        "charge_otp": 0x18,
        "charge_utp": 0x1A,
        "balance_start_voltage": 0x2A,
        "cell_count": 0x2F,
        "shunt": 0x2C,
        "hardware_cell_ovp": 0x36,
        "delay": 0x3D,
        "fets": _FETS,
    }
    switches = frozenset({_FETS})
    volatile = frozenset({_FETS})
    lead = b"\x0f\x3e\xdd\x04\x00"
    latency = 0.01

    def __init__(self, *quirks: Quirk, serial: str = "", current: float = 0.0) -> None:
        self.factory_mode = False
        super().__init__(*quirks, serial=serial, current=current)

    def factory(self) -> dict[int, bytes]:
        memory = {register: word.to_bytes(2, "big") for register, word in _FACTORY.items()}
        return {**memory, _FETS: b"\x00\x00"}

    def identity(self) -> dict[str, str]:
        return {"maker": "DGJBD", "name": "JBD-SP16S020-L16S-100A-B-U", "serial": self.serial}

    def nonsense(self, register: int) -> int:
        return 0xFFFF if register >= 0x30 else _kelvin(355)

    def decode(self, word: str, raw: bytes) -> float:
        """What a register means, in V, °C and A."""
        number = int.from_bytes(raw, "big")
        if word in ("charge_otp", "charge_utp"):
            return (number - 2731) / 10
        return number / 1000

    # ----------------------------------------------------------------------------------- wire

    def length(self, buffer: bytes) -> int | None:
        if buffer[0] != 0xDD:
            return 0
        if len(buffer) < 4:
            return None
        size = buffer[3] + 7
        if buffer[1] not in (_READ, _WRITE) or buffer[3] > 64:
            return 0
        if len(buffer) < size:
            return None
        sound = buffer[size - 1] == 0x77 and buffer[size - 3 : size - 1] == _check(
            buffer[2 : size - 3]
        )
        return size if sound else 0

    def answer(self, request: bytes) -> list[bytes]:
        register, data = request[2], request[4:-3]
        if request[1] == _READ:
            return [self._reply(register, *self._read(register))]
        return [self._reply(register, status) for status in self._written(register, data)]

    def _reply(self, register: int, status: int, data: bytes = b"") -> bytes:
        body = bytes((status, len(data))) + data
        return bytes((0xDD, register)) + body + _check(body) + b"\x77"

    def _read(self, register: int) -> tuple[int, bytes]:
        if register == 0x03:
            return _DONE, self._basic()
        if register == 0x04:
            return _DONE, b"".join(n.to_bytes(2, "big") for n in self._cells())
        if register == 0x05:
            return _DONE, self.shown("name").encode()
        if register == 0xAA:
            return _DONE, bytes(22)
        if register not in _FACTORY and register not in _STRINGS:
            return _UNKNOWN, b""
        if not self.factory_mode:
            return _CLOSED, b""
        if register in _STRINGS:
            text = self.shown(_STRINGS[register]).encode()
            return _DONE, bytes([len(text)]) + text
        return _DONE, self.view(register)

    def _cells(self) -> list[int]:
        return [3313 + (7 * cell) % 5 for cell in range(min(self.number(0x2F), 32))]

    def _basic(self) -> bytes:
        locks = self.number(_FETS)
        protection = 0x1000 if locks else 0
        temperatures = [_kelvin(16.9), _kelvin(22.4), _kelvin(21.8)]
        words = (
            round(sum(self._cells()) / 10),
            round(self.current * 100) & 0xFFFF,
            6000,
            self.number(0x10),
            16,
            0x309D,
            0,
            0,
            protection,
        )
        tail = bytes((0x62, 60, ~locks & 3, self.number(0x2F) & 0xFF, len(temperatures)))
        return (
            b"".join(n.to_bytes(2, "big") for n in words)
            + tail
            + b"".join(n.to_bytes(2, "big") for n in temperatures)
        )

    def _written(self, register: int, data: bytes) -> list[int]:
        """The status of the answer, if there is one."""
        if register == _ENTER:
            self.factory_mode = self.factory_mode or data == _KEY
            return [_DONE if data == _KEY else _CLOSED]
        if register == _LEAVE:
            self._leave(data)
            return [_DONE]
        if register == _PASSWORD:
            return [_DONE]
        if register != _FETS and (register not in _FACTORY or len(data) != 2):
            return [_UNKNOWN]
        if register != _FETS and not self.factory_mode:
            return [_CLOSED]
        effect = self.ask_to_write(register, data)
        if effect.silent:
            return []
        return [_CLOSED if effect.refused else _DONE]

    def _leave(self, data: bytes) -> None:
        if self.commits_only_on_exit and self.factory_mode:
            if data == _COMMIT:
                self._save()
            else:
                for register, saved in self.unit.saved.items():
                    if register != _FETS and self.unit.memory[register] != saved:
                        self.put(register, saved, "board")
        elif data == _COMMIT:
            self._save()
        if self.exit_honoured:
            self.factory_mode = False

    def _save(self) -> None:
        kept = {**self.unit.memory, _FETS: b"\x00\x00"}
        self.unit.saved = kept

    def restart(self, seconds: float) -> None:
        self.factory_mode = False
        super().restart(seconds)


def _check(covered: bytes) -> bytes:
    return (-sum(covered) & 0xFFFF).to_bytes(2, "big")
