"""A service with a bank of simulated packs, for the tests of banks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from asgi_support import ask

from acting_support import policy_text
from bmslink.control.banks.decision import BankDecision
from bmslink.runtime.api.app import make_app
from bmslink.runtime.feed import FeedItem, PackEvent
from bmslink.runtime.service import Service
from bmslink.runtime.service_file import load_plan
from bmslink.testing import SimulatedPack
from served_support import until
from service_support import serving

__all__ = ["NAMES", "Bench", "Nobody", "bank_file", "three", "write"]

NAMES = ("left", "middle", "right")


def bank_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where bmslink.toml is, with a policy file beside it."""
    for name in ("STATE", "JOURNAL", "RUNTIME"):
        monkeypatch.setenv(f"BMSLINK_{name}", str(tmp_path / name.lower()))
    path = tmp_path / "bmslink.toml"
    monkeypatch.setenv("BMSLINK_CONFIG", str(path))
    (tmp_path / "lfp.toml").write_text(policy_text("jbd"))
    return path


def write(
    path: Path,
    packs: Sequence[SimulatedPack],
    bank: str = "",
    *,
    more: str = "",
    pack: str = "",
    banked: int = 3,
) -> None:
    """A file with these packs, `banked` of them in one bank; `bank`, `pack`: further keys of it and
    of each pack."""
    lines = ['[service]\npolicies = "lfp.toml"', more]
    for name, each in zip(NAMES, packs, strict=False):
        lines.append(f'[packs.{name}]\ntarget = "{each.target}"\n{pack}')
    listed = ", ".join(f'"{name}"' for name in NAMES[: min(banked, len(packs))])
    lines.append(f'[banks.house]\npacks = [{listed}]\nconnection = "parallel"\n{bank}')
    path.write_text("\n".join(lines))


class Bench:
    """A running service with a bank."""

    def __init__(self, packs: Sequence[SimulatedPack]) -> None:
        self.packs = packs
        self.service = Service(load_plan())
        self.news: list[FeedItem] = []

    @property
    def bank(self) -> Any:
        return self.service.banks.banks["house"]

    @property
    def limits(self) -> list[BankDecision]:
        """The limits of the bank, as they were published."""
        return [each.data for each in self.news if isinstance(each.data, BankDecision)]

    def told(self, what: str) -> list[str]:
        """Events about the bank."""
        events = [each.data for each in self.news if isinstance(each.data, PackEvent)]
        return [e.text for e in events if e.what == what and e.data.get("bank") == "house"]

    async def get(self, path: str) -> Any:
        return (await ask(make_app(self.service), "GET", path)).values

    async def _listen(self) -> None:
        with self.service.feed.subscribe(size=100_000) as news:
            async for item in news:
                self.news.append(item)

    @asynccontextmanager
    async def running(self, peace: float = 5.0) -> AsyncIterator[Bench]:
        async with serving(self.service, self._listen):
            packs = self.service.packs.values()
            await until(lambda: all(pack.reading is not None for pack in packs))
            await asyncio.sleep(peace)
            yield self


def three(protocol: str = "jbd", **more: Any) -> list[SimulatedPack]:
    """Unlike in nothing but their seeds."""
    options = {"cells": 4, "load": 0.0, **more}
    return [SimulatedPack(protocol, seed=n, **options) for n in range(3)]


class Nobody:
    """A client that reads nothing."""

    def __call__(self, *about: object) -> None: ...

    def note(self, text: str) -> None: ...
