"""Routes of the clients that ask a pack through the service: questions, changes, its line.

An answer comes in lines (`accept: application/x-ndjson`): progress, signs of life, and how it
ended; else as one JSON object. A change goes on when its client is gone. What a change is, and
whether it may be, is decided in `bmslink.runtime.jobs`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import TYPE_CHECKING, Any, TypeVar

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from bmslink.errors import BmsError
from bmslink.jsonable import to_json
from bmslink.runtime.acting.people import ActingWish
from bmslink.runtime.api.access.peer import peer_of
from bmslink.runtime.api.answers import Refusal, answer
from bmslink.runtime.api.commands import journalled
from bmslink.runtime.api.requests import command, pack_of
from bmslink.runtime.clients.capture_feed import CaptureFeed
from bmslink.runtime.clients.client_job import ClientJob, Work
from bmslink.runtime.jobs import PackJobs, hello
from bmslink.runtime.lending import Lending, Release
from bmslink.service_client import LINES
from bmslink.service_errors import error_form
from bmslink.service_forms import (
    AdjustmentRequest,
    ChangeRequest,
    DrillRequest,
    ResumeRequest,
    SwitchRequest,
    of_form,
)

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

__all__ = ["ROUTES"]

T = TypeVar("T")
_ANY = (str, int, float, bool, list, dict, type(None))
_DEFAULT_TIME = 600.0  # s


class _LineAnswer(StreamingResponse):
    """An answer in lines; whatever ends it ends what makes them."""

    def __init__(self, lines: AsyncGenerator[dict[str, Any], None]) -> None:
        self._made = lines
        super().__init__(_texts(lines), media_type=LINES, headers={"cache-control": "no-store"})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._made.aclose()


async def _texts(lines: AsyncGenerator[dict[str, Any], None]) -> AsyncGenerator[str, None]:
    try:
        async for line in lines:
            yield f"{to_json(line)}\n"
    except BmsError as error:
        yield f"{to_json(error_form(error))}\n"


async def _done(request: Request, work: Work, *, lasts: bool = False) -> Response:
    """Do it, and answer as it was asked for."""
    job = ClientJob(work, peer_of(request.scope).to_dict(), lasts=lasts)
    if LINES in request.headers.get("accept", ""):
        return _LineAnswer(job.lines())
    return answer({"done": await job.result()})


async def _request(request: Request, kind: type[T]) -> T:
    """The wish of a client, in its form. Raises `Refusal`, `UsageError`."""
    keys = dict.fromkeys(kind.__annotations__, _ANY)
    return of_form(kind, await command(request, **keys), asked=True)


async def greet(request: Request) -> Response:
    """What the service knows of a pack without asking it."""
    return answer(hello(pack_of(request)))


async def ask(request: Request) -> Response:
    """A question: `read`, `identify`, `inspect`, `map`, `settings`, `glance`, `survey`, `clock`."""
    slots = (list, type(None))
    more = await command(
        request,
        what=str,
        after=(str, type(None)),
        anew=bool,
        again=bool,
        slots=slots,
        keys=list,
        limit=int,
    )
    what, jobs = str(more.get("what", "")), PackJobs(pack_of(request))
    return await _done(request, lambda tell: jobs.ask(tell, what, more))


async def look(request: Request) -> Response:
    """What the journal says of a pack: `verify`, `cut off`, `unfinished`, `orphans`."""
    what = str((await command(request, what=str)).get("what", ""))
    jobs = PackJobs(pack_of(request))
    return await _done(request, lambda tell: jobs.look(tell, what))


async def plan(request: Request) -> Response:
    """What a change would do."""
    wish, jobs = await _request(request, ChangeRequest), PackJobs(pack_of(request))
    return await _done(request, lambda tell: jobs.plan(tell, wish))


async def apply(request: Request) -> Response:
    """A change that was agreed to, by the fingerprint of its plan."""
    wish, jobs = await _request(request, ChangeRequest), PackJobs(pack_of(request))
    return await _done(request, lambda tell: jobs.apply(tell, wish), lasts=True)


async def resume(request: Request) -> Response:
    """The end of a change that was cut off."""
    wish, jobs = await _request(request, ResumeRequest), PackJobs(pack_of(request))
    return await _done(request, lambda tell: jobs.resume(tell, wish), lasts=True)


async def switch(request: Request) -> Response:
    """Charging, discharging or balancing, on or off; off goes before everything else."""
    wish, jobs = await _request(request, SwitchRequest), PackJobs(pack_of(request))
    return await _done(request, lambda tell: jobs.switch(tell, wish), lasts=not wish.dry_run)


async def act(request: Request) -> Response:
    """Of what acts: `{"do": "stop"}`, `reset`, `resume`, `override`."""
    keys = dict.fromkeys(ActingWish.__struct_fields__, _ANY)
    wish, jobs = ActingWish.of(await command(request, **keys)), PackJobs(pack_of(request))
    return await _done(request, lambda tell: jobs.act(tell, wish), lasts=True)


async def confirm(request: Request) -> Response:
    """A person says that the board that answers now, another than before, is meant."""
    await command(request)
    pack = pack_of(request)
    await journalled(request, "confirm", pack=pack.name, target=pack.target)
    return answer({"done": {"confirmed": pack.confirm()}})


async def drill(request: Request) -> Response:
    """Which switches a drill would try; with `agreed`, the drill of those."""
    wish, jobs = await _request(request, DrillRequest), PackJobs(pack_of(request))
    return await _done(request, lambda tell: jobs.drill(tell, wish), lasts=wish.agreed is not None)


async def balance(request: Request) -> Response:
    """A balancing session: `{"do": "plan"}`, `start` what was agreed to, `cancel`, `resume`,
    `restore`."""
    wish = await command(request, do=str, options=dict, agreed=str)
    jobs = PackJobs(pack_of(request))
    lasts = wish.get("do") not in (None, "plan", "status")
    return await _done(request, lambda tell: jobs.balance(tell, wish), lasts=lasts)


async def balance_status(request: Request) -> Response:
    """How the balancing session of a pack is, or the last one was."""
    return answer(await asyncio.to_thread(pack_of(request).balance.status))


async def adjustment(request: Request) -> Response:
    """What setting the clock or the state of charge would do."""
    wish, jobs = await _request(request, AdjustmentRequest), PackJobs(pack_of(request))
    return await _done(request, lambda tell: jobs.draft_adjustment(tell, wish))


async def adjust(request: Request) -> Response:
    """The clock or the state of charge."""
    wish, jobs = await _request(request, AdjustmentRequest), PackJobs(pack_of(request))
    return await _done(request, lambda tell: jobs.adjust(tell, wish), lasts=True)


# ------------------------------------------------------------------------------------- the line


async def lend(request: Request) -> Response:
    """The line of a pack, in lines: what comes on it, and how it came back. To stop reading gives
    it back. `{"end": true}` ends somebody else's lending."""
    wish, pack = await command(request, seconds=(int, float), to=str, end=bool), pack_of(request)
    if wish.get("end"):
        return answer({"ended": _end(request, Lending)})
    lending = Lending(pack, float(wish.get("seconds", _DEFAULT_TIME)), _text(wish, "to"))
    await journalled(
        request, "lend", pack=pack.name, target=pack.target, until=lending.until.isoformat()
    )
    _lent(request)[lending.key] = lending
    return _LineAnswer(_forgetting(request, lending.key, lending.lines()))


