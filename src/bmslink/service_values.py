"""Objects as plain JSON values, and back: what a service and its clients say to each other.

Nothing here loads what changes a pack, so that a command which only asks starts quickly.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from bmslink.errors import TransportError, UsageError

__all__ = ["in_form", "of_form", "other_version"]

T = TypeVar("T")


def in_form(value: Any) -> Any:
    """An object as plain JSON values."""
    return msgspec.json.decode(msgspec.json.encode(value, enc_hook=_mapping))


def _mapping(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    raise NotImplementedError(f"{type(value).__name__} has no form")


def of_form(kind: type[T], value: Any, *, asked: bool = False) -> T:
    """The object that plain JSON values are the form of.

    Raises `UsageError` for what was `asked` and cannot be meant, else `TransportError`.
    """
    try:
        found: T = msgspec.convert(value, kind, strict=False, str_keys=True)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        if asked:
            raise UsageError(f"This cannot be meant: {error}. Nothing was sent.") from error
        raise other_version(kind.__name__) from error
    return found


def other_version(what: str) -> TransportError:
    """The error for what a service of another version said."""
    return TransportError(
        f"The service answered with {what} of another form: it runs another version of bmslink. "
        "Restart it."
    )
