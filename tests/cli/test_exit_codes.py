"""Exit codes: the same mistake has the same code in every command (command x mistake)."""

from __future__ import annotations

from pathlib import Path

import pytest

from bmslink.cli.app import COMMANDS
from bmslink.control.presets import preset
from bmslink.storage.journal import Journal
from cli_support import Cli

PACK = "sim://jbd?gap=0&cells=4&load=idle"
OTHER = f"{PACK}&seed=2"
SILENT = "sim://jbd?gap=0&fault=silent&timeout=0.01"

BAD_TARGETS = {
    "no target": "nonsense://x",
    "unknown protocol": "pylontech+sim://",
    "unknown key": "sim://jbd?colour=blue",
    "text for a number": "sim://jbd?cells=many",
    "a number that cannot be": "sim://jbd?cells=0",
    "no such pack": "van",
}
BAD_OPTIONS = {
    "unknown option": ("--colour", "blue"),
    "text for --baudrate": ("--baudrate", "fast"),
    "text for --timeout": ("--timeout", "soon"),
    "text for --address": ("--address", "here"),
    "unknown protocol": ("--protocol", "pylontech"),
    "no such pin file": ("--pin-file", "/nowhere/pin"),
}
PACK_COMMANDS = {
    "info": ("info", "{}"),
    "doctor": ("doctor", "{}"),
    "report": ("report", "{}", "-o", "{tmp}/out.html"),
    "events": ("events", "{}"),
    "read": ("read", "{}"),
    "read --count": ("read", "{}", "--count", "1"),
    "monitor": ("monitor", "{}"),
    "capture": ("capture", "{}", "-o", "{tmp}/out"),
    "log": ("log", "{}", "-o", "{tmp}/out.jsonl"),
    "settings show": ("settings", "show", "{}"),
    "settings get": ("settings", "get", "{}", "cell_ovp"),
    "settings set": ("settings", "set", "{}", "cell_ovp=3.6", "--yes"),
    "config backup": ("config", "backup", "{}", "-o", "{tmp}/out"),
    "config export": ("config", "export", "{}"),
    "config plan": ("config", "plan", "{profile}", "{}"),
    "config apply": ("config", "apply", "{profile}", "{}", "--yes"),
    "config restore": ("config", "restore", "{backup}", "{}", "--yes"),
    "config undo": ("config", "undo", "{}", "--yes"),
    "config resume": ("config", "resume", "{}", "--yes"),
    "config verify": ("config", "verify", "{}"),
    "config diff": ("config", "diff", "{profile}", "{}"),
    "switch": ("switch", "{}", "charge", "off", "--yes"),
    "balance session": ("balance", "session", "{}", "--dry-run"),
    "balance status": ("balance", "status", "{}"),
    "control presets": ("control", "presets", "solar", "{}"),
    "control check": ("control", "check", "{policies}", "{}"),
    "control explain": ("control", "explain", "{}", "--policies", "{policies}"),
    "control run": ("control", "run", "--shadow", "--policies", "{policies}", "{}", "--count", "1"),
}

