"""Looking at one pack: everything that is asked of it, and nothing that changes it.

Each step may fail alone: what it would have told stays unknown, with the reason.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, TypeVar
from urllib.parse import quote

from bmslink.board import Board
from bmslink.config.checks.cells import cells_of
from bmslink.config.records.open_changes import open_change
from bmslink.config.verify import Verification, verify
from bmslink.discovery.scan import detect
from bmslink.discovery.serial import search, target_of
from bmslink.errors import (
    BmsError,
    LinkTimeout,
    SettingError,
    TargetError,
    TransportError,
    UnknownDevice,
)
from bmslink.link.transport import Endpoint, Pin
from bmslink.moments import utc_now
from bmslink.packs import NamedPack
from bmslink.protocols.abilities import can_adjust
from bmslink.reports.doctor.compared import doubts_of_policies, settings_of_mates
from bmslink.reports.doctor.facts import LineFacts, PackFacts
from bmslink.reports.doctor.line import pieces_of, read_line
from bmslink.reports.doctor.ports import look_at_port
from bmslink.runtime.acting.orphans import orphans
from bmslink.served_board import ServedBoard, board_at
from bmslink.storage.journal import Journal, on_disk
from bmslink.survey import survey
from bmslink.target import settled

__all__ = ["Tell", "look_at_pack"]

Tell = Callable[[str], None]
T = TypeVar("T")

_READINGS, _APART = 5, 0.3
"""How often it is read, and how far apart, s: a line that loses one answer in five shows it."""
_SILENCE = 2.0
"""s in which nothing is asked: masters ask about once a second."""
_LINES = ("serial", "tcp", "rfc2217")
_ENTRIES = 50
"""Of the board's own log, the newest."""
_SHORT = "not looked at in short"
_SEARCH = 45.0
"""s that looking for another speed, address or protocol may take."""


class _KeptRecording(io.BytesIO):
    """A recording that can be read after it was closed."""

    def close(self) -> None:
        """It stays."""


async def look_at_pack(
    endpoint: Endpoint,
    *,
    named: NamedPack | None = None,
    pin: Pin | None = None,
    tell: Tell = lambda text: None,
    quick: bool = False,
    board: Board | None = None,
) -> PackFacts:
    """Everything that can be found out of a pack by reading. `quick`: less of the line, and no
    search where nothing answers. `board`: one that is open already, and stays so.

    Raises `TargetError` for a target that cannot be, and nothing that a pack, its line or a service
    can cause: that is in the facts.
    """
    facts = PackFacts(target=endpoint, named=named)
    if endpoint.scheme == "serial":
        facts.port = look_at_port(endpoint.place)
    record = _KeptRecording()
    try:
        async with _opened(facts, board, record, pin, tell) as opened:
            await _ask(facts, opened, tell, quick=quick)
            await _beside(facts, opened, tell, quick=quick)
    except TargetError:
        raise  # wrong usage, and no finding
    except (BmsError, OSError) as error:
        if not facts.answers:
            facts.error = error if isinstance(error, BmsError) else TransportError(str(error))
            facts.heard = error.heard if isinstance(error, LinkTimeout) else ""
    facts.capture = record.getvalue()
    if facts.line is not None and settled(facts.target):
        read_line(
            facts.line, str(facts.target.protocol), pieces_of(facts.capture), streams=facts.streams
        )
    if facts.error is not None and not quick:
        await _search(facts, tell)
    return facts


@asynccontextmanager
async def _opened(
    facts: PackFacts, board: Board | None, record: _KeptRecording, pin: Pin | None, tell: Tell
) -> AsyncIterator[Board]:
    if board is not None:
        facts.target = board.target
        yield board
        return
    made = board_at(facts.target, record=record, pin=pin, tell=tell, named=facts.named)
    if isinstance(made, ServedBoard):
        facts.service = f"process {made.served.service.pid}"
        if facts.port is not None:
            facts.port.served = True
    elif not settled(facts.target):
        facts.target = await detect(facts.target, pin=pin, tell=tell)
        made = board_at(facts.target, record=record, pin=pin, tell=tell, named=facts.named)
    async with made as opened:
        facts.target = opened.target
        yield opened


async def _try(facts: PackFacts, what: str, work: Awaitable[T]) -> T | None:
    """What a step gives; `None` where it failed, with the reason in `missing`."""
    try:
        return await work
    except (BmsError, OSError) as error:
        facts.missing[what] = str(error)
        if isinstance(error, LinkTimeout):
            facts.heard = error.heard
            facts.unanswered.add(what)
        return None


async def _ask(facts: PackFacts, board: Board, tell: Tell, *, quick: bool) -> None:
    """Who it is, some readings, its settings, its clock."""
    tell(f"{board.target.label}: reading")
    direct = not isinstance(board, ServedBoard)
    if direct:
        facts.streams = board.driver.streams
        facts.settable = frozenset(
            what for what in ("clock", "soc") if can_adjust(board.driver, what).supported
        )
        facts.line = LineFacts(patience=board.link.timing.timeout)
    facts.identity = await _try(facts, "identity", board.inspect())
    begun = None if facts.line is None else replace(board.link.counters)
    readings = []
    for _ in range(2 if quick else _READINGS):
        reading = await _try(facts, "reading", board.read())
        if reading is not None:
            readings.append(reading)
        elif not facts.answers and not readings:
            break
        await asyncio.sleep(_APART)
    facts.readings = tuple(readings)
    if facts.line is not None and begun is not None:
        now = board.link.counters
        facts.line.requests = now.requests - begun.requests
        facts.line.timeouts = now.timeouts - begun.timeouts
        facts.line.turnaround = now.turnaround
    if not facts.answers:
        raise LinkTimeout(facts.missing.get("identity", "It does not answer."), facts.heard)
    if readings:
        facts.missing.pop("reading", None)
    if not quick and direct:
        await _listen(facts, board)
    found = await _try(facts, "settings", survey(board))
    if found is not None:
        facts.table = found[1]
        facts.identity = facts.identity or found[0]
        _cells(facts)
    if not quick:
        facts.past = await _try(facts, "past", board.past(_ENTRIES, brief=True))
    await _clock(facts, board)


