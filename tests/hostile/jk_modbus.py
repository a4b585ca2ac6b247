"""A JK inverter board (PB) as a Modbus slave: functions 03 and 10, addresses that count bytes.

Written from the vendor's document and real captures. Contents: the three records of
`jk-pb-bus-pb2a16s20p-15.41-addr3` (16S, firmware 15.41), made a 100 Ah pack; the tables are those
records without their heads, their numbers turned big-endian.
"""

from __future__ import annotations

from typing import ClassVar

from hostile.board import Board, Quirk, crc16

__all__ = ["JKModbusBoard"]

_READ, _MANY = 0x03, 0x10
_SETTINGS, _LIVE, _INFO = 0x1000, 0x1200, 0x1400
_SIZE = {_SETTINGS: 0x124, _LIVE: 0x124, _INFO: 0xF4}
_MOST = 122
_DEAF = 0.02
"""How long it does not listen after an answer, s."""

_NUMBERS: tuple[int, ...] = (
    3500, 2700, 2901, 3650, 3444, 5, 3445, 2900, 3450, 3350, 2500,
    60000, 3, 60, 100000, 300, 60, 5, 2000, 350, 320, 350, 320, 50, 70, 800, 700, 16,
    1, 1, 1, 100000, 1500, 3440,
)  # fmt: skip
"""The first 34 settings, 4 bytes each: smart sleep to the start of balancing."""
_FLAGS = bytes.fromhex("feffffffff9fe99d03")
_COMMANDS = bytes.fromhex("feffffff8fe99d0300000000901f00000000c0d8e7fe3f000001000000000000")
_LIVE_FLAGS = bytes.fromhex("feff7fdc2f0101b0cf0700")
_CELLS, _PACK, _CURRENT, _RUNTIME, _FETS, _TICKS = 0, 144, 152, 188, 192, 240


