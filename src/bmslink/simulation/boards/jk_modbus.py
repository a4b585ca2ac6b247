"""A simulated JK board behind its Modbus port: the records of `jk02`, as registers.

Limits, exceptions and the deaf moment after each answer are those of `docs/protocols/jk-modbus.md`.
"""

from __future__ import annotations

from typing import Any, ClassVar

from bmslink.errors import TargetError
from bmslink.protocols.common.fields import build, parse
from bmslink.protocols.common.rtu import MODBUS_SHAPES, READ, RTUFrame, RTUFramer
from bmslink.protocols.jk.jk02.framing import (
    CELLS,
    INFO,
    READ_INFO,
    READ_SETTINGS,
    SETTINGS,
    JK02Framer,
    command,
)
from bmslink.protocols.jk.jk02.layouts import CELL_INFO, DEVICE_INFO
from bmslink.protocols.jk.modbus.map import INFO as INFO_TABLE
from bmslink.protocols.jk.modbus.map import LIVE as LIVE_TABLE
from bmslink.protocols.jk.modbus.map import SETTINGS as SETTINGS_TABLE
from bmslink.protocols.jk.modbus.map import chunk_layout, place
from bmslink.protocols.jk.settings import (
    REGISTERS,
    SETTINGS_LAYOUTS,
    SWITCH_WORD,
    write_layout,
)
from bmslink.simulation.boards.jk02 import JK02Responder
from bmslink.simulation.pack.pack import Pack
from bmslink.simulation.responder import Answer, Responder

__all__ = ["JKModbusResponder", "NativeRecords"]

_DELAY = 0.04
_DEAF = 0.02  # s after an answer; 2 ms were too short for a real board, 380 ms were not
_MOST = 122  # registers that a board gave at once; 124 were refused
_INFO_END = 244  # bytes: where the info table of 15.41 ends
_BYTE = 10 / 115200  # s on the line
_LONGEST_REQUEST = 64

_NATIVE = {
    SETTINGS: (SETTINGS_TABLE, SETTINGS_LAYOUTS["32s"]),
    CELLS: (LIVE_TABLE, CELL_INFO["32s"]),
    INFO: (INFO_TABLE, DEVICE_INFO),
}


class NativeRecords:
    """The native records of a simulated 32S board, without the Bluetooth stream around them."""

    def __init__(
        self,
        pack: Pack,
        address: int,
        firmware: str | None,
        board: JK02Responder | None = None,
        *,
        family: str = "",
    ) -> None:
        self._board = board or JK02Responder(pack, address=address, firmware=firmware)
        self._board.family = family or self._board.family
        if self._board.model.variant != "32s":
            raise TargetError(f"A JK board of firmware {firmware} has no RS485 port for this.")
        self._framer = JK02Framer()
        for register in (READ_INFO, READ_SETTINGS):  # asked for both, it streams live records
            self._asked(register)

    def line(self) -> NativeRecords:
        """The same board, asked over another line."""
        board = self._board.line()
        return NativeRecords(board.pack, board.address or 0, board.firmware, board)

    def payload(self, code: int) -> bytes:
        """The content of a record of that type, now."""
        if code == CELLS:
            heard = self._board.stream()
        else:
            heard = self._asked(READ_INFO if code == INFO else READ_SETTINGS)
        return next(f.data for f in self._framer.feed(heard) if f.code == code and not f.command)

    def store(self, register: int, data: bytes) -> bool:
        """Write fields of the settings table, as registers; False where it cannot be."""
        where = place(register)
        if where is None or where[0] is not SETTINGS_TABLE:
            return False
        layout = chunk_layout(*where, len(data))
        values = parse(layout, data, "registers")
        if any(name.startswith(("part_", "reserved")) for name in values):
            return False
        word = values.pop("jk_switches", None)
        if word is not None:
            names = {SWITCH_WORD + bit: word >> bit & 1 for bit in range(16)}
            commands = [(code, bytes((on, 0, 0, 0))) for code, on in names.items()]
        else:
            codes = {entry.key: code for code, entry in REGISTERS["32s"].items()}
            if not values.keys() <= codes.keys():
                return False
            commands = [(codes[key], _native(codes[key], value)) for key, value in values.items()]
        for code, value in commands:
            self._board.receive(self._framer.encode(command(code, value)))
        return True

    def _asked(self, register: int) -> bytes:
        request = self._framer.encode(command(register))
        return b"".join(answer.data for answer in self._board.receive(request))


