"""What routes need of a request: the service, the pack that is meant, the command."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request

from bmslink.arguments import did_you_mean
from bmslink.runtime.api.answers import Refusal
from bmslink.runtime.pack_task import ServedPack
from bmslink.runtime.service import Service

__all__ = ["command", "pack_named", "pack_of", "service_of"]

_DEEPEST = 32


def service_of(request: Request) -> Service:
    """The service that this application shows."""
    service = request.app.state.service
    if not isinstance(service, Service):
        raise TypeError("the application has no service")
    return service


def pack_of(request: Request) -> ServedPack:
    """The pack that the path names. Raises `Refusal` (404)."""
    return pack_named(service_of(request), request.path_params["name"])


def pack_named(service: Service, name: str) -> ServedPack:
    """A pack by its name; `Refusal` (404) where there is none."""
    pack = service.packs.get(name)
    if pack is None:
        there = ", ".join(list(service.packs)[:20]) or "none"
        shown = "".join(c if c.isprintable() else "?" for c in name[:64])
        raise Refusal(
            404,
            f"No pack named {shown!r} is served.",
            f"There are: {there}.{did_you_mean(shown, service.packs)}",
        )
    return pack


async def command(request: Request, **keys: type | tuple[type, ...]) -> dict[str, Any]:
    """The JSON object of a command; `keys` are those that it may have, with their types.

    Raises `Refusal` (400) for anything else: what is not understood is not done in part.
    """
    try:
        values = json.loads(
            await request.body(), object_pairs_hook=_once, parse_constant=_no_constant
        )
    except (ValueError, RecursionError) as exc:
        raise Refusal(400, "This is no JSON object.", str(exc)[:200]) from None
    if not isinstance(values, dict):
        raise Refusal(400, "This is no JSON object.", 'It looks like {"key": "value"}.')
    for key, value in values.items():
        if key not in keys:
            known = ", ".join(keys) or "none"
            raise Refusal(400, f"Unknown key {key[:64]!r}.", f"Known are: {known}.")
        kinds = keys[key]
        if not isinstance(value, kinds) or (isinstance(value, bool) and not _takes_bool(kinds)):
            raise Refusal(400, f"{key} is of the wrong type.")
    _require_shallow(values, 0)
    return values


def _takes_bool(kinds: type | tuple[type, ...]) -> bool:
    return bool in (kinds if isinstance(kinds, tuple) else (kinds,))


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object; one that says two things under one key means neither."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("A key is there twice.")
    return found


def _no_constant(word: str) -> Any:
    raise ValueError(f"{word} is no JSON.")


def _require_shallow(value: Any, depth: int) -> None:
    if depth > _DEEPEST:
        raise Refusal(400, "The object is nested too deeply.")
    inner = (
        value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    )
    for each in inner:
        _require_shallow(each, depth + 1)
