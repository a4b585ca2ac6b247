"""`control approve`, `run --enforce`, `drill`, `offload`, `status --orphans`, from the command line
to the bytes of a simulated pack."""

from __future__ import annotations

from pathlib import Path

import pytest

from acting_support import policy_text
from bmslink.testing import SimulatedPack
from cli_support import run_cli


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BMSLINK_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("BMSLINK_JOURNAL", str(tmp_path / "journal"))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "p.toml"
    path.write_text(policy_text("jbd"))
    return path


def test_nothing_acts_that_nobody_approved(file: Path) -> None:
    pack = SimulatedPack("jbd", cells=4)
    run = ("control", "run", pack.target, "--policies", str(file))
    refused = run_cli(*run, "--enforce")
    assert refused.code == 3
    assert "Nothing is approved" in refused.err
    assert run_cli(*run).code == 3
    assert run_cli(*run, "--enforce", "--shadow").code == 3
    asked = run_cli("control", "approve", pack.target, str(file))
    assert asked.code == 3
    assert "policies may switch charging off" in asked.out
    assert run_cli("control", "approve", pack.target, str(file), "--yes").code == 0
    done = run_cli(*run, "--enforce", "--count", "2", "--watch", "0.2")
    assert done.code == 0, done.err
    assert pack.counters["commands"] == 0


def test_discharge_needs_to_know_what_feeds_this_computer(tmp_path: Path) -> None:
    path = tmp_path / "p.toml"
    path.write_text(policy_text("jbd", host_power=None))
    pack = SimulatedPack("jbd", cells=4)
    refused = run_cli("control", "approve", pack.target, str(path), "--yes")
    assert refused.code == 3
    assert "host_power" in refused.err


def test_stop_orphans_reset_drill(file: Path) -> None:
    pack = SimulatedPack("jbd", cells=4)
    assert run_cli("control", "drill", pack.target, "--yes").code == 3
    assert run_cli("control", "approve", pack.target, str(file), "--yes").code == 0
    drilled = run_cli("control", "drill", pack.target, "charge", "discharge", "--yes")
    assert drilled.code == 0, drilled.err
    assert "discharge: off read back after" in drilled.out
    assert pack.truth().charge_switch and pack.truth().discharge_switch
    assert run_cli("control", "status", "--orphans", pack.target).code == 0
    assert run_cli("control", "emergency-stop", pack.target).code == 0
    assert not pack.truth().charge_switch and not pack.truth().discharge_switch
    orphans = run_cli("control", "status", "--orphans", pack.target)
    assert orphans.code == 5
    assert "charge off: switched off by bmslink, held by emergency_stop" in orphans.out
    assert run_cli("control", "reset", pack.target).code == 0
    assert run_cli("control", "reset", pack.target).code == 3
    assert not pack.truth().charge_switch, "a reset sends nothing"


def test_offload_writes_stricter_limits_and_nothing_else(file: Path) -> None:
    pack = SimulatedPack("jbd", cells=4)
    before = pack.settings
    words = ("control", "offload", pack.target, str(file))
    assert run_cli(*words, "--dry-run").code == 0
    assert pack.settings == before
    done = run_cli(*words, "--yes", "--chemistry", "lfp")
    assert done.code == 0, done.err
    assert pack.settings["cell_ovp"] == pytest.approx(3.55)
    again = run_cli(*words, "--yes", "--chemistry", "lfp")
    assert "Nothing to write" in again.out
