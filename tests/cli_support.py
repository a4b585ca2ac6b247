"""Running the command line in the tests: in process, as a process, and in a terminal."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import json
import os
import select
import shutil
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from functools import cache, partial
from typing import Any, NamedTuple
from unittest.mock import patch

import pyte
import pytest

from bmslink.cli.app import main
from virtual_time import VirtualLoop

QUICK = "sim://jbd?gap=0&cells=4"
SILENT = "sim://jbd?gap=0&fault=silent&timeout=0.01"
_OWN_THE_TERMINAL = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
    "os.execv(sys.argv[1], sys.argv[1:])"
)


class Result(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def objects(self) -> list[dict[str, Any]]:
        """The JSON lines on stdout; nothing else may stand there."""
        return [json.loads(line) for line in self.out.splitlines()]

    def failed(self, code: int, *words: str) -> None:
        """It ended with this code, nothing on stdout, and one line on stderr with these words."""
        assert self.code == code, self
        assert self.out == "", self
        assert self.err.count("\n") == 1, self
        assert "Traceback" not in self.err
        assert "Internal error" not in self.err
        for word in words:
            assert word in self.err, self


class Cli:
    """Runs commands in this process: on virtual time where all that they talk to is simulated in
    this process too, so that nobody waits for the seconds that a proof takes."""

    def __init__(self, capsys: pytest.CaptureFixture[str], *, alone: bool = False) -> None:
        """`alone`: nothing outside this process answers, whatever packs are named."""
        self._capsys, self._alone = capsys, alone

    def __call__(self, *argv: str) -> Result:
        if self._alone or _within(argv):
            return self.hurried(*argv)
        code = main(argv)
        return Result(code, *self._capsys.readouterr())

    def hurried(self, *argv: str) -> Result:
        """On virtual time, for a test that knows that nothing outside this process answers."""
        with patch("asyncio.Runner", partial(asyncio.Runner, loop_factory=VirtualLoop)):
            code = main(argv)
        return Result(code, *self._capsys.readouterr())


def _within(argv: tuple[str, ...]) -> bool:
    """Whether there are simulated packs on a command line, and nothing with a line of its own."""
    targets = [word.partition("://")[0] for word in argv if "://" in word]
    return "simulate" not in argv and bool(targets) and set(targets) <= {"sim", "replay"}


def environment(**more: str) -> dict[str, str]:
    """The environment without what would change the output."""
    dropped = ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "BMSLINK_TARGET")
    return {k: v for k, v in os.environ.items() if k not in dropped} | more


@cache
def leash() -> tuple[str, ...]:
    """What a command line begins with so that its process does not outlive the tests.

    A run that is killed cannot end what it started, and a simulator waits for clients for ever.
    The kernel ends it instead; where there is no such program (only Linux has it), nothing does.
    """
    setpriv = shutil.which("setpriv")
    prefix = (setpriv or "", "--pdeathsig", "KILL")
    works = setpriv and subprocess.run([*prefix, "true"], capture_output=True).returncode == 0
    return prefix if works else ()


def start(*argv: str, **more: Any) -> subprocess.Popen[str]:
    """The command as a process of its own, which ends with this one at the latest.

    To the kernel its parent is the thread that calls this.
    """
    more.setdefault("stdin", subprocess.DEVNULL)
    more.setdefault("stdout", subprocess.PIPE)
    more.setdefault("stderr", subprocess.PIPE)
    more.setdefault("env", environment())
    wrapper = more.pop("wrapper", [])
    command = [*leash(), *wrapper, sys.executable, "-m", "bmslink", *argv]
    return subprocess.Popen(command, text=True, **more)


def finish(process: subprocess.Popen[str], timeout: float = 20) -> Result:
    """Wait for a process."""
    out, err = process.communicate(timeout=timeout)
    return Result(process.returncode, out, err)


class Terminal:
    """A command in a pseudo-terminal, with what a person would see."""

    def __init__(self, *argv: str, columns: int = 80, rows: int = 24, **env: str) -> None:
        self.master, slave = os.openpty()
        self.screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self.screen)
        self.raw = b""
        self._size(columns, rows)
        self.modes_before = termios.tcgetattr(slave)
        self._slave = slave
        self.process = start(
            *argv,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            wrapper=[sys.executable, "-c", _OWN_THE_TERMINAL],
            env=environment(**{"TERM": "xterm-256color", **env}),
        )

    def _size(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def resize(self, columns: int, rows: int) -> None:
        """The window gets another size; the kernel tells the program."""
        self.screen.resize(rows, columns)
        self._size(columns, rows)

    def type(self, keys: str) -> None:
        """Press keys."""
        os.write(self.master, keys.encode())

    @property
    def text(self) -> str:
        """What stands on the screen."""
        return "\n".join(self.screen.display)

    def pump(self, seconds: float) -> None:
        """Take what the program writes."""
        if not select.select([self.master], [], [], seconds)[0]:
            return
        try:
            data = os.read(self.master, 65536)
        except OSError as exc:
            if exc.errno != errno.EIO:  # the program is gone
                raise
            data = b""
        self.raw += data
        self._stream.feed(data)

    def wait(self, found: Callable[[str], bool], timeout: float = 15) -> str:
        """The screen, once it shows what is looked for."""
        deadline = time.monotonic() + timeout
        while not found(self.text):
            assert time.monotonic() < deadline, self.text
            self.pump(0.1)
        return self.text

    def end(self, timeout: float = 15) -> int:
        """Wait for the program to end; gives back its exit code."""
        deadline = time.monotonic() + timeout
        while self.process.poll() is None:
            assert time.monotonic() < deadline, self.text
            self.pump(0.05)
        self.pump(0.1)
        return self.process.returncode

    def modes(self) -> list[Any]:
        """The terminal's modes."""
        return termios.tcgetattr(self._slave)

    def close(self) -> None:
        """End the program, if it still runs, and give the terminal back."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.master)
        os.close(self._slave)
