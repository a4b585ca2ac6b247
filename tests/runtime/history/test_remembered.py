"""The history as programs and people ask for it: the interface, the commands, a real kill."""

from __future__ import annotations

import asyncio
import csv
import re
import sqlite3
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from asgi_support import App, ask

from bmslink.errors import TargetError, UsageError
from bmslink.events import PackEvent
from bmslink.runtime.api.app import make_app
from bmslink.runtime.api.hosting import host
from bmslink.runtime.history.days import readings
from bmslink.runtime.history.options import HistoryOptions
from bmslink.runtime.history.when import moment
from bmslink.runtime.service import Service
from bmslink.runtime.service_file import load_plan
from cli_support import Cli, finish, start

FAST = "sim://jbd?cells=4&gap=0"


def plan(folder: Path, *targets: str):
    return load_plan(targets or (FAST,)).with_section(HistoryOptions.at(str(folder)))


@asynccontextmanager
async def remembering(folder: Path, *targets: str) -> AsyncIterator[tuple[Service, App]]:
    service = Service(plan(folder, *targets))
    task = asyncio.create_task(service.run())
    try:
        await asyncio.sleep(30)
        yield service, make_app(service)
    finally:
        service.stop()
        await task


async def test_the_interface_answers_and_refuses(tmp_path: Path) -> None:
    async with remembering(tmp_path) as (service, app):
        (name,) = service.packs
        answer = await ask(app, "GET", f"/api/v1/history?pack={name}&since=1h&field=main")
        assert answer.status == 200, answer.body
        found = answer.values
        assert found["schema"] == 1 and found["resolution"] == "raw" and found["next"] is None
        assert found["fields"][:3] == ["time", "voltage", "current"]
        assert len(found["rows"]) >= 5 and found["rows"][0][0].endswith("Z")
        latest = (await ask(app, "GET", f"/api/v1/packs/{name}")).values
        assert latest["energy"]["known_seconds"] > 20
        assert latest["energy"]["unknown_seconds"] == 0
        hour = (await ask(app, "GET", f"/api/v1/history?pack={name}&resolution=hour")).values
        assert hour["rows"][0][hour["fields"].index("known_seconds")] is not None
        events = (await ask(app, "GET", "/api/v1/events?limit=5&severity=info")).values["events"]
        assert [each["what"] for each in events] == ["service_began", "ok"]
        states = await ask(app, "GET", f"/api/v1/events?what=state&pack={name}")
        assert [each["what"] for each in states.values["events"]] == ["ok"]
        assert (await ask(app, "GET", "/api/v1/events?open=1")).values["events"] == []
        status = (await ask(app, "GET", "/api/v1/status")).values
        assert status["history"]["written"] and status["packs"][0]["energy"]["known_seconds"] > 20
        for wrong in (
            "history", "history?pack=nobody", f"history?pack={name}&since=soon",
            f"history?pack={name}&resolution=day", f"history?pack={name}&field=x;drop",
            f"history?pack={name}&limit=0", f"history?pack={name}&sinse=1h",
            f"history?pack={name}&since=1h&until=2h", f"history?pack={name}&since=2999-01-01",
            "events?pack=nobody", "events?what=conditon", "events?since=1h&until=2h",
            "events?severity=bad", "events?open=maybe", "events?limit=99999999999999999999",
        ):  # fmt: skip
            refused = await ask(app, "GET", f"/api/v1/{wrong}")
            assert refused.status == 400 and refused.values["error"], wrong


async def test_without_a_history_it_says_how_to_have_one() -> None:
    service = Service(load_plan((FAST,)))
    task = asyncio.create_task(service.run())
    await asyncio.sleep(5)
    for path in ("history?pack=jbd", "events"):
        refused = await ask(make_app(service), "GET", f"/api/v1/{path}")
        assert refused.status == 404 and "--history" in refused.values["hint"]
    found = (await ask(make_app(service), "GET", "/api/v1/packs/jbd")).values
    assert found["energy"]["known_seconds"] > 2, "counted all the same, while it runs"
    service.stop()
    await task


