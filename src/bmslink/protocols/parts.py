"""What a driver has beside reading, each a part of its own: settings, switches, clock and charge.

A part makes frames and reads; what changes something it sends through `Driver.perform` only. Its
constructor is given what it asks of the board: functions, or the driver behind a protocol class
that names them. Where nothing proves how a board is changed, its driver has `None` in that place,
and `abilities` says why.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime
from types import MappingProxyType
from typing import ClassVar, Generic, TypeVar

from bmslink.errors import FrameError, SettingError
from bmslink.link.link import Frame
from bmslink.model import Adjustment, Capability, Command, Identity, Switch
from bmslink.protocols.common.settings_map import (
    RawSettings,
    SeenSettings,
    SettingsMap,
    Slot,
    WriteCommand,
    check_writable,
)

__all__ = ["ClockSoc", "SettingsAccess", "Switches"]

F = TypeVar("F", bound=Frame)

_READINGS = 3
"""How often two readings of all settings may differ."""


class SettingsAccess(ABC, Generic[F]):
    """Reads the settings of one board, and makes the frames that write them."""

    settle: float = 0.0
    """How long a written value may take to appear in what is read, s."""

    reads_freely: ClassVar[bool] = True
    """Whether they are read without bringing the board into a mode of its own, so that a program
    may look at them now and then though nobody asked for it."""

    def __init__(self) -> None:
        self._conversations = 0
        self.seen: SeenSettings = SeenSettings()
        """Raw settings as they were read from this board."""
        self.own_map: SettingsMap | None = None
        """The map of this board, once it was found."""
        self.switch_map: SettingsMap | None = None
        """That of its switches, where only those were looked for."""
        self.on_asked: Callable[[int], None] = lambda count: None
        """Takes how many more settings were asked for."""

    @abstractmethod
    async def find_map(self, identity: Identity) -> SettingsMap:
        """The map that fits this board and firmware; `SettingError` where there is none."""

    def likely_map(self, identity: Identity) -> SettingsMap | None:
        """The map that would be used, as far as that can be said without asking more."""
        return None

    async def find_switch_map(self, identity: Identity | None) -> SettingsMap:
        """The map of the switches that are settings, for switching off: at most one question,
        where the board was not identified yet. It may be that of all settings."""
        raise SettingError("No switch is a setting here.")

    @asynccontextmanager
    async def session(self, *, writing: bool, waits: bool = True) -> AsyncIterator[None]:
        """What has to surround reading or writing settings. `waits`: for another program that
        does the same with this board at the moment; nothing that switches off does."""
        yield

    @contextmanager
    def conversation(self) -> Iterator[None]:
        """Inside, a session for reading stays open for what is asked next."""
        self._conversations += 1
        try:
            yield
        finally:
            self._conversations -= 1

    @property
    def in_conversation(self) -> bool:
        """Whether a session for reading is to stay open."""
        return self._conversations > 0

    @property
    def in_session(self) -> bool:
        """Whether a session is open, perhaps one that was kept open."""
        return False

    async def leave_session(self) -> None:
        """End the session that is kept open."""

    async def new_line(self) -> None:
        """The line was opened anew: another board may answer, and no session is open."""

    @abstractmethod
    async def fetch(self, slots: Sequence[Slot]) -> dict[int, bytes]:
        """The raw bytes of slots, inside a `session`; what the board does not have is left out."""

    async def fetch_again(self, slots: Sequence[Slot]) -> dict[int, bytes]:
        """The same, asked by other questions: where answers do not name theirs, what one gave
        away wrongly is not given twice."""
        return await self.fetch(slots)

    async def fetch_proven(
        self, settings_map: SettingsMap, calm: Callable[[], Awaitable[None]]
    ) -> RawSettings:
        """What two readings in a row give alike, asked by questions that differ, of a board whose
        answers do not name theirs. `calm` waits until late answers have come. `FrameError` where
        no two agree."""
        first = await self.fetch(settings_map.slots)
        for left in reversed(range(_READINGS)):
            again = await self.fetch_again(settings_map.slots)
            if not settings_map.differing(first, again):
                return again
            await calm()
            if left:
                first = await self.fetch(settings_map.slots)
        raise FrameError(
            f"Two readings of the settings differed {_READINGS} times: the line gives answers to "
            "other questions, or somebody else changes settings. Check the wiring and other "
            "masters, and read again."
        )

    def shipped(self) -> SettingsMap:
        """The table of this board's dialect and firmware that writes are held against."""
        found = self.own_map or self.switch_map
        if found is None:
            raise SettingError("The board was not asked yet which settings it has.")
        return found

    def check_slot(self, slot: Slot, data: bytes) -> None:
        """`SettingError` unless these bytes may be written: see `check_writable`."""
        check_writable(self.shipped(), slot.address, data, self.seen)

    def write_command(self, slot: Slot, data: bytes) -> WriteCommand[F]:
        """The frame that writes a slot; `SettingError` unless it may be written."""
        self.check_slot(slot, data)
        return self._make_write(slot, data)

    @abstractmethod
    def _make_write(self, slot: Slot, data: bytes) -> WriteCommand[F]:
        """The frame, of bytes that were checked."""