def _cells(facts: PackFacts) -> None:
    if facts.table is None or facts.identity is None:
        return
    try:
        facts.cells = cells_of(facts.table, facts.identity, facts.reading, named=facts.named)
    except BmsError as error:
        facts.missing["chemistry"] = str(error)


async def _clock(facts: PackFacts, board: Board) -> None:
    facts.clock = await _try(facts, "clock", board.clock())
    if facts.clock is not None:
        shown = facts.clock if facts.clock.tzinfo else facts.clock.astimezone()
        facts.clock_off = (shown - utc_now()).total_seconds()


async def _listen(facts: PackFacts, board: Board) -> None:
    """What comes while nobody here asks. A board that streams always talks."""
    if facts.line is None or facts.streams or board.target.scheme == "replay":
        return
    await asyncio.sleep(max(_SILENCE / 2, 2 * facts.line.patience))  # late answers are no strangers
    framer = board.link.framer
    before = framer.position + framer.pending
    seen = board.link.recent
    await asyncio.sleep(_SILENCE)
    facts.line.unasked = framer.position + framer.pending - before
    facts.line.listened = _SILENCE
    if facts.line.unasked:
        heard = board.link.recent
        news = heard[-facts.line.unasked :] if heard != seen else b""
        facts.line.masters = _named(news)


def _named(data: bytes) -> str:
    from bmslink.protocols.recognition import recognise

    found = recognise(data)
    return f"frames of {found.name}" if found.explained * 2 > len(data) else ""


async def _beside(facts: PackFacts, board: Board, tell: Tell, *, quick: bool) -> None:
    """What is written of the pack on the disk, and what a service and its bank know."""
    journal = Journal()

    async def cut() -> str:
        return open_change(board, facts.identity, journal=journal) or ""

    served = isinstance(board, ServedBoard)
    facts.open_change = (
        (board.open_change or "") if isinstance(board, ServedBoard)
        else await _try(facts, "journal", cut()) or ""
    )  # fmt: skip
    if facts.table is not None and not quick:
        facts.verification = await _try(facts, "verification", _verified(board, journal))
    if board.target.scheme != "replay" and not quick:
        told = await _try(facts, "orphans", orphans(board, journal))
        if told is not None:
            facts.orphans = tuple(row.to_dict() for row in told.rows)
            facts.switches = dict(told.states)
    if isinstance(board, ServedBoard):
        facts.life = await _try(facts, "life", _life(board))
    if facts.named is not None and facts.table is not None and not quick:
        facts.mates = await settings_of_mates(facts, tell)
    if facts.named is not None and facts.table is not None:
        facts.policies = doubts_of_policies(facts)
    if not served:
        facts.missing["life"] = "only a service that runs for weeks knows it"
    if quick:
        for what in ("verification", "orphans", "mates", "silence", "past"):
            facts.missing.setdefault(what, _SHORT)


async def _verified(board: Board, journal: Journal) -> Verification:
    """Whether it holds what its last change wrote; where there never was one, nothing is read."""
    if isinstance(board, ServedBoard):
        return await verify(board)  # its changes are in the journal of the service
    if await on_disk(lambda: _any_change(journal)):
        return await verify(board, journal=journal)
    return Verification(result="nothing", sentence="No change is on record here.")


def _any_change(journal: Journal) -> bool:
    return any(each.get("event") == "begin" for each in journal.records())


async def _life(board: ServedBoard) -> Any:
    from bmslink.service_client import ServiceClient

    client = ServiceClient(board.served.service, board.target.label)
    path = f"/api/v1/packs/{quote(board.served.name, safe='')}/life"
    status, found = await client.ask("GET", path)
    if status != 200:
        raise SettingError(str(found.get("error") or "the service does not say"))
    return found.get("life")


async def _search(facts: PackFacts, tell: Tell) -> None:
    """Where nothing answers: at which speed, address or in which protocol something does. It only
    asks what `scan` asks."""
    scheme = facts.target.scheme
    silent = isinstance(facts.error, LinkTimeout | UnknownDevice)
    if scheme not in _LINES or not silent or facts.service:
        return
    bare = Endpoint(scheme, facts.target.place)
    tell(f"{facts.target.label}: looking for what answers there")
    try:
        async with asyncio.timeout(_SEARCH):
            result = await search(bare, tell, thorough=False)
    except (BmsError, OSError, TimeoutError) as error:
        facts.searched = f"The search ended early ({error or 'it took too long'})."
        return
    asked = str(facts.target)
    facts.found = tuple(text for hit in result.hits if (text := str(target_of(bare, hit))) != asked)
    facts.searched = result.why or "; ".join(result.tried)
