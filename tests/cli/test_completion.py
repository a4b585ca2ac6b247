"""Completion: its table against the real commands, its answers, and real shells."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import completion_table
from bmslink.cli.completion import answer, line, scripts, setting_keys, table
from bmslink.cli.completion.line import choices
from cli_support import Cli, environment
from counterparts import require

TOML = """
[packs.van]
target = "jbd+serial:///dev/ttyUSB7"
[packs.boat]
target = "sim://jk02"
[banks.all]
packs = ["van", "boat"]
"""


@pytest.fixture(autouse=True)
def named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "bmslink.toml"
    path.write_text(TOML)
    monkeypatch.setenv("BMSLINK_CONFIG", str(path))
    monkeypatch.delenv("BMSLINK_TARGET", raising=False)
    return path


def words(text: str) -> list[str]:
    before, current = answer.split(f"bmslink {text}")
    return [word for word, _ in choices(before[1:], current)]


def test_the_table_is_that_of_the_real_commands() -> None:
    """After a command or an option changed: `python tools/completion_table.py`."""
    for name, value in completion_table.tables().items():
        made = setting_keys if name == "KEYS" else table
        assert getattr(made, name) == value, f"{name}: run tools/completion_table.py"
    kinds = {kind for row in table.COMMANDS.values() for kind in completion_table.kinds(row)}
    assert kinds - {"nothing", ""} <= {*table.VALUES, *line.KINDS}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("sett", ["settings"]),
        ("settings ", ["show", "get", "set"]),
        ("--json set", ["settings"]),
        ("--trace x.jsonl inf", ["info"]),
        ("--j", ["--json"]),
        ("settings --j", ["--json"]),
        ("read v", ["van"]),
        ("read van bo", ["boat"]),
        ("read jbd-up+t", ["jbd-up+tcp://"]),
        ("read sim://jk-", ["sim://jk-nw", "sim://jk-modbus", "sim://jk-bus"]),
        ("read tcp://h", []),
        ("read /dev/nosuch", [""]),
        ("info van --proto", ["--protocol"]),
        ("info --protocol daly-d", ["daly-d2"]),
        ("info --protocol=daly-d", ["--protocol=daly-d2"]),
        ("info --address 1 v", ["van"]),
        ("info --address ", []),
        ("info van --pin-file ", [""]),
        ("info van ", []),
        ("history a", ["all"]),
        ("service lend b", ["boat"]),
        ("packs remove v", ["van"]),
        ("settings get van cell_ovp_r", ["cell_ovp_release"]),
        ("settings get sim://jk02 jk_smart_sleep_d", ["jk_smart_sleep_delay"]),
        ("settings get boat jbd_shun", []),  # a JK board has no such setting
        ("settings get unknown jbd_shun", ["jbd_shunt"]),
        ("settings set van cell_ovp_r", ["cell_ovp_release="]),
        ("settings set van charge_switch=o", ["charge_switch=on", "charge_switch=off"]),
        ("settings set van cell_ovp=", []),
        ("settings set van --waive orde", ["order"]),
        ("switch van dis", ["discharge"]),
        ("switch van discharge of", ["off"]),
        ("events --severity al", ["alarm"]),
        ("events --what condi", ["condition"]),
        ("events --seen --se", ["--severity"]),
        ("simulate jbd --fault noi", ["noise"]),
        ("simulate jbd --fault noise --fa", ["--fault"]),
        ("config presets lfp-", [p for p in table.VALUES["preset"].split() if p[:4] == "lfp-"]),
        ("control presets lfp-va", ["lfp-van"]),
        ("control resume van ch", ["charge"]),
        ("frobnicate x", []),
        ("settings frobnicate x", []),
        ('read "v', ["van"]),
        ("read van\\ ", []),
    ],
)
def test_what_may_come_next(text: str, found: list[str]) -> None:
    assert words(text) == found


def test_a_target_may_be_left_out_where_the_environment_names_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert words("switch ch") == []
    monkeypatch.setenv("BMSLINK_TARGET", "van")
    assert words("switch ch") == ["charge"]
    assert words("settings get cell_ovp_r") == ["cell_ovp_release"]


@pytest.mark.parametrize(
    "text", ["packs = 3", "[packs", "[packs]\nvan = 3\n[banks]", "\xff", "[packs.van]\ntarget = 3"]
)
def test_a_file_that_is_wrong_has_no_names_or_those_that_are_right(named: Path, text: str) -> None:
    named.write_bytes(text.encode("latin-1"))
    assert set(words("read v")) <= {"van"}
    assert words("history al") == []


@pytest.mark.skipif(sys.platform == "win32", reason="no pipes with names")
def test_a_pipe_or_nothing_in_its_place_is_not_waited_for(named: Path) -> None:
    named.unlink()
    assert words("read v") == []
    os.mkfifo(named)
    assert words("read v") == []


@pytest.mark.parametrize(
    ("shell", "text", "told"),
    [
        ("bash", "bmslink read v", "van\n"),
        ("zsh", "bmslink read v", "van\tjbd+serial:///dev/ttyUSB7\n"),
        ("bash", "bmslink read jbd+ser", ":nospace\njbd+serial://\n"),
        ("bash", "bmslink read sim://jk0", "//jk02\n//jk04\n"),  # readline has `sim:` already
        ("bash", "bmslink settings set van charge_switch=of", "off\n"),
        ("fish", "bmslink read sim://jk0", "sim://jk02\nsim://jk04\n"),
        ("bash", "bmslink decode ", ":files\n"),
    ],
)
def test_the_answer_to_a_shell(
    shell: str,
    text: str,
    told: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("_BMSLINK_LINE", text)
    monkeypatch.setenv("_BMSLINK_BREAKS", " \t\n\"'><=;|&(:")
    assert "".join(f"{each}\n" for each in answer.lines(shell)) == told


def test_nothing_slow_is_loaded_and_nothing_said(tmp_path: Path) -> None:
    env = environment(_BMSLINK_COMPLETE="zsh", _BMSLINK_LINE="bmslink settings get van cell_ovp_r")
    code = (
        "import sys, bmslink.__main__ as m; m.main(); "
        "slow = {'typer', 'click', 'rich', 'msgspec', 'construct', 'asyncio', 'bmslink.packs'}; "
        "sys.exit(str(slow & set(sys.modules)) if slow & set(sys.modules) else 0)"
    )
    run = [sys.executable, "-c", code]
    done = subprocess.run(run, env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "cell_ovp_release\n", "")
    env |= {"BMSLINK_CONFIG": str(tmp_path)}  # a folder; and what nobody could have written
    env |= {"_BMSLINK_LINE": "bmslink read \x00 '".replace("\x00", "\x01")}
    done = subprocess.run(run, env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_scripts_are_shown_and_installed_once(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cli = Cli(capsys)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    (tmp_path / ".bashrc").write_text("alias x=y")
    for shell in answer.SHELLS:
        assert cli("--show-completion", shell).out == scripts.SCRIPTS[shell]
        for _ in range(2):
            assert "from its next start on" in cli("--install-completion", shell).out
    rc = (tmp_path / ".bashrc").read_text().splitlines()
    assert rc == ["alias x=y", f"source '{tmp_path}/.bash_completions/bmslink.sh'"]
    assert (tmp_path / ".zfunc" / "_bmslink").read_text() == scripts.SCRIPTS["zsh"]
    assert (tmp_path / ".config/fish/completions/bmslink.fish").is_file()
    cli("--show-completion", "tcsh").failed(2, "bash, zsh, fish")
    monkeypatch.setenv("SHELL", "/usr/bin/fish")
    monkeypatch.setattr(scripts, "_HEIGHT", 0)
    assert cli("--show-completion").out == scripts.SCRIPTS["fish"]
    monkeypatch.setattr(os, "getppid", lambda: 1 << 40)  # gone already
    assert scripts.wanted_shell([]) == "fish"


START = {
    "bash": ["--noprofile", "--norc", "-i"],
    "zsh": ["-f", "-i"],
    "fish": ["--no-config", "-i"],
}
LOAD = {
    "bash": "source {script}",
    "zsh": "autoload -Uz compinit; compinit -u -D; source {script}",
    "fish": "source {script}",
}


_CODES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[()][A-Z0-9]|[\0\x0f]")


class Terminal:
    """A shell on a terminal of its own."""

    def __init__(self, shell: str, env: dict[str, str]) -> None:
        self.master, slave = pty.openpty()
        self.process = subprocess.Popen(
            [require("setsid"), "--ctty", "--wait", require(shell), *START[shell]],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=env,
        )
        os.close(slave)
        self.seen = ""

    def type(self, text: str) -> None:
        self.seen = ""
        os.write(self.master, text.encode())

    def wait_for(self, text: str, within: float = 20.0) -> str:
        """What came until this text; an `AssertionError` where it does not come."""
        end = time.monotonic() + within
        while text not in _CODES.sub("", self.seen):
            left = end - time.monotonic()
            assert left > 0, (text, self.seen)
            if select.select([self.master], [], [], left)[0]:
                self.seen += os.read(self.master, 4096).decode(errors="replace")
        return self.seen

    def close(self) -> None:
        os.close(self.master)  # a shell whose terminal is gone ends
        self.process.wait(10)


@pytest.fixture(params=answer.SHELLS)
def terminal(request: pytest.FixtureRequest, tmp_path: Path, named: Path) -> Iterator[Terminal]:
    shell = request.param
    folder = str(Path(shutil.which("bmslink", path=Path(sys.executable).parent) or "").parent)
    env = environment(
        HOME=str(tmp_path),
        PATH=f"{folder}:{os.environ['PATH']}",
        BMSLINK_CONFIG=str(named),
        TERM="vt100",
        PS1="$ ",
    )
    script = tmp_path / "script"
    script.write_text(scripts.SCRIPTS[shell])
    found = Terminal(shell, env)
    try:
        found.type(LOAD[shell].format(script=script) + "; echo rea''dy\n")
        found.wait_for("ready")
        yield found
    finally:
        found.close()


@pytest.mark.slow
@pytest.mark.real_time
def test_real_shells_complete(terminal: Terminal) -> None:
    for text, completed in (
        ("bmslink sett\t", "settings "),
        ("bmslink settings get va\t", "van "),
        ("bmslink read jbd-up+rfc\t", "jbd-up+rfc2217://"),
        ("bmslink read sim://jk0\t2?x", "sim://jk0"),
        ("bmslink read sim://daly-d\t", "sim://daly-d2 "),
        ("bmslink settings set van cell_ovp_r\t", "cell_ovp_release="),
        ("bmslink switch van disch\to\t", "discharge o"),
    ):
        terminal.type(text)
        terminal.wait_for(completed)
        terminal.type("\x15\x0b")  # the line is emptied
        time.sleep(0.1)
    assert "Traceback" not in terminal.seen