def _native(code: int, value: Any) -> bytes:
    """A value as the native protocol writes it."""
    entry = REGISTERS["32s"][code]
    layout = write_layout("32s", code, entry.wire.sizeof())
    return b"" if layout is None else build(layout, {entry.key: value}, entry.key)


def _request_framer() -> RTUFramer:
    framer = RTUFramer(MODBUS_SHAPES)
    framer.longest = _LONGEST_REQUEST  # junk must not wait for an answer's length
    return framer


class JKModbusResponder(Responder):
    """Answers reads (03) of its three tables; writes (10) of whole settings; refuses the rest.

    Silent for other addresses (its own is `address`, 1 if none is given) and damaged requests,
    and deaf for 20 ms after each answer.
    """

    baudrate: ClassVar[int] = 115200

    def __init__(
        self, pack: Pack, *, address: int | None = None, firmware: str | None = None
    ) -> None:
        super().__init__(pack, address=address, firmware=firmware)
        self.unit = 1 if address is None else address
        self._records = NativeRecords(pack, self.unit, firmware, family=type(self).__name__)
        self._framer = _request_framer()
        self._hears_from = 0.0

    def line(self) -> JKModbusResponder:
        other = JKModbusResponder(self.pack, address=self.address, firmware=self.firmware)
        other._records = self._records.line()
        return other

    def receive(self, data: bytes) -> list[Answer]:
        if self.pack.uptime < self._hears_from:
            return []
        frames = self._framer.feed(data)
        if not frames and self._framer.pending > len(data):
            # other protocols' requests wait in front; a board forgets them when the line is silent
            fresh = _request_framer()
            frames = fresh.feed(data)
            if frames:
                self._framer = fresh
        answers = []
        for frame in frames:
            answer = self._answer(frame) if frame.unit == self.unit else None
            if answer is not None:
                encoded = self._framer.encode(answer)
                answers.append(Answer(_DELAY, encoded))
                busy = _DELAY + len(encoded) * _BYTE + _DEAF
                self._hears_from = self.pack.uptime + busy
        return answers

    def other_request(self, turn: int) -> bytes:
        """Another master reads the live table, then the settings, in pieces as bmslink's own."""
        tables = (LIVE_TABLE, SETTINGS_TABLE)
        asked = RTUFrame(unit=self.unit, register=tables[turn % len(tables)].base, count=32)
        return self._framer.encode(asked)

    def _answer(self, frame: RTUFrame) -> RTUFrame | None:
        if frame.shape == "read":
            data = self._read(frame.register, frame.count)
            if data is None:
                return self._refusal(frame, 2)
            return RTUFrame(unit=self.unit, function=READ, shape="data", data=data)
        if frame.shape == "write_many":
            if not self._records.store(frame.register, frame.data):
                return self._refusal(frame, 2)
            return RTUFrame(
                unit=self.unit,
                function=frame.function,
                shape="written",
                register=frame.register,
                count=frame.count,
            )
        if frame.shape == "write":
            return self._refusal(frame, 1)
        return None

    def _refusal(self, frame: RTUFrame, code: int) -> RTUFrame:
        function = frame.function | 0x80
        return RTUFrame(unit=self.unit, function=function, shape="exception", code=code)

    def _read(self, register: int, count: int) -> bytes | None:
        where = place(register)
        if where is None or register % 2 or not 1 <= count <= _MOST:
            return None
        table, offset = where
        code, native = next((c, n) for c, (t, n) in _NATIVE.items() if t is table)
        values = parse(native, self._records.payload(code), table.name)
        content = build(table.layout, values, table.name)
        content = content[:_INFO_END] if table is INFO_TABLE else content + b"\0"
        end = offset + 2 * count
        return content[offset:end] if end <= len(content) else None
