"""The lock file beside a port: it names the holder, and one that outlived its holder is nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from contextlib import contextmanager
from pathlib import Path

import pytest
from test_serial import pty

from bmslink.errors import PortBusy
from bmslink.storage.processes import is_running
from bmslink.transports import port_owner as holders
from bmslink.transports import serial as ports
from wires import failure, opened

pytestmark = pytest.mark.skipif(os.name != "posix", reason="lock files are a custom of Unix")

PROGRAM = """
import asyncio, sys
from bmslink.link.transport import make_transport, parse_target
from bmslink.transports import port_owner
from bmslink.transports import serial as ports
port_owner.DIRECTORIES = (sys.argv[2],)
ports.is_pty = lambda path: False
ports._forbid_others = lambda port, path: None

async def main():
    transport = make_transport(parse_target(sys.argv[1]))
    if sys.argv[3] == "open":
        await transport.open(lambda data: None, lambda error: None)
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await transport.close()

asyncio.run(main())
"""


@pytest.fixture
def locks(tmp_path, monkeypatch):
    """The folder of the lock files. Pseudo-terminals stand in for real ports."""
    monkeypatch.setattr(holders, "DIRECTORIES", ("/nowhere", str(tmp_path)))
    monkeypatch.setattr(ports, "is_pty", lambda path: False)
    # on a pseudo-terminal the mark would outlast the closing
    monkeypatch.setattr(ports, "_forbid_others", lambda port, path: None)
    return tmp_path


def lock_of(locks: Path, path: str) -> Path:
    return locks / f"LCK..{path.removeprefix('/dev/').replace('/', '_')}"


@contextmanager
def program(path: str, locks: Path, what: str):
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(PROGRAM), path, str(locks), what],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "ready\n"
        yield process
        process.kill()


@pytest.mark.real_time
async def test_an_open_port_has_a_lock_file_that_others_understand(locks):
    with pty() as port:
        file = lock_of(locks, port.path)
        async with opened(port.path):
            assert file.read_text().split() == [str(os.getpid()), "bmslink"]
            assert file.read_text().startswith(f"{os.getpid():10d} ")  # as the FHS has it
            assert file.stat().st_mode & 0o777 == 0o644
            assert list(locks.iterdir()) == [file]
        assert list(locks.iterdir()) == []


def test_a_usual_port_has_the_usual_name(locks):
    with holders.marked("/dev/ttyUSB0"):
        assert [f.name for f in locks.iterdir()] == ["LCK..ttyUSB0"]


def test_the_lock_names_a_holder_that_nothing_else_shows(locks, monkeypatch):
    """As where `/proc` keeps other users' programs to itself, or is not there."""
    with pty() as port, program(port.path, locks, "open") as other:
        name = holders._name(other.pid) or "bmslink"
        monkeypatch.setattr(ports, "holders", lambda path, everyone=False: [])
        error = failure(port.path)
        assert type(error) is PortBusy
        assert str(error) == (
            f"{port.path} is in use by {name} (pid {other.pid}); end that program first."
        )
        assert lock_of(locks, port.path).exists()


@pytest.mark.real_time
async def test_the_lock_of_a_killed_program_is_stale(locks):
    with pty() as port:
        with program(port.path, locks, "open") as other:
            other.send_signal(signal.SIGKILL)
            other.wait(10)
        file = lock_of(locks, port.path)
        assert file.read_text().split()[0] == str(other.pid)

        async def main():
            async with opened(port.path):
                assert file.read_text().split()[0] == str(os.getpid())

        await main()
        assert not file.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux shows who has what open")
@pytest.mark.real_time
async def test_the_lock_of_a_living_program_that_has_not_the_port_is_stale(locks):
    """Its number went to somebody else, or it forgot to take its file along."""
    with pty() as port, program(port.path, locks, "only run") as other:
        lock_of(locks, port.path).write_text(f"{other.pid:10d}\n")
        assert holders.lock_holder(port.path) is None

        async def main():
            async with opened(port.path):
                pass

        await main()


def test_a_program_that_cannot_be_looked_at_is_believed(locks, monkeypatch, tmp_path):
    monkeypatch.setattr(holders, "_PROCESSES", tmp_path / "no proc")
    with pty() as port:
        file = lock_of(locks, port.path)
        file.write_text(f"{os.getppid():10d} mini\x1bcom root\n")
        assert holders.lock_holder(port.path) == f"minicom (pid {os.getppid()})"
        file.write_text(f"{os.getppid():10d}\n")
        assert holders.lock_holder(port.path) == f"a program (pid {os.getppid()})"
        assert type(failure(port.path)) is PortBusy
        file.write_text(f"{os.getpid():10d}\n")  # ours: another opening of ours is seen elsewhere
        assert holders.lock_holder(port.path) is None


def test_programs_of_other_users_are_alive(monkeypatch):
    def denied(pid, signal):
        raise PermissionError

    monkeypatch.setattr(os, "kill", denied)
    assert is_running(1)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        b"abc",
        b"-5\n",
        b"0",
        b"99999999999\n",
        b"1" * 100,
        b"\x12\x34\0\0",
        b"\xff",
        b"1_0",
    ],
)
@pytest.mark.real_time
async def test_what_is_no_lock_locks_nothing(locks, content):
    with pty() as port:
        file = lock_of(locks, port.path)
        file.write_bytes(content)
        assert holders.lock_holder(port.path) is None

        async def main():
            async with opened(port.path):
                assert file.read_text().split()[0] == str(os.getpid())

        await main()


@pytest.mark.parametrize("kind", ["directory", "fifo", "link"])
@pytest.mark.real_time
async def test_a_trap_in_the_place_of_a_lock_holds_nobody_up(locks, kind, monkeypatch):
    monkeypatch.setattr(holders, "_PROCESSES", locks / "no proc")  # a claim would be believed
    with pty() as port:
        file = lock_of(locks, port.path)
        if kind == "directory":
            file.mkdir()
        elif kind == "fifo":
            os.mkfifo(file)
        else:
            (locks / "claim").write_text(f"{os.getppid():10d}\n")
            file.symlink_to("claim")
        assert holders.lock_holder(port.path) is None

        async def main():
            async with opened(port.path):
                assert not list(locks.glob(".LCK*"))

        await main()


@pytest.mark.real_time
async def test_where_no_lock_can_be_left_the_port_opens_all_the_same(locks, monkeypatch):
    def full(**_):
        raise PermissionError

    monkeypatch.setattr(holders.tempfile, "mkstemp", full)

    with pty() as port:
        async with opened(port.path):
            assert list(locks.iterdir()) == []


def test_a_lock_that_became_anothers_is_left_alone(locks):
    with holders.marked("/dev/ttyUSB0"):
        (locks / "LCK..ttyUSB0").write_text("         1\n")
    assert (locks / "LCK..ttyUSB0").exists()


@pytest.mark.real_time
async def test_pseudo_terminals_leave_no_locks(tmp_path, monkeypatch):
    monkeypatch.setattr(holders, "DIRECTORIES", (str(tmp_path),))

    with pty() as port:
        async with opened(port.path):
            assert list(tmp_path.iterdir()) == []
