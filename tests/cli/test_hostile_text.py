"""Text from outside never steers the terminal: every renderer and every command's errors."""

from __future__ import annotations

import ast
import copy
import dataclasses
import json
import re
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any

import pytest

import bmslink.cli.render as renderers
from bmslink.board import Board
from bmslink.cli.output import Session
from bmslink.cli.render.clean import clean, clean_lines
from bmslink.control.presets import preset
from bmslink.errors import UnknownDevice
from bmslink.storage.journal import Journal
from cli_support import Cli, Terminal

CLI = Path(renderers.__file__).parent.parent
WORDS = ("vendor", "model", "hardware", "firmware", "serial_number", "chemistry")
EVIL = "e\x1b]0;t\x07\x1b[2J\x9b2J\x7f\u202e\r\n!FORGED"
PACK = "sim://jbd?gap=0&cells=4&load=idle"


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Cli:
    monkeypatch.delenv("BMSLINK_TARGET", raising=False)
    monkeypatch.setenv("BMSLINK_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("COLUMNS", "1000")
    monkeypatch.setenv("FORCE_COLOR", "1")  # so that the way to a terminal is taken
    return Cli(capsys)


def harmless(text: str) -> None:
    """Nothing but colours and line ends steers, and no line is forged."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text)
    assert not [c for c in plain if not c.isprintable() and c != "\n"], repr(plain)
    assert not re.search(r"^!FORGED", plain, re.MULTILINE), plain


def poisoned(value: Any) -> Any:
    """The same thing with every text in it made hostile."""
    if isinstance(value, Enum) or value is None:
        return value
    if isinstance(value, str):
        return value + EVIL
    if isinstance(value, Mapping):
        return {poisoned(k): poisoned(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)) and type(value) in (list, tuple):
        return type(value)(poisoned(v) for v in value)
    if dataclasses.is_dataclass(value):
        made = copy.copy(value)
        for field in dataclasses.fields(value):
            object.__setattr__(made, field.name, poisoned(getattr(value, field.name)))
        return made
    return value


# ------------------------------------------------------------------------- the one way out


def test_nothing_else_writes_to_the_terminal():
    forbidden = {"print", "typer.echo", "typer.secho", "sys.stdout.write", "sys.stderr.write",
                 "Console", "Live", "logging.StreamHandler"}  # fmt: skip
    found = {
        (path.name, ast.unparse(node.func))
        for path in CLI.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in forbidden
    }
    # answer.py: the words of a completion, which a shell reads
    assert {name for name, _ in found} == {"answer.py", "output.py", "streams.py"}


def test_what_steers_is_replaced():
    assert clean("a\x1b[2Jb\x9bc\td\n") == "a?[2Jb?c d "
    assert clean_lines("a\nb\r\n\x07") == "a\nb \n?"
    assert clean("Größe 3 °C, 电池 — ▼") == "Größe 3 °C, 电池 — ▼"


# --------------------------------------------------------------------------- hostile boards


@pytest.fixture
def hostile_board(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything that a board says in words is hostile."""
    identify, read = Board.identify, Board.read

    async def poisoned_identity(self: Board) -> Any:
        found = await identify(self)
        return dataclasses.replace(
            found,
            **dict.fromkeys(
                ("vendor", "model", "hardware", "firmware", "serial_number", "chemistry"), EVIL
            ),
            capabilities=poisoned(found.capabilities),
            map=poisoned(found.map),
        )

    async def poisoned_reading(self: Board) -> Any:
        found = await read(self)
        return dataclasses.replace(
            found,
            target=str(found.target) + EVIL,
            temperatures=poisoned(found.temperatures),
            raw=poisoned(found.raw),
        )

    monkeypatch.setattr(Board, "identify", poisoned_identity)
    monkeypatch.setattr(Board, "read", poisoned_reading)


@pytest.mark.parametrize(
    "words",
    [
        ("info", PACK),
        ("read", PACK),
        ("read", PACK, f"{PACK}&seed=2", "--count", "1"),
        ("settings", "show", PACK),
        ("settings", "get", PACK, "cell_ovp"),
        ("settings", "set", PACK, "cell_ovp=3.6", "--dry-run"),
        ("settings", "set", PACK, "cell_ovp=3.6", "--yes", "-vv"),
        ("config", "export", PACK),
        ("config", "export", PACK, "-o", "-"),
        ("switch", PACK, "charge", "off", "--yes"),
    ],
    ids=" ".join,
)
def test_a_hostile_board(cli, hostile_board, words):
    result = cli(*words)
    harmless(result.out)
    harmless(result.err)
    assert "Internal error" not in result.err


@pytest.mark.parametrize("json_", [(), ("--json",)], ids=["people", "json"])
def test_hostile_words_in_an_error_of_the_link(cli, monkeypatch, json_):
    async def fail(self: Board) -> None:
        raise UnknownDevice(f"It says {EVIL}")

    monkeypatch.setattr(Board, "read", fail)
    for words in (("read", PACK), ("read", PACK, f"{PACK}&seed=2")):
        result = cli(*words, *json_)
        harmless(result.out)
        harmless(result.err)
        assert "It says e" in result.err


def test_hostile_boards_on_the_dashboard(tmp_path, monkeypatch):
    name = "e\x9b2J\u202e.jsonl"  # a file name is all that a target may carry through
    (tmp_path / name).write_text("{}\n")
    terminal = Terminal("monitor", f"replay://{tmp_path / name}")
    try:
        assert terminal.end() != 0
        text = terminal.raw.decode(errors="replace")
        assert "\x9b" not in text
        assert "\u202e" not in text
    finally:
        terminal.close()


# ---------------------------------------------------------------------------- hostile files


def toml(text: str) -> str:
    return json.dumps(text)


@pytest.fixture
def policies(tmp_path: Path) -> str:
    """A policy file in which every text is hostile."""
    text = preset("lfp", "solar", cells=4, capacity=100)
    text = re.sub(r'^title = "(.*)"$', lambda m: f"title = {toml(m[1] + EVIL)}", text, flags=re.M)
    file = tmp_path / "policies.toml"
    file.write_text(f"{text}\n[policies.{toml('x' + EVIL)}]\nquantity = {toml('voltage' + EVIL)}\n")
    return str(file)


@pytest.fixture
def plain_policies(tmp_path: Path) -> str:
    file = tmp_path / f"p{EVIL.replace('/', '')}.toml"
    file.write_text(preset("lfp", "solar", cells=4, capacity=100))
    return str(file)


def test_hostile_policy_files(cli, policies, plain_policies):
    for file in (policies, plain_policies):
        for words in (
            ("control", "check", file),
            ("control", "check", file, PACK),
            ("control", "explain", PACK, "--policies", file),
            ("control", "explain", PACK, "--policies", file, "--all"),
            (
                "control",
                "run",
                "--shadow",
                "--policies",
                file,
                PACK,
                "--count",
                "2",
                "--watch",
                "0.01",
            ),
            ("control", "status"),
        ):
            result = cli(*words)
            harmless(result.out)
            harmless(result.err)
            assert "Internal error" not in result.err


PROFILES = [
    f"title = {toml(EVIL)}\n[settings]\ncell_ovp = 3.6\n",
    f"[settings]\n{toml('cell_ovp' + EVIL)} = 3.6\n",
    f"[settings]\ncell_ovp = {toml(EVIL)}\n",
    f"{toml(EVIL)} = 1\n",
    f"[settings]\ncell_ovp = {EVIL}\n",
]


@pytest.mark.parametrize("text", PROFILES)
def test_hostile_profiles(cli, tmp_path, text):
    file = tmp_path / f"{EVIL.replace('/', '')}.toml"
    file.write_text(text)
    for words in (
        ("config", "plan", str(file), PACK),
        ("config", "apply", str(file), PACK, "--yes"),
        ("config", "diff", str(file), PACK),
        ("config", "diff", str(file), str(file) + "x"),
    ):
        result = cli(*words)
        harmless(result.out)
        harmless(result.err)
        assert "Internal error" not in result.err


def test_a_hostile_journal(cli):
    journal = Journal()
    change = {"slot": 1, "settings": [{"key": EVIL, "old": EVIL, "new": 1.0, "unit": EVIL}]}
    made = journal.begin(EVIL, {"vendor": EVIL, "serial_number": EVIL}, [change], waived=[EVIL])
    made.end(EVIL, sentence=EVIL)
    journal.begin("sim://jbd", {"vendor": EVIL}, [change])
    result = cli("config", "journal")
    assert "!FORGED" in result.out
    harmless(result.out)
    harmless(result.err)


def test_a_hostile_state_file(cli, tmp_path):
    from bmslink.control.status import PackStatus, Run, write

    pack = PackStatus(target=EVIL, error=EVIL, policies=[EVIL], permits={EVIL: True},
                limits={"cvl": 1.0}, binding={"cvl": EVIL})  # fmt: skip
    run = Run(policies=EVIL, shadow=True, pid=1, began=0.0, written=0.0, interval=1.0, packs=[pack])
    write(tmp_path / "state" / "a.json", run)
    result = cli("control", "status")
    assert "!FORGED" in result.out
    harmless(result.out)
    harmless(result.err)


def test_hostile_names_of_packs(cli, tmp_path, monkeypatch):
    config = tmp_path / "bmslink.toml"
    monkeypatch.setenv("BMSLINK_CONFIG", str(config))
    for text in (
        f"[packs.{toml('a' + EVIL)}]\ntarget = 'sim://jbd'\n",
        f"[packs.a]\ntarget = {toml('sim://jbd?seed=' + EVIL)}\n",
        f"[packs.a]\ntarget = {toml('replay:///tmp/' + chr(0x202E))}\n",
        f"[packs.a]\n{toml(EVIL)} = 1\n",
    ):
        config.write_text(text)
        for words in (("packs", "list"), ("read", "a"), ("packs", "remove", EVIL)):
            result = cli(*words)
            harmless(result.out)
            harmless(result.err)


# -------------------------------------------------------------------------- hostile arguments

COMMANDS = [
    ("read", EVIL),
    ("info", EVIL),
    ("monitor", EVIL),
    ("decode", EVIL),
    ("decode", "--hex", EVIL),
    ("scan", "--port", EVIL),
    ("scan", "--protocol", EVIL),
    ("capture", EVIL, "-o", EVIL),
    ("capture", PACK, "-o", f"/nowhere/{EVIL}"),
    ("simulate", EVIL),
    ("simulate", "jbd", "--pty", f"/nowhere/{EVIL}"),
    ("simulate", "jbd", "--tcp", EVIL),
    ("simulate", "jbd", "--tcp", "127.0.0.1:0", "--fault", EVIL),
    ("replay", EVIL, "--pty", "/nowhere/x"),
    ("settings", "show", EVIL),
    ("settings", "get", PACK, EVIL),
    ("settings", "set", PACK, f"{EVIL}=1"),
    ("settings", "set", PACK, f"cell_ovp={EVIL}"),
    ("settings", "set", PACK, "cell_ovp=3.6", "--waive", EVIL),
    ("config", "backup", EVIL),
    ("config", "backup", PACK, "-o", f"/nowhere/{EVIL}"),
    ("config", "presets", EVIL),
    ("config", "plan", EVIL, PACK),
    ("config", "apply", EVIL, PACK),
    ("config", "restore", EVIL, PACK),
    ("config", "diff", EVIL, EVIL + "b"),
    ("config", "journal", EVIL),
    ("switch", PACK, EVIL, "off"),
    ("control", "presets", "--chemistry", EVIL),
    ("control", "backtest", EVIL, "--policies", EVIL),
    ("control", "explain", EVIL, "--policies", EVIL),
    ("packs", "add", EVIL, "sim://jbd"),
    ("packs", "add", "a", EVIL),
    ("packs", "remove", EVIL),
    (EVIL,),
    ("read", f"--{EVIL}"),
    ("read", PACK, "--baudrate", EVIL),
    ("read", PACK, "--watch", EVIL),
    ("read", PACK, "--protocol", EVIL),
    ("read", PACK, "--pin-file", EVIL),
    ("read", PACK, "--trace", f"/nowhere/{EVIL}"),
]


@pytest.mark.parametrize(
    "words", COMMANDS, ids=[" ".join(w)[:30].encode("unicode_escape").decode() for w in COMMANDS]
)
def test_hostile_arguments(cli, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = cli(*words)
    assert result.code in (1, 2, 3)
    harmless(result.out)
    harmless(result.err)
    assert "Internal error" not in result.err
    debug = cli(*words, "--debug")
    assert not [c for c in debug.err if not c.isprintable() and c != "\n"]


def test_a_renderer_that_forgets_to_clean_does_no_harm(capsys, monkeypatch):
    """The way out cleans, whatever comes to it."""
    from rich.panel import Panel
    from rich.table import Table
    from rich.text import Text

    monkeypatch.setenv("FORCE_COLOR", "1")
    session = Session()
    grid = Table.grid()
    grid.add_row(Text(EVIL, "bold red"), EVIL)
    for renderable in (Text(EVIL), EVIL, grid, Panel(EVIL)):
        session.show(renderable)
    session.print(EVIL)
    session.say(EVIL)
    session.complain(EVIL)
    session.progress(EVIL)
    out, err = capsys.readouterr()
    harmless(out.replace("!FORGED", ""))
    harmless(err.replace("\r", "").replace("\x1b[K", ""))
    assert "\x1b[1;31m" in out  # our own colours stay
