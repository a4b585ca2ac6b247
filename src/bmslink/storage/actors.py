"""For whom this program acts, as the journal writes it down."""

from __future__ import annotations

import getpass
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

__all__ = ["acting_for", "actor", "actor_name"]

_PEER: ContextVar[Mapping[str, Any] | None] = ContextVar("_PEER", default=None)
"""For whom this program acts, where it is a service."""


@contextmanager
def acting_for(peer: Mapping[str, Any]) -> Iterator[None]:
    """What begins inside is written down as asked for by this program: its `user` and `pid`, or its
    `address`."""
    token = _PEER.set(peer)
    try:
        yield
    finally:
        _PEER.reset(token)


def actor_name() -> str:
    """For whom this program acts now, in a word."""
    return str(actor()["user"]) or "somebody"


def actor() -> dict[str, Any]:
    """The same for a record: `user`, and the `peer` where there is one."""
    peer = _PEER.get()
    if peer is None:
        return {"user": _user()}
    asked = peer.get("user") or peer.get("address") or peer.get("uid")
    return {"user": str(asked or _user()), "peer": dict(peer)}


def _user() -> str:
    """Who it is, by the environment or (services and containers set none) by the system."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # an account without a name
        return ""
