"""Files that 0.1.0 left on users' disks are still read, and still mean the same.

They were made by its own commands: `config backup`, `config export`, `config presets`,
`control presets`, `control run`, `capture`, `read --watch`, `packs add`.
"""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import msgspec
import pytest

from bmslink.control import PolicySet
from bmslink.control.decide.catalogue import CATALOGUE, with_parts
from bmslink.control.decide.policy import Severity
from bmslink.control.files import load_policies, parse_policies
from bmslink.control.presets import preset
from bmslink.control.upgrade import upgrade_of, write_upgrade
from bmslink.control.written import row_comment
from bmslink.errors import TargetError
from cli_support import Cli
from control_support import Run, healthy
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


LATER = {"full_charge_due", "capacity_lost", "cell_resistance_rising", "throughput_budget"}
"""Policies that 0.1.0 did not have: its files do not mention them, and they only warn."""
POLICIES = sorted((OLD / "policies").glob("*.toml"))


def _preset_of_today(path: Path) -> PolicySet:
    chemistry, _, use = path.stem.rpartition("-")
    battery = load_policies(path).battery
    text = preset(chemistry, use, cells=battery.cells, capacity=battery.capacity)
    return parse_policies(text, path)


@pytest.mark.parametrize("path", POLICIES, ids=lambda p: p.stem)
def test_an_untouched_policy_file_means_what_the_preset_means_today(path: Path) -> None:
    """Whatever changes in the defaults adds what it was to `control.schema`, or this fails."""
    found, wanted = load_policies(path), _preset_of_today(path)
    assert found.as_shipped
    assert found.thresholds == wanted.thresholds
    assert found.curves == wanted.curves
    assert found.policies == wanted.policies
    assert {each.key[1] for each in found.as_shipped} >= {"ov_trip", "ov_warning"}


def test_all_names_of_0_1_0_are_names_today() -> None:
    for path in POLICIES:
        rows = tomllib.loads(path.read_text())["policies"]
        chemistry = path.stem.rpartition("-")[0]
        assert set(with_parts(rows)) <= set(CATALOGUE[chemistry])
        assert set(CATALOGUE[chemistry]) == {*with_parts(rows), *LATER}


@pytest.mark.parametrize("path", POLICIES, ids=lambda p: p.stem)
def test_an_upgraded_file_means_the_same_and_lists_nothing_any_more(
    path: Path, tmp_path: Path
) -> None:
    file = tmp_path / "policy.toml"
    file.write_text(path.read_text())
    before = load_policies(file)
    kept = write_upgrade(upgrade_of(file))
    after = load_policies(file)
    assert kept.read_text() == path.read_text()
    assert after == msgspec.structs.replace(before, as_shipped=())
    assert not upgrade_of(file).needed
    comments = [line for line in file.read_text().split("\n") if line.startswith("#")]
    later = [after.policies[name] for name in LATER]
    assert {each.severity for each in later} == {Severity.WARN}
    old_rows = [policy for name, policy in after.policies.items() if name not in LATER]
    rows = [row_comment(policy) for policy in old_rows]
    assert sorted(set(rows)) == sorted(set(comments) & set(rows))
    old = {line for line in path.read_text().split("\n") if line.startswith("#")}
    assert set(comments) - old <= set(rows)
    told = tomllib.loads(file.read_text())["policies"]
    assert told.keys() == after.records.keys() - LATER
    assert {f"{name}.{level}" for name, record in told.items() for level in record} == {
        f"{row.record}.{row.level}" for row in old_rows
    }


OWN = """\
# my van
schema = 1   # of old

[battery]
chemistry = "lfp"
cells = 4
capacity = "200 Ah"

[thresholds]
ov_trip = "3600 mV"  # as the seller said
uv_trip = '2.80 V'

[policies]
# never alone
stale_data = { mode = "off", off_delay = "30 s", on_missing = 'ignore: "it" is a test' }
runaway_cell = { off_delay = "45 s", reset = "manual" }
cell_delta_load = { factor = "20 %" }
"""


