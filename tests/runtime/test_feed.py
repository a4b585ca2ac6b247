"""Listeners of the service, what systemd is told, and who is next on a line."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from bmslink.errors import BmsError
from bmslink.link.turns import (
    Preempted,
    Preemption,
    Turns,
    Urgency,
    preemptible,
    urgency,
    yield_turn,
)
from bmslink.model import Reading
from bmslink.runtime.feed import Feed, PackEvent
from bmslink.runtime.judging.disk import DiskQueue
from bmslink.runtime.notify import notify, watchdog_interval
from bmslink.storage.state import DamagedState, StateFolder, UnwritableState


async def test_a_slow_listener_loses_the_oldest_and_is_told_how_many() -> None:
    feed = Feed()
    slow, quick = feed.subscribe(size=3), feed.subscribe(kinds=["event"], packs=["a"])
    for number in range(10):
        feed.publish("reading", "a", Reading(voltage=float(number)))
        feed.publish("event", "b", PackEvent("x", "of another pack"))
    feed.publish("event", "", PackEvent("reload", "of the service", data={"added": ["c"]}))
    assert slow.take_lost() == 18 and slow.take_lost() == 0
    item = await quick.get()
    assert item is not None
    told = item.to_dict()
    assert (told["kind"], told["pack"], told["what"]) == ("event", "", "reload")
    assert told["added"] == ["c"]
    feed.close()
    assert await quick.get() is None
    assert len([item async for item in slow]) == 3
    assert len(feed) == 0


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="there is no systemd")
def test_systemd_gets_one_datagram(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not notify("READY=1")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        assert notify("READY=1")
        assert systemd.recv(100) == b"READY=1"
    assert not notify("WATCHDOG=1"), "nobody listens any more"
    assert watchdog_interval() is None
    monkeypatch.setenv("WATCHDOG_USEC", "30000000")
    assert watchdog_interval() == 15
    monkeypatch.setenv("WATCHDOG_PID", "1")
    assert watchdog_interval() is None


async def test_the_most_urgent_goes_first_and_equals_in_their_order() -> None:
    turns, order = Turns(), []

    async def take(name: str, value: Urgency) -> None:
        with urgency(value):
            async with turns:
                order.append(name)
                await asyncio.sleep(1)

    first = asyncio.create_task(take("first", Urgency.POLL))
    await asyncio.sleep(0.1)
    waiting = [
        asyncio.create_task(take(name, value))
        for name, value in (
            ("poll", Urgency.POLL),
            ("one", Urgency.COMMAND),
            ("gone", Urgency.OFF),
            ("two", Urgency.COMMAND),
            ("off", Urgency.OFF),
        )
    ]
    await asyncio.sleep(0.1)
    assert turns.outranked() and turns.locked()
    waiting[2].cancel()
    await asyncio.gather(first, *waiting, return_exceptions=True)
    assert order == ["first", "off", "one", "two", "poll"]
    assert not turns.locked()


async def test_a_turn_that_is_handed_to_somebody_who_is_cancelled_goes_on() -> None:
    turns = Turns()
    await turns.acquire()
    waiting = asyncio.create_task(turns.acquire())
    await asyncio.sleep(0)
    turns.release()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert not turns.locked()


async def test_only_a_poll_that_allows_it_is_given_up() -> None:
    ask = Preemption()
    ask.asked = True
    yield_turn()
    with preemptible(ask), pytest.raises(Preempted):
        yield_turn()
    assert issubclass(Preempted, BmsError)


async def test_the_disk_is_written_in_order_and_a_newer_state_takes_the_place_of_an_older() -> None:
    queue, done, errors = DiskQueue(most=3), [], []
    queue.put(lambda: done.append("a1"), key="a")
    queue.put(lambda: done.append("b"), key="b")
    queue.put(lambda: done.append("a2"), key="a")
    queue.put(lambda: 1 / 0 if done else None, ended=errors.append)
    queue.put(lambda: (_ for _ in ()).throw(OSError(28, "full")), ended=errors.append)
    assert queue.lost == 1
    writing = asyncio.create_task(queue.run())
    await asyncio.sleep(1)
    assert (done, len(errors)) == (["a2"], 2)
    assert "full" in errors[1]
    assert await queue.flush(1)
    writing.cancel()
    queue.close()


def test_a_state_is_replaced_as_a_whole(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path / "packs")
    assert folder.load("pack") is None
    folder.save("pack", {"engine": {"x": 1}}, {"schema": 7, "ledger": [1]})
    found = folder.load("pack")
    assert found is not None
    assert (found["schema"], found["ledger"], found["engine"]) == (7, [1], {"x": 1})
    with pytest.raises(UnwritableState):
        folder.save("pack", {"engine": float("nan")}, found)
    assert folder.load("pack") == found
    for text in (b"", b"[1]", b"{" * 5000, b'{"schema": "1"}', b"\xff"):
        folder.path("pack").write_bytes(text)
        with pytest.raises(DamagedState):
            folder.load("pack")
        assert folder.load("pack") is None
