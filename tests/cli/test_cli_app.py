"""The command line as a whole: options that work everywhere, exit codes, errors, start-up."""

from __future__ import annotations

import importlib
import inspect
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import bmslink.__main__
from bmslink.cli.app import COMMANDS
from bmslink.cli.output import exit_code, to_json
from bmslink.errors import (
    BmsError,
    CaptureError,
    FrameError,
    GateError,
    LinkTimeout,
    PortNotFound,
    Refused,
    RollbackError,
    TargetError,
    UnknownDevice,
    VerifyError,
)
from cli_support import QUICK, SILENT, Cli, environment, finish, start
from support import ROOT


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    monkeypatch.delenv("BMSLINK_TARGET", raising=False)
    return Cli(capsys)


def modules_after(*argv: str) -> set[str]:
    """What is imported once a command line is done."""
    code = (
        "import sys; sys.argv = ['bmslink', *sys.argv[1:]]\n"
        "from bmslink.__main__ import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code, *argv], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(done.stderr.split())


# ------------------------------------------------------------------------------ start-up


def test_version_is_answered_before_anything_heavy_is_imported():
    loaded = modules_after("--version")
    assert not loaded & {"typer", "rich", "asyncio", "dataclasses", "json", "bmslink.cli.app"}


def test_help_imports_nothing_that_it_does_not_show():
    heavy = {"asyncio", "construct", "msgspec", "serial", "rich", "bmslink.device", "pydantic"}
    heavy |= {"textual", "bmslink.cli.dashboard"}
    assert not modules_after("--help") & (heavy | {f"bmslink.cli.{name}" for name in COMMANDS})
    loaded = modules_after("read", "--help")
    assert "bmslink.cli.read" in loaded
    assert not loaded & (heavy | {"bmslink.cli.monitor", "bmslink.cli.simulate"})


def test_json_output_does_not_import_rich():
    assert "rich.console" not in modules_after("read", "--json", QUICK)


def test_only_monitor_loads_the_dashboard_and_only_on_a_terminal():
    loaded = modules_after("monitor", "--help") | modules_after("read", QUICK)
    assert not {name for name in loaded if name.startswith(("textual", "bmslink.cli.dashboard"))}
    users = set()
    for path in (ROOT / "src" / "bmslink" / "cli").rglob("*.py"):
        if "dashboard" not in path.parts and "bmslink.cli.dashboard" in path.read_text():
            users.add(path.name)
    assert users == {"monitor.py"}


def test_version_says_the_version():
    for argv in (["--version"], ["-v", "--version"], ["read", "--version"]):
        result = finish(start(*argv))
        assert (result.code, result.out) == (0, f"bmslink {bmslink.__version__}\n")


# ------------------------------------------------------------------------------ commands


@pytest.mark.parametrize("name", COMMANDS)
def test_commands_are_plain_functions(name):
    # typer would call a coroutine function, drop the coroutine and exit with 0
    module = importlib.import_module(f"bmslink.cli.{name}")
    group = getattr(module, "COMMANDS", None)
    for command in [module.command] if group is None else group.values():
        assert inspect.isfunction(command)
        assert not inspect.iscoroutinefunction(command)
        assert not inspect.isasyncgenfunction(command)


@pytest.mark.parametrize("name", [*COMMANDS, "packs list", "packs add"])
def test_every_command_has_help_with_the_options_that_work_everywhere(cli, name):
    result = cli(*name.split(), "--help")
    assert result.code == 0
    for option in ("--json", "--quiet", "-v", "--trace", "--debug", "--version", "--help"):
        assert option in result.out
    assert cli(*name.split(), "-h").out == result.out


def test_the_list_of_commands_has_no_command_of_a_later_version(cli):
    result = cli("--help")
    assert result.code == 0
    listed = [line.split()[0] for line in result.out.partition("Commands:")[2].splitlines() if line]
    first = [
        "scan",
        "info",
        "doctor",
        "read",
        "monitor",
        "decode",
        "capture",
        "log",
        "simulate",
        "replay",
    ]
    changing = ["settings", "config", "switch", "control", "balance"]
    looking = ["serve", "service", "history", "plot", "report", "life", "events"]
    assert listed == [*first, *changing, *looking, "packs"]


def test_without_a_command_the_help_comes_and_2(cli):
    result = cli()
    assert result.code == 2
    assert result.out == ""
    assert "Commands:" in result.err


def test_shell_completion_knows_the_commands():
    env = environment(_BMSLINK_COMPLETE="complete_bash", COMP_WORDS="bmslink rea", COMP_CWORD="1")
    result = finish(start(env=env))
    assert result.out.split() == ["read"]
    assert (result.code, result.err) == (0, "")
    env |= {"COMP_WORDS": "bmslink packs l", "COMP_CWORD": "2"}
    assert finish(start(env=env)).out.split() == ["list"]


def test_completion_imports_only_the_command_that_it_completes(monkeypatch):
    monkeypatch.setenv("_BMSLINK_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_CWORD", "2")
    monkeypatch.setenv("COMP_WORDS", "bmslink\nread\n--wa")
    loaded = {f"bmslink.cli.{name}" for name in COMMANDS} & modules_after()
    assert loaded == {"bmslink.cli.read"}
    monkeypatch.setenv("_BMSLINK_COMPLETE", "complete_zsh")
    monkeypatch.setenv("_TYPER_COMPLETE_ARGS", "bmslink packs ")
    monkeypatch.delenv("COMP_WORDS")
    loaded = {f"bmslink.cli.{name}" for name in COMMANDS} & modules_after()
    assert loaded == {"bmslink.cli.packs"}


# ------------------------------------------------------------------------------ wrong usage


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["raed"], ["'raed'", "Did you mean read?"]),
        (["frobnicate"], ["'frobnicate'", "monitor"]),
        (["surgeon"], ["'surgeon'"]),
        ([""], ["no command ''", "There are: scan"]),
        (["--trace", "x", "raed", "--json"], ["no command 'raed'", "Did you mean read?"]),
        (["--", "--raed"], ["no command '--raed'"]),
        (["raed", "--version"], ["no command 'raed'"]),
        (["packs", "lst"], ["no command 'lst'", "Did you mean list?", "bmslink packs --help"]),
        (["packs", "--trace", "x", ""], ["no command ''", "There are: list"]),
        (["read", "--frob", QUICK], ["--frob", "bmslink read --help"]),
        (["--frob", "read", QUICK], ["--frob"]),
        (["read", QUICK, "--watch"], ["--watch"]),
        (["read", QUICK, "--watch", "soon"], ["'soon'", "--watch"]),
        (["read", QUICK, "--watch", "0"], ["--watch"]),
        (["read", QUICK, "--watch", "-1"], ["--watch"]),
        (["read", QUICK, "--watch", "nan"], ["--watch"]),
        (["read", QUICK, "--watch", "inf"], ["--watch"]),
        (["read", QUICK, "--count", "0"], ["--count"]),
        (["read", QUICK, "--count", "x"], ["--count"]),
        (["read", QUICK, "--timeout", "soon"], ["'soon'", "--timeout"]),
        (["read", QUICK, "--timeout", "0"], ["timeout must be 0.01 to 60 s"]),
        (["read", QUICK, "--timeout", "100"], ["timeout must be 0.01 to 60 s"]),
        (["read", f"{QUICK}&timeout=100"], ["timeout must be 0.01 to 60 s"]),
        (["read", QUICK, "--address", "three"], ["--address"]),
        (["read", QUICK, "--address", "256"], ["address"]),
        (["read", QUICK, "--baudrate", "1.5"], ["--baudrate"]),
        (["read", QUICK, "--protocol", "jdb"], ["'jdb'", "jbd"]),
        (["read", QUICK, "--protocol", "jk"], ["jk02", "jk-nw"]),
        (["read", "--json=yes", QUICK], ["--json"]),
        (["read", QUICK, "--trace"], ["--trace"]),
        (["info", QUICK, "sim://jbd"], ["sim://jbd"]),
    ],
)
def test_wrong_usage_is_one_sentence_and_2(cli, argv, words):
    cli(*argv).failed(2, *words)


