"""The names of servers are looked up without keeping anybody who switches off."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import bmslink
from bmslink import places
from bmslink.config.identity.locks import held_by_another, locked_apart
from bmslink.config.records.open_changes import lock_names
from bmslink.link.transport import parse_target
from bmslink.model import Identity
from bmslink.places import look_up_soon, where

NAME, ADDRESS = "gateway.example", "192.0.2.7"
TARGET = parse_target(f"jbd+tcp://{NAME}:8899")


class Resolver:
    """Answers when it is let, and counts."""

    def __init__(self) -> None:
        self.answers = threading.Event()
        self.asked = 0
        self._real = socket.getaddrinfo

    def __call__(self, host: str, *args: Any, flags: int = 0, **more: Any) -> Any:
        if host != NAME or flags & socket.AI_NUMERICHOST:
            return self._real(host, *args, flags=flags, **more)
        self.asked += 1
        self.answers.wait(5.0)
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", (ADDRESS, 0))]


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Resolver]:
    found = Resolver()
    monkeypatch.setattr(socket, "getaddrinfo", found)
    monkeypatch.setattr(places, "_found", {})
    yield found
    found.answers.set()
    if (under_way := places._under_way.get(NAME)) is not None:
        under_way.wait(5.0)


@pytest.mark.real_time
async def test_in_a_loop_nothing_waits_for_a_resolver(resolver: Resolver) -> None:
    """What is known later counts later; an address needs no resolver."""
    by_address = where(parse_target(f"tcp://{ADDRESS}:8899"))
    began = time.monotonic()
    for _ in range(5):
        assert where(TARGET).marks["net"] == (f"{NAME}:8899",)
    assert time.monotonic() - began < 0.5
    assert resolver.asked == 1, "one at a time"
    resolver.answers.set()
    places._under_way.get(NAME, threading.Event()).wait(5.0)
    assert where(TARGET).same(by_address)
    assert not where(TARGET, ask=False).same(by_address)


def test_who_may_wait_waits_a_second(resolver: Resolver) -> None:
    resolver.answers.set()
    assert where(TARGET).marks["net"] == (f"{NAME}:8899", f"{ADDRESS}:8899")
    resolver.answers.clear()
    began = time.monotonic()
    assert where(TARGET).marks["net"] == (f"{NAME}:8899", f"{ADDRESS}:8899"), "as found last"
    assert 0.9 < time.monotonic() - began < 3.0


@pytest.mark.real_time
async def test_what_is_opened_is_looked_up_meanwhile(resolver: Resolver) -> None:
    resolver.answers.set()
    device = bmslink.connect("jbd+tcp://127.0.0.1:9", timeout=0.1)
    device.board.target = TARGET
    with pytest.raises(bmslink.BmsError):
        async with device.board:
            pass
    under_way = places._under_way.get(NAME)
    assert under_way is None or under_way.wait(5.0)
    assert f"net {ADDRESS}:8899 1" in lock_names(device.board, Identity(protocol="jbd"))


def test_a_port_of_this_computer_is_looked_up_by_nobody(resolver: Resolver) -> None:
    look_up_soon(parse_target("serial:///dev/ttyS9"))
    look_up_soon(parse_target("tcp://localhost:1"))
    look_up_soon(parse_target(f"tcp://{ADDRESS}:1"))
    assert not places._under_way


@pytest.mark.real_time
async def test_a_lock_waits_for_a_name_and_the_loop_does_not(
    resolver: Resolver, tmp_path: Path
) -> None:
    """A change in a service takes its locks while other packs are switched off."""
    device = bmslink.connect(str(TARGET)).board
    names = partial(lock_names, device, Identity(protocol="jbd"))

    async def take() -> None:
        async with locked_apart(tmp_path, names):
            assert held_by_another(tmp_path, [f"net {NAME}:8899 1"]) == "", "it is our own"

    began = time.monotonic()
    taking = asyncio.create_task(take())
    await asyncio.sleep(0.1)
    assert time.monotonic() - began < 0.6
    assert not taking.done()
    resolver.answers.set()
    await taking
