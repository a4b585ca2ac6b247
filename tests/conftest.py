"""Fixtures shared by all tests."""

from __future__ import annotations

import asyncio
import inspect
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import FIXTURES, virtual_run
from writing_guard import WritingGuard

# A shell without job control starts what it puts in the background with Ctrl-C ignored, and
# programs hand that down: the commands under test would never hear theirs.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """A test that is a coroutine runs in virtual time; marked `real_time`, as the clock goes."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = inspect.signature(pyfuncitem.obj).parameters
    test = pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names})
    if pyfuncitem.get_closest_marker("real_time"):
        asyncio.run(test)
    else:
        virtual_run(test)
    return True


@pytest.fixture(scope="session")
def writing_guard(tmp_path_factory: pytest.TempPathFactory) -> WritingGuard:
    """Watches from the first test on; pytest's own folder holds every `tmp_path`."""
    guard = WritingGuard([tmp_path_factory.getbasetemp()])
    guard.install()
    return guard


@pytest.fixture(autouse=True)
def writes_only_below_tmp_path(writing_guard: WritingGuard) -> Iterator[None]:
    """A test that writes anywhere else fails: it would change the files of whoever runs it."""
    writing_guard.take()
    yield
    assert not (strays := writing_guard.take()), f"written outside tmp_path: {strays}"


@pytest.fixture(autouse=True)
def temporary_files_of_the_test(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What the command itself needs for a moment lies there too."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


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
