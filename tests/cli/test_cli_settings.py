"""`bmslink settings`: what is shown, what scripts get, what is written, and what is refused."""

from __future__ import annotations

import json
import re
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

import bmslink.config.clock_soc
import bmslink.config.writer
from bmslink.board import Board
from bmslink.packs import remember_chemistry
from bmslink.storage.journal import Journal
from cli_support import Cli, Terminal, finish, start

JBD = "sim://jbd?gap=0&cells=16&load=idle"
JK = "sim://jk02?cells=16&load=idle"
A5 = "sim://daly-a5?gap=0&cells=16&load=idle"
D2 = "sim://daly-d2?gap=0&cells=16&load=idle"
P81 = "sim://daly-p81?gap=0&cells=16&load=idle"


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    monkeypatch.delenv("BMSLINK_TARGET", raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(bmslink.config.writer, "_REST", 0.01)
    monkeypatch.setattr(bmslink.config.clock_soc, "_BETWEEN", 0.05)
    return Cli(capsys)


def nothing_was_written() -> bool:
    return not list(Journal().records())


# ------------------------------------------------------------------------------------- show


def test_show_for_people_fits_80_columns(cli):
    for target in (JBD, JK, "sim://jk-nw?gap=0", "sim://jk04"):
        result = cli("settings", "show", target)
        assert result.code == 0
        assert max(len(line) for line in result.out.splitlines()) <= 80, target


def test_show_names_a_reason_once_below(cli):
    out = cli("settings", "show", JK).out
    assert "jk_device_address" in out
    assert out.count("the board says that it does not take it") == 1
    number = re.search(r"^jk_device_address .*read-only \((\d)\)$", out, re.MULTILINE)
    assert number is not None
    assert f"\n({number[1]}) the board says" in out


def test_show_json_is_one_object_for_each_setting(cli):
    found = {o["key"]: o for o in cli("settings", "show", JBD, "--json").objects}
    assert list(found["cell_ovp"]) == [
        "schema",
        *("key", "title", "value", "unit", "minimum", "maximum", "choices", "writable"),
        *("reason", "danger", "evidence", "raw", "group", "words"),
    ]
    assert found["cell_ovp"]["group"] == "cells"
    assert found["cell_ovp"]["words"] is None
    assert found["jbd_ntc_bits"]["words"].startswith("NTC 1")
    assert found["cell_ovp"]["value"] == 3.65
    assert found["cell_ovp"]["unit"] == "V"
    assert bytes.fromhex(found["cell_ovp"]["raw"]) == b"\x0e\x42"
    locked = {o["key"]: o for o in cli("settings", "show", "sim://jk-nw?gap=0", "--json").objects}
    assert locked["cell_ovp"]["writable"] is False
    assert "recorded" in locked["cell_ovp"]["reason"]


# -------------------------------------------------------------------------------------- get


def test_get_of_one_name_is_its_value_alone(cli):
    assert cli("settings", "get", JBD, "cell_ovp").out == "3.65\n"
    assert cli("settings", "get", JBD, "balance_switch").out == "on\n"


def test_get_of_several_is_what_set_takes(cli):
    got = cli("settings", "get", JBD, "charge_utp", "cell_ovp", "balance_switch").out.split()
    assert got == ["charge_utp=0", "cell_ovp=3.65", "balance_switch=on"]
    result = cli("settings", "set", JBD, *got)
    assert result.code == 0
    assert "Nothing would change." in result.out


def test_get_asks_for_no_more_than_it_needs(cli, tmp_path):
    """A single value must not cost a whole table at 9600 baud."""
    trace = tmp_path / "trace.jsonl"
    assert cli("settings", "get", JBD, "cell_ovp", "--trace", str(trace)).code == 0
    sent = [json.loads(line) for line in trace.read_text().splitlines()[1:]]
    assert sum(piece.get("dir") == "tx" for piece in sent) < 15


def test_get_takes_the_target_from_the_environment(cli, monkeypatch):
    monkeypatch.setenv("BMSLINK_TARGET", JBD)
    assert cli("settings", "get", "cell_ovp").out == "3.65\n"
    assert cli("settings", "get", "cell_ovp", "cell_uvp").code == 0
    assert cli("settings", "set", "cell_ovp=3.6", "--dry-run").code == 0


def test_get_of_an_unknown_name_is_wrong_usage(cli):
    cli("settings", "get", JBD, "cell_ovpp").failed(2, "cell_ovpp", "Did you mean cell_ovp?")
    cli("settings", "get", JBD).failed(2, "Which settings?")


# -------------------------------------------------------------------------------------- set


def test_set_writes_and_says_so(cli):
    result = cli("settings", "set", JBD, "cell_ovp=3600 mV", "charge_utp=2", "--yes")
    assert result.code == 0, result
    assert "2 settings written, and the whole table read back." in result.out
    begin = next(r for r in Journal().records() if r["event"] == "begin")
    edits = {e["key"]: e["new"] for c in begin["changes"] for e in c["settings"]}
    assert edits == {"cell_ovp": 3.6, "charge_utp": 2.0}


def test_set_json_is_one_object_with_the_outcome(cli):
    (found,) = cli("settings", "set", JBD, "cell_ovp=3.6", "--yes", "--json").objects
    assert list(found) == ["schema", "target", "outcome"]
    assert found["outcome"]["result"] == "done"
    assert found["outcome"]["stands"] == {"cell_ovp": 3.6}


def test_a_dry_run_shows_every_byte_and_writes_nothing(cli):
    result = cli("settings", "set", JBD, "cell_ovp=3.6", "--dry-run")
    assert result.code == 0
    assert "dd 5a 24 02 0e 10 ff bc 77" in result.out
    assert "limits: Every value is within its limits." in result.out
    assert nothing_was_written()
    (found,) = cli("settings", "set", JBD, "cell_ovp=3.6", "--dry-run", "--json").objects
    assert "dd5a24020e10ffbc77" in found["plan"]["frames"]


def test_without_a_terminal_and_without_yes_it_is_declined(cli):
    result = cli("settings", "set", JBD, "cell_ovp=3.6")
    assert result.code == 3
    assert "nobody was there to agree" in result.err
    assert nothing_was_written()


@pytest.mark.slow
@pytest.mark.parametrize(("answer", "code"), [("y\n", 0), ("n\n", 3), ("\n", 3), ("\x04", 3)])
def test_on_a_terminal_it_asks(answer, code, tmp_path):
    folder = {"BMSLINK_JOURNAL": str(tmp_path / "journal")}
    terminal = Terminal("settings", "set", JK, "cell_ovp=3.6", **folder)
    try:
        terminal.wait(lambda text: "[y/N]" in text)
        terminal.type(answer)
        assert terminal.end() == code
        assert ("1 setting written" in terminal.text) is (code == 0)
    finally:
        terminal.close()


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "code"), [("LFP", 3), ("", 3), ("lifepo4", 2)])
def test_on_a_terminal_it_asks_what_the_cells_are_and_offers_to_store_it(kind, code, tmp_path):
    names = tmp_path / "names.toml"
    names.write_text(f'[packs.shed]\ntarget = "{P81}"\n')
    folder = {"BMSLINK_JOURNAL": str(tmp_path / "journal"), "BMSLINK_CONFIG": str(names)}
    terminal = Terminal("settings", "set", "shed", "cell_ovp=3.7", **folder)
    try:
        terminal.wait(lambda text: "made of" in text and "Enter: unknown" in text)
        terminal.type(f"{kind}\n")
        if kind == "LFP":
            terminal.wait(lambda text: "Store it in bmslink.toml for shed? [y/N]" in text)
            terminal.type("y\n")
            terminal.wait(lambda text: "Write 1 setting" in text)
            terminal.type("n\n")
        assert terminal.end() == code
        assert ('chemistry = "lfp"' in names.read_text()) is (kind == "LFP")
    finally:
        terminal.close()