@pytest.mark.parametrize("command", ["info", "read", "capture"])
@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("", ["empty"]),
        ("nonsense", ["nonsense"]),
        ("jbd+warp:///dev/x", ["warp"]),
        ("warp+sim://", ["warp", "jbd"]),
        ("sim://jbd?celsl=3", ["celsl", "cells"]),
        ("sim://jbd?cells=many", ["cells"]),
        ("sim://jbd?cells=-1", ["ells"]),
        ("sim://jbd?fault=frob", ["frob"]),
        ("jbd+serial:///dev/ttyUSB0?pin=1234", ["pin"]),
        ("jbd+tcp://host", ["host"]),
        ("modbus-tcp://127.0.0.1:502", ["Which protocol", "jk-modbus+modbus-tcp"]),
        ("jk+modbus-tcp://127.0.0.1:502", ["is a vendor", "jk-modbus"]),
        ("/dev/ttyUSB0?baudrate=1", ["baudrate=1"]),
        ("jk+serial:///dev/ttyUSB0?address=300", ["address=300"]),
        ("jbd+serial:///dev/ttyUSB0?rts=maybe", ["rts is toggle, on or off"]),
        ("jbd+tcp://host:4000?rts=on", ["Unknown key 'rts'"]),
        ("jbd+sim://?gap=-1", ["gap"]),
        ("jbd+sim://?baudrate=1", ["baudrate"]),
        ("jbd+sim://?current_sign=up", ["current_sign"]),
        ("sim://\x1b[2J", ["control characters"]),
    ],
)
def test_a_target_that_cannot_be_is_one_sentence_and_2(cli, tmp_path, command, target, words):
    more = ["-o", str(tmp_path / "file")] if command == "capture" else []
    cli(command, *more, target).failed(2, *words)
    assert not (tmp_path / "file").exists()


