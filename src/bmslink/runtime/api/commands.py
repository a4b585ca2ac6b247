"""Routes that change what the service does. Those that change a pack are in `changes`.

Each is in the journal with who asked, before it is done, unless the journal cannot be written.
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial

from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bmslink.runtime.api.access.peer import peer_of
from bmslink.runtime.api.answers import Refusal, answer
from bmslink.runtime.api.requests import command, service_of
from bmslink.runtime.service import Service
from bmslink.storage.journal import Journal, JournalError

__all__ = ["ROUTES", "journalled"]

_log = logging.getLogger(__name__)


async def journalled(request: Request, what: str, **about: object) -> None:
    """Write down who asked for what. Raises `JournalError`."""
    add = partial(Journal().append, "service", what=what, peer=peer_of(request.scope).to_dict())
    await asyncio.to_thread(add, **about)


async def _noted(request: Request, what: str) -> None:
    """The same for what sends nothing to a pack: a full disk does not keep anybody from it."""
    try:
        await journalled(request, what)
    except JournalError as error:
        _log.warning("%s is done, but not in the journal: %s", what, error)


async def reload(request: Request) -> Response:
    """Read the file again; only what changed starts anew. A file with a mistake changes nothing."""
    await command(request)
    await _noted(request, "reload")
    outcome = await service_of(request).reload()
    return answer(outcome.to_dict())


async def stop(request: Request) -> Response:
    """End the service, once this is answered."""
    await command(request)
    await _noted(request, "stop")
    response = answer({"stopping": True})
    response.background = BackgroundTask(_stop, service_of(request))
    return response


async def test_alerts(request: Request) -> Response:
    """Send a test to each receiver of alerts; says of each why it did not arrive."""
    await command(request)
    await _noted(request, "alerts/test")
    alerting = service_of(request).alerting
    if alerting is None:
        raise Refusal(
            409, "This service sends no alerts.", "Name receivers under [alerts.to.NAME]."
        )
    found = await alerting.test()
    receivers = [{"to": name, "arrived": not why, "error": why} for name, why in found.items()]
    return answer({"receivers": receivers})


async def _stop(service: Service) -> None:
    service.stop()


ROUTES = (
    Route("/api/v1/reload", reload, methods=["POST"]),
    Route("/api/v1/stop", stop, methods=["POST"]),
    Route("/api/v1/alerts/test", test_alerts, methods=["POST"]),
)
