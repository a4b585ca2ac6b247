"""Changing Daly boards of the two register dialects: function 06, or 10 without a byte count.

An echo proves nothing and its absence neither: of eight writes that one board obeyed it echoed
none (`docs/protocols/daly-d2.md`). So a write waits for its echo, and reading back decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from bmslink.errors import LinkTimeout, SettingError
from bmslink.model import Adjustment, Identity
from bmslink.protocols.common.register_runs import Span, question, runs, slot_bytes, span
from bmslink.protocols.common.rtu import WRITE, WRITE_MANY, RTUFrame
from bmslink.protocols.common.settings_map import (
    SettingsMap,
    Slot,
    WriteCommand,
    silence_means_absent,
    some_of,
)
from bmslink.protocols.daly.registers.driver import DalyRegisters
from bmslink.protocols.daly.registers.map import TELLING, register_map
from bmslink.protocols.daly.settings import moment_bytes, moment_of
from bmslink.protocols.parts import ClockSoc, SettingsAccess

__all__ = ["DalyRegisterClock", "DalyRegisterSettings"]

_LONGEST = 0x29  # registers, as the vendor's programs read them
_LONGEST_AGAIN = 0x1B  # the second time: split elsewhere, so that the answers differ in length
_FEW = 4  # the same for the few that tell which map it is
_NEAR = 4  # unnamed registers that may lie between two settings of one question
_ABSENT = 0xFF
_NO_SOC = {"soc": "the board counts it, and nobody has recorded its register being written"}


class DalyRegisterSettings(SettingsAccess[RTUFrame]):
    """The settings of a board of registers."""

    settle = 0.5

    def __init__(self, board: DalyRegisters) -> None:
        super().__init__()
        self._board = board
        self._absent: set[int] = set()  # the slots that it was silent about

    async def new_line(self) -> None:
        self._absent.clear()

    def likely_map(self, identity: Identity) -> SettingsMap:
        return register_map(self._board.name, identity.firmware, {})

    async def find_map(self, identity: Identity) -> SettingsMap:
        draft = self.likely_map(identity)
        keys = TELLING.get(self._board.name, ())
        slots = [draft.by_address[draft.setting(key).slot] for key in keys]
        found = draft.decode(await self._proven(slots))
        values = {k: v if isinstance(v, float) else None for k, v in found.items()}
        self.own_map = register_map(self._board.name, identity.firmware, values)
        return self.own_map

    async def _proven(self, slots: Sequence[Slot]) -> dict[int, bytes]:
        """What two different questions say alike of slots, which a board may lack."""
        first = await self._fetch(slots, _LONGEST)
        again = await self._fetch(slots, _FEW)
        return {address: raw for address, raw in first.items() if again.get(address) == raw}

    async def fetch(self, slots: Sequence[Slot]) -> dict[int, bytes]:
        return some_of(slots, await self._fetch(slots, _LONGEST))

    async def fetch_again(self, slots: Sequence[Slot]) -> dict[int, bytes]:
        return some_of(slots, await self._fetch(slots, _LONGEST_AGAIN))

    async def _fetch(self, slots: Sequence[Slot], longest: int) -> dict[int, bytes]:
        found: dict[int, bytes] = {}
        spans = [span(slot, 2 * slot.address) for slot in slots]
        secret = [row.register for row in self._board.table.rows if row.secret]
        for run in runs(spans, longest, near=_NEAR, hidden=secret):
            self.on_asked(len(run))
            with silence_means_absent():
                answer = slot_bytes(run, await self._ask_run(run))
                found.update(
                    (slot.address, raw)
                    for slot, raw in answer
                    if set(raw) != {_ABSENT} or _may_be_full(slot)
                )
        self.seen.add(found)
        return found

    async def _ask_run(self, run: Sequence[Span]) -> bytes:
        """The bytes of registers that the board may lack. What it never told is asked twice, with a
        question between that it answers at once, so that its silence is not taken for a lost line;
        what was silent then is asked once."""
        slots = {each.slot.address for each in run}
        retries = 2
        if all(self.seen.latest(slot) is None for slot in slots):
            try:
                return await self._board.ask_bytes(*question(run), retries=0)
            except LinkTimeout as error:
                if error.heard == "silence" and slots <= self._absent:
                    raise
                await self._board.ask(self._board.between)
                if error.heard == "silence" and self._board.link.continuity.prompt:
                    self._absent |= slots
                    retries = 0
        return await self._board.ask_bytes(*question(run), retries=retries)

    async def find_switch_map(self, identity: Identity | None) -> SettingsMap:
        return self.own_map or self.likely_map(identity or await self._board.ask_versions())

    def shipped(self) -> SettingsMap:
        """Before its registers were read, without those that some boards keep elsewhere."""
        return self.own_map or self.likely_map(Identity())

    def _make_write(self, slot: Slot, data: bytes) -> WriteCommand[RTUFrame]:
        return replace(_command(self._board, slot.address, data), once=True)


class DalyRegisterClock(ClockSoc[RTUFrame]):
    """The clock of a board of registers."""

    def __init__(self, board: DalyRegisters, untested: str = "") -> None:
        """`untested`: why it is set with `--untested` only."""
        super().__init__(board.name, takes={"clock": untested}, missing=_NO_SOC)
        self._board = board

    @property
    def _clock_register(self) -> int:
        return next(row.register for row in self._board.table.rows if row.name == "daly_clock")

    async def clock(self) -> datetime | None:
        return moment_of(await self._board.ask_bytes(self._clock_register, 3))

    async def command(self, wish: Adjustment) -> WriteCommand[RTUFrame]:
        """Three registers at once, as the vendor's app does (`daly-d2-balancer-btsnoop`)."""
        if wish.clock is None:
            raise SettingError(self.can("soc").reason)
        return _command(self._board, self._clock_register, moment_bytes(wish.clock))


def _command(board: DalyRegisters, register: int, data: bytes) -> WriteCommand[RTUFrame]:
    one = len(data) == 2
    frame = RTUFrame(
        unit=board.asking,
        function=WRITE if one else WRITE_MANY,
        shape="write" if one else "write_bare",
        register=register,
        count=int.from_bytes(data, "big") if one else len(data) // 2,
        data=b"" if one else data,
    )

    def echoes(answer: RTUFrame) -> bool:
        return (
            answer.unit == board.answering
            and answer.function == frame.function
            and answer.register == frame.register
            and answer.shape in ("write", "written")
        )

    return WriteCommand(frame=frame, answer=echoes, what=f"register {register:04X}")


def _may_be_full(slot: Slot) -> bool:
    """FFFF is a value here: never."""
    return "sleep_delay" in slot.values(bytes(slot.layout.sizeof()))
