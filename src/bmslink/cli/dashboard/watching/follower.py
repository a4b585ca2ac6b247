"""One pack, read again and again: its link opened anew, its line asked of a service where one owns
it, its board compared with the one from before."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import aclosing, suppress
from datetime import datetime

from bmslink import registry
from bmslink.board import Board
from bmslink.cli.dashboard.model.pack import WatchedPack
from bmslink.cli.dashboard.watching.raw import RawBytes
from bmslink.cli.dashboard.watching.recording import Recorded
from bmslink.cli.dashboard.watching.served import ServedNews
from bmslink.cli.dashboard.watching.shadow import ShadowPolicies
from bmslink.config.identity.known_as import identify_as, pack_of
from bmslink.config.switching.acting import may_run
from bmslink.errors import (
    BmsError,
    LinkClosed,
    LinkTimeout,
    PortBusy,
    PortDenied,
    PortNotFound,
    Refused,
)
from bmslink.link.transport import Endpoint
from bmslink.model import Reading
from bmslink.packs import NamedPack
from bmslink.polling import Trouble, readings
from bmslink.runtime.acting.contained import contained
from bmslink.served_board import ServedBoard

__all__ = ["MakeBoard", "PackFollower"]

MakeBoard = Callable[[Endpoint], Board]
"""The board at a place, not opened yet, asked through a service where one owns it."""
_log = logging.getLogger(__name__)
_HOPELESS = (PortBusy, PortDenied, PortNotFound)
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0
_TICK = 0.05
_OLDEST = 3600.0
"""s that a reading of the service may be old; clocks jump."""
_BETWEEN = 1.0
"""s between two openings of a link that a person is waiting for."""
_LOOK = 3.0
"""s between two looks whether a service wants the line."""
_WHO = 10.0
"""s between two questions who answers, where the link had only been quiet for a while."""


class PackFollower:
    """Keeps one `WatchedPack` up to date."""

    def __init__(
        self, pack: WatchedPack, endpoint: Endpoint, make: MakeBoard, named: NamedPack | None = None
    ) -> None:
        """`named` is what bmslink.toml says of it, where it was asked for by a name."""
        self.pack = pack
        self.named = named
        self.endpoint = endpoint
        self.hopeless: BmsError | None = None
        """Why it cannot begin at all: a port that is missing, forbidden or taken."""
        self.recorded = Recorded(endpoint) if endpoint.scheme == "replay" else None
        self.raw = RawBytes()
        self.policies = ShadowPolicies(pack)
        self.service: ServedNews | None = None
        """What the service that owns the line tells, where one does."""
        self._make = make
        self._board: Board | None = None
        self._wake = asyncio.Event()
        self._due = 0.0
        self._asked_who = 0.0
        self._readings = 0
        self._opened = False
        self._linked = False
        """Whether its link was opened and not lost since."""
        self._hurried = False
        self._held = False
        self._looked = 0.0
        self.changing = False
        """Whether a setting is being changed from here."""
        self.switching: list[str] = []
        """What a person has switched off here and was not answered yet."""

    @property
    def board(self) -> Board | None:
        """The board that is asked now; `None` before the first and between two."""
        return self._board

    @property
    def open(self) -> bool:
        """Whether its link is open, as far as is known."""
        return self._board is not None and self._opened and not self.pack.link_lost

    def opened(self) -> Board:
        """The board, for what a person asks; `LinkClosed` where its link is not open."""
        if self._board is None:
            raise LinkClosed(f"Nothing was sent: the link of {self.pack.name} is not open.")
        return self._board

    def hurry(self) -> None:
        """Something changed for it: the next reading, or opening, is due at once."""
        self._due, self._hurried = 0.0, True
        self._wake.set()

    def reachable(self) -> Board | None:
        """The board, where something may still be sent to it, whatever the screen says."""
        board = self._board
        if board is None or isinstance(board, ServedBoard):
            return board
        with suppress(LinkClosed):
            board.link.alive()
            return board if board.opened else None
        return None

    async def by_a_run(self) -> Board | None:
        """A board through which a `control run` is asked, where one has the line; it is not open
        here."""
        if not await may_run():
            return None
        from bmslink.runtime.acting.mailbox import run_at

        found = await asyncio.to_thread(run_at, self.endpoint)
        return None if found is None else self._make(self.endpoint)

    async def reopened(self, within: float) -> Board | None:
        """The board with a link that was opened anew, tried at once and every second; `None` where
        there is none in so many seconds."""
        loop = asyncio.get_running_loop()
        until, due = loop.time() + within, 0.0
        while (now := loop.time()) < until:
            if now >= due:
                self.hurry()
                due = now + _BETWEEN
            await asyncio.sleep(_TICK)
            if self._linked and (board := self.reachable()) is not None:
                return board
        return None

    def hold(self, held: bool) -> None:
        """A recording stands still while the screen does, and goes on from there."""
        if self.recorded is not None and self._held is not held:
            self._held = held
            if not held:
                self.play()
            self._wake.set()

    def play(self, *, by: float = 0.0, speed: float | None = None) -> None:
        """Go on with a recording so many seconds later or earlier, or at another speed."""
        if self.recorded is not None:
            self.recorded.turn(by=by, speed=speed)
            self.pack.over = False
            if self.pack.recording is not None and speed is not None:
                self.pack.recording = (*self.pack.recording[:2], speed)
            self.hurry()

    async def run(self) -> None:
        """Until cancelled. What goes wrong here is this pack's trouble alone."""
        pause = _FIRST_PAUSE
        while True:
            before = self._readings
            with contained(self._trouble):
                await self._one_board()
            if self.recorded is not None:
                await self._until_turned()
                continue
            pause = _FIRST_PAUSE if self._readings > before + 1 else pause * 2
            await self._pause(min(pause, _LONGEST_PAUSE))

    async def _pause(self, seconds: float) -> None:
        """Before the next board; a person may cut it short."""
        self._wake.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(0 if self._hurried else seconds):
                await self._wake.wait()
        self._due = 0.0

    def _trouble(self, error: BaseException) -> None:
        if isinstance(error, BmsError):
            self._fail(error, lost=True)
            return
        _log.debug("The mistake:", exc_info=error)
        self._fail(BmsError(f"bmslink made a mistake ({error!r}): please report it."), lost=True)

    async def _until_turned(self) -> None:
        """The recording is over, or cannot be played: until a person turns it back."""
        if self.recorded is None or self.recorded.turned:
            return
        self.pack.end(_clock())
        while not self.recorded.turned:
            self._wake.clear()
            await self._wake.wait()

    async def _one_board(self) -> None:
        """Follow one board object until the place is another's, or a recording ends or turns."""
        endpoint = self.endpoint if self.recorded is None else self.recorded.endpoint()
        board = self._board = self._make(endpoint)
        news = ServedNews(board, self.pack) if isinstance(board, ServedBoard) else None
        self.service = news
        self._through(news)
        items = readings(board, interval=0.0, greet=self._greet, patient=True, sleep=self._sleep)
        try:
            async with aclosing(items) as coming:
                async for item in coming:
                    if isinstance(item, Trouble):
                        self._linked = self._linked and not item.lost
                        self._fail(item.error, lost=item.lost)
                        if item.lost and self._moved(board):
                            return
                    else:
                        await self._take(board, item)
                        if self._gives_way(board):
                            return
                    if news is not None:
                        await news.look()
                    if self.recorded is not None and self.recorded.turned:
                        return
        finally:
            self._opened, self._linked, self._board = False, False, None
            with suppress(BmsError, OSError):
                await board.close()

    def _moved(self, board: Board) -> bool:
        """Whether a service has the line now, or has it no more."""
        with suppress(BmsError):
            return (registry.find(self.endpoint) is not None) is not isinstance(board, ServedBoard)
        return False

    def _gives_way(self, board: Board) -> bool:
        """Whether a service wants the line that is open here: it protects the pack, and gives the
        values to all. Nothing that a person does is cut off for it."""
        now = asyncio.get_running_loop().time()
        busy = self.changing or self.switching or isinstance(board, ServedBoard)
        if busy or self.recorded is not None or now - self._looked < _LOOK:
            return False
        self._looked = now
        return self._moved(board)

    def _through(self, news: ServedNews | None) -> None:
        """Who is asked from now on; said where that changed."""
        pack, was = self.pack, self.pack.through
        pack.through, pack.beat = "" if news is None else news.through, 0.0
        if self._readings and was != pack.through:
            how = f"through {pack.through}" if pack.through else "directly: no service has it now"
            pack.tell("service", f"It is read {how}.", _clock())
            self.policies.begin_anew()

    async def _sleep(self, wait: float) -> None:
        """Until the next reading is due: sooner where a person hurries, and not while a recording
        is held."""
        loop = asyncio.get_running_loop()
        begun = loop.time()
        while True:
            now = loop.time()
            left = max(self._due, begun + wait) - now
            if self._hurried and not self._held:
                break
            if self.recorded is not None and self.recorded.turned:
                break
            if left <= 0 and not self._held:
                break
            self._wake.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(None if self._held else left):
                    await self._wake.wait()
        self._hurried = False
        self._due = max(self._due, loop.time() - self.pack.interval) + self.pack.interval

    async def _greet(self, board: Board) -> None:
        self._opened, self._linked, self.hopeless = True, True, None
        self.raw.follow(board)
        if self.recorded is None:  # a recording holds what was asked then; more would skip answers
            await self._who(board)

    async def _who(self, board: Board) -> None:
        """Ask who answers, and compare with who answered before."""
        self._asked_who = asyncio.get_running_loop().time()
        known = self.pack.identity
        with suppress(LinkTimeout, Refused):  # the readings are what matters here
            if known is None:
                identity, differs = await board.identify(), ""
            else:
                identity, differs = await identify_as(board, pack_of(known))
            self.pack.meet(identity, differs, _clock())
            if differs:
                self.policies.forget()

    async def _take(self, board: Board, reading: Reading) -> None:
        now = asyncio.get_running_loop().time()
        doubtful = self.recorded is None and not isinstance(board, ServedBoard)
        doubtful = doubtful and self.pack.identity is not None and now - self._asked_who > _WHO
        if doubtful and not board.certain:
            await self._who(board)
        self.hopeless = None
        self._readings += 1
        clock = _clock()
        old = 0.0
        if isinstance(board, ServedBoard) and reading.time is not None:  # it may be of before
            old = max(0.0, min((clock - reading.time).total_seconds(), _OLDEST))
        self.pack.take(reading, now, clock, old)
        self.pack.link = _counters(board) or self.pack.link
        if self.recorded is not None:
            self.pack.recording = self.recorded.look(board)
        self.policies.judge(reading, now)

    def _fail(self, error: BmsError, *, lost: bool) -> None:
        now = asyncio.get_running_loop().time()
        never = not self._readings and not self._opened
        if never and (isinstance(error, _HOPELESS) or self.recorded is not None):
            self.hopeless = error
        self.pack.fail(str(error), now, _clock(), lost=lost)
        if self._board is not None:
            self.pack.link = _counters(self._board) or self.pack.link


def _counters(board: Board) -> dict[str, int | float | None]:
    from bmslink.runtime.health import link_counters

    return {} if isinstance(board, ServedBoard) else link_counters(board)


def _clock() -> datetime:
    return datetime.now().astimezone()
