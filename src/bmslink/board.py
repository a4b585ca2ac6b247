"""One pack behind one link, as config and control see it: identity, readings, raw settings, frames.

What programs import is `bmslink.device.Device`, which has one of these.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, cast, runtime_checkable

from bmslink.arguments import checked
from bmslink.connection import Connection
from bmslink.errors import (
    BmsError,
    FrameError,
    LinkTimeout,
    Refused,
    SettingError,
    TransportError,
    UsageError,
    VerifyError,
)
from bmslink.model import Adjustment, Command, Identity, Reading, Switch
from bmslink.named_banks import JoinGate
from bmslink.past import BoardPast, so_many
from bmslink.protocols.abilities import abilities, settings_of, to_adjust, to_switch
from bmslink.protocols.common.settings_map import (
    SettingsMap,
    SettingsSnapshot,
    Slot,
    WriteCommand,
)
from bmslink.storage.journal import Transaction
from bmslink.switched_off import switches_on

__all__ = ["Board", "DeviceLike", "board_of", "on_board"]

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S", Reading, BoardPast)

_TRIES = 3
"""How often a value is read back before it counts as not stored."""
_LATER = 1.0
"""How far apart a value is read back that did not show at once, s."""


class Board(Connection):
    """A pack. Use it as an async context manager.

    `target` is the endpoint as resolved. Where that leaves the protocol open, opening finds it by
    questions that only read; from then on `target` names it, and there are `link` and `driver`.
    """

    async def identify(self) -> Identity:
        """Who the pack is, by reading only. Raises `LinkTimeout`, `Refused`, …"""
        async with self._turn:
            with self.guarding():
                identity = await self.driver.identify()
            self.known: Identity | None = identity
            self._breaks = self.link.breaks
        return self._able(identity)

    joins: JoinGate | None = None
    """Whether its switches may close beside the other packs of its bank; `None`: nobody says."""
    bank = ""  # of packs in parallel, as what acts on the board has looked it up

    _breaks = -1
    """Those of the link when it was last asked who answers."""

    @property
    def certain(self) -> bool:
        """Whether the board that said last who it is must be the one that answers now. Another may
        have taken its place where the link was opened again, or nothing was heard for a while."""
        return self.known is not None and self.link.breaks == self._breaks

    async def who(self) -> Identity:
        """Who the pack is, asked only where it is not `certain`."""
        if self.known is not None and self.certain:
            return self._able(self.known)
        return await self.identify()

    async def inspect(self) -> Identity:
        """Who the pack is, after asking it which settings it has, as every settings command does;
        `identify` alone may say what boards of its kind can do."""
        identity = await self.identify()
        if self.driver.settings is None:
            return identity
        try:
            await self.settings_map(identity)
        except (SettingError, Refused, LinkTimeout, FrameError) as error:
            self._no_map = self._no_map or str(error).rstrip(".")
        return self._able(identity)

    def _able(self, identity: Identity) -> Identity:
        """The identity with what this board can do, as far as that is known by now."""
        part = self.driver.settings
        known = self._map or (None if part is None else part.likely_map(identity))
        told = {} if known is None else {"name": known.name, "evidence": known.evidence}
        able = abilities(self.driver, identity, known, self._no_map)
        return replace(identity, capabilities=able, map=told)

    async def read(self) -> Reading:
        """One complete reading. Raises `LinkTimeout`, `LinkClosed`, `Refused`, `FrameError`."""
        async with self._turn:
            with self.guarding():
                return self._from_here(await self.driver.read())

    async def past(self, limit: int = 100, *, brief: bool = False) -> BoardPast:
        """What it remembers; `brief`: nothing that keeps the line for more than some seconds."""
        async with self._turn:
            with self.guarding():
                return self._from_here(await self.driver.past(so_many(limit), brief=brief))

    def _from_here(self, found: S) -> S:
        target, name, time = str(self.target), self.target.name or None, self.link.received_at
        return replace(found, target=target, name=name, time=time)

    # -------------------------------------------------------------------------------- settings

    @checked()
    async def settings_map(self, identity: Identity) -> SettingsMap:
        """The settings that this board has; `SettingError` where none are known."""
        async with self._turn:
            try:
                with self.guarding():
                    self._map = await settings_of(self.driver).find_map(identity)
            except SettingError as error:
                self._map, self._no_map = None, str(error).rstrip(".")
                raise
        self._no_map = ""
        return self._map

    @checked()
    async def settings(self, settings_map: SettingsMap | None = None) -> SettingsSnapshot:
        """All settings as the board holds them now.

        Where an answer does not name its question, all are read twice by questions that differ;
        `FrameError` if they do not agree.
        """
        found = settings_map or await self.settings_map(await self.identify())
        async with self._turn:
            with self.guarding():
                part = settings_of(self.driver)
                async with part.session(writing=False):
                    twice = self.driver.timing.anonymous
                    with self.stage("reading", len(found.slots) * (2 if twice else 1)):
                        if twice:
                            calm = partial(self.link.calm, 2 * self.link.timing.timeout)
                            image = await part.fetch_proven(found, calm)
                        else:
                            image = await part.fetch(found.slots)
                    return SettingsSnapshot(map=found, image=image)

    @checked()
    async def glance(self, settings_map: SettingsMap, *, again: bool = False) -> SettingsSnapshot:
        """All settings as one reading gives them; `again`: by other questions where answers do not
        name theirs. Two that agree are a proof."""
        image = await self.glance_at(settings_map.slots, again=again)
        return SettingsSnapshot(map=settings_map, image=image)

    async def glance_at(self, slots: Sequence[Slot], *, again: bool = False) -> dict[int, bytes]:
        """The raw bytes of some settings as one reading gives them; `again` as in `glance`."""
        async with self._turn:
            with self.guarding():
                async with (part := settings_of(self.driver)).session(writing=False):
                    return await (part.fetch_again if again else part.fetch)(slots)

    @asynccontextmanager
    async def conversation(self) -> AsyncIterator[None]:
        """What is opened to read settings (JBD's factory mode) stays open between the calls
        inside, until something is written or `leave_session` closes it: not to be held while a
        person is asked, or while time passes."""
        part = self.driver.settings
        if part is None:
            yield
            return
        try:
            with part.conversation():
                yield
        finally:
            if not part.in_conversation:
                await self.leave_session()

    async def leave_session(self) -> None:
        """Close what a `conversation` keeps open."""
        part = self.driver.settings
        if part is not None and part.in_session:
            async with self._turn:
                with self.guarding():
                    await part.leave_session()

    @asynccontextmanager
    async def writing(self, *, waits: bool = True) -> AsyncIterator[None]:
        """What has to surround `store`; nothing else may be asked of the device inside.
        `waits`: for another program that reads the settings at the moment."""
        async with self._turn:
            with self.guarding():
                async with settings_of(self.driver).session(writing=True, waits=waits):
                    yield

    @checked()
    async def fetch(self, slots: Sequence[Slot]) -> dict[int, bytes]:
        """Raw bytes of slots, inside `writing`."""
        with self.guarding():
            return await settings_of(self.driver).fetch(slots)

    @checked()
    async def store(
        self,
        settings_map: SettingsMap,
        slot: Slot,
        data: bytes,
        transaction: Transaction,
        patience: float = 0.0,
    ) -> float:
        """Write one slot, inside `writing`, and read it back until it shows.

        Gives back how long that took, s. It is looked for three times, and for `patience`
        seconds where that is longer: what a board shows may lag behind what it holds.
        The transaction knows of it before the device does. An acknowledgement proves nothing, and
        neither does a missing one. Raises `VerifyError` if something else is read afterwards
        (the error's `found` says what), `Refused`, `LinkTimeout`, …
        """
        part = settings_of(self.driver)
        with self.guarding():
            step = part.write_command(slot, data)
        step = self._giving_way(step, switches_on(settings_map, slot.address, data))
        await transaction.noted("write", slot=slot.address, new=data.hex())
        loop = asyncio.get_running_loop()
        lost: LinkTimeout | None = None
        try:
            heard = await self._transmit(step) or step.answer is None
        except LinkTimeout as error:
            heard, lost = False, error
        if not heard:  # the frame may be lost: the caller decides about another try
            patience = 0.0
        sent, looks, pause = loop.time(), 0, part.settle
        found: bytes | None = None
        while looks < _TRIES or loop.time() - sent < patience:
            await asyncio.sleep(pause)
            found = (await self.fetch([slot])).get(slot.address)
            if settings_map.same(slot.address, found, data):
                await transaction.told("stored", slot=slot.address, found=data.hex())
                return loop.time() - sent
            looks += 1
            if looks >= _TRIES:
                pause = _LATER
        shown = None if found is None else found.hex()
        await transaction.told("differs", slot=slot.address, new=data.hex(), found=shown)
        if not heard:
            raise lost or LinkTimeout(f"Nothing acknowledged setting {slot.address:02X}.")
        raise VerifyError(
            f"Setting {slot.address:02X} was written as {data.hex(' ')} and acknowledged, but "
            f"{'nothing' if found is None else found.hex(' ')} is read back.",
            found,
        )

    @checked()
    async def rehearse(
        self,
        writes: Sequence[tuple[Slot, bytes]],
        *,
        command: Command | None = None,
        adjustment: Adjustment | None = None,
        numbers: dict[int, int] | None = None,
    ) -> list[bytes]:
        """Every frame that writing these slots (or this command) would send, byte for byte.

        None of them is sent; what has to be read for them is. `numbers` takes for each slot the
        number of the frame that writes it, from 1.
        """
        async with self.rehearsing() as held:
            if command is not None:
                switches = to_switch(self.driver, command.switch)
                await self.driver.perform(await switches.command(command))
            elif adjustment is not None:
                clock_soc = to_adjust(self.driver, adjustment)
                await self.driver.perform(await clock_soc.command(adjustment))
            else:
                part = settings_of(self.driver)
                async with part.session(writing=True):
                    for slot, data in writes:
                        await self.driver.perform(part.write_command(slot, data))
                        if numbers is not None:
                            numbers[slot.address] = len(held)
        return held

    @asynccontextmanager
    async def rehearsing(self) -> AsyncIterator[list[bytes]]:
        """What is done inside sends its questions, and its changes are kept in the list."""
        async with self._turn:
            with self.driver.collecting() as held, self.guarding():
                yield held

    @checked()
    async def send(self, command: Command, transaction: Transaction) -> None:
        """Set a switch. An acknowledgement proves nothing: read afterwards what it did.

        Raises `SettingError` where the protocol cannot, `Refused`, `LinkTimeout`, …
        """
        part = to_switch(self.driver, command.switch)

        async def make() -> WriteCommand[Any]:
            step = await part.command(command)
            await transaction.noted(
                "switch",
                switch=str(command.switch),
                on=command.on,
                others={str(other): on for other, on in step.others.items()},
            )
            switched = {command.switch: command.on, **step.others}
            return self._giving_way(step, [switch for switch, on in switched.items() if on])

        await self.order(make)

    def _giving_way(self, step: WriteCommand[Any], on: Sequence[Switch]) -> WriteCommand[Any]:
        """The step, which does not leave where one of these was switched off meanwhile."""
        return replace(step, leaving=partial(self.offs.require_none, on)) if on else step

    async def order(self, make: Callable[[], Awaitable[WriteCommand[Any]]]) -> bool:
        """Send once what `make` gives, which may ask before; whether it was acknowledged."""
        async with self._turn:
            with self.guarding():
                step = await make()
            return await self._transmit(replace(step, once=True))

    async def _transmit(self, step: WriteCommand[Any]) -> bool:
        """Send it; whether it was acknowledged. After that a mistake of ours is as good as no
        answer: only reading tells."""
        try:
            with self.guarding():
                return await self.driver.perform(step)
        except (Refused, TransportError, FrameError):
            raise
        except BmsError as error:
            raise LinkTimeout(str(error), "other") from error

    @checked()
    async def adjust(self, wish: Adjustment, transaction: Transaction) -> None:
        """Set the clock or the state of charge, once. Read afterwards what it did.

        Raises `SettingError` where the protocol cannot, `Refused`, `LinkTimeout`, …
        """
        part = to_adjust(self.driver, wish)

        async def make() -> WriteCommand[Any]:
            step = await part.command(wish)
            await transaction.noted("adjust", clock=str(wish.clock or ""), soc=wish.soc)
            return step

        await self.order(make)

    async def clock(self) -> datetime | None:
        """What the board's clock shows; `None` where it does not say."""
        part = self.driver.clock_soc
        async with self._turn:
            with self.guarding():
                self.link.alive()  # not every driver asks the board
                return None if part is None else await part.clock()


@runtime_checkable
class DeviceLike(Protocol):
    """What stands on a board: `bmslink.Device`."""

    @property
    def board(self) -> Board:
        """The board."""


def board_of(device: Board | DeviceLike) -> Board:
    """The board that a device of a program is built on, or the board itself."""
    board = device if isinstance(device, Board) else getattr(device, "board", None)
    if not isinstance(board, Board):
        raise UsageError(f"The first argument must be a Device, not {type(device).__name__}.")
    return board


def on_board(
    function: Callable[Concatenate[Board, P], R],
) -> Callable[Concatenate[Board | DeviceLike, P], R]:
    """The same for a device of a program. With a board whose line another process owns it is done
    there: this is the one road that all functions of `config` take."""

    @functools.wraps(function)
    def call(device: Board | DeviceLike, /, *args: P.args, **kwargs: P.kwargs) -> R:
        board = board_of(device)
        there = board.elsewhere(function.__name__)
        if there is not None:
            return cast(R, there(*args, **kwargs))
        return function(board, *args, **kwargs)

    return call
