"""Routes that only look: packs, the state of the service, the stream, health."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bmslink.registry import running_version
from bmslink.runtime.api.answers import answer, answer_list, error
from bmslink.runtime.api.guard import HEALTH
from bmslink.runtime.api.requests import pack_named, pack_of, service_of
from bmslink.runtime.api.stream import EventStreams
from bmslink.runtime.feed import FeedItem
from bmslink.runtime.pack_task import ServedPack

__all__ = ["ROUTES"]

_SHORT = ("voltage", "current", "power", "soc", "alarms", "protections", "faults", "time")
"""Of a reading, in the list of all packs: a thousand whole readings are three megabytes."""


async def packs(request: Request) -> Response:
    """All packs, each in short."""
    return await answer_list("packs", map(_short, [*service_of(request).packs.values()]))


async def pack(request: Request) -> Response:
    """One pack: reading, identity, health, limits with reasons."""
    found = pack_of(request)
    return answer({**_whole(found), **_energy(request, found)})


async def status(request: Request) -> Response:
    """The service: its packs in short, links, versions."""
    service = service_of(request)
    about = {"version": running_version(), "pid": os.getpid(), **request.app.state.listening}
    known = {**service.about(), **about}
    states = ({**_state(each), **_energy(request, each)} for each in [*service.packs.values()])
    return await answer_list("packs", states, **known)


async def stream(request: Request) -> Response:
    """Server-sent events; `?pack=NAME` and `?kind=KIND`, both repeatable, ask for less."""
    service = service_of(request)
    names = request.query_params.getlist("pack")
    chosen = [pack_named(service, name) for name in names]

    def now() -> list[FeedItem]:
        shown = chosen or service.packs.values()
        return [item for each in shown for item in _latest(each)]

    streams: EventStreams = request.app.state.streams
    return streams.response(
        request.query_params.getlist("kind"),
        [each.name for each in chosen] or None,
        now,
        body=request.method != "HEAD",
    )


async def health(request: Request) -> Response:
    """200 while every pack is polled, else 503; no names, so that it needs no token."""
    polled = [_polled(each) for each in service_of(request).packs.values()]
    if all(polled):
        return answer({"packs": len(polled), "polled": len(polled)})
    return error(
        503,
        f"{len(polled) - sum(polled)} of {len(polled)} packs are not polled.",
        "GET /api/v1/status says why.",
        packs=len(polled),
        polled=sum(polled),
    )


_POLLED = ("ok", "replaced", "ended")

ROUTES = (
    Route("/api/v1/packs", packs),
    Route("/api/v1/packs/{name}", pack),
    Route("/api/v1/status", status),
    Route("/api/v1/stream", stream),
    Route(HEALTH, health),
)


def _whole(pack: ServedPack) -> dict[str, Any]:
    """Everything known of a pack."""
    more = {"identity": pack.identity, "reading": pack.reading, "limits": pack.decision}
    return {
        **pack.status(),
        **{key: None if each is None else each.to_dict() for key, each in more.items()},
    }


def _energy(request: Request, pack: ServedPack) -> dict[str, Any]:
    """What flowed in and out of it, as counted from its readings."""
    found = service_of(request).watcher.energy(pack.name)
    return {"energy": None if found is None else found.to_dict()}


def _short(pack: ServedPack) -> dict[str, Any]:
    known = pack.status()
    about = {key: known[key] for key in ("name", "target", "health", "age", "interval")}
    reading = {} if pack.reading is None else pack.reading.to_dict()
    return {**about, "reading": {key: reading[key] for key in _SHORT} if reading else None}


def _state(pack: ServedPack) -> dict[str, Any]:
    """How a pack is, without who it is, what it said, and why its limits are what they are."""
    decision = pack.decision
    permits = (
        None
        if decision is None
        else {name: getattr(decision, name).allowed for name in ("charge", "discharge", "balance")}
    )
    return {**pack.status(), "polled": _polled(pack), "permits": permits}


def _polled(pack: ServedPack) -> bool:
    return pack.health.state in _POLLED


def _latest(pack: ServedPack) -> list[FeedItem]:
    """What a listener begins with, so that it need not wait for a slow pack."""
    found = {"reading": pack.reading, "limits": pack.decision}
    return [
        FeedItem("reading" if kind == "reading" else "limits", pack.name, datetime.now(UTC), data)
        for kind, data in found.items()
        if data is not None
    ]
