"""The settings of Daly boards in the A5 protocol: eight bytes are written at once.

A write carries a whole frame, so what its neighbours hold is read first and sent along; bytes that
mean nothing are sent as 0, because old firmware leaves pieces of other answers in them. The
layouts are those of the vendor's PC tool; 50, 53, 5F and 60 were recorded being read
(`daly-can-params-heezes`), 21, D9 and DA being written (`docs/protocols/daly-a5.md`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Protocol

from bmslink.errors import LinkTimeout, SettingError
from bmslink.model import Adjustment, Command, Identity, Switch
from bmslink.protocols.common.fields import build
from bmslink.protocols.common.settings_map import (
    SettingsMap,
    Slot,
    WriteCommand,
    silence_means_absent,
    some_of,
)
from bmslink.protocols.daly.a5.codec import DalyA5Codec, DalyFrame
from bmslink.protocols.daly.a5.layouts import CONTROLS, SWITCH
from bmslink.protocols.daly.a5.map import a5_map
from bmslink.protocols.daly.settings import (
    CLOCK_FIELDS,
    CLOCK_WRITE,
    PARAMETERS,
    moment_bytes,
    moment_of,
)
from bmslink.protocols.parts import ClockSoc, SettingsAccess, Switches

__all__ = ["DalyA5Board", "DalyA5ClockSoc", "DalyA5Settings", "DalyA5Switches"]

_CLOCK, _PACK_STATUS = 0x61, 0x90


class DalyA5Board(Protocol):
    """What the parts ask of the driver."""

    @property
    def name(self) -> str: ...

    @property
    def host(self) -> int:
        """Who we are to this board."""

    @property
    def address(self) -> int | None:
        """Which board is meant; `None`: the only one."""

    @property
    def codec(self) -> DalyA5Codec: ...

    async def ask_one(self, data_id: int) -> DalyFrame:
        """The frame that answers an id; `LinkTimeout` when none does."""


class DalyA5Settings(SettingsAccess[DalyFrame]):
    """The parameters of a Daly board."""

    settle = 0.5  # the vendor's tool waits 100-500 ms

    def __init__(self, board: DalyA5Board) -> None:
        super().__init__()
        self._board = board

    def likely_map(self, identity: Identity) -> SettingsMap:
        return a5_map(identity.firmware)

    async def find_map(self, identity: Identity) -> SettingsMap:
        return a5_map(identity.firmware)

    async def fetch(self, slots: Sequence[Slot]) -> dict[int, bytes]:
        found = {}
        for slot in slots:
            self.on_asked(1)
            with silence_means_absent():
                found[slot.address] = (await self._board.ask_one(slot.address)).data
        self.seen.add(some_of(slots, found))
        return found

    def shipped(self) -> SettingsMap:
        return a5_map(None)  # the rows of all of them

    def _make_write(self, slot: Slot, data: bytes) -> WriteCommand[DalyFrame]:
        write_id = PARAMETERS[slot.address].write or 0
        step = _command(self._board, write_id, data, f"parameter {slot.address:02X}")
        return replace(step, once=True)


class DalyA5Switches(Switches[DalyFrame]):
    """The two MOSFETs, by D9 and DA; a board with a tripped protection ignores them."""

    def __init__(self, board: DalyA5Board) -> None:
        super().__init__(
            board.name,
            commands=(Switch.CHARGE, Switch.DISCHARGE),
            missing={Switch.BALANCE: "nothing proves how this protocol switches the balancer"},
        )
        self._board = board

    async def command(self, command: Command) -> WriteCommand[DalyFrame]:
        self.require(command.switch)
        name = command.switch.key
        write_id = next(number for number, key in CONTROLS.items() if key == name)
        data = build(SWITCH, {"on": int(command.on), "residue": bytes(7)}, name)
        return _command(self._board, write_id, data, str(command))


class DalyA5ClockSoc(ClockSoc[DalyFrame]):
    """Clock and charge, which one frame sets."""

    def __init__(self, board: DalyA5Board) -> None:
        super().__init__(board.name, takes={"clock": "", "soc": ""}, missing={})
        self._board = board

    async def clock(self) -> datetime | None:
        """Id 61; the board counts the years from 2000."""
        try:
            return moment_of((await self._board.ask_one(_CLOCK)).data)
        except LinkTimeout:
            return None  # old firmware does not answer for it

    async def command(self, wish: Adjustment) -> WriteCommand[DalyFrame]:
        """Id 21 sets both at once, so what is to stay is read first and sent along
        (`daly-a5-uart-setrtcsoc-tx`)."""
        soc = wish.soc
        if soc is None:
            status = self._board.codec.decode(await self._board.ask_one(_PACK_STATUS))
            soc = float(status.values["soc"])
        elif not 0 <= soc <= 100:
            raise SettingError(f"A state of charge is 0 to 100 %, not {soc:g}.")
        clock = wish.clock or await self.clock()
        if clock is None:
            raise SettingError("The board does not tell its clock, which is set along: set both.")
        values = dict(zip(CLOCK_FIELDS, moment_bytes(clock), strict=True)) | {"soc": soc}
        data = build(CLOCK_WRITE, values, "clock and charge")
        return _command(self._board, PARAMETERS[_CLOCK].write or 0, data, "clock and charge")


def _command(board: DalyA5Board, write_id: int, data: bytes, what: str) -> WriteCommand[DalyFrame]:
    def answers(frame: DalyFrame) -> bool:
        mine = board.address in (None, frame.address)
        return frame.is_answer and frame.id == write_id and mine

    frame = DalyFrame(address=board.host, id=write_id, data=data)
    return WriteCommand(frame=frame, answer=answers, what=what)
