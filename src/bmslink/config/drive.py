"""Bringing the slots of a board to what they shall hold, and proving it.

Writing, rolling back and resuming are the same thing with another aim: look what stands, write what
differs, read each back, and then read the whole table again, because boards forget, round, and
change neighbours. A lost line is opened again, and what goes on is decided by what is found.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any, TypeVar

from bmslink.config.places import place_of
from bmslink.config.plan import writable_part
from bmslink.device import Device
from bmslink.errors import BmsError, FrameError, GateError, Refused, TransportError, VerifyError
from bmslink.journal import JournalError, Transaction
from bmslink.model import Identity, Reading
from bmslink.protocols.settings import Image, SettingsMap, Table
from bmslink.setting import Value

__all__ = [
    "Job",
    "Stranger",
    "describe",
    "pack_of",
    "place_of",
    "reach",
    "same_board",
    "strange",
    "watch",
]

T = TypeVar("T")

_REST = 2.5
"""How long a board may take to forget what it had taken, s: it is read again after that."""
_TICK, _STILL = 0.3, 2.5
"""How often it is looked whether the seconds of a board move, and how long they may not, s."""
_ROUNDS = 3
"""How often what went astray is written again."""
_PAUSES = (0.5, 2.0, 5.0)
"""Before each try to open a lost line again, s; boards restart within seconds."""
_RECONNECTIONS = 6
_WHO = ("vendor", "model", "hardware", "firmware", "serial_number", "cell_count", "protocol")


class Stranger(BmsError):
    """After a reconnection something else answered than before."""


def pack_of(identity: Identity) -> dict[str, Any]:
    """Who a pack is, for the journal and for comparing."""
    known = asdict(identity)
    return {name: known[name] for name in _WHO}


def same_board(one: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """How two packs differ, in words; empty where they are the same as far as both tell."""
    for name in _WHO:
        mine, yours = one.get(name), other.get(name)
        if mine != yours and ((mine is not None and yours is not None) or name == "firmware"):
            return f"{name.replace('_', ' ')} {yours}, not {mine}"
    return ""


@dataclass(slots=True, kw_only=True)
class Job:
    """One change that is under way."""

    device: Device
    settings: SettingsMap
    identity: Identity
    transaction: Transaction
    before: Image
    """All slots as they were before the first write."""
    touched: Collection[int]
    """The slots that the change is about."""
    sent: bool = False
    """Whether a write may have reached the board."""
    notes: list[str] = field(default_factory=list)
    reconnections: int = 0
    lost: BmsError | None = None
    """Why the line could not be opened again."""


async def watch(device: Device) -> tuple[Reading, float]:
    """A reading, and for how many seconds the board's own count of them stood still, if too long:
    what stands between may go on telling what it heard last."""
    reading = await device.read()
    if not device.driver.counts_seconds or reading.uptime is None:
        return reading, 0.0
    loop = asyncio.get_running_loop()
    begun = loop.time()
    while True:
        await asyncio.sleep(_TICK)
        later = await device.read()
        if later.uptime != reading.uptime:
            return later, 0.0
        if (still := loop.time() - begun) > _STILL:
            return later, still


def describe(settings: SettingsMap, address: int, old: bytes | None, new: bytes | None) -> str:
    """What a slot's change means: `cell_ovp 3.65 V -> 3.6 V`."""
    values: list[Mapping[str, Value | None]] = [
        {} if raw is None else settings.decode({address: raw}) for raw in (old, new)
    ]
    rows = [s for s in settings.settings if s.slot == address]
    parts = [
        f"{s.key} {s.show(values[0].get(s.key))} -> {s.show(values[1].get(s.key))}"
        for s in rows
        if values[0].get(s.key) != values[1].get(s.key)
    ]
    return ", ".join(parts) or f"slot {address:02X}"


async def reach(job: Job, goal: Mapping[int, bytes], order: Sequence[int]) -> Table:
    """Bring the slots of `goal` to their bytes and everything else to what it was before.

    Gives back the whole table as read afterwards. Raises `VerifyError`, `Refused`, `Stranger`, or
    what the line raised when it could not be opened again.
    """
    aim, todo = dict(goal), list(order)
    for _ in range(_ROUNDS):
        await _patiently(job, partial(_write, job, aim, todo))
        table = await _patiently(job, partial(job.device.settings, job.settings))
        todo = _astray(job, table.image, aim)
        if not todo:
            return table
    told = "; ".join(describe(job.settings, a, aim[a], table.image.get(a)) for a in todo)
    raise VerifyError(f"After all writes something else stands in the board: {told}.")


