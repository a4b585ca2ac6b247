"""Fixtures shared by all tests."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import importlib
import inspect
import itertools
import logging
import os
import pkgutil
import signal
import sys
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
from coverage import Coverage
from hypothesis import HealthCheck, is_hypothesis_test, settings
from typer.models import CommandInfo

import counterparts
from bmslink import protocols
from bmslink.cli import app
from support import FIXTURES, TESTS, WHOLE_SWEEP, virtual_run
from writing_guard import WritingGuard

# A shell without job control starts what it puts in the background with Ctrl-C ignored, and
# programs hand that down: the commands under test would never hear theirs.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
# So does `nohup` with the signal of a lost terminal.
if sys.platform != "win32" and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

_NUMBERS = itertools.count()
uncounted: list[str] = ["collected"]
"""What was not counted since the functions of the protocols forgot their results."""

THOROUGH = {
    "test_4000_cycles.py",
    "test_acting_proofs.py",
    "test_acting_run.py",
    "test_acting_service.py",
    "test_balance_service.py",
    "test_balance_session.py",
    "test_balancing.py",
    "test_bank_worlds.py",
    "test_banks_served.py",
    "test_charge_and_discharge_control.py",
    "test_cli_control_try.py",
    "test_cli_monitor.py",
    "test_cli_simulate.py",
    "test_clients.py",
    "test_config_resume.py",
    "test_config_undo.py",
    "test_control_backtest.py",
    "test_control_properties.py",
    "test_explore_acting.py",
    "test_gatt.py",
    "test_hostile_text.py",
    "test_lives.py",
    "test_mutants.py",
    "test_old_files.py",
    "test_open_changes.py",
    "test_ordinary_life.py",
    "test_overload_and_short_circuit_memory.py",
    "test_pack.py",
    "test_presets_apply.py",
    "test_progress.py",
    "test_rows.py",
    "test_service.py",
    "test_sim_bus.py",
    "test_slow_set.py",
    "test_startup.py",
    "test_temperature.py",
    "test_threshold_hours.py",
    "test_verify.py",
    "test_wholefile.py",
}
"""The dearest files whose tests are each quick: `make check` leaves them out, beside those that are
slow or sweeps, to stay within two minutes on two cores."""


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What the modules of the protocols do when they are imported is counted, and nothing else that
    happens while tests are looked for: it takes twice as long when it is. All that is made stays
    to the end: looking through it for garbage, now or later, would be in vain."""
    if Coverage.current() is not None:
        for module in pkgutil.walk_packages(protocols.__path__, f"{protocols.__name__}."):
            importlib.import_module(module.name)
    gc.disable()
    try:
        with _uncounted():
            return (yield)
    finally:
        gc.freeze()
        gc.set_threshold(20_000, 10, 10)  # tests leave little: looking every 700 objects is dear
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks what is in the files of `THOROUGH`."""
    for item in items:
        if item.path.name in THOROUGH:
            item.add_marker("thorough")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """A test whose counterpart is missing is skipped by name, or fails where it has to be there."""
    counterparts.needs(item)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Counting branches triples the time of a test, so only those of the protocols are counted: a
    branch that no other test takes has no test of its own. Nor has one that is hit by chance."""
    if _counted(item):
        if Coverage.current() is not None:
            _forget_uncounted()
        return (yield)
    uncounted.append(item.nodeid)
    with _uncounted():
        return (yield)


@contextlib.contextmanager
def _uncounted() -> Iterator[None]:
    """Without counting, if there is any. A worker of pytest-xdist has two counters, of which
    pytest-cov asks one in the end: were it stopped alone, the other would go on in its place."""
    counting = Coverage.current()
    while (each := Coverage.current()) is not None:
        each.stop()
    try:
        yield
    finally:
        if counting is not None:
            counting.start()


def _forget_uncounted() -> None:
    """Functions of the protocols keep results. What they keep from a test that is not counted would
    spare them branches in one that is: the order of the tests would decide which."""
    if not uncounted:
        return
    uncounted.clear()
    for name, module in list(sys.modules.items()):
        if name.startswith("bmslink.protocols"):
            for kept in vars(module).values():
                if isinstance(kept, functools._lru_cache_wrapper):
                    kept.cache_clear()


