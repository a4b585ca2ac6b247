"""Routes that only look: packs, the state of the service, the stream, health, metrics."""

from __future__ import annotations

import importlib
import os
from importlib.util import find_spec
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bmslink.moments import utc_now
from bmslink.registry import running_version
from bmslink.runtime.api.access.guard import HEALTH, TRUSTED
from bmslink.runtime.api.answers import Refusal, answer, answer_list, error
from bmslink.runtime.api.requests import pack_named, pack_of, service_of
from bmslink.runtime.api.stream import EventStreams
from bmslink.runtime.feed import FeedItem
from bmslink.runtime.health import POLLED
from bmslink.runtime.outputs.packs_now import all_now
from bmslink.runtime.pack_task import ServedPack
from bmslink.runtime.service import Service

__all__ = ["ROUTES"]

_SHORT = ("voltage", "current", "power", "soc", "alarms", "protections", "faults", "time")
"""Of a reading, in the list of all packs: a thousand whole readings are three megabytes."""


async def packs(request: Request) -> Response:
    """All packs, each in short."""
    return await answer_list("packs", map(_short, [*service_of(request).packs.values()]))


async def pack(request: Request) -> Response:
    """One pack: reading, identity, health, limits with reasons."""
    found = pack_of(request)
    bank = service_of(request).banks.of(found.name)
    beside = {"bank": None if bank is None else bank.short()}
    return answer({**_whole(found), **beside, **_energy(request, found)})


async def life(request: Request) -> Response:
    """How the battery of one pack is used and worn, and how sure each number is."""
    found = pack_of(request)
    facts = service_of(request).life(found.name)
    return answer({"pack": found.name, "life": None if facts is None else facts.to_dict()})


async def status(request: Request) -> Response:
    """The service: its packs in short, links, versions."""
    service = service_of(request)
    about = {"version": running_version(), "pid": os.getpid(), **request.app.state.listening}
    known = {**service.about(), "banks": service.banks.status(), **about}
    states = ({**_state(each), **_energy(request, each)} for each in [*service.packs.values()])
    return await answer_list("packs", states, **known)


async def stream(request: Request) -> Response:
    """Server-sent events; `?pack=NAME` and `?kind=KIND`, both repeatable, ask for less."""
    service = service_of(request)
    names = request.query_params.getlist("pack")
    chosen = [pack_named(service, name) for name in names]

    def now() -> list[FeedItem]:
        shown = chosen or service.packs.values()
        return [item for each in shown for item in _latest(each)] + _banks_now(service)

    streams: EventStreams = request.app.state.streams
    return streams.response(
        request.query_params.getlist("kind"),
        [each.name for each in chosen] or None,
        now,
        body=request.method != "HEAD",
    )


async def banks(request: Request) -> Response:
    """Every bank: its limits with their reasons, its shares, its packs."""
    return answer({"schema": 1, "banks": service_of(request).banks.status()})


async def bank(request: Request) -> Response:
    """The same of one bank."""
    kept, name = service_of(request).banks.banks, request.path_params["name"]
    if name not in kept:
        known = ", ".join(kept)
        raise Refusal(
            404,
            f"There is no bank named {name!r} here.",
            f"There are: {known}." if known else "bmslink.toml names banks in [banks.NAME].",
        )
    return answer({"schema": 1, **kept[name].status()})


async def health(request: Request) -> Response:
    """200 while every pack is polled, else 503. Who may ask for packs is told which are not, and
    why; without a token over TCP there are only numbers."""
    packs = [*service_of(request).packs.values()]
    missing = [each for each in packs if not _polled(each)]
    polled = len(packs) - len(missing)
    if not missing:
        return answer({"packs": len(packs), "polled": polled})
    more: dict[str, Any] = {}
    if getattr(request.state, TRUSTED, False):
        more["not_polled"] = [
            {"pack": each.name, "state": each.health.state, "since": each.health.since,
             "error": each.health.error}
            for each in missing[:_MOST_NAMED]
        ]  # fmt: skip
    return error(
        503,
        f"{len(missing)} of {len(packs)} packs are not polled.",
        "GET /api/v1/status says why.",
        packs=len(packs),
        polled=polled,
        **more,
    )


_MOST_NAMED = 100


_HAS_METRICS = find_spec("prometheus_client") is not None
if _HAS_METRICS:  # it takes 60 ms, for which no pack has to wait at the first scrape
    importlib.import_module("bmslink.outputs.metrics")


async def metrics(request: Request) -> Response:
    """The values of all packs that are read, in the format that is asked for."""
    if not _HAS_METRICS:
        raise Refusal(
            501,
            "Metrics need prometheus-client.",
            "Install it with `pip install 'bmslink[service]'`.",
        )
    from bmslink.outputs.metrics import expose

    service = service_of(request)
    text, content_type = await expose(
        all_now(service),
        request.headers.get("accept", ""),
        version=running_version(),
        began=service.began,
        banks={name: bank.values for name, bank in service.banks.banks.items()},
    )
    return Response(text, headers={"content-type": content_type, "cache-control": "no-store"})


ROUTES = (
    Route("/api/v1/packs", packs),
    Route("/api/v1/packs/{name}", pack),
    Route("/api/v1/banks", banks),
    Route("/api/v1/banks/{name}", bank),
    Route("/api/v1/packs/{name}/life", life),
    Route("/api/v1/status", status),
    Route("/api/v1/stream", stream),
    Route(HEALTH, health),
    Route("/metrics", metrics),
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
    return pack.health.state in POLLED


def _banks_now(service: Service) -> list[FeedItem]:
    """The limits of each bank, which a listener begins with too."""
    known = [bank.decision for bank in service.banks.banks.values()]
    now = utc_now()
    return [FeedItem("limits", "", now, each) for each in known if each is not None]


def _latest(pack: ServedPack) -> list[FeedItem]:
    """What a listener begins with, so that it need not wait for a slow pack."""
    found = {"reading": pack.reading, "limits": pack.decision}
    return [
        FeedItem("reading" if kind == "reading" else "limits", pack.name, utc_now(), data)
        for kind, data in found.items()
        if data is not None
    ]
