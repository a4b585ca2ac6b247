"""Serial ports, on real pseudo-terminals."""

from __future__ import annotations

import asyncio
import errno
import os
import select
import subprocess
import sys
import textwrap
import threading
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace

import pytest
import serial
from serial.tools import list_ports

from bmslink.errors import (
    LinkClosed,
    PortBusy,
    PortDenied,
    PortNotFound,
    TransportError,
)
from bmslink.link.link import Link
from bmslink.link.transport import make_transport, parse_target
from bmslink.protocols.jbd.driver import JBD, JBDFrame, read_request
from bmslink.transports import serial as ports
from wires import Ear, failure, opened, threads


@contextmanager
def pty(answer: Callable[[bytes], bytes] | None = None) -> Iterator[SimpleNamespace]:
    """A pseudo-terminal: `path` for the client, `master` for the device, `pull()` the cable.

    With `answer`, a thread plays the device and sends its answers byte by byte.
    """
    master, slave = os.openpty()
    tty.setraw(slave)
    path = os.ttyname(slave)
    os.close(slave)
    pulled = threading.Event()

    def play() -> None:
        while not pulled.is_set():
            with suppress(OSError):  # nobody has the port open
                if select.select([master], [], [], 0.02)[0]:
                    for byte in answer(os.read(master, 4096)):
                        os.write(master, bytes([byte]))
                    continue
            pulled.wait(0.005)

    player = threading.Thread(target=play, daemon=True) if answer else None
    if player:
        player.start()

    def pull() -> None:
        if not pulled.is_set():
            pulled.set()
            if player:
                player.join()
            os.close(master)

    try:
        yield SimpleNamespace(path=path, master=master, pull=pull)
    finally:
        pull()


# ------------------------------------------------------------------------------ serial ports


@pytest.mark.real_time
async def test_bytes_go_both_ways_through_a_port():
    with pty(bytes.upper) as port:
        async with opened(port.path) as (ear, transport):
            await transport.write(b"hello")
            await ear.until(lambda: ear.heard == b"HELLO")
            everything = bytes(range(256))  # nothing is eaten, translated or echoed
            await transport.write(everything)
            await ear.until(lambda: ear.heard[5:] == everything.upper())
            assert ear.lost == []


@pytest.mark.real_time
async def test_a_link_asks_a_board_over_a_port():
    framer = JBD.make_framer()

    def board(data: bytes) -> bytes:
        return b"".join(
            framer.encode(JBDFrame(mark=frame.code, data=b"\x0c\xf8"))
            for frame in framer.feed(data)
        )

    with pty(board) as port:
        link = Link(
            make_transport(parse_target(f"serial://{port.path}")), JBD.make_framer(), JBD.timing
        )
        await link.open()
        for register in (0x04, 0x05):
            answer = await link.request(
                read_request(register), lambda f, wanted=register: f.mark == wanted
            )
            assert answer.data == b"\x0c\xf8"
        port.pull()
        with pytest.raises(LinkClosed, match="cable was pulled"):
            await link.request(read_request(0x03), lambda f: True)
        await link.close()


@pytest.mark.parametrize(("query", "speed"), [("", 9600), ("?baudrate=115200", 115200)])
@pytest.mark.real_time
async def test_the_port_gets_the_baud_rate_of_the_target(query, speed):
    with pty() as port:
        async with opened(f"serial://{port.path}{query}"):
            import termios

            attributes = termios.tcgetattr(port.master)
            assert attributes[4:6] == [getattr(termios, f"B{speed}")] * 2


@pytest.mark.real_time
async def test_a_pulled_cable_is_reported_once_and_closing_still_works():
    with pty() as port:
        async with opened(port.path) as (ear, transport):
            os.write(port.master, b"last words")
            await ear.until(lambda: ear.heard == b"last words")
            port.pull()
            await ear.until(lambda: ear.lost)
            (error,) = ear.lost
            assert isinstance(error, LinkClosed)
            assert port.path in str(error)
            assert isinstance(error.__cause__, OSError)
            with pytest.raises(LinkClosed):
                await transport.write(b"x")
            await transport.close()
            with pytest.raises(LinkClosed, match="not open"):
                await transport.write(b"x")
            assert len(ear.lost) == 1


