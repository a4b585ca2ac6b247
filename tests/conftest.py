"""Fixtures shared by all tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from support import FIXTURES


@pytest.fixture
def fixtures() -> Path:
    """The folder of captured frames."""
    return FIXTURES
