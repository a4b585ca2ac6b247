"""docs/control.md says what the code says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import control_table
from bmslink.control.decide.catalogue import CATALOGUE
from bmslink.control.files import parse_policies

TEXT = control_table.PAGE.read_text()


def test_the_tables_are_made_from_the_code() -> None:
    assert control_table.made(TEXT) == TEXT, "run tools/control_table.py"


def test_every_policy_of_every_chemistry_is_in_the_table() -> None:
    for rows in CATALOGUE.values():
        for name in rows:
            assert f"| `{name}` |" in TEXT


def test_the_number_of_policies_is_right() -> None:
    told = re.search(r"(\d+) rows", TEXT)
    assert told is not None
    assert int(told[1]) == len({name for rows in CATALOGUE.values() for name in rows})


def test_the_policy_file_of_the_page_can_be_read() -> None:
    (block,) = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)
    policies = parse_policies(block, Path("docs/control.md"))
    assert policies.thresholds["charge_ut_trip"] == 2


def test_the_python_of_the_page_is_python() -> None:
    (block,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    compile(block, "docs/control.md", "exec")


def test_a_stale_page_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    page = tmp_path / "control.md"
    page.write_text(TEXT.replace("`ov_trip`", "`ov_trap`"))
    monkeypatch.setattr(control_table, "PAGE", page)
    assert control_table.main(["--check"]) == 1
    assert "control_table.py" in capsys.readouterr().out
    assert control_table.main([]) == 0
    assert page.read_text() == TEXT
    assert control_table.main(["--check"]) == 0
