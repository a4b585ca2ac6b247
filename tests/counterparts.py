"""Real programs and packages of others that tests talk to: named when they are missing.

`@pytest.mark.needs(program="promtool")` or `needs(module="pandas")` skips a test whose counterpart
is missing, by its name. Where `BMSLINK_REQUIRE` lists that name, the test fails instead: `.ci/run`
installs what Debian has and sets it, so that nothing is skipped there unnoticed.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

import pytest

from cli_support import leash

__all__ = ["free_port", "missing", "needs", "require", "running"]


def missing(name: str, why: str = "is not installed") -> NoReturn:
    """Skip the test that needs this, or fail it where it has to be there."""
    if name in os.environ.get("BMSLINK_REQUIRE", "").split():
        pytest.fail(f"{name} {why}, and BMSLINK_REQUIRE names it", pytrace=False)
    pytest.skip(f"{name} {why}")


def require(program: str) -> str:
    """The path of a program."""
    return shutil.which(program) or missing(program)


def needs(item: pytest.Item) -> None:
    """What the marks of a test ask for."""
    for mark in item.iter_markers("needs"):
        if "program" in mark.kwargs:
            require(mark.kwargs["program"])
        if "module" in mark.kwargs and find_spec(mark.kwargs["module"]) is None:
            missing(mark.kwargs["module"])


def free_port() -> int:
    """A port of this machine that nobody had a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


@contextlib.contextmanager
def running(
    command: Sequence[str | Path], port: int, log: Path, patience: float = 30.0
) -> Iterator[None]:
    """A server of somebody else while the block runs, from when it listens on this port.

    It ends with the block, and with this process at the latest.
    """
    with log.open("wb") as file:
        process = subprocess.Popen(
            [*leash(), *map(str, command)], stdin=subprocess.DEVNULL, stdout=file, stderr=file
        )
    try:
        until = time.monotonic() + patience
        while not _listens(port):
            if process.poll() is not None or time.monotonic() > until:
                pytest.fail(f"{command[0]} does not listen:\n{log.read_text()[-2000:]}")
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False