def _counted(item: pytest.Item) -> bool:
    own = item.get_closest_marker("counted") or (
        TESTS / "protocols" in item.path.parents and item.get_closest_marker("uncounted") is None
    )
    by_chance = is_hypothesis_test(getattr(item, "obj", None))
    return bool(own) and not by_chance and item.get_closest_marker("slow") is None


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


# How long an example takes says how busy the machine is; a test that needs a limit has its own.
settings.register_profile(
    "bmslink",
    deadline=None,
    max_examples=1000 if WHOLE_SWEEP else 50,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("check", settings.get_profile("bmslink"), max_examples=10)
settings.load_profile("bmslink")


@pytest.fixture(scope="session")
def writing_guard(tmp_path_factory: pytest.TempPathFactory) -> WritingGuard:
    """Watches from the first test on; pytest's own folder holds every `tmp_path`."""
    guard = WritingGuard([tmp_path_factory.getbasetemp()])
    guard.install()
    return guard


@pytest.fixture(scope="session", autouse=True)
def nobody_pulls_the_plug(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Nothing waits for the disk in this process; commands in processes of their own do."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda handle: None)
        # what the command itself needs for a moment
        patch.setattr(tempfile, "tempdir", str(tmp_path_factory.mktemp("temporary")))
        yield tmp_path_factory.mktemp("homes")


@pytest.fixture(scope="session", autouse=True)
def typer_looks_once() -> Iterator[None]:
    """Typer looks at all parameters of a command anew for every command line, which is most of what
    one costs in this process. Of one function it finds the same; a process of its own begins anew.
    Nor are the commands made again that a command line does not call.
    """
    remember = functools.lru_cache(maxsize=1000)
    make = typer.main.get_command_from_info
    made: dict[object, Any] = {}

    def make_once(command_info: CommandInfo, **more: Any) -> Any:
        if command_info.callback is not app._not_loaded:
            return make(command_info, **more)
        key = (command_info.name, command_info.short_help, *more.items())
        if key not in made:
            made[key] = make(command_info, **more)
        return made[key]

    with pytest.MonkeyPatch.context() as patch:
        for module, name in (
            (typer.main, "get_params_from_function"),
            (app, "with_groups"),
            (app, "with_common_options"),
        ):
            patch.setattr(module, name, remember(getattr(module, name)))
        patch.setattr(typer.main, "get_command_from_info", make_once)
        yield


@pytest.fixture(autouse=True)
def apart(
    request: pytest.FixtureRequest, writing_guard: WritingGuard, nobody_pulls_the_plug: Path
) -> Iterator[None]:
    """A test sees nothing of whoever runs it, and leaves nothing behind but below its `tmp_path`.
    One fixture for all of that: pytest takes longer to set one up than it takes itself."""
    writing_guard.take()
    with _home(request, nobody_pulls_the_plug), _log_as_before():
        yield
    assert not (strays := writing_guard.take()), f"written outside tmp_path: {strays}"


@contextlib.contextmanager
def _home(request: pytest.FixtureRequest, homes: Path) -> Iterator[None]:
    """The packs that whoever runs the tests has named must not change them, and no test writes into
    his journal. Only a test that asks for a folder gets one made."""
    folder = tempfile.tempdir
    if "tmp_path" in request.fixturenames:
        home: Path = request.getfixturevalue("tmp_path")
        tempfile.tempdir = str(home)
    else:
        home = homes / str(next(_NUMBERS))
    own = {
        "BMSLINK_CONFIG": home / "no-such-folder" / "bmslink.toml",
        "BMSLINK_JOURNAL": home / "journal",
        # a service that runs on this machine owns none of the packs of a test
        "BMSLINK_RUNTIME": home / "runtime",
        "BMSLINK_STATE": home / "state",
    }
    before = {name: os.environ[name] for name in own if name in os.environ}
    os.environ.update({name: str(place) for name, place in own.items()})
    try:
        yield
    finally:
        tempfile.tempdir = folder
        for name in own:
            os.environ.pop(name, None)
        os.environ.update(before)


@contextlib.contextmanager
def _log_as_before() -> Iterator[None]:
    """A command that ran in this process takes the log for itself, which the next test may read."""
    log = logging.getLogger("bmslink")
    level, propagate, handlers, last = log.level, log.propagate, log.handlers[:], logging.lastResort
    try:
        yield
    finally:
        log.setLevel(level)
        log.propagate, log.handlers[:], logging.lastResort = propagate, handlers, last


@pytest.fixture
def fixtures() -> Path:
    """The folder of captured frames."""
    return FIXTURES