@pytest.mark.parametrize("command", ["info", "read"])
@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("jbd+serial:///nowhere/tty", ["/nowhere/tty"]),
        ("/nowhere/tty", ["/nowhere/tty"]),
        ("daly+serial:///nowhere/tty", ["/nowhere/tty"]),
        ("tcp://127.0.0.1:1", ["127.0.0.1:1"]),
        ("jbd+tcp://127.0.0.1:1", ["127.0.0.1:1"]),
        ("jbd+rfc2217://127.0.0.1:1", ["127.0.0.1:1"]),
        ("jbd+modbus-tcp://127.0.0.1:1", ["127.0.0.1:1"]),
        ("replay:///nowhere/file", ["/nowhere/file"]),
        (SILENT, ["No answer", "fault=silent"]),
        ("sim://jbd?gap=0&timeout=0.02&fault=corrupt:100", ["no valid frame", "corrupt"]),
    ],
)
def test_a_link_that_fails_is_one_sentence_and_1(cli, command, target, words):
    cli(command, target).failed(1, *words)


def test_a_missing_target_is_2_and_names_the_simulated_one(cli):
    for command in (["info"], ["read"], ["monitor"]):
        cli(*command).failed(2, "sim://", "BMSLINK_TARGET")


def test_the_environment_stands_in_for_a_missing_target(cli, monkeypatch):
    monkeypatch.setenv("BMSLINK_TARGET", QUICK)
    assert cli("read", "--json").objects[0]["protocol"] == "jbd"
    assert cli("info", "--json").objects[0]["protocol"] == "jbd"
    monkeypatch.setenv("BMSLINK_TARGET", "")
    cli("read").failed(2, "BMSLINK_TARGET")


# ------------------------------------------------------------------- options that work everywhere


@pytest.mark.parametrize(
    "options",
    [
        ["--json"],
        ["--quiet"],
        ["-v"],
        ["-vv"],
        ["--verbose"],
        ["--debug"],
        ["--trace", "packs"],
        ["--trace=packs"],
        ["--trace", "--", "-v"],
        ["--json", "--"],
    ],
)
def test_a_command_is_found_behind_every_option_that_works_everywhere(cli, options):
    """We look for the name of the command before typer does: both must find the same."""
    end = options[-1] == "--"
    result = cli(*options, "packs", *([] if end else options), "path")
    if "--trace" in options[0]:
        result.failed(2, "--trace")
    else:
        assert result.code == 0
        assert "bmslink.toml" in result.out


def test_json_may_stand_before_or_after_the_command(cli):
    before, after = cli("--json", "info", QUICK), cli("info", QUICK, "--json")
    assert before.objects == after.objects
    assert before.objects[0]["schema"] == 1


def test_trace_is_a_capture_of_the_session(cli, tmp_path):
    trace = tmp_path / "trace.jsonl"
    before = cli("--trace", str(trace), "read", QUICK, "--json").objects[0]
    decoded = cli("decode", str(trace), "--json").objects[-1]
    assert decoded["cell_voltages"] == before["cell_voltages"]
    assert {json.loads(line).get("dir") for line in trace.read_text().splitlines()[1:]} == {
        "rx",
        "tx",
    }


