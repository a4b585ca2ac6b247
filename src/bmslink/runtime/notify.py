"""What systemd is told of the service: that it is ready, alive, reloading, stopping.

One datagram to the socket that NOTIFY_SOCKET names. Without one, or where it cannot be reached,
nothing happens: the service does not depend on who started it.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time

__all__ = ["notify", "ready", "reloading", "stopping", "watchdog_interval"]


def notify(*lines: str) -> bool:
    """Send `KEY=VALUE` lines; tells whether somebody took them."""
    place = os.environ.get("NOTIFY_SOCKET", "")
    family = getattr(socket, "AF_UNIX", None)
    if not place.startswith(("/", "@")) or family is None:
        return False
    address = f"\0{place[1:]}" if place.startswith("@") else place
    with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as out:
        out.setblocking(False)
        out.sendto("\n".join(line.replace("\n", " ") for line in lines).encode(), address)
        return True
    return False


def ready(status: str) -> bool:
    """The packs are being polled, or their back-off runs: what can be done at the start is."""
    return notify("READY=1", f"STATUS={status}")


def reloading() -> bool:
    """A new configuration is looked at; `ready` ends it."""
    return notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")


def stopping() -> bool:
    """The service ends."""
    return notify("STOPPING=1")


def watchdog_interval() -> float | None:
    """How often systemd wants a sign of life, s: half of what it waits. `None`: not at all."""
    pid = os.environ.get("WATCHDOG_PID", "")
    if pid and pid != str(os.getpid()):
        return None
    text = os.environ.get("WATCHDOG_USEC", "")
    if not text.isascii() or not text.isdecimal() or len(text) > 15 or int(text) == 0:
        return None
    return int(text) / 2_000_000
