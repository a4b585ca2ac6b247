"""Who is at the other end of a connection: on a local socket the kernel says it."""

from __future__ import annotations

import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["UNKNOWN", "Peer", "peer_of", "peer_of_socket"]

_CREDENTIALS = struct.Struct("3i")
"""struct ucred: pid, uid, gid."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A program that talks to the service."""

    local: bool
    """Whether it came through a local socket, whose permissions decided that it may."""
    address: str = ""
    """Of a connection over TCP: where it is from."""
    pid: int | None = None
    uid: int | None = None
    gid: int | None = None

    @property
    def key(self) -> str:
        """What its requests are counted under: the user, or the address."""
        return f"uid {self.uid}" if self.local else f"address {self.address}"

    def to_dict(self) -> dict[str, Any]:
        """For the journal: `uid`, `user` and `pid` of a local program, else `address`."""
        if not self.local:
            return {"address": self.address}
        found = {"uid": self.uid, "user": _user(self.uid), "pid": self.pid}
        return {key: value for key, value in found.items() if value not in (None, "")}


UNKNOWN = Peer(local=False)
"""What is not known to be local is treated as a stranger."""


def peer_of(scope: Mapping[str, Any]) -> Peer:
    """The peer of a request, as the server put it into the ASGI scope."""
    state = scope.get("state")
    found = state.get("peer") if isinstance(state, Mapping) else None
    return found if isinstance(found, Peer) else UNKNOWN


def peer_of_socket(connection: Any) -> Peer:
    """The peer of an accepted socket."""
    family = getattr(connection, "family", None)
    if family == getattr(socket, "AF_UNIX", object()):
        pid, uid, gid = _credentials(connection)
        return Peer(local=True, pid=pid, uid=uid, gid=gid)
    try:
        name = connection.getpeername()
    except (AttributeError, OSError):  # it has gone already
        return UNKNOWN
    return Peer(local=False, address=str(name[0])) if isinstance(name, tuple) else UNKNOWN


def _credentials(connection: socket.socket) -> tuple[int | None, int | None, int | None]:
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None:  # other systems than Linux: the permissions of the socket have to do
        return None, None, None
    try:
        data = connection.getsockopt(socket.SOL_SOCKET, option, _CREDENTIALS.size)
    except OSError:
        return None, None, None
    pid, uid, gid = _CREDENTIALS.unpack(data)
    return pid or None, uid, gid  # pid 0: of another container


def _user(uid: int | None) -> str:
    if uid is None:
        return ""
    try:
        import pwd
    except ImportError:  # not a Unix
        return ""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:  # an account without a name
        return ""