@pytest.mark.real_time
async def test_after_closing_nothing_is_delivered_and_the_port_is_free_again():
    with pty() as port:
        transport = make_transport(parse_target(port.path))
        for _ in range(3):
            ear = Ear()
            await transport.open(ear.data, ear.end)
            assert len(threads()) == 1
            os.write(port.master, b"late")
            await transport.close()
            await transport.close()
            heard = bytes(ear.heard)
            await asyncio.sleep(0.02)
            assert (bytes(ear.heard), ear.lost, threads()) == (heard, [], [])


@pytest.mark.real_time
async def test_opening_again_takes_the_place_of_the_first_opening():
    with pty(bytes.upper) as port:
        async with opened(port.path) as (_, transport):
            second = Ear()
            await transport.open(second.data, second.end)
            await transport.write(b"a")
            await second.until(lambda: second.heard == b"A")


@pytest.mark.real_time
async def test_a_flood_of_bytes_arrives_whole_while_the_loop_is_slow():
    flood = bytes(range(256)) * 4000

    with pty() as port:
        async with opened(port.path) as (ear, _):
            sender = threading.Thread(target=_send_all, args=(port.master, flood))
            sender.start()
            threading.Event().wait(0.2)
            assert sender.is_alive()  # the device has to wait: nothing piles up in our memory
            await ear.until(lambda: len(ear.heard) >= len(flood))
            sender.join()
            assert bytes(ear.heard) == flood


def _send_all(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]


@pytest.mark.real_time
async def test_a_port_that_takes_no_bytes_is_an_error_and_no_hang(monkeypatch):
    monkeypatch.setattr(ports, "WRITE_TIMEOUT", 0.1)

    with pty() as port:  # nobody reads the master
        async with opened(port.path) as (_, transport):
            ticks = 0

            async def tick():
                nonlocal ticks
                while True:
                    await asyncio.sleep(0.01)
                    ticks += 1

            ticking = asyncio.create_task(tick())
            with pytest.raises(TransportError, match="takes no bytes"):
                for _ in range(10):
                    await transport.write(bytes(100_000))
            assert ticks >= 2  # the loop went on meanwhile
            ticking.cancel()


@pytest.mark.real_time
async def test_a_driver_that_hangs_in_closing_does_not_hang_us(monkeypatch):
    monkeypatch.setattr(ports, "CLOSE_TIMEOUT", 0.1)
    let_go = threading.Event()
    close = serial.Serial.close

    def slow_close(self):
        let_go.wait(5)
        close(self)

    monkeypatch.setattr(serial.Serial, "close", slow_close)

    with pty() as port:
        transport = make_transport(parse_target(port.path))
        await transport.open(lambda data: None, lambda error: None)
        async with asyncio.timeout(1):
            await transport.close()
        (left,) = [t for t in threading.enumerate() if t.name in threads()]
        let_go.set()
        left.join(5)
        assert threads() == []


def test_a_loop_that_ends_without_closing_leaves_no_thread_behind():
    with pty() as port:
        transport = make_transport(parse_target(port.path))

        async def main():
            await transport.open(lambda data: None, lambda error: None)

        asyncio.run(main())
        (left,) = [t for t in threading.enumerate() if t.name in threads()]
        os.write(port.master, b"x")
        left.join(5)
        assert threads() == []


@pytest.mark.real_time
async def test_opening_that_is_cancelled_frees_the_port(monkeypatch):
    go = threading.Event()
    open_port = ports.open_port

    def slow_open(place, baudrate):
        go.wait(5)
        return open_port(place, baudrate)

    monkeypatch.setattr(ports, "open_port", slow_open)

    with pty() as port:
        transport = make_transport(parse_target(port.path))
        opening = asyncio.create_task(transport.open(lambda data: None, lambda error: None))
        await asyncio.sleep(0.02)
        opening.cancel()
        asyncio.get_running_loop().call_later(0.05, go.set)
        with pytest.raises(asyncio.CancelledError):
            await opening
        assert threads() == []
        async with opened(port.path):
            pass


