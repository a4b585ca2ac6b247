"""Fixtures shared by all tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from support import FIXTURES


@pytest.fixture(autouse=True)
def no_named_packs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The packs that whoever runs the tests has named must not change them."""
    monkeypatch.setenv("BMSLINK_CONFIG", str(tmp_path / "no-such-folder" / "bmslink.toml"))


@pytest.fixture
def fixtures() -> Path:
    """The folder of captured frames."""
    return FIXTURES
