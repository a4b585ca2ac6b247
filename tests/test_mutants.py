"""The list of mutants fits the code, and each is found by what it changes."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from mutants import ROOT, Index, Lost, Mutant, check, load

CODE = """
LIMIT = 3


class Gate:
    def passes(self) -> bool:
        if not self.open:
            return False
        return True


def passes() -> bool:
    if not open:
        return False
    if not open:
        return True
    return LIMIT
"""


@pytest.fixture(scope="module")
def index() -> Index:
    return Index.of(ROOT)


def test_each_is_found_once_and_so_are_its_tests(index: Index) -> None:
    assert check(load(), index) == []


def test_there_are_sixty_and_none_twice(index: Index) -> None:
    mutants = load()
    assert len(mutants) == len(set(mutants)) == 60
    assert all(mutant.tests for mutant in mutants)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    package = tmp_path / "src" / "bmslink" / "deep"
    package.mkdir(parents=True)
    (package / "gate.py").write_text(CODE)
    (tmp_path / "tests" / "unit").mkdir(parents=True)
    (tmp_path / "tests" / "unit" / "test_gate.py").write_text("def test_it() -> None: ...\n")
    return tmp_path


@pytest.mark.parametrize(
    ("where", "line", "nth", "found"),
    [
        ("", "LIMIT = 3", 0, 2),
        ("Gate.passes", "if not self.open:", 0, 7),
        ("passes", "if not open:", 2, 15),
        ("passes", "if not open:", 0, "2 times"),
        ("passes", "if not open:", 3, "only 2 times"),
        ("passes", "if not self.open:", 0, "in 0 files"),
        ("Gate", "return True", 0, "in 0 files"),
    ],
)
def test_wherever_it_is_it_is_found_by_its_function_and_line(
    where: str, line: str, nth: int, found: int | str, tree: Path
) -> None:
    mutant = Mutant(where=where, line=line, nth=nth, instead="pass", tests=("test_it",))
    index = Index.of(tree)
    assert index.judges(mutant) == ["tests/unit/test_gate.py::test_it"]
    assert index.judges(dataclasses.replace(mutant, tests=("test_gate.py",))) == [
        "tests/unit/test_gate.py"
    ]
    if isinstance(found, int):
        assert index.place(mutant) == (Path("src/bmslink/deep/gate.py"), found - 1)
        assert check([mutant], index) == []
        return
    with pytest.raises(Lost, match=found):
        index.place(mutant)
    assert len(check([mutant], index)) == 1


def test_in_two_files_it_is_not_found_and_neither_is_a_test_that_is_gone(tree: Path) -> None:
    (tree / "src" / "bmslink" / "other.py").write_text(CODE)
    index = Index.of(tree)
    mutant = Mutant(where="", line="LIMIT = 3", instead="LIMIT = 4", tests=("test_gone",))
    with pytest.raises(Lost, match="in 2 files"):
        index.place(mutant)
    with pytest.raises(Lost, match="no test test_gone"):
        index.judges(mutant)
