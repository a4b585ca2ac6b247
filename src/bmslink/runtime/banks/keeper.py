"""The banks of a service."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from types import MappingProxyType
from typing import Any

from bmslink.named_banks import BankOptions, Banks
from bmslink.runtime.banks.served_bank import BankJoin, BankSink, ServedBank
from bmslink.runtime.feed import Feed
from bmslink.runtime.pack_task import ServedPack
from bmslink.runtime.watching.conditions import Teller

__all__ = ["BankKeeper"]


class BankKeeper:
    """All banks, by their names."""

    def __init__(
        self, packs: Callable[[], Mapping[str, ServedPack]], feed: Feed, tell: Teller
    ) -> None:
        """`packs`: those of the service, by their names."""
        self._packs, self._feed, self._tell = packs, feed, tell
        self._banks: dict[str, ServedBank] = {}
        self._of: dict[str, str] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._running = False

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
        """What carries the limits out; until cancelled."""
        self._running = True
        self._start()
        try:
            await asyncio.Event().wait()
        finally:
            self._running = False
            tasks, self._tasks = [*self._tasks.values()], {}
            for task in tasks:
                task.cancel()
            with suppress(asyncio.CancelledError):
                await asyncio.gather(*tasks, return_exceptions=True)

    def status(self) -> list[dict[str, Any]]:
        """For people and programs."""
        return [bank.status() for bank in self._banks.values()]


def _same(old: BankOptions, new: BankOptions) -> bool:
    """Whether it is the same bank, of which only what people know of it may differ."""
    return (old.packs, old.connection, old.sink_command) == (
        new.packs, new.connection, new.sink_command,
    )  # fmt: skip
