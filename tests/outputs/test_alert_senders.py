"""Alerts to real servers on this machine: good ones, and ones that hang, refuse, fail or drip."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
import time
from pathlib import Path

import pytest
from asgi_support import ask
from receiver import SECRET, receiving

from bmslink.errors import TargetError
from bmslink.events import EventSeverity
from bmslink.outputs.alerts.options import ReceiverOptions
from bmslink.outputs.alerts.receivers import make_receiver
from bmslink.outputs.alerts.rules import Alert
from bmslink.outputs.alerts.sender import AlertSender, NotDelivered
from bmslink.outputs.alerts.webhook import Webhook
from bmslink.runtime.api.app import make_app
from bmslink.runtime.service import Service
from bmslink.runtime.service_file import load_plan


@pytest.fixture
def server():
    with receiving() as found:
        yield found


@pytest.fixture
def hung():
    """Accepts connections and never says anything."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        yield f"http://127.0.0.1:{found.getsockname()[1]}/{SECRET}"


def alert(text="c/low is there.", severity="alarm"):
    return Alert("begun", EventSeverity(severity), "van: alarm", text)


def wait_until(true, seconds=10.0):
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until
        time.sleep(0.005)


def test_a_webhook_gets_the_alert_as_json_with_its_token(server):
    Webhook(server.url(), SECRET)(alert())
    (came,) = server.came
    assert (came["schema"], came["state"], came["severity"]) == (1, "begun", "alarm")
    assert server.headers[0]["authorization"] == f"Bearer {SECRET}"


@pytest.mark.slow
@pytest.mark.needs(module="apprise")
def test_apprise_delivers_to_the_same_server(server):
    options = ReceiverOptions(apprise=server.url("json"))
    deliver = make_receiver("me", options, Path, None)
    deliver(alert())
    assert server.came[0]["message"] == "c/low is there."
    assert server.came[0]["type"] == "failure"
    server.answers = [500]
    with pytest.raises(NotDelivered) as failed:
        deliver(alert())
    assert SECRET not in str(failed.value)
    with pytest.raises(TargetError, match="apprise does not know") as failed:
        make_receiver("me", ReceiverOptions(apprise=f"nosuch://{SECRET}"), Path, None)
    assert SECRET not in str(failed.value)


@pytest.mark.parametrize("status", [301, 401, 404, 500, 503])
def test_an_answer_that_is_no_yes_is_a_failure_and_names_no_secret(server, status):
    server.answers = [status]
    with pytest.raises(NotDelivered, match=str(status)) as failed:
        Webhook(server.url(), SECRET)(alert())
    assert failed.value.refused == (status < 500)
    assert SECRET not in str(failed.value)


def test_a_hung_one_and_one_that_drips_end_in_time(server, hung):
    server.answers = ["drip"]
    for url, times in ((hung, {"timeout": 0.1}), (server.url(), {"timeout": 5, "whole": 0.2})):
        begun = time.monotonic()
        with pytest.raises(NotDelivered):
            Webhook(url, **times)(alert())
        assert time.monotonic() - begun < 3


def test_what_fails_is_sent_again_in_its_order_and_the_trouble_is_told_once(server):
    server.answers = [500, 503, 429]
    told = []
    sender = AlertSender("me", Webhook(server.url()), told.append, pause=0.01)
    sender.put(alert("first"))
    sender.put(alert("second"))
    wait_until(lambda: len(server.came) == 2)
    assert [each["text"] for each in server.came] == ["first", "second"]
    wait_until(lambda: len(told) == 2 and sender.sent == 2)
    assert "500" in told[0]
    assert told[1] == ""
    assert (sender.sent, sender.lost, sender.trouble) == (2, 0, "")
    sender.close(5)


def test_one_that_is_refused_as_it_is_does_not_hold_up_the_next(server):
    server.answers = [400] * 5
    sender = AlertSender("me", Webhook(server.url()), pause=0.001)
    sender.put(alert("poison"))
    sender.put(alert("good"))
    wait_until(lambda: server.came)
    assert server.came[0]["text"] == "good"
    assert sender.lost == 1
    sender.close(5)


