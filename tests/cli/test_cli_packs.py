"""`bmslink packs`, and names where a TARGET may stand."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from cli_support import Cli, environment

VAN = "sim://jbd?gap=0&cells=7"


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "conf" / "bmslink.toml"
    monkeypatch.setenv("BMSLINK_CONFIG", str(path))
    monkeypatch.delenv("BMSLINK_TARGET", raising=False)
    return path


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], config: Path) -> Cli:
    return Cli(capsys)


def test_packs_are_named_listed_read_and_forgotten(cli, config):
    assert cli("packs", "path").out == f"{config}\n"
    empty = cli("packs", "list")
    assert (empty.code, empty.out) == (0, "")
    assert "packs add" in empty.err
    assert cli("packs", "add", "van", VAN).out == f"van is in {config}.\n"
    assert cli("packs", "add", "boat", "jbd+serial:///dev/ttyUSB0").code == 0
    assert cli("packs", "list").out == (f"van   {VAN}\nboat  jbd+serial:///dev/ttyUSB0\n")
    (found,) = cli("read", "--json", "van").objects
    assert len(found["cell_voltages"]) == 7
    assert cli("packs", "remove", "van").out == f"van is gone from {config}.\n"
    cli("read", "van").failed(2, "no pack named 'van'", "boat")


def test_a_name_stands_wherever_a_target_may(cli, config, tmp_path, monkeypatch):
    cli("packs", "add", "van", VAN)
    several = cli("read", "--json", "van", "sim://jk02?cells=3").objects
    assert [len(r["cell_voltages"]) for r in several] == [7, 3]
    (who,) = cli("info", "van", "--json").objects
    assert who["cell_count"] == 7
    file = tmp_path / "session.jsonl"
    assert cli("capture", "van", "-o", str(file), "--count", "1").code == 0
    assert json.loads(file.read_text().splitlines()[0])["target"] == "jbd+sim://?gap=0&cells=7"
    monkeypatch.setenv("BMSLINK_TARGET", "van")
    assert len(cli("read", "--json").objects[0]["cell_voltages"]) == 7
    assert cli("read", "van", "--address", "300").code == 2


def test_json_lines_only(cli, config):
    assert cli("packs", "path", "--json").objects == [
        {"schema": 1, "path": str(config), "exists": False}
    ]
    assert cli("packs", "list", "--json").out == ""
    (added,) = cli("packs", "add", "van", VAN, "--json").objects
    assert added == {"schema": 1, "name": "van", "target": VAN, "path": str(config)}
    config.write_text(config.read_text() + 'pin = "123456"\n')
    listed = cli("packs", "--json", "list")
    assert listed.objects == [{"schema": 1, "name": "van", "target": VAN, "pin": True}]
    (gone,) = cli("packs", "remove", "VAN", "--json").objects
    assert gone == {"schema": 1, "removed": "VAN", "path": str(config)}
    assert cli("packs", "path", "--json").objects[0]["exists"]


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX modes")
def test_what_the_cells_are_is_stated_with_the_name(cli, config):
    cli("packs", "add", "van", VAN, "--chemistry", "lead").failed(2, "no chemistry 'lead'")
    assert not config.exists()
    assert cli("packs", "add", "van", VAN, "--chemistry", "LFP").code == 0
    assert 'chemistry = "lfp"' in config.read_text()


def test_a_pin_is_never_shown_and_who_can_read_it_is_said(cli, config):
    cli("packs", "add", "van", VAN)
    config.write_text(config.read_text() + 'pin = "123456"\n')
    quiet = cli("packs", "list")
    assert (quiet.out, quiet.err) == (f"van  {VAN}  (pin set)\n", "")
    config.chmod(0o644)
    result = cli("packs", "list", "-v")
    assert f"`chmod o=,g-w {config}`" in "".join(result.err.splitlines())
    for command in (["packs", "list", "--json"], ["read", "van", "-vv"], ["info", "van"]):
        shown = cli(*command)
        assert "123456" not in shown.out + shown.err


def test_the_same_name_is_not_given_twice_by_accident(cli, config):
    cli("packs", "add", "van", VAN)
    before = config.read_text()
    cli("packs", "add", "Van", "sim://jk02").failed(2, "van exists already", "--force")
    assert config.read_text() == before
    assert cli("packs", "add", "van", "sim://jk02", "--force").code == 0
    assert cli("packs", "list").out == "van  sim://jk02\n"


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["lst"], ["'lst'", "Did you mean list?"]),
        (["frob"], ["'frob'", "list, add, remove, path"]),
        (["add", "van"], ["TARGET"]),
        (["add", "COM3", "sim://jbd"], ["'COM3'", "serial port"]),
        (["add", "/dev/x", "sim://jbd"], ["'/dev/x'", "cannot name"]),
        (["add", "jbd", "sim://jbd"], ["'jbd'", "vendor"]),
        (["add", "van", "nothing"], ["'nothing' is no target"]),
        (["add", "van", "frob+tcp://127.0.0.1:1"], ["'frob'", "jbd"]),
        (["add", "van", "sim://jbd?pin=1234"], ["A target holds no secrets"]),
        (["remove", "van"], ["no pack named 'van'"]),
        (["list", "--frob"], ["--frob"]),
        (["list", "--trace", "x"], ["--trace"]),
    ],
)
def test_wrong_usage_is_2(cli, config, argv, words):
    cli("packs", *argv).failed(2, *words)
    assert not config.exists()


def test_a_damaged_file_is_2_with_its_line_for_every_command_that_needs_it(cli, config):
    config.parent.mkdir()
    config.write_text('[packs.van]\ntarget = "sim://jbd"\nfoo = 1\n')
    for argv in (["packs", "list"], ["packs", "add", "b", VAN], ["packs", "remove", "van"],
                 ["read", "van"], ["info", "van"]):  # fmt: skip
        cli(*argv).failed(2, f"{config}, line 3: ", "unknown key 'foo'")
    assert cli("read", VAN).code == 0
    assert cli("packs", "path").code == 0


def test_without_a_word_the_help_comes_and_2(cli):
    result = cli("packs")
    assert result.code == 2
    assert result.out == ""
    assert "Commands:" in result.err
    assert cli("packs", "--help").code == 0


def test_the_help_and_the_list_do_not_load_what_they_do_not_need(config):
    code = (
        "import sys; from bmslink.cli.app import main; main(sys.argv[1:]); "
        "print(*sys.modules, file=sys.stderr)"
    )
    for argv, absent in (
        (["packs", "add", "--help"], {"msgspec", "tomlkit", "platformdirs", "asyncio"}),
        (["packs", "list"], {"tomlkit", "asyncio", "rich", "construct"}),
    ):
        done = subprocess.run(
            [sys.executable, "-c", code, *argv], capture_output=True, text=True, env=environment()
        )
        assert done.returncode == 0, done.stderr
        assert not absent & set(done.stderr.split()), argv
