"""Helpers for the tests: virtual time, and where the captures are."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from virtual_time import VirtualLoop, virtual_run

__all__ = [
    "FIXTURES", "ROOT", "TESTS", "WHOLE_SWEEP", "VirtualLoop", "about", "part", "virtual_run",
]  # fmt: skip

TESTS = Path(__file__).parent
ROOT = TESTS.parent
FIXTURES = TESTS / "fixtures"

WHOLE_SWEEP = os.environ.get("BMSLINK_WHOLE_SWEEP") == "1"
"""Sweeps take every case instead of every kind of case and a seeded sample; takes minutes more."""

_Case = TypeVar("_Case")


@contextmanager
def about(capture: Path) -> Iterator[None]:
    """What fails in there says with which capture: a test for each of them costs more than what it
    tests."""
    try:
        yield
    except BaseException as error:
        error.add_note(f"in the capture {capture.parent.name}/{capture.stem}")
        raise


def part(cases: Iterable[_Case], every: int, first: int = 0) -> list[_Case]:
    """Every so many-th case of a sweep, from `first` on; all of them in `make soak`. For cases that
    prove one mechanism again and again."""
    return list(cases) if WHOLE_SWEEP else list(cases)[first % every :: every]
