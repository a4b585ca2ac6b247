"""The application: routes behind the guard. A new group of routes is a line in `make_app`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException

from bmslink.errors import BmsError
from bmslink.runtime.api import changes, commands, looking, remembered
from bmslink.runtime.api.access.guard import RequestGuard
from bmslink.runtime.api.access.tokens import Access
from bmslink.runtime.api.answers import Refusal, on_exception
from bmslink.runtime.api.stream import EventStreams
from bmslink.runtime.service import Service

if TYPE_CHECKING:
    from starlette.types import ASGIApp

__all__ = ["make_app"]


def make_app(
    service: Service, access: Access | None = None, listening: Mapping[str, Any] | None = None
) -> ASGIApp:
    """The ASGI application of a service. Without `access` only local programs may ask.

    `listening` is what its status says of where it can be asked.
    """
    inside = Starlette(
        routes=[*looking.ROUTES, *remembered.ROUTES, *commands.ROUTES, *changes.ROUTES],
        exception_handlers=dict.fromkeys(
            (HTTPException, Refusal, BmsError, Exception), on_exception
        ),
    )
    inside.state.service = service
    inside.state.listening = dict(listening or {})
    inside.state.streams = EventStreams(service.feed)
    return RequestGuard(inside, access or Access())
