"""What people mistype ends in a sentence that says what to write instead."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from bmslink.config.files.presets import preset
from bmslink.errors import TargetError
from bmslink.link.mistakes import part_of_address
from bmslink.link.transport import parse_target
from bmslink.settings.nearest import nearest, or_nearest
from cli_support import Cli

JBD = "sim://jbd?gap=0"


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Cli:
    for name in ("BMSLINK_TARGET", "BMSLINK_PIN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("BMSLINK_CONFIG", str(tmp_path / "bmslink.toml"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return Cli(capsys)


@pytest.mark.parametrize(
    ("target", "step"),
    [
        ("serial://dev/ttyUSB0", "write serial:///dev/ttyUSB0"),
        ("jbd+serial://dev/ttyUSB0?address=1", "write jbd+serial:///dev/ttyUSB0"),
        ("serial:/dev/ttyUSB0", "Did you mean serial:///dev/ttyUSB0?"),
        ("jbd+serial:dev/ttyUSB0", "Did you mean jbd+serial:///dev/ttyUSB0?"),
        ("dev/ttyUSB0", "Did you mean /dev/ttyUSB0?"),
        ("jbd+/dev/ttyUSB0", "Did you mean jbd+serial:///dev/ttyUSB0?"),
        ("jbd+COM3", r"Did you mean jbd+serial://COM3?"),
        ("tcp:192.168.1.20:8899", "Did you mean tcp://192.168.1.20:8899?"),
        ("192.168.1.20:8899", "Did you mean tcp://192.168.1.20:8899?"),
        ("C8:47:8C:E4:55:12", "Did you mean ble://C8:47:8C:E4:55:12?"),
        ("ble://C8:47:8C", "bmslink scan --ble"),
        ("jk02+ble://C8:47:8C:E4:55:1", "six pairs"),
        ("ble://C8-47-8C-E4-55", "six pairs"),
        ("seral:///dev/ttyUSB0", "Did you mean serial?"),
        ("sim://jbd?adress=2", "Did you mean address?"),
        ("sim://jbd?timeout=0,5", "written with a point (0.5)"),
        ("house.toml", "FILE TARGET"),
        ("/home/me/before.json", "FILE TARGET"),
        ("usb", "Write e.g. jbd+serial:///dev/ttyUSB0"),
    ],
)
def test_a_mistyped_target(cli: Cli, target: str, step: str) -> None:
    cli("read", target).failed(2, step)
    if "timeout" not in target:
        cli("packs", "add", "van", target).failed(2, step)


@pytest.mark.parametrize(
    "place", ["JK-B2A16S20P", "DL-41180000", "C8478CE45512", "xiaoxiang BMS", "c8-47-8c-e4-55-12"]
)
def test_what_may_be_a_name_or_a_whole_address_is_taken(place: str) -> None:
    assert not part_of_address(place)
    assert parse_target(f"ble://{place}").place == place


@pytest.mark.parametrize(
    ("typed", "meant"), [("jdb", "jbd"), ("daily-a5", "daly-a5"), ("jk2", "jk02"), ("JBB", "jbd")]
)
def test_the_nearest_protocol(cli: Cli, typed: str, meant: str) -> None:
    step = f"Did you mean {meant}?"
    cli("read", f"{typed}+serial:///dev/ttyUSB0").failed(2, step)
    cli("read", f"sim://{typed}").failed(2, step)
    cli("read", "/dev/ttyUSB0", "--protocol", typed.lower()).failed(2, step)
    cli("packs", "add", "van", f"{typed}+serial:///dev/ttyUSB0").failed(2, step)
    cli("simulate", typed.lower()).failed(2, step)


@pytest.mark.parametrize(
    "words",
    [
        ("read", "jbd", "/dev/ttyUSB0"),
        ("info", "JBD", "/dev/ttyUSB0"),
        ("settings", "get", "jbd", "/dev/ttyUSB0", "cell_ovp"),
        ("switch", "jbd", "/dev/ttyUSB0", "charge", "off"),
        ("config", "apply", "house.toml", "jbd", "/dev/ttyUSB0"),
        ("settings", "set", "jbd", "/dev/ttyUSB0", "cell_ovp=3.6"),
    ],
)
def test_a_protocol_and_a_port_as_two_words(cli: Cli, words: tuple[str, ...]) -> None:
    cli(*words).failed(2, "write them as one word, jbd+serial:///dev/ttyUSB0")


def test_a_port_of_any_path_is_one_word_with_its_protocol(cli: Cli) -> None:
    cli("settings", "set", "jbd", "/srv/van", "cell_ovp=3.6").failed(2, "jbd+serial:///srv/van")


def test_a_second_pack_is_no_setting_without_a_value(cli: Cli) -> None:
    result = cli("settings", "set", JBD, "sim://jk02", "cell_ovp=3.6")
    result.failed(2, "'sim://jk02' is no KEY=VALUE: write the one pack first")


@pytest.mark.parametrize(
    "words",
    [
        ("config", "presets", "lpf-280"),
        ("config", "presets", "280"),
        ("config", "presets", "LFP-280"),
    ],
)
def test_the_nearest_preset(cli: Cli, words: tuple[str, ...]) -> None:
    cli(*words).failed(2, "Did you mean lfp-280?")


def test_the_nearest_chemistry(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "p.toml"
    file.write_text('chemistry = "lpf"\n[settings]\ncell_ovp = 3.6\n')
    for words in (
        ("config", "plan", str(file), JBD),
        ("settings", "set", JBD, "cell_ovp=3.6", "--chemistry", "lpf"),
        ("packs", "add", "van", JBD, "--chemistry", "lpf"),
    ):
        cli(*words).failed(2, "Did you mean lfp?")


def test_a_protocol_that_an_option_names_is_no_word_too_many(cli: Cli) -> None:
    result = cli("info", "--protocol", "jbd", "/dev/nothing-here")
    assert result.code == 1
    assert "one word" not in result.err
    cli("read", "jk02").failed(2, "jk02+serial:///dev/ttyUSB0", "bmslink scan --protocol jk02")


def test_a_board_that_speaks_another_protocol(cli: Cli) -> None:
    master, slave = os.openpty()
    place = os.ttyname(slave)
    try:
        result = cli("read", f"jk-nw+serial://{place}?timeout=0.02")
    finally:
        os.close(master)
        os.close(slave)
    result.failed(1, "is this its protocol?", f"`bmslink scan --port {place}` finds out")
    assert result.err.count("scan --port") == 1


@pytest.mark.parametrize(
    ("words", "step"),
    [
        (("settings", "set", JBD, "cell_ovp=3,6"), "cell_ovp: '3,6' is no number. Decimals"),
        (("settings", "set", JBD, "cell_ovp=3,6 V"), "written with a point (3.6)"),
        (("settings", "set", JBD, "nominal_capacity=1,000"), "nothing stands between thousands"),
        (("settings", "set", JBD, "soc=60,5"), "(60.5)"),
        (("read", JBD, "--timeout", "3,6"), "(3.6)"),
        (("read", JBD, "--watch", "0,5"), "(0.5)"),
        (("config", "presets", "lfp", "--capacity", "100,5"), "(100.5)"),
    ],
)
def test_a_decimal_comma(cli: Cli, words: tuple[str, ...], step: str) -> None:
    cli(*words).failed(2, step)


@pytest.mark.parametrize("value", ["3,6", '"3,6 V"', "-3,6"])
def test_a_decimal_comma_in_a_file(cli: Cli, tmp_path: Path, value: str) -> None:
    file = tmp_path / "house.toml"
    file.write_text(f"schema = 1\n[settings]\ncell_ovp = {value}\n")
    cli("config", "plan", str(file), JBD).failed(2, "line 3", "3.6)")
    names = tmp_path / "bmslink.toml"
    names.write_text('[packs.van]\ntarget = "sim://jbd"\nfuse = 3,6\n')
    cli("read", "van").failed(2, "line 3", "(3.6)")


@pytest.mark.parametrize(
    ("words", "step"),
    [
        (("get", JBD, "ovp"), "Did you mean pack_ovp or cell_ovp?"),
        (("get", JBD, "cell_ovp_warning"), "The nearest that it has: cell_ovp."),
        (("set", JBD, "cell_ovp_warning=3.5"), "The nearest that it has: cell_ovp."),
        (("get", JBD, "cell_over_voltage"), "Did you mean cell_ovp?"),
        (("get", JBD, "colour"), "`bmslink settings show` lists those it has"),
    ],
)
def test_the_nearest_setting(cli: Cli, words: tuple[str, ...], step: str) -> None:
    cli("settings", *words).failed(2, step)


def test_no_limit_is_proposed_in_the_place_of_another() -> None:
    assert nearest("pack_ovp", ["cell_ovp", "pack_uvp", "charge_ocp"]) == []
    assert nearest("cell_ovp_warning", ["cell_uvp_warning"]) == []
    assert or_nearest("cell_ovp_wraning", ["cell_ovp_warning", "cell_ovp"]) == (
        " Did you mean cell_ovp_warning?"
    )
    assert nearest("capacity", ["nominal_capacity", "cycle_capacity"]) == ["nominal_capacity"]


def test_files_and_packs_that_were_swapped(cli: Cli, tmp_path: Path) -> None:
    profile, backup = tmp_path / "house.toml", tmp_path / "before.json"
    profile.write_text(preset("lfp", 16, 100))
    assert cli("config", "backup", JBD, "-o", str(backup)).code == 0
    policies = tmp_path / "policy.toml"
    policies.write_text("schema = 1\n[battery]\nchemistry = 'lfp'\n")
    names = tmp_path / "bmslink.toml"
    names.write_text('[packs.van]\ntarget = "sim://jbd"\n')
    for verb in ("plan", "apply"):
        for pack in (JBD, "van"):
            cli("config", verb, pack, str(profile)).failed(2, f"{pack} is a pack", "profile first")
        cli("config", verb, str(backup), JBD).failed(2, f"bmslink config restore {backup}")
        cli("config", verb, str(policies), JBD).failed(2, f"bmslink control check {policies}")
        cli("config", verb, str(names), JBD).failed(2, "bmslink packs list")
    cli("config", "restore", JBD, str(backup)).failed(2, "is a pack", "backup first")
    cli("config", "restore", str(profile), JBD).failed(2, f"bmslink config apply {profile}")
    cli("control", "check", str(profile)).failed(2, f"bmslink config apply {profile}")
    cli("control", "check", JBD, str(policies)).failed(2, "policy file first")
    cli("decode", JBD).failed(2, "bmslink read")
    capture = tmp_path / "session.jsonl"
    capture.write_text(json.dumps({"format": "bmslink-capture", "version": 1}) + "\n")
    cli("config", "restore", str(capture), JBD).failed(2, f"bmslink decode {capture}")


def test_a_table_that_is_misspelled_is_named_with_its_line(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "house.toml"
    file.write_text("schema = 1\n\n[setings]\ncell_ovp = 3.6\n")
    cli("config", "plan", str(file), JBD).failed(2, "line 3", "Did you mean settings?")
    names = tmp_path / "bmslink.toml"
    names.write_text('[pakcs.van]\ntarget = "sim://jbd"\n')
    cli("read", "van").failed(2, "line 1", "did you mean packs?")
    names.write_text('[packs.van]\ntraget = "sim://jbd"\n')
    cli("read", "van").failed(2, "did you mean target?")
    names.write_text('[packs.garage]\ntarget = "sim://jbd"\n')
    cli("read", "garag").failed(2, "Did you mean garage?")
    policies = tmp_path / "policy.toml"
    policies.write_text("schema = 1\n[batery]\nchemistry = 'lfp'\n")
    cli("control", "check", str(policies)).failed(2, "line 2", "did you mean battery?")


def test_a_missing_slash_is_refused_in_the_library_too() -> None:
    with pytest.raises(TargetError, match="lacks a slash"):
        parse_target("serial://dev/ttyUSB0")
    assert parse_target("serial://./dev/ttyUSB0").place == "./dev/ttyUSB0"
