"""The banks of a service."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from types import MappingProxyType
from typing import Any

from bmslink.control.banks.memory import BankMemory
from bmslink.named_banks import BankOptions, Banks
from bmslink.runtime.acting.contained import contained
from bmslink.runtime.banks.kept import BankStore
from bmslink.runtime.banks.served_bank import BankJoin, BankSink, ServedBank
from bmslink.runtime.feed import Feed
from bmslink.runtime.pack_task import ServedPack
from bmslink.runtime.watching.conditions import Teller

__all__ = ["BankKeeper"]

_log = logging.getLogger(__name__)

_LOOK, _EVERY = 1.0, 60.0
"""s between two looks at what has changed, and after which all of it is written."""


class BankKeeper:
    """All banks, by their names."""

    def __init__(
        self,
        packs: Callable[[], Mapping[str, ServedPack]],
        feed: Feed,
        tell: Teller,
        store: BankStore,
    ) -> None:
        """`packs`: those of the service, by their names."""
        self._packs, self._feed, self._tell, self._store = packs, feed, tell, store
        self._kept: dict[str, BankMemory] = {}
        """What was written of each bank last; none: nothing was looked up yet."""
        self._banks: dict[str, ServedBank] = {}
        self._of: dict[str, str] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._running = False
        self._written = 0.0

    @property
    def banks(self) -> Mapping[str, ServedBank]:
        """By their names, in the order of the file."""
        return MappingProxyType(self._banks)

    def of(self, pack: str) -> ServedBank | None:
        """The bank that a pack is in."""
        return self._banks.get(self._of.get(pack, ""))

    def change_to(self, section: Banks | None) -> None:
        """These are the banks from now on. One of the same packs goes on as it was."""
        new = {} if section is None else section.banks
        kept: dict[str, ServedBank] = {}
        for name, options in new.items():
            old = self._banks.get(name)
            if old is not None and _same(old.options, options):
                old.change(options)
                kept[name] = old
            else:
                kept[name] = ServedBank(name, options, self._packs, self._feed, self._tell)
        gone = [name for name, bank in self._banks.items() if kept.get(name) is not bank]
        self._banks = kept
        self._of = {pack: name for name, options in new.items() for pack in options.packs}
        for pack in self._packs().values():
            self.attach(pack)
        for name in gone:
            self._kept.pop(name, None)
            if name in self._tasks:
                self._tasks.pop(name).cancel()
        if self._running:
            self._start()

    def attach(self, pack: ServedPack) -> None:
        """A pack that is served from now on: its bank hears of it, and is asked before it joins."""
        pack.looked = partial(self._look, pack.name)
        banked = self.of(pack.name) is not None
        gate = BankJoin(pack.name, partial(self.of, pack.name), pack.freshen)
        pack.board.joins = gate if banked else None

    def sink_of(self, name: str) -> BankSink:
        """What carries the limits of a pack out where its bank does."""
        return BankSink(partial(self.of, name))

    def _look(self, name: str, now: float) -> None:
        bank = self.of(name)
        if bank is not None:
            bank.look(now)

    def _start(self) -> None:
        for name, bank in self._banks.items():
            if name not in self._tasks and bank.sinks:
                self._tasks[name] = asyncio.create_task(bank.run(), name=f"bank {name}")

    async def run(self) -> None:
        """What carries the limits out, and keeps what is known of the banks; until cancelled."""
        self._running = True
        self._start()
        try:
            while True:
                with contained(_mistaken):  # what is kept is no reason to carry nothing out
                    await self._look_up()
                await asyncio.sleep(_LOOK)
                with contained(_mistaken):
                    self.save(shortly=True)
        finally:
            self._running = False
            tasks, self._tasks = [*self._tasks.values()], {}
            for task in tasks:
                task.cancel()
            with suppress(asyncio.CancelledError):
                await asyncio.gather(*tasks, return_exceptions=True)

    async def _look_up(self) -> None:
        """What was kept of banks that are new here."""
        for name in [name for name in self._banks if name not in self._kept]:
            self._kept[name] = BankMemory()  # also where that goes wrong
            memory = await self._store.load(name)
            if name in self._banks:
                self._kept[name] = memory
                self._banks[name].recall(memory)

    def save(self, *, shortly: bool = False) -> None:
        """Have written what has changed; `shortly`: what only goes on as it did, once a minute."""
        now = asyncio.get_running_loop().time()
        whole = not shortly or now - self._written >= _EVERY
        for name, before in self._kept.items():
            memory = self._banks[name].remember(now)
            if memory.alike(before) and (not whole or memory == before):
                continue
            self._kept[name] = memory
            self._store.save(name, memory)
        if whole:
            self._written = now

    def status(self) -> list[dict[str, Any]]:
        """For people and programs."""
        return [bank.status() for bank in self._banks.values()]


def _mistaken(error: BaseException) -> None:
    _log.error("bmslink made a mistake while it kept what it knows of banks.", exc_info=error)


def _same(old: BankOptions, new: BankOptions) -> bool:
    """Whether it is the same bank, of which only what people know of it may differ."""
    return (old.packs, old.connection, old.sink_command) == (
        new.packs, new.connection, new.sink_command,
    )  # fmt: skip
