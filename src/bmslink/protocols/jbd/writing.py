"""Changing JBD boards: registers, factory mode, FETs.

Settings are closed outside factory mode. It is entered and left around everything that needs it,
and left again whatever happens; a session found open is closed. `docs/protocols/jbd.md`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any, Protocol

from bmslink.errors import LinkTimeout, Refused, SettingError, TransportError
from bmslink.link.link import Link
from bmslink.model import Identity
from bmslink.protocols.base import Record
from bmslink.protocols.common.settings_map import (
    SettingsMap,
    Slot,
    WriteCommand,
    silence_means_absent,
)
from bmslink.protocols.jbd.framing import JBDFrame, acknowledges, write_request
from bmslink.protocols.jbd.map import CELL_COUNT, FUNCTION_BITS, NEWER, balance_map, jbd_map
from bmslink.protocols.jbd.reading import is_tenfold
from bmslink.protocols.jbd.settings import REGISTERS
from bmslink.protocols.parts import SettingsAccess
from bmslink.storage.alone import alone

__all__ = ["JBDBoard", "JBDSettings", "require_plain"]

_log = logging.getLogger(__name__)

_ENTER, _LEAVE = 0x00, 0x01
_KEY, _PLAIN, _COMMIT = b"\x56\x78", b"\x00\x00", b"\x28\x28"
_CLOSED = 0x81
_PATIENCE = 30.0
"""So long another program's factory mode is waited for, s; reading all registers takes 5 s."""


class JBDBoard(Protocol):
    """What the parts ask of the driver."""

    @property
    def name(self) -> str: ...

    @property
    def link(self) -> Link[JBDFrame]: ...

    @property
    def address(self) -> int | None: ...

    @property
    def dry(self) -> bool: ...

    async def identify(self) -> Identity:
        """Who it is."""

    async def ask(self, register: int) -> Record:
        """Read one register; `Refused` when the board says no."""

    async def ask_word(self, register: int) -> bytes:
        """The two bytes of a register; `Refused` when the board says no."""

    async def ask_basic_apart(self) -> Record:
        """Register 03, in the middle of somebody else's questions."""

    def only_reads(self, identity: Identity | None = None) -> str:
        """Why nothing but reads is ever sent to this board; empty where more is known."""

    async def perform(self, step: WriteCommand[JBDFrame]) -> bool:
        """Send what changes something."""


