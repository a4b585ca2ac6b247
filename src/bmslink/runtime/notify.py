"""What systemd is told: one datagram to the socket that it names. Elsewhere nothing happens."""

from __future__ import annotations

import logging
import os
import socket

__all__ = ["notify", "watchdog_interval"]

_log = logging.getLogger(__name__)


def notify(state: str) -> bool:
    """Send it (`READY=1`, `WATCHDOG=1`, `STOPPING=1`, `STATUS=...`); whether anybody was there to
    hear it. Never waits, never raises."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address or not hasattr(socket, "AF_UNIX"):
        return False
    if address.startswith("@"):
        address = f"\0{address[1:]}"
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as way:
            way.setblocking(False)
            way.sendto(state.encode(), address)
    except OSError as error:
        _log.debug("systemd was not told %s: %s", state, error)
        return False
    return True


def watchdog_interval() -> float | None:
    """How often systemd wants to hear `WATCHDOG=1`, s: half of what it allows. `None`: never."""
    given, process = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID", "")
    if not given.isdigit() or int(given) == 0 or (process and process != str(os.getpid())):
        return None
    return int(given) / 2_000_000