WRONG_USAGE = {
    "unknown command": ("fly",),
    "unknown setting, get": ("settings", "get", PACK, "cell_opv"),
    "unknown setting, set": ("settings", "set", PACK, "cell_opv=3", "--yes"),
    "unknown setting, dry": ("settings", "set", PACK, "cell_opv=3", "--dry-run"),
    "text for a number": ("settings", "set", PACK, "cell_ovp=high", "--yes"),
    "a picture of no known kind": ("plot", "log.jsonl", "-o", "out.pdf"),
    "no value": ("settings", "set", PACK, "cell_ovp=", "--yes"),
    "no number": ("settings", "set", PACK, "cell_ovp=nan", "--yes"),
    "wrong unit": ("settings", "set", PACK, "cell_ovp=3.6 A", "--yes"),
    "unknown unit": ("settings", "set", PACK, "cell_ovp=3.6 parsec", "--yes"),
    "text for a switch": ("settings", "set", PACK, "balance_switch=maybe", "--yes"),
    "text for soc": ("settings", "set", PACK, "soc=full", "--yes"),
    "text for clock": ("settings", "set", PACK, "clock=yesterday", "--yes"),
    "unknown waiver, set": ("settings", "set", PACK, "cell_ovp=3.6", "--waive", "all", "--yes"),
    "unknown waiver, clock": ("settings", "set", PACK, "clock=now", "--waive", "all", "--yes"),
    "unknown waiver, plan": ("config", "plan", "{profile}", PACK, "--waive", "all"),
    "unknown waiver, apply": ("config", "apply", "{profile}", PACK, "--waive", "all", "--yes"),
    "unknown waiver, apply two": (
        "config", "apply", "{profile}", PACK, OTHER, "--waive", "all", "--yes",
    ),
    "unknown waiver, restore": ("config", "restore", "{backup}", PACK, "--waive", "all", "--yes"),
    "unknown waiver, undo": ("config", "undo", PACK, "--waive", "all", "--yes"),
    "two choices": ("config", "undo", PACK, "--keep-changed", "--overwrite", "--yes"),
    "unknown waiver, resume": ("config", "resume", PACK, "--waive", "all", "--yes"),
    "unknown waiver, switch": ("switch", PACK, "charge", "off", "--waive", "all", "--yes"),
    "unknown switch": ("switch", PACK, "chrge", "off", "--yes"),
    "unknown state": ("switch", PACK, "charge", "of", "--yes"),
    "unknown preset": ("config", "presets", "gold"),
    "unknown preset of policies": ("control", "presets", "--chemistry", "gold"),
    "text for --cells": ("config", "presets", "lfp-280", "--cells", "many"),
    "no hex": ("decode", "--hex", "hello"),
    "unknown protocol, decode": ("decode", "--hex", "dd", "--protocol", "x"),
    "unknown protocol, simulate": ("simulate", "x", "--tcp", "127.0.0.1:0"),
    "unknown fault": ("simulate", "jbd", "--tcp", "127.0.0.1:0", "--fault", "rain"),
    "text for --soc": ("simulate", "jbd", "--tcp", "127.0.0.1:0", "--soc", "full"),
    "unknown protocol, scan": ("scan", "--port", "/nowhere", "--protocol", "x"),
    "bad name": ("packs", "add", "a b", "sim://jbd"),
    "bad target of a name": ("packs", "add", "van", "nonsense://x"),
    "unknown name": ("packs", "remove", "van"),
    "bad target to serve": ("serve", "nonsense://x"),
    "no time": ("history", "van", "--since", "soon"),
    "text for a secret": ("service", "install", "--credential", "pin"),
}  # fmt: skip
FILES = {
    "config plan": ("config", "plan", "{}", PACK),
    "config plan, two packs": ("config", "plan", "{}", PACK, OTHER),
    "config apply": ("config", "apply", "{}", PACK, "--yes"),
    "config restore": ("config", "restore", "{}", PACK, "--yes"),
    "config diff": ("config", "diff", "{}", PACK),
    "control check": ("control", "check", "{}"),
    "control explain": ("control", "explain", PACK, "--policies", "{}"),
    "control run": ("control", "run", "--shadow", "--policies", "{}", PACK, "--count", "1"),
    "control backtest": ("control", "backtest", "{}/../log", "--policies", "{}"),
    "--settings": ("control", "explain", PACK, "--policies", "{policies}", "--settings", "{}"),
    "--pin-file": ("read", PACK, "--pin-file", "{}"),
    "serve --config": ("serve", "--config", "{}"),
}
OUTPUTS = {
    "config backup": ("config", "backup", PACK, "-o"),
    "config export": ("config", "export", PACK, "-o"),
    "config presets": ("config", "presets", "lfp-280", "-o"),
    "control presets": ("control", "presets", "--cells", "4", "-o"),
    "capture": ("capture", PACK, "--count", "1", "-o"),
    "--trace": ("read", PACK, "--trace"),
}
REFUSED = {
    "outside the limits": ("settings", "set", PACK, "cell_ovp=9.9", "--yes"),
    "against the rules": ("settings", "set", PACK, "cell_ovp=2.5", "--yes"),
    "nobody agrees": ("settings", "set", PACK, "cell_ovp=3.6"),
    "nobody agrees to a switch": ("switch", PACK, "charge", "off"),
    "nothing to undo": ("config", "undo", PACK, "--yes"),
    "nothing to set back": ("balance", "session", PACK, "--restore"),
    "no session to cancel": ("balance", "cancel", PACK),
    "cells nobody names": ("balance", "session", PACK, "--yes"),
    "soc outside": ("settings", "set", PACK, "soc=101", "--yes"),
}
FAILED = {
    "silence": ("read", SILENT),
    "silence, info": ("info", SILENT),
    "silence, settings": ("settings", "show", SILENT),
    "silence, switch": ("switch", SILENT, "charge", "off", "--yes"),
    "silence, plan": ("config", "plan", "{profile}", SILENT),
    "no such port": ("read", "jbd+serial:///nowhere/port"),
    "no frame": ("decode", "--hex", "00 11 22"),
    "no such capture": ("decode", "/nowhere/file"),
    "no service": ("service", "stop"),
    "no service, history": ("history", "van"),
    "no service, life": ("life", "van"),
    "no service, events": ("events",),
}


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Cli:
    monkeypatch.delenv("BMSLINK_TARGET", raising=False)
    monkeypatch.setenv("BMSLINK_STATE", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    return Cli(capsys)


@pytest.fixture
def fill(cli: Cli, tmp_path: Path):
    """Put the names of good files in the place of {profile}, {backup} and {policies}."""
    places = {name: str(tmp_path / name) for name in ("profile", "backup", "policies")}
    Path(places["profile"]).write_text("[settings]\ncell_ovp = '3.6 V'\n")
    Path(places["policies"]).write_text(preset("lfp", "solar", cells=4, capacity=100))

    def filled(words: tuple[str, ...], *given: str) -> list[str]:
        if "{backup}" in words:
            assert cli("config", "backup", PACK, "-o", places["backup"], "--force").code == 0
        return [
            word if "://" in word else word.format(*(given or ("{}",)), tmp=tmp_path, **places)
            for word in words
        ]

    return filled


def check(result, code: int) -> None:
    assert result.code == code, result
    assert "Traceback" not in result.err
    assert "Internal error" not in result.err
    assert result.err.count("bmslink: ") >= 1, result
    assert not [r for r in Journal().records() if r["event"] in ("write", "switch", "adjust")]


@pytest.mark.parametrize("target", BAD_TARGETS.values(), ids=BAD_TARGETS)
@pytest.mark.parametrize("words", PACK_COMMANDS.values(), ids=PACK_COMMANDS)
def test_a_wrong_target_is_wrong_usage(cli, fill, words, target):
    if target == "van":  # a name is taken for one only where packs have names
        Path("packs.toml").write_text("[packs.boat]\ntarget = 'sim://jbd'\n")
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("BMSLINK_CONFIG", "packs.toml")
            check(cli(*fill(words, target)), 2)
    else:
        check(cli(*fill(words, target)), 2)


@pytest.mark.parametrize("option", BAD_OPTIONS.values(), ids=BAD_OPTIONS)
@pytest.mark.parametrize("words", PACK_COMMANDS.values(), ids=PACK_COMMANDS)
def test_a_wrong_option_is_wrong_usage(cli, fill, words, option):
    check(cli(*fill(words, PACK), *option), 2)


@pytest.mark.parametrize("words", WRONG_USAGE.values(), ids=WRONG_USAGE)
@pytest.mark.parametrize("json", [(), ("--json",)], ids=["people", "json"])
def test_wrong_usage(cli, fill, words, json):
    result = cli(*fill(words), *json)
    check(result, 2)
    assert result.out == ""


CONTENTS = {
    "missing": None,
    "no toml": b"[settings\n",
    "no text": b"\xff\xfe\x00\x01",
    "empty": b"",
    "unknown key": b"[settings]\ncell_opv = 3.6\ncolour = 'blue'\n[more]\n",
    "json": b'{"a": 1}',
}


@pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS)
@pytest.mark.parametrize("words", FILES.values(), ids=FILES)
def test_a_file_that_is_missing_or_none_of_its_kind(cli, fill, tmp_path, words, content):
    file = tmp_path / "given.toml"
    if content is not None:
        file.write_bytes(content)
    (tmp_path / "log").write_text("")
    if "--pin-file" in words and content not in (None, b"", b"\xff\xfe\x00\x01"):
        pytest.skip("it may be a pin")
    check(cli(*fill(words, str(file))), 2)


