"""What the simulated boards of Daly's two register dialects share.

A board is a set of registers: each answer is a run of them, `FFFF` where the board has none, and
silence where the whole run is unknown. Switches and settings can be written; other writes are not
answered. `docs/protocols/daly-d2.md` and `docs/protocols/daly-p81.md` tell how real boards do it.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, ClassVar, Self

from bmslink.errors import FrameError, TargetError
from bmslink.model import Reading, Switch
from bmslink.protocols.common.fields import build, parse_value
from bmslink.protocols.common.rtu import RTUFrame
from bmslink.protocols.daly.registers.codec import Dialect
from bmslink.protocols.daly.registers.layouts import (
    ABSENT,
    MAX_REGISTERS,
    RegisterRow,
)
from bmslink.protocols.daly.settings import moment_of
from bmslink.simulation.pack.pack import Pack
from bmslink.simulation.responder import Answer, Responder

__all__ = ["DalyRegisterResponder"]

_READ_DELAY = 0.03  # s
_WRITE_DELAY = 0.15  # the echoes of daly-d2-mos-write came after 145 to 167 ms
_START = datetime(2024, 1, 1, tzinfo=UTC)
_KEPT = ("soc", "cell_count", "daly_charged_capacity", "daly_discharged_capacity")
"""What this board does not let anybody write."""
_NO_PROBE = 0xFF
_COLDEST, _HOTTEST = -39, 214  # °C; beyond, a register says that there is no probe
FIRMWARE = "70_260316_01T6"  # a board that was seen answering both dialects


class DalyRegisterResponder(Responder):
    """A board of registers. `firmware` is the software version, up to 14 ASCII characters."""

    dialect: ClassVar[Dialect]
    switches: ClassVar[Mapping[int, Switch]]
    """Registers that can be written, with 0 or 1."""
    unclear: ClassVar[Mapping[int, int]] = {}
    """What it answers in registers whose meaning nobody knows."""

    def __init__(
        self, pack: Pack, *, address: int | None = None, firmware: str | None = None
    ) -> None:
        super().__init__(pack, address=address, firmware=firmware)
        if firmware is not None and not re.fullmatch(r"[!-~]{1,14}", firmware):
            raise TargetError(f"A Daly firmware is 1 to 14 ASCII characters, not {firmware!r}.")
        self._framer = self.dialect.framer()
        self.words: dict[str, float] = {}
        """What was written and has no counterpart in a pack; all lines to the board share it."""

    def line(self) -> Self:
        other = type(self)(self.pack, address=self.address, firmware=self.firmware)
        other.words = self.words
        return other

    def receive(self, data: bytes) -> list[Answer]:
        frames = self._framer.feed(data)
        if not frames and self._framer.pending > len(data):
            # a torn request waits in front; a board forgets it, as soon as the next one makes sense
            fresh = self.dialect.framer()
            frames = fresh.feed(data)
            if frames:
                self._framer = fresh
        return [answer for frame in frames if (answer := self._answer(frame)) is not None]

    @abstractmethod
    def hears(self, frame: RTUFrame) -> bool:
        """Whether a frame is a request to this board."""

    @abstractmethod
    def answering(self, frame: RTUFrame) -> RTUFrame:
        """A frame of ours with the unit (and the count word) as the dialect wants them."""

    @abstractmethod
    def live(self, truth: Reading) -> dict[str, Any]:
        """Values of the live registers, by the names of their rows."""

    @abstractmethod
    def strings(self) -> dict[str, str]:
        """The texts of the board."""

    def _answer(self, frame: RTUFrame) -> Answer | None:
        if not self.hears(frame):
            return None
        if frame.shape == "read":
            data = self._read(frame.register, frame.count)
            if data is None:
                return None
            said = RTUFrame(unit=frame.unit, shape="data", data=data)
            return Answer(_READ_DELAY, self._framer.encode(self.answering(said)))
        if frame.shape == "write":
            words = [frame.count]
            said = frame
        elif frame.shape == "write_bare":
            words = frame.words
            said = RTUFrame(
                unit=frame.unit,
                function=frame.function,
                shape="written",
                register=frame.register,
                count=frame.count,
            )
        else:
            return None
        if not words or not self._write(frame.register, words):
            return None
        return Answer(_WRITE_DELAY, self._framer.encode(self.answering(said)))

    def _write(self, register: int, words: list[int]) -> bool:
        """Switches and settings, each whole; False where the board would stay silent."""
        stores: list[Callable[[], None]] = []
        at = 0
        while at < len(words):
            row = self._writable(register + at)
            if row is None or at + row.length > len(words):
                return False
            data = b"".join(word.to_bytes(2, "big") for word in words[at : at + row.length])
            switch = self.switches.get(row.register)
            if switch is not None and words[at] > 1:
                return False
            value = parse_value(row.layout, data, row.name)
            if row.name == "daly_clock":
                moment = moment_of(data)
                if moment is None:
                    return False
                stores.append(partial(self._set_clock, moment))
            elif switch is None:
                stores.append(partial(self._store, row.name, value))
            else:
                stores.append(partial(self.pack.around.command, {switch: bool(value)}))
            at += row.length
        for store in stores:
            store()
        return bool(stores)

    def _writable(self, register: int) -> RegisterRow | None:
        for row in self.dialect.table.rows:
            if row.register == register:
                plain = row.show is None or row.name == "daly_clock"
                plain = plain and row.count is None and not row.secret
                kept = row.name in _KEPT or row.name.startswith("daly_board")
                return row if plain and row.role == "settings" and not kept else None
        return None

    def _set_clock(self, moment: datetime) -> None:
        """Its clock goes on from here; all lines to the board share it."""
        ahead = moment.replace(tzinfo=UTC) - _START
        self.words["clock_ahead"] = ahead.total_seconds() - int(self.pack.uptime)

    def _store(self, name: str, value: float) -> None:
        if name in self.pack.settings:
            self.pack.settings[name] = value
        else:
            self.words[name] = value

    # --------------------------------------------------------------------------- registers

    def _read(self, register: int, count: int) -> bytes | None:
        """The bytes of a block, or `None` where nothing of it is known."""
        if not 0 < count <= MAX_REGISTERS:
            return None
        values = self._values()
        words: dict[int, bytes] = {}
        for row in self.dialect.table.rows:
            touches = row.register < register + count and register < row.register + row.length
            if touches and row.name in values and not row.secret:
                data = _row_bytes(row, values[row.name])
                for at in range(row.length):
                    words[row.register + at] = data[2 * at : 2 * at + 2]
        words |= {r: word.to_bytes(2, "big") for r, word in self.unclear.items()}
        words = {r: word for r, word in words.items() if register <= r < register + count}
        if not words:
            return None
        absent = ABSENT.to_bytes(2, "big")
        return b"".join(words.get(r, absent) for r in range(register, register + count))

    def _values(self) -> dict[str, Any]:
        truth = self.pack.truth()
        values: dict[str, Any] = dict(self._settings(truth))
        for name, text in self.strings().items():
            values[name] = text.encode("ascii")
        return values | self.live(truth) | self.words

    def _settings(self, truth: Reading) -> Iterator[tuple[str, Any]]:
        pack = self.pack
        for row in self.dialect.table.rows:
            limit = row.name.removesuffix("_warning")  # without one the pack warns where it trips
            if limit in pack.settings:
                yield row.name, pack.settings.get(row.name, pack.settings[limit])
        yield "daly_nominal_cell_voltage", pack.chemistry.nominal_voltage
        yield "daly_boards", 1
        for board in (1, 2, 3):
            yield f"daly_board_{board}_cells", pack.cell_count if board == 1 else 0
            yield f"daly_board_{board}_sensors", len(probes(truth)) if board == 1 else 0
        yield "charge_switch", int(pack.switches[Switch.CHARGE])
        yield "discharge_switch", int(pack.switches[Switch.DISCHARGE])
        yield "soc", truth.soc
        passed = int(pack.uptime) + self.words.get("clock_ahead", 0.0)
        now = _START + timedelta(seconds=passed)
        moment = bytes((now.year - 2000, *now.timetuple()[1:6]))
        yield "daly_clock", moment
        yield "clock", moment
        yield "daly_production_date", bytes((_START.year - 2000, _START.month, _START.day, 0))


def _row_bytes(row: RegisterRow, value: Any) -> bytes:
    """A row's registers; what the pack does not know, or they cannot hold, is absent."""
    if isinstance(value, bytes):
        data = value
    elif row.count is not None:
        data = b"".join(_item(row, item) for item in value)
    else:
        data = _item(row, value)
    return data.ljust(2 * row.length, b"\0")[: 2 * row.length]


def _item(row: RegisterRow, value: float | None) -> bytes:
    missing = _NO_PROBE if _NO_PROBE in row.absent else row.absent[0]
    if value is not None:
        for wanted in (value, round(value)):  # a register without a scale takes whole numbers
            try:
                return build(row.layout, wanted, row.name)
            except FrameError:
                continue
    return missing.to_bytes(2 * row.size, "big")


def probes(truth: Reading) -> list[float | None]:
    """The cells' probes, in whole °C."""
    return [celsius(t) for name, t in truth.temperatures.items() if name != "mosfet"]


def celsius(value: float | None) -> float | None:
    """A temperature that a register can say."""
    return None if value is None else float(min(max(round(value), _COLDEST), _HOTTEST))
