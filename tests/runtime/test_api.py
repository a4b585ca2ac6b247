"""What the routes answer, on a service of simulated packs, without a socket."""

from __future__ import annotations

import asyncio
import contextlib
import json

import pytest
from asgi_support import LOCAL, STRANGER, ask

from bmslink.runtime.api.app import make_app
from bmslink.runtime.api.stream import KEEP_ALIVE, MOST_LISTENERS
from bmslink.runtime.feed import PackEvent
from bmslink.runtime.service import Service
from bmslink.runtime.service_file import load_plan
from bmslink.storage.journal import Journal, JournalError

FAST = "sim://jbd?cells=4&gap=0"
SILENT = "sim://jk02?gap=0&fault=silent&timeout=0.01"


@contextlib.asynccontextmanager
async def served(*targets: str):
    """A running service and its application; all packs have been heard, or have failed once."""
    service = Service(load_plan(targets or (FAST,)))
    task = asyncio.create_task(service.run())
    try:
        await asyncio.sleep(5)
        yield service, make_app(service)
    finally:
        service.stop()
        await task


class Listening:
    """A client of the stream, which reads as fast as the test says."""

    def __init__(self, app, target="/api/v1/stream"):
        self.text = ""
        self.status = 0
        self.gone = asyncio.Event()
        self.reading = asyncio.Event()
        self.reading.set()
        path, _, query = target.partition("?")
        scope = {"type": "http", "method": "GET", "path": path, "query_string": query.encode()}
        scope |= {"asgi": {"spec_version": "2.3"}, "headers": [], "state": {"peer": LOCAL}}
        self.task = asyncio.create_task(app(scope, self._receive, self._send))

    async def _receive(self):
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message):
        self.status = message.get("status", self.status)
        await self.reading.wait()
        self.text += message.get("body", b"").decode()

    def events(self, kind):
        blocks = [b.split("\n") for b in self.text.split("\n\n")]
        return [json.loads(b[1][6:]) for b in blocks if b[0] == f"event: {kind}"]

    async def leave(self):
        self.gone.set()
        await asyncio.wait_for(self.task, 5)


async def test_packs_one_pack_and_health():
    async with served(FAST, SILENT) as (service, app):
        good, silent = (await ask(app, "GET", "/api/v1/packs")).values["packs"]
        assert good["reading"]["voltage"] > 10
        assert good["health"]["state"] == "ok"
        assert silent["reading"] is None
        assert silent["health"]["error"]
        whole = (await ask(app, "GET", f"/api/v1/packs/{good['name']}")).values
        assert whole["schema"] == 1
        assert {"reading", "identity", "health", "limits"} <= whole.keys()
        assert len(whole["reading"]["cell_voltages"]) == 4
        assert whole["identity"]["protocol"] == "jbd"
        health = await ask(app, "GET", "/healthz")
        assert (health.status, health.values["polled"]) == (503, 1)
        bare = await ask(app, "GET", "/healthz", peer=STRANGER)
        assert silent["name"] not in bare.body.decode()
        status = (await ask(app, "GET", "/api/v1/status")).values
        assert [each["name"] for each in status["packs"]] == list(service.packs)
    async with served() as (_, app):
        assert (await ask(app, "GET", "/healthz")).status == 200


async def test_what_is_not_there():
    async with served() as (service, app):
        name = next(iter(service.packs))
        missing = await ask(app, "GET", "/api/v1/packs/vam")
        assert missing.status == 404
        assert name in missing.values["hint"]
        assert (await ask(app, "GET", "/api/v1/stream?pack=vam")).status == 404
        assert (await ask(app, "GET", "/api/v1/stream?kind=vam")).status == 400
        assert (await ask(app, "GET", "/")).values["error"] == "There is no such path."
        for method, path in (("POST", "/api/v1/packs"), ("GET", "/api/v1/stop")):
            wrong = await ask(app, method, path, {} if method == "POST" else None)
            assert wrong.status == 405
            assert wrong.headers["allow"]
        assert (await ask(app, "HEAD", "/api/v1/stream")).status == 200


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"a": 1}',
        b'{"a": NaN}',
        b"\xff\xfe",
        b'{"force": true, "force": false}',
        b"[" * 100_000,
        b'{"a":' * 50_000,
        b"1" * 5000,
    ],
)
async def test_what_is_no_command_does_nothing(body):
    async with served() as (service, app):
        for path in ("/api/v1/stop", "/api/v1/reload"):
            assert (await ask(app, "POST", path, body)).status == 400
        assert not service._stopping.is_set()
    assert not [*Journal().records()]


