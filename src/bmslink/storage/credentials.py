"""Secrets in files of their own, which the files of the configuration need not hold: pins, tokens,
addresses for alerts, and what systemd hands over to a service (`LoadCredential=NAME:FILE`).

One rule for all of them: a file that others on this machine may read or change is refused. The
owner, and a group that may only read, are those whom somebody chose.
"""

from __future__ import annotations

import os
import shlex
import stat
from pathlib import Path

from bmslink.errors import TargetError
from bmslink.storage.atomic import read_bounded

__all__ = ["credential", "read_pin", "read_secret", "require_private"]

_LONGEST_PIN_FILE = 1024
_OTHERS = stat.S_IRWXO | stat.S_IWGRP
_CONTAINER = Path("/run/secrets")
"""Where container engines put secrets: readable by all (0444), in a container of its own."""


def credential(name: str) -> Path | None:
    """The file of a secret; `None` where none of that name was handed over."""
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    if not folder or not name or "/" in name or name.startswith("."):
        return None
    path = Path(folder) / name
    return path if path.is_file() else None


def require_private(path: Path, secret: str) -> None:
    """Refuse a file with a `secret` that others on this machine may read or change: `TargetError`,
    with the command that mends it. `OSError` where there is no such file. A pipe or a terminal is
    no file, and Windows has other rights. What a container engine hands over may be read by all.
    """
    mode = path.stat().st_mode
    if path.resolve().is_relative_to(_CONTAINER):
        mode &= ~stat.S_IROTH
    if os.name == "posix" and stat.S_ISREG(mode) and mode & _OTHERS:
        everybody = mode & stat.S_IRWXO
        who, what = ("Everybody", "read") if everybody else ("The group", "change")
        raise TargetError(
            f"{who} on this machine may {what} {path}, which holds {secret}: "
            f"`chmod o=,g-w {shlex.quote(str(path))}` mends that."
        )


def read_secret(path: Path, most: int, secret: str) -> bytes:
    """All of a file that holds a `secret`. Raises `TargetError` for one that others may read or
    change, and `OSError` for one that cannot be read or is longer than `most` bytes; no message
    repeats what is in it."""
    require_private(path, secret)
    return read_bounded(path, most, secret.partition(" ")[2] or secret)


def read_pin(path: str) -> str:
    """The first line of a file that holds a pin. Raises `TargetError`; no message repeats what is
    in the file."""
    try:
        require_private(Path(path), "a pin")
        with Path(path).open("rb") as file:
            text = file.read(_LONGEST_PIN_FILE).decode().lstrip("\ufeff")
    except TargetError:
        raise
    except (OSError, ValueError) as exc:  # ValueError: no text, or a name no file can have
        why = exc.strerror if isinstance(exc, OSError) else "it holds no pin"
        raise TargetError(f"The pin file {path} cannot be read: {why}.") from None
    pin = text.partition("\n")[0].strip()
    if not pin:
        raise TargetError(f"The pin file {path} holds no pin: its first line is empty.")
    return pin
