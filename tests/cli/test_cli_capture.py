"""`bmslink capture`: whole files, however it ends."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from bmslink.link.capture import open_capture
from cli_support import QUICK, SILENT, Cli, finish, start


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    monkeypatch.delenv("BMSLINK_TARGET", raising=False)
    return Cli(capsys)


def sent_and_received(file: Path) -> tuple[int, int]:
    """Bytes in each direction; raises if the file is not whole."""
    _, pieces = open_capture(file)
    found = [(p.sent, len(p.data)) for p in pieces]
    return sum(n for sent, n in found if sent), sum(n for sent, n in found if not sent)


def test_it_records_both_directions_and_says_how_much(cli, tmp_path):
    file = tmp_path / "session.jsonl"
    result = cli("capture", QUICK, "-o", str(file), "--count", "3", "--watch", "0.02", "--json")
    assert result.code == 0
    (said,) = result.objects
    sent, received = sent_and_received(file)
    assert sent and received
    assert said["bytes"] == sent + received
    assert said["pieces"] == len(file.read_text().splitlines()) - 1
    assert (said["readings"], said["errors"], said["file"]) == (3, 0, str(file))
    assert "pieces" in result.err


def test_what_it_records_can_be_decoded_and_replayed(cli, tmp_path):
    file = tmp_path / "session.jsonl"
    assert cli("capture", QUICK, "-o", str(file), "--count", "2", "--watch", "0.02").code == 0
    decoded = cli("decode", "--json", str(file)).objects
    replayed = cli("read", "--json", f"replay://{file}").objects
    assert replayed[0]["cell_voltages"] == decoded[-1]["cell_voltages"]
    (identity,) = cli("info", "--json", f"replay://{file}").objects
    assert identity["vendor"] == "JBD"


def test_a_file_that_exists_is_kept(cli, tmp_path):
    file = tmp_path / "precious"
    file.write_text("precious")
    cli("capture", QUICK, "-o", str(file), "--count", "1").failed(2, str(file), "--force")
    assert file.read_text() == "precious"
    assert cli("capture", QUICK, "-o", str(file), "--count", "1", "--force").code == 0
    assert sent_and_received(file)[0]


def test_force_keeps_the_old_file_until_there_is_something_new(cli, tmp_path):
    file = tmp_path / "precious"
    file.write_text("precious " * 10_000)
    argv = ["-o", str(file), "--force", "--count", "1"]
    cli("capture", "jbd+serial:///nowhere/tty", *argv).failed(1, "/nowhere/tty")
    cli("capture", "sim://jbd?fault=frob", *argv).failed(2, "frob")
    assert file.read_text() == "precious " * 10_000
    assert cli("capture", QUICK, *argv).code == 0
    assert sent_and_received(file)[1]
    assert "precious" not in file.read_text()


def test_an_empty_file_holds_nothing_to_lose(cli, tmp_path):
    file = tmp_path / "new"
    file.touch()
    assert cli("capture", QUICK, "-o", str(file), "--count", "1").code == 0
    assert sent_and_received(file)[1]


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ([QUICK], ["-o"]),
        (["-o", "file"], ["BMSLINK_TARGET"]),
        ([QUICK, "-o", "no/such/folder/file"], ["no/such/folder/file", "cannot be written"]),
        ([QUICK, "-o", "."], ["cannot be written"]),
        ([QUICK, "-o", "file", "--seconds", "-1"], ["--seconds"]),
        ([QUICK, "-o", "file", "--count", "none"], ["--count"]),
        ([QUICK, QUICK, "-o", "file"], ["sim"]),
    ],
)
def test_wrong_usage_is_2_and_makes_no_file(cli, tmp_path, monkeypatch, argv, words):
    monkeypatch.chdir(tmp_path)
    cli("capture", *argv).failed(2, *words)
    assert not list(tmp_path.iterdir())


def test_a_port_that_cannot_be_opened_leaves_no_file(cli, tmp_path):
    file = tmp_path / "session.jsonl"
    cli("capture", "jbd+serial:///nowhere/tty", "-o", str(file)).failed(1, "/nowhere/tty")
    assert not file.exists()


def test_a_silent_pack_leaves_what_was_said_and_1(cli, tmp_path):
    file = tmp_path / "session.jsonl"
    argv = ["capture", SILENT, "-o", str(file), "--count", "2", "--watch", "0.02"]
    result = cli(*argv, "--json", "--quiet")
    assert result.code == 1
    assert result.objects[0]["readings"] == 0
    assert "no reading" in result.err
    sent, received = sent_and_received(file)
    assert sent > 0
    assert received == 0


def test_seconds_end_it(cli, tmp_path):
    file = tmp_path / "session.jsonl"
    result = cli("capture", QUICK, "-o", str(file), "--seconds", "0.5", "--watch", "0.05")
    assert result.code == 0
    assert sent_and_received(file)[1]


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_leaves_a_whole_file(tmp_path, end):
    file = tmp_path / "session.jsonl"
    process = start("capture", QUICK, "-o", str(file), "--watch", "0.05", "--json")
    assert process.stderr is not None
    assert "1 readings" in process.stderr.readline()
    process.send_signal(end)
    result = finish(process)
    assert result.code == 130
    (said,) = [json.loads(line) for line in result.out.splitlines()]
    sent, received = sent_and_received(file)
    assert said["bytes"] == sent + received > 0
    assert "Traceback" not in result.err


def test_a_device_may_be_written_to(cli):
    assert cli("capture", QUICK, "-o", "/dev/null", "--count", "1").code == 0