def test_a_trace_never_overwrites_anything(cli, tmp_path):
    trace = tmp_path / "trace.jsonl"
    trace.touch()
    cli("read", "jbd+serial:///nowhere/tty", "--trace", str(trace)).failed(1)
    assert trace.read_bytes() == b""
    assert cli("read", QUICK, "--trace", str(trace)).code == 0
    before = trace.read_bytes()
    cli("read", QUICK, "--trace", str(trace)).failed(2, str(trace), "name another file")
    assert trace.read_bytes() == before


def test_a_trace_that_cannot_be_is_2(cli, tmp_path):
    cli("read", QUICK, "--trace", str(tmp_path / "no" / "file")).failed(2, "cannot be written")
    cli("read", QUICK, QUICK, "--trace", str(tmp_path / "t")).failed(2, "--trace")
    cli("decode", "--hex", "dd", "--trace", str(tmp_path / "t")).failed(2, "--trace")
    cli("simulate", "jbd", "--trace", str(tmp_path / "t")).failed(2, "--trace")
    cli("capture", QUICK, "-o", str(tmp_path / "o"), "--trace", "t").failed(2, "--trace")
    assert not list(tmp_path.iterdir())


def test_debug_shows_where_it_failed(cli):
    for command in ("read", "info"):
        assert "Traceback" not in cli(command, SILENT).err
        result = cli("--debug", command, SILENT)
        assert result.code == 1
        assert "Traceback" in result.err
        assert result.err.splitlines()[-1].startswith("bmslink: jbd+sim://")


def test_verbose_says_the_steps_and_twice_verbose_every_byte(cli):
    watching = ["read", "--json", "--watch", "0.02", "--count", "1", QUICK]
    assert cli(*watching).err == ""
    once = cli(*watching, "-v").err
    assert "is open" in once
    assert "dda50300" not in once
    assert "jbd+sim://" in cli("info", QUICK, "-v").err
    silent = cli("read", "-v", SILENT).err
    assert "is being opened" in silent
    assert "no answer to try 2 of" in silent
    for twice in (cli(*watching, "-vv"), cli("-v", *watching, "--verbose")):
        assert "is open" in twice.err
        assert '"dir":"tx","hex":"dda50300fffd77"' in twice.err
        assert "frames of [" in twice.err
        assert len(twice.objects) == 1


def test_verbose_changes_nothing_on_stdout(cli):
    recorded = ["decode", "--hex", "dd 05 00 03 61 62 63 fe d7 77", "--frames"]
    assert cli(*recorded, "-vv").out == cli(*recorded).out
    plain, loud = cli("read", QUICK).out, cli("read", "-vv", QUICK).out
    assert [line[:13] for line in loud.splitlines()] == [line[:13] for line in plain.splitlines()]


def test_a_failure_of_our_own_is_one_sentence_and_its_traceback_only_with_debug(cli, monkeypatch):
    def broken(*args, **more):
        raise RuntimeError("gone\nwrong")

    monkeypatch.setattr("bmslink.board.Board.identify", broken)
    result = cli("info", QUICK)
    assert result.code == 1
    assert result.err.count("\n") == 1
    assert "Internal error (RuntimeError: gone wrong)" in result.err
    assert "--debug" in result.err
    assert "Traceback" in cli("info", QUICK, "--debug").err


def test_a_callback_that_fails_ends_the_command_instead_of_passing_unseen(cli, monkeypatch):
    def full(self, direction, data):
        raise OSError(28, "No space left on device", "trace.jsonl")

    monkeypatch.setattr("bmslink.link.capture.Writer.write", full)
    result = cli("read", QUICK, "--watch", "0.1", "--trace", os.devnull)
    assert result.code == 1
    assert "No space left on device" in result.err
    assert "Traceback" not in result.err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (TargetError("x"), 2),
        (GateError("x"), 3),
        (VerifyError("x"), 4),
        (RollbackError("x"), 4),
        (LinkTimeout("x"), 1),
        (PortNotFound("x"), 1),
        (FrameError("x"), 1),
        (CaptureError("x"), 1),
        (UnknownDevice("x"), 1),
        (Refused("x"), 1),
        (BmsError("x"), 1),
        (ValueError("x"), 1),
    ],
)
def test_the_class_of_an_error_is_its_exit_code(error, code):
    assert exit_code(error) == code


