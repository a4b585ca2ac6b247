"""Setting what runs by itself: the board's clock and its state of charge.

They are no settings: nothing can set them back, and no backup holds them. So the command is sent
once, after the same gates, and what counts is what the board shows in the seconds after. Settings
that changed with it are set back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

from bmslink.arguments import checked
from bmslink.board import Board, on_board
from bmslink.config.apply import (
    blocks_of,
    draft,
    gate,
    lock_names,
    refuse,
    same_as_planned,
    settled_table,
)
from bmslink.config.checks.charge import check_soc
from bmslink.config.checks.check import Check
from bmslink.config.checks.plausible import oddities
from bmslink.config.identity.locks import locked_apart
from bmslink.config.job import BoardChanged, Job, outages_of
from bmslink.config.outcome import Outcome
from bmslink.config.plan import Plan
from bmslink.config.records.open_changes import begin
from bmslink.config.rollback import roll_back
from bmslink.config.writer import write_until_verified
from bmslink.errors import BmsError, FrameError, RollbackError, TransportError
from bmslink.model import Adjustment, Reading
from bmslink.protocols.abilities import can_adjust, clock_soc_of, settings_of
from bmslink.storage.journal import Journal, JournalError

__all__ = ["AdjustmentPlan", "adjust", "draft_adjustment"]

_LOOKS, _BETWEEN = 6, 0.7
"""How often and how far apart it is looked whether it took, s."""
_ENDS = {False: "done", True: "unproven"}
_CLOCK_WITHIN, _SOC_WITHIN = 5.0, 1.0
"""s, and % that the board may have counted on meanwhile."""
_FIRST, _LAST = datetime(2020, 1, 2, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class AdjustmentPlan:
    """What would be set, and whether it may."""

    plan: Plan
    """Of no settings: who the board is, the checks, the frame."""
    wish: Adjustment
    """What was asked for."""
    now: bool
    """The clock is set to the time of sending."""
    clock: datetime | None
    """What it shows before; `None`: it does not say, or is not asked to change."""
    soc: float | None
    """What it shows before, %."""

    def to_dict(self) -> dict[str, Any]:
        """Its JSON object."""
        told = self.plan.to_dict()
        for name in ("changes", "unsupported"):
            del told[name]
        wanted = {"clock": _told(self.wish.clock), "soc": self.wish.soc}
        return told | {"now": {"clock": _told(self.clock), "soc": self.soc}, "then": wanted}


def _told(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="seconds")


@on_board
@checked()
async def draft_adjustment(
    device: Board,
    wish: Adjustment,
    *,
    now: bool = False,
    waive: Collection[str] = (),
    chemistry: str | None = None,
    journal: Journal | None = None,
) -> AdjustmentPlan:
    """Read what is needed and check it; nothing is changed.

    `now`: the clock is set to the time of sending, whatever `wish` holds. `chemistry`: what the
    cells are, where the board does not say; a state of charge is compared with their voltages.
    Raises `GateError` where this board cannot.
    """
    if now:
        wish = replace(wish, clock=datetime.now(UTC))
    if wish.soc is not None and not 0 <= wish.soc <= 100:
        raise refuse(f"soc = {wish.soc:g} is not 0 to 100 %.", "limits")
    if wish.clock is not None and not _FIRST <= wish.clock <= _LAST:
        raise refuse(f"No board's clock can show {_told(wish.clock)}.", "limits")
    plan = await draft(device, {}, waive=waive, chemistry=chemistry, journal=journal)
    wanted = [what for what in ("clock", "soc") if getattr(wish, what) is not None]
    for what in wanted:
        able = can_adjust(device.driver, what)
        if not able.supported:
            raise refuse(f"{what} cannot be set here: {able.reason}.", "supported")
    untested = [why for what in wanted if (why := clock_soc_of(device.driver).takes.get(what))]
    if untested:
        plan = replace(plan, checks=tuple(_untested(c, untested, waive) for c in plan.checks))
    reading = None
    if wish.soc is not None:
        reading = await device.read()
        checks = (*plan.checks, _soc(wish.soc, reading, plan))
        plan = replace(plan, checks=checks)
    return AdjustmentPlan(
        plan=replace(plan, frames=tuple(await device.rehearse([], adjustment=wish))),
        wish=wish,
        now=now,
        clock=await device.clock() if wish.clock is not None else None,
        soc=None if reading is None else reading.soc,
    )


def _soc(wanted: float, reading: Reading, plan: Plan) -> Check:
    check = check_soc(wanted, reading, plan.chemistry)
    return replace(check, waived=check.passed is False and check.waiver in plan.waive)


def _untested(check: Check, why: list[str], waive: Collection[str]) -> Check:
    if check.name != "tested":
        return check
    sentence = f"Untested: {'; '.join(why)}."
    return replace(check, passed=False, sentence=sentence, waived=check.waiver in waive)


@on_board
@checked()
async def adjust(
    device: Board, wanted: AdjustmentPlan, *, journal: Journal | None = None
) -> Outcome:
    """Send it once and look what came of it.

    Raises `GateError` (nothing was sent) and `RollbackError` (it was sent, and the board does not
    show it, or it changed settings that matter as well).
    """
    journal = journal or Journal()
    plan, wish = wanted.plan, wanted.wish
    gate(plan)
    async with locked_apart(journal.folder / "locks", partial(lock_names, device, plan.identity)):
        certain = device.certain
        identity = await device.identify()
        same_as_planned(plan, identity)
        for name, why in (await blocks_of(journal, device, plan.identity)).items():
            raise refuse(f"Nothing was sent. {why}", name)
        if wish.soc is not None:  # it may have been agreed to an hour ago
            gate(replace(plan, checks=(_soc(wish.soc, await device.read(), plan),)))
        before = await settled_table(device, plan, identity, certain=certain)
        if odd := oddities(before):  # what changes beside would be set back to it
            raise refuse(f"Nothing was sent. {odd}", "plausible")
        if wanted.now:
            wish = replace(wish, clock=datetime.now(UTC))
        transaction = await begin(
            journal,
            device,
            plan.identity,
            [],
            adjust={"clock": _told(wish.clock), "soc": wish.soc},
            waived=[check.waiver for check in plan.checks if check.waived],
        )
        sent, lost = asyncio.get_running_loop().time(), ""
        try:
            await device.adjust(wish, transaction)
        except (TransportError, FrameError) as error:
            lost = f"The command got no usable answer ({error}) "
        except BmsError as error:  # it was not sent, or the board said no
            await transaction.closed("refused", why=str(error))
            if isinstance(error, JournalError):
                raise refuse(f"{error} Nothing was sent.", "journal") from error
            raise
        told = await _seen(device, wish, sent)
        sentence = lost + told if told else f"{_words(wish)}: read back."
        job = Job(
            device=device,
            settings=before.map,
            identity=plan.identity,
            transaction=transaction,
            before=before.image,
            touched=(),
            sent=True,
            outages=outages_of(device),
        )
        beside = await _beside(job)
        untold = "" if beside else await transaction.closed(_ENDS[bool(told)], sentence=sentence)
        if untold:
            job.notes.append(untold)
        outcome = Outcome(
            result="unknown" if told or beside else "done",
            sentence=f"{sentence} {beside}".rstrip(),
            transaction=transaction.id,
            notes=job.notes,
        )
    if told or beside:
        raise RollbackError(outcome.sentence, outcome)
    return outcome


async def _beside(job: Job) -> str:
    """Set back what else changed. In sentences, if that matters or failed; empty if all is well."""
    with settings_of(job.device.driver).seen.vouching(job.before):
        try:
            await write_until_verified(job, {}, [])
        except BoardChanged as error:
            return str(error)
        except BmsError as error:
            return str(await roll_back(job, [], error))
    return ""


def _words(wish: Adjustment) -> str:
    clock = "" if wish.clock is None else f"clock {wish.clock.astimezone():%Y-%m-%d %H:%M:%S}"
    soc = "" if wish.soc is None else f"soc {wish.soc:g} %"
    return ", ".join(part for part in (clock, soc) if part)


async def _seen(device: Board, wish: Adjustment, sent: float) -> str:
    """What is not as wished, in a sentence; empty where all is."""
    told = ""
    for _ in range(_LOOKS):
        await asyncio.sleep(_BETWEEN)
        try:
            told = await _look(device, wish, sent)
        except BmsError as error:  # a refusal is of the question now, not of the command
            told = f"{_words(wish)} was sent, and what came of it cannot be read: {error}"
        if not told:
            break
    return told


async def _look(device: Board, wish: Adjustment, sent: float) -> str:
    wrong = []
    if wish.soc is not None:
        soc = (await device.read()).soc
        if soc is None or abs(soc - wish.soc) > _SOC_WITHIN:
            wrong.append(f"the board says soc {'unknown' if soc is None else f'{soc:g} %'}")
    if wish.clock is not None:
        shown = await device.clock()
        passed = asyncio.get_running_loop().time() - sent
        if shown is None:
            wrong.append("the board does not tell its clock")
        elif abs((shown - wish.clock).total_seconds() - passed) > _CLOCK_WITHIN:
            wrong.append(f"the board's clock shows {shown:%Y-%m-%d %H:%M:%S}")
    return f"{_words(wish)} was sent, but {' and '.join(wrong)}." if wrong else ""
