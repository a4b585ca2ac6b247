"""A service that ends and begins again: no condition begins anew, no alert comes twice or never."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from history_support import BEGIN, HistoryWorld

from bmslink.model import Condition
from bmslink.outputs.alerts.message import Alert
from bmslink.outputs.alerts.options import AlertOptions
from bmslink.outputs.alerts.sender import NotDelivered
from bmslink.runtime.history.event_table import EventQuery, find_events
from bmslink.runtime.judging.disk import DiskQueue
from bmslink.runtime.outputs.alert_memory import AlertMemory
from bmslink.runtime.outputs.alerting import Alerting
from bmslink.runtime.watching.conditions import Teller
from bmslink.storage.state import StateFolder

KEY = "protections/cell_overvoltage"
HIGH = {"protections": (Condition.CELL_OVERVOLTAGE,), "cell_voltages": (3.3, 3.66)}


class Phone:
    """Who is sent the alerts, over all runs."""

    def __init__(self) -> None:
        self.came: list[Alert] = []
        self.off = False

    def __call__(self, alert: Alert) -> None:
        if self.off:
            raise NotDelivered("it is off")
        self.came.append(alert)

    def of(self, key: str = KEY) -> list[Alert]:
        return [each for each in self.came if each.event is not None and each.event.key == key]


class Life:
    """Runs of one service, at seconds since `BEGIN`."""

    def __init__(self, folder: Path, *, history: bool) -> None:
        self.folder, self.history = folder, history
        self.phone = Phone()
        values = {"to": {"me": {"webhook": "http://x/"}}, "delay": 5, "settle": 10}
        self.options = msgspec.convert(values, AlertOptions)

    @asynccontextmanager
    async def run(
        self, second: float, *, kill: bool = False, served: tuple[str, ...] = ("van",)
    ) -> AsyncIterator[HistoryWorld]:
        path = self.folder / "history.db" if self.history else self.folder / f"{second}.db"
        world = HistoryWorld(path, BEGIN + timedelta(seconds=second))
        if not self.history:  # its file is forgotten, and nobody waits for it
            world.feed.lasting.resume("history", ())
        disk = DiskQueue()
        alerting = Alerting(
            self.options, {"me": self.phone}, world.feed, Teller("", world.feed),
            memory=AlertMemory(StateFolder(self.folder), "test", disk), served=served,
        )  # fmt: skip
        running = [asyncio.create_task(disk.run())]
        running.append(asyncio.create_task(alerting.run(alerting.subscribe())))
        async with world.running(kill=kill):
            yield world
            await arrive()
        if not kill:
            await alerting.close(5)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        disk.thread.shutdown(wait=True)


async def arrive() -> None:
    """Threads send what they have."""
    for _ in range(3):
        await asyncio.to_thread(time.sleep, 0.01)
        await asyncio.sleep(0)


BEGUN = BEGIN + timedelta(seconds=10.01)
both = pytest.mark.parametrize("history", [True, False])


@both
@pytest.mark.parametrize("kill", [True, False])
async def test_what_lasts_through_restarts_is_one_alert_with_its_true_duration(
    tmp_path: Path, history: bool, kill: bool
) -> None:
    life = Life(tmp_path, history=history)
    async with life.run(0, kill=kill) as world:
        await world.poll(10)
        await world.poll(90, **HIGH)
    async with life.run(120):  # it ends before the pack has said anything
        pass
    async with life.run(300) as world:
        await world.poll(20, protections=HIGH["protections"], cell_voltages=(3.3, 3.71))
        await world.poll(30)
        again = [each for each in world.events if each.key == KEY]
        rows = await world.table()
    begun, over = life.phone.of()
    assert [begun.state, over.state] == ["begun", "over"]
    assert {each.since for each in again} == {BEGUN}
    ended = over.event
    assert ended is not None and ended.until_known
    assert (ended.since, ended.until) == (BEGUN, BEGUN + timedelta(seconds=310))
    assert over.title == "van: gone again after 5 min: cell overvoltage"
    doubt = 62 if history or not kill else 100  # of when it was seen last before the kill
    assert ended.data["unseen_seconds"] == pytest.approx(200, abs=doubt)
    assert "nobody looked" in over.text and "3.66 V" in over.text, "as the alert had said"
    if history:
        (row,) = [each for each in rows if each.key == KEY]
        assert (row.since, row.until, row.count) == (ended.since, ended.until, 1)
        assert row.data["unseen_seconds"] == ended.data["unseen_seconds"]


@both
async def test_what_ended_while_nobody_looked_says_so_once(tmp_path: Path, history: bool) -> None:
    life = Life(tmp_path, history=history)
    async with life.run(0, kill=True) as world:
        await world.poll(70, **HIGH)
    async with life.run(300) as world:
        await world.poll(40)
        rows = await world.table()
    async with life.run(400) as world:
        await world.poll(40)
        events = [each for each in world.events if each.key == KEY]
    begun, over = life.phone.of()
    assert events == [], "it is known by now"
    assert over.event is not None and not over.event.until_known
    assert over.event.data["seen_over"] == "2026-03-01T12:05:00.010Z"
    assert " or more" in over.title and "after a restart" in over.text
    assert begun.event is not None and over.event.since == begun.event.since
    if history:
        (row,) = [each for each in rows if each.key == KEY]
        assert (row.until, row.until_known) == (over.event.until, False)
        assert row.data["seen_over"] == over.event.data["seen_over"]


async def test_what_had_not_arrived_at_a_kill_arrives_later(tmp_path: Path) -> None:
    life = Life(tmp_path, history=False)
    life.phone.off = True
    async with life.run(0, kill=True) as world:
        await world.poll(10, **HIGH)
        world.tell("board_replaced", "Another board answers.", alarm=True)
        await arrive()
        await world.poll(1, **HIGH)
    assert life.phone.came == []
    life.phone.off = False
    async with life.run(60) as world:
        await arrive()
        await world.poll(20, **HIGH)
    assert [each.state for each in life.phone.came] == ["begun", "event"]
    assert len({each.id for each in life.phone.came}) == 2


@both
@pytest.mark.parametrize("second", [6, 10, 17, 22, 30])
async def test_a_kill_at_any_moment_loses_no_alert(
    tmp_path: Path, history: bool, second: int
) -> None:
    """It comes after 5 s, is sent at 10, is gone at 16 and over at 26."""
    life = Life(tmp_path, history=history)
    async with life.run(0, kill=True) as world:
        for now in range(second + 1):
            world.read(**(HIGH if 5 <= now < 16 else {}))
            await asyncio.sleep(1)
        await arrive()
    async with life.run(second + 20, kill=True) as world:
        await world.poll(8)
        await arrive()
    async with life.run(second + 60) as world:
        await world.poll(30)
    states = [each.state for each in life.phone.of()]
    if second >= 10:  # it was sent
        assert states[0] == "begun" and states[-1] == "over"
        assert len(states) <= 3
    else:
        assert states == []  # it was gone before it had lasted for its delay


async def test_a_pack_that_is_served_no_longer_has_no_alert_that_lasts(tmp_path: Path) -> None:
    life = Life(tmp_path, history=False)
    async with life.run(0) as world:
        await world.poll(20, **HIGH)
    async with life.run(60, served=("shed",)) as world:
        await world.poll(40, "shed")
    async with life.run(160) as world:
        await world.poll(40)
    assert [each.state for each in life.phone.of()] == ["begun", "over"]


async def test_a_link_that_is_lost_over_a_restart_is_one_alert(tmp_path: Path) -> None:
    life = Life(tmp_path, history=True)
    for second in (0, 100):
        async with life.run(second) as world:
            van = Teller("van", world.feed)
            van("lost", "There is no port /dev/ttyUSB0.", alarm=True, key="state")
            await asyncio.sleep(60)
            if second:
                van("ok", "It is read.", key="state", over=True)
                await asyncio.sleep(20)
            rows = await world.keeper.ask(lambda store: find_events(store, EventQuery()))
    begun, over = life.phone.of("state")
    (row,) = [each for each in rows if each.key == "state"]
    assert over.event is not None and row.until == over.event.until
    assert row.since == over.event.since == begun.event.since
    assert over.title.startswith("van: gone again after 3 min: ")


@pytest.mark.parametrize(
    "damage", [b"{", b'{"schema": 1, "alive": 5, "conditions": [1, {}], "receivers": {"me": []}}',
               b'{"schema": 1, "receivers": {"me": {"rule": {"lasting": [5]}, "waiting": [{}]}}}'],
)  # fmt: skip
async def test_a_damaged_state_costs_nothing_else(tmp_path: Path, damage: bytes) -> None:
    life = Life(tmp_path, history=False)
    StateFolder(tmp_path).path("alerts of test").write_bytes(damage)
    async with life.run(0) as world:
        await world.poll(10, **HIGH)
        await world.poll(20)
    assert [each.state for each in life.phone.of()] == ["begun", "over"]
