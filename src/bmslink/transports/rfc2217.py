"""Serial servers that also set the line: `rfc2217://192.168.1.20:4000?baudrate=9600`.

pyserial's client (telnet with the COM port option) in the reader thread of the serial ports. Its
own reader of the socket trusts the server: it ends with a traceback on a stray end-of-option, and
gathers whatever comes without limit. So that loop is replaced here, negotiation stays pyserial's.
"""

from __future__ import annotations

import queue
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from serial import SerialException, rfc2217
from serial.rfc2217 import COM_PORT_OPTION, DO, DONT, IAC, SB, SE, SET_CONTROL, WILL, WONT

from bmslink.errors import LinkClosed, TransportError
from bmslink.link.transport import Line, split_host
from bmslink.transports.rs485 import Port
from bmslink.transports.serial import WAKE_UP, ThreadedTransport
from bmslink.transports.tcp import connect_error

__all__ = ["RFC2217Transport", "Telnet"]

_PIECE = 1024
_WAITING = 64
"""Pieces that may wait for a busy reader before the server has to."""
_LONGEST_OPTION = 256
_MODEM_LINES = (
    rfc2217.SET_CONTROL_DTR_ON,
    rfc2217.SET_CONTROL_DTR_OFF,
    rfc2217.SET_CONTROL_RTS_ON,
    rfc2217.SET_CONTROL_RTS_OFF,
)


class RFC2217Transport(ThreadedTransport):
    """A serial port of another machine, 8N1, at the target's baud rate."""

    def line(self) -> Line:
        host, port = split_host(self._place)
        return Line(f"rfc2217://{host.lower()}:{port}", f"{self._baudrate} baud")

    @contextmanager
    def _connect(self) -> Iterator[Port]:
        client = _RFC2217Client(self._place, self._baudrate)
        try:
            client.open()
        except (OSError, ValueError) as exc:
            raise self._open_error(exc) from exc
        try:
            yield client
        finally:
            client.close()

    def _open_error(self, exc: Exception) -> TransportError:
        """pyserial tells by its texts alone what went wrong, but keeps the socket's own error."""
        cause = exc.__context__
        if "not open port" in str(exc) and isinstance(cause, (OSError, UnicodeError)):
            return connect_error(self._place, cause)
        if isinstance(exc, ConnectionError):
            return LinkClosed(f"{self._place} hung up at once: does it serve another client?")
        if "RFC2217 or BINARY" in str(exc):
            return TransportError(
                f"{self._place} does not answer as an rfc2217 server does: if it passes the bytes "
                f"as they are, write tcp://{self._place}."
            )
        return TransportError(
            f"{self._place} does not set its port to {self._baudrate} baud, 8N1: {exc}."
        )


class Telnet:
    """Takes a telnet stream apart, whatever it holds."""

    def __init__(self) -> None:
        self._command = b""
        """What began with IAC and waits for its end."""
        self._option: bytearray | None = None

    def feed(self, data: bytes) -> tuple[bytes, list[bytes]]:
        """The payload, and the commands: `DO x`, …, or `SB` with the option's content.

        Overlong options and commands without meaning here are dropped.
        """
        if IAC not in data and not self._command and self._option is None:
            return data, []
        payload, commands = bytearray(), []
        for number in data:
            byte = bytes([number])
            if self._command in (DO, DONT, WILL, WONT):
                commands.append(self._command + byte)
                self._command = b""
            elif self._command == IAC:
                self._command = byte if byte in (DO, DONT, WILL, WONT) else b""
                if byte == IAC:
                    self._keep(byte, payload)
                elif byte == SB:
                    self._option = bytearray()
                elif byte == SE:
                    if self._option is not None and len(self._option) <= _LONGEST_OPTION:
                        commands.append(SB + self._option)
                    self._option = None
            elif byte == IAC:
                self._command = IAC
            else:
                self._keep(byte, payload)
        return bytes(payload), commands

    def _keep(self, byte: bytes, payload: bytearray) -> None:
        if self._option is None:
            payload += byte
        elif len(self._option) <= _LONGEST_OPTION:
            self._option += byte


class _RFC2217Client(rfc2217.Serial):
    """pyserial's client with a reader of ours. What pyserial keeps to itself is in `vars(self)`."""

    def __init__(self, place: str, baudrate: int) -> None:
        self._place = place
        self._hung_up = False
        super().__init__(baudrate=baudrate, timeout=WAKE_UP)
        self.port = f"rfc2217://{place}"

    def from_url(self, url: str) -> tuple[str, int]:
        return split_host(self._place)  # pyserial's own reading knows options that ours has not

    def _own(self, name: str) -> Any:
        return vars(self).get(name)

    def _telnet_read_loop(self) -> None:
        """pyserial's reader thread."""
        received: queue.Queue[bytes | None] = self._own("_read_buffer")
        connection: socket.socket = self._own("_socket")
        telnet = Telnet()
        with suppress(OSError):  # the server is gone
            while self.is_open:
                try:
                    data = connection.recv(_PIECE)
                except TimeoutError:
                    continue
                if not data:
                    break
                payload, commands = telnet.feed(data)
                for command in commands:
                    self._obey(command[:1], command[1:])
                if payload:
                    received.put(payload)
                while received.qsize() > _WAITING and self.is_open:
                    time.sleep(0.01)
        self._hung_up = True  # before anybody wakes up, who would find this thread alive and wait
        received.put(None)

    def read(self, size: int = 1) -> bytes:
        data: bytes = super().read(size)
        if not data and self._hung_up:
            raise SerialException("the server hung up")
        return data

    def _obey(self, command: bytes, content: bytes) -> None:
        if command == SB:
            if content[:1] == COM_PORT_OPTION:
                for setting in self._own("_rfc2217_options").values():
                    if setting.ack_option == content[1:2] and setting.value is not None:
                        setting.check_answer(content[2:])
            return
        known = [option for option in self._own("_telnet_options") if option.option == content]
        for option in known:
            option.process_incoming(command)
        if not known and command in (DO, WILL):
            self.telnet_send_option(WONT if command == DO else DONT, content)

    def rfc2217_set_control(self, value: bytes) -> None:
        """A server whose port has no modem lines never confirms them (ser2net in front of a
        pseudo-terminal): they are set where they can be, and not waited for."""
        if value in _MODEM_LINES:
            self.rfc2217_send_subnegotiation(SET_CONTROL, value)
        else:
            super().rfc2217_set_control(value)

    def cancel_read(self) -> None:
        """Hang up: calls that read or write return."""
        with suppress(OSError):
            self._own("_socket").shutdown(socket.SHUT_RDWR)

    cancel_write = cancel_read

    def close(self) -> None:
        connection: socket.socket | None = self._own("_socket")
        super().close()
        if connection is not None:
            connection.close()  # pyserial leaves it open where the server hung up first
