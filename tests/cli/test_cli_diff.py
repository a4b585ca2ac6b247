"""`config diff` of several packs and files: every setting of every column, in any width."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from pathlib import Path

import pytest

from bmslink.cli.render import differences
from bmslink.cli.render.text import ASCII
from bmslink.config.files.compare import Side, compare
from cli_support import Cli
from support import VirtualLoop

JBD, D2, JK, P81 = (
    f"{name}+sim://?cells=16&load=idle" for name in ("jbd", "daly-d2", "jk02", "daly-p81")
)
SILENT = "jbd+sim://?fault=silent&timeout=0.01"


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Cli:
    monkeypatch.setattr(asyncio, "Runner", partial(asyncio.Runner, loop_factory=VirtualLoop))
    monkeypatch.delenv("BMSLINK_TARGET", raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)
    Path("p.toml").write_text("[settings]\ncell_ovp = 3.6\ncell_ovp_delay = 2\n")
    return Cli(capsys)


def held(cli: Cli, target: str) -> dict[str, object]:
    return {
        o["key"]: o["value"]
        for o in cli("settings", "show", target, "--json").objects
        if o["value"] is not None
    }


def test_packs_of_four_vendors_and_a_file_with_every_setting_of_each(cli):
    sides = (JBD, D2, JK, P81, "p.toml")
    result = cli("config", "diff", *sides, "--json", "--all")
    assert result.code == 5
    rows = {o["key"]: o for o in result.objects}
    for target in sides[:-1]:
        has = held(cli, target)
        for key, value in has.items():
            if key in rows:
                shown = rows[key]["values"][target]
                assert shown == value or isinstance(shown, str)  # of another unit
                assert target not in rows[key]["missing"]
            else:  # it changes by itself, or belongs to one board
                assert not key.endswith(("_ovp", "_uvp", "_ocp", "_release", "_delay"))
    assert rows["jk_smart_sleep"]["missing"] == [JBD, D2, P81]
    assert rows["jk_smart_sleep"]["values"]["p.toml"] is None
    assert rows["cell_ovp_delay"]["values"]["p.toml"] == 2
    assert rows["cell_ovp"]["values"]["p.toml"] == 3.6
    assert set(rows["cell_ovp"]) == {"schema", "key", "unit", "values", "missing", "differs"}
    some = {o["key"] for o in cli("config", "diff", *sides, "--json").objects}
    assert some == {key for key, row in rows.items() if row["differs"]}


def test_packs_of_one_name_keep_it(cli, monkeypatch, tmp_path):
    monkeypatch.setenv("BMSLINK_CONFIG", str(tmp_path / "bmslink.toml"))
    cli("packs", "add", "rack", "sim://jk-modbus?address=1-2")
    result = cli("config", "diff", "rack", "p.toml", "--json", "--all")
    assert {tuple(o["values"]) for o in result.objects} == {("rack 1", "rack 2", "p.toml")}
    one = "jk-modbus+sim://?address=1"
    assert cli("config", "diff", "rack", one).code == 2  # it is one of them


def test_eight_columns_are_wrapped_between_columns(cli, monkeypatch):
    for number in range(8):
        Path(f"{number}.toml").write_text(
            f"[settings]\ncell_ovp = 3.{number}25\njbd_up_discharge_ocp_alarm_release = {number}\n"
        )
    names = [f"{number}.toml" for number in range(8)]
    for width in (80, 60):
        monkeypatch.setenv("COLUMNS", str(width))
        out = cli("config", "diff", *names).out
        assert max(map(len, out.splitlines())) <= width
        assert out.count("jbd_up_discharge_ocp_alarm_release") == (2 if width == 80 else 4)
        for number in range(8):
            assert f"3.{number}25" in out
            assert out.count(f"[{number + 1}]") == 2


def test_on_a_narrow_terminal_nothing_breaks_inside_a_word(cli, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    Path("a.toml").write_text("[settings]\njbd_up_discharge_ocp_alarm_release = 1\n")
    out = cli("config", "diff", "a.toml", "p.toml").out
    assert "jbd_up_discharge_ocp_alarm_release\n  a.toml 1\n  p.toml missing\n" in out
    assert max(map(len, out.splitlines())) <= 40


def test_what_a_profile_does_not_say_is_told_apart_from_what_a_board_lacks():
    sides = [
        Side(name="p", values={}, units={}, partial=True),
        Side(name="a", values={"x": 1.0}, units={"x": "V"}),
        Side(name="b", values={}, units={}),
    ]
    found = compare(sides)
    assert found[0].shown == (None, "1 V", "missing")
    assert differences.table(found, ["p", "a", "b"], ASCII, 80)


def test_each_pack_that_cannot_be_read_is_a_line(cli):
    result = cli("config", "diff", SILENT, JBD, f"{SILENT}&seed=2", "--json")
    assert result.code == 1
    assert [json.loads(line)["target"] for line in result.out.splitlines()] == [
        SILENT,
        f"{SILENT}&seed=2",
    ]
