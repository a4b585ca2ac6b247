"""The scripts below examples/ run as they are, against simulated packs."""

from __future__ import annotations

import ast
import csv
import io
import runpy
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from test_ble_embedded import host_of

import bmslink
from bmslink.testing import SimulatedPack
from radio_world import world
from support import ROOT

FOLDER = ROOT / "examples"
SCRIPTS = sorted(FOLDER.glob("*.py"))
PUBLIC = {
    "bmslink",
    *(f"bmslink.{name}" for name in ("blocking", "config", "control", "errors", "testing")),
}

Run = Callable[..., str]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a script with arguments and gives what it prints."""

    def start(name: str, *arguments: object) -> str:
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        runpy.run_path(str(FOLDER / name), run_name="__main__")
        return capsys.readouterr().out

    return start


def served(protocol: str, *options: str) -> Iterator[str]:
    """The target of a pack behind TCP, in a program of its own."""
    command = [sys.executable, "-m", "bmslink", "simulate", protocol, "--tcp", "127.0.0.1:0"]
    with subprocess.Popen(
        [*command, *options], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as program:
        assert program.stdout is not None
        try:
            yield program.stdout.readline().split()[1]
        finally:
            program.terminate()


@pytest.fixture
def gateway() -> Iterator[str]:
    yield from served("jbd", "--cells", "4", "--load", "idle")


def test_there_are_ten() -> None:
    assert len(SCRIPTS) == 10


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_they_need_nothing_private(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        modules += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        assert {name for name in modules if name.split(".")[0] == "bmslink"} <= PUBLIC
        if isinstance(node, ast.Attribute):
            assert not node.attr.startswith("_")


def test_log_csv(run: Run, tmp_path: Path) -> None:
    targets = ["sim://jbd?cells=4&gap=0", "sim://jk02?cells=8", "sim://daly-a5?cells=5&gap=0"]
    path = tmp_path / "packs.csv"
    run("log_csv.py", path, *targets, "--interval", 0, "--count", 2)
    rows = list(csv.DictReader(io.StringIO(path.read_text())))
    assert [row["protocol"] for row in rows] == 2 * ["jbd", "jk02", "daly-a5"]
    assert [bool(row["cell_voltage_8"]) for row in rows[:3]] == [False, True, False]
    assert all(float(row["voltage"]) > 10 for row in rows)


def test_delta_alert(run: Run) -> None:
    pack = SimulatedPack("jbd", cells=4)
    pack.set_cell_voltage(2, 3.0)
    text = run("delta_alert.py", pack.target, "--count", 2, "--interval", 0)
    assert text.count("ALERT") == 1
    pack.fault("silent")
    threading.Timer(0.5, pack.repair, ["silent"]).start()
    text = run("delta_alert.py", f"{pack.target}&timeout=0.05", "--count", 1, "--interval", 0.01)
    assert "Next try in 0.01 s" in text
    assert text.count("ALERT") == 1


@pytest.mark.slow
def test_change_setting(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    pack = SimulatedPack("jbd", cells=4, load="idle")
    before = pack.settings["cell_ovp"]
    change = ("change_setting.py", f"{pack.target}&gap=0", "cell_ovp")
    monkeypatch.setattr("builtins.input", lambda question: "n")
    with pytest.raises(SystemExit, match="3"):
        run(*change, "3.6", "--chemistry", "lfp")
    with pytest.raises(SystemExit, match="3"):
        run(*change, "4.1", "--chemistry", "lfp", "--yes")
    assert pack.settings["cell_ovp"] == before
    assert "3.6" in run(*change, "3.6", "--chemistry", "lfp", "--yes")
    assert pack.settings["cell_ovp"] == pytest.approx(3.6)


@pytest.mark.slow
def test_scan_and_read(run: Run, gateway: str) -> None:
    assert f"{gateway}: 13." in run("scan_and_read.py", gateway.removeprefix("jbd+"))


def test_packs_at_once(run: Run) -> None:
    targets = [f"sim://jbd?cells=4&gap=0&seed={seed}" for seed in (1, 2, 3)]
    text = run("packs_at_once.py", *targets, "jbd+serial:///dev/nothing")
    assert "3 of 4 packs" in text


@pytest.mark.real_time
async def test_own_ble_client(monkeypatch: pytest.MonkeyPatch) -> None:
    async with world("jk02") as here, host_of(here) as host:
        script: dict[str, Any] = runpy.run_path(str(FOLDER / "own_ble_client.py"))
        script["connect"].__globals__["BleakClient"] = host.client_class
        reading = await script["read"](host.device, "jk02")
        assert reading.cell_voltages
        assert len(host.clients) == 1
        assert not host.clients[0].is_connected


@pytest.mark.slow
def test_decode_bytes(run: Run, gateway: str) -> None:
    text = run("decode_bytes.py", *gateway.removeprefix("jbd+tcp://").split(":"))
    assert "2 frames, 0 bytes of noise" in text
    assert text.count("cells (") == 1


@pytest.mark.needs(module="pandas")
def test_capture_to_pandas(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "session.jsonl"
    with bmslink.blocking.connect("sim://jbd?cells=4&gap=0", record=path.open("wb")) as device:
        for _ in range(3):
            device.read()
    text = run("capture_to_pandas.py", path)
    assert "cell_voltage_4" in text
    assert "cell_delta" in text


def test_own_policy(run: Run) -> None:
    full, low = SimulatedPack("jbd", cells=4, soc=80), SimulatedPack("jbd", cells=4, soc=30)
    options = ("--interval", 0.01, "--count", 6)
    assert run("own_policy.py", f"{full.target}&gap=0", *options).splitlines()[-1] == (
        "80.0 %: it may be discharged"
    )
    text = run("own_policy.py", f"{low.target}&gap=0", *options)
    assert "night_reserve (enforce): trip" in text
    assert text.splitlines()[-1] == "30.0 %: it may not be discharged"


@pytest.mark.slow
def test_a_test_of_somebody_else(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "bmslink.pytest_plugin"]
    done = subprocess.run(
        [*command, "--rootdir", tmp_path, "-c", "/dev/null", FOLDER / "test_my_program.py"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=200,
    )
    assert done.returncode == 0, done.stdout
    assert "4 passed" in done.stdout