def test_the_section_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "bmslink.toml"
    text = f'[packs.van]\ntarget = "{FAST}"\n[history]\n'
    path.write_text(text + 'path = "here"\nraw_days = 30\n')
    found = load_plan((), path)
    options = found.section(HistoryOptions)
    assert options == HistoryOptions(path="here", raw_days=30)
    assert options.file(found.beside("."), Path("/state")) == tmp_path / "here" / "history.db"
    assert HistoryOptions().file(tmp_path, Path("/state")) == Path("/state/history.db")
    assert (
        HistoryOptions.at(str(tmp_path / "a.db")).file(Path("/x"), Path("/y")) == tmp_path / "a.db"
    )
    given = found.with_section(HistoryOptions.at(str(tmp_path), options))
    assert given.read_again() == given, "what the command line gave outlives a reload"
    for wrong in ("raw_days = 0", "max_size = 1", "path = 5", "days = 3"):
        path.write_text(f"{text}{wrong}\n")
        with pytest.raises(TargetError, match="line 4"):
            load_plan((), path)


BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("2h", "2026-03-29T08:00:00+00:00"),
        ("1.5 d ago", "2026-03-27T22:00:00+00:00"),
        ("yesterday", "2026-03-27T23:00:00+00:00"),
        ("today", "2026-03-28T23:00:00+00:00"),  # the clock was set at two
        ("06:30", "2026-03-29T04:30:00+00:00"),
        ("2026-03-28", "2026-03-27T23:00:00+00:00"),
        ("2026-07-01T06:30", "2026-07-01T04:30:00+00:00"),
        ("2026-03-28T06:30:00Z", "2026-03-28T06:30:00+00:00"),
        ("now", "2026-03-29T10:00:00+00:00"),
    ],
)
def test_times_as_people_write_them(text: str, meant: str) -> None:
    now = datetime(2026, 3, 29, 10, tzinfo=UTC)
    assert moment(text, now, BERLIN).isoformat() == meant


