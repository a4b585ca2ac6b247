"""`control approve`, `run --enforce`, `drill`, `offload`, `status --orphans`, from the command line
to the bytes of a simulated pack."""

from __future__ import annotations

from pathlib import Path

import pytest

from acting_support import policy_text
from bmslink.testing import SimulatedPack
from cli_support import Cli


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BMSLINK_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("BMSLINK_JOURNAL", str(tmp_path / "journal"))


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    return Cli(capsys)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "p.toml"
    path.write_text(policy_text("jbd"))
    return path


def test_nothing_acts_that_nobody_approved(cli: Cli, file: Path) -> None:
    pack = SimulatedPack("jbd", cells=4)
    run = ("control", "run", pack.target, "--policies", str(file))
    refused = cli.hurried(*run, "--enforce")
    assert refused.code == 3
    assert "Nothing is approved" in refused.err
    assert cli.hurried(*run).code == 3
    assert cli.hurried(*run, "--enforce", "--shadow").code == 3
    asked = cli.hurried("control", "approve", pack.target, str(file))
    assert asked.code == 3
    assert "policies may switch charging off" in asked.out
    assert cli.hurried("control", "approve", pack.target, str(file), "--yes").code == 0
    done = cli.hurried(*run, "--enforce", "--count", "2", "--watch", "0.2")
    assert done.code == 0, done.err
    assert pack.counters["commands"] == 0


def test_discharge_needs_to_know_what_feeds_this_computer(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "p.toml"
    path.write_text(policy_text("jbd", host_power=None))
    pack = SimulatedPack("jbd", cells=4)
    refused = cli.hurried("control", "approve", pack.target, str(path), "--yes")
    assert refused.code == 3
    assert "host_power" in refused.err


def test_stop_orphans_reset_drill(cli: Cli, file: Path) -> None:
    pack = SimulatedPack("jbd", cells=4)
    drilled = cli.hurried("control", "drill", pack.target, str(file), "--yes")
    assert drilled.code == 0, drilled.err
    assert "discharge" in drilled.out
    assert pack.truth().charge_switch and pack.truth().discharge_switch
    assert cli.hurried("control", "status", "--orphans", pack.target).code == 0
    assert cli.hurried("control", "emergency-stop", pack.target).code == 0
    assert not pack.truth().charge_switch and not pack.truth().discharge_switch
    orphans = cli.hurried("control", "status", "--orphans", pack.target)
    assert orphans.code == 5
    assert "discharge" in orphans.out
    assert cli.hurried("control", "reset", pack.target).code == 0
    assert cli.hurried("control", "reset", pack.target).code == 3
    assert not pack.truth().charge_switch, "a reset sends nothing"


def test_offload_writes_stricter_limits_and_nothing_else(cli: Cli, file: Path) -> None:
    pack = SimulatedPack("jbd", cells=4)
    before = pack.settings
    words = ("control", "offload", pack.target, str(file))
    assert cli.hurried(*words, "--dry-run").code == 0
    assert pack.settings == before
    done = cli.hurried(*words, "--yes", "--chemistry", "lfp")
    assert done.code == 0, done.err
    assert pack.settings["cell_ovp"] == pytest.approx(3.55)
    held = pack.settings
    assert cli.hurried(*words, "--yes", "--chemistry", "lfp").code == 0
    assert pack.settings == held
