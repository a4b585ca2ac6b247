"""The ordinary lives and faults of `tools/ordinary_life.py`, in small, on the second pack model."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import ordinary_life
from ordinary_life import FAULTS, LIVES, Fault, Life
from support import ROOT, WHOLE_SWEEP

_TRIED = LIVES if WHOLE_SWEEP else LIVES[1::6]
"""A day takes 3 s, and 8 s behind a radio; `tools/ordinary_life.py` is the whole judge."""


@pytest.mark.slow
@pytest.mark.sweep
@pytest.mark.parametrize("life", _TRIED, ids=lambda life: life.name)
def test_a_day_of_an_ordinary_life_stops_nothing(life: Life) -> None:
    found = ordinary_life.live(life, 1.0, seed=5)
    assert found.quiet, found
    assert found.samples == 86400 / life.poll


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_real_fault_opens_the_path(fault: Fault) -> None:
    for seed in (4, 5):  # with a radio that drops out, and without
        outcome = ordinary_life.suffer(fault, seed)
        assert outcome.opened, outcome


def test_a_charger_that_fills_a_shed_in_frost_is_stopped_for_as_long_as_it_freezes() -> None:
    """A judge that stops at nothing judges nothing."""
    frost = Life("frost", ambient=lambda hour: -9.0, charge=(20.0, 3.5), day=lambda world: 0.0)
    assert ordinary_life.live(frost, 0.1, seed=5).stops["charge_undertemperature"] == 1


def test_a_load_just_above_the_rating_does_not_toggle_all_night() -> None:
    """25 changes in 70 minutes, and no end: four trips of the heat take longer than a quarter of an
    hour, so nothing ever locked it out."""
    life = Life("1.1 C", soc=0.97, charge=(0.0, 3.4), day=lambda world: 1.1 * world.pack.capacity)
    found = ordinary_life.live(life, 2 / 24, seed=5)
    assert +found.opened == {"discharge": 4}
    assert +found.latches == {"discharge_heat": 1}


def test_the_judge_shares_nothing_with_what_it_judges() -> None:
    for path in (ROOT / "src").rglob("*.py"):
        assert "second_pack" not in path.read_text(), path
    tree = ast.parse(Path(ordinary_life.__file__).with_name("second_pack.py").read_text())
    imported = {
        name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (
            [node.module] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
        )
    }
    assert not {name for name in imported if str(name).startswith("bmslink")}
