"""A pack's line for others: lent, byte for byte, to a vendor's tool; given up, so that a phone can
connect.

Meanwhile nothing is polled, and policies get no reading: to them the pack is blind, never good. The
line comes back by itself when its time is over, and a lent one at once when something is switched
off. Then the settings are compared with what they were before.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from bmslink.board import Board
from bmslink.config.records.cut_off import settings_where_any
from bmslink.errors import (
    BmsError,
    FrameError,
    LinkClosed,
    LinkTimeout,
    PortBusy,
    Refused,
    SettingError,
    TransportError,
    UsageError,
)
from bmslink.model import Switch
from bmslink.protocols.common.settings_map import SettingsSnapshot
from bmslink.runtime.pack_task import ServedPack
from bmslink.settings.setting import Value
from bmslink.storage.journal import Journal, JournalError

__all__ = ["LONGEST", "REASONS", "Drift", "Lending", "Release", "drift_between"]

LONGEST = 86400.0
"""s that a line may be away."""
_TICK = 0.5  # s between two looks whether the line is still there
_MOST_BYTES = 1 << 20  # that wait for a guest who does not read
_SIGN = 5.0  # s
_REOPENINGS, _BETWEEN = 3, 2.0  # s


@dataclass(frozen=True, slots=True)
class Drift:
    """A setting that is not as it was before somebody else had the line."""

    key: str
    title: str
    unit: str
    before: Value | None
    after: Value | None

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {name: getattr(self, name) for name in self.__slots__}


def drift_between(
    before: SettingsSnapshot | None, after: SettingsSnapshot | None
) -> list[Drift] | None:
    """What differs between two readings of a board's settings, live ones aside; `None`: one of
    them cannot be read, so nobody knows."""
    if before is None or after is None or before.map.name != after.map.name:
        return None
    old, new = before.values(), after.values()
    slots = set(after.map.differing(before.image, after.image))
    return [
        Drift(row.key, row.title, row.unit, old.get(row.key), new[row.key])
        for row in after.map.settings
        if row.slot in slots and not row.live and old.get(row.key) != new[row.key]
    ]


def _switched_off(before: SettingsSnapshot, after: SettingsSnapshot) -> SettingsSnapshot:
    """As it was before, with the switches off that are off now: where an off ended the lending,
    that was ours."""
    now, rows = after.values(), before.map.by_key
    off = [s.key for s in Switch if now.get(s.key) is False and s.key in rows]
    wish = {key: False for key in off if rows[key].slot in before.image}
    return replace(before, image={**before.image, **before.map.encode(before.image, wish)})


def _rows(drift: list[Drift] | None) -> list[dict[str, Any]] | None:
    """For JSON."""
    return None if drift is None else [each.to_dict() for each in drift]


REASONS = {
    "time": "its time is over",
    "off": "something was switched off",
    "lost": "the line was lost",
    "not read": "nobody took what came",
}
"""Why a line came back, in words; others are words already."""


class _Away:
    """A line that somebody else has: how long, and what is found afterwards."""

    def __init__(self, pack: ServedPack, seconds: float, whom: str) -> None:
        if not 0 < seconds <= LONGEST:
            raise UsageError(f"A line is given away for up to 24 h, not for {seconds:g} s.")
        self.pack = pack
        self.key = secrets.token_hex(8)
        self.whom = whom
        self.reason = ""
        """Why it came back: `time`, `given back`, `off`, `lost`, `stopped`."""
        self._seconds = seconds
        self._over = asyncio.Event()
        self._begin()

    def _begin(self) -> None:
        """The time begins to run when the line is handed over."""
        self.until = datetime.now(UTC) + timedelta(seconds=self._seconds)

    def end(self, reason: str) -> None:
        """Have it back; the first reason counts."""
        self.reason = self.reason or reason
        self._over.set()

    async def _watch_for_off(self) -> None:
        await self.pack.off_asked.wait()
        self.end("off")

    async def _stay_away(self, alive: Callable[[], None]) -> None:
        """Until it is over; `alive` raises `LinkClosed` where the line is gone."""
        loop = asyncio.get_running_loop()
        due = loop.time() + self._seconds
        while not self._over.is_set():
            if (left := due - loop.time()) <= 0:
                self.end("time")
                break
            with suppress(TimeoutError):
                async with asyncio.timeout(min(_TICK, left)):
                    await self._over.wait()
            try:
                alive()
            except LinkClosed:
                self.end("lost")

    async def _compare(self, board: Board, before: SettingsSnapshot | None) -> list[Drift] | None:
        """What changed meanwhile, as far as the board answers; told as an event. `None`: nobody
        knows."""
        after = None
        try:
            await self._greet(board)
            after = await settings_where_any(board, await board.identify())
        except LinkClosed:
            raise
        except BmsError as error:
            self.pack.tell(
                "drift_unknown",
                f"Whether its settings changed meanwhile is not known: {error}",
                alarm=True,
            )
        if before is not None and after is not None and self.reason == "off":
            before = _switched_off(before, after)
        found = drift_between(before, after)
        if found is None:
            sentence = "Its settings cannot be read, so whether they changed is not known."
        elif found:
            told = ", ".join(f"{d.key} {d.before} -> {d.after} {d.unit}".rstrip() for d in found)
            sentence = f"Its settings changed meanwhile: {told}."
        else:
            sentence = "Its settings are as before."
        if after is not None:
            self.pack.known.settings = after  # that they changed is told here
        self.pack.tell(
            "returned",
            f"Its line is back ({REASONS.get(self.reason, self.reason)}). {sentence}",
            alarm=bool(found),
            reason=self.reason,
            drift=_rows(found),
        )
        with suppress(JournalError):
            await asyncio.to_thread(
                Journal().append,
                "service",
                what="returned",
                pack=self.pack.name,
                reason=self.reason,
                drift=_rows(found),
            )
        return found

    async def _greet(self, board: Board) -> None:
        """Speak to the board again as after opening its link."""


class Lending(_Away):
    """The line of a pack, lent byte for byte."""

    def __init__(self, pack: ServedPack, seconds: float, whom: str) -> None:
        super().__init__(pack, seconds, whom)
        self._write: Callable[[bytes], Awaitable[None]] | None = None
        self._out: asyncio.Queue[bytes] = asyncio.Queue()
        self._waiting = 0

    @property
    def sentence(self) -> str:
        """Why nothing can be asked of the pack now."""
        return (
            f"The line of {self.pack.name} is lent to {self.whom} until {self.until:%H:%M:%S} UTC. "
            f"`bmslink service lend {self.pack.name} --end` gives it back."
        )

    async def send(self, data: bytes) -> None:
        """Bytes from the guest. Raises `PortBusy` when the line is not the guest's."""
        if self._write is None or self._over.is_set():
            raise PortBusy(f"The line of {self.pack.name} is no longer lent ({self.reason}).")
        await self._write(data)

    def _take(self, data: bytes) -> None:
        self._waiting += len(data)
        if self._waiting > _MOST_BYTES:
            self.end("not read")
        else:
            self._out.put_nowait(data)

    async def lines(self) -> AsyncGenerator[dict[str, Any], None]:
        """What the guest is told: when it begins, what comes, and how it ended. To stop reading
        gives the line back."""
        begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(self._have_away(begun))
        task.add_done_callback(_heard)
        try:
            yield {"taken": True}
            either: set[asyncio.Future[Any]] = {begun, task}
            while not (begun.done() or task.done()):
                await asyncio.wait(either, timeout=_SIGN, return_when=asyncio.FIRST_COMPLETED)
                yield {"alive": True}
            if begun.done():
                yield {"begun": self.key, "until": self.until.isoformat()}
            while not task.done():
                data = asyncio.ensure_future(self._out.get())
                await asyncio.wait({data, task}, timeout=_SIGN, return_when=asyncio.FIRST_COMPLETED)
                if data.done():
                    self._waiting -= len(data.result())
                    yield {"rx": data.result().hex()}
                    continue
                data.cancel()
                yield {"alive": True}
            drift = await task
            yield {"done": {"reason": self.reason, "drift": _rows(drift)}}
        finally:
            self.end("given back")

    async def _have_away(self, begun: asyncio.Future[None]) -> list[Drift] | None:
        pack = self.pack
        before = await self._before()
        self._begin()
        async with pack.aside("lent", self.sentence) as board:
            tap = board.tap
            if tap is None:
                raise SettingError(f"The line of {pack.name} cannot be lent.")
            watch = asyncio.create_task(self._watch_for_off())
            try:
                async with board.link.exclusive():
                    with tap.lent(self._take):
                        self._write = board.link.transport.write
                        begun.set_result(None)
                        await self._stay_away(board.link.alive)
            finally:
                watch.cancel()
                self._write = None
                board.link.continuity.pauses += 1  # another board may be there by now
            if self.reason == "lost":
                raise LinkClosed(
                    f"The line of {pack.name} was lost while it was lent: whether its settings "
                    "changed meanwhile is not known."
                )
            await pack.turns.offs_done()  # nothing of ours goes between its question and its frame
            return await self._compare(board, before)

    async def _greet(self, board: Board) -> None:
        with board.guarding():
            if board.driver.settings is not None:
                await board.driver.settings.new_line()
            await board.driver.start()

    async def _before(self) -> SettingsSnapshot | None:
        """The settings as the board holds them; of one that does not answer, as they were read
        last, if ever."""
        pack = self.pack
        if pack.health.state == "ok":
            with suppress(LinkTimeout, FrameError, Refused):
                async with pack.turn("its settings are read before its line is lent") as board:
                    return await settings_where_any(board, await board.who())
        return pack.known.settings