@pytest.mark.parametrize(
    ("pair", "code", "word"),
    [
        ("cell_ovp=9.9", 3, "outside"),
        ("cell_ovp=nan", 2, "no number"),
        ("cell_ovp=1e999", 2, "cannot be"),
        ("cell_ovp=3.6 A", 2, "no value in V"),
        ("cell_ovp=", 2, "no number"),
        ("cell_ovp=unknown", 2, "no number"),
        ("balance_switch=maybe", 2, "neither on nor off"),
        ("cell_ovp=2.5", 3, "rules"),
        ("no_such_key=1", 2, "no_such_key"),
        ("soc=101", 3, "0 to 100"),
        ("soc=full", 2, "no number"),
        ("clock=yesterday", 2, "2026-05-01T12:00"),
        ("clock=1999-01-01", 3, "clock"),
    ],
)
def test_what_may_not_be_written_is_refused(cli, pair, code, word):
    result = cli("settings", "set", JBD, pair, "--yes")
    assert result.code == code
    assert word in result.err + result.out
    assert "Traceback" not in result.err
    assert nothing_was_written()


@pytest.mark.parametrize(
    "words",
    [(), ("cell_ovp",), ("cell_ovp=3.6", "cell_ovp=3.5"), ("clock=now", "cell_ovp=3.6")],
)
def test_wrong_usage(cli, words):
    assert cli("settings", "set", JBD, *words, "--yes").code == 2
    assert nothing_was_written()


