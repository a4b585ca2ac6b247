"""Files that 0.1.0 left on users' disks are still read, and still mean the same.

They were made by its own commands: `config backup`, `config export`, `config presets`,
`control presets`, `control run`, `capture`, `read --watch`, `packs add`.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from cli_support import Cli
from support import FIXTURES

OLD = FIXTURES / "old" / "0.1.0"
MAPS = {path.stem: path for path in sorted((OLD / "backups").glob("*.json"))}
SETTINGS = {
    "daly-a5": 41,
    "daly-d2": 41,
    "daly-p81": 86,
    "jbd": 62,
    "jbd-up": 106,
    "jk-modbus": 48,
    "jk-nw": 38,
    "jk02": 48,
    "jk04": 5,
}
"""Settings that 0.1.0 said were in each backup."""


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    return Cli(capsys)


def test_every_kind_of_board_has_a_backup() -> None:
    assert MAPS.keys() == SETTINGS.keys()


@pytest.mark.parametrize("name", SETTINGS)
def test_a_backup_agrees_with_the_profile_of_the_same_board(name: str, cli: Cli) -> None:
    done = cli("config", "diff", str(MAPS[name]), str(OLD / "profiles" / f"{name}.toml"), "--json")
    if name == "jbd-up":  # nothing of it can be written, so its profile is empty
        assert (done.code, done.objects) == (2, []), done
        assert "Nothing was compared" in done.err
        return
    assert (done.code, done.objects) == (0, []), done


@pytest.mark.parametrize("name", SETTINGS)
def test_a_backup_agrees_with_the_simulated_board_that_it_was_made_of(name: str, cli: Cli) -> None:
    target = f"sim://{name}?cells=16&load=idle&seed=1&gap=0"
    done = cli("config", "diff", str(MAPS[name]), target, "--json")
    assert (done.code, done.objects) == (0, []), done


@pytest.mark.parametrize("name", ["lfp", "nmc", "lto", "na-ion", "lfp-100", "lfp-280", "lfp-314"])
def test_a_preset_is_still_a_profile(name: str, cli: Cli) -> None:
    """Compared with a board of LFP cells: `cell_ovp` differs unless the preset is for LFP."""
    done = cli("config", "diff", str(OLD / "presets" / f"{name}.toml"), str(MAPS["jbd"]), "--json")
    assert done.code == 5, done
    rows = {row["key"]: list(row["values"].values()) for row in done.objects}
    known = {"nmc": [4.25, 3.65], "lto": [2.75, 3.65], "na-ion": [3.9, 3.65]}
    assert rows.get("cell_ovp") == known.get(name)


@pytest.mark.parametrize("path", sorted((OLD / "policies").glob("*.toml")), ids=lambda p: p.stem)
def test_a_policy_file_is_read_without_a_finding_of_its_own(path: Path, cli: Cli) -> None:
    done = cli("control", "check", str(path), "--json")
    assert done.code == 0, done
    assert {row["level"] for row in done.objects} <= {"remark"}, done


def test_the_audit_is_read(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BMSLINK_JOURNAL", str(OLD / "audit"))
    done = cli("config", "journal", "--json")
    assert done.code == 0
    assert [row["event"] for row in done.objects] == ["decision"] * 11
    assert {row["user"] for row in done.objects} == {"owner"}


def test_the_state_of_a_run_is_read(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BMSLINK_STATE", str(OLD / "state"))
    done = cli("control", "status", "--json")
    [run] = done.objects
    assert run["running"] is False
    assert [pack["target"].partition("+")[0] for pack in run["packs"]] == ["jbd", "jk02"]


@pytest.mark.parametrize("name", ["daly-a5", "daly-d2", "jbd", "jk02"])
def test_a_capture_is_decoded(name: str, cli: Cli) -> None:
    done = cli("decode", str(OLD / "captures" / f"{name}.jsonl"), "--json")
    assert done.code == 0, done
    assert {row["protocol"] for row in done.objects} == {name}
    assert any(len(row["cell_voltages"]) == 8 for row in done.objects)


def test_a_log_of_readings_goes_into_the_policies(cli: Cli) -> None:
    log, policies = OLD / "captures" / "readings.jsonl", OLD / "policies" / "lfp-ups.toml"
    done = cli("control", "backtest", str(log), "--policies", str(policies), "--json")
    assert done.code == 0, done
    assert done.objects[0]["totals"]["samples"] == 5


def test_named_packs_and_their_pins_are_read(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BMSLINK_CONFIG", str(OLD / "bmslink.toml"))
    done = cli("packs", "list", "--json")
    assert [(row["name"], row["pin"]) for row in done.objects] == [
        ("house", False),
        ("van", True),
        ("rack", False),
    ]
