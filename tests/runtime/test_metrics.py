"""What Prometheus gets: the readings, in base units, and nothing of a pack that is not read."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import urllib.parse
import urllib.request
from datetime import UTC, datetime

import pytest
from asgi_support import STRANGER, ask
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families as classic

import counterparts
from bmslink.outputs.metrics import expose
from bmslink.outputs.pack_now import PackNow
from bmslink.runtime.api.access.tokens import Access
from bmslink.runtime.api.app import make_app
from bmslink.runtime.api.hosting import host
from bmslink.runtime.service import Service
from bmslink.runtime.service_file import load_plan
from control_support import healthy

GOOD, SILENT = "sim://jk02?cells=4&gap=0", "sim://jbd?gap=0&fault=silent&timeout=0.01"
OPEN = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"
NOW = datetime(2026, 1, 10, 18, tzinfo=UTC)


def samples(text, parse=classic):
    """(name, labels) -> value."""
    return {
        (s.name, tuple(sorted(s.labels.items()))): s.value
        for family in parse(text.decode())
        for s in family.samples
    }


def pack(name="van", **changes):
    """A pack that says everything there is."""
    reading = healthy(time=NOW, soc=57.3, soh=99.0, cycles=12, remaining_capacity=56.78)
    more = {
        "identity": None,
        "limits": {"cvl": 56.0, "ccl": 50.0, "dcl": 100.0, "dvl": 44.0},
        "permits": {"charge": True, "discharge": False},
        "link": {"answers": 7, "timeouts": 1, "checksum_errors": 2, "openings": 1},
        "energy": {"charge": 1.5, "discharge": 2.25},
        "charge": {"charge": 3.0, "discharge": 4.0},
    }
    known = {"name": name, "state": "ok", "polled": True, "reading": reading, "heard": NOW}
    return PackNow(**{**known, **more, **changes})


@contextlib.asynccontextmanager
async def served(*targets):
    service = Service(load_plan(targets))
    task = asyncio.create_task(service.run())
    try:
        await asyncio.sleep(5)
        yield service
    finally:
        service.stop()
        await task


async def test_a_scrape_holds_the_readings_in_base_units_in_both_formats():
    found = {}
    for accept, parse in (("", classic), (OPEN, open_metrics)):
        text, kind = await expose([pack()], accept, version="1", began=NOW)
        found[kind.partition(";")[0]] = samples(text, parse)
    assert [*found] == ["text/plain", "application/openmetrics-text"]
    plain, openly = found.values()
    assert plain == openly
    van, reading = ("pack", "van"), pack().reading
    assert plain["bmslink_pack_voltage_volts", (van,)] == reading.voltage
    assert plain["bmslink_pack_charge_ratio", (van,)] == 0.573
    assert plain["bmslink_pack_remaining_charge_coulombs", (van,)] == 204408
    for number, volts in enumerate(reading.cell_voltages, 1):
        assert plain["bmslink_cell_voltage_volts", (("cell", str(number)), van)] == volts
    assert plain["bmslink_energy_joules_total", (("direction", "discharge"), van)] == 2.25
    assert plain["bmslink_limit_amperes", (("limit", "ccl"), van)] == 50
    assert plain["bmslink_link_requests_total", (van, ("result", "timeout"))] == 1
    assert plain["bmslink_permit", (van, ("permit", "discharge"))] == 0


async def test_many_packs_are_written_in_pieces_that_make_one_text():
    packs = [pack(f'p"\n{n}') for n in range(40)]
    for accept, parse in (("", classic), (OPEN, open_metrics)):
        text, _ = await expose(packs, accept, version="1", began=NOW)
        assert text.count(b"# TYPE bmslink_pack_voltage_volts ") == 1
        assert text.count(b"# EOF\n") == (parse is open_metrics)
        found = samples(text, parse)
        assert sum(name == "bmslink_pack_voltage_volts" for name, _ in found) == 40
        assert ("bmslink_pack_up", (("pack", 'p"\n39'),)) in found


async def test_a_pack_that_is_not_read_has_no_values_and_health_names_it():
    async with served(GOOD, SILENT) as service:
        app = make_app(service, Access("secret"))
        found = samples((await ask(app, "GET", "/metrics")).body)
        assert found["bmslink_pack_up", (("pack", "jk02"),)] == 1
        assert found["bmslink_pack_up", (("pack", "jbd"),)] == 0
        named = {name for name, labels in found if ("pack", "jbd") in labels}
        assert not {n for n in named if n.startswith(("bmslink_cell", "bmslink_pack_voltage"))}
        health = await ask(app, "GET", "/healthz")
        assert health.status == 503
        (missing,) = health.values["not_polled"]
        assert (missing["pack"], missing["state"]) == ("jbd", "silent")
        # nor has one that was read, once its last reading is old
        service.packs["jk02"].heard -= 60
        found = samples((await ask(app, "GET", "/metrics")).body)
        assert not any(name == "bmslink_pack_voltage_volts" for name, _ in found)
        assert any(name == "bmslink_pack_reading_timestamp_seconds" for name, _ in found)


async def test_metrics_want_the_token_and_health_names_packs_only_with_it():
    async with served(SILENT) as service:
        app = make_app(service, Access("secret"))
        token = {"authorization": "Bearer secret"}
        assert (await ask(app, "GET", "/metrics", peer=STRANGER)).status == 401
        assert (await ask(app, "GET", "/metrics", peer=STRANGER, headers=token)).status == 200
        assert (await ask(app, "POST", "/metrics", {})).status == 405
        bare = await ask(app, "GET", "/healthz", peer=STRANGER)
        assert bare.status == 503
        assert "not_polled" not in bare.values
        known = await ask(app, "GET", "/healthz", peer=STRANGER, headers=token)
        assert known.values["not_polled"][0]["pack"] == "jbd"
        wrong = {"authorization": "Bearer wrong"}
        assert (await ask(app, "GET", "/healthz", peer=STRANGER, headers=wrong)).status == 401


@pytest.mark.needs(program="promtool")
def test_promtool_finds_nothing_in_the_classic_format():
    text, _ = asyncio.run(expose([pack()], "", version="1", began=NOW))
    command = [counterparts.require("promtool"), "check", "metrics"]
    done = subprocess.run(command, input=text, capture_output=True, timeout=30)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


# -- a real Prometheus ----------------------------------------------------------------------------

CONFIG = """
global: {{scrape_interval: 1s}}
scrape_configs:
  - job_name: bmslink
    authorization: {{credentials_file: {token}}}
    static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
