"""`bmslink control presets` and `check`, as a user types them."""

from __future__ import annotations

from pathlib import Path

import pytest

from bmslink.control.files import load_policies
from cli_support import QUICK, Cli


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    return Cli(capsys)


@pytest.fixture
def policy(cli: Cli, tmp_path: Path) -> Path:
    path = tmp_path / "policy.toml"
    arguments = ("--chemistry", "lfp", "--use", "van", "--cells", "4", "--capacity", "100")
    assert cli("control", "presets", *arguments, "-o", str(path)).code == 0
    return path


def test_a_preset_is_a_file_that_can_be_read(cli: Cli, policy: Path):
    policies = load_policies(policy)
    assert (policies.battery.cells, policies.battery.capacity) == (4, 100)
    again = cli("control", "presets", "-o", str(policy))
    again.failed(2, "exists already")
    assert cli("control", "presets", "-o", str(policy), "--force").code == 0
    assert load_policies(policy).battery.cells == 16


def test_a_preset_on_stdout(cli: Cli):
    shown = cli("control", "presets", "--use", "boat")
    assert shown.code == 0
    assert shown.out.startswith("# Protection policies for LFP cells, use: boat.")
    (record,) = cli("control", "presets", "--use", "boat", "--json").objects
    assert record["text"].strip() == shown.out.strip()
    cli("control", "presets", "--use", "plane").failed(2, "ups, solar, van, boat")
    cli("control", "presets", "--capacity", "0").failed(2, "capacity: 0.1 to")


def test_check_says_what_it_finds(cli: Cli, policy: Path):
    fine = cli("control", "check", str(policy))
    assert (fine.code, fine.out.count("\n")) == (0, 1)
    assert fine.out.startswith("remark: Nothing acts")
    text = policy.read_text()
    policy.write_text(text.replace('ov_trip = "3.70 V"', 'ov_trip = "3.72 V"'))
    doubtful = cli("control", "check", str(policy), "--json")
    assert doubtful.code == 5
    assert doubtful.objects[0]["level"] == "warning"
    assert doubtful.objects[0]["about"] == "ov_trip"
    policy.write_text(text.replace('ov_trip = "3.70 V"', 'ov_trip = "3.70"'))
    cli("control", "check", str(policy)).failed(2, "line", "ov_trip", '"3.60 V"')


def test_check_looks_at_the_pack_and_its_settings(cli: Cli, policy: Path, tmp_path: Path):
    assert cli("control", "check", str(policy), QUICK).code == 0
    wrong = cli("control", "check", str(policy), "sim://jbd?gap=0&cells=8")
    assert wrong.code == 5
    assert "danger: The pack has 8 cells, the file says 4." in wrong.out
    other = cli("control", "check", str(policy), "jbd+sim://?gap=0&cells=4&chemistry=nmc")
    assert other.code == 5
    assert "cell_ovp" in other.out  # read from the pack itself
    own = tmp_path / "own.jsonl"
    own.write_text('{"key": "charge_utp", "value": -20}\n')
    cold = cli("control", "check", str(policy), "--settings", str(own))
    assert cold.code == 5
    assert "danger: charge_utp (-20) lets it charge below 0 °C" in cold.out