class Switches(Generic[F]):
    """The switches of one board, and the commands that set them.

    Where all of them are settings this class is enough; a protocol with commands makes them.
    """

    def __init__(
        self,
        name: str,
        *,
        commands: Iterable[Switch] = (),
        settable: Iterable[Switch] = (),
        missing: Mapping[Switch, str] = MappingProxyType({}),
    ) -> None:
        self.name = name
        """Of the protocol."""
        self.commands: frozenset[Switch] = frozenset(commands)
        """The switches that a command sets."""
        self.settable: frozenset[Switch] = frozenset(settable)
        """The switches that are settings here (`charge_switch`), and no commands."""
        self.missing = missing
        """Why others cannot be set, where more is known than that nothing proves it."""

    def can(self, switch: Switch) -> Capability:
        """Whether a switch can be set by a command of this protocol, and why not."""
        if switch in self.commands:
            return Capability(True)
        if switch in self.settable:
            return Capability(False, f"it is a setting here: {switch.key}")
        unproven = f"nothing proves how {self.name} boards are switched"
        return Capability(False, self.missing.get(switch, unproven))

    def require(self, switch: Switch) -> None:
        """`SettingError` unless a switch can be set by a command."""
        able = self.can(switch)
        if not able.supported:
            raise SettingError(f"{switch} cannot be switched: {able.reason}.")

    async def command(self, command: Command) -> WriteCommand[F]:
        """The frame that sets a switch; may read first. Only where `can` says yes."""
        raise SettingError(self.can(command.switch).reason)

    async def off_command(
        self,
        switch: Switch,
        remembered: Callable[[Switch], bool | None],
        fresh: float = 0.0,
    ) -> WriteCommand[F]:
        """The frame that switches off; at most one question goes before it.

        `remembered` gives how our last confirmed command left a switch, where the frame sets
        another one as well and the board does not show how that is set. What a board showed less
        than `fresh` seconds ago is not asked for again.
        """
        return await self.command(Command(switch, False))


class ClockSoc(ABC, Generic[F]):
    """Sets the clock and the state of charge of one board, or one of them."""

    def __init__(self, name: str, *, takes: Mapping[str, str], missing: Mapping[str, str]) -> None:
        self.name = name
        """Of the protocol."""
        self.takes = takes
        """What of `clock` and `soc` can be set: why only with `--untested`, or empty where
        proven."""
        self.missing = missing
        """Why the others cannot."""

    def can(self, what: str) -> Capability:
        """Whether `clock` or `soc` can be set over this protocol, and why not."""
        unproven = f"nothing proves how {self.name} boards take it"
        why = self.missing.get(what, unproven)
        return Capability(True) if what in self.takes else Capability(False, why)

    @abstractmethod
    async def command(self, wish: Adjustment) -> WriteCommand[F]:
        """The frame that sets clock or charge; may read first. Only where `can` says yes."""

    @abstractmethod
    async def clock(self) -> datetime | None:
        """What the board's clock shows; `None` where it does not say."""
