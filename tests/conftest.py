"""Fixtures shared by all tests."""

from __future__ import annotations

import asyncio
import inspect
import itertools
import os
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

_NUMBERS = itertools.count()


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


@pytest.fixture(scope="session", autouse=True)
def nobody_pulls_the_plug(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Nothing waits for the disk in this process; commands in processes of their own do."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda handle: None)
        # what the command itself needs for a moment
        patch.setattr(tempfile, "tempdir", str(tmp_path_factory.mktemp("temporary")))
        yield tmp_path_factory.mktemp("homes")


@pytest.fixture(autouse=True)
def home_of_the_test(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, nobody_pulls_the_plug: Path
) -> None:
    """The packs that whoever runs the tests has named must not change them, and no test writes into
    his journal. Only a test that asks for a folder gets one made."""
    if "tmp_path" in request.fixturenames:
        home: Path = request.getfixturevalue("tmp_path")
        monkeypatch.setattr(tempfile, "tempdir", str(home))
    else:
        home = nobody_pulls_the_plug / str(next(_NUMBERS))
    monkeypatch.setenv("BMSLINK_CONFIG", str(home / "no-such-folder" / "bmslink.toml"))
    monkeypatch.setenv("BMSLINK_JOURNAL", str(home / "journal"))


@pytest.fixture
def fixtures() -> Path:
    """The folder of captured frames."""
    return FIXTURES
