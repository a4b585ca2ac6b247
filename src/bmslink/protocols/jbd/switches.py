"""The FETs of JBD boards: register E1 locks them, both in one frame.

So who switches one FET must know how the other is locked. The board does not say so outright: bit
12 of the protection word says that something is locked, and a FET that conducts is not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from bmslink.errors import Refused
from bmslink.model import Capability, Command, Switch
from bmslink.protocols.common.fields import is_set
from bmslink.protocols.common.settings_map import WriteCommand
from bmslink.protocols.jbd.framing import JBDFrame, acknowledges, write_request
from bmslink.protocols.jbd.writing import JBDBoard, require_plain
from bmslink.protocols.parts import Switches

__all__ = ["JBDSwitches"]

_FETS = 0xE1
_LOCK_BIT = 12  # of the protection word: somebody switched a FET off by command
_LOCKS = {Switch.CHARGE: 1, Switch.DISCHARGE: 2}
_SETTLES = 6.0
"""How long a lock of ours may take to show, s: views of a board were seen 4 to 6 s old."""


class JBDSwitches(Switches[JBDFrame]):
    """The locks of the two FETs, and the balancer, which is a setting."""

    def __init__(self, board: JBDBoard) -> None:
        super().__init__(board.name, commands=_LOCKS, settable=[Switch.BALANCE])
        self._board = board
        self.forget()

    def forget(self) -> None:
        """The line was opened anew: another board may answer."""
        self._shown: int | None = None  # locks, as the latest 03 says; `None`: it does not say
        self._shown_at = float("-inf")
        self._known: int | None = None  # as a 03 said last that came after our last E1
        self._ours = 0  # locks that we sent, as long as nothing shows what came of them
        self._sent_at = float("-inf")

    def can(self, switch: Switch) -> Capability:
        reason = self._board.only_reads()
        return Capability(False, reason) if reason else super().can(switch)

    def saw(self, basic: Mapping[str, Any]) -> None:
        """A 03 came, whoever asked for it."""
        now = asyncio.get_running_loop().time()
        self._shown, self._shown_at = _locks(basic), now
        if self._shown is not None:
            if now - self._sent_at > _SETTLES:
                self._ours = 0
            self._known = self._shown

    def sent(self, frame: JBDFrame) -> None:
        """A frame is next to leave; where it is an E1, what was known before is old."""
        if frame.code != _FETS:
            return
        locks = frame.data[-1] & 3
        if (self._shown or 0) & ~locks:  # it frees one, which what was shown does not know
            self._shown_at = float("-inf")
        self._known, self._ours = None, locks
        self._sent_at = asyncio.get_running_loop().time()

    async def command(self, command: Command) -> WriteCommand[JBDFrame]:
        """Register E1: bit 0 locks charging, bit 1 discharging.

        It is never built from the FETs' state: one that is off because of a protection would
        become a lock. The other lock is kept only where the board says that somebody locked.
        """
        self.require(command.switch)
        basic = (await self._board.ask(0x03)).values
        require_plain(self._board)
        locks = _locks(basic)
        if locks is None:
            raise Refused(
                "A protection is active and a FET is locked: which of the two FETs is off by "
                "command cannot be told now. Try again when the protection has gone."
            )
        return self._lock_command(command, locks | self._ours)

    async def off_command(
        self,
        switch: Switch,
        remembered: Callable[[Switch], bool | None],
        fresh: float = 0.0,
    ) -> WriteCommand[JBDFrame]:
        """The same for off, which waits for no protection: where the board does not show how the
        other FET is locked, it stays as it was shown before or as our last confirmed command left
        it, or is locked too."""
        self.require(switch)
        old = asyncio.get_running_loop().time() - self._shown_at >= fresh
        if old and (await self._board.ask_basic_apart()).role != "reading":
            self._shown = None
        require_plain(self._board)
        other = Switch.DISCHARGE if switch == Switch.CHARGE else Switch.CHARGE
        locks = self._known if self._shown is None else self._shown
        if self._ours & _LOCKS[other]:  # it may be on its way
            locks = _LOCKS[other]
        if locks is not None:
            return self._lock_command(Command(switch, False), locks)
        on = remembered(other)
        doubt = ""
        if on is None:
            doubt = (
                f"Whether {other} was locked as well does not show while a protection is active, "
                f"so both are locked now: `bmslink switch TARGET {other} on` frees it."
            )
        return self._lock_command(Command(switch, False), 0 if on else _LOCKS[other], doubt)

    def _lock_command(
        self, command: Command, locks: int, doubt: str = ""
    ) -> WriteCommand[JBDFrame]:
        bit = _LOCKS[command.switch]
        locks = locks & ~bit if command.on else locks | bit
        return WriteCommand(
            frame=write_request(_FETS, bytes((0, locks))),
            answer=acknowledges(_FETS, self._board.address),
            what=str(command),
            others={s: not locks & b for s, b in _LOCKS.items() if s != command.switch},
            doubt=doubt,
        )


def _locks(basic: Mapping[str, Any]) -> int | None:
    """Which FETs somebody has locked; `None` where the board does not show it."""
    if not is_set(basic["protection"], _LOCK_BIT):
        return 0
    off = ~int(basic["state"]) & 3
    protected = basic["protection"] & ~(1 << _LOCK_BIT)
    return None if off == 3 and protected else off
