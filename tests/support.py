"""Helpers for the tests: virtual time, and where the captures are."""

from __future__ import annotations

from pathlib import Path

from virtual_time import VirtualLoop, virtual_run

__all__ = ["FIXTURES", "VirtualLoop", "virtual_run"]

FIXTURES = Path(__file__).parent / "fixtures"