def test_a_waiver_that_does_not_exist_is_said(cli):
    cli("settings", "set", JBD, "cell_ovp=3.6", "--waive", "everything").failed(2, "everything")


def test_a_failing_check_names_its_waiver_and_the_waiver_is_written_down(cli):
    stopped = cli("settings", "set", JBD, "discharge_ocp=200", "--yes")
    assert stopped.code == 3
    assert "--waive rating goes on all the same" in " ".join(stopped.out.split())
    assert "this check failed: rating" in stopped.err
    assert nothing_was_written()
    assert cli("settings", "set", JBD, "discharge_ocp=200", "--yes", "--waive", "rating").code == 0
    begin = next(r for r in Journal().records() if r["event"] == "begin")
    assert begin["waived"] == ["rating"]


def test_quiet_leaves_the_result_and_no_remarks(cli):
    result = cli("settings", "set", JBD, "cell_ovp=3.6", "--dry-run", "--quiet")
    assert result.err == ""
    assert "3.6 V" in result.out


# -------------------------------------------------------------------------- clock and charge


@pytest.mark.parametrize("target", [JK, A5, D2])
def test_the_clock_is_set_and_read_back(cli, target):
    result = cli("settings", "set", target, "clock=now", "--yes")
    assert result.code == 0, result
    assert result.out.splitlines()[-1].startswith("clock 20")
    assert "read back" in result.out
    begin, *_, end = Journal().records()
    assert begin["adjust"]["soc"] is None
    assert end["outcome"] == "done"


def test_the_charge_is_set_and_read_back(cli):
    stopped = cli("settings", "set", A5, "soc=80", "--yes")
    assert (stopped.code, "is a jump" in stopped.out) == (3, True)
    assert nothing_was_written()
    result = cli("settings", "set", A5, "soc=80", "--yes", "--waive", "soc")
    assert result.code == 0, result
    assert "soc    60 % > 80 %" in result.out
    assert "soc 80 %: read back." in result.out


@pytest.mark.parametrize("name", ["lifepo4", "foo"])
def test_a_chemistry_that_is_none_is_wrong_usage(cli, name):
    wrong = cli("settings", "set", JBD, "charge_utp=-20", "--chemistry", name, "--yes")
    wrong.failed(2, name, "lfp, nmc, lto, na-ion")
    assert nothing_was_written()


def test_a_named_pack_says_what_its_cells_are(cli, tmp_path, monkeypatch):
    monkeypatch.setenv("BMSLINK_CONFIG", str(tmp_path / "names.toml"))
    (tmp_path / "names.toml").write_text(f'[packs.shed]\ntarget = "{P81}"\n')
    words = ("shed", "cell_ovp=4.2", "cell_ovp_release=4.1", "--dry-run", "--waive", "rules")
    stopped = cli.hurried("settings", "set", *words)
    assert stopped.code == 3
    assert "state it with --chemistry" in " ".join(stopped.out.split())
    remember_chemistry("shed", "NMC")
    assert 'chemistry = "nmc"' in (tmp_path / "names.toml").read_text()
    assert cli.hurried("settings", "set", *words).code == 0
    assert nothing_was_written()


