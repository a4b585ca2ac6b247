"""Which serial ports there are, and which of them are worth a look.

Left out, with the reason: ports that lead to Bluetooth or to a log, and built-in ports without
hardware behind them (Linux lists up to 32 of those). USB adapters come first.
"""

from __future__ import annotations

import re
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from serial.tools import list_ports
from serial.tools.list_ports_common import ListPortInfo

__all__ = ["Port", "serial_ports"]

_TTYS = Path("/sys/class/tty")
_MOST = 64
_VIRTUAL = re.compile(r"rfcomm|bluetooth|debug-console|wlan-debug", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Port:
    """A serial port."""

    device: str
    description: str = ""
    skip: str = ""
    """Why nobody needs to look there; empty: somebody should."""


def serial_ports() -> list[Port]:
    """The ports of this machine, the likeliest first."""
    found = list_ports.comports()[:_MOST]
    return [_port(info) for info in sorted(found, key=lambda p: (p.vid is None, p.device))]


def _port(info: ListPortInfo) -> Port:
    text = "".join(c for c in info.description or "" if c.isprintable())[:60]
    words = "" if text in ("n/a", info.device) else text
    return Port(info.device, words, _reason(info.device, f"{text} {info.hwid or ''}"))


def _reason(device: str, about: str) -> str:
    if _VIRTUAL.search(device) or "bthenum" in about.lower() or "bluetooth" in about.lower():
        return "leads to Bluetooth or to a log"
    name = device.rpartition("/")[2]
    if sys.platform.startswith("linux") and name.startswith("ttyS"):
        with suppress(OSError):
            if (_TTYS / name / "type").read_text().strip() == "0":  # PORT_UNKNOWN
                return "has no hardware behind it"
    return ""
