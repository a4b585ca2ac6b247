"""What every place that a simulated pack listens at has: a line for each client, and why not."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Protocol

from bmslink.errors import PortBusy, PortDenied, PortNotFound, TransportError

__all__ = ["ClientLine", "OpenLine", "listen_error"]


class ClientLine(Protocol):
    """One client's line to the device."""

    def receive(self, data: bytes) -> None:
        """Bytes from the client."""

    def close(self) -> None:
        """Nothing is delivered any more."""


class OpenLine(Protocol):
    """Makes a line that delivers what the device says; `client_rate` tells the client's baud
    rate where it has one."""

    def __call__(
        self, deliver: Callable[[bytes], None], *, client_rate: Callable[[], int] | None = None
    ) -> ClientLine: ...


def listen_error(exc: OSError, place: str) -> TransportError:
    """Why a program cannot listen at a place, in words."""
    if exc.errno == errno.EADDRINUSE:
        return PortBusy(f"{place} is taken by another program; choose another port, or 0.")
    if exc.errno == errno.EACCES:
        return PortDenied(f"You may not listen on {place}; ports below 1024 are reserved.")
    if exc.errno == errno.EADDRNOTAVAIL:
        return PortNotFound(f"This machine has no address for {place}.")
    return TransportError(f"Cannot listen on {place}: {exc.strerror or exc}.")
