"""A Daly board of the D2 dialect: Modbus-shaped frames, no exceptions, no password, no release.

Written from the public descriptions and real captures. Factory contents: `daly-d2-rabdo-1` (16S),
made a 100 Ah pack; texts as in `daly-d2-105ah-settings`, live values as in
`daly-d2-16s-onlinecode`.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import ClassVar

from hostile.board import Board, Effect, Quirk, crc16

__all__ = ["DalyD2Board"]

_UNIT, _READ, _ONE, _MANY = 0xD2, 0x03, 0x06, 0x10
_FIRST, _LAST = 0x80, 0xD6
_SOC, _CLOCK = 0xA7, 0xD4
_LONGEST = 126

_SETTINGS = bytes.fromhex(
    "03e8 0c80 0001 0010 0000 0000 0002 0000 0000 0000 0e10 0dac 0e10 0a28 09c4 0230 023f 01aa 019a"
    "6ef0 6d60 7b70 7d00 0064 0069 002b 0028 006e 0073 001e 0014 01f4 0320 000a 000f 0d48 0014 0001"
    "0001 0258 0057"
)
_TEXTS = {
    "software": (0xA9, 8),
    "hardware": (0xB1, 8),
    "machine": (0xB9, 16),
    "password": (0xC9, 3),
}
_BEHIND = {0xCC: 0x170B, 0xCD: 0x0F00}
_POWERED_ON = datetime(2026, 3, 1, 8, tzinfo=UTC)


class DalyD2Board(Board):
    """16 cells, two probes."""

    name = "daly-d2"
    registers: ClassVar[dict[str, int]] = {
        "cell_ovp": 0x8C,
        "cell_uvp": 0x8E,
        "charge_otp": 0x98,
        "charge_utp": 0x9A,
        "balance_start_voltage": 0xA3,
        "cell_count": 0x83,
        "boards": 0x82,
        "chemistry": 0x89,
        "delay": 0x8A,
        "charge_switch": 0xA5,
        "discharge_switch": 0xA6,
        "clock": _CLOCK,
    }
    switches = frozenset({0xA5, 0xA6})
    live = frozenset({_SOC, 0xD4, 0xD5, 0xD6})
    lead = b"\x00\xd2\x03\x40"
    latency = 0.03

    def __init__(self, *quirks: Quirk, serial: str = "", current: float = 0.0) -> None:
        self._clock, self._clock_set = _POWERED_ON, 0.0
        super().__init__(*quirks, serial=serial, current=current)

    def factory(self) -> dict[int, bytes]:
        memory = dict(self.words(_FIRST, _SETTINGS))
        memory |= {register: word.to_bytes(2, "big") for register, word in _BEHIND.items()}
        for register in range(_FIRST, _LAST + 1):
            memory.setdefault(register, b"\x00\x00")
        return memory

    def identity(self) -> dict[str, str]:
        return {
            "software": "204012",
            "hardware": "SH39F003",
            "machine": self.serial,
            "password": "123456",
        }

    def words(self, register: int, data: bytes) -> list[tuple[int, bytes]]:
        return [(register + at // 2, data[at : at + 2]) for at in range(0, len(data), 2)]

    def nonsense(self, register: int) -> int:
        return 395 if 0x97 <= register <= 0x9E else 65000

    def decode(self, word: str, raw: bytes) -> float:
        """What a register means, in V and °C."""
        number = int.from_bytes(raw, "big")
        return float(number - 40) if word in ("charge_otp", "charge_utp") else number / 1000

    @property
    def clock(self) -> datetime:
        """What its clock shows now."""
        return self._clock + timedelta(seconds=self.now - self._clock_set)

    # ----------------------------------------------------------------------------------- wire

    def length(self, buffer: bytes) -> int | None:
        if buffer[0] != _UNIT:
            return 0
        if len(buffer) < 2:
            return None
        if buffer[1] in (_READ, _ONE):
            size = 8
        elif buffer[1] == _MANY:
            if len(buffer) < 6:
                return None
            size = 8 + 2 * int.from_bytes(buffer[4:6], "big")
        else:
            return 0
        if size > 270:
            return 0
        if len(buffer) < size:
            return None
        return size if crc16(buffer[: size - 2]) == buffer[size - 2 : size] else 0

    def answer(self, request: bytes) -> list[bytes]:
        register, count = int.from_bytes(request[2:4], "big"), int.from_bytes(request[4:6], "big")
        if request[1] == _READ:
            if not 0 < count <= _LONGEST or register + count > 0x100:
                return []
            live = self._live() if register < _FIRST else {}
            data = b"".join(self._word(register + at, live) for at in range(count))
            return [_frame(bytes((_UNIT, _READ, len(data))) + data)]
        data = request[4:6] if request[1] == _ONE else request[6:-2]
        if not _FIRST <= register <= _LAST or register + len(data) // 2 > _LAST + 1:
            return []
        effect = self.ask_to_write(register, data)
        return [] if effect.refused or effect.silent else [_frame(request[:6])]

    def ask_to_write(self, register: int, data: bytes) -> Effect:
        effect = super().ask_to_write(register, data)
        if register == _CLOCK and effect.stores and not effect.refused and len(effect.data) == 6:
            year, month, day, hour, minute, second = effect.data
            self._clock = datetime(2000 + year, month, day, hour, minute, second, tzinfo=UTC)
            self._clock_set = self.now
        return effect

    def _word(self, register: int, live: dict[int, int]) -> bytes:
        for name, (first, count) in _TEXTS.items():
            if first <= register < first + count:
                at = 2 * (register - first)
                return self.shown(name).encode().ljust(2 * count, b"\0")[at : at + 2]
        if _CLOCK <= register < _CLOCK + 3:
            now = self.clock
            shown = bytes((now.year - 2000, now.month, now.day, now.hour, now.minute, now.second))
            at = 2 * (register - _CLOCK)
            return shown[at : at + 2]
        if _FIRST <= register <= _LAST:
            return self.view(register)
        number = live.get(register, 0xFFFF if register > 0x46 else 0)
        return (number & 0xFFFF).to_bytes(2, "big")

    def _live(self) -> dict[int, int]:
        cells = [3316 + (3 * cell) % 4 for cell in range(min(self.number(0x83), 32))]
        current = round(self.current * 10)
        found = dict(enumerate(cells))
        average = sum(cells) // max(len(cells), 1)
        state = 0 if not current else 1 if current > 0 else 2
        found |= {0x20: 64, 0x21: 63, 0x28: round(sum(cells) / 100), 0x29: 30000 + current}
        found |= {0x2A: 600, 0x2B: max(cells, default=0), 0x2C: min(cells, default=0)}
        found |= {0x2D: 64, 0x2E: 63, 0x2F: state, 0x30: 600, 0x31: len(cells), 0x32: 2, 0x33: 11}
        found |= {0x35: self.number(0xA5), 0x36: self.number(0xA6), 0x37: average, 0x38: 3}
        found |= {0x39: abs(current) * average * len(cells) // 10_000, 0x40: 30000}
        return found | {0x42: 66, 0x43: 0xFFFF}


def _frame(body: bytes) -> bytes:
    return body + crc16(body)
