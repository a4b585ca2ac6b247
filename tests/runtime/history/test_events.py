"""Events: since when and until when, one row for what chatters, and what nobody saw."""

from __future__ import annotations

import ast
import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any, get_args

import pytest
from history_support import BEGIN, HistoryWorld
from hypothesis import given, settings
from hypothesis import strategies as st

from bmslink import runtime
from bmslink.errors import UsageError
from bmslink.events import KINDS, STATES, EventSeverity, PackEvent, kinds_of
from bmslink.jsonable import dumps
from bmslink.model import Condition, Reading
from bmslink.runtime.health import PackState
from bmslink.runtime.watching.conditions import Teller
from bmslink.runtime.watching.watch import PackWatch
from control_support import Run, healthy

OVER = Condition.CELL_OVERVOLTAGE


def test_every_kind_that_is_told_can_be_asked_for() -> None:
    told = set()
    for path in Path(runtime.__file__).parent.rglob("*.py"):
        for call in ast.walk(ast.parse(path.read_text())):
            name = isinstance(call, ast.Call) and getattr(call.func, "attr", None)
            name = name or (isinstance(call, ast.Call) and getattr(call.func, "id", None))
            if name not in ("tell", "_tell", "event") or not call.args:
                continue
            if isinstance(call.args[0], ast.Constant) and isinstance(call.args[0].value, str):
                told.add(call.args[0].value)
    assert len(told) > 15 and told <= set(KINDS)
    assert {*STATES, "starting"} == set(get_args(PackState))
    assert kinds_of("state") == STATES and kinds_of("lost") == ("lost",)
    with pytest.raises(UsageError, match=r"Did you mean condition\?"):
        kinds_of("conditon")


texts = st.sampled_from(["", "a", "van", "größer\n", "\x00"]) | st.text(max_size=5)
moments = st.datetimes().map(lambda each: each.replace(tzinfo=BEGIN.tzinfo))
events = st.builds(
    PackEvent,
    what=texts,
    text=texts,
    severity=st.sampled_from(EventSeverity),
    pack=texts,
    time=moments,
    key=texts,
    since=st.none() | moments,
    until=st.none() | moments,
    until_known=st.booleans(),
    count=st.integers(1, 10),
    data=st.dictionaries(texts.map(lambda name: f"x_{name}"), st.integers() | texts, max_size=3),
)


@settings(max_examples=30)
@given(events)
def test_an_event_comes_back_from_its_json(event: PackEvent) -> None:
    assert PackEvent.from_dict(event.to_dict()) == event
    dumps(event.to_dict())


@pytest.mark.parametrize(
    "values",
    [{}, {"what": "a"}, {"what": "a", "text": "b", "severity": "bad"},
     {"what": "a", "text": "b", "time": "yesterday"}, {"what": "a", "text": "b", "since": 5},
     {"what": "a", "text": "b", "time": "2026-01-01T00:00:00"}],
)  # fmt: skip
def test_what_is_no_event_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        PackEvent.from_dict(values)


def of(rows: list[PackEvent], key: str) -> list[PackEvent]:
    return [each for each in rows if each.key == key]


def seconds(event: PackEvent) -> tuple[int, int | None]:
    assert event.since is not None
    end = None if event.until is None else round((event.until - BEGIN).total_seconds())
    return round((event.since - BEGIN).total_seconds()), end


async def test_a_condition_has_a_beginning_and_an_end(tmp_path: Path) -> None:
    world = HistoryWorld(tmp_path / "history.db")
    async with world.running():
        await world.poll(10)
        await world.poll(20, protections=(OVER,), cell_voltages=(3.3, 3.66))
        await world.poll(5, protections=(OVER,), alarms=(Condition.SOC_HIGH,))
        lasting = await world.table(open=True)
        await world.poll(5)
        (tripped,) = of(await world.table(), "protections/cell_overvoltage")
        alarms = await world.table(severity=EventSeverity.ALARM)
        late = await world.table(since=BEGIN + timedelta(seconds=60), kinds=("condition",))
    assert {each.key for each in lasting} == {"protections/cell_overvoltage", "alarms/soc_high"}
    assert seconds(tripped) == (10, 41)  # it was asked for 6 s, and nothing was read
    assert tripped.text == "The BMS has tripped: cell overvoltage (the highest cell has 3.66 V)."
    assert tripped.severity is EventSeverity.ALARM and tripped.until_known
    assert alarms == [tripped] and late == []
    begun, ended = of(world.events, "protections/cell_overvoltage")
    assert begun.open and not ended.open and ended.since == begun.since
    assert ended.severity is EventSeverity.INFO, "an end is no alarm"


