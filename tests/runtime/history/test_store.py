"""The store: what goes in comes out, and what a disk, a clock or another program can do to it."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import threading
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from history_support import BEGIN, HistoryWorld

from bmslink.model import Condition, Reading
from bmslink.runtime.history import merging, schema
from bmslink.runtime.history.columns import column_of, decode, encode
from bmslink.runtime.history.days import DAY, create_day, day_name
from bmslink.runtime.history.file import Batch, HistoryFile, StoredRow
from bmslink.runtime.history.options import HistoryOptions
from bmslink.runtime.history.query import HistoryQuery, find_history
from bmslink.runtime.history.schema import (
    VERSION,
    ForeignHistory,
    HistoryError,
    NewerHistory,
    open_history,
    to_millis,
)
from support import FIXTURES


def recorded() -> list[Reading]:
    """Every reading of every golden."""
    found = []
    for path in sorted(FIXTURES.rglob("*.golden.json")):
        found += [Reading.from_dict(each) for each in readings_in(json.loads(path.read_text()))]
    return found


def readings_in(value: Any) -> list[dict[str, Any]]:
    if isinstance(value, dict):
        if "cell_voltages" in value and "soc" in value and "raw" in value:
            return [value]
        return [each for inner in value.values() for each in readings_in(inner)]
    if isinstance(value, list):
        return [each for inner in value for each in readings_in(inner)]
    return []


def test_no_digit_of_a_recorded_reading_is_lost() -> None:
    readings = recorded()
    assert len(readings) > 100
    for reading in readings:
        row = encode(reading, None)
        known = reading.to_dict() | reading.to_row()
        for name in (*row, "soc", "heater", "alarms"):
            column = column_of(name)
            assert column is not None
            shown = decode(column, row.get(name), merged=False)
            if isinstance(known[name], float):
                assert shown == round(known[name], 3), (name, reading.protocol)
            elif column.kind in ("conditions", "cells"):
                expected = reading.to_dict()[name]
                assert shown == (None if expected is None else sorted(expected, key=order))
            else:
                assert shown == known[name], (name, reading.protocol)


def order(each: str | int) -> int:
    return each if isinstance(each, int) else [*Condition].index(Condition(each))


def stored(path: Path, *rows: StoredRow, options: HistoryOptions | None = None) -> HistoryFile:
    file = HistoryFile(path, options or HistoryOptions())
    file.open(BEGIN)
    file.write(Batch(BEGIN, rows))
    return file


def row(seconds: float, pack: str = "van", **values: int) -> StoredRow:
    return StoredRow(to_millis(BEGIN) + round(seconds * 1000), pack, values or {"voltage": 52000})


def found(file: HistoryFile, **query: Any) -> list[tuple[Any, ...]]:
    known = {"since": BEGIN - timedelta(days=3660), "until": BEGIN + timedelta(days=3660)}
    asked = HistoryQuery("van", **{**known, "resolution": "raw", **query})
    return [*file.ask(lambda connection: find_history(connection, asked)).rows]


async def test_readings_minutes_and_hours_tell_the_same_story(tmp_path: Path) -> None:
    """Also of the hour that is not over yet; and a gap is a gap."""
    world = HistoryWorld(tmp_path / "history.db")
    async with world.running():
        await world.poll(1800, every=5, current=10.0, cell_voltages=(3.3, 3.4), charge_switch=True)
        await asyncio.sleep(1800)
        await world.poll(
            600, every=5, current=-20.0, charge_switch=False, alarms=(Condition.SOC_LOW,)
        )
        ask = {"fields": ("main", "switches", "cells", "energy")}
        fresh = {
            level: await world.history(resolution=level, **ask) for level in ("minute", "hour")
        }
        raw = await world.history()
        await world.keeper._maintain()
        merged = {
            level: await world.history(resolution=level, **ask) for level in ("minute", "hour")
        }
    assert len(raw.rows) == 480
    for level in ("minute", "hour"):
        assert fresh[level].fields == merged[level].fields
        for before, after in zip(fresh[level].rows, merged[level].rows, strict=True):
            assert before[:-6] == after[:-6], "counters go on, nothing else changes"
    rows = [
        dict(zip(("time", *merged["hour"].fields), r, strict=True)) for r in merged["hour"].rows
    ]
    assert [each["current"] for each in rows] == [10.0, -20.0]
    assert [each["charge_switch"] for each in rows] == [1.0, 0.0]
    assert [each["cell_voltage_2"] for each in rows] == [3.4, None]
    assert [each["alarms"] for each in rows] == [[], ["soc_low"]]
    assert rows[0]["charged_capacity"] == pytest.approx(5, rel=0.01)
    assert rows[1]["discharged_capacity"] == pytest.approx(3.33, rel=0.02)
    assert 1800 <= rows[1]["unknown_seconds"] <= 1845, "and while it was asked nothing was read"
    assert len(merged["minute"].rows) == 40


async def test_what_changes_is_stored_at_once_and_the_rest_at_the_interval(tmp_path: Path) -> None:
    world = HistoryWorld(tmp_path / "history.db", interval=1)
    world.keeper._options = HistoryOptions(interval=10)
    async with world.running():
        await world.poll(35)
        await world.poll(1, protections=(Condition.CELL_OVERVOLTAGE,))
        await world.poll(10)
        answer = await world.history(fields=("voltage", "protections"))
    times = [round((r[0] - answer.rows[0][0]) / 1000) for r in answer.rows]
    assert times == [0, 10, 20, 30, 35, 36, 40]
    assert [r[2] for r in answer.rows][4] == ["cell_overvoltage"]


def test_a_clock_that_is_set_back_costs_no_row_and_doubles_none(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    file = stored(path, *(row(n, voltage=52000 + n) for n in range(100)))
    again = [row(n, voltage=60000 + n) for n in range(50, 150)]
    file.write(Batch(BEGIN, again))
    file.write(
        Batch(BEGIN, again)
    )  # the same batch once more: it was not known that it was written
    rows = found(file, fields=("voltage",))
    assert len(rows) == 200
    assert sorted(r[1] for r in rows) == [
        n / 1000 for n in (*range(52000, 52100), *range(60050, 60150))
    ]
    file.close()


def test_age_is_counted_in_days_with_readings_not_by_the_clock(tmp_path: Path) -> None:
    """A clock that was wrong for an hour does not cost what was stored."""
    options = HistoryOptions(raw_days=2, minute_days=2)
    begin, wrong = to_millis(BEGIN) // DAY, to_millis(BEGIN) // DAY + 80 * 365
    file = stored(tmp_path / "history.db", *(row(h * 3600) for h in range(120)), options=options)
    file.write(Batch(BEGIN, [row(80 * 365 * 86400)]))

    def days() -> set[int]:
        return {r[0] // DAY for r in found(file, until=BEGIN + timedelta(days=40000))}

    file.maintain(BEGIN + timedelta(hours=121))
    assert days() == {begin + 3, begin + 4, begin + 5, wrong}, "two days, and the one that it is"
    file.maintain(BEGIN + timedelta(days=80 * 365, hours=1))
    assert days() == {begin + 4, begin + 5, wrong}, "the clock is wrong: no more than a day goes"
    assert len(found(file, resolution="hour")) == 120, "hours are for ever"
    late = BEGIN + timedelta(days=40000)
    assert len(found(file, resolution="minute", until=late)) == 48
    file.close()


def test_an_hour_is_never_replaced_by_less(tmp_path: Path) -> None:
    """Its readings were dropped, and then the clock is set back into it."""
    options = HistoryOptions(raw_days=1)
    rows = [row(h * 3600 + s) for h in range(79) for s in range(9)]
    file = stored(tmp_path / "history.db", *rows, options=options)
    file.maintain(BEGIN + timedelta(hours=80))
    assert not found(file, until=BEGIN + timedelta(hours=11))
    before = found(file, resolution="hour", fields=("voltage",))
    file.write(Batch(BEGIN, [row(5, voltage=1)]))
    file.maintain(BEGIN + timedelta(hours=80))
    assert found(file, resolution="hour", fields=("voltage",)) == before
    file.close()


def test_at_its_largest_size_the_oldest_readings_go_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = stored(
        tmp_path / "history.db", *(row(h * 3600 + s * 10) for h in range(20) for s in range(360))
    )
    file.maintain(BEGIN + timedelta(hours=21))
    whole = file.ask(merging.used_bytes)
    largest = whole // 2
    monkeypatch.setattr(HistoryOptions, "max_size", largest / 1_000_000)
    told = file.maintain(BEGIN + timedelta(hours=21))
    assert "largest size" in told and "2026-03-0" in told
    assert file.ask(merging.used_bytes) <= largest
    rows = found(file)
    assert rows and rows[-1][0] == to_millis(BEGIN) + (19 * 3600 + 3590) * 1000
    assert rows[0][0] > to_millis(BEGIN)
    assert len(found(file, resolution="hour")) == 20
    assert not file.maintain(BEGIN + timedelta(hours=21)), "there is room now"
    file.close()


def test_version_1_becomes_the_current_one(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    old = open_history(path, version=1)
    old.execute("INSERT INTO packs (name) VALUES ('van')")
    day = to_millis(BEGIN) // DAY
    create_day(old, day, ["voltage"])
    insert = " ".join(["INSERT INTO", day_name(day), "VALUES (?, 1, 51000)"])
    old.execute(insert, (to_millis(BEGIN),))
    old.execute(
        "INSERT INTO events (time, pack, what, severity, key, text, since, until, until_known, "
        "data) VALUES (1000, 'van', 'condition', 2, 'k', 'It was.', 1000, NULL, 1, '{}')"
    )
    assert old.execute("PRAGMA user_version").fetchone() == (1,)
    old.close()
    file = stored(path, row(5))
    assert file.ask(lambda c: c.execute("PRAGMA user_version").fetchone()) == (VERSION,)
    assert [r[1] for r in found(file, fields=("voltage",))] == [51.0, 52.0]
    assert file.ask(lambda c: c.execute("SELECT text, count FROM events").fetchone()) == (
        "It was.",
        1,
    )
    file.close()


def test_a_file_of_a_later_version_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    stored(path).close()
    later = sqlite3.connect(path)
    later.execute(f"PRAGMA user_version = {VERSION + 1}")
    later.close()
    with pytest.raises(NewerHistory, match="later version"):
        HistoryFile(path, HistoryOptions()).open(BEGIN)
    assert [each.name for each in tmp_path.glob("*damaged*")] == []


def test_a_database_of_another_program_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "photos.db"
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE photos (name TEXT)")
    other.close()
    before = path.read_bytes()
    with pytest.raises(ForeignHistory, match="another program"):
        HistoryFile(path, HistoryOptions()).open(BEGIN)
    assert [each.name for each in tmp_path.iterdir()] == ["photos.db"]
    assert path.read_bytes() == before


def test_a_folder_that_is_a_file_is_said_in_words(tmp_path: Path) -> None:
    (tmp_path / "history").touch()
    options = HistoryOptions.at(str(tmp_path / "history"))
    with pytest.raises(HistoryError, match=r"history is a file, and no folder") as caught:
        HistoryFile(options.file(tmp_path, tmp_path), options).open(BEGIN)
    assert "Errno" not in str(caught.value)


@pytest.mark.parametrize("damage", ["garbage", "truncated", "a table gone"])
def test_a_damaged_file_is_set_aside_and_begun_anew(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "history.db"
    stored(path, *(row(n) for n in range(2000))).close()
    if damage == "garbage":
        path.write_bytes(b"no database at all" * 999)
    elif damage == "truncated":
        path.write_bytes(path.read_bytes()[:6000])
    else:
        other = sqlite3.connect(path)
        other.execute("DROP TABLE hours")
        other.close()
    before = path.read_bytes()
    file = HistoryFile(path, HistoryOptions())
    told = file.open(BEGIN)
    (aside,) = (
        p for p in tmp_path.glob("*.damaged-*") if "-wal" not in p.name and "-shm" not in p.name
    )
    assert aside.name in told and "20260301T120000Z" in aside.name
    assert aside.read_bytes() == before
    file.write(Batch(BEGIN, [row(1)]))
    assert len(found(file)) == 1
    file.close()


async def test_damage_while_it_runs_is_told_and_costs_what_was_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    world = HistoryWorld(path)
    async with world.running():
        await world.poll(200)
        with path.open("r+b") as file:  # the pages of the tables, but not the first one
            file.seek(4096)
            file.write(b"\xff" * (path.stat().st_size - 4096))
        world.keeper._file._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        with path.open("r+b") as file:
            file.seek(4096)
            file.write(b"\xff" * (path.stat().st_size - 4096))
        world.keeper._file._connection.execute("PRAGMA shrink_memory")
        await world.poll(200)
        answer = await world.history()
        energy = world.watcher.energy("van")
    assert "history_damaged" in [each.what for each in world.events]
    assert 150 <= len(answer.rows) <= 270
    assert energy is not None and energy.known == pytest.approx(399), "counters go on"
    assert world.keeper.status()["written"]


async def test_a_full_disk_keeps_what_fits_and_tells_the_gap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bmslink.runtime.history.keeper._ROOM", 300)
    world = HistoryWorld(tmp_path / "history.db")
    async with world.running():
        await world.poll(100)
        await world.history()
        connection = world.keeper._file._connection
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages}")
        await world.poll(600, voltage=51.0)
        full = world.keeper.status()
        assert not full["written"] and "full" in full["error"] and full["waiting"] == 300
        connection.execute("PRAGMA max_page_count = 1000000")
        await world.poll(100)
        rows = (await world.history(fields=("voltage",))).rows
        events = [e for e in await world.table() if e.what in ("trouble", "history_gap")]
    trouble, gap = events
    assert trouble.key == "history" and trouble.until is not None and "not written" in trouble.text
    lost = gap.data["rows"]
    assert lost == world.keeper.lost > 100
    assert len(rows) == 800 - lost
    missing = datetime.fromisoformat(gap.data["last"]) - datetime.fromisoformat(gap.data["first"])
    assert missing.total_seconds() == pytest.approx(lost - 1)
    holes = [b[0] - a[0] for a, b in pairwise(rows) if b[0] - a[0] > 8000]
    assert holes == [pytest.approx((lost + 1) * 1000)], "there is one gap, and it was told"


async def test_another_program_that_holds_the_file_stops_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema, "_WAIT", 0.05)
    path = tmp_path / "history.db"
    world = HistoryWorld(path)
    async with world.running():
        await world.poll(70)
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        await world.poll(200)
        assert "locked" in world.keeper.status()["error"]
        other.execute("ROLLBACK")
        reader = sqlite3.connect(path, isolation_level=None)
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM minutes").fetchone()
        await world.poll(70)
        assert world.keeper.status()["written"], "who only reads is no trouble"
        monkeypatch.setattr("bmslink.runtime.history.file._LARGEST_LOG", 10)
        await world.poll(70)
        assert "open for reading" in world.keeper.status()["error"]
        reader.close()
        other.close()
        await world.poll(70)
        rows = (await world.history()).rows
    assert len(rows) == 480 and world.keeper.lost == 0


@pytest.mark.real_time
async def test_a_disk_that_hangs_holds_up_nothing_and_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("COMMIT_EVERY", 0.1), ("_HANGS", 0.2), ("_ANSWER", 0.2), ("_FRESH", 0.0)):
        monkeypatch.setattr(f"bmslink.runtime.history.keeper.{name}", value)
    world = HistoryWorld(tmp_path / "history.db")
    going = threading.Event()
    going.set()
    write = HistoryFile.write

    def hang(file: HistoryFile, batch: Batch) -> None:
        going.wait(20)
        write(file, batch)

    monkeypatch.setattr(HistoryFile, "write", hang)
    async with world.running():
        await world.poll(0.3, every=0.01)
        going.clear()
        await world.poll(0.6, every=0.01)
        status = world.keeper.status()
        assert not status["written"] and "has not answered" in status["error"]
        with pytest.raises(HistoryError, match="slow"):
            await world.keeper.ask(lambda connection: 1)
        going.set()
        await world.poll(0.3, every=0.01)
        asked = HistoryQuery("van", BEGIN, BEGIN + timedelta(days=1), "raw")
        rows = (await world.keeper.ask(lambda store: find_history(store, asked))).rows
    assert len(rows) == 120 and world.keeper.lost == 0
    assert world.keeper.status()["written"]


async def test_a_file_that_was_taken_away_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    world = HistoryWorld(path)
    async with world.running():
        await world.poll(100)
        path.unlink()
        await world.poll(130)
        rows = (await world.history()).rows
    assert 100 <= len(rows) <= 170
    assert any("taken away" in each.text for each in world.events)


def test_fields_resolutions_and_pages(tmp_path: Path) -> None:
    values = {"cell_voltage_1": 3300, "cell_voltage_10": 3400, "temperature_mosfet": 21500}
    file = stored(tmp_path / "history.db", *(row(n, voltage=52000, **values) for n in range(10)))
    now = datetime(2026, 1, 1, tzinfo=UTC)
    spans = {timedelta(hours=2): "raw", timedelta(days=1): "minute", timedelta(days=30): "hour"}
    for span, level in spans.items():
        assert HistoryQuery("van", now - span, now).level == level
    assert HistoryQuery("van", now - timedelta(days=1), now, limit=1000).level == "hour"

    def ask(**query: Any) -> Any:
        asked = HistoryQuery("van", BEGIN, BEGIN + timedelta(hours=1), **query)
        return file.ask(lambda connection: find_history(connection, asked))

    assert ask().fields == ("voltage", "cell_voltage_1", "cell_voltage_10", "temperature_mosfet")
    assert ask(fields=("cells",)).fields == ("cell_voltage_1", "cell_voltage_10")
    first = ask(limit=7)
    assert len(first.rows) == 7 and first.next == BEGIN + timedelta(seconds=7)
    assert ask(resolution="minute", fields=("temperature_mosfet_max",)).rows[0][1] == 21.5
    file.close()
