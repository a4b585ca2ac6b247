"""`bmslink simulate` as another program sees it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bmslink.simulation.console import COMMANDS
from bmslink.simulation.wire import FAULTS
from cli_support import Cli, finish, leash, start
from counterparts import missing


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    return Cli(capsys)


class Simulator:
    """A running `bmslink simulate` with its two ends."""

    def __init__(self, *argv: str) -> None:
        self.process = start("simulate", *argv, stdin=subprocess.PIPE)

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().rstrip("\n")

    def ask(self, command: str) -> str:
        assert self.process.stdin is not None
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        return self.line()

    def close_stdin(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.stdin = None

    def end(self, number: int = signal.SIGTERM) -> Any:
        self.process.send_signal(number)
        return finish(self.process)


@pytest.fixture
def started() -> Iterator[Any]:
    running: list[Simulator] = []

    def begin(*argv: str) -> Simulator:
        running.append(Simulator(*argv))
        return running[-1]

    yield begin
    for simulator in running:
        if simulator.process.poll() is None:
            simulator.process.kill()
            finish(simulator.process)


def test_it_says_ready_for_each_place_and_can_be_read_there(cli, started, tmp_path):
    link = tmp_path / "pack"
    simulator = started("jbd", "--pty", str(link), "--tcp", "127.0.0.1:0", "--cells", "7")
    places = [simulator.line(), simulator.line()]
    assert places[0] == f"ready jbd+serial://{link}"
    assert places[1].startswith("ready jbd+tcp://127.0.0.1:")
    for place in places:
        (found,) = cli("read", "--json", place.removeprefix("ready ")).objects
        assert len(found["cell_voltages"]) == 7
    assert simulator.end().code == 0
    assert not os.path.lexists(link)


def test_commands_on_its_input_change_the_pack(cli, started):
    simulator = started("jbd", "--tcp", "127.0.0.1:0", "--load", "idle")
    target = simulator.line().removeprefix("ready ")
    assert simulator.ask("cell 3 3.456") == "ok"
    state = json.loads(simulator.ask("state"))
    assert state["cell_voltages"][2] == 3.456
    (found,) = cli("read", "--json", target).objects
    assert found["cell_voltages"][2] == 3.456
    assert simulator.ask("frob").startswith("error:")
    simulator.close_stdin()  # the end of the input changes nothing
    assert cli("read", "--json", target).objects[0]["cell_voltages"][2] == 3.456
    assert simulator.end().err == ""


def test_json_lines_only(started):
    simulator = started("jbd", "--tcp", "127.0.0.1:0", "--json")
    ready = json.loads(simulator.line())
    assert ready["schema"] == 1
    assert ready["ready"].startswith("jbd+tcp://")
    assert json.loads(simulator.ask("soc 50")) == {"schema": 1, "reply": "ok"}
    state = json.loads(simulator.ask("state"))
    assert (state["schema"], state["soc"]) == (1, 50.0)
    helped = json.loads(simulator.ask("help"))["reply"]
    assert [line.split()[0] for line in helped] == list(COMMANDS)
    simulator.end()


def test_ctrl_c_is_130_and_sigterm_0_and_both_are_silent(started):
    for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 0)):
        simulator = started("jbd", "--tcp", "127.0.0.1:0")
        simulator.line()
        result = simulator.end(number)
        assert (result.code, result.err) == (code, "")


def test_without_any_input_it_runs_all_the_same(cli):
    process = start("simulate", "jbd", "--tcp", "127.0.0.1:0")
    assert process.stdout is not None
    target = process.stdout.readline().split()[1]
    assert cli("read", "--json", target).code == 0
    process.terminate()
    assert finish(process).code == 0


def test_the_faults_are_listed(cli):
    out = cli("simulate", "--fault", "list").out
    assert all(name in out for name in FAULTS)
    objects = cli("simulate", "jbd", "--fault", "list", "--json").objects
    assert [o["fault"] for o in objects] == list(FAULTS)


def test_faults_on_the_command_line_are_in_force(cli, started):
    simulator = started("jbd", "--tcp", "127.0.0.1:0", "--fault", "noise", "--fault", "silent")
    target = simulator.line().removeprefix("ready ")
    cli("read", target, "--timeout", "0.05").failed(1, "No answer")
    simulator.end()


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ([], ["Which protocol", "jk02"]),
        (["frob", "--tcp", "127.0.0.1:0"], ["'frob'", "jbd"]),
        (["frob"], ["'frob'", "jbd"]),
        (["jbd"], ["--pty", "--tcp"]),
        (["jbd", "--tcp", "nowhere"], ["HOST:PORT"]),
        (["jbd", "--tcp", "127.0.0.1:99999"], ["HOST:PORT"]),
        (["jbd", "--tcp", "127.0.0.1:0", "--cells", "x"], ["--cells"]),
        (["jbd", "--tcp", "127.0.0.1:0", "--cells", "0"], ["ell"]),
        (["jbd", "--tcp", "127.0.0.1:0", "--cells", "1000"], ["ell"]),
        (["jbd", "--tcp", "127.0.0.1:0", "--soc", "x"], ["--soc"]),
        (["jbd", "--tcp", "127.0.0.1:0", "--soc", "nan"], ["charge"]),
        (["jbd", "--tcp", "127.0.0.1:0", "--soc", "101"], ["charge"]),
        (["jbd", "--tcp", "127.0.0.1:0", "--chemistry", "coal"], ["coal", "lfp"]),
        (["jbd", "--tcp", "127.0.0.1:0", "--speed", "0"], ["speed"]),
        (["jbd", "--tcp", "127.0.0.1:0", "--speed", "nan"], ["speed"]),
        (["jbd", "--tcp", "127.0.0.1:0", "--load", "much"], ["much"]),
        (["jbd", "--tcp", "127.0.0.1:0", "--fault", "frob"], ["frob"]),
        (["jbd", "--tcp", "127.0.0.1:0", "--address", "256"], ["address"]),
        (["jbd", "--tcp", "127.0.0.1:0", "--address", "x"], ["--address"]),
        (["jbd", "--tcp", "127.0.0.1:0", *("--address", "1") * 2], ["both", "address 1"]),
        (["daly-d2", "--tcp", "127.0.0.1:0", "--address", "1", "--address", "2"], ["no addresses"]),
        (["daly-sinowealth", "--tcp", "127.0.0.1:0", "--cells", "16"], ["3 to 10"]),
        (["jbd", "--tcp", "127.0.0.1:0", "--fault", "second_master"], ["second master"]),
        (["jbd", "--tcp", "127.0.0.1:0", "--ble", "x"], ["names no Bluetooth controller"]),
    ],
)
def test_wrong_usage_is_2(cli, argv, words):
    cli("simulate", *argv).failed(2, *words)


def test_a_taken_port_and_a_file_in_the_way_of_the_link_are_sentences(cli, started, tmp_path):
    simulator = started("jbd", "--tcp", "127.0.0.1:0")
    place = simulator.line().removeprefix("ready jbd+tcp://")
    cli("simulate", "jbd", "--tcp", place).failed(1, place)
    simulator.end()
    file = tmp_path / "precious"
    file.write_text("precious")
    result = cli("simulate", "jbd", "--pty", str(file))
    result.failed(result.code, str(file))
    assert result.code in (1, 2)
    assert file.read_text() == "precious"


def test_the_link_of_a_living_simulator_is_not_taken(cli, started, tmp_path: Path):
    link = tmp_path / "pack"
    simulator = started("jbd", "--pty", str(link))
    target = simulator.line().removeprefix("ready ")
    cli("simulate", "jbd", "--pty", str(link)).failed(1, str(link), "in use")
    assert cli("read", "--json", target).code == 0
    held = os.open(link, os.O_RDWR | os.O_NOCTTY)  # or the next program gets the terminal's number
    simulator.process.kill()
    finish(simulator.process)
    assert link.is_symlink()
    heir = started("jbd", "--pty", str(link))
    assert cli("read", "--json", heir.line().removeprefix("ready ")).code == 0
    os.close(held)
    assert heir.end().code == 0


def test_the_link_is_gone_when_the_simulator_is(started, tmp_path: Path):
    link = tmp_path / "pack"
    simulator = started("jbd", "--pty", str(link))
    simulator.line()
    assert link.exists()
    simulator.end(signal.SIGINT)
    assert not os.path.lexists(link)


@pytest.mark.needs(program="setpriv")
def test_a_killed_test_run_leaves_no_simulator_behind():
    if not leash():
        missing("setpriv", "has no --pdeathsig")
    code = (
        "import cli_support, signal\n"
        "cli_support.start('simulate', 'jbd', '--tcp', '127.0.0.1:0', stdout=None, stderr=None)\n"
        "signal.pause()"
    )
    tests = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=tests) as run:
        assert run.stdout is not None
        assert run.stdout.readline().startswith(b"ready ")
        run.kill()
        run.communicate(timeout=20)  # until nobody can write to the pipe any more
