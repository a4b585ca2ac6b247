"""`bmslink replay` as another program sees it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cli_support import Cli, environment, finish, start
from support import FIXTURES, part

pytestmark = pytest.mark.slow

MEASURED = ("voltage", "current", "soc", "cell_voltages", "temperatures", "raw")


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    return Cli(capsys)


class Replay:
    """A running `bmslink replay`."""

    def __init__(self, *argv: str) -> None:
        self.process = start("replay", *argv, env=environment(PYTHONWARNINGS="error"))

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().rstrip("\n")

    def end(self, number: int = signal.SIGTERM) -> Any:
        self.process.send_signal(number)
        return finish(self.process)


@pytest.fixture
def started() -> Iterator[Any]:
    running: list[Replay] = []

    def begin(*argv: object) -> Replay:
        running.append(Replay(*map(str, argv)))
        return running[-1]

    yield begin
    for replay in running:
        if replay.process.poll() is None:
            replay.process.kill()
            finish(replay.process)


@pytest.fixture
def session(cli: Cli, tmp_path: Path) -> Path:
    """Three readings of a JBD board, recorded."""
    path = tmp_path / "session.jsonl"
    result = cli("capture", "sim://jbd?gap=0&cells=7&load=-9", "-o", str(path), "--count", "3",
                 "--watch", "0.05")  # fmt: skip
    assert result.code == 0
    return path


@pytest.mark.sweep
@pytest.mark.parametrize("protocol", part(["jbd", "daly-a5", "jk02", "jk-nw"], 2))
def test_simulated_captured_replayed_and_read_they_agree(cli, started, tmp_path, protocol):
    """Four programs in a row, each a process of its own."""
    link, file = tmp_path / "pack", tmp_path / "session.jsonl"
    simulator = start("simulate", protocol, "--pty", str(link), "--cells", "5", "--load", "idle")
    assert simulator.stdout is not None
    target = simulator.stdout.readline().split()[1]
    quick = f"{target}?gap=0"
    captured = finish(start("capture", quick, "-o", str(file), "--count", "2", "--watch", "0.3"))
    assert captured.code == 0, captured
    simulator.terminate()
    finish(simulator)
    replay = started(file, "--pty", link)
    assert replay.line() == f"ready {target}"
    (found,) = finish(start("read", quick, "--json")).objects
    decoded = [r for r in cli("decode", str(file), "--json").objects if r["cell_voltages"]]
    assert [found[key] for key in MEASURED] in [[r[key] for key in MEASURED] for r in decoded]
    assert len(found["cell_voltages"]) == 5
    (who,) = finish(start("info", quick, "--json")).objects
    assert who["protocol"] == protocol
    ended = replay.end()
    assert ended.code == 0
    assert not os.path.lexists(link)


def test_the_same_recording_on_two_places_and_for_two_clients(cli, started, session, tmp_path):
    replay = started(session, "--pty", tmp_path / "p", "--tcp", "127.0.0.1:0")
    places = [replay.line().removeprefix("ready ") for _ in range(2)]
    first = [cli("read", "--json", place).objects[0] for place in (*places, places[1])]
    assert [r["voltage"] for r in first] == [first[0]["voltage"]] * 3
    assert replay.end().err == ""


def test_after_the_end_it_repeats_itself_says_so_and_loop_begins_anew(cli, started, session):
    for more, remark in (((), "--loop"), (("--loop",), "")):
        replay = started(session, "--tcp", "127.0.0.1:0", *more)
        target = replay.line().removeprefix("ready ")
        result = cli("read", target, "--count", "8", "--watch", "0.02", "--json")
        assert result.code == 0
        assert len(result.objects) == 8
        err = replay.end().err
        assert err.count("\n") == bool(remark)
        assert remark in err


def test_a_capture_of_answers_only_is_served(cli, started):
    files = [f for f in sorted((FIXTURES / "jbd").glob("*.jsonl")) if complete_answers(f)]
    file = files[0]
    replay = started(file, "--tcp", "127.0.0.1:0")
    target = replay.line().removeprefix("ready ")
    (found,) = cli("read", "--json", target).objects
    decoded = cli("decode", str(file), "--json").objects
    assert found["voltage"] in [r["voltage"] for r in decoded]
    assert found["cell_voltages"] in [r["cell_voltages"] for r in decoded]
    replay.end()


def complete_answers(file: Path) -> bool:
    """Whether a fixture holds both answers of a poll, but no request."""
    pieces = [json.loads(line) for line in file.read_text().splitlines()[1:]]
    starts = {p["hex"][:6] for p in pieces if p["dir"] == "rx"}
    return {"dd0300", "dd0400"} <= starts and all(p["dir"] == "rx" for p in pieces)


def test_what_is_not_recorded_is_said_once_and_unless_quiet(cli, started, session):
    for more, words in (((), "Nothing is recorded"), (("--quiet",), "")):
        replay = started(session, "--tcp", "127.0.0.1:0", *more)
        target = replay.line().removeprefix("ready ")
        cli("read", f"{target}?address=3&timeout=0.02").failed(1, "No answer")
        err = replay.end().err
        assert words in err
        assert err.count("\n") == bool(words)


def test_json_lines_only(started, session):
    replay = started(session, "--tcp", "127.0.0.1:0", "--json")
    ready = json.loads(replay.line())
    assert ready["schema"] == 1
    assert ready["ready"].startswith("jbd+tcp://127.0.0.1:")
    replay.end()


def test_ctrl_c_is_130_and_sigterm_0_and_both_are_silent(started, session):
    for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 0)):
        replay = started(session, "--tcp", "127.0.0.1:0")
        replay.line()
        result = replay.end(number)
        assert (result.code, result.err) == (code, "")


@pytest.mark.parametrize(
    ("argv", "code", "words"),
    [
        ([], 2, ["FILE"]),
        (["{file}"], 2, ["--pty", "--tcp"]),
        (["{file}", "--tcp", "nowhere"], 2, ["HOST:PORT"]),
        (["{file}", "--tcp", "127.0.0.1:0", "--speed", "0"], 2, ["speed"]),
        (["{file}", "--tcp", "127.0.0.1:0", "--speed", "nan"], 2, ["speed"]),
        (["{file}", "--tcp", "127.0.0.1:0", "--speed", "x"], 2, ["--speed"]),
        (["{file}", "--tcp", "127.0.0.1:0", "--protocol", "frob"], 2, ["'frob'", "jbd"]),
        (["{file}", "--tcp", "127.0.0.1:0", "--trace", "x"], 2, ["--trace"]),
        (["{file}", "--pty", "{folder}"], 1, ["{folder}"]),
        (["{folder}/missing", "--tcp", "127.0.0.1:0"], 1, ["missing"]),
        (["{folder}", "--tcp", "127.0.0.1:0"], 1, ["{folder}"]),
        (["{folder}/cut", "--tcp", "127.0.0.1:0"], 1, ["cut, line", "cut off"]),
        (["{folder}/text", "--tcp", "127.0.0.1:0"], 1, ["text, line 1"]),
    ],
)
def test_what_cannot_be_is_a_sentence(cli, session, argv, code, words):
    folder = session.parent
    shutil.copy(session, folder / "cut")
    (folder / "cut").write_bytes(session.read_bytes()[:-5])
    (folder / "text").write_text("DD 03\n")
    names = {"file": session, "folder": folder}
    result = cli("replay", *(a.format(**names) for a in argv))
    result.failed(code, *(w.format(**names) for w in words))


@pytest.mark.needs(module="bmstools")
def test_another_projects_program_reads_the_recorded_board(started, session, tmp_path):
    """bmstools knows nothing of bmslink."""
    replay = started(session, "--pty", tmp_path / "p")
    replay.line()
    code = (
        "import json, serial; from bmstools.jbd import JBD; "
        f"board = JBD(serial.Serial({str(tmp_path / 'p')!r})); "
        "print(json.dumps([board.readBasicInfo(), board.readCellInfo()]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20)
    assert done.returncode == 0, done.stderr
    basic, cells = json.loads(done.stdout.splitlines()[-1])
    assert basic["cell_cnt"] == len(cells) == 7
    assert basic["pack_ma"] == pytest.approx(-9000, abs=100)
    assert all(3000 < millivolts < 3500 for millivolts in cells.values())
