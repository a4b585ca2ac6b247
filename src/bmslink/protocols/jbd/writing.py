"""Asking JBD boards, and changing them: registers, factory mode, FETs.

Settings are closed outside factory mode. It is entered and left around everything that needs it,
and left again whatever happens; a session found open is closed. `docs/protocols/jbd.md`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any, ClassVar, TypeVar

from bmslink.errors import LinkTimeout, Refused, SettingError, TransportError
from bmslink.model import Capability, Command, Identity, Switch
from bmslink.protocols.base import Driver, Record
from bmslink.protocols.common.fields import is_set
from bmslink.protocols.common.settings_map import (
    SettingsMap,
    Slot,
    WriteCommand,
    silence_means_absent,
)
from bmslink.protocols.jbd.auth import authenticate
from bmslink.protocols.jbd.framing import READ, JBDFrame, read_request, write_request
from bmslink.protocols.jbd.layouts import BASIC_MINIMUM
from bmslink.protocols.jbd.map import CELL_COUNT, FUNCTION_BITS, NEWER, balance_map, jbd_map
from bmslink.protocols.jbd.reading import DAREN, is_tenfold
from bmslink.protocols.jbd.settings import REGISTERS
from bmslink.storage.alone import alone

__all__ = ["JBDWriting"]

T = TypeVar("T")

_log = logging.getLogger(__name__)

_ENTER, _LEAVE = 0x00, 0x01
_KEY, _PLAIN, _COMMIT = b"\x56\x78", b"\x00\x00", b"\x28\x28"
_CLOSED = 0x81
_FETS = 0xE1
_LOCK_BIT = 12  # of the protection word: somebody switched a FET off by command
_LOCKS = {Switch.CHARGE: 1, Switch.DISCHARGE: 2}
_PATIENCE = 30.0
"""So long another program's factory mode is waited for, s; reading all registers takes 5 s."""


