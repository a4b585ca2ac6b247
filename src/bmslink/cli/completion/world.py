"""What can be completed on this machine: named packs and banks, serial ports."""

from __future__ import annotations

import os
import stat

__all__ = ["banks", "ports", "targets_of"]

_LARGEST = 1 << 20
_DEVICES = ("ttyUSB", "ttyACM", "ttyAMA", "ttySC", "ttyXRUSB", "cu.usb", "cu.wchusb", "cu.SLAB")
"""How the names of ports begin that a pack may be at; a built-in ttyS is seldom one."""
_DEV = "/dev"


def _document() -> dict[str, object]:
    """All files of names in one; a file that is wrong or slow has none: this is not the place to
    say so."""
    import tomllib

    from bmslink.config_place import config_files

    found: dict[str, object] = {}
    for path in reversed(config_files()):
        text = _text(str(path))
        try:
            parts = tomllib.loads(text)
        except ValueError:
            continue
        for name in ("packs", "banks"):
            part, before = parts.get(name), found.get(name)
            if isinstance(part, dict):
                found[name] = {**(before if isinstance(before, dict) else {}), **part}
    return found


def _text(path: str) -> str:
    """A regular file; what else may be there (a pipe) is not waited for."""
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except OSError:
        return ""
    with os.fdopen(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            return ""
        try:
            return file.read(_LARGEST).decode("utf-8")
        except (OSError, ValueError):
            return ""


def targets_of() -> dict[str, str]:
    """Named packs -> their targets."""
    packs = _document().get("packs")
    if not isinstance(packs, dict):
        return {}
    return {
        name: str(pack.get("target", "")) if isinstance(pack, dict) else ""
        for name, pack in packs.items()
        if name.isprintable()
    }


def banks() -> list[str]:
    """Named banks."""
    found = _document().get("banks")
    return [name for name in found if name.isprintable()] if isinstance(found, dict) else []


def ports() -> list[str]:
    """Serial ports, as the folder of devices lists them; none is opened."""
    try:
        with os.scandir(_DEV) as entries:
            return sorted(entry.path for entry in entries if entry.name.startswith(_DEVICES))
    except OSError:
        return []
