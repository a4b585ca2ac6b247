"""`bmslink control backtest` and `decode`, as somebody types them."""

from __future__ import annotations

from pathlib import Path

import pytest

from bmslink.cli import control_try
from bmslink.config.records.moment import local
from cli_support import QUICK, Cli
from control_support import healthy, replace
from log_support import at, cold_night, steady, write


@pytest.fixture
def run(capsys) -> Cli:
    return Cli(capsys)


@pytest.fixture
def policies(run: Cli, tmp_path: Path) -> str:
    path = tmp_path / "a.toml"
    made = run("control", "presets", "--cells", "16", "--capacity", "100", "-o", str(path))
    assert made.code == 0
    return str(path)


@pytest.fixture
def careful(policies: str, tmp_path: Path) -> str:
    """The same, but charging stops at 5 °C already."""
    text = Path(policies).read_text()
    for old, new in (
        ('charge_ut_trip = "0 °C"', 'charge_ut_trip = "5 °C"'),
        ('charge_ut_release = "3 °C"', 'charge_ut_release = "8 °C"'),
        ('["0 °C", "0 %"], ["5 °C", "10 %"]', '["5 °C", "0 %"]'),
    ):
        assert old in text
        text = text.replace(old, new)
    path = tmp_path / "careful.toml"
    path.write_text(text)
    return str(path)


@pytest.fixture
def night(tmp_path: Path) -> str:
    return str(write(tmp_path / "night.jsonl", cold_night()))


def test_one_file_tells_its_story(run: Cli, night: str, policies: str) -> None:
    done = run("control", "backtest", night, "--policies", policies)
    assert (done.code, done.err) == (0, "")
    (line,) = [t for t in done.out.splitlines() if "trip  charge_undertemperature" in t]
    assert line.strip().startswith(local("2026-01-10T19:00:10Z"))
    assert "2 h 8 min" in line
    assert "coldest cell probe (cell_1)" in line
    assert "what would have followed is not known" in done.out


def test_two_files_stand_side_by_side(run: Cli, night: str, policies: str, careful: str) -> None:
    done = run("control", "backtest", night, "--policies", policies, "--compare", careful)
    assert done.code == 0
    rows = {line[:33].strip(): line[33:].split() for line in done.out.splitlines()}
    header = next(line for line in done.out.splitlines() if "a.toml" in line)
    assert header.split() == ["a.toml", "careful.toml"]
    stopped = next(line for line in done.out.splitlines() if line.startswith("charge stopped"))
    assert stopped.split("   ")[-2:] != stopped.split("   ")[-1:] * 2
    assert rows


def test_json_has_an_object_for_each_file(
    run: Cli, night: str, policies: str, careful: str
) -> None:
    done = run("control", "backtest", night, "--policies", policies, "--compare", careful, "--json")
    one, other = done.objects
    assert (one["schema"], one["policies"], other["policies"]) == (1, policies, careful)
    assert one["target"] == "sim://jbd"
    assert one["began"] == "2026-01-10T18:00:00.000Z"
    assert one["totals"]["not_charged_ah"] < other["totals"]["not_charged_ah"]
    assert {t["policy"] for t in one["trips"]} >= {"charge_undertemperature"}
    assert one["commands"][0]["time"].endswith("Z")
    assert len(one["digest"]) == 64


def test_what_is_skipped_is_said(run: Cli, tmp_path: Path, policies: str) -> None:
    path = write(tmp_path / "log.jsonl", steady(600))
    path.write_text(path.read_text() + 'nonsense\n{"target":"x","error":"No answer."}\n')
    done = run("control", "backtest", str(path), "--policies", policies)
    assert done.code == 0
    assert "skipped 1 damaged, 1 that say that the pack did not answer" in done.err
    assert "nothing would have happened" in done.out


def test_a_log_that_does_not_fit_the_file_is_said_once(
    run: Cli, tmp_path: Path, policies: str
) -> None:
    few = [replace(r, cell_voltages=r.cell_voltages[:8]) for r in steady(300)]
    path = str(write(tmp_path / "few", few))
    for command in ("backtest", "explain"):
        done = run("control", command, path, "--policies", policies)
        assert done.code == 0
        assert done.err.count("The pack has 8 cells, the file says 16") == 1


