"""Every dialect x quirk x command, judged by the board itself. See `hostile.matrix`."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

import pytest

import hostile_matrix
from hostile.bench import hurried
from hostile.judge import judge
from hostile.matrix import DIALECTS, QUIRKS, Cell, cells, open_cells, quick_part
from hostile.world import World
from support import WHOLE_SWEEP

pytestmark = pytest.mark.slow

ROWS = [
    (dialect, quirk, list(row))
    for (dialect, quirk), row in groupby(
        cells() if WHOLE_SWEEP else quick_part(), lambda cell: (cell.dialect, cell.quirk)
    )
]
OPEN = open_cells()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with hurried():
        yield World(tmp_path_factory.mktemp("hostile"))


@pytest.mark.sweep
@pytest.mark.parametrize(
    "row", [row for _, _, row in ROWS], ids=[f"{dialect}-{quirk}" for dialect, quirk, _ in ROWS]
)
def test_what_is_said_is_what_the_board_holds(world: World, row: list[Cell]) -> None:
    new, mended = [], []
    for cell in row:
        outcome = world.run(cell)
        found = judge(outcome)
        if found and str(cell) not in OPEN:
            said = outcome.result.said[-600:]
            new.append(f"{cell}: exit {outcome.result.code}: {'; '.join(found)}\n  said: {said}")
        if not found and str(cell) in OPEN:
            mended.append(str(cell))
    assert not new, "\n".join(new)
    assert not mended, "take them out of tests/hostile/open_cells.txt"


def test_open_cells_are_cells() -> None:
    assert {str(cell) for cell in cells()} >= OPEN


def test_the_part_meets_every_pair_of_quirk_command_and_dialect() -> None:
    """Of a quirk and a command it is the kind of quirk: `make soak` takes every cell."""
    part = list(quick_part())
    assert len(part) < len(list(cells())) * 0.2
    for pair in (
        lambda cell: (QUIRKS[cell.quirk].kind, cell.command),
        lambda cell: (cell.dialect, cell.command),
        lambda cell: (cell.dialect, cell.quirk),
    ):
        assert {*map(pair, part)} == {*map(pair, cells())}


def test_the_page_counts_the_matrix() -> None:
    assert hostile_matrix.main(["--check"]) == 0, "run: python tools/hostile_matrix.py"


@pytest.mark.parametrize("back", [False, True], ids=["on", "back"])
@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_killed_change_is_ended(world: World, dialect: str, back: bool) -> None:
    assert not world.kill(dialect, 3 if back else 2, back=back)
