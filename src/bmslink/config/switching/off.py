"""Switching off, at once.

One question at most goes before the frame. No plan, no table, no lock, no journal and no unfinished
change delays or refuses it; all of that comes after. What refuses: there is no such switch, the
board's settings are read-only, or nothing proves the switch and `untested` was not waived.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

from bmslink.board import Board
from bmslink.config.identity.known_as import pack_of, require_same_board
from bmslink.config.identity.locks import hold_if_free, let_go
from bmslink.config.outcome import Outcome
from bmslink.config.records.open_changes import lock_names
from bmslink.config.switching.beside import Beside
from bmslink.config.switching.confirm import seen
from bmslink.config.switching.frames import SwitchFrames, send_bit, send_once
from bmslink.config.switching.off_marks import confirmed, mark_off
from bmslink.errors import BmsError, LinkTimeout, Refused
from bmslink.model import Command, Identity, Switch
from bmslink.places import place_of
from bmslink.protocols.abilities import settings_of
from bmslink.protocols.common.settings_map import RawSettings, SettingsMap, WriteCommand
from bmslink.storage.briefly import briefly
from bmslink.storage.journal import Journal, JournalError, Transaction, on_disk

__all__ = ["rehearse_off", "switch_off"]

_TRIES, _WAKING = 3, 6
"""How often it is sent while nothing acknowledges it: to a board that answered before, and to one
that this may have to wake."""
_AT_ONCE = 1.0
"""How long it is sent again without asking who answers: nobody exchanges a board faster, s."""
_WHO = 3.0
"""How long that question may take, s."""
_MOMENT = 0.3
"""How long reading the journal may take before the frame, s."""


@dataclass(slots=True, kw_only=True)
class _Off:
    """What switches off."""

    command: Command
    frames: SwitchFrames
    step: WriteCommand[Any] | None
    """`None`: a bit of a word, whose neighbours must be read first."""
    known: dict[str, Any] | None = None
    """Who the pack was before, if that was asked in this session."""
    beside: Beside
    """Its settings as they were read before, if they were."""
    sent: bool = False

    @property
    def setting(self) -> SettingsMap | None:
        """Of the switch alone, where it is a setting."""
        return self.frames.setting

    @property
    def others(self) -> dict[str, bool]:
        """What else the frame sets."""
        return {str(s): on for s, on in self.step.others.items()} if self.step else {}

    @property
    def doubt(self) -> str:
        """What of that is a guess."""
        return self.step.doubt if self.step else ""


async def switch_off(
    device: Board, switch: Switch, waive: Collection[str], journal: Journal
) -> Outcome:
    """Send it, write it down, and look what came of it; raises what `switch` raises. Threads write:
    a disk that hangs keeps no other pack of this program waiting."""
    device.offs.note(switch)
    off = await _prepare(device, switch, waive, journal)
    lost, refused = "", None
    try:
        await _send(device, off)
    except Refused as error:
        refused = error
    except BmsError as error:
        if not off.sent:
            raise
        lost = f"The command got no usable answer ({error}) "
    kept = await _keep(device, off, journal)
    try:
        if refused is not None:
            if kept.transaction is not None:
                await kept.transaction.closed("refused", why=str(refused))
            raise refused
        return await _look(device, off, journal, kept, lost)
    finally:
        let_go(kept.locks)


async def _look(device: Board, off: _Off, journal: Journal, kept: _OnDisk, lost: str) -> Outcome:
    """What came of it, read back and written down."""
    name = "" if kept.transaction is None else kept.transaction.id
    outcome = await seen(
        device, off.command, setting=off.setting, known=off.known, transaction=name, lost=lost
    )
    outcome = await off.beside.judge(device, off.command, outcome)
    if off.doubt:
        outcome = replace(outcome, result="unproven", sentence=f"{outcome.sentence} {off.doubt}")
    notes = [*kept.notes, *await _close(device, off, journal, kept.transaction, outcome)]
    return replace(outcome, notes=[*notes, *outcome.notes])


async def rehearse_off(
    device: Board, switch: Switch, waive: Collection[str], journal: Journal
) -> list[bytes]:
    """Every frame of it, sent nowhere; refuses what `switch_off` refuses."""
    off = await _prepare(device, switch, waive, journal)
    settings = off.setting if off.step is None else None
    # a board that is read in a mode of its own is never brought into it by a rehearsal
    image = None if settings is None else (await device.settings(settings)).image
    async with device.rehearsing() as held:
        if image is None:
            await _send(device, off)
        else:
            async with settings_of(device.driver).session(writing=True):
                await device.driver.perform(off.frames.bit_step(image, on=False))
    return held


# ------------------------------------------------------------------------------------ the frame


async def _prepare(device: Board, switch: Switch, waive: Collection[str], journal: Journal) -> _Off:
    known = None if device.known is None else pack_of(device.known)
    beside = Beside.of(device)
    frames = await SwitchFrames.find(device, switch, waive)
    step = None if frames.bit else await frames.off(_memory(device, journal))
    off = Command(switch, False)
    return _Off(command=off, frames=frames, step=step, known=known, beside=beside)


async def _send(device: Board, off: _Off) -> None:
    device.link.alive()
    if off.step is not None:
        await _repeatedly(device, off, off.step)
        return

    def make(image: RawSettings) -> WriteCommand[Any]:
        off.sent = True
        return off.frames.bit_step(image, on=False)

    await send_bit(off.frames, make)


async def _repeatedly(device: Board, off: _Off, step: WriteCommand[Any]) -> None:
    """Again where nothing acknowledges it: off twice is off, and a board may be deaf for a moment
    right after an answer. Later than a second after the first one, another board may be on the
    line: then it is asked who answers, if it is known who should."""
    loop = asyncio.get_running_loop()
    begun, tries = loop.time(), _TRIES if device.link.received else _WAKING
    for left in reversed(range(tries)):
        off.sent = True
        try:
            await send_once(device, step, advising=not left)
        except LinkTimeout as lost:
            if not left:
                raise
            if loop.time() - begun > _AT_ONCE:
                await require_same_board(device, off.known, lost, within=_WHO)
        else:
            return


# ---------------------------------------------------------------------------------- the journal


def _memory(device: Board, journal: Journal) -> Callable[[Switch], bool | None]:
    """How our last confirmed command left a switch, asked only where the board does not show it.
    A disk that hangs has a moment to say it, and no more: the frame waits."""

    def remembered(switch: Switch) -> bool | None:
        try:
            found = briefly(lambda: confirmed(journal, *_names(device)), _MOMENT)
        except (JournalError, OSError):
            return None
        return None if found is None else found.get(switch)

    return remembered


def _names(device: Board, known: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
    if known is None and device.known is not None:
        known = pack_of(device.known)
    return place_of(device.target), known or {"protocol": device.driver.name}


class _OnDisk(NamedTuple):
    """What is on the disk of an off that is being read back."""

    transaction: Transaction | None
    notes: list[str]
    locks: list[int]
    """The pack, held where nobody else had it: so that others hear what is being done, and do not
    take it for a change that was cut off."""


async def _keep(device: Board, off: _Off, journal: Journal) -> _OnDisk:
    """Write it down, in a thread; a disk that hangs keeps no read-back from being made."""
    try:
        return await on_disk(partial(_write_down, device, off, journal), late=_too_late)
    except JournalError as error:
        return _OnDisk(None, [_unwritten(off, error)], [])


def _too_late(kept: _OnDisk) -> None:
    """Its switch was read back long ago, and nobody ends the record but this."""
    let_go(kept.locks)
    if kept.transaction is not None:
        kept.transaction.close("unproven", sentence="The disk was too late to hear of the end.")


def _write_down(device: Board, off: _Off, journal: Journal) -> _OnDisk:
    """Right after the frame, with what is known by then; what cannot be written is a remark."""
    place, pack = _names(device, off.known)
    switch = str(off.command.switch)
    names = lock_names(device, device.known or Identity(protocol=device.driver.name))
    locks = hold_if_free(journal.folder / "locks", names, str(off.command))
    try:
        transaction = journal.begin(place, pack, [], switch=switch, on=False, others=off.others)
    except (JournalError, OSError) as error:
        return _OnDisk(None, [_unwritten(off, error)], locks)
    try:
        notes = _marked(mark_off(journal, place, pack, off.command.switch), off)
    except (JournalError, OSError) as error:
        why = (
            "If a change of this pack was cut off earlier, its record does not say that "
            f"{off.command.switch} is off now: {error}"
        )
        return _OnDisk(transaction, [why], locks)
    return _OnDisk(transaction, notes, locks)


def _marked(count: int, off: _Off) -> list[str]:
    if not count:
        return []
    return [
        f"A change of this pack was cut off earlier: ending it leaves {off.command.switch} off."
    ]


def _unwritten(off: _Off, error: Exception) -> str:
    causes = (error, error.__cause__, error.__context__)
    found = next((e for e in causes if isinstance(e, OSError)), None)
    said = "" if found is None else found.strerror or str(found)
    why = f" ({said})" if said else ""
    return f"{off.command} is not in the journal, which cannot be written or read{why}."


async def _close(
    device: Board,
    off: _Off,
    journal: Journal,
    transaction: Transaction | None,
    outcome: Outcome,
) -> list[str]:
    """End the transaction, with who the pack is where that was not asked before the frame."""
    if transaction is None:
        return []
    notes: list[str] = []
    more: dict[str, Any] = {}
    if off.known is None:
        try:
            more["pack"] = pack_of(await device.identify())
            place, pack = _names(device)
            mark = partial(mark_off, journal, place, pack, off.command.switch)
            notes = _marked(await on_disk(mark), off)
        except BmsError:
            pass
    untold = await transaction.closed(outcome.result, sentence=outcome.sentence, **more)
    return [*notes, untold] if untold else notes
