"""Where a service keeps what its banks must not forget: a file for each, in the state folder."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial

from bmslink.control.banks.memory import BankMemory, parse_memory
from bmslink.runtime.judging.disk import DiskQueue
from bmslink.storage.state import DamagedState, StateFolder

__all__ = ["BankStore"]

_MEMORY, _SAVED = "memory", "saved_at"


class BankStore:
    """Of one service. Nothing that reads or reckons waits for it."""

    def __init__(self, folder: StateFolder, queue: DiskQueue, tell: Callable[[str], None]) -> None:
        """`tell` hears, in a sentence, what goes wrong; once, until it goes well."""
        self._folder, self._queue, self._tell = folder, queue, tell
        self._unwritten = False

    async def load(self, bank: str) -> BankMemory:
        """What was kept of a bank, as far as it counts still."""
        loop = asyncio.get_running_loop()
        try:
            found = await loop.run_in_executor(self._queue.thread, self._folder.load, _name(bank))
            if found is None:
                return BankMemory()
            memory, saved = parse_memory(found.get(_MEMORY)), found.get(_SAVED)
        except (DamagedState, ValueError) as error:
            self._tell(f"What was known of the shares of the bank {bank} is lost: {error}")
            return BankMemory()
        age = time.time() - saved if isinstance(saved, int | float) else -float("inf")
        return memory.aged(age)

    def save(self, bank: str, memory: BankMemory) -> None:
        """Have it written soon."""
        values = {_MEMORY: memory.to_dict(), _SAVED: time.time()}
        write = partial(self._folder.save, _name(bank), values, None)
        self._queue.put(write, key=_name(bank), ended=self._ended)

    def _ended(self, error: str) -> None:
        if error and not self._unwritten:
            self._tell(f"What is known of the shares of a bank is not kept: {error}")
        self._unwritten = bool(error)


def _name(bank: str) -> str:
    return f"bank {bank}"
