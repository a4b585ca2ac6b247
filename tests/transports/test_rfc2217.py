"""Serial servers that set the line: pyserial's own server over a pseudo-terminal, and bad ones."""

from __future__ import annotations

import asyncio
import os
import socket
import termios
import threading
import time
from contextlib import asynccontextmanager, contextmanager, suppress

import pytest
import serial
from hypothesis import given
from hypothesis import strategies as st
from serial import rfc2217

import bmslink
from bmslink.errors import LinkClosed, PortNotFound, TransportError
from bmslink.simulation.boards.jbd import JBDResponder
from bmslink.simulation.pack.pack import Pack
from bmslink.transports import rfc2217 as client
from bmslink.transports.rfc2217 import Telnet
from wires import failure, opened, threads

# pyserial 3.5 names its thread in a way that Python 3.10 deprecated
pytestmark = pytest.mark.filterwarnings("ignore:set(Daemon|Name)\\(\\) is deprecated")

IAC, SB, SE, DO, WILL, COM = b"\xff", b"\xfa", b"\xf0", b"\xfd", b"\xfb", b"\x2c"


class PtyPort(serial.Serial):
    """A pseudo-terminal has no modem lines, and pyserial's server insists on them."""

    cts = dsr = ri = cd = False

    def _update_dtr_state(self):
        pass

    def _update_rts_state(self):
        pass


class Server:
    """What stands behind a socket: pyserial's PortManager, with a board on the port."""

    def __init__(self, connection: socket.socket, device) -> None:
        self.connection = connection
        self.device = device
        self.master, slave = os.openpty()
        self.port = PtyPort(os.ttyname(slave), timeout=0.01)
        os.close(slave)
        self.manager = rfc2217.PortManager(self.port, self)
        self.done = threading.Event()
        self.threads = [
            threading.Thread(target=work, daemon=True)
            for work in (self.from_network, self.from_port, self.play)
        ]
        for thread in self.threads:
            thread.start()

    def write(self, data: bytes) -> None:
        """For the PortManager: bytes for the client."""
        with suppress(OSError):
            self.connection.sendall(data)

    def from_network(self) -> None:
        with suppress(OSError):
            while data := self.connection.recv(1024):
                self.port.write(b"".join(self.manager.filter(data)))
        self.done.set()

    def from_port(self) -> None:
        while not self.done.is_set():
            if data := self.port.read(self.port.in_waiting or 1):
                self.write(b"".join(self.manager.escape(data)))

    def play(self) -> None:
        os.set_blocking(self.master, False)
        while not self.done.is_set():
            with suppress(BlockingIOError):
                os.write(self.master, self.device(os.read(self.master, 4096)))
            time.sleep(0.002)

    @property
    def speed(self) -> int:
        return termios.tcgetattr(self.master)[4]

    def close(self) -> None:
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)
        for thread in self.threads:
            thread.join(5)
        self.connection.close()
        self.port.close()
        os.close(self.master)


@contextmanager
def listening(serve):
    """Calls `serve(connection)` for each client, in a thread; closes what it gives back."""
    listener = socket.create_server(("127.0.0.1", 0))
    served: list = []

    def accept() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                served.append(connection)
                served.append(serve(connection))

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}", served
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)
        for item in served:
            if item is not None:
                item.close()


@asynccontextmanager
async def timed(seconds):
    start = time.monotonic()
    yield
    assert time.monotonic() - start < seconds


def server(device=bytes.upper):
    return listening(lambda connection: Server(connection, device))


@pytest.mark.real_time
async def test_bytes_go_both_ways_and_the_server_sets_the_speed():
    with server() as (place, served):
        async with opened(f"rfc2217://{place}?baudrate=19200") as (ear, transport):
            assert served[1].speed == termios.B19200
            await transport.write(b"hello")
            await ear.until(lambda: ear.heard == b"HELLO")
            everything = bytes(range(256)) * 2  # FF is doubled on the way
            await transport.write(everything)
            await ear.until(lambda: ear.heard[5:] == everything.upper())
            assert ear.lost == []
            await transport.close()
            with pytest.raises(LinkClosed, match="not open"):
                await transport.write(b"x")


@pytest.mark.real_time
async def test_a_pack_is_read_through_a_serial_server():
    board = JBDResponder(Pack(cells=8, seed=3))

    def device(data):
        return b"".join(answer.data for answer in board.receive(data))

    with server(device) as (place, served):
        async with bmslink.connect(f"jbd+rfc2217://{place}?gap=0.01") as pack:
            assert served[1].speed == termios.B9600  # the protocol's own
            assert len((await pack.read()).cell_voltages) == 8
            served[1].connection.shutdown(socket.SHUT_RDWR)
            with pytest.raises(LinkClosed, match="gone"):
                await pack.read()
            await pack.reopen()
            assert len((await pack.read()).cell_voltages) == 8