class JBDSettings(SettingsAccess[JBDFrame]):
    """The registers of a JBD board, behind its factory mode."""

    settle = 0.1
    reads_freely = False

    def __init__(self, board: JBDBoard) -> None:
        super().__init__()
        self._board = board
        self._held = AsyncExitStack()  # what keeps our other programs out of factory mode
        self._open = False

    def likely_map(self, identity: Identity) -> SettingsMap | None:
        if self._board.only_reads(identity):
            return None
        count = (identity.cell_count or 0).to_bytes(2, "big")
        return jbd_map(identity, {FUNCTION_BITS: bytes(2), CELL_COUNT: count})

    async def find_map(self, identity: Identity) -> SettingsMap:
        require_plain(self._board, identity)
        telling = [Slot(address=r, layout=REGISTERS[r]) for r in (FUNCTION_BITS, CELL_COUNT)]
        async with self.session(writing=False):
            words = await self.fetch(telling)
            with silence_means_absent():  # some may say nothing instead of no
                words |= await self.fetch([Slot(address=NEWER[0], layout=REGISTERS[NEWER[0]])])
            basic = (await self._board.ask(0x03)).values
            self.own_map = jbd_map(identity, words, is_tenfold(basic))
        return self.own_map

    async def find_switch_map(self, identity: Identity | None) -> SettingsMap:
        require_plain(self._board)
        if self.own_map is not None:
            return self.own_map
        self.switch_map = balance_map(identity or await self._board.identify())
        return self.switch_map

    @asynccontextmanager
    async def session(self, *, writing: bool, waits: bool = True) -> AsyncIterator[None]:
        require_plain(self._board)
        how = _COMMIT if writing else _PLAIN  # as the vendor's tool and its app do
        if self._board.dry:  # the board was read before, which closed what was left open
            await self._board.perform(self._mode(_ENTER, _KEY, "factory mode"))
            yield
            await self._leave(how)
            return
        if not self.in_session:
            await self._enter(how, _PATIENCE if waits else 0.0)
        try:
            yield
        except BaseException:
            with suppress(TransportError):
                await _to_its_end(self._end(how))
            raise
        if writing or not self.in_conversation:
            await _to_its_end(self._end(how))

    @property
    def in_session(self) -> bool:
        return self._open

    async def leave_session(self) -> None:
        if self.in_session:
            await _to_its_end(self._end(_PLAIN))

    async def new_line(self) -> None:
        self._open = False  # the next session closes what it finds open
        await self._held.aclose()

    async def _enter(self, how: bytes, patience: float) -> None:
        async with AsyncExitStack() as held:
            ours = await held.enter_async_context(self._factory(patience))
            await self._close_left_open(how, ours=ours)
            try:  # from here on it may be open, whatever came back
                await self._board.perform(self._mode(_ENTER, _KEY, "factory mode"))
            except BaseException:
                with suppress(TransportError):
                    await _to_its_end(self._leave(how))
                raise
            self._held, self._open = held.pop_all(), True

    async def _end(self, how: bytes) -> None:
        self._open = False
        async with self._held:
            await self._leave(how)

    @asynccontextmanager
    async def _factory(self, patience: float) -> AsyncIterator[bool]:
        """Factory mode for us alone, among our own programs on a line that several can open: each
        would close it under the other. Gives whether nobody else uses it."""
        place = self._board.link.transport.reached()
        if not place:
            yield True
            return
        async with alone(f"factory mode {place} {self._board.address}", patience) as ours:
            yield ours

    async def _close_left_open(self, how: bytes, *, ours: bool) -> None:
        """A board that answers for its settings was left in factory mode by somebody."""
        try:
            await self._board.ask(0x24)
        except Refused:
            return
        except LinkTimeout:  # some say nothing instead of no
            return
        why = "was left open" if ours else "is in use by another program"
        _log.warning("%s: factory mode %s; it is closed now.", self._board.link.name, why)
        await self._leave(how)

    async def _leave(self, how: bytes) -> None:
        """Raises what the line raises where it would make permanent what was written."""
        try:
            await self._board.perform(self._mode(_LEAVE, how, "the end of factory mode"))
        except (Refused, TransportError) as error:
            if how == _COMMIT and isinstance(error, TransportError):
                raise
            _log.warning(
                "%s: factory mode could not be left (%s); the next connection closes it.",
                self._board.link.name,
                error,
            )

    def _mode(self, register: int, data: bytes, what: str) -> WriteCommand[JBDFrame]:
        return WriteCommand(
            frame=write_request(register, data),
            answer=acknowledges(register, self._board.address),
            what=what,
        )

    async def fetch(self, slots: Sequence[Slot]) -> dict[int, bytes]:
        found = {}
        for slot in slots:
            self.on_asked(1)
            try:
                found[slot.address] = await self._board.ask_word(slot.address)
            except Refused as refusal:
                if refusal.status == _CLOSED:
                    raise
                # else this firmware does not have it
        self.seen.add(found)
        return found

    def check_slot(self, slot: Slot, data: bytes) -> None:
        require_plain(self._board)
        super().check_slot(slot, data)

    def _make_write(self, slot: Slot, data: bytes) -> WriteCommand[JBDFrame]:
        return WriteCommand(
            frame=write_request(slot.address, data),
            answer=acknowledges(slot.address, self._board.address),
            what=f"register {slot.address:02X}",
            once=True,
        )


def require_plain(board: JBDBoard, identity: Identity | None = None) -> None:
    """`SettingError` where nothing but reads is ever sent to a board."""
    reason = board.only_reads(identity)
    if reason:
        raise SettingError(f"{reason[0].upper()}{reason[1:]}.")


async def _to_its_end(work: Coroutine[Any, Any, None]) -> None:
    """Do it to its end, however often it is cancelled meanwhile; then stop."""
    task = asyncio.ensure_future(work)
    stopped: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            stopped = error
    failed = task.exception()
    if stopped is not None:
        raise stopped
    if failed is not None:
        raise failed
