"""`bmslink serve` and `bmslink service`, as a person uses them."""

from __future__ import annotations

import asyncio
import importlib.util
import re
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from bmslink.cli import install
from bmslink.cli.render.service import status
from bmslink.runtime.api.hosting import host
from bmslink.runtime.service import Service
from bmslink.runtime.service_file import load_plan
from bmslink.runtime.unit import Installation, sysusers, unit
from cli_support import Cli, environment, finish, start
from support import ROOT

FAST = "sim://jbd?cells=4&gap=0"


@pytest.fixture
def cli(capsys) -> Cli:
    return Cli(capsys)


@pytest.fixture
def file(tmp_path, monkeypatch) -> Path:
    path = tmp_path / "bmslink.toml"
    path.write_text(f'[packs.van]\ntarget = "{FAST}"\n')
    monkeypatch.setenv("BMSLINK_CONFIG", str(path))
    return path


@pytest.fixture
def running(file) -> Iterator[Path]:
    """A service in a thread, which has heard its pack; and its file."""
    ready = threading.Event()
    ends = []

    async def serve() -> None:
        service = Service(load_plan())
        loop = asyncio.get_running_loop()
        ends.append(lambda: loop.call_soon_threadsafe(service.stop))
        task = asyncio.create_task(host(service))
        with service.feed.subscribe(kinds=["reading"]) as news:
            await news.get()
        ready.set()
        await task

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert ready.wait(10)
    yield file
    if thread.is_alive():
        ends[0]()
    thread.join(10)


def test_none_runs(cli):
    done = cli("service", "status")
    assert done.code == 5
    assert "bmslink serve" in done.out
    assert cli("service", "status", "--json").objects == [{"schema": 1, "running": False}]
    for word in ("reload", "stop"):
        cli("service", word).failed(1, "No service runs")


def test_status_reload_and_stop(cli, running):
    done = cli("service", "status")
    assert done.code == 0, done
    assert "  van: ok since " in done.out
    assert "requests, 0 unanswered" in done.out
    (found,) = cli("service", "status", "--json").objects
    assert found["running"] is True
    assert found["packs"][0]["age"] < 10
    assert found["packs"][0]["health"]["link"]["answers"] > 0

    running.write_text("[packs.van]\ntarget = 5\n")
    cli("service", "reload").failed(2, "line 2")
    assert cli("service", "status").code == 0
    running.write_text(f'[packs.shed]\ntarget = "{FAST}&fault=silent&timeout=0.01"\n')
    assert "Added: shed." in cli("service", "reload").out
    done = cli("service", "status")
    assert done.code == 5
    assert "  shed: " in done.out

    assert "has ended" in cli("service", "stop").out
    assert cli("service", "status").code == 5
    cli("service", "stop").failed(1, "No service runs")


def test_without_the_extra_a_sentence_says_what_to_install(cli, monkeypatch):
    real = importlib.util.find_spec
    for name in [each for each in sys.modules if each.startswith("bmslink.runtime.api")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *more: None if name == "uvicorn" else real(name)
    )
    cli("serve", FAST).failed(1, "bmslink[service]")


def test_what_cannot_be_served(cli, file):
    file.write_text("[service]\nintervall = 1\n")
    cli("serve").failed(2, "line 2", "intervall")
    file.unlink()
    cli("serve").failed(2, "nothing to serve")
    cli("serve", "--config", str(file)).failed(2, "does not exist")
    cli("serve", FAST, "--trace", "x").failed(2, "bmslink capture")


def test_the_file_in_the_docs_can_be_served(tmp_path):
    text = (ROOT / "docs" / "service.md").read_text()
    (block,) = [b for b in re.findall(r"```toml\n(.*?)```", text, re.DOTALL) if "[service]" in b]
    lines = [line.removeprefix("# ") for line in block.splitlines() if "policies" not in line]
    path = tmp_path / "bmslink.toml"
    path.write_text("\n".join(lines))
    plan = load_plan((), path)
    assert plan.packs[0].interval == 2
    assert plan.options.tcp == "127.0.0.1:8720"
    assert plan.options.hosts == ("van.lan",)


@pytest.mark.slow
def test_a_process_says_ready_reloads_and_ends_cleanly(file):
    for number, code in ((signal.SIGTERM, 0), (signal.SIGINT, 130)):
        file.write_text(f'[packs.van]\ntarget = "{FAST}"\n')
        process = start("serve", env=environment())
        assert process.stdout is not None
        assert process.stderr is not None
        line = process.stdout.readline()
        assert line.startswith("ready /")
        assert stat.S_ISSOCK(Path(line.split()[1]).stat().st_mode)
        file.write_text("nonsense")
        process.send_signal(signal.SIGHUP)
        while "line 1" not in process.stderr.readline():
            assert process.poll() is None
        process.send_signal(number)
        done = finish(process)
        assert (done.code, done.out) == (code, ""), done
        assert not Path(line.split()[1]).exists()