@pytest.mark.real_time
async def test_a_server_that_hangs_up_is_noticed_once(monkeypatch):
    monkeypatch.setattr(client, "WAKE_UP", 5.0)  # and at once

    with server() as (place, served):
        async with opened(f"rfc2217://{place}") as (ear, transport):
            await transport.write(b"a")
            await ear.until(lambda: ear.heard == b"A")
            await asyncio.sleep(0.05)  # now it waits for more
            served[1].connection.shutdown(socket.SHUT_RDWR)
            async with timed(2.0):
                await ear.until(lambda: ear.lost)
            (error,) = ear.lost
            assert isinstance(error, LinkClosed)
            assert place in str(error)
            with pytest.raises(LinkClosed):
                await transport.write(b"x")
            assert len(ear.lost) == 1


@pytest.mark.real_time
async def test_a_reader_that_is_slow_to_end_keeps_nobody_waiting(monkeypatch):
    """pyserial waits a whole time-out more where it finds the thread alive that said the end."""
    monkeypatch.setattr(client, "WAKE_UP", 5.0)
    loop = client._RFC2217Client._telnet_read_loop

    def lingering(self):
        loop(self)
        time.sleep(1.0)

    monkeypatch.setattr(client._RFC2217Client, "_telnet_read_loop", lingering)
    with server() as (place, served):
        async with opened(f"rfc2217://{place}") as (ear, transport):
            await transport.write(b"a")
            await ear.until(lambda: ear.heard == b"A")
            served[1].connection.shutdown(socket.SHUT_RDWR)
            async with timed(3.0):  # the port is closed only when the thread has ended
                await ear.until(lambda: ear.lost)


def test_a_server_where_nothing_listens():
    error = failure("rfc2217://127.0.0.1:1")
    assert type(error) is PortNotFound
    assert "Nothing listens at 127.0.0.1:1" in str(error)
    assert error.__cause__ is not None


def test_a_host_that_is_unknown():
    error = failure(f"rfc2217://{'x' * 70}.example:23")
    assert type(error) is PortNotFound
    assert "is unknown" in str(error)


def test_the_place_is_no_url_with_options():
    """`logging=debug` behind a question mark would make pyserial talk."""
    error = failure("rfc2217://127.0.0.1%3Flogging=debug:1")
    assert type(error) is PortNotFound


@contextmanager
def impatient(monkeypatch, seconds=0.3):
    """pyserial waits 3 s for each of the server's words."""
    own_timeout = rfc2217.Timeout
    monkeypatch.setattr(rfc2217, "Timeout", lambda s: own_timeout(seconds if s == 3 else s))
    yield


def test_a_plain_tcp_gateway_is_told_apart(monkeypatch):
    with listening(lambda connection: None) as (place, _), impatient(monkeypatch):
        error = failure(f"rfc2217://{place}")
    assert type(error) is TransportError
    assert f"write tcp://{place}" in str(error)


class Script:
    """A server that speaks the protocol by hand: `answer(content of an option)`."""

    def __init__(self, connection, answer, first=b"") -> None:
        self.connection = connection
        self.answer = answer
        self.first = first
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self) -> None:
        telnet = Telnet()
        with suppress(OSError):
            self.connection.sendall(self.first)
            self.connection.sendall(IAC + DO + COM + IAC + WILL + COM + IAC + DO + b"\0")
            while data := self.connection.recv(1024):
                for command in telnet.feed(data)[1]:
                    if command[:2] == SB + COM:
                        for piece in self.answer(command[2:]):
                            self.connection.sendall(piece)

    def close(self) -> None:
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)
        self.thread.join(5)
        self.connection.close()


def acknowledge(option: bytes) -> bytes:
    """The server repeats the setting under its own number."""
    content = (bytes([option[0] + 100]) + option[1:]).replace(IAC, IAC + IAC)
    return IAC + SB + COM + content + IAC + SE


def scripted(answer):
    return listening(lambda connection: Script(connection, answer))


def test_a_server_that_refuses_the_speed_is_said(monkeypatch):
    def answer(option):
        return [acknowledge(b"\1\0\0\1\x2c" if option[:1] == b"\1" else option)]

    with scripted(answer) as (place, _), impatient(monkeypatch):
        error = failure(f"rfc2217://{place}")
    assert type(error) is TransportError
    assert str(error).startswith(f"{place} does not set its port to 9600 baud, 8N1: ")


def test_a_server_that_never_confirms_is_said(monkeypatch):
    with scripted(lambda option: []) as (place, _), impatient(monkeypatch):
        error = failure(f"rfc2217://{place}")
    assert type(error) is TransportError
    assert "does not set its port to 9600 baud" in str(error)