async def test_what_chatters_is_one_row_with_a_count_and_few_writes(tmp_path: Path) -> None:
    world = HistoryWorld(tmp_path / "history.db")
    writes = 0
    write = world.keeper._file.write

    def count(batch: Any) -> None:
        nonlocal writes
        writes += 1
        write(batch)

    world.keeper._file.write = count
    async with world.running():
        for _ in range(300):
            await world.poll(1, alarms=(Condition.SOC_LOW,))
            await world.poll(1)
        assert writes <= 6 + 600 / 10 + 600 / 60 + 3
        (row,) = of(await world.table(), "alarms/soc_low")
        assert row.count == 300 and seconds(row) == (0, 599)
        await asyncio.sleep(100)
        await world.poll(1, alarms=(Condition.SOC_LOW,))
        assert [each.count for each in of(await world.table(), "alarms/soc_low")] == [300, 1]
        for _ in range(50):
            world.tell("trouble", "A sink does not answer.")
            await asyncio.sleep(1)
        (row,) = [e for e in await world.table() if e.text == "A sink does not answer."]
    assert row.count == 50 and not row.open


async def test_what_ended_while_nobody_looked_has_no_known_end(tmp_path: Path) -> None:
    world = HistoryWorld(tmp_path / "history.db")
    async with world.running():
        await world.poll(10, faults=(Condition.AFE,))
        await asyncio.sleep(300)
        world.read()
        await asyncio.sleep(1)
        (row,) = of(await world.table(), "faults/afe")
    assert seconds(row) == (0, 9) and not row.until_known


@pytest.mark.parametrize("kill", [True, False])
async def test_a_restart_does_not_say_when_what_lasted_was_over(tmp_path: Path, kill: bool) -> None:
    """Where it goes on, it is one condition, with the time that nobody looked; where it is gone,
    its end is not known."""
    path = tmp_path / "history.db"
    world = HistoryWorld(path)
    async with world.running(kill=kill):
        high = {"protections": (OVER,), "cell_voltages": (3.3, 3.66)}
        await world.poll(130, **high, faults=(Condition.AFE,))
    world = HistoryWorld(path, BEGIN + timedelta(seconds=200))
    async with world.running():
        await world.poll(10, protections=(OVER,), cell_voltages=(3.3, 3.71))
        rows = await world.table()
    (gone,), (still,) = of(rows, "faults/afe"), of(rows, "protections/cell_overvoltage")
    last = 120 if kill else 130
    assert not gone.until_known and seconds(gone) == (0, pytest.approx(last, abs=1))
    assert seconds(still) == (0, None)
    assert "3.66 V" in still.text, "what was measured when it began, as the alert said"
    assert still.data["unseen_seconds"] == pytest.approx(200 - last, abs=1)
    began = [each for each in rows if each.what == "service_began"]
    assert ("killed" in began[-1].text) == kill and began[-1].data["clean"] is not kill


async def test_states_of_a_link_are_conditions(tmp_path: Path) -> None:
    world = HistoryWorld(tmp_path / "history.db")
    van = Teller("van", world.feed)
    async with world.running():
        await world.poll(10)
        van("silent", "It does not answer.", alarm=True, key="state")
        await asyncio.sleep(2)
        van("lost", "The port is gone.", alarm=True, key="state")
        await asyncio.sleep(3)
        van("ok", "It is read.", key="state", over=True)
        await world.poll(10)
        rows = of(await world.table(), "state")
        energy = world.watcher.energy("van")
    assert [(each.what, seconds(each)) for each in rows] == [
        ("silent", (10, 12)),
        ("lost", (12, 15)),
    ]
    assert energy is not None, "however short it was"
    assert energy.unknown == pytest.approx(6) and energy.known == pytest.approx(18)