# -------------------------------------------------------------------- ports that do not open


@pytest.fixture
def two_ports(monkeypatch):
    found = [
        SimpleNamespace(device="/dev/ttyUSB0", description="CP2102 \x1b[31mBridge\n"),
        SimpleNamespace(device="/dev/ttyS0", description="n/a"),
    ]
    monkeypatch.setattr(list_ports, "comports", lambda: found)


@pytest.mark.parametrize("place", ["/dev/ttyUSB7", "ttyUSB7", "COM7", "./nothing", "~/nothing"])
def test_a_missing_port_names_those_that_exist(two_ports, place):
    error = failure(place)
    assert type(error) is PortNotFound
    assert str(error) == (
        f"There is no serial port {place}; these exist: "
        "/dev/ttyUSB0 (CP2102 [31mBridge), /dev/ttyS0."
    )


def test_a_missing_port_where_there_are_none(monkeypatch):
    monkeypatch.setattr(list_ports, "comports", list)
    assert "no serial port was found here" in str(failure("/dev/ttyUSB7"))


def test_what_is_no_port_is_said(tmp_path):
    file = tmp_path / "file"
    file.write_bytes(b"")
    for path, words in [
        (tmp_path, "is a directory, not a serial port"),
        (file, "is a file, not a serial port"),
        (file / "x", "There is no serial port"),
        (Path("/dev/null"), "is not a serial port"),
    ]:
        error = failure(f"serial://{path}")
        assert type(error) is PortNotFound
        assert f"{path}" in str(error)
        assert words in str(error)


def test_a_bare_name_is_a_device():
    assert ports._device("ttyUSB0") == "/dev/ttyUSB0"
    assert ports._device("/srv/pty") == "/srv/pty"
    assert ports._device("~/pty") == str(Path.home() / "pty")


OPENER = """
import asyncio, os, sys
from bmslink.errors import TransportError
from bmslink.link.transport import make_transport, parse_target
import bmslink.transports.serial
if os.getuid() == 0 and "drop" in sys.argv:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)

async def main():
    transport = make_transport(parse_target(sys.argv[1]))
    try:
        await transport.open(lambda data: None, lambda error: None)
    except TransportError as error:
        print(type(error).__name__, error, flush=True)
        return
    print("open", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await transport.close()

asyncio.run(main())
"""

HOLDER = """
import os, sys
fd = os.open(sys.argv[1], os.O_RDWR | os.O_NOCTTY)
print("open", flush=True)
sys.stdin.read()
"""


