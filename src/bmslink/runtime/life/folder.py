"""Where a service without a history keeps the lives of its batteries: a file for each board, in the
state folder, written once a minute. One that has got a history since takes them over from there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from bmslink.runtime.judging.disk import DiskQueue
from bmslink.runtime.life.keeper import LifeKeeper, without_pack
from bmslink.storage.state import DamagedState, StateFolder

__all__ = ["LifeFolder"]

_EVERY = 60.0
"""s between two writes: what a kill may cost."""
_LOOK = 1.0
"""s between two looks whether a board is new here."""
_PARTS = "parts"


class LifeFolder:
    """Of one service. `run` until cancelled, then `save`."""

    def __init__(
        self,
        lives: LifeKeeper,
        folder: StateFolder,
        queue: DiskQueue,
        tell: Callable[[str], None],
        *,
        keeps: bool = True,
    ) -> None:
        """`tell` hears, in a sentence, what goes wrong; once, until it goes well. `keeps`: lives
        are written here; else a history has them, and what it has not is looked up here."""
        self._lives, self._folder, self._queue, self._tell = lives, folder, queue, tell
        self._parts: dict[str, dict[str, str]] = {}
        self._unwritten = False
        self._keeps = keeps
        lives.new_counter, lives.elsewhere = keeps, not keeps

    async def run(self) -> None:
        """Look up what was stored of each new board, and write once a minute."""
        loop = asyncio.get_running_loop()
        written = loop.time()
        while True:
            await asyncio.sleep(_LOOK)
            if not self._keeps and not self._lives.complete:
                continue  # first what the history has
            for board in [*self._lives.wanted]:
                await self._look_up(board)
            if self._keeps and loop.time() - written >= _EVERY:
                written = loop.time()
                self.save()

    async def _look_up(self, board: str) -> None:
        loop = asyncio.get_running_loop()
        try:
            found = await loop.run_in_executor(self._queue.thread, self._folder.load, _name(board))
        except DamagedState as error:
            self._tell(f"{error} What was known of the battery's life is lost.")
            found = None
        parts = (found or {}).get(_PARTS)
        known = _texts(parts) if isinstance(parts, Mapping) else {}
        if self._keeps:
            self._parts[board] = known
        elif known:  # the counter of the history is another one
            known = without_pack(known)
        self._lives.give({board: known}, kept=self._keeps)

    def save(self) -> None:
        """Have written what has changed."""
        rows = self._lives.changes()
        for board in {row.board for row in rows}:
            parts = self._parts.setdefault(board, {})
            parts |= {row.part: row.data for row in rows if row.board == board}
            write = partial(self._folder.save, _name(board), {_PARTS: {**parts}}, None)
            self._queue.put(write, key=_name(board), ended=self._ended)
        self._lives.wrote(rows)

    def _ended(self, error: str) -> None:
        if error and not self._unwritten:
            self._tell(error)
        self._unwritten = bool(error)


def _name(board: str) -> str:
    return f"life {board}"


def _texts(parts: Mapping[Any, Any]) -> dict[str, str]:
    return {str(name): text for name, text in parts.items() if isinstance(text, str)}
