"""Running bmslink's real command line against a hostile board, in this process, on virtual time."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

from typer.main import get_command

from bmslink.cli import app
from bmslink.protocols.daly.registers import map as daly_register_map
from bmslink.protocols.daly.registers import writing as daly_register_writing
from bmslink.protocols.jk.modbus import writing as jk_modbus_writing
from bmslink.protocols.jk.modbus.settings import modbus_map
from hostile.board import Board
from hostile.line import Port, reachable
from virtual_time import VirtualLoop

__all__ = ["PLACE", "Bench", "Result", "hurried"]

PLACE = "127.0.0.1:47001"
_Runner = asyncio.Runner


@dataclass(frozen=True, slots=True)
class Result:
    """How a command ended."""

    code: int
    out: str
    err: str
    seconds: float
    """Of virtual time."""

    @property
    def said(self) -> str:
        """All sentences of it, on one line."""
        return " ".join(f"{self.out} {self.err}".split())

    @property
    def objects(self) -> list[dict[str, Any]]:
        """What is on stdout as JSON."""
        return [json.loads(line) for line in self.out.splitlines() if line.startswith("{")]


class _Utc:
    """The local time zone is UTC for a while: a board's clock has none."""

    def __enter__(self) -> None:
        self._before = os.environ.get("TZ")
        os.environ["TZ"] = "UTC"
        time.tzset()

    def __exit__(self, *_: object) -> None:
        if self._before is None:
            del os.environ["TZ"]
        else:
            os.environ["TZ"] = self._before
        time.tzset()


@contextlib.contextmanager
def hurried() -> Iterator[None]:
    """Many commands in one process: nothing waits for the disk, as nobody pulls the plug of the
    computer here, and what is always the same is found out once."""
    make, made = app._application, dict[tuple[str, ...], Any]()

    def application(arguments: list[str]) -> Any:
        words = tuple(arguments[:2])  # all commands here begin with their names
        if words not in made:
            made[words] = get_command(make(arguments))
        return made[words]

    jk_map = cache(modbus_map)
    with (
        patch("os.fsync", lambda _: None),
        patch.object(app, "_application", application),
        patch.object(jk_modbus_writing, "modbus_map", jk_map),
        patch.object(daly_register_writing, "register_map", _remembered_daly_maps()),
        _Utc(),
    ):
        yield


def _remembered_daly_maps() -> Callable[..., Any]:
    """The maps of Daly boards, which take longest to make, each made once."""
    make, made = daly_register_map.register_map, dict[Any, Any]()

    def remembered(name: str, firmware: str | None, values: Any) -> Any:
        key = name, firmware, tuple(values.items())
        if key not in made:
            made[key] = make(name, firmware, values)
        return made[key]

    return remembered


class Bench:
    """A board behind a port, the files of its user, and a clock."""

    def __init__(self, board: Board, folder: Path) -> None:
        self.board = board
        self.folder = folder
        self.now = 100.0
        self.loop: VirtualLoop | None = None
        self.target = f"{board.name}+tcp://{PLACE}"
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def journal(self) -> Path:
        """Where the journal is."""
        return self.folder / "journal"

    def time(self) -> float:
        """What the clock shows, inside a command and between two."""
        return self.loop.time() if self.loop else self.now

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds
        self.board.pass_time(self.now)

    def run(self, *argv: str) -> Result:
        """Run a command line to its end; `T` is the target."""
        words = [self.target if word == "T" else word for word in argv]
        out, err = io.StringIO(), io.StringIO()
        begun = self.now
        environment = {"BMSLINK_JOURNAL": str(self.journal), "COLUMNS": "200"}
        with (
            reachable(PLACE, Port(self.board, self.time)),
            patch.dict(os.environ, environment),
            patch("asyncio.Runner", self._runner),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            code = app.main(words)
        if self.loop:
            self.now, self.loop = self.loop.time(), None
        self.board.pass_time(self.now)
        return Result(code, out.getvalue(), err.getvalue(), self.now - begun)

    def _runner(self, **_: Any) -> asyncio.Runner:
        return _Runner(loop_factory=self._make_loop)

    def _make_loop(self) -> VirtualLoop:
        loop = VirtualLoop()
        loop.now = self.time()
        self.loop = loop
        return loop

    def open_changes(self) -> int:
        """How many changes the journal holds open."""
        from bmslink.storage.journal import Journal

        return len(Journal(self.journal).unfinished())

    def keep(self, folder: Path) -> None:
        """Copy the files to another folder."""
        shutil.copytree(self.folder, folder, dirs_exist_ok=True)