class Release(_Away):
    """The Bluetooth link of a pack, given up for a while."""

    @property
    def sentence(self) -> str:
        """Why nothing can be asked of the pack now."""
        return (
            f"The Bluetooth link of {self.pack.name} is given up until {self.until:%H:%M:%S} UTC, "
            "and the phone holds it: use the phone's app, or close it and run `bmslink service "
            f"release {self.pack.name} --end`."
        )

    async def run(self, begun: asyncio.Future[None]) -> None:
        """Give it up, and have it back when it is over."""
        pack = self.pack
        if pack.board.target.scheme != "ble":
            raise UsageError(
                f"{pack.name} is not connected over Bluetooth; `bmslink service lend` hands its "
                "line to another program."
            )
        async with pack.turn() as board:
            before = await settings_where_any(board, await board.who())
        self._begin()
        async with pack.aside("released", self.sentence) as board:
            begun.set_result(None)
            await self._stay_away(lambda: None)
            with suppress(BmsError):
                await self._reopen(board)
                await self._compare(board, before)

    async def _reopen(self, board: Board) -> None:
        """The phone may still hold it for a moment; later the pack's own task tries on."""
        for left in reversed(range(_REOPENINGS)):
            try:
                await board.reopen()
            except TransportError:
                if not left:
                    raise
                await asyncio.sleep(_BETWEEN)
            else:
                return


def _heard(task: asyncio.Task[Any]) -> None:
    """Whoever asked may have gone before it ended."""
    if not task.cancelled():
        task.exception()
