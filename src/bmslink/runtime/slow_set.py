"""The slow set: who a pack is and how it is set, looked at now and then, in small pieces.

One piece goes between two readings, so that no reading is late for it, and each pack begins at
another time. Settings that a board tells only in a mode of its own (JBD) are left alone: nobody
asked for that mode.
"""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator

from bmslink.board import Board
from bmslink.errors import BmsError, SettingError
from bmslink.link.turns import Preempted
from bmslink.model import Identity
from bmslink.protocols.common.settings_map import SettingsSnapshot

__all__ = ["SlowSet", "changed_settings"]

_SLOTS = 16
"""Slots that are read in one piece."""
_FIRST = 60.0
"""The first look is within so many seconds, or within the interval."""
_SPREAD = 0.1
_AGAIN = 30.0
"""s until a look that made way for something else begins again. It begins with forgetting who
answers: at once and again and again, nobody would know it while a switch is held off."""


class SlowSet:
    """What is looked at of one pack, and when."""

    def __init__(self, interval: float, seed: str) -> None:
        """`interval` in s; `seed` makes each pack begin at another time."""
        self.identity: Identity | None = None
        self.settings: SettingsSnapshot | None = None
        self._interval = interval
        self._random = random.Random(seed)
        self._due: float | None = None
        self._pieces: AsyncGenerator[None, None] | None = None

    def begin_anew(self) -> None:
        """The link was opened again: what is half read is dropped."""
        self._pieces = None

    def hurry(self) -> None:
        """Look again now: somebody else may have changed something."""
        self._pieces, self._due = None, 0.0

    async def step(self, board: Board, now: float) -> bool:
        """Ask the next piece, if it is time; whether a whole look has just come to its end.

        A piece that is not answered ends this look; `Preempted` is passed on. `now` in s.
        """
        if self._due is None:
            self._due = now + self._random.uniform(0, min(self._interval, _FIRST))
        if now < self._due:
            return False
        self._pieces = self._pieces or self._look(board)
        try:
            await anext(self._pieces)
        except StopAsyncIteration:
            self._over(now)
            return True
        except Preempted:
            self._pieces, self._due = None, now + _AGAIN
            raise
        except BmsError:
            self._over(now)
        return False

    def _over(self, now: float) -> None:
        self._pieces = None
        share = self._random.uniform(1 - _SPREAD, 1 + _SPREAD)
        self._due = now + share * self._interval

    async def _look(self, board: Board) -> AsyncGenerator[None, None]:
        board.driver.forget()
        identity = await board.identify()
        self.identity = identity
        part = board.driver.settings
        if part is None or not part.reads_freely:
            return
        yield
        try:
            settings_map = await board.settings_map(identity)
        except SettingError:
            return
        images: list[dict[int, bytes]] = []
        for again in (False, True)[: 1 + board.driver.timing.anonymous]:
            image: dict[int, bytes] = {}
            for start in range(0, len(settings_map.slots), _SLOTS):
                yield
                slots = settings_map.slots[start : start + _SLOTS]
                image |= await board.glance_at(slots, again=again)
            images.append(image)
        if not settings_map.differing(images[0], images[-1]):
            self.settings = SettingsSnapshot(map=settings_map, image=images[-1])


def changed_settings(old: SettingsSnapshot | None, new: SettingsSnapshot | None) -> list[str]:
    """The keys of settings that are known to be other than they were, in the order of the table."""
    if old is None or new is None or old is new or old.map.name != new.map.name:
        return []
    slots = set(new.map.differing(old.image, new.image))
    before, now = old.values(), new.values()
    return [
        row.key
        for row in new.map.settings
        if row.slot in slots
        and not row.live
        and None not in (before.get(row.key), now.get(row.key))
        and before[row.key] != now[row.key]
    ]
