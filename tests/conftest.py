"""Fixtures shared by all tests."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from support import FIXTURES

# A shell without job control starts what it puts in the background with Ctrl-C ignored, and
# programs hand that down: the commands under test would never hear theirs.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def no_named_packs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The packs that whoever runs the tests has named must not change them."""
    monkeypatch.setenv("BMSLINK_CONFIG", str(tmp_path / "no-such-folder" / "bmslink.toml"))


@pytest.fixture(autouse=True)
def journal_of_the_test(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test writes into the journal of whoever runs it."""
    monkeypatch.setenv("BMSLINK_JOURNAL", str(tmp_path / "journal"))


@pytest.fixture
def fixtures() -> Path:
    """The folder of captured frames."""
    return FIXTURES
