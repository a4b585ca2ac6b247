"""A lost terminal (SIGHUP) ends every command as SIGTERM does, unless it is ignored (`nohup`)."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bmslink.control.presets import preset
from bmslink.storage.journal import Journal
from cli_support import Terminal, finish, start

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="Windows has no SIGHUP"),
]

PACK = "sim://jbd?gap=0&cells=4&load=idle"
SLOW = "sim://jbd?gap=0.02&cells=16&load=idle"
COMMANDS = {
    "read --watch": (("read", PACK, "--watch", "0.05", "--json"), 130),
    "capture": (("capture", PACK, "-o", "{tmp}/out", "--watch", "0.05", "--json"), 130),
    "simulate": (("simulate", "jbd", "--pty", "{tmp}/port"), 0),
    "replay": (("replay", "{tmp}/recording", "--pty", "{tmp}/port"), 0),
    "control run": (
        ("control", "run", "--shadow", "--policies", "{tmp}/policies", PACK, "--json"), 130,
    ),
}  # fmt: skip


def wait_for(true: Callable[[], object], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert process.poll() is None, finish(process)
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BMSLINK_STATE", str(tmp_path / "state"))
    (tmp_path / "policies").write_text(preset("lfp", "solar", cells=4, capacity=100))
    recorded = start("capture", PACK, "-o", str(tmp_path / "recording"), "--count", "1")
    assert finish(recorded).code == 0
    return tmp_path


@pytest.mark.parametrize(("words", "code"), COMMANDS.values(), ids=COMMANDS)
def test_a_hangup_ends_it_as_sigterm_does(folder, words, code):
    process = start(*(w.format(tmp=folder) if "{" in w else w for w in words))
    if words[0] == "capture":
        wait_for(lambda: (folder / "out").exists() and (folder / "out").stat().st_size, process)
    else:
        assert process.stdout is not None
        assert process.stdout.readline()
    process.send_signal(signal.SIGHUP)
    result = finish(process)
    assert result.code == code, result
    assert "Traceback" not in result.err
    assert not (folder / "port").is_symlink()  # everything was put back
    left = {path.name for path in (folder / "state").glob("*")}
    assert left <= {"locks"}  # which hold nothing any more
    if words[0] == "capture":
        assert [json.loads(line) for line in (folder / "out").read_text().splitlines()]
        assert json.loads(result.out)["pieces"]


def test_a_change_in_progress_says_what_is_next(tmp_path):
    profile = tmp_path / "p.toml"
    profile.write_text('[settings]\ncell_ovp = "3.6 V"\ncharge_utp = 2\ndischarge_otp = 62\n')
    process = start("config", "apply", str(profile), SLOW, "--yes")
    wait_for(lambda: any(r["event"] == "write" for r in Journal().records()), process)
    process.send_signal(signal.SIGHUP)
    result = finish(process)
    assert result.code == 130
    assert "Interrupted in the middle of a change" in result.err


def test_a_second_signal_does_not_cut_off_what_the_first_one_began(tmp_path):
    process = start("capture", PACK, "-o", str(tmp_path / "out"), "--watch", "0.05", "--json")
    wait_for(lambda: (tmp_path / "out").exists() and (tmp_path / "out").stat().st_size, process)
    for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGHUP):
        process.send_signal(number)
    result = finish(process)
    assert result.code == 130
    assert json.loads(result.out)["pieces"]


def test_under_nohup_it_goes_on(tmp_path):
    process = start(
        "read", PACK, "--watch", "0.05", "--json",
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline()
    process.send_signal(signal.SIGHUP)
    for _ in range(5):
        assert json.loads(process.stdout.readline())["protocol"] == "jbd"
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    assert finish(process).code == 130


@pytest.mark.parametrize("words", [("monitor", PACK), ("read", PACK, "--watch", "0.1")])
def test_a_terminal_that_is_closed_ends_it(words):
    terminal = Terminal(*words)
    try:
        terminal.wait(lambda text: "jbd" in text)
        master, terminal.master = terminal.master, os.open(os.devnull, os.O_RDWR)
        os.close(master)  # the connection is lost: the kernel sends SIGHUP
        assert terminal.process.wait(15) in (1, 130)
    finally:
        terminal.close()
