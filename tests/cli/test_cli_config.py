"""`bmslink config`: an installer's day on simulated packs, and what it refuses."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

import bmslink.cli.asking
import bmslink.config.writer
from bmslink.config.files.backup import load_backup
from bmslink.config.files.profile import parse_profile
from bmslink.storage.journal import Journal
from cli_support import Cli, Result, finish, start
from support import VirtualLoop

JBD = "sim://jbd?gap=0&cells=16&load=idle"
JK = "sim://jk02?cells=16&load=idle"
SILENT = "sim://jbd?gap=0&fault=silent&timeout=0.01"

PROFILE = """\
schema = 1
[settings]
cell_ovp = "3.60 V"
cell_uvp = "2600 mV"
charge_utp = 2
"""


@pytest.fixture
def cli(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> Cli:
    if "packs" not in request.fixturenames:  # all in this process: nothing has to be waited for
        virtual = partial(asyncio.Runner, loop_factory=VirtualLoop)
        monkeypatch.setattr(asyncio, "Runner", virtual)
    monkeypatch.delenv("BMSLINK_TARGET", raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(bmslink.config.writer, "_REST", 0.01)
    (tmp_path / "p.toml").write_text(PROFILE)
    return Cli(capsys)


@pytest.fixture
def packs() -> Iterator[list[str]]:
    """Two packs that remember what was written to them."""
    running = [
        start("simulate", "jbd", "--tcp", "127.0.0.1:0", "--cells", "16", "--load", "idle")
        for _ in range(2)
    ]
    try:
        yield [f"{process.stdout.readline().split()[1]}?gap=0" for process in running]
    finally:
        for process in running:
            process.send_signal(signal.SIGTERM)
            finish(process)


def nothing_was_written() -> bool:
    return not list(Journal().records())


def flat(result: Result) -> str:
    return " ".join(result.out.split())


# ----------------------------------------------------------------------------------- presets


def test_presets_are_listed_and_written(cli, tmp_path):
    names = [o["name"] for o in cli("config", "presets", "--json").objects]
    assert "lfp-280" in names
    assert all(name in cli("config", "presets").out for name in names)
    assert 'cell_ovp = "3.65 V"' in cli("config", "presets", "lfp", "--cells", "8").out
    assert cli("config", "presets", "lfp-280", "-o", "new.toml").code == 0
    before = (tmp_path / "new.toml").read_text()
    cli("config", "presets", "nmc", "-o", "new.toml").failed(2, "--force")
    assert (tmp_path / "new.toml").read_text() == before
    assert cli("config", "presets", "nmc", "-o", "new.toml", "--force").code == 0
    cli("config", "presets", "nickel").failed(2, "lfp-280")
    cli("config", "presets", "lfp", "--trace", "t").failed(2, "no pack")


# ------------------------------------------------------------------------------------- plan


def test_a_plan_shows_the_changes_the_checks_and_the_bytes(cli):
    result = cli("config", "plan", "p.toml", JBD)
    assert result.code == 0, result
    assert "3.65 V  >  3.6 V" in result.out
    assert "ok    limits: Every value is within its limits." in result.out
    assert "dd 5a 24 02 0e 10 ff bc 77" in result.out
    assert max(len(line) for line in result.out.splitlines()) <= 80
    assert nothing_was_written()


def test_a_plan_in_json(cli):
    (found,) = cli("config", "plan", "p.toml", JBD, "--json").objects
    assert list(found) == ["schema", "target", "plan"]
    plan = found["plan"]
    assert plan["target"] == found["target"] == "jbd+sim://?gap=0&cells=16&load=idle"
    assert {e["key"] for c in plan["changes"] for e in c["settings"]} == {
        *("cell_ovp", "cell_uvp", "charge_utp")
    }
    assert {"name", "passed", "sentence", "waiver", "waived", "blocks"} == set(plan["checks"][0])
    assert plan["blocked"] == []
    names = {check["waiver"] for check in plan["checks"]} - {""}
    shown = [f"--waive={check['name']}" for check in plan["checks"] if check["waiver"]]
    assert cli("config", "plan", "p.toml", JBD, *shown).code == 0
    assert {"partial", "untested", "chemistry"} <= names


def test_an_unedited_preset_fits_and_the_plan_says_what_is_left_out(cli, tmp_path):
    cli("config", "presets", "lfp", "-o", "preset.toml")
    result = cli("config", "plan", "preset.toml", JK)
    assert result.code == 0
    assert "Left out, jk02-32s has no such setting: discharge_utp, discharge_utp_" in flat(result)


def test_a_preset_is_fitted_to_a_pack(cli):
    eight = "sim://jbd?gap=0&cells=8&load=idle"
    result = cli("config", "presets", "lfp-280", eight)
    assert result.code == 0, result
    assert 'pack_ovp = "28.9 V"' in result.out
    assert "# not 140 A: The board's name says 100 A and 8 cells" in result.out
    assert 'discharge_ocp = "100 A"' in result.out
    assert 'nominal_capacity = "280 Ah"' in result.out
    other = cli("config", "presets", "lfp", JK)
    assert 'nominal_capacity = "100 Ah"' in other.out  # as the board holds it
    assert 'charge_ocp = "50 A"' in other.out
    assert "# Left out, jk02-32s has no such setting: discharge_utp" in other.out
    assert "\npack_ovp" not in other.out
    cli("config", "presets", "lfp", SILENT).failed(1, "")
    cli("config", "presets", "nickel", SILENT).failed(2, "lfp-280")


def test_what_a_pack_lacks_needs_consent_in_a_short_sentence(cli, tmp_path):
    cli("config", "presets", "lfp", "-o", "preset.toml")
    text = (tmp_path / "preset.toml").read_text()
    (tmp_path / "preset.toml").write_text(text.replace("[optional]\n", ""))
    result = cli("config", "plan", "preset.toml", JK)
    assert result.code == 3
    assert "Left out, jk02-32s has no such setting: discharge_utp, discharge_utp_" in flat(result)
    (check,) = [
        c
        for c in cli("config", "plan", "preset.toml", JK, "--json").objects[0]["plan"]["checks"]
        if c["name"] == "supported"
    ]
    assert check["waiver"] == "partial"
    assert len(check["sentence"]) < 160
    assert "--waive partial goes on all the same." in flat(result)
    for name in ("partial", "supported"):  # its waiver, and the name that it is shown with
        assert cli("config", "plan", "preset.toml", JK, "--waive", name).code == 0
    cli("config", "plan", "preset.toml", JK, "--waive", "suported").failed(
        2, "did you mean supported?"
    )
    cli("config", "plan", "preset.toml", JK, "--waive", "map").failed(2, "Nothing waives")


def test_plans_of_several_packs_go_on_past_a_silent_one(cli):
    result = cli("config", "plan", "p.toml", SILENT, JK, "--json")
    assert result.code == 1
    failed, planned = result.objects
    assert list(failed) == ["schema", "target", "error"]
    assert planned["plan"]["changes"]


def test_plans_of_several_packs_end_with_the_worst_exit_code(cli, tmp_path):
    (tmp_path / "hot.toml").write_text("[settings]\ncell_ovp = 9.9\n")
    result = cli("config", "plan", "hot.toml", JBD, JK, "--json")
    assert result.code == 3
    assert [list(each)[-1] for each in result.objects] == ["plan", "error"] * 2


def test_a_profile_is_one_json_object(cli):
    (made,) = cli("config", "presets", "lfp", "--json").objects
    assert parse_profile(made["profile"]).chemistry == "lfp"
    (kept,) = cli("config", "export", JBD, "--json").objects
    assert kept["target"].startswith("jbd+sim://")
    assert parse_profile(kept["profile"]).settings


def test_what_is_left_out_is_said_once(cli, tmp_path):
    (tmp_path / "some.toml").write_text(
        "[settings]\ncell_ovp = 3.65\n[optional]\njk_heating = false\n"
    )
    for targets in ((JBD,), (JBD, f"{JBD}&seed=2")):
        result = cli("config", "apply", "some.toml", *targets, "--yes")
        assert result.code == 0
        assert flat(result).count("jk_heating") == len(targets)
        (first, *_) = cli("config", "apply", "some.toml", *targets, "--yes", "--json").objects
        assert "jk_heating was left out" in first["outcome"]["notes"][0]


def test_nothing_to_change_is_said(cli, tmp_path):
    (tmp_path / "same.toml").write_text("[settings]\ncell_ovp = 3.65\n")
    result = cli("config", "plan", "same.toml", JBD)
    assert result.code == 0
    assert "Nothing would change." in result.out
    assert cli("config", "apply", "same.toml", JBD).code == 0  # nothing to agree to
    assert nothing_was_written()


# ------------------------------------------------------------------------------ hostile files

HOSTILE = {
    "not a number": b"[settings]\ncell_ovp = nan\n",
    "infinite": b"[settings]\ncell_ovp = inf\n",
    "huge": b"[settings]\ncell_ovp = " + b"9" * 400 + b"\n",
    "too large": b"#" * (2 << 20),
    "wrong type": b"[settings]\ncell_ovp = true\n",
    "wrong kind": b'[settings]\ncell_ovp = "high"\n',
    "wrong unit": b'[settings]\ncell_ovp = "3.6 A"\n',
    "no unit": b'[settings]\ncell_ovp = "3.6 volts"\n',
    "wrong key": b"[settings]\ncell_opv = 3.6\n",
    "no key": b'[settings]\n"../../x" = 3.6\n',
    "twice": b"[settings]\ncell_ovp = 3.6\ncell_ovp = 3.5\n",
    "outside": b"[settings]\ncell_ovp = 9.9\n",
    "below its release": b"[settings]\ncell_ovp = 2.6\n",
    "no UTF-8": b"[settings]\ncell_ovp = 3.6 # \xff\n",
    "cut off": b"[settings]\ncell_ovp = 3.",
    "deep": b"[settings]\nx = " + b"[" * 100_000,
    "JSON": b'{"kind": "bmslink-backup"}',
    "binary": bytes(range(256)),
    "one wrong among good ones": b"[settings]\ncell_ovp = 3.6\ncell_uvp = 0.1\n",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_profile_changes_nothing(cli, tmp_path, name):
    (tmp_path / "bad.toml").write_bytes(HOSTILE[name])
    result = cli("config", "apply", "bad.toml", JBD, "--yes")
    assert result.code in (2, 3), result
    assert "Internal error" not in result.err
    assert nothing_was_written()


def backup_of(tmp_path: Path, **changes: object) -> str:
    """A backup with other contents and, cleverly, a right checksum."""
    from bmslink.config.files.backup import _checksum

    fields = json.loads((tmp_path / "b.json").read_text()) | changes
    fields["sha256"] = _checksum(fields)
    (tmp_path / "forged.json").write_text(json.dumps(fields))
    return "forged.json"


def test_a_forged_backup_changes_nothing(cli, tmp_path):
    assert cli("config", "backup", JBD, "-o", "b.json").code == 0
    slots = load_backup(tmp_path / "b.json").slots
    for forged in (
        {"map": "jk02-32s"},
        {"firmware": "9.9"},
        {"model": "JBD-OTHER"},
        {"serial_number": "1234"},
        {"slots": {**slots, "0024": "0e"}},
        {"slots": {**slots, "0024": "0e10ff"}},
        {"slots": {**slots, "0024": "0001"}, "firmware": "9.9"},
    ):
        result = cli("config", "restore", backup_of(tmp_path, **forged), JBD, "--yes")
        assert result.code in (2, 3), (forged, result)
        assert nothing_was_written()


def test_a_backup_may_not_break_the_rules_either(cli, tmp_path):
    """Raw bytes pass the same checks: an over-voltage limit of 0.001 V is refused."""
    assert cli("config", "backup", JBD, "-o", "b.json").code == 0
    slots = load_backup(tmp_path / "b.json").slots
    key = next(at for at in slots if int(at, 16) == 0x24)
    forged = backup_of(tmp_path, slots={**slots, key: "0001"})
    result = cli("config", "restore", forged, JBD, "--yes")
    assert result.code == 3, result
    assert nothing_was_written()


def test_a_backup_of_another_board_needs_clone(cli, tmp_path):
    assert cli("config", "backup", JK, "-o", "b.json").code == 0
    other = backup_of(tmp_path, serial_number="1234")
    refused = cli("config", "restore", other, JK, "--yes")
    assert (refused.code, "--clone goes on" in refused.out) == (3, True), refused
    assert cli("config", "restore", other, JK, "--yes", "--clone").code == 0
    refused = cli("config", "restore", other, JBD, "--yes", "--clone")
    assert (refused.code, "jk02-32s" in refused.out) == (3, True), refused


# ----------------------------------------------------------------------------- the whole day


@pytest.mark.slow
def test_an_installers_day(cli, packs, tmp_path):
    one, two = packs
    assert cli("config", "backup", one, "-o", "before.json").code == 0

    declined = cli("config", "apply", "p.toml", one)
    assert declined.code == 3
    assert "--yes" in declined.err
    assert cli("config", "apply", "p.toml", one, "--dry-run").code == 0
    assert nothing_was_written()

    done = cli("config", "apply", "p.toml", one, two, "--yes")
    assert done.code == 0, done
    assert done.out.count("3 settings written, and the whole table read back.") == 2

    same = cli("config", "diff", "p.toml", one, two)
    assert (same.code, same.out) == (0, "")
    drift = cli("config", "diff", "before.json", one, two, "--json")
    assert drift.code == 5
    values = {o["key"]: o["values"] for o in drift.objects}
    assert set(values) == {"cell_uvp", "cell_ovp", "charge_utp"}
    assert values["cell_ovp"] == {"before.json": 3.65, one: 3.6, two: 3.6}

    back = cli("config", "restore", "before.json", one, "--yes")
    assert back.code == 0, back
    assert cli("config", "diff", "before.json", one).code == 0
    shown = cli("config", "diff", one, two)
    assert shown.code == 5
    assert f"[1] {one}" in shown.out
    assert "3.65 V" in shown.out

    assert cli("config", "export", two, "-o", "two.toml").code == 0
    assert cli("config", "diff", "two.toml", two).code == 0

    told = cli("config", "journal", one).out
    assert "cell_ovp 3.65 V > 3.6 V" in told
    assert "cell_ovp 3.6 V > 3.65 V" in told
    assert two.partition("//")[2].partition("?")[0] not in told
    events = [o["event"] for o in cli("config", "journal", two, "--json").objects]
    assert events[0] == "begin"
    assert events[-1] == "end"
    assert cli("config", "journal").out.count("done") == 3


@pytest.mark.slow
def test_undo_and_what_somebody_else_changed_since(cli, packs, tmp_path, monkeypatch):
    one, two = packs
    assert cli("settings", "set", one, "cell_ovp=3.6", "charge_utp=2", "--yes").code == 0
    declined = cli("config", "undo", one)
    assert declined.code == 3
    assert "(settings set)." in declined.out
    dry = cli("config", "undo", one, "--dry-run")
    assert dry.code == 0
    assert "Undoes the change of 2" in dry.out
    assert "3.6 V  >  3.65 V" in dry.out
    assert "dd 5a 24 02 0e 42 ff 8a 77" in dry.out
    assert max(len(line) for line in dry.out.splitlines()) <= 80
    twin = cli("config", "undo", two, "--yes")  # it has no serial number either
    assert twin.code == 3
    assert "--waive place goes on all the same." in flat(twin)
    answers = ["y"]
    asked = []

    async def answer(question: str) -> str:
        asked.append(question)
        return answers.pop(0)

    with monkeypatch.context() as at_a_terminal:
        at_a_terminal.setattr(bmslink.cli.asking, "can_ask", lambda: True)
        at_a_terminal.setattr(bmslink.cli.asking, "answer", answer)
        none = cli("config", "undo", two)
    assert (none.code, "nothing is left to be set back" in none.out) == (0, True)
    assert "Is it the same board?" in asked[0]
    assert not asked[1:]  # it holds what was before

    with monkeypatch.context() as somebody_else:
        somebody_else.setenv("BMSLINK_JOURNAL", str(tmp_path / "phone"))
        assert cli("settings", "set", one, "cell_ovp=3.62", "--yes").code == 0
    refused = cli("config", "undo", one, "--yes")
    assert refused.code == 3
    told = flat(refused)
    assert "cell_ovp is 3.62 V (before the change 3.65 V, written 3.6 V)" in told
    assert "--keep-changed leaves that as it is. --overwrite goes on all the same." in told
    kept = cli("config", "undo", one, "--keep-changed", "--yes", "--json")
    assert kept.code == 0
    (found,) = kept.objects
    assert found["outcome"]["stands"] == {"charge_utp": 0.0}
    assert cli("config", "undo", one, "--yes").code == 0  # a redo
    assert cli("settings", "get", one, "cell_ovp", "charge_utp").out == (
        "cell_ovp=3.62\ncharge_utp=2\n"
    )
    plan = cli("config", "undo", one, "--dry-run", "--json").objects[0]["plan"]
    assert plan["undoes"]["command"] == "config undo"
    assert plan["undoes"]["since"] == []


@pytest.mark.slow
def test_undo_over_what_somebody_else_changed(cli, packs, tmp_path, monkeypatch):
    one, _two = packs
    assert cli("config", "apply", "p.toml", one, "--yes").code == 0
    with monkeypatch.context() as somebody_else:
        somebody_else.setenv("BMSLINK_JOURNAL", str(tmp_path / "phone"))
        assert cli("settings", "set", one, "cell_ovp=3.62", "--yes").code == 0
    assert cli("config", "undo", one, "--overwrite", "--yes").code == 0
    assert cli("settings", "get", one, "cell_ovp").out == "3.65\n"
    assert "waived: unchanged" in cli("config", "journal", one).out
    assert cli("config", "undo", one, "--yes").code == 0
    assert cli("settings", "get", one, "cell_ovp").out == "3.62\n"


def cut_off(one: str, *, after: int) -> None:
    """`config apply` in a process of its own, killed after so many writes."""
    process = start("config", "apply", "p.toml", one, "--yes")
    deadline = time.monotonic() + 20
    while sum(r["event"] == "write" for r in Journal().records()) < after:
        assert process.poll() is None, finish(process)
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.kill()
    finish(process)


@pytest.mark.slow
@pytest.mark.parametrize(("option", "value"), [((), 3.6), (("--rollback",), 3.65)])
def test_after_the_plug_was_pulled(cli, packs, option, value):
    one, two = packs
    cut_off(one, after=1)
    assert "cut off" in cli("config", "journal", one).out
    refused = cli("settings", "set", one, "cell_ovp=3.55", "--yes")
    assert refused.code == 3
    assert f"config resume {one}" in " ".join((refused.out + refused.err).split())
    assert cli("settings", "set", two, "cell_ovp=3.55", "--yes").code == 0  # another pack is free
    assert cli("config", "resume", one, *option).code == 3  # nobody agreed
    ended = cli("config", "resume", one, *option, "--yes")
    assert ended.code == 0, ended
    assert cli("settings", "get", one, "cell_ovp").out == f"{value}\n"
    assert cli("config", "resume", one, "--yes").out == "No change of this pack was cut off.\n"


@pytest.mark.slow
def test_a_resumed_change_keeps_its_waivers(cli, packs, tmp_path):
    """What was waived when it began need not be waived again to finish it."""
    (tmp_path / "p.toml").write_text("[settings]\ncell_ovp = 3.6\ncell_ovp_warning = 3.5\n")
    one, _two = packs
    process = start("config", "apply", "p.toml", one, "--yes", "--waive", "partial")
    deadline = time.monotonic() + 20
    while not any(r["event"] == "write" for r in Journal().records()):
        assert process.poll() is None, finish(process)
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.kill()
    finish(process)
    ended = cli("config", "resume", one, "--yes")
    assert ended.code == 0, ended
    assert cli("settings", "get", one, "cell_ovp").out == "3.6\n"


@pytest.mark.slow
def test_giving_up_sends_nothing(cli, packs):
    cut_off(packs[0], after=1)
    kept = cli("config", "resume", packs[0], "--keep", "--yes", "--json")
    assert kept.code == 0
    assert kept.objects[0]["outcome"]["result"] == "kept"
    assert cli("settings", "set", packs[0], "cell_ovp=3.55", "--yes").code == 0
    cli("config", "resume", packs[0], "--keep", "--rollback").failed(2, "only one of them")


# ------------------------------------------------------------------------- options and usage


def test_the_target_may_come_from_the_environment(cli, monkeypatch):
    monkeypatch.setenv("BMSLINK_TARGET", JBD)
    assert cli("config", "plan", "p.toml").code == 0
    assert cli("config", "diff", "p.toml").code == 5
    assert cli("config", "export").code == 0
    assert cli("config", "backup").code == 0
    assert cli("config", "resume").code == 0


def test_a_trace_records_what_was_sent(cli, tmp_path):
    trace = tmp_path / "trace.jsonl"
    assert cli("config", "apply", "p.toml", JBD, "--yes", "--trace", str(trace)).code == 0
    assert "dd5a24020e10ffbc77" in trace.read_text()
    cli("config", "diff", JBD, JK, "--trace", "t").failed(2, "--trace")
    cli("config", "diff", "p.toml", "q.toml", "--trace", "t").failed(2, "q.toml")
    cli("config", "journal", "--trace", "t").failed(2, "no pack")


def test_wrong_usage(cli):
    cli("config", "diff", "p.toml").failed(2, "Which pack?")
    cli("config", "diff", JBD, JBD).failed(2, "twice")
    cli("config", "diff", "none.toml", JBD).failed(2, "none.toml")
    assert cli("config", "plan", "none.toml", JBD).code == 2
    assert cli("config").code == 2
    assert cli("config", "aply").code == 2


def test_an_empty_journal_says_where_it_is(cli, tmp_path):
    result = cli("config", "journal")
    assert (result.code, result.out) == (0, "")
    assert str(tmp_path / "journal") in result.err


def test_a_journal_with_damaged_lines_is_shown(cli, tmp_path):
    folder = tmp_path / "journal"
    folder.mkdir()
    begin = {"event": "begin", "id": "x", "changes": [5, {"settings": [7, {}]}], "pack": []}
    lines = [
        "{",
        "[]",
        '"x"',
        json.dumps(begin),
        json.dumps({"event": "begin", "id": 5}),
        "\x1b[2J",
    ]
    (folder / "2026-01.jsonl").write_text("\n".join(lines))
    result = cli("config", "journal")
    assert result.code == 0
    assert "cut off" in result.out