@pytest.mark.parametrize("text", ["", "soon", "25:00", "2026-13-01", "9" * 30 + "d", "-2h", "٣h"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is no time"):
        moment(text, datetime(2026, 3, 29, 10, tzinfo=UTC), BERLIN)


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    return Cli(capsys)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Service]:
    """A service in a thread, which has heard its pack."""
    ready = threading.Event()
    box: list[tuple[Service, asyncio.AbstractEventLoop]] = []

    async def serve() -> None:
        service = Service(plan(tmp_path / "history"))
        box.append((service, asyncio.get_running_loop()))
        task = asyncio.create_task(host(service))
        with service.feed.subscribe(kinds=["reading"]) as news:
            for _ in range(2):
                await news.get()
        ready.set()
        await task

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert ready.wait(20)
    yield box[0][0]
    box[0][1].call_soon_threadsafe(box[0][0].stop)
    thread.join(10)


def test_the_commands(cli: Cli, running: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bmslink.runtime.history.keeper._FRESH", 0.0)
    monkeypatch.setattr("bmslink.cli.history._PAGE", 1)
    table = cli("history", "jbd")
    assert table.code == 0 and "voltage" in table.out and "current" in table.out, table
    lines = cli("history", "jbd", "--json", "--since", "10m", "--resolution", "raw").objects
    assert lines and lines[0]["pack"] == "jbd" and lines[0]["cell_voltage_4"] > 3
    assert lines[0]["charging_allowed"] is True and lines[0]["alarms"] == []
    found = cli("history", "jbd", "--csv", "--last", "10m", "--resolution", "raw")
    rows = [*csv.DictReader(found.out.splitlines())]
    assert [row["voltage"] for row in rows][: len(lines)] == [str(x["voltage"]) for x in lines]
    assert rows[0]["charging_allowed"] == "true"
    assert cli("history", "jbd", "--since", "2020-01-01", "--until", "2020-01-02").code == 0
    cli("history", "jdb").failed(2, "Did you mean jbd?")
    cli("history", "jbd", "--since", "soon").failed(2, "is no time")
    cli("history", "jbd", "--field", "voltag").failed(2, "voltage")
    cli("history", "jbd", "--json", "--csv").failed(2, "name one")
    events = cli("events")
    assert re.search(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  jbd: It is read\.$", events.out, re.M)
    kinds = {each["what"] for each in cli("events", "--json").objects}
    assert kinds == {"service_began", "ok"}
    assert cli("events", "jbd", "--severity", "alarm", "--seen").out == ""
    both = cli("events", "jbd")
    assert re.search(r" bmslink  +jbd: It is read\.$", both.out, re.M)
    assert "counters: all 12 are 0" in both.out
    sources = {(x["source"], x["what"]) for x in cli("events", "jbd", "--json").objects}
    assert sources == {("bmslink", "ok"), ("board", "counter"), ("board", "missing")}
    assert "older ones" not in events.err
    newest = cli("events", "--limit", "1")
    assert len(newest.out.splitlines()) == 1
    assert "the newest 1; there are older ones" in newest.err
    cli("events", "--limit", "10001").failed(2, "10000")
    for empty in ("history", "events"):
        cli(empty, "").failed(2, "Name a pack, as in")
    assert running.history is not None
    running.history._error = "The disk is full."
    monkeypatch.setattr("bmslink.runtime.history.keeper._FRESH", 60.0)
    for words in (("events",), ("history", "jbd")):
        assert "What came last is not stored, and not shown: The disk is full." in " ".join(
            cli(*words).err.split()
        )
    running.history._error = ""
    status = cli("service", "status").out
    assert "history: " in status and "Wh; since " in status


def test_without_a_service_they_say_how_to_get_one(cli: Cli) -> None:
    for words in (("events",), ("history", "van")):
        cli(*words).failed(1, "bmslink serve --history")


@pytest.fixture
def another(tmp_path: Path) -> Path:
    """A database of another program."""
    other = tmp_path / "other.db"
    store = sqlite3.connect(other)
    store.execute("CREATE TABLE mine (x)")
    store.close()
    return other


def test_a_file_that_cannot_be_used_is_refused_where_a_person_gives_it(
    cli: Cli, another: Path, tmp_path: Path
) -> None:
    (tmp_path / "notes").write_text("mine")
    for wrong in (another, tmp_path / "notes", tmp_path / "notes" / "history.db"):
        cli("serve", "--history", str(wrong), FAST).failed(2, "--history: ")
    assert another.read_bytes()[:6] == b"SQLite" and (tmp_path / "notes").read_text() == "mine"


async def test_a_file_of_the_configuration_that_cannot_be_used_is_an_alarm(another: Path) -> None:
    """The packs are protected without it."""
    file = another.with_name("bmslink.toml")
    file.write_text(f'[packs.van]\ntarget = "{FAST}"\n[history]\npath = "other.db"\n')
    service = Service(load_plan((), file))
    task = asyncio.create_task(service.run())
    with service.feed.subscribe() as news:
        told = [await news.get() for _ in range(30)]
    service.stop()
    await task
    assert "reading" in {each.kind for each in told if each}
    alarms = [e.data.text for e in told if e and isinstance(e.data, PackEvent) and e.data.alarm]
    assert alarms and "database of another program" in alarms[0]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_a_killed_service_loses_a_minute_at_most_and_counts_nothing_twice(tmp_path: Path) -> None:
    folder = tmp_path / "history"
    began = datetime.now(UTC)
    for _ in range(2):
        process = start("serve", "--history", str(folder), "sim://jbd?soc=50")
        assert process.stdout is not None and process.stdout.readline().startswith("ready")
        time.sleep(6)
        query = start("history", "jbd", "--since", "1h")  # has what was heard written
        assert finish(query).code == 0
        process.kill()
        process.communicate(timeout=10)
    span = (datetime.now(UTC) - began).total_seconds()
    store = sqlite3.connect(folder / "history.db")
    since, until, known, unknown = store.execute(
        "SELECT since, until, known, unknown FROM totals"
    ).fetchone()
    assert known + unknown == pytest.approx((until - since) / 1000, abs=0.5)
    assert 2 * 4 <= known <= span and unknown > 0
    whole = readings(store, ["voltage"], 0, 1 << 60)
    times = [each for (each,) in store.execute(f"SELECT time FROM {whole}")]
    assert len(times) == len(set(times)) >= 3
    assert store.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    texts = [
        each for (each,) in store.execute("SELECT text FROM events WHERE what = 'service_began'")
    ]
    assert ["killed" in each for each in texts] == [False, True]
    assert timedelta(milliseconds=until - since) < timedelta(seconds=span)
    store.close()
