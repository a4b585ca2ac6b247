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

__all__ = ["PortInfo", "serial_ports", "usb_of"]

_TTYS = Path("/sys/class/tty")
_MOST = 64
_SERIAL = 6
"""Characters of an adapter's serial number; makers leave `0001` in thousands of them."""
_VIRTUAL = re.compile(r"rfcomm|bluetooth|debug-console|wlan-debug", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class PortInfo:
    """A serial port."""

    device: str
    description: str = ""
    skip_reason: str = ""
    """Why nobody needs to look there; empty: somebody should."""


def serial_ports() -> list[PortInfo]:
    """The ports of this machine, the likeliest first."""
    found = list_ports.comports()[:_MOST]
    return [_port(info) for info in sorted(found, key=lambda p: (p.vid is None, p.device))]


def usb_of(device: str) -> dict[str, str]:
    """What names the USB adapter behind a port: `usb` (its serial number, with that of the port
    where it has several) and `socket` (where it is plugged in), as far as it says; else nothing.

    A serial number that two adapters here have, or that is too short to be one, names none.
    """
    ports = list_ports.comports()
    info = next((port for port in ports if port.device == device and port.vid is not None), None)
    if info is None:
        return {}
    found = {}
    serial, location = info.serial_number or "", info.location or ""
    root, _, part = location.partition(":")
    twins = {
        (port.location or port.device).partition(":")[0]
        for port in ports
        if (port.vid, port.pid, port.serial_number) == (info.vid, info.pid, info.serial_number)
    }
    if len(serial) >= _SERIAL and len(twins) == 1:
        found["usb"] = f"{info.vid:04x}:{info.pid or 0:04x} {serial} {part}".rstrip()
    if root:
        found["socket"] = location
    return found


def _port(info: ListPortInfo) -> PortInfo:
    text = "".join(c for c in info.description or "" if c.isprintable())[:60]
    words = "" if text in ("n/a", info.device) else text
    return PortInfo(info.device, words, _reason(info.device, f"{text} {info.hwid or ''}"))


def _reason(device: str, about: str) -> str:
    if _VIRTUAL.search(device) or "bthenum" in about.lower() or "bluetooth" in about.lower():
        return "leads to Bluetooth or to a log"
    name = device.rpartition("/")[2]
    if sys.platform.startswith("linux") and name.startswith("ttyS"):
        with suppress(OSError):
            if (_TTYS / name / "type").read_text().strip() == "0":  # PORT_UNKNOWN
                return "has no hardware behind it"
    return ""
