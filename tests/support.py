"""Helpers for the tests: virtual time, and where the captures are."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

from virtual_time import VirtualLoop, virtual_run

__all__ = ["FIXTURES", "ROOT", "TESTS", "WHOLE_SWEEP", "VirtualLoop", "part", "virtual_run"]

TESTS = Path(__file__).parent
ROOT = TESTS.parent
FIXTURES = TESTS / "fixtures"

WHOLE_SWEEP = os.environ.get("BMSLINK_WHOLE_SWEEP") == "1"
"""Sweeps take every case instead of every kind of case and a seeded sample; takes minutes more."""

_Case = TypeVar("_Case")


def part(cases: Iterable[_Case], every: int, first: int = 0) -> list[_Case]:
    """Every so many-th case of a sweep, from `first` on; all of them in `make soak`. For cases that
    prove one mechanism again and again."""
    return list(cases) if WHOLE_SWEEP else list(cases)[first % every :: every]
