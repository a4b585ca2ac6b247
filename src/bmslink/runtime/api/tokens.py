"""The token that requests over TCP carry: 256 random bits in a file for the owner alone."""

from __future__ import annotations

import os
import re
import secrets
import stat
from pathlib import Path

from bmslink.errors import PortDenied, TargetError, TransportError
from bmslink.storage.atomic import read_bounded, replace_file, require_regular

__all__ = ["ensure_token", "read_token"]

_BYTES = 32
_LONGEST = 1024
_GOOD = re.compile(r"[A-Za-z0-9._~+/=-]{32,512}")


def ensure_token(path: Path) -> str:
    """The token in a file; a new one where there is no file. Raises `TransportError`."""
    try:
        if require_regular(path):
            return read_token(path)
        token = secrets.token_urlsafe(_BYTES)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        replace_file(path, f"{token}\n".encode(), overwrite=False)
    except FileExistsError:  # another program was quicker
        return read_token(path)
    except OSError as exc:
        if isinstance(exc, TransportError):
            raise
        raise TransportError(
            f"The token file {path} cannot be written ({exc.strerror or exc}); without a token "
            "nobody may ask over TCP."
        ) from exc
    return token


def read_token(path: Path) -> str:
    """The token in a file. No message repeats what is in it.

    Raises `TransportError`, `PortDenied` for a file that others may read, `TargetError` for one
    that holds no good token.
    """
    try:
        text = read_bounded(path, _LONGEST, "token file").decode("ascii", "replace").strip()
        mode = path.stat().st_mode
    except OSError as exc:
        raise TransportError(
            f"The token file {path} cannot be read: {exc.strerror or exc}."
        ) from exc
    if os.name == "posix" and mode & (stat.S_IRWXO | stat.S_IWGRP):
        raise PortDenied(f"Others may read the token file {path}: `chmod 600` it.")
    if not _GOOD.fullmatch(text):
        raise TargetError(
            f"The token file {path} holds no token: 32 to 512 letters, digits and ._~+/=- are one."
            " Remove the file, and a new one is made."
        )
    return text