@pytest.mark.parametrize("place", ["/nowhere/out", "/proc/version", "{tmp}"])
@pytest.mark.parametrize("words", OUTPUTS.values(), ids=OUTPUTS)
def test_an_output_that_cannot_be_written(cli, tmp_path, words, place):
    result = cli(*words, place.format(tmp=tmp_path))
    check(result, 2)
    assert "cannot be written" in result.err or "exists already" in result.err


@pytest.mark.parametrize("words", OUTPUTS.values(), ids=OUTPUTS)
def test_an_output_that_is_there_already(cli, tmp_path, words):
    place = tmp_path / "old"
    place.write_text("precious")
    check(cli(*words, str(place)), 2)
    assert place.read_text() == "precious"


@pytest.mark.parametrize("words", REFUSED.values(), ids=REFUSED)
def test_what_a_check_refuses(cli, words):
    check(cli(*words), 3)


@pytest.mark.parametrize("words", FAILED.values(), ids=FAILED)
def test_what_the_link_or_the_device_fails(cli, fill, words):
    check(cli(*fill(words)), 1)


SEVERAL = {
    "read": ("read", "{}", "{}"),
    "read --count": ("read", "{}", "{}", "--count", "1"),
    "config plan": ("config", "plan", "{profile}", "{}", "{}"),
    "config apply": ("config", "apply", "{profile}", "{}", "{}", "--yes"),
    "config diff": ("config", "diff", "{}", "{}"),
    "control run": (
        "control", "run", "--shadow", "--policies", "{policies}", "{}", "{}", "--count", "1",
    ),
}  # fmt: skip


@pytest.mark.parametrize("words", SEVERAL.values(), ids=SEVERAL)
@pytest.mark.parametrize("bad", [SILENT, "jbd+serial:///nowhere/port"], ids=["silent", "missing"])
def test_of_several_packs_each_failure_is_a_line(cli, fill, words, bad):
    filled = fill(words)
    first = filled.index("{}")
    filled[first : first + 2] = [PACK, bad]
    result = cli(*filled, "--json")
    assert result.code == 1, result
    errors = [o for o in result.objects if "error" in o and "target" in o]
    assert len(errors) == 1
    assert bad.partition("://")[2].partition("?")[0] in errors[0]["target"]
    assert set(errors[0]) == {"schema", "target", "error"}


def test_every_command_is_in_a_table():
    tables = (PACK_COMMANDS, WRONG_USAGE, FILES, OUTPUTS, REFUSED, FAILED, SEVERAL)
    used = {words[0] for table in tables for words in table.values()}
    assert used >= set(COMMANDS) - {"replay"}
