"""Packs keep their names in every output, a range of addresses is several packs, and people read
their own time."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bmslink.config.records.moment import local
from bmslink.errors import TargetError
from bmslink.target import resolve, resolve_each
from cli_support import Cli

VAN = "sim://jbd?gap=0&cells=4&load=idle&speed=100"
LABEL = "van (jbd+sim://?gap=0&cells=4&load=idle&speed=100"


@pytest.fixture
def cli(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Cli]:
    monkeypatch.delenv("BMSLINK_TARGET", raising=False)
    monkeypatch.setenv("BMSLINK_CONFIG", str(tmp_path / "bmslink.toml"))
    monkeypatch.setenv("BMSLINK_JOURNAL", str(tmp_path / "journal"))
    monkeypatch.setenv("BMSLINK_STATE", str(tmp_path / "control"))
    (tmp_path / "bmslink.toml").write_text(
        f'[packs.van]\ntarget = "{VAN}"\n'
        '[packs.dead]\ntarget = "sim://jbd?gap=0&fault=silent&timeout=0.01"\n'
        '[packs.rack]\ntarget = "sim://jk-modbus?address=1-3&gap=0"\n'
    )
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    time.tzset()
    yield Cli(capsys, alone=True)
    monkeypatch.undo()
    time.tzset()


def test_every_json_object_with_a_target_has_its_name(cli: Cli, tmp_path: Path) -> None:
    backup, policies = tmp_path / "b.json", str(tmp_path / "p.toml")
    made = cli("control", "presets", "--cells", "4", "--capacity", "100", "-o", policies)
    assert made.code == 0
    for words in (
        ("read", "van"),
        ("read", "van", "dead"),
        ("info", "van"),
        ("config", "backup", "van", "-o", str(backup)),
        ("settings", "set", "van", "cell_ovp=3.6", "--dry-run"),
        ("settings", "set", "van", "cell_ovp=3.6", "--yes"),
        ("config", "verify", "van"),
        ("config", "resume", "van", "--show"),
        ("control", "run", "--shadow", "--policies", policies, "van", "--count", "1"),
        ("capture", "van", "-o", str(tmp_path / "c.jsonl"), "--count", "1"),
    ):
        found = [each for each in cli(*words, "--json").objects if "target" in each]
        assert found, words
        assert {each["name"] for each in found} <= {"van", "dead"}, words
    assert {each["name"] for each in cli("read", VAN, "--json").objects} == {None}
    begun = next(r for r in cli("config", "journal", "--json").objects if r["event"] == "begin")
    assert begun["name"] == "van"


def test_every_output_for_people_has_the_name(cli: Cli, tmp_path: Path) -> None:
    for words in (
        ("read", "van"),
        ("read", "van", "--count", "1"),
        ("info", "van"),
        ("settings", "show", "van"),
        ("settings", "set", "van", "cell_ovp=3.6", "--dry-run"),
        ("config", "backup", "van", "-o", str(tmp_path / "b.json")),
    ):
        assert LABEL in cli(*words).out, words
    assert "bmslink: dead (jbd+sim://" in cli("read", "dead").err
    assert "bmslink: dead (jbd+sim://" in cli("read", "dead", "van").err
    assert cli("settings", "set", "van", "cell_ovp=3.6", "--yes").code == 0
    assert "  van jbd+sim://" in cli("config", "journal").out


@pytest.mark.parametrize(
    ("text", "addresses"),
    [("1-4", [1, 2, 3, 4]), ("1,3", [1, 3]), ("0x0F-16", [15, 16]), ("1-2,7", [1, 2, 7])],
)
def test_a_range_of_addresses_is_several_packs(text: str, addresses: list[int]) -> None:
    target = f"jk-modbus+serial:///dev/ttyUSB0?address={text}"
    assert [each.query["address"] for each in resolve_each(target)] == list(map(str, addresses))
    found = resolve_each("jk-modbus+serial:///dev/ttyUSB0", address=text)
    assert [each.query["address"] for each in found] == list(map(str, addresses))
    with pytest.raises(TargetError, match=rf"means {len(addresses)} packs.*write address="):
        resolve(target)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("4-1", "lower one first"),
        ("1-256", "up to 255"),
        ("1-3,2", "twice"),
        ("0-200", "64 are the most"),
        ("1-", "not a number"),
        ("1--3", "not a number"),
        ("300", "not 0 to 255"),
    ],
)
def test_what_is_no_range(cli: Cli, text: str, why: str) -> None:
    cli("read", f"sim://jk-modbus?address={text}").failed(2, why)
    assert cli("read", "sim://jk-modbus", "--address", text).code == 2


def test_commands_for_several_packs_take_a_range(cli: Cli, tmp_path: Path) -> None:
    found = sorted(cli("read", "rack", "--json").objects, key=lambda each: each["name"])
    assert [each["name"] for each in found] == ["rack 1", "rack 2", "rack 3"]
    assert [each["target"].partition("address=")[2][0] for each in found] == ["1", "2", "3"]
    found = cli("read", "sim://jk-modbus?gap=0", "--address", "2,4", "--json").objects
    assert {each["target"].partition("address=")[2][0] for each in found} == {"2", "4"}
    assert cli("config", "diff", "sim://jk-modbus?gap=0&address=1-3").code in (0, 5)
    profile = tmp_path / "house.toml"
    profile.write_text("[settings]\ncell_ovp = 3.6\n")
    plans = cli("config", "plan", str(profile), "rack", "--json").objects
    assert [each["name"] for each in plans] == ["rack 1", "rack 2", "rack 3"]


@pytest.mark.parametrize(
    "words",
    [
        ("info", "rack"),
        ("settings", "show", "rack"),
        ("settings", "set", "rack", "cell_ovp=3.6"),
        ("switch", "rack", "charge", "off", "--yes"),
        ("config", "backup", "rack"),
        ("config", "verify", "rack"),
        ("capture", "rack", "-o", "never.jsonl"),
    ],
)
def test_a_command_for_one_pack_refuses_a_range(cli: Cli, words: tuple[str, ...]) -> None:
    cli(*words).failed(2, "rack means 3 packs", "this command takes one", "address=1")


def test_people_read_local_time_and_programs_utc(cli: Cli) -> None:
    assert cli("settings", "set", "van", "cell_ovp=3.6", "--yes").code == 0
    begun = next(r for r in cli("config", "journal", "--json").objects if r["event"] == "begin")
    assert begun["time"].endswith(("Z", "+00:00"))
    shown = cli("config", "journal").out.splitlines()[0]
    assert shown.startswith(local(begun["time"]))
    assert "+0530" in shown
    assert "+0530" in cli("config", "verify", "van").out
    assert "+0530" in cli("read", "van").out
    (reading,) = cli("read", "van", "--json").objects
    assert reading["time"].endswith("Z")
    assert json.dumps(reading)


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("2026-01-02T03:04:05+00:00", "2026-01-02 08:34:05 +0530"),
        ("2026-01-02T23:04:05.123Z", "2026-01-03 04:34:05 +0530"),
        ("2026-01-02T03:04:05", "2026-01-02 08:34:05 +0530"),
        ("9999-12-31T23:59:59+00:00", "an unknown time"),
        (None, "an unknown time"),
        ("yesterday", "an unknown time"),
    ],
)
def test_a_recorded_time(cli: Cli, written: object, shown: str) -> None:
    assert local(written) == shown