def test_what_the_owner_set_stays(tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_text(OWN)
    policies = load_policies(file)
    assert [each.to_dict() for each in policies.as_shipped] == [
        {"name": "thresholds.ov_trip", "was": "3600 mV", "now": "3.70 V"},
        {"name": "policies.stale_data.off_delay", "was": "30 s", "now": "0 s"},
        {"name": "policies.runaway_cell.reset", "was": "manual", "now": "auto"},
    ]
    assert (policies.thresholds["ov_trip"], policies.thresholds["uv_trip"]) == (3.7, 2.8)
    assert policies.policies["runaway_cell"].off_delay == 45.0
    assert policies.policies["stale_data_discharge"].mode == "off"
    assert policies.policies["cell_delta_charging"].factor == 0.2
    write_upgrade(upgrade_of(file))
    text = file.read_text()
    assert text.startswith(OWN.replace("schema = 1", "schema = 2").partition("ov_trip")[0])
    assert "ov_trip = \"3.70 V\"  # as the seller said\nuv_trip = '2.80 V'\n" in text
    title = "age of the data, of what is safe while it may charge"
    assert f"[policies.stale_data]  # {title}\n# never alone\nlimit = {{" in text
    assert load_policies(file) == msgspec.structs.replace(policies, as_shipped=())


@pytest.mark.parametrize(
    ("lines", "kept"),
    [
        ('ov_trip = "3.65 V"\nov_warning = "3.50 V"', {"ov_trip": 3.65, "ov_warning": 3.5}),
        ('ov_trip = "3.60 V"\nov_critical = "3.65 V"', {"ov_trip": 3.6, "ov_critical": 3.65}),
        (
            'ov_warning = "3.50 V"\nov_trip = "3.60 V"\nov_critical = "3.65 V"',
            {"ov_trip": 3.6, "ov_warning": 3.5},
        ),
    ],
)
def test_no_default_of_today_goes_beyond_an_own_value(lines: str, kept: dict[str, float]) -> None:
    battery = '[battery]\nchemistry = "lfp"\ncells = 4\ncapacity = "200 Ah"\n'
    policies = parse_policies(f"schema = 1\n{battery}[thresholds]\n{lines}\n", Path("p"))
    assert policies.as_shipped == ()
    assert {name: policies.thresholds[name] for name in kept} == kept


@pytest.mark.parametrize(
    ("shipped", "row"),
    [
        ('ov_warning = "3.50 V"', 'cell_overvoltage = { trip = "3.58 V" }'),
        ('ov_warning = "3.50 V"', 'pack_overvoltage = { trip = "3580 mV" }'),
        ('ov_trip = "3.60 V"', 'cell_overvoltage_critical = { trip = "3.68 V" }'),
    ],
)
def test_no_default_of_today_goes_beyond_what_a_row_says(shipped: str, row: str) -> None:
    """The warning came after the stop that the owner had set in its row."""
    battery = '[battery]\nchemistry = "lfp"\ncells = 4\ncapacity = "200 Ah"\n'
    text = f"schema = 1\n{battery}[thresholds]\n{shipped}\n[policies]\n{row}\n"
    assert parse_policies(text, Path("p")).as_shipped == ()


def test_a_release_of_today_never_lies_beyond_an_own_trip() -> None:
    battery = '[battery]\nchemistry = "lfp"\ncells = 4\ncapacity = "200 Ah"\n'
    row = 'charge_heat_warning = { trip = "84 %", release = "60 %" }'
    policies = parse_policies(f"schema = 1\n{battery}[policies]\n{row}\n", Path("p"))
    assert policies.as_shipped == ()
    assert policies.policies["charge_heat_warning"].release == 60.0


def test_numbers_of_schema_2_are_meant() -> None:
    text = OWN.replace("schema = 1", "schema = 2")
    policies = parse_policies(text, Path("p"))
    assert policies.as_shipped == ()
    assert policies.thresholds["ov_trip"] == 3.6
    assert policies.policies["stale_data_discharge"].mode == "shadow"


@pytest.mark.parametrize(
    "rows",
    [
        "[policies.stale_data]\noff_delay = '30 s'\nmode = 'off'\n",
        "policies.stale_data.off_delay = '30 s'",
        "[curves]\ncharge_heat = [\n  ['90 %', '100 %'],  # a\n  ['100 %', '50 %'],\n]\n",
        "[policies]\nstale_data.off_delay = '30 s' # mine\n",
        "[policies]\nmosfet_derate.release = 'mosfet_release'\n",
        "[policies.mosfet_derate]\nrelease = 'mosfet_release'\n",
    ],
)
def test_other_ways_to_write_tables(rows: str, tmp_path: Path) -> None:
    """Each is upgraded so that it means the same, or is refused and left alone."""
    file = tmp_path / "p.toml"
    top, battery = "schema = 1\n", "[battery]\nchemistry='lfp'\ncells = 4\ncapacity = '9 Ah'\n"
    text = top + (battery + rows if rows.startswith("[") else rows + "\n" + battery)
    file.write_text(text)
    before = load_policies(file)
    assert before.as_shipped
    write_upgrade(upgrade_of(file))
    assert load_policies(file) == msgspec.structs.replace(before, as_shipped=())


@pytest.mark.parametrize("use", ["ups", "solar", "van", "boat"])
def test_a_charge_to_the_sheet_is_no_stop_under_an_old_file(use: str) -> None:
    """It stopped at 3.60 V, the voltage of every full charge at 14.4 V."""
    policies = load_policies(OLD / "policies" / f"lfp-{use}.toml")
    battery = msgspec.structs.replace(policies.battery, cells=16)
    run = Run(msgspec.structs.replace(policies, battery=battery))
    assert run(healthy(3.6, current=4.0), 600).charge.allowed
    assert not run(healthy(3.72, current=4.0), 10).charge.allowed


def test_a_link_stays_a_link_and_a_file_that_changed_is_left_alone(tmp_path: Path) -> None:
    real, link = tmp_path / "real.toml", tmp_path / "link.toml"
    real.write_text(OWN)
    real.chmod(0o640)
    link.symlink_to(real)
    found = upgrade_of(link)
    real.write_text(OWN + "\n")
    with pytest.raises(TargetError, match="was changed in the meantime"):
        write_upgrade(found)
    assert [each.name for each in tmp_path.iterdir() if "schema" in each.name] == []
    kept = write_upgrade(upgrade_of(link))
    assert (link.is_symlink(), kept.name) == (True, "real.toml.schema-1")
    assert (real.stat().st_mode & 0o777, kept.stat().st_mode & 0o777) == (0o640, 0o640)
    assert "schema = 2" in real.read_text()


def test_the_memory_of_an_engine_of_0_1_0() -> None:
    """What it had latched is latched; what was one policy then is two; a curve ends by itself."""
    saved = json.loads((OLD / "engine" / "tripped.json").read_text())
    saved["tripped"]["charge_cold_derate"] = {
        "cause": "cold", "tripped": 5.0, "trips": [5.0], "latched": True,
    }  # fmt: skip
    run = Run()
    run.now = 0.0
    run.engine.load(saved, 0.0)
    decision = run.engine.tick(1.0)
    names = {each.policy for each in decision.verdicts}
    assert names >= {"stale_data", "stale_data_discharge", "cell_delta_charging"}
    decision = run(healthy(3.35), 300)
    assert {each.policy for each in decision.verdicts if each.state == "latched"} == {
        "cell_overvoltage_critical"
    }
    assert not decision.charge.allowed
    run.engine.reset("cell_overvoltage_critical")
    decision = run(healthy(3.35), 300)
    assert decision.charge.allowed
    assert decision.limits.ccl.value == 50.0


def test_the_command_shows_asks_writes_and_keeps(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "policy.toml"
    text = (OLD / "policies" / "lfp-van.toml").read_text()
    file.write_text(text)
    done = cli("control", "check", str(file))
    assert done.code == 0
    assert "ov_trip: 3.60 V was the default of an older version; today's is in force: 3.70 V" in (
        done.out
    )
    done = cli("control", "check", str(file), "--upgrade", "--dry-run")
    assert (done.code, file.read_text()) == (0, text)
    assert "ov_trip: 3.60 V → 3.70 V" in done.out
    done = cli("control", "check", str(file), "--upgrade")
    assert (done.code, file.read_text()) == (3, text)
    assert "Nothing was written" in done.err
    done = cli("control", "check", str(file), "--upgrade", "--yes", "--json")
    [row] = done.objects
    assert (done.code, row["written"]) == (0, True)
    assert Path(row["kept"]).read_text() == text
    assert {"name": "thresholds.ov_trip", "was": "3.60 V", "now": "3.70 V"} in row["changes"]
    done = cli("control", "check", str(file), "--upgrade", "--json")
    assert (done.code, done.objects[0]["written"]) == (0, False)
    file.write_text(text)
    done = cli("control", "check", str(file), "--upgrade", "--yes")
    assert Path(f"{file}.schema-1.2").read_text() == text
    for wrong in (["--yes"], ["--dry-run"], ["--upgrade", "jbd+tcp://127.0.0.1:1"]):
        assert cli("control", "check", str(file), *wrong).code == 2


def test_a_run_over_an_old_file_begins_with_what_is_in_force(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BMSLINK_STATE", str(tmp_path))
    file = str(OLD / "policies" / "lfp-solar.toml")
    target = "jbd+sim://?cells=16&seed=1"
    run = ("control", "run", "--shadow", "--policies", file, target, "--count", "1")
    done = cli(*run)
    assert done.code == 0, done
    assert "ov_trip is 3.70 V" in done.err
    done = cli(*run, "--json")
    names = [each["name"] for each in done.objects[0]["as_shipped"]]
    assert "thresholds.ov_trip" in names
    log = str(OLD / "captures" / "readings.jsonl")
    for command in (["backtest", log], ["explain", log]):
        assert "ov_trip is 3.70 V" in cli("control", *command, "--policies", file).err
