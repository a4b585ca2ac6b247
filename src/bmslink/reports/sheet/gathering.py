"""Gathering what a commissioning sheet says. It only reads: the board, the journal, what other
parts of bmslink keep on the disk."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from bmslink import registry
from bmslink.board import Board
from bmslink.config.files.compare import Side, compare, side_of_profile, side_of_table
from bmslink.config.files.presets import fitted_preset
from bmslink.config.files.profile import Profile, parse_profile
from bmslink.config.records.history import records_of
from bmslink.control.act.consent import approval_of
from bmslink.control.files import parse_policies
from bmslink.control.sessions.kept import SessionStore
from bmslink.discovery.scan import detect
from bmslink.errors import BmsError, TargetError
from bmslink.link.transport import Endpoint, Pin
from bmslink.packs import NamedPack
from bmslink.reports.doctor.examine import judged
from bmslink.reports.doctor.facts import PackFacts
from bmslink.reports.doctor.look import look_at_pack
from bmslink.reports.pictures import Sources, make_picture
from bmslink.reports.sheet.facts import PackSheet, SheetApproval
from bmslink.runtime.acting.orphans import DRILL
from bmslink.runtime.acting.start import pack_key, powers
from bmslink.served_board import board_at
from bmslink.storage.journal import Journal
from bmslink.target import settled

__all__ = ["sheet_of_board", "sheet_of_pack", "sheets_of_file"]

_PAST = 60
"""Entries of the board's own log."""
_FROM_FILE = "this report was made from a recording"
_SLOTS = 300
T = TypeVar("T")
Tell = Callable[[str], None]


async def sheet_of_pack(
    endpoint: Endpoint,
    *,
    named: NamedPack | None = None,
    pin: Pin | None = None,
    profile: Profile | None = None,
    tell: Tell = lambda text: None,
) -> PackSheet:
    """One pack, opened and closed here; through the service that serves it, where one does.

    `profile`: what its settings are compared with; without one, with the preset of its chemistry.
    A pack that cannot be read has a sheet that says why. Raises `TargetError` for a target that
    cannot be.
    """
    title = named.name if named is not None else endpoint.name or str(endpoint)
    try:
        if not settled(endpoint) and registry.find(endpoint) is None:
            endpoint = await detect(endpoint, pin=pin, tell=tell)
        async with board_at(endpoint, pin=pin, tell=tell, named=named) as board:
            return await sheet_of_board(board, title=title, profile=profile, tell=tell)
    except TargetError:
        raise  # wrong usage
    except (BmsError, OSError) as error:
        found = PackSheet(title=title, target=str(endpoint), error=str(error))
        _add_records(found, str(endpoint))
        return found


async def sheet_of_board(
    board: Board,
    *,
    title: str = "",
    profile: Profile | None = None,
    tell: Tell = lambda text: None,
) -> PackSheet:
    """The same of a board that is open, and stays so."""
    named = board.named
    facts = await look_at_pack(board.target, named=named, tell=tell, board=board)
    found = PackSheet(
        title=title or (named.name if named is not None else str(board.target)),
        target=str(board.target),
        identity=facts.identity,
        reading=facts.reading,
        table=facts.table,
        chemistry=facts.cells.chemistry,
        life=facts.life,
        missing=dict(facts.missing),
        error="" if facts.error is None else str(facts.error),
    )
    examination = judged([facts], None)
    found.findings = examination.findings
    found.right, found.not_known = examination.right, examination.not_known
    tell(f"{board.target.label}: its own history")
    found.past = await _try(found, "past", board.past(_PAST))
    _compare(found, facts, profile)
    await asyncio.to_thread(_add_records, found, str(board.target))
    await asyncio.to_thread(_add_session, found, board)
    if found.identity is not None:
        key = pack_key(board, found.identity)
        found.approval = await _try(found, "approval", asyncio.to_thread(_approval, key))
    return found


async def _try(found: PackSheet, what: str, work: Awaitable[T]) -> T | None:
    try:
        return await work
    except (BmsError, OSError) as error:
        found.missing[what] = str(error)
        return None


def _compare(found: PackSheet, facts: PackFacts, profile: Profile | None) -> None:
    """The settings beside those of a profile, differences first."""
    if found.table is None:
        return
    try:
        chosen = profile or _preset(found, facts)
        if chosen is None:
            found.missing["profile"] = "the chemistry of the cells is not known"
            return
        found.profile = chosen.title or chosen.path or "the profile"
        sides: list[Side] = [
            side_of_table("the board", found.table), side_of_profile("the profile", chosen),
        ]  # fmt: skip
        rows = compare(sides, whole=True)
    except BmsError as error:
        found.missing["profile"] = str(error)
        return
    asked = [row for row in rows if row.key in chosen.settings]
    found.compared = sorted(asked, key=lambda row: not row.differs)


def _preset(found: PackSheet, facts: PackFacts) -> Profile | None:
    if found.table is None or found.identity is None or found.chemistry is None:
        return None
    text = fitted_preset(
        found.chemistry, found.table, found.identity, found.reading, named=facts.named
    )
    return parse_profile(text, "")


def _add_records(found: PackSheet, target: str) -> None:
    """What the journal tells of the pack."""
    journal = Journal()
    try:
        found.journal = records_of(journal, target)
        found.drills = [
            record for record in journal.records()
            if record.get("event") == DRILL and record.get("phase") == "end"
            and record.get("target") == target
        ]  # fmt: skip
    except (BmsError, OSError) as error:
        found.missing["journal"] = str(error)


def _add_session(found: PackSheet, board: Board) -> None:
    name = board.named.name if board.named is not None else ""
    try:
        found.balance = SessionStore().report(board.target, name)
    except (BmsError, OSError) as error:
        found.missing["balance"] = str(error)


def _approval(key: str) -> SheetApproval | None:
    approved = approval_of(key)
    if approved is None:
        return None
    try:
        rows = powers(parse_policies(approved.text, Path(approved.path)))
        policies = [
            f"{what}: {', '.join(sorted({row.name for row in each}))}"
            for what, each in rows.items()
            if each
        ]
    except BmsError:
        policies = []
    return SheetApproval(path=approved.path, by=approved.by, time=approved.time, policies=policies)


def sheets_of_file(
    path: Path, protocol: str | None = None, *, only: Sequence[str] = ()
) -> list[PackSheet]:
    """The packs of a log, a capture or a history, as they were read last, with a picture of the
    time before. Raises what reading raises, `UsageError` where nothing is in it."""
    sources = Sources(only=only)
    sources.add_file(path, protocol)
    found = []
    for track in sources.tracks.values():
        missing: dict[str, Any] = dict.fromkeys(
            ("identity", "settings", "journal", "past", "approval", "balance", "doctor"), _FROM_FILE
        )
        picture = make_picture([track], slots=_SLOTS) if len(track.values) else None
        found.append(
            PackSheet(
                title=track.name, target=track.target, file=str(path), reading=track.latest,
                picture=picture, missing=missing,
            )
        )  # fmt: skip
    return found
