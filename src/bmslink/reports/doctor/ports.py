"""A serial port as the system shows it: nothing is opened, so nothing is disturbed."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

from bmslink.reports.doctor.facts import PortFacts
from bmslink.transports.port_owner import holders, is_pty, stale_lock
from bmslink.transports.ports import serial_ports

__all__ = ["look_at_port", "look_at_ports"]

_TTYS = Path("/sys/class/tty")
_TEXT = 64


def look_at_port(place: str) -> PortFacts:
    """What the system says of a port. Raises nothing: what cannot be seen stays as it is."""
    path = place if "/" in place or os.name == "nt" else f"/dev/{place}"
    path = str(Path(path).expanduser()) if path.startswith("~") else path
    facts = PortFacts(path=path)
    if os.name == "nt":
        facts.exists = any(port.device.upper() == path.upper() for port in serial_ports())
    else:
        facts.exists = Path(path).exists()
    if not facts.exists:
        facts.others = tuple(p.device for p in serial_ports() if not p.skip_reason)[:8]
        return facts
    facts.allowed = os.access(path, os.R_OK | os.W_OK)
    _owner(facts, Path(path))
    with suppress(OSError):
        facts.holders = tuple(holders(path))
    if not is_pty(path):
        facts.stale_lock = stale_lock(path)
        _adapter(facts, Path(os.path.realpath(path)).name)
    return facts


def look_at_ports() -> tuple[PortFacts, ...]:
    """The same of all ports that somebody should look at."""
    return tuple(look_at_port(port.device) for port in serial_ports() if not port.skip_reason)


def _owner(facts: PortFacts, path: Path) -> None:
    if sys.platform == "win32":
        return
    with suppress(OSError, KeyError):
        facts.owner = path.owner()
    with suppress(OSError, KeyError):
        if path.stat().st_mode & 0o060 == 0o060:
            facts.group = path.group()


def _adapter(facts: PortFacts, name: str) -> None:
    """The USB adapter behind a port, and its latency timer, by sysfs."""
    device = _TTYS / name / "device"
    driver = ""
    with suppress(OSError):
        driver = (device / "driver").resolve(strict=True).name
    timer = device / "latency_timer"
    with suppress(OSError, ValueError):
        facts.latency = int(timer.read_text()[:8])
        facts.latency_file = str(_TTYS / name / "device" / "latency_timer")
    with suppress(OSError):
        for folder in list(device.resolve(strict=True).parents)[:4]:
            if (folder / "idVendor").is_file():
                words = [_line(folder / each) for each in ("idVendor", "idProduct")]
                about = [_line(folder / each) for each in ("manufacturer", "product")]
                facts.usb = " ".join([":".join(words), *filter(None, about), f"({driver})"])
                return


def _line(path: Path) -> str:
    with suppress(OSError):
        text = path.read_text("utf-8", "replace")[:_TEXT].strip()
        return "".join(c for c in text if c.isprintable())
    return ""
