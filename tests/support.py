"""Helpers for the tests: virtual time, and where the captures are."""

from __future__ import annotations

from pathlib import Path

from virtual_time import VirtualLoop, virtual_run

__all__ = ["FIXTURES", "ROOT", "TESTS", "VirtualLoop", "virtual_run"]

TESTS = Path(__file__).parent
ROOT = TESTS.parent
FIXTURES = TESTS / "fixtures"
