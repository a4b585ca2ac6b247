"""What a new user tripped over: sentences and exit codes that did not fit what was done."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import bmslink
from bmslink.config.files.backup import load_backup
from cli_support import Cli

JK = "sim://jk02?cells=16&load=idle"


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Cli:
    monkeypatch.delenv("BMSLINK_TARGET", raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)
    return Cli(capsys)


async def test_a_port_that_takes_only_switches_does_not_claim_to_take_settings() -> None:
    async with bmslink.connect("sim://jk-nw?gap=0") as device:
        able = (await device.inspect()).capabilities
        assert not able["settings"].supported
        assert able["settings"].reason.startswith("only switches can be written")
        assert able["switch_charge"].supported


def test_a_backup_goes_to_standard_output(cli: Cli, tmp_path: Path) -> None:
    result = cli("config", "backup", JK, "-o", "-")
    assert result.code == 0
    (tmp_path / "kept.json").write_text(result.out)
    assert load_backup(tmp_path / "kept.json").values == json.loads(result.out)["values"]
    assert not (tmp_path / "-").exists()


@pytest.mark.parametrize("value", ['"abc"', "true", '"on"'])
@pytest.mark.parametrize("command", ["plan", "apply"])
def test_a_value_that_cannot_be_meant_is_wrong_usage_in_a_profile_too(
    cli: Cli, tmp_path: Path, command: str, value: str
) -> None:
    (tmp_path / "p.toml").write_text(f"[settings]\ncell_ovp = {value}\n")
    result = cli("config", command, "p.toml", JK)
    assert result.code == 2
    assert "p.toml, line 2: cell_ovp is a number in V" in result.err


def test_a_refused_value_is_not_called_no_change(cli: Cli) -> None:
    result = cli("settings", "set", JK, "balance_delta=20", "--dry-run")
    assert result.code == 3
    assert "Nothing would change." not in result.out
    assert "Nothing can be planned." in result.out


def test_nothing_compared_is_not_no_difference(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_text("[settings]\n")
    result = cli("config", "diff", "p.toml", JK)
    assert result.code == 2
    assert "Nothing was compared" in result.err
    assert "No difference" not in result.err


def test_what_a_pack_does_not_have_is_not_no_difference(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_text("[settings]\ncell_ovp_delay = 2\n")
    result = cli("config", "diff", "p.toml", JK)
    assert result.code == 5
    assert "missing" in result.out


def test_help_keeps_targets_whole(cli: Cli) -> None:
    assert "jk02+tcp://192.168.1.20:8899" in cli("--help").out


def test_dir_names_what_is_public() -> None:
    assert set(bmslink.__all__) < set(dir(bmslink))
    assert "wholefile" not in dir(bmslink)


def test_a_wrong_switch_is_answered_with_what_there_is(cli: Cli) -> None:
    result = cli("switch", JK, "charge", "of")
    assert result.code == 2
    assert "choose charge, discharge or balance, then on or off" in result.err
