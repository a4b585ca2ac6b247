"""Asking JBD boards, and changing them: registers, factory mode, FETs.

Settings are closed outside factory mode. It is entered and left around everything that needs it,
and left again whatever happens; a session found open is closed. `docs/protocols/jbd.md`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, ClassVar

from bmslink.errors import LinkTimeout, Refused, SettingError, TransportError
from bmslink.model import Capability, Command, Identity, Switch
from bmslink.protocols.base import Driver, Record
from bmslink.protocols.jbd_framing import READ, JBDFrame, read_request, write_request
from bmslink.protocols.jbd_map import CELL_COUNT, FUNCTION_BITS, NEWER, WRITABLE, jbd_map
from bmslink.protocols.jbd_settings import REGISTERS
from bmslink.protocols.settings import SettingsMap, Slot, Step, allowed

__all__ = ["JBDWriting"]

_log = logging.getLogger(__name__)

_ENTER, _LEAVE = 0x00, 0x01
_KEY, _PLAIN, _COMMIT = b"\x56\x78", b"\x00\x00", b"\x28\x28"
_CLOSED = 0x81
_FETS = 0xE1
_LOCK_BIT = 12  # of the protection word: somebody switched a FET off by command
_BALANCE_BIT = 2


class JBDWriting(Driver[JBDFrame]):
    """Registers and switches of a JBD board."""

    configurable: ClassVar[str] = ""
    not_adjustable: ClassVar[Mapping[str, str]] = {
        "clock": "classic JBD boards tell no clock that could be set",
        "soc": "the board counts it; the factory mode that sets it was never recorded",
    }
    settle: ClassVar[float] = 0.1

    async def ask(
        self, register: int, fits: Callable[[JBDFrame], bool] = lambda frame: True
    ) -> Record:
        """Read one register; `Refused` when the board says no."""
        return self._told(register, await self._answer(register, fits))

    async def _answer(
        self, register: int, fits: Callable[[JBDFrame], bool] = lambda frame: True
    ) -> JBDFrame:
        request = read_request(register, self.options.address)
        self.codec.explain(request, sent=True)
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
        record = self.codec.explain(frame)
        if record.role == "refusal":
            raise Refused(
                f"The board refuses register {register:02X}: {record.values['meaning']} "
                f"(status {record.values['status']:02X}).",
                record.values["status"],
            )
        return record

    # -------------------------------------------------------------------------------- settings

    def likely_map(self, identity: Identity) -> SettingsMap | None:
        return None if self.options.address is not None else jbd_map(identity, {})

    async def settings_map(self, identity: Identity) -> SettingsMap:
        self._plain()
        telling = [Slot(address=r, layout=REGISTERS[r]) for r in (FUNCTION_BITS, CELL_COUNT)]
        async with self.session(writing=False):
            words = await self.fetch(telling)
            try:
                words |= await self.fetch([Slot(address=NEWER[0], layout=REGISTERS[NEWER[0]])])
            except LinkTimeout as error:  # some may say nothing instead of no
                if error.heard != "silence":
                    raise
            return jbd_map(identity, words)

    def _plain(self) -> None:
        if self.options.address is not None:
            raise SettingError("Behind an address JBD boards tell live values only.")

    @asynccontextmanager
    async def session(self, *, writing: bool) -> AsyncIterator[None]:
        self._plain()
        how = _COMMIT if writing else _PLAIN  # as the vendor's tool and its app do
        await self._close_left_open(how)
        try:  # from here on it may be open, whatever came back
            await self.perform(self._mode(_ENTER, _KEY, "factory mode"))
            yield
        except BaseException:
            with suppress(TransportError):
                await _to_its_end(self._leave(how))
            raise
        await _to_its_end(self._leave(how))

    async def _close_left_open(self, how: bytes) -> None:
        """A board that answers for its settings was left in factory mode by somebody."""
        try:
            await self.ask(0x24)
        except Refused:
            return
        except LinkTimeout:  # some say nothing instead of no
            return
        _log.warning("%s: factory mode was left open; it is closed now.", self.link.name)
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

    def _mode(self, register: int, data: bytes, what: str) -> Step[JBDFrame]:
        return Step(
            frame=write_request(register, data),
            answer=self._answers(register, (register,), lambda frame: not frame.data),
            what=what,
        )

    async def fetch(self, slots: Sequence[Slot]) -> dict[int, bytes]:
        found = {}
        for slot in slots:
            frame = await self._answer(slot.address, lambda frame: len(frame.data) == 2)
            try:
                self._told(slot.address, frame)
            except Refused as refusal:
                if refusal.status == _CLOSED:
                    raise
                continue  # this firmware does not have it
            found[slot.address] = frame.data
        return found

    def write_step(self, slot: Slot, data: bytes) -> Step[JBDFrame]:
        self._plain()
        allowed(WRITABLE, slot, data)
        return Step(
            frame=write_request(slot.address, data),
            answer=self._answers(slot.address, (slot.address,), lambda frame: not frame.data),
            what=f"register {slot.address:02X}",
            once=True,
        )

    # -------------------------------------------------------------------------------- switches

    settable: ClassVar[frozenset[Switch]] = frozenset({Switch.BALANCE})

    def can_switch(self, switch: Switch) -> Capability:
        if self.options.address is not None:
            return Capability(False, "behind an address JBD boards tell live values only")
        return super().can_switch(switch) if switch in self.settable else Capability(True)

    async def switch_step(self, command: Command) -> Step[JBDFrame]:
        """Register E1: bit 0 locks charging, bit 1 discharging.

        It is never built from the FETs' state: one that is off because of a protection would
        become a lock. The other lock is kept only where the board says that somebody locked.
        """
        self.require_switch(command.switch)
        basic = (await self.ask(0x03)).values
        locks = 0
        if basic["protection"] >> _LOCK_BIT & 1:
            off = ~basic["state"] & 3
            protected = basic["protection"] & ~(1 << _LOCK_BIT)
            if off == 3 and protected:
                raise Refused(
                    "A protection is active and a FET is locked: which of the two FETs is off by "
                    "command cannot be told now. Try again when the protection has gone."
                )
            locks = off
        bit = 1 if command.switch is Switch.CHARGE else 2
        locks = locks & ~bit if command.on else locks | bit
        return Step(
            frame=write_request(_FETS, bytes((0, locks))),
            answer=self._answers(_FETS, (_FETS,), lambda frame: not frame.data),
            what=f"{command.switch} {'on' if command.on else 'off'}",
        )


async def _to_its_end(work: Coroutine[Any, Any, None]) -> None:
    """Do it to its end, however often somebody cancels meanwhile; then stop as he wished."""
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