def test_failures_are_sentences(run: Cli, tmp_path: Path, policies: str, night: str) -> None:
    run("control", "backtest", "nowhere", "--policies", policies).failed(1, "no file nowhere")
    run("control", "backtest", policies, "--policies", policies).failed(1, "holds no reading")
    run("control", "backtest", night).failed(2, "--policies")
    run("control", "backtest", night, "--policies", "none.toml").failed(2, "presets")
    run("control", "backtest", night, "--policies", night).failed(2, "no policy file")
    run("control", "backtest", night, "--policies", policies, "--speed", "0").failed(2, "speed")
    wrong = run("control", "backtest", night, "--policies", policies, "--protocol", "pylontech")
    wrong.failed(2, "known")
    untimed = write(tmp_path / "untimed", [replace(r, time=None) for r in steady(100)])
    run("control", "backtest", str(untimed), "--policies", policies).failed(1, "--interval")


def test_without_times_it_counts_from_the_beginning(
    run: Cli, tmp_path: Path, policies: str
) -> None:
    untimed = write(tmp_path / "untimed", [replace(r, time=None) for r in steady(100)])
    done = run("control", "backtest", str(untimed), "--policies", policies, "--interval", "10")
    assert "+0.0 s to +90.0 s" in done.out


def test_explain_shows_the_tree_of_a_moment(run: Cli, night: str, policies: str) -> None:
    asked = ("control", "explain", night, "--policies", policies)
    done = run(*asked, "--at", "2026-01-10T20:00:00Z")
    assert done.code == 0
    lines = done.out.splitlines()
    shown = local("2026-01-10T20:00:00Z")
    assert lines[0].startswith(f"{shown}  sim://jbd")
    assert run(*asked, "--at", shown).out == done.out
    begin = lines.index("charge: WITHDRAWN")
    assert any("charge_undertemperature" in line for line in lines[begin + 1 : begin + 4])
    assert "CCL: 0 A" in lines
    assert "the BMS's setting cell_ovp is not known: bms_did_not_trip_overvoltage" in done.out
    assert "cell_overvoltage_critical" not in done.out
    assert "cell_overvoltage_critical" in run(*asked, "--all").out
    assert run(*asked, "--at", "+600").out.splitlines()[1] == "charge: permitted"
    (found,) = run(*asked, "--at", "+7200", "--json").objects
    assert found["time"] == "2026-01-10T20:00:00.000Z"
    assert found["decision"]["charge"]["allowed"] is False
    states = {p["policy"]: p["state"] for p in found["policies"]}
    assert states["charge_undertemperature"] == "tripped"


def test_explain_of_a_moment_that_is_not_there(run: Cli, night: str, policies: str) -> None:
    asked = ("control", "explain", night, "--policies", policies)
    run(*asked, "--at", "2020-01-01T00:00:00Z").failed(2, "begins after")
    run(*asked, "--at", "tomorrow").failed(2, "--at is a time")
    run("control", "explain", QUICK, "--policies", policies, "--at", "+5").failed(2, "recordings")


def test_explain_of_a_live_pack(run: Cli, policies: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control_try, "_APART", 0.02)
    done = run("control", "explain", "sim://jbd?gap=0&cells=16", "--policies", policies)
    assert done.code == 0
    assert "charge: permitted" in done.out


def test_several_packs_are_told_apart(run: Cli, tmp_path: Path, policies: str) -> None:
    both = [
        at(10.0 * n, healthy(uptime=float(n)), target)
        for n in range(60)
        for target in ("sim://one", "sim://two")
    ]
    path = str(write(tmp_path / "log", both))
    found = run("control", "backtest", path, "--policies", policies, "--json").objects
    assert [f["target"] for f in found] == ["sim://one", "sim://two"]
    assert [f["totals"]["samples"] for f in found] == [60, 60]