async def test_stop_is_answered_and_journalled_with_who_asked(monkeypatch, tmp_path):
    async with served() as (service, app):
        got = await ask(app, "POST", "/api/v1/stop", {})
        assert got.values["stopping"] is True
        assert service._stopping.is_set()
    (record,) = [r for r in Journal().records() if r["event"] == "service"]
    assert (record["what"], record["peer"]["uid"]) == ("stop", LOCAL.uid)


async def test_a_full_disk_keeps_nobody_from_ending_the_service(monkeypatch, caplog):
    def full(*_, **__):
        raise JournalError("The disk is full.")

    monkeypatch.setattr(Journal, "append", full)
    async with served() as (service, app):
        assert (await ask(app, "POST", "/api/v1/reload", {})).status == 200
        assert (await ask(app, "POST", "/api/v1/stop", {})).status == 200
        assert service._stopping.is_set()
    assert "stop is done, but not in the journal: The disk is full." in caplog.text


async def test_reload_reads_the_file_again_and_refuses_a_wrong_one(monkeypatch, tmp_path):
    path = tmp_path / "bmslink.toml"
    path.write_text(f'[packs.a]\ntarget = "{FAST}"\n')
    service = Service(load_plan((), path))
    task = asyncio.create_task(service.run())
    app = make_app(service)
    path.write_text(f'[packs.a]\ntarget = "{FAST}"\n[packs.b]\ntarget = "{FAST}&seed=2"\n')
    assert (await ask(app, "POST", "/api/v1/reload", {})).values["added"] == ["b"]
    path.write_text('[packs.a]\ntarget = "nothing"\n')
    refused = await ask(app, "POST", "/api/v1/reload", {})
    assert refused.status == 400
    assert "line 2" in refused.values["error"]
    assert list(service.packs) == ["a", "b"]
    service.stop()
    await task


async def test_a_stream_begins_with_what_is_known_and_lives_in_silence():
    async with served(FAST, "sim://jk02?gap=0") as (service, app):
        first, second = service.packs
        newest = service.packs[first].reading
        client = Listening(app, f"/api/v1/stream?pack={first}&kind=reading")
        await asyncio.sleep(0.5)
        assert client.status == 200
        (known,) = client.events("reading")[:1]
        assert known["pack"] == first
        assert known["time"] == newest.to_dict()["time"]
        await asyncio.sleep(3)
        assert {each["pack"] for each in client.events("reading")} == {first}
        await client.leave()
        assert len(service.feed) == 0
        quiet = Listening(app, f"/api/v1/stream?pack={second}&kind=event")
        await asyncio.sleep(KEEP_ALIVE * 2.5)
        assert quiet.text.count(": keep-alive") == 2
        service.feed.publish("event", "", PackEvent("reload", "A line\nend", data={"a": 1.0}))
        await asyncio.sleep(0.1)
        (event,) = quiet.events("event")
        assert (event["pack"], event["text"]) == (None, "A line\nend")
        service.stop()  # ends the stream too
        await asyncio.wait_for(quiet.task, 5)


async def test_a_slow_listener_loses_the_oldest_and_is_told():
    async with served() as (service, app):
        name = next(iter(service.packs))
        slow = Listening(app, "/api/v1/stream?kind=event")
        await asyncio.sleep(1)
        slow.reading.clear()
        for number in range(1000):
            service.feed.publish("event", name, PackEvent("test", "x", data={"number": number}))
        await asyncio.sleep(1)
        slow.reading.set()
        await asyncio.sleep(1)
        numbers = [e["number"] for e in slow.events("event") if "number" in e]
        (told,) = slow.events("lost")
        assert told["lost"] + len(numbers) == 1000
        assert numbers[-1] == 999
        await slow.leave()


async def test_the_number_of_listeners_is_limited():
    async with served() as (service, app):
        clients = [Listening(app) for _ in range(MOST_LISTENERS)]
        await asyncio.sleep(1)
        refused = await ask(app, "GET", "/api/v1/stream")
        assert refused.status == 503
        assert (await ask(app, "GET", "/api/v1/packs")).status == 200
        for client in clients:
            await client.leave()
        assert len(service.feed) == 0
        again = Listening(app)
        await asyncio.sleep(0.5)
        assert again.status == 200
        await again.leave()
