"""Routes that change a pack: they hand over to `bmslink.runtime.jobs`."""

from __future__ import annotations

from starlette.routing import Route

__all__ = ["ROUTES"]

ROUTES: tuple[Route, ...] = ()