async def _forgetting(
    request: Request, key: str, lines: AsyncGenerator[dict[str, Any], None]
) -> AsyncGenerator[dict[str, Any], None]:
    try:
        async for line in lines:
            yield line
    finally:
        await lines.aclose()
        _lent(request).pop(key, None)


async def send(request: Request) -> Response:
    """Bytes of a guest, as hex digits."""
    wish, pack = await command(request, tx=str, end=bool), pack_of(request)
    lending = _lent(request).get(request.path_params["key"])
    if not isinstance(lending, Lending) or lending.pack is not pack:
        raise Refusal(404, "No line is lent under this key.")
    if wish.get("end"):
        lending.end("given back")
    try:
        data = bytes.fromhex(str(wish.get("tx", "")))
    except ValueError:
        raise Refusal(400, "tx is bytes, as hex digits.") from None
    if data:
        await lending.send(data)
    return answer({"sent": len(data)})


async def release(request: Request) -> Response:
    """The Bluetooth link of a pack is given up, for so many seconds; `{"end": true}` has it
    back."""
    wish, pack = await command(request, seconds=(int, float), end=bool), pack_of(request)
    if wish.get("end"):
        return answer({"ended": _end(request, Release)})
    away = Release(pack, float(wish.get("seconds", _DEFAULT_TIME)), "a phone")
    await journalled(
        request, "release", pack=pack.name, target=pack.target, until=away.until.isoformat()
    )
    begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(away.run(begun))
    _lent(request)[away.key] = away
    task.add_done_callback(lambda _: _lent(request).pop(away.key, None))
    await asyncio.wait([begun, task], return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        await task  # raises why not
    return answer({"until": away.until.isoformat()})


def _text(wish: dict[str, Any], key: str) -> str:
    text = "".join(c for c in str(wish.get(key) or "") if c.isprintable())[:100]
    return text or "another program"


def _lent(request: Request) -> dict[str, Lending | Release | CaptureFeed]:
    """What clients have of lines now, by their keys."""
    state = request.app.state
    if not hasattr(state, "lent"):
        state.lent = {}
    found: dict[str, Lending | Release | CaptureFeed] = state.lent
    return found


def _end(request: Request, kind: type[Lending | Release]) -> int:
    pack = pack_of(request)
    lent = [e for e in _lent(request).values() if isinstance(e, (Lending, Release))]
    mine = [e for e in lent if isinstance(e, kind) and e.pack is pack]
    for each in mine:
        each.end("given back")
    return len(mine)


async def capture(request: Request) -> Response:
    """The lines of a capture file of a pack's line, as they come."""
    feed = CaptureFeed(pack_of(request))
    _lent(request)[feed.key] = feed
    return _LineAnswer(_forgetting(request, feed.key, feed.lines()))


async def end_capture(request: Request) -> Response:
    """The end of one."""
    await command(request)
    feed = _lent(request).get(request.path_params["key"])
    if not isinstance(feed, CaptureFeed):
        raise Refusal(404, "Nothing is recorded under this key.")
    feed.end()
    return answer({"ended": 1})


_AT = "/api/v1/packs/{name}"
_COMMANDS: dict[str, Callable[..., Any]] = {
    "ask": ask,
    "look": look,
    "plan": plan,
    "apply": apply,
    "resume": resume,
    "switch": switch,
    "acting": act,
    "drill": drill,
    "balance": balance,
    "confirm": confirm,
    "adjustment": adjustment,
    "adjust": adjust,
    "lend": lend,
    "lend/{key}": send,
    "release": release,
    "capture/{key}": end_capture,
}
ROUTES: tuple[Route, ...] = (
    Route(f"{_AT}/hello", greet),
    Route(f"{_AT}/balance", balance_status),
    Route(f"{_AT}/capture", capture),
    *(Route(f"{_AT}/{road}", does, methods=["POST"]) for road, does in _COMMANDS.items()),
)
