"""Secrets in files of their own, which the files of the configuration need not hold: a pin, and
what systemd hands over to a service (`LoadCredential=NAME:FILE`)."""

from __future__ import annotations

import os
from pathlib import Path

from bmslink.errors import TargetError

__all__ = ["credential", "read_pin"]

_LONGEST_PIN_FILE = 1024


def credential(name: str) -> Path | None:
    """The file of a secret; `None` where none of that name was handed over."""
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    if not folder or not name or "/" in name or name.startswith("."):
        return None
    path = Path(folder) / name
    return path if path.is_file() else None


def read_pin(path: str) -> str:
    """The first line of a file that holds a pin. Raises `TargetError`; no message repeats what is
    in the file."""
    try:
        with Path(path).open("rb") as file:
            text = file.read(_LONGEST_PIN_FILE).decode().lstrip("\ufeff")
    except (OSError, ValueError) as exc:  # ValueError: no text, or a name no file can have
        why = exc.strerror if isinstance(exc, OSError) else "it holds no pin"
        raise TargetError(f"The pin file {path} cannot be read: {why}.") from None
    pin = text.partition("\n")[0].strip()
    if not pin:
        raise TargetError(f"The pin file {path} holds no pin: its first line is empty.")
    return pin
