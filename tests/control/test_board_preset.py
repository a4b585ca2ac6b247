"""`control presets TARGET`: the battery of a policy file, filled from a board."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bmslink.control.files import parse_policies
from bmslink.control.presets import named_preset
from cli_support import Cli


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    return Cli(capsys)


def battery(text: str) -> dict[str, str]:
    """The lines of [battery], by their key."""
    part = text.partition("[battery]\n")[2].partition("\n\n")[0]
    return {line.partition(" = ")[0]: line.partition(" = ")[2] for line in part.split("\n")}


@pytest.mark.parametrize("driver", ["jbd", "jk02", "daly-d2", "daly-a5", "jk-nw", "jk-modbus"])
def test_a_board_fills_the_battery_and_every_value_says_where_from(driver: str, cli: Cli) -> None:
    done = cli("control", "presets", "van", f"sim://{driver}?cells=8&seed=1&gap=0")
    assert done.code == 0, done
    found = parse_policies(done.out, Path("p")).battery
    assert (found.chemistry, found.cells, found.capacity) == ("lfp", 8, 100.0)
    assert (found.charge_current, found.discharge_current) == (30.0, 100.0)
    lines = battery(done.out)
    who = "the board's name" if driver == "jbd" else "the board"
    assert lines["chemistry"] == f'"lfp"  # {who}'
    for key in ("cells", "capacity", "charge_current", "discharge_current", "sensors"):
        assert "  # " in lines[key], key


def test_probes_that_say_nothing_are_left_out_and_named(cli: Cli) -> None:
    done = cli("control", "presets", "sim://jk02?cells=8&seed=1&gap=0")
    assert parse_policies(done.out, Path("p")).battery.sensors == ("cell_1", "cell_2")
    assert "add cell_4, cell_5 if fitted" in battery(done.out)["sensors"]


def test_the_chemistry_is_never_guessed(cli: Cli) -> None:
    done = cli("control", "presets", "sim://daly-p81?cells=16&seed=1&gap=0")
    assert (done.code, done.out) == (2, "")
    assert "Nobody says what the cells are: give --chemistry." in done.err
    done = cli("control", "presets", "sim://daly-p81?cells=16&seed=1&gap=0", "--chemistry", "lfp")
    assert battery(done.out)["chemistry"] == '"lfp"  # --chemistry'


def test_what_somebody_else_says_is_told(cli: Cli) -> None:
    done = cli("control", "presets", "nmc", "sim://jk02?cells=8&seed=1&gap=0")
    assert done.code == 0
    assert "The board says lfp, but --chemistry says nmc." in done.err
    assert parse_policies(done.out, Path("p")).battery.chemistry == "nmc"


def test_a_board_that_tells_no_settings(cli: Cli) -> None:
    target = "sim://jk-bus?cells=8&seed=1&gap=0"
    done = cli("control", "presets", target, "--chemistry", "lfp", "--capacity", "50")
    assert done.code == 0, done
    assert "Its settings were left out" in done.err
    assert parse_policies(done.out, Path("p")).battery.discharge_current == 50.0
    done = cli("control", "presets", target, "--capacity", "50")
    assert battery(done.out)["chemistry"] == '"lfp"  # the board'  # it tells that much
    target = "sim://daly-sinowealth?cells=8&seed=1&gap=0"
    done = cli("control", "presets", target, "--capacity", "50")
    assert (done.code, done.out) == (2, "")
    assert "give --chemistry" in done.err


def test_bmslink_toml_knows_better(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "bmslink.toml"
    file.write_text(
        "[packs.house]\ntarget = 'sim://jk02?cells=8&seed=1&gap=0'\nchemistry = 'lfp'\n"
        "rating_current = 20\nfuse = 125\n"
    )
    monkeypatch.setenv("BMSLINK_CONFIG", str(file))
    done = cli("control", "presets", "house")
    found = parse_policies(done.out, Path("p")).battery
    assert (found.charge_current, found.discharge_current, found.fuse) == (20.0, 20.0, 125.0)
    lines = battery(done.out)
    assert lines["chemistry"] == '"lfp"  # bmslink.toml'
    assert "bmslink.toml says a rating of 20 A" in lines["discharge_current"]
    assert "# As house (" in done.out


def test_a_pack_that_is_named_as_a_use_is_asked_about(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "bmslink.toml"
    file.write_text("[packs.van]\ntarget = 'sim://jk02?cells=8&seed=1&gap=0'\n")
    monkeypatch.setenv("BMSLINK_CONFIG", str(file))
    done = cli("control", "presets", "van")
    assert (done.code, done.out) == (2, "")
    assert "a preset and one of your packs" in done.err
    assert cli("control", "presets", "van", "van").out.count("# As van (") == 1
    assert "SET THESE" in cli("control", "presets", "--use", "van").out


def test_without_a_target_nothing_is_known(cli: Cli) -> None:
    done = cli("control", "presets", "nmc-boat")
    found = parse_policies(done.out, Path("p"))
    assert (found.battery.chemistry, found.thresholds["ov_trip"]) == ("nmc", 4.25)
    assert "SET THESE" in done.out
    assert re.search(r"^schema = 2$", done.out, re.M)
    for wrong in (["foo", "sim://jbd"], ["van", "--use", "boat"], ["lfp", "--chemistry", "nmc"]):
        assert cli("control", "presets", *wrong).code == 2


def test_a_house_of_1_c_is_no_overload_of_a_preset() -> None:
    """8.5 kW on 48 V and 280 Ah are 0.6 C."""
    from bmslink.control.presets import preset

    for use in ("ups", "solar", "van", "boat"):
        found = parse_policies(preset("lfp", use), Path("p")).battery
        assert found.discharge_current == found.capacity


@pytest.mark.parametrize(
    ("name", "means"),
    [
        ("lfp", ("lfp", None)),
        ("van", (None, "van")),
        ("na-ion", ("na-ion", None)),
        ("na-ion-ups", ("na-ion", "ups")),
        ("jbd", None),
        ("lipo-van", None),
        ("-van", None),
    ],
)
def test_names(name: str, means: tuple[str | None, str | None] | None) -> None:
    assert named_preset(name) == means
