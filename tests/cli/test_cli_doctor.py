"""`bmslink doctor`: what it prints, and how it ends."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from cli_support import Cli

WELL = "sim://jbd?load=0.0&cells=4"
ILL = "sim://jk02?load=0.0&fault=app:charge:off"


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Cli:
    for name in ("BMSLINK_TARGET", "BMSLINK_PIN"):
        monkeypatch.delenv(name, raising=False)
    for name in ("JOURNAL", "STATE", "RUNTIME"):
        monkeypatch.setenv(f"BMSLINK_{name}", str(tmp_path / name))
    monkeypatch.setenv("BMSLINK_CONFIG", str(tmp_path / "bmslink.toml"))
    (tmp_path / "bmslink.toml").write_text(f'[packs.van]\ntarget = "{WELL}"\nchemistry = "lfp"\n')
    return Cli(capsys, alone=True)


def test_a_pack_that_is_well(cli: Cli) -> None:
    result = cli("doctor", "van")
    assert result.code == 0
    assert "Nothing was found." in result.out
    assert "cell-delta" in result.out
    assert "Not known:" in result.out


def test_what_is_found_is_said_with_a_command_and_5(cli: Cli) -> None:
    result = cli("doctor", ILL)
    assert result.code == 5
    assert "WARNING switches: Charge is switched off" in result.out
    assert "    bmslink switch 'jk02+sim://?load=0.0&fault=app%3Acharge%3Aoff' charge on" in (
        result.out.splitlines()
    )


def test_json_is_one_object(cli: Cli) -> None:
    result = cli("doctor", "--json", ILL)
    (told,) = result.objects
    assert (result.code, told["schema"]) == (5, 1)
    assert "switches" in {each["name"] for each in told["findings"]}


def test_without_a_target_it_looks_at_the_computer_and_every_pack(cli: Cli) -> None:
    (told,) = cli("doctor", "--json").objects
    assert {"folders", "answer"} <= {row["name"] for row in told["right"]}
    assert told["packs"][0]["name"] == "van"
    assert told["versions"]["bmslink"]


def test_a_dead_link_is_a_finding(cli: Cli, capsys: pytest.CaptureFixture[str]) -> None:
    result = Cli(capsys)("doctor", "jbd+serial:///dev/tty-none", "--quiet")
    assert result.code == 5
    assert "ALARM port: There is no port /dev/tty-none" in result.out


def test_wrong_usage_ends_with_2(cli: Cli, tmp_path: Path) -> None:
    cli("doctor", "sim://jbd?fault=nonsense").failed(2, "fault")
    cli("doctor", "--explain", "cell-delt").failed(2, "Did you mean cell-delta?")
    (tmp_path / "b.zip").write_text("")
    cli("doctor", "van", "--bundle", str(tmp_path / "b.zip")).failed(2, "--force")


def test_explain(cli: Cli) -> None:
    assert "weakest cell" in cli("doctor", "--explain", "cell-delta").out
    (told,) = cli("doctor", "--json", "--explain", "afe").objects
    assert told["kind"] == "condition"


def test_a_bundle_and_a_trace(cli: Cli, tmp_path: Path) -> None:
    path, trace = tmp_path / "b.zip", tmp_path / "trace.jsonl"
    result = cli("doctor", "van", "--bundle", str(path), "--trace", str(trace), "--quiet")
    assert result.code == 0
    with zipfile.ZipFile(path) as archive:
        assert {"doctor.json", "pack-1/settings.jsonl"} <= set(archive.namelist())
    assert '"dir":"rx"' in trace.read_text()


def test_a_damaged_file_is_found(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "bmslink.toml").write_text("[packs.van]\nwrong = 1\n")
    result = cli("doctor", "--quiet")
    assert result.code == 5
    assert "configuration" in result.out