async def test_a_switch_that_nobody_here_moved_is_told(tmp_path: Path) -> None:
    """A reading may show what a command did before the command has ended."""
    world = HistoryWorld(tmp_path / "history.db")
    ours = PackEvent("change", "charge is on.", pack="van", data={"keys": ["charge_switch"]})
    others = [
        PackEvent("change", "1 setting written.", pack="van", data={"keys": ["cell_ovp"]}),
        PackEvent("settings_changed", "In an app.", pack="van", data={"keys": ["charge_switch"]}),
    ]
    async with world.running():
        await world.poll(10, charge_switch=True)
        for other in others:
            world.feed.publish("event", "van", other)
        await world.poll(30, charge_switch=False)
        world.feed.publish("event", "van", ours)
        await world.poll(30, charge_switch=True)
        await world.poll(5, charge_switch=False)
        world.feed.publish("event", "van", ours)
        await world.poll(30, charge_switch=False)
        rows = [each for each in await world.table() if each.what == "switch"]
    assert [each.data["foreign"] for each in rows] == [True, False, False]
    assert [round((each.time - BEGIN).total_seconds()) for each in rows] == [10, 40, 70]
    assert "bmslink did not switch it" in rows[0].text


async def test_what_binds_a_limit_is_told_when_it_changes_and_stays(tmp_path: Path) -> None:
    world = HistoryWorld(tmp_path / "history.db")
    engine = Run()
    async with world.running():
        for cell, times in ((3.3, 60), (3.47, 60), (3.3, 3), (3.47, 30), (3.3, 200)):
            for _ in range(times):
                decision = engine(healthy(cell))
                world.feed.publish("limits", "van", decision)
                world.read(cell_voltages=(cell,) * 16)
                await asyncio.sleep(1)
        rows = [each for each in await world.table() if each.key == "limit/ccl"]
    bound = [each for each in rows if each.data["policy"] == "cell_overvoltage_derate"]
    assert len(bound) == 1, "three seconds in between are no change"
    (row,) = bound
    assert seconds(row)[0] == pytest.approx(60, abs=1) and row.until is not None
    assert "The charge current is limited to " in row.text
    assert "by cell_overvoltage_derate" in row.text


def test_a_condition_says_its_value_and_its_limit_where_they_are_known() -> None:
    known = {"cell_ovp": 3.65, "cell_ovp_warning": 3.5, "charge_otp": None}
    watch = PackWatch("van", settings=lambda: known)
    hot = Condition.CHARGE_OVERTEMPERATURE
    reading = Reading(
        alarms=(OVER,), protections=(OVER, hot, Condition.AFE), cell_voltages=(3.3, 3.66),
        temperatures={"cell_1": 57.0, "mosfet": None}, conditions_known=True,
    )  # fmt: skip
    data = {each.key: each.data for each in watch.heard(reading, 0.0, BEGIN)}
    assert data["alarms/cell_overvoltage"]["threshold"] == 3.5
    assert data["protections/cell_overvoltage"] == {
        "list": "protections", "condition": "cell_overvoltage", "unit": "V", "value": 3.66,
        "measured": "the highest cell has 3.66 V", "threshold": 3.65,
    }  # fmt: skip
    assert data[f"protections/{hot}"]["measured"] == "the warmest probe has 57 °C"
    assert "threshold" not in data[f"protections/{hot}"]
    assert data["protections/afe"] == {"list": "protections", "condition": "afe"}


async def test_the_table_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bmslink.runtime.history.event_table import require_bounded

    world = HistoryWorld(tmp_path / "history.db")
    async with world.running():
        for number in range(100):
            world.tell("test", f"Number {number}.")
        await world.table()
        await world.keeper.ask(lambda store: require_bounded(store, 10))
        rows = await world.table()
    assert [each.text for each in rows] == [f"Number {n}." for n in range(90, 100)]