class JKModbusBoard(Board):
    """Slave 1, 16 cells; refuses a value that crosses its neighbours with exception 2."""

    name = "jk-modbus"
    registers: ClassVar[dict[str, int]] = {
        "cell_uvp": 0x1004,
        "cell_ovp": 0x100C,
        "cell_ovp_release": 0x1010,
        "charge_ocp": 0x102C,
        "delay": 0x1030,
        "charge_otp": 0x104C,
        "charge_utp": 0x105C,
        "cell_count": 0x106C,
        "charge_switch": 0x1070,
        "discharge_switch": 0x1074,
        "balance_start_voltage": 0x1084,
        "device_address": 0x1108,
        "switches": 0x1114,
    }
    switches = frozenset({0x1070, 0x1074, 0x1078})
    lead = b"\x00\x01\x03\x40"
    latency = 0.012

    def __init__(self, *quirks: Quirk, serial: str = "", current: float = 0.0) -> None:
        self.slave = 1
        self._answered = float("-inf")
        super().__init__(*quirks, serial=serial, current=current)

    def factory(self) -> dict[int, bytes]:
        table = bytearray(_SIZE[_SETTINGS])
        for at, number in enumerate(_NUMBERS):
            table[4 * at : 4 * at + 4] = number.to_bytes(4, "big")
        table[0x108:0x10C] = (1).to_bytes(4, "big")
        table[0x110:0x114] = (1_500_000).to_bytes(4, "big")
        table[0x114:0x119] = bytes((0x33, 0x00, 0x00, 0x0A, 0x18))
        table[0x119:0x122] = _FLAGS
        return dict(self.words(_SETTINGS, bytes(table)))

    def identity(self) -> dict[str, str]:
        return {
            "model": "JK_PB2A16S20P",
            "hardware": "15A",
            "software": "15.41",
            "name": "BMS",
            "date": "240914",
            "serial": self.serial,
        }

    def words(self, register: int, data: bytes) -> list[tuple[int, bytes]]:
        return [(register + at, data[at : at + 2]) for at in range(0, len(data), 2)]

    def width(self, register: int) -> int:
        return 4 if register < _SETTINGS + 0x114 else 2

    def nonsense(self, register: int) -> int:
        return 3200 if register in (0x1030, 0x1034) else 3550

    def decode(self, word: str, raw: bytes) -> float:
        """What a field means, in V, A, s and °C."""
        number = int.from_bytes(raw, "big", signed=True)
        if word in ("charge_otp", "charge_utp"):
            return number / 10
        return float(number) if word == "delay" else number / 1000

    # ----------------------------------------------------------------------------------- wire

    def length(self, buffer: bytes) -> int | None:
        if buffer[0] not in (self.slave, 0):
            return 0
        if len(buffer) < 7:
            return None
        if buffer[1] not in (_READ, _MANY):
            return 0
        size = 8 if buffer[1] == _READ else 9 + buffer[6]
        if len(buffer) < size:
            return None
        return size if crc16(buffer[: size - 2]) == buffer[size - 2 : size] else 0

    def answer(self, request: bytes) -> list[bytes]:
        if self.now - self._answered < _DEAF or request[0] == 0:
            return []
        self._answered = self.now + self.latency
        function = request[1]
        register, count = int.from_bytes(request[2:4], "big"), int.from_bytes(request[4:6], "big")
        if function == _READ:
            data = self._read(register, count)
            if data is None:
                return [self._frame(function | 0x80, b"\x02")]
            return [self._frame(function, bytes([len(data)]) + data)]
        data = request[7:-2]
        if len(data) != 2 * count or not self._takes(register, data):
            return [self._frame(function | 0x80, b"\x02")]
        effect = self.ask_to_write(register, data)
        if effect.silent:
            return []
        if effect.refused:
            return [self._frame(function | 0x80, b"\x02")]
        return [self._frame(function, request[2:6])]

    def _frame(self, function: int, body: bytes) -> bytes:
        frame = bytes((self.slave, function)) + body
        return frame + crc16(frame)

    def _read(self, register: int, count: int) -> bytes | None:
        base = register & 0xFE00
        start = register - base
        if base not in _SIZE or register % 2 or not 0 < count <= _MOST:
            return None
        if start + 2 * count > _SIZE[base]:
            return None
        if base == _SETTINGS:
            return b"".join(self.view(register + at) for at in range(0, 2 * count, 2))
        table = self._live() if base == _LIVE else self._info()
        return table[start : start + 2 * count]

    def _takes(self, register: int, data: bytes) -> bool:
        """Whether it is a field of the settings whose order with its neighbours stays right."""
        last = register + len(data)
        if register % 2 or not _SETTINGS <= register < last <= _SETTINGS + 0x124:
            return False
        after = {**self.unit.memory, **dict(self.words(register, data))}

        def field(at: int) -> int:
            return int.from_bytes(after[at] + after[at + 2], "big", signed=True)

        chain = [field(at) for at in (0x1028, 0x1004, 0x1008, 0x1010, 0x100C)]
        hot, cold = field(0x104C) > field(0x1050), field(0x105C) < field(0x1060)
        return chain == sorted(chain) and hot and cold

    def _live(self) -> bytes:
        table = bytearray(_SIZE[_LIVE])

        def put(at: int, number: int, size: int) -> None:
            table[at : at + size] = (number & 256**size - 1).to_bytes(size, "big")

        count = int.from_bytes(self.view(0x106C) + self.view(0x106E), "big")
        cells = [3293 + (cell * 5) % 2 for cell in range(min(count, 32))]
        for cell, voltage in enumerate(cells):
            put(_CELLS + 2 * cell, voltage, 2)
        put(64, (1 << len(cells)) - 1, 4)
        put(68, sum(cells) // max(len(cells), 1), 2)
        put(70, max(cells, default=0) - min(cells, default=0), 2)
        table[72:74] = bytes((1, 0))
        for wire in range(16):
            put(74 + 2 * wire, 51 + wire, 2)
        pack, current = sum(cells), round(self.current * 1000)
        put(138, 203, 2)
        put(_PACK, pack, 4)
        put(148, abs(pack * current) // 1000, 4)
        put(_CURRENT, current, 4)
        put(156, 195, 2)
        put(158, 198, 2)
        table[167] = 62
        put(168, 62000, 4)
        put(172, 100000, 4)
        put(176, 1, 4)
        put(180, 140_292, 4)
        table[184] = 100
        put(_RUNTIME, 15_000_000 + int(self.now), 4)
        table[_FETS] = self.view(0x1072)[1]
        table[_FETS + 1] = self.view(0x1076)[1]
        table[208] = 0xFF
        put(228, round(pack / 10), 2)
        put(_TICKS, 3_000_000 + int(self.now * 10), 4)
        for at, tenths in ((248, 203), (250, 194), (252, 199)):
            put(at, tenths, 2)
        put(256, 195_000_000 + int(self.now), 4)
        table[281:292] = _LIVE_FLAGS
        return bytes(table)

    def _info(self) -> bytes:
        table = bytearray(_SIZE[_INFO])
        texts = ((0, 15, "model"), (16, 8, "hardware"), (24, 8, "software"), (40, 16, "name"))
        for at, size, name in (*texts, (72, 8, "date"), (80, 16, "serial")):
            table[at : at + size] = self.shown(name).encode()[:size].ljust(size, b"\0")
        table[15] = 16
        table[32:36] = (15_000_000).to_bytes(4, "big")
        table[36:40] = (22).to_bytes(4, "big")
        table[56:60], table[112:118] = b"1234", b"123456"
        table[144:176] = _COMMANDS
        return bytes(table)
