"""Journals of 0.1.0, whose records have no check: read, shown, and never acted on by themselves."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import bmslink
from bmslink.config import cut_off_change, draft, resume
from bmslink.errors import GateError
from bmslink.storage.journal import Journal
from cli_support import Cli
from support import FIXTURES

OLD = FIXTURES / "old" / "0.1.0" / "journal"
JBD = "sim://jbd?gap=0&cells=16&load=idle&seed=1"
NAMES = ("finished", "rolled-back", "switch", "open", "open-serial-number", "switch-open")


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    return Cli(capsys)


def copy_of(name: str, folder: Path) -> Journal:
    shutil.copytree(OLD / name, folder / "journal")
    return Journal(folder / "journal")


@pytest.mark.parametrize("name", NAMES)
def test_each_is_shown_and_says_what_is_open(name: str, tmp_path: Path, cli: Cli) -> None:
    journal = copy_of(name, tmp_path)
    count = sum(path.read_bytes().count(b"\n") for path in journal.folder.glob("*.jsonl"))
    assert len(list(journal.records())) == count
    assert {line.state for line in journal.lines()} == {"old"}
    assert bool(journal.unfinished()) is ("open" in name)
    assert ("cut off" in cli("config", "journal").out) is ("open" in name)


@pytest.mark.parametrize(("name", "target"), [("open", JBD), ("switch-open", JBD)])
async def test_an_open_change_among_them_waits_for_a_person(
    name: str, target: str, tmp_path: Path
) -> None:
    journal = copy_of(name, tmp_path)

    async with bmslink.connect(target).board as device:
        before = (await device.settings()).image
        found = await cut_off_change(device, journal)
        assert found is not None
        assert (found.old, found.damage, found.elsewhere) == (True, "", "")
        plan = await draft(device, {"cell_ovp": 3.6}, journal=journal)
        assert [check.name for check in plan.blocked] == ["unfinished"]
        for rollback in (False, True):
            with pytest.raises(GateError, match=r"earlier version.*--show"):
                await resume(device, rollback=rollback, journal=journal)
        assert (await device.settings()).image == before
        ended = await resume(device, agreed=True, journal=journal)
        assert ended.result == ("done" if name != "switch-open" else "unproven")
    assert not journal.unfinished()
    assert {line.state for line in journal.lines()} == {"old", "sound"}


async def test_it_can_be_given_up_without_being_agreed_to(tmp_path: Path) -> None:
    journal = copy_of("open", tmp_path)

    async with bmslink.connect(JBD).board as device:
        assert (await resume(device, keep=True, journal=journal)).result == "kept"
    assert not journal.unfinished()


def test_from_the_command_line_it_is_shown_and_then_agreed_to(tmp_path: Path, cli: Cli) -> None:
    copy_of("open", tmp_path)
    shown = cli("config", "resume", JBD, "--show")
    assert (shown.code, "earlier version" in shown.out) == (5, True)
    assert "cell_ovp 3.65 V > 3.6 V, now 3.65 V" in shown.out
    assert "write slot 24 0e10" in shown.out
    told = cli("config", "resume", JBD, "--show", "--json")
    assert (told.code, told.objects[0]["open_change"]["old"]) == (5, True)
    assert cli("config", "resume", JBD).code == 3  # nobody is there to agree
    assert cli("config", "resume", JBD, "--yes", "--rollback").code == 0
    again = cli("config", "resume", JBD, "--show")
    assert (again.code, again.out) == (0, "No change of this pack was cut off.\n")
    cli("config", "resume", JBD, "--show", "--keep").failed(2, "only one of them")