async def _write(job: Job, aim: Mapping[int, bytes], todo: Sequence[int]) -> None:
    """Write what differs, in this order."""
    slots = [job.settings.by_address[address] for address in todo]
    wrote = False
    async with job.device.writing():
        found = await job.device.fetch(slots)
        if not job.sent:
            _still_as_before(job, found, aim)
        for slot in slots:
            data = aim[slot.address]
            if job.settings.same(slot.address, found.get(slot.address), data):
                continue
            sent, job.sent, wrote = job.sent, True, True
            told = describe(job.settings, slot.address, found.get(slot.address), data)
            try:
                await job.device.store(job.settings, slot, data, job.transaction)
            except JournalError:  # the write could not be written down, so it was not sent
                job.sent = sent
                raise
            except VerifyError as error:
                stands = describe(job.settings, slot.address, data, error.found)
                raise VerifyError(
                    f"{told}: it was acknowledged, but read back it is {stands}.", error.found
                ) from error
            except Refused as error:
                raise Refused(f"{told}: {error}", error.status) from error
    if wrote or job.sent:  # what was sent earlier may be on its way as well
        await asyncio.sleep(_REST)


def _still_as_before(job: Job, found: Image, aim: Image) -> None:
    """`GateError` where somebody changed a slot since it was planned what shall stand in it."""
    for address, raw in found.items():
        if not any(job.settings.same(address, raw, each[address]) for each in (job.before, aim)):
            told = describe(job.settings, address, job.before[address], raw)
            raise GateError(
                f"Somebody changes the settings ({told}): nothing was sent. Plan again."
            )


def strange(settings: SettingsMap, before: Image, now: Image, touched: Collection[int]) -> str:
    """What a change that touches these slots cannot have done, in words; empty: nothing."""
    may = {*touched, *(near for slot in touched for near in settings.related.get(slot, ()))}
    found = [
        describe(settings, address, raw, now[address])
        for address, raw in before.items()
        if address in now
        and address not in may
        and writable_part(settings, now, {address: raw}, own=True)[0]
    ]
    more = f" and {len(found) - 3} more" if len(found) > 3 else ""
    return ", ".join(found[:3]) + more


def _astray(job: Job, image: Image, aim: dict[int, bytes]) -> list[int]:
    """The slots that do not hold what they shall and can be set again; takes neighbours that the
    board changed into the aim."""
    settings, todo = job.settings, []
    for address, before in job.before.items():
        wanted = aim.get(address, before)
        found = image.get(address)
        if settings.same(address, found, wanted):
            continue
        if address in aim:
            todo.append(address)
            continue
        told = describe(settings, address, before, found)
        job.transaction.note("side effect", slot=address, found=found.hex() if found else None)
        if found is None or writable_part(settings, image, {address: before}, own=True)[1]:
            job.notes.append(f"Changed by itself, and not ours to set back: {told}.")
            job.before = {a: image.get(a, b) if a == address else b for a, b in job.before.items()}
            continue
        job.notes.append(f"The board or somebody else changed {told}; it is set back.")
        aim[address] = settings.by_address[address].clean(before)
        todo.append(address)
    return todo


async def _patiently(job: Job, act: Callable[[], Awaitable[T]]) -> T:
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
            found = await job.device.identify()
            told = "" if found.serial_number else await _strange_now(job)
        except (TransportError, FrameError) as again:
            job.lost = again
            continue
        if other := same_board(pack_of(job.identity), pack_of(found)):
            raise Stranger(f"After the line was lost another board answers: {other}.") from error
        if told:
            raise Stranger(
                "After the line was lost the board differs in what this change does not touch "
                f"({told}): is it another one? It tells no serial number."
            ) from error
        job.transaction.note("reconnected", why=str(error))
        job.notes.append(f"The line was lost ({error}) and opened again.")
        job.lost = None
        return
    raise job.lost or error


async def _strange_now(job: Job) -> str:
    """How a board without a serial number differs from the one that the change was begun on."""
    table = await job.device.settings(job.settings)
    return strange(job.settings, job.before, table.image, job.touched)