class JBDWriting(Driver[JBDFrame]):
    """Registers and switches of a JBD board."""

    no_settings_reason: ClassVar[str] = ""
    not_adjustable: ClassVar[Mapping[str, str]] = {
        "clock": "classic JBD boards tell no clock that could be set",
        "soc": "the board counts it; the factory mode that sets it was never recorded",
    }
    settle: ClassVar[float] = 0.1

    knocked = True
    """Whether the Bluetooth module was asked to let us in; there may be none."""

    async def knock(self) -> bool:
        """Ask the Bluetooth module to let us in, once per connection; `False`: nothing changed."""
        if self.knocked:
            return False
        self.knocked = True
        return await authenticate(self.link, self.options.pin)

    async def let_in(self, ask: Callable[[], Awaitable[T]]) -> T:
        """The answer; modules that want their password are silent until they have got it."""
        try:
            return await ask()
        except LinkTimeout:
            if not await self.knock():
                raise
            return await ask()

    async def ask(
        self, register: int, fits: Callable[[JBDFrame], bool] = lambda frame: True
    ) -> Record:
        """Read one register; `Refused` when the board says no."""
        return self._told(register, await self._answer(register, fits))

    async def _answer(
        self, register: int, fits: Callable[[JBDFrame], bool] = lambda frame: True
    ) -> JBDFrame:
        request = read_request(register, self.options.address)
        self.codec.decode(request, sent=True)
        return await self.link.request(request, self._answers(register, (register, READ), fits))

    def _answers(
        self,
        register: int,
        marks: tuple[int, ...],
        fits: Callable[[JBDFrame], bool] = lambda frame: True,
    ) -> Callable[[JBDFrame], bool]:
        def matches(frame: JBDFrame) -> bool:
            return (
                frame.is_answer
                and frame.address == self.options.address
                and frame.mark in marks
                and (frame.code != 0 or fits(frame))
            )

        return matches

    def _told(self, register: int, frame: JBDFrame) -> Record:
        record = self.codec.decode(frame)
        if record.kind == "basic_info":
            self._daren = record.values["variant"] == DAREN
        if record.role == "refusal":
            raise Refused(
                f"The board refuses register {register:02X}: {record.values['meaning']} "
                f"(status {record.values['status']:02X}).",
                record.values["status"],
            )
        return record

    # -------------------------------------------------------------------------------- settings

    @classmethod
    def every_map(cls) -> tuple[SettingsMap, ...]:
        return (jbd_map(Identity(protocol=cls.name), {NEWER[0]: b""}),)

    def likely_map(self, identity: Identity) -> SettingsMap | None:
        if self._only_reads(identity):
            return None
        count = (identity.cell_count or 0).to_bytes(2, "big")
        return jbd_map(identity, {FUNCTION_BITS: bytes(2), CELL_COUNT: count})

    async def settings_map(self, identity: Identity) -> SettingsMap:
        self._plain(identity)
        telling = [Slot(address=r, layout=REGISTERS[r]) for r in (FUNCTION_BITS, CELL_COUNT)]
        async with self.session(writing=False):
            words = await self.fetch(telling)
            with silence_means_absent():  # some may say nothing instead of no
                words |= await self.fetch([Slot(address=NEWER[0], layout=REGISTERS[NEWER[0]])])
            basic = (await self.ask(0x03)).values
            self.own_map = jbd_map(identity, words, is_tenfold(basic))
        return self.own_map

    _held = AsyncExitStack()
    """What keeps our other programs out of factory mode."""
    _daren = False
    """The last 03 was that of a Daren pack."""

    def _only_reads(self, identity: Identity | None = None) -> str:
        """Why nothing but reads is ever sent to this board; empty where more is known."""
        if self.options.address is not None:
            return "behind an address JBD boards tell live values only"
        if self._daren or (identity is not None and identity.variant == DAREN):
            return "of Daren and Docan packs only the live values are known"
        return ""

    def _plain(self, identity: Identity | None = None) -> None:
        reason = self._only_reads(identity)
        if reason:
            raise SettingError(f"{reason[0].upper()}{reason[1:]}.")

    @asynccontextmanager
    async def session(self, *, writing: bool, waits: bool = True) -> AsyncIterator[None]:
        self._plain()
        how = _COMMIT if writing else _PLAIN  # as the vendor's tool and its app do
        if self.dry:  # the board was read before, which closed what was left open
            await self.perform(self._mode(_ENTER, _KEY, "factory mode"))
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
        if writing or not self.conversations:
            await _to_its_end(self._end(how))

    async def part(self) -> None:
        if self.in_session:
            await _to_its_end(self._end(_PLAIN))

    async def forget_session(self) -> None:
        """The line was opened again: the next session closes what it finds open."""
        self.in_session = False
        await self._held.aclose()

    async def _enter(self, how: bytes, patience: float) -> None:
        async with AsyncExitStack() as held:
            ours = await held.enter_async_context(self._factory(patience))
            await self._close_left_open(how, ours=ours)
            try:  # from here on it may be open, whatever came back
                await self.perform(self._mode(_ENTER, _KEY, "factory mode"))
            except BaseException:
                with suppress(TransportError):
                    await _to_its_end(self._leave(how))
                raise
            self._held, self.in_session = held.pop_all(), True

    async def _end(self, how: bytes) -> None:
        self.in_session = False
        async with self._held:
            await self._leave(how)

    @asynccontextmanager
    async def _factory(self, patience: float) -> AsyncIterator[bool]:
        """Factory mode for us alone, among our own programs on a line that several can open: each
        would close it under the other. Gives whether nobody else uses it."""
        place = self.link.transport.reached()
        if not place:
            yield True
            return
        async with alone(f"factory mode {place} {self.options.address}", patience) as ours:
            yield ours

    async def _close_left_open(self, how: bytes, *, ours: bool) -> None:
        """A board that answers for its settings was left in factory mode by somebody."""
        try:
            await self.ask(0x24)
        except Refused:
            return
        except LinkTimeout:  # some say nothing instead of no
            return
        why = "was left open" if ours else "is in use by another program"
        _log.warning("%s: factory mode %s; it is closed now.", self.link.name, why)
        await self._leave(how)

    async def _leave(self, how: bytes) -> None:
        """Raises what the line raises where it would make permanent what was written."""
        try:
            await self.perform(self._mode(_LEAVE, how, "the end of factory mode"))
        except (Refused, TransportError) as error:
            if how == _COMMIT and isinstance(error, TransportError):
                raise
            _log.warning(
                "%s: factory mode could not be left (%s); the next connection closes it.",
                self.link.name,
                error,
            )

    def _mode(self, register: int, data: bytes, what: str) -> WriteCommand[JBDFrame]:
        return WriteCommand(
            frame=write_request(register, data),
            answer=self._answers(register, (register,), lambda frame: not frame.data),
            what=what,
        )

    async def fetch(self, slots: Sequence[Slot]) -> dict[int, bytes]:
        found = {}
        for slot in slots:
            frame = await self._answer(slot.address, lambda frame: len(frame.data) == 2)
            self.link.on_asked(1)
            try:
                self._told(slot.address, frame)
            except Refused as refusal:
                if refusal.status == _CLOSED:
                    raise
                continue  # this firmware does not have it
            found[slot.address] = frame.data
        self.seen.add(found)
        return found

    def write_command(self, slot: Slot, data: bytes) -> WriteCommand[JBDFrame]:
        self._plain()
        self.check_slot(slot, data)
        return WriteCommand(
            frame=write_request(slot.address, data),
            answer=self._answers(slot.address, (slot.address,), lambda frame: not frame.data),
            what=f"register {slot.address:02X}",
            once=True,
        )

    # -------------------------------------------------------------------------------- switches

    settable: ClassVar[frozenset[Switch]] = frozenset({Switch.BALANCE})

    def can_switch(self, switch: Switch) -> Capability:
        reason = self._only_reads()
        if reason:
            return Capability(False, reason)
        return super().can_switch(switch) if switch in self.settable else Capability(True)

    async def switch_command(self, command: Command) -> WriteCommand[JBDFrame]:
        """Register E1: bit 0 locks charging, bit 1 discharging.

        It is never built from the FETs' state: one that is off because of a protection would
        become a lock. The other lock is kept only where the board says that somebody locked.
        """
        self.require_switch(command.switch)
        basic = (await self.ask(0x03)).values
        self._plain()
        locks = _locks(basic)
        if locks is None:
            raise Refused(
                "A protection is active and a FET is locked: which of the two FETs is off by "
                "command cannot be told now. Try again when the protection has gone."
            )
        return self._lock_command(command, locks)

    async def off_command(
        self, switch: Switch, remembered: Callable[[Switch], bool | None]
    ) -> WriteCommand[JBDFrame]:
        """The same for off, which waits for no protection: where the board does not show how the
        other FET is locked, it stays as our last confirmed command left it, or is locked too."""
        self.require_switch(switch)
        codec = self.make_codec(self.options)  # a reading may be under way
        request = read_request(0x03, self.options.address)
        codec.decode(request, sent=True)
        fits = self._answers(0x03, (0x03, READ), lambda frame: len(frame.data) >= BASIC_MINIMUM)
        told = codec.decode(await self.let_in(lambda: self.link.request(request, fits)))
        self._daren = told.values.get("variant") == DAREN
        self._plain()
        locks = _locks(told.values) if told.role == "reading" else None
        if locks is not None:
            return self._lock_command(Command(switch, False), locks)
        other = Switch.DISCHARGE if switch == Switch.CHARGE else Switch.CHARGE
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
            answer=self._answers(_FETS, (_FETS,), lambda frame: not frame.data),
            what=str(command),
            others={s: not locks & b for s, b in _LOCKS.items() if s != command.switch},
            doubt=doubt,
        )

    async def off_map(self, identity: Identity | None) -> SettingsMap:
        self._plain()
        if self.own_map is not None:
            return self.own_map
        self.switch_map = balance_map(identity or await self.identify())
        return self.switch_map


def _locks(basic: Mapping[str, Any]) -> int | None:
    """Which FETs somebody has locked; `None` where the board does not show it."""
    if not is_set(basic["protection"], _LOCK_BIT):
        return 0
    off = ~int(basic["state"]) & 3
    protected = basic["protection"] & ~(1 << _LOCK_BIT)
    return None if off == 3 and protected else off


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
