"""Helpers for the tests: virtual time, and where the captures are."""

from __future__ import annotations

import os
from pathlib import Path

from virtual_time import VirtualLoop, virtual_run

__all__ = ["FIXTURES", "ROOT", "TESTS", "WHOLE_SWEEP", "VirtualLoop", "virtual_run"]

TESTS = Path(__file__).parent
ROOT = TESTS.parent
FIXTURES = TESTS / "fixtures"

WHOLE_SWEEP = os.environ.get("BMSLINK_WHOLE_SWEEP") == "1"
"""Sweeps take every case instead of every kind of case and a seeded sample; takes minutes more."""