def test_the_queue_of_a_hung_receiver_is_bounded_and_keeps_what_is_critical(hung):
    going = threading.Event()

    def deliver(_):
        going.set()
        time.sleep(60)

    sender = AlertSender("me", deliver)
    sender.put(alert())
    going.wait(5)
    sender.put(alert("worst", "critical"))
    for number in range(1000):
        sender.put(alert(str(number)))
    assert (sender.status()["waiting"], sender.lost) == (100, 901)
    assert sender._queue[0].alert.text == "worst"
    begun = time.monotonic()
    sender.close(0.1)
    assert time.monotonic() - begun < 2


def test_a_mistake_in_a_receiver_is_trouble_of_that_receiver():
    def deliver(_):
        raise KeyError(SECRET)

    sender = AlertSender("me", deliver, pause=0.001)
    sender.put(alert())
    wait_until(lambda: sender.lost == 1)
    assert sender.trouble and SECRET not in sender.trouble
    assert sender.test().result(5) == sender.trouble
    sender.close(5)


def test_secrets_come_from_a_private_file_or_the_environment(tmp_path, monkeypatch, server):
    file = tmp_path / "hook"
    file.write_text(server.url() + "\n")
    options = ReceiverOptions(webhook_file="hook")
    beside = tmp_path.joinpath
    file.chmod(0o644)
    with pytest.raises(TargetError, match=r"\[alerts.to.me\] Everybody .* may read") as failed:
        make_receiver("me", options, beside, None)
    assert SECRET not in str(failed.value)
    file.chmod(0o640)
    make_receiver("me", options, beside, None)(alert())
    monkeypatch.setenv("MY_HOOK", server.url())
    make_receiver("me", ReceiverOptions(webhook_env="MY_HOOK"), beside, None)(alert())
    assert len(server.came) == 2
    for wrong in (
        ReceiverOptions(webhook_env="NO_SUCH"),
        ReceiverOptions(webhook_file="nowhere"),
        ReceiverOptions(webhook=f"ftp://{SECRET}"),
        ReceiverOptions(webhook=f"http://{SECRET}@x/"),
    ):
        with pytest.raises(TargetError, match=r"alerts\.to\.me") as failed:
            make_receiver("me", wrong, beside, None)
        assert SECRET not in str(failed.value)


@pytest.mark.real_time
async def test_a_service_tells_of_a_pack_and_of_a_receiver_that_does_not_answer(
    tmp_path, server, hung, caplog
):
    caplog.set_level(logging.DEBUG)
    file = tmp_path / "bmslink.toml"
    file.write_text(
        '[packs.van]\ntarget = "sim://jbd?gap=0&fault=silent&timeout=0.01"\n'
        f'[alerts]\ndelay = 0\n[alerts.to.desk]\nwebhook = "{server.url()}"\n'
        f'[alerts.to.gone]\nwebhook = "http://127.0.0.1:1/{SECRET}"\n'
    )
    service = Service(load_plan((), file))
    events = []

    async def listen():
        with service.feed.subscribe(kinds=["event"]) as news:
            async for item in news:
                events.append(item.data)

    async with asyncio.TaskGroup() as group:
        group.create_task(listen())
        group.create_task(service.run())
        for _ in range(500):
            if server.came and any(event.what == "output" for event in events):
                break
            await asyncio.sleep(0.01)
        app = make_app(service)
        tested = (await ask(app, "POST", "/api/v1/alerts/test", {})).values["receivers"]
        status = await ask(app, "GET", "/api/v1/status")
        service.stop()
    assert server.came[0]["event"]["pack"] == "van"
    assert [each["arrived"] for each in tested] == [True, False]
    assert server.came[-1]["state"] == "test"
    outputs = {each["output"]: each["error"] for each in status.values["outputs"]}
    assert outputs["alerts.desk"] == ""
    assert "Connection refused" in outputs["alerts.gone"]
    assert not any(each["event"] and each["event"]["what"] == "output" for each in server.came)
    said = status.body.decode() + caplog.text + str(events)
    assert SECRET not in said
