"""Several packs on one line: `?address=1` and `?address=2` of the same port, in one process.

The first that opens brings the transport, the others join it, the last that leaves closes it. They
take turns: nobody asks while another waits for an answer, and each keeps its quiet time after
the last byte of any. Each has its own framer and codec, so they may speak different
protocols, but only at one speed.

What the line brings goes to whose turn it is (in between: whose turn it was), and to those who
listen: who has not asked yet, or has asked a device that streams by itself. So a recording holds
the answers to its own requests and not those to the others'. A lost line is lost for all; the
first that opens again brings it back.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from weakref import WeakKeyDictionary

from bmslink.errors import LinkClosed, TargetError
from bmslink.link.gatt import SeenDevice
from bmslink.link.transport import Line, OnData, OnLost, Transport
from bmslink.link.turns import Turns

__all__ = ["SharedTransport", "shared"]

_NEVER = float("-inf")


def shared(transport: Transport) -> Transport:
    """The same transport, joined with all that use its line in this process and event loop."""
    return transport if transport.line() is None else SharedTransport(transport)


class _SharedLine:
    """One line, open as long as somebody uses it."""

    def __init__(self, line: Line) -> None:
        self.line = line
        self.users: list[SharedTransport] = []
        self.turns = Turns()
        self.speaker: SharedTransport | None = None
        """Whose turn it is, or was."""
        self.latest = _NEVER
        """When the latest byte went either way."""
        self._transport: Transport | None = None
        self._gate = asyncio.Lock()
        self._joining = 0

    @property
    def wanted(self) -> bool:
        """Whether somebody uses it or is about to."""
        return bool(self.users or self._joining)

    @property
    def gone(self) -> bool:
        """Whether nothing of it is left, not even the closing."""
        return not self.wanted and self._transport is None and not self._gate.locked()

    async def join(self, user: SharedTransport) -> None:
        self._joining += 1
        try:
            async with self._gate:
                self.users.append(user)
                if self._transport is None:
                    self._transport = user.own
                    await self._open(user)
        finally:
            self._joining -= 1

    async def _open(self, user: SharedTransport) -> None:
        try:
            await user.own.open(self._deliver, partial(self._lose, user))
        except BaseException:
            self._transport = None
            if user in self.users:
                self.users.remove(user)
            raise

    async def leave(self, user: SharedTransport) -> None:
        if user in self.users:  # otherwise the line was lost, and all were informed
            self.users.remove(user)
        if self.speaker is user:
            self.speaker = None
        async with self._gate:
            if not self.wanted and self._transport is not None:
                transport, self._transport = self._transport, None
                await transport.close()

    def _deliver(self, data: bytes) -> None:
        self.latest = asyncio.get_running_loop().time()
        for user in tuple(self.users):
            if user is self.speaker or user.listens:
                user.hear(data)

    def _lose(self, owner: SharedTransport, error: Exception | None) -> None:
        self._transport = None
        owner.dead = True
        users, self.users = self.users, []
        for user in users:
            user.lose(error)

    def peer(self) -> SeenDevice | None:
        return None if self._transport is None else self._transport.peer()

    def reached(self) -> str:
        return "" if self._transport is None else self._transport.reached()

    async def write(self, user: SharedTransport, data: bytes) -> None:
        if self._transport is None or user not in self.users:
            raise LinkClosed(f"{self.line.name} is not open.")
        await self._transport.write(data)
        self.latest = asyncio.get_running_loop().time()


_LINES: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, _SharedLine]] = WeakKeyDictionary()


def _lines() -> dict[str, _SharedLine]:
    """The lines of this event loop; what nobody uses any more is forgotten."""
    lines = _LINES.setdefault(asyncio.get_running_loop(), {})
    for name in [name for name, line in lines.items() if line.gone]:
        del lines[name]
    return lines


def _find(line: Line) -> _SharedLine:
    lines = _lines()
    found = lines.setdefault(line.name, _SharedLine(line))
    if found.line != line and found.wanted:
        raise TargetError(
            f"{line.name} is open here with {found.line.settings} and cannot have "
            f"{line.settings} at the same time; give all targets on it the same."
        )
    found.line = line
    return found


class SharedTransport(Transport):
    """One user's share of a line; `own` is the transport that opens it if nobody has yet."""

    def __init__(self, own: Transport) -> None:
        self.own = own
        self.streaming_clock = own.streaming_clock
        self.listens = True
        """Hears what comes outside of its turns too."""
        self.dead = False
        """`own` carried the line until that was lost, and is not yet closed."""
        self._shared: _SharedLine | None = None
        self._on_data: OnData | None = None
        self._on_lost: OnLost | None = None

    def line(self) -> Line | None:
        return self.own.line()

    def peer(self) -> SeenDevice | None:
        return None if self._shared is None else self._shared.peer()

    def reached(self) -> str:
        return "" if self._shared is None else self._shared.reached()

    async def open(self, on_data: OnData, on_lost: OnLost) -> None:
        await self.close()
        line = self.own.line()
        if line is None:
            raise LinkClosed("The line is gone.")
        self._shared = _find(line)
        self.listens = True
        self._on_data, self._on_lost = on_data, on_lost
        try:
            await self._shared.join(self)
        except BaseException:
            self._shared = self._on_data = self._on_lost = None
            raise

    async def close(self) -> None:
        self._on_data = self._on_lost = None
        found, self._shared = self._shared, None
        if found is not None:
            await found.leave(self)
            _lines()
        if self.dead:
            self.dead = False
            await self.own.close()

    async def write(self, data: bytes) -> None:
        if self._shared is None:
            raise LinkClosed("The line is not open.")
        await self._shared.write(self, data)

    def turn(
        self, *, listens: bool = False, urgent: bool = False, again: bool = False
    ) -> AbstractAsyncContextManager[float]:
        return self._turn(listens=listens, urgent=urgent, again=again)

    def outranked(self) -> bool:
        return self._shared is not None and self._shared.turns.outranked()

    def companions(self) -> int:
        return 0 if self._shared is None else max(0, len(self._shared.users) - 1)

    @asynccontextmanager
    async def _turn(self, *, listens: bool, urgent: bool, again: bool) -> AsyncIterator[float]:
        found = self._shared
        if found is None:
            yield _NEVER
            return
        self.listens = listens
        async with found.turns.taken(urgent=urgent, again=again):
            found.speaker = self
            yield found.latest

    def hear(self, data: bytes) -> None:
        """Bytes for this user."""
        if self._on_data is not None:
            self._on_data(data)

    def lose(self, error: Exception | None) -> None:
        """The line is gone, for this user too."""
        if self._on_lost is not None:
            self._on_lost(error)