"""


def query(port, expression):
    """label pack -> value, now."""
    address = f"http://127.0.0.1:{port}/api/v1/query?query={urllib.parse.quote(expression)}"
    with urllib.request.urlopen(address, timeout=5) as answer:
        return json.load(answer)["data"]["result"]


@pytest.mark.slow
@pytest.mark.real_time
@pytest.mark.needs(program="prometheus")
async def test_a_real_prometheus_has_every_value_of_a_reading(tmp_path):
    ours, theirs = counterparts.free_port(), counterparts.free_port()
    file = tmp_path / "bmslink.toml"
    file.write_text(
        f'[service]\ntcp = "127.0.0.1:{ours}"\ntoken_file = "token"\n'
        f'[packs.van]\ntarget = "{GOOD}"\n[packs.shed]\ntarget = "{SILENT}"\n'
    )
    service = Service(load_plan((), file))
    readings = {}

    async def listen():
        with service.feed.subscribe(kinds=["reading"]) as news:
            async for item in news:
                readings[item.data.time.timestamp()] = item.data

    begun = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(listen())
        group.create_task(host(service, ready=lambda listening: begun.set()))
        await begun.wait()
        config = tmp_path / "prometheus.yml"
        config.write_text(CONFIG.format(token=tmp_path / "token", port=ours))
        command = [
            counterparts.require("prometheus"),
            f"--config.file={config}",
            f"--storage.tsdb.path={tmp_path / 'data'}",
            f"--web.listen-address=127.0.0.1:{theirs}",
        ]
        with await asyncio.to_thread(enter, command, theirs, tmp_path / "log") as leaving:
            found = await scraped(theirs)
            await asyncio.to_thread(leaving.close)
        service.stop()
    reading = readings[found.pop("bmslink_pack_reading_timestamp_seconds", None)]
    known = {name: value for name, value in reading.temperatures.items() if value is not None}
    assert found == {
        "bmslink_pack_voltage_volts": reading.voltage,
        "bmslink_pack_current_amperes": reading.current,
        "bmslink_pack_power_watts": reading.power,
        "bmslink_pack_charge_ratio": round(reading.soc / 100, 6),
        **{f"cell {n}": volts for n, volts in enumerate(reading.cell_voltages, 1)},
        **{f"sensor {name}": value for name, value in known.items()},
    }


def enter(command, port, log):
    """The server, in a thread: it takes a while to listen, and the packs go on."""
    stack = contextlib.ExitStack()
    stack.enter_context(counterparts.running(command, port, log))
    return stack


async def scraped(port):
    """All values of one scrape of the pack that is read, once there is one."""
    names = "pack_(voltage_volts|current_amperes|power_watts|charge_ratio|reading_timestamp_.*)"
    expression = f'{{__name__=~"bmslink_({names}|cell_voltage_volts|temperature_celsius)"}}'
    for _ in range(300):
        result = None
        with contextlib.suppress(OSError):  # it listens before it answers
            result = await asyncio.to_thread(query, port, expression)
        if result:
            assert {series["metric"]["pack"] for series in result} == {"van"}
            return {name(series["metric"]): float(series["value"][1]) for series in result}
        await asyncio.sleep(0.1)
    raise AssertionError("nothing was scraped")


def name(metric):
    for label in ("cell", "sensor"):
        if label in metric:
            return f"{label} {metric[label]}"
    return metric["__name__"]