# --------------------------------------------------------------------------------- systemd


def checked(text: str, folder: Path, *arguments: str) -> str:
    """What systemd says of a unit."""
    path = folder / "bmslink.service"
    path.write_text(text)
    done = subprocess.run(
        ["systemd-analyze", *arguments, str(path)], capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 0, done
    return done.stdout + done.stderr


@pytest.mark.needs(program="systemd-analyze")
def test_systemd_takes_the_unit_and_finds_it_tight(tmp_path):
    text = unit(Installation(command=["/bin/true"], user=False))
    assert checked(text, tmp_path, "verify") == ""
    report = checked(text, tmp_path, "security", "--offline=yes", "--threshold=20")
    assert "Overall exposure level" in report


@pytest.mark.needs(program="hadolint")
def test_the_container_file_is_clean():
    path = ROOT / "examples" / "container" / "Containerfile"
    done = subprocess.run(["hadolint", str(path)], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stdout


def test_the_unit_says_what_the_service_needs():
    system = unit(Installation(command=["/opt/b c/bmslink", "%x"], user=False, groups=("uucp",)))
    for line in (
        'ExecStart="/opt/b c/bmslink" "%%x" serve --system',
        "Type=notify",
        "WatchdogSec=60",
        "SupplementaryGroups=uucp",
        "StateDirectory=bmslink",
        "RuntimeDirectory=bmslink",
        "Environment=BMSLINK_CONFIG=/etc/bmslink/bmslink.toml",
        "ProtectHome=yes",
        "WantedBy=multi-user.target",
    ):
        assert line in system.split("\n")
    user = unit(Installation(command=["/home/a/bmslink"], user=True))
    assert "--system" not in user
    assert "User=" not in user
    assert "WantedBy=default.target" in user
    assert "m bmslink uucp\n" in sysusers(("uucp",))
    home = unit(Installation(command=["/home/a/bmslink"], user=False))
    assert "ProtectHome=read-only" in home
    secret = unit(
        Installation(command=["/x"], user=False, credentials=[("bmslink-token", "/etc/t")])
    )
    assert "LoadCredential=bmslink-token:/etc/t" in secret


def test_install_prints_and_writes(cli, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    printed = cli("service", "install", "--user")
    assert printed.out.startswith("# Written by")
    assert "enable-linger" in printed.err
    place = tmp_path / "systemd" / "user" / "bmslink.service"
    assert not place.exists()
    assert cli("service", "install", "--user", "--write").code == 0
    assert place.read_text() == printed.out
    assert cli("service", "install", "--user", "--write").code == 0  # the same again
    place.write_text("mine")
    cli("service", "install", "--user", "--write").failed(3, "--force")
    assert place.read_text() == "mine"
    assert cli("service", "install", "--user", "--write", "--force").code == 0

    monkeypatch.setattr(install, "_SYSTEM_UNIT", tmp_path / "etc" / "bmslink.service")
    monkeypatch.setattr(install, "_SYSUSERS", tmp_path / "etc" / "bmslink.conf")
    (found,) = cli("service", "install", "--write", "--json").objects
    assert [Path(each).exists() for each in found["written"]] == [True, True]
    assert "systemd-sysusers" in found["next"][0]
    secret = "--credential", "pin.van:/etc/bmslink/pin"
    assert "LoadCredential=pin.van:/etc/bmslink/pin\n" in cli("service", "install", *secret).out
    for wrong in ("van:/x", "pin.van:x", "pin.van", "pin.a/b:/x", "pin.van:/x\nExecStart=/y"):
        cli("service", "install", "--credential", wrong).failed(2, "NAME:FILE")
    (found,) = cli("service", "install", "--json").objects
    assert found["unit"].startswith("# Written")
    monkeypatch.setattr(sys, "platform", "darwin")
    cli("service", "install").failed(2, "no systemd")


def test_the_status_says_what_has_a_pack_and_what_was_cut_off():
    pack = {
        "name": "van",
        "target": "jbd+serial:///dev/ttyUSB0",
        "health": {"state": "ok"},
        "age": 12.0,
        "doing": {"what": "a change is being made", "who": "anna", "since": None},
        "open_change": "A change was cut off: `bmslink config resume van` finishes it.",
        "acting": {"stopped": {"who": "bob", "why": "smoke"}},
    }
    shown = "\n".join(status({"version": "1", "packs": [pack]}, "/run/s"))
    assert "not being polled: a change is being made for anna" in shown
    assert "`bmslink config resume van` finishes it" in shown
    assert "stopped by bob (smoke): all off until `bmslink control reset van`" in shown