@pytest.mark.parametrize("answers", [lambda option: [], lambda option: [b"\5\0"]])
@pytest.mark.real_time
async def test_a_server_whose_port_has_no_modem_lines_is_used_all_the_same(monkeypatch, answers):
    """ser2net in front of a pseudo-terminal says nothing to DTR and RTS."""

    def answer(option):
        if option[:1] == b"\5" and option[1] >= 8:
            return [acknowledge(other) for other in answers(option)]
        return [acknowledge(option)]

    with impatient(monkeypatch), scripted(answer) as (place, _):
        async with opened(f"rfc2217://{place}") as (ear, transport):
            await transport.write(b"abc")
            assert ear.lost == []


def test_a_server_that_hangs_up_while_it_is_set_up(monkeypatch):
    def serve(connection):
        def hang_up(option):
            linger = b"\1\0\0\0\0\0\0\0"  # by a reset
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            connection.close()
            return []

        return Script(connection, hang_up)

    with listening(serve) as (place, _), impatient(monkeypatch):
        assert isinstance(failure(f"rfc2217://{place}"), TransportError)


@pytest.mark.parametrize(
    "junk",
    [
        IAC + SE,
        IAC + SB + COM + IAC + SE,
        IAC + SB + COM + b"\x6b" + IAC + SE,
        IAC + SB + COM + b"\x65" + IAC + SE,
        IAC + SB + b"\x05" + b"x" * 100_000 + IAC + SE,
        IAC + DO + b"\x63" + IAC + WILL + b"\x63",
        IAC + b"\xf1",
    ],
)
@pytest.mark.real_time
async def test_telnet_junk_is_swallowed(junk):
    """Behind it the bytes of the device come through; no thread ends with a traceback."""

    def answer(option):
        if option[:2] == b"\x0c\2":  # the last thing a client asks: purge
            return [acknowledge(option), junk, b"\xddbytes"]
        return [acknowledge(option)]

    with scripted(answer) as (place, _):
        async with opened(f"rfc2217://{place}") as (ear, _):
            await ear.until(lambda: ear.heard == b"\xddbytes")
            assert ear.lost == []


@pytest.mark.real_time
async def test_a_confirmation_before_the_question_is_none():
    def serve(connection):
        early = b"".join(acknowledge(bytes([n]) + b"\0\0\0\1") for n in (1, 2, 3, 4, 5, 12))
        return Script(connection, lambda option: [acknowledge(option)], early)

    with listening(serve) as (place, _):
        async with opened(f"rfc2217://{place}"):
            pass


@pytest.mark.real_time
async def test_a_flood_has_to_wait():
    """A server that never stops sending fills no memory while the loop is busy."""
    sent = 0

    def answer(option):
        yield acknowledge(option)
        nonlocal sent
        while option[:2] == b"\x0c\2":
            yield bytes(1 << 16)
            sent += 1 << 16

    with scripted(answer) as (place, _):
        async with opened(f"rfc2217://{place}") as (ear, _):
            await ear.until(lambda: ear.heard)
            last = -1
            for _ in range(100):
                threading.Event().wait(0.1)  # the loop hangs
                if last == sent:
                    break
                last = sent
            else:
                pytest.fail("it never had to wait")
        assert ear.lost == []


@pytest.mark.real_time
async def test_closing_does_not_wait_for_a_silent_server(monkeypatch):
    monkeypatch.setattr(client, "WAKE_UP", 5.0)

    with scripted(lambda option: [acknowledge(option)]) as (place, _):
        async with opened(f"rfc2217://{place}") as (_, transport):
            await asyncio.sleep(0.05)  # now it waits for bytes
            async with timed(1.5):
                await transport.close()
            assert threads() == []


def test_telnet_is_taken_apart_wherever_it_is_cut():
    stream = b"a" + IAC + IAC + b"b" + IAC + SB + b",x" + IAC + IAC + b"y" + IAC + SE + b"c"
    stream += IAC + WILL + b"\3" + b"d" + IAC + DO + IAC + b"e"
    for cut in range(len(stream) + 1):
        telnet = Telnet()
        (one, first), (two, second) = telnet.feed(stream[:cut]), telnet.feed(stream[cut:])
        assert one + two == b"a\xffbcde"
        assert first + second == [SB + b",x\xffy", WILL + b"\3", DO + IAC]


@given(st.lists(st.binary() | st.sampled_from([IAC, SB, SE, DO, WILL, COM]), max_size=50))
def test_any_telnet_bytes(pieces):
    telnet = Telnet()
    out = [telnet.feed(piece) for piece in pieces]
    assert sum(len(payload) for payload, _ in out) <= sum(map(len, pieces))
    assert all(len(c) >= 1 and len(c) <= 258 for _, commands in out for c in commands)
    assert len(telnet._option or b"") <= 257


@given(st.binary())
def test_doubled_bytes_come_back_single(data):
    assert Telnet().feed(data.replace(IAC, IAC + IAC)) == (data, [])
