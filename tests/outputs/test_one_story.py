"""History, events, metrics, alerts and log files tell the same of one pack, to the last digit."""

from __future__ import annotations

import asyncio

import pytest
from asgi_support import ask
from prometheus_client.parser import text_string_to_metric_families as classic
from receiver import receiving

from bmslink.control.backtest.logs import Log
from bmslink.runtime.api.app import make_app
from bmslink.runtime.service import Service
from bmslink.runtime.service_file import load_plan
from bmslink.storage.readings.log_file import FORMATS, open_log
from bmslink.testing import SimulatedPack

VALUES = ("voltage", "current", "soc", "min_cell_voltage", "remaining_capacity")


async def until(true):
    for _ in range(1000):
        if true():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come to that")


@pytest.mark.real_time
@pytest.mark.slow
async def test_one_story(tmp_path):
    pack = SimulatedPack("jbd", cells=4, load="-20", speed=100)
    readings = []
    with receiving() as receiver:
        file = tmp_path / "bmslink.toml"
        file.write_text(
            f'[service]\ninterval = 0.1\n[packs.van]\ntarget = "{pack.target}&gap=0"\n'
            '[history]\npath = "history.db"\ninterval = 0\n'
            f'[alerts]\ndelay = 0\nsettle = 0\n[alerts.to.me]\nwebhook = "{receiver.url()}"\n'
            'kinds = ["condition"]\n'
        )
        service = Service(load_plan((), file))
        app = make_app(service)

        async def listen():
            with service.feed.subscribe(kinds=["reading"]) as news:
                async for item in news:
                    readings.append(item.data)

        async with asyncio.TaskGroup() as group:
            group.create_task(listen())
            group.create_task(service.run())
            await until(lambda: len(readings) > 3)
            pack.set_condition("short_circuit", "protection")
            await until(lambda: receiver.came)
            pack.set_condition("short_circuit", None)
            await until(lambda: len(receiver.came) == 2)
            scraped = (await ask(app, "GET", "/metrics")).body.decode()
            last = readings[-1]
            await asyncio.sleep(6)  # what is younger is not written for a question
            fields = "".join(f"&field={name}" for name in VALUES)
            history = await ask(app, "GET", f"/api/v1/history?pack=van&resolution=raw{fields}")
            events = await ask(app, "GET", "/api/v1/events?what=condition")
            service.stop()

    # log files
    for end in FORMATS:
        log = open_log(tmp_path / f"log{end}")
        for reading in readings:
            log.write([reading])
        log.close()
        found = [entry.reading for entry in Log(tmp_path / f"log{end}")]
        assert [(r.time, r.cell_voltages, *(getattr(r, v) for v in VALUES)) for r in found] == [
            (r.time, r.cell_voltages, *(getattr(r, v) for v in VALUES)) for r in readings
        ]

    # history
    known = {r.to_dict()["time"]: [getattr(r, v) for v in VALUES] for r in readings}
    answer = history.values
    order = [answer["fields"].index(name) for name in VALUES]
    rows = {row[0]: [row[n] for n in order] for row in answer["rows"]}
    assert len(rows) > 20
    assert rows == {moment: known[moment] for moment in rows}

    # metrics
    samples = {
        (s.name, *s.labels.values()): s.value for family in classic(scraped) for s in family.samples
    }
    assert samples["bmslink_pack_reading_timestamp_seconds", "van"] == last.time.timestamp()
    assert samples["bmslink_pack_voltage_volts", "van"] == last.voltage
    assert samples["bmslink_pack_charge_ratio", "van"] == round(last.soc / 100, 6)

    # alerts and events
    begun, over = receiver.came
    (told,) = (e for e in events.values["events"] if "short_circuit" in e["key"])
    assert (begun["state"], over["state"]) == ("begun", "over")
    assert begun["event"]["since"] == over["event"]["since"]
    assert [over["event"][name] for name in ("since", "until")] == [told["since"], told["until"]]
    assert begun["event"]["severity"] == over["severity"] == told["severity"]