def test_settings_that_cannot_be_true_are_shown_and_not_believed(cli, monkeypatch):
    fetch = Board.settings

    async def late(self, *words):
        table = await fetch(self, *words)
        slot = table.map.setting("charge_otp").slot
        return replace(table, image={**table.image, slot: bytes.fromhex("1888")})  # 354.9 °C

    monkeypatch.setattr(Board, "settings", late)
    shown = cli("settings", "show", JBD)
    assert shown.code == 1
    assert "354.9" in shown.out
    assert "charge_otp = 354.9 °C" in shown.err
    assert "read again" in shown.err
    got = cli("settings", "get", JBD, "charge_otp")
    assert (got.code, "read again" in got.err) == (1, True)
    cli("config", "backup", JBD, "-o", "b.json").failed(1, "read again")
    assert not Path("b.json").exists()
    cli("config", "export", JBD).failed(1, "read again")


def test_both_at_once_are_the_recorded_frame(cli):
    """Of `daly-a5-uart-setrtcsoc-tx`: 2022-12-13 21:29:39, 30.0 %."""
    pair = ("clock=2022-12-13T21:29:39", "soc=30")
    result = cli("settings", "set", A5, *pair, "--dry-run")
    assert "a5 40 21 08 16 0c 0d 15 1d 27 01 2c c3" in result.out
    assert nothing_was_written()
    (found,) = cli("settings", "set", A5, *pair, "--dry-run", "--json").objects
    assert found["plan"]["frames"] == ["a5402108160c0d151d27012cc3"]
    assert found["plan"]["then"]["soc"] == 30


def test_the_clocks_frames_are_the_recorded_ones(cli):
    """Of the vendor's apps; what JK's leaves random behind the value is 0 with us."""
    d2 = cli("settings", "set", D2, "clock=2024-11-07T09:52:28", "--dry-run", "--json")
    assert d2.objects[0]["plan"]["frames"] == ["d21000d40003180b0709341cf7d8"]
    start_of_2020 = datetime(2020, 1, 1, tzinfo=UTC).timestamp()
    moment = datetime.fromtimestamp(start_of_2020 + 0x0B1F2C3F + time.timezone, UTC)
    jk = cli("settings", "set", JK, f"clock={moment.isoformat()}", "--dry-run", "--json")
    (frame,) = jk.objects[0]["plan"]["frames"]
    assert frame.startswith("aa5590eb6c043f2c1f0b")
    assert frame[20:38] == "0" * 18


@pytest.mark.parametrize(
    ("target", "pair", "word"),
    [
        (JBD, "clock=now", "no clock"),
        (JBD, "soc=80", "factory mode"),
        (JK, "soc=80", "was ever recorded"),
        ("sim://jk02?firmware=10.07", "clock=now", "does not say"),
        ("sim://jk-modbus?gap=0", "clock=now", "preset"),
        ("sim://jk-nw?gap=0", "clock=now", "nobody has recorded"),
        ("sim://jk04", "clock=now", "does not say"),
        (D2, "soc=80", "nobody has recorded"),
    ],
)
def test_where_it_is_not_proven_it_is_refused_with_the_reason(cli, target, pair, word):
    result = cli("settings", "set", target, pair, "--yes", "--untested")
    assert result.code == 3
    assert "cannot be set here" in result.err
    assert word in result.err
    assert nothing_was_written()


def test_what_only_a_document_knows_needs_untested(cli):
    result = cli("settings", "set", P81, "clock=now", "--yes")
    assert result.code == 3
    assert "--untested goes on all the same" in " ".join(result.out.split())
    assert nothing_was_written()
    assert cli("settings", "set", P81, "clock=now", "--yes", "--untested").code == 0


def test_it_asks_first_and_needs_somebody_to_ask(cli):
    result = cli("settings", "set", A5, "soc=80")
    assert result.code == 3
    assert nothing_was_written()


def test_a_board_that_forgets_is_told_with_4(cli, monkeypatch):
    from bmslink.simulation.boards.daly_registers import DalyRegisterResponder

    monkeypatch.setattr(DalyRegisterResponder, "_set_clock", lambda self, moment: None)
    result = cli("settings", "set", D2, "clock=2026-05-01T12:00", "--yes")
    assert result.code == 4
    assert "clock shows 2024-01-01" in result.err
    *_, end = Journal().records()
    assert end["outcome"] == "unproven"


def test_help_names_both(cli):
    out = finish(start("settings", "set", "--help")).out
    assert "clock=now" in out
    assert "soc=PERCENT" in out
