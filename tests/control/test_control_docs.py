"""docs/control.md says what the code says."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import control_table
from bmslink.control.decide.catalogue import CATALOGUE
from bmslink.control.decide.thresholds import THRESHOLDS
from bmslink.control.files import parse_policies
from bmslink.simulation.console import execute_on
from bmslink.simulation.transport import make_device
from control_support import Run, healthy, verdicts

TEXT = control_table.PAGE.read_text()


def test_the_tables_are_made_from_the_code() -> None:
    assert control_table.made(TEXT) == TEXT, "run tools/control_table.py"


def test_every_policy_of_every_chemistry_is_in_the_table() -> None:
    for rows in CATALOGUE.values():
        for name in rows:
            assert f"| `{name}` |" in TEXT


def test_the_number_of_policies_is_right() -> None:
    told = re.search(r"(\d+) records, (\d+) levels", TEXT)
    assert told is not None
    every = {name: row.record for rows in CATALOGUE.values() for name, row in rows.items()}
    assert (int(told[1]), int(told[2])) == (len({*every.values()}), len(every))


def test_the_policy_file_of_the_page_can_be_read() -> None:
    (block,) = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)
    policies = parse_policies(block, Path("docs/control.md"))
    assert policies.thresholds["charge_ut_trip"] == 2


def test_the_python_of_the_page_is_python() -> None:
    (block,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    compile(block, "docs/control.md", "exec")


def test_a_stale_page_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    page = tmp_path / "control.md"
    page.write_text(TEXT.replace("`ov_trip`", "`ov_trap`"))
    monkeypatch.setattr(control_table, "PAGE", page)
    assert control_table.main(["--check"]) == 1
    assert "control_table.py" in capsys.readouterr().out
    assert control_table.main([]) == 0
    assert page.read_text() == TEXT
    assert control_table.main(["--check"]) == 0


# ------------------------------------------------------------------ the blocks, as they are pasted

COMMAND = str(Path(sys.executable).parent / "bmslink")
PAGE = TEXT.partition("## What this is not")[0]


def lines(language: str = "sh") -> list[str]:
    """The command lines of the page, in its order."""
    blocks = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class Terminals:
    """A second terminal for what goes on, and one for what ends."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ports = {port: str(free_port()) for port in ("7000", "7001")}
        state = {"BMSLINK_STATE": str(folder / "state"), "BMSLINK_JOURNAL": str(folder / "journal")}
        path = f"{Path(COMMAND).parent}{os.pathsep}{os.environ['PATH']}"
        self._environment = {**os.environ, **state, "PATH": path}
        self._running: list[subprocess.Popen[str]] = []

    def _here(self, line: str) -> str:
        """Other ports, and a clock that is in a hurry; nothing else differs from the page."""
        for port, free in self._ports.items():
            line = line.replace(f"//127.0.0.1:{port}", f"//127.0.0.1:{free}?gap=0")
            line = line.replace(f":{port}", f":{free}")
        line = line.replace("--watch 1 ", "--watch 0.1 ").replace("--count 240", "--count 8")
        return re.sub(r"sleep \d+", "sleep 1", line)

    def leave(self, line: str) -> subprocess.Popen[str]:
        """Start what does not end."""
        found = subprocess.Popen(
            ["bash", "-c", self._here(line)], cwd=self._folder, env=self._environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip
        self._running.append(found)
        assert found.stdout is not None
        assert found.stdout.readline(), line  # it is ready
        return found

    def run(self, line: str) -> subprocess.CompletedProcess[str]:
        """Do what ends by itself."""
        return subprocess.run(
            ["bash", "-c", self._here(line)], cwd=self._folder, env=self._environment, text=True,
            capture_output=True, timeout=60, check=False,
        )  # fmt: skip

    def close(self) -> None:
        for each in self._running:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(each.pid, signal.SIGTERM)
        for each in self._running:
            each.communicate(timeout=20)


@pytest.mark.slow
def test_the_steps_of_the_page_work_as_pasted(tmp_path: Path) -> None:
    assert [word for word in ("presets", "check", "read", "backtest", "explain", "run", "status")
            if not any(f" {word} " in f"{line} " for line in lines())] == []  # fmt: skip
    terminals = Terminals(tmp_path)
    try:
        for line in lines():
            if " simulate " in line or " run " in line:
                terminals.leave(line)
                continue
            done = terminals.run(line)
            assert (done.returncode, "Traceback" in done.stderr) == (0, False), (line, done)
            assert done.stdout.strip() or ">" in line, line
    finally:
        terminals.close()


def test_the_lines_for_the_simulator_are_commands_of_its() -> None:
    device = make_device("jbd", cells=16)
    (block,) = re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL)
    for line in block.splitlines():
        assert not execute_on(device, line).startswith("error"), line


# ------------------------------------------------------------------ what the owners' page promises


def test_the_voltages_of_the_owners_page_are_those_of_the_policies() -> None:
    for title, kind in (("LFP", "lfp"), ("NMC, Li-ion", "nmc"), ("LTO", "lto")):
        (row,) = [line for line in PAGE.splitlines() if line.startswith(f"| {title} |")]
        told = [float(volts) for volts in re.findall(r"(\d\.\d\d) V", row)][-3:]
        names = ("ov_warning", "ov_trip", "ov_critical")
        assert told == [THRESHOLDS[kind][name] for name in names]


def test_the_gap_that_the_owners_page_admits_is_there_and_can_be_closed() -> None:
    """3.69 V of an LFP cell: no stop without the settings of the BMS, and two ways to have one."""
    own = "[thresholds]\nov_warning = '3.62 V'\nov_trip = '3.65 V'\n"
    battery = "schema = 2\n[battery]\nchemistry = 'lfp'\ncells = 16\ncapacity = '100 Ah'\n"
    for settings, more, stops in (
        (None, "", False), ({"cell_ovp": 3.65}, "", True), (None, own, True),
    ):  # fmt: skip
        run = Run(parse_policies(battery + more, Path("p.toml")), settings=settings)
        run(healthy(3.69, current=5.0, soc=100.0), 600)
        assert run.decision.charge.allowed is not stops
        assert "cell_overvoltage_warning" in verdicts(run.decision)