@contextmanager
def program(code: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield process
        process.stdin.close()
        process.wait(10)


@pytest.mark.parametrize("code", [OPENER, HOLDER], ids=["bmslink", "no lock"])
def test_a_busy_port_names_who_holds_it(code):
    with pty() as port, program(code, port.path) as holder:
        assert holder.stdout.readline() == "open\n"
        error = failure(port.path)
        assert type(error) is PortBusy
        if sys.platform == "linux":
            name = Path(f"/proc/{holder.pid}/comm").read_text().strip()
            assert str(error) == (
                f"{port.path} is in use by {name} (pid {holder.pid}); end that program first."
            )
        holder.stdin.close()
        holder.wait(10)

        async def main():
            async with opened(port.path):
                pass

        asyncio.run(main())  # free again


@pytest.mark.real_time
async def test_another_program_finds_our_port_busy():
    with pty() as port:
        async with opened(port.path):
            with program(OPENER, port.path) as other:
                said = await asyncio.to_thread(other.stdout.readline)
    assert said.startswith("PortBusy")
    if sys.platform == "linux":
        assert f"(pid {os.getpid()})" in said


@pytest.mark.real_time
async def test_the_same_program_cannot_open_a_port_twice():
    with pty() as port:
        async with opened(port.path) as (ear, _):
            second = make_transport(parse_target(port.path))
            with pytest.raises(PortBusy) as caught:
                await second.open(ear.data, ear.end)
            if sys.platform == "linux":
                assert f"(pid {os.getpid()})" in str(caught.value)
            assert ear.lost == []


def test_the_maker_of_a_pseudo_terminal_is_no_rival():
    """A simulator holds both ends, or its port would vanish between two clients."""
    master, slave = os.openpty()
    code = f"{HOLDER.replace('fd =', f'os.fstat({master}); fd =')}"
    with subprocess.Popen(
        [sys.executable, "-c", code, os.ttyname(slave)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        pass_fds=[master],
    ) as holder:
        path = os.ttyname(slave)
        os.close(slave)
        assert holder.stdout.readline() == "open\n"

        async def main():
            async with opened(path):
                pass

        asyncio.run(main())
        holder.stdin.close()
        holder.wait(10)
    os.close(master)


def test_a_forbidden_port_names_the_group_to_join():
    import grp

    with pty() as port:
        Path(port.path).chmod(0o060)  # the group may; neither the owner nor anyone else
        group = grp.getgrgid(Path(port.path).stat().st_gid).gr_name
        with program(OPENER, port.path, "drop") as other:
            said = other.stdout.readline()
        # The group may be the child's own where a user owns the machine: then the owner is denied.
    assert said == (
        f"PortDenied You may not open {port.path}: it belongs to the group {group}. Join it with "
        f"`sudo usermod -aG {group} $USER`, then log out and in again.\n"
    )


def test_a_port_of_its_owner_alone_names_the_owner():
    import pwd

    with pty() as port:
        Path(port.path).chmod(0o000)
        with program(OPENER, port.path, "drop") as other:
            said = other.stdout.readline()
    owner = pwd.getpwuid(os.getuid()).pw_name
    assert said == f"PortDenied You may not open {port.path}: only its owner {owner} may.\n"


@pytest.mark.parametrize(
    ("raised", "kind", "words"),
    [
        (serial.SerialException(errno.EACCES, "no"), PortDenied, "You may not open"),
        (serial.SerialException(errno.EBUSY, "busy"), PortBusy, "in use by another program"),
        (serial.SerialException(errno.ENXIO, "gone"), PortNotFound, "There is no serial port"),
        (serial.SerialException(errno.EIO, "dead"), PortNotFound, "There is no hardware"),
        (
            serial.SerialException("could not open port: FileNotFoundError(2, 'Windows')"),
            PortNotFound,
            "There is no serial port",
        ),
        (
            serial.SerialException("could not open port: PermissionError(13, 'Access is denied.')"),
            PortBusy,
            "in use by another program",
        ),
        (ValueError("Failed to set custom baud rate"), TransportError, "cannot do 9600 baud"),
        (OverflowError("too large"), TransportError, "cannot do 9600 baud"),
        (serial.SerialException("strange"), TransportError, "cannot be opened: strange"),
        (OSError(errno.EPERM, "no"), PortDenied, "You may not open"),
    ],
)
def test_each_failure_of_pyserial_is_one_of_our_sentences(monkeypatch, raised, kind, words):
    def broken(*arguments, **options):
        raise raised

    monkeypatch.setattr(serial, "Serial", broken)
    with pty() as port:
        error = failure(port.path)
    assert type(error) is kind
    assert words in str(error)
    assert error.__cause__ is raised


def test_other_programs_are_kept_out_of_a_real_port(monkeypatch):
    """A pseudo-terminal stands in for the port; the mark keeps out programs without locks."""
    asked = []
    monkeypatch.setattr(ports, "is_pty", lambda path: False)
    monkeypatch.setattr(ports.fcntl, "ioctl", lambda fd, request, *rest: asked.append(request))
    with pty() as port, serial.Serial(port.path) as opened_port:
        asked.clear()
        ports._forbid_others(opened_port, port.path)
    assert asked == [ports.termios.TIOCEXCL]
