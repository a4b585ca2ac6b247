"""`docs/configuration.md` says what the maps and the program say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import settings_table
from bmslink.config import WAIVERS
from bmslink.config.files.profile import parse_profile
from config_faults import combinations
from support import ROOT

TEXT = settings_table.PAGE.read_text(encoding="utf-8")


def test_the_evidence_is_that_of_the_maps() -> None:
    assert settings_table.main(["--check"]) == 0, "run: python tools/settings_table.py"


def test_every_waiver_is_explained_and_none_is_made_up() -> None:
    checks = TEXT.partition("## Checks")[2].partition("\n## ")[0]
    last = [row.rsplit("|", 2)[1] for row in re.findall(r"^\|.*\|$", checks, re.MULTILINE)][2:]
    told = {name for cell in last for name in re.findall(r"`(?:--)?([a-z]+)`", cell)}
    assert told == set(WAIVERS)


def test_it_says_how_many_faults_are_tried() -> None:
    told = re.search(r"(\d+) combinations of fault, protocol and write", TEXT)
    assert told
    assert int(told[1]) == len(combinations()) == len(set(combinations()))


def test_its_profile_is_one() -> None:
    profiles = [b for b in re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL) if "[settings]" in b]
    assert len(profiles) == 1
    assert parse_profile(profiles[0]).settings


@pytest.mark.parametrize("page", [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))])
def test_no_table_is_cut_in_two(page: Path) -> None:
    """A row behind a blank line is no row of the table above it."""
    lines = ["", *page.read_text(encoding="utf-8").splitlines(), ""]
    for number, (above, line, below) in enumerate(
        zip(lines, lines[1:], lines[2:], strict=False), 1
    ):
        if line.startswith("|") and not above.startswith("|"):
            assert re.match(r"\|[ :-]*-", below), f"line {number}: {line[:60]}"
