"""Bringing the slots of a board to what they are to hold, and proving it.

Writing, setting back and resuming are the same thing with another aim: write, read each slot back,
and then read the whole table twice more, because boards forget, round, change neighbours, and show
late what they hold. On the way there a slot that is right already is not written; on the way back
every slot is that may have been written, whatever it shows. A lost line is opened again, and what
goes on is decided by what is found.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import TypeVar

from bmslink.config.checks.plausible import oddities
from bmslink.config.effects import Strays, describe, kept_off, strange, strangers, strays
from bmslink.config.identity.known_as import identify_as
from bmslink.config.job import UNSURE, BoardChanged, Job, known_as
from bmslink.errors import (
    BmsError,
    FrameError,
    GateError,
    LinkTimeout,
    Refused,
    TransportError,
    VerifyError,
)
from bmslink.model import Identity
from bmslink.protocols.common.settings_map import RawSettings, SettingsSnapshot, Slot
from bmslink.storage.journal import JournalError
from bmslink.switched_off import switches_on

__all__ = ["patiently", "still_ours", "write_until_verified"]

T = TypeVar("T")

_REST = 9.0
"""How long after the last write the proof is read, s: boards were seen to show a write 6 s late,
and to forget one after 8 s."""
_LAG = 1.5
"""A board that was seen to lag longer gets so many times as long."""
_LOOKS = 3
"""How often a table that changes is looked at."""
_FEW = 2
"""So many settings beside its own a change can have moved on the board that it was made on; where
more differ, it is another board."""
_TRIES = 3
"""How often a write is sent that nothing acknowledges."""
_IDENTITY = -1
"""No slot: what the board says of itself."""
_ROUNDS = 3
"""How often what went astray is written again."""
_PAUSES = (0.5, 2.0, 5.0)
"""Before each try to open a lost line again, s; boards restart within seconds."""
_RECONNECTIONS = 6


async def write_until_verified(
    job: Job, goal: Mapping[int, bytes], order: Sequence[int]
) -> SettingsSnapshot:
    """Bring the slots of `goal` to their bytes and everything else to what it was before.

    Returns the whole table as read afterwards. Raises `VerifyError`, `Refused`, `BoardChanged`,
    or what the line raised when it could not be opened again.
    """
    aim, todo = dict(goal), list(order)
    stuck: dict[int, str] = {}
    for _ in range(_ROUNDS):
        if job.back:
            await patiently(job, partial(_write_back, job, aim, todo, stuck))
        else:
            await patiently(job, partial(_write, job, aim, todo))
        table = await patiently(job, partial(_prove, job))
        odd = oddities(table, since=job.before)
        todo = await _astray(job, table.image, aim)
        if not todo and odd:
            raise VerifyError(odd)
        if not todo:
            return table
    told = "; ".join(
        describe(job.settings, a, aim[a], table.image.get(a)) + f" {stuck.get(a, '')}".rstrip()
        for a in todo
    )
    raise VerifyError(f"After all writes something else is read: {told}.")


async def _write(job: Job, aim: Mapping[int, bytes], todo: Sequence[int]) -> None:
    """Write what differs, in this order."""
    waiting = list(todo)
    failed = 0
    while waiting:
        left = len(waiting)
        await _sure(job)
        async with job.device.writing():
            found = await job.device.fetch([job.settings.by_address[a] for a in waiting])
            if not job.sent:
                _still_as_before(job, found, aim)
            try:
                while waiting and not _doubtful(job):
                    job.device.progress("writing", len(todo) - len(waiting) + 1, len(todo))
                    await _write_one(job, waiting[0], found.get(waiting[0]), aim[waiting[0]])
                    for near in job.settings.related.get(waiting.pop(0), ()):
                        found.pop(near, None)  # the board computed it anew
            except LinkTimeout as error:  # perhaps the frame was lost
                job.outages = UNSURE
                lost: BmsError = error
            else:
                lost = LinkTimeout("The line went silent for long, again and again.")
        failed = 0 if len(waiting) < left else failed + 1
        if failed >= _TRIES:
            raise lost
    if job.sent:  # what was sent earlier may be on its way as well
        await _rest(job)


async def _write_one(job: Job, address: int, found: bytes | None, data: bytes) -> None:
    if job.settings.same(address, found, data):
        return
    told = describe(job.settings, address, found, data)
    try:
        await _store(job, job.settings.by_address[address], data, _REST)
    except VerifyError as error:
        shown = describe(job.settings, address, data, error.found)
        raise VerifyError(
            f"{told}: it was acknowledged, but read back it is {shown}.", error.found
        ) from error
    except Refused as error:
        raise Refused(f"{told}: {error}", error.status) from error


def _doubtful(job: Job) -> bool:
    """Whether the line was silent for so long that another board may answer now."""
    return job.outages != job.device.link.continuity.outages


async def _sure(job: Job) -> None:
    """`BoardChanged` if another board took the place of ours while the line was silent."""
    if not _doubtful(job):
        return
    await still_ours(job, (await job.device.settings(job.settings)).image)
    job.outages = (
        job.device.link.continuity.outages
    )  # boards are silent about what they do not have as well


async def _write_back(
    job: Job, aim: dict[int, bytes], todo: Sequence[int], stuck: dict[int, str]
) -> None:
    """Write everything that a write may have reached, whatever it shows, and go on past what does
    not take it. A switch that is off is left off."""
    for number, address in enumerate(todo, 1):
        job.device.progress("writing", number, len(todo))
        for left in reversed(range(_TRIES)):
            await _sure(job)
            await still_ours(job)
            try:
                await _write_back_one(job, address, aim)
            except LinkTimeout:  # perhaps the frame was lost
                job.outages = UNSURE
                if not left:
                    raise
                continue
            except (VerifyError, Refused) as error:
                stuck[address] = f"({error})"
            else:
                stuck.pop(address, None)
            break
    await _rest(job)


async def _write_back_one(job: Job, address: int, aim: dict[int, bytes]) -> None:
    slot = job.settings.by_address[address]
    async with job.device.writing():
        found = (await job.device.fetch([slot])).get(address)
        aim[address], off = kept_off(
            job.settings, address, aim[address], found, job.held.get(address)
        )
        if off:
            job.left[address] = off
        if address in job.held or not job.settings.same(address, found, aim[address]):
            await _store(job, slot, aim[address], 0.0)


async def _store(job: Job, slot: Slot, data: bytes, patience: float) -> None:
    job.device.offs.require_none(switches_on(job.settings, slot.address, data))
    sent, held = job.sent, dict(job.held)
    job.sent = True
    job.held[slot.address] = data
    try:
        lag = await job.device.store(job.settings, slot, data, job.transaction, patience)
    except JournalError:  # the write could not be written down, so it was not sent
        job.sent, job.held = sent, held
        raise
    job.lag = max(job.lag, lag)


async def _rest(job: Job) -> None:
    await job.device.leave_session()
    whole = max(_REST, _LAG * job.lag)
    for second in range(math.ceil(whole)):
        job.device.progress("waiting", second, math.ceil(whole))
        await asyncio.sleep(min(1.0, whole - second))


async def _prove(job: Job) -> SettingsSnapshot:
    """The table as two readings give it, with other questions between them. Where answers do not
    name their questions, the second asks otherwise than the first.

    Impossible values that were not there before prove nothing. On the way back a table is given
    back with them where both readings show the same: somebody else may have written them, and what
    was there before is written over them like over anything else that strayed.
    """
    for left in reversed(range(_LOOKS)):
        async with job.device.conversation():
            with job.device.stage("checking", 2 * len(job.settings.slots)):
                table = await job.device.glance(job.settings)
                found = await still_ours(job)
                again = await job.device.glance(job.settings, again=True)
        await job.device.leave_session()  # before anybody says how it ended
        differ = job.settings.differing(table.image, again.image)
        if not (differ and left):
            _not_replaced(job, found, again.image)
        odd = oddities(again, since=job.before)
        if not (differ or odd) or not left:
            break
        await _rest(job)
    if odd and not job.back:
        raise VerifyError(odd)
    if differ:
        told = "; ".join(
            describe(job.settings, a, table.image.get(a), again.image.get(a)) for a in differ
        )
        raise VerifyError(f"Read twice, the settings go on changing: {told}.")
    return again


async def still_ours(job: Job, image: RawSettings | None = None) -> Identity:
    """Who answers; `BoardChanged` if it is another board than the one that the change was begun
    on.

    `image`: its settings as read now; a board without a serial number is known by them. How many
    cells it says it has may be what the change did to it.
    """
    known = known_as(job) | {"cell_count": None}
    found, other = await identify_as(job.device, known, cut_short=True)
    if other:
        raise BoardChanged(f"Another board answers: {other}.")
    if known_as(job)["cell_count"] is not None:
        job.cells = found.cell_count
    if image is not None:
        _not_replaced(job, found, image)
    return found


def _not_replaced(job: Job, found: Identity, image: RawSettings) -> None:
    """`BoardChanged` if a board without a serial number has the settings of another one."""
    if found.serial_number or job.known:
        return
    moved = strangers(job.settings, job.before, image, job.touched)
    shown = all(job.settings.same(a, image.get(a), raw) for a, raw in job.held.items())
    if len(moved) > _FEW or (moved and not shown):
        raise BoardChanged(
            "The board differs in what this change does not touch "
            f"({strange(job.settings, job.before, image, job.touched)}): is it another one? It "
            "tells no serial number."
        )


def _still_as_before(job: Job, found: RawSettings, aim: RawSettings) -> None:
    """`GateError` where somebody changed a slot since it was planned what it is to hold."""
    for address, raw in found.items():
        if not any(job.settings.same(address, raw, each[address]) for each in (job.before, aim)):
            told = describe(job.settings, address, job.before[address], raw)
            raise GateError(
                f"Somebody changes the settings ({told}): nothing was sent. Plan again."
            )


async def _astray(job: Job, image: RawSettings, aim: dict[int, bytes]) -> list[int]:
    """The slots that do not hold what they should and can be set again; takes neighbours that the
    board changed into the aim. `VerifyError` where it changed what matters, unless that is being
    set back already."""
    found = strays(job.settings, job.before, image, aim)
    beside = {**dict.fromkeys(found.back), **dict.fromkeys(found.lost), **dict.fromkeys(found.left)}
    for address in beside:
        raw = image.get(address)
        await job.transaction.noted("side effect", slot=address, found=raw.hex() if raw else None)
    await _count_cells(job, found)
    if found.grave and not job.back:
        told = "; ".join(found.grave.values())
        raise VerifyError(f"The write changed something else that matters: {told}.")
    for address, told in found.lost.items():
        if address in found.grave:
            job.unmended[address] = told
            continue
        job.notes.append(f"Changed by itself, and not ours to set back: {told}.")
        job.before = {a: image.get(a, b) if a == address else b for a, b in job.before.items()}
    for address, data in found.back.items():
        told = describe(job.settings, address, job.before[address], image.get(address))
        job.notes.append(f"The board or somebody else changed {told}; it is set back.")
        aim[address] = data
    job.left |= found.left
    for address in [a for a in job.left if job.settings.same(a, image.get(a), job.before[a])]:
        del job.left[address]  # it never went off
        found.asked = [each for each in found.asked if each != address]
    return [*found.asked, *found.back]


async def _count_cells(job: Job, found: Strays) -> None:
    """The cells that the board says it has belong to who it is."""
    job.unmended.pop(_IDENTITY, None)
    before = job.identity.cell_count
    if None not in (before, job.cells) and job.cells != before:
        told = f"the board says that it has {job.cells} cells, not {before}"
        await job.transaction.noted("side effect", cell_count=job.cells)
        found.grave[_IDENTITY] = told
        job.unmended[_IDENTITY] = told


async def patiently(job: Job, act: Callable[[], Awaitable[T]]) -> T:
    """Do it, and once more for every time the line was lost and came back."""
    while True:
        try:
            return await act()
        except (TransportError, FrameError) as error:
            await _reconnect(job, error)


async def _reconnect(job: Job, error: BmsError) -> None:
    for pause in _PAUSES:
        job.reconnections += 1
        if job.reconnections > _RECONNECTIONS:
            break
        await asyncio.sleep(pause)
        try:
            await job.device.reopen()
            found, other = await identify_as(job.device, known_as(job))
            told = "" if found.serial_number or job.known else await _strange_now(job)
        except (TransportError, FrameError) as again:
            job.lost = again
            continue
        if other:
            raise BoardChanged(
                f"After the line was lost another board answers: {other}."
            ) from error
        if told:
            raise BoardChanged(
                "After the line was lost the board differs in what this change does not touch "
                f"({told}): is it another one? It tells no serial number."
            ) from error
        job.outages = job.device.link.continuity.outages
        await job.transaction.noted("reconnected", why=str(error))
        job.notes.append(f"The line was lost ({error}) and opened again.")
        job.lost = None
        return
    raise job.lost or error


async def _strange_now(job: Job) -> str:
    """How a board without a serial number differs from the one that the change was begun on."""
    table = await job.device.settings(job.settings)
    return strange(job.settings, job.before, table.image, job.touched)
