"""Who may ask over TCP: with which token (256 random bits in a file for the owner alone), and by
which name of this machine."""

from __future__ import annotations

import ipaddress
import re
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from bmslink.errors import TargetError, TransportError
from bmslink.storage.atomic import replace_file, require_regular
from bmslink.storage.credentials import read_secret

__all__ = ["Access", "ensure_token", "read_token"]

_BYTES = 32
_LONGEST = 1024
_GOOD = re.compile(r"[A-Za-z0-9._~+/=-]{32,512}")


@dataclass(frozen=True, slots=True)
class Access:
    """Who may ask over TCP; a local socket needs none of it."""

    token: str | None = field(default=None, repr=False)
    """Without one nobody may."""
    hosts: frozenset[str] = frozenset()
    """Names of this machine, besides its addresses: what `Host` may say."""
    loopback: bool = True
    """Whether only programs on this machine reach it."""

    def allows_host(self, name: str) -> bool:
        """Whether `Host` may hold this: a foreign page that has its name resolved to this machine
        still sends its own name."""
        host = _host_name(name)
        if host in self.hosts or host == "localhost":
            return True
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return False
        return address.is_loopback or not self.loopback


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

    Raises `TransportError`, and `TargetError` for a file that others may read and for one that
    holds no good token.
    """
    try:
        text = read_secret(path, _LONGEST, "a token").decode("ascii", "replace").strip()
    except OSError as exc:
        raise TransportError(
            f"The token file {path} cannot be read: {exc.strerror or exc}."
        ) from exc
    if not _GOOD.fullmatch(text):
        raise TargetError(
            f"The token file {path} holds no token: 32 to 512 letters, digits and ._~+/=- are one."
            " Remove the file, and a new one is made."
        )
    return text


def _host_name(text: str) -> str:
    """The name in `NAME`, `NAME:PORT`, `[ADDRESS]:PORT`; empty for what is none of these."""
    found = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+))(?::\d{1,5})?", text)
    return "" if found is None else (found[1] or found[2]).lower().rstrip(".")