def test_json_never_holds_what_json_cannot():
    line = to_json({"a": float("nan"), "b": [float("inf"), 1.5], "c": {"d": b"\x01"}, "e": "°\n"})
    assert json.loads(line) == {
        "schema": 1,
        "a": None,
        "b": [None, 1.5],
        "c": {"d": "01"},
        "e": "°\n",
    }
    assert line.isascii()
    assert "\n" not in line


# ------------------------------------------------------------------------------ stdout


def test_no_color_is_obeyed_and_a_pipe_gets_no_colour():
    forced = finish(start("read", QUICK, env=environment(FORCE_COLOR="1", TERM="xterm")))
    assert "\x1b[" in forced.out
    plain = finish(start("read", QUICK))
    assert "\x1b" not in plain.out
    without = finish(
        start("read", QUICK, env=environment(FORCE_COLOR="1", TERM="xterm", NO_COLOR="1"))
    )
    assert "\x1b" not in without.out


@pytest.mark.parametrize(
    "argv",
    [
        ["--help"],
        ["--version"],
        ["-v", "--version"],
        ["read", "--help"],
        ["info", QUICK],
        ["read", QUICK],
        ["decode", "--frames", "--hex", "dd 05 00 03 61 62 63 fe d7 77"],
        ["simulate", "jbd", "--tcp", "127.0.0.1:0"],
    ],
)
def test_a_pipe_that_was_closed_before_anything_was_said_is_silent(argv):
    ours, theirs = os.pipe()
    os.close(ours)
    result = finish(start(*argv, stdout=theirs))
    os.close(theirs)
    assert (result.code, result.err) == (0, "")


@pytest.mark.parametrize(
    ("argv", "code"),
    [([], 2), (["read", "nonsense"], 2), (["read", "--debug", SILENT], 1), (["info", QUICK], 0)],
)
def test_a_closed_pipe_for_the_errors_changes_no_code(argv, code):
    ours, theirs = os.pipe()
    os.close(ours)
    assert finish(start(*argv, stderr=theirs)).code == code
    os.close(theirs)


@pytest.mark.parametrize("option", ["--json", "--quiet"])
def test_a_closed_pipe_is_silent(option):
    process = start("read", "--watch", "0.05", option, QUICK)
    assert process.stdout is not None and process.stderr is not None
    assert process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait(timeout=20) == 0
    process.stderr.close()


def test_no_stdout_at_all_is_a_closed_pipe():
    command = [sys.executable, "-m", "bmslink", "read", QUICK]
    done = subprocess.run(
        ["sh", "-c", '"$@" >&-', "sh", *command], capture_output=True, text=True, env=environment()
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a device that is full")
def test_a_full_disk_is_a_sentence_and_1():
    with Path("/dev/full").open("w") as full:
        result = finish(start("read", QUICK, stdout=full))
    assert result.code == 1
    assert result.err == "bmslink: standard output: No space left on device.\n"


def test_a_terminal_without_unicode_gets_no_exception_and_no_unicode():
    result = finish(start("read", QUICK, env=environment(PYTHONIOENCODING="ascii")))
    assert result.code == 0
    assert result.out.isascii()
    assert "\\u" not in result.out


def test_quiet_leaves_results_and_errors(cli):
    noisy = "00 dd 05 00 03 61 62 63 fe d7 77"
    loud = cli("decode", "--json", "--frames", "--hex", noisy)
    assert "skipped" in loud.err
    quiet = cli("decode", "--json", "--frames", "--quiet", "--hex", noisy)
    assert (quiet.out, quiet.err) == (loud.out, "")
    assert "No answer" in cli("read", "--quiet", SILENT).err


def test_ctrl_c_while_the_command_is_loaded_is_130_and_silent(monkeypatch, capsys):
    """Loading takes a tenth of a second or two; a traceback of it helps nobody."""

    def interrupted(argv):
        raise KeyboardInterrupt

    monkeypatch.setattr("bmslink.cli.app.main", interrupted)
    with pytest.raises(SystemExit) as ended:
        bmslink.__main__.main()
    assert ended.value.code == 130
    assert capsys.readouterr() == ("", "")
