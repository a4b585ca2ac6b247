"""Two programs: `serve` owns the line in one, commands go through it in the other."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform == "win32", reason="needs ptys")]


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "bmslink", *words]


def run(*words: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*words), capture_output=True, text=True, timeout=timeout, check=False
    )


Started = subprocess.Popen[str]


@contextlib.contextmanager
def program(*words: str, **environment: str) -> Iterator[tuple[Started, str]]:
    """A program of ours that runs, and the line in which it said so."""
    with subprocess.Popen(
        command(*words), stdout=subprocess.PIPE, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL,
        text=True, env=os.environ | environment,
    ) as started:  # fmt: skip
        try:
            assert started.stdout is not None
            line = started.stdout.readline()
            assert "ready" in line, line
            yield started, line
        finally:
            if started.poll() is None:
                started.terminate()
                started.wait(90)


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("RUNTIME", "STATE", "JOURNAL"):
        monkeypatch.setenv(f"BMSLINK_{name}", str(tmp_path / name.lower()))
    monkeypatch.setenv("BMSLINK_CONFIG", str(tmp_path / "bmslink.toml"))
    return tmp_path


def until_read(target: str, timeout: float = 30) -> None:
    end = time.monotonic() + timeout
    while (found := run("read", target, "--json")).returncode:
        assert time.monotonic() < end, found
        time.sleep(0.2)
    assert "asked through the service" in found.stderr


def free_port() -> int:
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return int(trial.getsockname()[1])


@pytest.mark.parametrize("way", ["pty", "tcp", "ble"])
def test_commands_go_through_the_service_while_it_polls(folders: Path, way: str) -> None:
    air = f"127.0.0.1:{free_port()}"
    place = {
        "pty": ["--pty", str(folders / "port")],
        "tcp": ["--tcp", "127.0.0.1:0"],
        "ble": ["--ble", f"tcp-server:{air}"],
    }[way]
    # only the service has that radio: a command that did not go through it would find nothing
    radio = {"BMSLINK_BLE_BACKEND": f"bumble:tcp-client:{air}"} if way == "ble" else {}
    with program("simulate", "jbd", *place, "--cells", "4") as (_, line):
        target = line.split()[1]
        (folders / "bmslink.toml").write_text(f'[packs.house]\ntarget = "{target}"\n')
        with program("serve", **radio):
            until_read("house")
            for words in (["info"], ["settings", "show"], ["config", "verify"]):
                found = run(*words, "house", "--json")
                assert found.returncode == 0, found
                assert found.stderr.count("asked through the service") == 1
                assert all(isinstance(json.loads(line), dict) for line in found.stdout.splitlines())
            read = json.loads(run("read", target, "--json", "--quiet").stdout)
            assert (read["target"], read["name"]) == (target, None)
            recorded = run("capture", "house", "-o", str(folders / "c.jsonl"), "--count", "2")
            assert recorded.returncode == 0, recorded
            assert run("decode", str(folders / "c.jsonl"), "--json").stdout.count('"voltage"') >= 2
            refused = run("settings", "set", "house", "cell_ovp=9", "--yes")
            assert refused.returncode == 3, refused
            for position in ("off", "on"):
                switched = run("switch", "house", "charge", position, "--yes")
                assert switched.returncode == 0, switched
            if way == "ble":
                assert run("service", "release", "house", "--for", "20s").returncode == 0
                refused = run("switch", "house", "charge", "off", "--yes")
                assert refused.returncode == 3, refused
                assert "the phone holds it" in refused.stderr
                assert run("service", "release", "house", "--end").returncode == 0
                until_read("house")
            assert run("service", "stop").returncode == 0
        if way != "ble":
            directly = run("read", target)
            assert (directly.returncode, directly.stderr) == (0, ""), directly


def test_a_service_that_is_killed_in_a_change_says_so_and_resumes(folders: Path) -> None:
    port = folders / "port"
    target = f"jbd+serial://{port}"
    (folders / "bmslink.toml").write_text(f'[packs.house]\ntarget = "{target}"\n')
    journal = folders / "journal"
    with program("simulate", "jbd", "--pty", str(port), "--cells", "4"):
        with program("serve") as (service, _):
            until_read("house")
            with subprocess.Popen(
                command("settings", "set", "house", "cell_ovp=3.6", "--yes"),
                stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
            ) as client:  # fmt: skip
                end = time.monotonic() + 60
                while not any('"event": "write"' in f.read_text() for f in journal.glob("*.jsonl")):
                    assert time.monotonic() < end
                    time.sleep(0.01)
                os.kill(service.pid, signal.SIGKILL)
                assert client.stderr is not None
                said = client.stderr.read()
            assert client.returncode == 4, said  # something may be written
            assert "ended in the middle of an answer" in said
            assert "config resume house" in said
            service.wait()
        began = time.monotonic()
        with program("serve", "--json") as (service, _):
            assert service.stdout is not None
            for line in service.stdout:
                event = json.loads(line)["event"]
                if event["what"] == "change_cut_off":
                    break
            assert time.monotonic() - began < 30
            assert "config resume house" in event["text"]
            assert "config resume" in run("read", "house").stderr
            refused = run("settings", "set", "house", "cell_uvp=2.6", "--yes")
            assert refused.returncode == 3, refused
            resumed = run("config", "resume", "house", "--yes")
            assert resumed.returncode == 0, resumed
            assert run("settings", "get", "house", "cell_ovp", "--quiet").stdout == "3.6\n"
