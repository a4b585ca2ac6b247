"""The direction of an RS485 adapter, where nobody but us switches it.

Most adapters drive the pair by themselves while bytes go out. Some leave it to RTS: on to send,
off to listen. It must go off before the answer begins, and not before the last stop bit is out.
Modbus leaves at least 3.5 characters of silence between a request and its answer, so it goes off
one character after the end.
"""

from __future__ import annotations

import time
from typing import Protocol

from bmslink.errors import TransportError

__all__ = ["RTS_MODES", "DirectedPort", "Port", "directed"]

RTS_MODES = ("toggle", "on", "off")
_BITS = 10  # of a character, 8N1


class Port(Protocol):
    """What we use of a pyserial port."""

    @property
    def in_waiting(self) -> int: ...
    def read(self, size: int = 1, /) -> bytes: ...
    def write(self, data: bytes, /) -> int | None: ...
    def cancel_read(self) -> None: ...
    def cancel_write(self) -> None: ...


class LinePort(Port, Protocol):
    """A port with modem lines."""

    baudrate: int
    rts: bool

    def flush(self) -> None: ...


def directed(port: LinePort, mode: str, place: str) -> Port:
    """A port whose RTS follows `mode` (one of `RTS_MODES`); `TransportError` if it has none."""
    try:
        port.rts = mode == "on"
    except OSError as exc:
        raise TransportError(f"{place} has no RTS line to switch: leave out rts={mode}.") from exc
    return DirectedPort(port) if mode == "toggle" else port


class DirectedPort:
    """A port that raises RTS while it sends."""

    def __init__(self, port: LinePort) -> None:
        self._port = port

    @property
    def in_waiting(self) -> int:
        return self._port.in_waiting

    def read(self, size: int = 1, /) -> bytes:
        return self._port.read(size)

    def write(self, data: bytes, /) -> int | None:
        port = self._port
        port.rts = True
        try:
            end = time.monotonic() + (len(data) + 1) * _BITS / port.baudrate
            sent = port.write(data)
            port.flush()
            # An adapter's own buffer is often not waited for: the wire takes this long at least.
            time.sleep(max(0.0, end - time.monotonic()))
        finally:
            port.rts = False
        return sent

    def cancel_read(self) -> None:
        self._port.cancel_read()

    def cancel_write(self) -> None:
        self._port.cancel_write()
